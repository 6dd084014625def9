/**
 * What the registry says about a service, and the words it is reported in. Pure: the same answers give the same
 * lines, in whatever order the registry and DNS gave theirs.
 */
import { type CatalogServiceShape, UnexpectedAnswer } from 'registry/client'

export interface Instance {
  node: string
  /** The node's address. */
  address: string
  id: string
  port: number
}

export interface Report {
  service: string
  /** By node, then id. */
  instances: Instance[]
  /** What DNS answers for the service: the addresses of instances in their order, then any others. */
  addresses: string[]
  /** Why DNS could not be asked; a name that does not exist is no failure but no addresses. */
  dnsFailure?: string
}

/** @param resolved the addresses DNS gave, or why it gave none */
export function reportOf(service: string, answered: CatalogServiceShape[], resolved: string[] | Error): Report {
  const instances = answered
    .map(({ Node, Address, ServiceID, ServicePort }) => ({
      node: Node,
      address: Address,
      id: ServiceID,
      port: ServicePort,
    }))
    .sort((one, other) => compare(one.node, other.node) || compare(one.id, other.id))
  if (resolved instanceof Error) return { service, instances, addresses: [], dnsFailure: resolved.message }
  // DNS shuffles its answers on purpose; the order of the nodes keeps the sentence still from one second to the next.
  const known = answered
    .slice()
    .sort((one, other) => compare(one.Node, other.Node) || compare(one.ServiceID, other.ServiceID))
    .flatMap((instance) => [instance.ServiceAddress, instance.Address])
  const answers = new Set(resolved)
  const inOrder = [...new Set(known)].filter((address) => answers.has(address))
  const others = [...answers].filter((address) => !inOrder.includes(address)).sort(compare)
  return { service, instances, addresses: [...inOrder, ...others] }
}

/** Two lines per instance, or one that says there is none. */
export function linesOf(report: Report): string[] {
  if (report.instances.length === 0) return ['There are no distributed applications registered in Consul']
  return report.instances.flatMap((instance) => [
    `Application ${report.service} with element ${instance.id} on port ${instance.port} found on node ${instance.node} (${instance.address}).`,
    dnsLine(report),
  ])
}

/** What is said when there is no report. */
export function failureLine(error: Error, { again }: { again: boolean }): string {
  const what = error instanceof UnexpectedAnswer ? 'The registry gives no answer' : 'The registry cannot be reached'
  return `${what}${again ? ', trying again' : ''}: ${error.message}`
}

/** "a", "a and b", "a, b and c". */
export function listed(items: readonly string[]): string {
  if (items.length < 2) return items.join('')
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
}

function dnsLine({ service, addresses, dnsFailure }: Report): string {
  if (dnsFailure !== undefined) return `We cannot resolve DNS - ${service}: ${dnsFailure}.`
  if (addresses.length === 0) return `We cannot resolve DNS - ${service} resolves to no address.`
  return `We can also resolve DNS - ${service} resolves to ${listed(addresses)}.`
}

/** By code unit: the same everywhere, whatever the locale. */
function compare(one: string, other: string): number {
  if (one === other) return 0
  return one < other ? -1 : 1
}
