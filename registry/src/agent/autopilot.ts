/**
 * Autopilot: how well each server is, who may get a vote, and who is let go. After Consul's of the same name, on what the
 * leader knows without asking: what gossip says, when a server last answered, and how much of the log it holds.
 *
 * It differs in one thing. Consul takes a dead server out of three: two are left, and both are needed, as before; but when
 * the one that was dead comes back while another is down, those two would have been a majority of three, and now are none.
 * So here the dead only go when a majority gets smaller by it, or when another server is ready to take their place.
 */
import type { AutopilotConfiguration, Index, MemberStatus, Millis, NodeId } from '../model.ts'
import type { Configuration, Server } from '../raft/message.ts'
import { majority } from '../raft/quorum.ts'
import type { ServerState } from '../replica/status.ts'

/** As `GET /v1/operator/autopilot/health` shows it. */
export interface ServerHealth {
  id: NodeId
  /** '' when gossip knows no member of this id. */
  name: string
  /** `host:port` of its rpc channel. */
  address: string
  serfStatus: MemberStatus | 'none'
  version: string
  leader: boolean
  /** Undefined: it never answered this leader. */
  lastContact: Millis | undefined
  lastTerm: number
  lastIndex: Index
  healthy: boolean
  voter: boolean
  /** Since when `healthy` is what it is, by the wall clock: for people. */
  stableSince: Millis
}

export interface HealthReport {
  healthy: boolean
  /** So many healthy voters may be lost, and a majority is left. */
  failureTolerance: number
  servers: ServerHealth[]
}

/** What gossip says of a server. */
export interface Heard {
  name: string
  status: MemberStatus
  version: string
}

export interface Look {
  servers: readonly ServerState[]
  self: NodeId
  /** Of the leader's own log. */
  lastIndex: Index
  lastTerm: number
  heard: ReadonlyMap<NodeId, Heard>
  configuration: AutopilotConfiguration
  heartbeatInterval: Millis
  now: Millis
  wall: Millis
}

/** A server answers once a heartbeat at best: a threshold below a few of them would call everybody sick. */
const heartbeatsMin = 3

/** The health of every server as one leader sees it; forgotten with its term. */
export class ServerHealths {
  readonly #since = new Map<NodeId, { healthy: boolean; at: Millis; wall: Millis }>()

  /** Whoever leads now begins anew. */
  reset(): void {
    this.#since.clear()
  }

  look({ servers, self, heard, now, wall, ...rest }: Look): HealthReport {
    const listed = new Set(servers.map(({ id }) => id))
    for (const id of [...this.#since.keys()]) if (!listed.has(id)) this.#since.delete(id)
    const found = servers.map((server): ServerHealth => {
      const member = heard.get(server.id)
      const healthy = server.id === self || isHealthy(server, member, rest)
      const known = this.#since.get(server.id)
      const since = known?.healthy === healthy ? known : { healthy, at: now, wall }
      this.#since.set(server.id, since)
      return {
        id: server.id,
        name: member?.name ?? '',
        address: server.address,
        serfStatus: member?.status ?? 'none',
        version: member?.version ?? '',
        leader: server.id === self,
        lastContact: server.contact,
        lastTerm: server.lastTerm,
        lastIndex: server.lastIndex,
        healthy,
        voter: server.voter,
        stableSince: since.wall,
      }
    })
    const voting = found.filter(({ voter }) => voter)
    const sound = voting.filter(({ healthy }) => healthy).length
    return {
      healthy: found.every(({ healthy }) => healthy),
      failureTolerance: Math.max(0, sound - majority(voting.length)),
      servers: found,
    }
  }

  /** It was healthy at every look for at least so long. */
  isStable(id: NodeId, lasts: Millis, now: Millis): boolean {
    const since = this.#since.get(id)
    return since?.healthy === true && now - since.at >= lasts
  }
}

function isHealthy(
  { contact, lastIndex, lastTerm }: ServerState,
  member: Heard | undefined,
  leader: Pick<Look, 'lastIndex' | 'lastTerm' | 'configuration' | 'heartbeatInterval'>,
): boolean {
  const { lastContactThreshold, maxTrailingLogs } = leader.configuration
  // A suspect may still speak up: gossip has not decided.
  if (member?.status !== 'alive' && member?.status !== 'suspect') return false
  if (contact === undefined) return false
  if (contact > Math.max(lastContactThreshold, heartbeatsMin * leader.heartbeatInterval)) return false
  return lastTerm === leader.lastTerm && lastIndex + maxTrailingLogs >= leader.lastIndex
}

/**
 * Servers to let go because they are dead, in the order of the configuration. Those that do not vote go in any case; of
 * voters all or none: never a majority, never below `minQuorum`, and not for nothing (see above).
 * @param dead gossip has had nobody alive under this id for a while
 * @param ready it does not vote yet, and could at once
 */
export function deadServers(
  { servers }: Configuration,
  autopilot: AutopilotConfiguration,
  dead: (id: NodeId) => boolean,
  ready: (id: NodeId) => boolean,
): Server[] {
  if (!autopilot.cleanupDeadServers) return []
  const voting = servers.filter(({ voter }) => voter).length
  const found = servers.filter(({ id }) => dead(id))
  const lost = found.filter(({ voter }) => voter).length
  const left = voting - lost
  const replaced = servers.some(({ id, voter }) => !voter && !dead(id) && ready(id))
  const useful = replaced || majority(left) < majority(voting)
  const mayGo = useful && left >= autopilot.minQuorum && lost <= Math.floor((voting - 1) / 2)
  return mayGo ? found : found.filter(({ voter }) => !voter)
}
