/** Frames of servers that do not belong to us, or to which we do not belong: who is not listened to, and what is said of it. */
import type { Log } from '../io/io.ts'
import type { Message, ServerId } from '../raft/message.ts'
import type { Raft } from '../raft/raft.ts'
import type { Header } from './wire.ts'

export interface StrangersOptions {
  log: Log
  raft: Raft
  /** Our own `host:port`. */
  address: string
  addressOf(id: ServerId): string
}

/** Who is of another cluster is said again after so many others. */
const foreignMax = 100

export class Strangers {
  readonly #options: StrangersOptions
  /** Servers of other clusters that were spoken of already. */
  readonly #foreign = new Set<string>()

  constructor(options: StrangersOptions) {
    this.#options = options
  }

  /** Of another cluster, or of this one as it was before it was recovered: its log is a different history. */
  isForeign({ from, address, cluster }: Header): boolean {
    const { log, raft } = this.#options
    const ours = raft.configuration.cluster
    if (cluster === undefined || cluster === '' || ours === '' || cluster === ours) return false
    const known = `${from} ${cluster}`
    if (!this.#foreign.has(known)) {
      if (this.#foreign.size >= foreignMax) this.#foreign.clear()
      this.#foreign.add(known)
      const words = `server ${address} (${from}) is of cluster ${cluster}, not of ours: it is not listened to`
      log('warn', 'raft', words, { cluster: ours })
    }
    return true
  }

  /** Says so when somebody votes for us whose disk knows no cluster: it was wiped, or never taken in. */
  warn({ from, cluster }: Header, message: Message): void {
    if (message.type !== 'voteReply' || message.pre || cluster !== '') return
    const { log, raft, address, addressOf } = this.#options
    const { role, term } = raft
    if (term !== message.term || (role !== 'candidate' && role !== 'leader')) return
    log('warn', 'raft', `Remote peer ${addressOf(from)} does not have local node ${address} as a peer`)
  }
}
