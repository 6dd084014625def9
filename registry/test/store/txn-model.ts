/** What a transaction should do, the plain way: on a copy of everything, which is kept when nothing failed. */
import type { KvPair } from '../../src/model.ts'
import type { Operation, OperationResult } from '../../src/store/operation.ts'
import { CatalogModel } from './catalog-model.ts'

type Outcome = OperationResult[] | 'failed'

export class TxnModel {
  #pairs = new Map<string, KvPair>()
  #catalog = new CatalogModel()

  get catalog(): CatalogModel {
    return this.#catalog
  }

  /** In the order of their bytes. */
  pairs(): KvPair[] {
    return [...this.#pairs.values()].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)))
  }

  /** @returns the results, or the places of the operations that failed. */
  transact(index: number, operations: readonly Operation[]): { results: OperationResult[] } | { failed: number[] } {
    const before = { pairs: new Map(this.#pairs), catalog: this.#catalog.clone() }
    const outcomes = operations.map((operation) => this.#perform(index, operation))
    const failed = outcomes.flatMap((outcome, place) => (outcome === 'failed' ? [place] : []))
    if (failed.length === 0) return { results: outcomes.flatMap((outcome) => (outcome === 'failed' ? [] : outcome)) }
    this.#pairs = before.pairs
    this.#catalog = before.catalog
    return { failed }
  }

  #perform(index: number, operation: Operation): Outcome {
    const at = (row: { modifyIndex: number } | undefined): number | undefined => row?.modifyIndex
    switch (operation.type) {
      case 'kv.get':
        return one(this.#pairs.get(operation.key), (pair) => ({ type: 'kv', pair }))
      case 'kv.tree':
        return this.pairs()
          .filter(({ key }) => key.startsWith(operation.key))
          .map((pair) => ({ type: 'kv', pair }))
      case 'kv.check': {
        const pair = this.#pairs.get(operation.key)
        return at(pair) === operation.index ? one(pair, bare) : 'failed'
      }
      case 'kv.session':
      case 'kv.lock':
      case 'kv.unlock':
        throw new Error(`${operation.type}: locks have a model of their own`)
      case 'kv.absent':
        return this.#pairs.has(operation.key) ? 'failed' : []
      case 'kv.set': {
        const { key, value, flags, cas } = operation
        const old = this.#pairs.get(key)
        if (cas !== undefined && cas !== (at(old) ?? 0)) return 'failed'
        const createIndex = old?.createIndex ?? index
        const pair =
          old?.value === value && old.flags === flags
            ? old
            : { key, value, flags, lockIndex: 0, createIndex, modifyIndex: index }
        this.#pairs.set(key, pair)
        return [bare(pair)]
      }
      case 'kv.delete': {
        const { key, cas, recurse } = operation
        if (cas !== undefined && this.#pairs.has(key) && cas !== at(this.#pairs.get(key))) return 'failed'
        for (const each of [...this.#pairs.keys()]) {
          if (each === key || (recurse === true && each.startsWith(key))) this.#pairs.delete(each)
        }
        return []
      }
      case 'node.get': {
        const { name, id } = operation
        const found = id === '' ? this.#catalog.node(name)?.node : this.#catalog.nodes().find((each) => each.id === id)
        return one(found, (node) => ({ type: 'node', node }))
      }
      case 'node.set': {
        const { node, cas } = operation
        if (cas !== undefined && cas !== (at(this.#catalog.node(node.name)?.node) ?? 0)) return 'failed'
        if (!this.#catalog.apply(index, { type: 'catalog.register', node, checks: [] })) return 'failed'
        return one(this.#catalog.node(node.name)?.node, (row) => ({ type: 'node', node: row }))
      }
      case 'node.delete': {
        const { node, cas } = operation
        if (cas !== undefined && cas !== at(this.#catalog.node(node)?.node)) return 'failed'
        this.#catalog.apply(index, { type: 'catalog.deregister', node })
        return []
      }
      case 'service.get':
        return one(this.#service(operation.node, operation.id), (service) => ({ type: 'service', service }))
      case 'service.set': {
        const { node, service, cas } = operation
        if (cas !== undefined && cas !== (at(this.#service(node, service.id)) ?? 0)) return 'failed'
        if (!this.#register(index, node, { service, checks: [] })) return 'failed'
        return one(this.#service(node, service.id), (row) => ({ type: 'service', service: row }))
      }
      case 'service.delete': {
        const { node, id, cas } = operation
        if (cas !== undefined && cas !== at(this.#service(node, id))) return 'failed'
        this.#catalog.apply(index, { type: 'catalog.deregister', node, serviceId: id })
        return []
      }
      case 'check.get':
        return one(this.#check(operation.node, operation.id), (check) => ({ type: 'check', check }))
      case 'check.set': {
        const { node, check, cas } = operation
        if (cas !== undefined && cas !== (at(this.#check(node, check.id)) ?? 0)) return 'failed'
        if (!this.#register(index, node, { checks: [check] })) return 'failed'
        return one(this.#check(node, check.id), (row) => ({ type: 'check', check: row }))
      }
      case 'check.delete': {
        const { node, id, cas } = operation
        if (cas !== undefined && cas !== at(this.#check(node, id))) return 'failed'
        this.#catalog.apply(index, { type: 'catalog.deregister', node, checkId: id })
        return []
      }
    }
  }

  #register(
    index: number,
    name: string,
    what: Pick<Extract<Parameters<CatalogModel['apply']>[1], { type: 'catalog.register' }>, 'service' | 'checks'>,
  ): boolean {
    const node = this.#catalog.node(name)?.node
    if (node === undefined) return false
    return this.#catalog.apply(index, { type: 'catalog.register', node, skipNodeUpdate: true, ...what })
  }

  #service(node: string, id: string) {
    return this.#catalog.node(node)?.services.find((each) => each.id === id)
  }

  #check(node: string, id: string) {
    return this.#catalog.node(node)?.checks.find((each) => each.id === id)
  }
}

function one<Row>(row: Row | undefined, result: (row: Row) => OperationResult): Outcome {
  return row === undefined ? 'failed' : [result(row)]
}

function bare(pair: KvPair): OperationResult {
  return { type: 'kv', pair: { ...pair, value: '' } }
}
