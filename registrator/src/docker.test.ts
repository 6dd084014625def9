import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dockerEngine } from './docker.ts'
import type { Engine } from './engine.ts'

const [inspected] = JSON.parse(readFileSync(new URL('../test/data/containers.json', import.meta.url), 'utf8')).map(
  (recorded: { inspect: { Id: string } }) => recorded.inspect,
) as [{ Id: string; Name: string }]

/** A daemon on a socket in a folder of its own, whose event stream a test writes by hand. */
class Daemon {
  readonly asked: string[] = []
  readonly folder = mkdtempSync(join(tmpdir(), 'docker-'))
  events: ServerResponse | undefined
  #server: Server | undefined

  async start(): Promise<Engine> {
    this.#server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://docker')
      this.asked.push(`${request.method} ${url.pathname}`)
      const json = (status: number, body: object) => {
        response.writeHead(status, { 'Content-Type': 'application/json' })
        response.end(JSON.stringify(body))
      }
      if (url.pathname === '/info') json(200, { ID: 'ENGINE', Name: 'host3' })
      else if (url.pathname === '/containers/json') json(200, [{ Id: inspected.Id }])
      else if (url.pathname === `/containers/${inspected.Id}/json`) json(200, inspected)
      else if (url.pathname === '/containers/broken/json') {
        response.writeHead(500)
        response.end('{"message":"no space left on device"}')
      } else if (url.pathname === '/events') {
        assert.deepEqual(JSON.parse(url.searchParams.get('filters') ?? '').type, ['container', 'network'])
        response.writeHead(200, { 'Content-Type': 'application/json' })
        response.flushHeaders()
        this.events = response
      } else json(404, { message: 'No such container' })
    })
    const path = join(this.folder, 'docker.sock')
    await new Promise<void>((resolve) => this.#server?.listen(path, resolve))
    process.env.DOCKER_HOST = `unix://${path}`
    return dockerEngine(process.env.DOCKER_HOST)
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((resolve) => this.#server?.close(resolve))
    rmSync(this.folder, { recursive: true })
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000
  while (!condition()) {
    assert.ok(performance.now() < deadline, 'the state was never reached')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('dockerEngine', () => {
  let daemon: Daemon
  let engine: Engine
  const dockerHost = process.env.DOCKER_HOST

  beforeEach(async () => {
    daemon = new Daemon()
    engine = await daemon.start()
  })
  afterEach(async () => {
    await daemon.stop()
    if (dockerHost === undefined) delete process.env.DOCKER_HOST
    else process.env.DOCKER_HOST = dockerHost
  })

  it('knows the engine, its containers, and that one is gone', async () => {
    assert.deepEqual(await engine.identity(), { id: 'ENGINE', name: 'host3' })
    assert.deepEqual(await engine.list(), [inspected.Id])
    assert.equal((await engine.inspect(inspected.Id))?.name, 'redis.0')
    assert.equal(await engine.inspect('gone'), undefined)
    await assert.rejects(engine.inspect('broken'), /no space left on device/)
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
      daemon = new Daemon()
      await daemon.start()
    }
  })
})
