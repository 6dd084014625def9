import assert from 'node:assert/strict'
import fc from 'fast-check'
import { bytesOf, check, Log, node, service, txnCommand } from '../../test/store/samples.ts'
import { TxnModel } from '../../test/store/txn-model.ts'
import type { Applied } from './command.ts'
import type { Operation, ReadOperation } from './operation.ts'
import { encodeCommand, Store } from './store.ts'
import { resultCharactersMax } from './txn.ts'

describe('transactions', () => {
  let log: Log
  beforeEach(() => {
    log = new Log()
  })

  const transact = (...operations: Operation[]): Applied => {
    const result = log.apply({ type: 'txn', operations })
    assert.ok('value' in result)
    return result
  }
  const set = (key: string, value: string, cas?: number): Operation => ({
    type: 'kv.set',
    key,
    value,
    flags: '0',
    ...(cas !== undefined && { cas }),
  })
  const whatOf = ({ errors }: Applied): [number, string][] | undefined =>
    errors?.map(({ operation, what }) => [operation, what])

  it('do what their operations do one by one, or nothing, as a plain model does', () => {
    let succeeded = 0
    let failed = 0
    fc.assert(
      fc.property(fc.array(txnCommand, { maxLength: 20 }), (commands) => {
        const own = new Log()
        const model = new TxnModel()
        for (const command of commands) {
          const result = own.apply(command) as Applied
          const expected = model.transact(own.last, command.operations)
          if ('failed' in expected) {
            failed++
            assert.deepEqual(
              result.errors?.map(({ operation }) => operation),
              expected.failed,
              JSON.stringify(command),
            )
            assert.deepEqual(Object.keys(result), ['value', 'errors'])
          } else {
            succeeded++
            assert.deepEqual(result, { value: true, results: expected.results }, JSON.stringify(command))
          }
          assert.equal(own.store.index, own.last)
          assert.deepEqual(own.store.kvUnder('').value, model.pairs())
          assert.deepEqual(own.store.nodes().value, model.catalog.nodes())
          assert.deepEqual(own.store.services().value, model.catalog.services())
          for (const name of ['n1', 'n2']) assert.deepEqual(own.store.node(name).value, model.catalog.node(name))
          for (const name of ['web', 'db']) {
            assert.deepEqual(own.store.instances(name).value, model.catalog.instances(name))
          }
          for (const id of ['id-1', 'id-2']) {
            assert.deepEqual(
              own.store.nodeById(id),
              model.catalog.nodes().find((each) => each.id === id),
            )
          }
        }
      }),
      { numRuns: 300 },
    )
    assert.ok(succeeded > 500 && failed > 500, `${succeeded} succeeded, ${failed} failed`)
  })

  it('that fail leave not a byte behind but the index, and those after them find everything in its place', () => {
    const failing: Operation = { type: 'kv.get', key: 'never' }
    fc.assert(
      fc.property(fc.array(txnCommand, { maxLength: 12 }), (commands) => {
        const plain = new Store()
        const disturbed = new Store()
        let index = 1
        for (const command of commands) {
          index += 2
          plain.apply(index - 1, encodeCommand({ type: 'txn', operations: [] }))
          const result = disturbed.apply(
            index - 1,
            encodeCommand({ type: 'txn', operations: [...command.operations, failing] }),
          )
          assert.equal((result as Applied).value, false)
          assert.deepEqual(bytesOf(disturbed.snapshot()), bytesOf(plain.snapshot()))
          assert.deepEqual(disturbed.apply(index, encodeCommand(command)), plain.apply(index, encodeCommand(command)))
          assert.deepEqual(bytesOf(disturbed.snapshot()), bytesOf(plain.snapshot()))
        }
      }),
    )
  })

  it('see what their own operations did, and share one index', () => {
    const { results } = transact(
      set('a', 'YQ=='),
      set('b', 'Yg=='),
      { type: 'kv.get', key: 'a' },
      { type: 'kv.check', key: 'b', index: 2 },
      { type: 'kv.delete', key: 'a' },
      { type: 'kv.absent', key: 'a' },
      { type: 'kv.tree', key: '' },
    )
    const pair = (key: string, value: string) => ({
      type: 'kv',
      pair: { key, value, flags: '0', lockIndex: 0, createIndex: 2, modifyIndex: 2 },
    })
    assert.deepEqual(results, [pair('a', ''), pair('b', ''), pair('a', 'YQ=='), pair('b', ''), pair('b', 'Yg==')])
    assert.equal(log.store.kvUnder('').index, 2)
  })

  it('name every operation that failed, in the words of Consul', () => {
    log.set('a', 'YQ==')
    log.register(node('n'), service('web'), check('c'))
    const failed = transact(
      { type: 'kv.get', key: 'none "x"' },
      set('a', 'Yg==', 1),
      { type: 'kv.delete', key: 'a', cas: 1 },
      { type: 'kv.check', key: 'a', index: 1 },
      { type: 'kv.check', key: 'none', index: 1 },
      { type: 'kv.absent', key: 'a' },
      { type: 'node.get', name: 'none', id: '' },
      { type: 'node.set', node: node('n'), cas: 0 },
      { type: 'node.delete', node: 'none', cas: 0 },
      { type: 'node.set', node: node('') },
      { type: 'service.get', node: 'n', id: 'none' },
      { type: 'service.set', node: 'none', service: service('web') },
      { type: 'service.set', node: 'n', service: service('web'), cas: 1 },
      { type: 'service.delete', node: 'n', id: 'web', cas: 1 },
      { type: 'check.get', node: 'n', id: 'none' },
      { type: 'check.set', node: 'none', check: check('c') },
      { type: 'check.set', node: 'n', check: check('c', { serviceId: 'none' }) },
      { type: 'check.set', node: 'n', check: check('c'), cas: 1 },
      { type: 'check.delete', node: 'n', id: 'none', cas: 1 },
      { type: 'check.set', node: 'n', check: check('') },
      { type: 'service.set', node: 'n', service: service('') },
    )
    assert.deepEqual(whatOf(failed), [
      [0, 'key "none \\"x\\"" doesn\'t exist'],
      [1, 'failed to set key "a", index is stale'],
      [2, 'failed to delete key "a", index is stale'],
      [3, 'failed index check for key "a", current modify index 2 != 1'],
      [4, 'failed to check index, key "none" doesn\'t exist'],
      [5, 'key "a" exists'],
      [6, 'node "none" doesn\'t exist'],
      [7, 'failed to set node "n", index is stale'],
      [8, 'failed to delete node "none", index is stale'],
      [9, 'object missing primary index'],
      [10, 'service "none" on node "n" doesn\'t exist'],
      [11, 'Missing node registration'],
      [12, 'failed to set service "web" on node "n", index is stale'],
      [13, 'failed to delete service "web" on node "n", index is stale'],
      [14, 'check "none" on node "n" doesn\'t exist'],
      [15, 'Missing node registration'],
      [16, 'Missing service registration'],
      [17, 'failed to set check "c" on node "n", index is stale'],
      [18, 'failed to delete check "none" on node "n", index is stale'],
      [19, 'failed inserting check: object missing primary index'],
      [20, 'failed inserting service: object missing primary index'],
    ])
  })

  it('deletes of what is not there are fine without an index, and for a key with any', () => {
    const gone = transact(
      { type: 'kv.delete', key: 'none', cas: 7 },
      { type: 'node.delete', node: 'none' },
      { type: 'service.delete', node: 'none', id: 'web' },
      { type: 'check.delete', node: 'none', id: 'c' },
    )
    assert.deepEqual(gone, { value: true, results: [] })
  })

  it('wake a watcher once, when they succeed', () => {
    let woken = 0
    log.store.watch({ kind: 'prefix', prefix: '' }, () => woken++)
    log.store.watch({ kind: 'nodes' }, () => woken++)
    transact(set('a', 'YQ=='), { type: 'node.set', node: node('n') }, { type: 'kv.get', key: 'none' })
    assert.equal(woken, 0)
    // Nor with the next change of something else.
    log.apply({ type: 'tombstones.reap', upTo: 0 })
    assert.equal(woken, 0)
    transact(set('a', 'YQ=='), set('b', 'YQ=='), { type: 'node.set', node: node('n') })
    assert.equal(woken, 2)
  })

  it('sent twice are applied once and answer the same, after a restore too', () => {
    const data = encodeCommand({ type: 'txn', operations: [set('a', 'YQ==', 0), { type: 'kv.get', key: 'a' }] }, [
      'origin',
      1,
      0,
    ])
    const first = log.store.apply(10, data)
    assert.deepEqual(log.store.apply(11, data), first)
    const restored = new Store()
    restored.restore(log.store.snapshot())
    assert.deepEqual(restored.apply(12, data), first)
    assert.equal(restored.kv('a').index, 10)
  })

  it('that only read change nothing and need no log', () => {
    log.set('a', 'YQ==')
    log.register(node('n', { id: 'id-1' }))
    const reads: ReadOperation[] = [
      { type: 'kv.get', key: 'a' },
      { type: 'node.get', name: '', id: 'id-1' },
    ]
    const answered = log.store.transaction(reads)
    assert.deepEqual(answered, transact(...reads))
    assert.equal(answered.results?.length, 2)
    assert.deepEqual(whatOf(log.store.transaction([{ type: 'kv.absent', key: 'a' }])), [[0, 'key "a" exists']])
  })

  it('that write must not read more than an answer can carry', () => {
    const value = Buffer.alloc(300_000).toString('base64')
    for (let each = 0; each < 8; each++) log.set(`big/${each}`, value)
    assert.ok(8 * value.length > resultCharactersMax)
    const failed = transact(set('a', 'YQ=='), { type: 'kv.tree', key: 'big/' })
    assert.match(whatOf(failed)?.[0]?.[1] ?? '', /^results of a transaction that writes must not exceed \d+ characters/)
    assert.equal(log.store.kv('a').value, undefined)
    assert.equal(log.store.transaction([{ type: 'kv.tree', key: 'big/' }]).results?.length, 8)
  })

  it('whose sets answer too much change nothing either', () => {
    const keys = Array.from({ length: 64 }, (_, n) => `${n}${'k'.repeat(resultCharactersMax / 60)}`)
    const failed = transact(...keys.map((key) => set(key, 'YQ==')))
    assert.match(whatOf(failed)?.[0]?.[1] ?? '', /^results of a transaction that writes must not exceed \d+ characters/)
    assert.deepEqual(log.store.kvKeys('').value, [])
  })

  it('of many sets give the state that as many single ones give', () => {
    const keys = Array.from({ length: 640 }, (_, n) => `key/${(n * 7919) % 640}`)
    for (let from = 0; from < keys.length; from += 64) {
      const { results } = transact(...keys.slice(from, from + 64).map((key) => set(key, 'YQ==')))
      assert.equal(results?.length, 64)
    }
    assert.deepEqual(log.store.kvKeys('').value, keys.toSorted())
  })
})
