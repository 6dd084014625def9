/** What a pool has to report, and the restraint not to report the same thing again and again. */
import type { Address, Member, Millis, UserEvent } from '../model.ts'

/** Somebody who claims a name. `id` is the tag of that name, '' without one. */
export interface Claim {
  address: Address
  id: string
}

export type GossipEvent =
  /**
   * Serf's member events, ours included (`join` at the start, `leave` when we begin to leave). `failed` also for a member
   * that had failed before we heard of it; `reap`: forgotten, and no longer among `members()`.
   */
  | { type: 'join' | 'leave' | 'failed' | 'update' | 'reap'; member: Member }
  /** The outcome of `join`; `members`: how many take part in the pool, as we now know it. */
  | { type: 'joined'; attempt: number; address: Address; members: number }
  | { type: 'joinFailed'; attempt: number; address: Address; reason: string }
  /** Once for every event that was fired in this pool since we came, ours included. */
  | { type: 'userEvent'; event: UserEvent }
  /** Our own leave has been acknowledged by others, or there are none, or nobody answered within leaveTimeout. */
  | { type: 'left' }
  /**
   * A second live process claims `name` from another address; the first keeps it as long as it answers. At most once a
   * minute for the same claim. `name` may be ours: then `ours` is us. The same id on both: most likely one process that
   * moved, which takes the name over once nobody answers at the old address.
   */
  | { type: 'conflict'; name: string; ours: Claim; other: Claim }
  /** For logs. */
  | { type: 'suspect'; name: string; from: string }
  /** A suspect (or we ourselves) spoke up with this incarnation. */
  | { type: 'refuted'; name: string; incarnation: number }
  /** Something an operator should know; the same words at most once a minute, and then how often they were held back. */
  | { type: 'warning'; reason: string }

/** What was said is not said again for this long. */
const quietFor: Millis = 60_000
/** Whoever floods us with ever new nonsense does not get to fill the memory and the log. */
const quietMax = 1_000

interface Said {
  until: Millis
  /** For a warning: the words, and how often they were held back. */
  reason: string | undefined
  held: number
}

export class Events {
  #events: GossipEvent[] = []
  /** What was said, and when it may be said again; oldest first. */
  readonly #quiet = new Map<string, Said>()

  push(event: GossipEvent): void {
    this.#events.push(event)
  }

  /** Reports unless `key` was reported within the last minute. */
  pushOnce(key: string, event: GossipEvent, now: Millis): void {
    this.tick(now)
    const said = this.#quiet.get(key)
    if (said !== undefined) said.held++
    if (said !== undefined || this.#quiet.size >= quietMax) return
    const reason = event.type === 'warning' ? event.reason : undefined
    this.#quiet.set(key, { until: now + quietFor, reason, held: 0 })
    this.#events.push(event)
  }

  warn(reason: string, now: Millis): void {
    this.pushOnce(reason, { type: 'warning', reason }, now)
  }

  /** Says how often a warning was held back, once its minute is over. */
  tick(now: Millis): void {
    for (const [key, { until, reason, held }] of this.#quiet) {
      if (now < until) return
      this.#quiet.delete(key)
      if (reason === undefined || held === 0) continue
      // Counts as said: whatever goes on is one line a minute.
      this.#quiet.set(key, { until: now + quietFor, reason, held: 0 })
      this.#events.push({ type: 'warning', reason: `${reason}: ${held} more within ${quietFor / 1000} s` })
    }
  }

  drain(): GossipEvent[] {
    const events = this.#events
    this.#events = []
    return events
  }
}
