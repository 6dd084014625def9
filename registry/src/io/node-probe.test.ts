import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import type { ProbeRequest } from './io.ts'
import { probe as probeWith } from './node-probe.ts'
import { Programs } from './node-program.ts'

const probe = (request: ProbeRequest) => probeWith(request, new Programs())

describe('a probe', () => {
  let server: Server
  let port: number
  let answer: (request: IncomingMessage, response: ServerResponse, body: string) => void

  before(async () => {
    server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk) => {
        body += chunk
      })
      request.on('end', () => answer(request, response, body))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
  })
  after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  const url = (path = '/') => `http://127.0.0.1:${port}${path}`
  const ask = (changes: Partial<Extract<ProbeRequest, { kind: 'http' }>> = {}) =>
    probe({
      kind: 'http',
      url: url(),
      method: '',
      headers: {},
      body: '',
      tlsSkipVerify: false,
      timeout: 5000,
      outputMax: 4096,
      ...changes,
    })
  const status = (code: number, body = '') => {
    answer = (_request, response) => response.writeHead(code).end(body)
  }

  it('that may not follow redirects takes the first answer for the outcome', async () => {
    answer = (_request, response) => response.writeHead(302, { location: url('/other') }).end()
    const { status: verdict, output } = await ask({ disableRedirects: true })
    assert.deepEqual([verdict, output], ['critical', `HTTP GET ${url()}: 302 Found Output: `])
  })

  it('asks as Consul asks', async () => {
    let seen: IncomingMessage | undefined
    answer = (request, response) => {
      seen = request
      response.end('fine')
    }
    assert.deepEqual(await ask(), { status: 'passing', output: `HTTP GET ${url()}: 200 OK Output: fine` })
    assert.equal(seen?.method, 'GET')
    assert.equal(seen?.headers['user-agent'], 'Consul Health Check')
    assert.equal(seen?.headers.accept, 'text/plain, text/*, */*')
    assert.equal(seen?.headers.connection, 'close')
  })

  for (const [code, verdict] of [
    [200, 'passing'],
    [204, 'passing'],
    [299, 'passing'],
    [304, 'critical'],
    [404, 'critical'],
    [429, 'warning'],
    [500, 'critical'],
  ] as const) {
    it(`takes ${code} for ${verdict}`, async () => {
      status(code)
      assert.equal((await ask()).status, verdict)
    })
  }

  it('sends method, headers and body', async () => {
    answer = (request, response, body) =>
      response.end(`${request.method} ${request.headers['x-key']} ${request.headers['user-agent']} ${body}`)
    const outcome = await ask({ method: 'put', headers: { 'X-Key': ['a', 'b'], 'User-Agent': ['me'] }, body: 'data' })
    assert.equal(outcome.output, `HTTP PUT ${url()}: 200 OK Output: PUT a, b me data`)
  })

  it('keeps the end of a long body', async () => {
    status(200, `${'x'.repeat(300_000)}the end`)
    const { output } = await ask({ outputMax: 10 })
    assert.equal(output, `HTTP GET ${url()}: 200 OK Output: xxxthe end`)
  })

  it('follows redirects, but not for ever', async () => {
    answer = (request, response) => {
      if (request.url === '/here') response.end(request.method)
      else
        response.writeHead(request.url === '/' ? 302 : 307, { location: request.url === '/' ? '/here' : '/loop' }).end()
    }
    assert.equal((await ask({ method: 'POST', body: 'x' })).output, `HTTP POST ${url()}: 200 OK Output: GET`)
    const outcome = await ask({ url: url('/loop') })
    assert.deepEqual(outcome, { status: 'critical', output: `Get "${url('/loop')}": stopped after 10 redirects` })
  })

  it('is critical in the words of Go when nobody listens, the name is unknown, or the time is over', async () => {
    const free = createTcpServer()
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve))
    const closed = (free.address() as AddressInfo).port
    await new Promise((resolve) => free.close(resolve))
    assert.deepEqual(await ask({ url: `http://127.0.0.1:${closed}/x` }), {
      status: 'critical',
      output: `Get "http://127.0.0.1:${closed}/x": dial tcp 127.0.0.1:${closed}: connect: connection refused`,
    })
    assert.deepEqual(await probe({ kind: 'tcp', target: `127.0.0.1:${closed}`, timeout: 5000 }), {
      status: 'critical',
      output: `dial tcp 127.0.0.1:${closed}: connect: connection refused`,
    })
    answer = () => {}
    assert.deepEqual(await ask({ timeout: 50 }), {
      status: 'critical',
      output: `Get "${url()}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
    })
    answer = (_request, response) => response.write('begun')
    assert.match((await ask({ timeout: 50 })).output, /Client\.Timeout exceeded while reading body/)
    answer = (request) => request.socket.destroy()
    assert.equal((await ask()).status, 'critical')
  })

  it('never rejects, whatever it is asked', async () => {
    for (const wrong of ['', 'nonsense', 'ftp://127.0.0.1/', 'http://', 'http://127.0.0.1:99999/']) {
      assert.equal((await ask({ url: wrong })).status, 'critical', wrong)
    }
    assert.equal((await ask({ headers: { 'bad header': ['x'] } })).status, 'critical')
    for (const target of ['', 'nowhere', '127.0.0.1:99999', '[::']) {
      assert.equal((await probe({ kind: 'tcp', target, timeout: 1000 })).status, 'critical', target)
    }
  })

  it('connects by TCP', async () => {
    assert.deepEqual(await probe({ kind: 'tcp', target: `127.0.0.1:${port}`, timeout: 5000 }), {
      status: 'passing',
      output: `TCP connect 127.0.0.1:${port}: Success`,
    })
  })
})
