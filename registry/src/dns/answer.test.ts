import assert from 'node:assert/strict'
import { type Registration, register, storeOf } from '../../test/api/catalog.ts'
import { recordText } from '../../test/api/dig.ts'
import { Random } from '../io/random.ts'
import type { Store } from '../store/store.ts'
import { type Answer, answer, withResolved } from './answer.ts'
import { rcodes, record, types } from './message.ts'
import { nameFrom } from './name.ts'
import { type DnsOptions, dnsDefaults, dnsSettings } from './options.ts'

const service = (node: string, address: string, more: Partial<NonNullable<Registration['Service']>> = {}) => ({
  Node: node,
  Address: address,
  Service: { ID: `${node}-${more.Port ?? 0}`, Service: 'web', ...more },
})

function ask(store: Store, text: string, type: number = types.A, options: Partial<DnsOptions> = {}, seed = 1): Answer {
  const name = nameFrom(text)
  assert.ok(name !== undefined)
  return answer({ name, type, class: 1 }, store, new Random(seed), dnsSettings({ ...dnsDefaults, ...options }))
}
const texts = (records: readonly Parameters<typeof recordText>[0][]) => records.map(recordText).sort()

describe('an answer about a service', () => {
  it('a port that no record can hold loses its upper bits and takes no other instance with it', () => {
    const store = storeOf([
      service('host1', '10.0.77.22', { Port: 70000 }),
      service('host2', '10.0.77.16', { Port: -1 }),
      service('host3', '10.0.77.17', { Port: 80 }),
    ])
    assert.deepEqual(texts(ask(store, 'web.service.consul', types.SRV).answers), [
      'web.service.consul. 0 IN SRV 1 1 4464 host1.node.dc1.consul.',
      'web.service.consul. 0 IN SRV 1 1 65535 host2.node.dc1.consul.',
      'web.service.consul. 0 IN SRV 1 1 80 host3.node.dc1.consul.',
    ])
  })

  it('names an address once, however many ports serve on it', () => {
    const store = storeOf([
      service('host1', '10.0.77.22', { Port: 2001 }),
      service('host1', '10.0.77.22', { Port: 2002 }),
      service('host2', '10.0.77.16', { Port: 2001 }),
      service('host2', '10.0.77.16', { Port: 2002 }),
    ])
    const found = ask(store, 'web.service.consul')
    assert.deepEqual(texts(found.answers), [
      'web.service.consul. 0 IN A 10.0.77.16',
      'web.service.consul. 0 IN A 10.0.77.22',
    ])
    const located = ask(store, 'web.service.consul', types.SRV)
    assert.deepEqual(texts(located.answers), [
      'web.service.consul. 0 IN SRV 1 1 2001 host1.node.dc1.consul.',
      'web.service.consul. 0 IN SRV 1 1 2001 host2.node.dc1.consul.',
      'web.service.consul. 0 IN SRV 1 1 2002 host1.node.dc1.consul.',
      'web.service.consul. 0 IN SRV 1 1 2002 host2.node.dc1.consul.',
    ])
    assert.deepEqual(texts(located.additional), [
      'host1.node.dc1.consul. 0 IN A 10.0.77.22',
      'host2.node.dc1.consul. 0 IN A 10.0.77.16',
    ])
  })

  it('comes in another order each time, and every order comes', () => {
    const store = storeOf([service('a', '10.0.0.1'), service('b', '10.0.0.2'), service('c', '10.0.0.3')])
    const orders = new Set<string>()
    for (let seed = 0; seed < 100; seed++) {
      orders.add(ask(store, 'web.service.consul', types.A, {}, seed).answers.map(recordText).join())
    }
    assert.equal(orders.size, 6)
  })

  const critical = { CheckID: 'c', Name: 'c', Status: 'critical' }
  const warning = { CheckID: 'w', Name: 'w', Status: 'warning' }
  it('leaves out instances that are critical, by their own checks or their node’s', () => {
    const store = storeOf([
      { ...service('a', '10.0.0.1'), Check: { ...critical, ServiceID: 'a-0' } },
      { ...service('b', '10.0.0.2'), Check: critical },
      { ...service('c', '10.0.0.3'), Check: { ...warning, ServiceID: 'c-0' } },
      service('d', '10.0.0.4'),
    ])
    assert.deepEqual(texts(ask(store, 'web.service.consul').answers), [
      'web.service.consul. 0 IN A 10.0.0.3',
      'web.service.consul. 0 IN A 10.0.0.4',
    ])
    const onlyPassing = ask(store, 'web.service.consul', types.A, { onlyPassing: true })
    assert.deepEqual(texts(onlyPassing.answers), ['web.service.consul. 0 IN A 10.0.0.4'])
  })

  it('is that there is no such name, when all its instances are critical', () => {
    const store = storeOf([{ ...service('a', '10.0.0.1'), Check: critical }])
    const found = ask(store, 'web.service.consul')
    assert.equal(found.rcode, rcodes.NXDOMAIN)
    assert.deepEqual(texts(found.authority), ['consul. 0 IN SOA ns.consul. hostmaster.consul. 1 3600 600 86400 0'])
  })

  it('weighs an instance by the worst of its checks', () => {
    const weights = { Weights: { Passing: 10, Warning: 3 } }
    const store = storeOf([
      service('a', '10.0.0.1', weights),
      { ...service('b', '10.0.0.2', weights), Check: { ...warning, ServiceID: 'b-0' } },
      { ...service('c', '10.0.0.3', weights), Check: { ...warning, Status: 'odd' } },
      service('d', '10.0.0.4', { Weights: { Passing: 100_000, Warning: 1 } }),
    ])
    assert.deepEqual(texts(ask(store, 'web.service.consul', types.SRV).answers), [
      'web.service.consul. 0 IN SRV 1 1 0 c.node.dc1.consul.',
      'web.service.consul. 0 IN SRV 1 10 0 a.node.dc1.consul.',
      'web.service.consul. 0 IN SRV 1 3 0 b.node.dc1.consul.',
      'web.service.consul. 0 IN SRV 1 65535 0 d.node.dc1.consul.',
    ])
  })

  it('gives each family its address, of the node or of the service', () => {
    const both = { lan_ipv4: '10.0.0.1', lan_ipv6: 'fd00::1' }
    const store = storeOf([
      { ...service('a', '10.0.0.1'), TaggedAddresses: both },
      service('b', '10.0.0.2', {
        Address: 'fd00::9',
        TaggedAddresses: { lan_ipv4: { Address: '10.0.0.9', Port: 0 } },
      }),
    ])
    assert.deepEqual(texts(ask(store, 'web.service.consul').answers), [
      'web.service.consul. 0 IN A 10.0.0.1',
      'web.service.consul. 0 IN A 10.0.0.9',
    ])
    assert.deepEqual(texts(ask(store, 'web.service.consul', types.AAAA).answers), [
      'web.service.consul. 0 IN AAAA fd00::1',
      'web.service.consul. 0 IN AAAA fd00::9',
    ])
    assert.deepEqual(texts(ask(store, 'a.node.consul', types.AAAA).answers), ['a.node.consul. 0 IN AAAA fd00::1'])
  })

  it('never has more addresses than a_record_limit, over TCP neither', () => {
    const store = storeOf([service('a', '10.0.0.1'), service('b', '10.0.0.2'), service('c', '10.0.0.3')])
    assert.equal(ask(store, 'web.service.consul', types.A, { aRecordLimit: 2 }).answers.length, 2)
    assert.equal(ask(store, 'web.service.consul', types.SRV, { aRecordLimit: 2 }).answers.length, 3)
  })

  it('follows the letters of the question in the owner, and of the catalog in the target', () => {
    const store = storeOf([service('Host1', '10.0.0.1')])
    const found = ask(store, 'WeB.service.CONSUL', types.SRV)
    assert.deepEqual(texts(found.answers), ['WeB.service.CONSUL. 0 IN SRV 1 1 0 Host1.node.dc1.consul.'])
  })

  it('locates an instance by address, when the name of its node can be no name in DNS', () => {
    const store = storeOf([
      service('a..b', '10.0.0.1', { Port: 80 }),
      service('x'.repeat(64), '10.0.0.2', { Port: 80 }),
    ])
    const found = ask(store, 'web.service.consul', types.SRV)
    assert.deepEqual(texts(found.answers), [
      'web.service.consul. 0 IN SRV 1 1 80 0a000001.addr.dc1.consul.',
      'web.service.consul. 0 IN SRV 1 1 80 0a000002.addr.dc1.consul.',
    ])
    assert.equal(found.additional.length, 2)
  })

  it('leaves out instances whose address can be none', () => {
    const store = storeOf([service('a', '10.0.0.1', { Address: 'not..a name' }), service('b', '10.0.0.2')])
    assert.deepEqual(texts(ask(store, 'web.service.consul').answers), ['web.service.consul. 0 IN A 10.0.0.2'])
    assert.equal(ask(store, 'web.service.consul', types.SRV).answers.length, 1)
  })
})

describe('an answer about a service under another name', () => {
  it('prefers addresses to an alias, and gives one alias only', () => {
    const store = storeOf([
      service('a', '10.0.0.1', { Address: 'one.example.com' }),
      service('b', '10.0.0.2', { Address: 'two.example.com' }),
    ])
    assert.equal(ask(store, 'web.service.consul').answers.length, 1)
    register(store, service('c', '10.0.0.3'))
    assert.deepEqual(texts(ask(store, 'web.service.consul').answers), ['web.service.consul. 0 IN A 10.0.0.3'])
  })

  it('names what recursors must be asked for, and takes in what they say', () => {
    const store = storeOf([service('a', '10.0.0.1', { Address: 'one.example.com', Port: 80 })])
    const name = ['one', 'example', 'com']
    const found = ask(store, 'web.service.consul', types.AAAA, { serviceTtl: 7 })
    assert.deepEqual(found.chases, [{ name, type: types.AAAA, ttl: 7, section: 'answers' }])
    const address = record(name, 300, { type: 'AAAA', address: 'fd00::1' })
    assert.deepEqual(texts(withResolved(found, [[address, address]]).answers), [
      'one.example.com. 7 IN AAAA fd00::1',
      'web.service.consul. 7 IN CNAME one.example.com.',
    ])
    const located = ask(store, 'web.service.consul', types.SRV)
    assert.deepEqual(located.chases, [{ name, type: types.A, ttl: 0, section: 'additional' }])
    assert.deepEqual(texts(withResolved(located, [[]]).additional), [])
  })

  it('keeps the recursor’s time to live for a node', () => {
    const store = storeOf([{ Node: 'a', Address: 'one.example.com' }])
    const found = ask(store, 'a.node.consul', types.A, { nodeTtl: 30 })
    const address = record(['one', 'example', 'com'], 300, { type: 'A', address: '192.0.2.1' })
    assert.deepEqual(texts(withResolved(found, [[address]]).answers), [
      'a.node.consul. 30 IN CNAME one.example.com.',
      'one.example.com. 300 IN A 192.0.2.1',
    ])
  })

  it('follows names of ours at once', () => {
    const store = storeOf([
      service('a', '10.0.0.1', { Address: 'other.service.consul', Port: 80 }),
      { Node: 'b', Address: '10.0.0.2', Service: { Service: 'other' } },
    ])
    const found = ask(store, 'web.service.consul')
    assert.deepEqual(found.answers.map(recordText), [
      'web.service.consul. 0 IN CNAME other.service.consul.',
      'other.service.consul. 0 IN A 10.0.0.2',
    ])
    const located = ask(store, 'web.service.consul', types.SRV)
    assert.deepEqual(texts(located.additional), ['other.service.consul. 0 IN A 10.0.0.2'])
  })

  it('ends when names of ours lead in a circle', () => {
    const store = storeOf([
      service('a', '10.0.0.1', { Address: 'other.service.consul' }),
      { Node: 'a', Address: '10.0.0.1', Service: { Service: 'other', Address: 'web.service.consul' } },
    ])
    const found = ask(store, 'web.service.consul')
    assert.equal(found.rcode, rcodes.NOERROR)
    assert.ok(found.answers.length <= 4)
  })

  it('is the node’s address, when the service’s address is the name that was asked', () => {
    const store = storeOf([service('a', '10.0.0.1', { Address: 'web.service.consul' })])
    assert.deepEqual(texts(ask(store, 'WEB.service.consul').answers), ['WEB.service.consul. 0 IN A 10.0.0.1'])
  })
})

describe('an answer about a node', () => {
  it('has its meta as texts: RFC 1464 attributes in character strings of 255 octets', () => {
    const meta = { 'a=b': 'c`d', ' x ': '1', 'RFC1035-txt': 'v=spf1', long: 'x'.repeat(300), empty: '' }
    const store = storeOf([{ Node: 'a', Address: '10.0.0.1', NodeMeta: meta }])
    const found = ask(store, 'a.node.consul', types.TXT)
    const expected = [['a`=b=c``d'], ['` x` =1'], ['v=spf1'], [`long=${'x'.repeat(250)}`, 'x'.repeat(50)], ['empty=']]
    assert.deepEqual(
      found.answers.map(({ data }) => (data.type === 'TXT' ? data.texts : [])),
      expected,
    )
    assert.equal(ask(store, 'a.node.consul', types.A).additional.length, 5)
    assert.equal(ask(store, 'a.node.consul', types.A, { nodeMetaTxt: false }).additional.length, 0)
  })

  it('finds names with dots, and in other letters', () => {
    const store = storeOf([{ Node: 'rack1.Host', Address: '10.0.0.1' }])
    assert.equal(ask(store, 'RACK1.host.node.dc1.consul').answers.length, 1)
  })

  it('is that there is no such name for every type, when there is no such node', () => {
    const store = storeOf([{ Node: 'a', Address: '10.0.0.1' }])
    for (const type of [types.A, types.TXT, types.SRV, 15]) {
      assert.equal(ask(store, 'b.node.consul', type).rcode, rcodes.NXDOMAIN)
    }
  })
})

describe('an answer about the domain', () => {
  const servers = [1, 2, 3, 4].map((at) => ({
    Node: `host${at}`,
    Address: `10.0.77.${at}`,
    Service: { Service: 'consul', Port: 8300 },
  }))

  it('names up to three servers that live and have a host name, with their addresses', () => {
    const odd = { Node: 'odd_name', Address: '10.0.77.9', Service: { Service: 'consul', Port: 8300 } }
    const dead = { ...servers[0], Check: { CheckID: 'serfHealth', Name: 's', Status: 'critical' } } as Registration
    const found = ask(storeOf([...servers, odd, dead]), 'consul', types.NS)
    assert.deepEqual(texts(found.answers), [
      'consul. 0 IN NS host2.node.dc1.consul.',
      'consul. 0 IN NS host3.node.dc1.consul.',
      'consul. 0 IN NS host4.node.dc1.consul.',
    ])
    assert.equal(found.additional.length, 3)
    assert.equal(ask(storeOf(servers), 'consul', types.NS).answers.length, 3)
  })

  it('is of the domain that was asked for', () => {
    const found = ask(storeOf(servers), 'nope.service.corp.example', types.A, { alternateDomain: 'corp.example' })
    assert.equal(recordText(found.authority[0] as never).split(' ')[0], 'corp.example.')
  })

  it('has a serial that moves with the catalog', () => {
    const store = storeOf(servers)
    const serial = () => {
      const [soa] = ask(store, 'consul', types.SOA).answers
      return soa?.data.type === 'SOA' ? soa.data.serial : undefined
    }
    assert.equal(serial(), 4)
    register(store, { Node: 'x', Address: '10.0.0.1' })
    assert.equal(serial(), 5)
  })
})

describe('an answer about an address', () => {
  const store = storeOf([
    { Node: 'a', Address: '10.0.0.1' },
    { Node: 'b', Address: '2001:DB8::0:1', Service: { Service: 'web', Address: '10.0.0.9' } },
  ])
  it('names the node, else the service that has it', () => {
    const pointer = (name: string) =>
      texts(ask(store, name, types.PTR).answers)[0]
        ?.split(' ')
        .at(-1)
    assert.equal(pointer('1.0.0.10.in-addr.arpa'), 'a.node.dc1.consul.')
    assert.equal(pointer('9.0.0.10.in-addr.arpa'), 'web.service.dc1.consul.')
    const nibbles = `1.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`
    assert.equal(pointer(nibbles), 'b.node.dc1.consul.')
  })

  it('is someone else’s to give, when nobody here has it', () => {
    const found = ask(store, '8.8.8.8.in-addr.arpa', types.PTR)
    assert.equal(found.elsewhere, true)
    assert.equal(found.rcode, rcodes.NXDOMAIN)
    assert.equal(ask(store, '1.0.0.10.in-addr.arpa', types.A).elsewhere, true)
  })
})

describe('an answer for a service’s time to live', () => {
  const serviceTtl = { web: 60, 'web*': 20, 'we*': 10, '*': 5 }
  const store = storeOf(
    ['web', 'web2', 'west', 'db'].map((name) => ({ Node: 'a', Address: '10.0.0.1', Service: { Service: name } })),
  )
  for (const [name, seconds] of [
    ['web', 60],
    ['WEB', 60],
    ['web2', 20],
    ['west', 10],
    ['db', 5],
  ] as const) {
    it(`takes the name, else the longest prefix: ${name} ${seconds} s`, () => {
      assert.equal(ask(store, `${name}.service.consul`, types.A, { serviceTtl }).answers[0]?.ttl, seconds)
    })
  }
})

describe('DNS options', () => {
  const wrong: [what: string, options: Partial<DnsOptions>, message: RegExp][] = [
    ['a domain that is none', { domain: 'a..b' }, /domain.*"a\.\.b"/],
    ['the root as domain', { domain: '.' }, /domain/],
    ['a recursor by name', { recursors: ['dns.google'] }, /recursor.*"dns\.google"/],
    ['a recursor with a bad port', { recursors: ['8.8.8.8:0'] }, /8\.8\.8\.8:0/],
    ['a recursor with too high a port', { recursors: ['8.8.8.8:65536'] }, /65536/],
    ['brackets around IPv4', { recursors: ['[8.8.8.8]:53'] }, /recursor/],
    ['an empty recursor', { recursors: [''] }, /recursor/],
  ]
  for (const [what, options, message] of wrong) {
    it(`refuse ${what}`, () => assert.throws(() => dnsSettings({ ...dnsDefaults, ...options }), message))
  }

  it('take recursors with and without port', () => {
    const recursors = ['8.8.8.8', '1.1.1.1:5353', 'fd00::1', '[fd00::1]:5353']
    assert.deepEqual(dnsSettings({ ...dnsDefaults, recursors }).recursorAddresses, [
      { host: '8.8.8.8', port: 53 },
      { host: '1.1.1.1', port: 5353 },
      { host: 'fd00::1', port: 53 },
      { host: 'fd00::1', port: 5353 },
    ])
  })
})
