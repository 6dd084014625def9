/** When the names of deleted keys may be forgotten: by the clock of whoever leads. */
import type { Index, Millis } from '../model.ts'

/** How long a deleted key's name is remembered, so that a prefix's index moves on its deletion. Consul: 15 minutes. */
const tombstoneLasts: Millis = 15 * 60_000
const tombstoneStep: Millis = 60_000

/** Which deletions are old enough to forget: pairs a log position with the time it was reached, once a minute. */
export class Tombstones {
  #marks: { at: Millis; index: Index }[] = []
  /** Nothing up to here is worth a command: it is forgotten already, or was itself about forgetting. */
  #done: Index = 0

  /** The index up to which may be forgotten now, undefined when there is nothing new. */
  due(now: Millis, applied: Index): Index | undefined {
    const last = this.#marks.at(-1)
    if (applied > this.#marked && (last === undefined || now - last.at >= tombstoneStep)) {
      this.#marks.push({ at: now, index: applied })
    }
    const old = this.#marks.filter(({ at }) => now - at >= tombstoneLasts)
    const newest = old.at(-1)
    if (newest === undefined) return undefined
    this.#marks = this.#marks.slice(old.length)
    this.#done = newest.index
    return newest.index
  }

  /** The command that forgets is at `index`: alone it is no reason for another, or an idle cluster would write for ever. */
  reaped(index: Index): void {
    if (index !== this.#marked + 1) return
    const last = this.#marks.at(-1)
    if (last === undefined) this.#done = index
    else last.index = index
  }

  /** Another leader's clock counts now. */
  reset(): void {
    this.#marks = []
    this.#done = 0
  }

  get #marked(): Index {
    return this.#marks.at(-1)?.index ?? this.#done
  }
}
