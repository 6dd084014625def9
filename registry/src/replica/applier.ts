/**
 * The state machine and how far it is: committed entries in order, and now and then a whole state from the leader's
 * snapshot. Reading that from the disk takes time, and so do many entries at once, as after a start: they are applied in
 * slices, so that heartbeats and requests between them never wait long. What is committed meanwhile waits behind.
 */
import { assert, Corrupt } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Index, Millis, Term } from '../model.ts'
import type { Entry, SnapshotMark } from '../raft/message.ts'
import type { StateMachine } from './machine.ts'
import type { Snapshots } from './snapshots.ts'

/** How long entries may be applied without a pause, and after how many the clock is looked at. */
const sliceMax: Millis = 5
const sliceEntries = 32

/** What an entry weighs besides its data, about. */
export const entryOverhead = 32

/** `at`: how many of the entries are applied. */
type Work = { type: 'entries'; entries: readonly Entry[]; at: number } | { type: 'restore'; mark: SnapshotMark }

export interface ApplierDoors {
  /** What the entry's data says, where that is known. */
  read(entry: Entry): unknown
  /** One entry is applied; `result` is what the machine returned. */
  applied(entry: Entry, result: unknown): void
  /** All after `from` and up to `index` is applied. */
  reached(from: Index, index: Index): void
  restored(mark: SnapshotMark): void
  /** What waited for its turn is applied: look again at what depends on it. */
  resumed(): void
  /** The machine threw, or the snapshot cannot be read. */
  failed(error: unknown): void
}

export class Applier {
  /** Of the last entry applied. */
  index: Index
  term: Term
  /** How much was applied since the last snapshot, for whoever takes them. */
  bytes = 0

  readonly #io: Pick<Io, 'clock' | 'turn'>
  readonly #machine: StateMachine
  readonly #snapshots: Snapshots
  readonly #doors: ApplierDoors
  #work: Work[] = []
  /** A state is being put back, or a pause is made between two slices. */
  #busy = false
  #restoring = false
  #stopped = false

  /** @param start what the machine holds already. */
  constructor(
    io: Pick<Io, 'clock' | 'turn'>,
    { machine, snapshots, start }: { machine: StateMachine; snapshots: Snapshots; start: SnapshotMark | undefined },
    doors: ApplierDoors,
  ) {
    this.#io = io
    this.#machine = machine
    this.#snapshots = snapshots
    this.#doors = doors
    this.index = start?.index ?? 0
    this.term = start?.term ?? 0
  }

  /** A whole state is being put in the place of this one, or is about to be: what the machine holds is not of the log's index. */
  get replacing(): boolean {
    return this.#restoring || this.#work.some(({ type }) => type === 'restore')
  }

  /** Everything that was handed over is applied. */
  get idle(): boolean {
    return !this.#busy && this.#work.length === 0
  }

  /** At once when little waits, or behind what is under way. @throws what the machine throws */
  apply(entries: readonly Entry[]): void {
    if (entries.length > 0) this.#work.push({ type: 'entries', entries, at: 0 })
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
    const end = this.#io.clock.now() + sliceMax
    while (!this.#busy && !this.#stopped) {
      const [work] = this.#work
      if (work === undefined) return
      if (work.type === 'restore') {
        this.#work.shift()
        this.#restore(work.mark).catch((error) => this.#doors.failed(error))
      } else {
        const slice = work.entries.slice(work.at, work.at + sliceEntries)
        work.at += slice.length
        if (work.at === work.entries.length) this.#work.shift()
        this.#apply(slice)
        if (this.#work.length > 0 && this.#io.clock.now() >= end)
          this.#pause().catch((error) => this.#doors.failed(error))
      }
    }
  }

  async #pause(): Promise<void> {
    this.#busy = true
    await this.#io.turn()
    this.#busy = false
    if (this.#stopped) return
    this.#run()
    this.#doors.resumed()
  }

  #apply(entries: readonly Entry[]): void {
    const before = this.index
    for (const entry of entries) {
      const { index, term, kind, data } = entry
      assert(index === this.index + 1, `apply out of order: ${index} after ${this.index}`)
      const result = kind === 'command' ? this.#machine.apply(index, data, this.#doors.read(entry)) : undefined
      this.index = index
      this.term = term
      this.bytes += data.length + entryOverhead
      this.#doors.applied(entry, result)
    }
    this.#doors.reached(before, this.index)
  }

  async #restore(mark: SnapshotMark): Promise<void> {
    this.#busy = true
    this.#restoring = true
    const snapshot = this.#snapshots.find(mark)
    if (snapshot === undefined) throw new Corrupt(`the snapshot at ${mark.index} is gone before it was restored`)
    if (!(await this.#snapshots.restore(snapshot, this.#machine, () => this.#stopped))) return
    const before = this.index
    this.index = mark.index
    this.term = mark.term
    this.bytes = 0
    this.#busy = false
    this.#restoring = false
    this.#doors.restored(mark)
    this.#doors.reached(before, mark.index)
    this.#run()
  }
}
