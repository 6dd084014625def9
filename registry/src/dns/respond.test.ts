import assert from 'node:assert/strict'
import fc from 'fast-check'
import { register, storeOf } from '../../test/api/catalog.ts'
import { digQuery } from '../../test/api/dig.ts'
import { Random } from '../io/random.ts'
import { decode, encode } from './codec.ts'
import { type Message, rcodes, record, type Transport } from './message.ts'
import { type DnsOptions, dnsDefaults, dnsSettings } from './options.ts'
import { type Exchange, Recursors } from './recursors.ts'
import { Responder } from './respond.ts'

const many = Array.from({ length: 40 }, (_, at) => ({
  Node: `host${at}`,
  Address: `10.0.0.${at}`,
  NodeMeta: { zone: 'a' },
  Service: { Service: 'web', Port: 80 },
}))
const store = storeOf([...many, { Node: 'solo', Address: '10.1.0.1', Service: { Service: 'db', Port: 5432 } }])

function responderWith(options: Partial<DnsOptions> = {}, exchange?: Exchange, view = store): Responder {
  const settings = dnsSettings({ ...dnsDefaults, ...options })
  const recursors =
    exchange &&
    new Recursors({
      servers: [{ host: '192.0.2.1', port: 53 }],
      timeout: 2000,
      exchange,
      nextId: () => 999,
      clock: { now: () => 0, wall: () => 0 },
      log: () => {},
    })
  return new Responder(() => view, new Random(1), settings, recursors)
}
/** An exchange with a server that says `reply` to everything. */
const upstream =
  (reply: (query: Message) => Partial<Message>): Exchange =>
  async ({ packet, isReply }) => {
    const query = decode(packet) as Message
    const bytes = encode({ ...query, response: true, ...reply(query) })
    assert.ok(isReply(bytes))
    return bytes
  }

function now(responder: Responder, dig: string, over?: Transport): { message: Message; size: number } {
  const { query, transport } = digQuery(dig)
  const reply = responder.respond(encode(query), over ?? transport)
  assert.ok(reply instanceof Uint8Array, 'not answered at once')
  return { message: decode(reply) as Message, size: reply.length }
}
async function later(responder: Responder, dig: string): Promise<Message> {
  const { query, transport } = digQuery(dig)
  const reply = responder.respond(encode(query), transport)
  assert.ok(reply instanceof Promise, 'answered without asking anyone')
  return decode((await reply) as Uint8Array) as Message
}

describe('a DNS server', () => {
  it('answers with the id and the letters of the question, from the cache as well', () => {
    const responder = responderWith()
    for (const id of [1, 2, 3]) {
      const { query } = digQuery('Db.SERVICE.consul')
      const reply = responder.respond(encode({ ...query, id }), 'udp')
      const message = decode(reply as Uint8Array)
      assert.equal(message?.id, id)
      assert.deepEqual(message?.questions, query.questions)
      assert.deepEqual(message?.answers[0]?.name, ['Db', 'SERVICE', 'consul'])
    }
  })

  it('answers from the store as it is now', () => {
    const changing = storeOf([{ Node: 'a', Address: '10.0.0.1', Service: { Service: 'db' } }])
    const responder = responderWith({}, undefined, changing)
    const count = () => now(responder, 'db.service.consul').message.answers.length
    assert.deepEqual([count(), count()], [1, 1])
    register(changing, { Node: 'b', Address: '10.0.0.2', Service: { Service: 'db' } })
    assert.deepEqual([count(), count()], [2, 2])
    register(changing, { Node: 'b', Address: '10.0.0.2', Check: { Name: 'c', Status: 'critical' } })
    assert.equal(count(), 1)
  })

  it('names every instance sooner or later, though three at a time and from a cache', () => {
    const responder = responderWith()
    const named = new Set<string>()
    for (let round = 0; round < 1000; round++) {
      const { answers } = now(responder, 'web.service.consul').message
      assert.equal(answers.length, 3)
      for (const { data } of answers) if (data.type === 'A') named.add(data.address)
    }
    assert.equal(named.size, 40)
  })

  const sizes: [
    dig: string,
    transport: Transport,
    options: Partial<DnsOptions>,
    answers: number,
    cut: boolean,
    max: number,
  ][] = [
    ['web.service.consul', 'udp', {}, 3, false, 512],
    ['web.service.consul', 'udp', { enableTruncate: true }, 3, true, 512],
    ['web.service.consul', 'udp', { udpAnswerLimit: 20 }, 8, false, 512],
    ['web.service.consul', 'udp', { udpAnswerLimit: 0 }, 29, true, 512],
    ['web.service.consul +edns +bufsize=512', 'udp', {}, 3, false, 512],
    ['web.service.consul +edns +bufsize=100', 'udp', {}, 3, false, 512],
    ['web.service.consul +edns', 'udp', {}, 40, false, 1232],
    ['web.service.consul SRV +edns', 'udp', {}, 20, true, 1232],
    ['web.service.consul SRV +edns +bufsize=65535', 'udp', {}, 40, false, 8192],
    ['web.service.consul', 'tcp', {}, 40, false, 65535],
    ['web.service.consul', 'tcp', { aRecordLimit: 5 }, 5, false, 65535],
  ]
  for (const [dig, transport, options, answers, cut, max] of sizes) {
    const what = `${answers} of 40${cut ? ' and TC' : ''}`
    it(`answers ${dig} over ${transport} ${JSON.stringify(options)}: ${what}`, () => {
      const { message, size } = now(responderWith(options), dig, transport)
      assert.equal(message.answers.length, answers)
      assert.equal(message.truncated, cut)
      assert.ok(size <= max, `${size} octets`)
    })
  }

  it('says nothing to answers and to what has no header', () => {
    const { query } = digQuery('db.service.consul')
    assert.equal(responderWith().respond(encode({ ...query, response: true }), 'udp'), undefined)
    assert.equal(responderWith().respond(encode(query).subarray(0, 11), 'udp'), undefined)
    assert.equal(responderWith().respond(new Uint8Array(), 'tcp'), undefined)
  })

  const malformed: [what: string, change: (packet: Buffer) => Buffer][] = [
    ['no question', (packet) => packet.fill(0, 4, 6).subarray(0, 12)],
    ['two questions', (packet) => Buffer.concat([packet.fill(2, 5, 6), packet.subarray(12)])],
    ['half a question', (packet) => packet.subarray(0, 20)],
    ['an additional record that is not there', (packet) => packet.fill(1, 11, 12)],
    ['a client subnet of no family', () => Buffer.from(encode(withSubnet('\0\x03\x18\0abc')))],
  ]
  function withSubnet(octets: string): Message {
    const { query } = digQuery('db.service.consul +edns')
    return { ...query, edns: { size: 1232, version: 0, dnssec: false, options: [{ code: 8, octets }] } }
  }
  for (const [what, change] of malformed) {
    it(`answers FORMERR to ${what}`, () => {
      const { query } = digQuery('db.service.consul')
      const reply = responderWith().respond(change(Buffer.from(encode(query))), 'udp')
      assert.deepEqual(Buffer.from(reply as Uint8Array).toString('hex'), 'd43181210000000000000000')
    })
  }

  it('has EDNS in its answer exactly when the question has', () => {
    assert.equal(now(responderWith(), 'db.service.consul').message.edns, undefined)
    const { edns } = now(responderWith(), 'nope.service.consul +edns +dnssec +cookie').message
    assert.deepEqual(edns, { size: 1232, version: 0, dnssec: false, options: [] })
  })

  it('answers any packet or none, and never throws', () => {
    const responder = responderWith()
    const transport = fc.constantFrom<Transport>('udp', 'tcp')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), transport, (packet, transport) => {
        const reply = responder.respond(packet, transport)
        if (reply !== undefined) assert.ok(decode(reply as Uint8Array)?.response)
      }),
      { numRuns: 2000 },
    )
  })

  it('answers damaged questions or says nothing, and never throws', () => {
    const responder = responderWith({ nodeMetaTxt: true })
    const dig = fc.constantFrom(
      'web.service.consul SRV +edns',
      '_web._tcp.service.consul SRV',
      'host1.node.consul ANY',
      '-x 10.0.0.1',
      '0a000001.addr.consul',
      'consul. SOA',
      'web.service.consul +edns +subnet=10.2.0.0/24',
    )
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 5 })
    fc.assert(
      fc.property(dig, damage, fc.nat(5), (dig, places, cut) => {
        const packet = Buffer.from(encode(digQuery(dig).query))
        for (const [place, value] of places) packet[place % packet.length] = value
        const reply = responder.respond(packet.subarray(0, packet.length - cut), 'udp')
        if (reply === undefined) return
        const message = decode(reply as Uint8Array)
        assert.ok(message?.response)
        assert.equal(message?.id, packet.readUInt16BE(0))
      }),
      { numRuns: 3000 },
    )
  })
})

describe('a DNS server with recursors', () => {
  const answers = [record(['www', 'example', 'com'], 77, { type: 'A', address: '203.0.113.7' })]

  it('says so in every answer', () => {
    const responder = responderWith(
      {},
      upstream(() => ({})),
    )
    assert.equal(now(responder, 'db.service.consul').message.recursionAvailable, true)
    assert.equal(now(responder, 'nope.service.consul').message.recursionAvailable, true)
    assert.equal(now(responderWith(), 'db.service.consul').message.recursionAvailable, false)
  })

  it('passes on what they say, under the id and in the letters of the question', async () => {
    const responder = responderWith(
      {},
      upstream(() => ({ answers, recursionAvailable: false, authoritative: true })),
    )
    const message = await later(responder, 'WWW.example.com')
    assert.equal(message.id, 54321)
    assert.deepEqual(message.questions[0]?.name, ['WWW', 'example', 'com'])
    assert.equal(message.recursionAvailable, true)
    assert.equal(message.answers.length, 1)
  })

  it('says SERVFAIL with EDNS when they fail', async () => {
    const responder = responderWith({}, () => Promise.reject(new Error('no reply in 2000 ms')))
    const message = await later(responder, 'www.example.com +edns')
    assert.equal(message.rcode, rcodes.SERVFAIL)
    assert.equal(message.authoritative, false)
    assert.equal(message.recursionAvailable, true)
    assert.equal(message.edns?.size, 1232)
  })

  it('asks them for addresses nobody here has, and for nothing below the domain', async () => {
    const responder = responderWith(
      {},
      upstream(() => ({ rcode: rcodes.NXDOMAIN })),
    )
    assert.equal((await later(responder, '-x 8.8.8.8')).rcode, rcodes.NXDOMAIN)
    assert.equal(now(responder, 'nope.consul').message.rcode, rcodes.NXDOMAIN)
    assert.equal(now(responder, '-x 10.0.0.1').message.answers.length, 1)
  })

  it('cuts what is more than the client takes', async () => {
    const answers = Array.from({ length: 100 }, (_, at) =>
      record(['www', 'example', 'com'], 1, { type: 'A', address: `203.0.113.${at}` }),
    )
    const message = await later(
      responderWith(
        {},
        upstream(() => ({ answers })),
      ),
      'www.example.com',
    )
    assert.equal(message.truncated, true)
    assert.equal(message.answers.length, 0)
  })

  it('follows aliases of the catalog with them, and answers the alias alone when they fail', async () => {
    const named = storeOf([{ Node: 'a', Address: '10.0.0.1', Service: { Service: 'web', Address: 'www.example.com' } }])
    const followed = await later(
      responderWith(
        {},
        upstream(() => ({ answers })),
        named,
      ),
      'web.service.consul',
    )
    assert.deepEqual(
      followed.answers.map(({ data, ttl }) => [data.type, ttl]),
      [
        ['CNAME', 0],
        ['A', 0],
      ],
    )
    assert.equal(followed.authoritative, true)
    const failing = responderWith({}, () => Promise.reject(new Error('no reply')), named)
    assert.deepEqual(
      (await later(failing, 'web.service.consul')).answers.map(({ data }) => data.type),
      ['CNAME'],
    )
    assert.equal(now(responderWith({}, undefined, named), 'web.service.consul').message.answers.length, 1)
  })
})
