import assert from 'node:assert/strict'
import { member, perform, situation } from '../../test/agent/leader.ts'
import { Store } from '../store/store.ts'
import { serverDuty, strangers } from './server-changes.ts'

/** Without what was done to the catalog. */
const servers = (done: string[]) => done.filter((line) => !line.startsWith('member '))

describe('the configuration of servers', () => {
  it('a server that gossip has forgotten leaves the configuration as well', () => {
    const now = situation([member('host1'), member('host2'), member('host3')])
    perform(new Store(), { ...now, members: [member('host1'), member('host3')], leaving: new Set(['id-host2']) })
    assert.deepEqual(
      now.configuration.servers.map(({ id }) => id),
      ['id-host1', 'id-host3'],
    )
  })

  it('a new server is a learner until it has been well for long enough, then votes', () => {
    const store = new Store()
    const now = situation([member('host1')])
    const statuses = new Map([['id-host2', { applied: 0, cluster: '' }]])
    const far = { ...now, members: [member('host1'), member('host2')], statuses }
    perform(store, { ...far, stable: () => false })
    assert.deepEqual(now.configuration.servers[1], { id: 'id-host2', address: '10.0.0.2:8300', voter: false })
    perform(store, far)
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

  it('a server that no member has the id of goes, unless a majority would get no smaller by it', () => {
    const members = [1, 2, 3, 4].map((each) => member(`host${each}`))
    const dead = (id: string) => id === 'id-host2'
    const now = situation(members, { dead })
    const left = members.filter(({ name }) => name !== 'host2')
    const done = perform(new Store(), { ...now, members: left })
    assert.match(done.join('\n'), /removing server 10\.0\.0\.2:8300 \(id-host2\): no member has its id/)
    assert.deepEqual(
      now.configuration.servers.map(({ id }) => id),
      ['id-host1', 'id-host3', 'id-host4'],
    )
    const three = situation(members.slice(0, 3), { dead })
    perform(new Store(), { ...three, members: [member('host1'), member('host3')] })
    assert.equal(three.configuration.servers.length, 3)
  })

  it('a dead server is made one that left once another is ready to vote, and that one votes then', () => {
    const alive = [member('host1'), member('host3')]
    const now = situation([...alive, member('host2', { status: 'failed' })], { dead: (id) => id === 'id-host2' })
    assert.deepEqual(serverDuty({ ...now, view: new Store() }).duty, undefined)
    now.members = [...now.members, member('host4')]
    now.statuses = new Map([['id-host4', { applied: 0, cluster: '' }]])
    const notYet = { ...now, stable: () => false }
    assert.deepEqual(servers(perform(new Store(), notYet)), ['adding server host4 (Addr: 10.0.0.4:8300)'])
    assert.deepEqual(servers(perform(new Store(), now)), [
      'Attempting removal of failed server node host2',
      'removing server host2: it left',
      'server host4 has caught up, it votes now',
    ])
    assert.deepEqual(
      now.configuration.servers.map(({ id }) => id),
      ['id-host1', 'id-host3', 'id-host4'],
    )
  })

  it('nobody goes while too few of those that would be left are heard; another change may go first', () => {
    const members = ['host1', 'host2', 'host3', 'host4', 'host5'].map((name) => member(name))
    const now = situation(members, { leaving: new Set(['id-host2']), heard: (id) => /[123]$/.test(id) })
    const blocked = serverDuty({ ...now, view: new Store() })
    assert.equal(blocked.duty, undefined)
    assert.match(blocked.waiting.join(), /removing server 10\.0\.0\.2:8300: it left: 2 of the 4 .*0\.0\.4:8300, 10/)
    now.leaving = new Set(['id-host2', 'id-host5'])
    assert.deepEqual(servers(perform(new Store(), now)), [
      'removing server 10.0.0.5:8300: it left',
      'removing server 10.0.0.2:8300: it left',
    ])
  })

  it('everybody may leave, one after the other', () => {
    const members = ['host1', 'host2', 'host3'].map((name) => member(name))
    const now = situation(members, { leaving: new Set(['id-host2', 'id-host3']) })
    perform(new Store(), now)
    assert.deepEqual(
      now.configuration.servers.map(({ id }) => id),
      ['id-host1'],
    )
  })

  it('who is to leave is given no vote, and no change that makes no sense holds up the others', () => {
    const learner = member('host3')
    const now = situation([member('host1'), member('host2'), learner], { leaving: new Set(['id-host3']) })
    now.configuration.servers[2] = { ...now.configuration.servers[2]!, voter: false }
    const { duty } = serverDuty({ ...now, view: new Store() })
    assert.deepEqual(duty && 'change' in duty && duty.change, { type: 'remove', id: 'id-host3' })
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

  for (const status of ['failed', 'left'] as const) {
    it(`a server under another name keeps its vote when its old one has ${status}`, () => {
      const store = new Store()
      const now = situation([member('host1'), member('host2'), member('host3')])
      perform(store, now)
      const before = structuredClone(now.configuration)
      const renamed = member('alias', { id: 'id-host3', address: member('host3').address })
      const statuses = new Map([['id-host3', { applied: 1000, cluster: 'c' }]])
      const members = [renamed, member('host1'), member('host2'), member('host3', { status })]
      assert.deepEqual(servers(perform(store, { ...now, members, statuses })), [])
      // Nor is its place given away while it is started again.
      const silent = [{ ...renamed, status: 'failed' as const }, ...members.slice(1)]
      assert.deepEqual(servers(perform(store, { ...now, members: silent, statuses })), [])
      assert.deepEqual(now.configuration, before)
      // The leader itself.
      const leader = member('host9', { id: 'id-host1', address: { host: '10.0.0.1', port: 8301 } })
      const old = member('host1', { status, address: { host: '10.0.0.7', port: 8301 } })
      const itself = [old, leader, member('host2'), member('host3')]
      assert.deepEqual(servers(perform(store, { ...now, members: itself, statuses })), [])
    })
  }

  it('a server whose name is that of another in capitals does not take its place while that one lives', () => {
    const store = new Store()
    const members = [member('host1'), member('host2'), member('host3')]
    const now = situation(members)
    perform(store, now)
    const other = member('HOST2', { id: 'id-other', address: { host: '10.0.0.9', port: 8301 } })
    const statuses = new Map([['id-other', { applied: 1000, cluster: '' }]])
    assert.deepEqual(perform(store, { ...now, members: [other, ...members], statuses }), [])
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
})
