/**
 * Heartbeat rounds and what they prove. A round has a number and a time at which it began; whoever answers it was a
 * follower of this leader at some moment after that. From a majority of answers come the lease (how lately were we
 * certainly the leader?) and read index (were we still the leader after the read had arrived? thesis §6.4).
 */
import type { Index, Millis } from '../model.ts'
import type { ReadId, ReadState } from './message.ts'

interface Waiting {
  id: ReadId
  index: Index
  /** The round that must be answered; undefined until one begins. */
  round: number | undefined
}

export class Rounds {
  /** The newest round; 0 before the first. */
  current = 0
  lastAt: Millis
  /** Beginnings of rounds from the newest one a majority answered on. */
  #begun: { round: number; at: Millis }[] = []
  #waiting: Waiting[] = []
  /** The newest round that was begun for a read. */
  #readRound = 0

  constructor(now: Millis) {
    this.lastAt = now
  }

  /** `index`: what the state machine must have applied before the read may be answered. */
  request(id: ReadId, index: Index): void {
    this.#waiting.push({ id, index, round: undefined })
  }

  /**
   * Reads that arrive together share a round; while one begun for reads is unanswered the next ones wait for it, or for
   * the next heartbeat. None may use a round that began before it arrived.
   */
  readNeedsRound(answered: number): boolean {
    return this.#readRound <= answered && this.#waiting.some(({ round }) => round === undefined)
  }

  begin(now: Millis): void {
    this.current++
    this.lastAt = now
    this.#begun.push({ round: this.current, at: now })
    for (const waiting of this.#waiting) {
      if (waiting.round !== undefined) continue
      waiting.round = this.current
      this.#readRound = this.current
    }
  }

  /** When the newest round that a majority answered began; undefined: none was answered. */
  confirmedAt(answered: number): Millis | undefined {
    while (this.#begun.length > 1 && (this.#begun[1] as { round: number }).round <= answered) this.#begun.shift()
    const oldest = this.#begun[0]
    return oldest !== undefined && oldest.round <= answered ? oldest.at : undefined
  }

  /** Reads that are now certain: their round was answered and their index is committed. */
  release(answered: number, commit: Index): ReadState[] {
    const certain = ({ round, index }: Waiting) => round !== undefined && round <= answered && index <= commit
    const released = this.#waiting.filter(certain)
    if (released.length === 0) return []
    this.#waiting = this.#waiting.filter((waiting) => !certain(waiting))
    return released.map(({ id, index }) => ({ id, index }))
  }

  /** All that still wait, for whom there is no answer any more. */
  abandon(): ReadState[] {
    const abandoned = this.#waiting.map(({ id }) => ({ id, index: undefined }))
    this.#waiting = []
    return abandoned
  }
}
