import assert from 'node:assert/strict'
import { BadRequest, Busy } from '../errors.ts'
import { Random } from '../io/random.ts'
import { Deadlines } from './deadlines.ts'
import type { StateReply } from './observer.ts'
import { type ServingOptions, serve } from './serving.ts'

/** What a server with a state of so many bytes answers, in chunks of 1,000. */
function trial(bytes: number) {
  const deadlines = new Deadlines()
  const answers = new Map<string, (body: unknown) => unknown>()
  let now = 0
  /** Chunks that were made: nothing is made before it is asked for. */
  let made = 0
  function* chunks() {
    for (let at = 0; at < bytes; at += 1_000) {
      made++
      yield new Uint8Array(Math.min(1_000, bytes - at))
    }
  }
  const mark = { index: 7, term: 2, configuration: { cluster: 'c' } }
  serve({
    io: { clock: { now: () => now, wall: () => 0 }, random: new Random(1) },
    deadlines,
    peers: { answer: (method: string, answer: (body: unknown) => unknown) => answers.set(method, answer) },
    replica: { snapshotBytes: async () => ({ mark, chunks: chunks() }) },
    following: { subscribe: () => () => {} },
  } as unknown as ServingOptions)
  return {
    state: (token = 0) => answers.get('state')?.({ token }) as Promise<StateReply>,
    pass: (millis: number) => {
      now += millis
      deadlines.tick(now)
    },
    made: () => made,
  }
}

describe('the whole state, given to an agent that asks for it', () => {
  it('comes a piece for each question, and then its end', async () => {
    const { state, made } = trial(300_000)
    const first = await state()
    assert.equal(made() < 150, true, 'the rest is not made yet')
    let bytes = first.chunk?.length ?? 0
    let pieces = 1
    for (let reply = await state(first.token); reply.chunk !== undefined; reply = await state(first.token)) {
      assert.deepEqual([reply.index, reply.term, reply.cluster], [7, 2, 'c'])
      assert.ok(reply.chunk.length <= 132_000)
      bytes += reply.chunk.length
      pieces++
    }
    assert.deepEqual([bytes, pieces], [300_000, 3])
    await assert.rejects(state(first.token), (error) => error instanceof BadRequest)
  })

  it('is given to so many at once and no more, however many were started together', async () => {
    const { state } = trial(300_000)
    const began = await Promise.allSettled(Array.from({ length: 100 }, () => state()))
    const served = began.filter(({ status }) => status === 'fulfilled')
    assert.equal(served.length, 16)
    for (const each of began) if (each.status === 'rejected') assert.ok(each.reason instanceof Busy)
    const [one] = served as PromiseFulfilledResult<StateReply>[]
    while ((await state(one?.value.token)).chunk !== undefined);
    assert.ok((await state()).chunk !== undefined, 'the next takes the place of one that is done')
  })

  it('is not kept for who has stopped asking', async () => {
    const { state, pass } = trial(300_000)
    const gone = await Promise.all(Array.from({ length: 16 }, () => state()))
    await assert.rejects(state(), (error) => error instanceof Busy)
    pass(6_000)
    assert.ok((await state(gone[0]?.token)).chunk !== undefined, 'this one goes on')
    pass(6_000)
    for (let at = 0; at < 15; at++) assert.ok((await state()).chunk !== undefined)
    await assert.rejects(state(gone[1]?.token), (error) => error instanceof BadRequest)
    await assert.rejects(state(), (error) => error instanceof Busy)
  })
})
