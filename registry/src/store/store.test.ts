import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  anyCommand,
  bytesOf,
  catalogCommand,
  check,
  kvCommand,
  Log,
  node,
  questions,
  service,
  shown,
} from '../../test/store/samples.ts'
import { BadRequest, Corrupt } from '../errors.ts'
import type { Command } from './command.ts'
import { encodeCommand, Store } from './store.ts'

describe('store', () => {
  it('an empty store answers index 1 to everything', () => {
    const store = new Store()
    assert.equal(store.index, 0)
    for (const { topic, ask } of questions) assert.equal(ask(store).index, 1, JSON.stringify(topic))
  })

  it('knows the index it applied last, changed or not', () => {
    const log = new Log()
    log.set('a', 'YQ==')
    log.set('a', 'YQ==')
    assert.equal(log.store.index, 3)
    log.store.apply(10, encodeCommand({ type: 'kv.delete', key: 'none' }))
    assert.equal(log.store.index, 10)
  })

  it('refuses to apply an index twice or bytes that are no command, and is as it was', () => {
    const log = new Log()
    log.set('a', 'YQ==')
    const before = bytesOf(log.store.snapshot())
    assert.throws(() => log.store.apply(2, encodeCommand({ type: 'kv.delete', key: 'a' })), /out of order/)
    assert.throws(() => log.store.apply(3, new Uint8Array()), BadRequest)
    assert.deepEqual(bytesOf(log.store.snapshot()), before)
  })

  describe('answers, whatever the commands', () => {
    /** Applies the commands and looks at every question after each. */
    function follow(commands: readonly Command[], look: (seen: Seen) => void): void {
      const log = new Log()
      const woken = questions.map(() => 0)
      for (const [place, { topic }] of questions.entries()) {
        log.store.watch(topic, () => {
          woken[place] = (woken[place] as number) + 1
        })
      }
      let before = questions.map(({ ask }) => ask(log.store)).map((answer) => ({ ...answer, text: shown(answer) }))
      for (const command of commands) {
        woken.fill(0)
        const result = log.apply(command)
        const after = questions.map(({ ask }) => ask(log.store)).map((answer) => ({ ...answer, text: shown(answer) }))
        for (const [place, question] of questions.entries()) {
          const then = before[place]!
          const now = after[place]!
          look({
            what: `${JSON.stringify(question.topic)} ${question.ask} after ${JSON.stringify(command)}: ${then.text} → ${now.text}`,
            command,
            refused: 'error' in result || !result.value,
            changed: then.text !== now.text,
            from: then.index,
            to: now.index,
            applied: log.last,
            woken: woken[place]!,
            quiet: question.quietIndex?.(now.value) ?? false,
            shares: question.shares ?? false,
          })
        }
        before = after
      }
    }
    interface Seen {
      what: string
      command: Command
      refused: boolean
      changed: boolean
      from: number
      to: number
      applied: number
      woken: number
      quiet: boolean
      shares: boolean
    }
    const commands = fc.array(anyCommand, { maxLength: 40 })

    it('an answer that changes moves its index to that of the command, and its watcher is woken once', () => {
      fc.assert(
        fc.property(commands, (sequence) => {
          follow(sequence, (seen) => {
            if (!seen.changed) return
            assert.equal(seen.to, seen.applied, seen.what)
            assert.ok(seen.to > seen.from, seen.what)
            assert.equal(seen.woken, 1, seen.what)
          })
        }),
      )
    })

    it('an index that moves wakes its watcher, unless there is nothing to see', () => {
      fc.assert(
        fc.property(commands, (sequence) => {
          follow(sequence, (seen) => {
            if (seen.to > seen.from && !seen.quiet) assert.equal(seen.woken, 1, seen.what)
          })
        }),
      )
    })

    it('nobody is woken without need', () => {
      fc.assert(
        fc.property(commands, (sequence) => {
          follow(sequence, (seen) => {
            if (seen.woken > 0 && !seen.shares) assert.ok(seen.changed || seen.to > seen.from, seen.what)
          })
        }),
      )
    })

    it('an index never moves back, except that of a prefix when tombstones are reaped', () => {
      fc.assert(
        fc.property(commands, (sequence) => {
          follow(sequence, (seen) => {
            if (seen.command.type !== 'tombstones.reap') assert.ok(seen.to >= seen.from, seen.what)
            else assert.equal(seen.changed, false, seen.what)
          })
        }),
      )
    })

    it('a command that is refused, or fails, changes nothing', () => {
      fc.assert(
        fc.property(commands, (sequence) => {
          follow(sequence, (seen) => {
            if (seen.refused) assert.deepEqual([seen.changed, seen.to, seen.woken], [false, seen.from, 0], seen.what)
          })
        }),
      )
    })
  })

  describe('snapshots', () => {
    const commands = fc.array(anyCommand, { maxLength: 60 })

    function applied(sequence: readonly Command[]): Log {
      const log = new Log()
      for (const command of sequence) log.apply(command)
      return log
    }

    /** The same bytes, cut elsewhere. */
    function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
      const chunks: Buffer[] = []
      let at = 0
      for (let turn = 0; at < bytes.length; turn++) {
        const length = lengths[turn % lengths.length] ?? bytes.length
        chunks.push(bytes.subarray(at, at + length))
        at += length
      }
      return chunks
    }

    it('the same log gives the same bytes', () => {
      fc.assert(
        fc.property(commands, (sequence) => {
          assert.deepEqual(bytesOf(applied(sequence).store.snapshot()), bytesOf(applied(sequence).store.snapshot()))
        }),
      )
    })

    it('a restored store answers the same and gives the same bytes, however they were cut on their way', () => {
      fc.assert(
        fc.property(commands, fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 5 }), (sequence, lengths) => {
          const { store } = applied(sequence)
          const bytes = bytesOf(store.snapshot())
          const restored = new Store()
          restored.restore(cut(bytes, lengths))
          assert.equal(restored.index, store.index)
          for (const { ask, topic } of questions) {
            assert.deepEqual(ask(restored), ask(store), JSON.stringify(topic))
          }
          assert.deepEqual(bytesOf(restored.snapshot()), bytes)
        }),
      )
    })

    it('a replica that began from a snapshot goes on like one that saw every command', () => {
      fc.assert(
        fc.property(commands, commands, (before, after) => {
          const whole = applied([...before, ...after])
          const first = applied(before)
          const restored = new Log()
          restored.store.restore(first.store.snapshot())
          restored.next = first.next
          for (const command of after) restored.apply(command)
          assert.deepEqual(bytesOf(restored.store.snapshot()), bytesOf(whole.store.snapshot()))
        }),
      )
    })

    it('a snapshot is of the state when it was asked for, however slowly it is read', () => {
      fc.assert(
        fc.property(commands, commands, (before, after) => {
          const log = applied(before)
          const expected = bytesOf(log.store.snapshot())
          const snapshot = log.store.snapshot()[Symbol.iterator]()
          const chunks: Uint8Array[] = []
          for (const command of after) {
            log.apply(command)
            const { done, value } = snapshot.next()
            if (done !== true) chunks.push(value)
          }
          for (let turn = snapshot.next(); turn.done !== true; turn = snapshot.next()) chunks.push(turn.value)
          assert.deepEqual(Buffer.concat(chunks), expected)
        }),
        { numRuns: 50 },
      )
    })

    it('many rows come in slices, and writes meanwhile do not show', () => {
      const log = new Log()
      for (let each = 0; each < 5_500; each++) log.set(`key/${each}`, 'YQ==')
      const expected = bytesOf(log.store.snapshot())
      const chunks: Uint8Array[] = []
      for (const chunk of log.store.snapshot()) {
        chunks.push(chunk)
        log.delete(`key/${chunks.length}`, { recurse: true })
        log.set(`new/${chunks.length}`, 'Yg==')
      }
      assert.ok(chunks.length >= 6, `${chunks.length} slices`)
      assert.deepEqual(Buffer.concat(chunks), expected)
    })

    it('large values make slices of few rows', () => {
      const log = new Log()
      const large = 'A'.repeat(512 * 1024)
      for (let each = 0; each < 5; each++) log.set(`key/${each}`, large)
      const chunks = [...log.store.snapshot()]
      assert.ok(chunks.every((chunk) => chunk.length < 1024 * 1024))
      const restored = new Store()
      restored.restore(chunks)
      assert.equal(restored.kv('key/4').value?.value, large)
    })

    it('restoring wakes everyone, once', () => {
      const log = new Log()
      const woken: string[] = []
      log.store.watch({ kind: 'key', key: 'a' }, () => woken.push('key'))
      log.store.watch({ kind: 'prefix', prefix: 'x/' }, () => woken.push('prefix'))
      log.store.watch({ kind: 'service', service: 'web' }, () => woken.push('service'))
      log.store.restore(new Log().store.snapshot())
      assert.deepEqual(woken.sort(), ['key', 'prefix', 'service'])
    })

    it('a snapshot that is cut short, altered at its head, or of another kind is refused, and the state stays', () => {
      const log = new Log()
      log.set('a', 'YQ==')
      log.register(node('n1'), service('web'), check('c'))
      const bytes = bytesOf(log.store.snapshot())
      const chunks = [...log.store.snapshot()]
      const other = new Store()
      for (let length = 0; length < bytes.length; length++) {
        assert.throws(() => other.restore([bytes.subarray(0, length)]), Corrupt, `${length} of ${bytes.length}`)
      }
      assert.throws(() => other.restore([...chunks, ...chunks]), Corrupt)
      assert.throws(() => other.restore([...chunks.slice(0, 1), ...chunks.slice(2)]), Corrupt)
      assert.throws(() => other.restore(chunks.slice(1)), Corrupt)
      assert.throws(() => other.restore([Buffer.from('not a snapshot at all')]), Corrupt)
      assert.equal(other.index, 0)
      assert.equal(other.kv('a').value, undefined)
    })

    it('commands survive their encoding', () => {
      fc.assert(
        fc.property(fc.oneof(kvCommand, catalogCommand), (command) => {
          const one = new Log()
          const two = new Log()
          assert.deepEqual(one.apply(command), two.apply(structuredClone(command)))
          assert.deepEqual(bytesOf(one.store.snapshot()), bytesOf(two.store.snapshot()))
        }),
      )
    })
  })
})
