import assert from 'node:assert/strict'
import type { Configuration } from './message.ts'
import { majority, reachedByMajority, tally } from './quorum.ts'

function of(voting: string, others = ''): Configuration {
  const server = (voter: boolean) => (id: string) => ({ id, address: '', voter })
  return { cluster: 'x', servers: [...[...voting].map(server(true)), ...[...others].map(server(false))] }
}

describe('majorities', () => {
  it('are more than half', () => {
    assert.deepEqual([1, 2, 3, 4, 5, 6].map(majority), [1, 2, 2, 3, 3, 4])
  })

  it('have reached what the slowest of the fastest more-than-half has', () => {
    const table: [string, number[], number][] = [
      ['a', [7], 7],
      ['ab', [7, 3], 3],
      ['abc', [7, 3, 5], 5],
      ['abcd', [7, 3, 5, 9], 5],
      ['abcde', [7, 3, 5, 9, 1], 5],
    ]
    for (const [ids, values, expected] of table) {
      assert.equal(
        reachedByMajority(of(ids, 'xyz'), (id) => values[ids.indexOf(id)] ?? 99),
        expected,
        ids,
      )
    }
    assert.equal(
      reachedByMajority(of('', 'xyz'), () => 99),
      0,
      'nobody votes, nothing is decided',
    )
  })

  it('decide an election as soon as it is decided', () => {
    const given = (votes: Record<string, boolean>) => tally(of('abc', 'd'), new Map(Object.entries(votes))).outcome
    assert.equal(given({ a: true }), 'pending')
    assert.equal(given({ a: true, b: true }), 'won')
    assert.equal(given({ a: true, d: true, stranger: true }), 'pending')
    assert.equal(given({ a: true, b: false }), 'pending')
    assert.equal(given({ a: true, b: false, c: false }), 'lost')
    assert.equal(tally(of('ab'), new Map([['b', false]])).outcome, 'lost')
  })
})
