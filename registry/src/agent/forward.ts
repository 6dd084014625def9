/**
 * Writes and read indexes go to the leader, wherever it is. Held for a while when none is known; tried again when the leader
 * did not act, and when nobody knows whether it did: reads change nothing, and writes carry a number by which the state
 * applies them once. When the time is over, a write that certainly did not happen is NoLeader, any other LeadershipLost.
 */
import {
  BadRequest,
  LeadershipLost,
  NoLeader,
  NotLeader,
  Refused,
  Stopped,
  TooLarge,
  Unanswered,
  Unreachable,
} from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Address, Index, Millis } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import { type Command, decodeCommand, encodeCommand, type Result, readsAs, type SentCommand } from '../store/command.ts'
import type { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import type { Peers } from './peers.ts'
import type { Written } from './surface.ts'

/** What one agent asks the leader for another. `cluster` guards against a stranger at a reused address. */
export interface WriteRequest {
  cluster: string
  data: Uint8Array
}
export interface WriteReply {
  index: Index
  result: Result
}
export interface ReadRequest {
  cluster: string
  consistent: boolean
}
export interface ReadReply {
  index: Index
}

export interface ForwardOptions {
  io: Io
  deadlines: Deadlines
  peers: Peers
  following: Following
  replica: Replica | undefined
  /** How long to wait for a leader. Consul's `rpc_hold_timeout`: 7 s. */
  hold: Millis
}

/** A write answered by the leader waits this long at most for this node's own store to have it. */
const ownStoreWait: Millis = 1_000
const retryPause: Millis = 100
/** A leader that has not answered by then is asked once more: the connection may be dead, or the answer lost. */
const attemptMax: Millis = 2_000
/** Far above what the faces let in, and far below the longest frame, which carries the entry to the others. */
const commandBytesMax = 4 * 1024 * 1024

export class Forward {
  readonly #options: ForwardOptions
  /** The round now under way and the one that starts after it, per kind: a caller joins only a round not yet started. */
  readonly #rounds = new Map<boolean, { running: Promise<Index>; next: Promise<Index> | undefined }>()

  /** This life of the agent, as the state knows it. */
  readonly #origin: string
  #sequence = 0
  readonly #unsettled = new Set<number>()

  constructor(options: ForwardOptions) {
    this.#options = options
    this.#origin = options.io.random.uuid().slice(0, 18)
    let before = options.following.leaderAddress
    options.following.subscribe(() => {
      const now = options.following.leaderAddress
      if (before !== undefined && (before.host !== now?.host || before.port !== now.port)) {
        options.peers.abandon(before, 'the leader changed while the request was under way')
      }
      before = now
    })
  }

  /**
   * Under one number however often it is sent, so that a leader lost in the middle of it is no reason to give up: the
   * state applies it once (`store/origins.ts`).
   */
  async write(command: Command): Promise<Written> {
    const { following, io } = this.#options
    const sequence = ++this.#sequence
    this.#unsettled.add(sequence)
    let written: WriteReply
    try {
      written = await this.#held(() => this.#writeOnce(command, sequence))
    } finally {
      this.#unsettled.delete(sequence)
    }
    const { index, result } = written
    if ('error' in result) throw new Refused(result.error)
    if (following.applied < index) await this.#applied(index, io.clock.now() + ownStoreWait)
    return { ...result, index }
  }

  /** Resolves when this node's store is fresh enough. */
  async fresh(consistent: boolean): Promise<void> {
    const { following, io, hold, replica } = this.#options
    // The usual case by far: this is the leader, under its lease, and has applied all that is committed.
    const leased = consistent || !following.leading ? undefined : replica?.leaseIndex()
    if (leased !== undefined && following.applied >= leased) return
    const until = io.clock.now() + hold
    const index = await this.#within(this.#round(consistent), until)
    if (following.applied < index && !(await this.#applied(index, until))) {
      const behind = `this node is at index ${following.applied} and could not reach ${index} within ${hold} ms`
      throw new NoLeader(`${behind}; try again, ask another agent, or take what is here with ?stale`)
    }
  }

  /**
   * What the leader answers, `lead` when this node is it. May be asked more than once, and answered more than once.
   * @throws NoLeader when none answered in time
   */
  ask(method: string, request: unknown, lead: () => Promise<unknown>): Promise<unknown> {
    return this.#held(() => (this.#options.following.leading ? lead() : this.#harmless(method, request)))
  }

  /**
   * As the leader, for itself or for another agent. What `apply` would not understand must not get into the log: every
   * server would halt on it, at each start again.
   * @param command what `data` says, if that is known
   * @throws BadRequest, TooLarge, NotLeader; see `Replica.propose`
   */
  async lead(data: Uint8Array, command?: SentCommand): Promise<WriteReply> {
    const { replica } = this.#options
    if (replica === undefined || replica.status.role !== 'leader') throw new NotLeader()
    if (data.length > commandBytesMax) {
      throw new TooLarge(`expected a command of at most ${commandBytesMax} bytes, received ${data.length}`)
    }
    const { index, result } = await replica.propose(data, command ?? decodeCommand(data))
    return { index, result: result as Result }
  }

  /** As the leader: the commit index, under the lease or confirmed by a quorum. */
  async leadRead(consistent: boolean): Promise<Index> {
    const { replica } = this.#options
    if (replica === undefined || replica.status.role !== 'leader') throw new NotLeader()
    const leased = consistent ? undefined : replica.leaseIndex()
    return leased ?? (await replica.readIndex())
  }

  /** A request from another agent must be meant for this cluster. @throws BadRequest */
  expectCluster(cluster: string): void {
    const ours = this.#options.following.cluster
    if (cluster !== '' && ours !== '' && cluster !== ours) {
      throw new BadRequest(`this agent belongs to cluster ${ours}, the request is for ${cluster}`)
    }
  }

  #round(consistent: boolean): Promise<Index> {
    const rounds = this.#rounds.get(consistent)
    const start = () => this.#held(() => this.#readOnce(consistent))
    if (rounds === undefined) {
      const running = start()
      this.#rounds.set(consistent, { running, next: undefined })
      void running.catch(() => undefined).finally(() => this.#advance(consistent, running))
      return running
    }
    // Its answer could be older than this question: wait for it to end, and share the one after.
    rounds.next ??= rounds.running.catch(() => undefined).then(start)
    return rounds.next
  }

  #advance(consistent: boolean, ended: Promise<Index>): void {
    const rounds = this.#rounds.get(consistent)
    if (rounds?.running !== ended) return
    const { next } = rounds
    if (next === undefined) {
      this.#rounds.delete(consistent)
      return
    }
    this.#rounds.set(consistent, { running: next, next: undefined })
    void next.catch(() => undefined).finally(() => this.#advance(consistent, next))
  }

  #writeOnce(command: Command, sequence: number): Promise<WriteReply> {
    const { following } = this.#options
    // In the order they were begun: the first is the oldest.
    const [oldest = sequence] = this.#unsettled
    const sent: SentCommand = { ...command, from: [this.#origin, sequence, oldest - 1] }
    const data = encodeCommand(sent)
    if (following.leading) return this.lead(data, readsAs(sent))
    const request: WriteRequest = { cluster: following.cluster, data }
    return this.#ask('write', request) as Promise<WriteReply>
  }

  async #readOnce(consistent: boolean): Promise<Index> {
    const { following } = this.#options
    if (following.leading) return this.leadRead(consistent)
    const request: ReadRequest = { cluster: following.cluster, consistent }
    return ((await this.#harmless('read', request)) as ReadReply).index
  }

  /** What was not answered did not happen: it may be asked again. */
  async #harmless(method: string, request: unknown): Promise<unknown> {
    try {
      return await this.#ask(method, request)
    } catch (error) {
      if (error instanceof Unanswered || error instanceof LeadershipLost || error instanceof Stopped)
        throw new NotLeader()
      throw error
    }
  }

  #ask(method: string, request: unknown): Promise<unknown> {
    const { following, peers, hold } = this.#options
    const leader: Address | undefined = following.leaderAddress
    if (leader === undefined) return Promise.reject(new NotLeader())
    return peers.askLeader(leader, method, request, Math.min(attemptMax, hold))
  }

  /** Runs until it succeeds, fails for good, or the time is over. What runs must bear being run twice. */
  async #held<T>(act: () => Promise<T>): Promise<T> {
    const { io, deadlines, hold } = this.#options
    const until = io.clock.now() + hold
    let unknown: Error | undefined
    for (;;) {
      // Whoever stops in the middle of it knows no more than anybody else what became of what was sent.
      if (deadlines.stopped && unknown === undefined) throw new Stopped()
      if (deadlines.stopped) throw perhaps('this agent is stopping', unknown)
      try {
        return await act()
      } catch (caught) {
        const error = caught as Error
        if (error instanceof Unanswered || error instanceof LeadershipLost || error instanceof Stopped) unknown = error
        else if (!(error instanceof NotLeader || error instanceof Unreachable)) throw error
        if (io.clock.now() >= until) {
          throw unknown === undefined ? new NoLeader(undefined, { cause: error }) : perhaps(unknown.message, unknown)
        }
        await deadlines.until(io.clock.now() + retryPause)
      }
    }
  }

  /** A shared round may have been waiting for a leader before this caller came, and its successor begins anew. */
  #within<T>(act: Promise<T>, until: Millis): Promise<T> {
    return new Promise((resolve, reject) => {
      const { deadlines } = this.#options
      const late = () => reject(deadlines.stopped ? new Stopped() : new NoLeader())
      const cancel = deadlines.at(until + 2 * retryPause, late)
      act.then(resolve, reject).finally(cancel)
    })
  }

  /** False: the moment passed before the store held `index`. */
  #applied(index: Index, until: Millis): Promise<boolean> {
    const { following, deadlines } = this.#options
    return new Promise((resolve, reject) => {
      const cancel = deadlines.at(until, () => resolve(false))
      following.waitApplied(index).then(
        () => {
          cancel()
          resolve(true)
        },
        (error: Error) => {
          cancel()
          reject(error)
        },
      )
    })
  }
}

function perhaps(reason: string, cause: Error | undefined): LeadershipLost {
  const words = `the write may or may not have happened: ${reason}; look before you send it again`
  return new LeadershipLost(words, { cause })
}
