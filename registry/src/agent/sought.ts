/** What DNS needs to know of a service or a node, for an agent of another datacenter that answers with it. */
import { BadRequest } from '../errors.ts'
import type { Random } from '../io/random.ts'
import type { Instance } from '../model.ts'
import type { View } from '../store/view.ts'
import type { Found, Sought } from './elsewhere.ts'

/** More instances than any answer holds are not worth their way. */
const instancesMax = 2000

/** @throws BadRequest when it came from the wire and is something else */
export function soughtIn(view: View, sought: Sought, random: Random): Found {
  const { index } = view
  if ('node' in sought) {
    if (typeof sought.node !== 'string') throw new BadRequest('expected a name')
    return { index, instances: [], node: view.node(sought.node).value?.node }
  }
  const { service, tag, onlyPassing } = sought
  if (typeof service !== 'string' || (tag ?? '') !== `${tag ?? ''}`) throw new BadRequest('expected a name and a tag')
  const named = view.instances(service, tag === undefined || tag === null ? [] : [tag]).value
  const healthy = named.filter((instance) => isHealthy(instance, onlyPassing === true))
  const chosen = healthy.length > instancesMax ? random.shuffle(healthy).slice(0, instancesMax) : healthy
  return { index, instances: chosen.map(bare), node: undefined }
}

/** Critical checks of the instance or its node leave it out; warnings do only when asked for (`only_passing`). */
export function isHealthy({ checks }: Instance, onlyPassing: boolean): boolean {
  return checks.every(({ status }) => status !== 'critical' && (!onlyPassing || status === 'passing'))
}

/** Without what checks printed. */
function bare(instance: Instance): Instance {
  return { ...instance, checks: instance.checks.map((check) => ({ ...check, output: '', notes: '', definition: {} })) }
}
