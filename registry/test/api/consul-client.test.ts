/** The client library of the book's readers, npm `consul`, unmodified, over a real socket. */
import assert from 'node:assert/strict'
import Consul from 'consul'
import { type Listening, serve } from '../../src/http/server.ts'
import { SingleNode } from './surface.ts'

describe('npm consul', () => {
  let node: SingleNode
  let listening: Listening
  let consul: Consul

  before(async () => {
    node = new SingleNode()
    listening = await serve(node.app, { host: '127.0.0.1', port: 0, direct: node.direct })
    consul = new Consul({ host: listening.host, port: listening.port })
  })
  after(() => listening.close())

  it('sets, reads, lists and deletes keys, with check-and-set', async () => {
    assert.equal(await consul.kv.set('app/color', 'blü'), true)
    const pair = await consul.kv.get('app/color')
    assert.equal(pair?.Value, 'blü')
    assert.equal(
      await consul.kv.set({ key: 'app/color', value: 'red', cas: Number(pair?.ModifyIndex), flags: 7 }),
      true,
    )
    // The library makes undefined of false.
    assert.ok(!(await consul.kv.set({ key: 'app/color', value: 'green', cas: 1 })))
    assert.equal((await consul.kv.get('app/color'))?.Flags, 7)
    await consul.kv.set('app/size', '9')
    assert.deepEqual(await consul.kv.keys('app/'), ['app/color', 'app/size'])
    const all = (await consul.kv.get({ key: 'app/', recurse: true })) as unknown as { Key: string }[]
    assert.deepEqual(
      all.map(({ Key }) => Key),
      ['app/color', 'app/size'],
    )
    await consul.kv.del({ key: 'app/', recurse: true })
    assert.equal(await consul.kv.get('app/color'), undefined)
    await assert.rejects(consul.kv.keys('app/'), /not found/i)
  })

  it('writes keys in one transaction, or none of them', async () => {
    const set = (Key: string) => ({ KV: { Verb: 'set', Key, Value: 'YQ==' } })
    const done = (await consul.transaction.create([set('t/a'), set('t/b')] as never)) as { Results: unknown[] }
    assert.equal(done.Results.length, 2)
    const absent = { KV: { Verb: 'check-not-exists', Key: 't/a' } }
    await assert.rejects(consul.transaction.create([set('t/c'), absent] as never), /conflict/i)
    assert.deepEqual(await consul.kv.keys('t/'), ['t/a', 't/b'])
  })

  it('begins, lists, renews and ends sessions', async () => {
    const { ID: id } = await consul.session.create({ name: 'worker', ttl: '30s', behavior: 'delete', lockdelay: '5s' })
    const info = (await consul.session.get(id)) as { Name: string; LockDelay: number; Node: string; TTL: string }
    assert.deepEqual([info.Name, info.LockDelay, info.Node, info.TTL], ['worker', 5e9, 'golden', '30s'])
    assert.deepEqual(
      ((await consul.session.list()) as { ID: string }[]).map(({ ID }) => ID),
      [id],
    )
    assert.deepEqual(
      ((await consul.session.node('golden')) as { ID: string }[]).map(({ ID }) => ID),
      [id],
    )
    assert.equal(((await consul.session.renew(id)) as { ID: string }[])[0]?.ID, id)
    await consul.session.destroy(id)
    assert.deepEqual(await consul.session.list(), [])
    assert.equal(await consul.session.get(id), undefined)
    await assert.rejects(consul.session.renew(id), /not found/i)
    await assert.rejects(consul.session.create({ ttl: '9s' }), /Invalid Session TTL '9000000000', must be between/)
    await assert.rejects(consul.session.create({ node: 'nowhere' }), /Missing node registration/)
    await assert.rejects(consul.session.destroy('abc'), /UUID must be 36 characters/)
  })

  it('makes, lists, changes, executes, explains and destroys prepared queries', async () => {
    await consul.agent.service.register({ name: 'pq', id: 'pq1', tags: ['v1'], port: 80 })
    const { ID: id } = (await consul.query.create({ name: 'find', service: { service: 'pq' } } as never)) as {
      ID: string
    }
    assert.deepEqual(
      ((await consul.query.list()) as { ID: string }[]).map(({ ID }) => ID),
      [id],
    )
    await consul.query.update({
      query: id,
      name: 'find',
      service: { service: 'pq', onlypassing: true, tags: ['v1'] },
    } as never)
    const made = (await consul.query.get(id)) as { Name: string; Service: { OnlyPassing: boolean; Tags: string[] } }
    assert.deepEqual([made.Name, made.Service.OnlyPassing, made.Service.Tags], ['find', true, ['v1']])
    const found = (await consul.query.execute('find')) as { Nodes: { Service: { ID: string } }[]; Datacenter: string }
    assert.deepEqual([found.Nodes.map(({ Service }) => Service.ID), found.Datacenter], [['pq1'], 'dc1'])
    // The library takes the first of a list, and Consul gives none.
    assert.equal(await consul.query.explain('find'), undefined)
    await (consul.query as unknown as { destroy(id: string): Promise<void> }).destroy(id)
    assert.deepEqual(await consul.query.list(), [])
    await assert.rejects(consul.query.execute('find'), /not found/i)
    await consul.agent.service.deregister('pq1')
  })

  it('takes a lock, waits for it to be let go, and takes it then', async () => {
    const session = async () => (await consul.session.create({ lockdelay: '0s' })).ID
    const [first, second] = [await session(), await session()]
    const acquire = (id: string, value: string) => consul.kv.set({ key: 'leader', value, acquire: id })
    assert.equal(await acquire(first, 'one'), true)
    assert.ok(!(await acquire(second, 'two')))
    const holders: (string | undefined)[] = []
    const watch = consul.watch({ method: consul.kv.get, options: { key: 'leader', wait: '30s' } as never })
    try {
      await new Promise<void>((resolve, reject) => {
        watch.on('error', reject)
        watch.on('change', (pair: { Session?: string; LockIndex: number }) => {
          holders.push(pair.Session)
          if (pair.Session === first) {
            // In either way: by its own word, or with its session.
            void consul.kv.set({ key: 'leader', value: '', release: first }).catch(reject)
          } else if (pair.Session === undefined) {
            acquire(second, 'two').then((got) => (got ? undefined : reject(new Error('not acquired'))), reject)
          } else if (pair.LockIndex === 2) resolve()
        })
      })
    } finally {
      watch.end()
    }
    assert.deepEqual(holders, [first, undefined, second])
    await consul.session.destroy(second)
    const pair = (await consul.kv.get('leader')) as unknown as { Session?: string; Value: string; LockIndex: number }
    assert.deepEqual([pair.Session, pair.Value, pair.LockIndex], [undefined, 'two', 2])
    await consul.session.destroy(first)
  })

  it('registers a service with its agent, passes its check and deregisters it', async () => {
    await consul.agent.service.register({
      name: 'web',
      id: 'web1',
      tags: ['v1'],
      port: 80,
      check: { name: 'alive', ttl: '15s' } as never,
    })
    const services = (await consul.agent.service.list()) as Record<string, { Service: string }>
    assert.equal(services.web1?.Service, 'web')
    await consul.agent.check.pass('service:web1')
    const checks = (await consul.agent.check.list()) as Record<string, { Status: string }>
    assert.equal(checks['service:web1']?.Status, 'passing')
    const healthy = (await consul.health.service({ service: 'web', passing: true })) as unknown[]
    assert.equal(healthy.length, 1)
    await consul.agent.check.fail({ id: 'service:web1', note: 'broken' })
    assert.deepEqual(await consul.health.service({ service: 'web', passing: true }), [])
    await consul.agent.service.maintenance({ id: 'web1', enable: true, reason: 'upgrade' })
    await consul.agent.service.maintenance({ id: 'web1', enable: false })
    await consul.agent.service.deregister('web1')
    assert.deepEqual(await consul.health.service('web'), [])
  })

  it('registers a check of the node, and is told what is wrong with one', async () => {
    await consul.agent.check.register({ name: 'disk', ttl: '15s', notes: 'n' } as never)
    await consul.agent.check.warn('disk')
    assert.equal(((await consul.agent.check.list()) as Record<string, { Status: string }>).disk?.Status, 'warning')
    await consul.agent.check.deregister('disk')
    await assert.rejects(consul.agent.check.pass('nope'), /CheckID "nope" does not have associated TTL/)
    await assert.rejects(
      consul.agent.check.register({ name: 'h', http: 'http://x' } as never),
      /Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks|interval/i,
    )
  })

  it('reads the catalog, health and status', async () => {
    assert.deepEqual(await consul.catalog.datacenters(), ['dc1'])
    const nodes = (await consul.catalog.node.list()) as { Node: string }[]
    assert.deepEqual(
      nodes.map(({ Node }) => Node),
      ['golden'],
    )
    assert.deepEqual(Object.keys((await consul.catalog.service.list()) as object), ['consul'])
    const consulNodes = (await consul.catalog.service.nodes('consul')) as { ServicePort: number }[]
    assert.equal(consulNodes[0]?.ServicePort, 18300)
    const services = (await consul.catalog.node.services('golden')) as { Services: object }
    assert.deepEqual(Object.keys(services.Services), ['consul'])
    assert.equal(((await consul.health.node('golden')) as { CheckID: string }[])[0]?.CheckID, 'serfHealth')
    assert.equal(((await consul.health.state('passing')) as unknown[]).length, 1)
    assert.deepEqual(await consul.health.checks('consul'), [])
    assert.equal(await consul.status.leader(), '127.0.0.1:18300')
    assert.deepEqual(await consul.status.peers(), ['127.0.0.1:18300'])
    assert.equal(((await consul.agent.self()) as { Config: { NodeName: string } }).Config.NodeName, 'golden')
    assert.equal(((await consul.agent.members()) as unknown[]).length, 1)
  })

  it('is told Consul’s words when something is wrong', async () => {
    await assert.rejects(consul.kv.get({ key: 'a', dc: 'nope' }), /No path to datacenter/)
    await assert.rejects(consul.kv.get({ key: 'a', index: '-1' } as never), /Invalid index/)
    await assert.rejects(consul.agent.service.register({ name: '' } as never), /Missing service name|name required/)
    await assert.rejects(consul.agent.forceLeave('nope'), /No node found with name 'nope'/)
  })

  it('watches a key and a service, sees every change it waits for, and ends', async () => {
    await consul.kv.set('watched', '0')
    const watch = consul.watch({ method: consul.kv.get, options: { key: 'watched', wait: '30s' } as never })
    const seen: string[] = []
    try {
      await new Promise<void>((resolve, reject) => {
        watch.on('error', reject)
        watch.on('change', (pair: { Value: string }) => {
          seen.push(pair.Value)
          if (pair.Value === '3') resolve()
          else void consul.kv.set('watched', String(Number(pair.Value) + 1)).catch(reject)
        })
      })
    } finally {
      watch.end()
    }
    assert.deepEqual(seen, ['0', '1', '2', '3'])

    const services = consul.watch({ method: consul.health.service, options: { service: 'late', wait: '30s' } as never })
    const counts: number[] = []
    try {
      await new Promise<void>((resolve, reject) => {
        services.on('error', reject)
        services.on('change', (instances: unknown[]) => {
          counts.push(instances.length)
          if (instances.length > 0) resolve()
          else void consul.agent.service.register({ name: 'late' }).catch(reject)
        })
      })
    } finally {
      services.end()
    }
    assert.deepEqual(counts, [0, 1])
  })
})
