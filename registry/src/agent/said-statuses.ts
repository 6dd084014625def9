/**
 * What TTL checks last said of themselves, over a restart of the agent: those who say it do not know that it was away, and
 * a service must not count as failed until its next word. True for the check's TTL from when it was said, as in Consul. It
 * is said often, so it is written together, at most once a second and without waiting for the disk: what a crash loses or
 * damages here is only said again.
 *
 * The only decision that takes the wall clock, for nothing else knows how long the agent was away. A clock that was put
 * forward makes a check begin as registered, and one put back by less than the TTL makes a status count for longer. What
 * was said later than that from now does not count: a machine without a clock of its own does not know how long it was off.
 */
import type { Io } from '../io/io.ts'
import type { CheckId, CheckStatus, Millis } from '../model.ts'
import { documentText, loadJson } from './files.ts'

interface Said {
  status: CheckStatus
  output: string
  /** By the wall clock. */
  at: number
}

const file = 'checks/said'
const writeInterval: Millis = 1_000
const statuses: ReadonlySet<unknown> = new Set(['passing', 'warning', 'critical'] satisfies CheckStatus[])

export class SaidStatuses {
  readonly #io: Pick<Io, 'clock' | 'disk' | 'log'>
  readonly #said: Map<CheckId, Said>
  #changed = false
  #nextWrite: Millis
  #writing: Promise<void> = Promise.resolve()

  private constructor(io: Pick<Io, 'clock' | 'disk' | 'log'>, said: Map<CheckId, Said>) {
    this.#io = io
    this.#said = said
    this.#nextWrite = io.clock.now()
  }

  /** What cannot be read is left out. */
  static async open(io: Pick<Io, 'clock' | 'disk' | 'log'>): Promise<SaidStatuses> {
    try {
      return new SaidStatuses(io, read(await loadJson(io.disk, file)))
    } catch (error) {
      io.log('warn', 'agent', `TTL checks begin with their initial status: ${(error as Error).message}`)
      return new SaidStatuses(io, new Map())
    }
  }

  /** What the check said less than `ttl` ago. */
  of(id: CheckId, ttl: Millis): { status: CheckStatus; output: string } | undefined {
    const said = this.#said.get(id)
    return said !== undefined && Math.abs(this.#io.clock.wall() - said.at) < ttl ? said : undefined
  }

  says(id: CheckId, status: CheckStatus, output: string): void {
    this.#said.set(id, { status, output, at: this.#io.clock.wall() })
    this.#changed = true
  }

  /** The check is gone. */
  forget(id: CheckId): void {
    if (this.#said.delete(id)) this.#changed = true
  }

  tick(now: Millis): void {
    if (!this.#changed || now < this.#nextWrite) return
    this.#nextWrite = now + writeInterval
    void this.flush()
  }

  /** Resolves when all that was said is with the system. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write())
    return this.#writing
  }

  async #write(): Promise<void> {
    if (!this.#changed) return
    this.#changed = false
    const { disk, log } = this.#io
    const beside = `${file}.new`
    try {
      await disk.remove(beside)
      const text = documentText([...this.#said].map(([id, said]) => ({ id, ...said })))
      await disk.write(beside, 0, [new TextEncoder().encode(text)])
      await disk.rename(beside, file)
    } catch (error) {
      log('warn', 'agent', `what TTL checks said could not be kept: ${(error as Error).message}`)
    }
  }
}

function read(loaded: unknown): Map<CheckId, Said> {
  const said = new Map<CheckId, Said>()
  for (const each of Array.isArray(loaded) ? loaded : []) {
    const { id, status, output, at } = (each ?? {}) as Partial<Said & { id: CheckId }>
    if (typeof id !== 'string' || typeof output !== 'string' || typeof at !== 'number') continue
    if (statuses.has(status)) said.set(id, { status: status as CheckStatus, output, at })
  }
  return said
}
