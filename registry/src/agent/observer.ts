/**
 * An agent that is no server: it follows the committed log of any server, a long poll from its last index, and takes the
 * whole state when that server cannot go on from there. It is in no Raft configuration, so agents come and go without
 * touching consensus. Servers send committed entries only, so what an observer holds was acknowledged by a majority.
 *
 * A server that is silent for longer than its answers take loses its place to the first of the others that answers: within
 * a second the store moves on. Servers that come and go are taken into account by choosing anew every few minutes.
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

/** A server without news answers after this, and a tick of its clock. */
const pollWait: Millis = 300
/** One that has not by then is silent: another is asked as well, and whoever answers first is followed. */
const silenceMax: Millis = 600
/** A question is given up after this; twice as long after each time that this came to nothing, for the network may be slow. */
const patienceMin: Millis = 1_500
const patienceMax: Millis = 6_000
const pauseAfterFailure: Millis = 500
/** Between these two another server is chosen, so that those who came back get their share. */
const stayMin: Millis = 120_000
const stayMax: Millis = 240_000
/**
 * So many answers with entries are followed by the next question at once, and so many more a second. Writes without end then
 * come in batches, one or two a tick, unless somebody here waits for one: otherwise every one of them would cost a server a
 * message for each observer.
 */
const hurriesMax = 20
const hurriesPerSecond = 5
/** Entries are applied for so long without a pause; after how many the clock is looked at. */
const sliceMax: Millis = 5
const sliceEntries = 32

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
  /** When what is here was last as new as the leader's, as far as we know: a server without one may be long behind. */
  #leaderHeard: Millis = Number.NEGATIVE_INFINITY
  /** The one that answered last. */
  #server: Address | undefined
  /** The server last given up: it is asked last. */
  #avoided = ''
  /** When another server is chosen. */
  #stayUntil: Millis = 0
  #patience = patienceMin
  #hurries = hurriesMax
  #hurriesAt: Millis = 0
  /** Ends the rest between two questions. */
  #hurry = () => {}
  /** Servers that said, since one of ours last answered, that they are of another cluster. */
  readonly #strangers = new Set<string>()
  #stopped = false

  constructor(options: ObserverOptions) {
    this.#options = options
  }

  get lastContact(): Millis {
    return this.#options.io.clock.now() - this.#leaderHeard
  }

  waitApplied(index: Index): Promise<void> {
    if (this.#stopped) return Promise.reject(new Stopped())
    if (this.applied >= index) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.add({ index, resolve })
      this.#hurry()
    })
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
        this.#patience = Math.min(this.#patience * 2, patienceMax)
        this.#leave()
        this.#told({ leader: '', leaderAddress: '', peers: this.peers, lastContact: Number.POSITIVE_INFINITY })
        io.log('debug', 'agent', `following a server: ${(error as Error).message}`)
        await deadlines.until(io.clock.now() + pauseAfterFailure * (0.5 + io.random.fraction()))
      }
    }
  }

  stop(): void {
    this.#stopped = true
    this.#arrived(Number.POSITIVE_INFINITY)
  }

  async #follow(): Promise<void> {
    const { server, reply } = await this.#poll()
    if (this.#stopped) return
    if (this.#server !== server) this.#follows(server)
    if (reply.entries === undefined) await this.#takeState(server)
    else {
      this.cluster = reply.cluster
      await this.#apply(reply.entries)
    }
    if (this.#stopped) return
    this.#patience = patienceMin
    this.#strangers.clear()
    this.#told(reply)
    // It may be cut off, and another one not.
    if (reply.leader === '') this.#leave()
    // A server from whose state nobody can go on must not be asked for it without rest.
    if (reply.entries === undefined) await this.#nextTick()
    else if (reply.entries.length > 0) await this.#rest()
  }

  /**
   * The first answer: of the server we are with, or, when that fails or is silent, of the next one, and so on. A late answer of
   * those before still counts if it comes first. @throws what the last of them said when all have failed
   */
  #poll(): Promise<{ server: Address; reply: FollowReply }> {
    const { io, deadlines, peers } = this.#options
    const { cluster, applied: index, leader } = this
    const request: FollowRequest = { cluster, index, term: this.#term, leader, wait: pollWait }
    const candidates = this.#candidates()
    return new Promise((resolve, reject) => {
      let unanswered = 0
      let settled = false
      let notSilent = () => {}
      let failure = new Error('no server is known')
      const next = () => {
        notSilent()
        const server = settled ? undefined : candidates.next().value
        if (server !== undefined) ask(server)
        else if (unanswered === 0 && !settled) reject(failure)
      }
      const ask = (server: Address) => {
        unanswered++
        notSilent = deadlines.at(io.clock.now() + silenceMax, next)
        peers.ask(server, 'follow', request, this.#patience).then(
          (answer) => {
            const reply = answer as FollowReply
            if (settled) return
            if (cluster === '' || reply.cluster === cluster || this.#madeAnew(server)) {
              settled = true
              notSilent()
              resolve({ server, reply })
            } else failed(new Error(`${addressText(server)} is of cluster ${reply.cluster}, this agent of ${cluster}`))
          },
          (error: Error) => failed(error),
        )
      }
      const failed = (error: Error) => {
        unanswered--
        failure = error
        next()
      }
      next()
    })
  }

  /**
   * Whom to ask, in this order: the one we are with, then any, the one just left and those of another cluster last.
   */
  *#candidates(): Generator<Address, undefined> {
    const { io, servers } = this.#options
    if (this.#server !== undefined && io.clock.now() >= this.#stayUntil) this.#server = undefined
    const current = this.#server === undefined ? '' : addressText(this.#server)
    // Seldom more than this one, so the others are looked for when they are needed.
    if (this.#server !== undefined) yield this.#server
    const others = io.random.shuffle(servers().filter((server) => addressText(server) !== current))
    const last = (server: Address) => {
      const text = addressText(server)
      return Number(this.#strangers.has(text)) * 2 + Number(text === this.#avoided)
    }
    others.sort((a, b) => last(a) - last(b))
    yield* others
  }

  #follows(server: Address): void {
    const { io } = this.#options
    this.#server = server
    this.#stayUntil = io.clock.now() + stayMin + io.random.fraction() * (stayMax - stayMin)
    io.log('debug', 'agent', `following ${addressText(server)}`)
  }

  #leave(): void {
    if (this.#server !== undefined) this.#avoided = addressText(this.#server)
    this.#server = undefined
  }

  /**
   * A server of another cluster does not answer for ours: somebody may have begun a second one by mistake. But when all
   * that are left are of another, ours was made anew.
   */
  #madeAnew(server: Address): boolean {
    this.#strangers.add(addressText(server))
    return this.#options.servers().every((each) => this.#strangers.has(addressText(each)))
  }

  /** In slices: what comes in between, for example questions of clients and of gossip, does not wait for all of it. */
  async #apply(entries: NonNullable<FollowReply['entries']>): Promise<void> {
    const { io } = this.#options
    let end = io.clock.now() + sliceMax
    for (const [at, { index, term, data }] of entries.entries()) {
      if (at > 0 && at % sliceEntries === 0 && io.clock.now() >= end) {
        this.#arrived(this.applied)
        await io.turn()
        if (this.#stopped) return
        end = io.clock.now() + sliceMax
      }
      if (index !== this.applied + 1) throw new Error(`entry ${index} follows ${this.applied}`)
      if (data !== undefined) {
        try {
          this.#options.apply(index, data)
        } catch (error) {
          // As on a server: a state that cannot follow the log must not answer.
          io.halt(error as Error)
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
      const reply = (await this.#options.peers.ask(server, 'state', request, this.#patience)) as StateReply
      if (this.#stopped) return
      if (reply.chunk === undefined) {
        restoring.finish()
        // What of a history that is gone is waited for will not come; what is here now is what the cluster has.
        if (reply.index < this.applied || reply.cluster !== this.cluster) {
          this.#arrived(Number.POSITIVE_INFINITY)
          this.#leaderHeard = Number.NEGATIVE_INFINITY
        }
        this.applied = reply.index
        this.#term = reply.term
        this.cluster = reply.cluster
        return
      }
      restoring.add(reply.chunk)
      token = reply.token
    }
  }

  /** Not before a question that shall come at once. */
  #rest(): Promise<void> {
    const now = this.#options.io.clock.now()
    this.#hurries = Math.min(hurriesMax, this.#hurries + ((now - this.#hurriesAt) / 1000) * hurriesPerSecond)
    this.#hurriesAt = now
    if (this.#waiting.size > 0) return Promise.resolve()
    if (this.#hurries >= 1) {
      this.#hurries--
      return Promise.resolve()
    }
    return this.#nextTick()
  }

  /** Or when somebody begins to wait for an index. */
  #nextTick(): Promise<void> {
    const { io, deadlines } = this.#options
    return new Promise((resolve) => {
      const done = () => {
        cancel()
        this.#hurry = () => {}
        resolve()
      }
      const cancel = deadlines.at(io.clock.now() + 1, done)
      this.#hurry = done
    })
  }

  #told(reply: Pick<FollowReply, 'leader' | 'leaderAddress' | 'peers' | 'lastContact'>): void {
    this.leader = reply.leader
    this.leaderAddress = reply.leaderAddress === '' ? undefined : parseAddress(reply.leaderAddress)
    this.peers = reply.peers
    this.#leaderHeard = Math.max(this.#leaderHeard, this.#options.io.clock.now() - reply.lastContact)
    this.#arrived(this.applied)
    for (const notify of [...this.#subscribers]) notify()
  }

  /** The store holds all up to here. */
  #arrived(applied: Index): void {
    for (const waiter of [...this.#waiting]) {
      if (waiter.index > applied) continue
      this.#waiting.delete(waiter)
      waiter.resolve()
    }
  }
}
