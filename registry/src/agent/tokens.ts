/** What is given out to be brought back once, and soon: a request with a token was made for this moment. */
import type { Io } from '../io/io.ts'
import type { Millis } from '../model.ts'

const lasts: Millis = 60_000
const tokensMax = 256

export class Tokens<T> {
  readonly #io: Pick<Io, 'clock' | 'random'>
  readonly #given = new Map<string, { until: Millis; value: T }>()

  constructor(io: Pick<Io, 'clock' | 'random'>) {
    this.#io = io
  }

  give(value: T): string {
    const now = this.#io.clock.now()
    for (const [token, { until }] of this.#given) {
      if (until > now && this.#given.size < tokensMax) break
      this.#given.delete(token)
    }
    const token = this.#io.random.uuid()
    this.#given.set(token, { until: now + lasts, value })
    return token
  }

  /** Undefined: never given, brought back before, or too late. */
  take(token: string): T | undefined {
    const given = this.#given.get(token)
    this.#given.delete(token)
    return given !== undefined && this.#io.clock.now() < given.until ? given.value : undefined
  }
}
