/** The body of a request, never more of it in memory than its limit. */
import { TooLarge } from '../errors.ts'

/** Consul's `limits.kv_max_value_size`; the same bound holds for every body. */
export const bodyBytesMax = 524_288

/** The client went away: there is nobody to answer. */
export class Abandoned extends Error {
  override name = 'Abandoned'
}

/**
 * @param option what Consul's text names as the limit's
 * @throws TooLarge with Consul's text when more than `bodyBytesMax` bytes are announced or, for a chunked body, arrive
 * (Consul 1.8 forgot the latter). Abandoned when the client broke off.
 */
export async function readBody(
  request: Request,
  option: 'kv_max_value_size' | 'txn_max_req_len' = 'kv_max_value_size',
): Promise<Uint8Array> {
  const announced = request.headers.get('content-length')
  if (announced !== null && Number(announced) > bodyBytesMax) throw tooLarge(`${announced} bytes`, option)
  if (announced === '0' || (announced === null && request.body === null)) return new Uint8Array(0)
  try {
    // The parser ends the body after as many bytes as were announced.
    if (announced !== null) return new Uint8Array(await request.arrayBuffer())
    return await chunked(request, option)
  } catch (error) {
    if (error instanceof TooLarge) throw error
    throw new Abandoned('the client broke off while sending its body', { cause: error })
  }
}

async function chunked(request: Request, option: string): Promise<Uint8Array> {
  const reader = request.body?.getReader()
  const chunks: Uint8Array[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
    if (done) return Buffer.concat(chunks)
    bytes += value.length
    if (bytes > bodyBytesMax) {
      // Not awaited: the rest may never come.
      void reader?.cancel().catch(() => {})
      throw tooLarge(`at least ${bytes} bytes`, option)
    }
    chunks.push(value)
  }
}

function tooLarge(size: string, option: string): TooLarge {
  return new TooLarge(
    `Request body(${size}) too large, max size: ${bodyBytesMax} bytes. See https://www.consul.io/docs/agent/options.html#${option}.`,
  )
}
