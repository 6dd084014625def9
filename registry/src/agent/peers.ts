/**
 * Asking another agent. A request is a frame on its rpc channel, or on one of the gossip channels, which every member has
 * (`sealed.ts`); the reply comes back on the same connection, so an
 * agent that nobody can connect to can still ask. Ids begin at a random number: a reply meant for a former life of this
 * agent must not settle a request of this one.
 */
import { Packr } from 'msgpackr'
import * as errors from '../errors.ts'
import { addressText } from '../io/address.ts'
import type { Channel, Io, Network, Reply } from '../io/io.ts'
import { Repeats } from '../io/repeats.ts'
import type { Address, Millis } from '../model.ts'
import type { Deadlines } from './deadlines.ts'

/** The first byte of every frame on the rpc channel. A gossip packet begins with none of them. */
export const frameKind = { raft: 1, request: 2, reply: 3 } as const

/** Answers a request; what it throws goes back to the one who asked, as the same class. */
export type Answer = (body: unknown) => unknown

/** An answer as bytes already: the same one for many who ask is packed once. See `Peers.packed`. */
export class Packed {
  readonly bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}

interface Asked {
  to: string
  /** It was asked because it led. */
  leader: boolean
  resolve(body: unknown): void
  reject(reason: Error): void
}

/** The classes that keep their meaning on the way back. */
const travelling = new Map<string, new (message: string) => Error>(
  [
    errors.BadRequest,
    errors.NotFound,
    errors.TooLarge,
    errors.Refused,
    errors.MajorityUnheard,
    errors.NoLeader,
    errors.LeadershipLost,
    errors.Busy,
    errors.Stopped,
    errors.NoPath,
    errors.DatacenterLost,
    errors.Unreachable,
  ].map((type) => [type.name, type]),
)

/** The connection could not be made, so nothing was sent on it. */
const neverSent = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ERR_SOCKET_CLOSED_BEFORE_CONNECTION',
])

/** What a request that is given up has to be answered in. */
const lastMoment: Millis = 200

type PeersIo = Pick<Io, 'clock' | 'random' | 'log'> & {
  network: Pick<Network, 'frame'> & Partial<Pick<Network, 'onLost'>>
}

export class Peers {
  readonly #io: PeersIo
  readonly #channel: Channel
  readonly #deadlines: Deadlines
  readonly #asked = new Map<number, Asked>()
  readonly #answers = new Map<string, Answer>()
  readonly #packr = new Packr({ useRecords: false })
  readonly #repeats: Repeats
  #next: number
  #stopped = false

  constructor(io: PeersIo, deadlines: Deadlines, channel: Channel = 'rpc') {
    this.#io = io
    this.#channel = channel
    this.#deadlines = deadlines
    this.#repeats = new Repeats(io.log)
    this.#next = io.random.word()
    io.network.onLost?.(channel, (to, reason) => this.#lost(addressText(to), reason))
  }

  /** From now on requests for `method` are answered by `answer`. */
  answer(method: string, answer: Answer): void {
    this.#answers.set(method, answer)
  }

  /** What an answer may return for `body` as often as it likes. */
  packed(body: unknown): Packed {
    return new Packed(this.#packr.pack([null, body]))
  }

  /**
   * @param abandoned ends the waiting with its reason; the other agent is not told
   * @throws Unreachable it certainly was not seen; Unanswered nothing came back within `timeout`; or what the other
   * agent threw.
   */
  ask(to: Address, method: string, body: unknown, timeout: Millis, abandoned?: AbortSignal): Promise<unknown> {
    return this.#ask(to, false, method, body, timeout, abandoned)
  }

  /** As `ask`, of whoever leads: until `abandon` is told that it does not any more. */
  askLeader(to: Address, method: string, body: unknown, timeout: Millis): Promise<unknown> {
    return this.#ask(to, true, method, body, timeout, undefined)
  }

  #ask(
    to: Address,
    leader: boolean,
    method: string,
    body: unknown,
    timeout: Millis,
    abandoned: AbortSignal | undefined,
  ): Promise<unknown> {
    if (this.#stopped) return Promise.reject(new errors.Stopped())
    if (abandoned?.aborted === true) return Promise.reject(abandoned.reason)
    const id = this.#next
    this.#next = (this.#next + 1) >>> 0
    return new Promise((resolve, reject) => {
      const where = addressText(to)
      const late = this.#deadlines.at(this.#io.clock.now() + timeout, () =>
        settle(() => reject(new errors.Unanswered(`no answer from ${where} within ${timeout} ms to "${method}"`))),
      )
      const settle = (act: () => void) => {
        if (!this.#asked.delete(id)) return
        late()
        abandoned?.removeEventListener('abort', abandon)
        act()
      }
      const abandon = () => settle(() => reject(abandoned?.reason))
      abandoned?.addEventListener('abort', abandon)
      this.#asked.set(id, {
        to: where,
        leader,
        resolve: (answer) => settle(() => resolve(answer)),
        reject: (reason) => settle(() => reject(reason)),
      })
      this.#io.network.frame(this.#channel, to, this.#pack(frameKind.request, id, [method, body]), (reason) => {
        const { code } = reason as NodeJS.ErrnoException
        const message = `${where}: ${reason.message}`
        const failure =
          code !== undefined && neverSent.has(code) ? new errors.Unreachable(message) : new errors.Unanswered(message)
        settle(() => reject(failure))
      })
    })
  }

  /**
   * It is not the leader any more, or it is gone: what it was asked as such is given up. That has a moment yet: a leader
   * that steps down answers what it has committed, and a connection refused says that nothing was seen. What else it was
   * asked, for example about other datacenters, it may well answer.
   */
  abandon(to: Address, reason: string): void {
    const where = addressText(to)
    const given = [...this.#asked.values()].filter((asked) => asked.leader && asked.to === where)
    if (given.length === 0) return
    this.#deadlines.at(this.#io.clock.now() + lastMoment, () => {
      for (const asked of given) asked.reject(new errors.Unanswered(reason))
    })
  }

  /** What came before the connection ended was received; nothing more will. */
  #lost(where: string, reason: Error): void {
    for (const asked of [...this.#asked.values()]) {
      if (asked.to === where) asked.reject(new errors.Unanswered(`${where}: ${reason.message}`))
    }
  }

  /** A frame of kind request or reply. Malformed ones are logged and dropped. */
  receive(bytes: Uint8Array, reply: Reply): void {
    let id: number
    let body: unknown
    try {
      if (bytes.length < 5) throw new Error(`expected at least 5 bytes, received ${bytes.length}`)
      id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1)
      body = this.#packr.unpack(bytes.subarray(5))
      if (!Array.isArray(body)) throw new Error('expected a list')
    } catch (error) {
      this.#dropped('dropped a malformed request', { error: (error as Error).message })
      return
    }
    if (bytes[0] === frameKind.reply) this.#settle(id, body)
    else if (bytes[0] === frameKind.request) void this.#serve(id, body, reply)
    else this.#dropped('dropped a frame of unknown kind; is that agent newer?', { kind: bytes[0] })
  }

  #dropped(message: string, fields: Record<string, unknown>): void {
    this.#repeats.warn(message, this.#io.clock.now(), 'rpc', message, fields)
  }

  /** Says what was held back. Called now and then. */
  tick(now: Millis): void {
    this.#repeats.tick(now)
  }

  stop(): void {
    this.#stopped = true
    for (const asked of [...this.#asked.values()]) asked.reject(new errors.Stopped())
  }

  #settle(id: number, body: unknown[]): void {
    const asked = this.#asked.get(id)
    if (asked === undefined) return
    const [failure, value] = body
    if (!Array.isArray(failure)) {
      asked.resolve(value)
      return
    }
    // What makes no text makes String throw, and whoever throws here ends the agent.
    const [name = '', message = ''] = failure.map((each) => (typeof each === 'string' ? each : ''))
    const Type = travelling.get(name)
    if (name === 'NotLeader') asked.reject(new errors.NotLeader())
    else asked.reject(Type === undefined ? new Error(`${asked.to}: ${message}`) : new Type(message))
  }

  async #serve(id: number, body: unknown[], reply: Reply): Promise<void> {
    const [method, argument] = body
    let answer: unknown[] | Packed
    try {
      const serve = this.#answers.get(String(method))
      if (serve === undefined) throw new errors.BadRequest(`unknown request "${String(method)}"; is this agent older?`)
      const value = await serve(argument)
      answer = value instanceof Packed ? value : [null, value]
    } catch (error) {
      const { name, message } = error as Error
      answer = [[name, message]]
    }
    try {
      reply(this.#pack(frameKind.reply, id, answer))
    } catch (error) {
      // Too long for a frame: the one who asked has to hear something.
      reply(this.#pack(frameKind.reply, id, [['Error', (error as Error).message]]))
    }
  }

  #pack(kind: number, id: number, body: unknown): Uint8Array {
    const packed = body instanceof Packed ? body.bytes : this.#packr.pack(body)
    const frame = new Uint8Array(5 + packed.length)
    frame[0] = kind
    new DataView(frame.buffer).setUint32(1, id)
    frame.set(packed, 5)
    return frame
  }
}
