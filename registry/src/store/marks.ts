/**
 * When what last changed in the catalog: the indexes of its answers. Marking a change also marks those who wait for it,
 * so that an index cannot move without them. 0 is "never".
 */
import type { Check, Index, NodeName, ServiceName } from '../model.ts'
import { folded, orderKey, Table } from './table.ts'
import { followedStates, type Watchers } from './watch.ts'

/** What concerns one service name; kept while it has instances. */
export interface ServiceMark {
  /** Folded. */
  service: ServiceName
  /** Anything that an answer with health shows. */
  any: Index
  /** Instances, and the nodes they are on. */
  locations: Index
  /** Checks of instances, not of nodes. */
  checks: Index
}

/** What concerns one node; kept while it is registered. */
export interface NodeMark {
  /** Folded. */
  node: NodeName
  /** The node, its services or its checks. */
  any: Index
  checks: Index
}

export interface CatalogMarks {
  nodes: Index
  services: Index
  checks: Index
  /** The last time a service lost its last instance (Consul's service_last_extinction). */
  serviceExtinction: Index
  nodeExtinction: Index
  /** By followed state, in their order; any other text shares the index of all checks. */
  states: Index[]
  byService: Table<ServiceMark>
  byNode: Table<NodeMark>
}

export class Marks {
  readonly #watchers: Watchers
  #marks: CatalogMarks

  constructor(
    watchers: Watchers,
    marks: CatalogMarks = {
      nodes: 0,
      services: 0,
      checks: 0,
      serviceExtinction: 0,
      nodeExtinction: 0,
      states: followedStates.map(() => 0),
      byService: new Table(),
      byNode: new Table(),
    },
  ) {
    this.#watchers = watchers
    this.#marks = marks
  }

  /** Copy-on-write clones. */
  state(): CatalogMarks {
    const { states, byService, byNode, ...rest } = this.#marks
    return { ...rest, states: [...states], byService: byService.clone(), byNode: byNode.clone() }
  }

  /** @returns what makes everything as it is now. */
  savepoint(): () => void {
    const marks = this.state()
    return () => {
      this.#marks = marks
    }
  }

  get nodes(): Index {
    return this.#marks.nodes
  }

  get services(): Index {
    return this.#marks.services
  }

  /** Undefined for a service without instances. Each change makes a new mark. */
  service(name: ServiceName): ServiceMark | undefined {
    return this.#marks.byService.get(orderKey(folded(name)))
  }

  /** The index of every service that has no instances. */
  get serviceExtinction(): Index {
    return this.#marks.serviceExtinction
  }

  /** Undefined for a node that is not registered. */
  node(name: NodeName): NodeMark | undefined {
    return this.#marks.byNode.get(orderKey(folded(name)))
  }

  /** The index of every node that is not registered. */
  get nodeExtinction(): Index {
    return this.#marks.nodeExtinction
  }

  checksInState(state: string): Index {
    return this.#marks.states[followedStates.indexOf(state)] ?? this.#marks.checks
  }

  /** The node's row came or changed. */
  nodeChanged(index: Index, node: NodeName): void {
    this.#marks.nodes = index
    this.#watchers.changed({ kind: 'nodes' })
    this.#markNode(index, node, { checks: false })
  }

  /** The node went, its services and checks before it. */
  nodeGone(index: Index, node: NodeName): void {
    this.#marks.nodes = index
    this.#marks.nodeExtinction = index
    this.#marks.byNode.delete(orderKey(folded(node)))
    this.#watchers.changed({ kind: 'nodes' })
    this.#watchers.changed({ kind: 'node', node })
  }

  /** An instance came, changed or went; others of the service remain. */
  serviceChanged(index: Index, node: NodeName, service: ServiceName): void {
    this.#marks.services = index
    this.#watchers.changed({ kind: 'services' })
    this.#markNode(index, node, { checks: false })
    this.locationChanged(index, service)
  }

  /** The last instance went. */
  serviceGone(index: Index, node: NodeName, service: ServiceName): void {
    this.#marks.services = index
    this.#marks.serviceExtinction = index
    this.#watchers.changed({ kind: 'services' })
    this.#markNode(index, node, { checks: false })
    this.#marks.byService.delete(orderKey(folded(service)))
    this.#watchers.changed({ kind: 'service', service })
    this.#watchers.changed({ kind: 'locations', service })
  }

  /** Where an instance is changed: its own row, or the row of its node. */
  locationChanged(index: Index, service: ServiceName): void {
    this.#markService(index, service, { locations: true, checks: false })
    this.#watchers.changed({ kind: 'locations', service })
  }

  /** A check came (no `before`), changed, or went (no `after`). */
  checkChanged(index: Index, before: Check | undefined, after: Check | undefined): void {
    this.#marks.checks = index
    this.#watchers.changed({ kind: 'checks' })
    for (const [place, state] of followedStates.entries()) {
      if (before?.status !== state && after?.status !== state) continue
      this.#marks.states[place] = index
      this.#watchers.changed({ kind: 'checks', state })
    }
    const node = (after ?? before)?.node
    if (node !== undefined) this.#markNode(index, node, { checks: true })
  }

  /** A check of an instance changed (`ofInstance`) or one of the node it is on. */
  healthChanged(index: Index, service: ServiceName, { ofInstance }: { ofInstance: boolean }): void {
    this.#markService(index, service, { locations: false, checks: ofInstance })
  }

  #markService(index: Index, service: ServiceName, what: { locations: boolean; checks: boolean }): void {
    const name = folded(service)
    const before = this.#marks.byService.get(orderKey(name))
    this.#marks.byService.set(orderKey(name), {
      service: name,
      any: index,
      locations: what.locations ? index : (before?.locations ?? index),
      checks: what.checks ? index : (before?.checks ?? index),
    })
    this.#watchers.changed({ kind: 'service', service })
  }

  #markNode(index: Index, node: NodeName, what: { checks: boolean }): void {
    const name = folded(node)
    const before = this.#marks.byNode.get(orderKey(name))
    this.#marks.byNode.set(orderKey(name), {
      node: name,
      any: index,
      checks: what.checks ? index : (before?.checks ?? index),
    })
    this.#watchers.changed({ kind: 'node', node })
  }
}
