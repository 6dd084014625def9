import assert from 'node:assert/strict'
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { probe } from './node-probe.ts'
import { Programs } from './node-program.ts'

describe('a gRPC check', () => {
  let server: Http2Server
  let port: number
  let answer: (stream: ServerHttp2Stream, body: Buffer, headers: Record<string, unknown>) => void
  before(async () => {
    server = createServer()
    server.on('stream', (stream, headers) => {
      const chunks: Buffer[] = []
      stream.on('error', () => {})
      stream.on('data', (bytes: Buffer) => chunks.push(bytes))
      stream.on('end', () => answer(stream, Buffer.concat(chunks), headers))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
  })
  after(() => server.close())

  const ask = (target = `127.0.0.1:${port}`, timeout = 5_000) =>
    probe({ kind: 'grpc', target, tls: false, tlsSkipVerify: false, timeout }, new Programs())
  const reply = (message: number[], trailers: Record<string, string>) => {
    answer = (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers(trailers))
      stream.end(Buffer.from([0, 0, 0, 0, message.length, ...message]))
    }
  }

  it('is passing when the service is serving, and asks for the one behind the slash', async () => {
    let asked: [unknown, string] | undefined
    reply([8, 1], { 'grpc-status': '0' })
    const answers = answer
    answer = (stream, body, headers) => {
      asked = [headers[':path'], body.toString('hex')]
      answers(stream, body, headers)
    }
    const target = `127.0.0.1:${port}/web`
    assert.deepEqual(await ask(target), { status: 'passing', output: `gRPC check ${target}: success` })
    assert.deepEqual(asked, ['/grpc.health.v1.Health/Check', '00000000050a03776562'])
  })

  it('is critical when the service says that it is not serving, or does not know', async () => {
    for (const message of [[8, 2], [8, 3], []]) {
      reply(message, { 'grpc-status': '0' })
      const output = "gRPC application didn't report service healthy"
      assert.deepEqual(await ask(), { status: 'critical', output })
    }
  })

  it('is critical with what the server says is wrong', async () => {
    answer = (stream) => {
      const trailers = { 'grpc-status': '5', 'grpc-message': 'unknown%20service' }
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...trailers }, { endStream: true })
    }
    const output = 'rpc error: code = NotFound desc = unknown service'
    assert.deepEqual(await ask(), { status: 'critical', output })
  })

  it('is critical when nobody listens, when nobody answers, and when it is no gRPC', async () => {
    const { status, output } = await ask('127.0.0.1:1')
    assert.equal(status, 'critical')
    assert.match(
      output,
      /^rpc error: code = Unavailable desc = .*dial tcp 127\.0\.0\.1:1: connect: connection refused"$/,
    )
    answer = () => {}
    const silent = 'rpc error: code = DeadlineExceeded desc = context deadline exceeded'
    assert.deepEqual(await ask(undefined, 300), { status: 'critical', output: silent })
    answer = (stream) => stream.respond({ ':status': 404 }, { endStream: true })
    const other = 'rpc error: code = Unknown desc = unexpected HTTP status code 404'
    assert.deepEqual(await ask(), { status: 'critical', output: other })
  })
})
