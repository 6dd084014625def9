/**
 * Full state exchanges (memberlist's push/pull) that wait for their answer, and how a state is cut into messages.
 * Each part is merged as it arrives and merging twice changes nothing, so nothing is put together again.
 */
import type { Address, Millis } from '../model.ts'
import { type Entry, sameAddress } from './members.ts'
import { encodeMessage, packet, type StateRecord } from './message.ts'
import type { UserEventState } from './user-event.ts'

/**
 * Why we asked. A join has a caller who waits for its outcome under `attempt`. `claim`: the pool joined at `via` knows our
 * name at another address; whoever is there is asked whether it lives and keeps the name.
 */
export type Purpose =
  | { type: 'join'; attempt: number }
  | { type: 'claim'; attempt: number; via: Address }
  | { type: 'sync' }
  | { type: 'reconnect' }

export interface Exchange {
  purpose: Purpose
  address: Address
  until: Millis
  /** Where the answer, which may come in several parts, says that another live process of our name is. */
  rival?: Address
}

export class Exchanges {
  readonly #waiting = new Map<number, Exchange>()

  get size(): number {
    return this.#waiting.size
  }

  begin(sequence: number, exchange: Exchange): void {
    this.#waiting.set(sequence, exchange)
  }

  get(sequence: number): Exchange | undefined {
    return this.#waiting.get(sequence)
  }

  /** The answer says that our name is taken. */
  rival(sequence: number, address: Address): void {
    const exchange = this.#waiting.get(sequence)
    if (exchange !== undefined) exchange.rival = address
  }

  /** The answer is complete. */
  end(sequence: number): Exchange | undefined {
    const exchange = this.#waiting.get(sequence)
    this.#waiting.delete(sequence)
    return exchange
  }

  /** The connection to `address` failed: none of these will be answered. */
  fail(address: Address): Exchange[] {
    return this.#remove((exchange) => sameAddress(exchange.address, address))
  }

  expire(now: Millis): Exchange[] {
    return this.#remove((exchange) => now >= exchange.until)
  }

  #remove(gone: (exchange: Exchange) => boolean): Exchange[] {
    const removed: Exchange[] = []
    if (this.#waiting.size === 0) return removed
    for (const [sequence, exchange] of this.#waiting) {
      if (!gone(exchange)) continue
      this.#waiting.delete(sequence)
      removed.push(exchange)
    }
    return removed
  }
}

/** Keeps every part far below the largest frame (8 MiB): at most 1,100 bytes and a little for each record. */
const recordsPerPart = 2_000

/**
 * The frames that carry a whole table.
 * @param own our entry, which goes first: the other side decides by it whether to talk to us
 * @param accuser who first suspected a member, '' when nobody does
 */
export function stateFrames(
  own: Entry,
  entries: Iterable<Entry>,
  accuser: (name: string) => string,
  userEvents: UserEventState,
  options: { sequence: number; reply: boolean },
  now: Millis,
): Uint8Array[] {
  const records: StateRecord[] = []
  const record = ({ member, standing, since }: Entry): StateRecord => ({
    standing,
    name: member.name,
    incarnation: member.incarnation,
    address: member.address,
    tags: member.tags,
    from: accuser(member.name),
    age: Math.max(0, now - since),
  })
  records.push(record(own))
  for (const entry of entries) if (entry.member.name !== own.member.name) records.push(record(entry))
  const frames: Uint8Array[] = []
  for (let first = 0; first < records.length; first += recordsPerPart) {
    const part = records.slice(first, first + recordsPerPart)
    const more = first + recordsPerPart < records.length
    const state = { type: 'state', ...options, more, from: own.member.name, records: part } as const
    frames.push(packet([encodeMessage(first === 0 ? { ...state, userEvents } : state)]))
  }
  return frames
}
