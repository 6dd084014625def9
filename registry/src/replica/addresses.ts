/**
 * Where the others are reached, as they advertise it: from the configuration, from their own frames, for a server that
 * speaks to us may not be in our configuration yet, and from whoever else knows, for when most have moved there is nobody
 * to change the configuration. The newest word counts; a configuration says again what it said before, which is no news.
 */
import { addressText, parseAddress } from '../io/address.ts'
import type { Log } from '../io/io.ts'
import type { Address } from '../model.ts'
import type { Configuration, ServerId } from '../raft/message.ts'

export class Addresses {
  readonly #self: { id: ServerId; address: string }
  readonly #log: Log
  readonly #known = new Map<ServerId, { text: string; address: Address }>()
  readonly #configured = new Map<ServerId, string>()

  constructor(self: { id: ServerId; address: string }, log: Log) {
    this.#self = self
    this.#log = log
  }

  learnAll({ servers }: Configuration): void {
    for (const { id, address } of servers) {
      if (this.#configured.get(id) === address) continue
      this.#configured.set(id, address)
      this.learn(id, address)
    }
  }

  /** What is no address is not taken: it may come from anybody. */
  learn(id: ServerId, text: string): void {
    if (this.#known.get(id)?.text === text) return
    try {
      this.#known.set(id, { text, address: parseAddress(text) })
    } catch (error) {
      this.#log('warn', 'raft', `server ${id} says that it is reached at "${text}"`, { error: String(error) })
    }
  }

  of(id: ServerId): Address | undefined {
    return this.#known.get(id)?.address
  }

  /** `host:port`, or the id of a server whose address is unknown. */
  text(id: ServerId): string {
    if (id === this.#self.id) return this.#self.address
    const known = this.#known.get(id)
    return known === undefined ? id : addressText(known.address)
  }
}
