/** What a replica can be told, and what it does when it is not. */
import type { Millis } from '../model.ts'
import type { ServerId } from '../raft/message.ts'
import { raftOptionsDefault } from '../raft/raft.ts'
import type { WalOptions } from './wal.ts'

export interface ReplicaOptions {
  id: ServerId
  /** `host:port` of this server's rpc channel as it advertises it. */
  address: string
  electionTimeoutMin?: Millis
  electionTimeoutMax?: Millis
  heartbeatInterval?: Millis
  /**
   * A snapshot is taken after so many entries, when they are at least a quarter of the last one's size and that is
   * `snapshotInterval` ago, or they are eight times as many; or after so many bytes of them.
   */
  snapshotEntries?: number
  snapshotInterval?: Millis
  snapshotBytes?: number
  /** So many entries stay in memory behind a snapshot, for followers that are a little behind. */
  trailingEntries?: number
  /** Entries that may wait to be committed and on this disk, and their bytes; beyond, proposals are refused with `Busy`. */
  proposalsMax?: number
  proposalBytesMax?: number
  /** How long a proposal may wait for the save under way to end. */
  gatherMax?: Millis
  wal?: Partial<WalOptions>
}

export const replicaOptionsDefault = {
  electionTimeoutMin: raftOptionsDefault.electionTimeoutMin,
  electionTimeoutMax: raftOptionsDefault.electionTimeoutMax,
  heartbeatInterval: raftOptionsDefault.heartbeatInterval,
  snapshotEntries: 8192,
  snapshotInterval: 0,
  snapshotBytes: 64 * 1024 * 1024,
  trailingEntries: 10240,
  proposalsMax: 8192,
  proposalBytesMax: 64 * 1024 * 1024,
  gatherMax: 5,
  wal: {},
} satisfies Partial<ReplicaOptions>
