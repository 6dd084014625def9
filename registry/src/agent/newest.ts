/** Something that is given out to be brought back once, and soon, and only while nobody else was given it. */
import type { Io } from '../io/io.ts'
import type { Millis } from '../model.ts'

const lasts: Millis = 30_000

export class Newest<T> {
  readonly #io: Pick<Io, 'clock' | 'random'>
  #given: { token: string; until: Millis; value: T } | undefined

  constructor(io: Pick<Io, 'clock' | 'random'>) {
    this.#io = io
  }

  /** What was given before counts no more. */
  give(value: T): string {
    const token = this.#io.random.uuid()
    this.#given = { token, until: this.#io.clock.now() + lasts, value }
    return token
  }

  /** Undefined: not the newest, brought back before, or too late. */
  take(token: string): T | undefined {
    const given = this.#given
    if (given?.token !== token) return undefined
    this.#given = undefined
    return this.#io.clock.now() < given.until ? given.value : undefined
  }
}
