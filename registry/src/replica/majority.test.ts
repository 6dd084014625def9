import assert from 'node:assert/strict'
import { MajorityUnheard } from '../errors.ts'
import type { Configuration, ServerChange } from '../raft/message.ts'
import { expectHeardMajority, unheardMajority } from './majority.ts'

/** `a b c?`: three servers, of whom c does not vote. */
const configuration = (names: string): Configuration => ({
  cluster: 'x',
  servers: names.split(' ').map((name) => ({
    id: name[0] as string,
    address: `10.0.0.${name[0]}:8300`,
    voter: !name.endsWith('?'),
  })),
})
const remove = (id: string): ServerChange => ({ type: 'remove', id })
const promote = (id: string): ServerChange => ({ type: 'promote', id })

describe('a change of the servers', () => {
  for (const [names, heard, change, allowed] of [
    ['a b c', 'a b c', remove('c'), true],
    ['a b c', 'a b', remove('c'), true],
    // b is all that a has: with c, who is silent, they would be two, and neither a majority.
    ['a b c', 'a b', remove('b'), false],
    ['a b c', 'a b', remove('a'), false],
    ['a b', 'a b', remove('b'), true],
    ['a b', 'a b', remove('a'), true],
    ['a b c d', 'a b c', remove('d'), true],
    ['a b c d', 'a b c', remove('c'), true],
    ['a b c d e', 'a b c', remove('c'), false],
    ['a b c d e', 'a b c d', remove('d'), true],
    // Who does not vote may always go.
    ['a b c?', 'a b', remove('c'), true],
    ['a b?', 'a', promote('b'), false],
    ['a b?', 'a b', promote('b'), true],
    ['a b c d?', 'a b', promote('d'), false],
    ['a b c', 'a b', { type: 'add', id: 'b', address: '10.0.0.9:8300', voter: true }, true],
    ['a b c', 'a b', { type: 'add', id: 'b', address: '10.0.0.b:8300', voter: false }, false],
    ['a', 'a', { type: 'add', id: 'b', address: '10.0.0.b:8300', voter: true }, true],
  ] as const) {
    it(`${change.type} ${change.id} of ${names}, of whom ${heard} are heard, ${allowed ? 'may be done' : 'waits'}`, () => {
      const found = unheardMajority(configuration(names), change, (id) => heard.includes(id))
      assert.equal(found === undefined, allowed)
    })
  }

  it('that waits names who is silent and what is needed', () => {
    assert.throws(
      () => expectHeardMajority(configuration('a b c'), remove('b'), (id) => id !== 'c', 1000),
      (error: Error) =>
        error instanceof MajorityUnheard &&
        error.message ===
          'cannot remove server 10.0.0.b:8300: 10.0.0.c:8300 did not answer within 1000 ms, so only 1 of the 2 that would vote then are there, and 2 are needed; nothing was changed',
    )
  })
})
