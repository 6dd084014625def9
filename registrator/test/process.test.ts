/** The program as its user starts it, between a Docker daemon and an agent that are doubles of the real ones. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type ServerType, serve } from '@hono/node-server'
import { AgentDouble } from '../../test/double/agent.ts'
import { until } from '../../test/until.ts'
import { DaemonDouble } from './daemon.ts'

const program = fileURLToPath(new URL('../src/main.ts', import.meta.url))

function start(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, ...env } })
  const running = { child, output: '', ended: new Promise<number | null>((resolve) => child.on('close', resolve)) }
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      running.output += text
    })
  }
  return running
}

describe('the registrator as a process', () => {
  const agent = new AgentDouble()
  const daemon = new DaemonDouble()
  let server: ServerType
  let registry: string

  before(async () => {
    await daemon.start()
    server = serve({ fetch: agent.app.fetch, port: 0, hostname: '127.0.0.1' })
    await new Promise<void>((resolve) => server.once('listening', resolve))
    registry = `consul://127.0.0.1:${(server.address() as { port: number }).port}`
  })
  after(async () => {
    await daemon.stop()
    await new Promise((resolve) => server.close(resolve))
  })

  it('registers what runs, removes what ends, and stops cleanly with its services left in place', async () => {
    const registrator = start(['-hostname=host3', '-ip=10.0.77.17', registry], { DOCKER_HOST: daemon.host })
    const ids = () => Object.keys(agent.services)
    await until('it is registered', () => ids().length === 1)
    const { ID, Service, Address, Port } = Object.values(agent.services)[0]!
    assert.deepEqual([ID, Service, Address, Port], ['host3:redis.0:6379', 'api', '10.0.77.17', 10_000])
    const event = `${JSON.stringify({ Type: 'container', Action: 'die', Actor: { ID: daemon.container.Id } })}\n`
    daemon.container.State.Running = false
    daemon.events?.write(event)
    await until('it is removed', () => ids().length === 0)
    daemon.container.State.Running = true
    daemon.events?.write(event)
    await until('it is back', () => ids().length === 1)
    registrator.child.kill('SIGTERM')
    assert.equal(await registrator.ended, 0)
    assert.deepEqual(ids(), ['host3:redis.0:6379'])
  })

  it('takes its services out when it stops, if told to', async () => {
    const registrator = start(['-hostname=host3', '-ip=10.0.77.17', '-deregister-on-exit', registry], {
      DOCKER_HOST: daemon.host,
    })
    await until('it watches', () => registrator.output.includes('watching engine ENGINE'))
    await until('it is registered', () => 'host3:redis.0:6379' in agent.services)
    registrator.child.kill('SIGINT')
    assert.equal(await registrator.ended, 0)
    assert.deepEqual(agent.services, {})
  })

  it('waits for a registry that is away; with -retry-attempts not for ever', async () => {
    const registrator = start(['-retry-attempts=2', '-retry-interval=10', 'consul://127.0.0.1:20'])
    assert.equal(await registrator.ended, 1)
    assert.equal(registrator.output.match(/cannot be reached/g)?.length, 3)
  })

  it('says what it was not told, or told wrongly, with the statuses of the original', async () => {
    const table: [string[], number, RegExp][] = [
      [[], 2, /expected one registry address .*got none\n\nUsage: /],
      [['consul://a', 'consul://b'], 2, /expected one registry address/],
      [['-ttl=5', '-bogus', 'consul://a'], 1, /unknown option -bogus; -ttl and -ttl-refresh must be given together/],
      [['--version'], 0, /^\d+\.\d+\.\d+\n$/],
      [['-help'], 0, /^Usage: registrator /],
    ]
    for (const [args, status, output] of table) {
      const registrator = start(args)
      assert.equal(await registrator.ended, status)
      assert.match(registrator.output, output)
    }
  })
})
