/** What Consul 1.8.7 was recorded to answer about prepared queries, asked of ours in the same order. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { node, service } from '../store/samples.ts'
import { compare, Names, type Recording } from './recorded.ts'
import { SingleNode } from './surface.ts'

const recordings = JSON.parse(
  readFileSync(new URL('../data/golden-http/queries.json', import.meta.url), 'utf8'),
) as Record<'here' | 'elsewhere' | 'noleader', Recording[]>

const compared: readonly string[] = [
  'Content-Type',
  'Allow',
  'X-Consul-Knownleader',
  'X-Consul-Lastcontact',
  'X-Consul-Effective-Consistency',
]

describe('prepared queries, recorded from Consul 1.8.7', () => {
  const single = new SingleNode()
  const names = new Names()
  single.apply({
    type: 'catalog.register',
    node: node('g-n1', {
      address: '10.1.1.1',
      taggedAddresses: { lan: '10.1.1.1', wan: '1.2.3.4' },
      meta: { rack: 'r1' },
    }),
    service: service('g-web', {
      id: 'g-web1',
      tags: ['v1', 'prod'],
      address: '10.1.1.10',
      port: 8080,
      taggedAddresses: { wan: { address: '1.2.3.5', port: 80 } },
      meta: { ver: '1' },
      weights: { passing: 5, warning: 1 },
    }),
    checks: [
      {
        id: 'service:g-web1',
        name: 'web check',
        status: 'passing',
        notes: 'nn',
        output: 'ok',
        serviceId: 'g-web1',
        type: '',
        definition: {},
      },
    ],
  })
  for (const recording of recordings.here) {
    const { id, request } = recording
    it(`${id}: ${request.method} ${request.path}`, () => compare(single, names, recording, compared))
  }
})

describe('prepared queries that look in another datacenter, recorded from Consul 1.8.7', () => {
  const place = { id: '38502396-82fb-bb58-6aeb-e90dac4376ea', name: 'golden2', host: '127.0.0.41', port: 8300 }
  const other = new SingleNode({ place: { ...place, datacenter: 'dc2' } })
  other.apply({
    type: 'catalog.register',
    node: node('g-ext2', { address: '10.22.0.1', datacenter: 'dc2', taggedAddresses: { wan: '99.1.1.1' } }),
    service: service('g-fo', {
      address: '10.22.0.9',
      port: 77,
      taggedAddresses: { wan: { address: '99.1.1.9', port: 7777 } },
    }),
    checks: [],
  })
  const single = new SingleNode({
    remote: {
      knows: (datacenter) => datacenter === 'dc2',
      datacenters: async () => ['dc1', 'dc2'],
      query: async (datacenter, errand) => {
        assert.ok(datacenter === 'dc2' && 'service' in errand)
        return other.queries.serve(errand.service, errand.limit, errand.connect)
      },
    },
  })
  const names = new Names()
  for (const recording of recordings.elsewhere) {
    const { id, request } = recording
    it(`${id}: ${request.method} ${request.path}`, () => compare(single, names, recording, compared))
  }
})

describe('prepared queries of a server that never had a leader, recorded from Consul 1.8.7', () => {
  const single = new SingleNode({ leading: false })
  for (const recording of recordings.noleader) {
    const { id, request } = recording
    it(`${id}: ${request.method} ${request.path}`, () => compare(single, new Names(), recording, compared))
  }
})
