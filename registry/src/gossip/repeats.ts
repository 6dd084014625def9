/**
 * News that was heard a moment ago, word for word. Each piece of it comes to everybody a dozen times (that is how it
 * survives losses); the later copies change nothing and are dropped before they are read. Holds a fixed number of hashes,
 * each place for the last that fell there.
 *
 * Nothing may be dropped that would mean something the second time. What a member hears makes its table only newer (see
 * `verdict`), so what it has taken, or found stale, it would find stale again; whenever that is not so (news of somebody it
 * does not know yet, a name that two claim) `Membership` forgets all of this.
 */
import type { Millis } from '../model.ts'

const places = 1_024
/** Copies come within a few gossip intervals. Later ones are heard again, for what they contradict is to be told again. */
const lasts: Millis = 1_000

export class Repeats {
  readonly #hashes = new Uint32Array(places)
  readonly #until = new Float64Array(places)

  /** Whether these bytes were heard lately; from now on they were. */
  heard(bytes: Uint8Array, begin: number, end: number, now: Millis): boolean {
    // FNV-1a
    let hash = 0x811c9dc5
    for (let at = begin; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193)
    const place = (hash ^ (hash >>> 15)) & (places - 1)
    if (this.#hashes[place] === hash >>> 0 && now < (this.#until[place] as number)) return true
    this.#hashes[place] = hash
    this.#until[place] = now + lasts
    return false
  }

  forget(): void {
    this.#until.fill(0)
  }
}
