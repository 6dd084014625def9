import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { DaemonDouble } from '../test/daemon.ts'
import { dockerEngine, withAdvice } from './docker.ts'
import type { Engine } from './engine.ts'

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000
  while (!condition()) {
    assert.ok(performance.now() < deadline, 'the state was never reached')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('dockerEngine', () => {
  let daemon: DaemonDouble
  let engine: Engine
  const dockerHost = process.env.DOCKER_HOST

  beforeEach(async () => {
    daemon = new DaemonDouble()
    await daemon.start()
    process.env.DOCKER_HOST = daemon.host
    engine = dockerEngine(daemon.host)
  })
  afterEach(async () => {
    await daemon.stop()
    if (dockerHost === undefined) delete process.env.DOCKER_HOST
    else process.env.DOCKER_HOST = dockerHost
  })

  it('knows the engine, its containers, and that one is gone', async () => {
    assert.deepEqual(await engine.identity(), { id: 'ENGINE', name: 'host3' })
    assert.deepEqual(await engine.list(), [daemon.container.Id])
    assert.equal((await engine.inspect(daemon.container.Id))?.name, 'redis.0')
    assert.equal(await engine.inspect('gone'), undefined)
    await assert.rejects(engine.inspect('broken'), /no space left on device/)
  })

  it('says what to do where there is no socket, and where this user may not use it', async () => {
    const socket = '/nowhere/docker.sock'
    process.env.DOCKER_HOST = `unix://${socket}`
    await assert.rejects(dockerEngine(process.env.DOCKER_HOST).list(), {
      message: `connect ENOENT ${socket}: there is no socket; in a container mount it with -v /var/run/docker.sock:${socket}, or set DOCKER_HOST`,
    })
    const denied = Object.assign(new Error(`connect EACCES ${socket}`), { code: 'EACCES', address: socket })
    assert.match(withAdvice(denied).message, /^connect EACCES .*group-add.*DOCKER_GID in \.env$/)
    const refused = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:2375'), {
      code: 'ECONNREFUSED',
      address: '10.0.0.1',
    })
    assert.equal(withAdvice(refused), refused)
  })

  it('tells of containers, however their events are cut into pieces', async () => {
    const changed: string[] = []
    const subscription = await engine.subscribe(
      (id) => changed.push(id),
      () => {},
    )
    const container = (id: string) => `${JSON.stringify({ Type: 'container', Action: 'start', Actor: { ID: id } })}\n`
    const network = { Type: 'network', Action: 'connect', Actor: { ID: 'net', Attributes: { container: 'c3' } } }
    const [whole, split, umlaut] = [container('c1'), container('c2'), container('c4-ü')]
    daemon.events?.write(whole + split.slice(0, 20))
    await until(() => changed.length === 1)
    daemon.events?.write(`${split.slice(20)}not json\n\n${JSON.stringify(network)}\n`)
    const bytes = Buffer.from(umlaut)
    const middle = bytes.indexOf(0xc3) + 1
    daemon.events?.write(bytes.subarray(0, middle))
    await until(() => changed.length === 3)
    daemon.events?.write(bytes.subarray(middle))
    await until(() => changed.length === 4)
    assert.deepEqual(changed, ['c1', 'c2', 'c3', 'c4-ü'])
    subscription.close()
  })

  for (const [how, end] of [
    ['ends', (response: ServerResponse) => response.end()],
    ['breaks off', (response: ServerResponse) => response.destroy()],
  ] as const) {
    it(`says once that the stream is over when it ${how}`, async () => {
      const reasons: Error[] = []
      await engine.subscribe(
        () => {},
        (reason) => reasons.push(reason),
      )
      end(daemon.events!)
      await until(() => reasons.length > 0)
      await until(() => daemon.events!.closed)
      assert.equal(reasons.length, 1)
    })
  }

  it('a stream it closed itself is no loss', async () => {
    const reasons: Error[] = []
    const subscription = await engine.subscribe(
      () => {},
      (reason) => reasons.push(reason),
    )
    subscription.close()
    await until(() => daemon.events!.closed)
    assert.deepEqual(reasons, [])
  })

  it('rejects when there is no engine', async () => {
    await daemon.stop()
    try {
      await assert.rejects(engine.list(), /ENOENT|ECONNREFUSED/)
      await assert.rejects(
        engine.subscribe(
          () => {},
          () => {},
        ),
        /ENOENT|ECONNREFUSED/,
      )
    } finally {
      daemon = new DaemonDouble()
      await daemon.start()
    }
  })
})
