/**
 * Questions about other datacenters. A question that is on its way there already is not asked again: everyone who asks it
 * waits for the same answer. Nobody who asks about our own datacenter waits for anything here.
 */
import type { ElsewhereSurface, Found } from '../agent/elsewhere.ts'
import { NoPath } from '../errors.ts'
import type { Log } from '../io/io.ts'
import type { Millis } from '../model.ts'
import type { Across } from './answer.ts'

/** Resolvers ask again, or give up, after about five seconds. */
const within: Millis = 2_000
/** Questions that wait, for one datacenter or for all of them; more are SERVFAIL at once. */
const waitingMax = 10_000

export class Elsewhere {
  readonly #remote: Pick<ElsewhereSurface, 'knows' | 'find'>
  readonly #log: Log
  readonly #pending = new Map<string, Promise<Found | 'unknown' | undefined>>()
  #waiting = 0

  constructor(remote: Pick<ElsewhereSurface, 'knows' | 'find'>, log: Log) {
    this.#remote = remote
    this.#log = log
  }

  /** False: there certainly is no such datacenter. */
  knows(datacenter: string): boolean {
    return this.#remote.knows(datacenter) !== false
  }

  /** Undefined: nobody there answered in time. Never rejects. */
  async find(across: Across): Promise<Found | 'unknown' | undefined> {
    if (this.#waiting >= waitingMax) return undefined
    this.#waiting++
    try {
      const key = JSON.stringify([across.datacenter, across.sought])
      let pending = this.#pending.get(key)
      if (pending === undefined) {
        pending = this.#ask(across).finally(() => this.#pending.delete(key))
        this.#pending.set(key, pending)
      }
      return await pending
    } finally {
      this.#waiting--
    }
  }

  async #ask({ datacenter, sought }: Across): Promise<Found | 'unknown' | undefined> {
    try {
      return await this.#remote.find(datacenter, sought, within)
    } catch (error) {
      if (error instanceof NoPath) return 'unknown'
      this.#log('debug', 'dns', 'another datacenter gave no answer', { datacenter, error: (error as Error).message })
      return undefined
    }
  }
}
