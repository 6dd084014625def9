import assert from 'node:assert/strict'
import { LatencyFilter } from './latency.ts'

describe('latency filter', () => {
  it('gives the median of the last three round trips to a member', () => {
    const filter = new LatencyFilter()
    assert.equal(filter.add('b', 5), 5)
    assert.equal(filter.add('b', 400), 400)
    assert.equal(filter.add('b', 6), 6, 'of 5, 400, 6')
    assert.equal(filter.add('b', 7), 7, 'of 400, 6, 7')
    assert.equal(filter.add('b', 500), 7, 'of 6, 7, 500')
  })

  it('keeps members apart and forgets those who are gone', () => {
    const filter = new LatencyFilter()
    filter.add('b', 5)
    filter.add('c', 90)
    filter.add('c', 91)
    filter.forget((member) => member === 'c')
    assert.equal(filter.size, 1)
    assert.equal(filter.add('c', 1), 1, 'a new member of the name begins anew')
  })
})
