import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decode, encode } from './codec.ts'
import { fitted, type Room } from './fit.ts'
import { type Message, record, types } from './message.ts'

const name = ['web', 'service', 'consul']
const node = (at: number) => [`host${at}`, 'node', 'dc1', 'consul']
const room: Room = { size: 512, answers: Number.POSITIVE_INFINITY, flagLimit: false, compress: true }

/** SRV records, each with an address and a text beside it. */
function located(count: number, text = 'zone=a'): Message {
  const hosts = Array.from({ length: count }, (_, at) => node(at))
  return {
    id: 1,
    response: true,
    opcode: 0,
    authoritative: true,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: 0,
    questions: [{ name, type: types.SRV, class: 1 }],
    answers: hosts.map((target) => record(name, 0, { type: 'SRV', priority: 1, weight: 1, port: 80, target })),
    authority: [],
    additional: hosts.flatMap((host, at) => [
      record(host, 0, { type: 'A', address: `10.0.0.${at % 256}` }),
      record(host, 0, { type: 'TXT', texts: [text] }),
    ]),
    edns: undefined,
  }
}
const read = (message: Message, more: Partial<Room> = {}): Message => {
  const packet = decode(fitted(message, { ...room, ...more }))
  assert.ok(packet !== undefined)
  return packet
}

describe('a packet with room', () => {
  it('for everything is the whole answer', () => {
    assert.deepEqual(read(located(3)), located(3))
  })

  it('for fewer answers than there are has the first ones, with their addresses and no texts', () => {
    const packet = read(located(8), { answers: 3, size: 4096 })
    assert.deepEqual(packet.answers, located(3).answers)
    assert.deepEqual(
      packet.additional,
      located(3).additional.filter(({ data }) => data.type === 'A'),
    )
    assert.equal(packet.truncated, false)
    assert.equal(read(located(8), { answers: 3, flagLimit: true }).truncated, true)
  })

  it('for all but the texts leaves out these, and that is not truncation', () => {
    const packet = read(located(5, 'x'.repeat(100)))
    assert.equal(packet.answers.length, 5)
    assert.equal(packet.additional.length, 5)
    assert.equal(packet.truncated, false)
  })

  it('for some octets has as many answers as fit, and says that there are more', () => {
    const packet = read(located(20))
    assert.equal(packet.truncated, true)
    assert.ok(packet.answers.length > 3)
    assert.equal(packet.additional.length, packet.answers.length)
    const oneMore = located(packet.answers.length + 1)
    const addresses = oneMore.additional.filter(({ data }) => data.type === 'A')
    assert.ok(encode({ ...oneMore, additional: addresses }).length > 512)
  })

  it('for not even one answer with its address has the answer alone, or none', () => {
    const long = ['a'.repeat(63), 'b'.repeat(63), 'c'.repeat(63), 'consul']
    const target = ['d'.repeat(63), ...long.slice(1)]
    const message = {
      ...located(1),
      questions: [{ name: long, type: types.SRV, class: 1 }],
      answers: [record(long, 0, { type: 'SRV', priority: 1, weight: 1, port: 80, target })],
      additional: [record(target, 0, { type: 'A', address: '10.0.0.1' })],
    }
    const alone = encode({ ...message, additional: [] }).length
    const one = read(message, { size: alone })
    assert.deepEqual([one.answers.length, one.additional.length, one.truncated], [1, 0, true])
    const none = read(message, { size: alone - 1 })
    assert.deepEqual([none.answers.length, none.additional.length, none.truncated], [0, 0, true])
  })

  it('for an alias keeps what it leads to with it', () => {
    const target = ['www', 'example', 'com']
    const message = located(1)
    const srv = record(name, 0, { type: 'SRV', priority: 1, weight: 1, port: 80, target })
    const chain = [
      record(target, 0, { type: 'CNAME', target: ['cdn', 'example', 'com'] }),
      record(['cdn', 'example', 'com'], 0, { type: 'A', address: '192.0.2.1' }),
    ]
    const packet = read(
      { ...message, answers: [srv, ...message.answers], additional: [...chain, ...message.additional] },
      { answers: 1 },
    )
    assert.deepEqual(packet.additional, chain)
  })

  it('of any size is never overfilled, and never has a record that is not in the answer', () => {
    const count = fc.integer({ min: 0, max: 60 })
    const size = fc.integer({ min: 512, max: 2000 })
    const answers = fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constant(Number.POSITIVE_INFINITY))
    fc.assert(
      fc.property(
        count,
        size,
        answers,
        fc.boolean(),
        fc.integer({ min: 0, max: 255 }),
        (count, size, answers, compress, length) => {
          const message = located(count, 'x'.repeat(length))
          const bytes = fitted(message, { size, answers, flagLimit: false, compress })
          assert.ok(bytes.length <= size)
          const packet = decode(bytes)
          assert.deepEqual(packet?.answers, message.answers.slice(0, packet?.answers.length))
          assert.equal(packet?.truncated, (packet?.answers.length ?? 0) < Math.min(count, answers))
        },
      ),
    )
  })
})
