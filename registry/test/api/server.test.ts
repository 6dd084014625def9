/** The listener, over real sockets: what clients send that no library would, and how it ends. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { until } from '../../../test/until.ts'
import { type Listening, serve } from '../../src/http/server.ts'
import { SingleNode } from './surface.ts'

for (const way of ['all through the framework', 'the hot endpoints answered directly'])
  describe(`the HTTP listener, ${way}`, () => {
    let node: SingleNode
    let listening: Listening
    const sockets: Socket[] = []

    beforeEach(async () => {
      node = new SingleNode()
      listening = await serve(node.app, {
        host: '127.0.0.1',
        port: 0,
        ...(way.startsWith('the hot') && { direct: node.direct }),
      })
    })
    afterEach(async () => {
      for (const socket of sockets.splice(0)) socket.destroy()
      await listening.close()
    })

    /** Sends bytes and reads until the other side closes, or until `enough`. */
    async function raw(bytes: string | Buffer, enough = (_answer: string) => false): Promise<string> {
      const socket = connect(listening.port, listening.host)
      sockets.push(socket)
      await once(socket, 'connect')
      socket.write(bytes)
      let answer = ''
      return new Promise((resolve) => {
        socket.on('data', (chunk) => {
          answer += chunk.toString('latin1')
          if (enough(answer)) resolve(answer)
        })
        socket.on('close', () => resolve(answer))
        socket.on('error', () => {})
      })
    }

    const get = (target: string, version = 'HTTP/1.1') =>
      raw(`GET ${target} ${version}\r\nHost: x\r\nConnection: close\r\n\r\n`)

    it('spells headers as Consul does', async () => {
      const answer = await get('/v1/kv/x')
      assert.match(answer, /^HTTP\/1\.1 404 Not Found\r\n/)
      assert.match(answer, /\r\nX-Consul-Index: \d+\r\nX-Consul-Knownleader: true\r\nX-Consul-Lastcontact: 0\r\n/)
    })

    it('redirects to the clean path, with the query', async () => {
      assert.match(await get('//v1/agent/self'), /^HTTP\/1\.1 301 .*\r\nLocation: \/v1\/agent\/self\r\n/s)
      const dots = await get('/v1/kv/golden/../golden/a/b?raw')
      assert.match(dots, /\r\nLocation: \/v1\/kv\/golden\/a\/b\?raw\r\n/)
      assert.match(dots, /<a href="\/v1\/kv\/golden\/a\/b\?raw">Moved Permanently<\/a>\.\n\n$/)
      const put = await raw(
        'PUT /v1/kv//golden/lead HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx',
      )
      assert.match(put, /^HTTP\/1\.1 301 .*\r\nLocation: \/v1\/kv\/golden\/lead\r\n.*\r\n\r\n$/s)
      assert.equal(node.store.kv('golden/lead').value, undefined)
    })

    const odd: [request: string, status: number][] = [
      ['GET /v1/kv/%zz HTTP/1.1\r\nHost: x\r\n', 400],
      ['GET /v1/kv/%00 HTTP/1.1\r\nHost: x\r\n', 400],
      // Consul knows no such key; the framework makes no URL of it.
      ['GET /v1/kv/a\\b HTTP/1.1\r\nHost: x\r\n', way.startsWith('all') ? 400 : 404],
      ['GET /v1/kv/x HTTP/1.1\r\nHost: bad host\r\n', 400],
      ['GET /v1/kv/x HTTP/1.1\r\nHost: HOST_1.node.consul:8500\r\n', 404],
      ['GET /v1/kv/x HTTP/1.0\r\n', 404],
      ['GET /v1/status/leader HTTP/1.1\r\nHost: bad host\r\n', 400],
      ['GET /v1/status/leader HTTP/1.1\r\nHost: [::1]:8500\r\n', 200],
      ['GET /v1/status/leader HTTP/1.1\r\nHost: HOST_1.node.consul:8500\r\n', 200],
      ['GET /v1/status/leader HTTP/1.0\r\n', 200],
      ['OPTIONS /v1/kv/x HTTP/1.0\r\n', 200],
      ['GET /v1/status/leader HTTP/1.1\r\n', 400],
      ['GET http://elsewhere/v1/status/leader HTTP/1.1\r\nHost: x\r\n', 200],
      ['GET * HTTP/1.1\r\nHost: x\r\n', 400],
      ['BREW /v1/kv/x HTTP/1.1\r\nHost: x\r\n', 400],
      ['TRACE /v1/kv/x HTTP/1.1\r\nHost: x\r\n', 405],
      ['PROPFIND /v1/kv/x HTTP/1.1\r\nHost: x\r\n', 405],
      ['HEAD /v1/kv/x HTTP/1.1\r\nHost: x\r\n', 405],
      ['GET /v1/kv/x HTTP/1.1\r\nHost: x\r\nno colon\r\n', 400],
      [`GET /v1/kv/${'k'.repeat(40_000)} HTTP/1.1\r\nHost: x\r\n`, 404],
      [`GET /v1/kv/x HTTP/1.1\r\nHost: x\r\nX-Long: ${'v'.repeat(80_000)}\r\n`, 431],
      ['PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n', 400],
      ['PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n', 400],
      ['PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n', 413],
      ['GET /v1/kv/\u00e9 HTTP/1.1\r\nHost: x\r\n', 400],
      ['PUT /v1/agent/check/register HTTP/1.1\r\nHost: x\r\n', 400],
    ]
    for (const [request, status] of odd) {
      it(`answers ${status} to ${JSON.stringify(request.slice(0, 60))}`, async () => {
        const answer = await raw(`${request}Connection: close\r\n\r\n`)
        assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `))
        assert.equal((await get('/v1/status/leader')).slice(0, 12), 'HTTP/1.1 200')
        assert.deepEqual(node.logged, [])
      })
    }

    it('refuses 600 KB in one piece or in chunks, stores none of it and keeps serving', async () => {
      const body = 'a'.repeat(600_000)
      const head = 'PUT /v1/kv/big HTTP/1.1\r\nHost: x\r\n'
      const whole = await raw(`${head}Content-Length: ${body.length}\r\n\r\n${body}`)
      assert.match(whole, /^HTTP\/1\.1 413 .*\r\nConnection: close\r\n/s)
      assert.match(whole, /Request body\(600000 bytes\) too large, max size: 524288 bytes\. See https/)
      const chunked = await raw(
        `${head}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
      )
      assert.match(chunked, /^HTTP\/1\.1 413 /)
      assert.equal(node.store.kv('big').value, undefined)
      const largest = 'b'.repeat(524_288)
      const most = await raw(`${head}Content-Length: ${largest.length}\r\nConnection: close\r\n\r\n${largest}`)
      assert.match(most, /\r\n\r\ntrue$/)
    })

    it('answers before an endless body has ended', async () => {
      const socket = connect(listening.port, listening.host)
      sockets.push(socket)
      socket.on('error', () => {})
      socket.write('PUT /v1/kv/big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
      const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
      for (let n = 0; n < 9; n++) socket.write(chunk)
      const [answer] = await once(socket, 'data')
      assert.match(String(answer), /^HTTP\/1\.1 413 .*Request body\(at least \d+ bytes\)/s)
    })

    it('forgets a client that goes away while it waits, and one that breaks off its body', async () => {
      await node.ask('PUT', '/v1/kv/a', '1')
      const socket = connect(listening.port, listening.host)
      socket.on('error', () => {})
      socket.write(`GET /v1/kv/a?index=${node.index}&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n`)
      await until('the parked queries', () => node.parked === 1)
      socket.destroy()
      await until('the parked queries', () => node.parked === 0)
      const sender = connect(listening.port, listening.host)
      sender.on('error', () => {})
      sender.write('PUT /v1/kv/b HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345')
      await get('/v1/status/leader')
      sender.destroy()
      await get('/v1/status/leader')
      assert.equal(node.store.kv('b').value, undefined)
      assert.deepEqual(node.logged, [])
    })

    it('answers several requests on one connection, pipelined, in order', async () => {
      const request = (key: string) => `PUT /v1/kv/${key} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n${key}`
      const last = 'GET /v1/kv/?keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
      const answer = await raw(`${request('a')}${request('b')}${last}`)
      assert.equal(answer.match(/HTTP\/1\.1 200/g)?.length, 3)
      assert.match(answer, /\["a","b"\]$/)
    })

    it('does not begin a pipelined request of a client that is gone', async () => {
      await node.ask('PUT', '/v1/kv/a', '1')
      const wait = `GET /v1/kv/a?index=${node.index}&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n`
      const socket = connect(listening.port, listening.host)
      socket.on('error', () => {})
      socket.write(`${wait}${wait}PUT /v1/kv/late HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1`)
      await until('the parked queries', () => node.parked === 1)
      socket.destroy()
      await until('the parked queries', () => node.parked === 0)
      await get('/v1/status/leader')
      assert.equal(node.parked, 0)
      assert.equal(node.store.kv('late').value, undefined)
    })

    it('answers what came whole before it refuses what follows', async () => {
      const put = 'PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1'
      const answer = await raw(`${put}nonsense`)
      assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 400'])
      assert.equal(node.store.kv('a').value?.value, 'MQ==')
      const broken = await raw(`${put}PUT /v1/kv/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`)
      assert.deepEqual(broken.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 400'])
      assert.equal(node.store.kv('b').value, undefined)
    })

    it('stops with long polls parked and connections idle', async () => {
      await node.ask('PUT', '/v1/kv/a', '1')
      const idle = raw('GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n')
      const parked = raw(`GET /v1/kv/a?index=${node.index}&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n`)
      await until('the parked queries', () => node.parked === 1)
      await listening.close()
      await Promise.all([idle, parked])
      await until('the parked queries', () => node.parked === 0)
      listening = await serve(node.app, { host: '127.0.0.1', port: listening.port })
    })

    it('names address, port and option when the port is taken', async () => {
      await assert.rejects(serve(node.app, { host: '127.0.0.1', port: listening.port }), {
        message: `cannot listen on 127.0.0.1:${listening.port}: the port is taken; stop who has it or choose another with -http-port`,
      })
      await assert.rejects(
        serve(node.app, { host: '127.0.0.1', port: listening.port, flag: '-rpc-port' }),
        /-rpc-port$/,
      )
      await assert.rejects(serve(node.app, { host: '192.0.2.1', port: 0 }), /does not have that address/)
    })

    it('listens on IPv6 too', async () => {
      const six = await serve(node.app, { host: '::1', port: 0 })
      try {
        assert.equal(six.host, '::1')
        const answer = await fetch(`http://[::1]:${six.port}/v1/status/leader`)
        assert.equal(await answer.text(), '"127.0.0.1:18300"')
      } finally {
        await six.close()
      }
    })
  })
