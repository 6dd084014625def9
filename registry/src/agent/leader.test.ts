import assert from 'node:assert/strict'
import { member, perform, situation } from '../../test/agent/leader.ts'
import { Busy } from '../errors.ts'
import type { Io } from '../io/io.ts'
import { autopilotDefault } from '../model.ts'
import { type Command, encodeCommand } from '../store/command.ts'
import { Store } from '../store/store.ts'
import { Absences } from './absences.ts'
import { duties, Leader } from './leader.ts'

describe('the leader', () => {
  it('puts alive members into the catalog: serfHealth for all, the consul service for servers', () => {
    const store = new Store()
    const done = perform(store, situation([member('host1'), member('host2', { server: false })]))
    assert.deepEqual(done, [
      "member 'host1' joined, marking health alive",
      "member 'host2' joined, marking health alive",
    ])
    assert.deepEqual(
      store.instances('consul').value.map(({ node }) => node.name),
      ['host1'],
    )
    assert.equal(store.nodeChecks('host2').value[0]?.status, 'passing')
  })

  it('marks failed members critical, and alive again when they return', () => {
    const store = new Store()
    perform(store, situation([member('host1'), member('host2')]))
    perform(store, situation([member('host1'), member('host2', { status: 'failed' })]))
    assert.equal(store.nodeChecks('host2').value[0]?.status, 'critical')
    assert.equal(store.instances('consul').value.length, 2)
    perform(store, situation([member('host1'), member('host2')]))
    assert.equal(store.nodeChecks('host2').value[0]?.status, 'passing')
  })

  it('does not register a member that failed before anybody knew it', () => {
    const store = new Store()
    perform(store, situation([member('host1'), member('host2', { status: 'failed' })]))
    assert.equal(store.node('host2').value, undefined)
  })

  it('a member that left, or that gossip has forgotten, goes from the catalog; nodes that never were agents stay', () => {
    const store = new Store()
    perform(store, situation([member('host1'), member('host2', { server: false }), member('host3', { server: false })]))
    const node = { id: '', name: 'outside', address: '1.2.3.4', datacenter: 'dc1', taggedAddresses: null, meta: null }
    store.apply(store.index + 1, encodeCommand({ type: 'catalog.register', node, checks: [] }))
    perform(store, situation([member('host1'), member('host2', { server: false, status: 'left' })]))
    assert.deepEqual(
      store.nodes().value.map(({ name }) => name),
      ['host1', 'outside'],
    )
  })

  it('a node that gossip does not know yet stays: a leader that was just started knows few', () => {
    const store = new Store()
    perform(store, situation([member('host1'), member('host2', { server: false })]))
    perform(store, situation([member('host1')], { gone: () => false }))
    assert.equal(store.nodes().value.length, 2)
  })

  it('who was not known for a minute of one leader is gone; who was reaped is at once', () => {
    const absences = new Absences()
    const known = new Set(['host1'])
    assert.equal(absences.look(['host1', 'Host2'], known, 0)('Host2'), false)
    assert.equal(absences.look(['host1', 'Host2'], known, 59_000)('Host2'), false)
    assert.equal(absences.look(['host1', 'Host2'], known, 60_000)('Host2'), true)
    assert.equal(absences.look(['host1', 'Host2'], new Set(['host1', 'host2']), 70_000)('Host2'), false)
    assert.equal(absences.look(['host1', 'Host2'], known, 80_000)('Host2'), false, 'it was there in between')
    absences.reset()
    absences.reaped('Host2')
    assert.equal(absences.look(['host1', 'Host2'], known, 80_001)('Host2'), true)
    assert.equal(absences.look(['host1', 'Host2'], known, 80_002)('host1'), false)
  })

  it('two living agents with one id do not take the node from each other', () => {
    const store = new Store()
    const [first, copy] = [member('host1', { id: 'x' }), member('host2', { id: 'x' })]
    perform(store, situation([first]))
    assert.deepEqual(perform(store, situation([first, copy])), [])
    assert.equal(store.nodeById('x')?.name, 'host1')
    perform(store, situation([{ ...first, status: 'failed' }, copy]))
    assert.equal(store.nodeById('x')?.name, 'host2', 'it was renamed')
  })

  for (const name of ['alias', 'zebra']) {
    it(`an agent under another name, ${name}, has its node renamed once, whatever is said of the old name`, () => {
      for (const status of ['failed', 'left'] as const) {
        const store = new Store()
        const host = member('host1')
        perform(store, situation([host, member('host3', { server: false })]))
        const renamed = member(name, { id: 'id-host3', server: false, address: member('host3').address })
        const members = [host, member('host3', { server: false, status }), renamed]
        members.sort((one, other) => (one.name < other.name ? -1 : 1))
        const done = perform(store, situation(members))
        assert.deepEqual(done, [`member '${name}' joined, marking health alive`])
        assert.equal(store.node('host3').value, undefined)
        assert.equal(store.nodeById('id-host3')?.name, name)
        assert.equal(store.nodeChecks(name).value[0]?.status, 'passing')
      }
    })
  }

  it('of two names that differ in capitals the first that lives keeps its node, whatever becomes of the other', () => {
    const store = new Store()
    const web = member('web1', { server: false })
    const other = member('Web1', { id: 'id-other', server: false, address: { host: '10.0.0.9', port: 8301 } })
    const host = member('host1')
    perform(store, situation([host, web]))
    for (const status of ['alive', 'failed', 'left'] as const) {
      assert.deepEqual(perform(store, situation([{ ...other, status }, host, web])), [])
    }
    assert.equal(store.node('web1').value?.node.id, 'id-web1')
    perform(store, situation([other, host, { ...web, status: 'left' }]))
    assert.equal(store.node('web1').value?.node.id, 'id-other')
  })

  it('a service `consul` of an agent that is no server is not its business', () => {
    const store = new Store()
    const host = member('host2', { server: false })
    perform(store, situation([host]))
    const node = store.node('host2').value?.node
    assert.ok(node)
    const service = {
      id: 'consul',
      name: 'consul',
      tags: [],
      address: '',
      port: 1,
      taggedAddresses: null,
      meta: null,
      weights: { passing: 1, warning: 1 },
      enableTagOverride: false,
    }
    store.apply(9, encodeCommand({ type: 'catalog.register', node, service, checks: [] }))
    assert.deepEqual(perform(store, situation([host])), [])
  })

  it('writes what it was started with where autopilot was never set, first of all and once', () => {
    const store = new Store()
    const initial = { ...autopilotDefault, minQuorum: 3 }
    const now = situation([member('host1')], { initial })
    const [first] = duties({ ...now, view: store })
    assert.ok(first !== undefined && 'command' in first)
    assert.deepEqual(first.command, { type: 'autopilot.set', configuration: initial, initial: true })
    store.apply(1, encodeCommand(first.command))
    assert.doesNotMatch(JSON.stringify(duties({ ...now, view: store })), /autopilot/)
  })

  it('a change of servers that fails does not keep the catalog from being told', async () => {
    const store = new Store()
    store.apply(1, encodeCommand({ type: 'autopilot.set', configuration: autopilotDefault }))
    const now = situation([member('host1'), member('host2', { status: 'left' })])
    now.configuration.servers.push({ id: 'id-host2', address: '10.0.0.2:8300', voter: true })
    const written: Command[] = []
    const logged: string[] = []
    const leader = new Leader({
      io: { log: (_level: string, _area: string, message: string) => logged.push(message) } as unknown as Io,
      situation: async () => ({ ...now, view: store }),
      write: async (command) => {
        written.push(command)
        return { result: { error: 'the store said no' } }
      },
      change: () => Promise.reject(new Busy('another change')),
      forceLeave: () => {},
    })
    await assert.rejects(leader.run(), Busy)
    assert.equal(written.length, 1)
    await assert.rejects(leader.run(), Busy)
    assert.equal(logged.filter((line) => line.includes('the store said no')).length, 1, 'told once')
  })
})
