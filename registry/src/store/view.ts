/** The store, read-only: all the faces ever see. Values are frozen by agreement: nobody changes a row they were given. */
import type {
  Check,
  Index,
  Instance,
  KvPair,
  Node,
  NodeCoordinate,
  NodeId,
  NodeName,
  PreparedQuery,
  Service,
  ServiceName,
  Session,
  SessionId,
} from '../model.ts'
import type { AutopilotRow } from './autopilot.ts'
import type { Applied } from './command.ts'
import type { LockDelay } from './locks.ts'
import type { ReadOperation } from './operation.ts'

/**
 * An answer and the index it is true at: what `X-Consul-Index` says and a blocking query compares with. At least 1.
 * It moves whenever the answer does; only at a restore may it go back.
 */
export interface Indexed<T> {
  index: Index
  value: T
}

/** What a waiting question depends on. A watcher of a topic is woken by every change that may alter its answer or index. */
export type Topic =
  | { kind: 'key'; key: string }
  | { kind: 'prefix'; prefix: string }
  | { kind: 'nodes' }
  /** The node, its services and its checks. */
  | { kind: 'node'; node: NodeName }
  | { kind: 'services' }
  /** Instances of the service, their checks, and the checks and addresses of the nodes they are on. */
  | { kind: 'service'; service: ServiceName }
  /** Instances of the service and the nodes they are on, whatever their checks. */
  | { kind: 'locations'; service: ServiceName }
  /** With a state: checks in it, or entering or leaving it. */
  | { kind: 'checks'; state?: string }
  | { kind: 'sessions' }
  /** Prepared ones. */
  | { kind: 'queries' }
  /** With a node: of that node alone. */
  | { kind: 'coordinates'; node?: NodeName }

/** Where an instance is, whatever its health. */
export type Location = Pick<Instance, 'node' | 'service'>

export interface View {
  /** The last index applied here. */
  readonly index: Index
  /** Index of an absent key: the last change of any key, or deletion, at all. */
  kv(key: string): Indexed<KvPair | undefined>
  /** In key order (by bytes of UTF-8). Deletions under the prefix move its index (tombstones). */
  kvUnder(prefix: string): Indexed<KvPair[]>
  /** In key order; with a separator, everything after its first occurrence past the prefix folds into one entry. */
  kvKeys(prefix: string, separator?: string): Indexed<string[]>
  /** In name order. */
  nodes(): Indexed<Node[]>
  /**
   * Names compare without regard to case, as in DNS. Services and checks in id order. The index moves with all three;
   * that of an unknown node is the last time a node went.
   */
  node(name: NodeName): Indexed<{ node: Node; services: Service[]; checks: Check[] } | undefined>
  nodeById(id: NodeId): Node | undefined
  /** Every service name with the union of its instances' tags, in name order. */
  services(): Indexed<Map<ServiceName, string[]>>
  /**
   * All instances, whatever their health; with `tags`, those carrying each of them (compared without regard to case).
   * In node, then id order. The index of a service without instances is the last time a service lost its last one.
   */
  instances(service: ServiceName, tags?: readonly string[]): Indexed<Instance[]>
  /** As `instances`, for who does not ask for health: the index does not move with checks. Wait on topic `locations`. */
  locations(service: ServiceName, tags?: readonly string[]): Indexed<Location[]>
  /** The checks of the service's instances, not of their nodes; in node, then id order. Wait on topic `service`. */
  serviceChecks(service: ServiceName): Indexed<Check[]>
  /** In id order. Wait on topic `node`; the index moves with the node's checks only. */
  nodeChecks(node: NodeName): Indexed<Check[]>
  /** `any` for all. In node, then id order. Wait on topic `checks`. */
  checksInState(state: string): Indexed<Check[]>
  /** In id order. The index of every answer about sessions is the last time one came or ended; wait on topic `sessions`. */
  sessions(): Indexed<Session[]>
  /** In id order. */
  nodeSessions(node: NodeName): Indexed<Session[]>
  session(id: SessionId): Indexed<Session | undefined>
  /** In node, then segment order. Wait on topic `coordinates`. */
  coordinates(): Indexed<NodeCoordinate[]>
  /** In segment order. Wait on topic `coordinates` of that node. */
  nodeCoordinates(node: NodeName): Indexed<NodeCoordinate[]>
  /** In id order. The index of every answer about prepared queries is their last change; wait on topic `queries`. */
  queries(): Indexed<PreparedQuery[]>
  /** `id` as it is kept. */
  query(id: string): Indexed<PreparedQuery | undefined>
  /** What the name means: the query or template of exactly that name, else the template with the longest one it begins with. */
  queryNamed(name: string): PreparedQuery | undefined
  /** In key order; they come with the end of a session. */
  lockDelays(): LockDelay[]
  /** Undefined: nobody has set it yet. */
  autopilot(): AutopilotRow | undefined
  /** A transaction that changes nothing. */
  transaction(operations: readonly ReadOperation[]): Applied
  /**
   * Calls back after an apply that touched the topic, once per apply at most, when the store already shows it; and after a
   * restore. The callback must not throw and must not apply. Returns what ends the watch.
   */
  watch(topic: Topic, onChange: () => void): () => void
}
