/** How a replica is, for whoever asks. */
import type { Index, Millis, Term } from '../model.ts'
import type { Configuration, Role, Server, ServerId } from '../raft/message.ts'
import type { Raft } from '../raft/raft.ts'
import type { Wal } from './wal.ts'

/** Live: each property is as it is now. */
export interface ReplicaStatus {
  readonly role: Role
  readonly term: Term
  /** '' while none is known. */
  readonly leader: ServerId
  /** `host:port`, '' while none is known. */
  readonly leaderAddress: string
  readonly commit: Index
  readonly applied: Index
  readonly lastIndex: Index
  readonly lastTerm: Term
  readonly snapshotIndex: Index
  readonly snapshotTerm: Term
  /** The latest in the log, committed or not: the one that counts. */
  readonly configuration: Configuration
  /** This server was bootstrapped, joined, or at least spoken to by a cluster: it must not bootstrap another one. */
  readonly hasState: boolean
  /** Since a leader was last heard, or this server was one; 0 on a leader; infinite when neither was since the start. */
  readonly lastContact: Millis
  readonly walSyncs: number
  readonly walBytes: number
  readonly proposalsWaiting: number
}

/** A server of the configuration, as the leader knows it. */
export interface ServerState extends Server {
  /** Since it last answered; 0 for the leader itself; undefined: not in this term. */
  contact: Millis | undefined
  /** Its log is known to equal the leader's up to here, on its disk. */
  lastIndex: Index
  /** Of the entry there; 0 when the leader does not know it any more, for it is far behind. */
  lastTerm: Term
}

export interface StatusSources {
  raft: Raft
  wal: Wal
  now(): Millis
  /** When this server last ceased to lead; undefined: never. */
  ledUntil(): Millis | undefined
  applied(): Index
  waiting(): number
  addressOf(id: ServerId): string
}

export function statusOf({ raft, wal, now, ledUntil, applied, waiting, addressOf }: StatusSources): ReplicaStatus {
  return {
    get role() {
      return raft.role
    },
    get term() {
      return raft.term
    },
    get leader() {
      return raft.leader
    },
    get leaderAddress() {
      return raft.leader === '' ? '' : addressOf(raft.leader)
    },
    get commit() {
      return raft.commit
    },
    get applied() {
      return applied()
    },
    get lastIndex() {
      return raft.lastIndex
    },
    get lastTerm() {
      return raft.termAt(raft.lastIndex) ?? 0
    },
    get snapshotIndex() {
      return raft.snapshotMark?.index ?? 0
    },
    get snapshotTerm() {
      return raft.snapshotMark?.term ?? 0
    },
    get configuration() {
      return raft.configuration
    },
    get hasState() {
      return raft.term > 0 || raft.lastIndex > 0
    },
    get lastContact() {
      if (raft.role === 'leader') return 0
      const at = now()
      return Math.min(raft.quorumContact(at), at - (ledUntil() ?? Number.NEGATIVE_INFINITY))
    },
    get walSyncs() {
      return wal.syncs
    },
    get walBytes() {
      return wal.bytesWritten
    },
    get proposalsWaiting() {
      return waiting()
    },
  }
}
