/** What agents send and take, in Consul's spelling: this is a face. Only the fields somebody here reads are named. */
import type { CheckStatus } from '../model.ts'

export interface KvPairShape {
  Key: string
  /** Base64; null for an empty value. `textOf` and `bytesOf` decode it. */
  Value: string | null
  /** Decimal: the 64 bits do not fit a JavaScript number. */
  Flags: string
  LockIndex: number
  Session?: string
  CreateIndex: number
  ModifyIndex: number
}

/** Numbers in seconds, but `Error`. */
export interface CoordinateShape {
  Vec: number[]
  Error: number
  Adjustment: number
  Height: number
}

export interface NodeCoordinateShape {
  Node: string
  Segment: string
  Coord: CoordinateShape
}

export interface DatacenterCoordinatesShape {
  Datacenter: string
  /** Coordinates of different areas cannot be compared; there is one, `wan`. */
  AreaID: string
  /** Of its servers. */
  Coordinates: NodeCoordinateShape[]
}

export interface SessionRequest {
  Name?: string
  /** The agent that is asked, unless told otherwise. */
  Node?: string
  /** As Go writes durations: `15s`. */
  LockDelay?: string
  Behavior?: 'release' | 'delete'
  TTL?: string
  NodeChecks?: string[]
  ServiceChecks?: { ID: string }[]
}

export interface SessionShape {
  ID: string
  Name: string
  Node: string
  /** Nanoseconds. */
  LockDelay: number
  Behavior: 'release' | 'delete'
  TTL: string
  NodeChecks: string[] | null
  ServiceChecks: { ID: string }[] | null
  CreateIndex: number
  ModifyIndex: number
}

/** One operation of `PUT /v1/txn` on a key. */
export interface KvOperation {
  Verb:
    | 'set'
    | 'cas'
    | 'get'
    | 'get-tree'
    | 'check-index'
    | 'check-not-exists'
    | 'delete'
    | 'delete-tree'
    | 'delete-cas'
    | 'lock'
    | 'unlock'
    | 'check-session'
  Key: string
  /** Base64. */
  Value?: string
  /** For `lock`, `unlock` and `check-session`. */
  Session?: string
  /** Decimal, up to 64 bits. */
  Flags?: string
  /** For `cas`, `check-index` and `delete-cas`. */
  Index?: number
}

/** What a transaction answers: all of it happened, or nothing did and `errors` say which operations could not be. */
export type TxnAnswer = { results: { KV: KvPairShape }[] } | { errors: { OpIndex: number; What: string }[] }

/** `PUT /v1/agent/service/register`. */
export interface ServiceRegistration {
  ID?: string
  Name: string
  Tags?: string[]
  Address?: string
  Port?: number
  Meta?: Record<string, string>
  EnableTagOverride?: boolean
  Weights?: { Passing: number; Warning: number }
  Check?: CheckRegistration
  Checks?: CheckRegistration[]
}

/** `PUT /v1/agent/check/register`, and the checks of a service. Durations in Go's writing: `10s`. */
export interface CheckRegistration {
  CheckID?: string
  Name?: string
  Notes?: string
  ServiceID?: string
  Status?: CheckStatus
  TTL?: string
  HTTP?: string
  Method?: string
  Header?: Record<string, string[]>
  TLSSkipVerify?: boolean
  TCP?: string
  GRPC?: string
  GRPCUseTLS?: boolean
  Args?: string[]
  Interval?: string
  Timeout?: string
  DeregisterCriticalServiceAfter?: string
}

/** `GET /v1/agent/services`, per id. */
export interface AgentServiceShape {
  ID: string
  Service: string
  Tags: string[] | null
  Meta: Record<string, string> | null
  Port: number
  Address: string
  Weights: { Passing: number; Warning: number }
  EnableTagOverride: boolean
}

/** A check as agents and the catalog list it. */
export interface CheckShape {
  Node: string
  CheckID: string
  Name: string
  Status: string
  Notes: string
  Output: string
  ServiceID: string
  ServiceName: string
  Type: string
}

export interface MemberShape {
  Name: string
  Addr: string
  Port: number
  Tags: Record<string, string>
  /** Serf's: 1 alive, 2 leaving, 3 left, 4 failed. */
  Status: number
  ProtocolMin: number
  ProtocolMax: number
  ProtocolCur: number
  DelegateMin: number
  DelegateMax: number
  DelegateCur: number
}

export interface SelfShape {
  Config: { Datacenter: string; NodeName: string; NodeID: string; Server: boolean; Revision: string; Version: string }
  Member: MemberShape
  Stats: Record<string, Record<string, string>>
  Meta: Record<string, string>
}

export interface NodeShape {
  ID: string
  Node: string
  Address: string
  Datacenter: string
  TaggedAddresses: Record<string, string> | null
  Meta: Record<string, string> | null
}

/** `GET /v1/catalog/service/NAME`: one instance with the node it is on. */
export interface CatalogServiceShape {
  ID: string
  Node: string
  /** The node's. */
  Address: string
  Datacenter: string
  ServiceID: string
  ServiceName: string
  ServiceTags: string[]
  /** '' means the node's. */
  ServiceAddress: string
  ServicePort: number
  ServiceMeta: Record<string, string> | null
}

/** `GET /v1/health/service/NAME`. */
export interface ServiceEntryShape {
  Node: NodeShape
  Service: AgentServiceShape
  Checks: CheckShape[]
}

/** `GET /v1/operator/keyring`: the keys of one pool, and how many of its members have each. */
export interface KeyringShape {
  WAN: boolean
  Datacenter: string
  Segment: string
  Keys: Record<string, number>
  PrimaryKeys: Record<string, number>
  NumNodes: number
}

/** `GET /v1/event/list`; `LTime` is 0 in the answer to `fire`. */
export interface EventShape {
  ID: string
  Name: string
  /** Base64. */
  Payload: string | null
  NodeFilter: string
  ServiceFilter: string
  TagFilter: string
  Version: number
  LTime: number
}

/** The value of a pair as bytes. */
export function bytesOf(pair: KvPairShape): Uint8Array {
  return Uint8Array.from(atob(pair.Value ?? ''), (character) => character.charCodeAt(0))
}

/** The value of a pair as UTF-8 text; what is not UTF-8 becomes U+FFFD. */
export function textOf(pair: KvPairShape): string {
  return new TextDecoder().decode(bytesOf(pair))
}

/** As `GET /v1/operator/raft/configuration` answers. */
export interface RaftConfigurationShape {
  Servers: { ID: string; Node: string; Address: string; Leader: boolean; ProtocolVersion: string; Voter: boolean }[]
  Index: number
}

/** As `GET /v1/operator/autopilot/configuration` answers; durations in Go's syntax. */
export interface AutopilotShape {
  CleanupDeadServers: boolean
  LastContactThreshold: string
  MaxTrailingLogs: number
  MinQuorum: number
  ServerStabilizationTime: string
  RedundancyZoneTag: string
  DisableUpgradeMigration: boolean
  UpgradeVersionTag: string
  CreateIndex: number
  ModifyIndex: number
}

/** What instances a prepared query means. */
export interface PreparedQueryServiceShape {
  Service: string
  Failover?: { NearestN?: number; Datacenters?: string[] | null }
  OnlyPassing?: boolean
  IgnoreCheckIDs?: string[] | null
  /** A node, `_agent` or `_ip`. */
  Near?: string
  /** One that begins with `!` must not be there. */
  Tags?: string[] | null
  NodeMeta?: Record<string, string> | null
  ServiceMeta?: Record<string, string> | null
  Connect?: boolean
}

/** `POST /v1/query`. */
export interface PreparedQueryRequest {
  Name?: string
  Session?: string
  Token?: string
  Template?: { Type: string; Regexp?: string; RemoveEmptyTags?: boolean }
  Service: PreparedQueryServiceShape
  /** Go's duration. */
  DNS?: { TTL: string }
}

/** `GET /v1/query`. */
export interface PreparedQueryShape extends Required<PreparedQueryRequest> {
  ID: string
  CreateIndex: number
  ModifyIndex: number
}

/** `GET /v1/query/:name/execute`. */
export interface QueryExecutionShape {
  Service: string
  Nodes: (Omit<ServiceEntryShape, 'Checks'> & { Checks: CheckShape[] | null })[]
  DNS: { TTL: string }
  /** Where the instances are. */
  Datacenter: string
  /** How many other datacenters were asked. */
  Failovers: number
}
