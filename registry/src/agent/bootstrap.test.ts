import assert from 'node:assert/strict'
import type { Io } from '../io/io.ts'
import { Random } from '../io/random.ts'
import type { Configuration } from '../raft/message.ts'
import { Bootstrap, BootstrapPromise, type BootstrapReply, type Candidate, serverOf } from './bootstrap.ts'
import type { Peers } from './peers.ts'

const candidate = (id: string, changes: Partial<Candidate> = {}): Candidate => ({
  id,
  name: `host-${id}`,
  rpc: { host: `10.0.0.${id.charCodeAt(0) - 96}`, port: 8300 },
  expect: 0,
  bootstrap: false,
  ...changes,
})
const granted: BootstrapReply = { granted: true, reason: '', hasState: false }

function trial(changes: {
  self?: string
  expect?: number
  alone?: boolean
  servers: Candidate[]
  replies?: Record<string, BootstrapReply | Error>
  /** Milliseconds that each question takes. */
  takes?: number
}) {
  const begun: Configuration[] = []
  const logged: string[] = []
  const log = (_level: string, _area: string, message: string) => logged.push(message)
  let now = 0
  const io = { clock: { now: () => now, wall: () => 0 }, random: new Random(1), log } as unknown as Io
  const ask = async (to: { host: string }) => {
    now += changes.takes ?? 0
    const server = changes.servers.find(({ rpc }) => rpc.host === to.host)
    const reply = changes.replies?.[server?.id ?? ''] ?? granted
    if (reply instanceof Error) throw reply
    return reply
  }
  const bootstrap = new Bootstrap({
    io,
    peers: { ask } as unknown as Peers,
    self: changes.self ?? 'a',
    expect: changes.expect ?? 3,
    alone: changes.alone ?? false,
    promise: new BootstrapPromise(),
    servers: () => changes.servers,
    begin: async (configuration) => {
      begun.push(configuration)
    },
  })
  return { bootstrap, begun, logged }
}
const three = [candidate('a', { expect: 3 }), candidate('b'), candidate('c')]

describe('bootstrap', () => {
  it('begins with everybody once as many as expected know each other', async () => {
    const { bootstrap, begun, logged } = trial({ servers: three })
    assert.equal(await bootstrap.run(), true)
    assert.deepEqual(
      begun[0]?.servers.map(({ id, voter }) => [id, voter]),
      [
        ['a', true],
        ['b', true],
        ['c', true],
      ],
    )
    assert.match(begun[0]?.cluster ?? '', /^[0-9a-f-]{36}$/)
    assert.ok(logged.includes('Attempting bootstrap with nodes: [10.0.0.1:8300 10.0.0.2:8300 10.0.0.3:8300]'))
    await bootstrap.run()
    assert.equal(begun.length, 1)
  })

  it('waits for fewer', async () => {
    const { bootstrap, begun } = trial({ servers: three.slice(0, 2) })
    assert.equal(await bootstrap.run(), false)
    assert.equal(begun.length, 0)
  })

  it('never begins beside a living cluster', async () => {
    const { bootstrap, begun } = trial({
      servers: three,
      replies: { c: { granted: false, reason: '', hasState: true } },
    })
    assert.equal(await bootstrap.run(), true)
    assert.equal(begun.length, 0)
  })

  it('does not begin while a server is silent or has promised itself to another', async () => {
    const silent = trial({ servers: three, replies: { b: new Error('no answer') } })
    assert.equal(await silent.bootstrap.run(), false)
    const promised = trial({ servers: three, replies: { b: { granted: false, reason: 'waits', hasState: false } } })
    assert.equal(await promised.bootstrap.run(), false)
    assert.equal(silent.begun.length + promised.begun.length, 0)
  })

  it('does not begin on promises that may have lapsed while the process stood still', async () => {
    const { bootstrap, begun } = trial({ servers: three, takes: 20_000 })
    assert.equal(await bootstrap.run(), false)
    assert.equal(begun.length, 0)
  })

  it('of several that expect, the one with the smallest id begins', async () => {
    const servers = three.map((server) => ({ ...server, expect: 3 }))
    assert.equal((await (async () => trial({ servers, self: 'b' }))()).begun.length, 0)
    const second = trial({ servers, self: 'b' })
    assert.equal(await second.bootstrap.run(), false)
    assert.equal(second.begun.length, 0)
    const first = trial({ servers, self: 'a' })
    await first.bootstrap.run()
    assert.equal(first.begun.length, 1)
  })

  it('a conflicting expectation, or a server with -bootstrap, is said and waited out', async () => {
    const conflict = trial({ servers: [three[0] as Candidate, candidate('b', { expect: 5 }), candidate('c')] })
    assert.equal(await conflict.bootstrap.run(), false)
    assert.match(conflict.logged.join(), /host-b expects 5 servers and this one 3/)
    const mixed = trial({ servers: [three[0] as Candidate, candidate('b', { bootstrap: true }), candidate('c')] })
    assert.equal(await mixed.bootstrap.run(), false)
    assert.match(mixed.logged.join(), /host-b runs with -bootstrap/)
  })

  it('-bootstrap begins with itself alone, and never beside a second one or a living cluster', async () => {
    const self = candidate('a', { bootstrap: true })
    const alone = trial({ alone: true, expect: 0, servers: [self, candidate('b')] })
    await alone.bootstrap.run()
    assert.deepEqual(
      alone.begun[0]?.servers.map(({ id }) => id),
      ['a'],
    )
    const second = trial({ alone: true, expect: 0, servers: [self, candidate('b', { bootstrap: true })] })
    assert.equal(await second.bootstrap.run(), false)
    const living = trial({
      alone: true,
      expect: 0,
      servers: [self, candidate('b')],
      replies: { b: { granted: false, reason: '', hasState: true } },
    })
    await living.bootstrap.run()
    assert.equal(second.begun.length + living.begun.length, 0)
  })

  it('a promise binds to one at a time and lapses', () => {
    const promise = new BootstrapPromise()
    assert.equal(promise.answer({ by: 'a' }, false, 0).granted, true)
    assert.equal(promise.answer({ by: 'a' }, false, 10).granted, true)
    assert.equal(promise.answer({ by: 'b' }, false, 20).granted, false)
    assert.equal(promise.answer({ by: 'b' }, false, 40_000).granted, true)
    assert.equal(promise.answer({ by: 'b' }, true, 40_001).granted, false)
  })

  it('a member is a server of this datacenter only with all it takes', () => {
    const member = {
      name: 'x',
      address: { host: '10.0.0.9', port: 8301 },
      status: 'alive' as const,
      incarnation: 1,
      tags: { role: 'consul', dc: 'dc1', id: 'i', port: '8300', expect: '3' },
    }
    assert.deepEqual(serverOf(member, 'dc1'), {
      id: 'i',
      name: 'x',
      rpc: { host: '10.0.0.9', port: 8300 },
      expect: 3,
      bootstrap: false,
    })
    assert.equal(serverOf(member, 'dc2'), undefined)
    assert.equal(serverOf({ ...member, tags: { ...member.tags, role: 'node' } }, 'dc1'), undefined)
    assert.equal(serverOf({ ...member, tags: { ...member.tags, port: 'x' } }, 'dc1'), undefined)
  })
})
