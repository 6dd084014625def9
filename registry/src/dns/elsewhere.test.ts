import assert from 'node:assert/strict'
import { question } from '../../test/api/question.ts'
import type { Found } from '../agent/elsewhere.ts'
import { DatacenterLost, NoPath } from '../errors.ts'
import { Random } from '../io/random.ts'
import { Store } from '../store/store.ts'
import { decode } from './codec.ts'
import { Elsewhere } from './elsewhere.ts'
import { rcodes } from './message.ts'
import { dnsDefaults, dnsSettings } from './options.ts'
import { Responder } from './respond.ts'

type Find = () => Promise<Found>

function responder(find: Find, knows: boolean | undefined = true) {
  const store = new Store()
  const elsewhere = new Elsewhere({ knows: () => knows, find, query: () => assert.fail('asked for a query') }, () => {})
  return new Responder(() => store, new Random(1), dnsSettings(dnsDefaults), undefined, elsewhere)
}

const node = (name: string, address: string): Found => ({
  index: 7,
  instances: [],
  node: {
    id: '',
    name,
    address,
    datacenter: 'dc2',
    taggedAddresses: null,
    meta: null,
    createIndex: 1,
    modifyIndex: 1,
  },
})

describe('a question about another datacenter', () => {
  it('that many ask at once is asked there once, and each has the answer in its own letters', async () => {
    let asked = 0
    let answer = (_found: Found) => {}
    const dns = responder(() => {
      asked++
      return new Promise((resolve) => {
        answer = resolve
      })
    })
    const replies = ['h1.node.dc2.consul', 'H1.node.DC2.consul', 'h1.node.dc2.consul'].map((name, at) =>
      dns.respond(question(name, at), 'udp'),
    )
    answer(node('h1', '10.0.0.1'))
    const seen = (await Promise.all(replies)).map((reply) => decode(reply!)!)
    assert.equal(asked, 1)
    assert.deepEqual(
      seen.map(({ id, answers }) => [id, answers[0]?.name.join('.'), answers[0]?.data]),
      [
        [0, 'h1.node.dc2.consul', { type: 'A', address: '10.0.0.1' }],
        [1, 'H1.node.DC2.consul', { type: 'A', address: '10.0.0.1' }],
        [2, 'h1.node.dc2.consul', { type: 'A', address: '10.0.0.1' }],
      ],
    )
  })

  it('is asked anew every time: it may have changed there', async () => {
    const addresses = ['10.0.0.1', '10.0.0.2']
    const dns = responder(async () => node('h1', addresses.shift()!))
    for (const address of ['10.0.0.1', '10.0.0.2']) {
      const reply = decode((await dns.respond(question('h1.node.dc2.consul', 1), 'udp'))!)!
      assert.deepEqual(reply.answers[0]?.data, { type: 'A', address })
    }
  })

  const outcomes: [string, Find, number][] = [
    ['that is lost is SERVFAIL', () => Promise.reject(new DatacenterLost('gone')), rcodes.SERVFAIL],
    ['whose server never had a leader is SERVFAIL', async () => ({ ...node('h1', ''), index: 0 }), rcodes.SERVFAIL],
    ['that nobody knows is NXDOMAIN', () => Promise.reject(new NoPath()), rcodes.NXDOMAIN],
  ]
  for (const [words, find, rcode] of outcomes) {
    it(words, async () => {
      const reply = decode((await responder(find, undefined).respond(question('h1.node.dc2.consul', 1), 'udp'))!)!
      assert.equal(reply.rcode, rcode)
      assert.equal(reply.authority.length, rcode === rcodes.NXDOMAIN ? 1 : 0)
    })
  }

  it('that there certainly is none of is NXDOMAIN at once, and is not remembered as such', async () => {
    let known = false
    const store = new Store()
    const remote = {
      knows: () => known,
      find: async () => node('h1', '10.0.0.1'),
      query: () => assert.fail('asked for a query'),
    }
    const dns = new Responder(
      () => store,
      new Random(1),
      dnsSettings(dnsDefaults),
      undefined,
      new Elsewhere(remote, () => {}),
    )
    const early = dns.respond(question('h1.node.dc2.consul', 1), 'udp')
    assert.ok(early instanceof Uint8Array)
    assert.equal(decode(early)?.rcode, rcodes.NXDOMAIN)
    known = true
    const late = decode((await dns.respond(question('h1.node.dc2.consul', 1), 'udp'))!)
    assert.equal(late?.answers.length, 1)
  })
})
