import assert from 'node:assert/strict'
import { type Dns, findInstances, type SrvRecord } from './discovery.ts'

function dnsOf(records: SrvRecord[], hosts: Record<string, string[]>): Dns {
  return { srv: async () => records, addresses: async (name) => hosts[name] ?? [] }
}
const record = (name: string, port: number, priority = 1): SrvRecord => ({ name, port, priority, weight: 1 })

describe('findInstances', () => {
  it('gives the address of each target with the port of its record', async () => {
    const dns = dnsOf([record('host3.node.dc1.consul', 10_000)], { 'host3.node.dc1.consul': ['10.0.77.17'] })
    assert.deepEqual(await findInstances(dns, 'redis.service.consul'), [{ host: '10.0.77.17', port: 10_000 }])
  })

  it('is in the same order for everybody: priority, then address, then port', async () => {
    const records = [record('b', 2), record('a', 9), record('b', 1), record('c', 1, 0)]
    const hosts = { a: ['10.0.0.1'], b: ['10.0.0.2'], c: ['10.0.0.9'] }
    const ordered = ['10.0.0.9:1', '10.0.0.1:9', '10.0.0.2:1', '10.0.0.2:2']
    for (const shuffled of [records, records.toReversed()]) {
      const found = await findInstances(dnsOf(shuffled, hosts), 'x')
      assert.deepEqual(
        found.map(({ host, port }) => `${host}:${port}`),
        ordered,
      )
    }
  })

  it('a name that does not exist has no instances; a target without an address is none', async () => {
    assert.deepEqual(await findInstances(dnsOf([], {}), 'x'), [])
    assert.deepEqual(await findInstances(dnsOf([record('gone', 1)], {}), 'x'), [])
  })
})
