/**
 * What the leader knows of one follower, and how it may send to it:
 *
 *   probe       where the logs meet is a guess; one message with entries at a time
 *   replicate   they meet; entries flow without waiting for replies, as many bytes as the window allows
 *   snapshot    the entries it needs are gone; a snapshot is on its way, only heartbeats besides
 *
 * `match` only rests on what the follower said of its disk; `next` is a guess that refusals correct. So every message may
 * be lost, repeated or late without harm.
 */
import type { Index, Millis } from '../model.ts'

export class Progress {
  state: 'probe' | 'replicate' | 'snapshot' = 'probe'
  /** On the follower's disk and equal to our log up to here. */
  match: Index = 0
  /** The next entry to send. */
  next: Index
  /** probe: a message with entries is out, or a snapshot has failed; an answer, or the next round's, ends the pause. */
  paused = false
  #pausedIn = 0
  /** probe: what the message that is out goes up to. */
  #probedThrough: Index = 0
  /** snapshot: what the snapshot on its way holds. */
  snapshotIndex: Index = 0
  /** When a reply of this term last came; the start of our term before that. */
  contactAt: Millis
  /** The newest heartbeat round it answered; 0: it has not spoken in this term. */
  answeredRound = 0
  /** The newest round and commit index it was sent. */
  sentRound = 0
  sentCommit: Index = 0
  /** It is being removed by the entry at this index, and is told so before it is forgotten. */
  leavingAt: Index | undefined
  /** The newest round in which `match` was confirmed. */
  #matchRound = 0
  /** Sent in replicate and not yet acknowledged, oldest first. */
  #inflight: { last: Index; bytes: number }[] = []
  #inflightBytes = 0

  constructor(next: Index, now: Millis) {
    this.next = next
    this.contactAt = now
  }

  get inflightBytes(): number {
    return this.#inflightBytes
  }

  probe(next: Index): void {
    this.#enter('probe')
    this.next = next
    // What a refused message said of the commit index was not taken.
    this.sentCommit = 0
  }

  /** The logs meet at `verified`; what a probe has on its way need not be sent again. */
  replicate(verified: Index): void {
    this.next = Math.max(verified, this.#probedThrough) + 1
    this.#enter('replicate')
  }

  awaitSnapshot(index: Index): void {
    this.#enter('snapshot')
    this.snapshotIndex = index
  }

  #enter(state: Progress['state']): void {
    this.state = state
    this.paused = false
    this.#probedThrough = 0
    this.#inflight = []
    this.#inflightBytes = 0
  }

  /** Entries up to `last` left in one message. */
  sent(last: Index, bytes: number): void {
    this.next = last + 1
    this.#inflight.push({ last, bytes })
    this.#inflightBytes += bytes
  }

  /** probe: entries up to `last` left; or, with 0, nothing will for now. */
  pause(round: number, last: Index): void {
    this.paused = true
    this.#pausedIn = round
    this.#probedThrough = last
  }

  heard(round: number, now: Millis): void {
    this.contactAt = now
    this.answeredRound = Math.max(this.answeredRound, round)
    if (!this.paused || round <= this.#pausedIn) return
    // What was sent in an earlier round and is not answered by now is taken for lost.
    this.paused = false
    this.#probedThrough = 0
  }

  /** The follower has our log up to `match` on disk, and up to `verified` at least in memory. */
  matched(match: Index, verified: Index, round: number): void {
    if (match >= this.match) {
      this.match = match
      this.#matchRound = Math.max(this.#matchRound, round)
    }
    let acknowledged = 0
    while (acknowledged < this.#inflight.length && (this.#inflight[acknowledged]?.last as Index) <= match) {
      this.#inflightBytes -= this.#inflight[acknowledged]?.bytes as number
      acknowledged++
    }
    this.#inflight.splice(0, acknowledged)
    this.next = Math.max(this.next, match + 1, this.state === 'replicate' ? verified + 1 : 0)
  }

  /**
   * The follower refused `refused` as the entry before. Returns whether it thereby lost what it once acknowledged: that
   * takes a refusal newer than the acknowledgement, for an older one was only late.
   */
  lost(refused: Index, round: number): boolean {
    return refused <= this.match && round > this.#matchRound
  }

  /** Start over with a follower whose log went back. */
  forget(next: Index): void {
    this.match = 0
    this.#matchRound = 0
    this.probe(next)
  }
}
