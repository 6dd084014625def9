/**
 * The catalog's rows and the ways to find them; knows nothing of indexes or watchers. Nodes compare by folded name.
 * Service and check ids are exact but order by folded id first, as in Consul, where their case does not count at all:
 * two ids of one agent that differ only in case must not fight over one row.
 */
import type { Check, CheckId, Node, NodeId, NodeName, Service, ServiceId, ServiceName } from '../model.ts'
import { folded, orderKey, separator, Table } from './table.ts'

function key(...parts: string[]): string {
  return orderKey(parts.join(separator))
}

/** With a separator at the end: the beginning of all keys under these parts. */
function under(...parts: string[]): string {
  return orderKey(parts.join(separator) + separator)
}

/** The tables others are derived from; what a snapshot holds. */
export interface CatalogTables {
  nodes: Table<Node>
  services: Table<Service>
  checks: Table<Check>
}

export class CatalogRows {
  #nodes: Table<Node>
  /** By node, then id. */
  #services: Table<Service>
  /** By node, then id. */
  #checks: Table<Check>
  /** Those that have an id, by id. */
  #nodesById = new Table<Node>()
  /** By service name, then node, then id. */
  #instances = new Table<Service>()
  /** By node, then service id ('' first: the node's own), then id. */
  #checksByService = new Table<Check>()

  constructor(tables: CatalogTables = { nodes: new Table(), services: new Table(), checks: new Table() }) {
    this.#nodes = tables.nodes
    this.#services = tables.services
    this.#checks = tables.checks
    for (const node of tables.nodes.rows()) if (node.id !== '') this.#nodesById.set(key(node.id), node)
    for (const service of tables.services.rows()) this.#instances.set(instanceKey(service), service)
    for (const check of tables.checks.rows()) this.#checksByService.set(serviceCheckKey(check), check)
  }

  /** Copy-on-write clones. */
  tables(): CatalogTables {
    return { nodes: this.#nodes.clone(), services: this.#services.clone(), checks: this.#checks.clone() }
  }

  /** @returns what makes everything as it is now. */
  savepoint(): () => void {
    const { nodes, services, checks } = this.tables()
    const nodesById = this.#nodesById.clone()
    const instances = this.#instances.clone()
    const checksByService = this.#checksByService.clone()
    return () => {
      this.#nodes = nodes
      this.#services = services
      this.#checks = checks
      this.#nodesById = nodesById
      this.#instances = instances
      this.#checksByService = checksByService
    }
  }

  node(name: NodeName): Node | undefined {
    return this.#nodes.get(key(folded(name)))
  }

  nodeById(id: NodeId): Node | undefined {
    return this.#nodesById.get(key(id))
  }

  /** In name order. */
  nodes(): Node[] {
    return [...this.#nodes.rows()]
  }

  putNode(node: Node): void {
    const previous = this.node(node.name)
    if (previous !== undefined) this.#forgetId(previous)
    this.#nodes.set(key(folded(node.name)), node)
    if (node.id !== '') this.#nodesById.set(key(node.id), node)
  }

  removeNode(node: Node): void {
    this.#nodes.delete(key(folded(node.name)))
    this.#forgetId(node)
  }

  service(node: NodeName, id: ServiceId): Service | undefined {
    return this.#services.get(rowKey(node, id))
  }

  /** In id order. */
  servicesOf(node: NodeName): Service[] {
    return this.#services.under(under(folded(node)))
  }

  /** All of them, in node, then id order. */
  services(): Iterable<Service> {
    return this.#services.rows()
  }

  /** In node, then id order. */
  instancesOf(service: ServiceName): Service[] {
    return this.#instances.under(under(folded(service)))
  }

  hasInstances(service: ServiceName): boolean {
    return this.#instances.hasUnder(under(folded(service)))
  }

  putService(service: Service): void {
    const place = rowKey(service.node, service.id)
    const previous = this.#services.get(place)
    if (previous !== undefined) this.#instances.delete(instanceKey(previous))
    this.#services.set(place, service)
    this.#instances.set(instanceKey(service), service)
  }

  removeService(service: Service): void {
    this.#services.delete(rowKey(service.node, service.id))
    this.#instances.delete(instanceKey(service))
  }

  check(node: NodeName, id: CheckId): Check | undefined {
    return this.#checks.get(rowKey(node, id))
  }

  /** The node's own and those of its services, in id order. */
  checksOf(node: NodeName): Check[] {
    return this.#checks.under(under(folded(node)))
  }

  /** With service '': the checks of the node itself. In id order. */
  checksOfService(node: NodeName, service: ServiceId): Check[] {
    return this.#checksByService.under(under(folded(node), service))
  }

  /** All of them, in node, then id order. */
  checks(): Iterable<Check> {
    return this.#checks.rows()
  }

  putCheck(check: Check): void {
    const place = rowKey(check.node, check.id)
    const previous = this.#checks.get(place)
    if (previous !== undefined) this.#checksByService.delete(serviceCheckKey(previous))
    this.#checks.set(place, check)
    this.#checksByService.set(serviceCheckKey(check), check)
  }

  removeCheck(check: Check): void {
    this.#checks.delete(rowKey(check.node, check.id))
    this.#checksByService.delete(serviceCheckKey(check))
  }

  #forgetId(node: Node): void {
    if (this.nodeById(node.id) === node) this.#nodesById.delete(key(node.id))
  }
}

/** Where a row of one node with an id of its own stands: a service among services, a check among checks. */
export function rowKey(node: NodeName, id: ServiceId | CheckId): string {
  return key(folded(node), folded(id), id)
}

function instanceKey(service: Service): string {
  return key(folded(service.name), folded(service.node), folded(service.id), service.id)
}

function serviceCheckKey(check: Check): string {
  return key(folded(check.node), check.serviceId, folded(check.id), check.id)
}
