import assert from 'node:assert/strict'
import fc from 'fast-check'
import { kvCommand, Log, reapCommand } from '../../test/store/samples.ts'
import type { KvPair } from '../model.ts'

describe('keys and values', () => {
  let log: Log
  beforeEach(() => {
    log = new Log()
  })

  it('a key remembers when it was created and when it last changed', () => {
    log.set('a', 'YQ==')
    log.set('a', 'Yg==', { flags: '18446744073709551615' })
    assert.deepEqual(log.store.kv('a'), {
      index: 3,
      value: { key: 'a', value: 'Yg==', flags: '18446744073709551615', lockIndex: 0, createIndex: 2, modifyIndex: 3 },
    })
  })

  it('setting what is there already changes nothing; other flags alone do', () => {
    log.set('a', 'YQ==')
    assert.deepEqual(log.set('a', 'YQ=='), { value: true })
    assert.equal(log.store.kv('a').index, 2)
    log.set('a', 'YQ==', { flags: '7' })
    assert.equal(log.store.kv('a').index, 4)
  })

  it('a key that was deleted and set again is a new one', () => {
    log.set('a', 'YQ==')
    log.delete('a')
    log.set('a', 'YQ==')
    assert.equal(log.store.kv('a').value?.createIndex, 4)
  })

  it('an absent key answers the index of the last change or deletion of any key', () => {
    log.set('a', 'YQ==')
    log.set('b', 'YQ==')
    assert.equal(log.store.kv('none').index, 3)
    log.delete('a')
    assert.equal(log.store.kv('none').index, 4)
    log.delete('a')
    assert.equal(log.store.kv('none').index, 4)
  })

  describe('check-and-set', () => {
    it('with 0 only creates', () => {
      assert.deepEqual(log.set('a', 'YQ==', { cas: 0 }), { value: true })
      assert.deepEqual(log.set('a', 'Yg==', { cas: 0 }), { value: false })
      assert.equal(log.store.kv('a').value?.value, 'YQ==')
    })

    it('with an index only changes what has that modifyIndex', () => {
      assert.deepEqual(log.set('a', 'YQ==', { cas: 1 }), { value: false })
      log.set('a', 'YQ==')
      assert.deepEqual(log.set('a', 'Yg==', { cas: log.last - 1 }), { value: false })
      assert.deepEqual(log.set('a', 'Yg==', { cas: 3 }), { value: true })
    })

    it('that matches and says what is there already is true and changes nothing', () => {
      log.set('a', 'YQ==')
      assert.deepEqual(log.set('a', 'YQ==', { cas: 2 }), { value: true })
      assert.equal(log.store.kv('a').index, 2)
    })

    it('deletes only what has that modifyIndex, and never with 0; what is not there is deleted already', () => {
      log.set('a', 'YQ==')
      assert.deepEqual(log.delete('a', { cas: 0 }), { value: false })
      assert.deepEqual(log.delete('a', { cas: 9 }), { value: false })
      assert.deepEqual(log.delete('a', { cas: 2 }), { value: true })
      assert.equal(log.store.kv('a').value, undefined)
      assert.deepEqual(log.delete('a', { cas: 2 }), { value: true })
    })
  })

  it('keys are in the order of their bytes, not of their UTF-16 units', () => {
    // U+FF61 is EF BD A1 and U+10000 is F0 90 80 80; as UTF-16, D800 comes before FF61.
    for (const key of ['\u{10000}', '\uff61', 'z', 'Z', 'é', 'a/', 'a', '\u{10000}\uff61', '\u{10000}\u{10001}']) {
      log.set(key, '')
    }
    const keys = log.store.kvKeys('').value
    assert.deepEqual(keys, ['Z', 'a', 'a/', 'z', 'é', '\uff61', '\u{10000}', '\u{10000}\uff61', '\u{10000}\u{10001}'])
    assert.deepEqual(
      keys,
      [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    )
    assert.deepEqual(log.store.kvKeys('\u{10000}').value, ['\u{10000}', '\u{10000}\uff61', '\u{10000}\u{10001}'])
  })

  it('a prefix is of the text, not of path segments', () => {
    for (const key of ['app', 'app/a', 'apple', 'ap']) log.set(key, '')
    assert.deepEqual(
      log.store.kvUnder('app').value.map((pair) => pair.key),
      ['app', 'app/a', 'apple'],
    )
  })

  it('keys fold after the first separator past the prefix', () => {
    for (const key of ['g/a/b', 'g/a/c', 'g/d', 'g/d/', 'g', 'h']) log.set(key, '')
    assert.deepEqual(log.store.kvKeys('g/', '/').value, ['g/a/', 'g/d', 'g/d/'])
    assert.deepEqual(log.store.kvKeys('g', '/').value, ['g', 'g/'])
    assert.deepEqual(log.store.kvKeys('', '/').value, ['g', 'g/', 'h'])
    assert.deepEqual(log.store.kvKeys('g/', '').value, ['g/a/b', 'g/a/c', 'g/d', 'g/d/'])
    assert.deepEqual(log.store.kvKeys('g/a', '/b').value, ['g/a/b', 'g/a/c'])
  })

  describe('a recursive delete', () => {
    it('takes every key that begins with the prefix, and only those', () => {
      for (const key of ['a/', 'a/b', 'a/b/c', 'ab', 'b']) log.set(key, '')
      log.delete('a/', { recurse: true })
      assert.deepEqual(log.store.kvKeys('').value, ['ab', 'b'])
      log.delete('', { recurse: true })
      assert.deepEqual(log.store.kvKeys('').value, [])
    })

    it('of nothing changes nothing', () => {
      log.set('b', '')
      assert.deepEqual(log.delete('a', { recurse: true }), { value: true })
      assert.equal(log.store.kv('none').index, 2)
    })

    it('moves the index of every prefix it touched, above and below', () => {
      for (const key of ['a/b/c', 'a/x', 'z']) log.set(key, '')
      log.delete('a/b', { recurse: true })
      assert.equal(log.store.kvUnder('a/').index, 5)
      assert.equal(log.store.kvUnder('a/b/').index, 5)
      assert.equal(log.store.kvUnder('z').index, 4)
    })

    it('wakes the watchers of what is gone, and of no other key', () => {
      for (const key of ['a/b', 'a/c', 'b']) log.set(key, '')
      const woken: string[] = []
      for (const key of ['a/b', 'a/c', 'a/d', 'b']) log.store.watch({ kind: 'key', key }, () => woken.push(key))
      for (const prefix of ['', 'a', 'a/', 'a/b', 'a/d', 'b']) {
        log.store.watch({ kind: 'prefix', prefix }, () => woken.push(`${prefix}…`))
      }
      log.delete('a/', { recurse: true })
      assert.deepEqual(woken.sort(), ['a/b', 'a/b…', 'a/c', 'a/…', 'a…', '…'])
    })
  })

  describe('tombstones', () => {
    it('hold the index of a prefix up after a deletion', () => {
      log.set('a/1', '')
      log.set('a/2', '')
      log.set('z', '')
      log.delete('a/2')
      assert.equal(log.store.kvUnder('a/').index, 5)
      assert.equal(log.store.kvUnder('a/1').index, 2)
    })

    it('of everything under a prefix move the index of the longer prefixes too', () => {
      log.set('a', '')
      log.set('aa', '')
      log.delete('a')
      const before = log.store.kvUnder('a').index
      log.delete('', { recurse: true })
      assert.equal(log.store.kvUnder('a').index, before + 1)
      assert.equal(log.store.kvUnder('aa').index, before + 1)
    })

    it('are forgotten when reaped, up to the index given', () => {
      log.set('a/1', '')
      log.set('a/2', '')
      log.set('a/3', '')
      log.delete('a/2')
      log.delete('a/3')
      log.apply({ type: 'tombstones.reap', upTo: 5 })
      assert.equal(log.store.kvUnder('a/').index, 6)
      log.apply({ type: 'tombstones.reap', upTo: 6 })
      assert.equal(log.store.kvUnder('a/').index, 2)
      assert.equal(log.store.kvUnder('a/2').index, 6)
    })

    it('of a key that was deleted again since are not reaped for the first time', () => {
      log.set('a/0', '')
      log.set('a/1', '')
      log.delete('a/1')
      log.set('a/1', '')
      log.delete('a/1')
      log.apply({ type: 'tombstones.reap', upTo: 4 })
      assert.equal(log.store.kvUnder('a/').index, 6)
    })
  })

  it('answers as a plain map does, whatever the commands', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 8, arbitrary: kvCommand }, reapCommand), { maxLength: 60 }),
        (commands) => {
          const log = new Log()
          const pairs = new Map<string, KvPair>()
          const deletions: { key: string; index: number }[] = []
          const trees: { key: string; index: number }[] = []
          let reaped = 0
          let changed = 0
          for (const command of commands) {
            const index = log.next
            const result = log.apply(command)
            if (command.type === 'tombstones.reap') reaped = Math.max(reaped, Math.min(command.upTo, index))
            if (command.type === 'kv.set') {
              const { key, value, flags, cas } = command
              const old = pairs.get(key)
              const matches = cas === undefined || cas === (old?.modifyIndex ?? 0)
              assert.deepEqual(result, { value: matches })
              if (matches && (old?.value !== value || old.flags !== flags)) {
                pairs.set(key, {
                  key,
                  value,
                  flags,
                  lockIndex: 0,
                  createIndex: old?.createIndex ?? index,
                  modifyIndex: index,
                })
                changed = index
              }
            }
            if (command.type === 'kv.delete') {
              const { key, cas, recurse } = command
              const old = pairs.get(key)
              const matches = recurse === true || cas === undefined || old === undefined || cas === old.modifyIndex
              assert.deepEqual(result, { value: matches })
              const gone = [...pairs.keys()].filter((each) => (recurse === true ? each.startsWith(key) : each === key))
              if (recurse === true && gone.length > 0) trees.push({ key, index })
              for (const each of matches ? gone : []) {
                pairs.delete(each)
                deletions.push({ key: each, index })
                changed = index
              }
            }

            const sorted = [...pairs.values()].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)))
            assert.deepEqual(
              log.store.kvKeys('').value,
              sorted.map((pair) => pair.key),
            )
            for (const prefix of ['', 'a', 'b', 'a/', 'ab', 'a/b', 'é', '\u{10000}', '\uffee']) {
              assert.deepEqual(log.store.kv(prefix).value, pairs.get(prefix))
              assert.equal(log.store.kv(prefix).index, pairs.get(prefix)?.modifyIndex ?? Math.max(1, changed))
              const expected = sorted.filter((pair) => pair.key.startsWith(prefix))
              const answer = log.store.kvUnder(prefix)
              assert.deepEqual(answer.value, expected)
              const gone = deletions.filter((each) => each.key.startsWith(prefix) && each.index > reaped)
              const newest = Math.max(0, ...expected.map((pair) => pair.modifyIndex), ...gone.map((each) => each.index))
              // Without keys, the index of the table is as good as that of the last deletion under the prefix, and so is
              // that of the last removal of everything under a shorter one.
              const above = trees.filter((each) => prefix.startsWith(each.key) && each.index > reaped)
              const others = [Math.max(1, changed), ...above.map((each) => each.index)]
              const allowed =
                expected.length === 0 || prefix === '' ? [newest, ...others].filter((each) => each >= newest) : [newest]
              assert.ok(allowed.includes(answer.index), `${prefix}: expected ${allowed}, received ${answer.index}`)
              assert.equal(log.store.kvKeys(prefix, '/').index, answer.index)
            }
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  it('the index under a prefix is that of the last removal of all under a shorter one too, wherever others are', () => {
    const key = fc.string({ unit: fc.constantFrom('a', 'b', '\uffee', '\u{10000}'), maxLength: 4 })
    const what = fc.constantFrom('set' as const, 'delete' as const, 'deleteUnder' as const)
    fc.assert(
      fc.property(
        fc.array(fc.record({ what, key }), { maxLength: 30 }),
        fc.array(key, { minLength: 5 }),
        (steps, asked) => {
          const log = new Log()
          const keys = new Map<string, number>()
          const gone = new Map<string, { index: number; treeIndex: number }>()
          let changed = 1
          for (const [at, step] of steps.entries()) {
            if (step.what === 'set') log.set(step.key, Buffer.from([at]).toString('base64'))
            else if (step.what === 'delete') log.delete(step.key)
            else log.delete(step.key, { recurse: true })
            const index = log.last
            const under = [...keys.keys()].filter((each) => each.startsWith(step.key))
            const tree = step.what === 'deleteUnder'
            if (step.what === 'set') keys.set(step.key, index)
            else if (tree ? under.length > 0 : keys.has(step.key)) {
              for (const each of tree ? under : [step.key]) keys.delete(each)
              gone.set(step.key, { index, treeIndex: tree ? index : (gone.get(step.key)?.treeIndex ?? 0) })
            } else continue
            changed = index
          }
          for (const prefix of asked.filter((each) => each !== '')) {
            const indexes = [...keys].filter(([each]) => each.startsWith(prefix)).map(([, index]) => index)
            for (const [each, { index, treeIndex }] of gone) {
              if (each.startsWith(prefix)) indexes.push(index)
              else if (prefix.startsWith(each)) indexes.push(treeIndex)
            }
            assert.equal(log.store.kvUnder(prefix).index, Math.max(0, ...indexes) || changed, JSON.stringify(prefix))
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('a prefix of a whole request is looked up before the time of a test is over', () => {
    log.set('a', 'YQ==')
    log.delete('', { recurse: true })
    assert.equal(log.store.kvUnder('\u{10000}'.repeat(120_000)).index, log.last)
  })
})
