/** What this core promises beyond the papers: when things count as saved, what a Ready holds, how much is sent to whom. */
import assert from 'node:assert/strict'
import { Cluster } from '../../test/scenarios/cluster.ts'
import { Random } from '../io/random.ts'
import type { Index } from '../model.ts'
import type { Entry, Message, ServerId } from './message.ts'
import { Raft, type Restored, raftOptionsDefault } from './raft.ts'

const { electionTimeoutMin, electionTimeoutMax, heartbeatInterval } = raftOptionsDefault

function core(restored: Partial<Restored> = {}, id: ServerId = 'a'): Raft {
  const options = { ...raftOptionsDefault, id, random: new Random(1) }
  return new Raft(options, { hardState: { term: 0, vote: '' }, snapshot: undefined, entries: [], ...restored }, 0)
}

function founded(...ids: ServerId[]): Raft {
  const raft = core()
  raft.bootstrap({ cluster: 'test', servers: ids.map((id) => ({ id, address: `${id}:8300`, voter: true })) })
  return raft
}

function command(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function appendTo(
  raft: Raft,
  term: number,
  previousIndex: Index,
  previousTerm: number,
  entries: Entry[],
  commit = 0,
): void {
  raft.step('x', { type: 'append', term, previousIndex, previousTerm, entries, commit, round: 1 }, 0)
}

function entry(index: Index, term: number, text = ''): Entry {
  return { index, term, kind: 'command', data: command(text) }
}

describe('what counts as saved', () => {
  it('a lone voter leads only once its own vote is on disk, and commits only what is', () => {
    const raft = founded('a')
    raft.tick(100)
    const first = raft.ready(100)
    assert.deepEqual(first?.hardState, { term: 2, vote: 'a' })
    assert.equal(raft.role, 'candidate')
    assert(first.save !== undefined)
    raft.saved(first.save)
    assert.equal(raft.role, 'leader')
    const second = raft.ready(100)
    assert.equal(raft.commit, 0)
    assert.deepEqual(second?.committed, [])
    assert(second?.save !== undefined)
    raft.saved(second.save)
    assert.equal(raft.commit, 2)
  })

  it('a candidate counts its own vote only once it is on disk', () => {
    const cluster = new Cluster(['a', 'b', 'c'])
    cluster.bootstrap(['a', 'b', 'c'])
    cluster.host('a').slowDisk = true
    cluster.tick('a', 100)
    cluster.deliver()
    assert.equal(cluster.raft('a').role, 'candidate')
    assert(!cluster.told().includes('a has 1 with the vote of a'))
    cluster.save('a')
    assert(cluster.told().includes('a has 1 with the vote of a'))
  })

  it('the leader counts its own copy only once it is on disk', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.host('a').slowDisk = true
    cluster.isolate('c')
    cluster.propose('a', 'x')
    cluster.deliver()
    assert.equal(cluster.raft('a').matchOf('b'), 3)
    assert.equal(cluster.raft('a').commit, 2)
    cluster.save('a')
    assert.equal(cluster.raft('a').commit, 3)
  })

  it('the report of a save whose entries were cut off since means nothing', () => {
    const raft = core()
    appendTo(raft, 1, 0, 0, [entry(1, 1), entry(2, 1), entry(3, 1)])
    const first = raft.ready(0)
    appendTo(raft, 2, 1, 1, [entry(2, 2)])
    const second = raft.ready(0)
    assert.deepEqual(
      second?.entries.map(({ index, term }) => [index, term]),
      [[2, 2]],
    )
    assert(first?.save !== undefined && second.save !== undefined)
    raft.saved(first.save)
    assert.equal(raft.savedIndex, 1)
    raft.saved(second.save)
    assert.equal(raft.savedIndex, 2)
  })

  it('neither does it when an even later leader brings entries of the old term back', () => {
    const raft = core()
    appendTo(raft, 1, 0, 0, [entry(1, 1), entry(2, 1), entry(3, 1)])
    const first = raft.ready(0)
    appendTo(raft, 2, 1, 1, [entry(2, 2)])
    raft.ready(0)
    appendTo(raft, 3, 1, 1, [entry(2, 1), entry(3, 1)])
    assert(first?.save !== undefined)
    raft.saved(first.save)
    assert.equal(raft.savedIndex, 1, 'what is on disk next is the entry of term 2')
  })

  it('one report covers all saves before it', () => {
    const raft = core()
    appendTo(raft, 1, 0, 0, [entry(1, 1)])
    raft.ready(0)
    appendTo(raft, 1, 1, 1, [entry(2, 1)])
    const second = raft.ready(0)
    assert(second?.save !== undefined)
    raft.saved(second.save)
    assert.equal(raft.savedIndex, 2)
  })

  it('an acknowledgement meant for an old leader is dropped when a new one comes before the save', () => {
    const raft = core()
    appendTo(raft, 1, 0, 0, [entry(1, 1), entry(2, 1)])
    raft.step(
      'y',
      { type: 'append', term: 2, previousIndex: 0, previousTerm: 0, entries: [entry(1, 2)], commit: 0, round: 1 },
      0,
    )
    const ready = raft.ready(0)
    assert.deepEqual(
      ready?.afterSave.map(({ to }) => to),
      ['y'],
    )
  })

  it('while the disk is busy heartbeats are answered, with no more than what is saved', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.host('b').slowDisk = true
    cluster.propose('a', 'x')
    cluster.deliver()
    const { now } = cluster
    cluster.settle(5000)
    assert.equal(cluster.raft('a').matchOf('b'), 2)
    cluster.isolate('c')
    cluster.settle(5000)
    assert.deepEqual(cluster.leaders, ['a'], `a slow disk is not a dead server (${cluster.now - now} ms)`)
    cluster.save('b')
    cluster.deliver()
    assert.equal(cluster.raft('a').matchOf('b'), 3)
  })

  it('a snapshot on disk may be of a later term than the hard state; that term has then begun', () => {
    const configuration = { cluster: 'test', servers: [{ id: 'a', address: 'a:8300', voter: true }] }
    const snapshot = { index: 7, term: 4, configuration, configurationIndex: 1 }
    const raft = core({ hardState: { term: 3, vote: 'b' }, snapshot })
    assert.equal(raft.term, 4)
    assert.deepEqual(raft.ready(0)?.hardState, { term: 4, vote: '' })
  })
})

describe('a Ready', () => {
  it('is handed out once, and there is none when there is nothing to do', () => {
    const raft = core()
    assert.equal(raft.ready(0), undefined)
    appendTo(raft, 1, 0, 0, [entry(1, 1)])
    assert.equal(raft.ready(0)?.entries.length, 1)
    assert.equal(raft.ready(0), undefined)
  })

  it('has messages for after the save only when it has something to save', () => {
    const raft = core()
    appendTo(raft, 1, 0, 0, [entry(1, 1)])
    const first = raft.ready(0)
    assert.equal(first?.afterSave.length, 1)
    // The same again: the answer rests on a save that is under way.
    appendTo(raft, 1, 0, 0, [entry(1, 1)])
    assert.equal(raft.ready(0), undefined)
    assert(first.save !== undefined)
    raft.saved(first.save)
    assert.equal(raft.ready(0)?.messages.length, 1)
  })

  it('brings a snapshot alone, and what follows it next', () => {
    const raft = core()
    const configuration = { cluster: 'test', servers: [{ id: 'x', address: 'x:8300', voter: true }] }
    const mark = { index: 7, term: 1, configuration, configurationIndex: 1 }
    raft.step('x', { type: 'snapshot', term: 1, mark, round: 1 }, 0)
    appendTo(raft, 1, 7, 1, [entry(8, 1)], 8)
    const first = raft.ready(0)
    assert.deepEqual(first?.snapshot, mark)
    assert.deepEqual([first?.entries, first?.afterSave, first?.committed], [[], [], []])
    const second = raft.ready(0)
    assert.equal(second?.snapshot, undefined)
    assert.deepEqual(
      second?.entries.map(({ index }) => index),
      [8],
    )
    assert.deepEqual(
      second?.committed.map(({ index }) => index),
      [8],
    )
    assert.deepEqual(
      second?.afterSave.map(({ message }) => message.type === 'appendReply' && message.match),
      [8],
    )
  })

  it('holds committed entries up to a number of bytes, the rest comes next', () => {
    const raft = core()
    const entries = Array.from({ length: 5 }, (_, at) => entry(at + 1, 1, 'x'.repeat(400 * 1024)))
    appendTo(raft, 1, 0, 0, entries, 5)
    const sizes: number[] = []
    for (let ready = raft.ready(0); ready !== undefined; ready = raft.ready(0)) sizes.push(ready.committed.length)
    assert.deepEqual(sizes, [2, 2, 1])
  })

  it('answers several appends of one turn with one acknowledgement', () => {
    const raft = core()
    for (let index = 1; index <= 3; index++) appendTo(raft, 1, index - 1, index === 1 ? 0 : 1, [entry(index, 1)])
    const replies = raft.ready(0)?.afterSave.map(({ message }) => message)
    assert.deepEqual(
      replies?.map((message) => message.type === 'appendReply' && message.match),
      [3],
    )
  })
})

describe('replication', () => {
  it('entries flow without waiting for answers, up to the window', () => {
    const cluster = Cluster.led(['a', 'b'], [], { entriesBytesMax: 100, inflightBytesMax: 1000 })
    for (let at = 0; at < 50; at++) cluster.propose('a', 'x'.repeat(79))
    const sent = () => cluster.wire.flatMap(({ message }) => (message.type === 'append' ? message.entries : []))
    assert.equal(sent().length, 10, 'ten of 100 bytes each')
    cluster.deliver(({ to }) => to === 'b')
    assert.equal(sent().length, 0)
    cluster.deliver()
    assert.equal(cluster.raft('b').commit, 52)
  })

  it('many proposals of one turn travel in one message', () => {
    const cluster = Cluster.led(['a', 'b'])
    cluster.act('a', (raft) => {
      for (let at = 0; at < 20; at++) raft.propose([command('x')])
    })
    assert.deepEqual(
      cluster.wire.map(({ message }) => message.type === 'append' && message.entries.length),
      [20],
    )
  })

  it('an entry larger than a message may be is sent alone', () => {
    const cluster = Cluster.led(['a', 'b'], [], { entriesBytesMax: 100 })
    cluster.propose('a', 'x'.repeat(1000), 'y', 'z')
    cluster.deliver()
    assert.deepEqual(cluster.host('b').applied, ['x'.repeat(1000), 'y', 'z'])
  })

  it('a follower that was away is not flooded: one message with entries until it answers', () => {
    const cluster = Cluster.led(['a', 'b', 'c'], [], { entriesBytesMax: 100 })
    cluster.isolate('c')
    for (let at = 0; at < 20; at++) cluster.propose('a', 'x'.repeat(79))
    cluster.settle(300)
    cluster.heal()
    cluster.tick('a', heartbeatInterval)
    cluster.deliver(
      ({ from, to }) => from === 'c' || to === 'c',
      () => {},
    )
    assert.equal(cluster.raft('a').matchOf('c'), 22)
  })

  it('a lost message is noticed with the next heartbeat and sent again', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.propose('a', 'x')
    cluster.drop()
    cluster.tick('a', heartbeatInterval)
    cluster.deliver()
    assert.deepEqual(cluster.host('b').applied, ['x'])
  })

  it('a message that only tells of a commit is not answered', () => {
    const cluster = Cluster.led(['a', 'b'])
    cluster.propose('a', 'x')
    const heard: string[] = []
    cluster.deliver(
      () => true,
      ({ message }) => heard.push(message.type),
    )
    assert.deepEqual(heard, ['append', 'appendReply', 'append'])
  })

  it('a follower that lost what it acknowledged gets it again', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.propose('a', 'x', 'y')
    cluster.settle(200)
    cluster.host('c').disk.entries = []
    cluster.restart('c')
    cluster.settle(400)
    assert(cluster.told().includes('a sees that c lost what it acknowledged, 4'))
    assert.deepEqual(cluster.host('c').applied, ['x', 'y'])
    assert.equal(cluster.raft('a').matchOf('c'), 4)
  })

  it('but a late refusal does not take back an acknowledgement', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    const late: Message = {
      type: 'appendReply',
      term: 2,
      success: false,
      round: 1,
      match: 0,
      refused: 1,
      hintIndex: 0,
      hintTerm: 0,
    }
    cluster.act('a', (raft) => raft.step('b', late, cluster.now))
    assert.equal(cluster.raft('a').matchOf('b'), 2)
    cluster.propose('a', 'x')
    cluster.deliver()
    assert.equal(cluster.raft('a').matchOf('b'), 3)
  })

  it('a refusal above what is acknowledged is followed, and never below it', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.propose('a', 'x')
    const late: Message = {
      type: 'appendReply',
      term: 2,
      success: false,
      round: 1,
      match: 0,
      refused: 3,
      hintIndex: 0,
      hintTerm: 0,
    }
    cluster.drop()
    cluster.act('a', (raft) => raft.step('b', late, cluster.now))
    const [next] = cluster.wire
    assert(next?.message.type === 'append')
    assert.equal(next.message.previousIndex, 2)
  })
})

describe('snapshots from the leader', () => {
  function behind(): Cluster {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('c')
    cluster.propose('a', 'one', 'two')
    cluster.settle(200)
    cluster.snapshot('a')
    return cluster
  }
  const snapshots = (cluster: Cluster) => cluster.wire.filter(({ message }) => message.type === 'snapshot')

  it('are not begun for a follower that does not answer', () => {
    const cluster = behind()
    cluster.settle(electionTimeoutMin)
    cluster.tick('a', heartbeatInterval)
    assert.equal(snapshots(cluster).length, 0)
  })

  it('are sent one at a time, and the follower hears heartbeats meanwhile', () => {
    const cluster = behind()
    cluster.heal()
    cluster.tick('a', heartbeatInterval)
    cluster.deliver(({ message }) => message.type !== 'snapshot')
    assert.equal(snapshots(cluster).length, 1)
    for (let at = 0; at < 30; at++) {
      cluster.tick('a', heartbeatInterval)
      cluster.deliver(({ message }) => message.type !== 'snapshot')
    }
    assert.equal(snapshots(cluster).length, 1)
    assert.equal(cluster.raft('c').leader, 'a')
    assert(cluster.raft('c').quorumContact(cluster.now) < electionTimeoutMin)
    cluster.deliver()
    assert.equal(cluster.raft('c').commit, 4)
  })

  it('that fail are tried again, no faster than heartbeats', () => {
    const cluster = behind()
    cluster.heal()
    cluster.tick('a', heartbeatInterval)
    cluster.deliver(({ message }) => message.type !== 'snapshot')
    for (let failures = 0; failures < 5; failures++) {
      const [sent, ...more] = cluster.drop(({ message }) => message.type === 'snapshot')
      assert(sent?.message.type === 'snapshot' && more.length === 0)
      const { mark } = sent.message
      cluster.act('a', (raft) => raft.snapshotSent('c', false, mark))
      cluster.deliver(({ message }) => message.type !== 'snapshot')
      assert.equal(snapshots(cluster).length, 0)
      cluster.tick('a', heartbeatInterval)
      cluster.deliver(({ message }) => message.type !== 'snapshot')
    }
    assert.equal(snapshots(cluster).length, 1)
  })

  it('a late answer from before the snapshot does not start another', () => {
    const cluster = behind()
    cluster.heal()
    cluster.tick('a', heartbeatInterval)
    cluster.deliver(({ message }) => message.type !== 'snapshot')
    cluster.tick('a', heartbeatInterval)
    cluster.deliver(({ from, message }) => message.type !== 'snapshot' && from !== 'c')
    const late = cluster.drop(({ from }) => from === 'c')
    const [sent] = snapshots(cluster)
    assert(sent?.message.type === 'snapshot')
    const { mark } = sent.message
    cluster.act('a', (raft) => raft.snapshotSent('c', true, mark))
    cluster.drop()
    cluster.wire = late
    cluster.deliver(({ to }) => to === 'a')
    assert.equal(snapshots(cluster).length, 0)
  })

  it('compacting keeps as many entries as asked, and the rest can be read no more', () => {
    const cluster = Cluster.led(['a', 'b'])
    cluster.propose('a', 'one', 'two', 'three')
    cluster.deliver()
    cluster.snapshot('a', 2)
    const raft = cluster.raft('a')
    assert.equal(raft.entriesFrom(3, 1000), undefined)
    assert.deepEqual(
      raft.entriesFrom(4, 1000)?.map(({ data }) => Buffer.from(data).toString()),
      ['two', 'three'],
    )
    assert.deepEqual(raft.entriesFrom(6, 1000), [])
    assert.equal(raft.snapshotMark?.index, 5)
  })

  it('a mark holds the configuration that was in force at that entry, not a later one', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.propose('a', 'x')
    cluster.deliver()
    cluster.act('a', (raft) => raft.changeServers({ type: 'remove', id: 'c' }))
    cluster.deliver()
    const mark = cluster.raft('a').markAt(3)
    assert.deepEqual([mark.configurationIndex, mark.configuration.servers.length], [1, 3])
    const later = cluster.raft('a').markAt(4)
    assert.deepEqual([later.configurationIndex, later.configuration.servers.length], [4, 2])
  })
})

describe('who stands for election', () => {
  it('not a server that knows no configuration', () => {
    const raft = core()
    for (let now = 0; now < 60_000; now += 100) raft.tick(now)
    assert.equal(raft.ready(60_000), undefined)
  })

  it('a lone voter at once, also after a restart; it knows again what is committed when it has won', () => {
    const cluster = Cluster.led(['a'])
    cluster.propose('a', 'x')
    cluster.restart('a')
    assert.deepEqual(cluster.host('a').applied, [])
    cluster.tick('a', 100)
    assert.equal(cluster.raft('a').role, 'leader')
    assert.deepEqual(cluster.host('a').applied, ['x'])
  })

  it('but not at once when another may still be leading by an older configuration', () => {
    const cluster = Cluster.led(['a', 'b'])
    cluster.isolate('a')
    cluster.act('b', (raft) => raft.step('a', removalOf('a', cluster), cluster.now))
    cluster.restart('b')
    cluster.tick('b', 100)
    assert.equal(cluster.raft('b').role, 'follower')
  })

  function removalOf(id: ServerId, cluster: Cluster): Message {
    cluster.act(id, (raft) => raft.changeServers({ type: 'remove', id }))
    const [sent] = cluster.drop(({ message }) => message.type === 'append')
    return sent?.message as Message
  }

  it('bootstrap is for a server without any state, and for a configuration that it votes in', () => {
    const servers = [{ id: 'a', address: 'a:8300', voter: true }]
    const found = (raft: Raft, configuration: Parameters<Raft['bootstrap']>[0]) => () => raft.bootstrap(configuration)
    assert.throws(found(core({ hardState: { term: 1, vote: '' } }), { cluster: 'x', servers }), /this server has state/)
    assert.throws(found(founded('a'), { cluster: 'x', servers }), /this server has state/)
    assert.throws(found(core(), { cluster: '', servers }), /without a cluster id/)
    assert.throws(found(core({}, 'b'), { cluster: 'x', servers }), /this server, b, is not among the voters/)
    assert.throws(found(core(), { cluster: 'x', servers: [...servers, ...servers] }), /expected each server once/)
  })

  it('entries of another cluster are not taken', () => {
    const cluster = Cluster.led(['a', 'b'])
    const foreign = founded('a')
    const [configuration] = foreign.ready(0)?.entries ?? []
    assert(configuration !== undefined)
    const other = {
      ...configuration,
      index: 3,
      term: 9,
      data: Uint8Array.from(configuration.data, (byte) => (byte === 116 ? 120 : byte)),
    }
    const message: Message = {
      type: 'append',
      term: 9,
      previousIndex: 2,
      previousTerm: 2,
      entries: [other],
      commit: 0,
      round: 1,
    }
    assert.throws(
      () => cluster.act('b', (raft) => raft.step('x', message, 0)),
      /entry 3 is of cluster xesx, but this server belongs to cluster test/,
    )
  })
})

describe('after a stall of the process', () => {
  it('a follower hears what waits in its inbox before it stands', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.now += 5000
    cluster.act('b', (raft) => raft.tick(cluster.now))
    assert.equal(cluster.raft('b').role, 'follower')
    cluster.tick('b', electionTimeoutMax)
    assert.equal(cluster.raft('b').role, 'preCandidate')
  })

  it('a leader asks its followers before it steps down, but has no lease', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.now += 5000
    assert.equal(cluster.raft('a').leaseIndex(cluster.now), undefined)
    cluster.act('a', (raft) => raft.tick(cluster.now))
    assert.equal(cluster.raft('a').role, 'leader')
    cluster.settle(1000)
    assert.deepEqual(cluster.leaders, ['a'])
    assert.equal(cluster.raft('a').leaseIndex(cluster.now), 2)
  })

  it('ticks that come a little early do not halve the heartbeats', () => {
    const cluster = Cluster.led(['a', 'b'])
    cluster.tick('a', heartbeatInterval)
    cluster.drop()
    cluster.now += heartbeatInterval - 2
    cluster.act('a', (raft) => raft.tick(cluster.now))
    assert.equal(cluster.wire.length, 1)
  })
})

describe('contact', () => {
  it('is since when a leader, or as the leader a majority, was heard', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    assert.equal(cluster.raft('b').quorumContact(cluster.now + 70), 70)
    assert.equal(cluster.raft('a').quorumContact(cluster.now + 70), 70)
    assert.equal(core().quorumContact(5), Number.POSITIVE_INFINITY)
  })

  it('a message from ourselves, or from a follower we do not know, is nothing', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    const reply: Message = {
      type: 'appendReply',
      term: 2,
      success: true,
      round: 3,
      match: 2,
      refused: 0,
      hintIndex: 2,
      hintTerm: 0,
    }
    cluster.act('a', (raft) => {
      raft.step('stranger', reply, cluster.now)
      raft.step(
        'a',
        { type: 'append', term: 7, previousIndex: 0, previousTerm: 0, entries: [], commit: 0, round: 1 },
        cluster.now,
      )
    })
    assert.equal(cluster.raft('a').term, 2)
    assert.equal(cluster.raft('a').matchOf('stranger'), undefined)
  })
})
