import assert from 'node:assert/strict'
import { Log } from './log.ts'
import type { Entry } from './message.ts'

function entry(index: number, term: number, size = 0): Entry {
  return { index, term, kind: 'command', data: new Uint8Array(size) }
}

function logOf(...terms: number[]): Log {
  const log = new Log({ index: 0, term: 0 })
  for (const [at, term] of terms.entries()) log.append(entry(at + 1, term))
  return log
}

describe('the log', () => {
  it('knows terms from its start on, and nothing outside', () => {
    const log = logOf(1, 1, 2)
    assert.deepEqual(
      [0, 1, 2, 3, 4].map((index) => log.termAt(index)),
      [0, 1, 1, 2, undefined],
    )
    log.compact(2)
    assert.deepEqual(
      [0, 1, 2, 3, 4].map((index) => log.termAt(index)),
      [undefined, undefined, 1, 2, undefined],
    )
    assert.equal(log.startIndex, 2)
    assert.equal(log.lastIndex, 3)
  })

  it('takes only the next entry, and no falling terms', () => {
    const log = logOf(1, 2)
    assert.throws(() => log.append(entry(4, 2)), /entry 4 appended after 2/)
    assert.throws(() => log.append(entry(3, 1)), /entry 3 of term 1 after one of term 2/)
  })

  it('truncates its end, never what is before its start', () => {
    const log = logOf(1, 1, 2)
    log.truncate(2)
    assert.equal(log.lastIndex, 1)
    log.truncate(9)
    assert.equal(log.lastIndex, 1)
    log.compact(1)
    assert.throws(() => log.truncate(1), /truncate from 1, but the log starts after 1/)
  })

  it('knows its last term also when everything is compacted away', () => {
    const log = logOf(1, 2, 3)
    log.compact(3)
    assert.equal(log.lastTerm, 3)
    log.append(entry(4, 3))
    assert.equal(log.lastIndex, 4)
  })

  it('gives as many entries as fit, but at least one', () => {
    const log = new Log({ index: 0, term: 0 })
    for (let index = 1; index <= 5; index++) log.append(entry(index, 1, 79))
    const indexes = (from: number, through: number, bytes: number) =>
      log.slice(from, through, bytes).map(({ index }) => index)
    assert.deepEqual(indexes(1, 5, 250), [1, 2])
    assert.deepEqual(indexes(1, 5, 300), [1, 2, 3])
    assert.deepEqual(indexes(4, 5, 1), [4])
    assert.deepEqual(indexes(1, 2, 1000), [1, 2])
    assert.deepEqual(indexes(6, 9, 1000), [])
    assert.deepEqual(indexes(3, 2, 1000), [])
  })

  it('finds the last place that may be in a log with a given term at a given index', () => {
    const log = logOf(1, 1, 3, 3, 5)
    const table = [
      { index: 5, term: 5, meets: 5 },
      { index: 9, term: 9, meets: 5 },
      { index: 5, term: 4, meets: 4 },
      { index: 5, term: 2, meets: 2 },
      { index: 4, term: 3, meets: 4 },
      { index: 3, term: 3, meets: 3 },
      { index: 5, term: 0, meets: 0 },
    ]
    for (const { index, term, meets } of table)
      assert.equal(log.meetingPoint(index, term).index, meets, `${index}/${term}`)
    log.compact(2)
    assert.deepEqual(log.meetingPoint(1, 1), { index: 2, term: 1 })
  })
})
