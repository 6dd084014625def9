/** What the catalog should answer, the plain way: one list per kind of row, looked through from end to end. */
import type { Check, Instance, Node, Service } from '../../src/model.ts'
import type { Command } from '../../src/store/command.ts'

const fold = (text: string): string => text.toLowerCase()
const by = (...keys: string[]): string => keys.map((key) => `${fold(key)} ${key}`).join(' ')

export class CatalogModel {
  #nodes: Node[] = []
  #services: Service[] = []
  #checks: Check[] = []

  /** @returns whether the command was accepted. */
  apply(index: number, command: Command): boolean {
    if (command.type === 'catalog.register') {
      const saved = [this.#nodes, this.#services, this.#checks]
      const accepted = this.#register(index, command)
      if (!accepted) [this.#nodes, this.#services, this.#checks] = saved as [Node[], Service[], Check[]]
      return accepted
    }
    if (command.type === 'catalog.deregister') {
      const { serviceId, checkId } = command
      const here = (row: { node: string }): boolean => fold(row.node) === fold(command.node)
      if (serviceId !== undefined) {
        this.#services = this.#services.filter((each) => !(here(each) && each.id === serviceId))
        this.#checks = this.#checks.filter((each) => !(here(each) && each.serviceId === serviceId))
      } else if (checkId !== undefined) {
        this.#checks = this.#checks.filter((each) => !(here(each) && each.id === checkId))
      } else this.#drop(command.node)
    }
    return true
  }

  /** As it is now, whatever happens to this one. */
  clone(): CatalogModel {
    const other = new CatalogModel()
    other.#nodes = this.#nodes
    other.#services = this.#services
    other.#checks = this.#checks
    return other
  }

  nodes(): Node[] {
    return this.#nodes.toSorted((a, b) => (fold(a.name) < fold(b.name) ? -1 : 1))
  }

  services(): Map<string, string[]> {
    const names = [...new Set(this.#services.map((each) => each.name))].sort()
    const sorted = sortedBy(this.#services, (each) => by(each.node, each.id))
    return new Map(
      names.map((name) => [
        name,
        [...new Set(sorted.filter((each) => each.name === name).flatMap((each) => each.tags))],
      ]),
    )
  }

  node(name: string): { node: Node; services: Service[]; checks: Check[] } | undefined {
    const node = this.#node(name)
    if (node === undefined) return undefined
    return {
      node,
      services: sortedBy(
        this.#services.filter((each) => each.node === node.name),
        (each) => by(each.id),
      ),
      checks: sortedBy(
        this.#checks.filter((each) => each.node === node.name),
        (each) => by(each.id),
      ),
    }
  }

  instances(name: string): Instance[] {
    const services = this.#services.filter((each) => fold(each.name) === fold(name))
    return sortedBy(services, (each) => by(each.node, each.id)).map((service) => {
      const { node, checks } = this.node(service.node)!
      return {
        node,
        service,
        checks: [
          ...checks.filter((each) => each.serviceId === ''),
          ...checks.filter((each) => each.serviceId === service.id),
        ],
      }
    })
  }

  serviceChecks(name: string): Check[] {
    return this.instances(name).flatMap(({ service, checks }) => checks.filter((each) => each.serviceId === service.id))
  }

  checksInState(state: string): Check[] {
    const checks = this.#checks.filter((each) => state === 'any' || each.status === state)
    return sortedBy(checks, (each) => by(each.node, each.id))
  }

  #node(name: string): Node | undefined {
    return this.#nodes.find((each) => fold(each.name) === fold(name))
  }

  #drop(name: string): void {
    this.#nodes = this.#nodes.filter((each) => fold(each.name) !== fold(name))
    this.#services = this.#services.filter((each) => fold(each.node) !== fold(name))
    this.#checks = this.#checks.filter((each) => fold(each.node) !== fold(name))
  }

  #register(index: number, command: Extract<Command, { type: 'catalog.register' }>): boolean {
    const name = this.#registerNode(index, command)
    if (name === undefined) return false
    if (command.service !== undefined) {
      this.#services = put(index, this.#services, { ...command.service, node: name, createIndex: 0, modifyIndex: 0 })
    }
    for (const each of command.checks) {
      const known = this.#services.some((service) => service.node === name && service.id === each.serviceId)
      if (each.serviceId !== '' && !known) return false
      const status = each.status === '' ? 'critical' : each.status
      const row = { ...each, status, node: name, serviceName: '', serviceTags: [], createIndex: 0, modifyIndex: 0 }
      this.#checks = put(index, this.#checks, this.#labelled(row))
    }
    for (const each of this.#checks) this.#checks = put(index, this.#checks, this.#labelled(each))
    return true
  }

  /** With the name and tags of its service. */
  #labelled(check: Check): Check {
    const service = this.#services.find((each) => each.node === check.node && each.id === check.serviceId)
    return { ...check, serviceName: service?.name ?? '', serviceTags: service?.tags ?? [] }
  }

  /** @returns the name as it is spelled now; undefined when refused. */
  #registerNode(index: number, command: Extract<Command, { type: 'catalog.register' }>): string | undefined {
    const { node: wanted, skipNodeUpdate } = command
    const named = this.#node(wanted.name)
    if (named !== undefined && skipNodeUpdate === true) return named.name
    if (wanted.id === '') {
      const row = { ...wanted, id: named?.id ?? '', name: named?.name ?? wanted.name }
      return this.#putNode(index, row, named)
    }
    const owner = this.#nodes.find((each) => each.id === wanted.id)
    const renamed = owner !== undefined && owner.name !== wanted.name
    if (named !== undefined && named.id !== wanted.id && (named.id !== '' || renamed)) {
      const health = this.#checks.find((each) => each.node === named.name && each.id === 'serfHealth')
      if (health !== undefined && health.status !== 'critical') return undefined
    }
    if (renamed) this.#drop(owner.name)
    if (named !== undefined && named.name !== wanted.name) this.#drop(named.name)
    return this.#putNode(index, wanted, owner ?? named)
  }

  #putNode(index: number, wanted: Omit<Node, 'createIndex' | 'modifyIndex'>, before: Node | undefined): string {
    const present = before !== undefined && this.#nodes.includes(before) && before.name === wanted.name
    const row = { ...wanted, createIndex: before?.createIndex ?? index, modifyIndex: index }
    if (present && same(before, row)) return wanted.name
    this.#nodes = [...this.#nodes.filter((each) => fold(each.name) !== fold(wanted.name)), row]
    return wanted.name
  }
}

/** In place of the row of the same node and id, unless it says the same. */
function put<Row extends Service | Check>(index: number, rows: Row[], row: Row): Row[] {
  const before = rows.find((each) => each.node === row.node && each.id === row.id)
  if (before !== undefined && same(before, row)) return rows
  const stamped = { ...row, createIndex: before?.createIndex ?? index, modifyIndex: index }
  return [...rows.filter((each) => each !== before), stamped]
}

function same(a: object, b: object): boolean {
  const plain = (row: object): string =>
    JSON.stringify(Object.entries({ ...row, createIndex: 0, modifyIndex: 0 }).toSorted(([x], [y]) => (x < y ? -1 : 1)))
  return plain(a) === plain(b)
}

function sortedBy<Row>(rows: Row[], key: (row: Row) => string): Row[] {
  return rows.toSorted((a, b) => (key(a) < key(b) ? -1 : 1))
}
