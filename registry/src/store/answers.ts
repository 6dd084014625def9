/** The catalog's questions and answers. Remembers what many ask for until it changes. */
import type { Check, Index, Instance, Node, NodeName, Service, ServiceName } from '../model.ts'
import type { Catalog } from './catalog.ts'
import type { ServiceMark } from './marks.ts'
import { byBytes, folded } from './table.ts'
import type { Indexed, Location } from './view.ts'

export class CatalogAnswers {
  readonly #catalog: Catalog
  /** A change makes a new mark, so an answer kept by its mark is never old, and goes when the mark goes. */
  readonly #instances = new WeakMap<ServiceMark, Instance[]>()
  #services: { changed: Index; value: Map<ServiceName, string[]> } | undefined

  constructor(catalog: Catalog) {
    this.#catalog = catalog
  }

  nodes(): Indexed<Node[]> {
    return indexed(this.#catalog.marks.nodes, this.#catalog.rows.nodes())
  }

  node(name: NodeName): Indexed<{ node: Node; services: Service[]; checks: Check[] } | undefined> {
    const { rows, marks } = this.#catalog
    const node = rows.node(name)
    if (node === undefined) return indexed(marks.nodeExtinction, undefined)
    const value = { node, services: rows.servicesOf(name), checks: rows.checksOf(name) }
    return indexed(marks.node(name)?.any ?? marks.nodeExtinction, value)
  }

  services(): Indexed<Map<ServiceName, string[]>> {
    const { rows, marks } = this.#catalog
    const kept = this.#services
    if (kept?.changed === marks.services) return indexed(kept.changed, kept.value)
    const tags = new Map<ServiceName, Set<string>>()
    for (const service of rows.services()) {
      const known = tags.get(service.name)
      if (known === undefined) tags.set(service.name, new Set(service.tags))
      else for (const tag of service.tags) known.add(tag)
    }
    const byName = [...tags].sort(([a], [b]) => byBytes(a, b))
    const value = new Map(byName.map(([name, union]) => [name, [...union]]))
    this.#services = { changed: marks.services, value }
    return indexed(marks.services, value)
  }

  instances(service: ServiceName, tags: readonly string[]): Indexed<Instance[]> {
    const { marks } = this.#catalog
    const mark = marks.service(service)
    if (mark === undefined) return indexed(marks.serviceExtinction, [])
    let all = this.#instances.get(mark)
    if (all === undefined) {
      // Given to many: who wants another order takes a copy.
      all = Object.freeze(this.#join(service)) as Instance[]
      this.#instances.set(mark, all)
    }
    return indexed(mark.any, tagged(all, tags))
  }

  locations(service: ServiceName, tags: readonly string[]): Indexed<Location[]> {
    const { marks } = this.#catalog
    const { value } = this.instances(service, tags)
    return indexed(marks.service(service)?.locations ?? marks.serviceExtinction, value)
  }

  serviceChecks(service: ServiceName): Indexed<Check[]> {
    const { rows, marks } = this.#catalog
    const value = rows.instancesOf(service).flatMap((each) => rows.checksOfService(each.node, each.id))
    return indexed(marks.service(service)?.checks ?? marks.serviceExtinction, value)
  }

  nodeChecks(node: NodeName): Indexed<Check[]> {
    const { rows, marks } = this.#catalog
    return indexed(marks.node(node)?.checks ?? marks.nodeExtinction, rows.checksOf(node))
  }

  checksInState(state: string): Indexed<Check[]> {
    const { rows, marks } = this.#catalog
    const value: Check[] = []
    for (const check of rows.checks()) if (state === 'any' || check.status === state) value.push(check)
    return indexed(marks.checksInState(state), value)
  }

  #join(service: ServiceName): Instance[] {
    const { rows } = this.#catalog
    const instances: Instance[] = []
    for (const each of rows.instancesOf(service)) {
      const node = rows.node(each.node)
      // A service never outlives its node.
      if (node === undefined) throw new Error(`service ${each.id} is on node ${each.node}, which is not registered`)
      const checks = [...rows.checksOfService(each.node, ''), ...rows.checksOfService(each.node, each.id)]
      instances.push({ node, service: each, checks })
    }
    return instances
  }
}

/** Never below 1: a client that is told 0 asks again at once, for ever. */
function indexed<T>(index: Index, value: T): Indexed<T> {
  return { index: Math.max(1, index), value }
}

/** Those that carry every one of the tags, compared without regard to case. */
function tagged(instances: Instance[], tags: readonly string[]): Instance[] {
  if (tags.length === 0) return instances
  const wanted = tags.map(folded)
  return instances.filter(({ service }) => {
    const carried = service.tags.map(folded)
    return wanted.every((tag) => carried.includes(tag))
  })
}
