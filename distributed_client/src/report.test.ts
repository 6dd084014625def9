import assert from 'node:assert/strict'
import { type CatalogServiceShape, UnexpectedAnswer, Unreachable } from 'registry/client'
import { failureLine, linesOf, listed, reportOf } from './report.ts'

function instance(node: string, address: string, number: number): CatalogServiceShape {
  return {
    ID: '',
    Node: node,
    Address: address,
    Datacenter: 'dc1',
    ServiceID: `server${number}`,
    ServiceName: 'distributed_app',
    ServiceTags: [],
    ServiceAddress: '',
    ServicePort: 2000 + number,
    ServiceMeta: {},
  }
}

const host1 = [instance('host1', '10.0.77.22', 1), instance('host1', '10.0.77.22', 2)]
const host2 = [instance('host2', '10.0.77.16', 1), instance('host2', '10.0.77.16', 2)]
const lines = (instances: CatalogServiceShape[], resolved: string[] | Error) =>
  linesOf(reportOf('distributed_app', instances, resolved))

describe('the report', () => {
  it("is the book's, line for line", () => {
    assert.deepEqual(lines([...host1, ...host2], ['10.0.77.16', '10.0.77.22']), [
      'Application distributed_app with element server1 on port 2001 found on node host1 (10.0.77.22).',
      'We can also resolve DNS - distributed_app resolves to 10.0.77.22 and 10.0.77.16.',
      'Application distributed_app with element server2 on port 2002 found on node host1 (10.0.77.22).',
      'We can also resolve DNS - distributed_app resolves to 10.0.77.22 and 10.0.77.16.',
      'Application distributed_app with element server1 on port 2001 found on node host2 (10.0.77.16).',
      'We can also resolve DNS - distributed_app resolves to 10.0.77.22 and 10.0.77.16.',
      'Application distributed_app with element server2 on port 2002 found on node host2 (10.0.77.16).',
      'We can also resolve DNS - distributed_app resolves to 10.0.77.22 and 10.0.77.16.',
    ])
  })

  it('is the same in whatever order the answers came', () => {
    const instances = [...host1, ...host2]
    const addresses = ['10.0.77.22', '10.0.77.16']
    assert.deepEqual(lines(instances.toReversed(), addresses.toReversed()), lines(instances, addresses))
  })

  it('says plainly that nothing is registered', () => {
    assert.deepEqual(lines([], []), ['There are no distributed applications registered in Consul'])
  })

  it('counts addresses as one speaks', () => {
    const table: [string[], string][] = [
      [[], 'We cannot resolve DNS - distributed_app resolves to no address.'],
      [['10.0.77.22'], 'We can also resolve DNS - distributed_app resolves to 10.0.77.22.'],
      [
        ['10.0.77.22', '10.0.77.9', '10.0.77.16'],
        'We can also resolve DNS - distributed_app resolves to 10.0.77.22, 10.0.77.16 and 10.0.77.9.',
      ],
    ]
    for (const [addresses, line] of table) assert.equal(lines([...host1, ...host2], addresses)[1], line)
    assert.equal(listed(['a', 'b', 'c', 'd']), 'a, b, c and d')
  })

  it('says why DNS did not answer, and still what the registry knows', () => {
    assert.deepEqual(lines(host1.slice(0, 1), new Error('queryA ETIMEOUT distributed_app.service.consul')), [
      'Application distributed_app with element server1 on port 2001 found on node host1 (10.0.77.22).',
      'We cannot resolve DNS - distributed_app: queryA ETIMEOUT distributed_app.service.consul.',
    ])
  })

  it('orders an address of a service that is not its node’s with its instance', () => {
    const elsewhere = { ...instance('host1', '10.0.77.22', 1), ServiceAddress: '10.9.9.9' }
    const { addresses } = reportOf('distributed_app', [...host2, elsewhere], ['10.0.77.16', '10.9.9.9'])
    assert.deepEqual(addresses, ['10.9.9.9', '10.0.77.16'])
  })

  it('tells a registry that is away from one that has no answer', () => {
    assert.equal(
      failureLine(new Unreachable('http://r:8500 cannot be reached: connect ECONNREFUSED'), { again: true }),
      'The registry cannot be reached, trying again: http://r:8500 cannot be reached: connect ECONNREFUSED',
    )
    assert.equal(
      failureLine(new UnexpectedAnswer(500, 'No cluster leader'), { again: false }),
      'The registry gives no answer: Unexpected response code: 500 (No cluster leader)',
    )
  })
})
