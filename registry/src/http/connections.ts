/** How many connections each client has, over all listeners of the agent: Consul's `limits.http_max_conns_per_client`. */
import type { Log } from '../io/io.ts'

export class Connections {
  readonly #max: number
  readonly #log: Log
  readonly #open = new Map<string, number>()
  /** Who was told to go away, and has not closed half of what it has since then: one line in the log is enough. */
  readonly #told = new Set<string>()

  /** @param max for each client's address; 0: no limit */
  constructor(max: number, log: Log) {
    this.#max = max
    this.#log = log
  }

  /** False: one too many, it was not counted and must be closed. */
  opened(address: string): boolean {
    const open = this.#open.get(address) ?? 0
    if (this.#max > 0 && open >= this.#max) {
      if (!this.#told.has(address)) {
        this.#told.add(address)
        this.#log('warn', 'http', 'a client has as many connections as it may; closing what is more', {
          client: address,
          http_max_conns_per_client: this.#max,
        })
      }
      return false
    }
    this.#open.set(address, open + 1)
    return true
  }

  closed(address: string): void {
    const open = (this.#open.get(address) ?? 0) - 1
    if (open > 0) this.#open.set(address, open)
    else this.#open.delete(address)
    if (open <= this.#max / 2) this.#told.delete(address)
  }
}
