/** What Consul 1.8.7 was recorded to answer, asked of ours in the same order after the same set-up. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writersFrom } from '../../src/cli/client-limits.ts'
import { travelAnswer } from '../../src/http/app.ts'
import { SingleNode } from './surface.ts'

interface Recording {
  id: string
  request: {
    method: string
    path: string
    headers?: Record<string, string>
    chunked?: boolean
    body?: string | { $repeat: string; n: number } | { generated: string }
  }
  response: { status: number; headers: Record<string, string>; text?: string; json?: unknown }
}

const load = (name: string): Recording[] =>
  JSON.parse(readFileSync(new URL(`../data/golden-http/${name}.json`, import.meta.url), 'utf8'))

/** Not asked at all: they would leave behind what Consul refused, and so spoil what follows. Each has a test of its own. */
const otherwise: Readonly<Record<string, string>> = {
  '108-reg-unknown-field': 'fields we do not know are skipped: newer clients send them',
  '174-dereg-unknown-field': 'the same',
  '223-reg-unknown-field': 'the same',
  '306-reg-unknown-field': 'the same',
  '233-reg-check-script-legacy': '`Script` of older clients is taken, where scripts are allowed',
  '308-reg-script-legacy': 'the same',
  '224-reg-wrong-type': 'a port may come as digits: old clients send it so',
}

/** Asked, and answered differently on purpose. */
const different: Readonly<Record<string, { status: number; text: RegExp }>> = {
  '045-kv-put-over-chunked': { status: 413, text: /too large, max size: 524288 bytes/ },
  '058-kv-unprintable-null': { status: 400, text: /unprintable character U\+0000$/ },
  '059-kv-unprintable-lf': { status: 400, text: /unprintable character U\+000A$/ },
}

/** Consul compresses whatever is not empty; ours begins where it helps. */
const smallCompressed = new Set(['091-kv-gzip', '133-nodes-gzip'])

/** The application in-process cannot see what the URL parser folds; the raw-socket tests ask these. */
const rawOnly = new Set(['051-kv-double-slash', '052-kv-dotdot', '595-double-slash-301'])

function bodyOf({ body }: Recording['request']): string | undefined {
  if (body === undefined || typeof body === 'string') return body
  if ('$repeat' in body) return body.$repeat.repeat(body.n)
  const sets = /^(\d+) set ops$/.exec(body.generated)
  if (sets !== null) {
    const set = (_: unknown, n: number) => ({ KV: { Verb: 'set', Key: `golden/t/${n}`, Value: 'eA==' } })
    return JSON.stringify(Array.from({ length: Number(sets[1]) }, set))
  }
  if (body.generated === 'one op with a 524289-byte value') {
    const value = Buffer.alloc(524_289).toString('base64')
    return JSON.stringify([{ KV: { Verb: 'set', Key: 'golden/t/big', Value: value } }])
  }
  return JSON.stringify({ Status: 'warning', Output: 'y'.repeat(9000) })
}

/** With the checks of agent/health in one order: Consul's is random. */
function expectedText(id: string, text: string): string {
  if (id === '269-health-name' || id === '285-maint-health') {
    return JSON.stringify(JSON.parse(text), (name, value) =>
      name === 'Checks'
        ? value.sort((a: { CheckID: string }, b: { CheckID: string }) => (a.CheckID < b.CheckID ? -1 : 1))
        : value,
    )
  }
  return text
}

/** Indexes, hashes and what else cannot be the same. */
function masked(text: string): string {
  return text
    .replace(/"(Create|Modify)Index":( ?)\d+/g, '"$1Index":$2#')
    .replace(/current modify index \d+/g, 'current modify index #')
    .replace(/"ContentHash":"[0-9a-f]{16}"/g, '"ContentHash":"#"')
}

const stableHeaders = [
  'Content-Type',
  'Allow',
  'Location',
  'Vary',
  'Content-Encoding',
  'X-Consul-Knownleader',
  'X-Consul-Lastcontact',
  'X-Consul-Effective-Consistency',
  'X-Consul-Reason',
  'X-Content-Type-Options',
  'Content-Security-Policy',
]

/** What is only there: its value is ours. */
const presentHeaders = ['X-Consul-Index', 'X-Consul-Contenthash', 'X-Cache']

async function compare(node: SingleNode, { id, request, response }: Recording): Promise<void> {
  // The recorded index is that of the recorded cluster.
  const path = request.path.replace('?cas=13', `?cas=${node.store.kv('golden/a/d').index}`)
  const headers = request.chunked ? { ...request.headers, 'Content-Length': '' } : request.headers
  const answering = node.ask(request.method, path, bodyOf(request), headers)
  // A recorded wait for its time-out.
  if (/wait=\d/.test(request.path)) for (let n = 0; n < 3; n++) await node.advance(5000)
  const answer = await answering
  const other = different[id]
  if (other !== undefined) {
    assert.equal(answer.status, other.status)
    assert.match(answer.text, other.text)
    return
  }
  assert.equal(answer.status, response.status, answer.text)
  for (const name of stableHeaders) {
    const recorded = name === 'Content-Encoding' && smallCompressed.has(id) ? undefined : response.headers[name]
    assert.equal(answer.headers.get(name) ?? '(none)', recorded ?? '(none)', name)
  }
  for (const name of presentHeaders) assert.equal(answer.headers.has(name), response.headers[name] !== undefined, name)
  if (response.text !== undefined) assert.equal(masked(answer.text), masked(expectedText(id, response.text)))
  else if (response.json !== undefined) {
    // Field order counts: strings are compared, not values.
    assert.equal(masked(JSON.stringify(answer.json())), masked(JSON.stringify(response.json)))
  }
}

describe('recorded from Consul 1.8.7', () => {
  // As the Consul that was recorded.
  const node = new SingleNode({ remoteScripts: true })
  for (const recording of load('default')) {
    const { id, request } = recording
    if (otherwise[id] !== undefined || rawOnly.has(id)) continue
    it(`${id}: ${request.method} ${request.path.slice(0, 80)}`, () => compare(node, recording))
  }
})

describe('recorded from a server that never had a leader', () => {
  const node = new SingleNode({ leading: false })
  for (const recording of load('noleader')) {
    // Who are members and with which tags is not this room's.
    if (recording.id.includes('agent_members')) continue
    it(`${recording.id}: ${recording.request.method} ${recording.request.path}`, () => compare(node, recording))
  }
})

describe('recorded from Consul 1.8.7 with http_config', () => {
  const given = { 'Access-Control-Allow-Origin': '*', 'X-Foo': 'bar' }
  const node = new SingleNode({
    responseHeaders: given,
    blockEndpoints: ['/v1/agent/self', '/v1/event'],
    mayWrite: writersFrom(['10.0.0.0/8']),
  })
  for (const recording of load('httpcfg')) {
    it(`${recording.id}: ${recording.request.method} ${recording.request.path}`, async () => {
      await compare(node, recording)
      const { method, path, body } = recording.request
      const { headers } = await node.ask(method, path, body as string | undefined)
      for (const name of Object.keys(given)) {
        assert.equal(headers.get(name) ?? undefined, recording.response.headers[name], name)
      }
    })
  }

  it('lets clients of the networks write', async () => {
    assert.equal((await node.ask('PUT', '/v1/kv/golden/x', 'v', {}, '10.1.2.3')).text, 'true')
    assert.equal((await node.ask('PUT', '/v1/kv/golden/x', 'v', {}, '::ffff:10.1.2.3')).text, 'true')
    assert.equal((await node.ask('PUT', '/v1/kv/golden/x', 'v', {}, '11.1.2.3')).status, 403)
    assert.equal((await node.ask('PUT', '/v1/kv/golden/x', 'v', {}, 'fe80::1%eth0')).status, 403)
  })
})

describe('recorded from Consul 1.8.7, of another datacenter', () => {
  const place = { id: '38502396-82fb-bb58-6aeb-e90dac4376ea', name: 'golden2', host: '127.0.0.41', port: 8300 }
  const other = new SingleNode({ place: { ...place, datacenter: 'dc2' } })
  const answer = travelAnswer(other.surface, other.options)
  const node = new SingleNode({
    remote: {
      knows: (datacenter) => datacenter === 'dc2',
      datacenters: async () => ['dc1', 'dc2'],
      http: (_datacenter, request, _waits, abandoned = new AbortController().signal) => answer(request, abandoned),
    },
  })
  for (const recording of load('wan')) {
    it(`${recording.id}: ${recording.request.method} ${recording.request.path}`, () => compare(node, recording))
  }
})
