import assert from 'node:assert/strict'
import { settle, Wires } from '../../test/agents/wires.ts'
import { BadRequest, Refused, Stopped, Unanswered, Unreachable } from '../errors.ts'
import type { Address, Millis } from '../model.ts'
import { LongRequests } from './long-requests.ts'
import { partBytes } from './parts.ts'

const here: Address = { host: '10.0.0.1', port: 8300 }
const there: Address = { host: '10.0.0.2', port: 8300 }
const minutes: Millis = 10 * 60_000

function pair() {
  const wires = new Wires()
  const [one, other] = [wires.end(here), wires.end(there)]
  const asking = new LongRequests(one)
  const answering = new LongRequests(other)
  return { wires, asking, answering, other }
}

/** Work that goes on until the test ends it. */
function work(answering: LongRequests) {
  const started: { finish(result: unknown): void; abandoned: AbortSignal }[] = []
  answering.answer('wait', (_body, abandoned) => {
    return new Promise((resolve, reject) => {
      started.push({ finish: resolve, abandoned })
      abandoned.addEventListener('abort', () => reject(new Error('broken off')))
    })
  })
  return started
}

describe('a long request', () => {
  it('is answered when there is an answer, minutes later', async () => {
    const { wires, asking, answering } = pair()
    const started = work(answering)
    const answer = asking.ask(there, 'wait', {}, minutes)
    await wires.pass(5 * 60_000)
    started[0]!.finish({ found: 7 })
    assert.deepEqual(await answer, { found: 7 })
    assert.equal(asking.asked, 0)
    assert.equal(answering.open, 0)
  })

  it('ends with an agent that stops, which says so and begins no other: nothing of that was seen', async () => {
    const { asking, answering, other } = pair()
    answering.answer('wait', (_body, abandoned) => {
      return new Promise((_resolve, reject) => abandoned.addEventListener('abort', () => reject(abandoned.reason)))
    })
    const answer = asking.ask(there, 'wait', {}, minutes)
    answer.catch(() => {})
    await settle()
    other.deadlines.stop()
    await assert.rejects(answer, Stopped)
    await assert.rejects(asking.ask(there, 'wait', {}, minutes), Unreachable)
  })

  it('passes on what the other side throws, and what it does not know', async () => {
    const { asking, answering } = pair()
    answering.answer('refuse', () => {
      throw new Refused('no')
    })
    await assert.rejects(asking.ask(there, 'refuse', {}, minutes), Refused)
    await assert.rejects(asking.ask(there, 'unheard', {}, minutes), BadRequest)
  })

  it('that certainly was not seen says so at once', async () => {
    const { wires, asking } = pair()
    wires.down.add('10.0.0.2:8300')
    await assert.rejects(asking.ask(there, 'wait', {}, minutes), Unreachable)
  })

  it('ends within two seconds when the other process is gone', async () => {
    const { wires, asking, answering } = pair()
    work(answering)
    const lost = assert.rejects(asking.ask(there, 'wait', {}, minutes), Unanswered)
    await wires.pass(300)
    wires.down.add('10.0.0.2:8300')
    const took = await wires.passUntil(lost)
    assert.ok(took <= 2_000, `after ${took} ms`)
    await lost
  })

  it('ends within four seconds when the other side is silent', async () => {
    const { wires, asking, answering } = pair()
    work(answering)
    const lost = assert.rejects(asking.ask(there, 'wait', {}, minutes), Unanswered)
    await wires.pass(300)
    wires.silent.add('10.0.0.2:8300')
    const took = await wires.passUntil(lost)
    assert.ok(took <= 4_000, `after ${took} ms`)
    await lost
  })

  it('ends when the other side does not know it any more', async () => {
    const { wires, asking, answering, other } = pair()
    work(answering)
    const lost = assert.rejects(asking.ask(there, 'wait', {}, minutes), Unanswered)
    await wires.pass(300)
    // A new life at the same address.
    new LongRequests(other).answer('wait', () => 0)
    await wires.pass(1_200)
    await lost
  })

  it('that is abandoned is broken off there at once', async () => {
    const { wires, asking, answering } = pair()
    const started = work(answering)
    const client = new AbortController()
    const answer = asking.ask(there, 'wait', {}, minutes, client.signal)
    await wires.pass(300)
    client.abort(new Error('the client is gone'))
    await assert.rejects(answer, /the client is gone/)
    await settle()
    assert.equal(started[0]!.abandoned.aborted, true)
    assert.equal(answering.open, 0)
  })

  it('whose asker is gone is broken off after a while', async () => {
    const { wires, asking, answering } = pair()
    const started = work(answering)
    asking.ask(there, 'wait', {}, minutes).catch(() => {})
    await wires.pass(300)
    wires.silent.add('10.0.0.1:8300')
    await wires.pass(9_000)
    assert.equal(started[0]!.abandoned.aborted, false)
    await wires.pass(3_000)
    assert.equal(started[0]!.abandoned.aborted, true)
    assert.equal(answering.open, 0)
  })

  it('costs one question a second however many wait', async () => {
    const { wires, asking, answering, other } = pair()
    const started = work(answering)
    const answers = Array.from({ length: 500 }, () => asking.ask(there, 'wait', {}, minutes))
    await settle()
    let frames = 0
    const receive = other.peers.receive.bind(other.peers)
    other.peers.receive = (bytes, reply) => {
      frames++
      receive(bytes, reply)
    }
    await wires.pass(10_000)
    assert.equal(frames, 10)
    for (const { finish } of started) finish(0)
    await Promise.all(answers)
  })

  it('brings a body of any length, in parts, and keeps none of it afterwards', async () => {
    const { asking, answering } = pair()
    for (const length of [0, 1, partBytes, partBytes + 1, 3 * partBytes, 20_000_003]) {
      const body = Buffer.alloc(length, 'abcdefg')
      answering.answer('long', () => ({ status: 200, body }))
      const answer = (await asking.ask(there, 'long', {}, minutes)) as { status: number; body: Uint8Array }
      assert.equal(answer.status, 200)
      assert.ok(body.equals(answer.body), `${length} bytes`)
      assert.equal(answering.keptBytes, 0)
    }
  })

  it('whose parts stop coming is unanswered, and what is left of it is forgotten', async () => {
    const { wires, asking, answering, other } = pair()
    answering.answer('long', () => ({ body: Buffer.alloc(10 * partBytes) }))
    other.peers.answer('long.part', () => {
      throw new Refused('restarted')
    })
    await assert.rejects(asking.ask(there, 'long', {}, minutes), Unanswered)
    await wires.pass(20_000)
    assert.equal(answering.keptBytes, 0)
  })
})
