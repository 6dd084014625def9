/** The framework's requests and responses, and the endpoints' own: the way in of everything that is not hot. */
import { Abandoned, type Answer, Overlong, type Sent } from './endpoint.ts'
import type { Bindings } from './target.ts'

export class FetchedRequest implements Sent {
  readonly #request: Request
  readonly #gone: Bindings['gone']
  readonly address: string | undefined

  constructor(request: Request, bindings?: Bindings) {
    this.#request = request
    this.#gone = bindings?.gone
    this.address = bindings?.incoming?.socket?.remoteAddress
  }

  get signal(): AbortSignal {
    return this.#gone?.() ?? this.#request.signal
  }

  header(name: string): string | null {
    return this.#request.headers.get(name)
  }

  async content(bytesMax: number): Promise<Uint8Array> {
    const request = this.#request
    try {
      // The parser ends the body after as many bytes as were announced.
      const announced = this.header('content-length')
      if (announced !== null && Number(announced) <= bytesMax) return new Uint8Array(await request.arrayBuffer())
      return request.body === null ? new Uint8Array(0) : await joined(request.body, bytesMax)
    } catch (error) {
      if (error instanceof Overlong) throw error
      throw new Abandoned('the client broke off while sending its body', { cause: error })
    }
  }
}

async function joined(body: ReadableStream<Uint8Array>, bytesMax: number): Promise<Uint8Array> {
  const reader = body.getReader()
  const chunks: Uint8Array[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return Buffer.concat(chunks)
    bytes += value.length
    if (bytes > bytesMax) {
      // Not awaited: the rest may never come.
      void reader.cancel().catch(() => {})
      throw new Overlong(bytes)
    }
    chunks.push(value)
  }
}

export function responseOf({ status, headers, body, stream }: Answer): Response {
  if (stream !== undefined) return new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>, { status, headers })
  if (body.length === 0) return new Response(null, { status, headers: { 'Content-Length': '0', ...headers } })
  return new Response(body as string | Uint8Array<ArrayBuffer>, { status, headers })
}
