import assert from 'node:assert/strict'
import { BadRequest, NotLeader, Refused, Stopped, Unanswered, Unreachable } from '../errors.ts'
import type { Io, Reply } from '../io/io.ts'
import { Random } from '../io/random.ts'
import type { Address } from '../model.ts'
import { Deadlines } from './deadlines.ts'
import { Peers } from './peers.ts'

interface Sent {
  bytes: Uint8Array
  onFailed: (reason: Error) => void
}

function agent(seed: number) {
  const sent: Sent[] = []
  const deadlines = new Deadlines()
  const clock = { now: () => 0, wall: () => 0 }
  let lose = (_to: Address, _reason: Error) => {}
  const network = {
    frame: (_channel: string, _to: Address, bytes: Uint8Array, onFailed: (reason: Error) => void) =>
      sent.push({ bytes, onFailed }),
    onLost: (_channel: string, receive: (to: Address, reason: Error) => void) => {
      lose = receive
    },
  }
  const io = { clock, network, random: new Random(seed), log: () => {} } as unknown as Io
  const peers = new Peers(io, deadlines)
  return { peers, sent, deadlines, lose: (to: Address) => lose(to, new Error('the connection was closed')) }
}
const there: Address = { host: '10.0.0.2', port: 8300 }

/** Carries the first request of `asking` to `answering` and the reply back. */
async function deliver(asking: ReturnType<typeof agent>, answering: ReturnType<typeof agent>): Promise<void> {
  const { bytes } = asking.sent.shift() as Sent
  await new Promise<void>((resolve) => {
    const reply: Reply = (answer) => {
      asking.peers.receive(answer, () => {})
      resolve()
    }
    answering.peers.receive(bytes, reply)
  })
}

describe('peers', () => {
  it('a request is answered on the connection it came on', async () => {
    const [a, b] = [agent(1), agent(2)]
    b.peers.answer('double', (body) => (body as number) * 2)
    const answer = a.peers.ask(there, 'double', 21, 1000)
    await deliver(a, b)
    assert.equal(await answer, 42)
  })

  it('what was asked on a connection that is gone will not be answered', async () => {
    const a = agent(1)
    const asked = a.peers.ask(there, 'double', 21, 1000)
    const elsewhere = a.peers.ask({ ...there, port: 8301 }, 'double', 21, 1000)
    a.lose(there)
    await assert.rejects(asked, (error) => error instanceof Unanswered)
    assert.equal(await Promise.race([elsewhere.catch(() => 'lost'), Promise.resolve('waits')]), 'waits')
    a.peers.stop()
  })

  it('an answer that was packed before is given as it is', async () => {
    const [a, b] = [agent(1), agent(2)]
    const packed = b.peers.packed({ entries: [1, 2, 3] })
    b.peers.answer('follow', () => packed)
    const answer = a.peers.ask(there, 'follow', null, 1000)
    await deliver(a, b)
    assert.deepEqual(await answer, { entries: [1, 2, 3] })
  })

  it('what the other throws arrives as the same class', async () => {
    const [a, b] = [agent(1), agent(2)]
    b.peers.answer('refuse', () => {
      throw new Refused('the state said no')
    })
    b.peers.answer('lead', () => {
      throw new NotLeader('10.0.0.3')
    })
    const refused = a.peers.ask(there, 'refuse', null, 1000)
    await Promise.all([deliver(a, b), assert.rejects(refused, (error) => error instanceof Refused)])
    const elsewhere = a.peers.ask(there, 'lead', null, 1000)
    await Promise.all([deliver(a, b), assert.rejects(elsewhere, (error) => error instanceof NotLeader)])
    const unknown = a.peers.ask(there, 'what', null, 1000)
    await Promise.all([deliver(a, b), assert.rejects(unknown, (error) => error instanceof BadRequest)])
  })

  it('silence is unanswered: the other may have acted', async () => {
    const a = agent(1)
    const answer = a.peers.ask(there, 'x', null, 1000)
    a.deadlines.tick(1000)
    await assert.rejects(answer, (error) => error instanceof Unanswered && /1000 ms/.test(error.message))
  })

  it('a connection that was refused is unreachable: the other certainly did not act', async () => {
    const a = agent(1)
    const refused = a.peers.ask(there, 'x', null, 1000)
    a.sent[0]?.onFailed(Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED' }))
    await assert.rejects(refused, (error) => error instanceof Unreachable)
    const broken = a.peers.ask(there, 'x', null, 1000)
    a.sent[1]?.onFailed(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
    await assert.rejects(broken, (error) => error instanceof Unanswered)
  })

  it('a reply meant for a former life settles nothing', async () => {
    const [former, b] = [agent(1), agent(3)]
    b.peers.answer('name', (body) => body)
    void former.peers.ask(there, 'name', 'former', 1000).catch(() => {})
    const replies: Uint8Array[] = []
    await new Promise<void>((resolve) => {
      b.peers.receive((former.sent[0] as Sent).bytes, (bytes) => {
        replies.push(bytes)
        resolve()
      })
    })
    const now = agent(2)
    const answer = now.peers.ask(there, 'name', 'now', 1000)
    now.peers.receive(replies[0] as Uint8Array, () => {})
    await deliver(now, b)
    assert.equal(await answer, 'now')
  })

  it('malformed frames are dropped', () => {
    const a = agent(1)
    for (const bytes of [[], [2], [2, 0, 0, 0, 1], [2, 0, 0, 0, 1, 0xc1], [3, 0, 0, 0, 1, 0x05]]) {
      a.peers.receive(new Uint8Array(bytes), () => assert.fail('answered nonsense'))
    }
  })

  it('what waits when the agent stops is told so', async () => {
    const a = agent(1)
    const answer = a.peers.ask(there, 'x', null, 1000)
    a.peers.stop()
    await assert.rejects(answer, (error) => error instanceof Stopped)
    await assert.rejects(a.peers.ask(there, 'x', null, 1000), (error) => error instanceof Stopped)
  })

  it('an answer that no frame can hold, and a frame of an unknown kind, end nothing', async () => {
    const [a, b] = [agent(1), agent(2)]
    b.peers.answer('all', () => new Uint8Array(100))
    const asked = assert.rejects(a.peers.ask(there, 'all', null, 1000), /too long/)
    const { bytes } = a.sent.shift() as Sent
    await new Promise<void>((resolve) => {
      b.peers.receive(bytes, (answer) => {
        if (answer.length > 100) throw new RangeError('too long')
        a.peers.receive(answer, () => {})
        resolve()
      })
    })
    await asked
    const strange = bytes.slice()
    strange[0] = 9
    b.peers.receive(strange, () => assert.fail('answered'))
  })

  it('a request that is given up may still be answered, or refused, for a moment', async () => {
    const [a, b] = [agent(1), agent(2)]
    b.peers.answer('double', (body) => (body as number) * 2)
    const answered = a.peers.askLeader(there, 'double', 21, 1000)
    a.peers.abandon(there, 'the leader changed')
    await deliver(a, b)
    assert.equal(await answered, 42)

    const refused = assert.rejects(a.peers.askLeader(there, 'double', 21, 1000), Unreachable)
    a.peers.abandon(there, 'the leader changed')
    a.sent.shift()?.onFailed(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }))
    await refused

    const silent = assert.rejects(a.peers.askLeader(there, 'double', 21, 1000), /the leader changed/)
    a.peers.abandon(there, 'the leader changed')
    const later = a.peers.askLeader(there, 'double', 1, 1000)
    a.deadlines.tick(200)
    await silent
    a.sent.shift()
    await deliver(a, b)
    assert.equal(await later, 2, 'what was asked afterwards is not meant')

    const another = a.peers.ask(there, 'double', 4, 1000)
    a.peers.abandon(there, 'the leader changed')
    a.deadlines.tick(200)
    await deliver(a, b)
    assert.equal(await another, 8, 'nor what it was not asked as the leader')
  })
})
