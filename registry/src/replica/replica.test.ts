import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import { History } from '../../test/sim/checkers.ts'
import { Cluster, List } from '../../test/sim/cluster.ts'
import { quickDisk, World } from '../../test/sim/world.ts'
import {
  Busy,
  Corrupt,
  LeadershipLost,
  MajorityUnheard,
  NotLeader,
  Refused,
  Stopped,
  TooLarge,
  TooNew,
} from '../errors.ts'
import { Bookmark, bookmarkFile } from './bookmark.ts'
import type { ReplicaOptions } from './replica.ts'
import { encodeFrame } from './wire.ts'

const bytes = (text: string) => Uint8Array.from(Buffer.from(text))

/** Nodes that are up, in one cluster, with `a` leading it. */
async function cluster(names: string[], options: Partial<ReplicaOptions> = {}, seed = 1) {
  const world = new World(seed, { logging: true })
  const history = new History()
  const nodes = new Cluster(world, history, options)
  const halts: string[] = []
  world.onHalt = (node, reason) => {
    halts.push(`${node}: ${reason.message}`)
    nodes.member(node).replica = undefined
  }
  for (const name of names) {
    nodes.add(name)
    nodes.start(name)
  }
  await world.runFor(20)
  const servers = names.map((id) => ({ id, address: nodes.member(id).address, voter: true }))
  await settled(world, nodes.member('a').replica!.bootstrap({ cluster: 'test', servers }))
  await until(world, () => nodes.leader()?.name === 'a')
  const replica = (name: string) => nodes.member(name).replica!
  const write = (text: string, name = 'a') => settled(world, replica(name).propose(bytes(text)))
  const level = () =>
    until(world, () => new Set(nodes.running().map(({ replica }) => replica.status.applied)).size === 1)
  return { world, nodes, halts, replica, write, level, history }
}

async function until(world: World, condition: () => boolean, patience = 20_000): Promise<void> {
  assert.ok(await world.runWhile(() => !condition(), patience, 5), `not within ${patience} ms: ${condition}`)
}

/** Lets the world go on until the promise has its outcome. */
async function settled<T>(world: World, promise: Promise<T>, patience = 20_000): Promise<T> {
  let done = false
  const note = () => {
    done = true
  }
  promise.then(note, note)
  await until(world, () => done, patience)
  return promise
}

describe('a replica', () => {
  it('answers a proposal with its index and what apply returned', async () => {
    const { write, replica, nodes, level } = await cluster(['a', 'b', 'c'])
    const first = await write('x')
    const second = await write('y')
    assert.deepEqual([first.result, second.result], [1, 2])
    assert.equal(second.index, first.index + 1)
    assert.equal(replica('a').status.applied, second.index)
    await level()
    for (const name of ['a', 'b', 'c']) assert.deepEqual(nodes.member(name).list.writes, ['x', 'y'])
  })

  it('saves proposals of one moment, and those that gather during a save, together', async () => {
    const { world, replica } = await cluster(['a', 'b', 'c'])
    await world.runFor(500)
    const before = replica('a').status.walSyncs
    const all = Array.from({ length: 50 }, (_, at) => replica('a').propose(bytes(`first ${at}`)))
    await world.runFor(0.01)
    all.push(...Array.from({ length: 50 }, (_, at) => replica('a').propose(bytes(`second ${at}`))))
    await settled(world, Promise.all(all))
    assert.equal(replica('a').status.walSyncs, before + 2)
  })

  it('has everything again after a crash of all', async () => {
    const { world, nodes, write } = await cluster(['a', 'b', 'c'])
    for (let at = 0; at < 20; at++) await write(`w${at}`)
    for (const name of ['a', 'b', 'c']) nodes.down(name, false)
    await world.runFor(100)
    for (const name of ['a', 'b', 'c']) nodes.start(name)
    await until(world, () => nodes.leader() !== undefined && nodes.leader()!.list.writes.length === 20)
  })

  it('refuses proposals and reads where it does not lead, and names the leader', async () => {
    const { replica, nodes, world } = await cluster(['a', 'b', 'c'])
    await until(world, () => replica('b').status.leader === 'a')
    const { address } = nodes.member('a')
    for (const refused of [
      replica('b').propose(bytes('x')),
      replica('b').readIndex(),
      replica('b').changeServers({ type: 'remove', id: 'c' }),
    ]) {
      await assert.rejects(refused, (error) => error instanceof NotLeader && error.leader === address)
    }
    assert.equal(replica('b').leaseIndex(), undefined)
    assert.equal(await replica('b').transferLeadership(), false)
    assert.deepEqual(
      [replica('b').status.leaderAddress, replica('a').status.leaderAddress, replica('a').status.role],
      [address, address, 'leader'],
    )
  })

  it('says that the outcome is unknown when it loses its leadership over a proposal', async () => {
    const { world, replica } = await cluster(['a', 'b', 'c'])
    world.network.partition([['a'], ['b', 'c']])
    await assert.rejects(settled(world, replica('a').propose(bytes('lost'))), LeadershipLost)
    assert.notEqual(replica('a').status.role, 'leader')
  })

  it('takes no more than it can hold', async () => {
    const { world, replica } = await cluster(['a', 'b', 'c'], { proposalsMax: 10 })
    world.network.partition([['a'], ['b', 'c']])
    const waiting = Array.from({ length: 10 }, () => replica('a').propose(bytes('x')))
    for (const one of waiting) one.catch(() => {})
    await assert.rejects(replica('a').propose(bytes('one too many')), Busy)
    await assert.rejects(replica('a').propose(new Uint8Array(5_000_000)), TooLarge)
  })

  it('commits what is too much for one batch in several, in order', async () => {
    const { world, replica } = await cluster(['a', 'b', 'c'])
    const before = replica('a').status.walSyncs
    const writes = Array.from({ length: 5 }, () => replica('a').propose(new Uint8Array(900_000)))
    const indexes = (await settled(world, Promise.all(writes))).map(({ index }) => index)
    assert.deepEqual(
      indexes,
      indexes.map((_, at) => indexes[0]! + at),
    )
    assert.ok(replica('a').status.walSyncs - before >= 3)
  })

  it('holds no more of the log than its bound while nothing can be committed, however long clients go on', async () => {
    const bound = 100_000
    const { world, nodes, write, level } = await cluster(['a', 'b', 'c'], { proposalBytesMax: bound })
    await write('before')
    await level()
    // They answer heartbeats, and their disks take nothing: the leader goes on leading.
    for (const name of ['b', 'c']) world.nodes.get(name)!.diskFaults = { ...quickDisk, delayMin: 1e7, delayMax: 1e7 }
    let refused = 0
    for (let second = 0; second < 600; second++) {
      for (let at = 0; at < 5; at++) {
        nodes
          .leader()
          ?.replica.propose(new Uint8Array(1000).fill(120))
          .catch((error) => {
            if (error instanceof Busy) refused++
            else assert.ok(error instanceof LeadershipLost || error instanceof NotLeader, String(error))
          })
      }
      await world.runFor(1000)
      for (const { replica } of nodes.running()) {
        assert.ok((replica.status.lastIndex - replica.status.commit) * 1000 <= bound, `after ${second} s`)
      }
    }
    assert.ok(refused > 1000, `${refused} refused`)
    for (const name of ['b', 'c']) {
      world.nodes.get(name)!.diskFaults = quickDisk
      nodes.down(name, true)
      nodes.start(name)
    }
    await until(world, () => nodes.leader() !== undefined)
    await write('after', nodes.leader()!.name)
  })

  it('holds no more of the log than its bound when its own disk takes nothing, though the others commit', async () => {
    const bound = 100_000
    const { world, replica, write } = await cluster(['a', 'b', 'c'], { proposalBytesMax: bound })
    await write('before')
    const { lastIndex } = replica('a').status
    world.nodes.get('a')!.diskFaults = { ...quickDisk, delayMin: 1e7, delayMax: 1e7 }
    let refused = 0
    for (let at = 0; at < 500; at++) {
      replica('a')
        .propose(new Uint8Array(1000))
        .catch((error) => {
          assert.ok(error instanceof Busy, String(error))
          refused++
        })
      await world.runFor(20)
    }
    assert.ok(replica('a').status.commit > lastIndex, 'the others do commit')
    assert.ok((replica('a').status.lastIndex - lastIndex) * 1000 <= bound)
    assert.ok(refused >= 400, `${refused} refused`)
  })

  it('confirms reads by a majority, and gives an index under its lease without asking', async () => {
    const { world, replica, write } = await cluster(['a', 'b', 'c'])
    const { index } = await write('x')
    assert.equal(await settled(world, replica('a').readIndex()), index)
    assert.equal(replica('a').leaseIndex(), index)
    world.network.partition([['a'], ['b', 'c']])
    await assert.rejects(settled(world, replica('a').readIndex()), NotLeader)
    assert.equal(replica('a').leaseIndex(), undefined)
  })

  it('says how long ago a leader was heard, or it was one; whoever never heard any has not', async () => {
    const { world, replica, nodes } = await cluster(['a', 'b', 'c'])
    await until(world, () => replica('b').status.leader === 'a')
    assert.ok(replica('b').status.lastContact < 1_000)
    await world.runFor(30_000)
    nodes.down('b', true)
    nodes.down('c', true)
    await until(world, () => replica('a').status.role !== 'leader')
    assert.ok(replica('a').status.lastContact < 5_000, `${replica('a').status.lastContact} ms`)
    nodes.down('a', true)
    nodes.start('b')
    await world.runFor(5_000)
    assert.equal(replica('b').status.lastContact, Number.POSITIVE_INFINITY)
  })

  it('tells when an index is applied', async () => {
    const { world, replica, write } = await cluster(['a', 'b', 'c'])
    const { index } = await write('x')
    await settled(world, replica('b').waitApplied(index))
    assert.ok(replica('b').status.applied >= index)
    const later = replica('b').waitApplied(index + 2)
    await write('y')
    await write('z')
    await settled(world, later)
  })

  it('goes on leading while its own disk takes seconds: heartbeats and commits do not wait for it', async () => {
    const { world, replica, write } = await cluster(['a', 'b', 'c'])
    world.nodes.get('a')!.diskFaults = { delayMin: 2500, delayMax: 2500, failure: 0 }
    const { term } = replica('a').status
    const began = world.now
    await write('committed by the others')
    assert.ok(world.now - began < 200, `${world.now - began} ms`)
    await write('and another, behind a save that is not done')
    assert.ok(world.now - began < 400, `${world.now - began} ms`)
    await world.runFor(8000)
    assert.equal(replica('a').status.term, term)
    assert.equal(replica('a').status.role, 'leader')
  })

  it('acknowledges nothing that its disk refused, and halts', async () => {
    const { world, replica, halts, nodes } = await cluster(['a'])
    world.nodes.get('a')!.diskFaults = { ...quickDisk, failure: 1 }
    await assert.rejects(settled(world, replica('a').propose(bytes('x'))), Stopped)
    assert.equal(halts.length, 1)
    assert.match(halts[0]!, /^a: the disk of the data directory failed.*EIO/)
    world.nodes.get('a')!.diskFaults = quickDisk
    nodes.start('a')
    await until(world, () => nodes.leader() !== undefined)
  })

  it('halts when apply throws, rather than go on without it', async () => {
    const { world, replica, nodes, halts } = await cluster(['a'])
    nodes.member('a').list.apply = () => {
      throw new Error('cannot apply')
    }
    await assert.rejects(settled(world, replica('a').propose(bytes('x'))), /halted: cannot apply/)
    assert.deepEqual(halts, ['a: cannot apply'])
  })

  it('drops what is malformed and what is meant for another server', async () => {
    const { world, replica, halts } = await cluster(['a', 'b', 'c'])
    const { term } = replica('b').status
    const header = { to: 'somebody else', from: 'c', address: '10.0.0.3:8300', cluster: undefined }
    const message = { type: 'timeoutNow', term: 99 } as const
    replica('b').receive(encodeFrame(header, { kind: 'message', message }), () => {})
    replica('b').receive(bytes('\x01garbage'), () => {})
    const nowhere = { ...header, to: 'b', from: 'stranger', address: 'no address: at all' }
    const vote = { type: 'vote', term: 99, pre: true, lastIndex: 0, lastTerm: 0, transfer: false } as const
    replica('b').receive(encodeFrame(nowhere, { kind: 'message', message: vote }), () => {})
    replica('b').receive(new Uint8Array(0), () => {})
    await world.runFor(300)
    assert.equal(replica('b').status.term, term)
    assert.deepEqual(halts, [])
  })

  it('says in Consul’s words what happens', async () => {
    const { world } = await cluster(['a', 'b', 'c'])
    const said = world.lines
      .filter((line) => / a \[(info|warn)\] raft: /.test(line))
      .map((line) => line.split('raft: ')[1])
    assert.deepEqual(said.slice(0, 3), [
      'Node at 10.0.0.1:8300 [Follower] entering Follower state',
      'Heartbeat timeout reached, starting election',
      'Node at 10.0.0.1:8300 [Candidate] entering Candidate state',
    ])
    assert.match(said[3]!, /^Remote peer 10\.0\.0\.[23]:8300 does not have local node 10\.0\.0\.1:8300 as a peer$/)
    assert.deepEqual(said.slice(4, 6), [
      'Election won. Tally: 2',
      'Node at 10.0.0.1:8300 [Leader] entering Leader state',
    ])
    await world.runFor(200)
    for (const peer of ['10.0.0.2:8300', '10.0.0.3:8300']) {
      assert.ok(world.lines.some((line) => line.endsWith(`[info] raft: pipelining replication to peer ${peer}`)))
    }
  })

  describe('at its end', () => {
    it('flushes, rejects who waits, and takes nothing more', async () => {
      const { world, replica, nodes, write } = await cluster(['a'])
      await write('kept')
      const ends = replica('a')
      const waiting = ends.waitApplied(1000)
      const stopped = nodes.stop('a')
      await assert.rejects(settled(world, waiting), Stopped)
      await settled(world, stopped)
      await assert.rejects(ends.propose(bytes('x')), Stopped)
      await assert.rejects(ends.waitApplied(1000), Stopped)
      ends.tick()
      await ends.stop()
      nodes.start('a')
      await until(world, () => nodes.member('a').list.writes[0] === 'kept')
    })
  })

  describe('for followers of the log', () => {
    it('gives committed entries after a position it knows, and nothing for one that it does not', async () => {
      const { replica, write } = await cluster(['a'])
      await write('x')
      const { index } = await write('y')
      const one = replica('a')
      const { term } = one.status
      assert.equal(one.termAt(index), term)
      assert.deepEqual(
        one.committedAfter(index - 2, term, 1_000_000)?.entries.map(({ data }) => Buffer.from(data).toString()),
        ['x', 'y'],
      )
      assert.equal(one.committedAfter(index - 2, term, 1)?.entries.length, 1)
      assert.deepEqual(one.committedAfter(0, 0, 1_000_000)?.entries.map((entry) => entry.index)[0], 1)
      assert.deepEqual(one.committedAfter(index, term, 1_000_000), { entries: [] })
      assert.equal(one.committedAfter(index, term + 1, 1_000_000), undefined)
      assert.equal(one.committedAfter(index + 1, term, 1_000_000), undefined)
    })

    it('gives the whole state when the log does not reach back', async () => {
      const { world, replica, write } = await cluster(['a'], { snapshotEntries: 10, trailingEntries: 3 })
      for (let at = 0; at < 30; at++) await write(`w${at}`)
      await world.runFor(100)
      const { applied, term, snapshotIndex } = replica('a').status
      assert.ok(snapshotIndex > 10)
      assert.equal(replica('a').committedAfter(1, 1, 1_000_000), undefined)
      assert.ok(replica('a').committedAfter(snapshotIndex - 3, term, 1_000_000) !== undefined)
      const { mark, chunks } = await replica('a').snapshotBytes()
      const copy = new List('copy', new History())
      copy.restore(chunks)
      assert.deepEqual([mark.index, mark.term, copy.writes.length], [applied, term, 30])
      assert.equal(mark.configuration.cluster, 'test')
    })
  })

  describe('with snapshots', () => {
    it('starts from the newest and the log after it', async () => {
      const { world, nodes, write } = await cluster(['a'], { snapshotEntries: 10, trailingEntries: 0 })
      for (let at = 0; at < 25; at++) await write(`w${at}`)
      await world.runFor(50)
      nodes.down('a', false)
      nodes.start('a')
      await until(world, () => nodes.member('a').list.writes.length === 25)
    })

    it('starts from the older one and the log when the newest is damaged', async () => {
      const { world, nodes, write } = await cluster(['a'], {
        snapshotEntries: 10,
        trailingEntries: 0,
        wal: { segmentBytes: 300, zeroBytes: 0 },
      })
      for (let at = 0; at < 35; at++) await write(`w${at}`)
      await world.runFor(50)
      nodes.down('a', false)
      const { disk } = world.nodes.get('a')!
      const snapshots = disk.files().filter((file) => file.endsWith('.snapshot'))
      assert.equal(snapshots.length, 2)
      const damaged = disk.peek(snapshots[1]!)!
      damaged[damaged.length - 20]! ^= 1
      disk.poke(snapshots[1]!, damaged)
      nodes.start('a')
      await until(world, () => nodes.member('a').list.writes.length === 35)
      assert.ok(
        world.lines.some((line) => /damage on the disk: .*-\d+\.snapshot: .* offset \d+ .*nothing is lost/.test(line)),
      )
      const kept = `raft/damaged/1/${snapshots[1]!.split('/').at(-1)}`
      assert.deepEqual(disk.peek(kept), damaged)
      assert.equal(disk.peek(snapshots[1]!), undefined)
    })

    it('starts from the log alone when the only one is damaged', async () => {
      const { world, nodes, write } = await cluster(['a'], {
        snapshotEntries: 10,
        trailingEntries: 0,
        wal: { segmentBytes: 300, zeroBytes: 0 },
      })
      for (let at = 0; at < 15; at++) await write(`w${at}`)
      await world.runFor(50)
      nodes.down('a', false)
      const { disk } = world.nodes.get('a')!
      const [snapshot, ...more] = disk.files().filter((file) => file.endsWith('.snapshot'))
      assert.deepEqual(more, [])
      const damaged = disk.peek(snapshot!)!
      damaged[damaged.length - 20]! ^= 1
      disk.poke(snapshot!, damaged)
      nodes.start('a')
      await until(world, () => nodes.member('a').list.writes.length === 15)
      assert.ok(world.lines.some((line) => /damage on the disk: .*\.snapshot: .*nothing is lost/.test(line)))
    })

    it('starts without a damaged part of the log that a snapshot holds, and puts it aside', async () => {
      const { world, nodes, write } = await cluster(['a'], {
        snapshotEntries: 10,
        trailingEntries: 0,
        wal: { segmentBytes: 300, zeroBytes: 0 },
      })
      for (let at = 0; at < 35; at++) await write(`w${at}`)
      await world.runFor(50)
      nodes.down('a', false)
      const { disk } = world.nodes.get('a')!
      const segments = disk.files().filter((file) => file.endsWith('.wal'))
      const damaged = disk.peek(segments[1]!)!
      damaged[60]! ^= 4
      disk.poke(segments[1]!, damaged)
      nodes.start('a')
      await until(world, () => nodes.member('a').list.writes.length === 35)
      const aside = disk.files().filter((file) => file.startsWith('raft/damaged/1/'))
      assert.deepEqual(
        aside.map((file) => file.split('/').at(-1)),
        segments.slice(0, 2).map((file) => file.split('/').at(-1)),
      )
      assert.deepEqual(disk.peek(aside[1]!), damaged)
      nodes.down('a', false)
      nodes.start('a')
      await until(world, () => nodes.member('a').list.writes.length === 35)
      assert.equal(disk.files().filter((file) => file.startsWith('raft/damaged/')).length, 2)
    })

    it('leaves what a newer version wrote as it is, and says which', async () => {
      const { world, nodes, write } = await cluster(['a'], { snapshotEntries: 10, trailingEntries: 0 })
      for (let at = 0; at < 15; at++) await write(`w${at}`)
      await world.runFor(50)
      nodes.down('a', false)
      const { disk } = world.nodes.get('a')!
      const [file] = disk.files().filter((name) => name.endsWith('.snapshot'))
      const newer = disk.peek(file!)!
      newer[6] = '2'.charCodeAt(0)
      const end = 12 + newer.readUInt32BE(8)
      newer.writeUInt32BE(crc32(newer.subarray(0, end)), end)
      disk.poke(file!, newer)
      nodes.start('a')
      await until(world, () => nodes.broken.has('a'))
      assert.ok(nodes.broken.get('a') instanceof TooNew)
      assert.match(nodes.broken.get('a')!.message, /^raft\/snapshots\/\S+ has format 2, .* understands format 1: .*/)
      assert.deepEqual(disk.peek(file!), newer)
    })

    it('does not start as if it knew nothing when both are damaged', async () => {
      const { world, nodes, write } = await cluster(['a'], {
        snapshotEntries: 10,
        trailingEntries: 0,
        wal: { segmentBytes: 300, zeroBytes: 0 },
      })
      for (let at = 0; at < 35; at++) await write(`w${at}`)
      await world.runFor(50)
      nodes.down('a', false)
      const { disk } = world.nodes.get('a')!
      for (const file of disk.files().filter((file) => file.endsWith('.snapshot'))) disk.poke(file, bytes('damaged'))
      nodes.start('a')
      await until(world, () => nodes.broken.has('a'))
      assert.ok(nodes.broken.get('a') instanceof Corrupt)
      assert.match(
        nodes.broken.get('a')!.message,
        /-\d+\.snapshot: ends at offset 7 .*; the log holds entries \d+ to \d+, and the newest whole snapshot ends at 0/,
      )
    })

    it('takes a new one when the one it sends turns out to be damaged', async () => {
      const { world, nodes, write, replica } = await cluster(['a', 'b', 'c'], {
        snapshotEntries: 20,
        trailingEntries: 2,
      })
      nodes.down('c', false)
      for (let at = 0; at < 30; at++) await write(`w${at}`)
      await world.runFor(100)
      const { disk } = world.nodes.get('a')!
      const file = disk.files().find((name) => name.endsWith('.snapshot'))!
      const damaged = disk.peek(file)!
      damaged[200]! ^= 1
      disk.poke(file, damaged)
      nodes.start('c')
      await until(world, () => nodes.member('c').list.writes.length === 30)
      assert.ok(replica('a').status.role === 'leader')
      await until(world, () => disk.peek(file) === undefined)
      assert.deepEqual(disk.peek(`raft/damaged/1/${file.split('/').at(-1)}`), damaged)
      assert.ok(world.lines.some((line) => /damage on the disk: \S+\.snapshot: .* offset \d+/.test(line)))
    })

    it('keeps entries behind it for a follower that is a little behind, who needs none', async () => {
      const { world, nodes, write, replica } = await cluster(
        ['a', 'b', 'c'],
        { snapshotEntries: 10, trailingEntries: 40 },
        3,
      )
      for (let at = 0; at < 30; at++) await write(`w${at}`)
      nodes.down('c', false)
      for (let at = 0; at < 20; at++) await write(`missed${at}`)
      await world.runFor(100)
      assert.ok(replica('a').status.snapshotIndex > 30)
      nodes.start('c')
      await until(world, () => nodes.member('c').list.writes.length === 50)
      assert.ok(!world.lines.some((line) => line.includes('restored a snapshot of the leader')))
    })

    it('brings one to a follower that is too far behind, however often the connection breaks', async () => {
      for (const breaks of [0, 1, 5]) {
        const { world, nodes, write, replica, level } = await cluster(
          ['a', 'b', 'c'],
          { snapshotEntries: 20, trailingEntries: 2 },
          breaks + 1,
        )
        nodes.down('c', false)
        // More than five chunks.
        for (let at = 0; at < 40; at++) await write(`${at} ${'x'.repeat(40_000)}`)
        await world.runFor(100)
        assert.ok(replica('a').status.snapshotIndex > 20)
        nodes.start('c')
        for (let broken = 0; broken < breaks; broken++) {
          await world.runFor(400)
          world.network.breakConnections(1)
        }
        await until(world, () => nodes.member('c').list.writes.length === 40, 60_000)
        await level()
        assert.ok(world.lines.some((line) => line.includes(' c [info] raft: restored a snapshot of the leader')))
        nodes.down('c', false)
        nodes.start('c')
        await until(world, () => nodes.member('c').list.writes.length === 40)
        await write('and on it goes')
        await until(world, () => nodes.member('c').list.writes.length === 41)
      }
    })
  })

  describe('and membership', () => {
    it('lets servers in and out, one at a time', async () => {
      const { world, nodes, replica, write } = await cluster(['a'])
      await write('x')
      nodes.add('b')
      nodes.start('b')
      const { address } = nodes.member('b')
      assert.equal(replica('a').status.hasState, true)
      await settled(world, replica('a').changeServers({ type: 'add', id: 'b', address, voter: false }))
      await until(world, () => nodes.member('b').list.writes.length === 1)
      assert.equal(replica('b').status.hasState, true)
      const promoted = replica('a').changeServers({ type: 'promote', id: 'b' })
      await assert.rejects(replica('a').changeServers({ type: 'remove', id: 'b' }), Busy)
      await settled(world, promoted)
      await assert.rejects(replica('a').changeServers({ type: 'promote', id: 'b' }), Refused)
      assert.equal(await settled(world, replica('a').transferLeadership('b')), true)
      await until(world, () => nodes.leader()?.name === 'b')
      await write('from b', 'b')
      await settled(world, replica('b').changeServers({ type: 'remove', id: 'a' }))
      await write('alone', 'b')
      assert.deepEqual(
        replica('b').status.configuration.servers.map(({ id }) => id),
        ['b'],
      )
    })

    describe('a change that waits for the answers of those that would be left', () => {
      const removal = { type: 'remove', id: 'c' } as const
      const waiting = async (seed: number) => {
        const made = await cluster(['a', 'b', 'c'], {}, seed)
        await made.world.runFor(1000)
        made.world.network.partition([['a'], ['b', 'c']])
        const change = made.replica('a').changeServers(removal)
        change.catch(() => {})
        await assert.rejects(made.replica('a').changeServers({ type: 'remove', id: 'b' }), Busy)
        return { ...made, change }
      }

      it('ends when they do not come, changes nothing, and lets the next one be made', async () => {
        const { world, nodes, replica, change } = await waiting(1)
        await assert.rejects(
          settled(world, change),
          (error) => error instanceof MajorityUnheard || error instanceof NotLeader,
        )
        world.network.heal()
        await until(world, () => nodes.leader() !== undefined)
        const { name } = nodes.leader()!
        assert.equal(replica(name).status.configuration.servers.length, 3)
        const other = name === 'c' ? 'a' : 'c'
        await settled(world, replica(name).changeServers({ type: 'remove', id: other }))
      })

      it('ends when its leader lets another lead', async () => {
        const { world, nodes, replica } = await cluster(['a', 'b', 'c'])
        await world.runFor(1000)
        for (let at = 0; at < 5; at++) {
          const { name } = nodes.leader()!
          const gone = name === 'c' ? 'a' : 'c'
          const change = replica(name).changeServers({ type: 'remove', id: gone })
          const outcome = change.then(
            () => 'done',
            (error) => (error as Error).name,
          )
          const handed = replica(name).transferLeadership()
          const [ended] = await settled(world, Promise.all([outcome, handed]))
          assert.ok(['Busy', 'NotLeader', 'LeadershipLost'].includes(ended), ended)
          await until(world, () => nodes.leader() !== undefined)
          assert.equal(replica(nodes.leader()!.name).status.configuration.servers.length, 3)
          await world.runFor(1000)
        }
      })

      it('ends when its server stops', async () => {
        const { world, replica, change } = await waiting(2)
        const stopping = replica('a').stop()
        await assert.rejects(settled(world, change), Stopped)
        await settled(world, stopping)
      })
    })

    it('is bootstrapped once', async () => {
      const { replica } = await cluster(['a'])
      await assert.rejects(replica('a').bootstrap({ cluster: 'other', servers: [] }), Refused)
    })
  })

  describe('with the commit index kept on disk', () => {
    it('has applied up to there after a start, though nobody tells it', async () => {
      const { world, nodes, write, level } = await cluster(['a', 'b', 'c'])
      for (let at = 0; at < 20; at++) await write(`w${at}`)
      await level()
      await world.runFor(2500)
      for (const name of ['a', 'b', 'c']) nodes.down(name, false)
      nodes.start('b')
      await until(world, () => nodes.member('b').list.writes.length === 20)
      assert.equal(nodes.leader(), undefined)
      assert.notEqual(nodes.member('b').replica!.status.role, 'leader')
    })

    it('is exact after a clean stop, and at most a second or so old otherwise', async () => {
      const { world, nodes, write, level, replica } = await cluster(['a', 'b', 'c'])
      const kept = async (name: string) => (await Bookmark.open(world.nodes.get(name)!.disk.open())).index
      await write('x')
      await level()
      await world.runFor(3000)
      const { commit } = replica('b').status
      assert.equal(await kept('b'), commit)
      await write('y')
      await level()
      await settled(world, nodes.stop('b'))
      assert.equal(await kept('b'), commit + 1)
    })

    it('never says more than what is durable here, however slow this disk is', async () => {
      const { world, nodes, replica } = await cluster(['a', 'b', 'c'])
      world.nodes.get('b')!.diskFaults = { delayMin: 10, delayMax: 2000, failure: 0 }
      for (let life = 0; life < 20; life++) {
        for (let at = 0; at < 15 + life; at++) {
          replica('a')
            .propose(bytes(`w${life}.${at}`))
            .catch(() => {})
          await world.runFor(300)
        }
        nodes.down('b', false)
        nodes.start('b')
        await until(world, () => nodes.broken.has('b') || nodes.member('b').replica !== undefined, 60_000)
        assert.equal(nodes.broken.get('b')?.message, undefined, `life ${life}`)
      }
    })

    it('a log that ends before is damaged, however whole it looks', async () => {
      const { world, nodes, write, level } = await cluster(['a', 'b', 'c'], { wal: { zeroBytes: 0 } })
      for (let at = 0; at < 5; at++) await write(`w${at}`)
      await level()
      const { disk } = world.nodes.get('b')!
      const file = disk.files().find((name) => name.endsWith('.wal'))!
      const then = Uint8Array.from(disk.peek(file)!)
      for (let at = 0; at < 5; at++) await write(`later${at}`)
      await level()
      await world.runFor(2500)
      nodes.down('b', false)
      disk.poke(file, then)
      nodes.start('b')
      await until(world, () => nodes.broken.has('b'))
      assert.ok(nodes.broken.get('b') instanceof Corrupt)
      assert.match(nodes.broken.get('b')!.message, /raft\/wal: expected entry \d+ of term \d+, .*; the log ends at \d+/)
    })

    it('is nothing that a start depends on: damaged it is written anew, and gone it is gone', async () => {
      for (const damage of [new Uint8Array(5000).fill(9), new Uint8Array(0)]) {
        const { world, nodes, write, level } = await cluster(['a', 'b', 'c'])
        for (let at = 0; at < 5; at++) await write(`w${at}`)
        await level()
        await world.runFor(2500)
        nodes.down('b', false)
        const { disk } = world.nodes.get('b')!
        disk.poke(bookmarkFile, damage)
        nodes.start('b')
        await until(world, () => nodes.member('b').list.writes.length === 5)
        assert.ok(world.lines.some((line) => /raft\/commit is damaged; nothing is lost/.test(line)))
        await write('on')
        await level()
        await world.runFor(2500)
        assert.ok((await Bookmark.open(disk.open())).index > 0)
      }
    })
  })

  it('does not start on a log that lost what it had acknowledged', async () => {
    const { world, nodes, write } = await cluster(['a'])
    for (let at = 0; at < 5; at++) await write(`w${at}`)
    nodes.down('a', false)
    const { disk } = world.nodes.get('a')!
    const file = disk.files().find((name) => name.endsWith('.wal'))!
    const damaged = disk.peek(file)!
    damaged[100]! ^= 1
    disk.poke(file, damaged)
    nodes.start('a')
    await until(world, () => nodes.broken.has('a'))
    assert.ok(nodes.broken.get('a') instanceof Corrupt)
    assert.match(
      nodes.broken.get('a')!.message,
      /raft\/wal\/0000000001\.wal: batch \d+ at offset \d+ fails its checksum/,
    )
  })
})
