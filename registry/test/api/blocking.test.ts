/** Long polls: what wakes them, what does not, and how they end. The clock is the test's. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { type Command, encodeCommand } from '../../src/store/command.ts'
import { SingleNode, settle } from './surface.ts'

interface Contract {
  id: string
  path: string
  mutation: string
  contract?: 'must-wake' | 'should-not-wake' | 'may-wake'
  status: number
}

const contracts: Contract[] = JSON.parse(
  readFileSync(new URL('../data/golden-http/blocking.json', import.meta.url), 'utf8'),
)

/** A request under way. */
function poll(node: SingleNode, path: string) {
  const state = { done: false }
  const answer = node.ask('GET', path).finally(() => {
    state.done = true
  })
  return { state, answer }
}

const withQuery = (path: string, query: string) => `${path}${path.includes('?') ? '&' : '?'}${query}`

async function change(node: SingleNode, mutation: string): Promise<void> {
  const [method = '', path = '', ...body] = mutation.split(' ')
  const answer = await node.ask(method, path, body.length > 0 ? body.join(' ') : undefined)
  assert.equal(answer.status, 200, answer.text)
}

const set = (key: string, value: string): Command => {
  return { type: 'kv.set', key, value: Buffer.from(value).toString('base64'), flags: '0' }
}

const put = (node: SingleNode, key: string, value: string) => node.ask('PUT', `/v1/kv/${key}`, value)

/** A node on which somebody waits for a key, and another whose history has it too, with so many other writes. */
async function betweenLives(writes: number, stale: boolean) {
  const node = new SingleNode()
  await put(node, 'a', 'ours')
  for (let n = 0; n < 10; n++) await put(node, 'x', String(n))
  const { state, answer } = poll(node, `/v1/kv/a?${stale ? 'stale&' : ''}index=${node.index}&wait=10s`)
  await settle()
  assert.equal(state.done, false)
  const other = new SingleNode()
  await put(other, 'a', 'theirs')
  for (let n = 0; n < writes; n++) await put(other, 'x', String(n))
  return { node, other, state, answer, index: other.store.kv('a').index }
}

describe('a blocking query, recorded from Consul 1.8.7', () => {
  const node = new SingleNode()
  before(async () => {
    await change(node, 'PUT /v1/kv/golden/b/x 1')
    await change(node, 'PUT /v1/kv/golden/c/y 1')
    for (const [name, service] of [
      ['g-b1', 'g-bs'],
      ['g-b2', 'g-bs2'],
    ]) {
      const body = { Node: name, Address: `10.9.9.${name?.at(-1)}`, Service: { Service: service, Port: 1 } }
      await change(node, `PUT /v1/catalog/register ${JSON.stringify(body)}`)
    }
  })
  for (const { id, path, mutation, contract, status } of contracts) {
    if (contract === 'may-wake') continue
    it(`${id}: ${path} ${contract === 'must-wake' ? 'wakes' : 'sleeps on'} at ${mutation.slice(0, 60)}`, async () => {
      const first = await node.ask('GET', path)
      const index = first.headers.get('X-Consul-Index')
      const { state, answer } = poll(node, withQuery(path, `index=${index}&wait=2s`))
      await settle()
      assert.equal(state.done, false)
      await change(node, mutation)
      await settle()
      assert.equal(state.done, contract === 'must-wake')
      await node.advance(2200)
      const { status: last, headers } = await answer
      assert.equal(last, status)
      const moved = Number(headers.get('X-Consul-Index')) > Number(index)
      assert.equal(moved, contract === 'must-wake')
      assert.equal(node.parked, 0)
    })
  }
})

describe('blocking queries', () => {
  async function parkedOn(path: string) {
    const node = new SingleNode()
    await put(node, 'a', '1')
    const index = (await node.ask('GET', path)).headers.get('X-Consul-Index')
    const { state, answer } = poll(node, withQuery(path, `index=${index}&wait=10s`))
    await settle()
    return { node, state, answer, index }
  }

  it('end after the wait and at most a sixteenth more, with the same index and what there is', async () => {
    const { node, state, answer, index } = await parkedOn('/v1/kv/a')
    await node.advance(9_999)
    assert.equal(state.done, false)
    await node.advance(626)
    assert.equal(state.done, true)
    const { status, headers, text } = await answer
    assert.equal(status, 200)
    assert.equal(headers.get('X-Consul-Index'), index)
    assert.match(text, /"Value":"MQ=="/)
  })

  it('do not all end at the same moment', async () => {
    const node = new SingleNode()
    await put(node, 'a', '1')
    const index = (await node.ask('GET', '/v1/kv/a')).headers.get('X-Consul-Index')
    const polls = Array.from({ length: 20 }, () => poll(node, `/v1/kv/a?index=${index}&wait=16s`))
    await settle()
    await node.advance(16_500)
    const early = polls.filter(({ state }) => state.done).length
    assert.ok(early > 0 && early < 20, `${early} of 20`)
    await node.advance(600)
    assert.ok(polls.every(({ state }) => state.done))
  })

  it('wait five minutes unless they say, and never more than ten', async () => {
    for (const [wait, seconds] of [
      ['', 300],
      ['&wait=-3s', 300],
      ['&wait=0s', 300],
      ['&wait=2h', 600],
    ] as const) {
      const node = new SingleNode()
      await put(node, 'a', '1')
      const { state } = poll(node, `/v1/kv/a?index=${node.store.kv('a').index}${wait}`)
      await settle()
      await node.advance(seconds * 1000 - 1)
      assert.equal(state.done, false, wait)
      await node.advance((seconds * 1000) / 16 + 1)
      assert.equal(state.done, true, wait)
    }
  })

  it('answer at once when the index has moved on, and without an index', async () => {
    const node = new SingleNode()
    await put(node, 'a', '1')
    for (const query of ['?index=1', '?index=0', '', '?wait=10s']) {
      assert.equal((await node.ask('GET', `/v1/kv/a${query}`)).status, 200)
    }
    assert.equal(node.parked, 0)
  })

  it('answer at once, with the lower index, to an index of another life of the cluster', async () => {
    const node = new SingleNode()
    await put(node, 'a', '1')
    const answer = await node.ask('GET', '/v1/kv/a?index=100000&wait=10s')
    assert.equal(answer.headers.get('X-Consul-Index'), String(node.index))
    assert.equal((await node.ask('GET', '/v1/kv/a?index=18446744073709551615&wait=10s')).status, 200)
  })

  it('wait at index 1 while the state is empty: that is what it was answered with', async () => {
    const node = new SingleNode({ leading: false })
    node.leading = true
    const first = await node.ask('GET', '/v1/kv/a')
    assert.equal(first.headers.get('X-Consul-Index'), '1')
    assert.equal(node.store.index, 0)
    const { state, answer } = poll(node, '/v1/kv/a?index=1&wait=10s')
    await settle()
    assert.equal(state.done, false)
    await put(node, 'b', '1')
    await put(node, 'a', '2')
    assert.match((await answer).text, /"Value":"Mg=="/)
  })

  it('wait at an index not reached yet when stale: this store may only be behind', async () => {
    const node = new SingleNode()
    await put(node, 'a', '1')
    const { state, answer } = poll(node, `/v1/kv/a?stale&index=${node.index + 1}&wait=10s`)
    await settle()
    await put(node, 'a', '2')
    await settle()
    assert.equal(state.done, false)
    await put(node, 'a', '3')
    assert.match((await answer).text, /"Value":"Mw=="/)
  })

  it('wait at an index of something else that is newer than the answer', async () => {
    const node = new SingleNode()
    await put(node, 'a', '1')
    await put(node, 'b', '1')
    const { state, answer } = poll(node, `/v1/kv/a?index=${node.index}&wait=10s`)
    await settle()
    assert.equal(state.done, false)
    await put(node, 'a', '2')
    assert.match((await answer).text, /"Value":"Mg=="/)
  })

  it('that are abandoned by their client leave nothing behind', async () => {
    const node = new SingleNode()
    await put(node, 'a', '1')
    const client = new AbortController()
    const answer = node.app.request(`/v1/kv/a?index=${node.index}&wait=10s`, { signal: client.signal })
    await settle()
    assert.equal(node.parked, 1)
    client.abort()
    await settle()
    assert.equal(node.parked, 0)
    assert.equal((await answer).status, 499)
    assert.deepEqual(node.logged, [])
  })

  it('are woken by a restore, and find what it brought', async () => {
    const { node, state, answer } = await parkedOn('/v1/kv/a')
    const other = new SingleNode()
    await put(other, 'a', 'restored')
    for (let n = 0; n < 5; n++) await put(other, 'x', String(n))
    await put(other, 'a', 'and changed')
    node.store.restore(other.store.snapshot())
    await settle()
    assert.equal(state.done, true)
    assert.match((await answer).text, /YW5kIGNoYW5nZWQ=/)
  })

  for (const stale of [false, true]) {
    it(`end with the state of another cluster${stale ? ', stale ones too' : ''}, though it knows later indexes`, async () => {
      const { node, other, state, answer, index } = await betweenLives(30, stale)
      assert.ok(index < node.index && other.index > node.index)
      node.cluster = 'another'
      node.store.restore(other.store.snapshot())
      await settle()
      assert.equal(state.done, true)
      const { headers, text } = await answer
      assert.equal(headers.get('X-Consul-Index'), String(index))
      assert.match(text, /dGhlaXJz/)
    })
  }

  it('end with a state that goes back, unless they are stale: this store may follow one that is behind', async () => {
    for (const stale of [false, true]) {
      const { node, other, state, answer } = await betweenLives(3, stale)
      assert.ok(other.index < node.index)
      node.store.restore(other.store.snapshot())
      await settle()
      assert.equal(state.done, !stale)
      await node.advance(10_700)
      assert.match((await answer).text, /dGhlaXJz/)
    }
  })

  it('go on waiting when an agent that was just started learns which cluster it is in', async () => {
    const node = new SingleNode()
    await put(node, 'a', '1')
    const { index, cluster } = node
    node.cluster = ''
    const { state, answer } = poll(node, `/v1/kv/a?stale&index=${index}&wait=10s`)
    await settle()
    const ahead = new SingleNode()
    ahead.store.restore(node.store.snapshot())
    ahead.store.apply(index + 1, encodeCommand(set('x', '1')))
    node.cluster = cluster
    node.store.restore(ahead.store.snapshot())
    await settle()
    assert.equal(state.done, false)
    await node.advance(10_700)
    assert.equal((await answer).status, 200)
  })

  it('go on waiting through a restore that only brings this store forward', async () => {
    const { node, state, answer } = await parkedOn('/v1/kv/a')
    const ahead = new SingleNode()
    ahead.store.restore(node.store.snapshot())
    for (let n = 0; n < 10; n++) ahead.store.apply(node.index + 1 + n, encodeCommand(set('x', `${n}`)))
    node.store.restore(ahead.store.snapshot())
    await settle()
    assert.equal(state.done, false)
    await node.advance(10_700)
    assert.equal((await answer).status, 200)
  })

  it('need no leader to end once they wait, and say that there is none', async () => {
    const { node, answer } = await parkedOn('/v1/kv/a')
    node.leading = false
    await node.advance(10_700)
    const { status, headers } = await answer
    assert.equal(status, 200)
    assert.equal(headers.get('X-Consul-Knownleader'), 'false')
  })

  it('miss no change that happens between two of them', async () => {
    const node = new SingleNode()
    await put(node, 'a', '0')
    let index = node.store.kv('a').index
    const seen: number[] = []
    for (let n = 1; n <= 20; n++) {
      const { answer } = poll(node, `/v1/kv/a?index=${index}&wait=10s`)
      if (n % 2 === 0) await settle()
      await put(node, 'a', String(n))
      const { headers, json } = await answer
      index = Number(headers.get('X-Consul-Index'))
      seen.push(Number(Buffer.from(json()[0].Value, 'base64').toString()))
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 20 }, (_, n) => n + 1),
    )
  })

  it('of one service here wait for another content, by its hash', async () => {
    const node = new SingleNode()
    await node.ask('PUT', '/v1/agent/service/register', '{"Name":"web","Port":1}')
    const hash = (await node.ask('GET', '/v1/agent/service/web')).headers.get('X-Consul-Contenthash')
    const { state, answer } = poll(node, `/v1/agent/service/web?hash=${hash}&wait=10s`)
    await settle()
    assert.equal(state.done, false)
    await node.ask('PUT', '/v1/agent/service/register', '{"Name":"web","Port":2}')
    const { headers, json } = await answer
    assert.equal(json().Port, 2)
    assert.notEqual(headers.get('X-Consul-Contenthash'), hash)
  })
})
