/**
 * What is acknowledged is on the disks of a majority, synced: three servers lose power in the very moment in which a
 * client learns that its write is done, on disks that keep for certain only what was synced.
 */
import assert from 'node:assert/strict'
import { History } from './checkers.ts'
import { Cluster } from './cluster.ts'
import { World } from './world.ts'

const names = ['a', 'b', 'c']
const writers = 5
const blackouts = 4

interface Options {
  /** The disks say that they have synced, and have not. */
  lying?: boolean
}

/** Resolves to how many writes were acknowledged. @throws Violation when one of them is not there afterwards */
async function loseAllPower(seed: number, { lying = false }: Options = {}): Promise<number> {
  const world = new World(seed)
  const { random } = world
  const history = new History()
  const cluster = new Cluster(world, history, { snapshotEntries: random.pick([15, 1000])!, trailingEntries: 5 })
  let failure: Error | undefined
  world.onHalt = (name, reason) => {
    failure ??= new Error(`${name} halted: ${reason.message}`)
  }
  const delayMax = random.pick([0.5, 3, 30])!
  for (const name of names) {
    cluster.add(name)
    const place = world.nodes.get(name)!
    place.diskFaults = { delayMin: delayMax / 20, delayMax, failure: 0 }
    if (!lying) continue
    const open = place.disk.open.bind(place.disk)
    place.disk.open = (turn) => ({ ...open(turn), sync: async () => {} })
  }
  const start = async () => {
    for (const name of names) cluster.start(name)
    await world.runWhile(() => cluster.running().length < names.length && cluster.broken.size === 0, 5_000)
    const [broken] = cluster.broken.values()
    if (broken !== undefined) throw broken
  }
  await start()
  const servers = names.map((id) => ({ id, address: cluster.member(id).address, voter: true }))
  await Promise.all([cluster.member('a').replica!.bootstrap({ cluster: 'simulated', servers }), world.runFor(500)])

  let count = 0
  for (let round = 0; round < blackouts; round++) {
    await world.runWhile(() => cluster.leader() === undefined, 10_000)
    const leader = cluster.leader()
    assert.ok(leader, 'nobody leads')
    let left = random.between(1, 80)
    const write = () => {
      if (left <= 0) return
      const name = `w${++count}`
      const call = history.registers.called(leader.name, { type: 'put', key: `k${count % 16}`, value: name }, world.now)
      history.began(name)
      leader.replica.propose(Buffer.from(name)).then(
        ({ index }) => {
          history.acknowledge(name, index)
          call.returned({ type: 'written', done: true, index }, world.now)
          // Nothing comes between the acknowledgement and the end.
          if (--left === 0) for (const each of names) cluster.down(each, false)
          else if (left > 0) write()
        },
        () => {},
      )
    }
    for (let writer = 0; writer < writers; writer++) write()
    await world.runWhile(() => left > 0 && failure === undefined, 20_000, 1)
    assert.ok(left <= 0, 'the writes do not get through')
    assert.ifError(failure)
    await start()
  }
  // A write of the last term, so that all of the older ones is committed everywhere.
  await world.runWhile(() => cluster.leader() === undefined, 10_000)
  const done = cluster.leader()!.replica.propose(Buffer.from('w0'))
  history.began('w0')
  const { index } = (await Promise.all([done, world.runFor(2_000)]))[0]
  history.acknowledge('w0', index)
  assert.ifError(failure)
  for (const { name, list } of cluster.members.values()) {
    history.final(name, list.writes)
    for (const [key, found] of list.registers) {
      const call = history.registers.called(name, { type: 'get', key }, world.now)
      if (key !== 'k0') call.returned({ type: 'read', found }, world.now)
    }
  }
  history.linearizable()
  return history.acknowledged.size
}

describe('an acknowledged write', function () {
  this.timeout(60_000)

  it('survives that all servers lose power in the moment of its acknowledgement', async () => {
    let writes = 0
    for (let seed = 1; seed <= 60; seed++) {
      try {
        writes += await loseAllPower(seed)
      } catch (error) {
        assert.fail(`seed ${seed}: ${(error as Error).stack}`)
      }
    }
    assert.ok(writes > 60 * blackouts * 20, `${writes} writes`)
  })

  it('does not when disks only say that they have synced: the test would see it', async () => {
    let noticed = 0
    for (let seed = 1; seed <= 20; seed++) await loseAllPower(seed, { lying: true }).catch(() => noticed++)
    // Mostly the log itself sees that it was damaged, and the servers refuse to start.
    assert.ok(noticed >= 15, `noticed in ${noticed} of 20 seeds`)
  })
})
