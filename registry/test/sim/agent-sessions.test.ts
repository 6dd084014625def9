/** Sessions in whole agents, as stories: when they end, and what a change of leader or a stall does to that. */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { Ledger } from './agent-checkers.ts'
import { Agents } from './agents.ts'
import { World } from './world.ts'

const ttl = 4_000
/** Ticks, a round through the log, and the way to the others. */
const slack = 1_000

async function cluster(servers: number, seed = 1) {
  const world = new World(seed, { settleTurns: 3 })
  let failure: Error | undefined
  const fail = (error: Error) => {
    failure ??= error
  }
  const agents = new Agents({ world, ledger: new Ledger(), random: new Random(seed), replica: {}, fail })
  world.onHalt = (_name, reason) => fail(reason)
  const names = Array.from({ length: servers }, (_, at) => `s${at + 1}`)
  for (const name of names) agents.add(name, { server: true, expect: servers })
  agents.add('c1', { server: false, expect: 0 })
  for (const name of agents.stations.keys()) agents.start(name)
  const until = async (what: string, condition: () => boolean, within: Millis): Promise<Millis> => {
    const from = world.now
    const came = await world.runWhile(() => failure === undefined && !condition(), within, 10)
    if (failure !== undefined) throw failure
    assert.ok(came, `waited ${within} ms for: ${what}`)
    return world.now - from
  }
  await until(
    'a cluster that knows its agents',
    () => agents.running().length > servers && agents.running().every(({ life }) => life.store.node('c1').value),
    20_000,
  )
  /** @throws when the answer does not come, or is none of these */
  const ask = async (at: string, path: string, body = '', statuses = [200], patience = 12_000) => {
    let answer: { status: number; text: string } | undefined
    let over = false
    void agents.request(at, 'PUT', path, body, patience).then((given) => {
      answer = given
      over = true
    })
    await until(path, () => over, patience + 1000)
    assert.ok(answer !== undefined && statuses.includes(answer.status), `${path}: ${JSON.stringify(answer)}`)
    return JSON.parse(answer.status === 200 ? answer.text : 'null')
  }
  const begin = async (at: string, changes: object = {}): Promise<string> =>
    (await ask(at, '/v1/session/create', JSON.stringify({ TTL: `${ttl}ms`, NodeChecks: [], ...changes }))).ID
  /** Everybody who is up says the same. */
  const isThere = (id: string) => {
    const known = agents.running().map(({ life }) => life.store.session(id).value !== undefined)
    return known.some((each) => each)
  }
  const leader = () => agents.leader()!.name
  return { world, agents, until, ask, begin, isThere, leader }
}

describe('sessions of whole agents', () => {
  it('end after their TTL, and before twice of it and a moment, at every agent', async () => {
    const { until, begin, isThere } = await cluster(3)
    const id = await begin('c1')
    const lasted = await until('its end', () => !isThere(id), 3 * ttl)
    assert.ok(lasted >= 2 * ttl - slack && lasted <= 2 * ttl + slack, `${lasted} ms`)
  })

  it('stay as long as they are renewed, at any agent, and are not found when they are over', async () => {
    const { world, ask, until, begin, isThere } = await cluster(3)
    const id = await begin('s2')
    for (const at of ['c1', 's1', 's2', 's3', 'c1']) {
      await world.runFor(2 * ttl - slack)
      const [session] = await ask(at, `/v1/session/renew/${id}`)
      assert.equal(session.ID, id)
    }
    assert.ok(isThere(id))
    await until('its end', () => !isThere(id), 3 * ttl)
    await ask('c1', `/v1/session/renew/${id}`, '', [404])
  })

  it('have all their time before them when a new leader takes over', async () => {
    const { world, agents, until, begin, isThere, leader } = await cluster(3)
    const id = await begin('c1')
    await world.runFor(2 * ttl - slack)
    const former = leader()
    agents.down(former, true)
    const elected = await until('a new leader', () => agents.leader() !== undefined && leader() !== former, 10_000)
    const lasted = await until('its end', () => !isThere(id), 3 * ttl)
    assert.ok(lasted >= 2 * ttl - slack && lasted <= 2 * ttl + slack, `${lasted} ms, ${elected} after the loss`)
  })

  it('do not end because their leader stood still: what came meanwhile is heard first', async () => {
    const { world, agents, ask, begin, isThere, leader } = await cluster(1)
    const id = await begin('c1')
    await world.runFor(2 * ttl - slack)
    world.nodes.get(leader())!.pausedUntil = world.now + 5 * ttl
    await ask(leader(), `/v1/session/renew/${id}`, '', [200], 60_000)
    assert.ok(isThere(id))
    await world.runFor(2 * ttl - slack)
    assert.ok(isThere(id) && agents.leader() !== undefined)
  })

  it('leave a lock-delay behind, which lasts as long as it says, from the beginning again under a new leader', async () => {
    const { world, agents, ask, until, begin, leader } = await cluster(3)
    const holder = await begin('c1', { LockDelay: '3s', TTL: '' })
    const other = await begin('c1', { LockDelay: '0s', TTL: '' })
    const acquire = (id: string) => ask('c1', `/v1/kv/lock?acquire=${id}`, 'v')
    const free = (delay: Millis) =>
      until('its delay', () => agents.station('c1').life!.store.lockDelays().length === 0, delay)
    assert.equal(await acquire(holder), true)
    assert.equal(await acquire(other), false)
    await ask('c1', `/v1/session/destroy/${holder}`)
    assert.equal(await acquire(other), false)
    const lasted = await free(6000)
    assert.ok(lasted > 2000 && lasted < 3000 + slack, `${lasted} ms`)
    assert.equal(await acquire(other), true)
    await ask('c1', `/v1/kv/lock?release=${other}`)

    const again = await begin('c1', { LockDelay: '3s', TTL: '' })
    assert.equal(await acquire(again), true)
    await ask('c1', `/v1/session/destroy/${again}`)
    await world.runFor(2000)
    const former = leader()
    agents.down(former, true)
    await until('a new leader', () => agents.leader() !== undefined && leader() !== former, 10_000)
    assert.equal(await acquire(other), false)
    const anew = await free(6000)
    assert.ok(anew > 2000 && anew < 3000 + slack, `${anew} ms`)
    assert.equal(await acquire(other), true)
  })

  it('end with the health of the agent they were begun at', async () => {
    const { agents, until, ask, isThere } = await cluster(3)
    const { ID: id } = await ask('c1', '/v1/session/create')
    assert.ok(isThere(id))
    agents.down('c1', true)
    const lasted = await until('its end', () => !isThere(id), 30_000)
    assert.ok(lasted > 1000, `${lasted} ms`)
  })
})
