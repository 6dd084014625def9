/**
 * Long results, a part at a time: a result with a long `body` leaves without it, and the body is fetched with one question
 * after the other. No single frame keeps a slow connection from everybody else.
 */
import { Busy, NotFound, Unanswered } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Address, Millis } from '../model.ts'
import type { Deadlines } from './deadlines.ts'
import type { Peers } from './peers.ts'
import { fields } from './serving.ts'

export interface PartsOptions {
  io: Pick<Io, 'clock' | 'random'>
  deadlines: Deadlines
  peers: Peers
}

/** On the wire, instead of a result with a long body: its beginning, and under which token the rest is. */
interface Parted {
  result: object
  first: Uint8Array
  length: number
  token: string
}
interface PartRequest {
  token: string
  from: number
}

/** A second on a slow line. */
export const partBytes = 128 * 1024
/** Nobody asked for the next part of a body for this long. */
const partsLast: Millis = 15_000
const partTimeout: Millis = 10_000
/** What is kept at the same time, of all bodies. */
const keptBytesMax = 256 * 1024 * 1024

export class Parts {
  readonly #options: PartsOptions
  readonly #kept = new Map<string, { body: Uint8Array; cancel: () => void }>()
  #keptBytes = 0

  constructor(options: PartsOptions) {
    this.#options = options
    options.peers.answer('long.part', (body) => this.#part(body))
  }

  /** How many bytes wait to be fetched. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /** What to send for a result. @throws Busy */
  split(result: unknown): unknown {
    const { body } = (result ?? {}) as { body?: unknown }
    if (!(body instanceof Uint8Array) || body.length <= partBytes) return result
    if (this.#keptBytes + body.length > keptBytesMax) throw new Busy('too many long answers are on their way already')
    const token = this.#options.io.random.uuid()
    this.#keptBytes += body.length
    this.#kept.set(token, { body, cancel: this.#forgetLater(token) })
    const parted: Parted = {
      result: { ...(result as object), body: undefined },
      first: body.subarray(0, partBytes),
      length: body.length,
      token,
    }
    return parted
  }

  /** The result that `split` was given there. @throws Unanswered the rest did not come; what `abandoned` says */
  async joined(from: Address, received: unknown, abandoned: AbortSignal): Promise<unknown> {
    if (!isParted(received)) return received
    const { result, first, length, token } = received
    const parts = [first]
    let bytes = first.length
    while (bytes < length) {
      const request: PartRequest = { token, from: bytes }
      const asking = this.#options.peers.ask(from, 'long.part', request, partTimeout, abandoned)
      const part = await asking.catch((error: Error) => {
        abandoned.throwIfAborted()
        // Whatever was the matter: the beginning of an answer is none.
        throw new Unanswered(`the rest of the answer did not come: ${error.message}`, { cause: error })
      })
      if (!(part instanceof Uint8Array) || part.length === 0)
        throw new Unanswered('the rest of the answer did not come')
      parts.push(part)
      bytes += part.length
    }
    return { ...result, body: Buffer.concat(parts) }
  }

  /** The asker has what comes before `from`. */
  #part(body: unknown): Uint8Array {
    const { token, from } = fields<PartRequest>(body, { token: 'string', from: 'number' })
    const kept = this.#kept.get(token)
    if (kept === undefined) throw new NotFound('this answer is not kept any more')
    kept.cancel()
    if (from + partBytes >= kept.body.length) this.#forget(token)
    else kept.cancel = this.#forgetLater(token)
    return kept.body.subarray(from, from + partBytes)
  }

  #forgetLater(token: string): () => void {
    const { io, deadlines } = this.#options
    return deadlines.at(io.clock.now() + partsLast, () => this.#forget(token))
  }

  #forget(token: string): void {
    const kept = this.#kept.get(token)
    if (kept === undefined) return
    this.#kept.delete(token)
    this.#keptBytes -= kept.body.length
  }
}

function isParted(result: unknown): result is Parted {
  const { first, length, token } = (result ?? {}) as Partial<Parted>
  return first instanceof Uint8Array && typeof length === 'number' && typeof token === 'string'
}
