import assert from 'node:assert/strict'
import fc from 'fast-check'
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import { type LockCommand, LockModel } from '../../test/store/lock-model.ts'
import {
  anyCommand,
  bytesOf,
  catalogCommand,
  check,
  kvCommand,
  Log,
  node,
  session,
  sessionCommand,
  sessionUuid,
} from '../../test/store/samples.ts'
import { TooNew } from '../errors.ts'
import type { Command } from './command.ts'
import { sessionId } from './sessions.ts'
import { Store } from './store.ts'

const one = sessionUuid(1)
const two = sessionUuid(2)

/** A log with node n1, check c1 of it, and two sessions. */
function begun(changes: Parameters<typeof session>[1] = {}): Log {
  const log = new Log()
  log.register(node('n1'), undefined, check('c1'), check('serfHealth'))
  log.begin(session(1, changes))
  log.begin(session(2))
  return log
}

const pair = (log: Log, key: string) => log.store.kv(key).value

describe('sessions', () => {
  it('need a node and checks that are registered and not critical', () => {
    const log = new Log()
    const refused = (changes: Parameters<typeof session>[1]) => log.begin(session(1, changes))
    assert.deepEqual(refused({}), { error: 'Missing node registration' })
    log.register(node('n1'), undefined, check('bad', { status: 'critical' }))
    assert.deepEqual(refused({ nodeChecks: ['c1'] }), { error: "Missing check 'c1' registration" })
    assert.deepEqual(refused({ serviceChecks: ['bad'] }), { error: "Check 'bad' is in critical state" })
    assert.deepEqual(refused({ checks: ['bad'] }), { error: "Check 'bad' is in critical state" })
    assert.deepEqual(refused({ node: 'N1' }), { value: true })
    assert.deepEqual(refused({}), { error: `session ${one} exists already` })
    assert.equal(log.store.session(one).value?.node, 'N1')
    assert.equal(log.store.nodeSessions('n1').value.length, 1)
  })

  const losses: [string, (log: Log) => void][] = [
    ['is destroyed', (log) => log.end(one)],
    ['expires', (log) => log.apply({ type: 'session.expire', id: one })],
    ['loses its node', (log) => log.deregister('n1')],
    ['loses a check', (log) => log.deregister('n1', { checkId: 'c1' })],
    [
      'has a check that turns critical',
      (log) => log.register(node('n1'), undefined, check('c1', { status: 'critical' })),
    ],
    [
      'has a check that turns critical in a transaction',
      (log) =>
        log.apply({
          type: 'txn',
          operations: [{ type: 'check.set', node: 'n1', check: check('c1', { status: 'critical' }) }],
        }),
    ],
  ]
  for (const [how, lose] of losses) {
    it(`one that ${how} lets go of its keys, which keep their values and lockIndex, and are delayed`, () => {
      const log = begun({ nodeChecks: ['c1'], lockDelay: 15e9 })
      log.lock('a', one, 'YQ==')
      log.lock('b', one, 'Yg==')
      log.lock('other', two)
      lose(log)
      const { last } = log
      assert.equal(log.store.session(one).value, undefined)
      assert.equal(log.store.sessions().index, last)
      const { session: holder, ...rest } = pair(log, 'a') ?? { session: 'gone' }
      assert.equal(holder, undefined)
      assert.deepEqual(rest, {
        key: 'a',
        value: 'YQ==',
        flags: '0',
        lockIndex: 1,
        createIndex: 5,
        modifyIndex: last,
      })
      assert.deepEqual(
        log.store.lockDelays().filter(({ key }) => key !== 'other'),
        [
          { key: 'a', index: last, lasts: 15e9 },
          { key: 'b', index: last, lasts: 15e9 },
        ],
      )
    })

    it(`one that ${how} takes its keys along when it was told to`, () => {
      const log = begun({ nodeChecks: ['c1'], behavior: 'delete' })
      log.lock('a', one)
      log.set('b', 'Yg==')
      lose(log)
      assert.equal(pair(log, 'a'), undefined)
      assert.notEqual(pair(log, 'b'), undefined)
      assert.deepEqual(log.store.lockDelays(), [])
      // Watchers of what it was under are told.
      assert.equal(log.store.kvUnder('a').index, log.last)
    })
  }

  it('do not end by what does not concern them', () => {
    const log = begun({ nodeChecks: ['c1'] })
    log.register(node('n2'), undefined, check('c1', { status: 'critical' }))
    log.register(node('n1'), undefined, check('c1', { status: 'warning' }), check('serfHealth', { status: 'critical' }))
    log.deregister('n2')
    log.deregister('n1', { checkId: 'serfHealth' })
    assert.equal(log.store.sessions().value.length, 2)
  })

  it('a delay of more than a minute counts as one, and one below nothing as none', () => {
    const log = begun({ lockDelay: 3600e9 })
    log.begin(session(3, { lockDelay: -15e9 }))
    log.lock('a', one)
    log.lock('b', sessionUuid(3))
    log.end(one)
    log.end(sessionUuid(3))
    assert.deepEqual(log.store.lockDelays(), [{ key: 'a', index: log.last - 1, lasts: 60e9 }])
  })

  it('are named as clients write them', () => {
    const upper = one.toUpperCase().replace('4000-8000', 'ABCD-8000')
    assert.deepEqual(sessionId(upper), { id: upper.toLowerCase() })
    const wrong = [
      ['abc', 'UUID must be 36 characters'],
      ['11111111-1111-1111-1111-11111111111-', 'UUID should have maximum of 4 "-"; got 5'],
      ['11111111-1111-1111-11111-11111111111', undefined],
      ['111111111111-1111-1111-1111111111111', 'Input (without hyphens) must be even length'],
      ['zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz', "Invalid UUID: encoding/hex: invalid byte: U+007A 'z'"],
      ['111111111111111111111111111111111111', undefined],
    ] as const
    for (const [text, why] of wrong) {
      const found = sessionId(text)
      if (why === undefined) assert.ok('id' in found, text)
      else assert.deepEqual(found, { error: `failed session lookup: index error: ${why}` }, text)
    }
  })
})

describe('locks', () => {
  it('have one holder, who may lock again and change the value', () => {
    const log = begun()
    assert.deepEqual(log.lock('a', one, 'YQ=='), { value: true })
    assert.deepEqual(log.lock('a', two, 'Yg=='), { value: false })
    assert.deepEqual(pair(log, 'a'), {
      key: 'a',
      value: 'YQ==',
      flags: '0',
      lockIndex: 1,
      session: one,
      createIndex: 5,
      modifyIndex: 5,
    })
    assert.deepEqual(log.lock('a', one, 'YQ=='), { value: true })
    assert.equal(pair(log, 'a')?.modifyIndex, 5)
    assert.deepEqual(log.lock('a', one.toUpperCase(), 'Yg=='), { value: true })
    assert.equal(pair(log, 'a')?.modifyIndex, 8)
    assert.equal(pair(log, 'a')?.lockIndex, 1)
    assert.equal(pair(log, 'a')?.session, one)
  })

  it('are let go by their holder alone, with the value it gives, and count how often they were taken', () => {
    const log = begun()
    log.lock('a', one, 'YQ==')
    assert.deepEqual(log.unlock('a', two), { value: false })
    assert.deepEqual(log.unlock('a', one, 'Yg=='), { value: true })
    assert.deepEqual(log.unlock('a', one), { value: false })
    assert.deepEqual(log.unlock('none', one), { value: false })
    assert.deepEqual(pair(log, 'a'), {
      key: 'a',
      value: 'Yg==',
      flags: '0',
      lockIndex: 1,
      createIndex: 5,
      modifyIndex: 7,
    })
    assert.deepEqual(log.lock('a', two), { value: true })
    assert.equal(pair(log, 'a')?.lockIndex, 2)
  })

  it('letting go without another value changes the key all the same: whoever waits for it must know', () => {
    const log = begun()
    let woken = 0
    log.lock('a', one)
    log.store.watch({ kind: 'key', key: 'a' }, () => woken++)
    log.unlock('a', one)
    assert.equal(pair(log, 'a')?.modifyIndex, log.last)
    assert.equal(woken, 1)
    log.lock('a', two)
    log.end(two)
    assert.equal(woken, 3)
  })

  it('need a session, in the words of Consul', () => {
    const log = begun()
    const none = sessionUuid(9)
    assert.deepEqual(log.lock('a', ''), { error: 'missing session' })
    assert.deepEqual(log.unlock('a', ''), { error: 'missing session' })
    assert.deepEqual(log.lock('a', 'x'), { error: 'failed session lookup: index error: UUID must be 36 characters' })
    assert.deepEqual(log.lock('a', none), { error: `invalid session "${none}"` })
    assert.deepEqual(log.unlock('a', 'x'), { value: false })
  })

  it('are let go by any spelling of the session that takes them', () => {
    const log = begun()
    const digits = one.replaceAll('-', '')
    for (const spelled of [one.toUpperCase(), `-${digits.slice(0, 30)}--${digits.slice(30)}-`]) {
      assert.deepEqual(log.lock('a', spelled), { value: true })
      assert.equal(pair(log, 'a')?.session, one)
      assert.deepEqual(log.unlock('a', spelled), { value: true })
      assert.equal(pair(log, 'a')?.session, undefined)
    }
  })

  it('a plain set goes through, leaves the holder, and begins the count anew; a deletion takes the lock along', () => {
    const log = begun()
    log.lock('a', one, 'YQ==')
    log.set('a', 'YQ==')
    assert.equal(pair(log, 'a')?.session, one)
    assert.equal(pair(log, 'a')?.lockIndex, 0)
    log.delete('a')
    log.lock('b', one)
    log.delete('b', { recurse: true })
    log.end(one)
    assert.equal(pair(log, 'a'), undefined)
    assert.deepEqual(log.lock('a', two), { value: true })
  })

  it('of a session that ended are refused to everybody until the leader has said that the delay is over', () => {
    const log = begun({ lockDelay: 15e9 })
    log.lock('a', one)
    log.end(one)
    const { last } = log
    assert.deepEqual(log.lock('a', two), { value: false })
    // Before anything else is looked at.
    assert.deepEqual(log.lock('a', 'x'), { value: false })
    log.apply({ type: 'locks.undelay', marks: [{ key: 'a', index: last - 1 }] })
    assert.deepEqual(log.lock('a', two), { value: false })
    log.apply({ type: 'locks.undelay', marks: [{ key: 'a', index: last }] })
    assert.deepEqual(log.lock('a', two), { value: true })
  })

  it('in a transaction are taken and let go as outside', () => {
    const log = begun({ lockDelay: 15e9 })
    const lock = (key: string, by: string) => ({ type: 'kv.lock' as const, key, value: '', flags: '0', session: by })
    const unlock = (key: string, by: string) => ({ ...lock(key, by), type: 'kv.unlock' as const })
    const transact = (...operations: Extract<Command, { type: 'txn' }>['operations']) => {
      const result = log.apply({ type: 'txn', operations })
      if ('error' in result) throw new Error(result.error)
      return result.errors?.map(({ operation, what }) => `${operation}: ${what}`) ?? result.results
    }
    assert.deepEqual(transact(lock('a', one), { type: 'kv.session', key: 'a', session: one }), [
      { type: 'kv', pair: pair(log, 'a') },
      { type: 'kv', pair: pair(log, 'a') },
    ])
    assert.deepEqual(
      transact(lock('b', two), lock('a', two), unlock('a', two), lock('c', ''), lock('c', 'x'), unlock('c', ''), {
        type: 'kv.session',
        key: 'a',
        session: two,
      }),
      [
        '1: failed to lock key "a", lock is already held',
        `2: failed to unlock key "a", lock isn't held, or is held by another session`,
        '3: missing session',
        '4: failed session lookup: index error: UUID must be 36 characters',
        '5: missing session',
        `6: failed session check for key "a", current session "${one}" != "${two}"`,
      ],
    )
    assert.equal(pair(log, 'b'), undefined)
    assert.deepEqual(transact({ type: 'kv.session', key: 'none', session: '' }), [
      `0: failed to check session, key "none" doesn't exist`,
    ])
    // The node takes its sessions along, and what they held; then the transaction fails, and nothing of it was.
    const before = bytesOf(log.store.snapshot())
    transact({ type: 'node.delete', node: 'n1' }, { type: 'kv.get', key: 'none' })
    const after = new Log()
    after.store.restore(log.store.snapshot())
    assert.equal(pair(log, 'a')?.session, one)
    assert.deepEqual(log.store.lockDelays(), [])
    assert.equal(log.store.sessions().value.length, 2)
    assert.equal(bytesOf(after.store.snapshot()).length, before.length)
    log.end(one)
    assert.deepEqual(transact(lock('a', two), { type: 'kv.get', key: 'none' }), [
      '0: failed to lock key "a" due to lock delay',
    ])
  })
})

describe('sessions and locks, whatever the commands', () => {
  const plain: fc.Arbitrary<LockCommand> = fc.oneof(
    kvCommand,
    sessionCommand,
    sessionCommand,
    sessionCommand.filter(({ type }) => type === 'session.create'),
    fc
      .record({
        id: fc.constantFrom('serfHealth', 'c1', 'c2'),
        status: fc.constantFrom('passing', 'passing', 'passing', 'critical'),
      })
      .map(({ id, status }) => ({
        type: 'catalog.register' as const,
        node: node('n1'),
        checks: [check(id, { status })],
      })),
    fc.record(
      { type: fc.constant('catalog.deregister' as const), node: fc.constant('n1'), checkId: fc.constantFrom('c1') },
      { requiredKeys: ['type', 'node'] },
    ),
  ) as fc.Arbitrary<LockCommand>

  it('do what a plain model does', () => {
    fc.assert(
      fc.property(fc.array(plain, { maxLength: 60 }), (commands) => {
        const log = new Log()
        const model = new LockModel()
        log.register(node('n1'), undefined, check('c1'), check('serfHealth'))
        model.apply(log.last, {
          type: 'catalog.register',
          node: node('n1'),
          checks: [check('c1'), check('serfHealth')],
        })
        for (const given of commands) {
          const command: LockCommand =
            given.type === 'session.create' ? { ...given, session: { ...given.session, node: 'n1' } } : given
          const result = log.apply(command)
          const expected = model.apply(log.last, command)
          assert.equal('error' in result ? 'refused' : result.value, expected, JSON.stringify(command))
          const pairs = [...model.pairs.values()].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)))
          assert.deepEqual(log.store.kvUnder('').value, pairs)
          assert.deepEqual(
            log.store.sessions().value.map(({ id }) => id),
            [...model.sessions.keys()].sort(),
          )
          assert.deepEqual(new Map(log.store.lockDelays().map(({ key, index }) => [key, index])), model.delays)
        }
      }),
    )
  })

  it('a held key has one holder, who exists, and a snapshot holds all of it', () => {
    const commands = fc.oneof(anyCommand, sessionCommand, sessionCommand, catalogCommand)
    fc.assert(
      fc.property(fc.array(commands, { maxLength: 60 }), (list) => {
        const log = new Log()
        log.register(node('n1'), undefined, check('c1'), check('serfHealth'))
        for (const command of list) {
          log.apply(command)
          for (const { key, session } of log.store.kvUnder('').value) {
            if (session !== undefined) assert.ok(log.store.session(session).value, `${key} is held by ${session}`)
          }
        }
        const other = new Store()
        other.restore(log.store.snapshot())
        assert.deepEqual(bytesOf(other.snapshot()), bytesOf(log.store.snapshot()))
        assert.deepEqual(other.kvUnder('').value, log.store.kvUnder('').value)
        const destroyed = [log.store, other].map((store) => {
          const copy = new Log()
          copy.store.restore(store.snapshot())
          copy.next = store.index + 1
          for (let number = 0; number < 4; number++) copy.end(sessionUuid(number))
          return bytesOf(copy.store.snapshot())
        })
        assert.deepEqual(destroyed[0], destroyed[1])
      }),
    )
  })

  it('snapshots of older formats are read, and one of a newer format is refused', () => {
    const log = new Log()
    log.register(node('n1'))
    log.set('a', 'YQ==')
    const frames = [...framesOf(bytesOf(log.store.snapshot()))]
    const header = unpack(frames[0] as Uint8Array) as Record<string, unknown>
    assert.equal(header.version, 4)
    const { sessions: _, ...withoutSessions } = header
    assert.deepEqual(unpack(frames[1] as Uint8Array), { section: 'packedPairs', count: 1 })
    const rest = [pack({ section: 'pairs', rows: [['a', 'YQ==', '0', 0, 3, 3]] }), ...frames.slice(3)]
    for (const old of [
      { ...withoutSessions, version: 1 },
      { ...header, version: 2 },
      { ...header, version: 3 },
    ]) {
      const store = new Store()
      store.restore([Buffer.concat([pack(old), ...rest].map(framed))])
      assert.deepEqual(store.kv('a'), log.store.kv('a'))
      assert.deepEqual(store.sessions(), { index: 1, value: [] })
    }
    const newer = [pack({ ...header, version: 5 }), ...frames.slice(1)]
    assert.throws(() => new Store().restore([Buffer.concat(newer.map(framed))]), TooNew)
  })
})

function* framesOf(bytes: Buffer): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at)
    yield bytes.subarray(at + 4, at + 4 + length)
    at += 4 + length
  }
}

function framed(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes.length)
  return Buffer.concat([head, bytes])
}
