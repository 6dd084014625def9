/** What a log entry may say, and what applying it answers. A command is a complete decision: apply never asks the world. */
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import { BadRequest } from '../errors.ts'
import type {
  AutopilotConfiguration,
  Base64,
  CheckId,
  CheckResult,
  Index,
  NodeCoordinate,
  NodeDefinition,
  NodeName,
  PreparedQueryDefinition,
  ServiceDefinition,
  ServiceId,
  SessionDefinition,
  SessionId,
} from '../model.ts'
import {
  autopilot,
  check,
  type Fields,
  index,
  list,
  node,
  nodeCoordinate,
  preparedQuery,
  record,
  service,
  session,
  sessionIdentity,
  show,
  text,
  wrong,
  yesOrNo,
} from './fields.ts'
import { type Operation, type OperationError, type OperationResult, operation } from './operation.ts'
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
  /** All of them, at one index, or none. */
  | { type: 'txn'; operations: Operation[] }
  /** Forget that keys up to this index were deleted. */
  | { type: 'tombstones.reap'; upTo: Index }
  /** As kv.set, and holds the key for the session; `session` as the client wrote it. */
  | { type: 'kv.lock'; key: string; value: Base64; flags: string; session: string }
  /** As kv.set, and lets go of the key; false unless the session holds it. */
  | { type: 'kv.unlock'; key: string; value: Base64; flags: string; session: string }
  | { type: 'session.create'; session: SessionDefinition }
  /** It is not renewed any more, or was given up by its owner; one that is not there is fine. */
  | { type: 'session.destroy'; id: SessionId }
  /** The same, by the leader: nobody renewed it in its time. */
  | { type: 'session.expire'; id: SessionId }
  /** `cas`: only if it was last set at that index; `initial`: only if it never was. */
  | { type: 'autopilot.set'; configuration: AutopilotConfiguration; cas?: Index; initial?: boolean }
  /** The leader has waited long enough since these keys lost their holders; `index`: at which that was. */
  | { type: 'locks.undelay'; marks: { key: string; index: Index }[] }
  /** Where nodes said they are; of nodes that are not registered it is dropped. */
  | { type: 'coordinates.update'; updates: NodeCoordinate[] }
  /** `create`: there is none of that id yet; otherwise there is. */
  | { type: 'query.set'; query: PreparedQueryDefinition; create: boolean }
  /** Refused when it is not there. */
  | { type: 'query.delete'; id: string }

/** What became of a command that the state did not refuse. */
export interface Applied {
  /** False: a check-and-set that did not match, or a transaction that failed; nothing changed. */
  value: boolean
  /** Of a transaction that succeeded: what its operations answer, in their order. */
  results?: OperationResult[]
  /** Of one that failed: every operation that could not be. */
  errors?: OperationError[]
}

/** `error`: the command was refused by the state; nothing changed. */
export type Result = Applied | { error: string }

/** As it is in the log. */
export type SentCommand = Command & { from?: From }

/** MessagePack, plain maps. Texts become well-formed Unicode on the way: a lone surrogate is U+FFFD on every replica. */
export function encodeCommand(command: Command, from?: From): Uint8Array {
  return pack(from === undefined ? command : { ...command, from })
}

/**
 * Checks everything `apply` relies on, so that a leader can vet what another agent forwards before it is in the log.
 * @throws BadRequest when the bytes are no command this version knows.
 */
export function decodeCommand(data: Uint8Array): SentCommand {
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
  return command as SentCommand
}

/**
 * What `decodeCommand` would make of the bytes of `sent`, where that is known without reading them: of a set of a key, which
 * is most of what is written, every text that is whole comes back as it is. Undefined: they have to be read.
 * @throws BadRequest as `decodeCommand` does
 */
export function readsAs(sent: SentCommand): SentCommand | undefined {
  if (sent.type !== 'kv.set') return undefined
  operation(sent)
  if (sent.from !== undefined) sender(sent.from)
  return sent.key.isWellFormed() && sent.value.isWellFormed() ? sent : undefined
}

const shapes: Readonly<Record<Command['type'], (command: Fields) => void>> = {
  // The same alone as in a transaction.
  'kv.set': operation,
  'kv.delete': operation,
  'catalog.register': (command) => {
    node(record(command.node, 'node'))
    if (command.service !== undefined) service(record(command.service, 'service'))
    for (const each of list(command.checks, 'checks')) check(record(each, 'check'))
    if (command.skipNodeUpdate !== undefined) yesOrNo(command.skipNodeUpdate, 'skipNodeUpdate')
  },
  'catalog.deregister': (command) => {
    text(command.node, 'node')
    if (command.serviceId !== undefined) text(command.serviceId, 'serviceId')
    if (command.checkId !== undefined) text(command.checkId, 'checkId')
  },
  txn: (command) => {
    for (const each of list(command.operations, 'operations')) operation(record(each, 'operation'))
  },
  'tombstones.reap': (command) => {
    index(command.upTo, 'upTo')
  },
  'kv.lock': operation,
  'kv.unlock': operation,
  'session.create': (command) => session(record(command.session, 'session')),
  'session.destroy': (command) => sessionIdentity(command.id),
  'session.expire': (command) => sessionIdentity(command.id),
  'autopilot.set': (command) => {
    autopilot(record(command.configuration, 'configuration'))
    if (command.cas !== undefined) index(command.cas, 'cas')
    if (command.initial !== undefined) yesOrNo(command.initial, 'initial')
  },
  'locks.undelay': (command) => {
    for (const each of list(command.marks, 'marks')) {
      const mark = record(each, 'mark')
      text(mark.key, 'mark.key')
      index(mark.index, 'mark.index')
    }
  },
  'coordinates.update': (command) => {
    for (const each of list(command.updates, 'updates')) nodeCoordinate(record(each, 'update'))
  },
  'query.set': (command) => {
    preparedQuery(record(command.query, 'query'))
    yesOrNo(command.create, 'create')
  },
  'query.delete': (command) => {
    text(command.id, 'id')
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
