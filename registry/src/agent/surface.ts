/**
 * What a face may ask of a node: `http/` and `dns/` are written against this, `Agent` implements it, and a test
 * may hand them a single store with a few lines around it.
 */
import type { CheckDefinition } from '../health/definition.ts'
import type {
  CheckId,
  CheckResult,
  CheckStatus,
  Index,
  Member,
  Millis,
  NodeId,
  NodeName,
  ServiceDefinition,
  ServiceId,
  Session,
  SessionId,
} from '../model.ts'
import type { Applied, Command } from '../store/command.ts'
import type { Topic, View } from '../store/view.ts'
import type { CoordinatesSurface } from './coordinates.ts'
import type { ElsewhereSurface } from './elsewhere.ts'
import type { EventsSurface } from './events.ts'
import type { KeysSurface } from './keys.ts'
import type { OperatorSurface } from './operator.ts'
import type { QueriesSurface } from './queries.ts'

/** stale: as this node's store is; default: as new as the leader's commit under its lease; consistent: confirmed by a quorum. */
export type Freshness = 'stale' | 'default' | 'consistent'

export interface Fresh {
  view: View
  knownLeader: boolean
  /** How long ago this node heard from the leader; 0 on the leader itself and for reads that asked it; infinite: never. */
  lastContact: Millis
}

/** With the results, or the errors, of a transaction. */
export interface Written extends Applied {
  index: Index
}

export interface Identity {
  id: NodeId
  name: NodeName
  datacenter: string
  /** The advertised LAN address: host only. */
  address: string
  server: boolean
  /** Without trailing dot; 'consul' unless configured. */
  domain: string
  version: string
  /** UUID of the cluster, '' while it has none. */
  cluster: string
}

export type Pool = 'lan' | 'wan'

export interface AgentSurface {
  readonly identity: Identity
  /** This node's store as it is now; never waits. */
  readonly view: View
  readonly local: LocalSurface
  /** Of gossip encryption, everywhere. */
  readonly keys: KeysSurface
  /** The servers: who they are and how well. */
  readonly operator: OperatorSurface
  readonly events: EventsSurface
  /**
   * Through the log, from any node; resolves when this node's store has it.
   * @throws NoLeader when none was known for 7 s, LeadershipLost when the outcome is unknown, Refused when the state said no,
   * BadRequest, Busy, Stopped.
   */
  write(command: Command): Promise<Written>
  /**
   * Begins the session's time anew at the leader, wherever that is. Undefined: there is no such session, any more.
   * @throws NoLeader, Stopped
   */
  renewSession(id: SessionId): Promise<Session | undefined>
  /** @throws NoLeader for default and consistent. */
  read(freshness: Freshness): Promise<Fresh>
  /**
   * Resolves when one of the topics changed, after `wait`, or when `abandoned` fires; a caller looks again and decides.
   * Start waiting before looking at the index, so that no change falls between.
   * @throws Stopped
   */
  changed(topics: readonly Topic[], wait: Millis, abandoned?: AbortSignal): Promise<void>
  readonly coordinates: CoordinatesSurface
  readonly queries: QueriesSurface
  /** Other datacenters, and the list of all. */
  readonly remote: ElsewhereSurface
  members(pool: Pool): Member[]
  /** `host`, `host:port` or `[v6]:port`. Resolves to how many answered; rejects with the reasons when none did. */
  join(addresses: readonly string[], pool: Pool): Promise<number>
  /** Leaves both pools; the process ends afterwards. */
  leave(): Promise<void>
  /** Makes a failed member count as left; `prune` forgets it. @throws NotFound */
  forceLeave(name: NodeName, prune: boolean): Promise<void>
  /** `host:port` of the leader's rpc channel, '' while none is known. */
  leader(): string
  /** `host:port` of every voter. */
  peers(): string[]
  /** For `GET /v1/agent/self`: Consul's Stats (texts in texts) and what the agent was started with. */
  statistics(): Record<string, Record<string, string>>
  configuration(): Record<string, unknown>
}

/** A service registered at this agent. */
export interface LocalService {
  definition: ServiceDefinition
}

/** A check registered at this agent, with its result as it is now. */
export interface LocalCheck {
  definition: CheckDefinition
  result: CheckResult
}

/** Services and checks registered at this agent, kept on its disk; anti-entropy carries them into the catalog. */
export interface LocalSurface {
  services(): LocalService[]
  checks(): LocalCheck[]
  /**
   * Replaces the service of that id. A check already there under the same id keeps its status unless its definition changed.
   * `replaceChecks`: checks of the service that are not among `checks` go.
   * @throws BadRequest
   */
  registerService(service: ServiceDefinition, checks: CheckDefinition[], replaceChecks: boolean): Promise<void>
  /** @throws NotFound */
  deregisterService(id: ServiceId): Promise<void>
  /** @throws BadRequest when its service is not registered here */
  registerCheck(check: CheckDefinition): Promise<void>
  /** @throws NotFound */
  deregisterCheck(id: CheckId): Promise<void>
  /** What pass, warn, fail and update do. @throws NotFound unknown check; BadRequest not a TTL check */
  updateTtl(id: CheckId, status: CheckStatus, output: string): Promise<void>
}
