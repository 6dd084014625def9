import assert from 'node:assert/strict'
import { Ledger } from '../../test/sim/agent-checkers.ts'
import { Agents, votersOf } from '../../test/sim/agents.ts'
import { World } from '../../test/sim/world.ts'
import { Random } from '../io/random.ts'
import type { Millis } from '../model.ts'

/** Servers with a leader, all of them voting; `starts` says with what error a start ended. */
async function cluster(size: 1 | 3) {
  const world = new World(1, { settleTurns: 3, logging: true })
  const failures: Error[] = []
  const fail = (error: Error) => {
    failures.push(error)
  }
  const agents = new Agents({ world, ledger: new Ledger(), random: new Random(1), replica: {}, fail })
  world.onHalt = (_name, reason) => fail(reason)
  const names = ['s1', 's2', 's3'].slice(0, size)
  for (const name of names) agents.add(name, { server: true, expect: size })
  for (const name of names) agents.start(name)
  const until = async (what: string, condition: () => boolean, within: Millis) => {
    assert.ok(await world.runWhile(() => !condition(), within, 50), `waited ${within} ms for: ${what}`)
  }
  const voters = () => {
    const leader = agents.leader()
    return leader === undefined ? [] : votersOf(leader.life).sort()
  }
  const ids = () =>
    agents
      .servers()
      .map(({ id }) => id)
      .sort()
  const allVote = () => agents.running().length === size && voters().join() === ids().join()
  await until('a cluster', allVote, 20_000)
  const put = async (key: string, value: string, name = agents.leader()!.name) => {
    const answering = agents.request(name, 'PUT', `/v1/kv/${key}`, value)
    await world.runFor(1000)
    return (await Promise.race([answering, Promise.resolve(undefined)]))?.text
  }
  const get = (name: string, key: string) => {
    const pair = agents.station(name).life?.store.kv(key).value
    return pair === undefined ? undefined : Buffer.from(pair.value, 'base64').toString()
  }
  const fileOf = (name: string, end: string) =>
    world.nodes
      .get(name)!
      .disk.files()
      .find((file) => file.endsWith(end))!
  /** Power fails, and one bit of an early batch in its log is another when it comes back. */
  const damage = (name: string) => {
    agents.down(name, false)
    const { disk } = world.nodes.get(name)!
    const file = fileOf(name, '.wal')
    const bytes = disk.peek(file)!
    bytes[50]! ^= 1
    disk.poke(file, bytes)
    return bytes
  }
  const said = (pattern: RegExp) => world.lines.find((line) => pattern.test(line))
  return { world, agents, failures, until, allVote, put, get, damage, said, fileOf }
}

describe('a server whose log is damaged', () => {
  it('comes back under another id, is brought everything, and votes again; its files are kept', async () => {
    const { world, agents, until, allVote, put, get, damage, said, failures } = await cluster(3)
    assert.equal(await put('color', 'blue'), 'true')
    const victim = agents.servers().find(({ name }) => name !== agents.leader()!.name)!.name
    const { id } = agents.station(victim)
    const bytes = damage(victim)
    agents.start(victim)
    await until('its place', () => agents.station(victim).id !== id && allVote(), 30_000)
    await until('its state', () => get(victim, 'color') === 'blue', 5000)
    assert.deepEqual(world.nodes.get(victim)!.disk.peek('raft/damaged/1/0000000001.wal'), bytes)
    assert.ok(
      said(/the log on the disk is damaged: raft\/wal\/0000000001\.wal: batch 1 at offset 32 fails its checksum/),
    )
    assert.deepEqual(failures, [])

    // And it stays: the next start finds a log that belongs to its id.
    const again = agents.station(victim).id
    agents.down(victim, false)
    agents.start(victim)
    await until('its return', allVote, 20_000)
    assert.equal(agents.station(victim).id, again)
    // That it votes is known from the others; how far it may apply its log a leader has to say.
    await until('its state again', () => get(victim, 'color') === 'blue', 5000)
  })

  it('does not help to elect one that lacks what only it and the leader had', async () => {
    const { world, agents, until, allVote, put, get, damage, failures } = await cluster(3)
    const leader = agents.leader()!.name
    const [victim, behind] = ['s1', 's2', 's3'].filter((name) => name !== leader) as [string, string]
    world.network.partition([[leader, victim], [behind]])
    assert.equal(await put('color', 'blue'), 'true')
    damage(victim)
    agents.down(leader, false)
    world.network.heal()
    agents.start(victim)
    await world.runFor(60_000)
    assert.equal(agents.leader(), undefined)
    agents.start(leader)
    await until('all of them', allVote, 60_000)
    await until('the write', () => [leader, victim, behind].every((name) => get(name, 'color') === 'blue'), 5000)
    assert.deepEqual(failures, [])
  })

  it('waits when the others are damaged too: no new cluster begins without what was acknowledged', async () => {
    for (const whole of [1, 0]) {
      const { world, agents, put, get, damage, failures } = await cluster(3)
      assert.equal(await put('color', 'blue'), 'true')
      const names = ['s1', 's2', 's3']
      for (const name of names.slice(0, whole)) agents.down(name, false)
      for (const name of names.slice(whole)) damage(name)
      for (const name of names) agents.start(name)
      await world.runFor(120_000)
      assert.equal(agents.running().length, 3)
      assert.equal(agents.leader(), undefined, `${whole} whole`)
      for (const name of names.slice(whole)) assert.equal(get(name, 'color'), undefined)
      assert.deepEqual(failures, [])
      // Nor after another start of all.
      for (const name of names) agents.down(name, false)
      for (const name of names) agents.start(name)
      await world.runFor(60_000)
      assert.equal(agents.leader(), undefined)
    }
  })

  it('is not started when it is the only one, and says what can be done', async () => {
    const { world, agents, damage, failures, fileOf } = await cluster(1)
    const bytes = damage('s1')
    agents.start('s1')
    await world.runFor(200)
    assert.match(
      failures[0]!.message,
      /the data directory is damaged: raft\/wal\/\S+: batch 1 at offset 32 .*only server of its cluster.*Restore .*begin anew/,
    )
    assert.deepEqual(world.nodes.get('s1')!.disk.peek(fileOf('s1', '.wal')), bytes)
  })
})
