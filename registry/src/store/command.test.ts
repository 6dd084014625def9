import assert from 'node:assert/strict'
import fc from 'fast-check'
import { pack } from 'msgpackr/pack'
import { anyCommand, check, coordinate, node, service } from '../../test/store/samples.ts'
import { BadRequest } from '../errors.ts'
import { type Command, decodeCommand, encodeCommand, readsAs, type SentCommand } from './command.ts'

describe('commands', () => {
  it('are the same after encoding and decoding', () => {
    fc.assert(
      fc.property(anyCommand, (command) => {
        assert.deepEqual(decodeCommand(encodeCommand(command)), structuredClone(command))
      }),
    )
  })

  it('carry definitions, addresses and large indexes', () => {
    const command: Command = {
      type: 'catalog.register',
      node: node('n', { taggedAddresses: { lan: '10.0.0.1' }, meta: {} }),
      service: service('web', { taggedAddresses: { wan: { address: '1.2.3.4', port: 80 } }, meta: { a: 'b' } }),
      checks: [check('c', { definition: { HTTP: 'http://x', Header: { a: ['b'] }, TLSSkipVerify: true, Port: 1.5 } })],
    }
    assert.deepEqual(decodeCommand(encodeCommand(command)), command)
    const late: Command = { type: 'kv.delete', key: 'a', cas: Number.MAX_SAFE_INTEGER }
    assert.deepEqual(decodeCommand(encodeCommand(late)), late)
  })

  it('hold well-formed text only: a lone surrogate is replaced before it is in the log', () => {
    const decoded = decodeCommand(encodeCommand({ type: 'kv.delete', key: 'a\ud800' }))
    assert.deepEqual(decoded, { type: 'kv.delete', key: 'a\ufffd' })
  })

  it('read as they were sent, where that is said without reading them', () => {
    const text = fc.string({ unit: 'binary' })
    const set = fc.record(
      { key: text, value: text, flags: fc.constantFrom('0', '42'), cas: fc.nat() },
      { requiredKeys: ['key', 'value', 'flags'] },
    )
    const from: SentCommand['from'] = ['an origin', 3, 1]
    let said = 0
    fc.assert(
      fc.property(
        fc.oneof(
          anyCommand,
          set.map((fields): Command => ({ type: 'kv.set', ...fields })),
        ),
        (command) => {
          const sent: SentCommand = { ...command, from }
          const read = readsAs(sent)
          if (read === undefined) return
          said++
          assert.deepEqual(decodeCommand(encodeCommand(sent)), read)
        },
      ),
    )
    assert.ok(said > 0)
    assert.equal(readsAs({ type: 'kv.set', key: 'a\ud800', value: '', flags: '0' }), undefined)
    assert.throws(() => readsAs({ type: 'kv.set', key: 'a', value: '', flags: 'x' }), BadRequest)
  })

  const register = { type: 'catalog.register', node: node('n'), checks: [] }
  const malformed: [string, unknown][] = [
    ['nothing', undefined],
    ['a number', 7],
    ['no type', {}],
    ['an unknown type', { type: 'kv.swap' }],
    ['a type that every object has', { type: 'constructor' }],
    ['a key that is no text', { type: 'kv.set', key: 1, value: '', flags: '0' }],
    ['no value', { type: 'kv.set', key: 'a', flags: '0' }],
    ['flags that are no number', { type: 'kv.set', key: 'a', value: '', flags: 'x' }],
    ['a negative index', { type: 'kv.set', key: 'a', value: '', flags: '0', cas: -1 }],
    ['an index that is a text', { type: 'kv.delete', key: 'a', cas: '1' }],
    ['an index beyond what a number holds', { type: 'kv.delete', key: 'a', cas: 2 ** 60 }],
    ['a recursive delete with an index', { type: 'kv.delete', key: 'a', recurse: true, cas: 1 }],
    ['no node', { type: 'catalog.register', checks: [] }],
    ['no checks', { type: 'catalog.register', node: node('n') }],
    ['meta that is no text', { ...register, node: { ...node('n'), meta: { a: 1 } } }],
    ['no tagged addresses', { ...register, node: { ...node('n'), taggedAddresses: undefined } }],
    ['a port that is a text', { ...register, service: { ...service('web'), port: '80' } }],
    ['a tag that is no text', { ...register, service: { ...service('web'), tags: [null] } }],
    ['no weights', { ...register, service: { ...service('web'), weights: undefined } }],
    ['a check without status', { ...register, checks: [{ ...check('c'), status: undefined }] }],
    ['a definition with a date', { ...register, checks: [{ ...check('c'), definition: { at: new Date(0) } }] }],
    ['a service id that is no text', { type: 'catalog.deregister', node: 'n', serviceId: 5 }],
    ['no operations', { type: 'txn' }],
    ['an operation that is no record', { type: 'txn', operations: [null] }],
    ['an operation without a type', { type: 'txn', operations: [{ key: 'a' }] }],
    ['an unknown operation', { type: 'txn', operations: [{ type: 'constructor', key: 'a' }] }],
    ['a command among its operations', { type: 'txn', operations: [{ type: 'tombstones.reap', upTo: 1 }] }],
    ['a set of nothing', { type: 'txn', operations: [{ type: 'kv.set', key: 'a', flags: '0' }] }],
    ['a condition without an index', { type: 'txn', operations: [{ type: 'kv.check', key: 'a' }] }],
    ['a node that is a text', { type: 'txn', operations: [{ type: 'node.set', node: 'n' }] }],
    ['a service on no node', { type: 'txn', operations: [{ type: 'service.set', service: service('web') }] }],
    ['a check without an id', { type: 'txn', operations: [{ type: 'check.delete', node: 'n' }] }],
    ['a negative index inside', { type: 'txn', operations: [{ type: 'node.delete', node: 'n', cas: -1 }] }],
    ['no index to reap to', { type: 'tombstones.reap' }],
    ['no coordinates', { type: 'coordinates.update' }],
    ['a coordinate of no node', { type: 'coordinates.update', updates: [{ segment: '', coordinate: coordinate(0) }] }],
    ['a coordinate that is none', { type: 'coordinates.update', updates: [{ node: 'n', segment: '' }] }],
    ...[
      { vector: [0] },
      { vector: [0, 0, 0, 0, 0, 0, 0, Number.NaN] },
      { error: Number.POSITIVE_INFINITY },
      { adjustment: '0' },
      { height: null },
    ].map((wrong): [string, unknown] => [
      `${JSON.stringify(wrong)} in a coordinate`,
      {
        type: 'coordinates.update',
        updates: [{ node: 'n', segment: '', coordinate: { ...coordinate(0), ...wrong } }],
      },
    ]),
  ]
  for (const [what, value] of malformed) {
    it(`with ${what} are refused`, () => assert.throws(() => decodeCommand(pack(value)), BadRequest))
  }

  it('any bytes are a command or refused, and nothing else happens', () => {
    const damaged = fc.tuple(anyCommand, fc.nat(), fc.integer({ min: 0, max: 255 })).map(([command, place, byte]) => {
      const bytes = Uint8Array.from(encodeCommand(command))
      bytes[place % bytes.length] = byte
      return bytes
    })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), damaged), (bytes) => {
        try {
          decodeCommand(bytes)
        } catch (error) {
          assert.ok(error instanceof BadRequest, String(error))
        }
      }),
      { numRuns: 2_000 },
    )
  })
})
