import assert from 'node:assert/strict'
import type { Member } from '../model.ts'
import { encodeCommand } from '../store/command.ts'
import { Store } from '../store/store.ts'
import { type Duty, duties, type Situation, Tombstones } from './leader.ts'

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
    perform(new Store(), { ...now, members, statuses: new Map([['id-host2', { applied: 5, cluster: 'other' }]]) })
    assert.equal(now.configuration.servers.length, 1)
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
})
