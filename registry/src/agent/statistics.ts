/** What `GET /v1/agent/self` and `info` show as Stats: Consul's groups and names, texts in texts. */
import type { Gossip } from '../gossip/gossip.ts'
import { addressText } from '../io/address.ts'
import type { Replica } from '../replica/replica.ts'
import type { Following } from './following.ts'
import type { LocalSurface } from './surface.ts'

interface Pool {
  gossip: Gossip
}

type Encrypted = { keyring: unknown } | undefined

export interface Parts {
  options: { server: boolean; bootstrap: boolean; version: string }
  local: LocalSurface
  following: Following
  replica: Replica | undefined
  lan: Pool
  wan: Pool | undefined
  channels: { lan: Encrypted; wan: Encrypted }
  datacenters: number
}

type Group = Record<string, string>

export function statistics(parts: Parts): Record<string, Group> {
  const { options, local, following, replica, lan, wan, channels } = parts
  const checks = local.checks()
  const ttls = checks.filter(({ definition }) => definition.how.type === 'ttl').length
  const { leaderAddress } = following
  return {
    agent: {
      check_monitors: String(checks.length - ttls),
      check_ttls: String(ttls),
      checks: String(checks.length),
      services: String(local.services().length),
    },
    build: { prerelease: '', revision: '', version: options.version },
    consul: options.server
      ? {
          acl: 'disabled',
          bootstrap: String(options.bootstrap),
          known_datacenters: String(parts.datacenters),
          leader: String(following.leading),
          leader_addr: leaderAddress === undefined ? '' : addressText(leaderAddress),
          server: 'true',
        }
      : { acl: 'disabled', known_servers: String(following.peers.length), server: 'false' },
    ...(replica === undefined ? {} : { raft: raft(replica, following) }),
    serf_lan: serf(lan, channels.lan),
    ...(wan === undefined ? {} : { serf_wan: serf(wan, channels.wan) }),
  }
}

function raft({ status }: Replica, following: Following): Group {
  const servers = status.configuration.servers.map(
    ({ id, address, voter }) => `{Suffrage:${voter ? 'Voter' : 'Nonvoter'} ID:${id} Address:${address}}`,
  )
  const states = { leader: 'Leader', follower: 'Follower', candidate: 'Candidate', preCandidate: 'Candidate' }
  return {
    applied_index: String(status.applied),
    commit_index: String(status.commit),
    last_contact: following.leading ? '0' : following.leader === '' ? 'never' : `${Math.round(status.lastContact)}ms`,
    last_log_index: String(status.lastIndex),
    last_log_term: String(status.lastTerm),
    last_snapshot_index: String(status.snapshotIndex),
    last_snapshot_term: String(status.snapshotTerm),
    latest_configuration: `[${servers.join(' ')}]`,
    num_peers: String(Math.max(0, status.configuration.servers.length - 1)),
    state: states[status.role],
    term: String(status.term),
  }
}

function serf({ gossip }: Pool, channel: Encrypted): Group {
  const all = gossip.members()
  return {
    encrypted: String(channel?.keyring !== undefined),
    event_time: String(gossip.eventClock),
    failed: String(all.filter(({ status }) => status === 'failed').length),
    health_score: String(gossip.health),
    left: String(all.filter(({ status }) => status === 'left').length),
    members: String(all.length),
  }
}
