/**
 * Nodes, services and checks: what registering and deregistering does to them. Semantics are those of Consul 1.8's state
 * store, except where a comment says otherwise. A refused command changes nothing.
 */
import { isDeepStrictEqual } from 'node:util'
import type {
  Check,
  CheckId,
  CheckResult,
  Index,
  Node,
  NodeDefinition,
  NodeName,
  Service,
  ServiceDefinition,
  Stamps,
} from '../model.ts'
import type { Command, Result } from './command.ts'
import { type CatalogMarks, Marks } from './marks.ts'
import { nodeChange, refusal } from './registration.ts'
import { CatalogRows, type CatalogTables } from './rows.ts'
import type { Watchers } from './watch.ts'

/** Who lives by rows of the catalog and has to know when they are lost. */
export interface Dependents {
  /** The node went, its checks before it. */
  nodeGone(index: Index, node: NodeName): void
  /** The check went, or is critical. */
  checkLost(index: Index, node: NodeName, id: CheckId): void
}

export interface CatalogState {
  tables: CatalogTables
  marks: CatalogMarks
}

export class Catalog {
  /** To read only; writing is `register` and `deregister`. */
  readonly rows: CatalogRows
  readonly marks: Marks
  readonly #dependents: Dependents

  constructor(watchers: Watchers, dependents: Dependents, state?: CatalogState) {
    this.#dependents = dependents
    this.rows = new CatalogRows(state?.tables)
    this.marks = new Marks(watchers, state?.marks)
  }

  /** Copy-on-write clones. */
  state(): CatalogState {
    return { tables: this.rows.tables(), marks: this.marks.state() }
  }

  /** @returns what makes everything as it is now. */
  savepoint(): () => void {
    const restore = [this.rows.savepoint(), this.marks.savepoint()]
    return () => {
      for (const back of restore) back()
    }
  }

  /** What is registered already in the same words keeps its modifyIndex and wakes nobody. */
  register(index: Index, command: Extract<Command, { type: 'catalog.register' }>): Result {
    const change = nodeChange(this.rows, command.node, command.skipNodeUpdate ?? false)
    if ('error' in change) return change
    const refused = refusal(this.rows, change, command)
    if (refused !== undefined) return { error: refused }
    for (const node of change.replaced) this.#removeNode(index, node)
    if (change.definition !== undefined) this.#putNode(index, change.definition, change.createIndex ?? index)
    if (command.service !== undefined) this.#putService(index, change.name, command.service)
    for (const check of command.checks) this.#putCheck(index, change.name, check)
    return { value: true }
  }

  /** A service takes its checks along, a node everything. What is not there is fine. */
  deregister(index: Index, command: Extract<Command, { type: 'catalog.deregister' }>): Result {
    const node = this.rows.node(command.node)
    if (node === undefined) return { value: true }
    if (command.serviceId !== undefined) {
      const service = this.rows.service(node.name, command.serviceId)
      if (service !== undefined) this.#removeService(index, service)
    } else if (command.checkId !== undefined) {
      const check = this.rows.check(node.name, command.checkId)
      if (check !== undefined) this.#removeCheck(index, check)
    } else {
      this.#removeNode(index, node)
    }
    return { value: true }
  }

  #putNode(index: Index, definition: NodeDefinition, createIndex: Index): void {
    const { id, name, address, datacenter, taggedAddresses, meta } = definition
    this.rows.putNode({ id, name, address, datacenter, taggedAddresses, meta, createIndex, modifyIndex: index })
    this.marks.nodeChanged(index, name)
    for (const service of new Set(this.rows.servicesOf(name).map((each) => each.name))) {
      this.marks.locationChanged(index, service)
    }
  }

  #removeNode(index: Index, node: Node): void {
    for (const service of this.rows.servicesOf(node.name)) this.#removeService(index, service)
    for (const check of this.rows.checksOf(node.name)) this.#removeCheck(index, check)
    this.rows.removeNode(node)
    this.marks.nodeGone(index, node.name)
    this.#dependents.nodeGone(index, node.name)
  }

  #putService(index: Index, node: NodeName, definition: ServiceDefinition): void {
    const before = this.rows.service(node, definition.id)
    const after = serviceRow(node, definition, stamps(index, before))
    if (before !== undefined && sameBut(before, after)) return
    this.rows.putService(after)
    if (before !== undefined && before.name !== after.name) this.#instanceGone(index, before)
    this.marks.serviceChanged(index, node, after.name)
    // Consul leaves the service's old name and tags in its checks until they are registered again; we do not.
    for (const check of this.rows.checksOfService(node, after.id)) {
      this.#replaceCheck(index, check, checkRow(node, check, after, stamps(index, check)))
    }
  }

  #removeService(index: Index, service: Service): void {
    for (const check of this.rows.checksOfService(service.node, service.id)) this.#removeCheck(index, check)
    this.rows.removeService(service)
    this.#instanceGone(index, service)
  }

  /** The service has an instance less; the rows know already. */
  #instanceGone(index: Index, { node, name }: Service): void {
    if (this.rows.hasInstances(name)) this.marks.serviceChanged(index, node, name)
    else this.marks.serviceGone(index, node, name)
  }

  #putCheck(index: Index, node: NodeName, result: CheckResult): void {
    const service = result.serviceId === '' ? undefined : this.rows.service(node, result.serviceId)
    const before = this.rows.check(node, result.id)
    this.#replaceCheck(index, before, checkRow(node, result, service, stamps(index, before)))
  }

  #replaceCheck(index: Index, before: Check | undefined, after: Check): void {
    if (before !== undefined && sameBut(before, after)) return
    this.rows.putCheck(after)
    this.marks.checkChanged(index, before, after)
    if (after.status === 'critical') this.#dependents.checkLost(index, after.node, after.id)
    if (before !== undefined && (before.serviceId !== after.serviceId || before.serviceName !== after.serviceName)) {
      this.#healthChanged(index, before)
    }
    this.#healthChanged(index, after)
  }

  #removeCheck(index: Index, check: Check): void {
    this.rows.removeCheck(check)
    this.marks.checkChanged(index, check, undefined)
    this.#healthChanged(index, check)
    this.#dependents.checkLost(index, check.node, check.id)
  }

  /** A check of a node is a check of every service on it. */
  #healthChanged(index: Index, { node, serviceId, serviceName }: Check): void {
    if (serviceId !== '') {
      if (this.rows.hasInstances(serviceName)) this.marks.healthChanged(index, serviceName, { ofInstance: true })
      return
    }
    for (const service of new Set(this.rows.servicesOf(node).map((each) => each.name))) {
      this.marks.healthChanged(index, service, { ofInstance: false })
    }
  }
}

function stamps(index: Index, before: Stamps | undefined): Stamps {
  return { createIndex: before?.createIndex ?? index, modifyIndex: index }
}

/** The same in all but when it last changed. `null` and `{}` differ, as in Consul. */
function sameBut<Row extends Stamps>(before: Row, after: Row): boolean {
  return isDeepStrictEqual({ ...before, modifyIndex: 0 }, { ...after, modifyIndex: 0 })
}

/** Field by field, so that rows hold what we know of and always in this order: snapshots are compared byte by byte. */
function serviceRow(node: NodeName, definition: ServiceDefinition, stamps: Stamps): Service {
  const { id, name, tags, address, port, taggedAddresses, meta, weights, enableTagOverride } = definition
  return {
    node,
    id,
    name,
    tags,
    address,
    port,
    taggedAddresses,
    meta,
    weights: { passing: weights.passing, warning: weights.warning },
    enableTagOverride,
    createIndex: stamps.createIndex,
    modifyIndex: stamps.modifyIndex,
  }
}

function checkRow(node: NodeName, result: CheckResult, service: Service | undefined, stamps: Stamps): Check {
  const { id, name, status, notes, output, type, definition } = result
  return {
    node,
    id,
    name,
    status: status === '' ? 'critical' : status,
    notes,
    output,
    serviceId: service?.id ?? '',
    serviceName: service?.name ?? '',
    serviceTags: service?.tags ?? [],
    type,
    definition,
    createIndex: stamps.createIndex,
    modifyIndex: stamps.modifyIndex,
  }
}
