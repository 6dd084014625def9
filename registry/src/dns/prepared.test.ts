import assert from 'node:assert/strict'
import { register } from '../../test/api/catalog.ts'
import { recordText } from '../../test/api/dig.ts'
import { question } from '../../test/api/question.ts'
import { preparedQuery } from '../../test/store/samples.ts'
import { type Executed, Queries, type QueryErrand } from '../agent/queries.ts'
import { DatacenterLost } from '../errors.ts'
import { Random } from '../io/random.ts'
import type { PreparedQueryService } from '../model.ts'
import { encodeCommand, Store } from '../store/store.ts'
import { decode } from './codec.ts'
import { Elsewhere } from './elsewhere.ts'
import { type Message, rcodes, types } from './message.ts'
import { type DnsOptions, dnsDefaults, dnsSettings } from './options.ts'
import { PreparedQueries } from './prepared.ts'
import { Responder } from './respond.ts'

type Ask = (datacenter: string, errand: QueryErrand) => Promise<Executed | undefined>

interface Asking {
  type?: number
  from?: string
  subnet?: string
}

/** Three instances of web, and a query of each name that is given. */
function world(
  queries: Record<string, { service?: Partial<PreparedQueryService>; ttl?: string; template?: boolean }>,
  ask: Ask = () => assert.fail('asked'),
  options: Partial<DnsOptions> = {},
) {
  const store = new Store()
  for (const place of [1, 2, 3]) {
    const Service = { Service: 'web', Port: 80 }
    register(store, { Node: `n${place}`, Address: `10.0.0.${place}`, Service })
  }
  for (const [name, { service = {}, ttl = '', template = false }] of Object.entries(queries)) {
    const type = template ? 'name_prefix_match' : ''
    const query = preparedQuery(name, { service, dns: { ttl }, template: { type, regexp: '', removeEmptyTags: false } })
    const result = store.apply(store.index + 1, encodeCommand({ type: 'query.set', query, create: true }))
    assert.ok('value' in result, JSON.stringify(result))
  }
  const remote = {
    knows: (datacenter: string) => datacenter === 'dc2',
    find: () => assert.fail('asked for a name'),
    datacenters: async () => ['dc1', 'dc2'],
    query: ask,
  }
  const io = { random: new Random(1), clock: { now: () => 0, wall: () => 0 }, log: () => {} }
  const elsewhere = new Elsewhere(remote, () => {})
  const executing = new Queries({ view: () => store, io, datacenter: 'dc1', remote })
  const prepared = new PreparedQueries(executing, 'n1', elsewhere, () => {})
  const settings = dnsSettings({ ...dnsDefaults, ...options })
  const responder = new Responder(() => store, new Random(1), settings, undefined, elsewhere, prepared)
  let id = 0
  const ask1 = (name: string, { type = types.A, from = '', subnet = '' }: Asking = {}) =>
    responder.respond(question(name, ++id, type, subnet), 'udp', from)
  return { ask: ask1, store }
}

const read = (reply: unknown) => {
  assert.ok(reply instanceof Uint8Array)
  return decode(reply) as Message
}
const answers = (message: Message) => message.answers.map(recordText)

describe('a question about a prepared query', () => {
  it('is answered at once, with the time to live of the query, else of the service', () => {
    const { ask } = world(
      { short: { ttl: '2500ms', service: { near: 'n2' } }, plain: { service: { near: 'n2' } } },
      undefined,
      {
        serviceTtl: { web: 7 },
      },
    )
    assert.equal(answers(read(ask('short.query.consul')))[0], 'short.query.consul. 2 IN A 10.0.0.2')
    assert.equal(answers(read(ask('PLAIN.query.dc1.consul')))[0], 'PLAIN.query.dc1.consul. 7 IN A 10.0.0.2')
    const srv = read(ask('plain.query.consul', { type: types.SRV }))
    assert.equal(answers(srv)[0], 'plain.query.consul. 7 IN SRV 1 1 80 n2.node.dc1.consul.')
    assert.deepEqual(answers(read(ask('plain.query.consul', { type: types.AAAA }))), [])
  })

  it('is NXDOMAIN when there is no such query, or nothing that it finds; SERVFAIL when it cannot be filled in', () => {
    const { ask, store } = world({
      none: { service: { tags: ['nobody'] } },
      't-': { template: true, service: { service: `\${match(name.suffix)}` } },
    })
    for (const name of ['nope.query.consul', 'none.query.consul', 'none.query.dc9.consul', 'query.consul']) {
      assert.equal(read(ask(name)).rcode, rcodes.NXDOMAIN, name)
    }
    // As an agent that takes more than this one would have written it.
    assert.equal(store.queryNamed('t-1')?.name, 't-')
    assert.equal(read(ask('t-1.query.consul')).rcode, rcodes.SERVFAIL)
  })

  it('keeps the order of what is near to this agent, or to who asks, question after question', () => {
    const { ask } = world({ agent: { service: { near: '_agent' } }, ip: { service: { near: '_ip' } } })
    const first = (name: string, from: string) => answers(read(ask(name, { from })))[0]
    for (let times = 0; times < 10; times++) {
      assert.equal(first('agent.query.consul', '10.0.0.3'), 'agent.query.consul. 0 IN A 10.0.0.1')
      for (const from of ['10.0.0.2', '10.0.0.3'])
        assert.equal(first('ip.query.consul', from), `ip.query.consul. 0 IN A ${from}`)
    }
  })

  it('takes the subnet of the client for who asks, and says that the answer is for that', () => {
    const { ask } = world({ ip: { service: { near: '_ip' } } })
    for (let times = 0; times < 10; times++) {
      const reply = read(ask('ip.query.consul', { from: '10.0.0.1', subnet: '\0\x01\x20\0\x0a\0\0\x03' }))
      assert.equal(answers(reply)[0], 'ip.query.consul. 0 IN A 10.0.0.3')
      assert.equal(reply.edns?.options[0]?.octets, '\0\x01\x20\x20\x0a\0\0\x03')
    }
    const shorter = read(ask('ip.query.consul', { subnet: '\0\x01\x18\0\x0a\0\0' }))
    assert.equal(shorter.answers.length, 3)
  })

  it('comes in every order otherwise, also when it is asked again', () => {
    const { ask } = world({ any: {} })
    const orders = new Set<string>()
    for (let times = 0; times < 100; times++) orders.add(answers(read(ask('any.query.consul'))).join())
    assert.equal(orders.size, 6)
  })

  it('that has nothing here is asked once elsewhere for all who wait, in the words of that datacenter', async () => {
    let asked = 0
    const there: Executed = {
      service: 'db',
      instances: world({}).store.instances('web').value.slice(0, 1),
      ttl: '',
      datacenter: 'dc2',
      failovers: 0,
      ordered: false,
    }
    const { ask } = world(
      { db: { ttl: '9s', service: { service: 'db', failover: { nearest: 1, datacenters: null } } } },
      async () => {
        asked++
        return there
      },
    )
    const replies = await Promise.all(Array.from({ length: 5 }, () => ask('db.query.consul', { type: types.SRV })))
    for (const reply of replies) {
      assert.deepEqual(answers(read(reply)), ['db.query.consul. 9 IN SRV 1 1 80 n1.node.dc2.consul.'])
    }
    assert.equal(asked, 1)
    await ask('db.query.consul')
    assert.equal(asked, 2)
  })

  it('that no other datacenter answers is NXDOMAIN, and of a lost datacenter SERVFAIL', async () => {
    const { ask } = world(
      { db: { service: { service: 'db', failover: { nearest: 1, datacenters: null } } } },
      async () => {
        throw new DatacenterLost('gone')
      },
    )
    assert.equal(read(await ask('db.query.consul')).rcode, rcodes.NXDOMAIN)
    assert.equal(read(await ask('db.query.dc2.consul')).rcode, rcodes.SERVFAIL)
  })
})
