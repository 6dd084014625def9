/**
 * Requests to another agent that may take minutes there, as a blocking query in another datacenter does. The reply comes
 * when there is one. Meanwhile the asker says once a second, for all its requests to that agent together, which of them
 * it still wants: an agent that is gone is noticed by that, and a connection in use is not closed as idle. On the other
 * side, work that nobody wants any more is broken off. A long `body` of a result is fetched in parts, so that no single
 * frame keeps a slow connection from everybody else, that list included.
 */
import { BadRequest, Busy, Stopped, Unanswered, Unreachable } from '../errors.ts'
import { addressText } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type { Address, Millis } from '../model.ts'
import type { Deadlines } from './deadlines.ts'
import { Parts } from './parts.ts'
import type { Peers } from './peers.ts'
import { fields } from './serving.ts'

/** What the other side does for one request; `abandoned` fires when nobody waits for its result any more, or this agent stops. */
export type LongAnswer = (body: unknown, abandoned: AbortSignal) => Promise<unknown> | unknown

export interface LongRequestsOptions {
  io: Pick<Io, 'clock' | 'random'>
  deadlines: Deadlines
  peers: Peers
}

/** On the wire; `asker` is one life of one agent, `id` counts its requests. */
interface Begin {
  asker: string
  id: number
  method: string
  body: unknown
}
interface Listed {
  asker: string
  ids: number[]
}

const wantedEvery: Millis = 1_000
/** An agent that does not answer the list for this long is gone. */
const wantedTimeout: Millis = 2_500
/** Work that was not on any list for this long is broken off. */
const unwantedMax: Millis = 10_000
/** Requests of others that are worked on at the same time. */
const openMax = 4096

export class LongRequests {
  readonly #options: LongRequestsOptions
  readonly #asker: string
  #last = 0
  /** By the address asked: what we wait for there. */
  readonly #waiting = new Map<string, { to: Address; requests: Map<number, AbortController> }>()
  readonly #answers = new Map<string, LongAnswer>()
  readonly #open = new Map<string, { abandon: AbortController; wantedAt: Millis }>()
  readonly #parts: Parts

  constructor(options: LongRequestsOptions) {
    this.#options = options
    this.#asker = options.io.random.uuid()
    const { peers } = options
    peers.answer('long', (body) => this.#begin(body))
    peers.answer('long.wanted', (body) => this.#wanted(body))
    peers.answer('long.end', (body) => this.#end(body))
    this.#parts = new Parts(options)
  }

  /** How many requests of ours are under way, to everybody. */
  get asked(): number {
    return [...this.#waiting.values()].reduce((sum, { requests }) => sum + requests.size, 0)
  }

  /** How many requests of others are being worked on. */
  get open(): number {
    return this.#open.size
  }

  /** How many bytes of answers wait to be fetched. */
  get keptBytes(): number {
    return this.#parts.keptBytes
  }

  /** Whether that agent answers. */
  async reaches(to: Address, timeout: Millis): Promise<boolean> {
    const listed: Listed = { asker: this.#asker, ids: [] }
    const answered = () => true
    return this.#options.peers.ask(to, 'long.wanted', listed, timeout).then(answered, () => false)
  }

  /** From now on long requests for `method` are answered by `answer`. */
  answer(method: string, answer: LongAnswer): void {
    this.#answers.set(method, answer)
  }

  /**
   * @param within when to give up at the latest; an agent that is gone is noticed much sooner
   * @param abandoned nobody wants the reply any more: rejects with its reason, and the other side is told
   * @throws Unreachable it certainly was not seen; Unanswered it may have been; or what the other agent threw
   */
  async ask(to: Address, method: string, body: unknown, within: Millis, abandoned?: AbortSignal): Promise<unknown> {
    abandoned?.throwIfAborted()
    const { peers } = this.#options
    const id = ++this.#last
    const line = this.#line(to)
    const given = new AbortController()
    line.requests.set(id, given)
    const abandon = () => {
      given.abort(abandoned?.reason)
      const listed: Listed = { asker: this.#asker, ids: [id] }
      // If it gets lost, the work is not on the next lists.
      peers.ask(to, 'long.end', listed, wantedTimeout).catch(() => {})
    }
    abandoned?.addEventListener('abort', abandon)
    try {
      const begin: Begin = { asker: this.#asker, id, method, body }
      const result = await peers.ask(to, 'long', begin, within, given.signal)
      // The other side works on it no more: it is not to be on the list.
      line.requests.delete(id)
      return await this.#parts.joined(to, result, given.signal)
    } finally {
      abandoned?.removeEventListener('abort', abandon)
      line.requests.delete(id)
    }
  }

  #line(to: Address) {
    const where = addressText(to)
    const known = this.#waiting.get(where)
    if (known !== undefined) return known
    const line = { to, requests: new Map<number, AbortController>() }
    this.#waiting.set(where, line)
    this.#beat(where)
    return line
  }

  #beat(where: string): void {
    const { io, deadlines, peers } = this.#options
    deadlines.at(io.clock.now() + wantedEvery, async () => {
      const line = this.#waiting.get(where)
      if (line === undefined) return
      if (line.requests.size === 0 || deadlines.stopped) {
        this.#waiting.delete(where)
        return
      }
      const listed: Listed = { asker: this.#asker, ids: [...line.requests.keys()] }
      try {
        const { unknown } = (await peers.ask(line.to, 'long.wanted', listed, wantedTimeout)) as { unknown: number[] }
        for (const id of unknown) {
          // It came and went without its reply getting here: the connection broke in between, or that agent is a new one.
          line.requests.get(id)?.abort(new Unanswered(`${where}: the connection was lost before the answer came`))
        }
      } catch (error) {
        for (const id of listed.ids) line.requests.get(id)?.abort(gone(where, error as Error))
      }
      this.#beat(where)
    })
  }

  async #begin(body: unknown): Promise<unknown> {
    const begin = fields<Begin>(body, { asker: 'string', id: 'number', method: 'string', body: 'object' })
    if (this.#options.deadlines.stopped) throw new Unreachable('this agent is stopping')
    const answer = this.#answers.get(begin.method)
    if (answer === undefined) throw new BadRequest(`unknown request "${begin.method}"; is this agent older?`)
    if (this.#open.size >= openMax) throw new Busy(`this agent works on ${openMax} requests from elsewhere already`)
    const key = keyOf(begin.asker, begin.id)
    if (this.#open.has(key)) throw new BadRequest('this request is worked on already')
    const work = { abandon: new AbortController(), wantedAt: this.#options.io.clock.now() }
    this.#open.set(key, work)
    const cancel = this.#watch(work)
    try {
      return this.#parts.split(await answer(begin.body, work.abandon.signal))
    } finally {
      cancel()
      this.#open.delete(key)
    }
  }

  /** Breaks the work off when it is on no list any more. Returns what calls the watch off. */
  #watch(work: { abandon: AbortController; wantedAt: Millis }): () => void {
    const { io, deadlines } = this.#options
    let cancel = () => {}
    const look = () => {
      if (deadlines.stopped) work.abandon.abort(new Stopped())
      else if (io.clock.now() - work.wantedAt >= unwantedMax) work.abandon.abort()
      else cancel = deadlines.at(work.wantedAt + unwantedMax, look)
    }
    look()
    return () => cancel()
  }

  #wanted(body: unknown): { unknown: number[] } {
    const { asker, ids } = listed(body)
    const now = this.#options.io.clock.now()
    const unknown: number[] = []
    for (const id of ids) {
      const work = this.#open.get(keyOf(asker, id))
      if (work === undefined) unknown.push(id)
      else work.wantedAt = now
    }
    return { unknown }
  }

  #end(body: unknown): boolean {
    const { asker, ids } = listed(body)
    for (const id of ids) this.#open.get(keyOf(asker, id))?.abandon.abort()
    return true
  }
}

const keyOf = (asker: string, id: number) => `${id} ${asker}`

function listed(body: unknown): Listed {
  const { asker, ids } = fields<Listed>(body, { asker: 'string', ids: 'object' })
  if (!Array.isArray(ids) || !ids.every((id) => typeof id === 'number')) throw new BadRequest('expected a list of ids')
  return { asker, ids }
}

/** What was under way there may have been acted upon, even though the list of what we want never got there. */
function gone(where: string, cause: Error): Unanswered {
  const { message } = cause
  if (message.includes(`within ${wantedTimeout} ms`)) {
    return new Unanswered(`${where}: no sign of life for ${wantedTimeout} ms`, { cause })
  }
  return new Unanswered(message.includes(where) ? message : `${where}: ${message}`, { cause })
}
