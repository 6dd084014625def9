import assert from 'node:assert/strict'
import {
  BadRequest,
  LeadershipLost,
  NoLeader,
  NotLeader,
  Stopped,
  TooLarge,
  Unanswered,
  Unreachable,
} from '../errors.ts'
import type { Io } from '../io/io.ts'
import { Random } from '../io/random.ts'
import type { Address, Index } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import { type Command, decodeCommand, encodeCommand } from '../store/command.ts'
import type { From } from '../store/origins.ts'
import { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import { Forward } from './forward.ts'
import type { Peers } from './peers.ts'

const there: Address = { host: '10.0.0.2', port: 8300 }
const put: Command = { type: 'kv.set', key: 'color', value: '', flags: '0' }

/** An agent that forwards to `there` or, leading, writes to its own log. */
function trial(answers: { ask?: () => Promise<unknown>; propose?: (data: Uint8Array) => Promise<unknown> } = {}) {
  const deadlines = new Deadlines()
  const asked: string[] = []
  /** Who the writes that were sent say they are from. */
  const sent: (From | undefined)[] = []
  const abandoned: Address[] = []
  let now = 0
  let onChange = () => {}
  const following = {
    applied: 0 as Index,
    leading: answers.propose !== undefined,
    leaderAddress: there as Address | undefined,
    cluster: 'c',
    waitApplied: () => new Promise<void>(() => {}),
    subscribe: (subscriber: () => void) => {
      onChange = subscriber
      return () => {}
    },
  }
  const peers = {
    askLeader: (_to: Address, method: string, request: { data?: Uint8Array }) => {
      asked.push(method)
      if (request.data !== undefined) sent.push(decodeCommand(request.data).from)
      return (answers.ask ?? (() => Promise.reject(new Unreachable('refused'))))()
    },
    abandon: (to: Address) => abandoned.push(to),
  }
  const forward = new Forward({
    io: { clock: { now: () => now, wall: () => 0 }, random: new Random(1) } as unknown as Io,
    deadlines,
    peers: peers as unknown as Peers,
    following: following as unknown as Following,
    replica: {
      status: { role: 'leader' },
      propose: answers.propose,
      leaseIndex: () => undefined,
    } as unknown as Replica,
    hold: 7000,
  })
  /** Lets promises settle, then passes time in steps of a tick. */
  const pass = async (millis: number) => {
    for (let end = now + millis; now < end; ) {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve()
      now += 100
      deadlines.tick(now)
    }
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
  }
  return { forward, following, deadlines, asked, sent, abandoned, pass, changed: () => onChange() }
}

describe('forwarding', () => {
  it('nothing that `apply` would not understand gets into the log', async () => {
    const proposed: Uint8Array[] = []
    const { forward } = trial({
      propose: async (data) => {
        proposed.push(data)
        return { index: 1, result: { value: true } }
      },
    })
    const unknown = encodeCommand({ type: 'kv.burn' } as never)
    await assert.rejects(forward.lead(new Uint8Array([1, 2, 3])), BadRequest)
    await assert.rejects(forward.lead(unknown), BadRequest)
    const huge = encodeCommand({ type: 'kv.set', key: 'k', value: 'a'.repeat(5_000_000), flags: '0' })
    await assert.rejects(forward.lead(huge), TooLarge)
    assert.deepEqual(proposed, [])
    assert.deepEqual(await forward.lead(encodeCommand(put)), { index: 1, result: { value: true } })
  })

  it('what a transaction answers comes back whole', async () => {
    const pair = { key: 'a', value: '', flags: '0', lockIndex: 0, createIndex: 1, modifyIndex: 1 }
    for (const result of [
      { value: true, results: [{ type: 'kv', pair }] },
      { value: false, errors: [{ operation: 0, what: 'no' }] },
    ]) {
      const { forward, following } = trial({ ask: async () => ({ index: 1, result }) })
      following.applied = 1
      assert.deepEqual(await forward.write({ type: 'txn', operations: [] }), { index: 1, ...result })
    }
  })

  it('a write that was certainly not seen is tried again until the hold ends', async () => {
    const { forward, asked, pass } = trial()
    const rejected = assert.rejects(forward.write(put), NoLeader)
    await pass(7200)
    await rejected
    assert.ok(asked.length > 50, `${asked.length}`)
  })

  it('a write whose answer did not come is sent again under the same number, and done when one copy is answered', async () => {
    let turn = 0
    const { forward, sent, pass } = trial({
      ask: () =>
        ++turn < 3 ? Promise.reject(new Unanswered('silence')) : Promise.resolve({ index: 0, result: { value: true } }),
    })
    const written = forward.write(put)
    await pass(300)
    assert.deepEqual(await written, { index: 0, value: true })
    const [origin] = sent[0] ?? []
    assert.deepEqual(sent, [
      [origin, 1, 0],
      [origin, 1, 0],
      [origin, 1, 0],
    ])
    // What was answered needs no memory of it any more.
    await forward.write(put)
    assert.deepEqual(sent[3], [origin, 2, 1])
  })

  it('a write that may have happened is reported as that when the time is over, and counts as given up from then on', async () => {
    let answer: () => Promise<unknown> = () => Promise.reject(new Unanswered('silence'))
    const { forward, sent, pass } = trial({ ask: () => answer() })
    const rejected = assert.rejects(forward.write(put), LeadershipLost)
    await pass(1000)
    answer = () => Promise.reject(new Unreachable('refused'))
    await pass(6200)
    await rejected
    answer = () => Promise.resolve({ index: 0, result: { value: true } })
    await forward.write(put)
    assert.deepEqual(sent.at(-1)?.slice(1), [2, 1])
  })

  it('a write that waits holds the numbers after it, not those before', async () => {
    const settle: (() => void)[] = []
    const { forward, sent } = trial({
      ask: () => new Promise((resolve) => settle.push(() => resolve({ index: 0, result: { value: true } }))),
    })
    const writes = [forward.write(put), forward.write(put)]
    settle[1]?.()
    await writes[1]
    writes.push(forward.write(put))
    assert.deepEqual(
      sent.map((from) => from?.slice(1)),
      [
        [1, 0],
        [2, 0],
        [3, 0],
      ],
    )
    for (const each of settle) each()
    await Promise.all(writes)
    writes.push(forward.write(put))
    assert.deepEqual(sent.at(-1)?.slice(1), [4, 3])
    settle.at(-1)?.()
    await Promise.all(writes)
  })

  it('a read is asked again whatever became of the question', async () => {
    let turn = 0
    const { forward, following, pass } = trial({
      ask: () => (++turn < 3 ? Promise.reject(new Unanswered('silence')) : Promise.resolve({ index: 5 })),
    })
    following.applied = 5
    const read = forward.fresh(true)
    await pass(300)
    await read
    assert.equal(turn, 3)
  })

  it('reads share a round that begins after they came', async () => {
    const settle: (() => void)[] = []
    const { forward, asked, pass } = trial({
      ask: () => new Promise((resolve) => settle.push(() => resolve({ index: 0 }))),
    })
    const first = forward.fresh(true)
    await pass(100)
    const later = [forward.fresh(true), forward.fresh(true)]
    await pass(100)
    assert.equal(asked.length, 1, 'the later ones wait for a round of their own')
    settle[0]?.()
    await first
    await pass(100)
    assert.equal(asked.length, 2)
    settle[1]?.()
    await Promise.all(later)
  })

  it('a read that came in the middle of a fruitless round waits no longer than the others', async () => {
    const { forward, pass } = trial()
    const first = assert.rejects(forward.fresh(true), NoLeader)
    await pass(5000)
    let failed = false
    const second = forward.fresh(true).catch(() => {
      failed = true
    })
    await pass(7300)
    assert.ok(failed)
    await Promise.all([first, second])
  })

  it('ends at once when the agent stops, in whatever it waits for', async () => {
    const { forward, deadlines, following, pass } = trial({ ask: () => Promise.reject(new NotLeader()) })
    const waiting = [forward.write(put), forward.fresh(false), forward.fresh(true)]
    const ended = waiting.map((each) => assert.rejects(each, Stopped))
    following.leaderAddress = undefined
    await pass(200)
    deadlines.stop()
    await Promise.all(ended)
  })

  it('a write that was sent when the agent stops may have happened, and a leader that stops is no answer', async () => {
    const { forward, deadlines, pass } = trial({ ask: () => Promise.reject(new Stopped('this server is stopping')) })
    const rejected = assert.rejects(forward.write(put), (error) => {
      return error instanceof LeadershipLost && /may or may not have happened/.test(error.message)
    })
    await pass(500)
    deadlines.stop()
    await rejected
  })

  it('what it says when it could not help tells what to do', async () => {
    const said = async (promise: Promise<unknown>): Promise<string> => {
      const error = await promise.then(() => undefined).catch((caught: Error) => caught)
      return error?.message ?? 'nothing'
    }
    const silent = trial({ ask: () => Promise.reject(new Unanswered('no answer')) })
    const unknown = said(silent.forward.write(put))
    await silent.pass(7500)
    assert.match(await unknown, /^the write may or may not have happened: no answer; look before you send it again$/)
    const behind = trial({ ask: async () => ({ index: 12 }) })
    const late = said(behind.forward.fresh(true))
    await behind.pass(7500)
    assert.match(await late, /^this node is at index 0 and could not reach 12 within 7000 ms; .*\?stale/)
    const stopping = trial()
    const stopped = said(stopping.forward.write(put))
    stopping.deadlines.stop()
    await stopping.pass(200)
    assert.match(await stopped, /^this agent is stopping; ask another one/)
  })

  it('requests to a former leader are given up when the leader changes', async () => {
    const { following, abandoned, changed } = trial()
    changed()
    assert.deepEqual(abandoned, [])
    following.leaderAddress = { host: '10.0.0.3', port: 8300 }
    changed()
    assert.deepEqual(abandoned, [there])
  })
})
