/**
 * Transactions: all operations take effect, at one index, or none does. They run one after the other on the state itself,
 * so each sees those before it. Where one may fail after another has written, copy-on-write clones of what is written to
 * are kept from before, and put back; a transaction of plain sets and deletes costs no more than they do. Error texts are
 * those of Consul 1.8, which goes on after a failure and names all of them.
 */
import type { Check, Index, KvPair, Node, NodeName, Service } from '../model.ts'
import type { Catalog } from './catalog.ts'
import type { Applied, Command, Result } from './command.ts'
import type { Coordinates } from './coordinates.ts'
import type { Kv } from './kv.ts'
import type { Operation, OperationError, OperationResult, ReadOperation } from './operation.ts'
import type { Queries } from './queries.ts'
import { idMeant, missingSession, type Sessions } from './sessions.ts'

/**
 * Results travel to the agent that asked and are kept until it has them: how many characters they may have when the
 * transaction went through the log. Well below the longest frame, whatever the characters are.
 */
export const resultCharactersMax = 2 * 1024 * 1024

type Registration = Extract<Command, { type: 'catalog.register' }>

export interface Written {
  readonly kv: Kv
  readonly sessions: Sessions
  readonly catalog: Catalog
  readonly coordinates: Coordinates
  readonly queries: Queries
}

/** The watchers of what was written are marked also when it comes to nothing: forget them when `value` is false. */
export function transact(state: Written, index: Index, operations: readonly Operation[]): Applied {
  const delayed = delays(state, operations)
  if (delayed.length > 0) return { value: false, errors: delayed }
  const restore = savepoint(state, operations)
  const answered = run(operations, (operation) => perform(state, index, operation), resultCharactersMax)
  if (!answered.value) for (const back of restore) back()
  return answered
}

/** Asked before anything else, and of the state from before, as Consul's leader does. */
function delays({ kv }: Written, operations: readonly Operation[]): OperationError[] {
  return operations.flatMap((each, operation) =>
    each.type === 'kv.lock' && kv.isDelayed(each.key)
      ? [{ operation, what: `failed to lock key ${quoted(each.key)} due to lock delay` }]
      : [],
  )
}

/** The same for reads alone: nothing changes, and the results have any size. */
export function answer(state: Written, operations: readonly ReadOperation[]): Applied {
  return run(operations, (operation) => read(state, operation), Number.POSITIVE_INFINITY)
}

/** What an operation answers, or why it failed. */
type Outcome = readonly OperationResult[] | string

function run<Kind>(operations: readonly Kind[], each: (operation: Kind) => Outcome, charactersMax: number): Applied {
  const results: OperationResult[] = []
  const errors: OperationError[] = []
  let characters = 0
  for (const [place, operation] of operations.entries()) {
    let outcome = each(operation)
    if (typeof outcome !== 'string' && charactersMax !== Number.POSITIVE_INFINITY) {
      for (const result of outcome) characters += sizeOf(result)
      if (characters > charactersMax) {
        outcome = `results of a transaction that writes must not exceed ${charactersMax} characters: read before, or apart`
        characters = 0
      }
    }
    if (typeof outcome === 'string') errors.push({ operation: place, what: outcome })
    else for (const result of outcome) results.push(result)
  }
  return errors.length === 0 ? { value: true, results } : { value: false, errors }
}

function sizeOf(result: OperationResult): number {
  return result.type === 'kv' ? pairSize(result.pair.key, result.pair.value) : JSON.stringify(result).length
}

function pairSize(key: string, value: string): number {
  return key.length + value.length + 100
}

/** What puts back the state of now; empty when nothing can fail, or nothing is written. */
function savepoint(state: Written, operations: readonly Operation[]): (() => void)[] {
  const { kv, sessions, catalog, coordinates, queries } = state
  if (operations.every(alwaysSucceeds) && echoed(operations) <= resultCharactersMax) return []
  // What is lost in the catalog may end a session, which lets go of keys and takes prepared queries along; and a node takes its coordinates along.
  if (operations.some(writesCatalog)) {
    return [catalog, sessions, kv, coordinates, queries].map((table) => table.savepoint())
  }
  return operations.some(writesKv) ? [kv.savepoint()] : []
}

type PlainWrite = Extract<Operation, { type: 'kv.set' | 'kv.delete' }>

/** By itself; all of them together may still answer too much. */
function alwaysSucceeds(operation: Operation): operation is PlainWrite {
  return (operation.type === 'kv.set' || operation.type === 'kv.delete') && operation.cas === undefined
}

/** Sets answer the pair without its value. */
function echoed(operations: readonly PlainWrite[]): number {
  return operations.reduce((sum, { type, key }) => sum + (type === 'kv.set' ? pairSize(key, '') : 0), 0)
}

function writesKv({ type }: Operation): boolean {
  return type === 'kv.set' || type === 'kv.delete' || type === 'kv.lock' || type === 'kv.unlock'
}

function writesCatalog({ type }: Operation): boolean {
  return !type.startsWith('kv.') && !type.endsWith('.get')
}

function read({ kv, catalog: { rows } }: Written, operation: ReadOperation): Outcome {
  switch (operation.type) {
    case 'kv.get': {
      const pair = kv.pair(operation.key).value
      return pair === undefined ? `key ${quoted(operation.key)} doesn't exist` : [{ type: 'kv', pair }]
    }
    case 'kv.tree':
      return kv.under(operation.key).value.map((pair) => ({ type: 'kv', pair }))
    case 'kv.check': {
      const { key, index } = operation
      const pair = kv.pair(key).value
      if (pair === undefined) return `failed to check index, key ${quoted(key)} doesn't exist`
      if (pair.modifyIndex === index) return [withoutValue(pair)]
      return `failed index check for key ${quoted(key)}, current modify index ${pair.modifyIndex} != ${index}`
    }
    case 'kv.session': {
      const { key, session } = operation
      const pair = kv.pair(key).value
      if (pair === undefined) return `failed to check session, key ${quoted(key)} doesn't exist`
      const holder = pair.session ?? ''
      if (holder === idMeant(session)) return [withoutValue(pair)]
      return `failed session check for key ${quoted(key)}, current session ${quoted(holder)} != ${quoted(session)}`
    }
    case 'kv.absent':
      return kv.pair(operation.key).value === undefined ? [] : `key ${quoted(operation.key)} exists`
    case 'node.get': {
      const { name, id } = operation
      const node = id === '' ? rows.node(name) : rows.nodeById(id)
      return node === undefined ? `node ${quoted(name)} doesn't exist` : [{ type: 'node', node }]
    }
    case 'service.get': {
      const service = rows.service(operation.node, operation.id)
      if (service !== undefined) return [{ type: 'service', service }]
      return `service ${quoted(operation.id)} on node ${quoted(operation.node)} doesn't exist`
    }
    case 'check.get': {
      const check = rows.check(operation.node, operation.id)
      if (check !== undefined) return [{ type: 'check', check }]
      return `check ${quoted(operation.id)} on node ${quoted(operation.node)} doesn't exist`
    }
  }
}

function perform(state: Written, index: Index, operation: Operation): Outcome {
  const { kv, catalog } = state
  const { rows } = catalog
  switch (operation.type) {
    case 'kv.set': {
      const done = kv.set(index, operation)
      if (!succeeded(done)) return `failed to set key ${quoted(operation.key)}, index is stale`
      return [withoutValue(kv.pair(operation.key).value as KvPair)]
    }
    case 'kv.lock': {
      const { key, session } = operation
      const holder = state.sessions.holderNamed(session)
      if ('error' in holder) return holder.error
      if (!succeeded(kv.lock(index, operation, holder.id))) {
        return `failed to lock key ${quoted(key)}, lock is already held`
      }
      return [withoutValue(kv.pair(key).value as KvPair)]
    }
    case 'kv.unlock': {
      const { key, session } = operation
      if (session === '') return missingSession
      if (!succeeded(kv.unlock(index, operation, idMeant(session)))) {
        return `failed to unlock key ${quoted(key)}, lock isn't held, or is held by another session`
      }
      return [withoutValue(kv.pair(key).value as KvPair)]
    }
    case 'kv.delete': {
      const { key, cas, recurse } = operation
      const done = recurse === true ? kv.deleteUnder(index, key) : kv.delete(index, key, cas)
      return succeeded(done) ? [] : `failed to delete key ${quoted(key)}, index is stale`
    }
    case 'node.set': {
      const { node, cas } = operation
      if (staleSet(cas, rows.node(node.name))) return `failed to set node ${quoted(node.name)}, index is stale`
      const done = catalog.register(index, { type: 'catalog.register', node, checks: [] })
      if ('error' in done) return reasonOf(done.error)
      return [{ type: 'node', node: rows.node(node.name) as Node }]
    }
    case 'node.delete': {
      const { node, cas } = operation
      if (staleDelete(cas, rows.node(node))) return `failed to delete node ${quoted(node)}, index is stale`
      catalog.deregister(index, { type: 'catalog.deregister', node })
      return []
    }
    case 'service.set': {
      const { service, cas } = operation
      if (staleSet(cas, rows.service(operation.node, service.id))) {
        return `failed to set service ${quoted(service.id)} on node ${quoted(operation.node)}, index is stale`
      }
      const failed = registerOn(catalog, index, operation.node, { service, checks: [] })
      return failed ?? [{ type: 'service', service: rows.service(operation.node, service.id) as Service }]
    }
    case 'service.delete': {
      const { node, id, cas } = operation
      if (staleDelete(cas, rows.service(node, id))) {
        return `failed to delete service ${quoted(id)} on node ${quoted(node)}, index is stale`
      }
      catalog.deregister(index, { type: 'catalog.deregister', node, serviceId: id })
      return []
    }
    case 'check.set': {
      const { check, cas } = operation
      if (staleSet(cas, rows.check(operation.node, check.id))) {
        return `failed to set check ${quoted(check.id)} on node ${quoted(operation.node)}, index is stale`
      }
      const failed = registerOn(catalog, index, operation.node, { checks: [check] })
      return failed ?? [{ type: 'check', check: rows.check(operation.node, check.id) as Check }]
    }
    case 'check.delete': {
      const { node, id, cas } = operation
      if (staleDelete(cas, rows.check(node, id))) {
        return `failed to delete check ${quoted(id)} on node ${quoted(node)}, index is stale`
      }
      catalog.deregister(index, { type: 'catalog.deregister', node, checkId: id })
      return []
    }
    default:
      return read(state, operation)
  }
}

/** On a node that is there, and is not changed by it. Undefined: done. Otherwise why not. */
function registerOn(
  catalog: Catalog,
  index: Index,
  name: NodeName,
  what: Pick<Registration, 'service' | 'checks'>,
): string | undefined {
  const node = catalog.rows.node(name)
  if (node === undefined) return 'Missing node registration'
  const done = catalog.register(index, { type: 'catalog.register', node, skipNodeUpdate: true, ...what })
  return 'error' in done ? reasonOf(done.error) : undefined
}

function succeeded(result: Result): boolean {
  return 'value' in result && result.value
}

/** The same as in `Kv.set`: 0 is the index of a row that is not there. */
function staleSet(cas: Index | undefined, row: { modifyIndex: Index } | undefined): boolean {
  return cas !== undefined && cas !== (row?.modifyIndex ?? 0)
}

/** Unlike for a key, what is not there has no index that would do. */
function staleDelete(cas: Index | undefined, row: { modifyIndex: Index } | undefined): boolean {
  return cas !== undefined && cas !== row?.modifyIndex
}

function withoutValue(pair: KvPair): OperationResult {
  return { type: 'kv', pair: { ...pair, value: '' } }
}

/** The catalog says what it was inserting when it is asked to register; here the operation is known. */
function reasonOf(error: string): string {
  return error
    .replace(/^failed inserting \w+: /, '')
    .replace(/^(Missing service registration|.*: object missing primary index) on node .*$/, '$1')
}

function quoted(name: string): string {
  return JSON.stringify(name)
}
