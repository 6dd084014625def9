/** `/v1/coordinate/` and `?near=`, answer by answer as recorded from Consul 1.8.7 unless a comment says otherwise. */
import assert from 'node:assert/strict'
import Consul from 'consul'
import { serve } from '../../src/http/server.ts'
import { SingleNode, settle } from './surface.ts'

/** So many seconds out on the first axis. */
const coord = (first: number) => `{"Vec":[${first},0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}`
const body = (node: string, coordinate: string, more = '') => `{"Node":"${node}",${more}"Coord":${coordinate}}`

function register(single: SingleNode, name: string): void {
  single.apply({
    type: 'catalog.register',
    node: { id: '', name, address: '10.0.0.1', datacenter: 'dc1', taggedAddresses: null, meta: null },
    service: {
      id: 'web',
      name: 'web',
      tags: [],
      address: '',
      port: 80,
      taggedAddresses: null,
      meta: null,
      weights: { passing: 1, warning: 1 },
      enableTagOverride: false,
    },
    checks: [
      { id: 'c', name: 'c', status: 'passing', notes: '', output: '', serviceId: 'web', type: '', definition: {} },
    ],
  })
}

/** The nodes n1, n2 and n3 at 0.3 s, nowhere (in one segment 0.2 s) and 0.1 s; golden is where nobody knows. */
async function places(): Promise<SingleNode> {
  const single = new SingleNode()
  for (const name of ['n1', 'n2', 'n3']) register(single, name)
  await single.ask('PUT', '/v1/coordinate/update', body('n1', coord(0.3)))
  await single.ask('PUT', '/v1/coordinate/update', body('N3', coord(0.1)))
  await single.ask('PUT', '/v1/coordinate/update', body('n2', coord(0.2), '"Segment":"x",'))
  await single.ask('PUT', '/v1/coordinate/update', body('n2', '{"Vec":[0,0,0,0,0,0,0,0]}'))
  return single
}

const placed = [
  `{"Node":"n1","Segment":"","Coord":${coord(0.3)}}`,
  '{"Node":"n2","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":0,"Adjustment":0,"Height":0}}',
  `{"Node":"n2","Segment":"x","Coord":${coord(0.2)}}`,
  `{"Node":"N3","Segment":"","Coord":${coord(0.1)}}`,
]

describe('coordinates', () => {
  it('of all nodes and of one, in any spelling, by segment', async () => {
    const single = await places()
    const index = single.store.coordinates().index
    const cases: [string, number, string][] = [
      ['/v1/coordinate/nodes', 200, `[${placed.join()}]`],
      ['/v1/coordinate/nodes?segment=x', 200, `[${placed[2]}]`],
      ['/v1/coordinate/nodes?segment=', 200, `[${placed[0]},${placed[1]},${placed[3]}]`],
      ['/v1/coordinate/nodes?segment=none', 200, '[]'],
      ['/v1/coordinate/nodes?filter=x', 200, `[${placed.join()}]`],
      ['/v1/coordinate/node/n2', 200, `[${placed[1]},${placed[2]}]`],
      ['/v1/coordinate/node/N1', 200, `[${placed[0]?.replace('n1', 'N1')}]`],
      ['/v1/coordinate/node/n1?segment=x', 404, ''],
      ['/v1/coordinate/node/golden', 404, ''],
      ['/v1/coordinate/node/', 404, ''],
      ['/v1/coordinate/nodes?index=x', 400, 'Invalid index'],
      ['/v1/coordinate/nodes?dc=nope', 500, 'No path to datacenter'],
    ]
    for (const [path, status, text] of cases) {
      const answer = await single.ask('GET', path)
      assert.deepEqual([answer.status, answer.text], [status, text], path)
      if (path.includes('nodes') && status === 200) assert.equal(answer.headers.get('X-Consul-Index'), `${index}`, path)
      assert.equal(answer.headers.has('X-Consul-Effective-Consistency'), false)
      if (status === 404) assert.equal(answer.headers.has('X-Consul-Index'), false)
    }
    const lost = await single.ask('GET', '/v1/coordinate/nodes?dc=nope')
    assert.equal(lost.headers.get('X-Consul-Index'), '1')
  })

  it('of nobody are an empty list with index 1', async () => {
    const answer = await new SingleNode().ask('GET', '/v1/coordinate/nodes')
    assert.deepEqual([answer.status, answer.text, answer.headers.get('X-Consul-Index')], [200, '[]', '1'])
  })

  it('of the servers of all datacenters', async () => {
    const answer = await new SingleNode().ask('GET', '/v1/coordinate/datacenters?dc=nope')
    const text = `[{"Datacenter":"dc1","AreaID":"wan","Coordinates":[{"Node":"golden","Segment":"","Coord":${coord(0)}}]}]`
    assert.deepEqual([answer.status, answer.text], [200, text])
    assert.equal(answer.headers.has('X-Consul-Index'), false)
  })

  it('of the agent itself', async () => {
    const { Coord } = (await new SingleNode().ask('GET', '/v1/agent/self')).json()
    assert.equal(JSON.stringify(Coord), coord(0))
  })

  it('that are told: what is wrong with them is said as Consul does', async () => {
    const single = new SingleNode()
    register(single, 'n1')
    const failed = 'Request decode failed: '
    const cases: [string, number, string][] = [
      [body('n1', coord(0.5)), 200, ''],
      [body('g-none', coord(0.5)), 200, ''],
      [body('n1', '{"Vec":[0],"Error":1.5,"Adjustment":0,"Height":0.00001}'), 500, 'incompatible coordinate'],
      [body('n1', '{}'), 500, 'incompatible coordinate'],
      [body('n1', '{"Vec":null}'), 500, 'incompatible coordinate'],
      ['x', 400, `${failed}invalid character 'x' looking for beginning of value`],
      ['', 400, `${failed}EOF`],
      ['[]', 400, `${failed}json: cannot unmarshal array into Go value of type CoordinateUpdateRequest`],
      // Consul 1.8.7 breaks down and closes the connection.
      ['{"Node":"n1"}', 400, `${failed}expected a coordinate in Coord`],
      [
        body('n1', '{"Vec":["a",0,0,0,0,0,0,0]}'),
        400,
        `${failed}json: cannot unmarshal string into Go struct field Coordinate.Coord.Vec of type float64`,
      ],
      [
        '{"Node":5,"Coord":{"Vec":[0,0,0,0,0,0,0,0]}}',
        400,
        `${failed}json: cannot unmarshal number into Go struct field CoordinateUpdateRequest.Node of type string`,
      ],
      [body('n1', coord(0.5), '"Datacenter":"dc9",'), 500, 'No path to datacenter'],
    ]
    for (const [sent, status, text] of cases) {
      const answer = await single.ask('PUT', '/v1/coordinate/update', sent)
      assert.deepEqual([answer.status, answer.text], [status, text], sent)
    }
    const huge = await single.ask('PUT', '/v1/coordinate/update', body('n1', '{"Vec":[1e999,0,0,0,0,0,0,0]}'))
    assert.equal(huge.status, 400)
    assert.match(huge.text, /^Request decode failed: json: cannot unmarshal number .* of type float64$/)
    assert.equal((await single.ask('PUT', '/v1/coordinate/update?dc=dc9', body('n1', coord(0)))).status, 500)
    const told = single.store.coordinates().value
    assert.deepEqual(
      told.map(({ node, coordinate }) => [node, coordinate.vector[0]]),
      [['n1', 0.5]],
    )
  })

  it('take the verbs that Consul takes', async () => {
    const single = new SingleNode()
    for (const [method, path, allow] of [
      ['PUT', '/v1/coordinate/nodes', 'OPTIONS,GET'],
      ['GET', '/v1/coordinate/update', 'OPTIONS,PUT'],
      ['POST', '/v1/coordinate/datacenters', 'OPTIONS,GET'],
    ] as const) {
      const answer = await single.ask(method, path)
      assert.deepEqual([answer.status, answer.headers.get('Allow')], [405, allow])
    }
  })

  it('are waited for: all of them, or those of one node', async () => {
    const single = await places()
    const answered: string[] = []
    const wait = (path: string, index: number) =>
      single
        .ask('GET', `${path}?index=${index}&wait=60s`)
        .then((answer) => answered.push(`${path} ${answer.headers.get('X-Consul-Index')}`))
    const { index } = single.store.coordinates()
    const all = wait('/v1/coordinate/nodes', index)
    const one = wait('/v1/coordinate/node/n1', single.store.nodeCoordinates('n1').index)
    await settle()
    assert.deepEqual(answered, [])
    await single.ask('PUT', '/v1/coordinate/update', body('n2', coord(0.7)))
    await all
    assert.deepEqual(answered, [`/v1/coordinate/nodes ${single.index}`])
    await single.ask('PUT', '/v1/coordinate/update', body('n1', coord(0.8)))
    await one
    assert.deepEqual(answered.slice(1), [`/v1/coordinate/node/n1 ${single.index}`])
  })

  it('ask for a leader, and say that there is none', async () => {
    const single = new SingleNode({ leading: false })
    const answer = await single.ask('GET', '/v1/coordinate/nodes')
    assert.deepEqual(
      [answer.status, answer.text, answer.headers.get('X-Consul-Index')],
      [500, 'No cluster leader', '1'],
    )
    assert.equal((await single.ask('PUT', '/v1/coordinate/update', body('n1', coord(0)))).status, 500)
  })
})

describe('?near=', () => {
  const expected: [near: string, nodes: string[], instances: string[]][] = [
    ['', ['golden', 'n1', 'n2', 'n3'], ['n1', 'n2', 'n3']],
    ['n1', ['n1', 'n3', 'n2', 'golden'], ['n1', 'n3', 'n2']],
    ['N1', ['n1', 'n3', 'n2', 'golden'], ['n1', 'n3', 'n2']],
    ['n2', ['n2', 'n3', 'n1', 'golden'], ['n2', 'n3', 'n1']],
    ['n3', ['n3', 'n2', 'n1', 'golden'], ['n3', 'n2', 'n1']],
    ['_ip', ['golden', 'n1', 'n2', 'n3'], ['n1', 'n2', 'n3']],
    ['_agent', ['golden', 'n1', 'n2', 'n3'], ['n1', 'n2', 'n3']],
    ['nope', ['golden', 'n1', 'n2', 'n3'], ['n1', 'n2', 'n3']],
  ]
  const nodeOf = (row: { Node: string | { Node: string } }) => (typeof row.Node === 'string' ? row.Node : row.Node.Node)
  const asked: [path: string, instances: boolean][] = [
    ['/v1/catalog/nodes', false],
    ['/v1/catalog/service/web', true],
    ['/v1/health/service/web', true],
    ['/v1/health/checks/web', true],
    ['/v1/health/state/passing', false],
  ]
  for (const [near, nodes, instances] of expected) {
    it(`"${near}" sorts what Consul sorts, and leaves those at the end whose place is not known`, async () => {
      const single = await places()
      for (const [path, ofInstances] of asked) {
        const answer = await single.ask('GET', `${path}?near=${near}`)
        assert.deepEqual(answer.json().map(nodeOf), ofInstances ? instances : nodes, `${path}?near=${near}`)
      }
    })
  }

  it('"_agent" is the agent that was asked, once its place is known', async () => {
    const single = await places()
    await single.ask('PUT', '/v1/coordinate/update', body('golden', coord(0.15)))
    const answer = await single.ask('GET', '/v1/catalog/nodes?near=_agent')
    assert.deepEqual(answer.json().map(nodeOf), ['golden', 'n3', 'n2', 'n1'], 'n2 has no height, and n1 a little')
  })

  it('goes together with a filter, with node-meta, and with waiting', async () => {
    const single = await places()
    const filtered = await single.ask('GET', '/v1/catalog/nodes?near=n1&filter=Node!=n3')
    assert.deepEqual(filtered.json().map(nodeOf), ['n1', 'n2', 'golden'])
    const { index } = single.store.instances('web')
    const waiting = single.ask('GET', `/v1/health/service/web?near=n1&index=${index}&wait=60s`)
    await settle()
    await single.ask('PUT', '/v1/coordinate/update', body('n2', coord(0.3)))
    register(single, 'n0')
    const answer = await waiting
    assert.deepEqual(answer.json().map(nodeOf), ['n1', 'n2', 'n3', 'n0'], 'by the coordinates of the moment')
  })

  it('leaves the order as it is for equals, behind the node itself', async () => {
    const single = new SingleNode()
    for (const name of ['n5', 'n4', 'n3', 'n2', 'n1']) {
      register(single, name)
      await single.ask('PUT', '/v1/coordinate/update', body(name, coord(0.1)))
    }
    const answer = await single.ask('GET', '/v1/catalog/service/web?near=n4')
    assert.deepEqual(answer.json().map(nodeOf), ['n4', 'n1', 'n2', 'n3', 'n5'])
  })

  it('is answered the short way as well', async () => {
    const single = await places()
    for (const path of ['/v1/health/service/web', '/v1/catalog/service/web']) {
      const none = new AbortController().signal
      const request = () => ({ header: () => null, signal: none, content: async () => new Uint8Array(0) })
      const plain = await single.direct('GET', path, request)
      const near = await single.direct('GET', `${path}?near=n3`, request)
      const again = await single.direct('GET', path, request)
      const names = (answer: typeof near) => JSON.parse(String(answer?.body)).map(nodeOf)
      assert.deepEqual(
        [names(plain), names(near), names(again)],
        [
          ['n1', 'n2', 'n3'],
          ['n3', 'n2', 'n1'],
          ['n1', 'n2', 'n3'],
        ],
      )
    }
  })

  it('is asked by npm consul', async () => {
    const single = await places()
    const listening = await serve(single.app, { host: '127.0.0.1', port: 0, direct: single.direct })
    try {
      const consul = new Consul({ host: listening.host, port: listening.port })
      const rows = [
        await consul.catalog.node.list({ near: 'n3' }),
        await consul.health.service({ service: 'web', near: 'n3' }),
        await consul.catalog.service.nodes({ service: 'web', near: 'n3' }),
      ] as unknown as { Node: string }[][]
      assert.deepEqual(
        rows.map((each) => each.map(nodeOf)),
        [
          ['n3', 'n2', 'n1', 'golden'],
          ['n3', 'n2', 'n1'],
          ['n3', 'n2', 'n1'],
        ],
      )
    } finally {
      await listening.close()
    }
  })
})
