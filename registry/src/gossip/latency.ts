/**
 * Against round trips that say nothing: of the last few to a member, the one in the middle (Ledlie, Gardner, Seltzer 2007,
 * the moving percentile filter; Serf: the median of three). A single one held up on its way, or by a process that was busy,
 * does not count.
 */

const kept = 3

export class LatencyFilter {
  readonly #samples = new Map<string, number[]>()

  /** How many members are remembered. */
  get size(): number {
    return this.#samples.size
  }

  /** The median of this and the last ones; of two, the longer. */
  add(member: string, sample: number): number {
    const samples = [...(this.#samples.get(member) ?? []), sample].slice(-kept)
    this.#samples.set(member, samples)
    const ordered = samples.toSorted((a, b) => a - b)
    return ordered[Math.floor(ordered.length / 2)] as number
  }

  /** The members who are `gone`. */
  forget(gone: (member: string) => boolean): void {
    for (const member of this.#samples.keys()) if (gone(member)) this.#samples.delete(member)
  }
}
