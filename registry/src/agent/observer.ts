/**
 * An agent that is no server: it follows the committed log of any server, a long poll from its last index, and takes the
 * whole state when that server cannot go on from there. It is in no Raft configuration, so agents come and go without
 * touching consensus. Servers send committed entries only, so what an observer holds was acknowledged by a majority.
 */

import { parseAddress } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type { Address, Index, Millis, NodeId, Term } from '../model.ts'
import type { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import type { Peers } from './peers.ts'

/** What an observer asks: everything committed after (index, term) of this cluster, waiting up to `wait` for news. */
export interface FollowRequest {
  cluster: string
  index: Index
  term: Term
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
  restore(chunks: Uint8Array[]): void
}

const pollWait: Millis = 2_000
const askTimeout: Millis = 5_000
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
  #stopped = false

  constructor(options: ObserverOptions) {
    this.#options = options
  }

  get lastContact(): Millis {
    return this.#leaderHeard === undefined ? 0 : this.#options.io.clock.now() - this.#leaderHeard
  }

  waitApplied(index: Index): Promise<void> {
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
        this.#server = undefined
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
    const { io, peers, servers } = this.#options
    this.#server ??= io.random.pick(servers())
    if (this.#server === undefined) throw new Error('no server is known')
    const request: FollowRequest = { cluster: this.cluster, index: this.applied, term: this.#term, wait: pollWait }
    const reply = (await peers.ask(this.#server, 'follow', request, askTimeout)) as FollowReply
    if (reply.entries === undefined) await this.#takeState(this.#server)
    else {
      this.cluster = reply.cluster
      for (const { index, term, data } of reply.entries) {
        if (index !== this.applied + 1) throw new Error(`entry ${index} follows ${this.applied}`)
        if (data !== undefined) this.#options.apply(index, data)
        this.applied = index
        this.#term = term
      }
    }
    this.#told(reply)
  }

  async #takeState(server: Address): Promise<void> {
    const chunks: Uint8Array[] = []
    let token = 0
    for (;;) {
      const request: StateRequest = { token }
      const reply = (await this.#options.peers.ask(server, 'state', request, askTimeout)) as StateReply
      if (reply.chunk === undefined) {
        this.#options.restore(chunks)
        this.applied = reply.index
        this.#term = reply.term
        this.cluster = reply.cluster
        return
      }
      chunks.push(reply.chunk)
      token = reply.token
    }
  }

  #told(reply: Pick<FollowReply, 'leader' | 'leaderAddress' | 'peers' | 'lastContact'>): void {
    this.leader = reply.leader
    this.leaderAddress = reply.leader === '' ? undefined : parseAddress(reply.leaderAddress)
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
