/**
 * What every routed answer gets on its way out, whichever way its request came in: `Vary`, the configured headers, and
 * compression for who asks for it. Nothing else may be done to an answer here: it may be shared.
 */
import type { Answer, HttpOptions, Sent } from './endpoint.ts'

/**
 * Consul 1.8 compresses whatever is not empty: a key of 95 bytes leaves in 104. A body that fits into one packet gains
 * nothing and costs a turn of a thread, and Go's clients always ask.
 */
export const gzipBytesMin = 1400

/** A text longer than this is compressed anew each time; so many characters of texts are kept in all. */
const keptMax = 4 * 1024 * 1024

export type Outward = (answer: Answer, request: Sent) => Answer | Promise<Answer>

export function outward({ gzip, responseHeaders = {} }: HttpOptions): Outward {
  const always = { ...responseHeaders, Vary: 'Accept-Encoding' }
  const compressed = gzip === undefined ? undefined : new Compressed(gzip)
  return (answer, request) => {
    const { status, headers, body, stream } = answer
    const plain: Answer = { status, headers: { ...always, ...headers }, body, ...(stream && { stream }) }
    if (compressed === undefined || body.length < gzipBytesMin || stream !== undefined) return plain
    if (!acceptsGzip(request.header('accept-encoding'))) return plain
    const smaller = { ...plain.headers, 'Content-Encoding': 'gzip' }
    // Who cannot have it smaller can have it as it is.
    return compressed.of(body).then(
      (bytes) => ({ status, headers: smaller, body: bytes }),
      () => plain,
    )
  }
}

/** Whether `Accept-Encoding` names gzip with a weight above 0; as in Consul, `*` does not. */
export function acceptsGzip(header: string | null): boolean {
  if (header === null) return false
  return header.split(',').some((coding) => {
    const [name = '', ...parameters] = coding.split(';').map((part) => part.trim().toLowerCase())
    if (name !== 'gzip') return false
    const weight = parameters.findLast((parameter) => parameter.startsWith('q='))
    return weight === undefined || Number(weight.slice(2)) > 0
  })
}

/** The compressed forms of texts that went out lately: many watch the same, and each of them is told the same. */
class Compressed {
  readonly #gzip: NonNullable<HttpOptions['gzip']>
  /** Oldest first. */
  readonly #kept = new Map<string, Promise<Uint8Array>>()
  #characters = 0

  constructor(gzip: NonNullable<HttpOptions['gzip']>) {
    this.#gzip = gzip
  }

  of(body: string | Uint8Array): Promise<Uint8Array> {
    // Bytes are values of keys: large ones, asked for by few.
    if (typeof body !== 'string' || body.length > keptMax / 4) return this.#gzip(body)
    const known = this.#kept.get(body)
    if (known !== undefined) return known
    const compressing = this.#gzip(body)
    this.#kept.set(body, compressing)
    this.#characters += body.length
    for (const oldest of this.#kept.keys()) {
      if (this.#characters <= keptMax) break
      this.#forget(oldest)
    }
    compressing.catch(() => this.#forget(body))
    return compressing
  }

  #forget(body: string): void {
    if (this.#kept.delete(body)) this.#characters -= body.length
  }
}
