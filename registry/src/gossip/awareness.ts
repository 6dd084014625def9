/**
 * Lifeguard's local health score (arXiv:1707.00788 §IV-A): 0 is well; every sign that *we* are slow raises it, every
 * timely answer lowers it. A member that doubts itself waits longer before it doubts others.
 */
import type { Millis } from '../model.ts'

export class Awareness {
  #score = 0
  readonly #max: number

  /** @param max the score stays below it */
  constructor(max: number) {
    this.#max = max
  }

  get score(): number {
    return this.#score
  }

  /** Negative: better. */
  change(by: number): void {
    this.#score = Math.min(Math.max(this.#score + by, 0), this.#max - 1)
  }

  /** LHA-Probe: a time-out in view of our own health. */
  scale(timeout: Millis): Millis {
    return timeout * (this.#score + 1)
  }
}
