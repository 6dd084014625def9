import assert from 'node:assert/strict'
import { encodeCommand } from './command.ts'
import type { From } from './origins.ts'
import { Store } from './store.ts'

/** Appends `value` to nothing: a check-and-set that only the first can win. */
const create = (key: string, from?: From) =>
  encodeCommand({ type: 'kv.set', key, value: 'eA==', flags: '0', cas: 0 }, from)
const put = (value: string, from?: From) => encodeCommand({ type: 'kv.set', key: 'k', value, flags: '0' }, from)

describe('writes that are sent twice', () => {
  it('are applied once, and the copy answers what the first did', () => {
    const store = new Store()
    assert.deepEqual(store.apply(1, create('a', ['life', 1, 0])), { value: true })
    assert.deepEqual(store.apply(2, create('a', ['life', 1, 0])), { value: true })
    assert.equal(store.kv('a').value?.modifyIndex, 1)
    // Another write of the same content is another write.
    assert.deepEqual(store.apply(3, create('a', ['life', 2, 0])), { value: false })
    assert.deepEqual(store.apply(4, create('a', ['other', 1, 0])), { value: false })
    assert.deepEqual(store.apply(5, create('a')), { value: false })
  })

  it('of numbers that come out of order are applied all the same', () => {
    const store = new Store()
    store.apply(1, create('b', ['life', 2, 0]))
    assert.deepEqual(store.apply(2, create('a', ['life', 1, 0])), { value: true })
  })

  it('are not applied when their sender has given them up, even if no copy came before', () => {
    const store = new Store()
    store.apply(1, put('bmV3', ['life', 3, 2]))
    assert.deepEqual(store.apply(2, put('b2xk', ['life', 2, 1])), { error: 'its sender has given this write up' })
    assert.equal(store.kv('k').value?.value, 'bmV3')
  })

  it('are known after a snapshot, whose bytes do not depend on the order of agents', () => {
    const [one, two] = [new Store(), new Store()]
    one.apply(1, create('a', ['x', 1, 0]))
    one.apply(2, create('b', ['y', 1, 0]))
    two.restore([...one.snapshot()])
    assert.deepEqual(two.apply(3, create('a', ['x', 1, 0])), { value: true })
    one.apply(3, create('a', ['x', 1, 0]))
    assert.deepEqual(Buffer.concat([...two.snapshot()]), Buffer.concat([...one.snapshot()]))
  })

  it('leave nothing behind once they are settled, and agents that are gone are forgotten', () => {
    const store = new Store()
    for (let sequence = 1; sequence <= 1000; sequence++) {
      store.apply(sequence, put('eA==', ['life', sequence, sequence - 1]))
    }
    const before = Buffer.concat([...store.snapshot()]).length
    for (let sequence = 1001; sequence <= 2000; sequence++) {
      store.apply(sequence, put('eA==', ['life', sequence, sequence - 1]))
    }
    assert.ok(Math.abs(Buffer.concat([...store.snapshot()]).length - before) < 10)
    store.apply(2001, encodeCommand({ type: 'tombstones.reap', upTo: 2000 }))
    assert.deepEqual(store.apply(2002, put('eA==', ['life', 1, 0])), { value: true })
  })

  it('with a malformed sender are no commands', () => {
    for (const from of [['x'], ['x', 0, 0], ['', 1, 0], ['x', 1, 1], ['x', 1.5, 0], ['x', 1, -1], 'x', { 0: 'x' }]) {
      const data = encodeCommand({ type: 'kv.set', key: 'a', value: '', flags: '0' }, from as unknown as From)
      assert.throws(() => new Store().apply(1, data), /from/, JSON.stringify(from))
    }
  })
})
