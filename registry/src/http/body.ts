/** The body of a request, never more of it in memory than its limit. */
import { TooLarge } from '../errors.ts'
import { Overlong, type Sent } from './endpoint.ts'

/** Consul's `limits.kv_max_value_size`; the same bound holds for every body. */
export const bodyBytesMax = 524_288

/**
 * @param option what Consul's text names as the limit's
 * @throws TooLarge with Consul's text when more than `bodyBytesMax` bytes are announced or, for a chunked body, arrive
 * (Consul 1.8 forgot the latter). Abandoned when the client broke off.
 */
export async function readBody(
  request: Sent,
  option: 'kv_max_value_size' | 'txn_max_req_len' = 'kv_max_value_size',
): Promise<Uint8Array> {
  const announced = request.header('content-length')
  if (announced !== null && Number(announced) > bodyBytesMax) throw tooLarge(`${announced} bytes`, option)
  if (announced === '0') return nothing
  try {
    return await request.content(bodyBytesMax)
  } catch (error) {
    if (error instanceof Overlong) throw tooLarge(`at least ${error.bytes} bytes`, option)
    throw error
  }
}

const nothing = new Uint8Array(0)

function tooLarge(size: string, option: string): TooLarge {
  return new TooLarge(
    `Request body(${size}) too large, max size: ${bodyBytesMax} bytes. See https://www.consul.io/docs/agent/options.html#${option}.`,
  )
}
