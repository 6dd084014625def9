/** What a transaction is made of: reads, conditions and writes, each with all it needs, and what they answer. */
import { BadRequest } from '../errors.ts'
import type {
  Base64,
  Check,
  CheckId,
  CheckResult,
  Index,
  KvPair,
  Node,
  NodeDefinition,
  NodeId,
  NodeName,
  Service,
  ServiceDefinition,
  ServiceId,
} from '../model.ts'
import { check, type Fields, index, node, record, service, show, text, wrong, yesOrNo } from './fields.ts'

/** Changes nothing: may be answered by any store that is fresh enough, without the log. */
export type ReadOperation =
  /** Fails when there is no such key, as do the other reads of one row. */
  | { type: 'kv.get'; key: string }
  /** Every key that begins with `key`; none is fine. */
  | { type: 'kv.tree'; key: string }
  /** Fails unless the key's modifyIndex is `index`. */
  | { type: 'kv.check'; key: string; index: Index }
  /** Fails when the key is there. */
  | { type: 'kv.absent'; key: string }
  /** Fails unless the session holds the key; '': unless nobody does. */
  | { type: 'kv.session'; key: string; session: string }
  /** By id when there is one, else by name. */
  | { type: 'node.get'; name: NodeName; id: NodeId }
  | { type: 'service.get'; node: NodeName; id: ServiceId }
  | { type: 'check.get'; node: NodeName; id: CheckId }

/**
 * With `cas` it fails unless the row's modifyIndex is that; 0 for a set: unless there is no row. A delete of what is not
 * there is fine; with `cas` it fails, except for a key (Consul 1.8).
 */
export type WriteOperation =
  | { type: 'kv.set'; key: string; value: Base64; flags: string; cas?: Index }
  | { type: 'kv.delete'; key: string; cas?: Index; recurse?: boolean }
  /** Fails when the key is held by another session, or delayed. */
  | { type: 'kv.lock'; key: string; value: Base64; flags: string; session: string }
  /** Fails unless the session holds the key. */
  | { type: 'kv.unlock'; key: string; value: Base64; flags: string; session: string }
  | { type: 'node.set'; node: NodeDefinition; cas?: Index }
  | { type: 'node.delete'; node: NodeName; cas?: Index }
  /** Fails when the node is not registered. */
  | { type: 'service.set'; node: NodeName; service: ServiceDefinition; cas?: Index }
  | { type: 'service.delete'; node: NodeName; id: ServiceId; cas?: Index }
  /** Fails when the node, or the service it names, is not registered. */
  | { type: 'check.set'; node: NodeName; check: CheckResult; cas?: Index }
  | { type: 'check.delete'; node: NodeName; id: CheckId; cas?: Index }

export type Operation = ReadOperation | WriteOperation

/** A row as it was when its operation ran. Only reads of keys tell values; after a write or a condition it is ''. */
export type OperationResult =
  | { type: 'kv'; pair: KvPair }
  | { type: 'node'; node: Node }
  | { type: 'service'; service: Service }
  | { type: 'check'; check: Check }

export interface OperationError {
  /** Its place among the operations, from 0. */
  operation: number
  /** Why it failed, in Consul's words. */
  what: string
}

/** Checks everything `apply` relies on. @throws BadRequest */
export function operation(fields: Fields): void {
  const type = text(fields.type, 'type') as Operation['type']
  if (!Object.hasOwn(shapes, type)) {
    const known = Object.keys(shapes).join(', ')
    throw new BadRequest(`unknown operation: expected type to be one of ${known}, received ${show(type)}`)
  }
  shapes[type](fields)
  if (fields.cas !== undefined) index(fields.cas, 'cas')
}

const rowOfNode = (fields: Fields): void => {
  text(fields.node, 'node')
  text(fields.id, 'id')
}

const pair = ({ key, value, flags }: Fields): void => {
  text(key, 'key')
  text(value, 'value')
  if (!/^[0-9]{1,20}$/.test(text(flags, 'flags'))) throw wrong('flags', 'decimal digits', flags)
}

const heldPair = (fields: Fields): void => {
  pair(fields)
  text(fields.session, 'session')
}

const shapes: Readonly<Record<Operation['type'], (operation: Fields) => void>> = {
  'kv.get': ({ key }) => void text(key, 'key'),
  'kv.tree': ({ key }) => void text(key, 'key'),
  'kv.check': (fields) => {
    text(fields.key, 'key')
    index(fields.index, 'index')
  },
  'kv.absent': ({ key }) => void text(key, 'key'),
  'kv.session': (fields) => {
    text(fields.key, 'key')
    text(fields.session, 'session')
  },
  'kv.set': pair,
  'kv.lock': heldPair,
  'kv.unlock': heldPair,
  'kv.delete': ({ key, cas, recurse }) => {
    text(key, 'key')
    if (recurse !== undefined) yesOrNo(recurse, 'recurse')
    if (recurse === true && cas !== undefined) throw wrong('cas', 'absent with recurse', cas)
  },
  'node.get': ({ name, id }) => {
    text(name, 'name')
    text(id, 'id')
  },
  'node.set': (fields) => node(record(fields.node, 'node')),
  'node.delete': (fields) => void text(fields.node, 'node'),
  'service.get': rowOfNode,
  'service.set': (fields) => {
    text(fields.node, 'node')
    service(record(fields.service, 'service'))
  },
  'service.delete': rowOfNode,
  'check.get': rowOfNode,
  'check.set': (fields) => {
    text(fields.node, 'node')
    check(record(fields.check, 'check'))
  },
  'check.delete': rowOfNode,
}
