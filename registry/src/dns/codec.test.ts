import assert from 'node:assert/strict'
import dnsPacket from 'dns-packet'
import dns2 from 'dns2'
import fc from 'fast-check'
import { formatAddress } from './address.ts'
import { answeredSubnet, decode, decodeQuestions, encode } from './codec.ts'
import type { Edns, Message, Name, RecordData, ResourceRecord } from './message.ts'
import { record, types } from './message.ts'

/** Plain objects, which deepEqual tells from those without a prototype. */
const values = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>

const uint16 = fc.integer({ min: 0, max: 0xffff })
const uint32 = fc.integer({ min: 0, max: 0xffffffff })
const octets = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((bytes) => Buffer.from(bytes).toString('latin1'))
/** Labels from few letters too, so that names share endings and are compressed. */
const label = fc.oneof(octets(1, 63), fc.constantFrom('a', 'b', 'consul', 'node'))
const hostLabel = fc.constantFrom('a', 'b', 'web', 'consul', 'node', 'x-1', 'under_score')
const nameOf = (labels: fc.Arbitrary<string>): fc.Arbitrary<Name> =>
  fc
    .array(labels, { maxLength: 6 })
    .filter((name) => name.reduce((length, { length: more }) => length + more + 1, 0) < 255)
const address = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => formatAddress([...bytes]))

const dataOf = (name: fc.Arbitrary<Name>): fc.Arbitrary<RecordData> =>
  fc.oneof(
    values({ type: fc.constant('A' as const), address: address(4) }),
    values({ type: fc.constant('AAAA' as const), address: address(16) }),
    values({ type: fc.constantFrom('CNAME' as const, 'NS' as const, 'PTR' as const), target: name }),
    values({ type: fc.constant('SRV' as const), priority: uint16, weight: uint16, port: uint16, target: name }),
    values({ type: fc.constant('TXT' as const), texts: fc.array(octets(0, 255), { minLength: 1, maxLength: 3 }) }),
    values({
      type: fc.constant('SOA' as const),
      nameServer: name,
      mailbox: name,
      serial: uint32,
      refresh: uint32,
      retry: uint32,
      expire: uint32,
      minimum: uint32,
    }),
  )

const recordOf = (name: fc.Arbitrary<Name>): fc.Arbitrary<ResourceRecord> =>
  values({ name, class: fc.constant(1), ttl: fc.integer({ min: 0, max: 0x7fffffff }), data: dataOf(name) })

const edns: fc.Arbitrary<Edns | undefined> = fc.option(
  values({
    size: uint16,
    version: fc.integer({ min: 0, max: 255 }),
    dnssec: fc.boolean(),
    options: fc.array(values({ code: uint16, octets: octets(0, 20) }), { maxLength: 3 }),
  }),
  { nil: undefined },
)

const messageOf = (name: fc.Arbitrary<Name>): fc.Arbitrary<Message> =>
  fc
    .record(
      {
        id: uint16,
        response: fc.boolean(),
        opcode: fc.integer({ min: 0, max: 15 }),
        authoritative: fc.boolean(),
        truncated: fc.boolean(),
        recursionDesired: fc.boolean(),
        recursionAvailable: fc.boolean(),
        authenticData: fc.boolean(),
        checkingDisabled: fc.boolean(),
        rcode: fc.integer({ min: 0, max: 4095 }),
        questions: fc.array(values({ name, type: uint16, class: uint16 }), { maxLength: 2 }),
        answers: fc.array(recordOf(name), { maxLength: 4 }),
        authority: fc.array(recordOf(name), { maxLength: 2 }),
        additional: fc.array(recordOf(name), { maxLength: 4 }),
        edns,
      },
      { noNullPrototype: true },
    )
    // Without OPT there is room for four bits only.
    .map((message) => (message.edns === undefined ? { ...message, rcode: message.rcode & 15 } : message))

const plain: Message = {
  id: 1,
  response: false,
  opcode: 0,
  authoritative: false,
  truncated: false,
  recursionDesired: true,
  recursionAvailable: false,
  authenticData: false,
  checkingDisabled: false,
  rcode: 0,
  questions: [{ name: ['web', 'service', 'consul'], type: types.SRV, class: 1 }],
  answers: [],
  authority: [],
  additional: [],
  edns: undefined,
}

describe('DNS messages', () => {
  it('are read back as they were written, compressed or not', () => {
    fc.assert(
      fc.property(messageOf(nameOf(label)), fc.boolean(), (message, compress) => {
        assert.deepEqual(decode(encode(message, compress)), message)
      }),
    )
  })

  it('are never longer for being compressed', () => {
    fc.assert(
      fc.property(messageOf(nameOf(hostLabel)), (message) => {
        assert.ok(encode(message).length <= encode(message, false).length)
      }),
    )
  })

  it('are read or refused, whatever the bytes, and what was read is written and read again the same', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const message = decode(bytes)
        if (message !== undefined) assert.deepEqual(decode(encode(message)), message)
      }),
      { numRuns: 1000 },
    )
  })

  it('are read or refused after any damage', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(messageOf(nameOf(hostLabel)), damage, fc.nat(), (message, places, length) => {
        const bytes = Buffer.from(encode(message))
        for (const [place, value] of places) bytes[place % bytes.length] = value
        const packet = bytes.subarray(0, bytes.length - (length % 20))
        const read = decode(packet)
        decodeQuestions(packet)
        // A name may grow when a pointer bends into a longer one, so only that it can be written is certain.
        if (read !== undefined) encode(read)
      }),
      { numRuns: 1000 },
    )
  })

  it('say the same to dns-packet', () => {
    fc.assert(
      fc.property(messageOf(nameOf(hostLabel)), fc.boolean(), (message, compress) => {
        const read = dnsPacket.decode(Buffer.from(encode({ ...message, edns: undefined, rcode: 0 }, compress)))
        assert.equal(read.id, message.id)
        assert.deepEqual(
          read.answers?.map((answer) => theirsOf(answer as never)),
          message.answers.map(oursOf),
        )
        assert.deepEqual(
          read.additionals?.map((answer) => theirsOf(answer as never)),
          message.additional.map(oursOf),
        )
      }),
    )
  })

  it('of dns-packet are read as it meant them', () => {
    fc.assert(
      fc.property(fc.array(recordOf(nameOf(hostLabel)), { maxLength: 5 }), (records) => {
        const answers = records.map((answer) => packetAnswer(answer)) as dnsPacket.Answer[]
        const bytes = dnsPacket.encode({ type: 'response', id: 7, flags: dnsPacket.AUTHORITATIVE_ANSWER, answers })
        const read = decode(bytes)
        assert.equal(read?.authoritative, true)
        assert.deepEqual(read?.answers, records)
      }),
    )
  })

  it('say the same to dns2', () => {
    fc.assert(
      fc.property(messageOf(nameOf(hostLabel)), (message) => {
        // It reads into options, which have a test of their own.
        const edns = message.edns && { ...message.edns, options: [] }
        const packet = dns2.Packet.parse(Buffer.from(encode({ ...message, edns })))
        const numberOf = ({ data }: ResourceRecord) => (data.type === 'other' ? data.code : types[data.type])
        assert.deepEqual((packet as unknown as { errors: unknown[] }).errors, [])
        assert.deepEqual(
          packet.answers.map(({ name, type, ttl }) => ({ name, type, ttl })),
          message.answers.map((answer) => ({ name: answer.name.join('.'), type: numberOf(answer), ttl: answer.ttl })),
        )
        const targets = (records: readonly { target?: string }[]) => records.map(({ target }) => target)
        assert.deepEqual(
          targets(packet.answers.filter(({ type }) => type === types.SRV) as never),
          message.answers.flatMap(({ data }) => (data.type === 'SRV' ? [data.target.join('.')] : [])),
        )
      }),
    )
  })

  it('never compress the target of SRV, but let later names point into it', () => {
    const target = ['host1', 'node', 'dc1', 'consul']
    const answers = [record(['web', 'service', 'consul'], 0, { type: 'SRV', priority: 1, weight: 1, port: 80, target })]
    const additional = [record(target, 0, { type: 'A', address: '10.0.0.1' })]
    const packet = encode({ ...plain, answers, additional })
    // Header, question, SRV with a pointer for its own name and 23 octets of target, A with a pointer for its name.
    assert.equal(packet.length, 12 + 24 + (2 + 10 + 6 + 23) + (2 + 10 + 4))
    assert.deepEqual(decode(packet)?.additional, additional)
  })

  const malformed: [what: string, hex: string][] = [
    ['is shorter than a header', '000101000001'],
    ['has fewer questions than it says', '0001010000020000000000000000010001'],
    ['ends within a name', '00010100000100000000000003776562'],
    ['ends after a name', '0001010000010000000000000377656200'],
    ['points to itself', '000101000001000000000000c00c00010001'],
    ['points forwards', '000101000001000000000000c00e00000010001'],
    ['points in a circle', '000101000001000000000000036162 63c00c00010001'.replaceAll(' ', '')],
    ['points past its end', '000101000001000000000000cfff00010001'],
    ['has a label of a forgotten kind', '00010100000100000000000041000000010001'],
    ['has a record that ends past its end', '000184000000000100000000000001000100000000000a0a000001'],
    ['has an A record of three octets', '0001840000000001000000000000010001000000000003 0a0000'.replaceAll(' ', '')],
    ['has an A record of five octets', '00018400000000010000000000000100010000000000050a00000100'],
    [
      'has an AAAA record of four octets',
      '000184000000000100000000 00001c00010000000000040a000001'.replaceAll(' ', ''),
    ],
    ['has a text that ends past its record', '00018400000000010000000000001000010000000000020561'],
    [
      'has two OPT records',
      '0001010000000000000000020000290200000000000000000029020000000000 0000'.replaceAll(' ', ''),
    ],
    ['has an OPT record that is not of the root', '00010100000000000000000101610000290200000000000000'],
    ['has an OPT record among its answers', '0001010000000001000000000000290200000000000000'],
    ['has an option that ends past its record', '000101000000000000000001000029020000000000000400080005'],
  ]
  for (const [what, hex] of malformed) {
    it(`are refused when a packet ${what}`, () => assert.equal(decode(Buffer.from(hex, 'hex')), undefined))
  }

  it('are refused when their names are longer than 255 octets, also by way of pointers', () => {
    const label = `3f${'61'.repeat(63)}`
    const header = '000101000001000000000000'
    assert.ok(decode(Buffer.from(`${header}${label.repeat(3)}3d${'61'.repeat(61)}0000010001`, 'hex')))
    assert.equal(decode(Buffer.from(`${header}${label.repeat(4)}0000010001`, 'hex')), undefined)
    const two = '000101000002000000000000'
    const first = `${label.repeat(3)}0000010001`
    assert.equal(decode(Buffer.from(`${two}${first}${label}c00c00010001`, 'hex')), undefined)
  })

  it('are refused when a name hops through more pointers than it can have labels', () => {
    const header = '000184000000000200000000'
    // A record of unknown type whose data is a chain: a root, and pointers each to the one before.
    const chain = (hops: number) => {
      const pointers = Array.from({ length: hops }, (_, at) => (0xc000 | (23 + Math.max(0, at * 2 - 1))).toString(16))
      const data = `00${pointers.join('')}`
      const start = (0xc000 | (23 + hops * 2 - 1)).toString(16)
      const length = (data.length / 2).toString(16).padStart(4, '0')
      return Buffer.from(`${header}00ffff000100000000${length}${data}${start}ffff0001000000000000`, 'hex')
    }
    assert.equal(decode(chain(125))?.answers.length, 2)
    assert.equal(decode(chain(126)), undefined)
  })

  it('grow past what one buffer holds', () => {
    const answers = Array.from({ length: 3000 }, (_, at) =>
      record(['n', String(at)], 0, { type: 'A', address: '10.0.0.1' }),
    )
    assert.equal(decode(encode({ ...plain, answers }))?.answers.length, 3000)
  })
})

describe('a client subnet', () => {
  const withOption = (hex: string): Edns => ({
    size: 1232,
    version: 0,
    dnssec: false,
    options: [{ code: 8, octets: Buffer.from(hex, 'hex').toString('latin1') }],
  })
  const cases: [what: string, hex: string, expected: string][] = [
    ['of IPv4 comes back with scope 0', '000118200a0200', '000118000a0200'],
    ['of IPv6 comes back with scope 0', '0002200020010db8', '0002200020010db8'],
    ['of everyone comes back', '00010000', '00010000'],
    ['of no family is malformed', '00031800aabbcc', 'malformed'],
    ['longer than its prefix is malformed', '000118000a020000', 'malformed'],
    ['shorter than its prefix is malformed', '000118000a02', 'malformed'],
    ['with a prefix beyond its family is malformed', '000121000a02000000', 'malformed'],
    ['without its fields is malformed', '0001', 'malformed'],
  ]
  for (const [what, hex, expected] of cases) {
    it(what, () => {
      const answered = answeredSubnet(withOption(hex))
      assert.equal(
        typeof answered === 'object' ? Buffer.from(answered.octets, 'latin1').toString('hex') : answered,
        expected,
      )
    })
  }

  it('that was not sent is not answered', () => {
    assert.equal(answeredSubnet(undefined), undefined)
    assert.equal(answeredSubnet({ ...withOption('00010000'), options: [] }), undefined)
  })
})

/** A record as dns-packet speaks of it. */
function packetAnswer({ name, ttl, data }: ResourceRecord): object {
  const dotted = (labels: Name) => (labels.length === 0 ? '.' : labels.join('.'))
  const rest = { name: dotted(name), ttl, class: 'IN', type: data.type }
  switch (data.type) {
    case 'A':
    case 'AAAA':
      return { ...rest, data: data.address }
    case 'CNAME':
    case 'NS':
    case 'PTR':
      return { ...rest, data: dotted(data.target) }
    case 'SRV': {
      const { priority, weight, port } = data
      return { ...rest, data: { priority, weight, port, target: dotted(data.target) } }
    }
    case 'TXT':
      return { ...rest, data: data.texts.map((text) => Buffer.from(text, 'latin1')) }
    case 'SOA': {
      const { serial, refresh, retry, expire, minimum } = data
      const names = { mname: dotted(data.nameServer), rname: dotted(data.mailbox) }
      return { ...rest, data: { ...names, serial, refresh, retry, expire, minimum } }
    }
    default:
      throw new Error(`no such data: ${data.type}`)
  }
}

/** Addresses of dns-packet are not in the form of RFC 5952; as numbers they compare. */
function oursOf(record: ResourceRecord): object {
  return theirsOf(packetAnswer(record) as never)
}
function theirsOf(answer: { name: string; ttl: number; type: string; data: unknown }): object {
  const { name, ttl, type, data } = answer
  return { name, ttl, type, data: type === 'AAAA' ? new URL(`http://[${data}]/`).hostname : data }
}
