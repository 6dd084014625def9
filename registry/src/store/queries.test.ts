import assert from 'node:assert/strict'
import { Log, node, preparedQuery, session, sessionUuid } from '../../test/store/samples.ts'
import type { PreparedQueryDefinition } from '../model.ts'
import { Store } from './store.ts'

const template = { type: 'name_prefix_match', regexp: '', removeEmptyTags: false }

describe('prepared queries in the store', () => {
  const made = (log: Log, query: PreparedQueryDefinition, create = true) =>
    log.apply({ type: 'query.set', query, create })

  it('have the index of their last change, and wake who waits for it', () => {
    const log = new Log()
    let woken = 0
    log.store.watch({ kind: 'queries' }, () => woken++)
    assert.deepEqual(log.store.queries(), { index: 1, value: [] })
    const query = preparedQuery('a')
    made(log, query)
    const created = log.last
    made(log, { ...query, name: 'b' }, false)
    assert.equal(log.store.query(query.id).value?.createIndex, created)
    assert.equal(log.store.queries().index, log.last)
    assert.equal(log.store.queryNamed('a'), undefined)
    assert.equal(log.store.queryNamed('B')?.modifyIndex, log.last)
    log.set('x', '')
    log.apply({ type: 'query.delete', id: query.id })
    assert.deepEqual(log.store.queries(), { index: log.last, value: [] })
    assert.equal(woken, 3)
  })

  it('are refused under the name or the id of another, in Consul’s words', () => {
    const log = new Log()
    const first = preparedQuery('Plain')
    made(log, first)
    const refused = (query: PreparedQueryDefinition, create = true) =>
      (made(log, query, create) as { error: string }).error
    const other = (name: string) => ({ ...preparedQuery('other'), name })
    assert.equal(refused(other('PLAIN')), "name 'PLAIN' aliases an existing query name")
    assert.equal(refused(other(first.id)), `name '${first.id}' aliases an existing query ID`)
    assert.equal(refused(other('x'), false), `Cannot modify non-existent prepared query: '${other('x').id}'`)
    assert.match(refused(first), /exists already$/)
    made(log, { ...preparedQuery('one', { template }), name: '' })
    assert.equal(
      refused({ ...preparedQuery('two', { template }), name: '' }),
      'a query template with an empty name already exists',
    )
    assert.deepEqual(made(log, { ...first, name: 'plain' }, false), { value: true })
    const id = sessionUuid(7)
    assert.deepEqual(log.apply({ type: 'query.delete', id }), {
      error: `Cannot modify non-existent prepared query: '${id}'`,
    })
  })

  it('are bound to a session that is there, and go with it', () => {
    const log = new Log()
    log.register(node('n1'))
    const bound = (of: string) => ({ ...preparedQuery('a'), name: '', session: of })
    assert.deepEqual(made(log, bound('abc')), { error: 'invalid session: index error: UUID must be 36 characters' })
    assert.deepEqual(made(log, bound(sessionUuid(1))), { error: `invalid session "${sessionUuid(1)}"` })
    log.begin(session(10))
    const written = sessionUuid(10).toUpperCase()
    assert.deepEqual(made(log, bound(written)), { value: true })
    made(log, preparedQuery('stays'))
    assert.equal(log.store.query(bound('').id).value?.session, written)
    log.end(sessionUuid(10))
    assert.deepEqual(
      log.store.queries().value.map(({ name }) => name),
      ['stays'],
    )
    assert.equal(log.store.queries().index, log.last)
  })

  it('come back with a transaction that took their session and failed after all', () => {
    const log = new Log()
    log.register(node('n1'))
    log.begin(session(0))
    made(log, { ...preparedQuery('a'), session: sessionUuid(0) })
    const before = JSON.stringify(log.store.queries())
    log.apply({
      type: 'txn',
      operations: [
        { type: 'node.delete', node: 'n1' },
        { type: 'kv.get', key: 'nowhere' },
      ],
    })
    assert.equal(JSON.stringify(log.store.queries()), before)
    assert.equal(log.store.queryNamed('a')?.name, 'a')
    log.deregister('n1')
    assert.equal(log.store.queryNamed('a'), undefined)
  })

  it('are in a snapshot, with all the ways to find them', () => {
    const log = new Log()
    log.register(node('n1'))
    log.begin(session(0))
    made(log, preparedQuery('plain', { service: { tags: ['a'], nodeMeta: { b: 'c' } }, dns: { ttl: '10s' } }))
    made(log, preparedQuery('geo-', { template, session: sessionUuid(0) }))
    const again = new Store()
    again.restore(log.store.snapshot())
    assert.deepEqual(again.queries(), log.store.queries())
    assert.equal(again.queryNamed('geo-x')?.name, 'geo-')
    assert.equal(Buffer.compare(bytes(again), bytes(log.store)), 0)
  })

  it('are found as a search through all of them finds them, whatever the names', () => {
    const log = new Log()
    const names = ['', 'a', 'aa', 'aab', 'ab', 'b', 'ba-', 'ba-c', 'ü', 'üb', '😀', '\uffff']
    for (const [number, name] of names.entries()) {
      made(log, { ...preparedQuery('', { template }), id: sessionUuid(number), name })
    }
    for (const asked of [
      '',
      'aabc',
      'aac',
      'abab',
      'ac',
      'b',
      'ba',
      'ba-',
      'ba-d',
      'BA-CC',
      'c',
      'üba',
      'üa',
      '😀x',
      '\uffffa',
      'z',
    ]) {
      const fits = names.filter((name) => asked.toLowerCase().startsWith(name))
      const longest = fits.reduce((best, name) => (name.length > best.length ? name : best))
      assert.equal(log.store.queryNamed(asked)?.name, longest, asked)
    }
  })
})

function bytes(store: Store): Buffer {
  return Buffer.concat([...store.snapshot()])
}
