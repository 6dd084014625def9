import assert from 'node:assert/strict'
import type { CheckResult, NodeDefinition, ServiceDefinition } from '../model.ts'
import { encodeCommand } from '../store/command.ts'
import { Store } from '../store/store.ts'
import { differences, type Here, taken } from './sync.ts'

const node: NodeDefinition = {
  id: '11111111-1111-4111-8111-111111111111',
  name: 'host1',
  address: '10.0.0.1',
  datacenter: 'dc1',
  taggedAddresses: { lan: '10.0.0.1' },
  meta: { rack: 'r1' },
}
const web: ServiceDefinition = {
  id: 'web1',
  name: 'web',
  tags: ['a'],
  address: '',
  port: 80,
  taggedAddresses: null,
  meta: null,
  weights: { passing: 1, warning: 1 },
  enableTagOverride: false,
}
const check: CheckResult = {
  id: 'service:web1',
  name: 'web up',
  status: 'passing',
  notes: '',
  output: 'fine',
  serviceId: 'web1',
  type: 'ttl',
  definition: {},
}
const here = (changes: Partial<Here> = {}): Here => ({
  node,
  server: false,
  services: [],
  checks: [],
  outputMayWait: () => false,
  ...changes,
})
function sync(store: Store, state: Here): string[] {
  const steps = differences(state, store.node('host1').value)
  for (const { command } of steps) {
    const result = store.apply(store.index + 1, encodeCommand(command))
    assert.ok('value' in result, JSON.stringify(result))
  }
  assert.deepEqual(differences(state, store.node('host1').value), [], 'once is enough')
  return steps.map(({ done }) => done)
}

describe('anti-entropy', () => {
  it('registers the node, its services with their checks, and checks of the node; then nothing', () => {
    const store = new Store()
    const disk: CheckResult = { ...check, id: 'disk', serviceId: '' }
    const done = sync(store, here({ services: [web], checks: [check, disk] }))
    assert.deepEqual(done, ['Synced node info', "Synced service 'web1'", "Synced check 'disk'"])
    assert.equal(store.instances('web').value[0]?.checks.length, 2)
  })

  it('puts right what differs and takes away what is not registered here', () => {
    const store = new Store()
    sync(store, here({ services: [web, { ...web, id: 'web2' }], checks: [check] }))
    const done = sync(store, here({ services: [{ ...web, port: 81 }], checks: [{ ...check, status: 'critical' }] }))
    assert.deepEqual(done, ["Synced service 'web1'", "Deregistered service 'web2'"])
    const [instance] = store.instances('web').value
    assert.equal(instance?.service.port, 81)
    assert.equal(instance?.checks[0]?.status, 'critical')
  })

  it('leaves serfHealth alone, and the consul service of a server', () => {
    const store = new Store()
    const consul = { ...web, id: 'consul', name: 'consul' }
    const serfHealth = { ...check, id: 'serfHealth', serviceId: '', type: '' }
    store.apply(1, encodeCommand({ type: 'catalog.register', node, service: consul, checks: [serfHealth] }))
    assert.deepEqual(sync(store, here({ server: true })), [])
    assert.deepEqual(sync(store, here()), ["Deregistered service 'consul'"])
  })

  it('never writes the rows of the leader, whatever is registered here', () => {
    const store = new Store()
    const consul = { ...web, id: 'consul', name: 'consul', port: 8300 }
    const serfHealth = { ...check, id: 'serfHealth', serviceId: '', type: '' }
    store.apply(1, encodeCommand({ type: 'catalog.register', node, service: consul, checks: [serfHealth] }))
    const ours = [{ ...serfHealth, type: 'ttl', status: 'critical' }]
    assert.deepEqual(sync(store, here({ server: true, services: [{ ...consul, port: 1 }], checks: ours })), [])
    assert.deepEqual(sync(store, here({ services: [{ ...consul, port: 1 }], checks: ours })), [
      "Synced service 'consul'",
    ])
  })

  it('writes nothing while its name or its id is that of another agent that lives', () => {
    const store = new Store()
    const serfHealth = { ...check, id: 'serfHealth', serviceId: '', type: '' }
    const tell = (index: number, status: string) =>
      store.apply(index, encodeCommand({ type: 'catalog.register', node, checks: [{ ...serfHealth, status }] }))
    tell(1, 'passing')
    assert.equal(taken(node, store), undefined)
    const other = { ...node, id: '22222222-2222-4222-8222-222222222222' }
    assert.match(taken(other, store) ?? '', /node name host1 is reserved by node 1111/)
    assert.match(taken({ ...node, name: 'host9' }, store) ?? '', /node id 1111.* is that of node host1/)
    tell(2, 'critical')
    assert.equal(taken(other, store), undefined)
    assert.equal(taken({ ...node, name: 'host9' }, store), undefined)
  })

  it('tags of a service with enableTagOverride may be changed in the catalog; everything else is ours', () => {
    const store = new Store()
    const overridable = { ...web, enableTagOverride: true }
    sync(store, here({ services: [overridable] }))
    const changed = { ...overridable, tags: ['theirs'], port: 9 }
    store.apply(9, encodeCommand({ type: 'catalog.register', node, service: changed, checks: [] }))
    sync(store, here({ services: [overridable] }))
    const [instance] = store.instances('web').value
    assert.deepEqual(instance?.service.tags, ['theirs'])
    assert.equal(instance?.service.port, 80)
  })

  it('a change of output alone may wait, one of status does not', () => {
    const store = new Store()
    sync(store, here({ services: [web], checks: [check] }))
    const there = () => store.node('host1').value
    const waiting = here({ services: [web], checks: [{ ...check, output: 'still' }], outputMayWait: () => true })
    assert.deepEqual(differences(waiting, there()), [])
    const failing = { ...check, output: 'broken', status: 'critical' }
    assert.equal(differences({ ...waiting, checks: [failing] }, there()).length, 1)
  })

  it('null and {} mean the same, so no node is written again and again', () => {
    const store = new Store()
    sync(store, here({ node: { ...node, meta: {} } }))
    assert.deepEqual(differences(here({ node: { ...node, meta: null } }), store.node('host1').value), [])
  })
})
