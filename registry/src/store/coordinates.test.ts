import assert from 'node:assert/strict'
import { bytesOf, coordinate, Log, node } from '../../test/store/samples.ts'
import type { NodeCoordinate } from '../model.ts'
import { Store } from './store.ts'

const at = (name: string, first: number, segment = ''): NodeCoordinate => ({
  node: name,
  segment,
  coordinate: coordinate(first),
})

function update(log: Log, ...updates: NodeCoordinate[]): number {
  assert.deepEqual(log.apply({ type: 'coordinates.update', updates }), { value: true })
  return log.last
}

function told(log: Log): [string, string, number | undefined][] {
  return log.store
    .coordinates()
    .value.map(({ node: name, segment, coordinate: { vector } }) => [name, segment, vector[0]])
}

describe('coordinates in the store', () => {
  it('are kept for registered nodes, in name order, and the last one counts', () => {
    const log = new Log()
    log.register(node('n2'))
    log.register(node('n1'))
    const index = update(log, at('n2', 0.1), at('N1', 0.2), at('n2', 0.3))
    assert.deepEqual(told(log), [
      ['N1', '', 0.2],
      ['n2', '', 0.3],
    ])
    assert.equal(log.store.coordinates().index, index)
    assert.deepEqual(log.store.nodeCoordinates('N2').value[0]?.coordinate, coordinate(0.3))
  })

  it('of nodes that nobody registered are dropped, and move no index', () => {
    const log = new Log()
    log.register(node('n1'))
    const index = update(log, at('n1', 0.1))
    update(log, at('stranger', 0.2))
    assert.deepEqual(told(log), [['n1', '', 0.1]])
    assert.equal(log.store.coordinates().index, index)
  })

  it('are kept by segment', () => {
    const log = new Log()
    log.register(node('n1'))
    update(log, at('n1', 0.2, 'b'), at('n1', 0.1))
    assert.deepEqual(told(log), [
      ['n1', '', 0.1],
      ['n1', 'b', 0.2],
    ])
  })

  it('go with their node, and not with what is on it', () => {
    const log = new Log()
    log.register(node('n1'))
    log.register(node('n10'))
    update(log, at('n1', 0.1), at('n1', 0.1, 'b'), at('n10', 0.2))
    log.deregister('n1', { serviceId: 'web' })
    assert.equal(told(log).length, 3)
    log.deregister('n1')
    assert.deepEqual(told(log), [['n10', '', 0.2]])
    assert.equal(log.store.coordinates().index, log.last)
    assert.deepEqual(log.store.nodeCoordinates('n1'), { index: log.last, value: [] })
    log.register(node('n1'))
    assert.deepEqual(log.store.nodeCoordinates('n1').value, [], 'the next node of the name begins anew')
  })

  it('of a node that another replaces under its id go', () => {
    const log = new Log()
    const id = '11111111-1111-4111-8111-111111111111'
    log.register(node('n1', { id }))
    update(log, at('n1', 0.1))
    log.register(node('n2', { id }))
    assert.deepEqual(told(log), [])
  })

  it('come back when the transaction that took their node failed', () => {
    const log = new Log()
    log.register(node('n1'))
    const index = update(log, at('n1', 0.1))
    log.apply({
      type: 'txn',
      operations: [
        { type: 'node.delete', node: 'n1' },
        { type: 'kv.check', key: 'absent', index: 1 },
      ],
    })
    assert.deepEqual(told(log), [['n1', '', 0.1]])
    assert.equal(log.store.coordinates().index, index)
  })

  it('wake who waits for all of them, or for those of that node', () => {
    const log = new Log()
    log.register(node('n1'))
    log.register(node('n2'))
    const woken: string[] = []
    log.store.watch({ kind: 'coordinates' }, () => woken.push('all'))
    log.store.watch({ kind: 'coordinates', node: 'N1' }, () => woken.push('n1'))
    log.store.watch({ kind: 'coordinates', node: 'n2' }, () => woken.push('n2'))
    log.store.watch({ kind: 'node', node: 'n1' }, () => woken.push('node'))
    update(log, at('n1', 0.1))
    assert.deepEqual(woken.sort(), ['all', 'n1'])
  })

  it('of one node have an index of their own, which never goes back', () => {
    const log = new Log()
    log.register(node('n1'))
    log.register(node('n2'))
    assert.equal(log.store.nodeCoordinates('n1').index, 1)
    const first = update(log, at('n2', 0.1))
    assert.equal(log.store.nodeCoordinates('n1').index, first, 'that of all while it has none')
    const second = update(log, at('n1', 0.1))
    update(log, at('n2', 0.2))
    assert.equal(log.store.nodeCoordinates('n1').index, second)
  })

  it('are in snapshots', () => {
    const log = new Log()
    log.register(node('n1'))
    update(log, at('n1', 0.1), at('n1', 0.2, 'b'))
    const restored = new Store()
    restored.restore(log.store.snapshot())
    assert.deepEqual(restored.coordinates(), log.store.coordinates())
    assert.deepEqual(bytesOf(restored.snapshot()), bytesOf(log.store.snapshot()))
  })
})
