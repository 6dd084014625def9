import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import { check, complaint, type Verdict } from './check.ts'
import type { Operation } from './history.ts'
import { checkHistory, type KvInput, type KvOperation, type KvOutput, kvModel, type TxnInput } from './kv.ts'
import type { Model } from './model.ts'
import { linearizableHistory, mutations, txnMutations } from './random.ts'

type Line = [client: string, call: number, end: number | undefined, input: KvInput, output?: KvOutput]
const history = (...lines: Line[]): KvOperation[] =>
  lines.map(([client, call, end, input, output]) => ({ client, call, return: end, input, output }))

const get: KvInput = { type: 'get', key: 'x' }
const put = (value: string): KvInput => ({ type: 'put', key: 'x', value })
const cas = (value: string, index: number): KvInput => ({ type: 'cas', key: 'x', value, index })
const remove: KvInput = { type: 'delete', key: 'x' }
const removeIf = (index: number): KvInput => ({ type: 'delete-cas', key: 'x', index })
const done: KvOutput = { type: 'written', done: true }
const lost: KvOutput = { type: 'written', done: false }
const finds = (value: string, modifyIndex: number, createIndex?: number): KvOutput => ({
  type: 'read',
  found: { value, modifyIndex, ...(createIndex === undefined ? {} : { createIndex }) },
})
const txn = (...operations: TxnInput[]): KvInput => ({ type: 'txn', operations })
const failedAt = (...failed: number[]): KvOutput => ({ type: 'txn', done: false, failed })
const answers = (...results: Extract<KvOutput, { type: 'txn'; done: true }>['results']): KvOutput => {
  return { type: 'txn', done: true, results }
}
const pair = (value: string | undefined, modifyIndex: number) => ({ value, modifyIndex })
const setX = (value: string): TxnInput => ({ type: 'put', key: 'x', value })
const setY = (value: string): TxnInput => ({ type: 'put', key: 'y', value })
const getX: TxnInput = { type: 'get', key: 'x' }
const getY: TxnInput = { type: 'get', key: 'y' }
const nothing: KvOutput = { type: 'read', found: undefined }
const nothingAt = (index: number): KvOutput => ({ type: 'read', found: undefined, index })

function expectGood(operations: KvOperation[]): void {
  assert.equal(complaint(checkHistory(operations)), undefined)
}
function expectBad(operations: KvOperation[], pattern = /./): Verdict {
  const verdict = checkHistory(operations)
  assert.equal(verdict.kind, 'illegal', JSON.stringify(operations))
  assert.match(complaint(verdict)!, pattern)
  return verdict
}

describe('the linearizability checker', () => {
  describe('accepts', () => {
    it('nothing at all', () => expectGood([]))

    it('a read that overlaps a write and finds the old or the new', () => {
      const write: Line[] = [
        ['a', 0, 1, put('one'), done],
        ['a', 2, 10, put('two'), done],
      ]
      expectGood(history(...write, ['b', 3, 4, get, finds('one', 7)]))
      expectGood(history(...write, ['b', 3, 4, get, finds('two', 9)]))
    })

    it('reads that agree on the order of two concurrent writes', () => {
      expectGood(
        history(
          ['a', 0, 10, put('one'), done],
          ['b', 0, 10, put('two'), done],
          ['c', 1, 2, get, nothing],
          ['c', 3, 4, get, finds('two', 5)],
          ['d', 5, 6, get, finds('one', 6)],
        ),
      )
    })

    it('an operation called at the moment another returned, in either order', () => {
      expectGood(history(['a', 0, 5, put('one'), done], ['b', 5, 6, get, nothing]))
      expectGood(history(['a', 0, 5, put('one'), done], ['b', 5, 6, get, finds('one', 3)]))
    })

    it('an open write that never happened, happened at once, or happens much later', () => {
      const open: Line = ['a', 0, undefined, put('one')]
      expectGood(history(open, ['b', 1, 2, get, nothing], ['b', 100, 101, get, nothing]))
      expectGood(history(open, ['b', 1, 2, get, finds('one', 3)]))
      expectGood(history(open, ['b', 1, 2, get, nothing], ['b', 100, 101, get, finds('one', 3)]))
    })

    it('an open write that nobody read, told by a check-and-set that lost and one that found the key', () => {
      expectGood(
        history(
          ['a', 0, 1, put('one'), done],
          ['b', 2, 3, get, finds('one', 4)],
          ['c', 2, undefined, put('two')],
          ['b', 5, 6, cas('three', 4), lost],
        ),
      )
      expectGood(history(['c', 0, undefined, put('two')], ['b', 5, 6, cas('three', 0), lost]))
    })

    it('an open deletion, once', () => {
      expectGood(
        history(
          ['a', 0, 1, put('one'), done],
          ['b', 2, undefined, remove],
          ['b', 2, undefined, remove],
          ['a', 3, 4, get, nothingAt(9)],
          ['a', 5, 6, put('two'), done],
          ['a', 7, 8, get, finds('two', 10, 10)],
          ['a', 9, 10, get, nothing],
        ),
      )
    })

    it("Consul's ways: the same again changes nothing, absent is deleted at any index but 0", () => {
      expectGood(
        history(
          ['a', 0, 1, put('one'), done],
          ['a', 2, 3, get, finds('one', 5, 5)],
          ['b', 4, 5, put('one'), done],
          ['a', 6, 7, get, finds('one', 5, 5)],
          ['a', 8, 9, removeIf(5), done],
          ['a', 10, 11, removeIf(77), done],
          ['a', 12, 13, removeIf(0), lost],
          ['a', 14, 15, remove, done],
          ['a', 16, 17, cas('two', 0), done],
          ['a', 18, 19, get, finds('two', 8, 8)],
          ['a', 20, 21, put('three'), done],
          ['a', 22, 23, get, finds('three', 11, 8)],
        ),
      )
    })

    it('a transaction, whose operations see those before them, and which writes at one index', () => {
      expectGood(
        history(
          [
            'a',
            0,
            1,
            txn(setX('one'), setY('one'), getX),
            answers(pair(undefined, 5), pair(undefined, 5), pair('one', 5)),
          ],
          ['b', 2, 3, { type: 'get', key: 'y' }, finds('one', 5, 5)],
          [
            'a',
            4,
            5,
            txn({ type: 'delete', key: 'x' }, { type: 'check-not-exists', key: 'x' }, setX('two')),
            answers(),
          ],
          ['b', 6, 7, get, finds('two', 8, 8)],
          ['a', 8, 9, txn(setY('three'), setY('four')), answers(pair(undefined, 9), pair(undefined, 9))],
          ['b', 10, 11, txn(getX, getY), answers(pair('two', 8), pair('four', 9))],
        ),
      )
    })

    it('a transaction that failed, of which nothing is there, and which tells what it found', () => {
      const begin: Line = ['a', 0, 1, put('one'), done]
      const failing = txn(setY('lost'), { type: 'cas', key: 'x', value: 'two', index: 4 })
      expectGood(
        history(
          begin,
          ['b', 2, 3, get, finds('one', 5)],
          ['a', 4, 5, failing, failedAt(1)],
          ['b', 6, 7, txn(getX, getY), failedAt(1)],
          ['b', 6, 7, txn({ type: 'check-index', key: 'x', index: 5 }), answers(pair(undefined, 5))],
        ),
      )
    })

    it('an open transaction, all of it or nothing of it', () => {
      const open: Line = ['a', 0, undefined, txn(setX('one'), setY('one'))]
      expectGood(history(open, ['b', 1, 2, get, nothing], ['b', 3, 4, { type: 'get', key: 'y' }, nothing]))
      expectGood(
        history(open, ['b', 1, 2, get, finds('one', 5)], ['b', 3, 4, { type: 'get', key: 'y' }, finds('one', 5)]),
      )
    })

    it('an answer that never came to a read', () => expectGood(history(['a', 0, undefined, get])))
  })

  describe('rejects', () => {
    it('a stale read', () => {
      expectBad(
        history(['a', 0, 1, put('one'), done], ['a', 2, 3, put('two'), done], ['b', 4, 5, get, finds('one', 7)]),
        /"x": 3 operations, 0 of them open[\s\S]*none of these can be next:\n.*get x -> "one" \(7\)/,
      )
    })

    it('a read that goes back while a write is under way', () => {
      expectBad(
        history(
          ['a', 0, 1, put('one'), done],
          ['a', 2, 20, put('two'), done],
          ['b', 3, 4, get, finds('two', 8)],
          ['c', 5, 6, get, finds('one', 7)],
        ),
      )
    })

    it('reads that see two concurrent writes in different orders', () => {
      expectBad(
        history(
          ['a', 0, 20, put('one'), done],
          ['b', 0, 20, put('two'), done],
          ['c', 1, 2, get, finds('one', 5)],
          ['c', 3, 4, get, finds('two', 6)],
          ['c', 5, 6, get, finds('one', 5)],
        ),
      )
    })

    it('a lost update: two who read the same index both won', () => {
      expectBad(
        history(
          ['a', 0, 1, put('one'), done],
          ['a', 2, 3, get, finds('one', 4)],
          ['b', 2, 3, get, finds('one', 4)],
          ['a', 4, 9, cas('two', 4), done],
          ['b', 4, 9, cas('three', 4), done],
        ),
      )
    })

    it('an acknowledged write that is not there', () => {
      expectBad(history(['a', 0, 1, put('one'), done], ['a', 2, 3, get, nothing]))
    })

    it('a write that was refused for certain and is there all the same', () => {
      // What was refused is not part of the history.
      expectBad(history(['b', 4, 5, get, finds('one', 3)]), /absent at 0|none of these can be next/)
    })

    it('a write that is applied twice', () => {
      expectBad(
        history(
          ['a', 0, 1, put('one'), done],
          ['b', 2, 3, put('two'), done],
          ['c', 4, 5, get, finds('two', 8)],
          ['c', 6, 7, get, finds('one', 9)],
        ),
      )
      expectBad(
        history(
          ['a', 0, undefined, put('one')],
          ['c', 1, 2, get, finds('one', 5)],
          ['b', 3, 4, remove, done],
          ['c', 5, 6, get, finds('one', 7)],
        ),
      )
    })

    it('a deletion that is applied twice', () => {
      expectBad(
        history(
          ['a', 0, 1, put('one'), done],
          ['b', 2, undefined, remove],
          ['a', 3, 4, get, nothing],
          ['a', 5, 6, put('two'), done],
          ['a', 7, 8, get, nothing],
        ),
      )
    })

    it('a read from the future', () => {
      expectBad(history(['b', 0, 1, get, finds('one', 3)], ['a', 2, 3, put('one'), done]))
      expectBad(history(['b', 0, 1, get, finds('one', 3)], ['a', 2, undefined, put('one')]))
    })

    it('an index that a later write cannot have', () => {
      expectBad(
        history(
          ['a', 0, 1, put('one'), done],
          ['a', 2, 3, get, finds('one', 9)],
          ['a', 4, 5, put('two'), done],
          ['a', 6, 7, get, finds('two', 8)],
        ),
        /index 8, though 9 had been shown/,
      )
    })

    it('an index that changes though nobody wrote', () => {
      expectBad(
        history(['a', 0, 1, put('one'), done], ['a', 2, 3, get, finds('one', 9)], ['a', 4, 5, get, finds('one', 10)]),
      )
    })

    it('a key created twice without a deletion, and a deletion that kept the creation', () => {
      const begin: Line[] = [
        ['a', 0, 1, put('one'), done],
        ['a', 2, 3, get, finds('one', 5, 5)],
      ]
      expectBad(history(...begin, ['a', 4, 5, put('two'), done], ['a', 6, 7, get, finds('two', 8, 8)]))
      expectBad(
        history(
          ...begin,
          ['a', 4, 5, remove, done],
          ['a', 6, 7, put('two'), done],
          ['a', 8, 9, get, finds('two', 8, 5)],
        ),
      )
    })

    it('a transaction of which one key shows the effect and then the other does not', () => {
      expectBad(
        history(
          ['a', 0, undefined, txn(setX('one'), setY('one'))],
          ['b', 1, 2, get, finds('one', 5)],
          ['b', 3, 4, { type: 'get', key: 'y' }, nothing],
        ),
      )
    })

    it('a transaction whose keys have different indexes', () => {
      expectBad(
        history(
          ['a', 0, 1, txn(setX('one'), setY('one')), answers(pair(undefined, 5), pair(undefined, 5))],
          ['b', 2, 3, { type: 'get', key: 'y' }, finds('one', 6)],
        ),
      )
    })

    it('a transaction that reads two keys at different moments', () => {
      expectBad(
        history(
          ['a', 0, 1, txn(setX('one'), setY('one')), answers(pair(undefined, 5), pair(undefined, 5))],
          ['a', 2, 20, txn(setX('two'), setY('two')), answers(pair(undefined, 6), pair(undefined, 6))],
          ['b', 2, 20, txn(getX, getY), answers(pair('one', 5), pair('two', 6))],
        ),
      )
    })

    it('two who changed a key that the other had checked: write skew', () => {
      const begin: Line[] = [
        ['a', 0, 1, txn(setX('one'), setY('one')), answers(pair(undefined, 5), pair(undefined, 5))],
      ]
      const first = txn({ type: 'check-index', key: 'x', index: 5 }, setY('two'))
      const second = txn({ type: 'check-index', key: 'y', index: 5 }, setX('two'))
      expectGood(history(...begin, ['a', 2, 9, first, answers(pair(undefined, 5))], ['b', 2, 9, second, failedAt(0)]))
      expectBad(
        history(
          ...begin,
          ['a', 2, 9, first, answers(pair(undefined, 5))],
          ['b', 2, 9, second, answers(pair(undefined, 5))],
        ),
      )
    })

    it('a transaction that failed and is there all the same, or failed without a reason', () => {
      const begin: Line[] = [
        ['a', 0, 1, put('one'), done],
        ['a', 2, 3, get, finds('one', 5)],
      ]
      const stale: TxnInput = { type: 'cas', key: 'x', value: 'two', index: 4 }
      expectBad(
        history(
          ...begin,
          ['b', 4, 5, txn(setY('lost'), stale), failedAt(1)],
          ['b', 6, 7, txn(getY), answers(pair('lost', 9))],
        ),
      )
      expectBad(history(...begin, ['b', 4, 5, txn({ ...stale, index: 5 }), failedAt(0)]))
      expectBad(history(...begin, ['b', 4, 5, txn(setX('three')), failedAt(0)]))
      expectBad(
        history(...begin, ['b', 4, 5, txn(getX, { type: 'check-not-exists', key: 'x' }), answers(pair('one', 5))]),
      )
    })

    it('a check-and-set that lost against nobody', () => {
      expectBad(
        history(['a', 0, 1, put('one'), done], ['a', 2, 3, get, finds('one', 5)], ['a', 4, 5, cas('two', 5), lost]),
      )
      expectBad(history(['a', 0, 1, cas('one', 0), lost]))
    })

    it('indexes of different keys that contradict the order of time', () => {
      const other = (value: string): KvInput => ({ type: 'put', key: 'y', value })
      expectBad(
        history(
          ['a', 0, 1, put('one'), done],
          ['a', 2, 3, get, finds('one', 9)],
          ['b', 4, 5, other('two'), done],
          ['b', 6, 7, { type: 'get', key: 'y' }, finds('two', 8)],
        ),
        /index 8, though 9/,
      )
      expectBad(
        history(
          ['a', 0, 1, put('one'), done],
          ['b', 0, 1, other('two'), done],
          ['a', 2, 3, get, finds('one', 9)],
          ['b', 2, 3, { type: 'get', key: 'y' }, finds('two', 9)],
        ),
        /two writes took effect at index 9/,
      )
    })
  })

  const shape = { operations: 400, keys: 4, clients: 8, open: 0.08 }

  it('accepts random histories that were made from an order', () => {
    for (let seed = 1; seed <= 150; seed++) {
      assert.equal(complaint(checkHistory(linearizableHistory(seed, shape))), undefined, `seed ${seed}`)
    }
  })

  it('accepts them as well when nothing but values is known, and no open write was ever read', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const operations = linearizableHistory(seed, { ...shape, operations: 200 })
      const plain = operations.map((operation) => {
        const { output, input } = operation
        if (output?.type !== 'read') return operation
        return { ...operation, input, output: { type: 'read' as const, found: output.found } }
      })
      const { prepare: _, ...unprepared } = kvModel
      assert.equal(complaint(check(unprepared, plain)), undefined, `seed ${seed}`)
    }
  })

  for (const [name, mutate] of Object.entries(mutations)) {
    it(`rejects a random history with ${name}`, () => {
      let mutants = 0
      for (let seed = 1; seed <= 60; seed++) {
        const random = new Random(seed)
        const mutant = mutate(linearizableHistory(seed, shape), random)
        if (mutant === undefined) continue
        mutants++
        assert.equal(checkHistory(mutant).kind, 'illegal', `seed ${seed}`)
        // Without what indexes say across keys, too.
        assert.equal(check(kvModel, mutant).kind, 'illegal', `seed ${seed}, by search`)
      }
      assert.ok(mutants > 30, `${mutants} mutants`)
    })
  }

  const transactional = { ...shape, operations: 120, open: 0.05, transactions: 0.4 }

  it('accepts random histories with transactions that were made from an order', () => {
    let failed = 0
    for (let seed = 1; seed <= 100; seed++) {
      const operations = linearizableHistory(seed, transactional)
      failed += operations.filter(({ output }) => output?.type === 'txn' && !output.done).length
      assert.equal(complaint(checkHistory(operations)), undefined, `seed ${seed}`)
    }
    assert.ok(failed > 500, `${failed} failed`)
  })

  for (const [name, mutate] of Object.entries({ ...mutations, ...txnMutations })) {
    it(`rejects a random history with transactions and ${name}`, () => {
      let mutants = 0
      for (let seed = 1; seed <= 25; seed++) {
        const mutant = mutate(linearizableHistory(seed, transactional), new Random(seed))
        if (mutant === undefined) continue
        mutants++
        assert.equal(checkHistory(mutant).kind, 'illegal', `seed ${seed}`)
        assert.equal(check(kvModel, mutant).kind, 'illegal', `seed ${seed}, by search`)
      }
      assert.ok(mutants > 10, `${mutants} mutants`)
    })
  }

  it('agrees with trying every order, on small histories of transactions with answers mixed up', () => {
    const verdicts = { linearizable: 0, illegal: 0, unknown: 0 }
    for (let seed = 1; seed <= 1000; seed++) {
      const random = new Random(seed)
      const made = linearizableHistory(seed, { operations: 6, keys: 2, clients: 4, open: 0.2, transactions: 0.7 })
      const operations = made.map((operation): KvOperation => {
        const { input, output } = operation
        if (output?.type !== 'txn' || input.type !== 'txn' || !random.chance(0.4)) return operation
        if (!output.done) return { ...operation, output: answers(...input.operations.map(() => undefined)) }
        if (random.chance(0.5)) return { ...operation, output: failedAt(0) }
        const results = output.results.map(
          (found) => found && { ...found, modifyIndex: found.modifyIndex + random.between(-1, 1) },
        )
        return { ...operation, output: answers(...results) }
      })
      const { kind } = check(kvModel, operations)
      assert.equal(kind, anyOrder(operations) ? 'linearizable' : 'illegal', `seed ${seed}`)
      verdicts[kind]++
    }
    assert.ok(verdicts.linearizable > 200 && verdicts.illegal > 200, JSON.stringify(verdicts))
  })

  it('agrees with trying every order, on small histories with answers mixed up', () => {
    const verdicts = { linearizable: 0, illegal: 0, unknown: 0 }
    for (let seed = 1; seed <= 1500; seed++) {
      const random = new Random(seed)
      const made = linearizableHistory(seed, { operations: 7, keys: 1, clients: 4, open: 0.3 })
      const answers = made.flatMap(({ output }) => (output === undefined ? [] : [output]))
      const operations = made.map((operation): KvOperation => {
        const { input, output } = operation
        if (output === undefined || !random.chance(0.5)) return operation
        const fitting = answers.filter(({ type }) => (type === 'read') === (input.type === 'get'))
        return { ...operation, output: random.pick(fitting)! }
      })
      const { kind } = check(kvModel, operations)
      assert.equal(kind, anyOrder(operations) ? 'linearizable' : 'illegal', `seed ${seed}`)
      verdicts[kind]++
    }
    assert.ok(verdicts.linearizable > 300 && verdicts.illegal > 300, JSON.stringify(verdicts))
  })

  it('decides ten thousand operations on fifty keys', () => {
    const operations = linearizableHistory(1, { operations: 10_000, keys: 50, clients: 30, open: 0.05 })
    const verdict = checkHistory(operations)
    assert.equal(complaint(verdict), undefined)
    assert.ok(
      verdict.kind === 'linearizable' && verdict.partitions === 50 && verdict.steps < 200_000,
      JSON.stringify(verdict),
    )
  })

  it('decides two hundred writes of one key at the same time when their indexes are known', () => {
    const random = new Random(1)
    const order = random.shuffle(Array.from({ length: 200 }, (_, at) => at))
    const operations = order.map((at): KvOperation => {
      const [told, index] = [random.chance(0.5), 100 + at]
      const output: KvOutput = told ? { type: 'written', done: true, index } : finds(`v${at}`, index)
      return { client: `c${at}`, call: 1, return: 2, input: told ? put(`v${at}`) : get, output }
    })
    for (const at of order) {
      const read = operations.find(({ output }) => output?.type === 'read' && output.found?.value === `v${at}`)
      if (read !== undefined)
        operations.push({ client: `w${at}`, call: 1, return: undefined, input: put(`v${at}`), output: undefined })
    }
    const verdict = check(kvModel, operations)
    assert.ok(verdict.kind === 'linearizable' && verdict.steps < 1000, JSON.stringify(verdict))
  })

  it('keeps keys together that one operation touches, and only those', () => {
    type Input = { set: Record<string, string> } | { get: string }
    const model: Model<Record<string, string>, Input, string> = {
      initial: {},
      keys: (input) => ('set' in input ? Object.keys(input.set) : [input.get]),
      step: (state, input, output) => {
        if ('set' in input) return [{ ...state, ...input.set }]
        return (state[input.get] ?? '') === output ? [state] : []
      },
      stateKey: (state) => JSON.stringify(Object.entries(state).sort()),
      describe: (input, output) => `${JSON.stringify(input)} ${output}`,
      describeState: (state) => JSON.stringify(state),
    }
    const operation = (call: number, input: Input, output = ''): Operation<Input, string> => {
      return { client: 'a', call, return: call + 1, input, output }
    }
    const both = { ...operation(0, { set: { x: '1', y: '1' } }), return: 10 }
    const other = operation(0, { set: { z: '1' } })
    const good = [both, other, operation(2, { get: 'x' }), operation(4, { get: 'y' }, '1')]
    const verdict = check(model, good)
    assert.ok(verdict.kind === 'linearizable' && verdict.partitions === 2, JSON.stringify(verdict))
    // Half of the two: by itself each key would be well.
    const half = [both, other, operation(2, { get: 'x' }, '1'), operation(4, { get: 'y' })]
    assert.equal(check(model, half).kind, 'illegal')
  })

  it('says so when its steps are used up, with the size of what it could not decide', () => {
    const operations: KvOperation[] = Array.from({ length: 24 }, (_, at) => ({
      client: `c${at}`,
      call: 0,
      return: 100,
      input: put(`v${at}`),
      output: done,
    }))
    operations.push(...history(['r', 200, 201, get, nothing]))
    const verdict = check(kvModel, operations, { stepsMax: 20_000 })
    assert.equal(verdict.kind, 'unknown')
    assert.match(complaint(verdict)!, /"x": 25 operations, 0 of them open/)
  })
})

/** The definition itself: whether some order of all closed operations and some open ones keeps to time and model. */
function anyOrder(operations: readonly KvOperation[], state = kvModel.initial): boolean {
  if (operations.every(({ return: end }) => end === undefined)) return true
  const limit = Math.min(...operations.map(({ return: end }) => end ?? Number.POSITIVE_INFINITY))
  return operations.some((operation) => {
    const { call, input, output } = operation
    // A read that was not answered says nothing wherever it stands.
    if (call > limit || (input.type === 'get' && output === undefined)) return false
    const rest = operations.filter((other) => other !== operation)
    return kvModel.step(state, input, output).some((next) => anyOrder(rest, next))
  })
}
