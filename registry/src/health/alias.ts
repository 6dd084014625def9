/** What an alias check says: the worst of the checks it stands for. As Consul 1.8 (`agent/checks/alias.go`) words it. */
import type { CheckId, CheckStatus, NodeName, ServiceId } from '../model.ts'

/** Of a check what an alias looks at. */
export interface Aliasable {
  id: CheckId
  name: string
  /** The catalog takes any text; what is neither passing, warning nor critical does not count against anybody. */
  status: string
  output: string
  /** '' is a check of the node. */
  serviceId: ServiceId
}

/** What an alias stands for: a service of a node; '' is the node alone. */
export interface AliasTarget {
  node: NodeName
  service: ServiceId
  /** The service is registered there, with checks or without. */
  exists: boolean
}

/**
 * Checks of the service count and those of its node: where the node is ill the service is not well.
 * Differs from Consul: the alias itself does not count. As a check of the node it would be critical for ever because it
 * began so.
 * @param checks all of one node, in any order
 */
export function aliasResult(
  checks: Iterable<Aliasable>,
  { node, service, exists }: AliasTarget,
  self: CheckId | undefined,
): { status: CheckStatus; output: string } {
  if (service !== '' && !exists) {
    return { status: 'critical', output: `Service ${service} could not be found on node ${node}` }
  }
  let worst: Aliasable | undefined
  let any = false
  for (const check of checks) {
    if (check.id === self || (check.serviceId !== '' && check.serviceId !== service)) continue
    any = true
    if (check.status === 'critical') {
      if (worst?.status !== 'critical') worst = check
    } else if (check.status === 'warning') worst ??= check
  }
  if (worst !== undefined) {
    const status = worst.status === 'critical' ? 'critical' : 'warning'
    return { status, output: `Aliased check ${JSON.stringify(worst.name)} failing: ${worst.output}` }
  }
  return { status: 'passing', output: any ? 'All checks passing.' : 'No checks found.' }
}
