/**
 * What the leader owes the others: the catalog says who is a member and whether it lives, and the Raft configuration
 * follows the servers that come and go. Level-triggered: `duties` compares everything with everything, `Leader.run` does
 * one after the other, and running again is always right.
 */
import { LeadershipLost, NotLeader, Stopped } from '../errors.ts'
import { addressText } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type {
  CheckResult,
  Index,
  Member,
  Millis,
  NodeDefinition,
  NodeId,
  NodeName,
  ServiceDefinition,
} from '../model.ts'
import { serfHealthId } from '../model.ts'
import type { Configuration, Server, ServerChange } from '../raft/message.ts'
import type { Command, Result } from '../store/command.ts'
import type { View } from '../store/view.ts'
import { serverOf } from './bootstrap.ts'
import { consulServiceId } from './sync.ts'

export type Duty = { log: string } & ({ command: Command } | { change: ServerChange })

export interface ServerStatus {
  applied: Index
  /** '' while it belongs to none. */
  cluster: string
}

/** A learner this close to the leader's log may vote (Consul's `max_trailing_logs`). */
const trailingEntriesMax = 250

export interface Situation {
  datacenter: string
  self: NodeId
  members: readonly Member[]
  view: View
  configuration: Configuration
  /** Servers that asked to be let go, and may still look alive. */
  leaving: ReadonlySet<NodeId>
  /** What servers that do not vote yet, or moved, say of themselves; those that did not answer are absent. */
  statuses: ReadonlyMap<NodeId, ServerStatus>
  commit: Index
  /** Gossip has not known this node for long enough to say that it is gone. */
  gone: (name: NodeName) => boolean
  /** The same of a server in the configuration, by its id: nobody has it, not even one that failed. */
  unheardOf: (id: NodeId) => boolean
}

const alive = (status: Member['status']) => status === 'alive' || status === 'suspect'

/** What is to be done, in the order to do it. Configuration changes go one at a time: only the first is listed. */
export function duties(situation: Situation): Duty[] {
  const change = serverChange(situation)
  return [...(change === undefined ? [] : [change]), ...catalogDuties(situation)]
}

function catalogDuties({ datacenter, members, view, self, gone }: Situation): Duty[] {
  const todo: Duty[] = []
  const names = new Set<string>()
  const living = new Map(members.filter(({ status }) => alive(status)).map((member) => [member.name, member]))
  for (const member of members) {
    if (member.tags.dc !== datacenter) continue
    names.add(member.name.toLowerCase())
    const known = view.node(member.name).value
    const mine = member.tags.id === self
    if (member.status === 'left' && !mine) {
      if (known !== undefined) {
        todo.push({
          log: `member '${member.name}' left, deregistering`,
          command: { type: 'catalog.deregister', node: member.name },
        })
      }
    } else if (alive(member.status) || mine) {
      const owner = view.nodeById(member.tags.id ?? '')
      // A copied data directory: two live agents with one id would take the node from each other for ever.
      if (owner !== undefined && owner.name !== member.name && living.get(owner.name)?.tags.id === owner.id) continue
      if (known !== undefined && known.node.id !== '' && known.node.id !== member.tags.id) {
        // The host came back with an empty disk: what the old one registered is gone with it.
        todo.push({
          log: `member '${member.name}' is another agent now, deregistering the former`,
          command: { type: 'catalog.deregister', node: member.name },
        })
        todo.push(register(member, true, undefined))
      } else if (!said(known, member, true)) todo.push(register(member, true, known?.node))
    } else if (known !== undefined && member.status === 'failed' && !said(known, member, false)) {
      todo.push(register(member, false, known.node))
    }
  }
  // A node that gossip has forgotten was reaped or left while nobody led. Nodes without serfHealth were never agents.
  for (const node of view.nodes().value) {
    if (names.has(node.name.toLowerCase()) || !gone(node.name)) continue
    if (!view.nodeChecks(node.name).value.some(({ id }) => id === serfHealthId)) continue
    todo.push({
      log: `member '${node.name}' reaped, deregistering`,
      command: { type: 'catalog.deregister', node: node.name },
    })
  }
  return todo
}

type Known = ReturnType<View['node']>['value']

function said(known: Known, member: Member, healthy: boolean): boolean {
  const health = known?.checks.find(({ id }) => id === serfHealthId)
  if (health?.status !== (healthy ? 'passing' : 'critical')) return false
  const server = serverOf(member, member.tags.dc ?? '')
  const service = known?.services.find(({ id }) => id === consulServiceId)
  if (!healthy) return true
  // What an agent that is no server, or none any more, calls `consul` is its own to keep or to take away.
  return server === undefined || (service?.port === server.rpc.port && service.meta?.version === version(member))
}

function register(member: Member, healthy: boolean, known: NodeDefinition | undefined): Duty {
  const server = serverOf(member, member.tags.dc ?? '')
  const address = member.address.host
  const node: NodeDefinition = known ?? {
    id: member.tags.id ?? '',
    name: member.name,
    address,
    datacenter: member.tags.dc ?? '',
    taggedAddresses: null,
    meta: null,
  }
  return {
    log: `member '${member.name}' ${healthy ? 'joined, marking health alive' : 'failed, marking health critical'}`,
    command: {
      type: 'catalog.register',
      node,
      // Address and meta belong to the agent itself.
      skipNodeUpdate: true,
      ...(healthy && server !== undefined ? { service: consulService(server.rpc.port, version(member)) } : {}),
      checks: [serfHealth(healthy)],
    },
  }
}

/** The build tag is `1.8.7:commit`. */
const version = (member: Member) => (member.tags.build ?? '').replace(/:.*$/, '')

function consulService(port: number, version: string): ServiceDefinition {
  return {
    id: consulServiceId,
    name: 'consul',
    tags: [],
    address: '',
    port,
    taggedAddresses: null,
    // Consul's own words; there is one protocol of each kind here.
    meta: {
      non_voter: 'false',
      raft_version: '3',
      serf_protocol_current: '2',
      serf_protocol_max: '5',
      serf_protocol_min: '1',
      version,
    },
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
  }
}

function serfHealth(healthy: boolean): CheckResult {
  return {
    id: serfHealthId,
    name: 'Serf Health Status',
    status: healthy ? 'passing' : 'critical',
    notes: '',
    output: healthy ? 'Agent alive and reachable' : 'Agent not live or unreachable',
    serviceId: '',
    type: '',
    definition: {},
  }
}

function serverChange(situation: Situation): Duty | undefined {
  return memberChange(situation) ?? strayChange(situation)
}

function memberChange(situation: Situation): Duty | undefined {
  const { members, datacenter, configuration, view, leaving, statuses, commit, self } = situation
  const inUse = new Map(configuration.servers.map((server) => [server.id, server]))
  // Also those that gossip does not know any more.
  const parting = configuration.servers.find(({ id }) => leaving.has(id) && id !== self)
  if (parting !== undefined) {
    return { log: `removing server ${parting.address}: it left`, change: { type: 'remove', id: parting.id } }
  }
  for (const member of members) {
    const server = serverOf(member, datacenter)
    if (server === undefined) continue
    const listed = inUse.get(server.id)
    const address = addressText(server.rpc)
    if (server.id === self) {
      if (listed === undefined || listed.address === address || isTaken(configuration, address)) continue
      return {
        log: `this server has moved to ${address}`,
        change: { type: 'add', id: self, address, voter: listed.voter },
      }
    }
    if (member.status === 'left' || leaving.has(server.id)) {
      if (listed !== undefined) {
        return { log: `removing server ${server.name}: it left`, change: { type: 'remove', id: server.id } }
      }
      continue
    }
    if (!alive(member.status)) continue
    if (listed?.address === address) {
      const status = statuses.get(server.id)
      if (listed.voter || status === undefined || status.applied + trailingEntriesMax < commit) continue
      return { log: `server ${server.name} has caught up, it votes now`, change: { type: 'promote', id: server.id } }
    }
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
    if (former !== undefined && former.id !== self) {
      return {
        log: `removing server ${former.address} (${former.id}): ${server.name} replaces it`,
        change: { type: 'remove', id: former.id },
      }
    }
    return {
      log: `adding server ${server.name} (Addr: ${address})`,
      change: { type: 'add', id: server.id, address, voter: listed?.voter ?? false },
    }
  }
  return undefined
}

/**
 * A wiped server that came back elsewhere: nothing tells any more which one it was. As Consul's autopilot: who is in the
 * configuration and not in the pool at all goes, but never so many that a cluster just started could lose its majority to
 * the slowness of its gossip.
 */
function strayChange({ configuration: { servers }, self, unheardOf }: Situation): Duty | undefined {
  const strays = servers.filter(({ id }) => id !== self && unheardOf(id))
  const voters = servers.filter(({ voter }) => voter)
  const [stray] = strays
  if (stray === undefined || strays.length >= Math.floor(voters.length / 2)) return undefined
  return {
    log: `removing server ${stray.address} (${stray.id}): no member has its id`,
    change: { type: 'remove', id: stray.id },
  }
}

function isTaken({ servers }: Configuration, address: string): boolean {
  return servers.some((server) => server.address === address)
}

/** Servers of another cluster in our pool, which are not taken in: somebody should know. */
export function strangers({ members, datacenter, configuration, statuses }: Situation): string[] {
  return members.flatMap((member) => {
    const server = serverOf(member, datacenter)
    const cluster = statuses.get(server?.id ?? '')?.cluster ?? ''
    if (server === undefined || ['', configuration.cluster].includes(cluster)) return []
    return [
      `server ${server.name} (Addr: ${addressText(server.rpc)}) belongs to another cluster, ${cluster}, and not to ours, ` +
        `${configuration.cluster}: was it begun with -bootstrap? It comes in when its data directory is emptied and -bootstrap left out`,
    ]
  })
}

function lives(members: readonly Member[], datacenter: string, { id, address }: Server): boolean {
  return members.some((member) => {
    const server = serverOf(member, datacenter)
    return server?.id === id && alive(member.status) && addressText(server.rpc) === address
  })
}

export interface LeaderOptions {
  io: Io
  situation: () => Promise<Situation>
  write: (command: Command) => Promise<{ result: Result }>
  change: (change: ServerChange) => Promise<unknown>
}

export class Leader {
  readonly #options: LeaderOptions
  /** What was said is not said again, for every run finds it again. */
  readonly #warned = new Set<string>()

  constructor(options: LeaderOptions) {
    this.#options = options
  }

  /**
   * Does what is due, the rest also when one of it fails: a server that cannot be added must not keep the health of the
   * others from being told. Resolves to whether a configuration change was among it, so that the next may follow.
   * @throws the first failure
   */
  async run(): Promise<boolean> {
    const { io, situation, write, change } = this.#options
    const failures: unknown[] = []
    let changed = false
    const now = await situation()
    for (const stranger of strangers(now)) this.#warnOnce(stranger)
    for (const duty of duties(now)) {
      try {
        if ('change' in duty) {
          io.log('info', 'consul', duty.log)
          await change(duty.change)
          changed = true
          continue
        }
        const { result } = await write(duty.command)
        if ('error' in result) this.#warnOnce(`the catalog refused: ${duty.log}: ${result.error}`)
        else io.log('info', 'consul', duty.log)
      } catch (error) {
        if (error instanceof NotLeader || error instanceof LeadershipLost || error instanceof Stopped) throw error
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
    return changed
  }

  #warnOnce(message: string): void {
    if (this.#warned.size > 1000) this.#warned.clear()
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#options.io.log('warn', 'consul', message)
  }
}

/** How long a deleted key's name is remembered, so that a prefix's index moves on its deletion. Consul: 15 minutes. */
const tombstoneLasts: Millis = 15 * 60_000
const tombstoneStep: Millis = 60_000

/** Which deletions are old enough to forget: pairs a log position with the time it was reached, once a minute. */
export class Tombstones {
  #marks: { at: Millis; index: Index }[] = []
  /** Nothing up to here is worth a command: it is forgotten already, or was itself about forgetting. */
  #done: Index = 0

  /** The index up to which may be forgotten now, undefined when there is nothing new. */
  due(now: Millis, applied: Index): Index | undefined {
    const last = this.#marks.at(-1)
    if (applied > this.#marked && (last === undefined || now - last.at >= tombstoneStep)) {
      this.#marks.push({ at: now, index: applied })
    }
    const old = this.#marks.filter(({ at }) => now - at >= tombstoneLasts)
    const newest = old.at(-1)
    if (newest === undefined) return undefined
    this.#marks = this.#marks.slice(old.length)
    this.#done = newest.index
    return newest.index
  }

  /** The command that forgets is at `index`: alone it is no reason for another, or an idle cluster would write for ever. */
  reaped(index: Index): void {
    if (index !== this.#marked + 1) return
    const last = this.#marks.at(-1)
    if (last === undefined) this.#done = index
    else last.index = index
  }

  /** Another leader's clock counts now. */
  reset(): void {
    this.#marks = []
    this.#done = 0
  }

  get #marked(): Index {
    return this.#marks.at(-1)?.index ?? this.#done
  }
}
