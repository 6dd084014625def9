/**
 * The promises of Raft, looked at from outside whenever something changed: what nodes say of themselves, what leaves them,
 * and what is on their disks. Each look costs as much as has changed. A violation throws.
 *
 *   election safety          one leader in a term (`History.led`)
 *   leader completeness      who begins to lead has everything that is committed
 *   log matching             entries of the same index and term are the same, and so are those before them
 *   commitment               what is committed is on the disks of a majority, and is never another
 *   promises                 a vote, and "appended", leave after what they say is on disk; no second vote in a term; terms,
 *                            votes and the log do not go back over a restart
 *   bounded queues           what waits for the log stays below its limit
 */
import type { Disk } from '../../src/io/io.ts'
import type { Index, Term } from '../../src/model.ts'
import type { Configuration } from '../../src/raft/message.ts'
import { majority, voters } from '../../src/raft/quorum.ts'
import type { Replica } from '../../src/replica/replica.ts'
import { decodeFrame } from '../../src/replica/wire.ts'
import { type History, Violation } from './checkers.ts'
import type { SimulatedDisk } from './disk.ts'
import { WrittenLog } from './written-log.ts'

/** A server, by its id: one that lost its disk comes back under another. */
interface Server {
  log: WrittenLog
  /** Whom it voted for, by term. */
  votes: Map<Term, string>
  /** The highest term it made a promise in. */
  promised: Term
  /** Its log may end early, once. */
  forgiven: boolean
  // Of its present life.
  commit: Index
  leadsIn: Term
  configuration: Configuration | undefined
}

const messageFrame = 0
const voteReply = 1
const appendReply = 3
/** From its first own field to its end. */
const appendReplyLength = 1 + 5 * 8

export class Invariants {
  readonly #history: History
  readonly #servers = new Map<string, Server>()
  /** By index and term: what a disk held there first. */
  readonly #entries = new Map<string, { payload: Buffer; previousTerm: Term | undefined; id: string }>()
  /** The term of each committed entry, as far as somebody knew it. */
  readonly #committed: Term[] = []
  #commit: Index = 0
  readonly #proposalsMax: number
  elections = 0

  constructor(history: History, proposalsMax: number) {
    this.#history = history
    this.#proposalsMax = proposalsMax
  }

  /** The disk of a life that begins. */
  disk(id: string, disk: Disk): Disk {
    return this.#server(id).log.watch(disk)
  }

  /** It has read its disk and goes on from there. */
  started(id: string, replica: Replica, disk: SimulatedDisk): void {
    const server = this.#server(id)
    const { status } = replica
    const { lost } = server.log.reread(disk, status.snapshotIndex)
    if (lost !== undefined && !server.forgiven) {
      throw new Violation(`${id} starts with a log that ends at ${server.log.lastIndex}, and had it up to ${lost}`)
    }
    server.forgiven = false
    server.commit = status.commit
    server.leadsIn = 0
    server.configuration = status.configuration
    if (status.term < server.promised) {
      throw new Violation(`${id} starts in term ${status.term}, and has made promises in term ${server.promised}`)
    }
    const { term, vote } = server.log.hardState
    const given = server.votes.get(term)
    if (given !== undefined && given !== vote) {
      throw new Violation(`${id} starts with a vote for "${vote}" in term ${term}, and had voted for ${given}`)
    }
  }

  /** Something about it changed. */
  changed(id: string, replica: Replica): void {
    const server = this.#server(id)
    const { status } = replica
    if (status.commit < server.commit) {
      throw new Violation(`${id} has committed ${status.commit}, after ${server.commit}`)
    }
    if (status.applied > status.commit) throw new Violation(`${id} applied ${status.applied}, beyond ${status.commit}`)
    // A change of the configuration is no proposal.
    if (status.proposalsWaiting > this.#proposalsMax + 1) {
      throw new Violation(`${status.proposalsWaiting} proposals wait at ${id}, at most ${this.#proposalsMax} may`)
    }
    if (status.role === 'leader' && server.leadsIn !== status.term) {
      server.leadsIn = status.term
      this.elections++
      this.#history.led(id, status.term)
      this.#complete(id, replica)
    }
    if (status.commit > server.commit) this.#committing(id, server, replica)
    server.configuration = status.configuration
  }

  /** Its disk has lied, and it is known to have lost what it promised: nobody may rely on it, and nobody does. */
  forgive(id: string): void {
    const server = this.#server(id)
    server.votes.clear()
    server.promised = 0
    server.forgiven = true
  }

  /** Up to where its disk has the log. */
  durable(id: string): Index {
    const { log } = this.#server(id)
    return Math.max(log.lastIndex, log.snapshot)
  }

  /** A frame leaves. `bytes` are those of a replica's. */
  sent(bytes: Uint8Array): void {
    const kind = kindOf(bytes)
    if (kind !== voteReply && kind !== appendReply) return
    // An answer that acknowledges nothing promises nothing.
    if (kind === appendReply && bytes[bytes.length - appendReplyLength] !== 1) return
    const { header: frame, frame: decoded } = decodeFrame(bytes)
    if (decoded.kind !== 'message') return
    const { message } = decoded
    const server = this.#server(frame.from)
    if (message.type === 'voteReply' && message.granted && !message.pre) {
      const { term } = message
      const { hardState } = server.log
      const given = server.votes.get(term)
      if (given !== undefined && given !== frame.to) {
        throw new Violation(`${frame.from} votes for ${frame.to} in term ${term}, and has voted for ${given}`)
      }
      if (hardState.term < term || (hardState.term === term && hardState.vote !== frame.to)) {
        throw new Violation(
          `${frame.from} votes for ${frame.to} in term ${term}, and its disk says term ${hardState.term}, vote "${hardState.vote}"`,
        )
      }
      server.votes.set(term, frame.to)
      server.promised = Math.max(server.promised, term)
    } else if (message.type === 'appendReply' && message.success && message.match > 0) {
      const { log } = server
      // Of the log of the term it names; an older one it need not have any more.
      if (log.hardState.term <= message.term && Math.max(log.lastIndex, log.snapshot) < message.match) {
        throw new Violation(`${frame.from} says that it has ${message.match}, and its disk ends at ${log.lastIndex}`)
      }
      if (log.hardState.term === message.term) server.promised = Math.max(server.promised, message.term)
    }
  }

  /** Who begins to lead has what was committed in earlier terms; its votes may have been so long under way that it is late. */
  #complete(id: string, replica: Replica): void {
    const term = replica.termAt(this.#commit)
    const expected = this.#committed[this.#commit]
    if (this.#commit === 0 || expected === undefined || expected >= replica.status.term) return
    if (term === expected || (term === undefined && replica.status.snapshotIndex >= this.#commit)) return
    throw new Violation(
      `${id} leads in term ${replica.status.term} with ${term === undefined ? 'no entry' : `an entry of term ${term}`} at ${this.#commit}, where one of term ${expected} is committed`,
    )
  }

  #committing(id: string, server: Server, replica: Replica): void {
    const { commit, configuration } = replica.status
    for (let index = server.commit + 1; index <= commit; index++) {
      const term = replica.termAt(index)
      if (term === undefined) continue
      const known = this.#committed[index]
      if (known !== undefined && known !== term) {
        throw new Violation(
          `${id} commits an entry of term ${term} at ${index}, where one of term ${known} was committed`,
        )
      }
      this.#committed[index] = term
    }
    server.commit = commit
    if (commit <= this.#commit) return
    this.#commit = commit
    const term = replica.termAt(commit)
    if (term === undefined) return
    const holds = (one: Configuration) => {
      const all = voters(one)
      return all.filter((each) => this.#servers.get(each)?.log.has(commit, term)).length >= majority(all.length)
    }
    // The change and what it commits can come in one turn.
    if (holds(configuration) || (server.configuration !== undefined && holds(server.configuration))) return
    const ends = voters(configuration).map((each) => `${each} ${this.#servers.get(each)?.log.lastIndex}`)
    throw new Violation(`${id} commits ${commit}, which no majority has on disk: ${ends.join(', ')}`)
  }

  #durable(
    id: string,
    { index, term, previousTerm, payload }: Parameters<ConstructorParameters<typeof WrittenLog>[0]>[0],
  ) {
    const key = `${index} ${term}`
    const known = this.#entries.get(key)
    if (known === undefined) {
      this.#entries.set(key, { payload, previousTerm, id })
      return
    }
    known.previousTerm ??= previousTerm
    const follows = previousTerm === undefined || known.previousTerm === previousTerm
    if (!follows || Buffer.compare(known.payload, payload) !== 0) {
      throw new Violation(`${id} and ${known.id} have different entries of term ${term} at ${index}, or before it`)
    }
  }

  #server(id: string): Server {
    let server = this.#servers.get(id)
    if (server === undefined) {
      const log = new WrittenLog((entry) => this.#durable(id, entry))
      server = { log, votes: new Map(), promised: 0, forgiven: false, commit: 0, leadsIn: 0, configuration: undefined }
      this.#servers.set(id, server)
    }
    return server
  }
}

/** The kind of a core's message, without reading the rest; undefined: it is none. */
function kindOf(bytes: Uint8Array): number | undefined {
  if (bytes[0] !== 1 || bytes[1] !== messageFrame) return undefined
  const to = textEnd(bytes, 3)
  const from = textEnd(bytes, to)
  return bytes[textEnd(bytes, from) + 1]
}

function textEnd(bytes: Uint8Array, at: number): number {
  return at + 2 + (bytes[at]! << 8) + bytes[at + 1]!
}
