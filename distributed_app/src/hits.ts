/**
 * The hit counter, kept in a Redis that is found through the registry. Follows it when it moves, and says plainly why
 * nothing is counted when there is none. Among several instances everybody takes the first in the order of
 * `findInstances`, so that all workers count in the same one; weights are for spreading load, which would split the count.
 */
import type { Address } from 'registry/model'

/** A connection to one Redis. */
export interface Counter {
  /** Adds one and answers the sum. Rejects at once when there is no connection. */
  increment(): Promise<number>
  close(): void
}

export type Count = { hits: number; redis: string } | { reason: string }

export interface HitsOptions {
  find: () => Promise<Address[]>
  connect: (address: Address) => Counter
  log: (line: string) => void
}

export class Hits {
  readonly #options: HitsOptions
  #counter: { redis: string; counter: Counter } | undefined
  #reason = 'Redis has not been looked for yet'

  constructor(options: HitsOptions) {
    this.#options = options
  }

  /**
   * Looks where Redis is now. Idempotent.
   * @throws when DNS could not be asked; a connection made before is kept, for silence is no news.
   */
  async look(): Promise<void> {
    let address: Address | undefined
    try {
      address = (await this.#options.find())[0]
    } catch (error) {
      this.#reason = `the registry could not be asked for Redis (${(error as Error).message})`
      throw error
    }
    const redis = address === undefined ? undefined : textOf(address)
    if (redis === this.#counter?.redis) {
      if (redis === undefined) this.#reason = 'no Redis is registered in Consul'
      return
    }
    this.#counter?.counter.close()
    if (address === undefined || redis === undefined) {
      this.#options.log('[redis] no longer registered in Consul')
      this.#reason = 'no Redis is registered in Consul'
      this.#counter = undefined
      return
    }
    this.#options.log(`[redis] found at ${redis}`)
    this.#counter = { redis, counter: this.#options.connect(address) }
  }

  async count(): Promise<Count> {
    const current = this.#counter
    if (current === undefined) return { reason: this.#reason }
    try {
      return { hits: await current.counter.increment(), redis: current.redis }
    } catch (error) {
      return { reason: `Redis at ${current.redis} does not answer (${(error as Error).message})` }
    }
  }

  close(): void {
    this.#counter?.counter.close()
    this.#counter = undefined
    this.#reason = 'the worker is stopping'
  }
}

function textOf({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
