/** Two datacenters in one world: whole agents that ask one another while the line between them is cut and healed. */
import assert from 'node:assert/strict'
import { rcodes } from '../../src/dns/message.ts'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { Ledger } from './agent-checkers.ts'
import { Agents } from './agents.ts'
import { World } from './world.ts'

/** Three servers and another agent in each; one server of dc2 is told of one of dc1. */
async function two(seed = 1) {
  const world = new World(seed, { settleTurns: 3, logging: true })
  let failure: Error | undefined
  const fail = (error: Error) => {
    failure ??= error
  }
  world.onHalt = (_name, reason) => fail(reason)
  const made = (datacenter: string, network: string, wan: string[]) => {
    const random = new Random(world.random.word())
    return new Agents({ world, ledger: new Ledger(), random, replica: {}, fail, place: { datacenter, network, wan } })
  }
  const one = made('dc1', '10.1', [])
  const other = made('dc2', '10.2', ['10.1.0.1:8302'])
  for (const [agents, letter] of [
    [one, 'a'],
    [other, 'b'],
  ] as const) {
    for (const n of [1, 2, 3]) agents.add(`${letter}${n}`, { server: true, expect: n === 1 ? 3 : 0 })
    agents.add(`${letter}c`, { server: false, expect: 0 })
    for (const name of agents.stations.keys()) agents.start(name)
  }
  const until = async (what: string, condition: () => boolean, within: Millis) => {
    const came = await world.runWhile(() => failure === undefined && !condition(), within, 50)
    if (failure !== undefined) throw failure
    assert.ok(came, `waited ${within} ms for: ${what}`)
  }
  const wanOf = (agents: Agents) =>
    agents.running().flatMap(({ server, life }) => (server ? [life.agent.members('wan')] : []))
  const allAlive = () =>
    [...wanOf(one), ...wanOf(other)].every(
      (members) => members.length === 6 && members.every(({ status }) => status === 'alive'),
    )
  const leads = () => [one, other].every((agents) => agents.running().every(({ life }) => life.agent.leader() !== ''))
  const settled = (within: Millis) =>
    until(
      'leaders and one WAN pool',
      () => leads() && wanOf(one).length === 3 && wanOf(other).length === 3 && allAlive(),
      within,
    )
  /** Runs the world until there is an answer; says how long it took. */
  const ask = async (
    agents: Agents,
    name: string,
    method: string,
    path: string,
    body = '',
    patience: Millis = 60_000,
  ) => {
    const began = world.now
    let answer: Awaited<ReturnType<Agents['request']>>
    let over = false
    void agents.request(name, method, path, body, patience).then((given) => {
      answer = given
      over = true
    })
    await until(`${method} ${path} at ${name}`, () => over, patience + 1000)
    return { status: answer?.status, text: answer?.text, took: world.now - began }
  }
  const resolve = async (agents: Agents, name: string, question: string) => {
    const began = world.now
    let found: Awaited<ReturnType<Agents['askAcross']>>
    let over = false
    void agents.askAcross(name, question, 'A').then((message) => {
      found = message
      over = true
    })
    await until(question, () => over, 20_000)
    return { rcode: found?.rcode, addresses: found?.answers.map(({ data }) => data), took: world.now - began }
  }
  const cut = () => world.network.partition([[...one.stations.keys()], [...other.stations.keys()]])
  await settled(60_000)
  return { world, one, other, until, settled, ask, resolve, cut, wanOf }
}

const lost = /datacenter dc2 cannot be reached/

describe('two datacenters, whole agents', () => {
  it('become one WAN pool by one join, and answer for one another', async () => {
    const { one, other, ask, resolve } = await two()
    for (const [agents, name, dc] of [
      [one, 'a2', 'dc2'],
      [one, 'ac', 'dc2'],
      [other, 'b3', 'dc1'],
      [other, 'bc', 'dc1'],
    ] as const) {
      assert.equal((await ask(agents, name, 'PUT', `/v1/kv/from-${name}?dc=${dc}`, name)).text, 'true')
      assert.equal((await ask(agents, name, 'GET', `/v1/kv/from-${name}?dc=${dc}&raw&consistent`)).text, name)
      assert.equal((await ask(agents, name, 'GET', `/v1/kv/from-${name}?consistent`)).status, 404)
    }
    for (const name of ['a1', 'ac']) {
      const { addresses } = await resolve(one, name, 'b2.node.dc2.consul')
      assert.deepEqual(addresses, [{ type: 'A', address: '10.2.0.2' }])
      assert.equal((await resolve(one, name, 'b2.node.dc9.consul')).rcode, rcodes.NXDOMAIN)
    }
    const { text } = await ask(other, 'bc', 'GET', '/v1/catalog/datacenters')
    assert.equal(text, '["dc2","dc1"]')
  })

  it('a long poll across wakes with a change there, and is over in seconds when the line is cut', async () => {
    const { world, one, other, until, ask, cut } = await two(2)
    await ask(other, 'b1', 'PUT', '/v1/kv/watched', 'old')
    for (const name of ['a1', 'ac']) {
      let woken: string | undefined
      const index = other.leader()!.life.store.kv('watched').index
      void one.request(name, 'GET', `/v1/kv/watched?dc=dc2&raw&wait=5m&index=${index}`, '', 400_000).then((answer) => {
        woken = answer?.text
      })
      await world.runFor(90_000)
      assert.equal(woken, undefined)
      await ask(other, 'b2', 'PUT', '/v1/kv/watched', `for ${name}`)
      await until('its waking', () => woken === `for ${name}`, 2_000)
    }
    const ended: (string | undefined)[] = []
    const index = other.leader()!.life.store.kv('watched').index
    for (const name of ['a1', 'ac']) {
      const path = `/v1/kv/watched?dc=dc2&wait=5m&index=${index}`
      void one.request(name, 'GET', path, '', 400_000).then((answer) => ended.push(answer?.text))
    }
    await world.runFor(5_000)
    cut()
    await until('their end', () => ended.length === 2, 15_000)
    for (const text of ended) assert.match(String(text), lost)
  })

  it('a cut line is an error in moments, costs those at home nothing, and heals by itself', async () => {
    const { world, one, other, until, settled, ask, resolve, cut, wanOf } = await two(3)
    await ask(other, 'b1', 'PUT', '/v1/kv/color', 'red')
    cut()
    await world.runFor(10_000)
    for (const name of ['a1', 'a2', 'ac']) await ask(one, name, 'GET', '/v1/kv/color?dc=dc2')
    const late = () => wanOf(one).every((members) => members.filter(({ status }) => status === 'failed').length === 3)
    for (const phase of ['before', 'after'] as const) {
      for (const name of ['a1', 'a2', 'ac']) {
        const { status, text, took } = await ask(one, name, 'GET', '/v1/kv/color?dc=dc2')
        assert.equal(status, 500)
        assert.match(text ?? '', lost)
        assert.ok(took < 8_000, `${took} ms ${phase} gossip knew`)
        const there = await resolve(one, name, 'b1.node.dc2.consul')
        assert.equal(there.rcode, rcodes.SERVFAIL)
        assert.ok(there.took < 4_500, `${there.took} ms ${phase} gossip knew`)
        const own = await ask(one, name, 'PUT', '/v1/kv/own', `${phase} ${name}`)
        assert.equal(own.text, 'true')
        assert.ok(own.took < 500, `${own.took} ms at home`)
        assert.equal(one.ask(name, 'a1.node.consul', 'A')?.answers.length, 1)
      }
      if (phase === 'before') await until('its failure', late, 300_000)
    }
    const gone = await ask(one, 'a1', 'GET', '/v1/kv/color?dc=dc2')
    assert.ok(gone.took < 200, `${gone.took} ms`)
    world.network.heal()
    await settled(180_000)
    assert.equal((await ask(one, 'ac', 'GET', '/v1/kv/color?dc=dc2&raw')).text, 'red')
  })

  it('find one another after everybody was restarted while the line was cut', async () => {
    const { world, one, other, settled, until, cut } = await two(4)
    await world.runFor(5_000)
    cut()
    // So that it is nobody's list of `-retry-join-wan` that helps.
    for (const agents of [one, other]) {
      for (const name of agents.stations.keys()) {
        agents.down(name, true)
        agents.start(name)
      }
    }
    await until('leaders', () => one.leader() !== undefined && other.leader() !== undefined, 60_000)
    await world.runFor(120_000)
    world.network.heal()
    await settled(180_000)
  })

  it('a server that leaves is no server of its datacenter any more; the last one takes it from the list', async () => {
    const { one, other, until, ask } = await two(5)
    void other.leave('b3')
    await until('its end', () => !other.isUp('b3'), 10_000)
    const known = () => one.station('a1').life!.agent.members('wan')
    await until('the news', () => known().some(({ name, status }) => name === 'b3.dc2' && status === 'left'), 30_000)
    for (let n = 0; n < 10; n++) assert.equal((await ask(one, 'a1', 'GET', '/v1/status/leader?dc=dc2')).status, 200)
  })

  it('what is acknowledged across is there, and what was not done is not, whatever the line and the servers do', async () => {
    for (const seed of [21, 22, 23]) {
      const { world, one, other, settled, until } = await two(seed)
      const random = new Random(seed)
      const sides = [
        { agents: one, other, dc: 'dc2' },
        { agents: other, other: one, dc: 'dc1' },
      ]
      const outcomes = new Map<string, { outcome: 'done' | 'not done' | 'unknown'; there: Agents }>()
      let under = 0
      const write = (n: number) => {
        const { agents, other: there, dc } = random.pick(sides)!
        const name = random.pick([...agents.stations.keys()])!
        const key = `across-${n}`
        under++
        void agents.request(name, 'PUT', `/v1/kv/${key}?dc=${dc}`, key, 30_000).then((answer) => {
          under--
          const { status, text = '' } = answer ?? {}
          const refused = /cannot be reached|No path|No cluster leader|No known/.test(text)
          const outcome =
            status === 200 && text === 'true' ? 'done' : status === 500 && refused ? 'not done' : 'unknown'
          outcomes.set(key, { outcome, there })
        })
      }
      const trouble = async () => {
        const all = sides.flatMap(({ agents }) => [...agents.stations.keys()].map((name) => ({ agents, name })))
        const { agents, name } = random.pick(all)!
        const [here, there] = sides.map((side) => [...side.agents.stations.keys()]) as [string[], string[]]
        switch (random.between(0, 7)) {
          case 0:
            world.network.partition([here, there])
            break
          case 1:
            for (const from of here) for (const to of there) world.network.cut(from, to)
            break
          case 2:
            if (agents.isUp(name)) {
              agents.down(name, true)
              world.after(random.between(100, 4_000), () => !agents.isUp(name) && agents.start(name))
            }
            break
          case 3:
            world.network.breakConnections(0.5)
            break
          case 4:
            world.nodes.get(name)!.pausedUntil = world.now + random.between(100, 3_000)
            break
          default:
            world.network.heal()
        }
      }
      for (let n = 0; n < 400; n++) {
        write(n)
        if (n % 12 === 0) await trouble()
        await world.runFor(150)
      }
      world.network.heal()
      await until('all answers', () => under === 0, 60_000)
      await settled(180_000)
      await world.runFor(2_000)
      const counts = { done: 0, 'not done': 0, unknown: 0 }
      for (const [key, { outcome, there }] of outcomes) {
        counts[outcome]++
        const found = there.leader()!.life.store.kv(key).value !== undefined
        if (outcome === 'done') assert.ok(found, `seed ${seed}: ${key} was acknowledged and is not there`)
        if (outcome === 'not done')
          assert.ok(!found, `seed ${seed}: ${key} was said not to have been done, and is there`)
      }
      assert.ok(counts.done > 0 && counts['not done'] > 0, `seed ${seed}: ${JSON.stringify(counts)}`)
    }
  })

  it('a server elsewhere that is gone for good is made to leave from here', async () => {
    const { one, other, until } = await two(7)
    other.down('b3', true)
    other.station('b3').gone = 'dead'
    const status = (agents: Agents, name: string) =>
      agents
        .station(name)
        .life!.agent.members('wan')
        .find((member) => member.name === 'b3.dc2')?.status
    await until('its failure', () => status(one, 'a1') === 'failed', 180_000)
    void one.station('a1').life!.agent.forceLeave('b3.dc2', false)
    await until('the news', () => status(one, 'a2') === 'left' && status(other, 'b1') === 'left', 30_000)
    await assert.rejects(one.station('a1').life!.agent.forceLeave('b9.dc2', false), /No node found/)
  })

  it('two of one name are told so: nobody would reach the other', async () => {
    const { world, one, until } = await two(8)
    const place = { datacenter: 'dc1', network: '10.3', wan: ['10.1.0.1:8302'] }
    const fail = (error: Error) => assert.fail(error)
    const third = new Agents({ world, ledger: new Ledger(), random: new Random(9), replica: {}, fail, place })
    third.add('x1', { server: true, expect: 1 })
    third.start('x1')
    const told = (name: string, of: string) =>
      world.lines.filter((line) => line.includes(` ${name} `) && line.includes(`${of}.dc1 in the WAN pool says`)).length
    await until('the complaints', () => told('a2', 'x1') > 0 && told('x1', 'a1') > 0, 90_000)
    await world.runFor(120_000)
    assert.equal(told('a2', 'x1'), 1, 'once')
    assert.equal(told('a1', 'a2'), 0)
    assert.equal(one.station('a1').life!.agent.members('lan').length, 4)
  })

  it('an agent of another datacenter is not let into the LAN pool, and both sides say why', async () => {
    const { world, one, other, until } = await two(6)
    let reason = ''
    other
      .station('bc')
      .life!.agent.join(['10.1.0.1:8301'], 'lan')
      .catch((error: Error) => {
        reason = error.message
      })
    await until('the refusal', () => reason !== '', 15_000)
    const both = /datacenter "dc2" and this pool of "dc1"/
    assert.match(reason, both)
    assert.ok(world.lines.some((line) => line.includes('a1') && both.test(line)))
    assert.equal(one.station('a1').life!.agent.members('lan').length, 4)
  })
})
