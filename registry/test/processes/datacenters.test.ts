/** Two datacenters as real processes: asked of one another, one lost, and back again. */
import assert from 'node:assert/strict'
import { Resolver } from 'node:dns/promises'
import { Cluster, Host, run, until } from './cluster.ts'

interface Two {
  cluster: Cluster
  /** Servers of dc1 and dc2, and an agent of dc1 that is no server. */
  one: Host
  two: Host
  observer: Host
}

async function twoDatacenters(): Promise<Two> {
  const cluster = new Cluster(3)
  const [one, two, observer] = cluster.hosts as [Host, Host, Host]
  one.words = ['-server', '-bootstrap-expect=1', '-datacenter=dc1', `-retry-join-wan=${two.address}`, '-dns-port=8600']
  two.words = ['-server', '-bootstrap-expect=1', '-datacenter=dc2', '-dns-port=8600']
  observer.words = ['-datacenter=dc1', `-retry-join=${one.address}`, '-dns-port=8600']
  for (const host of cluster.hosts) host.start()
  for (const host of cluster.hosts) await host.process?.shows(/Log data will now stream/)
  await until('leaders', async () => (await one.leader()) !== '' && (await two.leader()) !== '')
  for (const host of [one, observer]) await knows(host, ['dc1', 'dc2'])
  await knows(two, ['dc2', 'dc1'])
  return { cluster, one, two, observer }
}

async function knows(host: Host, datacenters: string[]): Promise<void> {
  await until(`${datacenters} on ${host.name}`, async () => {
    const known = await host.json<string[]>('/v1/catalog/datacenters').catch(() => [])
    return known.join() === datacenters.join()
  })
}

/** Status and text, whatever the status is. */
async function ask(host: Host, path: string, init: RequestInit = {}): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://${host.address}:8500${path}`, { signal: AbortSignal.timeout(15_000), ...init })
  return { status: response.status, text: await response.text() }
}

function resolver({ address }: Host): Resolver {
  const asked = new Resolver({ timeout: 5000, tries: 1 })
  asked.setServers([`${address}:8600`])
  return asked
}

describe('two datacenters', () => {
  let all: Two
  before(async function () {
    this.timeout(60_000)
    all = await twoDatacenters()
  })
  after(() => all.cluster.end())

  it('keys of each are read and written from the other, and from an agent that is no server', async () => {
    const { one, two, observer } = all
    assert.equal((await ask(one, '/v1/kv/color?dc=dc2', { method: 'PUT', body: 'red' })).text, 'true')
    assert.equal((await ask(two, '/v1/kv/color?raw')).text, 'red')
    assert.equal((await ask(one, '/v1/kv/color')).status, 404)
    assert.equal((await ask(two, '/v1/kv/size?dc=dc1', { method: 'PUT', body: 'big' })).text, 'true')
    assert.equal((await ask(one, '/v1/kv/size?raw')).text, 'big')
    assert.equal((await ask(observer, '/v1/kv/color?dc=dc2&raw')).text, 'red')
    assert.equal((await ask(observer, '/v1/kv/shape?dc=dc2', { method: 'PUT', body: 'round' })).text, 'true')
    assert.equal((await ask(two, '/v1/kv/shape?raw')).text, 'round')
  })

  it('a datacenter that nobody knows is an error at once', async () => {
    for (const host of [all.one, all.observer]) {
      assert.deepEqual(await ask(host, '/v1/kv/x?dc=dc9'), { status: 500, text: 'No path to datacenter' })
      assert.deepEqual(await ask(host, '/v1/catalog/nodes?dc=DC2'), { status: 500, text: 'No path to datacenter' })
    }
  })

  it('a blocking query across them wakes', async () => {
    const { two } = all
    for (const host of [all.one, all.observer]) {
      const { headers } = await fetch(`http://${host.address}:8500/v1/kv/watched?dc=dc2`)
      const index = headers.get('X-Consul-Index')
      const waiting = ask(host, `/v1/kv/watched?dc=dc2&raw&wait=60s&index=${index}`)
      // On the same way, and so behind it.
      await ask(host, '/v1/kv/color?dc=dc2')
      await two.put('watched', `by ${host.name}`)
      assert.deepEqual(await waiting, { status: 200, text: `by ${host.name}` })
    }
  })

  it('an answer of many megabytes comes whole', async () => {
    const { one, two, observer } = all
    const value = 'v'.repeat(500_000)
    for (let n = 0; n < 20; n++) await two.put(`long/${n}`, value)
    const own = await ask(two, '/v1/kv/long/?recurse')
    assert.ok(own.text.length > 13_000_000, `${own.text.length}`)
    for (const host of [one, observer]) {
      const across = await ask(host, '/v1/kv/long/?recurse&dc=dc2')
      assert.equal(across.status, 200)
      assert.ok(across.text === own.text, `${across.text.length} characters`)
    }
    await two.http('DELETE', '/v1/kv/long/?recurse')
  })

  it('DNS names of each are answered in the other', async () => {
    for (const host of [all.one, all.observer]) {
      assert.deepEqual(await resolver(host).resolve4('host2.node.dc2.consul'), [all.two.address])
      assert.deepEqual(await resolver(host).resolve4('consul.service.dc2.consul'), [all.two.address])
      const [srv] = await resolver(host).resolveSrv('consul.service.dc2.consul')
      assert.equal(srv?.name, 'host2.node.dc2.consul')
      await assert.rejects(resolver(host).resolve4('host2.node.dc9.consul'), { code: 'ENOTFOUND' })
      await assert.rejects(resolver(host).resolve4('nope.service.dc2.consul'), { code: 'ENOTFOUND' })
    }
    assert.deepEqual(await resolver(all.two).resolve4('host3.node.dc1.consul'), [all.observer.address])
  })

  it('a prepared query finds in the other what is not here, over HTTP and DNS, from whatever agent', async () => {
    const { one, two, observer } = all
    const registered = await ask(two, '/v1/agent/service/register', { method: 'PUT', body: '{"Name":"far","Port":7}' })
    assert.deepEqual(registered, { status: 200, text: '' })
    const define = async (path: string, query: object) => {
      const { status, text } = await ask(observer, path, { method: 'POST', body: JSON.stringify(query) })
      assert.equal(status, 200, text)
    }
    const Failover = { NearestN: 1, Datacenters: ['dc9'] }
    await define('/v1/query', { Name: 'find', Service: { Service: 'far', Failover }, DNS: { TTL: '5s' } })
    await define('/v1/query', { Name: 'lost', Service: { Service: 'nowhere', Failover } })
    await define('/v1/query?dc=dc2', { Name: 'there', Service: { Service: 'far' } })
    for (const host of [one, observer]) {
      const found = JSON.parse((await ask(host, '/v1/query/find/execute')).text)
      assert.deepEqual([found.Datacenter, found.Failovers, found.Nodes[0].Service.Port], ['dc2', 1, 7])
      const none = JSON.parse((await ask(host, '/v1/query/lost/execute')).text)
      assert.deepEqual([none.Datacenter, none.Failovers, none.Nodes], ['dc2', 1, []])
      const there = JSON.parse((await ask(host, '/v1/query/there/execute?dc=dc2')).text)
      assert.deepEqual([there.Datacenter, there.Failovers, there.Nodes.length], ['dc2', 0, 1])
      assert.deepEqual(await resolver(host).resolve4('find.query.consul', { ttl: true }), [
        { address: two.address, ttl: 5 },
      ])
      const [srv] = await resolver(host).resolveSrv('find.query.consul')
      assert.deepEqual([srv?.name, srv?.port], ['host2.node.dc2.consul', 7])
      assert.deepEqual(await resolver(host).resolve4('there.query.dc2.consul'), [two.address])
      for (const name of ['lost.query.consul', 'nope.query.consul', 'nope.query.dc2.consul', 'find.query.dc9.consul']) {
        await assert.rejects(resolver(host).resolve4(name), { code: 'ENOTFOUND' }, name)
      }
    }
  })

  it('the command line reaches the other, and lists the servers of both', async () => {
    const { one, two, observer } = all
    const at = (host: Host) => `-http-addr=${host.address}:8500`
    const put = await run(['kv', 'put', at(observer), '-datacenter=dc2', 'line', 'straight'])
    assert.equal(put.output, 'Success! Data written to: line\n')
    assert.equal((await run(['kv', 'get', at(one), '-datacenter=dc2', 'line'])).output, 'straight\n')
    assert.equal((await run(['kv', 'delete', at(one), '-datacenter=dc2', 'line'])).code, 0)
    const lost = await run(['kv', 'get', at(one), '-datacenter=dc9', 'line'])
    assert.match(lost.output, /No path to datacenter/)
    assert.equal(lost.code, 1)
    const wan = await run(['members', '-wan', at(two)])
    assert.match(wan.output, /^host1\.dc1 .* alive .* dc1 .*\nhost2\.dc2 .* alive .* dc2 /m)
    assert.equal((await run(['members', '-wan', at(observer)])).code, 2)
    assert.equal((await run(['join', '-wan', at(two), `${one.address}:8302`])).code, 0)
    const refused = await run(['join', '-wan', at(observer), one.address])
    assert.match(refused.output, /Must be a server to join WAN cluster/)
  })

  it('an agent of one is not let into the LAN pool of the other, and is told so', async () => {
    const { one, two, observer } = all
    const words = /it is of datacenter "dc1" and this pool of "dc2"/
    const joined = await run(['join', `-http-addr=${observer.address}:8500`, two.address])
    assert.equal(joined.code, 1)
    assert.match(joined.output, words)
    await two.process?.shows(words)
    const { folder } = all.cluster
    const stranger = new Host('stranger', one.address, folder)
    const started = stranger.start(
      ...['-datacenter=dc1', `-join=${two.address}:8301`, '-http-port=18500', '-dns-port=-1', '-serf-lan-port=18301'],
      '-rpc-port=-1',
    )
    assert.deepEqual(await started.ended, { code: 1, signal: null })
    assert.match(started.output, words)
  })

  it('-join-wan that nobody answers ends a fresh server, and says so', async () => {
    const { one, cluster } = all
    const lonely = new Host('lonely', one.address, cluster.folder)
    const ports = ['-http-port=18500', '-dns-port=-1', '-rpc-port=-1', '-serf-lan-port=18301', '-serf-wan-port=18302']
    const started = lonely.start('-server', '-server-port=18300', `-join-wan=${one.address}:18309`, ...ports)
    assert.deepEqual(await started.ended, { code: 1, signal: null })
    assert.match(started.output, /no server of -join-wan answered/)
    assert.match(started.output, /Failed to join .*18309/)
  })

  it('a lost datacenter is a clear and quick error, ends what waits for it, and comes back by itself', async function () {
    this.timeout(60_000)
    const { one, two, observer } = all
    const { headers } = await fetch(`http://${two.address}:8500/v1/kv/watched`)
    const path = `/v1/kv/watched?dc=dc2&wait=60s&index=${headers.get('X-Consul-Index')}`
    const waits = [one, observer].map((host) => ask(host, path))
    // On the same ways, and so behind them.
    for (const host of [one, observer]) await ask(host, '/v1/kv/color?dc=dc2')
    await two.process?.signal('SIGKILL')
    for (const wait of waits) {
      const { status, text } = await wait
      assert.equal(status, 500)
      assert.match(text, /datacenter dc2 cannot be reached/)
    }
    for (const host of [one, observer]) {
      const { status, text } = await ask(host, '/v1/kv/color?dc=dc2')
      assert.equal(status, 500)
      assert.match(text, /datacenter dc2 cannot be reached/)
      assert.equal((await ask(host, '/v1/kv/size?raw')).text, 'big')
      await assert.rejects(resolver(host).resolve4('host2.node.dc2.consul'), { code: 'ESERVFAIL' })
      assert.deepEqual(await resolver(host).resolve4('host1.node.consul'), [one.address])
    }
    two.start()
    await until('dc2 again', async () => (await ask(one, '/v1/kv/color?dc=dc2&raw')).text === 'red')
    await until('dc2 again', async () => (await ask(observer, '/v1/kv/color?dc=dc2&raw')).text === 'red')
    await until('dc1 again', async () => (await ask(two, '/v1/kv/size?dc=dc1&raw')).text === 'big')
  })
})
