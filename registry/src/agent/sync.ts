/**
 * Anti-entropy: makes the catalog say of this node what this agent knows (Consul §6.1 "authoritative for its own node").
 * `differences` is pure; `Sync.run` does what it says. The leader's rows (serfHealth, the `consul` service) are left alone.
 */
import { NoLeader, Refused, Stopped } from '../errors.ts'
import type { Log } from '../io/io.ts'
import type { Check, CheckResult, Millis, NodeDefinition, Service, ServiceDefinition, ServiceId } from '../model.ts'
import { serfHealthId } from '../model.ts'
import type { Command } from '../store/command.ts'
import type { View } from '../store/view.ts'
import type { LocalSurface } from './surface.ts'

/** One thing to put right, and what the log says once it is. */
export interface Difference {
  command: Command
  done: string
}

export interface Here {
  node: NodeDefinition
  server: boolean
  services: ServiceDefinition[]
  checks: CheckResult[]
  /** Checks of which only the output changed lately: told later, all at once (`check_update_interval`). */
  outputMayWait: (id: string) => boolean
}

type There = { node: NodeDefinition; services: Service[]; checks: Check[] } | undefined

/** The leader's own service; every server has one. */
export const consulServiceId: ServiceId = 'consul'

export function differences(here: Here, there: There): Difference[] {
  const steps: Difference[] = []
  const { node } = here
  if (there === undefined || !same(nodeFacts(node), nodeFacts(there.node))) {
    steps.push({ command: { type: 'catalog.register', node, checks: [] }, done: 'Synced node info' })
  }
  const services = new Map(there?.services.map((service) => [service.id, service]))
  const checks = new Map(there?.checks.map((check) => [check.id, check]))
  const register = { type: 'catalog.register', node, skipNodeUpdate: true } as const
  for (const service of here.services) {
    if (service.id === consulServiceId && here.server) continue
    const known = services.get(service.id)
    services.delete(service.id)
    const wanted = known !== undefined && service.enableTagOverride ? { ...service, tags: known.tags } : service
    if (known !== undefined && same(serviceFacts(wanted), serviceFacts(known))) continue
    // Its checks travel along, so that it is never in the catalog without them.
    const own = here.checks.filter(({ serviceId }) => serviceId === service.id)
    steps.push({
      command: { ...register, service: wanted, checks: own },
      done: `Synced service '${service.id}'`,
    })
    for (const check of own) checks.delete(check.id)
  }
  for (const id of services.keys()) {
    if (id === consulServiceId && here.server) continue
    steps.push({
      command: { type: 'catalog.deregister', node: node.name, serviceId: id },
      done: `Deregistered service '${id}'`,
    })
  }
  const synced = new Set(
    steps.flatMap(({ command }) => ('checks' in command ? command.checks.map(({ id }) => id) : [])),
  )
  for (const check of here.checks) {
    const known = checks.get(check.id)
    checks.delete(check.id)
    if (check.id === serfHealthId || (check.serviceId === consulServiceId && here.server)) continue
    if (synced.has(check.id)) continue
    if (known !== undefined && same(checkFacts(check), checkFacts(known))) {
      if (known.output === check.output || here.outputMayWait(check.id)) continue
    }
    steps.push({ command: { ...register, checks: [check] }, done: `Synced check '${check.id}'` })
  }
  for (const check of checks.values()) {
    if (check.id === serfHealthId || services.has(check.serviceId)) continue
    if (check.serviceId === consulServiceId && here.server) continue
    steps.push({
      command: { type: 'catalog.deregister', node: node.name, checkId: check.id },
      done: `Deregistered check '${check.id}'`,
    })
  }
  return steps
}

/**
 * Why this node must not be written now: its name, or its id, is that of another agent that lives. The store would refuse
 * the one and accept the other; asking it again and again would only fill the log. The other's death ends this.
 */
export function taken(node: NodeDefinition, view: View): string | undefined {
  const living = (name: string) =>
    view.nodeChecks(name).value.some(({ id, status }) => id === serfHealthId && status !== 'critical')
  const named = view.node(node.name).value?.node
  if (named !== undefined && named.id !== '' && named.id !== node.id && living(named.name)) {
    return `node name ${node.name} is reserved by node ${named.id} (${named.address}); start this agent with another -node`
  }
  const owner = view.nodeById(node.id)
  if (owner !== undefined && owner.name !== node.name && living(owner.name)) {
    return (
      `node id ${node.id} is that of node ${owner.name} (${owner.address}), which lives: a renamed agent waits until ` +
      'its old name has failed; a copied data directory needs another -node-id'
    )
  }
  return undefined
}

const nodeFacts = ({ id, address, taggedAddresses, meta }: NodeDefinition) => [id, address, taggedAddresses, meta]
const serviceFacts = (service: ServiceDefinition) => [
  service.name,
  service.tags,
  service.address,
  service.port,
  service.taggedAddresses,
  service.meta,
  service.weights,
  service.enableTagOverride,
]
const checkFacts = ({ name, status, notes, serviceId, type }: CheckResult) => [name, status, notes, serviceId, type]

/** Maps compare without regard to the order of their keys, lists with it; null, {} and [] mean the same: nothing. */
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a, plain) === JSON.stringify(b, plain)
}
function plain(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  const sorted = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return sorted.length === 0 ? null : Object.fromEntries(sorted)
}

export interface SyncOptions {
  node: () => NodeDefinition
  server: boolean
  local: LocalSurface
  /** As new as our own last acknowledged write, or it would undo what it does not see yet. */
  view: () => Promise<View>
  write: (command: Command) => Promise<unknown>
  now: () => Millis
  log: Log
  /** How long a change of output alone may wait. Consul's `check_update_interval`: 5 minutes. */
  outputInterval: Millis
}

export class Sync {
  readonly #options: SyncOptions
  readonly #outputDue = new Map<string, Millis>()
  #consulSeen = false

  constructor(options: SyncOptions) {
    this.#options = options
  }

  /** A server that has not seen the row of its own `consul` service, which the leader writes, in the catalog yet. */
  get awaitsConsul(): boolean {
    return this.#options.server && !this.#consulSeen
  }

  /** One whole comparison. Rejects when something could not be written; running again is always right. */
  async run(): Promise<void> {
    const { node, server, local, log, write } = this.#options
    try {
      const view = await this.#options.view()
      const here: Here = {
        node: node(),
        server,
        services: local.services().map(({ definition }) => definition),
        checks: local.checks().map(({ result }) => result),
        outputMayWait: (id) => this.#outputMayWait(id),
      }
      const reason = taken(here.node, view)
      if (reason !== undefined) throw new Refused(reason)
      const there = view.node(here.node.name).value
      if (this.awaitsConsul && there?.services.some(({ id }) => id === consulServiceId) === true) {
        this.#consulSeen = true
        log('info', 'agent', `Synced service '${consulServiceId}'`)
      }
      for (const { command, done } of differences(here, there)) {
        await write(command)
        if (command.type === 'catalog.register') for (const { id } of command.checks) this.#outputDue.delete(id)
        log('info', 'agent', done)
      }
    } catch (error) {
      if (error instanceof Stopped) throw error
      const reason = (error as Error).message
      log('error', 'agent', `failed to sync remote state: ${error instanceof NoLeader ? 'No cluster leader' : reason}`)
      throw error
    }
  }

  #outputMayWait(id: string): boolean {
    const now = this.#options.now()
    const due = this.#outputDue.get(id)
    if (due === undefined) this.#outputDue.set(id, now + this.#options.outputInterval)
    return due === undefined || now < due
  }
}
