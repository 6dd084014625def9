/**
 * Runs one idempotent job: soon after it is woken, at least every so often, and again, later and later, after it
 * failed. The job looks at the whole state each time, so a wake carries no payload and ten wakes are one run.
 *
 * Promises: at most one run at a time; a wake during a run, however many, causes exactly one more run after it;
 * a failure never ends the reconciler. A wake does not cut a back-off short: the thing that is down would otherwise
 * be asked as often as news comes in. Relies on the job to end: a job that can hang needs a time-out of its own.
 * No timers: `tick(now)` drives it, so its precision is the tick's.
 */
import type { Random } from '../io/random.ts'
import type { Millis } from '../model.ts'

export interface ReconcilerOptions {
  /** The job. Rejecting means "not done": it runs again after the back-off. */
  work: () => Promise<void>
  /** From the start of a run to the start of the next when nobody wakes it. Infinity: only when woken. */
  every: Millis
  /** Wait after the first failure; doubles with each further one. */
  backOffMin: Millis
  backOffMax: Millis
  /** Spreads the back-off over its upper half, so that many who failed together do not come back together. */
  random: Pick<Random, 'fraction'>
  /** Called once per failed run with the number of failures in a row and how long the next attempt waits. */
  onFailure: (error: unknown, failures: number, backOff: Millis) => void
}

export class Reconciler {
  #options: ReconcilerOptions
  #woken = true
  #running: Promise<void> | undefined
  /** Not before: set by the back-off. */
  #notBefore: Millis = -Infinity
  #dueAt: Millis = -Infinity
  #failures = 0
  /** A failure whose back-off starts at the next tick, because only a tick knows the time. */
  #backOff: Millis | undefined
  #stopped = false

  /** The first tick starts the first run. */
  constructor(options: ReconcilerOptions) {
    this.#options = options
  }

  get running(): boolean {
    return this.#running !== undefined
  }

  /** How many runs in a row have failed; 0 after a success and before the first end of a run. */
  get failures(): number {
    return this.#failures
  }

  /** Something changed: a run that starts after this call will follow. */
  wake(): void {
    this.#woken = true
  }

  /** Starts a run when one is due. Call it often; `now` never goes back. */
  tick(now: Millis): void {
    if (this.#backOff !== undefined) {
      this.#notBefore = now + this.#backOff
      this.#backOff = undefined
    }
    if (this.#stopped || this.#running !== undefined || now < this.#notBefore) return
    if (!this.#woken && now < this.#dueAt) return
    this.#woken = false
    this.#dueAt = now + this.#options.every
    this.#running = this.#run().finally(() => {
      this.#running = undefined
    })
  }

  /** No run starts after this call; resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    try {
      await this.#options.work()
      this.#failures = 0
    } catch (error) {
      this.#failures++
      this.#woken = true
      this.#backOff = backOff(this.#failures, this.#options)
      this.#options.onFailure(error, this.#failures, this.#backOff)
    }
  }
}

/** `backOffMin` doubled per further failure, at most `backOffMax`; then a random part of its upper half. */
function backOff(failures: number, options: ReconcilerOptions): Millis {
  const doubled = options.backOffMin * 2 ** Math.min(failures - 1, 30)
  const whole = Math.min(doubled, options.backOffMax)
  return whole / 2 + options.random.fraction() * (whole / 2)
}
