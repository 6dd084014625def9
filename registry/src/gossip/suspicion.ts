/**
 * One member's time as a suspect. It begins long and shrinks towards the minimum as others, independently, come to the
 * same suspicion (Lifeguard's LHA-Suspicion, arXiv:1707.00788 §IV-B): a single slow accuser gives the suspect much time
 * to refute, while a real death, which many see, is confirmed quickly.
 */
import type { Millis } from '../model.ts'

export class Suspicion {
  readonly #began: Millis
  readonly #min: Millis
  readonly #max: Millis
  readonly #wanted: number
  readonly #accusers: string[]
  #confirmations = 0
  /** When the suspect counts as failed, unless it refutes or more confirmations move this nearer. */
  deadline: Millis

  /**
   * @param options.wanted how many confirmations shorten the time-out to `min`; 0: it is `min` from the start
   * @param options.from the first accuser, who cannot confirm itself
   */
  constructor(options: { from: string; wanted: number; min: Millis; max: Millis }, now: Millis) {
    this.#began = now
    this.#min = options.min
    this.#max = options.max
    this.#wanted = options.wanted
    this.#accusers = [options.from]
    this.deadline = this.#ends()
  }

  /** Who suspected first, as far as we heard. */
  get from(): string {
    return this.#accusers[0] as string
  }

  /** Counts one more accuser; true when that was news worth passing on. */
  confirm(from: string): boolean {
    if (this.#confirmations >= this.#wanted || this.#accusers.includes(from)) return false
    this.#accusers.push(from)
    this.#confirmations++
    this.deadline = this.#ends()
    return true
  }

  #ends(): Millis {
    if (this.#wanted < 1) return this.#began + this.#min
    const share = Math.log(this.#confirmations + 1) / Math.log(this.#wanted + 1)
    return this.#began + Math.max(this.#min, Math.floor(this.#max - share * (this.#max - this.#min)))
  }
}
