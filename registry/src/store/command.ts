/** What a log entry may say, and what applying it answers. A command is a complete decision: apply never asks the world. */
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import { BadRequest } from '../errors.ts'
import type {
  Base64,
  CheckId,
  CheckResult,
  Index,
  NodeDefinition,
  NodeName,
  ServiceDefinition,
  ServiceId,
} from '../model.ts'
import type { From } from './origins.ts'

export type Command =
  /** `cas` 0: only if the key does not exist; above 0: only if its modifyIndex is that. */
  | { type: 'kv.set'; key: string; value: Base64; flags: string; cas?: Index }
  /** `recurse`: every key that begins with `key`; not together with `cas`. */
  | { type: 'kv.delete'; key: string; cas?: Index; recurse?: boolean }
  /** Node, then service, then checks; a check's serviceName and serviceTags are looked up here. */
  | {
      type: 'catalog.register'
      node: NodeDefinition
      service?: ServiceDefinition
      checks: CheckResult[]
      /** The node row is only made when absent, never changed (an agent that is a guest on someone else's node). */
      skipNodeUpdate?: boolean
    }
  /** Without serviceId and checkId: the whole node. A deregistration of what is not there changes nothing and is fine. */
  | { type: 'catalog.deregister'; node: NodeName; serviceId?: ServiceId; checkId?: CheckId }
  /** Forget that keys up to this index were deleted. */
  | { type: 'tombstones.reap'; upTo: Index }

/** `value` false: a check-and-set that did not match. `error`: the command was refused by the state; nothing changed. */
export type Result = { value: boolean } | { error: string }

/** MessagePack, plain maps. Texts become well-formed Unicode on the way: a lone surrogate is U+FFFD on every replica. */
export function encodeCommand(command: Command, from?: From): Uint8Array {
  return pack(from === undefined ? command : { ...command, from })
}

/**
 * Checks everything `apply` relies on, so that a leader can vet what another agent forwards before it is in the log.
 * @throws BadRequest when the bytes are no command this version knows.
 */
export function decodeCommand(data: Uint8Array): Command & { from?: From } {
  let command: unknown
  try {
    command = unpack(data)
  } catch (cause) {
    throw new BadRequest('malformed command: not MessagePack', { cause })
  }
  const fields = record(command, 'command')
  const shape = shapes[text(fields.type, 'type') as Command['type']]
  if (shape === undefined || !Object.hasOwn(shapes, fields.type as string)) {
    throw new BadRequest(
      `unknown command: expected type to be one of ${Object.keys(shapes).join(', ')}, received ${show(fields.type)}`,
    )
  }
  shape(fields)
  if (fields.from !== undefined) sender(fields.from)
  return command as Command & { from?: From }
}

type Fields = Record<string, unknown>

const shapes: Readonly<Record<Command['type'], (command: Fields) => void>> = {
  'kv.set': (command) => {
    text(command.key, 'key')
    text(command.value, 'value')
    if (!/^[0-9]{1,20}$/.test(text(command.flags, 'flags'))) throw wrong('flags', 'decimal digits', command.flags)
    if (command.cas !== undefined) index(command.cas, 'cas')
  },
  'kv.delete': (command) => {
    text(command.key, 'key')
    if (command.cas !== undefined) index(command.cas, 'cas')
    if (command.recurse !== undefined) yesOrNo(command.recurse, 'recurse')
    if (command.recurse === true && command.cas !== undefined) throw wrong('cas', 'absent with recurse', command.cas)
  },
  'catalog.register': (command) => {
    const node = record(command.node, 'node')
    for (const field of ['id', 'name', 'address', 'datacenter']) text(node[field], `node.${field}`)
    texts(node.taggedAddresses, 'node.taggedAddresses')
    texts(node.meta, 'node.meta')
    if (command.service !== undefined) service(record(command.service, 'service'))
    for (const each of list(command.checks, 'checks')) check(record(each, 'check'))
    if (command.skipNodeUpdate !== undefined) yesOrNo(command.skipNodeUpdate, 'skipNodeUpdate')
  },
  'catalog.deregister': (command) => {
    text(command.node, 'node')
    if (command.serviceId !== undefined) text(command.serviceId, 'serviceId')
    if (command.checkId !== undefined) text(command.checkId, 'checkId')
  },
  'tombstones.reap': (command) => {
    index(command.upTo, 'upTo')
  },
}

function sender(value: unknown): void {
  const [origin, sequence, settled, ...rest] = list(value, 'from')
  const numbers = Number.isSafeInteger(sequence) && Number.isSafeInteger(settled)
  const order = (settled as number) >= 0 && (sequence as number) > (settled as number)
  if (typeof origin !== 'string' || origin === '' || !numbers || !order || rest.length > 0) {
    throw wrong('from', 'an origin, its sequence and a lower settled one', value)
  }
}

function service(fields: Fields): void {
  for (const field of ['id', 'name', 'address']) text(fields[field], `service.${field}`)
  for (const tag of list(fields.tags, 'service.tags')) text(tag, 'tag')
  number(fields.port, 'service.port')
  if (fields.taggedAddresses !== null) {
    for (const each of Object.values(record(fields.taggedAddresses, 'service.taggedAddresses'))) {
      const address = record(each, 'service.taggedAddresses')
      text(address.address, 'service.taggedAddresses.address')
      number(address.port, 'service.taggedAddresses.port')
    }
  }
  texts(fields.meta, 'service.meta')
  const weights = record(fields.weights, 'service.weights')
  number(weights.passing, 'service.weights.passing')
  number(weights.warning, 'service.weights.warning')
  yesOrNo(fields.enableTagOverride, 'service.enableTagOverride')
}

function check(fields: Fields): void {
  for (const field of ['id', 'name', 'status', 'notes', 'output', 'serviceId', 'type']) {
    text(fields[field], `check.${field}`)
  }
  json(record(fields.definition, 'check.definition'), 'check.definition', 0)
}

function record(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) {
    throw wrong(what, 'a record', value)
  }
  return value as Fields
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw wrong(what, 'a list', value)
  return value
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw wrong(what, 'a text', value)
  return value
}

/** A record of texts, or null. */
function texts(value: unknown, what: string): void {
  if (value !== null) for (const each of Object.values(record(value, what))) text(each, what)
}

function number(value: unknown, what: string): void {
  if (!Number.isSafeInteger(value)) throw wrong(what, 'a whole number', value)
}

function index(value: unknown, what: string): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw wrong(what, 'an index', value)
}

function yesOrNo(value: unknown, what: string): void {
  if (typeof value !== 'boolean') throw wrong(what, 'true or false', value)
}

/** Plain values all the way down; the depth is bounded because the bytes may come from anywhere. */
function json(value: unknown, what: string, depth: number): void {
  if (depth > 32) throw new BadRequest(`malformed command: ${what} is nested too deeply`)
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) return
  const parts = Array.isArray(value) ? value : Object.values(record(value, what))
  for (const part of parts) json(part, what, depth + 1)
}

function wrong(what: string, expected: string, received: unknown): BadRequest {
  return new BadRequest(`malformed command: expected ${what} to be ${expected}, received ${show(received)}`)
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value)
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'a record'
  return String(value)
}
