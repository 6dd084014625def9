/**
 * `/v1/txn`: up to 64 operations on keys and the catalog, all of them or none. Those that only read are answered as any
 * read is, without the log.
 */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest } from '../errors.ts'
import type { Applied } from '../store/command.ts'
import type { Operation, OperationResult, ReadOperation } from '../store/operation.ts'
import { readBase64 } from './base64.ts'
import { readBody } from './body.ts'
import { badNodeId, catalogCheck, catalogService } from './catalog.ts'
import { decodeFailed, Fields, parseJsonExactly } from './decode.ts'
import { type Answer, type Asked, type Endpoint, type HttpOptions, json, text } from './endpoint.ts'
import { consulPair } from './kv.ts'
import { freshEnough, localOnly, readOptions, told } from './query.ts'
import { isAnyAddress } from './registration.ts'
import { consulCheck, consulNode, nodeService } from './shapes.ts'

/** Consul's limit. */
const operationsMax = 64

export function txnEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  return [{ path: '/v1/txn', verbs: { PUT: (asked) => txn(surface, options, asked) } }]
}

async function txn(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const bytes = await readBody(asked.request, 'txn_max_req_len')
  const given = decoding(() => listOf(bytes))
  if (given.length > operationsMax) {
    return text(413, `Transaction contains too many operations (${given.length} > ${operationsMax})`)
  }
  const read = decoding(() => given.flatMap((each) => operationOf(each, surface.identity.datacenter)))
  // What is wrong whatever the state is: the state is not asked.
  const wrong = read.flatMap((each, operation) => ('wrong' in each ? [{ operation, what: each.wrong }] : []))
  const operations = read.flatMap((each) => ('wrong' in each ? [] : [each]))
  const refused: Applied | undefined = wrong.length === 0 ? undefined : { value: false, errors: wrong }
  if (read.every((each) => ('wrong' in each ? each.reads : readsOnly(each)))) {
    return answerReads(surface, options, asked, operations as ReadOperation[], refused)
  }
  localOnly(surface, asked.query.get('dc') ?? '')
  const done = refused ?? (await surface.write({ type: 'txn', operations }))
  return json(asked, shapeOf(done), undefined, done.value ? 200 : 409)
}

/** Never waits, and has no index to wait for. */
async function answerReads(
  surface: AgentSurface,
  options: HttpOptions,
  asked: Asked,
  operations: readonly ReadOperation[],
  refused: Applied | undefined,
): Promise<Answer> {
  const read = readOptions(asked, options)
  localOnly(surface, read.dc)
  const fresh = await freshEnough(surface, { ...read, cached: false })
  const { view, knownLeader } = fresh
  const lastContact = told(fresh)
  const done = refused ?? view.transaction(operations)
  const body = {
    ...shapeOf(done),
    Index: 0,
    // A duration of Go: nanoseconds.
    LastContact: Math.round(lastContact * 1e6),
    KnownLeader: knownLeader,
    ConsistencyLevel: '',
  }
  const headers = {
    'X-Consul-Knownleader': String(knownLeader),
    'X-Consul-Lastcontact': String(Math.round(lastContact)),
  }
  return json(asked, body, headers, done.value ? 200 : 409)
}

function shapeOf({ results, errors }: Applied) {
  if (errors !== undefined) {
    return { Results: null, Errors: errors.map(({ operation, what }) => ({ OpIndex: operation, What: what })) }
  }
  return { Results: (results ?? []).map(consulResult), Errors: null }
}

function consulResult(result: OperationResult) {
  switch (result.type) {
    case 'kv':
      return { KV: consulPair(result.pair) }
    case 'node':
      return { Node: consulNode(result.node) }
    case 'service': {
      const shape = nodeService(result.service)
      return { Service: { ...shape, Tags: orNull(shape.Tags) } }
    }
    case 'check': {
      const shape = consulCheck(result.check)
      return { Check: { ...shape, ServiceTags: orNull(shape.ServiceTags) } }
    }
  }
}

/** No tags are null here, unlike in the catalog's own answers. */
function orNull(tags: string[]): string[] | null {
  return tags.length === 0 ? null : tags
}

function readsOnly({ type }: Operation): boolean {
  return (
    type.endsWith('.get') || type === 'kv.tree' || type === 'kv.check' || type === 'kv.absent' || type === 'kv.session'
  )
}

/** @throws BadRequest in the words of this endpoint */
function decoding<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error
    throw new BadRequest(error.message.replace(/^Request decode failed:/, 'Failed to parse body:'), { cause: error })
  }
}

function listOf(bytes: Uint8Array): unknown[] {
  const value = parseJsonExactly(bytes)
  if (value === null) return []
  if (Array.isArray(value)) return value
  const kind = typeof value === 'boolean' ? 'bool' : typeof value
  throw decodeFailed(`json: cannot unmarshal ${kind} into Go value of type api.TxnOps`)
}

/** `reads`: whether Consul would have answered it as a read. */
type Wrong = { wrong: string; reads: boolean }

const kinds = ['kv', 'node', 'service', 'check'] as const

/** None when the operation is empty. A kind that is not known is refused: the transaction would do less than was asked. */
function operationOf(given: unknown, datacenter: string): [] | [Operation | Wrong] {
  const fields = new Fields(given, 'api.TxnOp')
  const names = given === null ? [] : Object.keys(given as object)
  const unknown = names.find((name) => !kinds.includes(name.toLowerCase() as (typeof kinds)[number]))
  if (unknown !== undefined) throw decodeFailed(`json: unknown field "${unknown}"`)
  // One alone needs no look at the others, and is the usual case.
  const named = (names.length === 1 ? [names[0]!.toLowerCase() as (typeof kinds)[number]] : kinds).filter((kind) =>
    fields.has(kind),
  )
  if (named.length > 1) throw decodeFailed(`expected one kind in an operation, received ${named.join(' and ')}`)
  switch (named[0]) {
    case undefined:
      return []
    case 'kv':
      return [kvOperation(fields.object('KV', 'KVTxnOp.KV'))]
    case 'node':
      return [nodeOperation(fields.object('Node', 'NodeTxnOp.Node'), datacenter)]
    case 'service':
      return [serviceOperation(fields.object('Service', 'ServiceTxnOp.Service'))]
    default:
      return [checkOperation(fields.object('Check', 'CheckTxnOp.Check'))]
  }
}

function kvOperation(fields: Fields): Operation | Wrong {
  const verb = fields.text('Verb')
  const key = fields.text('Key')
  const value = bytesOf(fields)
  const flags = String(fields.unsigned('Flags'))
  const index = indexOf(fields, 'Index')
  const session = fields.text('Session')
  const writes = ['set', 'cas', 'lock', 'unlock', 'delete', 'delete-tree', 'delete-cas'].includes(verb)
  if (key === '' && verb !== 'delete-tree') return { wrong: 'Must provide key', reads: !writes }
  switch (verb) {
    case 'set':
      return { type: 'kv.set', key, value, flags }
    case 'cas':
      return { type: 'kv.set', key, value, flags, cas: index }
    case 'lock':
      return { type: 'kv.lock', key, value, flags, session }
    case 'unlock':
      return { type: 'kv.unlock', key, value, flags, session }
    case 'check-session':
      return { type: 'kv.session', key, session }
    case 'get':
      return { type: 'kv.get', key }
    case 'get-tree':
      return { type: 'kv.tree', key }
    case 'check-index':
      return { type: 'kv.check', key, index }
    case 'check-not-exists':
      return { type: 'kv.absent', key }
    case 'delete':
      return { type: 'kv.delete', key }
    case 'delete-tree':
      return { type: 'kv.delete', key, recurse: true }
    case 'delete-cas':
      return { type: 'kv.delete', key, cas: index }
    default:
      return { wrong: `unknown KV verb ${JSON.stringify(verb)}`, reads: true }
  }
}

function nodeOperation(fields: Fields, datacenter: string): Operation | Wrong {
  const verb = fields.text('Verb')
  const given = fields.object('Node', 'Node')
  const name = given.text('Node')
  const id = given.text('ID').toLowerCase()
  if (verb === 'get') return { type: 'node.get', name, id }
  const node = {
    id,
    name,
    address: given.text('Address'),
    datacenter,
    taggedAddresses: given.textMap('TaggedAddresses'),
    meta: given.textMap('Meta'),
  }
  const cas = indexOf(given, 'ModifyIndex')
  const bad = name === '' ? 'Must provide node' : badNodeId(id)
  if (bad !== undefined) return { wrong: bad, reads: false }
  switch (verb) {
    case 'set':
      return { type: 'node.set', node }
    case 'cas':
      return { type: 'node.set', node, cas }
    case 'delete':
      return { type: 'node.delete', node: name }
    case 'delete-cas':
      return { type: 'node.delete', node: name, cas }
    default:
      return { wrong: `unknown Node verb ${JSON.stringify(verb)}`, reads: false }
  }
}

function serviceOperation(fields: Fields): Operation | Wrong {
  const verb = fields.text('Verb')
  const node = fields.text('Node')
  const given = fields.object('Service', 'AgentService')
  if (verb === 'get') return { type: 'service.get', node, id: given.text('ID') }
  const service = catalogService(given)
  const cas = indexOf(given, 'ModifyIndex')
  const { id } = service
  const bad =
    id !== '' && service.name === ''
      ? 'Must provide service name with ID'
      : isAnyAddress(service.address)
        ? 'Invalid service address'
        : undefined
  if (bad !== undefined) return { wrong: bad, reads: false }
  switch (verb) {
    case 'set':
      return { type: 'service.set', node, service }
    case 'cas':
      return { type: 'service.set', node, service, cas }
    case 'delete':
      return { type: 'service.delete', node, id }
    case 'delete-cas':
      return { type: 'service.delete', node, id, cas }
    default:
      return { wrong: `unknown Service verb ${JSON.stringify(verb)}`, reads: false }
  }
}

function checkOperation(fields: Fields): Operation | Wrong {
  const verb = fields.text('Verb')
  const given = fields.object('Check', 'HealthCheck')
  const node = given.text('Node')
  if (verb === 'get') return { type: 'check.get', node, id: given.text('CheckID') }
  // Unlike a registration, the definition does not name the type.
  const check = { ...catalogCheck(given), type: given.text('Type') }
  const cas = indexOf(given, 'ModifyIndex')
  switch (verb) {
    case 'set':
      return { type: 'check.set', node, check }
    case 'cas':
      return { type: 'check.set', node, check, cas }
    case 'delete':
      return { type: 'check.delete', node, id: check.id }
    case 'delete-cas':
      return { type: 'check.delete', node, id: check.id, cas }
    default:
      return { wrong: `unknown Check verb ${JSON.stringify(verb)}`, reads: false }
  }
}

function bytesOf(fields: Fields): string {
  const read = readBase64(fields.text('Value'))
  if ('illegal' in read) throw decodeFailed(`illegal base64 data at input byte ${read.illegal}`)
  return read.value
}

/** An index above 2^53 is none this cluster ever gave: any that it will not give says the same. */
function indexOf(fields: Fields, name: string): number {
  return Math.min(Number(fields.unsigned(name)), Number.MAX_SAFE_INTEGER)
}
