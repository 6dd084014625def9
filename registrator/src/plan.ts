/** What must be done so that the agent has what is desired: a pure comparison, without any memory of what was done. */
import type { AgentServiceShape, CheckShape } from 'registry/client'
import { containerOfMeta, isOwned, isUnmarked, type Owner } from './owner.ts'
import { type Desired, type DesiredService, heartbeatId } from './services.ts'

export type Step =
  | { kind: 'register'; service: DesiredService; reason: string }
  | { kind: 'deregister'; id: string; name: string; reason: string }

export interface Plan {
  /** Registrations first, so that a renamed container is never without an instance. */
  steps: Step[]
  /** Ids that are desired and belong to somebody else. */
  taken: string[]
}

export interface PlanOptions {
  owner: Owner
  /** Take over what the original registrator left: unmarked services whose id it would have given. */
  adopt: { hostname: string } | undefined
}

/** @param services @param checks what the agent has, by id */
export function plan(
  desired: Pick<Desired, 'services' | 'kept'>,
  services: Readonly<Record<string, AgentServiceShape>>,
  checks: Readonly<Record<string, CheckShape>>,
  options: PlanOptions,
): Plan {
  const ours = (service: AgentServiceShape) => isOwned(service.Meta, options.owner) || isAdopted(service, options.adopt)
  const steps: Step[] = []
  const taken: string[] = []
  for (const service of desired.services) {
    const actual = Object.hasOwn(services, service.ID) ? services[service.ID] : undefined
    if (actual === undefined) steps.push({ kind: 'register', service, reason: 'not registered' })
    else if (!ours(actual)) taken.push(service.ID)
    else {
      const reason = difference(service, actual, checks)
      if (reason !== undefined) steps.push({ kind: 'register', service, reason })
    }
  }
  const wanted = new Set(desired.services.map((service) => service.ID))
  for (const actual of Object.values(services)) {
    if (wanted.has(actual.ID) || !ours(actual) || desired.kept.has(containerOfMeta(actual.Meta))) continue
    steps.push({ kind: 'deregister', id: actual.ID, name: actual.Service, reason: 'no container has it' })
  }
  return { steps, taken }
}

/** Why a registration has to be made again; undefined when it is as it should be. */
function difference(
  desired: DesiredService,
  actual: AgentServiceShape,
  checks: Readonly<Record<string, CheckShape>>,
): string | undefined {
  if (actual.Service !== desired.Name) return `its name is ${actual.Service}`
  if (actual.Port !== desired.Port) return `its port is ${actual.Port}`
  if (actual.Address !== (desired.Address ?? '')) return `its address is ${actual.Address}`
  if (actual.EnableTagOverride !== (desired.EnableTagOverride ?? false)) return 'its tag override differs'
  // Tags that others may edit are theirs once registered.
  if (!actual.EnableTagOverride && !sameSet(actual.Tags ?? [], desired.Tags)) return 'its tags differ'
  if (!sameEntries(actual.Meta ?? {}, desired.Meta)) return 'its attributes differ'
  // Only checks with the ids we give are ours; what others attached to the service stays out of the comparison.
  const ids = [`service:${desired.ID}`, heartbeatId(desired.ID)]
  const present = ids.filter((id) => checks[id]?.ServiceID === desired.ID)
  if (
    !sameSet(
      present,
      desired.Checks.map((check) => check.CheckID ?? ''),
    )
  )
    return 'its checks differ'
  return undefined
}

function isAdopted(service: AgentServiceShape, adopt: PlanOptions['adopt']): boolean {
  if (adopt === undefined || !isUnmarked(service.Meta)) return false
  const [hostname, ...rest] = service.ID.split(':')
  return hostname === adopt.hostname && /^[a-zA-Z0-9][a-zA-Z0-9_.-]*:\d+(:udp)?$/.test(rest.join(':'))
}

function sameSet(one: readonly string[], other: readonly string[]): boolean {
  const ones = new Set(one)
  const others = new Set(other)
  return ones.size === others.size && [...ones].every((item) => others.has(item))
}

function sameEntries(one: Readonly<Record<string, string>>, other: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(one)
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key])
}
