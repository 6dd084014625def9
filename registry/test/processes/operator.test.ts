/** Servers that come, fail and go, and what operators see and do about it, as real processes. */
import assert from 'node:assert/strict'
import { Resolver } from 'node:dns/promises'
import { Cluster, type Host, run, until } from './cluster.ts'

interface Peer {
  ID: string
  Node: string
  Address: string
  Leader: boolean
  Voter: boolean
}

const peers = async (host: Host, query = '') =>
  (await host.json<{ Servers: Peer[] }>(`/v1/operator/raft/configuration${query}`)).Servers
const names = (servers: Peer[]) => servers.map(({ Node, Voter }) => (Voter ? Node : `${Node}?`)).sort()
const command = async (host: Host, ...words: string[]) => {
  const { code, output } = await run(['operator', ...words, `-http-addr=${host.address}:8500`])
  return { code, output: output.trimEnd() }
}

describe('operators of three servers', function () {
  this.timeout(120_000)
  const cluster = new Cluster(5)
  after(() => cluster.end())
  const [first, second, third, fourth, agent] = cluster.hosts as [Host, Host, Host, Host, Host]
  const servers = [first, second, third]

  before(async () => {
    first.start('-server', '-bootstrap-expect=3')
    await first.process?.shows(/Log data will now stream/)
    for (const host of [second, third]) host.start('-server', `-join=${first.address}`)
    agent.start(`-join=${first.address}`)
    for (const host of [...servers, agent]) await until('a leader', async () => (await host.leader()) !== '')
  })

  it('see the same servers from everywhere, stale or not', async () => {
    const leader = await first.leader()
    for (const host of [...servers, agent]) {
      for (const query of ['', '?stale']) {
        const seen = await peers(host, query)
        assert.deepEqual(names(seen), ['host1', 'host2', 'host3'], `${host.name} ${query}`)
        assert.deepEqual(
          seen.filter(({ Leader }) => Leader).map(({ Address }) => Address),
          [leader],
        )
      }
    }
    const { code, output } = await command(agent, 'raft', 'list-peers')
    assert.equal(code, 0, output)
    const [head, ...rows] = output.split('\n')
    assert.match(head ?? '', /^Node {3}ID {36}Address {7,}State {5}Voter {2}RaftProtocol$/)
    assert.equal(
      rows.filter((row) => /^host\d {2}\S{36} {2}\S+:8300 +(leader {4}|follower {2})true {3}3$/.test(row)).length,
      3,
    )
  })

  it('read and change how autopilot behaves from an agent that is no server', async () => {
    assert.equal(
      (await command(agent, 'autopilot', 'get-config')).output,
      'CleanupDeadServers = true\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\nMinQuorum = 0\nServerStabilizationTime = 10s\nRedundancyZoneTag = ""\nDisableUpgradeMigration = false\nUpgradeVersionTag = ""',
    )
    const changed = await command(
      agent,
      'autopilot',
      'set-config',
      '-server-stabilization-time=1s',
      '-max-trailing-logs=500',
    )
    assert.deepEqual(changed, { code: 0, output: 'Configuration updated!' })
    const { output } = await command(third, 'autopilot', 'get-config')
    assert.match(output, /CleanupDeadServers = true[\s\S]*MaxTrailingLogs = 500[\s\S]*ServerStabilizationTime = 1s/)
    const wrong = await command(agent, 'autopilot', 'set-config', '-last-contact-threshold=abc')
    assert.equal(wrong.code, 1)
    assert.equal(wrong.output, 'invalid value "abc" for flag -last-contact-threshold: time: invalid duration "abc"')
  })

  it('see every server healthy, wherever they ask', async () => {
    for (const host of [...servers, agent]) {
      const health = await until('all healthy', () =>
        host.json<{ FailureTolerance: number }>('/v1/operator/autopilot/health').catch(() => undefined),
      )
      assert.equal(health.FailureTolerance, 1)
    }
  })

  it('a server that dies: its instances leave DNS and ?passing, and its health says so; it stays until it is replaced', async () => {
    await third.http('PUT', '/v1/agent/service/register', JSON.stringify({ Name: 'web', Port: 80 }))
    const resolver = new Resolver()
    resolver.setServers([`${first.address}:8600`])
    const found = async () => {
      const passing = await first.json<{ Node: { Node: string } }[]>('/v1/health/service/web?passing')
      const named = await resolver.resolve4('web.service.consul').catch(() => [])
      return [passing.length, named.length]
    }
    await until('it is found', async () => (await found()).join() === '1,1')
    await third.process?.signal('SIGKILL')
    await until('it is not found', async () => (await found()).join() === '0,0', 30_000)
    const health = await fetch(`http://${agent.address}:8500/v1/operator/autopilot/health`)
    assert.equal(health.status, 429)
    const { Healthy, FailureTolerance, Servers } = (await health.json()) as {
      Healthy: boolean
      FailureTolerance: number
      Servers: { Name: string; SerfStatus: string; Healthy: boolean }[]
    }
    assert.deepEqual([Healthy, FailureTolerance], [false, 0])
    assert.deepEqual(
      Servers.filter((server) => !server.Healthy).map(({ Name, SerfStatus }) => [Name, SerfStatus]),
      [['host3', 'failed']],
    )
    assert.deepEqual(names(await peers(agent)), ['host1', 'host2', 'host3'])
  })

  it('who is needed is not taken out, and the reason is said', async () => {
    const needed = (await first.leader()) === `${first.address}:8300` ? second : first
    const { code, output } = await command(agent, 'raft', 'remove-peer', `-address=${needed.address}:8300`)
    assert.equal(code, 1)
    assert.match(
      output,
      new RegExp(
        `^Error removing peer: .*500 \\(cannot remove server ${needed.address}:8300: ${third.address}:8300 did not answer within 1000 ms, so only 1 of the 2`,
      ),
    )
    assert.deepEqual(names(await peers(agent)), ['host1', 'host2', 'host3'])
  })

  it('a new server takes the place of the dead one', async () => {
    fourth.start('-server', `-join=${first.address}`)
    await until(
      'it votes, and the dead one does not',
      async () => names(await peers(agent)).join() === 'host1,host2,host4',
      60_000,
    )
    assert.deepEqual(await first.members(3), ['host3'])
    await until('it is out of the catalog', async () => {
      const nodes = await first.json<{ Node: string }[]>('/v1/catalog/nodes')
      return (
        nodes
          .map(({ Node }) => Node)
          .sort()
          .join() === 'host1,host2,host4,host5'
      )
    })
  })

  it('force-leave takes a dead server out at once', async () => {
    const leader = await first.leader()
    const victim = [second, fourth].find(({ address }) => `${address}:8300` !== leader) as Host
    await victim.process?.signal('SIGKILL')
    await until('it failed', async () => (await agent.members(4)).includes(victim.name), 30_000)
    const forced = await run(['force-leave', `-http-addr=${agent.address}:8500`, victim.name])
    assert.equal(forced.code, 0, forced.output)
    await until('two servers', async () => (await peers(agent)).length === 2, 5_000)
    await until('it is out of the catalog', async () => {
      const nodes = await first.json<{ Node: string }[]>('/v1/catalog/nodes')
      return !nodes.some(({ Node }) => Node === victim.name)
    })
    victim.start('-server', `-join=${first.address}`)
    await until('three that vote', async () => names(await peers(agent)).join() === 'host1,host2,host4', 30_000)
  })

  it('a server that was taken out by hand and lives is taken in again by and by', async () => {
    const leader = await first.leader()
    const victim = [second, fourth].find(({ address }) => `${address}:8300` !== leader) as Host
    const id = await victim.nodeId()
    const removed = await command(agent, 'raft', 'remove-peer', `-id=${id}`)
    assert.deepEqual(removed, { code: 0, output: `Removed peer with id "${id}"` })
    const again = await command(agent, 'raft', 'remove-peer', '-address=1.1.1.1:8300')
    assert.equal(
      again.output,
      'Error removing peer: Unexpected response code: 500 (address "1.1.1.1:8300" was not found in the Raft configuration)',
    )
    assert.equal((await peers(agent)).length, 2)
    await until('it votes again', async () => names(await peers(agent)).join() === 'host1,host2,host4', 60_000)
  })

  it('everybody may leave, the leader first', async () => {
    const leader = await first.leader()
    const running = [first, second, fourth]
    running.sort((one, other) => Number(`${other.address}:8300` === leader) - Number(`${one.address}:8300` === leader))
    for (const host of [...running, agent]) {
      const left = await run(['leave', `-http-addr=${host.address}:8500`])
      assert.equal(left.code, 0, left.output)
      assert.equal((await host.process?.ended)?.code, 0)
      const rest = running.filter(({ runs }) => runs)
      for (const other of rest)
        await until(
          'a leader',
          async () =>
            (await peers(other)).every(({ Address }) => rest.some(({ address }) => Address === `${address}:8300`)),
          20_000,
        )
    }
  })
})
