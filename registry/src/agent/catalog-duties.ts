/**
 * What the catalog has to say of the members: who is there and whether it lives (`serfHealth`), and the `consul` service of
 * every server. Compares all of both; what an agent registered itself is not touched.
 */
import type { CheckResult, Member, NodeDefinition, NodeId, NodeName, ServiceDefinition } from '../model.ts'
import { serfHealthId } from '../model.ts'
import type { Command } from '../store/command.ts'
import type { View } from '../store/view.ts'
import { serverOf } from './bootstrap.ts'
import { withoutFormerNames } from './former-names.ts'
import { isLive } from './pools.ts'
import { consulServiceId } from './sync.ts'

export interface CatalogSituation {
  datacenter: string
  self: NodeId
  members: readonly Member[]
  view: View
  /** Gossip has not known this node for long enough to say that it is gone. */
  gone: (name: NodeName) => boolean
}

type Duty = { log: string; command: Command }

export function catalogDuties({ datacenter, members, view, self, gone }: CatalogSituation): Duty[] {
  const todo: Duty[] = []
  const names = new Set<string>()
  const present = new Set(withoutFormerNames(members))
  const living = new Map(members.filter(isLive).map((member) => [member.name, member]))
  for (const member of members) {
    if (member.tags.dc !== datacenter) continue
    names.add(member.name.toLowerCase())
    // Whoever is there renames its node; what becomes of the old name is no news of it.
    if (!present.has(member)) continue
    const known = view.node(member.name).value
    if (isTaken(known, member, members)) continue
    const mine = member.tags.id === self
    if (member.status === 'left' && !mine) {
      if (known !== undefined) {
        todo.push({
          log: `member '${member.name}' left, deregistering`,
          command: { type: 'catalog.deregister', node: member.name },
        })
      }
    } else if (isLive(member) || mine) {
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

/**
 * To gossip "web" and "Web" are two names, to the catalog and to DNS they are one: the first that lives keeps it, and the
 * other is told so when it registers.
 */
function isTaken(known: Known, member: Member, members: readonly Member[]): boolean {
  if (known === undefined || known.node.id === member.tags.id) return false
  const holds = ({ name, tags }: Member) =>
    tags.id === known.node.id && name !== member.name && name.toLowerCase() === member.name.toLowerCase()
  return members.some((other) => holds(other) && isLive(other))
}

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
