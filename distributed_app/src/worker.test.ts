import assert from 'node:assert/strict'
import { Client } from 'registry/client'
import { AgentDouble } from '../../test/double/agent.ts'
import type { Dns } from './discovery.ts'
import { Worker } from './worker.ts'

class Bench {
  readonly agent = new AgentDouble()
  readonly lines: string[] = []
  readonly dns: Dns & { redis: { name: string; port: number }[] } = {
    redis: [],
    srv: async () => this.dns.redis.map(({ name, port }) => ({ name, port, priority: 1, weight: 1 })),
    addresses: async (name) => [name],
  }
  readonly worker: Worker
  now = 0
  #hits = 0

  constructor(number = 1, address = '') {
    this.worker = new Worker({
      client: new Client({ base: 'http://agent:8500', fetch: this.agent.fetch }),
      dns: this.dns,
      connect: () => ({ increment: async () => ++this.#hits, close: () => {} }),
      number,
      port: 2000 + number,
      address,
      redis: 'redis',
      random: { fraction: () => 0.5 },
      log: (line) => this.lines.push(line),
    })
  }

  async pass(millis: number): Promise<void> {
    const end = this.now + millis
    do {
      this.now = Math.min(this.now + 50, end)
      this.worker.tick(this.now)
      for (let turn = 0; turn < 10; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    } while (this.now < end)
  }

  async get(path: string): Promise<string> {
    return (await this.worker.app.request(path)).text()
  }
}

const registered = '[consul] service distributed_app registered successfully'

describe('Worker', () => {
  it('registers itself under its own id, healthy at once, and says so once', async () => {
    const bench = new Bench(2)
    await bench.pass(20_000)
    const { ID, Service, Port, Address } = bench.agent.services.server2!
    assert.deepEqual([ID, Service, Port, Address], ['server2', 'distributed_app', 2002, ''])
    assert.equal(bench.agent.checks['service:server2']?.Status, 'passing')
    assert.equal(bench.lines.filter((line) => line.includes('registered')).join('\n'), registered)
  })

  it('registers the address it is told to', async () => {
    const bench = new Bench(1, '127.0.77.22')
    await bench.pass(100)
    assert.equal(bench.agent.services.server1?.Address, '127.0.77.22')
  })

  it('keeps its check passing, at least three times per TTL', async () => {
    const bench = new Bench()
    await bench.pass(100)
    const before = bench.agent.writes.length
    await bench.pass(10_000)
    const passed = bench.agent.writes.slice(before)
    assert.ok(passed.length >= 3, `${passed.length} times`)
    assert.ok(passed.every((line) => line === 'PUT /v1/agent/check/pass/service:server1'))
  })

  it('registers again when the agent has forgotten it', async () => {
    const bench = new Bench()
    await bench.pass(100)
    bench.agent.forget()
    await bench.pass(3500)
    assert.equal(bench.agent.checks['service:server1']?.Status, 'passing')
    assert.ok(bench.lines.includes(`${registered} again`))
  })

  it('a check that was critical while it was away passes after the registration', async () => {
    const bench = new Bench()
    const client = new Client({ base: 'http://agent:8500', fetch: bench.agent.fetch })
    await client.agent.registerService({ ID: 'server1', Name: 'distributed_app', Check: { TTL: '10s' } })
    assert.equal(bench.agent.checks['service:server1']?.Status, 'critical')
    await bench.pass(100)
    assert.equal(bench.agent.checks['service:server1']?.Status, 'passing')
  })

  it('serves without a registry, says once what is wrong, and registers when it is there', async () => {
    const bench = new Bench()
    bench.agent.down = true
    await bench.pass(30_000)
    assert.equal(await bench.get('/'), 'Hello World!')
    assert.equal(bench.lines.filter((line) => line.startsWith('[consul]')).length, 1)
    bench.agent.down = false
    await bench.pass(4100)
    assert.ok(bench.lines.includes(registered))
    assert.ok(bench.lines.includes('[consul] the registry answers again'))
  })

  it('a greeting changed in the registry is the next answer, and one taken away is the default again', async () => {
    const bench = new Bench()
    await bench.pass(100)
    assert.equal(await bench.get('/'), 'Hello World!')
    bench.agent.put('distributed_app/config/greeting', 'Grüß Gott')
    await bench.pass(100)
    assert.equal(await bench.get('/'), 'Grüß Gott')
    bench.agent.put('distributed_app/other', 'x')
    bench.agent.put('distributed_app/config/greeting', 'Servus')
    await bench.pass(100)
    assert.equal(await bench.get('/'), 'Servus')
    bench.agent.remove('distributed_app/config/greeting')
    await bench.pass(100)
    assert.equal(await bench.get('/'), 'Hello World!')
  })

  it('keeps the greeting it knows while the registry is away', async () => {
    const bench = new Bench()
    bench.agent.put('distributed_app/config/greeting', 'Servus')
    await bench.pass(100)
    bench.agent.down = true
    await bench.pass(10_000)
    assert.equal(await bench.get('/'), 'Servus')
  })

  it('follows the configuration of a registry that started afresh, with a lower index', async () => {
    const bench = new Bench()
    bench.agent.put('distributed_app/config/greeting', 'Servus')
    await bench.pass(500)
    bench.agent.forget()
    await bench.pass(500)
    assert.equal(await bench.get('/'), 'Hello World!')
    bench.agent.put('distributed_app/config/greeting', 'Moin')
    await bench.pass(200)
    assert.equal(await bench.get('/'), 'Moin')
  })

  it('picks Redis up when it appears', async () => {
    const bench = new Bench()
    await bench.pass(100)
    assert.match(await bench.get('/hits'), /no Redis is registered in Consul/)
    bench.dns.redis = [{ name: '10.0.77.17', port: 10_000 }]
    await bench.pass(2100)
    assert.equal(await bench.get('/hits'), '1 hit, counted in Redis at 10.0.77.17:10000.\n')
  })

  it('takes itself out when it stops, even in the middle of a blocking query', async () => {
    const bench = new Bench()
    await bench.pass(100)
    await bench.worker.stop(new AbortController().signal)
    assert.deepEqual(bench.agent.services, {})
    const writes = bench.agent.writes.length
    await bench.pass(10_000)
    assert.equal(bench.agent.writes.length, writes, 'and stays out')
  })

  it('says so when the registry does not take it out in time', async () => {
    const bench = new Bench()
    await bench.pass(100)
    bench.agent.down = true
    await assert.rejects(bench.worker.stop(new AbortController().signal), /cannot be reached/)
  })
})
