/** Whatever is asked, the answer is an answer: nothing is logged as an error of ours and nothing is rejected unhandled. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { SingleNode } from './surface.ts'

const methods = fc.constantFrom('GET', 'PUT', 'DELETE', 'POST', 'HEAD', 'OPTIONS', 'PATCH')
const endpoints = [
  '/v1/kv/',
  '/v1/status/leader',
  '/v1/status/peers',
  '/v1/catalog/nodes',
  '/v1/catalog/services',
  '/v1/catalog/service/',
  '/v1/catalog/node/',
  '/v1/catalog/node-services/',
  '/v1/catalog/register',
  '/v1/catalog/deregister',
  '/v1/health/service/',
  '/v1/health/node/',
  '/v1/health/checks/',
  '/v1/health/state/',
  '/v1/agent/self',
  '/v1/agent/members',
  '/v1/agent/services',
  '/v1/agent/service/',
  '/v1/agent/service/register',
  '/v1/agent/service/deregister/',
  '/v1/agent/service/maintenance/',
  '/v1/agent/maintenance',
  '/v1/agent/checks',
  '/v1/agent/check/register',
  '/v1/agent/check/update/',
  '/v1/agent/check/pass/',
  '/v1/agent/health/service/name/',
  '/v1/agent/health/service/id/',
  '/v1/agent/join/',
  '/v1/agent/force-leave/',
  '/v1/session/create',
  '/v1/session/destroy/',
  '/v1/session/renew/',
  '/v1/session/info/',
  '/v1/session/node/',
  '/v1/session/list',
  '/v1/txn',
  '/v1/coordinate/datacenters',
  '/v1/coordinate/nodes',
  '/v1/coordinate/node/',
  '/v1/coordinate/update',
  '/v1/nothing/',
  '/',
]
const escaped = fc.string({ unit: 'grapheme' }).map(encodeURIComponent)
const noise = fc.oneof(
  escaped,
  fc.string({ unit: fc.constantFrom(...'%/.?&=+;#\\"<> aZ09é\u0000\n'), maxLength: 12 }),
  fc
    .uint8Array({ maxLength: 6 })
    .map((bytes) => [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')),
  fc.constantFrom('golden', 'consul', 'g-web', 'any', '..', '%2e%2e', '__proto__', 'constructor', 'serfHealth'),
)
const parameter = fc
  .tuple(
    fc.constantFrom(
      'acquire',
      'release',
      'index',
      'wait',
      'stale',
      'consistent',
      'max_stale',
      'cached',
      'dc',
      'near',
      'filter',
      'node-meta',
      'tag',
      'passing',
      'recurse',
      'keys',
      'separator',
      'raw',
      'cas',
      'flags',
      'acquire',
      'release',
      'pretty',
      'enable',
      'reason',
      'note',
      'wan',
      'segment',
      'hash',
      'format',
      'token',
      '__proto__',
    ),
    fc.oneof(fc.constant(undefined), noise, fc.constantFrom('0', '-1', '1', '99999999999999999999', '1s', 'true')),
  )
  .map(([name, value]) => (value === undefined ? name : `${name}=${value}`))
const field = fc.constantFrom(
  'Name',
  'ID',
  'Node',
  'Address',
  'Port',
  'Tags',
  'Meta',
  'Check',
  'Checks',
  'Service',
  'TTL',
  'Interval',
  'HTTP',
  'Weights',
  'Coord',
  'Vec',
  'Error',
  'Height',
  'TaggedAddresses',
  'Status',
  'Output',
  'ServiceID',
  'CheckID',
  'Definition',
  'Header',
  'NodeMeta',
  'Datacenter',
  '__proto__',
)
const { value: jsonBody } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 1e300, '', '10s', 'x', '1x', 'passing', '127.0.0.1'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(field, tie('value'), { maxKeys: 6 }),
  ),
}))
const body = fc.oneof(
  jsonBody.map((value) => JSON.stringify(value)),
  fc.string(),
  fc.constant(undefined),
)

describe('whatever is asked', () => {
  /** Consul's own 500s: refusals with a reason. Ours would be logged. */
  async function answersWell(
    node: SingleNode,
    method: string,
    target: string,
    sent: string | undefined,
  ): Promise<void> {
    const carries = method === 'PUT' || method === 'POST' || method === 'PATCH'
    const init = { method, ...(carries && sent !== undefined && { body: sent }) }
    // As the server passes it: the request line beside the parsed URL, and nothing in it that its parser refuses.
    const line = target.replace(/[^\x21-\x7e]/gu, encodeURIComponent)
    const asking = node.app.request('/', init, { incoming: { url: line } })
    let status: number | undefined
    void Promise.resolve(asking).then((response) => {
      status = response.status
    })
    for (let turns = 0; status === undefined && turns < 50; turns++) await node.advance(120_000)
    assert.ok(status !== undefined, `no answer to ${method} ${target}`)
    assert.ok(status < 500 || node.logged.every(({ level }) => level !== 'error'), JSON.stringify(node.logged.at(-1)))
    assert.equal(node.parked, 0)
  }

  it('in path and query, the answer is one', async () => {
    const node = new SingleNode()
    const path = fc.tuple(fc.constantFrom(...endpoints), noise).map((parts) => parts.join(''))
    const query = fc.array(parameter, { maxLength: 4 }).map((all) => (all.length > 0 ? `?${all.join('&')}` : ''))
    await fc.assert(
      fc.asyncProperty(methods, path, query, (method, at, asked) => answersWell(node, method, at + asked, 'x')),
      { numRuns: 1500 },
    )
    assert.deepEqual(
      node.logged.filter(({ level }) => level === 'error'),
      [],
    )
  })

  it('in a body, the answer is one', async () => {
    const node = new SingleNode()
    const path = fc.constantFrom(
      '/v1/agent/service/register',
      '/v1/agent/check/register',
      '/v1/agent/check/update/x',
      '/v1/catalog/register',
      '/v1/catalog/deregister',
      '/v1/coordinate/update',
    )
    await fc.assert(
      fc.asyncProperty(path, body, (at, sent) => answersWell(node, 'PUT', at, sent)),
      { numRuns: 1500 },
    )
    assert.deepEqual(
      node.logged.filter(({ level }) => level === 'error'),
      [],
    )
    // Whatever was registered can be listed.
    for (const list of ['/v1/agent/services', '/v1/agent/checks', '/v1/catalog/nodes', '/v1/health/state/any']) {
      assert.equal((await node.ask('GET', list)).status, 200)
    }
  })
})
