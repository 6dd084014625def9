/** Prepared queries over HTTP, where nothing was recorded; measured on Consul 1.8.7 unless it says so. */
import assert from 'node:assert/strict'
import { node, service, sessionUuid } from '../store/samples.ts'
import { SingleNode } from './surface.ts'

function withWeb(): SingleNode {
  const single = new SingleNode()
  for (const [name, address, tags] of [
    ['n1', '10.0.0.1', ['v1']],
    ['n2', '10.0.0.2', []],
    ['n3', '127.0.0.1', ['v2']],
  ] as const) {
    const web = service('web', { id: 'w', tags: [...tags] })
    single.apply({ type: 'catalog.register', node: node(name, { address }), service: web, checks: [] })
  }
  return single
}

async function define(single: SingleNode, query: object): Promise<string> {
  const answer = await single.ask('POST', '/v1/query', JSON.stringify(query))
  assert.equal(answer.status, 200, answer.text)
  return answer.json().ID
}

describe('prepared queries over HTTP', () => {
  it('a list that is waited for is answered when a query comes, changes or goes', async () => {
    const single = withWeb()
    const index = async () => Number((await single.ask('GET', '/v1/query')).headers.get('X-Consul-Index'))
    /** Parked before the change is made. */
    const waiting = async <T>(change: () => Promise<T>) => {
      const answer = single.ask('GET', `/v1/query?index=${await index()}&wait=30s`)
      return Promise.all([answer, change()])
    }
    let id = ''
    const [first] = await waiting(async () => {
      id = await define(single, { Name: 'a', Service: { Service: 'web' } })
    })
    assert.equal(first.json().length, 1)
    const [second, changed] = await waiting(() =>
      single.ask('PUT', `/v1/query/${id}`, '{"Name":"b","Service":{"Service":"web"}}'),
    )
    assert.deepEqual([second.json()[0].Name, changed.status, changed.text], ['b', 200, ''])
    const [third, gone] = await waiting(() => single.ask('DELETE', `/v1/query/${id.toUpperCase()}`))
    assert.deepEqual([third.text, gone.status, gone.text], ['[]', 200, ''])
  })

  it('an execution is not waited for, whatever the index', async () => {
    const single = withWeb()
    await define(single, { Name: 'q', Service: { Service: 'web' } })
    const answer = await single.ask('GET', '/v1/query/q/execute?index=5&wait=10m')
    assert.equal(answer.json().Nodes.length, 3)
    assert.equal(answer.headers.get('X-Consul-Index'), '1')
  })

  it('is near to the address the request came from, as the first proxy tells it', async () => {
    const single = withWeb()
    await define(single, { Name: 'q', Service: { Service: 'web', Near: '_ip' } })
    await define(single, { Name: 'plain', Service: { Service: 'web' } })
    for (let times = 0; times < 10; times++) {
      for (const path of ['q/execute', 'plain/execute?near=_ip']) {
        const headers = { 'X-Forwarded-For': '10.0.0.2, 1.1.1.1' }
        const answer = await single.ask('GET', `/v1/query/${path}`, undefined, headers)
        assert.equal(answer.json().Nodes[0].Node.Node, 'n2')
      }
    }
    assert.equal((await single.ask('GET', '/v1/query/q/execute')).json().Nodes.length, 3)
  })

  it('that has a session goes with it', async () => {
    const single = withWeb()
    const session = (await single.ask('PUT', '/v1/session/create', '{"NodeChecks":[]}')).json().ID
    const id = await define(single, { Session: session.toUpperCase(), Service: { Service: 'web' } })
    assert.equal((await single.ask('GET', `/v1/query/${id}`)).json()[0].Session, session.toUpperCase())
    assert.equal((await single.ask('GET', `/v1/query/${id}/execute`)).json().Nodes.length, 3)
    await single.ask('PUT', `/v1/session/destroy/${session}`)
    assert.equal((await single.ask('GET', `/v1/query/${id}`)).status, 404)
    assert.equal((await single.ask('GET', `/v1/query/${id}/execute`)).status, 404)
  })

  it('says null where Consul does: of no checks', async () => {
    const single = withWeb()
    await define(single, { Name: 'q', Service: { Service: 'web' } })
    const { Nodes } = (await single.ask('GET', '/v1/query/q/execute?near=n2&limit=1')).json()
    assert.deepEqual([Nodes[0].Service.Tags, Nodes[0].Checks], [[], null])
  })

  const web = { Service: 'web' }
  const metaPair = "Invalid prepared query: Couldn't load metadata pair"
  const refused: [object | string, number, string][] = [
    [{ Name: 'm', Service: { ...web, NodeMeta: { '': 'x' } } }, 500, `${metaPair} ('', 'x'): Key cannot be blank`],
    [
      { Name: 'm', Service: { ...web, NodeMeta: { 'a b': 'x' } } },
      500,
      `${metaPair} ('a b', 'x'): Key contains invalid characters`,
    ],
    [
      { Name: 't', Token: '<hidden>', Service: web },
      500,
      "Invalid prepared query: Bad Token '<hidden>', it looks like a query definition with a redacted token was submitted",
    ],
    [{ Name: 'PLAIN', Service: web }, 500, "name 'PLAIN' aliases an existing query name"],
    [
      { Name: 1 },
      400,
      'Request decode failed: json: cannot unmarshal number into Go struct field PreparedQuery.Name of type string',
    ],
    [
      { Service: { Service: 1 } },
      400,
      'Request decode failed: json: cannot unmarshal number into Go struct field ServiceQuery.Service.Service of type string',
    ],
    [
      { DNS: { TTL: 10 } },
      400,
      'Request decode failed: json: cannot unmarshal number into Go struct field QueryDNSOptions.DNS.TTL of type string',
    ],
    ['[]', 400, 'Request decode failed: json: cannot unmarshal array into Go value of type structs.PreparedQuery'],
    [{ Service: { Bogus: 1 } }, 400, 'Request decode failed: json: unknown field "Bogus"'],
    [{ Name: 'x', Namespace: 'y', Service: web }, 400, 'Request decode failed: json: unknown field "Namespace"'],
  ]
  describe('is refused in Consul’s words', () => {
    const single = withWeb()
    before(() => define(single, { Name: 'Plain', Service: web }))
    for (const [query, status, message] of refused) {
      const body = typeof query === 'string' ? query : JSON.stringify(query)
      it(body, async () => {
        const answer = await single.ask('POST', '/v1/query', body)
        assert.deepEqual([answer.status, answer.text], [status, message])
      })
    }
  })

  const unknown = sessionUuid(1)
  const lookups: [string, string, number, string][] = [
    [
      'PUT',
      'abc',
      500,
      'Prepared Query lookup failed: failed prepared query lookup: index error: UUID must be 36 characters',
    ],
    [
      'DELETE',
      '',
      500,
      'Prepared Query lookup failed: failed prepared query lookup: index error: UUID must be 36 characters',
    ],
    ['DELETE', unknown, 500, `Cannot modify non-existent prepared query: '${unknown}'`],
    ['PUT', unknown, 500, `Cannot modify non-existent prepared query: '${unknown}'`],
    ['GET', '', 500, 'failed prepared query lookup: index error: UUID must be 36 characters'],
    [
      'GET',
      'plain/execute?limit=99999999999999999999',
      500,
      'Bad limit: strconv.Atoi: parsing "99999999999999999999": value out of range',
    ],
    [
      'GET',
      'plain/execute?connect=x',
      500,
      'Error parsing \'connect\' value: strconv.ParseBool: parsing "x": invalid syntax',
    ],
    ['GET', 'plain/execute?dc=dc9', 500, 'No path to datacenter'],
    ['GET', 'plain/explain?dc=dc9', 500, 'No path to datacenter'],
    ['GET', 'plain/execute?stale&consistent', 400, 'Cannot specify ?stale with ?consistent, conflicting semantics.'],
    ['GET', 'a/b/execute', 404, 'Query not found'],
  ]
  for (const [method, path, status, message] of lookups) {
    it(`${method} /v1/query/${path} is ${status}`, async () => {
      const single = withWeb()
      await define(single, { Name: 'plain', Service: web })
      const answer = await single.ask(method, `/v1/query/${path}`, '{}')
      assert.deepEqual([answer.status, answer.text], [status, message])
      const indexed = method === 'GET' && status === 500 && !/limit|connect/.test(path)
      assert.equal(answer.headers.get('X-Consul-Index'), indexed ? '1' : null)
    })
  }

  for (const [limit, count] of [
    ['-1', 3],
    ['', 3],
    ['2', 2],
    ['%2B1', 1],
  ] as const) {
    it(`?limit=${limit} gives ${count} of three`, async () => {
      const single = withWeb()
      await define(single, { Name: 'q', Service: web })
      assert.equal((await single.ask('GET', `/v1/query/q/execute?limit=${limit}`)).json().Nodes.length, count)
    })
  }

  it('fields may be in snake_case, which Consul refuses', async () => {
    const single = withWeb()
    const id = await define(single, {
      name: 's',
      service: { service: 'web', only_passing: true, node_meta: { a: 'b' } },
    })
    const { Service } = (await single.ask('GET', `/v1/query/${id}`)).json()[0]
    assert.deepEqual([Service.OnlyPassing, Service.NodeMeta], [true, { a: 'b' }])
  })
})
