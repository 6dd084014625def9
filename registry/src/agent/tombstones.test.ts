import assert from 'node:assert/strict'
import { Tombstones } from './tombstones.ts'

describe('tombstones', () => {
  it('deletions are forgotten after 15 minutes of one leader', () => {
    const tombstones = new Tombstones()
    const minute = 60_000
    assert.equal(tombstones.due(0, 10), undefined)
    for (let at = 1; at < 15; at++) assert.equal(tombstones.due(at * minute, 10 + at), undefined)
    assert.equal(tombstones.due(15 * minute, 30), 10)
    assert.equal(tombstones.due(15 * minute + 1, 30), undefined)
    assert.equal(tombstones.due(16 * minute, 30), 11)
  })

  it('an idle cluster writes once to forget deletions, and not again about that', () => {
    const tombstones = new Tombstones()
    let applied = 10
    const writes: number[] = []
    for (let at = 0; at < 24 * 60; at++) {
      const upTo = tombstones.due(at * 60_000, applied)
      if (upTo === undefined) continue
      writes.push(upTo)
      tombstones.reaped(++applied)
    }
    assert.deepEqual(writes, [10])
    applied++
    assert.equal(tombstones.due(24 * 60 * 60_000, applied), undefined)
    assert.equal(tombstones.due(24 * 60 * 60_000 + 15 * 60_000, applied), 12)
  })
})
