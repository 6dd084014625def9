/**
 * Who is of another cluster, or of this one as it was before it was recovered: its log is a different history, and it is not
 * listened to. Said once of each.
 */
import type { Log } from '../io/io.ts'
import type { Header } from './wire.ts'

/** Said again after so many others. */
const foreignMax = 100

export class Foreign {
  readonly #log: Log
  readonly #known = new Set<string>()

  constructor(log: Log) {
    this.#log = log
  }

  /** @param ours '' while this server is part of none: then it listens to everybody, and so it does to who does not say. */
  is({ from, address, cluster }: Header, ours: string): boolean {
    if (cluster === undefined || cluster === '' || ours === '' || cluster === ours) return false
    const name = `${from} ${cluster}`
    if (!this.#known.has(name)) {
      if (this.#known.size >= foreignMax) this.#known.clear()
      this.#known.add(name)
      const words = `server ${address} (${from}) is of cluster ${cluster}, not of ours: it is not listened to`
      this.#log('warn', 'raft', words, { cluster: ours })
    }
    return true
  }
}
