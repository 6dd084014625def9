/** `?dc=`: what is sent to another datacenter, what is not, and what becomes of the answer. */
import assert from 'node:assert/strict'
import type { ElsewhereSurface, Travelling } from '../../src/agent/elsewhere.ts'
import { Busy, DatacenterLost, LeadershipLost, NoPath, Stopped } from '../../src/errors.ts'
import { travelAnswer } from '../../src/http/app.ts'
import { SingleNode } from './surface.ts'

const place = { id: '38502396-82fb-bb58-6aeb-e90dac4376ea', name: 'golden2', host: '127.0.0.41', port: 8300 }

/** A node of dc1 that reaches dc2, and what it sent there. */
function two(http?: ElsewhereSurface['http']) {
  const other = new SingleNode({ place: { ...place, datacenter: 'dc2' } })
  const answer = travelAnswer(other.surface, other.options)
  const sent: { request: Travelling; waits: number }[] = []
  const remote: Partial<ElsewhereSurface> = {
    knows: (datacenter) => datacenter === 'dc2',
    http: (datacenter, request, waits, abandoned = new AbortController().signal) => {
      sent.push({ request, waits })
      return http === undefined ? answer(request, abandoned) : http(datacenter, request, waits, abandoned)
    },
  }
  return { node: new SingleNode({ remote }), other, answer, sent }
}

const travelling = (request: Partial<Travelling>): Travelling => ({
  method: 'GET',
  path: '/v1/kv/x',
  query: '',
  headers: {},
  body: new Uint8Array(),
  pretty: false,
  node: 'golden',
  ...request,
})

describe('?dc=', () => {
  it('is left behind, and all else travels: path, query, body, token and who asked', async () => {
    const { node, sent, other } = two()
    const body = '{"a": 1}'
    const answer = await node.ask('PUT', '/v1/kv/a%2Fb%25c?dc=dc2&flags=7', body, { 'X-Consul-Token': 'secret' })
    assert.equal(answer.text, 'true')
    const { request } = sent[0]!
    assert.deepEqual(
      [request.method, request.path, request.query, Buffer.from(request.body).toString(), request.node],
      ['PUT', '/v1/kv/a/b%c', 'flags=7', body, 'golden'],
    )
    assert.equal(request.headers['x-consul-token'], 'secret')
    assert.equal(other.store.kv('a/b%c').value?.flags, '7')
    assert.equal(node.store.kv('a/b%c').value, undefined)
  })

  it('that is empty, or ours, is for this node', async () => {
    const { node, sent } = two()
    for (const dc of ['', 'dc1']) assert.equal((await node.ask('GET', `/v1/catalog/nodes?dc=${dc}`)).status, 200)
    assert.equal(sent.length, 0)
  })

  it('says nothing to the agent itself, nor where all datacenters are meant', async () => {
    const { node, sent } = two()
    for (const path of ['/v1/agent/self', '/v1/agent/members', '/v1/agent/services', '/v1/catalog/datacenters']) {
      assert.equal((await node.ask('GET', `${path}?dc=dc2`)).status, 200, path)
      assert.equal((await node.ask('GET', `${path}?dc=dc9`)).status, 200, path)
    }
    assert.equal(sent.length, 0)
  })

  it('of a hot request is seen on the short way in, too', async () => {
    const { node, sent } = two()
    const asked = {
      header: () => null,
      signal: new AbortController().signal,
      content: async () => new Uint8Array(),
    }
    const answer = await node.direct('GET', '/v1/health/service/consul?dc=dc2', () => asked)
    assert.match(Buffer.from(answer!.body).toString(), /"Node":"golden2"/)
    assert.equal(answer!.headers['X-Consul-Effective-Consistency'], 'leader')
    assert.equal(sent.length, 1)
  })

  it('of a registration is what its body says, and else the query', async () => {
    const { node, other } = two()
    const register = (query: string, datacenter: string | undefined, name: string) =>
      node.ask(
        'PUT',
        `/v1/catalog/register${query}`,
        JSON.stringify({ Datacenter: datacenter, Node: name, Address: '10.0.0.1' }),
      )
    assert.equal((await register('', 'dc2', 'n1')).text, 'true')
    assert.equal((await register('?dc=dc2', undefined, 'n2')).text, 'true')
    assert.equal((await register('?dc=dc2', 'dc1', 'n3')).text, 'true')
    assert.equal((await register('?dc=dc9', 'dc2', 'n4')).text, 'true')
    assert.deepEqual(await register('', 'dc9', 'n5').then(({ status, text }) => [status, text]), [
      500,
      'No path to datacenter',
    ])
    const names = (each: SingleNode) => each.store.nodes().value.map(({ name }) => name)
    assert.deepEqual(names(node), ['golden', 'n3'])
    assert.deepEqual(names(other), ['golden2', 'n1', 'n2', 'n4'])
    await node.ask('PUT', '/v1/catalog/deregister', JSON.stringify({ Datacenter: 'dc2', Node: 'n1' }))
    assert.deepEqual(names(other), ['golden2', 'n2', 'n4'])
  })

  it('a session there is not begun at the agent that happens to answer', async () => {
    const { node, other } = two()
    const refused = await node.ask('PUT', '/v1/session/create?dc=dc2', '{}')
    assert.deepEqual([refused.status, refused.text], [500, 'Missing node registration'])
    const begun = await node.ask('PUT', '/v1/session/create?dc=dc2', '{"Node":"golden2","NodeChecks":[]}')
    assert.equal(begun.status, 200)
    assert.equal(other.store.sessions().value[0]?.id, begun.json().ID)
  })

  it('an event is fired there, and those of this agent are its own', async () => {
    const { node, other } = two()
    const fired = await node.ask('PUT', '/v1/event/fire/g-x?dc=dc2', 'p')
    assert.deepEqual(
      { ...fired.json(), ID: '' },
      {
        ID: '',
        Name: 'g-x',
        Payload: 'cA==',
        NodeFilter: '',
        ServiceFilter: '',
        TagFilter: '',
        Version: 1,
        LTime: 0,
      },
    )
    assert.equal((await other.ask('GET', '/v1/event/list')).json().length, 1)
    assert.equal((await node.ask('GET', '/v1/event/list?dc=dc2')).json().length, 0)
  })

  it('the distance of this agent is not measured there', async () => {
    const { node, sent } = two()
    await node.ask('GET', '/v1/catalog/nodes?dc=dc2&near=_agent')
    await node.ask('GET', '/v1/catalog/nodes?dc=dc2&near=golden2')
    assert.deepEqual(
      sent.map(({ request }) => request.query),
      ['', 'near=golden2'],
    )
  })

  it('a blocking query waits there as long as it says, and wakes', async () => {
    const { node, other, sent } = two()
    const { index } = other.store.kv('x')
    const waiting = node.ask('GET', `/v1/kv/x?dc=dc2&raw&wait=16s&index=${Math.max(1, index)}`)
    await other.advance(100)
    assert.equal(other.parked, 1)
    assert.equal(sent[0]?.waits, 17_000)
    await other.ask('PUT', '/v1/kv/x', 'now')
    assert.equal((await waiting).text, 'now')
    assert.equal(other.parked, 0)
  })

  it('an abandoned blocking query ends there', async () => {
    const { node, other } = two()
    const client = new AbortController()
    const waiting = node.app.request('/v1/kv/x?dc=dc2&wait=60s&index=1', { signal: client.signal })
    await other.advance(100)
    assert.equal(other.parked, 1)
    client.abort()
    await waiting
    await other.advance(0)
    assert.equal(other.parked, 0)
  })

  it('a blocking query there is not answered by an agent that stops: another may be asked', async () => {
    const { answer } = two()
    const stopping = new AbortController()
    const waiting = answer(travelling({ query: 'index=99999&stale&wait=60s' }), stopping.signal)
    stopping.abort(new Stopped())
    await assert.rejects(waiting, Stopped)
  })

  it('several lines are as the agent that was asked is told', async () => {
    const { node } = two()
    assert.match((await node.ask('GET', '/v1/catalog/nodes?dc=dc2&pretty')).text, /^\[\n {4}\{\n/)
  })

  it('what is wrong with a request is said wherever it is found', async () => {
    const { node } = two()
    const said = async (method: string, path: string, body?: string) => {
      const { status, text } = await node.ask(method, path, body)
      return `${status} ${text}`
    }
    assert.equal(await said('GET', '/v1/kv/x?dc=dc2&index=abc'), '400 Invalid index')
    assert.equal(await said('GET', '/v1/kv/x?dc=dc9&index=abc'), '400 Invalid index')
    for (const dc of ['', 'dc2']) {
      const { status, headers } = await node.ask('GET', `/v1/catalog/nodes?wait=abc&dc=${dc}`)
      assert.deepEqual([status, headers.get('X-Consul-Index')], [400, null], dc)
    }
    assert.equal(await said('PUT', '/v1/kv/?dc=dc2', 'v'), '400 Missing key name')
    assert.equal(await said('PUT', '/v1/kv/a?dc=dc9', 'v'), '500 No path to datacenter')
    assert.equal(await said('PUT', '/v1/kv/x?dc=dc2&cas=x', 'v'), '500 strconv.ParseUint: parsing "x": invalid syntax')
    assert.match(
      await said('PUT', '/v1/kv/x?dc=dc2', 'x'.repeat(524_289)),
      /^413 Request body\(524289 bytes\) too large/,
    )
    assert.equal(await said('POST', '/v1/kv/x?dc=dc2'), '405 method POST not allowed')
  })

  const failures: [Error, number][] = [
    [new DatacenterLost('datacenter dc2 cannot be reached: s1: refused'), 500],
    [new LeadershipLost('the request may or may not have been done: s1: silent'), 500],
    [new NoPath(), 500],
    [new Busy('1024 requests to datacenter dc2 are under way'), 503],
  ]
  for (const [error, status] of failures) {
    it(`${error.name} is ${status}, with index 1 where the endpoint's own failures have it`, async () => {
      const { node } = two(() => Promise.reject(error))
      for (const [path, index] of [
        ['/v1/kv/x', null],
        ['/v1/status/leader', null],
        ['/v1/catalog/nodes', '1'],
        ['/v1/health/service/web', '1'],
        ['/v1/session/list', '1'],
      ] as const) {
        const answer = await node.ask('GET', `${path}?dc=dc2`)
        assert.deepEqual([answer.status, answer.text], [status, error.message], path)
        assert.equal(answer.headers.get('X-Consul-Index'), index, path)
      }
    })
  }

  it('of what came from elsewhere goes nowhere: nothing travels twice', async () => {
    const other = new SingleNode({
      place: { ...place, datacenter: 'dc2' },
      remote: {
        knows: () => true,
        http: () => {
          throw new Error('sent on')
        },
      },
    })
    const answer = travelAnswer(other.surface, other.options)
    const { signal } = new AbortController()
    const body = Buffer.from('{"Datacenter":"dc3","Node":"n","Address":"10.0.0.1"}')
    for (const request of [
      travelling({ query: 'dc=dc3' }),
      travelling({ method: 'PUT', path: '/v1/catalog/register', body }),
      travelling({ method: 'PUT', path: '/v1/txn', query: 'dc=dc3', body: Buffer.from('[]') }),
    ]) {
      const { status, body: text } = await answer(request, signal)
      assert.deepEqual([status, Buffer.from(text).toString()], [500, 'No path to datacenter'], request.path)
    }
  })

  it('reaches no agent’s own endpoints, and what we do not have is 404', async () => {
    const { answer, other } = two()
    const { signal } = new AbortController()
    for (const path of ['/v1/agent/self', '/v1/agent/leave', '/v1/nothing', '', '/v1/kv']) {
      for (const method of ['GET', 'PUT', 'constructor']) {
        assert.equal((await answer(travelling({ method, path }), signal)).status, 404, `${method} ${path}`)
      }
    }
    assert.equal(other.left, false)
  })
})
