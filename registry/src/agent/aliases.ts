/**
 * Keeps alias checks as those are that they stand for. For a service of this agent they look at this agent's own checks, as
 * soon as one changes; for a node by name at the catalog, once a second (Consul 1.8: a blocking query).
 */
import { aliasResult } from '../health/alias.ts'
import type { CheckState, Checks } from '../health/checks.ts'
import type { Check, Millis, NodeName, ServiceId } from '../model.ts'

const lookInterval: Millis = 1_000

export class Aliases {
  readonly #checks: Checks
  readonly #nodeChecks: (node: NodeName) => Check[]
  readonly #self: NodeName
  #nextLook: Millis = Number.NEGATIVE_INFINITY

  /**
   * @param self the name of this node: its alias does not count among its own checks
   * @param nodeChecks what the catalog has of a node; none when it does not know it
   */
  constructor(checks: Checks, self: NodeName, nodeChecks: (node: NodeName) => Check[]) {
    this.#checks = checks
    this.#self = self
    this.#nodeChecks = nodeChecks
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
        const own = how.node.toLowerCase() === this.#self.toLowerCase() ? id : undefined
        this.#checks.aliased(id, aliasResult(this.#nodeChecks(how.node), how.service, own), now)
      } else if (groups !== undefined) {
        const rows = [...(groups.get('') ?? []), ...(groups.get(how.service) ?? [])].map(row)
        this.#checks.aliased(id, aliasResult(rows, how.service, id), now)
      }
    }
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
