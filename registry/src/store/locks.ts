/**
 * Who holds which key, and which keys nobody may take yet. A key has one holder; what a session lost by its end is kept
 * from everybody until its lock-delay is over: whoever held it may still believe that it does. How long that is, is the
 * leader's to measure; here the delay is a mark that a command sets and another one takes away.
 */
import type { Index, SessionId } from '../model.ts'
import { orderKey, separator, Table } from './table.ts'

/** `session` holds `key`. */
export interface Hold {
  key: string
  session: SessionId
}

/** Nobody may take `key` since its holder's end at `index`. */
export interface LockDelay {
  key: string
  index: Index
  /** Nanoseconds, above 0. */
  lasts: number
}

/** For a snapshot. */
export interface LocksState {
  holds: Table<Hold>
  delays: Table<LockDelay>
}

export class Locks {
  /** By key. */
  #holds: Table<Hold>
  /** By session, then key. */
  #bySession = new Table<Hold>()
  /** By key. */
  #delays: Table<LockDelay>

  constructor(state: LocksState = { holds: new Table(), delays: new Table() }) {
    this.#holds = state.holds
    this.#delays = state.delays
    for (const hold of state.holds.rows()) this.#bySession.set(placeOf(hold), hold)
  }

  /** Copy-on-write clones. */
  state(): LocksState {
    return { holds: this.#holds.clone(), delays: this.#delays.clone() }
  }

  /** @returns what makes everything as it is now. */
  savepoint(): () => void {
    const { holds, delays } = this.state()
    const bySession = this.#bySession.clone()
    return () => {
      this.#holds = holds
      this.#bySession = bySession
      this.#delays = delays
    }
  }

  /** Undefined: nobody does. Costs nothing while no key is held at all. */
  holder(key: string): SessionId | undefined {
    return this.#holds.size === 0 ? undefined : this.#holds.get(orderKey(key))?.session
  }

  hold(key: string, session: SessionId): void {
    const hold = { key, session }
    this.#holds.set(orderKey(key), hold)
    this.#bySession.set(placeOf(hold), hold)
  }

  /** Whoever holds it does no longer. */
  free(key: string): void {
    if (this.#holds.size === 0) return
    const hold = this.#holds.get(orderKey(key))
    if (hold === undefined) return
    this.#holds.delete(orderKey(key))
    this.#bySession.delete(placeOf(hold))
  }

  /** In key order. */
  keysOf(session: SessionId): string[] {
    return this.#bySession.under(session + separator).map(({ key }) => key)
  }

  isDelayed(key: string): boolean {
    return this.#delays.size > 0 && this.#delays.get(orderKey(key)) !== undefined
  }

  delay(mark: LockDelay): void {
    this.#delays.set(orderKey(mark.key), mark)
  }

  /** A mark that was set again since `index` stays. */
  endDelay(key: string, index: Index): void {
    if (this.#delays.get(orderKey(key))?.index === index) this.#delays.delete(orderKey(key))
  }

  /** In key order. */
  delays(): LockDelay[] {
    return [...this.#delays.rows()]
  }

  /** Every hold, in key order. */
  holds(): Hold[] {
    return [...this.#holds.rows()]
  }
}

/** A session's id holds no separator and needs no change of order; the key comes last and may hold anything. */
function placeOf({ key, session }: Hold): string {
  return session + separator + orderKey(key)
}
