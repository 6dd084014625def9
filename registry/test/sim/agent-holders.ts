/**
 * Mutual exclusion, looked at after every command of the log: a key passes from one session to another only by being free
 * in between, nobody holds one for a session that is over, and nobody takes one while its lock-delay runs.
 */
import type { Index, SessionId } from '../../src/model.ts'
import type { Store } from '../../src/store/store.ts'
import { Violation } from './checkers.ts'

/** Every lock is under it. */
const locks = 'lock/'

export class Holders {
  #holders = new Map<string, SessionId>()
  /** Keys whose lock-delay runs. */
  #delayed: ReadonlySet<string> = new Set()

  /** A command has been applied to the state. */
  look(index: Index, state: Store): void {
    const holders = new Map<string, SessionId>()
    for (const { key, session } of state.kvUnder(locks).value) {
      if (session === undefined) continue
      holders.set(key, session)
      const before = this.#holders.get(key)
      if (before === session) continue
      const what = `at ${index} session ${session} holds ${key}`
      if (before !== undefined) throw new Violation(`${what}, which ${before} held right before`)
      if (state.session(session).value === undefined) throw new Violation(`${what}, but it is over`)
      if (this.#delayed.has(key)) throw new Violation(`${what}, while its lock-delay runs`)
    }
    this.#holders = holders
    this.#delayed = new Set(state.lockDelays().map(({ key }) => key))
  }
}
