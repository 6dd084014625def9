/**
 * Everything on this node that waits for a moment. Time comes in through `tick`, so a wait ends at the first tick at or
 * after its moment: no timer of its own, and the simulator moves it like everything else.
 */
import BTree from 'sorted-btree'
import type { Millis } from '../model.ts'

type Moment = readonly [when: Millis, order: number]

export class Deadlines {
  readonly #waiting = new BTree.default<Moment, () => void>(undefined, (a, b) => a[0] - b[0] || a[1] - b[1])
  #order = 0
  #stopped = false

  get size(): number {
    return this.#waiting.size
  }

  /** Nothing waits any more. A loop around a wait must look at this, or it turns without rest. */
  get stopped(): boolean {
    return this.#stopped
  }

  /** Runs `act` once at the first tick at or after `when`, in order of moments. Returns what calls it off. */
  at(when: Millis, act: () => void): () => void {
    if (this.#stopped) {
      let off = false
      queueMicrotask(() => off || act())
      return () => {
        off = true
      }
    }
    const moment: Moment = [when, this.#order++]
    this.#waiting.set(moment, act)
    return () => {
      this.#waiting.delete(moment)
    }
  }

  /** Resolves at the first tick at or after `when`. */
  until(when: Millis): Promise<void> {
    return new Promise((resolve) => this.at(when, resolve))
  }

  tick(now: Millis): void {
    for (;;) {
      const first = this.#waiting.minKey()
      if (first === undefined || first[0] > now) return
      const act = this.#waiting.get(first)
      this.#waiting.delete(first)
      act?.()
    }
  }

  /** The node is stopping and no tick will come: runs everything that waits, and from now on whatever would wait. */
  stop(): void {
    this.#stopped = true
    this.tick(Number.POSITIVE_INFINITY)
  }
}
