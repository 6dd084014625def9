/**
 * The nouns of the house. Plain values, no behaviour; every floor speaks in them.
 * Field names are ours; Consul's spelling (`ModifyIndex`) lives at the faces.
 */

/** Milliseconds of the monotonic clock; only differences mean anything. */
export type Millis = number
/** Position in the Raft log. The first entry has index 1; 0 is "nothing yet". */
export type Index = number
export type Term = number
/** Identity of an agent: a UUID made at its first start and kept in its data directory. */
export type NodeId = string
export type NodeName = string
export type ServiceName = string
export type ServiceId = string
export type CheckId = string
/** UUID in lower case, chosen before the session is in the log. */
export type SessionId = string
/** Standard base64 with padding; '' is the empty value. */
export type Base64 = string

/** When a row came to be and when it last changed, in log positions. */
export interface Stamps {
  createIndex: Index
  modifyIndex: Index
}

export interface KvPair extends Stamps {
  key: string
  value: Base64
  /** An unsigned 64-bit number in decimal: JavaScript numbers lose bits above 2^53 and Consul's clients do not. */
  flags: string
  /**
   * How many times the lock on this key was acquired: a fencing token, as long as nobody writes the key without `release`
   * or `acquire`, which makes it 0 (Consul 1.8).
   */
  lockIndex: Index
  /** Who holds the lock. */
  session?: SessionId
}

/** What becomes of the keys a session holds when it ends. */
export type SessionBehavior = 'release' | 'delete'

/** What a client says of its session. `null` and `[]` are told apart because Consul's answers do. */
export interface SessionDefinition {
  id: SessionId
  name: string
  /** As the client spelled it; names compare without regard to case. */
  node: NodeName
  /** Whole nanoseconds, as Consul's answers have it; at most a minute of it counts, and nothing below 0. */
  lockDelay: number
  behavior: SessionBehavior
  /** As the client wrote it; '' for none. */
  ttl: string
  /** The same; 0 for none. */
  lasts: Millis
  nodeChecks: CheckId[] | null
  serviceChecks: CheckId[] | null
  /** The older way to name checks; they count like the others. */
  checks: CheckId[] | null
}
export interface Session extends SessionDefinition, Stamps {}

/** Which instances a prepared query means; `null` and empty are told apart because Consul's answers do. */
export interface PreparedQueryService {
  service: ServiceName
  /** Where else to look when there is none here: in so many of the nearest datacenters, then in those that are named. */
  failover: { nearest: number; datacenters: string[] | null }
  onlyPassing: boolean
  /** Checks that count for nothing. */
  ignoreCheckIds: CheckId[] | null
  /** A node, `_agent` or `_ip`; '' in any order. */
  near: string
  /** All of them; one that begins with `!` must not be there. */
  tags: string[] | null
  nodeMeta: Record<string, string> | null
  serviceMeta: Record<string, string> | null
  connect: boolean
}
export interface PreparedQueryDefinition {
  /** UUID, chosen by the agent that was asked to make it. */
  id: string
  /** '' for one that is found by its id alone. */
  name: string
  /** It ends with this session; '' with none. As the client wrote it. */
  session: string
  token: string
  /** Of type '' it is none. */
  template: { type: string; regexp: string; removeEmptyTags: boolean }
  service: PreparedQueryService
  /** Go's duration, '' for that of the service. */
  dns: { ttl: string }
}
export interface PreparedQuery extends PreparedQueryDefinition, Stamps {}

/** What a registration says of a node; `null` and `{}` are told apart because Consul's answers do. */
export interface NodeDefinition {
  /** UUID, or '' for a node that was registered through the catalog without one. */
  id: NodeId
  name: NodeName
  address: string
  datacenter: string
  taggedAddresses: Record<string, string> | null
  meta: Record<string, string> | null
}
export interface Node extends NodeDefinition, Stamps {}

export interface ServiceAddress {
  address: string
  port: number
}
export interface Weights {
  passing: number
  warning: number
}
/** One instance of a service on one node. `id` is unique on its node, `name` is what DNS asks for. */
export interface ServiceDefinition {
  id: ServiceId
  name: ServiceName
  tags: string[]
  /** '' means "the node's address". */
  address: string
  port: number
  taggedAddresses: Record<string, ServiceAddress> | null
  meta: Record<string, string> | null
  weights: Weights
  enableTagOverride: boolean
}
export interface Service extends ServiceDefinition, Stamps {
  node: NodeName
}

/** The catalog takes any text as a status, as Consul's does; agents only ever write these three. */
export type CheckStatus = 'passing' | 'warning' | 'critical'

/** A check as the catalog holds it. `serviceId` '' means the check is of the node. */
export interface CheckResult {
  id: CheckId
  name: string
  status: string
  notes: string
  output: string
  serviceId: ServiceId
  /** ttl, http, tcp, or '' (serfHealth, catalog registrations). */
  type: string
  /** What `PUT /v1/catalog/register` gave as Definition, in Consul's spelling; {} for an agent's checks. */
  definition: Record<string, unknown>
}
export interface Check extends CheckResult, Stamps {
  node: NodeName
  /** Taken from the service at registration; '' and [] for a check of the node. */
  serviceName: ServiceName
  serviceTags: string[]
}

/** A service instance with all that decides whether it may be named in an answer. */
export interface Instance {
  node: Node
  service: Service
  /** The node's checks first, then the instance's own. */
  checks: Check[]
}

/** A host and port as agents advertise them; IPv6 without brackets. Never taken from a packet's source. */
export interface Address {
  host: string
  port: number
}

export type MemberStatus = 'alive' | 'suspect' | 'leaving' | 'left' | 'failed'

/** A member of a gossip pool. */
export interface Member {
  name: string
  /** Where its gossip listens, as it advertises it. */
  address: Address
  status: MemberStatus
  /** What the member says of itself: role, dc, id, port, expect, bootstrap, build … as Serf tags. */
  tags: Record<string, string>
  incarnation: number
}

/**
 * Where a node is in the network, as Serf's coordinates have it: a point whose distances estimate round trips (Vivaldi). All
 * in seconds but `error`.
 */
export interface Coordinate {
  /** Eight numbers. */
  vector: readonly number[]
  /** How far off the estimates are, relative to them: 1.5 before anything was measured. */
  error: number
  /** What the distances to others were off by, on average, over the last measurements; half of it, for each side adds its own. */
  adjustment: number
  /** The way from the node to the core of the network, which every round trip of its takes. */
  height: number
}

/** How servers are taken in and let go without a person's doing; set through the log. Durations in milliseconds. */
export interface AutopilotConfiguration {
  /** Servers that failed go from the configuration when a majority gets smaller by it, or another takes their place. */
  cleanupDeadServers: boolean
  /** Who has not answered the leader for longer is not healthy. */
  lastContactThreshold: Millis
  /** Who has not so many of the leader's last entries is not healthy, and gets no vote. */
  maxTrailingLogs: number
  /** Nobody who failed is removed when fewer than so many voters would be left. */
  minQuorum: number
  /** A new server must have been healthy for so long before it votes. */
  serverStabilizationTime: Millis
  /** These three are kept for clients that send them, and mean nothing here: Consul's paid version has what they name. */
  redundancyZoneTag: string
  disableUpgradeMigration: boolean
  upgradeVersionTag: string
}

/** Consul's. */
export const autopilotDefault: AutopilotConfiguration = {
  cleanupDeadServers: true,
  lastContactThreshold: 200,
  maxTrailingLogs: 250,
  minQuorum: 0,
  serverStabilizationTime: 10_000,
  redundancyZoneTag: '',
  disableUpgradeMigration: false,
  upgradeVersionTag: '',
}

/** Where a node said it is, as the catalog keeps it. */
export interface NodeCoordinate {
  node: NodeName
  /** Consul's network segments, which are not there: '' unless somebody wrote another one. */
  segment: string
  coordinate: Coordinate
}

/** What a user tells the agents of a datacenter, by gossip. Filters are regular expressions, '' for everybody. */
export interface UserEvent {
  /** UUID. */
  id: string
  name: string
  payload: Uint8Array
  nodeFilter: string
  serviceFilter: string
  tagFilter: string
  /** Lamport time: above that of every event its sender knew. */
  ltime: number
}

/** The name of the check that says whether gossip reaches a node, as in Consul. */
export const serfHealthId = 'serfHealth'
