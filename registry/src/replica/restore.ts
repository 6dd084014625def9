/**
 * What the disk says at a start: the newest snapshot that verifies, and the log after it. Whether the two fit together is
 * decided here. What was acknowledged and is not there any more is an error, never an empty start: this server would vote
 * as if it had not promised anything. Damage to what is held twice is no loss: it is said, and the file put aside.
 */
import { Corrupt } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Index } from '../model.ts'
import type { Entry, HardState, SnapshotMark } from '../raft/message.ts'
import { Bookmark, bookmarkFile } from './bookmark.ts'
import { setAside, snapshotFolder, walFolder } from './damage.ts'
import type { StateMachine } from './machine.ts'
import type { WalRecord } from './records.ts'
import { Snapshots } from './snapshots.ts'
import { Wal, type WalOptions } from './wal.ts'

export interface FromDisk {
  wal: Wal
  snapshots: Snapshots
  hardState: HardState
  snapshot: SnapshotMark | undefined
  /** After the snapshot, without a gap. */
  entries: Entry[]
  bookmark: Bookmark
  /** Committed for certain: in the snapshot, or in the log up to here. */
  commit: Index
}

/** The machine has the snapshot's state when this resolves. @throws Corrupt, TooNew, or the disk's error */
export async function restoreFromDisk(io: Io, machine: StateMachine, options: Partial<WalOptions>): Promise<FromDisk> {
  const snapshots = await Snapshots.open(io.disk, snapshotFolder)
  const newest = snapshots.newest
  const mark = newest?.mark
  const end = mark?.index ?? 0
  const bookmark = await Bookmark.open(io.disk)
  const { wal, recovered } = await Wal.open(io.disk, walFolder, io.random, {
    ...options,
    covered: end,
    // What is refused stays as it is: somebody may know how to make more of it.
    expect: (entries, start) => {
      const needed = start?.index ?? (entries[0]?.index ?? 1) - 1
      const last = Math.max(end, needed + entries.length)
      const lost = snapshots.damaged.filter(({ index }) => index > last)
      if (needed > end || lost.length > 0) {
        const damaged = snapshots.damaged.map(({ reason }) => reason).join('; ')
        throw new Corrupt(
          `${damaged === '' ? walFolder : damaged}; the log holds entries ${needed + 1} to ${last}, and the newest whole snapshot ends at ${end}`,
        )
      }
      expectCommitted(bookmark, { end, needed, entries })
    },
  })
  if (recovered.tornBytes > 0) {
    io.log('info', 'raft', 'cut off a write that a crash had interrupted', { bytes: recovered.tornBytes })
  }
  if (bookmark.damaged) {
    const words = 'nothing is lost, it only repeats what the log and the others know'
    io.log('warn', 'raft', `${bookmarkFile} is damaged; ${words}`)
  }
  const records: WalRecord[] = []
  let hardState = recovered.hardState ?? { term: 0, vote: '' }
  let entries = recovered.entries.filter(({ index }) => index > end)
  if (mark !== undefined) {
    // A snapshot came from the leader, and the crash before the log took note of it.
    if (hardState.term < mark.term) {
      hardState = { term: mark.term, vote: '' }
      records.push({ type: 'hardState', hardState })
    }
    const at = recovered.start?.index === end ? recovered.start : recovered.entries.find(({ index }) => index === end)
    if (at?.term !== mark.term && recovered.entries.at(0)?.index !== end + 1) {
      entries = []
      records.push({ type: 'restart', index: mark.index, term: mark.term })
    }
  }
  if (records.length > 0) await wal.save(records)
  if (newest !== undefined) await snapshots.restore(newest, machine)
  // Not before it is certain that nothing of it is needed.
  const reasons = snapshots.damaged.map(({ reason }) => reason)
  if (recovered.damage !== undefined) reasons.unshift(recovered.damage.reason)
  const files = [...snapshots.damaged.map(({ file }) => file), ...(recovered.damage?.superfluous ?? [])]
  if (files.length > 0) {
    const folder = await setAside(io.disk, files)
    for (const reason of reasons) {
      io.log('error', 'raft', `damage on the disk: ${reason}; nothing is lost, the state is held elsewhere on it`, {
        kept: folder,
      })
    }
  }
  return { wal, snapshots, hardState, snapshot: mark, entries, bookmark, commit: Math.max(end, bookmark.index) }
}

/** A log may end anywhere and look whole: here it has to reach what was committed. @throws Corrupt */
function expectCommitted(
  { index, term }: Bookmark,
  { end, needed, entries }: { end: Index; needed: Index; entries: readonly Entry[] },
): void {
  if (index <= end) return
  const entry = entries[index - needed - 1]
  if (entry?.term === term) return
  const found = entry === undefined ? `the log ends at ${needed + entries.length}` : `it is of term ${entry.term}`
  throw new Corrupt(
    `${walFolder}: expected entry ${index} of term ${term}, which was committed and durable here; ${found}`,
  )
}
