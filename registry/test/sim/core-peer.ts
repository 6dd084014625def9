/** One server of `cores.ts`: a core, what of it would be on a disk, and what has been applied. */
import assert from 'node:assert/strict'
import type { Index, Millis, Term } from '../../src/model.ts'
import type { Configuration, Entry, HardState, Ready, ServerId, SnapshotMark } from '../../src/raft/message.ts'
import type { Raft } from '../../src/raft/raft.ts'

/** What a crash leaves: a log whose batches are whole or absent, and the newest snapshot. */
export interface CoreDisk {
  hardState: HardState
  snapshot: { mark: SnapshotMark; state: string } | undefined
  entries: Entry[]
}

export interface Peer {
  id: ServerId
  raft: Raft
  disk: CoreDisk
  up: boolean
  /** Counts lives; what was scheduled for an older one is void. */
  life: number
  stalledUntil: Millis
  inbox: (() => void)[]
  saving: Ready[]
  /** A digest of all commands applied. */
  state: string
  applied: Index
  clockRate: number
  clockOffset: Millis
}

/** One Ready reaches the disk, whole. */
export function write(disk: CoreDisk, ready: Ready, stateAt: (index: Index) => string): void {
  if (ready.hardState !== undefined) disk.hardState = ready.hardState
  if (ready.snapshot !== undefined) {
    disk.snapshot = { mark: ready.snapshot, state: stateAt(ready.snapshot.index) }
    disk.entries = []
  }
  const start = disk.snapshot?.mark.index ?? 0
  const entries = ready.entries.filter(({ index }) => index > start)
  const first = entries[0]
  if (first === undefined) return
  assert(first.index <= start + disk.entries.length + 1, `entries from ${first.index} leave a gap on disk`)
  disk.entries.length = first.index - start - 1
  disk.entries.push(...entries)
}

export function isOnDisk({ disk: { snapshot, entries } }: Peer, index: Index, term: Term | undefined): boolean {
  if ((snapshot?.mark.index ?? 0) >= index) return true
  return entries[index - (snapshot?.mark.index ?? 0) - 1]?.term === term
}

/** Not the core's own: who checks must not make the mistakes of who is checked. */
export function voters({ servers }: Configuration): ServerId[] {
  return servers.flatMap(({ id, voter }) => (voter ? [id] : []))
}

export function isMajority(some: readonly ServerId[], all: readonly ServerId[]): boolean {
  return 2 * some.length > all.length
}

export function digest(state: string, entry: Entry): string {
  let hash = state === '' ? 7 : Number(state)
  for (const byte of entry.data) hash = (Math.imul(hash, 31) + byte) >>> 0
  return String((Math.imul(hash, 31) + entry.index) >>> 0)
}
