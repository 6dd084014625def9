import assert from 'node:assert/strict'
import { bytesOf, Client, type Fetch, nextIndex, textOf, UnexpectedAnswer, Unreachable } from './client.ts'
import type { FetchInit } from './request.ts'

interface Asked extends FetchInit {
  url: string
}

/** A registry that gives one answer to everything and remembers what it was asked. */
function registry(body: string, { status = 200, index = '' } = {}) {
  const asked: Asked[] = []
  const fetch: Fetch = (url, init) => {
    asked.push({ url, ...init })
    return {
      status,
      headers: { get: (name) => (name === 'X-Consul-Index' && index !== '' ? index : null) },
      text: async () => body,
    }
  }
  return { asked, client: new Client({ base: 'http://registry:8500', fetch }) }
}

function failing(error: Error): Client {
  return new Client({ base: 'http://registry:8500', fetch: () => Promise.reject(error) })
}

describe('Client', () => {
  it('reads a value with the index it is true at', async () => {
    const { client, asked } = registry('[{"Node":"host1","ServiceID":"server1"}]', { index: '42' })
    const { index, value } = await client.catalog.service('distributed_app')
    assert.equal(index, 42)
    assert.equal(value[0]?.ServiceID, 'server1')
    assert.deepEqual(
      asked.map(({ method, url }) => `${method} ${url}`),
      ['GET http://registry:8500/v1/catalog/service/distributed_app'],
    )
  })

  it('makes a prepared query, changes it, executes it and deletes it', async () => {
    const made = registry('{"ID":"9e4"}')
    const query = { Name: 'find', Service: { Service: 'web' } }
    assert.equal(await made.client.query.create(query), '9e4')
    await made.client.query.update('9e4', query)
    await made.client.query.delete('9e4')
    assert.deepEqual(
      made.asked.map(({ method, url }) => `${method} ${url.replace('http://registry:8500', '')}`),
      ['POST /v1/query', 'PUT /v1/query/9e4', 'DELETE /v1/query/9e4'],
    )
    assert.equal(made.asked[0]?.body, '{"Name":"find","Service":{"Service":"web"}}')
    const found = registry('{"Service":"web","Nodes":[],"Datacenter":"dc2","Failovers":1}')
    assert.equal((await found.client.query.execute('fi/nd', { near: '_agent', limit: 2 })).Datacenter, 'dc2')
    assert.equal(found.asked[0]?.url, 'http://registry:8500/v1/query/fi%2Fnd/execute?near=_agent&limit=2')
  })

  it('begins a session, renews it, and hears that it is over', async () => {
    const begun = registry('{"ID":"5e55"}')
    assert.equal(await begun.client.session.create({ TTL: '15s', Behavior: 'delete' }), '5e55')
    assert.equal(`${begun.asked[0]?.method} ${begun.asked[0]?.url}`, 'PUT http://registry:8500/v1/session/create')
    assert.equal(begun.asked[0]?.body, '{"TTL":"15s","Behavior":"delete"}')
    const there = registry('[{"ID":"5e55","Name":"n"}]', { index: '7' })
    assert.equal((await there.client.session.renew('5e55'))?.Name, 'n')
    assert.deepEqual(await there.client.session.info('5e55'), { index: 7, value: { ID: '5e55', Name: 'n' } })
    assert.equal((await there.client.session.list()).value.length, 1)
    assert.equal(await registry("Session id '5e55' not found", { status: 404 }).client.session.renew('5e55'), undefined)
    assert.equal((await registry('[]', { index: '7' }).client.session.info('5e55')).value, undefined)
    await registry('true').client.session.destroy('5e55')
    await assert.rejects(registry('No cluster leader', { status: 500 }).client.session.renew('x'), UnexpectedAnswer)
  })

  it('a transaction goes as one request, with its flags as numbers, and a conflict is an answer', async () => {
    const done = registry(
      '{"Results":[{"KV":{"LockIndex":0,"Key":"a","Flags":18446744073709551615,"Value":null,"CreateIndex":3,"ModifyIndex":3}}],"Errors":null}',
    )
    const answer = await done.client.kv.transact(
      [{ Verb: 'set', Key: 'a', Value: 'YQ==', Flags: '18446744073709551615' }],
      { stale: true },
    )
    assert.ok('results' in answer)
    assert.equal(answer.results[0]?.KV.Flags, '18446744073709551615')
    assert.equal(`${done.asked[0]?.method} ${done.asked[0]?.url}`, 'PUT http://registry:8500/v1/txn?stale')
    assert.equal(done.asked[0]?.body, '[{"KV":{"Verb":"set","Key":"a","Value":"YQ==","Flags":18446744073709551615}}]')
    const errors = [{ OpIndex: 0, What: 'key "a" doesn\'t exist' }]
    const refused = registry(JSON.stringify({ Results: null, Errors: errors }), { status: 409 })
    assert.deepEqual(await refused.client.kv.transact([{ Verb: 'get', Key: 'a' }]), { errors })
    const broken = registry('No cluster leader', { status: 500 })
    await assert.rejects(broken.client.kv.transact([]), UnexpectedAnswer)
  })

  it('asks each endpoint with the verb and the words agents know', async () => {
    const table: [string, (client: Client) => Promise<unknown>][] = [
      ['GET /v1/kv/a%2Fb', (client) => client.kv.get('a/b')],
      ['GET /v1/kv/a%2F?recurse', (client) => client.kv.list('a/')],
      ['GET /v1/kv/a%2F?keys&separator=%2F', (client) => client.kv.keys('a/', '/')],
      ['PUT /v1/kv/a?flags=7&cas=3', (client) => client.kv.put('a', 'x', { flags: '7', cas: 3 })],
      ['PUT /v1/kv/a?acquire=s-1', (client) => client.kv.put('a', 'x', { acquire: 's-1' })],
      ['DELETE /v1/kv/a?recurse', (client) => client.kv.delete('a', { recurse: true })],
      ['DELETE /v1/kv/a?cas=0', (client) => client.kv.delete('a', { cas: 0 })],
      ['GET /v1/agent/members', (client) => client.agent.members()],
      ['GET /v1/agent/members?wan=1', (client) => client.agent.members('wan')],
      ['PUT /v1/agent/join/10.0.77.22%3A8301', (client) => client.agent.join('10.0.77.22:8301')],
      ['PUT /v1/agent/leave', (client) => client.agent.leave()],
      ['PUT /v1/agent/force-leave/host1?prune', (client) => client.agent.forceLeave('host1', true)],
      ['PUT /v1/agent/service/register', (client) => client.agent.registerService({ Name: 'web' })],
      [
        'PUT /v1/agent/service/register?replace-existing-checks',
        (client) => client.agent.registerService({ Name: 'web' }, { replaceChecks: true }),
      ],
      ['PUT /v1/agent/service/deregister/host1%3Aweb%3A80', (client) => client.agent.deregisterService('host1:web:80')],
      ['PUT /v1/agent/check/register', (client) => client.agent.registerCheck({ Name: 'c', TTL: '1s' })],
      ['PUT /v1/agent/check/deregister/c', (client) => client.agent.deregisterCheck('c')],
      ['PUT /v1/agent/check/pass/service%3Aweb?note=fine', (client) => client.agent.pass('service:web', 'fine')],
      ['PUT /v1/agent/check/warn/c', (client) => client.agent.warn('c')],
      ['PUT /v1/agent/check/fail/c', (client) => client.agent.fail('c')],
      ['GET /v1/agent/services', (client) => client.agent.services()],
      ['GET /v1/agent/checks', (client) => client.agent.checks()],
      ['GET /v1/agent/self', (client) => client.agent.self()],
      ['GET /v1/catalog/datacenters', (client) => client.catalog.datacenters()],
      ['GET /v1/catalog/nodes?dc=dc2', (client) => client.catalog.nodes({ datacenter: 'dc2' })],
      ['GET /v1/catalog/services?stale', (client) => client.catalog.services({ stale: true })],
      ['GET /v1/catalog/service/web?tag=v1', (client) => client.catalog.service('web', { tag: 'v1' })],
      ['GET /v1/health/service/web?passing', (client) => client.health.service('web', { passing: true })],
      ['GET /v1/health/node/host1', (client) => client.health.node('host1')],
      [
        'GET /v1/health/service/web?index=5&wait=60000ms',
        (client) => client.health.service('web', { index: 5, wait: 60_000 }),
      ],
      ['GET /v1/status/leader', (client) => client.status.leader()],
      ['GET /v1/status/peers', (client) => client.status.peers()],
    ]
    for (const [expected, call] of table) {
      const { client, asked } = registry('[]')
      await call(client)
      const { method, url } = asked[0]!
      assert.equal(`${method} ${url.slice('http://registry:8500'.length)}`, expected)
    }
  })

  it('sends the token with every request', async () => {
    const { asked } = registry('')
    const fetch: Fetch = (url, init) => {
      asked.push({ url, ...init })
      return { status: 200, headers: { get: () => null }, text: async () => '""' }
    }
    await new Client({ base: 'http://registry:8500/', fetch, token: 'secret' }).status.leader()
    assert.equal(asked[0]?.headers['X-Consul-Token'], 'secret')
    assert.equal(asked[0]?.url, 'http://registry:8500/v1/status/leader')
  })

  it('keeps all 64 bits of flags', async () => {
    const body =
      '[{"LockIndex":0,"Key":"k","Flags":18446744073709551615,"Value":"Z3LDvMOfZQ==","CreateIndex":1,"ModifyIndex":1}]'
    const { value } = await registry(body, { index: '1' }).client.kv.get('k')
    assert.equal(value?.Flags, '18446744073709551615')
    assert.equal(textOf(value), 'grüße')
  })

  it('a null value is empty, and bytes come as they are', async () => {
    const body =
      '[{"LockIndex":0,"Key":"k","Flags":0,"Value":null,"CreateIndex":1,"ModifyIndex":1},{"LockIndex":0,"Key":"l","Flags":0,"Value":"AP8=","CreateIndex":1,"ModifyIndex":1}]'
    const { value } = await registry(body, { index: '1' }).client.kv.list('')
    assert.deepEqual(value.map(bytesOf), [new Uint8Array(), Uint8Array.of(0, 255)])
  })

  it('a key that does not exist is an answer with an index', async () => {
    const { client } = registry('', { status: 404, index: '9' })
    assert.deepEqual(await client.kv.get('nope'), { index: 9, value: undefined })
    assert.deepEqual(await client.kv.list('nope/'), { index: 9, value: [] })
    assert.deepEqual(await client.kv.keys('nope/'), { index: 9, value: [] })
  })

  it('a 404 without an index is not from a registry', async () => {
    const { client } = registry('404 page not found', { status: 404 })
    await assert.rejects(client.kv.get('nope'), UnexpectedAnswer)
  })

  it('says what the agent said when the status is not 200', async () => {
    const { client } = registry('CheckID "c" does not have associated TTL', { status: 500 })
    await assert.rejects(client.agent.pass('c'), (error: UnexpectedAnswer) => {
      assert.equal(error.status, 500)
      assert.equal(error.text, 'CheckID "c" does not have associated TTL')
      assert.equal(error.message, 'Unexpected response code: 500 (CheckID "c" does not have associated TTL)')
      return error instanceof UnexpectedAnswer
    })
  })

  it('a body that is no JSON is an unexpected answer', async () => {
    await assert.rejects(registry('<html>').client.agent.members(), UnexpectedAnswer)
  })

  it('says why nobody answered, from the innermost cause', async () => {
    const refused = new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED 127.0.0.1:8500') })
    await assert.rejects(failing(refused).agent.members(), {
      name: 'Unreachable',
      message: 'http://registry:8500 cannot be reached: connect ECONNREFUSED 127.0.0.1:8500',
    })
    const several = new TypeError('fetch failed', { cause: new AggregateError([new Error('one'), new Error('other')]) })
    await assert.rejects(failing(several).agent.members(), {
      message: 'http://registry:8500 cannot be reached: one; other',
    })
  })

  it('a request that takes too long is given up and called unreachable', async () => {
    const expired = new AbortController()
    const asked: number[] = []
    const client = new Client({
      base: 'http://registry:8500',
      fetch: (_, { signal }) =>
        new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
      timeout: 500,
      expire: (after) => {
        asked.push(after)
        return expired.signal
      },
    })
    const answer = client.kv.get('a', { index: 7, wait: 1000 })
    expired.abort()
    await assert.rejects(answer, { name: 'Unreachable', message: 'http://registry:8500 did not answer within 1563 ms' })
    assert.deepEqual(
      asked,
      [500 + 1000 + 63],
      'a blocking query may take its wait, a sixteenth of it, and the time-out',
    )
  })

  it("a request the caller gives up rejects with the caller's own reason", async () => {
    const client = new Client({
      base: 'http://registry:8500',
      fetch: (_, { signal }) =>
        new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
    })
    const giveUp = new AbortController()
    const answer = client.kv.get('a', { signal: giveUp.signal })
    giveUp.abort(new Error('we are stopping'))
    await assert.rejects(answer, { message: 'we are stopping' })
    await assert.rejects(client.kv.get('a', { signal: giveUp.signal }), { message: 'we are stopping' })
  })

  it('a connection that breaks in the middle of the body is unreachable, not half an answer', async () => {
    const client = new Client({
      base: 'http://registry:8500',
      fetch: () => ({
        status: 200,
        headers: { get: () => null },
        text: () => Promise.reject(new TypeError('terminated')),
      }),
    })
    await assert.rejects(client.agent.members(), Unreachable)
  })
})

describe('nextIndex', () => {
  it('goes on from the answer, and from the beginning when the index went back', () => {
    assert.equal(nextIndex(7, 7), 7)
    assert.equal(nextIndex(7, 9), 9)
    assert.equal(nextIndex(7, 3), 0)
  })
})
