import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { KvPair } from '../model.ts'
import { PairReader, PairWriter } from './pair-bytes.ts'
import { Pairs } from './pairs.ts'
import { byBytes, orderKey, plainKey } from './table.ts'

function pairOf(key: string, value = '', change: Partial<KvPair> = {}): KvPair {
  return { key, value, flags: '0', lockIndex: 0, createIndex: 1, modifyIndex: 1, ...change }
}

function put(pairs: Pairs, pair: KvPair): void {
  pairs.set(orderKey(pair.key), pair)
}

describe('a key and its value as bytes', () => {
  it('come back as they were, whatever they are', () => {
    const index = fc.maxSafeNat()
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('base64')),
      fc.string({ unit: 'binary' }),
    )
    const pair = fc
      .record({
        key: fc.string({ unit: 'binary', maxLength: 200 }),
        value,
        flags: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
        lockIndex: index,
        createIndex: index,
        modifyIndex: index,
      })
      .map((each) => ({ ...each, modifyIndex: Math.max(each.createIndex, each.modifyIndex) }))
    const writer = new PairWriter()
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 5 }), (given) => {
        const bytes = Buffer.concat(given.map((each) => writer.row(each).copy()))
        const row = new PairReader()
        let at = 0
        for (const each of given) {
          assert.deepEqual(row.open(bytes, at).pair(), each)
          assert.equal(row.modifyIndex, each.modifyIndex)
          assert.equal(row.compare(Buffer.from(each.key), 0, Buffer.byteLength(each.key)), 0)
          at = row.end
        }
        assert.equal(at, bytes.length)
      }),
      { numRuns: 150 },
    )
  })
})

describe('keys and values, packed', () => {
  const key = fc.oneof(
    fc.string({ unit: fc.constantFrom('a', 'b', '/', 'é', '\uffee', '\u{10000}'), maxLength: 4 }),
    fc.nat(400).map((at) => `key/${String(at).padStart(3, '0')}`),
  )
  // Many to a leaf, few to a leaf, and more than fits into one.
  const length = fc.oneof({ weight: 6, arbitrary: fc.nat(60) }, fc.nat(2_000), { weight: 1, arbitrary: fc.nat(30_000) })
  const set = fc.record({ what: fc.constant('set' as const), key, length })
  const run = fc.record({
    what: fc.constant('run' as const),
    from: fc.nat(300),
    count: fc.nat(100),
    length: fc.nat(300),
  })
  const remove = fc.record({ what: fc.constantFrom('delete', 'deleteUnder', 'clone', 'restore'), key })
  const step = fc.oneof({ weight: 6, arbitrary: set }, { weight: 2, arbitrary: run }, { weight: 3, arbitrary: remove })

  function check(pairs: Pairs, model: Map<string, KvPair>, prefix: string): void {
    const expected = [...model.values()].sort((a, b) => byBytes(a.key, b.key))
    assert.equal(pairs.size, expected.length)
    assert.deepEqual([...pairs.rows()], expected)
    const under = expected.filter((each) => each.key.startsWith(prefix))
    assert.deepEqual(pairs.under(orderKey(prefix)), under)
    const keys: [string, number][] = []
    pairs.eachKeyUnder(orderKey(prefix), (each, modifyIndex) => keys.push([each, modifyIndex]))
    assert.deepEqual(
      keys,
      under.map((each) => [each.key, each.modifyIndex]),
    )
  }

  function restored(pairs: Pairs, pieceBytes: number): Pairs {
    const copy = new Pairs()
    for (const { rows, pieces } of pairs.packed(pieceBytes))
      assert.equal(copy.appendPacked(Buffer.concat(pieces)), rows)
    return copy
  }

  it('are what a plain map would hold, and clones stay as they were', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let pairs = new Pairs()
        const model = new Map<string, KvPair>()
        const clones: { pairs: Pairs; model: Map<string, KvPair> }[] = []
        for (const [at, each] of steps.entries()) {
          const change = (name: string, size: number) => {
            const pair = pairOf(name, Buffer.alloc(size, at).toString('base64'), { modifyIndex: at + 1 })
            put(pairs, pair)
            model.set(name, pair)
          }
          if (each.what === 'set') change(each.key, each.length)
          if (each.what === 'run') {
            for (let one = each.from; one < each.from + each.count; one++) {
              change(`key/${String(one).padStart(3, '0')}`, each.length)
            }
          }
          if (each.what === 'delete') assert.equal(pairs.delete(orderKey(each.key)), model.delete(each.key))
          if (each.what === 'deleteUnder') {
            const gone = [...model.values()].filter((one) => one.key.startsWith(each.key))
            assert.deepEqual(pairs.deleteUnder(orderKey(each.key)), gone.map((one) => one.key).sort(byBytes))
            for (const one of gone) model.delete(one.key)
          }
          if (each.what === 'clone') clones.push({ pairs: pairs.clone(), model: new Map(model) })
          if (each.what === 'restore') pairs = restored(pairs, 1 + at * 700)
          if ('key' in each) assert.deepEqual(pairs.get(orderKey(each.key)), model.get(each.key))
        }
        for (const name of ['', 'a', 'key/1', 'key/100', '\u{10000}', '\uffee']) {
          check(pairs, model, name)
          assert.deepEqual(pairs.get(orderKey(name)), model.get(name))
          for (const clone of clones) check(clone.pairs, clone.model, name)
        }
      }),
      { numRuns: 150 },
    )
  })

  it('are the same bytes whatever order they came in', () => {
    const order = fc.shuffledSubarray(
      Array.from({ length: 300 }, (_, at) => `k${at}`),
      { minLength: 200 },
    )
    fc.assert(
      fc.property(order, fc.nat(20_000), (keys, pieceBytes) => {
        const [one, other] = [new Pairs(), new Pairs()]
        for (const each of keys) put(one, pairOf(each, 'a'.repeat(200)))
        for (const each of keys.toSorted()) put(other, pairOf(each, 'a'.repeat(200)))
        const bytes = (pairs: Pairs) => [...pairs.packed(pieceBytes)].map(({ pieces }) => Buffer.concat(pieces))
        assert.deepEqual(bytes(one), bytes(other))
        assert.deepEqual(bytes(restored(one, 1000)), bytes(one))
      }),
      { numRuns: 20 },
    )
  })

  it('take little more memory than their bytes, also when they come in reverse behind a full leaf', () => {
    const memory = (pairs: Pairs) => {
      const pieces = [...pairs.packed(Number.POSITIVE_INFINITY)].flatMap((portion) => portion.pieces)
      const sum = (sizes: number[]) => sizes.reduce((all, each) => all + each, 0)
      return {
        bytes: sum(pieces.map(({ length }) => length)),
        held: sum(pieces.map(({ buffer }) => buffer.byteLength)),
      }
    }
    const before = new Pairs()
    // Somewhere in here a leaf is full to the last row.
    for (let filled = 0; filled < 400; filled++) {
      put(before, pairOf(`a/${String(filled).padStart(4, '0')}`, 'YQ=='))
      const pairs = before.clone()
      for (let at = 200; at > 0; at--) put(pairs, pairOf(`b/${String(at).padStart(4, '0')}`, 'YQ=='))
      const { bytes, held } = memory(pairs)
      assert.ok(held < 3 * bytes, `${held} bytes are held for ${bytes}, with ${filled + 1} keys before`)
    }
  })

  it('take rows from outside only in order, and only whole', () => {
    const bytes = (...keys: string[]) =>
      Buffer.concat(keys.map((each) => new PairWriter().row(pairOf(each, 'YQ==')).copy()))
    const pairs = new Pairs()
    pairs.appendPacked(bytes('a', 'b'))
    assert.throws(() => pairs.appendPacked(bytes('b')), /expected a key after "b", received "b"/)
    assert.throws(() => new Pairs().appendPacked(bytes('b', 'a')), /expected a key after "b", received "a"/)
    const whole = bytes('a')
    for (let length = 1; length < whole.length; length++) {
      assert.throws(() => new Pairs().appendPacked(whole.subarray(0, length)), { name: 'Corrupt' })
    }
    assert.throws(() => new Pairs().append([pairOf('b'), pairOf('a')]), /expected a key after/)
  })

  it('find a key by its place, in the order of UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => assert.equal(plainKey(orderKey(text)), text)),
      { numRuns: 500 },
    )
  })
})
