/**
 * A change of the servers waits here until those that would be left have answered once more: what was heard a moment ago may
 * be dead since, so a round of heartbeats that begins now has to come back from a majority of them.
 */
import type { Millis } from '../model.ts'
import type { ServerChange, ServerId } from '../raft/message.ts'
import type { Raft } from '../raft/raft.ts'
import { expectHeardMajority, isHeardMajority } from './majority.ts'
import type { Waiter } from './waiting.ts'

export interface ConfirmingOptions {
  raft: Raft
  /** How long an answer counts, and may take. */
  within: Millis
  now(): Millis
  hears(id: ServerId): boolean
  /** Has a round of heartbeats begin at once. */
  beginRound(): void
}

export class Confirming {
  readonly #options: ConfirmingOptions
  readonly #waiting = new Set<Waiter<void> & { isOver(): boolean; deadline: Millis }>()

  constructor(options: ConfirmingOptions) {
    this.#options = options
  }

  /** A change waits already. */
  get busy(): boolean {
    return this.#waiting.size > 0
  }

  /** Resolves when a majority of those left answered, or we do not lead any more. @throws MajorityUnheard; Refused */
  async majorityAfter(change: ServerChange): Promise<void> {
    const { raft, within, now, hears, beginRound } = this.#options
    const { round, term } = raft
    const expect = (heard: (id: ServerId) => boolean) => expectHeardMajority(raft.configuration, change, heard, within)
    expect(hears)
    const answered = (id: ServerId) => raft.answeredRoundOf(id) > round
    const leads = () => raft.role === 'leader' && raft.term === term
    const isOver = () => !leads() || isHeardMajority(raft.configuration, change, answered)
    if (isOver()) return
    beginRound()
    await new Promise<void>((resolve, reject) => {
      this.#waiting.add({ isOver, resolve, reject, deadline: now() + within })
    })
    if (leads()) expect(answered)
  }

  /** Lets those go on that are answered, or late. */
  look(now: Millis): void {
    for (const waiter of this.#waiting) {
      if (!waiter.isOver() && now < waiter.deadline) continue
      this.#waiting.delete(waiter)
      waiter.resolve()
    }
  }

  rejectAll(reason: () => Error): void {
    for (const { reject } of this.#waiting) reject(reason())
    this.#waiting.clear()
  }
}
