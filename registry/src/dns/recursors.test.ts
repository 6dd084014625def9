import assert from 'node:assert/strict'
import type { Address } from '../model.ts'
import { decode, encode } from './codec.ts'
import { type Message, type Question, rcodes, record, type Transport, types } from './message.ts'
import { type Exchange, type Forwarded, pendingMax, Recursors, silenceAside, waitingMax } from './recursors.ts'

const one: Address = { host: '192.0.2.1', port: 53 }
const two: Address = { host: '192.0.2.2', port: 53 }
const name = ['www', 'example', 'com']
const question: Question = { name, type: types.A, class: 1 }
const forwarded: Forwarded = { question, recursionDesired: true, checkingDisabled: false, edns: undefined }
const address = record(name, 77, { type: 'A', address: '203.0.113.7' })

/** Recursors over a world where `servers` answers, with a record of who was asked. */
function world(
  answers: (query: Message, server: Address, transport: Transport) => Message | 'silent' | Promise<Message>,
) {
  const asked: string[] = []
  const queries: Message[] = []
  let now = 0
  let id = 0
  const exchange: Exchange = async ({ transport, server, packet, isReply }) => {
    asked.push(`${transport} ${server.host}`)
    const query = decode(packet)
    assert.ok(query !== undefined)
    queries.push(query)
    const reply = await answers(query, server, transport)
    if (reply === 'silent') throw new Error('no reply in 2000 ms')
    const bytes = encode(reply)
    if (!isReply(bytes)) throw new Error('not a reply')
    return bytes
  }
  const recursors = new Recursors({
    servers: [one, two],
    timeout: 2000,
    exchange,
    nextId: () => ++id,
    clock: { now: () => now, wall: () => now },
    log: () => {},
  })
  const pass = (milliseconds: number) => {
    now += milliseconds
  }
  return { recursors, asked, queries, pass }
}
const says = (query: Message, more: Partial<Message> = {}): Message => ({
  ...query,
  response: true,
  recursionAvailable: true,
  ...more,
})
const read = (packet: Uint8Array | undefined) => (packet === undefined ? undefined : decode(packet))

describe('recursors', () => {
  it('are asked in their order, and the first answer is the answer', async () => {
    const { recursors, asked } = world((query) => says(query, { answers: [address] }))
    assert.deepEqual(read(await recursors.forward(forwarded, 'udp'))?.answers, [address])
    assert.deepEqual(asked, ['udp 192.0.2.1'])
  })

  it('may say that there is no such name', async () => {
    const { recursors, asked } = world((query) => says(query, { rcode: rcodes.NXDOMAIN }))
    assert.equal(read(await recursors.forward(forwarded, 'udp'))?.rcode, rcodes.NXDOMAIN)
    assert.equal(asked.length, 1)
  })

  it('that fail or refuse are followed by the next', async () => {
    const { recursors, asked } = world((query, server) =>
      server === one ? says(query, { rcode: rcodes.SERVFAIL }) : says(query, { answers: [address] }),
    )
    assert.equal(read(await recursors.forward(forwarded, 'udp'))?.answers.length, 1)
    assert.deepEqual(asked, ['udp 192.0.2.1', 'udp 192.0.2.2'])
  })

  it('that all fail leave the question without an answer', async () => {
    const { recursors, asked } = world((query, server) =>
      server === one ? 'silent' : says(query, { rcode: rcodes.REFUSED }),
    )
    assert.equal(await recursors.forward(forwarded, 'udp'), undefined)
    assert.equal(asked.length, 2)
  })

  it('that kept silent are asked last for a while', async () => {
    let silent = true
    const { recursors, asked, pass } = world((query, server) => (silent && server === one ? 'silent' : says(query)))
    await recursors.forward(forwarded, 'udp')
    await recursors.forward(forwarded, 'udp')
    assert.deepEqual(asked, ['udp 192.0.2.1', 'udp 192.0.2.2', 'udp 192.0.2.2'])
    pass(silenceAside)
    silent = false
    await recursors.forward(forwarded, 'udp')
    assert.equal(asked.at(-1), 'udp 192.0.2.1')
  })

  it('are asked over TCP what was asked over TCP', async () => {
    const { recursors, asked } = world((query) => says(query))
    await recursors.forward(forwarded, 'tcp')
    assert.deepEqual(asked, ['tcp 192.0.2.1'])
  })

  it('are asked once for what many ask at the same time, in whatever letters', async () => {
    let release = (_: unknown) => {}
    const gate = new Promise((resolve) => {
      release = resolve
    })
    const { recursors, asked } = world((query) => gate.then(() => says(query, { answers: [address] })))
    const upper = { ...forwarded, question: { ...question, name: ['WWW', 'example', 'com'] } }
    const other = { ...forwarded, question: { ...question, type: types.AAAA } }
    const replies = [forwarded, upper, forwarded, other].map((question) => recursors.forward(question, 'udp'))
    release(undefined)
    const packets = await Promise.all(replies)
    assert.ok(packets.every((packet) => read(packet)?.answers.length === 1))
    assert.equal(asked.length, 2)
    await recursors.forward(forwarded, 'udp')
    assert.equal(asked.length, 3)
  })

  it('that are ourselves get one packet, not a storm', async () => {
    let inner: Promise<Uint8Array | undefined> | undefined
    let recursors: Recursors | undefined
    const made = world(async (query, server) => {
      // The packet comes in at our own port and is a question for recursors again. Server one gives up at its time-out.
      inner = recursors?.forward({ ...forwarded, question: query.questions[0] as Question }, 'udp')
      if (server === one) throw new Error('no reply in 2000 ms')
      return says(query, { answers: [address] })
    })
    recursors = made.recursors
    assert.equal(read(await recursors.forward(forwarded, 'udp'))?.answers.length, 1)
    assert.equal(read(await inner)?.answers.length, 1)
    assert.equal(made.asked.length, 2)
  })

  it('keep no more than so many waiting for the same', async () => {
    const { recursors } = world(() => new Promise(() => {}))
    for (let at = 0; at < waitingMax; at++) recursors.forward(forwarded, 'udp')
    assert.equal(await recursors.forward(forwarded, 'udp'), undefined)
  })

  it('are asked no more than so much at a time', async () => {
    const { recursors } = world(() => new Promise(() => {}))
    for (let at = 0; at < pendingMax; at++) {
      recursors.forward({ ...forwarded, question: { ...question, name: [String(at)] } }, 'udp')
    }
    assert.equal(await recursors.forward(forwarded, 'udp'), undefined)
  })

  it('get EDNS as the client sent it, but only the options that concern them', async () => {
    const { recursors, queries } = world((query) => says(query))
    const options = [
      { code: 8, octets: '\0\x01\x18\0\x0a\x02\0' },
      { code: 10, octets: 'a cookie' },
    ]
    await recursors.forward(
      { ...forwarded, checkingDisabled: true, edns: { size: 4096, dnssec: true, options } },
      'udp',
    )
    const [query] = queries
    assert.deepEqual(query?.edns, { size: 4096, version: 0, dnssec: true, options: options.slice(0, 1) })
    assert.equal(query?.checkingDisabled, true)
    await recursors.forward(forwarded, 'udp')
    assert.equal(queries[1]?.edns, undefined)
  })

  const strangers: [what: string, reply: (query: Message) => Partial<Message>][] = [
    ['another id', ({ id }) => ({ id: id + 1 })],
    ['no response', () => ({ response: false })],
    ['another name', () => ({ questions: [{ ...question, name: ['www', 'example', 'org'] }] })],
    ['another type', () => ({ questions: [{ ...question, type: types.AAAA }] })],
    ['no question', () => ({ questions: [] })],
  ]
  for (const [what, reply] of strangers) {
    it(`are not heard with ${what}`, async () => {
      const { recursors } = world((query) => says(query, reply(query)))
      assert.equal(await recursors.forward(forwarded, 'udp'), undefined)
    })
  }
})

describe('a name that leads elsewhere', () => {
  it('is followed along the chain, and nothing else is believed', async () => {
    const chain = [
      record(['WWW', 'example', 'com'], 60, { type: 'CNAME', target: ['cdn', 'example', 'net'] }),
      record(['cdn', 'example', 'net'], 30, { type: 'A', address: '203.0.113.7' }),
    ]
    const poison = record(['bank', 'example', 'org'], 30, { type: 'A', address: '203.0.113.66' })
    const text = record(name, 30, { type: 'TXT', texts: ['x'] })
    const { recursors } = world((query) => says(query, { answers: [poison, ...chain, text] }))
    assert.deepEqual(await recursors.resolve(name, types.A), chain)
  })

  it('is asked again over TCP, when the answer was cut', async () => {
    const { recursors, asked } = world((query, _, transport) =>
      transport === 'udp' ? says(query, { truncated: true }) : says(query, { answers: [address] }),
    )
    assert.deepEqual(await recursors.resolve(name, types.A), [address])
    assert.deepEqual(asked, ['udp 192.0.2.1', 'tcp 192.0.2.1'])
  })

  it('leads nowhere, when nobody answers', async () => {
    const { recursors } = world(() => 'silent')
    assert.deepEqual(await recursors.resolve(name, types.A), [])
  })
})
