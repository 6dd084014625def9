import assert from 'node:assert/strict'
import { History } from '../../test/sim/checkers.ts'
import { Cluster, List } from '../../test/sim/cluster.ts'
import { World } from '../../test/sim/world.ts'
import { Refused } from '../errors.ts'
import { isDone, planAlone, planRecovery, recover, recoveryWords } from './recovery.ts'

/** Servers with ten writes; all are down when this resolves. */
async function fallen(options = {}, voting = ['a', 'b', 'c']) {
  const world = new World(1, { logging: true })
  const nodes = new Cluster(world, new History(), options)
  for (const name of ['a', 'b', 'c', 'd', 'e']) {
    nodes.add(name)
    nodes.start(name)
  }
  await world.runFor(20)
  const servers = voting.map((id) => ({ id, address: nodes.member(id).address, voter: true }))
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
  const voter = (name: string) => ({ id: name, address: nodes.member(name).address, voter: true })
  return { world, nodes, io, done, voter }
}

describe('recovery from a lost majority', () => {
  for (const snapshotEntries of [5, 1000]) {
    it(`lets one go on alone with what it has, and others come in empty (snapshots after ${snapshotEntries})`, async () => {
      const { world, nodes, io, done } = await fallen({ snapshotEntries, trailingEntries: 0 })
      const plan = await done(planAlone(io('b'), 'b'))
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

      const again = await done(planAlone(io('b'), 'b'))
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

  for (const snapshotEntries of [5, 1000]) {
    it(`lets two of five go on, who elect the one with most, and a third from before is not listened to (snapshots after ${snapshotEntries})`, async () => {
      const { world, nodes, io, done, voter } = await fallen({ snapshotEntries, trailingEntries: 0 }, [
        'a',
        'b',
        'c',
        'd',
        'e',
      ])
      // What b alone has may have been acknowledged by those that are lost, and is kept; c does not know of it.
      nodes.start('b')
      nodes.start('c')
      nodes.start('d')
      await world.runWhile(() => nodes.leader() === undefined, 5000)
      await world.runFor(500)
      const behind = nodes.leader()!.name === 'c' ? 'b' : 'c'
      const ahead = behind === 'c' ? 'b' : 'c'
      nodes.down(behind, false)
      void nodes
        .leader()!
        .replica.propose(Buffer.from('late'))
        .catch(() => {})
      await world.runFor(100)
      for (const name of nodes.members.keys()) nodes.down(name, false)

      const servers = [voter('b'), voter('c')]
      const plans = []
      for (const name of ['b', 'c']) {
        const plan = await done(planRecovery(io(name), name, servers))
        nodes.down(name, false)
        await done(recover(io(name), new List(name, new History()), plan))
        nodes.down(name, false)
        plans.push(plan)
        const again = await done(planRecovery(io(name), name, servers))
        nodes.down(name, false)
        assert.ok(isDone(again, 'before'))
      }
      assert.equal(plans[0]!.next.cluster, plans[1]!.next.cluster)
      assert.notEqual(plans[0]!.next.cluster, plans[0]!.former.cluster)
      nodes.start('b')
      nodes.start('c')
      // It had all of them vote, and would take the two for its own.
      nodes.start('a')
      await world.runWhile(() => nodes.leader() === undefined, 5000)
      const leader = nodes.leader()!
      assert.equal(leader.name, ahead)
      const both = () => ['b', 'c'].every((name) => nodes.member(name).list.writes.length === 11)
      await world.runWhile(() => !both(), 5000)
      assert.deepEqual(nodes.member(behind).list.writes, [
        ...Array.from({ length: 10 }, (_, at) => `w${at + 1}`),
        'late',
      ])
      await world.runFor(5000)
      assert.equal(nodes.leader()?.name, ahead)
      assert.equal(nodes.member('a').replica?.status.leader, '')
      assert.match(world.lines.join('\n'), /is of cluster \S+, not of ours: it is not listened to/)
    })
  }

  it('has all come to one cluster, also who has the list as its last configuration already and the others do not', async () => {
    const { world, nodes, io, done, voter } = await fallen()
    for (const name of ['a', 'b', 'c']) nodes.start(name)
    await world.runWhile(() => nodes.leader() === undefined, 5000)
    await world.runFor(1000)
    const { name: first, replica } = nodes.leader()!
    const [lost, second] = ['a', 'b', 'c'].filter((name) => name !== first) as [string, string]
    replica.changeServers({ type: 'remove', id: lost }).catch(() => {})
    // In the log of the leader alone when all stop.
    await world.runWhile(() => replica.status.configuration.servers.length === 3, 5000, 0.01)
    world.network.partition([[first], [second, lost]])
    await world.runFor(300)
    for (const name of nodes.members.keys()) nodes.down(name, false)
    world.network.heal()

    const servers = [voter(first), voter(second)]
    const formers = []
    for (const name of [first, second]) {
      const plan = await done(planRecovery(io(name), name, servers))
      nodes.down(name, false)
      formers.push(plan.former.servers.length)
      assert.ok(!isDone(plan, 'before'))
      await done(recover(io(name), new List(name, new History()), plan))
      nodes.down(name, false)
    }
    assert.deepEqual(formers, [2, 3])
    for (const name of [first, second]) nodes.start(name)
    await world.runWhile(() => nodes.leader() === undefined, 20_000)
    assert.notEqual(nodes.leader(), undefined)
    assert.equal(nodes.leader()!.replica.status.configuration.servers.length, 2)
  })

  it('does not take a list that makes no configuration', async () => {
    const { nodes, io, done, voter } = await fallen()
    for (const [servers, reason] of [
      [[voter('b')], /this server, a, is not among those that go on: b/],
      [[voter('a'), { ...voter('b'), id: 'a' }], /an id of its own, received "a"/],
      [[voter('a'), { ...voter('a'), id: 'b' }], /an address of its own/],
      [[{ ...voter('a'), voter: false }], /a server that votes/],
      [[{ ...voter('a'), address: 'nonsense:port' }], /nonsense/],
    ] as const) {
      await assert.rejects(done(planRecovery(io('a'), 'a', [...servers])), reason)
      nodes.down('a', false)
    }
  })

  it('is refused where it makes no sense', async () => {
    const { nodes, io, done } = await fallen()
    await assert.rejects(done(planAlone(io('d'), 'd')), /no log of any cluster/)
    await assert.rejects(done(planAlone(io('a'), 'x')), /did not vote/)
    nodes.down('a', false)
    const plan = await done(planAlone(io('a'), 'a'))
    nodes.down('a', false)
    await assert.rejects(
      done(recover(io('a'), new List('a', new History()), { ...plan, lastIndex: plan.lastIndex - 1 })),
      Refused,
    )
    nodes.down('a', false)
    await done(recover(io('a'), new List('a', new History()), plan))
    nodes.down('a', false)
    await assert.rejects(done(planAlone(io('a'), 'a')), /only one that votes already/)
  })
})
