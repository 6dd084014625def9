import assert from 'node:assert/strict'
import fc from 'fast-check'
import { addressOf, alive, Wire } from '../../test/gossip/wire.ts'
import type { Coordinate, UserEvent } from '../model.ts'
import {
  datagramRoom,
  decodePacket,
  encodeMessage,
  Malformed,
  type Message,
  packet,
  recordLengthMax,
  type StateRecord,
  unfitReason,
} from './message.ts'
import { lamportMax, unfitEventReason } from './user-event.ts'

/** fast-check's records have no prototype unless told. */
function object<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
}

const name = fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }).filter((text) => {
  return unfitReason(text, addressOf('x'), {}) === undefined
})
const address = object({ host: name, port: fc.integer({ min: 1, max: 65_535 }) })
const tags = fc.dictionary(fc.string({ maxLength: 10 }), fc.string({ maxLength: 20 }), {
  maxKeys: 8,
  noNullPrototype: true,
})
const sequence = fc.integer({ min: 0, max: 0xffff_ffff })
const incarnation = fc.integer({ min: 0, max: 2 ** 48 })
const record: fc.Arbitrary<StateRecord> = object({
  standing: fc.constantFrom('alive', 'suspect', 'failed', 'left', 'pruned'),
  name,
  incarnation,
  address,
  tags,
  from: fc.oneof(name, fc.constant('')),
  age: fc.integer({ min: 0, max: 10 ** 9 }).map((seconds) => seconds * 1_000),
})
const coordinate: fc.Arbitrary<Coordinate> = object({
  vector: fc.array(fc.double(), { minLength: 8, maxLength: 8 }),
  error: fc.double(),
  adjustment: fc.double(),
  height: fc.double(),
})
const filter = fc.string({ maxLength: 20 })
const userEvent: fc.Arbitrary<UserEvent> = object({
  ltime: fc.integer({ min: 0, max: lamportMax }),
  id: fc.uuid(),
  name,
  payload: fc.uint8Array({ maxLength: 100 }),
  nodeFilter: filter,
  serviceFilter: filter,
  tagFilter: filter,
}).filter((event) => unfitEventReason(event) === undefined)
const type = <T extends string>(text: T) => fc.constant(text)
const message: fc.Arbitrary<Message> = fc.oneof(
  object({ type: type('ping'), sequence, target: name, from: name, address }),
  object({ type: type('pingRequest'), sequence, target: name, targetAddress: address, from: name, address }),
  object({ type: fc.constantFrom('ack' as const, 'nack' as const), sequence, from: name }),
  object({ type: type('ack'), sequence, from: name, coordinate }),
  object({ type: type('alive'), name, incarnation, address, tags }),
  object({
    type: fc.constantFrom('suspect' as const, 'failed' as const, 'left' as const, 'pruned' as const),
    name,
    incarnation,
    from: name,
  }),
  object({
    type: type('state'),
    sequence,
    reply: fc.boolean(),
    more: fc.boolean(),
    from: name,
    records: fc.array(record, { maxLength: 5 }),
  }),
  object({
    type: type('state'),
    sequence,
    reply: fc.boolean(),
    more: fc.boolean(),
    from: name,
    records: fc.array(record, { maxLength: 2 }),
    userEvents: object({
      clock: fc.integer({ min: 1, max: lamportMax + 1 }),
      events: fc.array(userEvent, { maxLength: 5 }),
    }),
  }),
  object({ type: type('userEvent'), event: userEvent }),
  object({ type: type('refusal'), sequence, reason: fc.string({ maxLength: 100 }) }),
)

/** A packet whose checksum is right, whatever is in it. */
const sealed = (body: Uint8Array) => packet([body])

/** One message as this version writes it: kind, length, fields. */
const raw = (kind: number, fields: readonly number[]) => Uint8Array.of(kind, fields.length, ...fields)

/** `bytes` of one message or record, `begin` the place of its length, with more fields behind those it has. */
function extended(bytes: Uint8Array, begin: number, more: Uint8Array): Uint8Array {
  let length = 0
  let at = begin
  for (let factor = 1; ; factor *= 128) {
    const byte = bytes[at++] as number
    length += (byte & 127) * factor
    if (byte < 128) break
  }
  const varint: number[] = []
  for (let rest = length + more.length; ; rest = Math.floor(rest / 128)) {
    varint.push(rest >= 128 ? (rest % 128) | 128 : rest)
    if (rest < 128) break
  }
  return Uint8Array.from([...bytes.subarray(0, begin), ...varint, ...bytes.subarray(at, at + length), ...more])
}

describe('gossip messages', () => {
  it('arrive as they were sent, several in a packet', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (messages) => {
        assert.deepEqual(decodePacket(packet(messages.map(encodeMessage))), messages)
      }),
      { seed: 1, numRuns: 300 },
    )
  })

  it('of a kind that only a later release knows are skipped, and those around them understood', () => {
    const later = fc.tuple(fc.integer({ min: 64, max: 255 }), fc.uint8Array({ maxLength: 100 }))
    fc.assert(
      fc.property(fc.array(message, { maxLength: 3 }), later, fc.nat(3), (messages, [kind, fields], place) => {
        const parts = messages.map(encodeMessage)
        parts.splice(Math.min(place, parts.length), 0, raw(kind, [...fields]))
        assert.deepEqual(decodePacket(packet(parts)), messages)
      }),
      { seed: 1, numRuns: 300 },
    )
  })

  it('with fields that only a later release knows are understood as far as we know them', () => {
    const more = fc.uint8Array({ minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 3 }), more, (messages, bytes) => {
        const parts = messages.map((message) => extended(encodeMessage(message), 1, bytes))
        assert.deepEqual(decodePacket(packet(parts)), messages)
      }),
      { seed: 1, numRuns: 300 },
    )
  })

  it('with a coordinate of other dimensions are understood without it, and those that say nothing of one', () => {
    const ack: Message = { type: 'ack', sequence: 5, from: 'b' }
    const place = { vector: [1, 2, 3], error: 1, adjustment: 0, height: 1 }
    assert.deepEqual(decodePacket(packet([encodeMessage({ ...ack, coordinate: place })])), [ack])
    assert.deepEqual(decodePacket(sealed(raw(2, [5, 1, 98]))), [ack])
  })

  it('with a coordinate that is cut off are refused', () => {
    const zeros = new Array<number>(8 * 11 - 1).fill(0)
    assert.throws(() => decodePacket(sealed(raw(2, [5, 1, 98, 8, ...zeros]))), Malformed)
    assert.throws(() => decodePacket(sealed(raw(2, [5, 1, 98, 100]))), Malformed)
  })

  it('so are records of a state', () => {
    fc.assert(
      fc.property(record, record, fc.uint8Array({ minLength: 1, maxLength: 200 }), (first, second, more) => {
        const state = (records: StateRecord[]): Message => {
          return { type: 'state', sequence: 1, reply: false, more: false, from: 'b', records }
        }
        // What comes before the records is what a state of none has, but the count; behind them is that there are no events.
        const both = encodeMessage(state([first, second]))
        const fields = (bytes: Uint8Array) => bytes.subarray((bytes[1] as number) < 128 ? 2 : 3)
        const head = [...fields(encodeMessage(state([]))).subarray(0, -2), 2]
        const one = fields(encodeMessage(state([first]))).subarray(head.length, -1)
        const two = fields(both).subarray(head.length + one.length, -1)
        const body = Uint8Array.from([...head, ...extended(one, 0, more), ...extended(two, 0, more), 0])
        const grown = extended(Uint8Array.of(9, 0), 1, body)
        assert.deepEqual(decodePacket(packet([grown])), [state([first, second])])
      }),
      { seed: 1, numRuns: 300 },
    )
  })

  it('leave room in a datagram for an envelope of encryption', () => {
    assert.equal(packet([new Uint8Array(datagramRoom)]).length + 32, 1_400)
    const name = 'n'.repeat(255)
    const address = { host: 'h'.repeat(255), port: 65_535 }
    const largest: Message[] = [
      { type: 'pingRequest', sequence: 0xffff_ffff, target: name, targetAddress: address, from: name, address },
      { type: 'ping', sequence: 0xffff_ffff, target: name, from: name, address },
      { type: 'suspect', name, incarnation: 2 ** 48, from: name },
    ]
    const [request, ping, news] = largest.map((message) => encodeMessage(message).length) as [number, number, number]
    assert.ok(request <= datagramRoom && ping + news <= datagramRoom, `${request} ${ping} ${news}`)
    assert.ok(recordLengthMax + 4 <= datagramRoom)
  })

  it('keep a tag named like a property of all objects', () => {
    const sent = alive('b', 1, { tags: Object.fromEntries([['__proto__', 'x']]) })
    const [received] = decodePacket(packet([encodeMessage(sent)]))
    assert.deepEqual(received?.type === 'alive' && Object.entries(received.tags), [['__proto__', 'x']])
  })

  it('a news of a member without tags takes less than 40 bytes', () => {
    assert.ok(encodeMessage(alive('host3', 7, { address: { host: '10.0.77.17', port: 8301 }, tags: {} })).length < 40)
  })

  const good = encodeMessage(alive('b', 3))
  const malformed: { title: string; bytes: Uint8Array; says: RegExp }[] = [
    { title: 'nothing', bytes: new Uint8Array(), says: /expected at least 7 bytes, received 0/ },
    { title: 'a stranger', bytes: new TextEncoder().encode('GET / HTTP/1.1\r\n'), says: /not a gossip packet/ },
    { title: 'a later version', bytes: packet([good]).with(2, 3), says: /expected packet version 2, received 3/ },
    { title: 'a flipped bit', bytes: packet([good]).with(9, 0xff), says: /checksum/ },
    { title: 'a cut-off text', bytes: sealed(raw(4, [3, 5, 98])), says: /text of 5 bytes at byte 4 is cut off/ },
    { title: 'a message without its length', bytes: sealed(good.subarray(0, 1)), says: /packet ends at byte 1/ },
    {
      title: 'a cut-off message',
      bytes: sealed(good.subarray(0, 6)),
      says: /message or record of \d+ bytes at byte 2/,
    },
    { title: 'a cut-off message of an unknown kind', bytes: sealed(Uint8Array.of(99, 5, 1)), says: /is cut off/ },
    { title: 'a message shorter than its fields', bytes: sealed(raw(2, [1])), says: /ends at byte 3, before its/ },
    { title: 'a number without end', bytes: sealed(raw(2, new Array(20).fill(255))), says: /number/ },
    { title: 'a length without end', bytes: sealed(new Uint8Array(20).fill(255)), says: /number/ },
    { title: 'a name that is not UTF-8', bytes: sealed(raw(2, [1, 1, 0xff])), says: /not UTF-8/ },
    { title: 'an empty name', bytes: sealed(raw(2, [1, 0])), says: /empty or has control characters/ },
    { title: 'a name with a line break', bytes: sealed(raw(2, [1, 1, 10])), says: /control characters/ },
    { title: 'a name of 300 bytes', bytes: sealed(raw(2, [1, 0xac, 2])), says: /above 255/ },
    { title: 'a record of an unknown standing', bytes: sealed(raw(9, [1, 0, 1, 98, 1, 1, 9])), says: /standing/ },
    { title: 'a record longer than its state', bytes: sealed(raw(9, [1, 0, 1, 98, 1, 9, 0])), says: /is cut off/ },
    {
      title: 'port 0',
      bytes: packet([encodeMessage(alive('b', 1, { address: { host: 'x', port: 0 } }))]),
      says: /port before byte \d+ is 0/,
    },
    {
      title: 'more tags than a datagram holds',
      bytes: packet([
        encodeMessage(alive('b', 1, { tags: { a: 'x'.repeat(500), b: 'x'.repeat(500), c: 'x'.repeat(200) } })),
      ]),
      says: new RegExp(`member of \\d+ bytes, at most ${recordLengthMax}`),
    },
  ]
  for (const { title, bytes, says } of malformed) {
    it(`${title} is refused`, () => {
      assert.throws(
        () => decodePacket(bytes),
        (error) => error instanceof Malformed && says.test(error.message),
      )
    })
  }

  it('a huge count does not allocate for what is not there', () => {
    assert.throws(() => decodePacket(sealed(raw(9, [1, 0, 1, 98, 0x9f, 0x8d, 6]))), Malformed)
  })

  it('whatever bytes arrive, receiving never throws and is at most a warning', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), fc.boolean(), (bytes, seal, frame) => {
        wire.gossip.receive(seal ? sealed(bytes) : bytes, wire.now, frame ? 'connection' : undefined)
        wire.run(100)
      }),
      { seed: 1, numRuns: 1_000 },
    )
  })

  it('whatever becomes of good messages on the way, receiving never throws', () => {
    const wire = new Wire()
    const change = object({ at: fc.nat(), value: fc.nat(255), cut: fc.boolean() })
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 3 }),
        fc.array(change, { maxLength: 4 }),
        (messages, changes) => {
          let body = packet(messages.map(encodeMessage)).slice(7)
          for (const { at, value, cut } of changes) {
            if (cut) body = body.slice(0, at % (body.length + 1))
            else if (body.length > 0) body = body.with(at % body.length, value)
          }
          wire.gossip.receive(sealed(body), wire.now, 'connection')
          wire.run(100)
        },
      ),
      { seed: 1, numRuns: 1_000 },
    )
  })

  it('says why a member cannot be gossiped', () => {
    const fine = addressOf('b')
    assert.equal(unfitReason('b', fine, { role: 'consul' }), undefined)
    assert.match(unfitReason('', fine, {}) ?? '', /empty/)
    assert.match(unfitReason('a\nb', fine, {}) ?? '', /control characters/)
    assert.match(unfitReason('b', { host: '', port: 1 }, {}) ?? '', /expected a host/)
    assert.match(
      unfitReason('b', { host: 'x', port: 70_000 }, {}) ?? '',
      /expected a port to advertise, received 70000/,
    )
    assert.match(unfitReason('b', fine, { a: 'x'.repeat(513) }) ?? '', /tag "a" is longer/)
    assert.match(unfitReason('b', fine, { a: 'x'.repeat(500), b: 'x'.repeat(500), c: 'x'.repeat(200) }) ?? '', /bytes/)
  })
})
