import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { Cluster, type Ended, type Host, Process, until } from './cluster.ts'

/** Two seconds are allowed; a machine that is busy with other tests gets some more. */
const patience = 6_000

async function stops(host: Host, signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`${host.name} has not ended:\n${host.process?.output}`)), patience).unref()
  })
  return Promise.race([host.process?.signal(signal) as Promise<Ended>, late])
}
const stopped: Ended = { code: 0, signal: null }

describe('an agent stops promptly, whatever it is doing', function () {
  this.timeout(60_000)
  let cluster: Cluster
  beforeEach(() => {
    cluster = new Cluster(4)
  })
  afterEach(() => cluster.end())

  it('waiting for other servers, with a read and a write held', async () => {
    const [host] = cluster.hosts as [Host]
    await host.start('-server', '-bootstrap-expect=3').shows(/Log data will now stream/)
    const held = [host.put('color', 'red'), host.get('color')].map((each) => each.catch(() => 'failed'))
    await until('both held', async () => (await host.leader()) === '')
    assert.deepEqual(await stops(host), stopped)
    assert.deepEqual(await Promise.all(held), ['failed', 'failed'])
  })

  it('joining somebody who does not answer', async () => {
    const [host, silent] = cluster.hosts as [Host, Host]
    const hole = createServer(() => {})
    await new Promise<void>((resolve) => hole.listen(8301, silent.address, resolve))
    await host.start('-server', `-join=${silent.address}`).shows(/Joining cluster/)
    await until('its faces', () => host.leader().then(() => true))
    assert.deepEqual(await stops(host), stopped)
    hole.close()
  })

  it('its leader lost, while it is held by anti-entropy, reads, writes and long polls', async () => {
    const [first, , , client] = cluster.hosts as [Host, Host, Host, Host]
    for (const host of cluster.hosts.slice(0, 3)) {
      if (host === first) await host.start('-server', '-bootstrap-expect=3').shows(/Log data will now stream/)
      else host.start('-server', `-join=${first.address}`)
    }
    const leader = await cluster.settled()
    client.start(`-join=${first.address}`)
    await until('the client knows a leader', async () => (await client.leader()) !== '')
    const [survivor, other] = cluster.hosts.slice(0, 3).filter((host) => host !== leader) as [Host, Host]
    await Promise.all([leader.process?.signal('SIGKILL'), other.process?.signal('SIGKILL')])
    const held: Promise<unknown>[] = []
    for (const host of [survivor, client]) {
      await host.http('PUT', '/v1/agent/service/register', '{"Name":"web","Port":80}')
      held.push(host.put('color', 'red'), host.get('color'), host.json('/v1/kv/color?index=1000&wait=60s&stale'))
    }
    const ended = held.map((each) => each.catch(() => undefined))
    await until('no leader', async () => (await survivor.leader()) === '')
    assert.deepEqual(await Promise.all([stops(survivor), stops(client)]), [stopped, stopped])
    await Promise.all(ended)
  })
})

describe('a reader that goes away', function () {
  this.timeout(60_000)
  const cluster = new Cluster(1)
  after(() => cluster.end())

  it('of its log does not end an agent; of its output ends a command without a word', async () => {
    const [host] = cluster.hosts as [Host]
    const agent = host.start('-server', '-bootstrap')
    await agent.shows(/Starting Consul agent/)
    agent.child.stdout?.destroy()
    agent.child.stderr?.destroy()
    await until('a leader', async () => (await host.leader()) !== '')
    for (let at = 0; at < 20; at++) await host.put(`wide/${at}`, 'x'.repeat(100_000))
    const words = ['kv', 'get', `-http-addr=${host.address}:8500`, '-recurse', 'wide/']
    const command = new Process(words)
    const errors: Buffer[] = []
    command.child.stderr?.on('data', (bytes: Buffer) => errors.push(bytes))
    command.child.stdout?.once('data', () => command.child.stdout?.destroy())
    await command.ended
    assert.equal(Buffer.concat(errors).toString(), '')
    assert.deepEqual(await stops(host), stopped)
  })
})
