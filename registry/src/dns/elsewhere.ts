/**
 * Questions about other datacenters. A question that is on its way there already is not asked again: everyone who asks it
 * waits for the same answer. Nobody who asks about our own datacenter waits for anything here.
 */
import type { ElsewhereSurface, Found } from '../agent/elsewhere.ts'
import type { Executed, QueryAsked } from '../agent/queries.ts'
import { NoPath } from '../errors.ts'
import type { Log } from '../io/io.ts'
import type { Millis } from '../model.ts'
import type { Across } from './answer.ts'

/** Resolvers ask again, or give up, after about five seconds. */
export const elsewhereWithin: Millis = 2_000
/** Questions that wait, for one datacenter or for all of them; more are SERVFAIL at once. */
const waitingMax = 10_000

export class Elsewhere {
  readonly #remote: Pick<ElsewhereSurface, 'knows' | 'find' | 'query'>
  readonly #log: Log
  readonly #pending = new Map<string, Promise<unknown>>()
  #waiting = 0

  constructor(remote: Pick<ElsewhereSurface, 'knows' | 'find' | 'query'>, log: Log) {
    this.#remote = remote
    this.#log = log
  }

  /** False: there certainly is no such datacenter. */
  knows(datacenter: string): boolean {
    return this.#remote.knows(datacenter) !== false
  }

  /** Undefined: nobody there answered in time. Never rejects. */
  find({ datacenter, sought }: Across): Promise<Found | 'unknown' | undefined> {
    const ask = () => this.#remote.find(datacenter, sought, elsewhereWithin)
    return this.once(JSON.stringify(['find', datacenter, sought]), () => this.#asked(datacenter, ask))
  }

  /** A prepared query of that datacenter. Undefined: nobody there answered in time, or it could not be executed. Never rejects. */
  query(datacenter: string, name: string, asked: QueryAsked): Promise<Executed | 'unknown' | undefined> {
    const ask = async () =>
      (await this.#remote.query(datacenter, { name, asked }, elsewhereWithin)) ?? ('unknown' as const)
    return this.once(JSON.stringify(['query', datacenter, name, asked]), () => this.#asked(datacenter, ask))
  }

  /** What `ask` finds, asked once at a time for all who want the same; undefined: too many wait already. */
  async once<T>(key: string, ask: () => Promise<T>): Promise<T | undefined> {
    if (this.#waiting >= waitingMax) return undefined
    this.#waiting++
    try {
      let pending = this.#pending.get(key) as Promise<T> | undefined
      if (pending === undefined) {
        pending = ask().finally(() => this.#pending.delete(key))
        this.#pending.set(key, pending)
      }
      return await pending
    } finally {
      this.#waiting--
    }
  }

  async #asked<T>(datacenter: string, ask: () => Promise<T>): Promise<T | 'unknown' | undefined> {
    try {
      return await ask()
    } catch (error) {
      if (error instanceof NoPath) return 'unknown'
      this.#log('debug', 'dns', 'another datacenter gave no answer', { datacenter, error: (error as Error).message })
      return undefined
    }
  }
}
