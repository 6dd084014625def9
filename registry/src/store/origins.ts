/**
 * Writes that were sent twice are applied once. An agent that does not know what became of a write sends it again under
 * the same number; whichever copy gets into the log first counts, the others answer what that one did (thesis §6.3). The
 * table is part of the state, so it survives a change of leader and is in every snapshot.
 *
 * Numbers that the sender has settled (answered, or given up) are forgotten, and never applied any more: a copy that
 * was on its way for a while cannot undo what was written since.
 */
import type { Index } from '../model.ts'
import type { Result } from './command.ts'

/** One life of an agent: a random text of its own. */
export type OriginId = string

/** Who writes: `sequence` rises by one per write; everything up to `settled` needs no answer any more. */
export type From = readonly [origin: OriginId, sequence: number, settled: number]

/** In a snapshot. */
export type OriginRow = [id: OriginId, settled: number, last: Index, results: [sequence: number, result: Result][]]

interface Origin {
  settled: number
  /** Index of its newest write, for forgetting agents that are gone. */
  last: Index
  results: Map<number, Result>
}

export class Origins {
  readonly #origins = new Map<OriginId, Origin>()

  constructor(rows: readonly OriginRow[] = []) {
    for (const [id, settled, last, results] of rows) this.#origins.set(id, { settled, last, results: new Map(results) })
  }

  get size(): number {
    return this.#origins.size
  }

  /** Runs `apply` unless this write was applied before, or is not waited for any more. */
  once([id, sequence, settled]: From, index: Index, apply: () => Result): Result {
    let origin = this.#origins.get(id)
    if (origin === undefined) {
      origin = { settled: 0, last: index, results: new Map() }
      this.#origins.set(id, origin)
    }
    if (sequence <= origin.settled) return { error: 'its sender has given this write up' }
    let result = origin.results.get(sequence)
    if (result === undefined) {
      result = apply()
      origin.results.set(sequence, result)
    }
    origin.last = index
    if (settled > origin.settled) {
      origin.settled = settled
      for (const old of origin.results.keys()) if (old <= settled) origin.results.delete(old)
    }
    return result
  }

  /** Forgets agents that have not written since. */
  reap(upTo: Index): void {
    for (const [id, { last }] of [...this.#origins]) if (last <= upTo) this.#origins.delete(id)
  }

  /** In order of ids, so that the same state has the same bytes. */
  rows(): OriginRow[] {
    return [...this.#origins]
      .map(([id, { settled, last, results }]): OriginRow => [id, settled, last, [...results].sort(([a], [b]) => a - b)])
      .sort(([a], [b]) => (a < b ? -1 : 1))
  }
}
