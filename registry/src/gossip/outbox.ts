/** What waits to be sent, in the order in which it was said. */
import type { Address } from '../model.ts'

export interface Datagram {
  to: Address
  bytes: Uint8Array
  /** The sequence number of the ping whose round trip begins when this leaves. */
  ping?: number
}

/** To an address, or, with `to` undefined, on the connection that `replyTo` (as given to `receive`) stands for. */
export interface Frame {
  to: Address | undefined
  replyTo?: unknown
  bytes: Uint8Array
}

export class Outbox {
  #datagrams: Datagram[] = []
  #frames: Frame[] = []

  datagram(to: Address, bytes: Uint8Array, ping?: number): void {
    this.#datagrams.push(ping === undefined ? { to, bytes } : { to, bytes, ping })
  }

  frame(to: Address, bytes: Uint8Array): void {
    this.#frames.push({ to, bytes })
  }

  answer(replyTo: unknown, bytes: Uint8Array): void {
    this.#frames.push({ to: undefined, replyTo, bytes })
  }

  drain(): { datagrams: Datagram[]; frames: Frame[] } {
    const drained = { datagrams: this.#datagrams, frames: this.#frames }
    this.#datagrams = []
    this.#frames = []
    return drained
  }
}
