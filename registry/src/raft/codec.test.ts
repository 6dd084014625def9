import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  decodeConfiguration,
  decodeMessage,
  decodeSnapshotMark,
  encodeConfiguration,
  encodeMessage,
  encodeSnapshotMark,
  entryLength,
  Malformed,
} from './codec.ts'
import type { Configuration, Entry, Message } from './message.ts'

const number = fc.maxSafeNat()
const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const configuration: fc.Arbitrary<Configuration> = fc.record({
  cluster: text,
  servers: fc.uniqueArray(fc.record({ id: text.filter((id) => id !== ''), address: text, voter: fc.boolean() }), {
    selector: ({ id }) => id,
    maxLength: 5,
  }),
})
const mark = fc
  .record({ index: number, term: number, configuration, configurationIndex: number })
  .map((made) => ({ ...made, configurationIndex: Math.min(made.index, made.configurationIndex) }))
const bytes = fc.uint8Array({ maxLength: 50 })
const contents = fc.oneof(
  fc.record({ kind: fc.constantFrom('command' as const, 'empty' as const), data: bytes }),
  configuration.map((made) => ({ kind: 'configuration' as const, data: encodeConfiguration(made) })),
)
/** Terms that never fall, indexes without a gap. */
const append = fc
  .record({
    previousIndex: fc.nat(),
    previousTerm: fc.nat(),
    steps: fc.array(fc.tuple(fc.nat(3), contents)),
    commit: number,
    round: number,
  })
  .map(({ previousIndex, previousTerm, steps, commit, round }): Message => {
    let term = previousTerm
    const entries = steps.map(([step, content], at): Entry => {
      term += step
      return { index: previousIndex + 1 + at, term, ...content }
    })
    return { type: 'append', term, previousIndex, previousTerm, entries, commit, round }
  })
const message: fc.Arbitrary<Message> = fc.oneof(
  append,
  fc.record({
    type: fc.constant('vote' as const),
    term: number,
    pre: fc.boolean(),
    lastIndex: number,
    lastTerm: number,
    transfer: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('voteReply' as const),
    term: number,
    pre: fc.boolean(),
    granted: fc.boolean(),
    heardLeader: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('appendReply' as const),
    term: number,
    success: fc.boolean(),
    round: number,
    match: number,
    refused: number,
    hintIndex: number,
    hintTerm: number,
  }),
  fc.record({ type: fc.constant('snapshot' as const), term: number, mark, round: number }),
  fc.record({ type: fc.constant('timeoutNow' as const), term: number }),
)

/** Records of fast-check have no prototype; what is read has. */
function plain<T>(value: T): T {
  return structuredClone(value)
}

describe('the codec', () => {
  it('brings every message back as it was', () => {
    fc.assert(
      fc.property(text, message, (from, sent) => {
        const received = decodeMessage(encodeMessage(from, sent))
        assert.deepEqual(plain(received), plain({ from, message: sent }))
      }),
    )
  })

  it('brings entries, hard states, configurations and snapshot marks back as they were', () => {
    fc.assert(
      fc.property(number, number, contents, configuration, mark, (index, term, content, made, marked) => {
        const entry: Entry = { index, term, ...content }
        const append = { type: 'append', term, previousIndex: 0, previousTerm: 0, commit: 0, round: 0 } as const
        const bytes = (entries: Entry[]) => encodeMessage('a', { ...append, entries }).length
        assert.equal(bytes([entry]) - bytes([]), entryLength(entry))
        assert.deepEqual(plain(decodeConfiguration(encodeConfiguration(made))), plain(made))
        assert.deepEqual(plain(decodeSnapshotMark(encodeSnapshotMark(marked))), plain(marked))
      }),
    )
  })

  it('refuses every message that is cut short or too long', () => {
    fc.assert(
      fc.property(text, message, fc.nat(), (from, sent, cut) => {
        const whole = encodeMessage(from, sent)
        assert.throws(() => decodeMessage(whole.subarray(0, cut % whole.length)), Malformed)
        assert.throws(() => decodeMessage(Uint8Array.from([...whole, 0])), Malformed)
      }),
    )
  })

  it('takes or refuses any bytes, and never fails otherwise', () => {
    fc.assert(
      fc.property(text, message, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (from, sent, changes) => {
        const damaged = encodeMessage(from, sent)
        for (const [at, value] of changes) damaged[at % damaged.length] = value
        for (const decode of [decodeMessage, decodeConfiguration, decodeSnapshotMark]) {
          try {
            decode(damaged)
          } catch (error) {
            assert(error instanceof Malformed, `${error}`)
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  const good: Message = {
    type: 'append',
    term: 3,
    previousIndex: 4,
    previousTerm: 2,
    commit: 4,
    round: 1,
    entries: [{ index: 5, term: 3, kind: 'command', data: Uint8Array.of(1, 2) }],
  }

  /** The good message with bytes replaced. */
  function with_(at: number, ...values: number[]): Uint8Array {
    const made = encodeMessage('a', good)
    made.set(values, at)
    return made
  }

  it('says what is wrong', () => {
    // version 1 · kind 1 · 'a' 3 · term 8 · previous 8 + 8 · commit 8 · round 8 · count 4 · entry
    const count = 2 + 3 + 8 * 5
    const table: [Uint8Array, RegExp][] = [
      [new Uint8Array(0), /version: expected 1 bytes, 0 are left/],
      [with_(0, 9), /version: expected 1, received 9/],
      [with_(1, 6), /message kind: expected less than 6, received 6/],
      [with_(2, 255, 255), /sender: expected 65535 bytes/],
      [with_(4, 0xff), /sender: expected UTF-8/],
      [with_(5, 0xff), /term: expected a number below 2\^53/],
      [with_(count, 0x7f), /entries: 2130706433 of them need at least \d+ bytes, 23 are left/],
      [with_(count + 4 + 7, 7), /entry: expected index 5, received 7/],
      [with_(count + 4 + 15, 1), /entry 5: expected a term from 2 to 3, received 1/],
      [with_(count + 4 + 15, 4), /entry 5: expected a term from 2 to 3, received 4/],
      [with_(count + 4 + 16, 3), /entry kind: expected less than 3, received 3/],
      [with_(count + 4 + 16, 1), /cluster/],
      [with_(count + 4 + 17, 0x7f), /entry data: expected 2130706434 bytes, 2 are left/],
    ]
    for (const [damaged, expected] of table) {
      assert.throws(
        () => decodeMessage(damaged),
        (error) => error instanceof Malformed && expected.test(error.message),
        String(expected),
      )
    }
  })

  it('refuses a configuration that names a server twice or not at all', () => {
    const server = { id: 'a', address: 'a:1', voter: true }
    const twice = encodeConfiguration({ cluster: 'x', servers: [server, server] })
    assert.throws(() => decodeConfiguration(twice), /server id: expected each once and not empty, received "a"/)
    assert.throws(
      () => decodeConfiguration(encodeConfiguration({ cluster: 'x', servers: [{ ...server, id: '' }] })),
      Malformed,
    )
  })

  it('does not copy payloads', () => {
    const received = encodeMessage('a', good)
    const { message: decoded } = decodeMessage(received)
    assert(decoded.type === 'append')
    assert.equal(decoded.entries[0]?.data.buffer, received.buffer)
  })

  it('refuses to write what could not be read', () => {
    assert.throws(() => encodeMessage('a', { type: 'timeoutNow', term: -1 }), RangeError)
    assert.throws(() => encodeMessage('x'.repeat(70_000), { type: 'timeoutNow', term: 1 }), RangeError)
  })
})
