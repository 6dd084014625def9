/**
 * How the Raft configuration follows the servers that come and go, one change at a time: who left goes, who came is a
 * learner first and votes when autopilot says so, who was wiped or has moved takes its own place, and the dead are let go.
 * No change is made after which a majority would not be heard (`replica/majority.ts`): that one waits, another may go first.
 */
import { Refused } from '../errors.ts'
import { addressText } from '../io/address.ts'
import type { AutopilotConfiguration, Index, Member, NodeId, NodeName } from '../model.ts'
import type { Configuration, Server, ServerChange, ServerId } from '../raft/message.ts'
import { unheardMajority } from '../replica/majority.ts'
import type { View } from '../store/view.ts'
import { deadServers } from './autopilot.ts'
import { serverOf } from './bootstrap.ts'
import { withoutFormerNames } from './former-names.ts'
import { isLive } from './pools.ts'

export interface ServerStatus {
  applied: Index
  /** '' while it belongs to none. */
  cluster: string
}

export interface ServerSituation {
  datacenter: string
  self: NodeId
  members: readonly Member[]
  view: View
  configuration: Configuration
  /** Servers that asked to be let go, and may still look alive. */
  leaving: ReadonlySet<NodeId>
  /** What servers that do not vote yet, or moved, say of themselves; those that did not answer are absent. */
  statuses: ReadonlyMap<NodeId, ServerStatus>
  autopilot: AutopilotConfiguration
  /** It answered this leader lately. */
  heard: (id: ServerId) => boolean
  /** A learner that has been well for long enough to vote. */
  stable: (id: ServerId) => boolean
  /** Nobody has had this id for a while, or only one that failed. */
  dead: (id: ServerId) => boolean
}

export type ServerDuty = { log: string } & ({ change: ServerChange } | { forceLeave: NodeName })

/** The first change that may be made now, and what is said of those that have to wait. */
export function serverDuty(situation: ServerSituation): { duty: ServerDuty | undefined; waiting: string[] } {
  const { configuration, heard } = situation
  const waiting: string[] = []
  for (const duty of wanted({ ...situation, members: withoutFormerNames(situation.members) })) {
    if ('forceLeave' in duty) return { duty, waiting }
    const unheard = unheardIn(configuration, duty.change, heard)
    if (unheard === undefined) return { duty, waiting }
    const { voting, silent } = unheard
    const names = silent.map((id) => configuration.servers.find((server) => server.id === id)?.address ?? id).join(', ')
    waiting.push(
      `not yet: ${duty.log}: ${silent.length} of the ${voting.length} that would vote then do not answer, ${names}`,
    )
  }
  return { duty: undefined, waiting }
}

/** What makes no sense is refused, with its reason, where it is done. */
function unheardIn(configuration: Configuration, change: ServerChange, heard: (id: ServerId) => boolean) {
  try {
    return unheardMajority(configuration, change, heard)
  } catch (error) {
    if (error instanceof Refused) return undefined
    throw error
  }
}

function* wanted(situation: ServerSituation): Generator<ServerDuty> {
  yield* partings(situation)
  yield* moves(situation)
  yield* cleaning(situation)
  yield* promotions(situation)
  yield* arrivals(situation)
}

/** Who left, or asked to be let go; also those that gossip does not know any more. */
function* partings({ configuration, leaving, members, datacenter, self }: ServerSituation): Generator<ServerDuty> {
  for (const { id, address } of configuration.servers) {
    if (leaving.has(id) && id !== self) {
      yield { log: `removing server ${address}: it left`, change: { type: 'remove', id } }
    }
  }
  for (const member of members) {
    const server = serverOf(member, datacenter)
    if (server === undefined || server.id === self || member.status !== 'left') continue
    if (configuration.servers.some(({ id }) => id === server.id)) {
      yield { log: `removing server ${server.name}: it left`, change: { type: 'remove', id: server.id } }
    }
  }
}

/** This server itself. */
function* moves({ configuration, members, datacenter, self }: ServerSituation): Generator<ServerDuty> {
  const member = members.find(({ tags }) => tags.id === self)
  const server = member && serverOf(member, datacenter)
  const listed = configuration.servers.find(({ id }) => id === self)
  if (server === undefined || listed === undefined) return
  const address = addressText(server.rpc)
  if (listed.address === address || configuration.servers.some((other) => other.address === address)) return
  yield { log: `this server has moved to ${address}`, change: { type: 'add', id: self, address, voter: listed.voter } }
}

/** A member that failed is made one that left, for everybody; whom nobody knows goes from the configuration alone. */
function* cleaning(situation: ServerSituation): Generator<ServerDuty> {
  const { configuration, autopilot, self, dead, stable, members } = situation
  const gone = (id: ServerId) => id !== self && dead(id)
  for (const { id, address } of deadServers(configuration, autopilot, gone, stable)) {
    const member = members.find(({ tags, status }) => tags.id === id && status === 'failed')
    if (member === undefined) {
      yield { log: `removing server ${address} (${id}): no member has its id`, change: { type: 'remove', id } }
    } else yield { log: `Attempting removal of failed server node ${member.name}`, forceLeave: member.name }
  }
}

function* promotions({ configuration, members, datacenter, leaving, stable }: ServerSituation): Generator<ServerDuty> {
  for (const member of members) {
    const server = serverOf(member, datacenter)
    if (server === undefined || !isLive(member) || leaving.has(server.id)) continue
    const listed = configuration.servers.find(({ id }) => id === server.id)
    if (listed === undefined || listed.voter || listed.address !== addressText(server.rpc) || !stable(server.id))
      continue
    yield { log: `server ${server.name} has caught up, it votes now`, change: { type: 'promote', id: server.id } }
  }
}

/** Who comes, comes back elsewhere, or under another id. */
function* arrivals(situation: ServerSituation): Generator<ServerDuty> {
  const { members, datacenter, configuration, view, leaving, statuses, self } = situation
  for (const member of members) {
    const server = serverOf(member, datacenter)
    if (server === undefined || server.id === self || !isLive(member) || leaving.has(server.id)) continue
    const listed = configuration.servers.find(({ id }) => id === server.id)
    const address = addressText(server.rpc)
    if (listed?.address === address) continue
    // Another process with this id lives where the configuration says: a copied data directory, not one that moved.
    if (listed !== undefined && lives(members, datacenter, listed)) continue
    // Gossip may be old: only who answers there, under this id, comes in, moves, or takes another one's place.
    const status = statuses.get(server.id)
    if (status === undefined) continue
    // One of another cluster must not be taken over: its log is a different history.
    if (listed === undefined && !['', configuration.cluster].includes(status.cluster)) continue
    // A wiped server is a new id that replaces the dead one, so that nobody votes twice.
    const former = configuration.servers.find(
      ({ id, address: theirs }) =>
        id !== server.id && (theirs === address || view.nodeById(id)?.name.toLowerCase() === member.name.toLowerCase()),
    )
    // One that lives elsewhere has the same name but for capitals.
    if (former !== undefined && former.address !== address && lives(members, datacenter, former)) continue
    if (former !== undefined && former.id !== self) {
      yield {
        log: `removing server ${former.address} (${former.id}): ${server.name} replaces it`,
        change: { type: 'remove', id: former.id },
      }
    } else {
      yield {
        log: `adding server ${server.name} (Addr: ${address})`,
        change: { type: 'add', id: server.id, address, voter: listed?.voter ?? false },
      }
    }
  }
}

/** Servers of another cluster in our pool, which are not taken in: somebody should know. */
export function strangers({ members, datacenter, configuration, statuses }: ServerSituation): string[] {
  return members.flatMap((member) => {
    const server = serverOf(member, datacenter)
    const cluster = statuses.get(server?.id ?? '')?.cluster ?? ''
    if (server === undefined || ['', configuration.cluster].includes(cluster)) return []
    return [
      `server ${server.name} (Addr: ${addressText(server.rpc)}) belongs to another cluster, ${cluster}, and not to ours, ` +
        `${configuration.cluster}: was it begun with -bootstrap, or was one of the two recovered? It comes in when its data ` +
        'directory is emptied and -bootstrap left out; until then what it acknowledges is not known here',
    ]
  })
}

function lives(members: readonly Member[], datacenter: string, { id, address }: Server): boolean {
  return members.some((member) => {
    const server = serverOf(member, datacenter)
    return server?.id === id && isLive(member) && addressText(server.rpc) === address
  })
}
