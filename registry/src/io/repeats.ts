/**
 * Restraint in the log: what strangers can provoke is said once, then only counted, and after a while the count is said.
 * Whoever floods a port fills neither the disk nor the memory, and the operator still learns how much there was.
 */
import type { Millis } from '../model.ts'
import type { Log } from './io.ts'

/** What was said is counted for this long before it is said again. */
const quietFor: Millis = 60_000
/** So many different things are remembered at once; beyond, all count as one. */
const keysMax = 100
const beyond = '(more kinds)'

interface Said {
  area: string
  message: string
  until: Millis
  held: number
}

export class Repeats {
  readonly #log: Log
  /** In the order of `until`. */
  readonly #said = new Map<string, Said>()

  constructor(log: Log) {
    this.#log = log
  }

  /**
   * A warning, unless the same was said within the last minute.
   * @param key what counts as the same: a fixed text, or one with who it comes from
   */
  warn(key: string, now: Millis, area: string, message: string, fields?: Record<string, unknown>): void {
    this.tick(now)
    const same = this.#said.has(key) || this.#said.size < keysMax ? key : beyond
    const said = this.#said.get(same)
    if (said !== undefined) {
      said.held++
      return
    }
    this.#said.set(same, { area, message, until: now + quietFor, held: 0 })
    this.#log('warn', area, message, fields)
  }

  /** Says how often what was held back would have been said, once its minute is over. */
  tick(now: Millis): void {
    for (const [key, { area, message, until, held }] of this.#said) {
      if (now < until) return
      this.#said.delete(key)
      if (held === 0) continue
      // Counts as said: whatever goes on is one line a minute.
      this.#said.set(key, { area, message, until: now + quietFor, held: 0 })
      this.#log('warn', area, `${message}: ${held} more within ${quietFor / 1000} s`)
    }
  }
}
