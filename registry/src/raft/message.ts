/**
 * What Raft servers say to each other, what they keep, and what one turn of the core asks of the replica.
 * Byte layouts live in `codec.ts`.
 */
import type { Index, NodeId, Term } from '../model.ts'

/** The agent's node id: a wiped server comes back as another one, so nobody votes twice. */
export type ServerId = NodeId

/** A member of the Raft configuration. A server that does not vote receives the log and never stands for election. */
export interface Server {
  id: ServerId
  /** `host:port` of its rpc channel as it advertises it; IPv6 in brackets. */
  address: string
  voter: boolean
}

/** Who takes part. `cluster` is a UUID chosen at bootstrap; '' and no servers: not part of a cluster yet. */
export interface Configuration {
  cluster: string
  servers: Server[]
}

/** `empty` is the leader's first entry of a term (thesis §6.4). */
export type EntryKind = 'command' | 'configuration' | 'empty'

export interface Entry {
  index: Index
  term: Term
  kind: EntryKind
  data: Uint8Array
}

/** Kept on disk before anything that depends on it is sent. `vote` '' is no vote in this term. */
export interface HardState {
  term: Term
  vote: ServerId
}

/** Where a snapshot stands: it holds everything up to and including `index`. */
export interface SnapshotMark {
  index: Index
  term: Term
  configuration: Configuration
  configurationIndex: Index
}

export type Message =
  /** `pre`: would you vote for me in `term`? (thesis §9.6). `transfer`: the leader asked me to stand, ignore its lease. */
  | { type: 'vote'; term: Term; pre: boolean; lastIndex: Index; lastTerm: Term; transfer: boolean }
  /**
   * A granted pre-vote echoes the term asked for; every other reply carries the voter's own term. `heardLeader`: refused
   * only because a leader was heard lately, so asking again soon may succeed.
   */
  | { type: 'voteReply'; term: Term; pre: boolean; granted: boolean; heardLeader: boolean }
  /** `round` numbers heartbeat rounds, for leases and read index; entries may be empty. */
  | {
      type: 'append'
      term: Term
      previousIndex: Index
      previousTerm: Term
      entries: Entry[]
      commit: Index
      round: number
    }
  /** `match`: on disk here and equal to the leader's log up to it; meaningful only when `success`. */
  | {
      type: 'appendReply'
      term: Term
      success: boolean
      round: number
      match: Index
      /** When refused: the refused previousIndex; 0 otherwise. */
      refused: Index
      /**
       * When refused: the last position here that may meet the leader's log, and its term. On success: equal to the
       * leader's log up to here, though perhaps not all on disk yet (never below `match`); `hintTerm` is 0.
       */
      hintIndex: Index
      hintTerm: Term
    }
  /**
   * From the leader's core to its replica: this follower needs the snapshot at or after `mark`. The replica sends it in
   * chunks; the follower's replica gives this same message to its core once every byte is there and verified.
   */
  | { type: 'snapshot'; term: Term; mark: SnapshotMark; round: number }
  /** Stand for election at once (thesis §3.10). */
  | { type: 'timeoutNow'; term: Term }

export interface Envelope {
  to: ServerId
  message: Message
}

export type ReadId = number
/** The state machine must have applied `index` before the read is answered; undefined: not the leader any more. */
export interface ReadState {
  id: ReadId
  index: Index | undefined
}

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader'

/** News for logs and for the agent; never an input to a decision of the core. */
export type RaftEvent =
  | { type: 'role'; role: Role; term: Term; leader: ServerId }
  | { type: 'electionTimeout'; lastLeader: ServerId }
  | { type: 'voteGranted'; from: ServerId; term: Term; tally: number }
  | { type: 'electionWon'; term: Term; tally: number }
  | { type: 'configuration'; configuration: Configuration; index: Index; committed: boolean }
  /** Leader: the follower's log meets ours and entries now flow without waiting for replies. */
  | { type: 'pipelining'; to: ServerId }
  | { type: 'stepDown'; reason: string; term: Term }
  /** Leader: the follower does not have what it once acknowledged; its log is being sent again. */
  | { type: 'lostEntries'; follower: ServerId; acknowledged: Index }

/**
 * Names one Ready's save. Give it to `Raft.saved` once that Ready and all before it are on disk; a later one covers the
 * earlier ones, so a replica that saves several at once reports only the last. `index` and `term` are the log's end then.
 */
export interface SavePoint {
  term: Term
  index: Index
  /** Counts the Readys that had something to save, from 1. */
  ready: number
}

/** Handed out once. Saves happen in the order of the Readys, one after the other. */
export interface Ready {
  /** Report this when all of the next three are on disk; undefined: there is nothing to save. */
  save: SavePoint | undefined
  /** Save this first, then `entries` (cutting off whatever the log has from the first of them on) … */
  hardState: HardState | undefined
  entries: Entry[]
  /**
   * … or take this snapshot, whose bytes the replica already has on disk, as the state and the start of the log: every
   * entry on disk is dropped. Never together with `entries`, `afterSave` or `committed`: those come with the next Ready.
   */
  snapshot: SnapshotMark | undefined
  /** Send at once, whatever the disk does: a leader's appends and heartbeats promise nothing about its own disk. */
  messages: Envelope[]
  /** Send only when this Ready is on disk: votes, "appended". Empty when there is nothing to save. */
  afterSave: Envelope[]
  /** Apply in order; every index once, without gaps. */
  committed: Entry[]
  reads: ReadState[]
  events: RaftEvent[]
}

/** One server at a time (thesis §4.1): any majority of the old meets any majority of the new. */
export type ServerChange =
  | { type: 'add'; id: ServerId; address: string; voter: boolean }
  | { type: 'promote'; id: ServerId }
  | { type: 'remove'; id: ServerId }
