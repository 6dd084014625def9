/**
 * Keeps alias checks as those are that they stand for. For a service of this agent they look at this agent's own checks, as
 * soon as one changes; for a node by name at the catalog, once a second (Consul 1.8: a blocking query).
 */
import { type Aliasable, aliasResult } from '../health/alias.ts'
import type { CheckState, Checks } from '../health/checks.ts'
import type { CheckId, Millis, NodeName, ServiceId } from '../model.ts'

const lookInterval: Millis = 1_000

/** Where aliases look. */
export interface AliasSources {
  /** A service of this agent. */
  hasService(id: ServiceId): boolean
  /** What the catalog has of a node; undefined when it does not know it. */
  node(name: NodeName): { services: { id: ServiceId }[]; checks: Aliasable[] } | undefined
}

export class Aliases {
  readonly #checks: Checks
  readonly #sources: AliasSources
  readonly #self: NodeName
  #nextLook: Millis = Number.NEGATIVE_INFINITY

  /** @param self the name of this node: its alias does not count among its own checks */
  constructor(checks: Checks, self: NodeName, sources: AliasSources) {
    this.#checks = checks
    this.#self = self
    this.#sources = sources
  }

  /** @param changed a check of this agent has changed, or is new or gone, since the last look */
  look(now: Millis, changed: boolean): void {
    const far = now >= this.#nextLook
    if (far) this.#nextLook = now + lookInterval
    if (!far && !changed) return
    const states = this.#checks.list()
    const aliases = states.filter(({ definition }) => definition.how.type === 'alias')
    if (aliases.length === 0) return
    const groups = changed ? grouped(states) : undefined
    for (const { definition } of aliases) {
      const { id, how } = definition
      if (how.type !== 'alias') continue
      if (how.node !== '') {
        if (!far) continue
        this.#checks.aliased(id, this.#ofNode(how, id), now)
      } else if (groups !== undefined) {
        const rows = [...(groups.get('') ?? []), ...(groups.get(how.service) ?? [])].map(row)
        const target = { ...how, exists: this.#sources.hasService(how.service) }
        this.#checks.aliased(id, aliasResult(rows, target, id), now)
      }
    }
  }

  /** A Consul 1.8.7 that is asked for a node nobody knows ends itself. */
  #ofNode({ node, service }: { node: NodeName; service: ServiceId }, id: CheckId) {
    const found = this.#sources.node(node)
    if (found === undefined) return { status: 'critical' as const, output: `Node ${node} could not be found` }
    const own = node.toLowerCase() === this.#self.toLowerCase() ? id : undefined
    const exists = found.services.some((each) => each.id === service)
    return aliasResult(found.checks, { node, service, exists }, own)
  }
}

function grouped(states: CheckState[]): Map<ServiceId, CheckState[]> {
  const groups = new Map<ServiceId, CheckState[]>()
  for (const state of states) {
    const { serviceId } = state.definition
    const group = groups.get(serviceId)
    if (group === undefined) groups.set(serviceId, [state])
    else group.push(state)
  }
  return groups
}

function row({ definition, status, output }: CheckState) {
  return { id: definition.id, name: definition.name, status, output, serviceId: definition.serviceId }
}
