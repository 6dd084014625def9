/** The short way in answers what the long one does, byte for byte, over real sockets. */
import assert from 'node:assert/strict'
import { Agent, request } from 'node:http'
import { type Listening, serve } from '../../src/http/server.ts'
import { SingleNode } from './surface.ts'

interface Case {
  method: string
  path: string
  body?: string
  headers?: Record<string, string>
}

const cases: Case[] = [
  { method: 'PUT', path: '/v1/kv/a/b', body: 'one' },
  { method: 'PUT', path: '/v1/kv/a/b?flags=42', body: 'two' },
  { method: 'PUT', path: '/v1/kv/a/b?cas=1', body: 'three' },
  { method: 'PUT', path: '/v1/kv/a/b?cas=x', body: 'three' },
  { method: 'PUT', path: '/v1/kv/empty' },
  { method: 'PUT', path: '/v1/kv/', body: 'no key' },
  { method: 'PUT', path: '/v1/kv/much', body: 'x'.repeat(524_288) },
  { method: 'PUT', path: '/v1/kv/too/much', body: 'x'.repeat(524_289) },
  { method: 'PUT', path: '/v1/kv/chunked', body: 'in pieces', headers: { 'Transfer-Encoding': 'chunked' } },
  { method: 'PUT', path: '/v1/kv/gr%C3%BC%C3%9Fe?pretty', body: 'hello' },
  { method: 'PUT', path: '/v1/kv/a/../c', body: 'elsewhere' },
  { method: 'PUT', path: '/v1/kv/x?acquire=a&release=b', body: 'both' },
  { method: 'PUT', path: '/v1/kv/x?dc=dc9', body: 'far' },
  { method: 'GET', path: '/v1/kv/a/b' },
  { method: 'GET', path: '/v1/kv/a/b?raw' },
  { method: 'GET', path: '/v1/kv/a/b?pretty' },
  { method: 'GET', path: '/v1/kv/a/b?stale' },
  { method: 'GET', path: '/v1/kv/a/b?stale&consistent' },
  { method: 'GET', path: '/v1/kv/a/b?cached', headers: { 'Cache-Control': 'max-age=1' } },
  { method: 'GET', path: '/v1/kv/a/b?cached', headers: { 'Cache-Control': 'max-age=x' } },
  { method: 'GET', path: '/v1/kv/gr%C3%BC%C3%9Fe' },
  { method: 'GET', path: '/v1/kv/gr%' },
  { method: 'GET', path: '/v1/kv/%2E%2E/agent/self' },
  { method: 'GET', path: '/v1/kv/a?recurse' },
  { method: 'GET', path: '/v1/kv/?keys' },
  { method: 'GET', path: '/v1/kv/?keys&separator=/' },
  { method: 'GET', path: '/v1/kv/nothing' },
  { method: 'GET', path: '/v1/kv/' },
  { method: 'GET', path: '/v1/kv' },
  { method: 'GET', path: '/v1/kv/a/b', body: 'nobody reads this' },
  { method: 'POST', path: '/v1/kv/a/b', body: 'no such verb' },
  { method: 'HEAD', path: '/v1/kv/a/b' },
  { method: 'OPTIONS', path: '/v1/kv/a/b' },
  { method: 'GET', path: '/v1/health/service/consul?passing' },
  { method: 'GET', path: '/v1/health/service/consul?passing=maybe' },
  { method: 'GET', path: '/v1/health/service/consul?filter=nonsense' },
  { method: 'GET', path: '/v1/health/service/' },
  { method: 'GET', path: '/v1/catalog/service/consul' },
  { method: 'GET', path: '/v1/catalog/service/consul?tag=a&tag=b' },
  { method: 'GET', path: '/v1/catalog/service/none?dc=dc9' },
  { method: 'DELETE', path: '/v1/kv/a/b?cas=9' },
  { method: 'DELETE', path: '/v1/kv/a/b?cas=0' },
  { method: 'DELETE', path: '/v1/kv/a/b' },
  { method: 'DELETE', path: '/v1/kv/?recurse' },
  { method: 'DELETE', path: '/v1/kv/?recurse&cas=3' },
]

describe('the short way in', () => {
  const listeners: Listening[] = []
  const agents: Agent[] = []
  afterEach(async () => {
    for (const agent of agents.splice(0)) agent.destroy()
    for (const listening of listeners.splice(0)) await listening.close()
  })

  async function opened(leading: boolean, direct: boolean) {
    const node = new SingleNode({ leading })
    const listening = await serve(node.app, { host: '127.0.0.1', port: 0, ...(direct && { direct: node.direct }) })
    listeners.push(listening)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    agents.push(agent)
    return { port: listening.port, agent }
  }

  for (const leading of [true, false])
    it(`answers what the framework does ${leading ? 'with' : 'without'} a leader`, async () => {
      const long = await opened(leading, false)
      const short = await opened(leading, true)
      for (const each of cases) {
        const expected = await ask(long, each)
        assert.deepEqual(await ask(short, each), expected, `${each.method} ${each.path}`)
      }
    })
})

function ask({ port, agent }: { port: number; agent: Agent }, { method, path, body, headers = {} }: Case) {
  return new Promise<unknown>((resolve, reject) => {
    const length = headers['Transfer-Encoding'] === undefined ? { 'Content-Length': Buffer.byteLength(body ?? '') } : {}
    const sent = request({ agent, host: '127.0.0.1', port, method, path, headers: { ...length, ...headers } })
    sent.on('error', reject)
    sent.on('response', (response) => {
      const { statusCode, headers: given } = response
      const { date: _, ...rest } = given
      let text = ''
      response.setEncoding('latin1')
      response.on('data', (part: string) => {
        text += part
      })
      response.on('end', () => resolve({ statusCode, headers: rest, text }))
    })
    sent.end(body)
  })
}
