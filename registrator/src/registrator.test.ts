import assert from 'node:assert/strict'
import { Client } from 'registry/client'
import { AgentDouble } from '../../test/double/agent.ts'
import type { Container } from './container.ts'
import type { Engine, Subscription } from './engine.ts'
import { Registrator, type RegistratorOptions } from './registrator.ts'

/** An engine with containers that publish one port each. */
class EngineDouble implements Engine {
  containers = new Map<string, Container>()
  down = false
  inspected: string[] = []
  subscriptions = 0
  id = 'ENGINE'
  #listener: { onChange: (id: string) => void; onEnd: (reason: Error) => void } | undefined

  async identity() {
    this.#answer()
    return { id: this.id, name: 'host1' }
  }

  async list() {
    this.#answer()
    return [...this.containers.keys()]
  }

  async inspect(id: string) {
    this.#answer()
    this.inspected.push(id)
    return structuredClone(this.containers.get(id))
  }

  async subscribe(onChange: (id: string) => void, onEnd: (reason: Error) => void): Promise<Subscription> {
    this.#answer()
    this.subscriptions++
    const listener = { onChange, onEnd }
    this.#listener = listener
    return {
      close: () => {
        if (this.#listener === listener) this.#listener = undefined
      },
    }
  }

  /** @param id also its name */
  run(id: string, port: number, more: Partial<Container> = {}): void {
    this.containers.set(id, {
      id,
      name: id,
      image: 'library/redis:7',
      env: [],
      labels: {},
      state: { running: true, paused: false, exitCode: 0 },
      exposed: [{ port: 6379, protocol: 'tcp' }],
      published: [{ port: 6379, protocol: 'tcp', bindings: [{ address: '', port }] }],
      networkMode: 'default',
      networks: [{ name: 'bridge', id: 'b', address: '172.17.0.2' }],
      ...more,
    })
    this.#listener?.onChange(id)
  }

  change(id: string, change: (container: Container) => void): void {
    change(this.containers.get(id)!)
    this.#listener?.onChange(id)
  }

  end(id: string, exitCode = 0): void {
    this.change(id, (container) => {
      container.state = { running: false, paused: false, exitCode }
      container.published = []
    })
  }

  remove(id: string): void {
    this.containers.delete(id)
    this.#listener?.onChange(id)
  }

  /** The daemon is gone, and with it the stream. */
  lose(): void {
    this.down = true
    const listener = this.#listener
    this.#listener = undefined
    listener?.onEnd(new Error('aborted'))
  }

  /** Nobody is told of what happens now. */
  goSilent(): void {
    this.#listener = undefined
  }

  #answer(): void {
    if (this.down) throw new Error('connect ENOENT /var/run/docker.sock')
  }
}

/** A registrator with its clock in hand. */
class Bench {
  readonly engine = new EngineDouble()
  readonly agent: AgentDouble
  readonly lines: string[] = []
  readonly registrator: Registrator
  now = 0

  constructor(options: Partial<RegistratorOptions> & { agent?: AgentDouble; ttl?: number } = {}) {
    this.agent = options.agent ?? new AgentDouble()
    this.registrator = new Registrator({
      engine: this.engine,
      client: new Client({ base: 'http://agent:8500', fetch: this.agent.fetch }),
      hostname: undefined,
      id: undefined,
      adopt: false,
      lookEvery: 3000,
      resync: 0,
      ttlRefresh: 2000,
      random: { fraction: () => 0.5 },
      log: (line) => this.lines.push(line),
      ...options,
      rules: {
        ip: undefined,
        internal: false,
        explicit: false,
        tags: [],
        ipLabel: undefined,
        deregister: 'always',
        paused: 'deregister',
        ttl: options.ttl ?? 0,
        ...options.rules,
      },
    })
  }

  /** Lets time go on and everything under way end. */
  async pass(millis: number): Promise<void> {
    const end = this.now + millis
    do {
      this.now = Math.min(this.now + 50, end)
      this.registrator.tick(this.now)
      for (let turn = 0; turn < 12; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    } while (this.now < end)
  }

  /** `id name address:port` of everything registered. */
  get registered(): string[] {
    return Object.values(this.agent.services)
      .map(({ ID, Service, Address, Port }) => `${ID} ${Service} ${Address}:${Port}`)
      .sort()
  }
}

const redis0 = 'host1:redis.0:6379 redis 10.0.77.22:10000'

describe('Registrator', () => {
  it("registers a container that starts, at the agent's address and the published port", async () => {
    const bench = new Bench()
    await bench.pass(100)
    bench.engine.run('redis.0', 10_000)
    await bench.pass(100)
    assert.deepEqual(bench.registered, [redis0])
    assert.deepEqual(bench.agent.services['host1:redis.0:6379']?.Meta, {
      'registrator-id': 'host1',
      'registrator-engine': 'ENGINE',
      'registrator-container': 'redis.0',
    })
  })

  it('removes a container that ends, and one that is removed', async () => {
    const bench = new Bench()
    bench.engine.run('redis.0', 10_000)
    bench.engine.run('redis.1', 10_001)
    await bench.pass(100)
    assert.equal(bench.registered.length, 2)
    bench.engine.end('redis.0', 137)
    bench.engine.remove('redis.1')
    await bench.pass(100)
    assert.deepEqual(bench.registered, [])
  })

  it('finds containers that ran before it, and removes what ended while nobody watched', async () => {
    const agent = new AgentDouble()
    const first = new Bench({ agent })
    first.engine.run('redis.0', 10_000)
    first.engine.run('redis.1', 10_001)
    await first.pass(100)
    await first.registrator.stop({ deregister: false })
    const second = new Bench({ agent })
    second.engine.run('redis.0', 10_000)
    second.engine.run('redis.2', 10_002)
    await second.pass(100)
    assert.deepEqual(second.registered, [redis0, 'host1:redis.2:6379 redis 10.0.77.22:10002'])
  })

  it('writes nothing when everything is as it should be', async () => {
    const bench = new Bench({ resync: 1000 })
    bench.engine.run('redis.0', 10_000)
    await bench.pass(100)
    const writes = bench.agent.writes.length
    await bench.pass(20_000)
    assert.equal(bench.agent.writes.length, writes)
  })

  it('inspects only the container an event is about', async () => {
    const bench = new Bench()
    bench.engine.run('redis.0', 10_000)
    bench.engine.run('redis.1', 10_001)
    await bench.pass(100)
    bench.engine.inspected = []
    bench.engine.end('redis.1')
    await bench.pass(10_000)
    assert.deepEqual(bench.engine.inspected, ['redis.1'])
  })

  it('a paused container answers nobody, so it is out until it goes on', async () => {
    const bench = new Bench()
    bench.engine.run('redis.0', 10_000)
    await bench.pass(100)
    bench.engine.change('redis.0', (container) => {
      container.state.paused = true
    })
    await bench.pass(100)
    assert.deepEqual(bench.registered, [])
    bench.engine.change('redis.0', (container) => {
      container.state.paused = false
    })
    await bench.pass(100)
    assert.deepEqual(bench.registered, [redis0])
  })

  it('registers a renamed container under its new id before the old one goes', async () => {
    const bench = new Bench()
    bench.engine.run('redis.0', 10_000)
    await bench.pass(100)
    bench.agent.writes.length = 0
    bench.engine.change('redis.0', (container) => {
      container.name = 'cache'
    })
    await bench.pass(100)
    assert.deepEqual(bench.registered, ['host1:cache:6379 redis 10.0.77.22:10000'])
    assert.deepEqual(bench.agent.writes, [
      'PUT /v1/agent/service/register',
      'PUT /v1/agent/service/deregister/host1:redis.0:6379',
    ])
  })

  it('registers everything again at an agent that has forgotten it', async () => {
    const bench = new Bench()
    bench.engine.run('redis.0', 10_000)
    await bench.pass(100)
    bench.agent.forget()
    await bench.pass(3100)
    assert.deepEqual(bench.registered, [redis0])
  })

  it('waits for an agent that is away, says so once, and goes on when it is back', async () => {
    const bench = new Bench()
    bench.agent.down = true
    bench.engine.run('redis.0', 10_000)
    await bench.pass(30_000)
    assert.equal(bench.lines.filter((line) => line.includes('ECONNREFUSED')).length, 1)
    bench.agent.down = false
    await bench.pass(3100)
    assert.deepEqual(bench.registered, [redis0])
    assert.ok(bench.lines.includes('all is well again'))
  })

  it('removes nothing when Docker is lost, and looks at everything when it is back', async () => {
    const bench = new Bench()
    bench.engine.run('redis.0', 10_000)
    bench.engine.run('redis.1', 10_001)
    await bench.pass(100)
    bench.engine.lose()
    await bench.pass(10_000)
    assert.equal(bench.registered.length, 2)
    bench.engine.containers.delete('redis.1')
    bench.engine.run('redis.2', 10_002)
    bench.engine.down = false
    await bench.pass(3100)
    assert.deepEqual(bench.registered, [redis0, 'host1:redis.2:6379 redis 10.0.77.22:10002'])
    assert.equal(bench.engine.subscriptions, 2)
  })

  it('keeps the agent right with what it knew while Docker is away', async () => {
    const bench = new Bench()
    bench.engine.run('redis.0', 10_000)
    await bench.pass(100)
    bench.engine.lose()
    bench.agent.forget()
    await bench.pass(5000)
    assert.deepEqual(bench.registered, [redis0])
  })

  it('finds out at the next resync what no event told', async () => {
    const bench = new Bench({ resync: 5000 })
    bench.engine.run('redis.0', 10_000)
    await bench.pass(100)
    bench.engine.goSilent()
    bench.engine.end('redis.0')
    await bench.pass(4000)
    assert.deepEqual(bench.registered, [redis0])
    await bench.pass(1100)
    assert.deepEqual(bench.registered, [])
  })

  it('one registration that is refused does not hold up the others, and is tried again', async () => {
    const bench = new Bench()
    bench.agent.refuses = (service) => service.ID === 'host1:redis.0:6379'
    bench.engine.run('redis.0', 10_000)
    bench.engine.run('redis.1', 10_001)
    await bench.pass(100)
    assert.deepEqual(bench.registered, ['host1:redis.1:6379 redis 10.0.77.22:10001'])
    assert.ok(bench.lines.some((line) => line.includes('host1:redis.0:6379') && line.includes('Invalid service')))
    bench.agent.refuses = () => false
    await bench.pass(3100)
    assert.equal(bench.registered.length, 2)
  })

  it("leaves alone what others registered: by hand, another registrator's, another engine's", async () => {
    const bench = new Bench()
    const mark = (id: string, engine: string) => ({
      'registrator-id': id,
      'registrator-engine': engine,
      'registrator-container': 'gone',
    })
    const others = [
      { ID: 'by-hand', Name: 'web' },
      { ID: 'host1:ghost:80', Name: 'web' },
      { ID: 'host2:web:80', Name: 'web', Meta: mark('host2', 'ENGINE') },
      { ID: 'host1:web:80', Name: 'web', Meta: mark('host1', 'OTHER') },
    ]
    const client = new Client({ base: 'http://agent:8500', fetch: bench.agent.fetch })
    for (const service of others) await client.agent.registerService(service)
    await client.agent.registerService({ ID: 'host1:own:80', Name: 'web', Meta: mark('host1', 'ENGINE') })
    await bench.pass(100)
    assert.deepEqual(Object.keys(bench.agent.services), ['by-hand', 'host1:ghost:80', 'host2:web:80', 'host1:web:80'])
  })

  it('an id somebody else has stays theirs; it says so once', async () => {
    const bench = new Bench()
    const client = new Client({ base: 'http://agent:8500', fetch: bench.agent.fetch })
    await client.agent.registerService({ ID: 'host1:redis.0:6379', Name: 'mine', Port: 1 })
    bench.engine.run('redis.0', 10_000)
    await bench.pass(10_000)
    assert.deepEqual(bench.registered, ['host1:redis.0:6379 mine :1'])
    assert.equal(bench.lines.filter((line) => line.startsWith('warning:')).length, 1)
    await client.agent.deregisterService('host1:redis.0:6379')
    await bench.pass(3100)
    assert.deepEqual(bench.registered, [redis0])
  })

  it('takes over what the original registrator left for this host, when told to', async () => {
    const bench = new Bench({ adopt: true })
    const client = new Client({ base: 'http://agent:8500', fetch: bench.agent.fetch })
    for (const id of ['host1:redis.0:6379', 'host1:gone:53:udp', 'host2:redis.0:6379', 'host1-by-hand']) {
      await client.agent.registerService({ ID: id, Name: 'redis', Port: 1 })
    }
    bench.engine.run('redis.0', 10_000)
    await bench.pass(100)
    assert.deepEqual(bench.registered, ['host1-by-hand redis :1', redis0, 'host2:redis.0:6379 redis :1'])
  })

  it('under on-success a container that failed stays until it is removed', async () => {
    const rules = { deregister: 'on-success' } as RegistratorOptions['rules']
    const bench = new Bench({ rules })
    for (const [at, id] of ['ok', 'failed', 'stopped', 'status-255'].entries()) bench.engine.run(id, 10_000 + at)
    await bench.pass(100)
    bench.engine.end('ok', 0)
    bench.engine.end('failed', 1)
    bench.engine.end('stopped', 143)
    bench.engine.end('status-255', 255)
    await bench.pass(10_000)
    assert.deepEqual(Object.keys(bench.agent.services).sort(), ['host1:failed:6379', 'host1:status-255:6379'])
    bench.engine.remove('failed')
    bench.engine.run('status-255', 10_009)
    await bench.pass(100)
    assert.deepEqual(bench.registered, ['host1:status-255:6379 redis 10.0.77.22:10009'])
  })

  it('with -ttl keeps a heartbeat going, and registers again what lost its check', async () => {
    const bench = new Bench({ ttl: 6000 })
    bench.engine.run('redis.0', 10_000)
    await bench.pass(100)
    const heartbeat = 'service:host1:redis.0:6379:heartbeat'
    bench.agent.checks[heartbeat]!.Status = 'critical'
    await bench.pass(2100)
    assert.equal(bench.agent.checks[heartbeat]?.Status, 'passing')
    delete bench.agent.checks[heartbeat]
    await bench.pass(3100)
    assert.equal(bench.agent.checks[heartbeat]?.Status, 'passing')
  })

  it('a heartbeat no longer wanted goes with the next registrator', async () => {
    const agent = new AgentDouble()
    const first = new Bench({ agent, ttl: 6000 })
    first.engine.run('redis.0', 10_000)
    await first.pass(100)
    await first.registrator.stop({ deregister: false })
    const second = new Bench({ agent })
    second.engine.run('redis.0', 10_000)
    await second.pass(100)
    assert.deepEqual(agent.checks, {})
  })

  it('leaves its services when it stops, or takes them with it when told to', async () => {
    const agent = new AgentDouble()
    for (const deregister of [false, true]) {
      const bench = new Bench({ agent })
      bench.engine.run('redis.0', 10_000)
      await bench.pass(100)
      await bench.registrator.stop({ deregister })
      assert.deepEqual(bench.registered, deregister ? [] : [redis0])
    }
  })

  it('any order of events ends in the same registrations', async () => {
    let seed = 7
    const chance = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
      return (seed >>> 8) % below
    }
    const bench = new Bench()
    await bench.pass(100)
    for (let step = 0; step < 300; step++) {
      const id = `c${chance(8)}`
      const running = bench.engine.containers.get(id)?.state.running === true
      switch (chance(6)) {
        case 0:
          if (running) bench.engine.end(id, chance(2))
          break
        case 1:
          if (!running) bench.engine.remove(id)
          break
        case 2:
          if (chance(10) === 0) {
            bench.engine.lose()
            bench.engine.down = false
          }
          break
        case 3:
          await bench.pass(50)
          break
        default:
          if (!running) bench.engine.run(id, 10_000 + step)
      }
    }
    await bench.pass(5000)
    const expected = [...bench.engine.containers.values()]
      .filter((container) => container.state.running)
      .map(({ name, published }) => `host1:${name}:6379 redis 10.0.77.22:${published[0]!.bindings[0]!.port}`)
    assert.deepEqual(bench.registered, expected.sort())
  })
})
