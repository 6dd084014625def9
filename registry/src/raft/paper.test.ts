/**
 * One test per claim of the papers: "In Search of an Understandable Consensus Algorithm" (extended version) §5-§8, and
 * Ongaro's thesis §3.10, §4, §6.2, §6.4, §9.6. Orderings that need a page are scenarios instead.
 */
import assert from 'node:assert/strict'
import { Cluster } from '../../test/scenarios/cluster.ts'
import type { Index, Term } from '../model.ts'
import type { Entry, Message, ServerId } from './message.ts'
import { raftOptionsDefault } from './raft.ts'

type Of<T extends Message['type']> = Extract<Message, { type: T }>

const { electionTimeoutMin, electionTimeoutMax, heartbeatInterval } = raftOptionsDefault

/** Entries after `from`, of these terms. */
function entries(from: Index, ...terms: Term[]): Entry[] {
  return terms.map((term, at) => ({ index: from + at, term, kind: 'command', data: new Uint8Array(0) }))
}

function append(fields: Partial<Of<'append'>>): Message {
  return { type: 'append', term: 1, previousIndex: 0, previousTerm: 0, entries: [], commit: 0, round: 1, ...fields }
}

function vote(fields: Partial<Of<'vote'>>): Message {
  return { type: 'vote', term: 1, pre: false, lastIndex: 0, lastTerm: 0, transfer: false, ...fields }
}

/** What `to` answers to a message of `from`. */
function answer(cluster: Cluster, from: ServerId, to: ServerId, message: Message): Message[] {
  cluster.drop()
  cluster.act(to, (raft) => raft.step(from, message, cluster.now))
  return cluster.drop((sent) => sent.to === from).map((sent) => sent.message)
}

function answers<T extends Message['type']>(
  type: T,
  cluster: Cluster,
  from: ServerId,
  to: ServerId,
  message: Message,
): Of<T> {
  const [reply] = answer(cluster, from, to, message)
  assert.equal(reply?.type, type)
  return reply as Of<T>
}

function terms(cluster: Cluster, id: ServerId): (Term | undefined)[] {
  const raft = cluster.raft(id)
  return Array.from({ length: raft.lastIndex }, (_, at) => raft.termAt(at + 1))
}

/** A server that knows nobody, with a log of these terms. */
function follower(...log: Term[]): Cluster {
  const cluster = new Cluster(['f'])
  if (log.length > 0) answer(cluster, 'x', 'f', append({ term: log.at(-1) as Term, entries: entries(1, ...log) }))
  return cluster
}

describe('Raft §5.1: terms', () => {
  it('a server that hears of a later term takes it and follows', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    answer(cluster, 'b', 'a', append({ term: 9 }))
    assert.equal(cluster.raft('a').term, 9)
    assert.equal(cluster.raft('a').role, 'follower')
    assert.equal(cluster.raft('a').leader, 'b')
  })

  it('a request of an earlier term is refused, with the later one', () => {
    const cluster = follower(4)
    const reply = answers('appendReply', cluster, 'x', 'f', append({ term: 3, entries: entries(1, 3) }))
    assert.equal(reply.success, false)
    assert.equal(reply.term, 4)
    assert.deepEqual(terms(cluster, 'f'), [4])
    assert.equal(answers('voteReply', cluster, 'x', 'f', vote({ term: 3, lastIndex: 9, lastTerm: 3 })).granted, false)
  })

  it('a late answer of an earlier term means nothing', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.propose('a', 'x')
    const commit = cluster.raft('a').commit
    const late: Message = {
      type: 'appendReply',
      term: 1,
      success: true,
      round: 1,
      match: 3,
      refused: 0,
      hintIndex: 3,
      hintTerm: 0,
    }
    answer(cluster, 'b', 'a', late)
    assert.equal(cluster.raft('a').commit, commit)
  })
})

describe('Raft §5.2: leader election', () => {
  it('a server starts as a follower and stays one as long as it hears a leader', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.settle(20_000)
    assert.deepEqual(cluster.leaders, ['a'])
    assert.equal(cluster.raft('a').term, 2)
  })

  it('a server votes once per term, first come, first served', () => {
    const cluster = follower()
    assert.equal(answers('voteReply', cluster, 'x', 'f', vote({ term: 1 })).granted, true)
    assert.equal(answers('voteReply', cluster, 'y', 'f', vote({ term: 1 })).granted, false)
    assert.equal(
      answers('voteReply', cluster, 'x', 'f', vote({ term: 1 })).granted,
      true,
      'the same again is no second vote',
    )
  })

  it('the vote is remembered over a crash', () => {
    const cluster = follower()
    answer(cluster, 'x', 'f', vote({ term: 1 }))
    cluster.restart('f')
    cluster.now += electionTimeoutMin
    assert.equal(answers('voteReply', cluster, 'y', 'f', vote({ term: 1 })).granted, false)
  })

  it('a vote repeated does not count twice, and one from a stranger not at all', () => {
    const cluster = new Cluster(['a', 'b', 'c', 'd', 'e'])
    cluster.bootstrap(['a', 'b', 'c', 'd', 'e'])
    cluster.tick('a', 100)
    cluster.deliver(({ message }) => message.type === 'vote' && message.pre)
    cluster.deliver(({ message }) => message.type === 'voteReply' && message.pre)
    assert.equal(cluster.raft('a').role, 'candidate')
    const granted: Message = { type: 'voteReply', term: 2, pre: false, granted: true, heardLeader: false }
    for (const from of ['b', 'b', 'stranger']) answer(cluster, from, 'a', granted)
    assert.equal(cluster.raft('a').role, 'candidate')
    answer(cluster, 'c', 'a', granted)
    assert.equal(cluster.raft('a').role, 'leader')
  })

  it('a candidate that hears a leader of its term follows it', () => {
    const cluster = new Cluster(['a', 'b', 'c'])
    cluster.bootstrap(['a', 'b', 'c'])
    cluster.tick('a', 100)
    cluster.deliver(({ message }) => message.type !== 'voteReply' || message.pre)
    assert.equal(cluster.raft('a').role, 'candidate')
    answer(cluster, 'b', 'a', append({ term: 2 }))
    assert.equal(cluster.raft('a').role, 'follower')
    assert.equal(cluster.raft('a').leader, 'b')
  })

  it('a new leader says so at once, and again every heartbeat interval', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    for (let round = 0; round < 3; round++) {
      cluster.drop()
      cluster.tick('a', heartbeatInterval)
      assert.deepEqual(
        cluster.wire.map(({ to, message }) => `${message.type} ${to}`),
        ['append b', 'append c'],
      )
      cluster.deliver()
    }
  })

  it('a split vote is repeated after new random timeouts, until one wins', () => {
    const ids = ['a', 'b', 'c', 'd']
    const cluster = Cluster.led(ids)
    cluster.crash('a')
    cluster.settle(10_000)
    assert.equal(cluster.leaders.length, 1)
  })

  it('election timeouts differ, within their range', () => {
    const timeouts = new Set<number>()
    for (const id of ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']) {
      const cluster = Cluster.led(['a', id])
      const heard = cluster.now
      cluster.tick(id, 5000, (raft) => raft.role !== 'follower')
      timeouts.add(cluster.now - heard)
    }
    assert(timeouts.size > 3, `expected different timeouts, received ${[...timeouts]}`)
    for (const timeout of timeouts) {
      assert(timeout >= electionTimeoutMin && timeout <= electionTimeoutMax + heartbeatInterval, `${timeout} ms`)
    }
  })

  it('a candidate that cannot win does not keep others from standing', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    const { lastIndex } = cluster.raft('b')
    cluster.crash('a')
    // c, whose log is shorter, asks for votes in one new term after the other.
    const heard = cluster.now
    for (let term = 3; ; term++) {
      cluster.tick('b', 100)
      if (cluster.raft('b').role !== 'follower') break
      assert(cluster.now - heard <= electionTimeoutMax + heartbeatInterval, 'b is kept from standing')
      answer(cluster, 'c', 'b', vote({ term, lastIndex: lastIndex - 1, lastTerm: 1 }))
    }
  })
})

describe('Raft §5.3: log replication', () => {
  it('an entry is committed once it is on a majority, and is then applied everywhere', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('c')
    cluster.propose('a', 'x')
    assert.equal(cluster.raft('a').commit, 2)
    cluster.deliver()
    assert.deepEqual(cluster.host('a').applied, ['x'])
    assert.deepEqual(cluster.host('b').applied, ['x'])
    assert.deepEqual(cluster.host('c').applied, [])
    cluster.heal()
    cluster.settle(200)
    assert.deepEqual(cluster.host('c').applied, ['x'])
  })

  it('followers learn of a commit at once, not with the next heartbeat', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.propose('a', 'x')
    cluster.deliver()
    assert.deepEqual(cluster.host('c').applied, ['x'])
  })

  it('a follower refuses entries whose predecessor it does not have', () => {
    const cluster = follower(1, 1, 2)
    for (const [previousIndex, previousTerm] of [
      [4, 2],
      [3, 1],
      [2, 2],
    ] as const) {
      const reply = answers(
        'appendReply',
        cluster,
        'x',
        'f',
        append({ term: 3, previousIndex, previousTerm, entries: entries(previousIndex + 1, 3) }),
      )
      assert.equal(reply.success, false, `after ${previousIndex}/${previousTerm}`)
      assert.equal(reply.refused, previousIndex)
      assert.deepEqual(terms(cluster, 'f'), [1, 1, 2])
    }
  })

  it('a conflicting entry goes, with all that follow it', () => {
    const cluster = follower(1, 1, 2, 2, 2)
    const reply = answers(
      'appendReply',
      cluster,
      'y',
      'f',
      append({ term: 3, previousIndex: 2, previousTerm: 1, entries: entries(3, 3) }),
    )
    assert.equal(reply.match, 3)
    assert.deepEqual(terms(cluster, 'f'), [1, 1, 3])
  })

  it('a message that came late, with less than we have, takes nothing back', () => {
    const cluster = follower(1, 1, 1, 1)
    const reply = answers(
      'appendReply',
      cluster,
      'x',
      'f',
      append({ term: 1, previousIndex: 1, previousTerm: 1, entries: entries(2, 1) }),
    )
    assert.equal(reply.success, true)
    assert.deepEqual(terms(cluster, 'f'), [1, 1, 1, 1])
  })

  it('a follower commits no further than this message shows the logs to be equal', () => {
    const cluster = follower(1, 1, 1)
    answer(cluster, 'y', 'f', append({ term: 2, previousIndex: 1, previousTerm: 1, commit: 3 }))
    assert.equal(cluster.raft('f').commit, 1)
    answer(cluster, 'y', 'f', append({ term: 2, previousIndex: 1, previousTerm: 1, entries: entries(2, 2), commit: 9 }))
    assert.equal(cluster.raft('f').commit, 2)
  })

  it('the leader finds where the logs meet with one refusal per term, not per entry', () => {
    // The new leader's log: 1 2 3 3 3 …; that of the old one: 1 2 2 2 2 …
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('a')
    const commands = Array.from({ length: 50 }, (_, at) => `${at}`)
    cluster.propose('a', ...commands)
    cluster.elect('b')
    cluster.propose('b', ...commands)
    cluster.deliver()
    cluster.heal()
    cluster.tick('b', heartbeatInterval)
    let refusals = 0
    cluster.deliver(
      () => true,
      ({ from, message }) => {
        if (from === 'a' && message.type === 'appendReply' && !message.success) refusals++
      },
    )
    assert.deepEqual(terms(cluster, 'a'), terms(cluster, 'b'))
    assert(refusals <= 2, `${refusals} refusals`)
  })

  it('a leader never overwrites its own log, and refuses to see another leader in its term', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    assert.throws(
      () => answer(cluster, 'b', 'a', append({ term: 2, entries: entries(1, 2) })),
      /b claims to lead in term 2, and so do we/,
    )
    assert.deepEqual(terms(cluster, 'a'), [1, 2])
  })
})

describe('Raft §5.4: safety', () => {
  it('§5.4.1: a vote goes only to a log that is at least as far: later last term, or same term and as long', () => {
    const table = [
      { lastTerm: 2, lastIndex: 3, granted: true },
      { lastTerm: 2, lastIndex: 4, granted: true },
      { lastTerm: 3, lastIndex: 1, granted: true },
      { lastTerm: 2, lastIndex: 2, granted: false },
      { lastTerm: 1, lastIndex: 9, granted: false },
    ]
    for (const { granted, ...last } of table) {
      for (const pre of [true, false]) {
        const cluster = follower(1, 2, 2)
        cluster.now += electionTimeoutMin
        const reply = answers('voteReply', cluster, 'y', 'f', vote({ term: 4, pre, ...last }))
        assert.equal(reply.granted, granted, `${pre ? 'pre-vote ' : ''}${last.lastIndex}/${last.lastTerm}`)
      }
    }
  })

  it('§5.4.2: an entry of an earlier term is not committed by counting, only with one of our own after it', () => {
    const cluster = Cluster.led(['a', 'b', 'c', 'd', 'e'], [], { entriesBytesMax: 1 })
    cluster.isolate('a', 'b')
    cluster.propose('a', 'x')
    cluster.deliver()
    cluster.crash('a')
    cluster.heal()
    cluster.tick('b', 5000, (raft) => raft.role !== 'follower')
    cluster.deliver(({ message }) => message.type === 'vote' || message.type === 'voteReply')
    assert.equal(cluster.raft('b').role, 'leader')
    // Until c, d and e have acknowledged x, and nothing after it.
    const { lastIndex } = cluster.raft('b')
    cluster.deliver(({ message }) => !(message.type === 'append' && message.entries[0]?.index === lastIndex))
    assert.equal(cluster.raft('b').matchOf('c'), lastIndex - 1)
    assert.equal(cluster.raft('b').matchOf('d'), lastIndex - 1)
    assert.equal(cluster.raft('b').commit, lastIndex - 2)
    cluster.deliver()
    assert.equal(cluster.raft('b').commit, lastIndex)
  })
})

describe('Raft §5.5: follower crashes', () => {
  it('the leader tries again for ever, and what arrives twice is taken once', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.crash('c')
    cluster.propose('a', 'x', 'y')
    cluster.settle(5000)
    cluster.restart('c')
    cluster.settle(200)
    assert.deepEqual(cluster.host('c').applied, ['x', 'y'])
    const again = append({
      term: 2,
      previousIndex: 2,
      previousTerm: 2,
      entries: cluster.raft('a').entriesFrom(3, 1000) as Entry[],
      commit: 4,
    })
    answer(cluster, 'a', 'c', again)
    assert.deepEqual(cluster.host('c').applied, ['x', 'y'])
  })
})

describe('Raft §6 and thesis §4: membership', () => {
  it('a server uses the latest configuration in its log, committed or not', () => {
    const cluster = Cluster.led(['a', 'b', 'c'], ['d'])
    cluster.act('a', (raft) => raft.changeServers({ type: 'add', id: 'd', address: 'd:8300', voter: true }))
    assert.equal(cluster.raft('a').configuration.servers.length, 4)
    assert.equal(cluster.raft('a').committedConfiguration.servers.length, 3)
    cluster.isolate('a', 'b')
    cluster.settle(300)
    assert.equal(cluster.raft('a').committedConfiguration.servers.length, 3, 'two of four are no majority')
  })

  it('when its entry is cut off, the configuration before counts again', () => {
    const cluster = Cluster.led(['a', 'b', 'c'], ['d'])
    cluster.isolate('a')
    cluster.act('a', (raft) => raft.changeServers({ type: 'add', id: 'd', address: 'd:8300', voter: true }))
    cluster.settle(4000)
    cluster.heal()
    cluster.settle(500)
    assert.deepEqual(
      cluster.raft('a').configuration.servers.map(({ id }) => id),
      ['a', 'b', 'c'],
    )
  })

  it('a second change waits for the first to be committed', () => {
    const cluster = Cluster.led(['a', 'b', 'c'], ['d'])
    assert.equal(
      cluster.act('a', (raft) => raft.changeServers({ type: 'remove', id: 'c' })),
      3,
    )
    assert.equal(
      cluster.act('a', (raft) => raft.changeServers({ type: 'remove', id: 'b' })),
      undefined,
    )
    cluster.deliver()
    assert.equal(
      cluster.act('a', (raft) => raft.changeServers({ type: 'remove', id: 'b' })),
      4,
    )
  })

  it('no change before an entry of the own term is committed (the bug of 2015)', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.crash('a')
    cluster.tick('b', 5000, (raft) => raft.role !== 'follower')
    cluster.deliver(({ message }) => message.type === 'vote' || message.type === 'voteReply')
    assert.equal(cluster.raft('b').role, 'leader')
    assert.equal(
      cluster.act('b', (raft) => raft.changeServers({ type: 'remove', id: 'a' })),
      undefined,
    )
    cluster.deliver()
    assert.equal(
      cluster.act('b', (raft) => raft.changeServers({ type: 'remove', id: 'a' })),
      4,
    )
  })

  it('§4.2.1: a server that does not vote gets the log, and neither counts nor stands', () => {
    const cluster = Cluster.led(['a', 'b', 'c'], ['d'])
    cluster.act('a', (raft) => raft.changeServers({ type: 'add', id: 'd', address: 'd:8300', voter: false }))
    cluster.settle(200)
    cluster.isolate('a', 'd')
    cluster.propose('a', 'x')
    cluster.deliver()
    assert.equal(cluster.raft('a').matchOf('d'), 4)
    assert.equal(cluster.raft('a').commit, 3)
    cluster.isolate('d')
    cluster.settle(10_000)
    assert.equal(cluster.raft('d').role, 'follower')
    assert.equal(cluster.raft('d').leader, '')
  })

  it('§4.2.2: a leader that removes itself leads until that is committed, not counting itself', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('a', 'b')
    cluster.act('a', (raft) => raft.changeServers({ type: 'remove', id: 'a' }))
    cluster.deliver()
    assert.equal(cluster.raft('a').role, 'leader')
    assert.equal(cluster.raft('a').commit, 2, 'of b and c only b has it')
    cluster.heal()
    cluster.settle(300)
    assert.equal(cluster.raft('a').role, 'follower')
    assert.equal(cluster.leaders.length, 1, 'one of the others goes on at once')
  })

  it('§4.2.2: votes are given to servers outside the own configuration, by log and term alone', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.tick('b', electionTimeoutMin)
    const { lastIndex, term } = cluster.raft('b')
    assert.equal(
      answers('voteReply', cluster, 'new', 'b', vote({ term: term + 1, lastIndex, lastTerm: term })).granted,
      true,
    )
  })

  it('§4.2.3: a server that hears its leader does not vote, and does not even take the term', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    for (const pre of [true, false]) {
      for (const to of ['a', 'b']) {
        const reply = answers('voteReply', cluster, 'removed', to, vote({ term: 99, pre, lastIndex: 99, lastTerm: 98 }))
        assert.deepEqual(
          { granted: reply.granted, heardLeader: reply.heardLeader },
          { granted: false, heardLeader: true },
        )
        assert.equal(cluster.raft(to).term, 2)
      }
    }
    assert.deepEqual(cluster.leaders, ['a'])
  })

  it('a removed server is told, so it does not stand', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.act('a', (raft) => raft.changeServers({ type: 'remove', id: 'c' }))
    cluster.settle(300)
    assert.deepEqual(
      cluster.raft('c').committedConfiguration.servers.map(({ id }) => id),
      ['a', 'b'],
    )
    cluster.settle(10_000)
    assert.equal(cluster.raft('c').role, 'follower')
  })

  it('§4.1: what makes no sense is refused with the reason', () => {
    const cluster = Cluster.led(['a', 'b'])
    const change = (change: Parameters<ReturnType<Cluster['raft']>['changeServers']>[0]) => () =>
      cluster.raft('a').changeServers(change)
    assert.throws(change({ type: 'remove', id: 'x' }), /cannot remove server x: it is not in the configuration/)
    assert.throws(change({ type: 'promote', id: 'x' }), /cannot promote server x/)
    assert.throws(change({ type: 'promote', id: 'b' }), /server b is already a voter/)
    assert.throws(
      change({ type: 'add', id: 'b', address: 'b:8300', voter: true }),
      /server b is already a voter at b:8300/,
    )
    assert.throws(
      change({ type: 'add', id: 'x', address: 'b:8300', voter: true }),
      /b:8300 belongs to server b; remove that one first/,
    )
    const alone = Cluster.led(['a'])
    assert.throws(() => alone.raft('a').changeServers({ type: 'remove', id: 'a' }), /no voter would be left/)
  })
})

describe('Raft §7: snapshots', () => {
  const configuration = { cluster: 'test', servers: [{ id: 'x', address: 'x:8300', voter: true }] }
  const snapshot = (index: Index, term: Term): Message => {
    return { type: 'snapshot', term: 5, round: 1, mark: { index, term, configuration, configurationIndex: 1 } }
  }

  it('a snapshot beyond the log replaces it, and is acknowledged once it is saved', () => {
    const cluster = follower(1, 1, 1)
    cluster.host('f').slowDisk = true
    assert.deepEqual(answer(cluster, 'x', 'f', snapshot(7, 4)), [])
    cluster.save('f')
    const [reply] = cluster.drop()
    assert(reply?.message.type === 'appendReply')
    assert.equal(reply.message.match, 7)
    assert.equal(cluster.raft('f').lastIndex, 7)
    assert.equal(cluster.raft('f').commit, 7)
    assert.deepEqual(cluster.raft('f').configuration, configuration)
    assert.deepEqual(cluster.host('f').disk.snapshot?.index, 7)
  })

  it('figure 13, step 6: what follows the snapshot stays when the logs are equal there', () => {
    const cluster = follower(1, 1, 2, 2, 2)
    const reply = answers('appendReply', cluster, 'x', 'f', snapshot(3, 2))
    assert.equal(reply.match, 3)
    assert.deepEqual(terms(cluster, 'f'), [1, 1, 2, 2, 2])
    assert.equal(cluster.raft('f').commit, 3)
    assert.equal(cluster.host('f').applied.length, 3, 'applied from the log: no restore')
  })

  it('a conflicting log goes', () => {
    const cluster = follower(1, 1, 2, 2, 2)
    answer(cluster, 'x', 'f', snapshot(3, 4))
    assert.equal(cluster.raft('f').lastIndex, 3)
    assert.equal(cluster.raft('f').termAt(3), 4)
  })

  it('a stale snapshot changes nothing and is answered with what is committed', () => {
    const cluster = follower(1, 1, 1, 1)
    answer(cluster, 'x', 'f', append({ term: 1, previousIndex: 4, previousTerm: 1, commit: 4 }))
    const reply = answers('appendReply', cluster, 'x', 'f', snapshot(2, 1))
    assert.equal(reply.match, 4)
    assert.deepEqual(terms(cluster, 'f'), [1, 1, 1, 1])
  })

  it('entries after the snapshot are taken as after any entry', () => {
    const cluster = follower()
    answer(cluster, 'x', 'f', snapshot(7, 4))
    const reply = answers(
      'appendReply',
      cluster,
      'x',
      'f',
      append({ term: 5, previousIndex: 7, previousTerm: 4, entries: entries(8, 5), commit: 8 }),
    )
    assert.equal(reply.match, 8)
    assert.equal(cluster.raft('f').commit, 8)
    cluster.restart('f')
    assert.equal(cluster.raft('f').lastIndex, 8)
    assert.equal(cluster.raft('f').commit, 7, 'a restarted server knows only of its snapshot that it is committed')
  })
})

describe('Raft §8 and thesis §6.4: reads', () => {
  it('§8: a new leader commits an empty entry, and with it all that was left', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('a', 'b')
    cluster.propose('a', 'x')
    cluster.deliver(({ to }) => to === 'b')
    cluster.crash('a')
    cluster.heal()
    cluster.elect('b')
    cluster.deliver()
    assert.deepEqual(cluster.host('c').applied, ['x'])
  })

  it('§6.4 step 1: a leader answers no read before it has committed an entry of its own term', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.propose('a', 'x')
    cluster.deliver(({ to }) => to !== 'c')
    cluster.crash('a')
    cluster.tick('b', 5000, (raft) => raft.role !== 'follower')
    cluster.deliver(({ message }) => message.type === 'vote' || message.type === 'voteReply')
    cluster.act('b', (raft) => raft.requestRead(1, cluster.now))
    // Heartbeats are answered, but nothing is appended.
    cluster.deliver(({ message }) => message.type !== 'append' || message.entries.length === 0)
    assert.deepEqual(cluster.host('b').reads, [])
    assert.equal(cluster.raft('b').leaseIndex(cluster.now), undefined)
    cluster.drop()
    cluster.settle(300)
    assert.deepEqual(cluster.host('b').reads, [{ id: 1, index: 4 }])
    assert.equal(cluster.raft('b').leaseIndex(cluster.now), 4)
  })

  it('§6.4 step 3: a read needs a round that began after it, answered by a majority', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.tick('a', heartbeatInterval)
    const earlier = cluster.wire
    cluster.wire = []
    cluster.act('a', (raft) => raft.requestRead(1, cluster.now))
    const later = cluster.drop()
    cluster.wire = earlier
    cluster.deliver()
    assert.deepEqual(cluster.host('a').reads, [], 'the round before does not count')
    cluster.wire = later.filter(({ to }) => to === 'b')
    cluster.deliver()
    assert.deepEqual(cluster.host('a').reads, [{ id: 1, index: 2 }])
  })

  it('§6.4: reads that arrive together share a round, and those that arrive meanwhile the next one', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    const request = (...ids: number[]) => cluster.act('a', (raft) => ids.map((id) => raft.requestRead(id, cluster.now)))
    request(1, 2, 3)
    assert.equal(cluster.wire.length, 2)
    request(4)
    request(5)
    assert.equal(cluster.wire.length, 2)
    cluster.deliver()
    assert.deepEqual(
      cluster.host('a').reads.map(({ id }) => id),
      [1, 2, 3, 4, 5],
    )
  })

  it('§6.4: when leadership is lost, so are the reads that wait', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.act('a', (raft) => raft.requestRead(1, cluster.now))
    answer(cluster, 'b', 'a', append({ term: 9 }))
    assert.deepEqual(cluster.host('a').reads, [{ id: 1, index: undefined }])
    cluster.act('c', (raft) => raft.requestRead(2, cluster.now))
    assert.deepEqual(cluster.host('c').reads, [{ id: 2, index: undefined }], 'a follower does not answer')
  })

  it('§6.4.1: the lease runs from when a round began, not from when it was answered, for half an election timeout', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.tick('a', heartbeatInterval)
    const began = cluster.now
    cluster.now += 400
    cluster.deliver()
    assert.equal(cluster.raft('a').leaseIndex(began + electionTimeoutMin / 2 - 1), 2)
    assert.equal(cluster.raft('a').leaseIndex(began + electionTimeoutMin / 2), undefined)
  })

  it('§6.4.1: having acknowledged a leader binds over a crash', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.restart('b')
    const ask = vote({ term: 3, lastIndex: 2, lastTerm: 2 })
    assert.equal(answers('voteReply', cluster, 'c', 'b', ask).granted, false)
    cluster.now += electionTimeoutMin
    assert.equal(answers('voteReply', cluster, 'c', 'b', ask).granted, true)
  })

  it('§6.2: a leader that hears no majority for an election timeout steps down', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('a')
    cluster.settle(electionTimeoutMin - 200)
    assert.equal(cluster.raft('a').role, 'leader')
    cluster.settle(300)
    assert.equal(cluster.raft('a').role, 'follower')
    assert.equal(cluster.propose('a', 'x'), undefined)
  })
})

describe('Thesis §3.10: leadership transfer', () => {
  it('the successor gets what it lacks first, then stands without a timeout, and voters make an exception', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('b')
    cluster.propose('a', 'x')
    cluster.deliver()
    cluster.heal()
    assert.equal(
      cluster.act('a', (raft) => raft.transferLeadership('b', cluster.now)),
      true,
    )
    assert(!cluster.wire.some(({ message }) => message.type === 'timeoutNow'))
    assert.equal(cluster.propose('a', 'y'), undefined)
    cluster.settle(200)
    assert.deepEqual(cluster.leaders, ['b'])
  })

  it('is given up after an election timeout', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('b')
    cluster.act('a', (raft) => raft.transferLeadership('b', cluster.now))
    cluster.settle(electionTimeoutMin - 100)
    assert.equal(cluster.propose('a', 'x'), undefined)
    cluster.settle(200)
    assert.equal(cluster.propose('a', 'x'), 3)
  })

  it('voids the lease for the rest of the term: the word to stand may arrive late', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.act('a', (raft) => raft.transferLeadership('b', cluster.now))
    const [word] = cluster.drop(({ message }) => message.type === 'timeoutNow')
    cluster.isolate('b')
    cluster.settle(electionTimeoutMin + 200)
    assert.equal(cluster.propose('a', 'x'), 3)
    cluster.settle(200)
    assert.equal(cluster.raft('a').leaseIndex(cluster.now), undefined)
    assert(word !== undefined)
    cluster.heal()
    cluster.wire.push(word)
    cluster.deliver()
    assert.equal(cluster.raft('b').term, 3, 'and it does')
  })

  it('is refused for one that cannot lead', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    for (const to of ['a', 'stranger']) assert.equal(cluster.raft('a').transferLeadership(to, cluster.now), false)
    assert.equal(cluster.raft('b').transferLeadership('c', cluster.now), false)
  })
})

describe('Thesis §9.6: pre-vote', () => {
  it('a server that cannot win does not raise its term', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('c')
    cluster.settle(20_000)
    assert.equal(cluster.raft('c').role, 'preCandidate')
    assert.equal(cluster.raft('c').term, 2)
  })

  it('and so does not disturb anybody when it comes back', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.isolate('c')
    cluster.settle(20_000)
    cluster.heal()
    cluster.settle(3000)
    assert.deepEqual(cluster.leaders, ['a'])
    assert.equal(cluster.raft('a').term, 2)
  })

  it('a pre-vote binds nobody: neither term nor vote nor timeout change', () => {
    const cluster = follower(1)
    cluster.now += electionTimeoutMin
    for (const from of ['x', 'y']) {
      const reply = answers('voteReply', cluster, from, 'f', vote({ term: 2, pre: true, lastIndex: 1, lastTerm: 1 }))
      assert.deepEqual({ granted: reply.granted, term: reply.term }, { granted: true, term: 2 })
    }
    assert.equal(cluster.raft('f').term, 1)
    assert.deepEqual(cluster.host('f').disk.hardState, { term: 1, vote: '' })
  })

  it('is not given by a server that heard a leader within the minimum election timeout', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    const ask = vote({ term: 3, pre: true, lastIndex: 2, lastTerm: 2 })
    cluster.now += electionTimeoutMin - 1
    assert.equal(answers('voteReply', cluster, 'c', 'b', ask).granted, false)
    cluster.now += 1
    assert.equal(answers('voteReply', cluster, 'c', 'b', ask).granted, true)
  })

  it('refused only because a leader was heard lately, it is asked again within three heartbeats', () => {
    const cluster = Cluster.led(['a', 'b', 'c'])
    cluster.crash('a')
    cluster.tick('c', 5000, (raft) => raft.role === 'preCandidate')
    cluster.drop()
    answer(cluster, 'b', 'c', { type: 'voteReply', term: 2, pre: true, granted: false, heardLeader: true })
    cluster.tick('c', 3 * heartbeatInterval)
    assert(cluster.wire.some(({ from, to, message }) => from === 'c' && to === 'b' && message.type === 'vote'))
  })
})
