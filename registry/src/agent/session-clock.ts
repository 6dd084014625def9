/**
 * When sessions are over, and lock-delays: the leader's to say, by its own clock. Everything begins anew with every term
 * it leads, for nobody knows what was renewed with another leader; so a change of leader makes sessions last longer, never
 * shorter. The state is told by commands (`agent/sessions.ts`); nothing here is written down.
 *
 * Time counts only while this node is awake. After a stall the renewals that wait in its inbox must come before the end
 * of what they renew, so a long gap between two ticks counts as a short one.
 */
import type { Index, Millis, Session, SessionId, Term } from '../model.ts'
import type { LockDelay } from '../store/locks.ts'

/** Consul's multiplier: a client that renews once in its TTL may be late by as much again. */
const ttlMultiplier = 2
/** How much of a gap between two ticks counts. */
const stepMax: Millis = 500
/** What could not be written is tried again. */
const retryPause: Millis = 1_000
/** No more than so many ends are under way at once. */
const underWayMax = 256

interface Timer {
  lasts: Millis
  /** In awake time. */
  end: Millis
}

interface Delay {
  index: Index
  end: Millis
}

export interface Rows {
  sessions: readonly Session[]
  lockDelays: readonly LockDelay[]
}

export interface Due {
  sessions: SessionId[]
  delays: { key: string; index: Index }[]
}

export class SessionClock {
  /** How long this node was awake. */
  #awake: Millis = 0
  #last: Millis | undefined
  #term: Term | undefined
  #rowsChanged = true
  #timers = new Map<SessionId, Timer>()
  /** By key. */
  #delays = new Map<string, Delay>()
  /** Their end is being written. */
  readonly #underWay = new Set<SessionId>()

  /** Sessions came or ended since the last tick. */
  changed(): void {
    this.#rowsChanged = true
  }

  /**
   * What is over now, each until `failed` says that it could not be written. Must be called often, also while nobody leads
   * here.
   * @param term the one this node leads; undefined: none
   * @param rows as they are, asked for only when they may have changed
   */
  tick(now: Millis, term: Term | undefined, rows: () => Rows): Due {
    this.#awake += Math.min(stepMax, Math.max(0, now - (this.#last ?? now)))
    this.#last = now
    if (term !== this.#term) this.#begin(term)
    const due: Due = { sessions: [], delays: [] }
    if (term === undefined) return due
    if (this.#rowsChanged) {
      this.#follow(rows())
      this.#rowsChanged = false
    }
    for (const [id, { end }] of this.#timers) {
      if (end > this.#awake || this.#underWay.has(id)) continue
      if (this.#underWay.size >= underWayMax) break
      this.#underWay.add(id)
      due.sessions.push(id)
    }
    for (const [key, delay] of this.#delays) {
      if (delay.end > this.#awake) continue
      due.delays.push({ key, index: delay.index })
      // Gone at the next look at the rows; if it is not, it is time to say so again.
      delay.end = this.#awake + retryPause
    }
    return due
  }

  /** It has its whole time before it again. */
  renewed(id: SessionId): void {
    const timer = this.#timers.get(id)
    if (timer !== undefined) timer.end = this.#awake + timer.lasts
  }

  /** Its end was written, or could not be: then it is due again in a while. */
  settled(id: SessionId): void {
    this.#underWay.delete(id)
    const timer = this.#timers.get(id)
    if (timer !== undefined) timer.end = Math.max(timer.end, this.#awake + retryPause)
  }

  #begin(term: Term | undefined): void {
    this.#term = term
    this.#timers.clear()
    this.#delays.clear()
    this.#rowsChanged = true
  }

  /** What is new begins now, what is gone is forgotten, what was there goes on. */
  #follow({ sessions, lockDelays }: Rows): void {
    const timers = new Map<SessionId, Timer>()
    for (const { id, lasts: ttl } of sessions) {
      if (ttl === 0) continue
      const lasts = ttl * ttlMultiplier
      timers.set(id, this.#timers.get(id) ?? { lasts, end: this.#awake + lasts })
    }
    this.#timers = timers
    const delays = new Map<string, Delay>()
    for (const { key, index, lasts } of lockDelays) {
      const known = this.#delays.get(key)
      delays.set(key, known?.index === index ? known : { index, end: this.#awake + lasts / 1e6 })
    }
    this.#delays = delays
  }
}
