import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Watchers } from './watch.ts'

describe('watchers', () => {
  let watchers: Watchers
  let woken: string[]
  beforeEach(() => {
    watchers = new Watchers()
    woken = []
  })

  function prefix(text: string): () => void {
    return watchers.add({ kind: 'prefix', prefix: text }, () => woken.push(text))
  }

  it('are called when the apply is over, once, however often their topic changed', () => {
    prefix('a')
    watchers.keyChanged('a')
    watchers.keyChanged('ab')
    assert.deepEqual(woken, [])
    watchers.wake()
    watchers.wake()
    assert.deepEqual(woken, ['a'])
  })

  it('of a prefix wait for every key that begins with it', () => {
    for (const text of ['', 'a', 'a/', 'a/b', 'b', 'a/bcd']) prefix(text)
    watchers.keyChanged('a/bc')
    watchers.wake()
    assert.deepEqual(woken.sort(), ['', 'a', 'a/', 'a/b'])
  })

  it('of names wait for any spelling', () => {
    watchers.add({ kind: 'service', service: 'Web' }, () => woken.push('service'))
    watchers.add({ kind: 'node', node: 'HOST1' }, () => woken.push('node'))
    watchers.changed({ kind: 'service', service: 'wEB' })
    watchers.changed({ kind: 'node', node: 'host1' })
    watchers.wake()
    assert.deepEqual(woken, ['service', 'node'])
  })

  it('of a state wait for checks in it; of any or an unknown state, for all checks', () => {
    for (const state of ['critical', 'passing', 'any', 'strange']) {
      watchers.add({ kind: 'checks', state }, () => woken.push(state))
    }
    watchers.changed({ kind: 'checks', state: 'critical' })
    watchers.wake()
    assert.deepEqual(woken.splice(0), ['critical'])
    watchers.changed({ kind: 'checks' })
    watchers.wake()
    assert.deepEqual(woken, ['any', 'strange'])
  })

  it('that ended are not called, and ending twice ends no other', () => {
    const end = prefix('a')
    prefix('a')
    end()
    end()
    watchers.keyChanged('a')
    watchers.wake()
    assert.deepEqual(woken, ['a'])
  })

  it('that are ended by the call of another are not called any more', () => {
    const ends: (() => void)[] = []
    for (const name of ['one', 'two']) {
      ends.push(
        watchers.add({ kind: 'nodes' }, () => {
          woken.push(name)
          for (const end of ends) end()
        }),
      )
    }
    watchers.changed({ kind: 'nodes' })
    watchers.wake()
    assert.deepEqual(woken, ['one'])
  })

  it('that begin during a call wait for the next change', () => {
    watchers.add({ kind: 'nodes' }, () => {
      woken.push('first')
      if (woken.length === 1) watchers.add({ kind: 'nodes' }, () => woken.push('second'))
    })
    watchers.changed({ kind: 'nodes' })
    watchers.wake()
    assert.deepEqual(woken, ['first'])
    watchers.changed({ kind: 'nodes' })
    watchers.wake()
    assert.deepEqual(woken, ['first', 'first', 'second'])
  })

  it('leave nothing behind when they end', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 4 })
    fc.assert(
      fc.property(fc.array(text), fc.array(text), (prefixes, keys) => {
        const watchers = new Watchers()
        const counts = new Map<string, number>()
        const ends = prefixes.map((each) =>
          watchers.add({ kind: 'prefix', prefix: each }, () => counts.set(each, (counts.get(each) ?? 0) + 1)),
        )
        assert.equal(watchers.size, prefixes.length)
        for (const key of keys) {
          counts.clear()
          watchers.keyChanged(key)
          watchers.wake()
          for (const each of new Set(prefixes)) {
            const expected = key.startsWith(each) ? prefixes.filter((other) => other === each).length : undefined
            assert.equal(counts.get(each), expected)
          }
        }
        for (const end of ends) end()
        assert.equal(watchers.size, 0)
      }),
    )
  })
})
