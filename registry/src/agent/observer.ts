/**
 * An agent that is no server: it follows the committed log of any server, a long poll from its last index, and takes the
 * whole state when that server cannot go on from there. It is in no Raft configuration, so agents come and go without
 * touching consensus. Servers send committed entries only, so what an observer holds was acknowledged by a majority.
 */

import { Stopped } from '../errors.ts'
import { addressText, parseAddress } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type { Address, Index, Millis, NodeId, Term } from '../model.ts'
import type { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import type { Peers } from './peers.ts'

/**
 * What an observer asks: everything committed after (index, term) of this cluster, waiting up to `wait` for news. Another
 * leader than the one it knows is news, too.
 */
export interface FollowRequest {
  cluster: string
  index: Index
  term: Term
  leader: NodeId | ''
  wait: Millis
}

/** `entries` undefined: the server cannot go on from there; ask for the state. */
export interface FollowReply {
  cluster: string
  leader: NodeId | ''
  leaderAddress: string
  peers: string[]
  lastContact: Millis
  entries: { index: Index; term: Term; data: Uint8Array | undefined }[] | undefined
}

/** A slice of a whole state; `token` names the transfer. */
export interface StateRequest {
  token: number
}
export interface StateReply {
  token: number
  index: Index
  term: Term
  cluster: string
  chunk: Uint8Array | undefined
}

export interface ObserverOptions {
  io: Io
  deadlines: Deadlines
  peers: Peers
  /** Servers that gossip believes alive. */
  servers: () => Address[]
  apply(index: Index, data: Uint8Array): void
  /** Takes a whole state as it comes; what there is stays until `finish`. Both throw Corrupt for what is none. */
  restoring(): { add(chunk: Uint8Array): void; finish(): void }
}

const pollWait: Millis = 1_000
/** A server that is gone without a word is noticed after this. */
const followTimeout: Millis = 2_500
const stateTimeout: Millis = 10_000
const pauseAfterFailure: Millis = 500

export class Observer implements Following {
  readonly #options: ObserverOptions
  readonly #subscribers = new Set<() => void>()
  readonly #waiting = new Set<{ index: Index; resolve(): void }>()
  applied: Index = 0
  #term: Term = 0
  cluster = ''
  readonly leading = false
  leader: NodeId | '' = ''
  leaderAddress: Address | undefined
  peers: string[] = []
  #leaderHeard: Millis | undefined
  #server: Address | undefined
  /** The server last given up: another one is asked next, if there is one. */
  #avoided = ''
  /** Servers that said, since one of ours last answered, that they are of another cluster. */
  readonly #strangers = new Set<string>()
  #stopped = false

  constructor(options: ObserverOptions) {
    this.#options = options
  }

  get lastContact(): Millis {
    return this.#leaderHeard === undefined ? 0 : this.#options.io.clock.now() - this.#leaderHeard
  }

  waitApplied(index: Index): Promise<void> {
    if (this.#stopped) return Promise.reject(new Stopped())
    if (this.applied >= index) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.add({ index, resolve }))
  }

  subscribe(onChange: () => void): () => void {
    this.#subscribers.add(onChange)
    return () => {
      this.#subscribers.delete(onChange)
    }
  }

  /** Follows until stopped. */
  async run(): Promise<void> {
    const { io, deadlines } = this.#options
    while (!this.#stopped) {
      try {
        await this.#follow()
      } catch (error) {
        if (this.#stopped) return
        if (this.#server !== undefined) this.#leave(this.#server)
        this.#told({ leader: '', leaderAddress: '', peers: this.peers, lastContact: 0 })
        io.log('debug', 'agent', `following a server: ${(error as Error).message}`)
        await deadlines.until(io.clock.now() + pauseAfterFailure)
      }
    }
  }

  stop(): void {
    this.#stopped = true
    for (const waiter of this.#waiting) waiter.resolve()
    this.#waiting.clear()
  }

  async #follow(): Promise<void> {
    const server = this.#choose()
    if (server === undefined) throw new Error('no server is known')
    const { cluster, applied: index, leader } = this
    const request: FollowRequest = { cluster, index, term: this.#term, leader, wait: pollWait }
    const reply = (await this.#options.peers.ask(server, 'follow', request, followTimeout)) as FollowReply
    if (this.#stopped) return
    if (cluster !== '' && reply.cluster !== cluster && !this.#ours(server)) {
      throw new Error(`${addressText(server)} is of cluster ${reply.cluster}, this agent of ${cluster}`)
    }
    if (reply.entries === undefined) await this.#takeState(server)
    else {
      this.cluster = reply.cluster
      this.#apply(reply.entries)
    }
    this.#strangers.clear()
    this.#told(reply)
    // It may be cut off, and another one not.
    if (reply.leader === '') this.#leave(server)
  }

  /** The one we are with; otherwise any, but rather neither the one just left nor one of another cluster. */
  #choose(): Address | undefined {
    if (this.#server !== undefined) return this.#server
    const known = this.#options.servers()
    const preferred = known.filter((server) => !this.#strangers.has(addressText(server)))
    const others = preferred.filter((server) => addressText(server) !== this.#avoided)
    for (const servers of [others, preferred, known]) {
      this.#server ??= this.#options.io.random.pick(servers)
    }
    return this.#server
  }

  #leave(server: Address): void {
    this.#server = undefined
    this.#avoided = addressText(server)
  }

  /**
   * A server of another cluster does not answer for ours: somebody may have begun a second one by mistake. But when all
   * that are left are of another, ours was made anew.
   */
  #ours(server: Address): boolean {
    this.#strangers.add(addressText(server))
    return this.#options.servers().every((each) => this.#strangers.has(addressText(each)))
  }

  #apply(entries: NonNullable<FollowReply['entries']>): void {
    for (const { index, term, data } of entries) {
      if (index !== this.applied + 1) throw new Error(`entry ${index} follows ${this.applied}`)
      if (data !== undefined) {
        try {
          this.#options.apply(index, data)
        } catch (error) {
          // As on a server: a state that cannot follow the log must not answer.
          this.#options.io.halt(error as Error)
          throw error
        }
      }
      this.applied = index
      this.#term = term
    }
  }

  async #takeState(server: Address): Promise<void> {
    const restoring = this.#options.restoring()
    let token = 0
    for (;;) {
      const request: StateRequest = { token }
      const reply = (await this.#options.peers.ask(server, 'state', request, stateTimeout)) as StateReply
      if (reply.chunk === undefined) {
        restoring.finish()
        this.applied = reply.index
        this.#term = reply.term
        this.cluster = reply.cluster
        return
      }
      restoring.add(reply.chunk)
      token = reply.token
    }
  }

  #told(reply: Pick<FollowReply, 'leader' | 'leaderAddress' | 'peers' | 'lastContact'>): void {
    this.leader = reply.leader
    this.leaderAddress = reply.leaderAddress === '' ? undefined : parseAddress(reply.leaderAddress)
    this.peers = reply.peers
    if (reply.leader !== '') this.#leaderHeard = this.#options.io.clock.now() - reply.lastContact
    for (const waiter of [...this.#waiting]) {
      if (waiter.index > this.applied) continue
      this.#waiting.delete(waiter)
      waiter.resolve()
    }
    for (const notify of [...this.#subscribers]) notify()
  }
}
