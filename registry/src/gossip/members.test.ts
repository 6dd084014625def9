import assert from 'node:assert/strict'
import { addressOf, alive } from '../../test/gossip/wire.ts'
import { type Entry, Members, type Verdict, verdict } from './members.ts'
import type { News, Standing } from './message.ts'

const standings: Standing[] = ['alive', 'suspect', 'failed', 'left', 'pruned']

/** What is known of b, with incarnation 5. */
function known(standing: Standing): Entry {
  return new Members().set({ name: 'b', address: addressOf('b'), tags: { id: 'b-1' }, incarnation: 5 }, standing, 0)
}

function news(type: Standing, incarnation: number): News {
  return type === 'alive' ? alive('b', incarnation) : { type, name: 'b', incarnation, from: 'c' }
}

describe('the precedence rule', () => {
  // Columns: news of alive, suspect, failed, left, pruned.
  const table: Record<string, Record<Standing, Verdict[]>> = {
    'an older incarnation': {
      alive: ['stale', 'stale', 'stale', 'stale', 'stale'],
      suspect: ['stale', 'stale', 'stale', 'stale', 'stale'],
      failed: ['stale', 'stale', 'stale', 'stale', 'stale'],
      left: ['stale', 'stale', 'stale', 'stale', 'stale'],
      pruned: ['stale', 'stale', 'stale', 'stale', 'stale'],
    },
    'the same incarnation': {
      alive: ['stale', 'take', 'take', 'take', 'take'],
      suspect: ['stale', 'confirm', 'take', 'take', 'take'],
      failed: ['stale', 'stale', 'stale', 'take', 'take'],
      left: ['stale', 'stale', 'stale', 'stale', 'take'],
      pruned: ['stale', 'stale', 'stale', 'stale', 'stale'],
    },
    'a newer incarnation': {
      alive: ['take', 'take', 'take', 'take', 'take'],
      suspect: ['take', 'take', 'take', 'take', 'take'],
      failed: ['take', 'stale', 'take', 'take', 'take'],
      left: ['take', 'stale', 'take', 'take', 'take'],
      pruned: ['take', 'stale', 'take', 'take', 'take'],
    },
  }
  Object.entries(table).forEach(([title, rows], step) => {
    for (const standing of standings) {
      it(`news with ${title} about a member that is ${standing}: ${rows[standing]}`, () => {
        assert.deepEqual(
          standings.map((type) => verdict(known(standing), news(type, 4 + step))),
          rows[standing],
        )
      })
    }
  })

  it('only alive news introduces a member', () => {
    assert.deepEqual(
      standings.map((type) => verdict(undefined, news(type, 1))),
      ['take', 'stale', 'stale', 'stale', 'stale'],
    )
  })

  const elsewhere = addressOf('elsewhere')
  const claims: { title: string; standing: Standing; incarnation: number; id: string; expected: Verdict }[] = [
    { title: 'another process elsewhere', standing: 'alive', incarnation: 6, id: 'b-2', expected: 'conflict' },
    { title: 'another process elsewhere', standing: 'suspect', incarnation: 6, id: 'b-2', expected: 'conflict' },
    { title: 'another, younger process elsewhere', standing: 'alive', incarnation: 1, id: 'b-2', expected: 'conflict' },
    { title: 'the same process, moved', standing: 'alive', incarnation: 6, id: 'b-1', expected: 'conflict' },
    { title: 'an echo from before a move', standing: 'alive', incarnation: 4, id: 'b-1', expected: 'stale' },
    { title: 'another process elsewhere', standing: 'failed', incarnation: 6, id: 'b-2', expected: 'take' },
    { title: 'another process elsewhere', standing: 'left', incarnation: 6, id: 'b-2', expected: 'take' },
    { title: 'the same process, moved', standing: 'failed', incarnation: 6, id: 'b-1', expected: 'take' },
    { title: 'an old echo from elsewhere', standing: 'failed', incarnation: 5, id: 'b-2', expected: 'stale' },
  ]
  for (const { title, standing, incarnation, id, expected } of claims) {
    it(`${title} (${incarnation}) claims the name of a member that is ${standing}: ${expected}`, () => {
      const claim = alive('b', incarnation, { address: elsewhere, tags: { id } })
      assert.equal(verdict(known(standing), claim), expected)
    })
  }

  it('another process at the same address replaces the one before', () => {
    assert.equal(verdict(known('alive'), alive('b', 6, { tags: { id: 'b-2' } })), 'take')
  })
})

describe('the member table', () => {
  it('lists in name order, without the pruned', () => {
    const members = new Members()
    for (const name of ['c', 'a', 'b', 'd']) {
      members.set({ name, address: addressOf(name), tags: {}, incarnation: 1 }, 'alive', 0)
    }
    members.set({ name: 'b', address: addressOf('b'), tags: {}, incarnation: 1 }, 'pruned', 0)
    assert.deepEqual(
      members.list().map(({ name }) => name),
      ['a', 'c', 'd'],
    )
  })

  it('counts who takes part', () => {
    const members = new Members()
    const set = (name: string, standing: Standing) =>
      members.set({ name, address: addressOf(name), tags: {}, incarnation: 1 }, standing, 0)
    set('a', 'alive')
    set('b', 'suspect')
    set('c', 'failed')
    assert.equal(members.live, 2)
    set('b', 'left')
    assert.equal(members.live, 1)
    set('c', 'alive')
    members.remove('a')
    members.remove('nobody')
    assert.equal(members.live, 1)
  })
})
