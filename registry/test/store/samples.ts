/** What store tests are made of: commands with sensible fields, arbitrary commands that collide often, and questions. */
import fc from 'fast-check'
import type {
  CheckResult,
  Coordinate,
  NodeDefinition,
  PreparedQueryDefinition,
  PreparedQueryService,
  ServiceDefinition,
  SessionDefinition,
} from '../../src/model.ts'
import type { Command, Result } from '../../src/store/command.ts'
import type { Operation } from '../../src/store/operation.ts'
import { encodeCommand, Store } from '../../src/store/store.ts'
import type { Indexed, Topic, View } from '../../src/store/view.ts'

export function node(name: string, changes: Partial<NodeDefinition> = {}): NodeDefinition {
  return { id: '', name, address: '10.0.0.1', datacenter: 'dc1', taggedAddresses: null, meta: null, ...changes }
}

export function service(name: string, changes: Partial<ServiceDefinition> = {}): ServiceDefinition {
  return {
    id: name,
    name,
    tags: [],
    address: '',
    port: 80,
    taggedAddresses: null,
    meta: null,
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
    ...changes,
  }
}

export function check(id: string, changes: Partial<CheckResult> = {}): CheckResult {
  return { id, name: id, status: 'passing', notes: '', output: '', serviceId: '', type: '', definition: {}, ...changes }
}

/** The first of them is number 0. */
export function sessionUuid(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`
}

/** On node n1, by no check, without lock-delay. */
export function session(number: number, changes: Partial<SessionDefinition> = {}): SessionDefinition {
  return {
    id: sessionUuid(number),
    name: '',
    node: 'n1',
    lockDelay: 0,
    behavior: 'release',
    ttl: '',
    lasts: 0,
    nodeChecks: [],
    serviceChecks: null,
    checks: null,
    ...changes,
  }
}

/** With an id made of its name, of the service web; what is given of its service is changed in it. */
export function preparedQuery(
  name: string,
  changes: Partial<Omit<PreparedQueryDefinition, 'service'>> & { service?: Partial<PreparedQueryService> } = {},
): PreparedQueryDefinition {
  const digits = Buffer.from(name).toString('hex').padEnd(12, '0').slice(-12)
  return {
    id: `00000000-0000-4000-9000-${digits}`,
    name,
    session: '',
    token: '',
    template: { type: '', regexp: '', removeEmptyTags: false },
    dns: { ttl: '' },
    ...changes,
    service: {
      service: 'web',
      failover: { nearest: 0, datacenters: null },
      onlyPassing: false,
      ignoreCheckIds: null,
      near: '',
      tags: null,
      nodeMeta: null,
      serviceMeta: null,
      connect: false,
      ...changes.service,
    },
  }
}

/** So far out on the first axis. */
export function coordinate(first: number): Coordinate {
  return { vector: [first, 0, 0, 0, 0, 0, 0, 0], error: 1.5, adjustment: 0, height: 0.00001 }
}

/** A store and the next index of its log. Begins at 2: the first entry of a log is no command. */
export class Log {
  readonly store = new Store()
  next = 2

  /** @returns the result; the command's index was `last`. */
  apply(command: Command): Result {
    return this.store.apply(this.next++, encodeCommand(command))
  }

  get last(): number {
    return this.next - 1
  }

  set(key: string, value: string, options: { flags?: string; cas?: number } = {}): Result {
    return this.apply({ type: 'kv.set', key, value, flags: '0', ...options })
  }

  delete(key: string, options: { cas?: number; recurse?: boolean } = {}): Result {
    return this.apply({ type: 'kv.delete', key, ...options })
  }

  register(on: NodeDefinition, what?: ServiceDefinition, ...checks: CheckResult[]): Result {
    return this.apply({
      type: 'catalog.register',
      node: on,
      checks,
      ...(what === undefined ? {} : { service: what }),
    })
  }

  begin(definition: SessionDefinition): Result {
    return this.apply({ type: 'session.create', session: definition })
  }

  end(id: string): Result {
    return this.apply({ type: 'session.destroy', id })
  }

  lock(key: string, by: string, value = ''): Result {
    return this.apply({ type: 'kv.lock', key, value, flags: '0', session: by })
  }

  unlock(key: string, by: string, value = ''): Result {
    return this.apply({ type: 'kv.unlock', key, value, flags: '0', session: by })
  }

  deregister(from: string, what: { serviceId?: string; checkId?: string } = {}): Result {
    return this.apply({ type: 'catalog.deregister', node: from, ...what })
  }
}

/** All the bytes of a snapshot. */
export function bytesOf(chunks: Iterable<Uint8Array>): Buffer {
  return Buffer.concat([...chunks])
}

const segment = fc.constantFrom('a', 'b', 'a/', 'b/', 'é', '\u{10000}', '\uffee')
const key = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(''))
const value = fc.constantFrom('', 'YQ==', 'Yg==')

export const kvCommand: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('kv.set' as const), key, value, flags: fc.constantFrom('0', '7') }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('kv.set' as const),
      key,
      value,
      flags: fc.constant('0'),
      cas: fc.integer({ min: 0, max: 30 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('kv.delete' as const), key }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('kv.delete' as const), key, cas: fc.integer({ min: 0, max: 30 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('kv.delete' as const),
      key: fc.oneof(fc.constant(''), key),
      recurse: fc.constant(true),
    }),
  },
)

export const reapCommand: fc.Arbitrary<Command> = fc.record({
  type: fc.constant('tombstones.reap' as const),
  upTo: fc.integer({ min: 0, max: 60 }),
})

const nodeName = fc.constantFrom('n1', 'n2', 'N1')
const nodeDefinition = fc
  .record({
    name: nodeName,
    id: fc.constantFrom('', '', 'id-1', 'id-2'),
    address: fc.constantFrom('10.0.0.1', '10.0.0.2'),
    meta: fc.constantFrom(null, {}, { a: 'b' }),
  })
  .map(({ name, ...rest }) => node(name, rest))
const serviceId = fc.constantFrom('web', 'Web', 'db')
const serviceDefinition = fc
  .record({
    id: serviceId,
    name: fc.constantFrom('web', 'WEB', 'db'),
    tags: fc.constantFrom<string[][]>([], ['a'], ['b', 'A']),
    port: fc.constantFrom(1, 2),
  })
  .map(({ name, ...rest }) => service(name, rest))
const checkResult = fc
  .record({
    id: fc.constantFrom('serfHealth', 'c1', 'c2'),
    status: fc.constantFrom('passing', 'warning', 'critical', ''),
    output: fc.constantFrom('', 'x'),
    serviceId: fc.constantFrom('', 'web', 'db'),
  })
  .map(({ id, ...rest }) => check(id, rest))

export const catalogCommand: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .record(
        {
          node: nodeDefinition,
          service: serviceDefinition,
          checks: fc.array(checkResult, { maxLength: 2 }),
          skipNodeUpdate: fc.boolean(),
        },
        { requiredKeys: ['node', 'checks'] },
      )
      .map((fields) => ({ type: 'catalog.register' as const, ...fields })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record(
        { node: nodeName, serviceId, checkId: fc.constantFrom('serfHealth', 'c1', 'c2') },
        { requiredKeys: ['node'] },
      )
      .map((fields) => ({ type: 'catalog.deregister' as const, ...fields })),
  },
)

const sessionNumber = fc.integer({ min: 0, max: 3 }).map(sessionUuid)
/** Whose locks are asked for: also of a session that never was, and of none. */
const sessionName = fc.oneof({ weight: 12, arbitrary: sessionNumber }, fc.constantFrom(sessionUuid(9), '', 'x'))
const lockable = fc.constantFrom('a', 'b', 'a/', 'a/b')
const sessionDefinition = fc
  .record({
    id: sessionNumber,
    node: nodeName,
    lockDelay: fc.constantFrom(0, 0, 15e9, -5),
    behavior: fc.constantFrom('release' as const, 'delete' as const),
    lasts: fc.constantFrom(0, 10_000),
    nodeChecks: fc.constantFrom<(string[] | null)[]>([], ['serfHealth'], null),
    serviceChecks: fc.constantFrom<(string[] | null)[]>(null, [], ['c1']),
    checks: fc.constantFrom<(string[] | null)[]>(null, null, null, ['c2']),
  })
  .map(({ id, ...rest }) => ({ ...session(0), id, ...rest }))

export const sessionCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: sessionDefinition.map((each) => ({ type: 'session.create' as const, session: each })) },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constantFrom('kv.lock' as const, 'kv.lock' as const, 'kv.unlock' as const),
      key: lockable,
      value,
      flags: fc.constant('0'),
      session: sessionName,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constantFrom('session.destroy' as const, 'session.expire' as const),
      id: sessionNumber,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('locks.undelay' as const),
      marks: fc.array(fc.record({ key: lockable, index: fc.integer({ min: 1, max: 40 }) }), { maxLength: 3 }),
    }),
  },
)

export const queryCommand: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .record({
        id: sessionNumber,
        name: fc.constantFrom('', 'a', 'A', 'ab', sessionUuid(1)),
        session: fc.constantFrom('', '', sessionUuid(0), sessionUuid(1), 'x'),
        type: fc.constantFrom('', '', 'name_prefix_match'),
        create: fc.boolean(),
      })
      .map(({ create, type, ...rest }) => {
        const template = { type, regexp: '', removeEmptyTags: false }
        return { type: 'query.set' as const, query: { ...preparedQuery('', { template }), ...rest }, create }
      }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('query.delete' as const), id: sessionNumber }) },
)

export const coordinateCommand: fc.Arbitrary<Command> = fc.record({
  type: fc.constant('coordinates.update' as const),
  updates: fc.array(
    fc.record({
      node: fc.constantFrom('n1', 'n2', 'N1', 'none'),
      segment: fc.constantFrom('', '', 'b'),
      coordinate: fc.constantFrom(0, 0.1, -0.2).map(coordinate),
    }),
    { maxLength: 3 },
  ),
})

const cas = fc.integer({ min: 0, max: 30 })
const checkId = fc.constantFrom('serfHealth', 'c1', 'c2')
const as = <const Type extends Operation['type']>(type: Type) => ({ type: fc.constant(type) })
const optional = <Shape extends { cas: unknown }>(shape: { [Name in keyof Shape]: fc.Arbitrary<Shape[Name]> }) =>
  fc.record(shape, { requiredKeys: Object.keys(shape).filter((name) => name !== 'cas') as never })

/** Of a transaction. Sets come most, so that there is something to read and to fail on. */
export const operation = fc.oneof(
  optional({ ...as('kv.set'), key, value, flags: fc.constantFrom('0', '7'), cas }),
  fc.record({ ...as('kv.set'), key, value, flags: fc.constant('0') }),
  optional({ ...as('kv.delete'), key, cas }),
  fc.record({ ...as('kv.delete'), key, recurse: fc.constant(true) }),
  fc.record({ ...as('kv.get'), key }),
  fc.record({ ...as('kv.tree'), key }),
  fc.record({ ...as('kv.check'), key, index: cas }),
  fc.record({ ...as('kv.absent'), key }),
  fc.record({ ...as('node.get'), name: nodeName, id: fc.constantFrom('', '', 'id-1') }),
  fc.record({ ...as('node.set'), node: nodeDefinition }),
  optional({ ...as('node.set'), node: nodeDefinition, cas }),
  optional({ ...as('node.delete'), node: nodeName, cas }),
  fc.record({ ...as('service.get'), node: nodeName, id: serviceId }),
  fc.record({ ...as('service.set'), node: nodeName, service: serviceDefinition }),
  optional({ ...as('service.set'), node: nodeName, service: serviceDefinition, cas }),
  optional({ ...as('service.delete'), node: nodeName, id: serviceId, cas }),
  fc.record({ ...as('check.get'), node: nodeName, id: checkId }),
  fc.record({ ...as('check.set'), node: nodeName, check: checkResult }),
  optional({ ...as('check.set'), node: nodeName, check: checkResult, cas }),
  optional({ ...as('check.delete'), node: nodeName, id: checkId, cas }),
) as fc.Arbitrary<Operation>

/** The same, and what concerns locks. */
export const operationOrLock = fc.oneof(
  { weight: 20, arbitrary: operation },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constantFrom('kv.lock' as const, 'kv.unlock' as const),
      key: lockable,
      value,
      flags: fc.constant('0'),
      session: sessionName,
    }),
  },
  { weight: 2, arbitrary: fc.record({ ...as('kv.session'), key: lockable, session: sessionName }) },
) as fc.Arbitrary<Operation>

export const lockTxnCommand: fc.Arbitrary<Extract<Command, { type: 'txn' }>> = fc.record({
  type: fc.constant('txn' as const),
  operations: fc.array(operationOrLock, { maxLength: 4 }),
})

export const txnCommand: fc.Arbitrary<Extract<Command, { type: 'txn' }>> = fc.record({
  type: fc.constant('txn' as const),
  operations: fc.oneof(
    fc.array(operation, { maxLength: 4 }),
    // Few of many conditions hold at once: some that cannot fail.
    fc.array(
      operation.filter(({ type }) => type === 'kv.set' || type === 'kv.delete' || type === 'node.set'),
      { maxLength: 6 },
    ),
  ),
})

export const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  kvCommand,
  reapCommand,
  catalogCommand,
  catalogCommand,
  txnCommand,
  lockTxnCommand,
  sessionCommand,
  sessionCommand,
  coordinateCommand,
  queryCommand,
)

export interface Question {
  topic: Topic
  ask: (view: View) => Indexed<unknown>
  /** Its index may move without a change of the answer, and then wakes nobody. */
  quietIndex?: (value: unknown) => boolean
  /** One of several questions with this topic, so its watcher may be woken on account of another. */
  shares?: boolean
}

const absent = (value: unknown): boolean => value === undefined || (Array.isArray(value) && value.length === 0)

/** Questions whose answers the arbitrary commands change. */
export const questions: Question[] = [
  ...['a', 'b', 'a/', 'a/b', 'a/é', '\u{10000}'].map((each) => ({
    topic: { kind: 'key' as const, key: each },
    ask: (view: View) => view.kv(each),
    quietIndex: absent,
  })),
  ...['', 'a', 'a/', 'b/', 'a/a', 'é', 'nothing'].flatMap((prefix) => [
    { topic: { kind: 'prefix' as const, prefix }, ask: (view: View) => view.kvUnder(prefix), quietIndex: absent },
    {
      topic: { kind: 'prefix' as const, prefix },
      ask: (view: View) => view.kvKeys(prefix, '/'),
      quietIndex: absent,
      shares: true,
    },
  ]),
  { topic: { kind: 'nodes' }, ask: (view) => view.nodes() },
  { topic: { kind: 'services' }, ask: (view) => view.services() },
  ...['n1', 'n2', 'none'].flatMap((name) => [
    { topic: { kind: 'node' as const, node: name }, ask: (view: View) => view.node(name), quietIndex: absent },
    {
      topic: { kind: 'node' as const, node: name },
      ask: (view: View) => view.nodeChecks(name),
      quietIndex: absent,
      shares: true,
    },
  ]),
  ...['web', 'DB', 'none'].flatMap((name) => [
    {
      topic: { kind: 'service' as const, service: name },
      ask: (view: View) => view.instances(name),
      quietIndex: absent,
    },
    {
      topic: { kind: 'service' as const, service: name },
      ask: (view: View) => view.instances(name, ['a']),
      quietIndex: absent,
      shares: true,
    },
    {
      topic: { kind: 'locations' as const, service: name },
      ask: (view: View) => ({
        ...view.locations(name),
        value: view.locations(name).value.map((each) => [each.node, each.service]),
      }),
      quietIndex: absent,
    },
    {
      topic: { kind: 'service' as const, service: name },
      ask: (view: View) => view.serviceChecks(name),
      quietIndex: absent,
      shares: true,
    },
  ]),
  ...['any', 'passing', 'warning', 'critical', 'strange'].map((state) => ({
    topic: { kind: 'checks' as const, state },
    ask: (view: View) => view.checksInState(state),
  })),
  { topic: { kind: 'checks' }, ask: (view) => view.checksInState('any') },
  { topic: { kind: 'sessions' }, ask: (view) => view.sessions() },
  { topic: { kind: 'sessions' }, ask: (view) => view.nodeSessions('N1'), shares: true },
  { topic: { kind: 'sessions' }, ask: (view) => view.session(sessionUuid(0)), shares: true },
  { topic: { kind: 'queries' }, ask: (view) => view.queries() },
  { topic: { kind: 'queries' }, ask: (view) => view.query(sessionUuid(0)), shares: true },
  { topic: { kind: 'coordinates' }, ask: (view) => view.coordinates() },
  ...['n1', 'N2', 'none'].map((name) => ({
    topic: { kind: 'coordinates' as const, node: name },
    ask: (view: View) => view.nodeCoordinates(name),
    quietIndex: absent,
  })),
]

/** An answer as text, so that two can be compared whatever happens to the store. */
export function shown({ value }: Indexed<unknown>): string {
  return JSON.stringify(value instanceof Map ? [...value] : value) ?? 'undefined'
}
