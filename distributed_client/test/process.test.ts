/** The program as its user starts it, against a registry and a DNS server on this machine. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { fileURLToPath } from 'node:url'
import { type ServerType, serve } from '@hono/node-server'
import packet from 'dns-packet'
import { Client } from 'registry/client'
import { AgentDouble } from '../../test/double/agent.ts'
import { until } from '../../test/until.ts'

const program = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const nothing = 'There are no distributed applications registered in Consul'
const found = [
  'Application distributed_app with element server1 on port 2001 found on node host1 (10.0.77.22).',
  'We can also resolve DNS - distributed_app resolves to 10.0.77.22.',
]

describe('the client as a process', () => {
  const agent = new AgentDouble()
  const client = new Client({ base: 'http://agent', fetch: agent.fetch })
  let server: ServerType | undefined
  let port = 0
  let dns: Socket
  let child: ChildProcess
  let output = ''

  const listen = async () => {
    server = serve({ fetch: agent.app.fetch, port, hostname: '127.0.0.1' })
    await new Promise<void>((resolve) => server?.once('listening', resolve))
    port = (server.address() as { port: number }).port
  }
  const goAway = () =>
    new Promise<unknown>((resolve) => {
      server?.close(resolve)
      ;(server as { closeAllConnections?: () => void }).closeAllConnections?.()
    })
  const start = (...more: string[]) => {
    output = ''
    const where = ['--registry', `http://127.0.0.1:${port}`, '--dns', `127.0.0.1:${dns.address().port}`]
    child = spawn(process.execPath, [program, ...where, ...more])
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    return new Promise<number | null>((resolve) => child.on('close', resolve))
  }
  /** What is printed from now on. */
  const saysNow = async (line: string) => {
    const from = output.length
    await until(line, () =>
      output
        .slice(from)
        .split('\n')
        .some((one) => one.startsWith(line)),
    )
  }
  const register = () => client.agent.registerService({ ID: 'server1', Name: 'distributed_app', Port: 2001 })

  before(async () => {
    dns = createSocket('udp4')
    dns.on('message', (bytes, from) => {
      const query = packet.decode(bytes)
      const name = query.questions?.[0]?.name ?? ''
      const known = name === 'distributed_app.service.consul' && 'server1' in agent.services
      dns.send(
        packet.encode({
          type: 'response',
          id: query.id ?? 0,
          flags: packet.RECURSION_AVAILABLE | (known ? 0 : 3),
          questions: query.questions ?? [],
          answers: known ? [{ type: 'A', name, ttl: 0, data: agent.address }] : [],
        }),
        from.port,
        from.address,
      )
    })
    await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve))
    await listen()
  })
  beforeEach(() => agent.forget())
  after(async () => {
    child.kill('SIGKILL')
    dns.close()
    await goAway()
  })

  it('--once prints one report and ends', async () => {
    assert.equal(await start('--once'), 0)
    assert.equal(output, `${nothing}\n`)
    await register()
    assert.equal(await start('--once'), 0)
    assert.equal(output, `${found.join('\n')}\n`)
  })

  it('--json prints the same as one object', async () => {
    await register()
    await start('--once', '--json')
    assert.deepEqual(JSON.parse(output), {
      service: 'distributed_app',
      instances: [{ node: 'host1', address: '10.0.77.22', id: 'server1', port: 2001 }],
      addresses: ['10.0.77.22'],
    })
  })

  it('follows what is registered, and a registry that goes and comes back', async () => {
    const ended = start('--interval', '50ms')
    await saysNow(nothing)
    await register()
    await saysNow(found[0] as string)
    await goAway()
    await saysNow('The registry cannot be reached, trying again: ')
    await listen()
    await saysNow(found[0] as string)
    await client.agent.deregisterService('server1')
    await saysNow(nothing)
    child.kill('SIGTERM')
    assert.equal(await ended, 0)
  })

  it('--once ends with 1 when the registry cannot be reached', async () => {
    await goAway()
    try {
      assert.equal(await start('--once'), 1)
      assert.match(output, /^The registry cannot be reached: http:\/\/127\.0\.0\.1:\d+ cannot be reached: /)
    } finally {
      await listen()
    }
  })

  it('ends when nobody reads it any more', async () => {
    await register()
    const ended = start('--interval', '10ms')
    await saysNow(found[0] as string)
    child.stdout?.destroy()
    child.stderr?.destroy()
    assert.equal(await ended, 0)
  })

  it('says every mistake in its options at once', async () => {
    assert.equal(await start('--interval', '-1s', 'word'), 1)
    assert.match(output, /^distributed_client: .*--interval needs a value|unexpected argument "word"/)
  })
})
