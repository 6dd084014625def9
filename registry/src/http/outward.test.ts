/** Answers on their way out, over real sockets and both ways in. */
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { SingleNode } from '../../test/api/surface.ts'
import { gzipped } from '../io/node-gzip.ts'
import { acceptsGzip, gzipBytesMin } from './outward.ts'
import { type Listening, serve } from './server.ts'

describe('Accept-Encoding', () => {
  const headers: [string | null, boolean][] = [
    [null, false],
    ['', false],
    ['gzip', true],
    ['GZIP', true],
    ['deflate, gzip;q=1.0, *;q=0.5', true],
    ['gzip;q=0.001', true],
    ['gzip;q=0', false],
    ['gzip; q=0.0', false],
    ['gzip;q=much', false],
    ['*', false],
    ['identity', false],
    ['x-gzip', false],
    ['br,,;,gzip', true],
  ]
  for (const [header, accepts] of headers)
    it(`${JSON.stringify(header)} ${accepts ? 'asks for' : 'does not ask for'} gzip`, () => {
      assert.equal(acceptsGzip(header), accepts)
    })
})

describe('answers on their way out', () => {
  let node: SingleNode
  let listening: Listening
  let compressions: number

  beforeEach(async () => {
    compressions = 0
    const gzip = (body: string | Uint8Array) => {
      compressions++
      return gzipped(body)
    }
    node = new SingleNode({ gzip, responseHeaders: { 'X-Foo': 'bar' } })
    listening = await serve(node.app, { host: '127.0.0.1', port: 0, direct: node.direct })
  })
  afterEach(() => listening.close())

  function ask(method: string, path: string, headers: Record<string, string> = {}, body?: string) {
    return new Promise<{ status: number; headers: Record<string, unknown>; body: Buffer }>((resolve, reject) => {
      const sent = request({ host: listening.host, port: listening.port, method, path, headers, agent: false })
      sent.on('error', reject)
      sent.on('response', (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        )
      })
      sent.end(body)
    })
  }
  const gzip = { 'Accept-Encoding': 'gzip' }

  it('are compressed from the threshold on, for who asks, with their length', async () => {
    for (const [bytes, compressed] of [
      [gzipBytesMin - 1, false],
      [gzipBytesMin, true],
    ] as const) {
      await ask('PUT', '/v1/kv/a', {}, 'a'.repeat(bytes))
      const answer = await ask('GET', '/v1/kv/a?raw', gzip)
      assert.equal(answer.headers['content-encoding'], compressed ? 'gzip' : undefined)
      assert.equal(answer.headers['content-length'], String(answer.body.length))
      assert.equal((compressed ? gunzipSync(answer.body) : answer.body).toString(), 'a'.repeat(bytes))
      const plain = await ask('GET', '/v1/kv/a?raw')
      assert.equal(plain.headers['content-encoding'], undefined)
      assert.equal(plain.body.length, bytes)
      assert.equal(plain.headers.vary, 'Accept-Encoding')
    }
  })

  it('are the same compressed as they are plain, through the framework too', async () => {
    for (let n = 0; n < 50; n++) {
      const service = { Node: `n${n}`, Address: '10.0.0.1', Service: { Service: 'web', Tags: ['<&>', 'grün'] } }
      await ask('PUT', '/v1/catalog/register', {}, JSON.stringify(service))
    }
    for (const path of ['/v1/catalog/nodes', '/v1/catalog/nodes?pretty', '/v1/health/service/web']) {
      const plain = await ask('GET', path)
      const small = await ask('GET', path, gzip)
      assert.equal(small.headers['content-encoding'], 'gzip')
      assert.deepEqual(gunzipSync(small.body), plain.body)
      assert.equal(small.headers['x-consul-index'], plain.headers['x-consul-index'])
      assert.ok(small.body.length < plain.body.length / 4)
    }
  })

  it('are compressed once for all who are told the same', async () => {
    await ask('PUT', '/v1/kv/a', {}, 'a'.repeat(5000))
    const index = (await ask('GET', '/v1/kv/a')).headers['x-consul-index']
    const watching = Array.from({ length: 20 }, () => ask('GET', `/v1/kv/a?index=${index}&wait=60s`, gzip))
    while (node.parked < 20) await node.advance(0)
    await ask('PUT', '/v1/kv/a', {}, 'b'.repeat(5000))
    for (const each of await Promise.all(watching)) assert.match(gunzipSync(each.body).toString(), /"Value":"YmJi/)
    assert.equal(compressions, 1)
  })

  it('go out as they are when compressing fails', async () => {
    const broken = new SingleNode({ gzip: () => Promise.reject(new Error('no memory')) })
    await broken.ask('PUT', '/v1/kv/a', 'a'.repeat(5000))
    const answer = await broken.ask('GET', '/v1/kv/a?raw', undefined, gzip)
    assert.equal(answer.text, 'a'.repeat(5000))
    assert.equal(answer.headers.get('Content-Encoding'), null)
  })

  it('carry the configured headers whatever they say, but not when nothing was routed', async () => {
    const routed: [string, string, number][] = [
      ['GET', '/v1/status/leader', 200],
      ['GET', '/v1/kv/none', 404],
      ['PUT', '/v1/kv/', 400],
      ['GET', '/v1/health/service/', 400],
      ['POST', '/v1/kv/a', 405],
      ['OPTIONS', '/v1/kv/a', 200],
      ['GET', '/v1/catalog/nodes?dc=none', 500],
    ]
    for (const [method, path, status] of routed) {
      const answer = await ask(method, path)
      assert.deepEqual(
        [answer.status, answer.headers['x-foo'], answer.headers.vary],
        [status, 'bar', 'Accept-Encoding'],
        path,
      )
    }
    for (const path of ['/v1/nope', '/v1/kv', '//v1/status/leader', '/v1/kv/%zz', '/v1/kv/%00']) {
      const answer = await ask('GET', path)
      assert.deepEqual([answer.headers['x-foo'], answer.headers.vary], [undefined, undefined], path)
    }
  })
})
