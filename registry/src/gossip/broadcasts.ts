/**
 * News to piggyback on gossip packets. Each item is sent a limited number of times, the least sent first (SWIM §4.1),
 * of those the newest; newer news about a member replaces older news, so the queue never holds more than one item per
 * member.
 */
interface Item {
  about: string
  bytes: Uint8Array
  sent: number
  /** Grows with every item. */
  order: number
}

export class Broadcasts {
  readonly #items = new Map<string, Item>()
  #order = 0

  get size(): number {
    return this.#items.size
  }

  has(about: string): boolean {
    return this.#items.has(about)
  }

  /** @param bytes the encoded message */
  queue(about: string, bytes: Uint8Array): void {
    this.#items.set(about, { about, bytes, sent: 0, order: this.#order++ })
  }

  /** Takes what fits into `room` bytes, and counts it as sent; what has been sent `limit` times is dropped. */
  take(room: number, limit: number): Uint8Array[] {
    if (this.#items.size === 0) return []
    const taken: Uint8Array[] = []
    let left = room
    const waiting = [...this.#items.values()].sort((a, b) => a.sent - b.sent || b.order - a.order)
    for (const item of waiting) {
      if (item.bytes.length > left) continue
      left -= item.bytes.length
      taken.push(item.bytes)
      item.sent++
      if (item.sent >= limit) this.#items.delete(item.about)
    }
    return taken
  }
}
