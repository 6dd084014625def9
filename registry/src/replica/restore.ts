/**
 * What the disk says at a start: the newest snapshot that verifies, and the log after it. Whether the two fit together is
 * decided here. What was acknowledged and is not there any more is an error, never an empty start: this server would vote
 * as if it had not promised anything.
 */
import { Corrupt } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Entry, HardState, SnapshotMark } from '../raft/message.ts'
import type { StateMachine } from './machine.ts'
import type { WalRecord } from './records.ts'
import { Snapshots } from './snapshots.ts'
import { Wal, type WalOptions } from './wal.ts'

const walFolder = 'raft/wal'
const snapshotFolder = 'raft/snapshots'

export interface FromDisk {
  wal: Wal
  snapshots: Snapshots
  hardState: HardState
  snapshot: SnapshotMark | undefined
  /** After the snapshot, without a gap. */
  entries: Entry[]
}

/** The machine has the snapshot's state when this resolves. @throws Corrupt */
export async function restoreFromDisk(io: Io, machine: StateMachine, options: Partial<WalOptions>): Promise<FromDisk> {
  const snapshots = await Snapshots.open(io.disk, snapshotFolder)
  for (const { file, reason } of snapshots.damaged) {
    io.log('error', 'raft', 'a snapshot is damaged and not used', { file, reason })
  }
  const { wal, recovered } = await Wal.open(io.disk, walFolder, io.random, options)
  if (recovered.tornBytes > 0) {
    io.log('info', 'raft', 'cut off a write that a crash had interrupted', { bytes: recovered.tornBytes })
  }
  const newest = snapshots.newest
  const mark = newest?.mark
  const end = mark?.index ?? 0
  const needed = recovered.start?.index ?? (recovered.entries[0]?.index ?? 1) - 1
  if (needed > end) {
    const damaged = snapshots.damaged.map(({ reason }) => reason).join('; ')
    throw new Corrupt(
      `${walFolder}: the log begins after entry ${needed}, but the newest snapshot ends at ${end}${damaged === '' ? '' : ` (${damaged})`}`,
    )
  }
  if (mark === undefined && snapshots.damaged.length > 0 && recovered.entries.length === 0) {
    throw new Corrupt(snapshots.damaged[0]!.reason)
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
  if (newest !== undefined) machine.restore(await snapshots.chunks(newest))
  return { wal, snapshots, hardState, snapshot: mark, entries }
}
