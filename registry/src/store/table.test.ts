import assert from 'node:assert/strict'
import fc from 'fast-check'
import { byBytes, folded, orderKey, Table } from './table.ts'

describe('order keys', () => {
  const text = fc.string({ unit: 'binary' })

  it('order as the bytes of UTF-8 do', () => {
    const near = fc.string({ unit: fc.constantFrom('a', 'é', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}') })
    fc.assert(
      fc.property(fc.oneof(text, near), fc.oneof(text, near), (a, b) => {
        assert.equal(byBytes(a, b), Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))))
      }),
      { numRuns: 1_000 },
    )
  })

  it('keep prefixes prefixes', () => {
    fc.assert(fc.property(text, text, (a, b) => assert.ok(orderKey(a + b).startsWith(orderKey(a)))))
  })

  it('names fold in ASCII only', () => {
    assert.equal(folded('Host-1.ÄÖ'), 'host-1.ÄÖ')
  })
})

describe('tables', () => {
  it('find nothing under a prefix after which no key can come, but what is there', () => {
    const table = new Table<number>()
    for (const [row, key] of ['a', '\uffff', '\uffff\uffff', '\uffffa'].entries()) table.set(key, row)
    assert.deepEqual(table.under('\uffff'), [1, 3, 2])
    assert.deepEqual(table.under('\uffff\uffff'), [2])
    assert.deepEqual(table.under('\uffff\uffff\uffff'), [])
    assert.deepEqual(table.under(''), [0, 1, 3, 2])
  })

  it('of sorted rows refuse rows that are not', () => {
    assert.throws(() => Table.ofSorted(['b', 'a'], [1, 2]))
    assert.throws(() => Table.ofSorted(['a', 'a'], [1, 2]))
  })

  it('grown in slices are as tables built at once, and take no slice that does not come after what is there', () => {
    for (const size of [1, 31, 32, 1000]) {
      const keys = Array.from({ length: 10_000 }, (_, at) => String(at).padStart(5, '0'))
      const table = new Table<number>()
      for (let at = 0; at < keys.length; at += size) {
        const slice = keys.slice(at, at + size)
        table.append(slice, slice.map(Number))
      }
      assert.equal(table.size, keys.length)
      assert.deepEqual([...table.rows()], keys.map(Number))
      const before = table.clone()
      for (let at = 0; at < keys.length; at += 3) table.delete(keys[at]!)
      assert.equal(before.size, keys.length)
      assert.equal(table.get('00004'), 4)
      assert.equal(table.get('00003'), undefined)
      assert.throws(() => table.append(['09998'], [1]), /expected a key after "09998"/)
    }
  })

  /** Enough rows for a tree of three levels. */
  const many = 5_000
  const key = (place: number): string => `${place % 7}/${String(place).padStart(5, '0')}`
  const step = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), from: fc.nat(many), count: fc.nat(300) }),
    fc.record({ kind: fc.constant('delete' as const), from: fc.nat(many), count: fc.nat(300) }),
    fc.record({ kind: fc.constant('under' as const), prefix: fc.constantFrom('0', '1/0', '2/01', '3/00', '6/', '') }),
    fc.record({ kind: fc.constant('clone' as const) }),
    fc.record({ kind: fc.constant('rebuild' as const) }),
  )

  it('hold what a plain map holds, and clones what it held then, whatever happens to either', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(step, { maxLength: 12 }), (filled, steps) => {
        const model = new Map<string, number>()
        if (filled) for (let place = 0; place < many; place++) model.set(key(place), 0)
        const sorted = () => [...model].sort(([a], [b]) => byBytes(a, b))
        let table = Table.ofSorted(
          sorted().map(([each]) => each),
          sorted().map(([, row]) => row),
        )
        const clones: [Table<number>, number[]][] = []
        for (const [turn, each] of steps.entries()) {
          switch (each.kind) {
            case 'set':
            case 'delete':
              for (let place = each.from; place < each.from + each.count; place++) {
                if (each.kind === 'set') {
                  table.set(key(place), turn)
                  model.set(key(place), turn)
                } else assert.equal(table.delete(key(place)), model.delete(key(place)))
              }
              break
            case 'under': {
              const under = sorted().filter(([one]) => one.startsWith(each.prefix))
              const rows = under.map(([, row]) => row)
              assert.equal(table.hasUnder(each.prefix), rows.length > 0)
              assert.deepEqual(table.under(each.prefix), rows)
              assert.deepEqual(table.deleteUnder(each.prefix), rows)
              for (const [one] of under) model.delete(one)
              break
            }
            case 'clone':
              clones.push([table.clone(), sorted().map(([, row]) => row)])
              break
            case 'rebuild':
              table = Table.ofSorted(
                sorted().map(([one]) => one),
                sorted().map(([, row]) => row),
              )
          }
          assert.equal(table.size, model.size)
          assert.deepEqual(
            [...table.rows()],
            sorted().map(([, row]) => row),
          )
        }
        for (const [clone, rows] of clones) assert.deepEqual([...clone.rows()], rows)
      }),
      { numRuns: 40 },
    )
  })
})
