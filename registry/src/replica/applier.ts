/**
 * The state machine and how far it is: committed entries in order, and now and then a whole state from the leader's
 * snapshot. Reading that from the disk takes time; what is committed behind it waits.
 */
import { assert, Corrupt } from '../errors.ts'
import type { Index, Term } from '../model.ts'
import type { Entry, SnapshotMark } from '../raft/message.ts'
import type { StateMachine } from './machine.ts'
import type { Snapshots } from './snapshots.ts'

/** What an entry weighs besides its data, about. */
export const entryOverhead = 32

type Work = { type: 'entries'; entries: readonly Entry[] } | { type: 'restore'; mark: SnapshotMark }

export interface ApplierDoors {
  /** One entry is applied; `result` is what the machine returned. */
  applied(entry: Entry, result: unknown): void
  /** All after `from` and up to `index` is applied. */
  reached(from: Index, index: Index): void
  restored(mark: SnapshotMark): void
  /** The machine threw, or the snapshot cannot be read. */
  failed(error: unknown): void
}

export class Applier {
  /** Of the last entry applied. */
  index: Index
  term: Term
  /** How much was applied since the last snapshot, for whoever takes them. */
  bytes = 0

  readonly #machine: StateMachine
  readonly #snapshots: Snapshots
  readonly #doors: ApplierDoors
  #work: Work[] = []
  #restoring = false
  #stopped = false

  /** @param start what the machine holds already. */
  constructor(machine: StateMachine, snapshots: Snapshots, start: SnapshotMark | undefined, doors: ApplierDoors) {
    this.#machine = machine
    this.#snapshots = snapshots
    this.#doors = doors
    this.index = start?.index ?? 0
    this.term = start?.term ?? 0
  }

  /** Everything that was handed over is applied. */
  get idle(): boolean {
    return !this.#restoring && this.#work.length === 0
  }

  /** At once, or behind a restore under way. @throws what the machine throws */
  apply(entries: readonly Entry[]): void {
    if (entries.length > 0) this.#work.push({ type: 'entries', entries })
    this.#run()
  }

  /** The snapshot is on this disk and takes the place of the state. */
  restore(mark: SnapshotMark): void {
    this.#work.push({ type: 'restore', mark })
    this.#run()
  }

  /** Nothing is applied any more. */
  stop(): void {
    this.#stopped = true
  }

  #run(): void {
    while (!this.#restoring && !this.#stopped) {
      const work = this.#work.shift()
      if (work === undefined) return
      if (work.type === 'entries') this.#apply(work.entries)
      else this.#restore(work.mark).catch((error) => this.#doors.failed(error))
    }
  }

  #apply(entries: readonly Entry[]): void {
    const before = this.index
    for (const entry of entries) {
      const { index, term, kind, data } = entry
      assert(index === this.index + 1, `apply out of order: ${index} after ${this.index}`)
      const result = kind === 'command' ? this.#machine.apply(index, data) : undefined
      this.index = index
      this.term = term
      this.bytes += data.length + entryOverhead
      this.#doors.applied(entry, result)
    }
    this.#doors.reached(before, this.index)
  }

  async #restore(mark: SnapshotMark): Promise<void> {
    this.#restoring = true
    const snapshot = this.#snapshots.find(mark)
    if (snapshot === undefined) throw new Corrupt(`the snapshot at ${mark.index} is gone before it was restored`)
    if (!(await this.#snapshots.restore(snapshot, this.#machine, () => this.#stopped))) return
    const before = this.index
    this.index = mark.index
    this.term = mark.term
    this.bytes = 0
    this.#restoring = false
    this.#doors.restored(mark)
    this.#doors.reached(before, mark.index)
    this.#run()
  }
}
