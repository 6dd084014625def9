import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cluster, type Host, until } from './cluster.ts'
import { FaultProxy } from './proxy.ts'

/** What a stale read at `host` says of how old it may be. */
async function age(host: Host): Promise<{ known: boolean; lastContact: number }> {
  const { headers } = await host.http('GET', '/v1/catalog/nodes?stale')
  return {
    known: headers.get('x-consul-knownleader') === 'true',
    lastContact: Number(headers.get('x-consul-lastcontact')),
  }
}

describe('an agent that is no server, as a process', function () {
  this.timeout(120_000)
  const cluster = new Cluster(4, { proxied: true })
  const [one, two, three, observer] = cluster.hosts as [Host, Host, Host, Host]
  const servers = [one, two, three]
  const proxy = new FaultProxy(cluster.hosts, 1)

  before(async () => {
    await proxy.open()
    for (const server of servers) {
      server.words = ['-server', '-bootstrap-expect=3', `-retry-join=${one.advertised}`, '-retry-interval=1s']
      server.start()
    }
    const file = join(cluster.folder, 'hold.json')
    writeFileSync(file, JSON.stringify({ performance: { rpc_hold_timeout: '1s' } }))
    observer.words = [`-config-file=${file}`, `-retry-join=${one.advertised}`, '-retry-interval=1s', '-log-level=debug']
    observer.start()
    await cluster.settled()
  })
  after(async () => {
    await cluster.end()
    await proxy.close()
  })
  afterEach(function () {
    if (this.currentTest?.state !== 'failed') return
    for (const { name, process } of cluster.hosts) console.log(`--- ${name}\n${process?.output.slice(-4000)}`)
  })

  /** The server it follows. */
  const followed = (): Host => {
    const last = [...(observer.process?.output.matchAll(/following (\S+):8300/g) ?? [])].at(-1)?.[1]
    const found = servers.find(({ advertised }) => advertised === last)
    if (found === undefined) throw new Error(`it follows ${last}`)
    return found
  }
  let written = 0
  /** What is written elsewhere comes to the observer without the server it followed. */
  const goesOnWithout = async (lost: Host) => {
    const key = `written/${++written}`
    const other = servers.find((server) => server !== lost) as Host
    await until('a write elsewhere', () => other.put(key, key))
    assert.equal(await until('what was written', () => observer.get(key, '&stale')), key)
    assert.notEqual(followed(), lost)
  }

  it('writes and reads as any other agent', async () => {
    await observer.put('color', 'blue')
    assert.equal(await observer.get('color'), 'blue', 'its own write, at once')
    assert.equal(await one.get('color', '&consistent'), 'blue')
    await one.put('color', 'red')
    assert.equal(await observer.get('color'), 'red', 'a default read is as new as the leader')
    assert.equal((await age(observer)).known, true)
  })

  it('follows another server when its own stands still', async () => {
    const lost = followed()
    lost.process?.child.kill('SIGSTOP')
    await goesOnWithout(lost)
    lost.process?.child.kill('SIGCONT')
    await cluster.settled()
  })

  it('follows another server when it is cut off from its own without a word', async () => {
    const lost = followed()
    proxy.set([observer], [lost], { cut: true })
    proxy.set([lost], [observer], { cut: true })
    await goesOnWithout(lost)
    proxy.heal()
    await cluster.settled()
  })

  it('follows another server when its own is killed', async () => {
    const lost = followed()
    await lost.process?.signal('SIGKILL')
    await goesOnWithout(lost)
    lost.start()
    await cluster.settled()
  })

  it('says how old its answers may be while it is cut off, and refuses reads that may not be old', async () => {
    await observer.put('color', 'green')
    proxy.isolate(observer)
    await until('no known leader', async () => !(await age(observer)).known)
    const before = await age(observer)
    const later = await until('an older answer', async () => {
      const now = await age(observer)
      return now.lastContact > before.lastContact ? now : undefined
    })
    assert.equal(later.known, false)
    assert.equal(await observer.get('color', '&stale'), 'green')
    assert.equal(await observer.get('color', '&max_stale=10m'), 'green')
    await assert.rejects(observer.get('color'), /No cluster leader/)
    await assert.rejects(observer.get('color', '&max_stale=1ms'), /No cluster leader/)
    proxy.heal()
    await until('a known leader', async () => (await age(observer)).known)
    assert.equal(await until('a default read', () => observer.get('color')), 'green')
  })

  it('answers who waits at it as soon as something changes elsewhere', async () => {
    const index = (await observer.http('GET', '/v1/kv/color')).headers.get('x-consul-index')
    const waiting = observer.json<{ Value: string }[]>(`/v1/kv/color?stale&index=${index}&wait=60s`)
    await one.put('color', 'white')
    const [pair] = await waiting
    assert.equal(atob(pair?.Value ?? ''), 'white')
  })
})

describe('eight agents that are no servers, and one that is, as processes', function () {
  this.timeout(120_000)
  const cluster = new Cluster(9)
  const [server, ...observers] = cluster.hosts as [Host, ...Host[]]
  after(() => cluster.end())

  it('all know one another, hold the same, and learn that one was killed', async () => {
    server.start('-server', '-bootstrap')
    for (const observer of observers) observer.start(`-retry-join=${server.address}`, '-retry-interval=1s')
    for (const host of cluster.hosts) {
      await until(`all are alive for ${host.name}`, async () => (await host.members()).length === 9, 60_000)
    }
    await observers[0]?.put('color', 'blue')
    for (const host of observers) {
      assert.equal(await until(`the key at ${host.name}`, () => host.get('color', '&stale')), 'blue')
    }
    const lost = observers.pop() as Host
    await lost.process?.signal('SIGKILL')
    for (const host of [server, ...observers]) {
      const known = async () => (await host.members(4)).join() === lost.name && (await host.members()).length === 8
      await until(`the loss of that one and of nobody else, at ${host.name}`, known, 60_000)
      await until(`its check, at ${host.name}`, async () => {
        const checks = await host.json<{ CheckID: string; Status: string }[]>(`/v1/health/node/${lost.name}?stale`)
        return checks.some(({ CheckID, Status }) => CheckID === 'serfHealth' && Status === 'critical')
      })
    }
  })
})
