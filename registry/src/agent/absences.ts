/** Who is written down somewhere and not in the pool: since when, and whether that is long enough to say that it is gone. */
import type { Millis, NodeName } from '../model.ts'

/** How long gossip must not know a node before it counts as gone. */
const absenceMax: Millis = 60_000
/** The same for a server: who cannot answer keeps its vote from others, and costs nothing to take in again. */
export const serverAbsenceMax: Millis = 20_000

/**
 * Nodes that are in the catalog, or servers that are in the configuration, and not in the pool. A leader that has just
 * been started knows few members yet, and they are there all the same; who was forgotten before our eyes is gone at once.
 */
export class Absences {
  readonly #longest: Millis
  readonly #since = new Map<NodeName, Millis>()

  constructor(longest: Millis = absenceMax) {
    this.#longest = longest
  }

  /** @param known lower-case names (or ids) of members @returns whether the node of that name, any case, is gone */
  look(nodes: readonly NodeName[], known: ReadonlySet<string>, now: Millis): (name: NodeName) => boolean {
    const absent = new Set(nodes.map((name) => name.toLowerCase()).filter((name) => !known.has(name)))
    for (const name of [...this.#since.keys()]) if (!absent.has(name)) this.#since.delete(name)
    for (const name of absent) if (!this.#since.has(name)) this.#since.set(name, now)
    return (name) => now - (this.#since.get(name.toLowerCase()) ?? now) >= this.#longest
  }

  /** Gossip has forgotten this member. */
  reaped(name: NodeName): void {
    this.#since.set(name.toLowerCase(), Number.NEGATIVE_INFINITY)
  }

  /** Somebody else led meanwhile. */
  reset(): void {
    this.#since.clear()
  }
}
