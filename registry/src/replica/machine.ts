/** What the replica replicates. It knows nothing of what the state means. */
import type { Index } from '../model.ts'

export interface StateMachine {
  /**
   * Deterministic: depends on the state, `index` and `data` only. Throwing halts the node.
   * @param read what `data` says, where the proposer has read it already: for speed only
   */
  apply(index: Index, data: Uint8Array, read?: unknown): unknown
  /** The state as it is at the call, in slices small enough not to hold the loop; later applies do not show. */
  snapshot(): Iterable<Uint8Array>
  /** Replaces the state. */
  restore(chunks: Iterable<Uint8Array>): void
  /**
   * The same in pieces, for a state too large to be replaced in one go: what there is stays until `finish`. May be given up
   * at any time. Absent: `restore` is quick enough.
   */
  restoring?(): { add(chunk: Uint8Array): void; finish(): void }
}
