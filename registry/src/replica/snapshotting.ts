/** When a new snapshot of the own state is worth its cost, and what its writing takes: one at a time, in slices. */
import type { Io } from '../io/io.ts'
import type { Millis } from '../model.ts'
import type { Raft } from '../raft/raft.ts'
import { type Applier, entryOverhead } from './applier.ts'
import type { StateMachine } from './machine.ts'
import type { ReplicaOptions } from './options.ts'
import type { SnapshotFile, Snapshots } from './snapshots.ts'
import type { Wal } from './wal.ts'

export interface SnapshottingOptions {
  io: Pick<Io, 'clock' | 'log'>
  machine: StateMachine
  raft: Raft
  wal: Wal
  snapshots: Snapshots
  applier: Applier
  options: Required<ReplicaOptions>
  /** Files that are being sent: they stay. */
  inUse: () => readonly string[]
  /** The replica runs no more: nothing is to be changed after the write under way. */
  ended: () => boolean
  failed: (error: unknown) => void
}

/** How much of the last snapshot's size the entries since then must have for the next. */
const snapshotShare = 0.25

/** So many times the entries for a snapshot make one without waiting: they are all in memory. */
const manySnapshotEntries = 8

export class Snapshotting {
  readonly #parts: SnapshottingOptions
  #underWay: Promise<void> | undefined
  /** When the last snapshot was begun. */
  #begunAt: Millis = Number.NEGATIVE_INFINITY
  /** Snapshots that did not verify where they were sent to: there must be a new one before they may go. */
  readonly #suspects = new Set<SnapshotFile>()

  constructor(parts: SnapshottingOptions) {
    this.#parts = parts
  }

  /** What we sent does not verify there: what we have on disk may be damaged, and a new one is needed. */
  suspect(snapshot: SnapshotFile): void {
    this.#suspects.add(snapshot)
  }

  /** Begins one when it is due. */
  look(): void {
    const { io, raft, snapshots, applier, options, failed } = this.#parts
    const base = snapshots.newest?.mark.index ?? 0
    // A large state is not written anew for a few entries: reading those at a start is quicker than what it would cost now.
    const worthwhile = applier.bytes >= (snapshots.newest?.size ?? 0) * snapshotShare
    const count = applier.index - base
    const { snapshotEntries, snapshotInterval } = options
    const rested = io.clock.now() - this.#begunAt >= snapshotInterval || count >= manySnapshotEntries * snapshotEntries
    const due =
      this.#suspects.size > 0 ||
      (count >= snapshotEntries && worthwhile && rested) ||
      applier.bytes >= options.snapshotBytes
    const older = applier.index < base || (applier.index === base && this.#suspects.size === 0)
    if (!due || older || this.#underWay !== undefined) return
    // The committed configuration is the one at the applied index, and the snapshot says nothing that this disk's term
    // and log do not know yet.
    if (!applier.idle || raft.savedIndex < applier.index) return
    this.#begunAt = io.clock.now()
    this.#underWay = this.#snapshot().then(
      () => {
        this.#underWay = undefined
      },
      (error) => {
        this.#underWay = undefined
        failed(error)
      },
    )
  }

  /** Resolves when none is being written. */
  async idle(): Promise<void> {
    await this.#underWay
  }

  async #snapshot(): Promise<void> {
    const { io, machine, raft, wal, snapshots, applier, options, inUse, ended } = this.#parts
    const mark = raft.markAt(applier.index)
    const suspects = [...this.#suspects]
    this.#suspects.clear()
    const averageBytes = applier.bytes / Math.max(1, mark.index - (snapshots.newest?.mark.index ?? 0))
    applier.bytes = 0
    await snapshots.write(mark, machine.snapshot())
    if (ended()) return
    io.log('info', 'raft', `Snapshot to ${mark.index} complete`, { term: mark.term })
    const trailing = Math.min(
      options.trailingEntries,
      Math.floor(options.snapshotBytes / Math.max(averageBytes, entryOverhead)),
    )
    raft.compact(mark, trailing)
    for (const suspect of suspects) {
      const damage = await snapshots.recheck(suspect)
      if (damage === undefined) continue
      io.log('error', 'raft', `damage on the disk: ${damage.reason}; a new snapshot has taken its place`, {
        kept: damage.kept,
      })
    }
    await snapshots.prune(inUse())
    // The log on disk goes back to the older snapshot, or to its beginning: should the newer be damaged, nothing is lost.
    await wal.compact(snapshots.heldTwice + 1)
  }
}
