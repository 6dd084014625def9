/**
 * One member's time as a suspect. It begins long and shrinks towards the minimum as others, independently, come to the
 * same suspicion (Lifeguard's LHA-Suspicion, arXiv:1707.00788 §IV-B): a single slow accuser gives the suspect much time
 * to refute, while a real death, which many see, is confirmed quickly.
 */
import type { Millis } from '../model.ts'

/**
 * Towards the end the suspect itself is asked, by everybody who still suspects it. A refutation travels by chance: with every
 * fifth datagram lost, one member in ten thousand misses a given one, and would take a member for dead that all others
 * know to live. Who asks says what it suspects, and the answer brings the refutation along. In the paper's words this is
 * the buddy system, at the moment when it matters most. Once each member for each death.
 */
export interface LastWords {
  /** From so long before the deadline, */
  before: Millis
  /** so often, */
  every: Millis
  /** for at least so long. */
  atLeast: Millis
}

export class Suspicion {
  readonly #began: Millis
  readonly #min: Millis
  readonly #max: Millis
  readonly #wanted: number
  readonly #accusers: string[]
  #confirmations = 0
  /** When the suspect counts as failed, unless it refutes or more confirmations move this nearer. */
  deadline: Millis
  readonly #ask: LastWords
  #firstAsked: Millis | undefined
  #nextAsk: Millis = 0

  /**
   * @param options.wanted how many confirmations shorten the time-out to `min`; 0: it is `min` from the start
   * @param options.from the first accuser, who cannot confirm itself
   */
  constructor(options: { from: string; wanted: number; min: Millis; max: Millis; ask: LastWords }, now: Millis) {
    this.#began = now
    this.#min = options.min
    this.#max = options.max
    this.#wanted = options.wanted
    this.#ask = options.ask
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

  /** What is to be done now: to ask the suspect, or to give it up. Not before `next` there is anything. */
  due(now: Millis): 'ask' | 'over' | undefined {
    if (now < this.next) return undefined
    if (now >= this.#over) return 'over'
    this.#firstAsked ??= now
    this.#nextAsk = now + this.#ask.every
    return 'ask'
  }

  get next(): Millis {
    return this.#firstAsked === undefined ? this.deadline - this.#ask.before : Math.min(this.#nextAsk, this.#over)
  }

  /** Also who was confirmed late, and has no time left, is asked and has the time of one probe to answer. */
  get #over(): Millis {
    return this.#firstAsked === undefined
      ? Number.POSITIVE_INFINITY
      : Math.max(this.deadline, this.#firstAsked + this.#ask.atLeast)
  }

  #ends(): Millis {
    if (this.#wanted < 1) return this.#began + this.#min
    const share = Math.log(this.#confirmations + 1) / Math.log(this.#wanted + 1)
    return this.#began + Math.max(this.#min, Math.floor(this.#max - share * (this.#max - this.#min)))
  }
}
