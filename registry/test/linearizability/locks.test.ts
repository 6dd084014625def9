import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import { complaint } from './check.ts'
import { checkLocks, type LockFound, type LockInput, type LockOperation, type LockOutput } from './locks.ts'
import { lockHistory, lockMutations } from './random-locks.ts'

type Line = [client: string, call: number, end: number | undefined, input: LockInput, output?: LockOutput]
const history = (...lines: Line[]): LockOperation[] =>
  lines.map(([client, call, end, input, output]) => ({ client, call, return: end, input, output }))

const acquire = (value: string, session: string, key = 'x'): LockInput => ({ type: 'acquire', key, value, session })
const release = (value: string, session: string): LockInput => ({ type: 'release', key: 'x', value, session })
const destroy = (session: string, changes: Partial<Extract<LockInput, { type: 'destroy' }>> = {}): LockInput => ({
  type: 'destroy',
  session,
  keys: ['x', 'y'],
  behavior: 'release',
  delays: false,
  ...changes,
})
const put = (value: string): LockInput => ({ type: 'put', key: 'x', value })
const get: LockInput = { type: 'get', key: 'x' }
const getY: LockInput = { type: 'get', key: 'y' }
const done: LockOutput = { type: 'written', done: true }
const lost: LockOutput = { type: 'written', done: false }
const invalid: LockOutput = { type: 'invalid' }
const finds = (value: string, modifyIndex: number, session: string, lockIndex: number): LockOutput => ({
  type: 'read',
  found: { value, modifyIndex, session, lockIndex } satisfies LockFound,
})
const nothing: LockOutput = { type: 'read', found: undefined }

function expectGood(...lines: Line[]): void {
  assert.equal(complaint(checkLocks(history(...lines))), undefined)
}
function expectBad(...lines: Line[]): void {
  assert.equal(checkLocks(history(...lines)).kind, 'illegal')
}

describe('the linearizability checker, of locks', () => {
  describe('accepts', () => {
    it('one holder after the other, who count', () =>
      expectGood(
        ['a', 0, 1, acquire('1', 's'), done],
        ['b', 2, 3, acquire('2', 't'), lost],
        ['a', 4, 5, get, finds('1', 7, 's', 1)],
        ['a', 6, 7, acquire('3', 's'), done],
        ['a', 8, 9, get, finds('3', 8, 's', 1)],
        ['b', 10, 11, release('4', 't'), lost],
        ['a', 10, 11, release('5', 's'), done],
        ['b', 12, 13, get, finds('5', 9, '', 1)],
        ['b', 14, 15, acquire('6', 't'), done],
        ['b', 16, 17, get, finds('6', 10, 't', 2)],
      ))

    it('two who ask at the same time, and either gets it', () => {
      expectGood(['a', 0, 9, acquire('1', 's'), done], ['b', 0, 9, acquire('2', 't'), lost])
      expectGood(['a', 0, 9, acquire('1', 's'), lost], ['b', 0, 9, acquire('2', 't'), done])
    })

    it('an open acquisition that took effect, or did not', () => {
      expectGood(['a', 0, undefined, acquire('1', 's')], ['b', 2, 3, acquire('2', 't'), lost])
      expectGood(['a', 0, undefined, acquire('1', 's')], ['b', 2, 3, acquire('2', 't'), done])
      expectGood(['a', 0, undefined, acquire('1', 's')], ['b', 2, 3, get, finds('1', 4, 's', 1)])
    })

    it('a plain write that leaves the holder and begins the count anew, and a deletion that takes both along', () =>
      expectGood(
        ['a', 0, 1, acquire('1', 's'), done],
        ['b', 2, 3, put('2'), done],
        ['b', 4, 5, get, finds('2', 8, 's', 0)],
        ['b', 6, 7, { type: 'delete', key: 'x' }, done],
        ['b', 8, 9, acquire('3', 't'), done],
        ['b', 10, 11, get, finds('3', 10, 't', 1)],
      ))

    it("a session's end, which lets go of all its keys at once, or deletes them", () => {
      const held: Line[] = [
        ['a', 0, 1, acquire('1', 's'), done],
        ['a', 2, 3, acquire('2', 's', 'y'), done],
      ]
      expectGood(
        ...held,
        ['a', 4, 5, destroy('s'), done],
        ['b', 6, 7, get, finds('1', 9, '', 1)],
        ['b', 8, 9, getY, finds('2', 9, '', 1)],
        ['b', 10, 11, acquire('3', 't'), done],
        ['a', 12, 13, acquire('4', 's'), invalid],
        ['a', 14, 15, release('5', 's'), lost],
        ['a', 16, 17, destroy('s'), done],
      )
      expectGood(
        ...held,
        ['a', 4, 5, destroy('s', { behavior: 'delete' }), done],
        ['b', 6, 7, get, nothing],
        ['b', 8, 9, getY, nothing],
      )
    })

    it('that nobody gets the lock of an ended session for a while, if it has a delay', () =>
      expectGood(
        ['a', 0, 1, acquire('1', 's'), done],
        ['a', 2, 3, destroy('s', { delays: true }), done],
        ['b', 4, 5, acquire('2', 't'), lost],
        ['b', 6, 7, acquire('3', 't'), done],
        ['b', 8, 9, get, finds('3', 9, 't', 2)],
      ))

    it('an end that nobody asked for, at any time', () => {
      const ending: Line = ['leader', 0, undefined, destroy('s')]
      expectGood(ending, ['a', 1, 2, acquire('1', 's'), done], ['b', 3, 4, acquire('2', 't'), done])
      expectGood(ending, ['a', 1, 2, acquire('1', 's'), done], ['b', 3, 4, acquire('2', 't'), lost])
      expectGood(ending, ['a', 1, 2, acquire('1', 's'), invalid])
    })
  })

  describe('rejects', () => {
    it('two holders', () => expectBad(['a', 0, 1, acquire('1', 's'), done], ['b', 2, 3, acquire('2', 't'), done]))

    it('a refusal when nobody holds it', () => {
      expectBad(['a', 0, 1, acquire('1', 's'), lost])
      expectBad(
        ['a', 0, 1, acquire('1', 's'), done],
        ['a', 2, 3, release('2', 's'), done],
        ['b', 4, 5, acquire('3', 't'), lost],
      )
    })

    it('a refusal after an end without delay, and one after somebody has got it', () => {
      const ended = (delays: boolean): Line[] => [
        ['a', 0, 1, acquire('1', 's'), done],
        ['a', 2, 3, destroy('s', { delays }), done],
      ]
      expectBad(...ended(false), ['b', 4, 5, acquire('2', 't'), lost])
      expectBad(
        ...ended(true),
        ['b', 4, 5, acquire('2', 't'), done],
        ['b', 6, 7, release('3', 't'), done],
        ['b', 8, 9, acquire('4', 't'), lost],
      )
    })

    it('a lock for a session that is over, or that one that is not is over', () => {
      expectBad(['a', 0, 1, destroy('s'), done], ['a', 2, 3, acquire('1', 's'), done])
      expectBad(['a', 0, 1, acquire('1', 's'), invalid])
    })

    it('a release by another, or one that the holder is refused', () => {
      const held: Line = ['a', 0, 1, acquire('1', 's'), done]
      expectBad(held, ['b', 2, 3, release('2', 't'), done])
      expectBad(held, ['a', 2, 3, release('2', 's'), lost])
    })

    it('a session that ended with one key and still holds the other', () =>
      expectBad(
        ['a', 0, 1, acquire('1', 's'), done],
        ['a', 2, 3, acquire('2', 's', 'y'), done],
        ['l', 4, undefined, destroy('s')],
        ['b', 5, 6, get, finds('1', 9, '', 1)],
        ['b', 7, 8, getY, finds('2', 8, 's', 1)],
      ))

    it('a count that does not count, and an end that leaves the index', () => {
      expectBad(['a', 0, 1, acquire('1', 's'), done], ['a', 2, 3, get, finds('1', 5, 's', 2)])
      expectBad(
        ['a', 0, 1, acquire('1', 's'), done],
        ['a', 2, 3, get, finds('1', 5, 's', 1)],
        ['a', 4, 5, destroy('s'), done],
        ['a', 6, 7, get, finds('1', 5, '', 1)],
      )
    })
  })

  it('accepts whatever was made from an order', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const made = lockHistory(seed, { operations: 60, clients: 4, open: 0.1 })
      assert.equal(complaint(checkLocks(made)), undefined, `seed ${seed}`)
    }
  })

  for (const [name, mutate] of Object.entries(lockMutations)) {
    it(`finds ${name} in histories that were right before`, () => {
      let found = 0
      for (let seed = 1; seed <= 100; seed++) {
        const mutated = mutate(lockHistory(seed, { operations: 60, clients: 3, open: 0.05 }), new Random(seed))
        if (mutated === undefined) continue
        found++
        assert.equal(checkLocks(mutated).kind, 'illegal', `seed ${seed}`)
      }
      assert.ok(found > 20, `only ${found} histories could be made wrong`)
    })
  }
})
