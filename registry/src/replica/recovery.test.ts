import assert from 'node:assert/strict'
import { History } from '../../test/sim/checkers.ts'
import { Cluster, List } from '../../test/sim/cluster.ts'
import { World } from '../../test/sim/world.ts'
import { Refused } from '../errors.ts'
import { planRecovery, recover, recoveryWords } from './recovery.ts'

/** Three servers with ten writes; all are down when this resolves. */
async function fallen(options = {}) {
  const world = new World(1)
  const nodes = new Cluster(world, new History(), options)
  for (const name of ['a', 'b', 'c', 'd']) {
    nodes.add(name)
    nodes.start(name)
  }
  await world.runFor(20)
  const servers = ['a', 'b', 'c'].map((id) => ({ id, address: nodes.member(id).address, voter: true }))
  void nodes.member('a').replica!.bootstrap({ cluster: 'before', servers })
  await world.runWhile(() => nodes.leader() === undefined, 5000)
  for (let at = 1; at <= 10; at++) {
    nodes
      .leader()!
      .replica.propose(Buffer.from(`w${at}`))
      .catch(() => {})
    await world.runFor(150)
  }
  for (const name of nodes.members.keys()) nodes.down(name, false)
  const io = (name: string) => world.boot(name)
  const done = async <T>(promise: Promise<T>) => {
    let over = false
    const note = () => {
      over = true
    }
    promise.then(note, note)
    await world.runWhile(() => !over, 5000)
    return promise
  }
  const self = (name: string) => ({ id: name, address: nodes.member(name).address })
  return { world, nodes, io, done, self }
}

describe('recovery from a lost majority', () => {
  for (const snapshotEntries of [5, 1000]) {
    it(`lets one go on alone with what it has, and others come in empty (snapshots after ${snapshotEntries})`, async () => {
      const { world, nodes, io, done, self } = await fallen({ snapshotEntries, trailingEntries: 0 })
      const plan = await done(planRecovery(io('b'), self('b')))
      assert.deepEqual(
        plan.former.servers.map(({ id }) => id),
        ['a', 'b', 'c'],
      )
      assert.ok(plan.lastIndex >= 12)
      const words = recoveryWords(plan).join('\n')
      assert.match(
        words,
        /server b at 10\.0\.0\.2:8300 goes on alone.*up to entry \d+ of term \d+.*server a at.*server c at/s,
      )
      nodes.down('b', false)
      // A plan alone changes nothing.
      nodes.start('b')
      await world.runFor(5000)
      assert.equal(nodes.leader(), undefined)
      nodes.down('b', false)

      const again = await done(planRecovery(io('b'), self('b')))
      nodes.down('b', false)
      await done(recover(io('b'), new List('b', new History()), again))
      nodes.down('b', false)
      nodes.start('b')
      await world.runWhile(() => nodes.leader() === undefined, 5000)
      const leader = nodes.leader()!
      assert.deepEqual(leader.replica.status.configuration, again.next)
      assert.notEqual(again.next.cluster, 'before')
      await world.runWhile(() => leader.list.writes.length < 10, 5000)
      assert.deepEqual(
        leader.list.writes,
        Array.from({ length: 10 }, (_, at) => `w${at + 1}`),
      )

      nodes.start('d')
      await world.runFor(50)
      await done(
        leader.replica.changeServers({ type: 'add', id: 'd', address: nodes.member('d').address, voter: true }),
      )
      await world.runWhile(() => nodes.member('d').list.writes.length < 10, 5000)
      assert.equal(nodes.member('d').list.hash, leader.list.hash)
    })
  }

  it('is refused where it makes no sense', async () => {
    const { nodes, io, done, self } = await fallen()
    await assert.rejects(done(planRecovery(io('d'), self('d'))), /no log of any cluster/)
    await assert.rejects(done(planRecovery(io('a'), { id: 'x', address: '10.0.0.9:8300' })), /did not vote/)
    nodes.down('a', false)
    const plan = await done(planRecovery(io('a'), self('a')))
    nodes.down('a', false)
    await assert.rejects(
      done(recover(io('a'), new List('a', new History()), { ...plan, lastIndex: plan.lastIndex - 1 })),
      Refused,
    )
    nodes.down('a', false)
    await done(recover(io('a'), new List('a', new History()), plan))
    nodes.down('a', false)
    await assert.rejects(done(planRecovery(io('a'), self('a'))), /only one that votes already/)
  })
})
