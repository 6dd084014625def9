/**
 * What is on disk. Every Ready with something to save is remembered until the replica reports it; then what it held
 * counts, unless it was cut off in the meantime. So nobody ever counts a copy that a crash could still take away.
 */
import { assert } from '../errors.ts'
import type { Index } from '../model.ts'
import type { HardState, SavePoint } from './message.ts'

interface Pending {
  ready: number
  hardState: HardState
  /** Lowered when the entries above it are cut off: their save no longer means anything. */
  index: Index
}

export class Saves {
  /** Entries up to here are on disk and have not been replaced since. */
  savedIndex: Index
  /** Entries up to here were handed to the replica. */
  handedIndex: Index
  #saved: HardState
  #handed: HardState
  #pending: Pending[] = []
  #ready = 0

  constructor(hardState: HardState, index: Index) {
    this.savedIndex = index
    this.handedIndex = index
    this.#saved = hardState
    this.#handed = hardState
  }

  /** Everything handed over is on disk. */
  get idle(): boolean {
    return this.#pending.length === 0
  }

  isSaved(hardState: HardState): boolean {
    return same(this.#saved, hardState)
  }

  wasHanded(hardState: HardState): boolean {
    return same(this.#handed, hardState)
  }

  /** A Ready with something to save leaves; `index` is the last of its entries, or of the log as far as it was handed over. */
  hand(hardState: HardState, index: Index): number {
    this.#ready++
    this.#handed = hardState
    this.handedIndex = index
    this.#pending.push({ ready: this.#ready, hardState, index })
    return this.#ready
  }

  /** That Ready and all before it are on disk. */
  complete(point: SavePoint): void {
    assert(point.ready <= this.#ready, `save ${point.ready} reported, but only ${this.#ready} were handed out`)
    while (this.#pending[0] !== undefined && this.#pending[0].ready <= point.ready) {
      const done = this.#pending.shift() as Pending
      this.savedIndex = Math.max(this.savedIndex, done.index)
      this.#saved = done.hardState
    }
  }

  /** The log was cut off from here on. */
  truncate(from: Index): void {
    this.savedIndex = Math.min(this.savedIndex, from - 1)
    this.handedIndex = Math.min(this.handedIndex, from - 1)
    for (const pending of this.#pending) pending.index = Math.min(pending.index, from - 1)
  }
}

function same(one: HardState, other: HardState): boolean {
  return one.term === other.term && one.vote === other.vote
}
