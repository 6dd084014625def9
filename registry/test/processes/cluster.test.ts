import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { Cluster, type Host, until } from './cluster.ts'

describe('three agents as processes', function () {
  this.timeout(120_000)
  let cluster: Cluster
  beforeEach(() => {
    cluster = new Cluster(3)
  })
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') {
      for (const { name, process } of cluster.hosts) console.log(`--- ${name}\n${process?.output.slice(-4000)}`)
    }
    await cluster.end()
  })
  const others = (host: Host) => cluster.hosts.filter((other) => other !== host)

  it('a leader is killed and nothing that was acknowledged is lost, there or when it comes back', async () => {
    await cluster.begin()
    const leader = await cluster.settled()
    const nodeId = await leader.nodeId()
    const [second, third] = others(leader) as [Host, Host]
    const acknowledged: string[] = []
    let writing = true
    const writers = cluster.hosts.map(async (host) => {
      for (let at = 0; writing; at++) {
        const key = `load/${host.name}/${at}`
        // A write that fails may have happened or not; one that succeeds must have.
        const done = await host.put(key, key).catch(() => undefined)
        if (done !== undefined) acknowledged.push(key)
        if (host.process?.child.signalCode !== null) return
      }
    })
    await until('some writes', () => acknowledged.length > 100)
    await leader.process?.signal('SIGKILL')
    const before = acknowledged.length
    await until('writes through the others', () => acknowledged.length > before + 100)
    writing = false
    await Promise.all(writers)
    for (const host of [second, third]) {
      const present = new Set(await host.json<string[]>('/v1/kv/load/?keys&consistent'))
      assert.deepEqual(
        acknowledged.filter((key) => !present.has(key)),
        [],
        host.name,
      )
    }
    leader.start('-server')
    await cluster.settled()
    assert.equal(await leader.nodeId(), nodeId)
    const returned = new Set(await leader.json<string[]>('/v1/kv/load/?keys'))
    assert.deepEqual(
      acknowledged.filter((key) => !returned.has(key)),
      [],
    )
    await until('three members', async () => (await leader.members()).length === 3)
    assert.equal((await second.json<string[]>('/v1/status/peers')).length, 3)
  })

  it('all are killed at once and come back with everything', async () => {
    await cluster.begin()
    for (let at = 0; at < 50; at++) await cluster.host(1 + (at % 3)).put(`k${at}`, `v${at}`)
    await Promise.all(cluster.hosts.map(({ process }) => process?.signal('SIGKILL')))
    for (const host of cluster.hosts) host.start('-server')
    await cluster.settled()
    for (let at = 0; at < 50; at++) assert.equal(await cluster.host(1 + ((at + 1) % 3)).get(`k${at}`), `v${at}`)
  })

  it('one alone refuses writes, says why, and still answers from what it has', async () => {
    await cluster.begin()
    await cluster.host(3).put('color', 'blue')
    await until('host1 has it', async () => (await cluster.host(1).get('color', '&stale')) === 'blue')
    await Promise.all([cluster.host(2).process?.signal('SIGKILL'), cluster.host(3).process?.signal('SIGKILL')])
    await until('no leader known', async () => (await cluster.host(1).leader()) === '')
    await assert.rejects(cluster.host(1).put('color', 'red'), /500 No cluster leader/)
    assert.equal(await cluster.host(1).get('color', '&stale'), 'blue')
  })

  it('the first host, its disk gone and its command typed again, comes back into the same cluster', async () => {
    await cluster.begin()
    const [first, second] = cluster.hosts as [Host, Host, Host]
    await first.put('old', 'kept')
    const formerId = await first.nodeId()
    await first.process?.signal('SIGKILL')
    rmSync(first.dataDir, { recursive: true })
    first.start('-server', '-bootstrap-expect=3')
    // The others find it again by gossip; it was given nobody to join.
    await until('the key through host1', async () => (await first.get('old')) === 'kept', 90_000)
    await until('three voters', async () => (await second.json<string[]>('/v1/status/peers')).length === 3)
    assert.notEqual(await first.nodeId(), formerId)
    await until('three members', async () => (await second.members()).length === 3)
    const nodes = await second.json<{ Node: string; ID: string }[]>('/v1/catalog/nodes')
    assert.deepEqual(nodes.map(({ Node }) => Node).sort(), ['host1', 'host2', 'host3'])
    assert.equal(nodes.find(({ Node }) => Node === 'host1')?.ID, await first.nodeId())
  })

  it('a server that is stopped stays a member of the cluster; one that leaves does not', async () => {
    await cluster.begin()
    const third = cluster.host(3)
    const { code } = (await third.process?.signal('SIGTERM')) ?? {}
    assert.equal(code, 0)
    await until('host3 failed', async () => (await cluster.host(1).members(4)).includes('host3'))
    assert.equal((await cluster.host(1).json<string[]>('/v1/status/peers')).length, 3)
    third.start('-server')
    await cluster.settled()
    await until('host3 alive', async () => (await cluster.host(1).members()).includes('host3'))
    await third.http('PUT', '/v1/agent/leave')
    assert.equal((await third.process?.ended)?.code, 0)
    await until('two voters', async () => (await cluster.host(1).json<string[]>('/v1/status/peers')).length === 2)
    await until('two nodes', async () => (await cluster.host(1).json<unknown[]>('/v1/catalog/nodes')).length === 2)
    await cluster.host(1).put('still', 'writing')
  })

  it('the leader itself may leave', async () => {
    await cluster.begin()
    const leader = await cluster.settled()
    const [other] = others(leader) as [Host, Host]
    await leader.http('PUT', '/v1/agent/leave')
    assert.equal((await leader.process?.ended)?.code, 0)
    await until('two voters', async () => (await other.json<string[]>('/v1/status/peers')).length === 2)
    await until('a write', () => other.put('after', 'leave'))
  })
})

describe('an agent that is no server', function () {
  this.timeout(60_000)
  const cluster = new Cluster(2)
  after(() => cluster.end())

  it('answers, writes, registers, and leaves when it is stopped', async () => {
    const [server, client] = cluster.hosts as [Host, Host]
    server.start('-server', '-bootstrap')
    await until('a leader', async () => (await server.leader()) !== '')
    await server.put('color', 'blue')
    client.start(`-join=${server.address}`)
    await until('the key', async () => (await client.get('color')) === 'blue')
    await client.put('color', 'red')
    assert.equal(await client.get('color'), 'red')
    assert.equal(await server.get('color'), 'red')
    // Registered is there at once, wherever one looks.
    for (let turn = 0; turn < 3; turn++) {
      await client.http('PUT', '/v1/agent/service/register', '{"Name":"web","Port":80}')
      assert.equal((await server.json<unknown[]>('/v1/health/service/web?passing')).length, 1)
      await client.http('PUT', '/v1/agent/service/deregister/web')
      assert.equal((await client.json<unknown[]>('/v1/health/service/web?passing')).length, 0)
    }
    await client.http('PUT', '/v1/agent/service/register', '{"Name":"web","Port":80}')
    assert.deepEqual(await server.json<string[]>('/v1/status/peers'), [`${server.address}:8300`])
    const { code } = (await client.process?.signal('SIGTERM')) ?? {}
    assert.equal(code, 0)
    await until('its node gone', async () => (await server.json<unknown[]>('/v1/catalog/nodes')).length === 1)
    assert.deepEqual(await server.json('/v1/catalog/service/web'), [])
  })
})
