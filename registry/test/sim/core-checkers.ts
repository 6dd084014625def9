/**
 * What cores must never do, looked at from outside: after every turn of a server, at every message that leaves it, and at
 * every answer to a read. A broken promise throws at once.
 */
import assert from 'node:assert/strict'
import type { Index, Millis, Term } from '../../src/model.ts'
import type { Entry, Message, ServerId } from '../../src/raft/message.ts'
import { digest, isMajority, isOnDisk, type Peer, voters } from './core-peer.ts'

export class CoreCheckers {
  /** By index; 0 is empty. */
  readonly committed: Entry[] = []
  committedMax: Index = 0
  elections = 0
  readonly #peers: ReadonlyMap<ServerId, Peer>
  /** The term of the server that first knew. */
  readonly #committedIn: Term[] = []
  readonly #leaders = new Map<Term, ServerId>()
  readonly #votes = new Map<string, ServerId>()
  readonly #reads = new Map<string, Index>()
  readonly #states: string[] = ['']
  /** The highest term that anybody ever stood in. */
  #stoodIn: Term = 1

  constructor(peers: ReadonlyMap<ServerId, Peer>) {
    this.#peers = peers
  }

  /** Whether it is elected, or has committed something, that nobody knew of before. */
  turned(peer: Peer, now: Millis): { elected: boolean; commits: boolean } {
    const { raft } = peer
    if (raft.role === 'candidate' || raft.role === 'leader') this.#stoodIn = Math.max(this.#stoodIn, raft.term)
    // Whoever only asks whether it could win disturbs nobody (thesis §9.6).
    assert(raft.term <= this.#stoodIn, `${peer.id} is in term ${raft.term}, but nobody stood after ${this.#stoodIn}`)
    if (raft.role !== 'leader') return { elected: false, commits: false }
    const elected = this.#leads(peer)
    const commits = raft.commit > this.committedMax
    if (commits) this.#commits(peer)
    const lease = raft.leaseIndex(now)
    assert(
      lease === undefined || lease >= this.committedMax,
      `${peer.id} has a lease, but elsewhere ${this.committedMax} is committed`,
    )
    return { elected, commits }
  }

  #leads({ id, raft }: Peer): boolean {
    const leader = this.#leaders.get(raft.term)
    assert.equal(leader ?? id, id, `two leaders in term ${raft.term}`)
    if (leader !== undefined) return false
    this.#leaders.set(raft.term, id)
    this.elections++
    // Leader completeness: all that was committed in earlier terms is in its log (a late winner may know less than that).
    for (let index = (raft.snapshotMark?.index ?? 0) + 1; index < this.committed.length; index++) {
      if ((this.#committedIn[index] as Term) > raft.term) break
      assert.equal(raft.termAt(index), this.committed[index]?.term, `leader ${id} lacks committed entry ${index}`)
    }
    return true
  }

  #commits({ id, raft }: Peer): void {
    for (const entry of raft.entriesFrom(this.committedMax + 1, Number.POSITIVE_INFINITY) ?? []) {
      this.committed[entry.index] = entry
      this.#committedIn[entry.index] = raft.term
    }
    this.committedMax = raft.commit
    const copies = voters(raft.configuration).filter((server) =>
      isOnDisk(this.#peers.get(server) as Peer, raft.commit, raft.termAt(raft.commit)),
    )
    assert(
      isMajority(copies, voters(raft.configuration)),
      `${id} committed ${raft.commit}, which is on the disks of ${copies.join(' ')} only`,
    )
  }

  applies(peer: Peer, entry: Entry): void {
    assert.equal(entry.index, peer.applied + 1, `${peer.id} applies out of order`)
    const known = this.committed[entry.index]
    if (known === undefined) {
      this.committed[entry.index] = entry
      this.#committedIn[entry.index] = peer.raft.term
    }
    assert(same(entry, known ?? entry), `${peer.id} applies another entry at ${entry.index}`)
    this.committedMax = Math.max(this.committedMax, entry.index)
  }

  /** The state that the committed entries up to `index` make; checks that all of them are known. */
  readonly stateAt = (index: Index): string => {
    for (let at = this.#states.length; at <= index; at++) {
      this.#states.push(digest(this.#states[at - 1] as string, this.committed[at] as Entry))
    }
    return this.#states[index] as string
  }

  /** What leaves a server must rest on its disk. */
  sends(peer: Peer, to: ServerId, message: Message): void {
    const { hardState, snapshot, entries } = peer.disk
    if (message.type === 'voteReply' && message.granted && !message.pre) {
      assert(
        hardState.term > message.term || (hardState.term === message.term && hardState.vote === to),
        `${peer.id} votes before the disk knows`,
      )
      const key = `${peer.id} in ${message.term}`
      assert.equal(this.#votes.get(key) ?? to, to, `${key} votes twice`)
      this.#votes.set(key, to)
    }
    if (message.type === 'vote' && !message.pre) {
      assert(
        hardState.term > message.term || (hardState.term === message.term && hardState.vote === peer.id),
        `${peer.id} stands before the disk knows`,
      )
    }
    if (message.type === 'appendReply' && message.success) {
      assert(hardState.term >= message.term, `${peer.id} acknowledges in term ${message.term} before the disk knows`)
      // When one save holds a later term too, that may already have cut off what an older leader is told of.
      const last = (snapshot?.mark.index ?? 0) + entries.length
      const holds = message.match <= last || hardState.term > message.term
      assert(holds, `${peer.id} acknowledges ${message.match}, but its disk ends at ${last}`)
    }
    if (message.type === 'snapshot') {
      assert(snapshot !== undefined && snapshot.mark.index >= message.mark.index, 'a snapshot that is not on disk')
    }
  }

  asks(peer: Peer, read: number): void {
    this.#reads.set(`${peer.id}/${peer.life}/${read}`, this.committedMax)
  }

  isAnswered(peer: Peer, read: number, index: Index | undefined): void {
    const key = `${peer.id}/${peer.life}/${read}`
    const atLeast = this.#reads.get(key)
    assert(atLeast !== undefined, `read ${key} is answered twice or was never asked`)
    this.#reads.delete(key)
    assert(
      index === undefined || index >= atLeast,
      `a read at ${peer.id} goes back to ${index}; ${atLeast} was committed before it began`,
    )
  }

  /** Nobody waits for its answers any more. */
  forgets({ id }: Peer): void {
    for (const key of this.#reads.keys()) if (key.startsWith(`${id}/`)) this.#reads.delete(key)
  }

  get waiting(): number {
    return this.#reads.size
  }

  /** Log matching: where two logs have the same term, they are the same up to there. */
  checkLogs(): void {
    const all = [...this.#peers.values()]
    for (const [position, one] of all.entries()) {
      for (const other of all.slice(position + 1)) checkMatch(one, other)
    }
  }
}

function checkMatch(one: Peer, other: Peer): void {
  let matching = false
  for (let index = Math.min(one.raft.lastIndex, other.raft.lastIndex); index > 0; index--) {
    const terms = [one.raft.termAt(index), other.raft.termAt(index)]
    if (terms.includes(undefined)) return
    matching ||= terms[0] === terms[1]
    if (matching)
      assert.equal(terms[0], terms[1], `${one.id} and ${other.id} have one log later but differ at ${index}`)
  }
}

function same(one: Entry, other: Entry): boolean {
  return one.term === other.term && one.kind === other.kind && Buffer.compare(one.data, other.data) === 0
}
