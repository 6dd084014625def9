import assert from 'node:assert/strict'
import { type End, settle, Wires } from '../../test/agents/wires.ts'
import { check, node, preparedQuery, service } from '../../test/store/samples.ts'
import { Busy, DatacenterLost, LeadershipLost, NoPath } from '../errors.ts'
import { Random } from '../io/random.ts'
import type { Address, Member } from '../model.ts'
import { type Command, encodeCommand } from '../store/command.ts'
import { Store } from '../store/store.ts'
import type { Travelled, Travelling } from './elsewhere.ts'
import { Queries } from './queries.ts'
import { Remote } from './remote.ts'

/** Servers of dc1 and dc2, as many as said, and an agent of dc1 that is no server. */
function world(sizes: { dc1?: number; dc2?: number; dc3?: number } = {}) {
  const wires = new Wires()
  const members: Member[] = []
  const remotes = new Map<string, Remote>()
  const answered: string[] = []
  const distances = new Map<string, number>()
  const addresses = new Map<string, Address>()
  const stores = new Map<string, Store>()
  const ends = new Map<string, End>()
  const open = (name: string, datacenter: string, host: string, server: boolean) => {
    const address = { host, port: 8300 }
    const end = wires.end(address)
    ends.set(name, end)
    const { io, deadlines, peers } = end
    const store = new Store()
    const remote: Remote = new Remote({
      io,
      deadlines,
      peers,
      datacenter,
      server,
      view: store,
      wan: () => (server ? members : []),
      servers: () => members.filter(({ tags }) => tags.dc === datacenter).map(({ name }) => addresses.get(name)!),
      hold: 7_000,
      queries: () => queries,
      distance: (other) => distances.get(other),
    })
    const queries = new Queries({ view: () => store, io, datacenter, remote })
    addresses.set(`${name}.${datacenter}`, address)
    remotes.set(name, remote)
    stores.set(name, store)
    if (!server) return
    members.push({
      name: `${name}.${datacenter}`,
      address: { host, port: 8302 },
      status: 'alive',
      tags: { dc: datacenter, role: 'consul', port: '8300' },
      incarnation: 1,
    })
    remote.answerWith(async ({ method, path }): Promise<Travelled> => {
      answered.push(`${name} ${method} ${path}`)
      return { status: 200, headers: { by: name }, body: new Uint8Array() }
    })
  }
  for (const [at, datacenter] of (['dc1', 'dc2', 'dc3'] as const).entries()) {
    for (let n = 1; n <= (sizes[datacenter] ?? (at < 2 ? 1 : 0)); n++) {
      open(`s${at + 1}${n}`, datacenter, `10.0.${at + 1}.${n}`, true)
    }
  }
  open('c1', 'dc1', '10.0.1.99', false)
  const mark = (name: string, status: Member['status']) => {
    const at = members.findIndex((member) => member.name === name)
    members[at] = { ...members[at]!, status }
  }
  return { wires, remote: (name: string) => remotes.get(name)!, answered, distances, mark, stores, ends }
}

const request = (method: string, path = '/v1/kv/x'): Travelling => ({
  method,
  path,
  query: '',
  headers: {},
  body: new Uint8Array(),
  pretty: false,
  node: 'c1',
})

describe('another datacenter', () => {
  it('is asked by a server, and for any other agent by a server of its own', async () => {
    const { remote, answered } = world()
    for (const name of ['s11', 'c1']) {
      const { headers } = await remote(name).http('dc2', request('PUT'), 0)
      assert.deepEqual(headers, { by: 's21' })
    }
    assert.deepEqual(answered, ['s21 PUT /v1/kv/x', 's21 PUT /v1/kv/x'])
  })

  it('that nobody knows is no path, from wherever it is asked', async () => {
    const { remote } = world()
    assert.equal(remote('s11').knows('dc9'), false)
    assert.equal(remote('c1').knows('dc9'), undefined)
    for (const bad of ['', 'DC2', '../dc2', 'dc 2']) assert.equal(remote('c1').knows(bad), false)
    for (const name of ['s11', 'c1']) await assert.rejects(remote(name).http('dc9', request('GET'), 0), NoPath)
  })

  it('whose servers left is not known any more', async () => {
    const { remote, mark } = world()
    mark('s21.dc2', 'left')
    assert.equal(remote('s11').knows('dc2'), false)
    assert.deepEqual(await remote('c1').datacenters(), ['dc1'])
  })

  it('that gossip holds for failed is an error at once, with the names', async () => {
    const { remote, mark, answered } = world({ dc2: 2 })
    mark('s21.dc2', 'failed')
    mark('s22.dc2', 'failed')
    const words = /datacenter dc2 cannot be reached: all its servers have failed \(s21\.dc2, s22\.dc2\)/
    for (const name of ['s11', 'c1']) {
      await assert.rejects(remote(name).http('dc2', request('GET'), 0), { name: 'DatacenterLost', message: words })
    }
    assert.deepEqual(answered, [])
    assert.deepEqual(await remote('s11').datacenters(), ['dc1', 'dc2'])
  })

  it('that is lost is remembered for a second by an agent that has to ask a server of its own about it', async () => {
    const { remote, mark, wires } = world()
    mark('s21.dc2', 'failed')
    const lost = { name: 'DatacenterLost', message: /all its servers have failed/ }
    await assert.rejects(remote('c1').http('dc2', request('GET'), 0), lost)
    mark('s21.dc2', 'alive')
    for (const method of ['GET', 'PUT']) await assert.rejects(remote('c1').http('dc2', request(method), 0), lost)
    assert.equal((await remote('s11').http('dc2', request('GET'), 0)).status, 200)
    await wires.pass(1_000)
    assert.equal((await remote('c1').http('dc2', request('GET'), 0)).status, 200)
  })

  it('has another server asked when one refuses connections, for writes too: it certainly saw nothing', async () => {
    const { remote, wires, answered } = world({ dc2: 2 })
    wires.down.add('10.0.2.1:8300')
    for (let n = 0; n < 10; n++) await remote('s11').http('dc2', request('PUT'), 0)
    assert.equal(answered.length, 10)
  })

  it('has nobody else asked for a write that a server passed on before it stopped: it may have been done', async () => {
    const { remote, ends, wires } = world()
    let begun = 0
    remote('s21').answerWith(() => {
      begun++
      return new Promise(() => {})
    })
    const write = remote('c1').http('dc2', request('PUT'), 0)
    write.catch(() => {})
    await settle()
    assert.equal(begun, 1)
    // As an agent does that stops.
    ends.get('s11')!.peers.stop()
    ends.get('s11')!.deadlines.stop()
    await wires.passUntil(write)
    await assert.rejects(write, { name: 'LeadershipLost', message: /may or may not have been done/ })
  })

  it('has a read asked of another server when one keeps silent, and never a write', async () => {
    const { remote, wires, answered } = world({ dc2: 2 })
    wires.silent.add('10.0.2.1:8300')
    let unknown = 0
    for (let n = 0; n < 10; n++) {
      const read = remote('s11').http('dc2', request('GET'), 0)
      await wires.passUntil(read)
      assert.equal((await read).status, 200)
      // Until the silent one may be asked again.
      wires.silent.clear()
      await wires.pass(8_000)
      wires.silent.add('10.0.2.1:8300')
      const write = remote('s11').http('dc2', request('PUT'), 0)
      write.catch(() => {})
      await wires.passUntil(write)
      await write.catch((error) => {
        assert.ok(error instanceof LeadershipLost)
        assert.match(error.message, /may or may not have been done: s21\.dc2: .*no sign of life for 2500 ms/)
        unknown++
      })
      wires.silent.clear()
      await wires.pass(8_000)
      wires.silent.add('10.0.2.1:8300')
    }
    assert.equal(answered.filter((line) => line === 's22 GET /v1/kv/x').length, 10)
    assert.equal(answered.filter((line) => line === 's22 PUT /v1/kv/x').length, 10 - unknown)
    assert.ok(unknown > 0)
  })

  it('that is lost costs the first who ask a few seconds, and those who come next nothing', async () => {
    const { remote, wires } = world({ dc2: 3 })
    for (const n of [1, 2, 3]) wires.silent.add(`10.0.2.${n}:8300`)
    const first = assert.rejects(remote('s11').http('dc2', request('GET'), 0), DatacenterLost)
    const took = await wires.passUntil(first)
    await first
    assert.ok(took <= 8_000, `after ${took} ms`)
    // The third was not tried.
    await wires.passUntil(assert.rejects(remote('s11').http('dc2', request('GET'), 0), DatacenterLost))
    for (let n = 0; n < 100; n++) {
      await assert.rejects(remote('s11').http('dc2', request('GET'), 0), DatacenterLost)
      await wires.pass(200)
    }
    wires.silent.clear()
    await wires.pass(8_000)
    assert.equal((await remote('s11').http('dc2', request('GET'), 0)).status, 200)
  })

  it('has at most so many requests waiting for it, and the others none the less', async () => {
    const { remote, wires } = world({ dc3: 1 })
    remote('s21').answerWith(() => new Promise(() => {}))
    const waiting = Array.from({ length: 1024 }, () => remote('s11').http('dc2', request('GET'), 600_000))
    for (const each of waiting) each.catch(() => {})
    await settle()
    await assert.rejects(remote('s11').http('dc2', request('GET'), 0), Busy)
    assert.equal((await remote('s11').http('dc3', request('GET'), 0)).status, 200)
    wires.down.add('10.0.2.1:8300')
    await wires.pass(3_000)
    const outcomes = await Promise.allSettled(waiting)
    assert.ok(outcomes.every(({ status }) => status === 'rejected'))
    wires.down.clear()
    remote('s21').answerWith(async () => ({ status: 204, headers: {}, body: new Uint8Array() }))
    await wires.pass(8_000)
    assert.equal((await remote('s11').http('dc2', request('GET'), 0)).status, 204)
  })

  it('executes prepared queries of ours for its instances, and its own by name, asked through whatever agent', async () => {
    const { remote, stores } = world()
    const store = stores.get('s21')!
    const apply = (command: Command) => store.apply(store.index + 1, encodeCommand(command))
    // More than one part of an answer holds.
    const output = 'x'.repeat(300_000)
    const checks = [check('c', { output })]
    apply({ type: 'catalog.register', node: node('n1', { datacenter: 'dc2' }), service: service('web'), checks })
    apply({ type: 'query.set', query: preparedQuery('there', { dns: { ttl: '5s' } }), create: true })
    const asked = { near: '', ip: '', agent: 'a', limit: 0, connect: false }
    for (const name of ['s11', 'c1']) {
      const { service: wanted } = preparedQuery('ours')
      const found = await remote(name).query('dc2', { service: wanted, limit: 1, connect: false }, 1_000)
      assert.deepEqual([found?.datacenter, found?.instances.length], ['dc2', 1])
      assert.equal(found?.instances[0]?.checks[0]?.output, output)
      const named = await remote(name).query('dc2', { name: 'THERE', asked }, 1_000)
      assert.deepEqual([named?.ttl, named?.service, named?.instances.length], ['5s', 'web', 1])
      assert.equal(await remote(name).query('dc2', { name: 'nowhere', asked }, 1_000), undefined)
      await assert.rejects(remote(name).query('dc9', { name: 'there', asked }, 1_000), NoPath)
      await assert.rejects(remote(name).query('dc2', { service: {} } as never, 1_000), { name: 'BadRequest' })
    }
  })

  it('whose address is another datacenter’s by now does nothing for us', async () => {
    const { remote, wires, answered } = world({ dc2: 1, dc3: 1 })
    // What was 10.0.2.1 is a server of dc3 now.
    const { io, deadlines, peers } = wires.end({ host: '10.0.2.1', port: 8300 })
    new Remote({
      io,
      deadlines,
      peers,
      datacenter: 'dc3',
      server: true,
      view: new Store(),
      wan: () => [],
      servers: () => [],
      hold: 7_000,
      queries: () => assert.fail('asked for a query'),
    }).answerWith(async () => {
      throw new Error('answered for another datacenter')
    })
    await assert.rejects(remote('s11').http('dc2', request('PUT'), 0), {
      name: 'DatacenterLost',
      message: /this agent is of datacenter dc3, the request is for dc2/,
    })
    assert.deepEqual(answered, [])
  })

  it('an abandoned request ends there', async () => {
    const { remote } = world()
    for (const name of ['s11', 'c1']) {
      let abandoned: AbortSignal | undefined
      remote('s21').answerWith((_request, signal) => {
        abandoned = signal
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(new Error('broken off')))
        })
      })
      const client = new AbortController()
      const answer = remote(name).http('dc2', request('GET'), 600_000, client.signal)
      await settle()
      client.abort(new Error('the client is gone'))
      await assert.rejects(answer, /the client is gone/)
      await settle()
      await settle()
      assert.equal(abandoned?.aborted, true, name)
    }
  })

  it('whatever is sent, there is an answer and the agent goes on', async () => {
    const { remote, wires } = world()
    const { peers } = wires.end({ host: '10.0.7.7', port: 8300 })
    const random = new Random(7)
    const values = [null, 0, -1, Number.NaN, '', 'dc1', 'http', {}, [], [null], new Uint8Array(3), undefined, true]
    const value = (depth: number): unknown => {
      if (depth === 0 || random.chance(0.5)) return random.pick(values)
      const names = [
        'asker',
        'id',
        'method',
        'body',
        'datacenter',
        'request',
        'sought',
        'node',
        'service',
        'tag',
        'ids',
      ]
      const more = ['token', 'from', 'repeatable', 'within', 'path', 'query', 'headers', 'pretty']
      return Object.fromEntries([...names, ...more].map((name) => [name, value(depth - 1)]))
    }
    const asking: Promise<unknown>[] = []
    for (let n = 0; n < 3000; n++) {
      const method = random.pick(['long', 'long.wanted', 'long.end', 'long.part'])!
      const inner = random.pick(['http', 'find', 'relay', 'datacenters', 'no'])!
      const made = { asker: 'a', id: n, method: inner, body: value(3), ids: [n, value(1)] }
      const body = random.chance(0.3) ? value(2) : made
      asking.push(peers.ask({ host: '10.0.1.1', port: 8300 }, method, body, 5_000))
    }
    const outcomes = Promise.allSettled(asking)
    await wires.passUntil(outcomes)
    const statuses = new Set((await outcomes).map(({ status }) => status))
    assert.deepEqual([...statuses].sort(), ['fulfilled', 'rejected'])
    assert.equal((await remote('s11').http('dc2', request('GET'), 0)).status, 200)
  })

  it('is listed after ours: near ones first, then those of unknown distance by name', async () => {
    const { remote, distances } = world({ dc3: 1 })
    assert.deepEqual(await remote('s11').datacenters(), ['dc1', 'dc2', 'dc3'])
    distances.set('dc3', 0.01)
    assert.deepEqual(await remote('s11').datacenters(), ['dc1', 'dc3', 'dc2'])
    assert.deepEqual(await remote('c1').datacenters(), ['dc1', 'dc3', 'dc2'])
    distances.set('dc2', 0.001)
    assert.deepEqual(await remote('s11').datacenters(), ['dc1', 'dc2', 'dc3'])
    assert.deepEqual(await remote('s31').datacenters(), ['dc3', 'dc2', 'dc1'])
  })

  it('an agent that reaches no server of its own says so', async () => {
    const { remote, wires } = world()
    wires.down.add('10.0.1.1:8300')
    await assert.rejects(remote('c1').datacenters(), DatacenterLost)
    await assert.rejects(remote('c1').http('dc2', request('GET'), 0), DatacenterLost)
  })

  it('tells what DNS needs of a service and of a node there, and nothing of what checks printed', async () => {
    const { remote, stores } = world()
    const node = { id: '', name: 'n1', address: '10.9.9.1', datacenter: 'dc2', taggedAddresses: null, meta: { a: 'b' } }
    const service = {
      id: 'web',
      name: 'web',
      tags: ['v1'],
      address: '',
      port: 80,
      taggedAddresses: null,
      meta: null,
      weights: { passing: 1, warning: 1 },
      enableTagOverride: false,
    }
    const check = (id: string, serviceId: string, status: string) => ({
      id,
      name: id,
      status,
      notes: 'n',
      output: 'long',
      serviceId,
      type: '',
      definition: {},
    })
    const store = stores.get('s21')!
    const checks = [check('a', 'web', 'warning')]
    store.apply(1, encodeCommand({ type: 'catalog.register', node, service, checks }))
    for (const name of ['s11', 'c1']) {
      const found = await remote(name).find('dc2', { service: 'web', tag: undefined, onlyPassing: false }, 2_000)
      assert.equal(found.index, 1)
      assert.deepEqual(
        found.instances.map((each) => [each.node.address, each.service.port, each.checks.map(({ output }) => output)]),
        [['10.9.9.1', 80, ['']]],
      )
      const passing = await remote(name).find('dc2', { service: 'web', tag: 'v1', onlyPassing: true }, 2_000)
      assert.deepEqual(passing.instances, [])
      assert.equal((await remote(name).find('dc2', { node: 'N1' }, 2_000)).node?.address, '10.9.9.1')
      assert.equal((await remote(name).find('dc2', { node: 'n2' }, 2_000)).node, undefined)
    }
  })
})
