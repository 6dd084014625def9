import assert from 'node:assert/strict'
import { Busy, NoLeader, Stopped } from '../errors.ts'
import type { Index } from '../model.ts'
import { Deadlines } from './deadlines.ts'
import { Followers, type FollowersOptions } from './followers.ts'
import type { FollowReply, FollowRequest } from './observer.ts'
import { Packed } from './peers.ts'

/** A server with entries of one byte, and what it packed. */
function trial() {
  const deadlines = new Deadlines()
  const packs: FollowReply[] = []
  const turns: (() => void)[] = []
  let now = 0
  let told = () => {}
  let firstKept: Index = 1
  let quorum: Index = 0
  const status = { applied: 0, leaderAddress: '10.0.0.1:8300', configuration: { servers: [{ id: 's1', voter: true }] } }
  const following = {
    cluster: 'c',
    leader: 's1',
    lastContact: 0,
    peers: ['10.0.0.1:8300'],
    get applied() {
      return status.applied
    },
    subscribe: (onChange: () => void) => {
      told = onChange
      return () => {}
    },
  }
  const followers = new Followers({
    io: { clock: { now: () => now, wall: () => 0 }, turn: () => new Promise<void>((resolve) => turns.push(resolve)) },
    self: 's1',
    deadlines,
    peers: {
      packed: (body: unknown) => {
        packs.push(body as FollowReply)
        return new Packed(new Uint8Array([packs.length - 1]))
      },
    },
    replica: {
      status,
      committedAfter: (index: Index, term: number) => {
        if (index > status.applied || index + 1 < firstKept || term !== (index === 0 ? 0 : 1)) return undefined
        const entries = Array.from({ length: status.applied - index }, (_, at) => index + 1 + at)
        return {
          entries: entries.map((each) => ({ index: each, term: 1, kind: 'command', data: new Uint8Array([each]) })),
        }
      },
    },
    following,
    forward: {
      fresh: async () => {
        status.applied = Math.max(status.applied, quorum)
      },
    },
  } as unknown as FollowersOptions)
  const settle = async () => {
    for (let at = 0; at < 20; at++) await Promise.resolve()
  }
  return {
    ...{ followers, following, status, packs, deadlines },
    ask: (changes: Partial<FollowRequest> = {}) => {
      const asked = { cluster: 'c', index: 0, term: 0, leader: 's1', wait: 300, ...changes } as FollowRequest
      const answer = followers.answer(asked).then((packed) => packs[packed.bytes[0] as number] as FollowReply)
      answer.catch(() => {})
      return answer
    },
    apply: (upTo: Index) => {
      status.applied = upTo
      told()
    },
    tell: () => told(),
    /** Lets the loop turn once. @returns whether somebody waited for that */
    turn: async () => {
      const waiting = turns.splice(0)
      for (const resolve of waiting) resolve()
      await settle()
      return waiting.length > 0
    },
    pass: async (millis: number) => {
      now += millis
      deadlines.tick(now)
      await settle()
    },
    compact: (first: Index) => {
      firstKept = first
    },
    confirm: (index: Index) => {
      quorum = index
    },
    settle,
  }
}
const indexes = (reply: FollowReply) => reply.entries?.map(({ index }) => index)

describe('those who follow a server', () => {
  it('are given what is there at once, and otherwise what comes', async () => {
    const { ask, apply, turn, followers } = trial()
    apply(2)
    assert.deepEqual(indexes(await ask()), [1, 2])
    const next = ask({ index: 2, term: 1 })
    assert.equal(followers.waiting, 1)
    apply(3)
    await turn()
    assert.deepEqual(indexes(await next), [3])
    assert.equal(followers.waiting, 0)
  })

  it('get the same bytes when they are equally far, once a turn of the loop however many entries came', async () => {
    const { ask, apply, turn, packs, followers } = trial()
    apply(1)
    const waiting = Array.from({ length: 250 }, () => ask({ index: 1, term: 1 }))
    assert.equal(followers.waiting, 250)
    for (let index = 2; index < 50; index++) apply(index)
    let turns = 0
    while (await turn()) turns++
    for (const reply of await Promise.all(waiting)) assert.equal(reply.entries?.length, 48)
    assert.equal(packs.length, 1)
    assert.equal(turns, 3, 'a hundred in a turn')
  })

  it('are not woken by what the replica tells about itself', async () => {
    const { ask, apply, tell, turn } = trial()
    apply(1)
    void ask({ index: 1, term: 1 })
    while (await turn());
    tell()
    assert.equal(await turn(), false)
  })

  it('hear after their time that there is nothing, and at once of another leader', async () => {
    const { ask, apply, pass, tell, turn, following } = trial()
    apply(1)
    while (await turn());
    const nothing = ask({ index: 1, term: 1 })
    await pass(300)
    assert.deepEqual(indexes(await nothing), [])
    const leader = ask({ index: 1, term: 1 })
    following.leader = 's2'
    tell()
    await turn()
    assert.equal((await leader).leader, 's2')
  })

  it('are sent for the whole state when the log does not go back so far, is another one, or of another cluster', async () => {
    const { ask, apply, compact } = trial()
    apply(20)
    compact(11)
    assert.equal((await ask({ index: 5, term: 1 })).entries, undefined)
    assert.equal((await ask({ index: 15, term: 7 })).entries, undefined)
    assert.equal((await ask({ cluster: 'other', index: 15, term: 1 })).entries, undefined)
    assert.equal((await ask({ index: 15, term: 1 })).entries?.length, 5)
  })

  it('are sent elsewhere by a server that is behind them, unless a quorum confirms that the log has gone back', async () => {
    const { ask, apply, pass, status, following, confirm, settle } = trial()
    apply(5)
    following.leader = ''
    const behind = ask({ index: 9, term: 1, leader: '' })
    await pass(300)
    await assert.rejects(behind, (error) => error instanceof Busy)
    following.leader = 's1'
    confirm(9)
    const soon = ask({ index: 9, term: 1 })
    await pass(300)
    await settle()
    assert.deepEqual(indexes(await soon), [], 'it has caught up')
    const gone = ask({ index: 12, term: 1 })
    await pass(300)
    assert.equal((await gone).entries, undefined, 'the cluster ends at 9')
    assert.equal(status.applied, 9)
  })

  it('are told so when the server belongs to no cluster yet, and when it stops', async () => {
    const { ask, apply, following, deadlines } = trial()
    following.cluster = ''
    await assert.rejects(ask(), (error) => error instanceof NoLeader)
    following.cluster = 'c'
    apply(1)
    const waiting = ask({ index: 1, term: 1 })
    deadlines.stop()
    await assert.rejects(waiting, (error) => error instanceof Stopped)
  })

  it('wait no longer than the server allows', async () => {
    const { ask, apply, pass } = trial()
    apply(1)
    const waiting = ask({ index: 1, term: 1, wait: 3_600_000 })
    await pass(10_000)
    assert.deepEqual(indexes(await waiting), [])
  })
})
