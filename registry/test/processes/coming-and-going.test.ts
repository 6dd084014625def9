/** The options of joining and leaving, as real processes; what Consul 1.8.7 does at the same was measured on the real one. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cluster, Host, run, until } from './cluster.ts'

const http = ({ address }: Host) => `-http-addr=${address}:8500`

/** A server that leads alone. */
async function serverOf(host: Host, ...words: string[]): Promise<void> {
  host.start('-server', '-bootstrap', ...words)
  await until('a leader', async () => (await host.leader()) !== '')
}

const sees = (host: Host, name: string, status: number) =>
  until(
    `${name} with status ${status} on ${host.name}`,
    async () => (await host.members(status)).includes(name),
    30_000,
  )

const alone = (host: Host) =>
  until(`${host.name} alone`, async () => (await host.members()).join() === host.name && (await host.leader()) === '')

describe('joining at the start', function () {
  this.timeout(60_000)
  let cluster: Cluster
  beforeEach(() => {
    cluster = new Cluster(3)
  })
  afterEach(() => cluster.end())

  it('-retry-join goes on until one of those named is there', async () => {
    const [server, client, nobody] = cluster.hosts as [Host, Host, Host]
    const agent = client.start(`-retry-join=${nobody.address}`, `-retry-join=${server.address}`, '-retry-interval=1s')
    await agent.shows(/Join failed: 2 errors occurred:[\s\S]*connection refused[\s\S]*retrying in 1s/)
    await serverOf(server)
    await agent.shows(/Join completed\. Synced with 1 initial agents/)
    await sees(server, client.name, 1)
  })

  it('-retry-join goes on when nobody but itself is among those named yet', async () => {
    const [server, client] = cluster.hosts as [Host, Host]
    const agent = client.start(`-retry-join=${client.address}`, `-retry-join=${server.address}`, '-retry-interval=1s')
    await agent.shows(/Synced with 1 initial agents, only this one; asking on until another is there/)
    await serverOf(server)
    await agent.shows(/Join completed\. Synced with [12] initial agents\n/)
    await sees(server, client.name, 1)
  })

  it('retry_join in a file; -retry-max attempts, and it ends with 1', async () => {
    const [host, nobody] = cluster.hosts as [Host, Host]
    const file = join(cluster.folder, 'options.json')
    writeFileSync(file, JSON.stringify({ retry_join: [nobody.address], retry_max: 2, retry_interval: '200ms' }))
    const agent = host.start(`-config-file=${file}`)
    assert.deepEqual(await agent.ended, { code: 1, signal: null })
    assert.match(agent.output, /\[WARN\] agent: Join failed: 1 error occurred:/)
    assert.match(agent.output, /\[ERR\] agent: max join retry exhausted, exiting: 1 error occurred:/)
    assert.ok(agent.output.includes(`dial tcp ${nobody.address}:8301: connect: connection refused`), agent.output)
  })

  it('a -join that fails ends a fresh agent, whatever there is to -retry-join', async () => {
    const [server, client, nobody] = cluster.hosts as [Host, Host, Host]
    await serverOf(server)
    const agent = client.start(`-join=${nobody.address}`, `-retry-join=${server.address}`)
    assert.deepEqual(await agent.ended, { code: 1, signal: null })
    assert.match(agent.output, /no agent of -join took this one in/)
  })

  it('one of several that answers is enough; start_join in a file counts too', async () => {
    const [server, client, nobody] = cluster.hosts as [Host, Host, Host]
    await serverOf(server)
    const file = join(cluster.folder, 'options.json')
    writeFileSync(file, JSON.stringify({ start_join: [nobody.address] }))
    const agent = client.start(`-config-file=${file}`, `-join=${server.address}`)
    await agent.shows(/Join completed\. Synced with 1 initial agents/)
  })

  it('by name, by IPv6 address, and with a port', async () => {
    const [server, client] = cluster.hosts as [Host, Host]
    const first = 10_000 + ((3 * process.pid) % 20_000)
    const ports = [`-serf-lan-port=${first}`, `-server-port=${first + 1}`, `-serf-wan-port=${first + 2}`]
    // Bound to every address of both kinds; what it advertises is one of IPv4.
    await serverOf(server, '-bind=::', `-advertise=${server.address}`, ...ports)
    for (const target of ['localhost', '[::1]', server.address]) {
      const agent = client.start(`-join=${target}:${first}`)
      await agent.shows(/Join completed/)
      await sees(server, client.name, 1)
      assert.deepEqual(await run(['leave', http(client)]), { code: 0, output: 'Graceful leave complete\n' })
      await agent.ended
    }
    const unknown = await run(['join', http(server), 'no-such-host.invalid'])
    assert.equal(unknown.code, 1)
    assert.match(unknown.output, /Failed to join no-such-host\.invalid: lookup no-such-host\.invalid: /)
    // Both ways, datagrams between the two kinds of sockets: nobody is suspected for want of them.
    client.start(`-join=${server.address}:${first}`)
    await sees(server, client.name, 1)
    await client.put('by', 'name')
    for (const { process } of [server, client]) assert.doesNotMatch(process?.output ?? '', /over TCP but not over UDP/)
  })
})

describe('coming back', function () {
  this.timeout(90_000)
  let cluster: Cluster
  beforeEach(() => {
    cluster = new Cluster(5)
  })
  afterEach(() => cluster.end())
  const kept = (host: Host) => readFileSync(join(host.dataDir, 'node.json'), 'utf8')

  it('after an explicit leave only with -rejoin; killed, always', async () => {
    const [server, client] = cluster.hosts as [Host, Host]
    await serverOf(server)
    client.start(`-join=${server.address}`)
    await sees(server, client.name, 1)
    await until('the member on disk', () => kept(client).includes(server.address))
    const left = async () => {
      assert.equal((await run(['leave', http(client)])).code, 0)
      assert.deepEqual(await client.process?.ended, { code: 0, signal: null })
      await sees(server, client.name, 3)
    }

    await left()
    await client.start('-rejoin').shows(/Re-joined to previously known nodes/)
    await sees(server, client.name, 1)

    await client.process?.signal('SIGKILL')
    await client.start().shows(/Re-joined to previously known nodes/)
    await sees(server, client.name, 1)

    await left()
    await client.start().shows(/Log data will now stream/)
    await alone(client)
    assert.doesNotMatch(client.process?.output ?? '', /Re-joined/)
    // And it has forgotten them.
    await client.process?.signal('SIGKILL')
    await client.start('-rejoin').shows(/Log data will now stream/)
    await alone(client)
    assert.deepEqual(await server.members(3), [client.name])
  })

  it('a server and an observer at other addresses, with their data directories, take their places by themselves', async () => {
    const [one, two, three, client, later] = cluster.hosts as [Host, Host, Host, Host, Host]
    await one.start('-server', '-bootstrap-expect=3').shows(/Log data will now stream/)
    for (const host of [two, three]) host.start('-server', `-join=${one.address}`)
    client.start(`-join=${one.address}`)
    await sees(one, client.name, 1)
    await until('three voters', async () => (await one.json<string[]>('/v1/status/peers')).length === 3)
    await one.put('before', 'kept')
    const where = async (asked: Host, name: string) => {
      const nodes = await asked.json<{ Node: string; Address: string; ID: string }[]>('/v1/catalog/nodes')
      return nodes.find(({ Node }) => Node === name)
    }
    await until('all in the catalog', async () => (await where(one, client.name)) && (await where(one, two.name)))

    for (const [host, words] of [
      [two, ['-server']],
      [client, []],
    ] as [Host, string[]][]) {
      const id = await host.nodeId()
      await host.process?.signal('SIGKILL')
      // The spare host's address, under the old name and with the old disk; nobody is told where to look.
      const moved = new Host(host.name, later.address, cluster.folder)
      cluster.hosts.push(moved)
      moved.start(...words)
      await until(
        `${moved.name} at its new address`,
        async () => (await where(one, host.name))?.Address === moved.address,
        60_000,
      )
      assert.equal((await where(one, host.name))?.ID, id)
      for (const asked of [one, three]) {
        // The catalog may know first: an observer says itself where it is, gossip waits until nobody answers where it was.
        const alive = async () => {
          const members = await asked.json<{ Name: string; Addr: string; Status: number }[]>('/v1/agent/members')
          const found = members.filter(({ Name }) => Name === host.name)
          return found.length === 1 && found[0]?.Addr === moved.address && found[0].Status === 1
        }
        await until(`${host.name} alive there, as ${asked.name} sees it`, alive, 60_000)
      }
      assert.equal(await moved.get('before'), 'kept')
      await moved.put(`by/${host.name}`, 'moved')
      if (words.length > 0) {
        await until('its voter at the new address', async () => {
          const voters = await one.json<string[]>('/v1/status/peers')
          return voters.length === 3 && voters.includes(`${moved.address}:8300`)
        })
        // It counts there: with it and without the third there is a majority.
        await three.process?.signal('SIGKILL')
        await until('a write by two', () => one.put('two', 'of three').then(() => true), 30_000)
        three.start('-server')
        await sees(one, three.name, 1)
      }
      await moved.process?.signal('SIGTERM')
    }
  })

  it('two that have come to the addresses of one another, with nobody else there', async () => {
    const [one, two] = cluster.hosts as [Host, Host]
    const kept = (host: Host) => readFileSync(join(host.dataDir, 'node.json'), 'utf8')
    await one.start('-server', '-bootstrap-expect=2').shows(/Log data will now stream/)
    two.start('-server', `-join=${one.address}`)
    await until('a leader', async () => (await one.leader()) !== '')
    const members = [`${one.address}:8301`, `${two.address}:8301`]
    await until('the members on disk', () => kept(one).includes(members[1]!) && kept(two).includes(members[0]!))
    for (const host of [one, two]) await host.process?.signal('SIGKILL')
    const swapped = [
      new Host(one.name, two.address, cluster.folder),
      new Host(two.name, one.address, cluster.folder),
    ] as const
    cluster.hosts.push(...swapped)
    // The first is up, and has found itself there, before the second comes.
    await swapped[0].start('-server').shows(/Log data will now stream/)
    await alone(swapped[0])
    swapped[1].start('-server')
    for (const host of swapped) {
      await until(`both at ${host.name}`, async () => (await host.members()).length === 2, 30_000)
      await until(`a leader at ${host.name}`, async () => (await host.leader()) !== '', 30_000)
    }
  })
})

describe('what a signal does', function () {
  this.timeout(60_000)
  const cluster = new Cluster(3)
  const [server, other] = cluster.hosts as [Host, Host]
  before(() => serverOf(server))
  after(() => cluster.end())

  const table: [title: string, server: boolean, options: object, signal: NodeJS.Signals, leaves: boolean][] = [
    ['a client leaves on SIGTERM', false, {}, 'SIGTERM', true],
    ['a client leaves on SIGINT', false, {}, 'SIGINT', true],
    ['not on SIGTERM with leave_on_terminate false', false, { leave_on_terminate: false }, 'SIGTERM', false],
    ['not on SIGINT with skip_leave_on_interrupt', false, { skip_leave_on_interrupt: true }, 'SIGINT', false],
    ['a server does not leave on SIGTERM', true, {}, 'SIGTERM', false],
    ['a server does not leave on SIGINT', true, {}, 'SIGINT', false],
    ['but on SIGTERM with leave_on_terminate', true, { leave_on_terminate: true }, 'SIGTERM', true],
    ['and on SIGINT with skip_leave_on_interrupt false', true, { skip_leave_on_interrupt: false }, 'SIGINT', true],
  ]
  for (const [at, [title, asServer, options, signal, leaves]] of table.entries()) {
    it(title, async () => {
      // Each under a name of its own: what is known of the last one shall not count.
      const host = new Host(`signalled${at}`, other.address, cluster.folder)
      cluster.hosts.push(host)
      const file = join(cluster.folder, `${host.name}.json`)
      writeFileSync(file, JSON.stringify(options))
      const agent = host.start(`-join=${server.address}`, `-config-file=${file}`, ...(asServer ? ['-server'] : []))
      await agent.shows(/Log data will now stream/)
      await sees(server, host.name, 1)
      if (asServer) {
        await until('its vote', async () => (await server.json<string[]>('/v1/status/peers')).length === 2)
      }
      assert.deepEqual(await agent.signal(signal), { code: 0, signal: null })
      assert.match(agent.output, new RegExp(`Caught signal: ${signal === 'SIGINT' ? 'interrupt' : 'terminated'}`))
      const words = asServer ? /server starting leave/ : /client starting leave/
      if (leaves) {
        assert.match(agent.output, /Gracefully shutting down agent/)
        assert.match(agent.output, words)
        await sees(server, host.name, 3)
      } else {
        assert.doesNotMatch(agent.output, words)
        assert.deepEqual((await server.members(3)).includes(host.name), false)
        // It has to be gone for the next one: of two servers, one is no majority.
        if (asServer) {
          host.start('-server')
          await until('its vote again', () => server.put('again', host.name).then(() => true))
          assert.equal((await run(['leave', http(host)])).code, 0)
        }
      }
      if (asServer) {
        await until('one voter', async () => (await server.json<string[]>('/v1/status/peers')).length === 1)
      }
    })
  }
})

describe('force-leave', function () {
  this.timeout(60_000)
  const cluster = new Cluster(3)
  const [server, one, two] = cluster.hosts as [Host, Host, Host]
  before(async () => {
    await serverOf(server)
    for (const host of [one, two]) host.start(`-join=${server.address}`)
    for (const host of [one, two]) await sees(server, host.name, 1)
  })
  after(() => cluster.end())
  const force = (...words: string[]) => run(['force-leave', http(server), ...words])
  const done = { code: 0, output: '' }

  it('an alive member stays, and nobody but one can be named', async () => {
    assert.deepEqual(await force(one.name), done)
    assert.deepEqual((await server.members()).sort(), [one.name, two.name, server.name].sort())
    assert.equal((await force()).code, 1)
    assert.equal((await force('a', 'b')).code, 1)
    const unknown = await force('nobody')
    assert.equal(unknown.code, 1)
    assert.match(unknown.output, /No node found with name 'nobody'/)
    assert.match(server.process?.output ?? '', /\[INFO\] agent: Force leaving node: nobody/)
  })

  it('a failed member has left, and is out of the catalog; with -prune it is gone', async () => {
    for (const host of [one, two]) await host.process?.signal('SIGKILL')
    for (const host of [one, two]) await sees(server, host.name, 4)
    assert.deepEqual(await force(one.name), done)
    await sees(server, one.name, 3)
    assert.deepEqual(await force('-prune', two.name), done)
    const names = async () => {
      const members = await server.json<{ Name: string }[]>('/v1/agent/members')
      return members
        .map(({ Name }) => Name)
        .sort()
        .join()
    }
    await until('the pruned one gone', async () => (await names()) === [one.name, server.name].sort().join())
    await until('both out of the catalog', async () => {
      return (await server.json<unknown[]>('/v1/catalog/nodes')).length === 1
    })
    assert.deepEqual(await force(one.name), done, 'once more is no error')
    assert.deepEqual(await force('-prune', one.name), done, 'one that left can be pruned')
    await until('nobody else', async () => (await names()) === server.name)
  })

  it('one that lives after all comes back by itself', async () => {
    one.start()
    await sees(server, one.name, 1)
    one.process?.child.kill('SIGSTOP')
    await sees(server, one.name, 4)
    assert.deepEqual(await force(one.name), done)
    await sees(server, one.name, 3)
    one.process?.child.kill('SIGCONT')
    await sees(server, one.name, 1)
  })
})
