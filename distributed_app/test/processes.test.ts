/** The program as its user starts it: master, workers, signals, a real Redis when there is one. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { type ServerType, serve } from '@hono/node-server'
import packet from 'dns-packet'
import { AgentDouble } from '../../test/double/agent.ts'
import { until } from '../../test/until.ts'

const program = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const redisServer = '/usr/bin/redis-server'

/** Two neighbouring ports that are free, below those the system gives out by itself. */
async function freePorts(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 5_000) * 2
    const free = await Promise.all([isFree(port), isFree(port + 1)])
    if (free[0] && free[1]) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** A child process, its output, and its end. */
class Running {
  readonly child: ChildProcess
  readonly lines: string[] = []
  readonly ended: Promise<number | NodeJS.Signals | null>

  constructor(command: string, args: string[]) {
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      let rest = ''
      stream?.setEncoding('utf8').on('data', (text: string) => {
        const parts = (rest + text).split('\n')
        rest = parts.pop() ?? ''
        this.lines.push(...parts)
      })
    }
    this.ended = new Promise((resolve) => this.child.on('exit', (code, signal) => resolve(code ?? signal)))
  }

  has(line: string | RegExp): boolean {
    return this.lines.some((one) => (typeof line === 'string' ? one === line : line.test(one)))
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.ended
  }
}

describe('the application as processes', () => {
  const agent = new AgentDouble()
  const redisRecords: { host: string; port: number }[] = []
  let server: ServerType
  let dns: Socket
  let port: number
  let app: Running
  let registry: string

  const get = async (path: string, worker = 1) => (await fetch(`http://127.0.0.1:${port + worker - 1}${path}`)).text()
  const workers = () =>
    app.lines.flatMap((line) => /^\[worker (\d)\] process (\d+) listening/.exec(line)?.slice(1).map(Number) ?? [])

  before(async () => {
    server = serve({ fetch: agent.app.fetch, port: 0, hostname: '127.0.0.1' })
    await new Promise<void>((resolve) => server.once('listening', resolve))
    registry = `http://127.0.0.1:${(server.address() as { port: number }).port}`
    dns = createSocket('udp4')
    dns.on('message', (bytes, from) => dns.send(answerTo(bytes, redisRecords), from.port, from.address))
    await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve))
    port = await freePorts()
    const where = ['--registry', registry, '--dns', `127.0.0.1:${dns.address().port}`]
    app = new Running(process.execPath, [program, ...where, '--bind', '127.0.0.1', '--port', String(port)])
    await until('both workers are registered', () => Object.keys(agent.services).length === 2)
  })

  after(async () => {
    await app.kill()
    dns.close()
    await new Promise((resolve) => {
      server.close(resolve)
      ;(server as { closeAllConnections?: () => void }).closeAllConnections?.()
    })
  })

  it('runs two workers, each registered by itself under its own id and port, and says so once per worker', async () => {
    const said = '[consul] service distributed_app registered successfully'
    await until('both have said it', () => app.lines.filter((line) => line === said).length === 2)
    assert.deepEqual(
      Object.values(agent.services)
        .map(({ ID, Service, Port }) => `${ID} ${Service} ${Port}`)
        .sort(),
      [`server1 distributed_app ${port}`, `server2 distributed_app ${port + 1}`],
    )
    assert.equal(await get('/', 1), 'Hello World!')
    assert.equal(await get('/', 2), 'Hello World!')
  })

  it('a greeting put into the registry is answered by both without a restart', async () => {
    agent.put('distributed_app/config/greeting', 'Guten Tag')
    for (const worker of [1, 2]) await until('the greeting', async () => (await get('/', worker)) === 'Guten Tag')
  })

  it('starts a worker that was killed again, on its port and under its id', async () => {
    const [, first] = workers()
    process.kill(first as number, 'SIGKILL')
    await until('the master noticed', () => app.has(/worker \d ended \(SIGKILL\), starting it again/))
    await until('a third process listens', () => workers().length === 6)
    for (const worker of [1, 2]) await until('it answers', async () => (await get('/', worker)) === 'Guten Tag')
    assert.deepEqual(Object.keys(agent.services).sort(), ['server1', 'server2'])
  })

  it('counts hits in a real Redis that appears in DNS', async function () {
    if (!existsSync(redisServer)) {
      console.log(`      no ${redisServer} on this machine`)
      this.skip()
    }
    assert.match(await get('/hits'), /no Redis is registered in Consul/)
    const redisPort = await freePorts()
    const words = ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', '']
    const redis = new Running(redisServer, words)
    try {
      redisRecords.push({ host: '127.0.0.1', port: redisPort })
      for (const worker of [1, 2]) {
        await until('it counts', async () => (await get('/hits', worker)).includes('counted in Redis'))
      }
      const count = async (worker: number) => Number.parseInt(await get('/hits', worker), 10)
      const before = await count(1)
      assert.equal(await count(2), before + 1, 'both workers count in the same place')
      redisRecords.length = 0
      await until('it is gone', async () => (await get('/hits')).includes('no Redis is registered in Consul'))
    } finally {
      await redis.kill()
    }
  })

  it('on SIGTERM takes both workers out of the registry and ends well', async () => {
    app.child.kill('SIGTERM')
    assert.equal(await app.ended, 0)
    assert.deepEqual(agent.services, {})
  })

  it('workers whose master is gone take themselves out', async () => {
    const orphaned = new Running(process.execPath, [
      program,
      '--registry',
      registry,
      '--bind',
      '127.0.0.1',
      '--port',
      String(port),
    ])
    await until('both workers are registered', () => Object.keys(agent.services).length === 2)
    await orphaned.kill()
    await until('both workers are gone', () => Object.keys(agent.services).length === 0)
  })

  it('ends when the registry cannot be reached', async () => {
    const nobody = await freePorts()
    const words = ['--registry', `http://127.0.0.1:${nobody}`, '--bind', '127.0.0.1', '--port', String(port)]
    const alone = new Running(process.execPath, [program, ...words])
    await until('it serves', () =>
      get('/').then(
        (text) => text === 'Hello World!',
        () => false,
      ),
    )
    await until('it says why it is not registered', () => alone.has(/^\[consul\] .*trying again: .*cannot be reached/))
    alone.child.kill('SIGTERM')
    assert.equal(await alone.ended, 0)
  })

  it('says every mistake in its options at once', async () => {
    const wrong = new Running(process.execPath, [program, '--port', 'x', '--bogus'])
    assert.equal(await wrong.ended, 1)
    assert.ok(wrong.has(/unknown option --bogus; --port must be a number/))
  })
})

/** SRV and A as a registry answers them for `redis.service.consul`. */
function answerTo(bytes: Buffer, records: readonly { host: string; port: number }[]): Buffer {
  const query = packet.decode(bytes)
  const [question] = query.questions ?? []
  const srv = question?.type === 'SRV' && question.name === 'redis.service.consul'
  const a = records.filter((_, at) => question?.type === 'A' && question.name === `redis${at}.node.consul`)
  const answers: packet.Answer[] = srv
    ? records.map(({ port }, at) => ({
        type: 'SRV',
        name: question.name,
        ttl: 0,
        data: { port, target: `redis${at}.node.consul`, priority: 1, weight: 1 },
      }))
    : a.map(({ host }) => ({ type: 'A', name: question?.name ?? '', ttl: 0, data: host }))
  const rcode = answers.length === 0 ? 3 : 0
  return packet.encode({
    type: 'response',
    id: query.id ?? 0,
    flags: packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | rcode,
    questions: query.questions ?? [],
    answers,
  })
}
