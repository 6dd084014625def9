/** What random runs have found, each as the shortest story that shows it. */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { Ledger } from './agent-checkers.ts'
import { Agents, votersOf } from './agents.ts'
import { World } from './world.ts'

/** Three servers with a leader, all of them voting, and one other agent. */
async function cluster(seed = 1) {
  const world = new World(seed, { settleTurns: 3 })
  const ledger = new Ledger()
  let failure: Error | undefined
  const fail = (error: Error) => {
    failure ??= error
  }
  const agents = new Agents({ world, ledger, random: new Random(seed), replica: {}, fail })
  world.onHalt = (_name, reason) => fail(reason)
  for (const name of ['s1', 's2', 's3']) agents.add(name, { server: true, expect: name === 's1' ? 3 : 0 })
  agents.add('c1', { server: false, expect: 0 })
  for (const name of agents.stations.keys()) agents.start(name)
  const until = async (what: string, condition: () => boolean, within: Millis) => {
    const came = await world.runWhile(() => failure === undefined && !condition(), within, 50)
    if (failure !== undefined) throw failure
    assert.ok(came, `waited ${within} ms for: ${what}`)
  }
  const votes = (name: string) => {
    const leader = agents.leader()
    return leader !== undefined && votersOf(leader.life).includes(agents.station(name).id)
  }
  await until(
    'a cluster',
    () => agents.running().every(({ life }) => life.agent.leader() !== '') && votes('s3'),
    15_000,
  )
  const followers = agents.servers().filter(({ name }) => name !== agents.leader()?.name)
  const [follower, other] = followers.map(({ name }) => name) as [string, string]
  return { world, agents, until, votes, follower, other, leader: () => agents.leader()!.name }
}

describe('whole agents, stories', () => {
  it('a server that leaves and comes back at once votes again soon', async () => {
    const { world, agents, until, votes, follower } = await cluster()
    void agents.leave(follower)
    await until('its end', () => !agents.isUp(follower), 5000)
    agents.start(follower)
    await until('its vote', () => agents.station(follower).life !== undefined && votes(follower), 6000)
    await world.runFor(40_000)
    assert.ok(votes(follower))
  })

  it('of three servers each leader leaves as soon as it leads: the last one goes on alone', async () => {
    for (let seed = 1; seed <= 3; seed++) {
      const { agents, until, leader } = await cluster(seed)
      for (const left of [2, 1]) {
        const name = leader()
        void agents.leave(name)
        await until('its end', () => !agents.isUp(name), 8000)
        const voters = () => agents.leader()?.life.agent.peers().length
        await until('those that are left, with a leader', () => voters() === left, 10_000)
      }
      void agents.request('c1', 'PUT', '/v1/kv/kept', 'yes')
      await until('a key', () => agents.station(leader()).life?.store.kv('kept').value !== undefined, 5000)
    }
  })

  it('a server that did not answer when it came back is asked again soon', async () => {
    const { world, agents, until, votes, follower, leader } = await cluster()
    void agents.leave(follower)
    await until('its end', () => !agents.isUp(follower), 5000)
    await world.runFor(40_000)
    agents.start(follower)
    const members = () => agents.station(leader()).life!.agent.members('lan')
    await until('news of it', () => members().some(({ name, status }) => name === follower && status === 'alive'), 5000)
    world.nodes.get(follower)!.pausedUntil = world.now + 1300
    await until('its vote', () => votes(follower), 5000)
  })

  it('what an agent has registered is in the catalog again soon after somebody took the whole node out', async () => {
    const { agents, until } = await cluster()
    const { agent, store } = agents.station('c1').life!
    const listed = () =>
      store
        .node('c1')
        .value?.services.map(({ id }) => id)
        .join() ?? 'no node'
    const body = JSON.stringify({ Name: 'web', Port: 80 })
    void agents.request('c1', 'PUT', '/v1/agent/service/register', body)
    await until('its service', () => listed() === 'web', 5000)
    void agents.request('s1', 'PUT', '/v1/catalog/deregister', JSON.stringify({ Node: 'c1' }))
    await until('its absence', () => listed() === 'no node', 5000)
    await until('its return', () => listed() === 'web', 3000)
    assert.equal(agent.local.services().length, 1)
  })

  it('servers that all come back on other addresses find one another by gossip, and go on', async () => {
    const { world, agents, until, votes, leader } = await cluster()
    void agents.request('c1', 'PUT', '/v1/kv/kept', 'yes')
    // Until they have written down whom they know: nobody else could tell the other agent where they are.
    await world.runFor(6000)
    for (const { name } of agents.servers()) {
      agents.down(name, true)
      agents.move(name)
      world.after(100, () => agents.start(name))
    }
    const addresses = () => agents.servers().map(({ host }) => `${host}:8300`)
    await until('a leader', () => agents.leader() !== undefined, 15_000)
    await until('their votes', () => agents.servers().every(({ name }) => votes(name)), 15_000)
    await until(
      'their new addresses in the configuration',
      () => agents.station(leader()).life?.agent.peers().sort().join() === addresses().sort().join(),
      15_000,
    )
    // Alone it believes of nobody that he moved before it is sure that he is not where he was.
    const followed = () => addresses().includes(agents.station('c1').life?.agent.leader() ?? '')
    await until('the other agent', followed, 40_000)
    assert.equal(agents.station(leader()).life?.store.kv('kept').value?.value, btoa('yes'))
  })

  it('a server that lost its disk and its address is not kept as one that votes', async () => {
    const { world, agents, until, votes, follower, leader } = await cluster()
    const former = agents.station(follower).id
    agents.down(follower, true)
    world.nodes.get(follower)!.disk.wipe()
    agents.move(follower)
    // The catalog forgets whose id that was before the new one may be taken in.
    void agents.request(leader(), 'PUT', '/v1/catalog/deregister', JSON.stringify({ Node: follower }))
    await world.runFor(500)
    agents.start(follower)
    await until('its vote', () => agents.station(follower).life !== undefined && votes(follower), 20_000)
    const { life } = agents.station(leader())
    await until('three that vote', () => life !== undefined && votersOf(life).length === 3, 60_000)
    assert.ok(!votersOf(life!).includes(former))
  })

  it('a server leaves and comes back while another is dead for good: those that are left are a majority still', async () => {
    const { agents, until, follower, other, leader } = await cluster()
    void agents.request('c1', 'PUT', '/v1/kv/kept', 'yes')
    const kept = () => agents.station(leader()).life?.store.kv('kept').value !== undefined
    await until('a key', kept, 5000)
    agents.down(other, false)
    // Nobody knows yet that the other is dead: were this one let go, two would be left, and one of them is not there.
    void agents.leave(follower)
    await until('its end', () => !agents.isUp(follower), 8000)
    agents.start(follower)
    const led = () => agents.leader() !== undefined && agents.station(follower).life?.agent.leader() !== ''
    await until('a leader', led, 30_000)
    void agents.request('c1', 'PUT', '/v1/kv/kept', 'still')
    const value = () => agents.station(follower).life?.store.kv('kept').value?.value
    await until('another value', () => value() === btoa('still'), 30_000)
  })

  it('a server that died among four is let go, and one that died among three is not', async () => {
    const { world, agents, until, votes, follower, other, leader } = await cluster()
    agents.add('s4', { server: true, expect: 0 })
    agents.start('s4')
    await until('its vote', () => agents.station('s4').life !== undefined && votes('s4'), 10_000)
    agents.down(other, false)
    await until('its end', () => !votes(other), 60_000)
    const status = () =>
      agents
        .station(leader())
        .life!.agent.members('lan')
        .find(({ name }) => name === other)?.status
    assert.equal(status(), 'left')
    agents.down(follower, false)
    await world.runFor(90_000)
    assert.ok(votes(follower))
    for (const name of [other, follower]) agents.start(name)
    await until(
      'all votes',
      () => [other, follower, 's4'].every((name) => agents.station(name).life !== undefined && votes(name)),
      60_000,
    )
  })

  it('an agent does not go back with servers that do not know yet, after a blackout, how far they had been', async () => {
    const { world, agents, until, leader } = await cluster()
    const { store } = agents.station('c1').life!
    for (let count = 0; count < 100; count++) {
      void agents.request(leader(), 'PUT', `/v1/kv/k/${count}`, `v${count}`)
      await world.runFor(5)
    }
    const reached = store.index
    const servers = agents.servers().map(({ name }) => name)
    for (const name of servers) agents.down(name, false)
    const disks = (delay: Millis) => {
      for (const name of servers) world.nodes.get(name)!.diskFaults = { delayMin: delay, delayMax: delay, failure: 0 }
    }
    disks(100)
    for (const name of servers) agents.start(name)
    await until('a leader', () => agents.leader() !== undefined, 30_000)
    // It knows what is committed only when an entry of its own is, which takes these disks long.
    disks(3000)
    const progress = () => agents.running().every(({ life }) => life.store.index >= reached)
    await until(
      'its going back, or the servers',
      () => store.index < reached || (agents.leader() !== undefined && progress()),
      40_000,
    )
    assert.ok(store.index >= reached, `it went from ${reached} to ${store.index}`)
  })
})
