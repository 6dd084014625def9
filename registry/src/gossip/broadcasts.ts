/**
 * News to piggyback on gossip packets. Each item is sent a limited number of times, the least sent first (SWIM §4.1), of
 * those the one that came last; newer news about a member replaces older news, so the queue never holds more than one item
 * per member.
 */
interface Item {
  about: string
  bytes: Uint8Array
  /** Taken for the last time, or replaced. */
  over: boolean
}

/** So many that are too long for what is left are passed over, then it is enough. */
const misfitsMax = 8

export class Broadcasts {
  readonly #items = new Map<string, Item>()
  /** What was sent so many times; of those, the latest last. Items that are over are left out when they are met. */
  readonly #bySent: Item[][] = []
  /** So many items at most are over and still there. */
  #replaced = 0
  readonly #max: number

  /** @param max with more items the oldest is dropped */
  constructor(max = Number.POSITIVE_INFINITY) {
    this.#max = max
  }

  get size(): number {
    return this.#items.size
  }

  has(about: string): boolean {
    return this.#items.has(about)
  }

  /** @param bytes the encoded message */
  queue(about: string, bytes: Uint8Array): void {
    this.#supersede(this.#items.get(about))
    if (this.#items.size >= this.#max) this.#supersede(this.#items.values().next().value)
    const item = { about, bytes, over: false }
    this.#items.set(about, item)
    this.#sent(0).push(item)
  }

  /** Takes what fits into `room` bytes, and counts it as sent; what has been sent `limit` times is dropped. */
  take(room: number, limit: number): Uint8Array[] {
    const taken: Uint8Array[] = []
    let left = room
    let misfits = 0
    /** By how often it had been sent. Put back only at the end, so that nothing is taken twice. */
    const again: Item[][] = []
    for (let times = 0; times < this.#bySent.length; times++) {
      const waiting = this.#sent(times)
      const passed: Item[] = []
      const chosen: Item[] = []
      while (left > 0 && misfits < misfitsMax) {
        const item = waiting.pop()
        if (item === undefined) break
        if (item.over) continue
        if (item.bytes.length > left) {
          passed.push(item)
          misfits++
          continue
        }
        left -= item.bytes.length
        taken.push(item.bytes)
        if (times + 1 < limit) chosen.push(item)
        else this.#drop(item)
      }
      putBack(passed, waiting)
      again.push(chosen)
    }
    for (const [times, items] of again.entries()) if (items.length > 0) putBack(items, this.#sent(times + 1))
    return taken
  }

  /** Away, though it is still among those that wait. */
  #supersede(item: Item | undefined): void {
    if (item === undefined) return
    this.#drop(item)
    if (++this.#replaced > this.#items.size) this.#sweep()
  }

  #drop(item: Item): void {
    item.over = true
    this.#items.delete(item.about)
  }

  /** Under strain, what has been sent often is not met for long. */
  #sweep(): void {
    for (const [times, items] of this.#bySent.entries()) this.#bySent[times] = items.filter(({ over }) => !over)
    this.#replaced = 0
  }

  #sent(times: number): Item[] {
    while (this.#bySent.length <= times) this.#bySent.push([])
    return this.#bySent[times] as Item[]
  }
}

/** The first that was popped becomes the last again. */
function putBack(items: Item[], waiting: Item[]): void {
  for (let place = items.length - 1; place >= 0; place--) waiting.push(items[place] as Item)
}
