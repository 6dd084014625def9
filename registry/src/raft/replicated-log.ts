/**
 * One server's copy of the replicated log and how far it has come: in memory, on disk, committed, handed out to be
 * applied; with the configurations it holds and the snapshot it may start after. Committed entries never change; that is
 * asserted here. Who may append, and what is committed, is decided in `raft.ts`.
 */
import { assert } from '../errors.ts'
import type { Index, Term } from '../model.ts'
import { Configurations, noConfiguration } from './configurations.ts'
import { Log } from './log.ts'
import type { Entry, HardState, SnapshotMark } from './message.ts'
import { Saves } from './saves.ts'

/** What the disk had: entries follow the snapshot (or index 0) without a gap. */
export interface Restored {
  hardState: HardState
  snapshot: SnapshotMark | undefined
  entries: Entry[]
  /** A former life knew that entries up to here are committed; they are in the snapshot or in `entries`. */
  commit?: Index
}

export class ReplicatedLog {
  readonly entries: Log
  readonly saves: Saves
  readonly configurations: Configurations
  /** The newest durable snapshot. */
  snapshotMark: SnapshotMark | undefined
  /** A leader's snapshot that the replica has not been told to restore yet. */
  restoring: SnapshotMark | undefined
  #commit: Index
  /** Committed entries up to here were handed out. */
  #applied: Index

  constructor({ hardState, snapshot, entries, commit = 0 }: Restored) {
    this.snapshotMark = snapshot
    this.#commit = snapshot?.index ?? 0
    this.#applied = this.#commit
    this.entries = new Log({ index: snapshot?.index ?? 0, term: snapshot?.term ?? 0 })
    this.configurations = new Configurations(
      snapshot?.configuration ?? noConfiguration,
      snapshot?.configurationIndex ?? 0,
    )
    for (const entry of entries) this.append(entry)
    this.saves = new Saves(hardState, this.entries.lastIndex)
    this.advanceCommit(commit)
  }

  get commit(): Index {
    return this.#commit
  }

  /** A configuration is in force from here on (thesis §4.1). */
  append(entry: Entry): void {
    if (entry.kind === 'configuration') this.configurations.append(entry)
    this.entries.append(entry)
  }

  /**
   * Takes what a leader sends. Returns up to where our log now certainly equals the leader's; undefined: it does not have
   * the entry before (Raft §5.3).
   */
  merge(previousIndex: Index, previousTerm: Term, entries: readonly Entry[]): Index | undefined {
    // Committed entries are the same everywhere, also those that we have compacted away.
    const known = this.#commit
    if (previousIndex > known && this.entries.termAt(previousIndex) !== previousTerm) return undefined
    let verified = Math.max(previousIndex, known)
    for (const entry of entries) {
      const term = this.entries.termAt(entry.index)
      if (entry.index <= known) {
        assert(
          term === undefined || term === entry.term,
          `committed entry ${entry.index} is of term ${term} here and of term ${entry.term} at the leader`,
        )
        continue
      }
      if (term !== entry.term) {
        // Only a real conflict cuts: a late, shorter message must not take back what we have acknowledged.
        if (term !== undefined) this.#truncate(entry.index)
        this.append(entry)
      }
      verified = entry.index
    }
    return verified
  }

  #truncate(from: Index): void {
    assert(from > this.#commit, `entry ${from} would be cut off, but ${this.#commit} are committed`)
    this.entries.truncate(from)
    this.saves.truncate(from)
    this.configurations.truncate(from)
  }

  /** Entries up to `index` are committed. */
  advanceCommit(index: Index): void {
    if (index <= this.#commit) return
    assert(
      index <= this.entries.lastIndex,
      `${index} would be committed, but the log ends at ${this.entries.lastIndex}`,
    )
    this.#commit = index
    this.configurations.commit(index)
  }

  /** Committed entries that were not handed out before. */
  handCommitted(bytesMax: number): Entry[] {
    if (this.#applied >= this.#commit) return []
    const committed = this.entries.slice(this.#applied + 1, this.#commit, bytesMax)
    this.#applied += committed.length
    return committed
  }

  /** Entries that the replica was not given to save before. */
  unsaved(): Entry[] {
    const from = this.saves.handedIndex + 1
    return from > this.entries.lastIndex
      ? []
      : this.entries.slice(from, this.entries.lastIndex, Number.POSITIVE_INFINITY)
  }

  /** A leader's snapshot beyond what is committed here. Returns whether the log itself holds all of it. */
  install(mark: SnapshotMark): boolean {
    if (this.entries.termAt(mark.index) === mark.term) {
      // What follows it stays (Raft figure 13, step 6), and applying what leads to it is quicker than to restore.
      this.advanceCommit(mark.index)
      return true
    }
    this.entries.restart(mark)
    // Nothing here is on disk until the replica reports the Ready that brings the snapshot.
    this.saves.truncate(1)
    this.saves.handedIndex = mark.index
    this.configurations.restart(mark.configuration, mark.configurationIndex)
    this.snapshotMark = mark
    this.restoring = mark
    this.#commit = mark.index
    this.#applied = mark.index
    return false
  }

  /** The mark of a snapshot that holds everything up to `index`, the last entry applied. */
  markAt(index: Index): SnapshotMark {
    const term = this.entries.termAt(index)
    assert(
      term !== undefined && index <= this.#applied,
      `a snapshot at ${index}, but the log has ${this.entries.startIndex} to ${this.#applied} handed out`,
    )
    const { configuration, index: configurationIndex } = this.configurations.at(index)
    return { index, term, configuration, configurationIndex }
  }

  /** A snapshot at `mark` is durable; all but the last `keep` entries that it holds are forgotten. */
  compact(mark: SnapshotMark, keep: number): void {
    if (mark.index <= (this.snapshotMark?.index ?? 0)) return
    assert(mark.index <= this.#applied, `a snapshot at ${mark.index}, but only ${this.#applied} were handed out`)
    const term = this.entries.termAt(mark.index)
    assert(term === mark.term, `a snapshot at ${mark.index} of term ${mark.term}, but that entry has term ${term}`)
    this.snapshotMark = mark
    this.entries.compact(mark.index - keep)
    this.configurations.compact(mark.index)
  }
}
