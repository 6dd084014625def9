/** What the listener bears: clients that send slowly, half, too much or too often, over real sockets. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { memoryUsage } from 'node:process'
import { until } from '../../../test/until.ts'
import { Connections } from '../../src/http/connections.ts'
import { type Listening, type ServeOptions, serve } from '../../src/http/server.ts'
import { SingleNode } from './surface.ts'

describe('the HTTP listener bears', () => {
  let node: SingleNode
  let listening: Listening
  const sockets: Socket[] = []

  async function open(options: Partial<ServeOptions> = {}): Promise<void> {
    node = new SingleNode()
    listening = await serve(node.app, { host: '127.0.0.1', port: 0, direct: node.direct, ...options })
  }
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await listening.close()
  })

  function dial(localAddress = '127.0.0.1', allowHalfOpen = false): Socket {
    const socket = connect({ host: listening.host, port: listening.port, localAddress, allowHalfOpen })
    socket.on('error', () => {})
    sockets.push(socket)
    return socket
  }
  /** All that comes until the other side closes. */
  async function all(socket: Socket): Promise<string> {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    await new Promise((closed) => socket.on('close', closed))
    return text
  }
  const head = (line: string, ...headers: string[]) => `${[line, 'Host: x', ...headers].join('\r\n')}\r\n\r\n`

  for (const [name, path] of [
    ['directly', '/v1/kv/a'],
    ['through the framework', '/v1/catalog/register'],
  ] as const)
    it(`a client that sends no more after its change: it is done and answered, ${name}`, async () => {
      await open()
      const body = path.endsWith('register') ? '{"Node":"n","Address":"10.0.0.1"}' : 'x'
      const socket = dial('127.0.0.1', true)
      const answer = all(socket)
      socket.end(head(`PUT ${path} HTTP/1.1`, `Content-Length: ${body.length}`) + body)
      assert.match(await answer, /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\ntrue$/s)
    })

  it('a client that sends no more after a read, and after two requests at once', async () => {
    await open()
    const reading = dial('127.0.0.1', true)
    const read = all(reading)
    reading.end(head('GET /v1/status/leader HTTP/1.1'))
    assert.match(await read, /^HTTP\/1\.1 200 OK\r\n.*"127\.0\.0\.1:18300"$/s)
    const both = dial('127.0.0.1', true)
    const answers = all(both)
    both.end(`${head('PUT /v1/kv/a HTTP/1.1', 'Content-Length: 1')}1${head('GET /v1/kv/a?raw HTTP/1.1')}`)
    assert.match(await answers, /\r\n\r\ntrueHTTP\/1\.1 200 OK\r\n.*\r\n\r\n1$/s)
  })

  for (const path of ['/v1/kv/a?', '/v1/catalog/nodes?'])
    it(`a client that leaves while ${path} waits: it is forgotten`, async () => {
      await open()
      await node.ask('PUT', '/v1/kv/a', '1')
      const socket = dial('127.0.0.1', true)
      const answer = all(socket)
      socket.write(head(`GET ${path}index=${node.index}&wait=60s HTTP/1.1`))
      await until('the parked queries', () => node.parked === 1)
      socket.end()
      await until('the parked queries', () => node.parked === 0)
      assert.equal(await answer, '')
    })

  it('headers that never end, and bodies that never come: 408 and the end, while long polls wait on', async () => {
    await open({ patience: { headers: 150, request: 300, every: 20 } })
    await node.ask('PUT', '/v1/kv/a', '1')
    const polling = dial()
    const polled = all(polling)
    polling.write(head(`GET /v1/kv/a?index=${node.index}&wait=60s HTTP/1.1`, 'Connection: close'))
    await until('the parked queries', () => node.parked === 1)
    const slow = ['', 'GET /v1/kv/a HT', 'GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-A: '].map((begun) => {
      const socket = dial()
      socket.write(begun)
      return all(socket)
    })
    for (const answer of await Promise.all(slow)) assert.match(answer, /^(HTTP\/1\.1 408 Request Timeout\r\n.*)?$/s)
    const half = dial()
    const halved = all(half)
    half.write(`${head('PUT /v1/kv/b HTTP/1.1', 'Content-Length: 10')}12345`)
    assert.match(await halved, /^HTTP\/1\.1 408 Request Timeout\r\n/)
    assert.equal(node.store.kv('b').value, undefined)
    assert.equal(node.parked, 1, 'waiting for an answer is no slowness')
    await node.ask('PUT', '/v1/kv/a', '2')
    assert.match(await polled, /^HTTP\/1\.1 200 OK\r\n/)
    assert.deepEqual(node.logged, [])
  })

  it('a body of a gigabyte: refused before it is read, and not asked for by 100-continue', async () => {
    await open()
    for (const path of ['/v1/kv/a', '/v1/txn', '/v1/catalog/register', '/v1/agent/service/register']) {
      const asking = dial()
      const refused = all(asking)
      asking.write(head(`PUT ${path} HTTP/1.1`, 'Content-Length: 1073741824', 'Expect: 100-continue'))
      assert.match(await refused, /^HTTP\/1\.1 413 Payload Too Large\r\n/, path)
      const pushing = dial()
      const pushed = all(pushing)
      pushing.write(head(`PUT ${path} HTTP/1.1`, 'Content-Length: 1073741824'))
      const megabyte = Buffer.alloc(1 << 20, 'x')
      const push = () => {
        while (pushing.writable && pushing.write(megabyte));
      }
      pushing.on('drain', push)
      push()
      assert.match(await pushed, /^HTTP\/1\.1 413 /, path)
      assert.ok(pushing.bytesWritten < 256 << 20, `${path}: ${pushing.bytesWritten} bytes were taken`)
    }
    const small = dial()
    const done = all(small)
    small.write(head('PUT /v1/kv/a HTTP/1.1', 'Content-Length: 1', 'Expect: 100-continue', 'Connection: close'))
    await once(small, 'data')
    small.write('x')
    assert.match(await done, /\r\n\r\ntrue$/)
  })

  it('a host with any port, the same on both ways in', async () => {
    await open()
    for (const path of ['/v1/kv/none', '/v1/catalog/node/none']) {
      for (const host of ['a:99999', 'a:', '[::1]:99999', 'a:b']) {
        const socket = dial()
        const answer = all(socket)
        socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
        assert.match(await answer, /^HTTP\/1\.1 (404|200) /, `${path} at ${host}`)
      }
    }
  })

  it('a client with more connections than it may have: what is more is closed, others are served', async () => {
    const warned: string[] = []
    await open({ connections: new Connections(3, (level, _area, message) => warned.push(`${level} ${message}`)) })
    const answered = async (socket: Socket) => {
      socket.write(head('GET /v1/status/leader HTTP/1.1'))
      return String((await once(socket, 'data'))[0])
    }
    const first = [dial(), dial(), dial()]
    for (const socket of first) assert.match(await answered(socket), /^HTTP\/1\.1 200 /)
    assert.equal(await all(dial()), '')
    assert.equal(await all(dial()), '')
    assert.match(await answered(dial('127.0.0.2')), /^HTTP\/1\.1 200 /)
    assert.equal(warned.length, 1)
    first[0]?.destroy()
    await until('a place', async () => {
      const socket = dial()
      const answer = await Promise.race([answered(socket), all(socket)])
      return answer.startsWith('HTTP/1.1 200 ')
    })
  })

  const idle = Number(process.env.IDLE ?? 300)
  it(`${idle} idle connections, and answers in between`, async () => {
    await open()
    let answers = 0
    for (let n = 0; n < idle; n++) {
      // As from many hosts: one has no more than 28,000 ports.
      const socket = dial(`127.0.${Math.floor(n / 1000)}.${1 + (n % 200)}`)
      socket.on('data', () => answers++)
      socket.write(head('GET /v1/status/leader HTTP/1.1'))
      if (n % 100 === 99) await until('answers', () => answers === n + 1)
    }
    await until('answers', () => answers === idle)
    assert.equal(sockets.filter(({ destroyed }) => !destroyed).length, idle)
    sockets[0]?.write(head('GET /v1/status/leader HTTP/1.1'))
    await until('another answer', () => answers === idle + 1)
    if (idle > 1000) console.log(`      ${Math.round(memoryUsage.rss() / 2 ** 20)} MiB resident with both ends of them`)
  })
})
