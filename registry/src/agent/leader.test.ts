import assert from 'node:assert/strict'
import { Busy } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Member } from '../model.ts'
import { type Command, encodeCommand } from '../store/command.ts'
import { Store } from '../store/store.ts'
import { Absences } from './absences.ts'
import { type Duty, duties, Leader, type Situation, strangers, Tombstones } from './leader.ts'

const member = (name: string, changes: Partial<Member> & { id?: string; server?: boolean } = {}): Member => {
  const { id = `id-${name}`, server = true, ...rest } = changes
  return {
    name,
    address: { host: `10.0.0.${name.at(-1)}`, port: 8301 },
    status: 'alive',
    incarnation: 1,
    tags: { dc: 'dc1', id, role: server ? 'consul' : 'node', ...(server ? { port: '8300' } : {}) },
    ...rest,
  }
}

/** Does the duties on a store, as the leader would, until none is left; returns what it did. */
function perform(store: Store, situation: Omit<Situation, 'view'>): string[] {
  const done: string[] = []
  for (let turn = 0; turn < 10; turn++) {
    const todo = duties({ ...situation, view: store })
    if (todo.length === 0) return done
    for (const duty of todo) {
      done.push(duty.log)
      if ('command' in duty) store.apply(store.index + 1, encodeCommand(duty.command))
      else applyChange(situation, duty)
    }
  }
  return assert.fail(`never done: ${done.join('; ')}`)
}
function applyChange({ configuration }: Omit<Situation, 'view'>, duty: Duty & { change: unknown }): void {
  const { change } = duty as Extract<Duty, { change: unknown }>
  const others = configuration.servers.filter(({ id }) => id !== change.id)
  const before = configuration.servers.find(({ id }) => id === change.id)
  if (change.type === 'add') {
    others.push({ id: change.id, address: change.address, voter: change.voter })
  } else if (change.type === 'promote' && before !== undefined) others.push({ ...before, voter: true })
  configuration.servers = others
}

function situation(members: Member[], changes: Partial<Situation> = {}): Omit<Situation, 'view'> {
  return {
    datacenter: 'dc1',
    self: 'id-host1',
    members,
    configuration: {
      cluster: 'c',
      servers: members
        .filter(({ tags }) => tags.role === 'consul')
        .map(({ address, tags }) => ({ id: tags.id as string, address: `${address.host}:8300`, voter: true })),
    },
    leaving: new Set(),
    statuses: new Map(),
    commit: 1000,
    gone: () => true,
    unheardOf: () => false,
    ...changes,
  }
}

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

  it('a server that gossip has forgotten leaves the configuration as well', () => {
    const now = situation([member('host1'), member('host2'), member('host3')])
    perform(new Store(), { ...now, members: [member('host1'), member('host3')], leaving: new Set(['id-host2']) })
    assert.deepEqual(
      now.configuration.servers.map(({ id }) => id),
      ['id-host1', 'id-host3'],
    )
  })

  it('a change of servers that fails does not keep the catalog from being told', async () => {
    const store = new Store()
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
    })
    await assert.rejects(leader.run(), Busy)
    assert.equal(written.length, 1)
    await assert.rejects(leader.run(), Busy)
    assert.equal(logged.filter((line) => line.includes('the store said no')).length, 1, 'told once')
  })

  it('a new server is a learner until its log has come close, then votes', () => {
    const store = new Store()
    const newcomer = member('host2')
    const now = situation([member('host1')])
    const far = { ...now, members: [member('host1'), newcomer] }
    const status = (applied: number) => new Map([['id-host2', { applied, cluster: '' }]])
    perform(store, { ...far, statuses: status(0) })
    assert.deepEqual(now.configuration.servers[1], { id: 'id-host2', address: '10.0.0.2:8300', voter: false })
    perform(store, { ...far, statuses: status(900) })
    assert.equal(now.configuration.servers[1]?.voter, true)
  })

  it('a server that does not answer, or belongs to another cluster, is not taken in', () => {
    const now = situation([member('host1')])
    const members = [member('host1'), member('host2')]
    perform(new Store(), { ...now, members })
    const stranger = { ...now, members, statuses: new Map([['id-host2', { applied: 5, cluster: 'other' }]]) }
    perform(new Store(), stranger)
    assert.match(strangers({ ...stranger, view: new Store() }).join(), /^server host2 .* another cluster, other/)
    assert.deepEqual(strangers({ ...now, members, view: new Store() }), [])
    assert.equal(now.configuration.servers.length, 1)
  })

  it('a server that no member has the id of goes, unless it is half of those that vote without the leader', () => {
    const members = [1, 2, 3, 4].map((each) => member(`host${each}`))
    const unheardOf = (id: string) => id === 'id-host2'
    const now = situation(members, { unheardOf })
    const left = members.filter(({ name }) => name !== 'host2')
    const done = perform(new Store(), { ...now, members: left })
    assert.match(done.join('\n'), /removing server 10\.0\.0\.2:8300 \(id-host2\): no member has its id/)
    assert.deepEqual(
      now.configuration.servers.map(({ id }) => id),
      ['id-host1', 'id-host3', 'id-host4'],
    )
    const three = situation(members.slice(0, 3), { unheardOf })
    perform(new Store(), { ...three, members: [member('host1'), member('host3')] })
    assert.equal(three.configuration.servers.length, 3)
  })

  it('a leader that has moved says so in the configuration, unless somebody else is there', () => {
    const members = [member('host1'), member('host2'), member('host3')]
    const now = situation(members)
    const moved = { ...member('host1'), address: { host: '10.0.0.9', port: 8301 } }
    perform(new Store(), { ...now, members: [moved, ...members.slice(1)] })
    const listed = () => now.configuration.servers.find(({ id }) => id === 'id-host1')
    assert.deepEqual(listed(), { id: 'id-host1', address: '10.0.0.9:8300', voter: true })
    const taken = { ...member('host1'), address: { host: '10.0.0.2', port: 8301 } }
    perform(new Store(), { ...now, members: [taken, member('host3')] })
    assert.equal(listed()?.address, '10.0.0.9:8300')
  })

  it('a wiped server is a new id that replaces the old one of its address', () => {
    const store = new Store()
    const now = situation([member('host1'), member('host2'), member('host3')])
    perform(store, now)
    const wiped = member('host2', { id: 'id-new' })
    const statuses = new Map([['id-new', { applied: 1000, cluster: '' }]])
    const done = perform(store, { ...now, members: [member('host1'), wiped, member('host3')], statuses })
    assert.deepEqual(now.configuration.servers.map(({ id, voter }) => [id, voter]).sort(), [
      ['id-host1', true],
      ['id-host3', true],
      ['id-new', true],
    ])
    assert.match(done.join('\n'), /removing server 10\.0\.0\.2:8300 \(id-host2\): host2 replaces it/)
    assert.equal(store.node('host2').value?.node.id, 'id-new')
  })

  it('a server that left leaves the configuration; one that failed stays in it', () => {
    const now = situation([member('host1'), member('host2'), member('host3')])
    const members = [member('host1'), member('host2', { status: 'left' }), member('host3', { status: 'failed' })]
    perform(new Store(), { ...now, members })
    assert.deepEqual(
      now.configuration.servers.map(({ id }) => id),
      ['id-host1', 'id-host3'],
    )
  })

  it('a server that asked to go is not taken in again while it still looks alive', () => {
    const now = situation([member('host1'), member('host2')])
    perform(new Store(), { ...now, leaving: new Set(['id-host2']) })
    assert.deepEqual(
      now.configuration.servers.map(({ id }) => id),
      ['id-host1'],
    )
  })

  it('deletions are forgotten after 15 minutes of one leader', () => {
    const tombstones = new Tombstones()
    const minute = 60_000
    assert.equal(tombstones.due(0, 10), undefined)
    for (let at = 1; at < 15; at++) assert.equal(tombstones.due(at * minute, 10 + at), undefined)
    assert.equal(tombstones.due(15 * minute, 30), 10)
    assert.equal(tombstones.due(15 * minute + 1, 30), undefined)
    assert.equal(tombstones.due(16 * minute, 30), 11)
  })

  it('an idle cluster writes once to forget deletions, and not again about that', () => {
    const tombstones = new Tombstones()
    let applied = 10
    const writes: number[] = []
    for (let at = 0; at < 24 * 60; at++) {
      const upTo = tombstones.due(at * 60_000, applied)
      if (upTo === undefined) continue
      writes.push(upTo)
      tombstones.reaped(++applied)
    }
    assert.deepEqual(writes, [10])
    applied++
    assert.equal(tombstones.due(24 * 60 * 60_000, applied), undefined)
    assert.equal(tombstones.due(24 * 60 * 60_000 + 15 * 60_000, applied), 12)
  })
})
