/** `test/data/snapshots`: what the store wrote when each of these formats was the newest. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { bytesOf, Log, node, sessionUuid } from '../../test/store/samples.ts'
import { TooNew } from '../errors.ts'
import type { Coordinate } from '../model.ts'
import { Store } from './store.ts'

const place: Coordinate = { vector: [0.01, 0, 0, 0, 0, 0, 0, -0.02], error: 0.25, adjustment: -0.001, height: 0.002 }

function written(format: number): Buffer {
  return readFileSync(new URL(`../../test/data/snapshots/format-${format}.bin`, import.meta.url))
}

function restored(format: number): Log {
  const log = new Log()
  log.store.restore([written(format)])
  log.next = log.store.index + 1
  return log
}

describe('snapshots of older formats', () => {
  for (const format of [1, 2, 3]) {
    it(`of format ${format} are read: keys, the catalog, and which writes were applied`, () => {
      const { store } = restored(format)
      assert.equal(store.index, format === 1 ? 6 : 11)
      const { value: pair } = store.kv('a/b')
      assert.deepEqual([pair?.value, pair?.flags, pair?.modifyIndex], ['YQ==', '7', 2])
      assert.deepEqual(store.kvUnder('a/'), { index: 4, value: [pair] }, 'the tombstone counts')
      assert.deepEqual(
        store.nodes().value.map(({ name, modifyIndex }) => [name, modifyIndex]),
        [
          ['n1', 5],
          ['n2', 6],
        ],
      )
      const [instance] = store.instances('web').value
      assert.deepEqual([instance?.service.tags, instance?.checks[0]?.output], [['a'], 'fine'])
    })

    it(`of format ${format} have no coordinates; those that come then go into the next snapshot`, () => {
      const log = restored(format)
      assert.deepEqual(log.store.coordinates(), { index: 1, value: [] })
      log.apply({ type: 'coordinates.update', updates: [{ node: 'n1', segment: '', coordinate: place }] })
      const again = new Store()
      again.restore(log.store.snapshot())
      assert.equal(again.coordinates().index, log.last)
      assert.deepEqual(again.nodeCoordinates('n1').value[0]?.coordinate, place)
      assert.deepEqual(bytesOf(again.snapshot()), bytesOf(log.store.snapshot()))
    })
  }

  for (const format of [2, 3]) {
    it(`of format ${format} have the sessions, their locks and the lock-delays`, () => {
      const { store } = restored(format)
      assert.deepEqual(
        store.sessions().value.map(({ id }) => id),
        [sessionUuid(1)],
      )
      assert.equal(store.kv('lock').value?.session, sessionUuid(1))
      assert.equal(store.kv('late').value?.session, undefined)
      assert.deepEqual(
        store.lockDelays().map(({ key }) => key),
        ['late'],
      )
    })
  }

  it('of a newer format are refused in words that say so', () => {
    const log = new Log()
    log.register(node('n1'))
    const bytes = bytesOf(log.store.snapshot())
    const at = bytes.indexOf('version') + 'version'.length
    assert.equal(bytes[at], 4)
    bytes[at] = 5
    assert.throws(
      () => new Store().restore([bytes]),
      (error) => error instanceof TooNew && /5/.test(error.message),
    )
  })
})
