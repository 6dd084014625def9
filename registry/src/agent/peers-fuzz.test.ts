/** Frames that nobody should send, for requests between agents. `FUZZ=n` gives so many. */
import assert from 'node:assert/strict'
import { env } from 'node:process'
import { Packr } from 'msgpackr'
import type { Io } from '../io/io.ts'
import { Random } from '../io/random.ts'
import { Deadlines } from './deadlines.ts'
import { frameKind, Peers } from './peers.ts'

const inputs = Number(env.FUZZ ?? 20_000)
const there = { host: '10.0.0.2', port: 8300 }

describe('fuzzed requests', () => {
  it('whatever comes as a request or as the answer to ours, nothing is thrown and all is answered or dropped', async () => {
    const random = new Random(1)
    const packr = new Packr({ useRecords: false })
    const asked: Uint8Array[] = []
    const network = {
      frame: (_channel: string, _to: unknown, bytes: Uint8Array) => asked.push(bytes),
      onLost: () => {},
    }
    const clock = { now: () => 0, wall: () => 0 }
    const io = { clock, network, random: new Random(2), log: () => {} } as unknown as Io
    const peers = new Peers(io, new Deadlines())
    let [served, answered, settled] = [0, 0, 0]
    peers.answer('echo', (body) => {
      served++
      return body
    })
    // What unpacks to anything, text that no text can be made of included.
    const values = [
      null,
      7,
      'x',
      [],
      ['NotLeader', 'x'],
      { toString: 1 },
      [[{ toString: 1, valueOf: 2 }]],
      [1n],
      new Date(0),
    ]
    const body = () => {
      const list = ['echo', random.pick(values), random.pick(values)].slice(random.between(0, 2))
      const bytes = Uint8Array.from(packr.pack(random.chance(0.9) ? list : random.pick(values)))
      for (let change = random.between(0, 2); change > 0; change--) {
        bytes[random.between(0, bytes.length - 1)] = random.word() & 255
      }
      return random.chance(0.2) ? bytes.subarray(0, random.between(0, bytes.length)) : bytes
    }
    for (let one = 0; one < inputs; one++) {
      const kind = random.chance(0.5) ? frameKind.request : frameKind.reply
      const header = Uint8Array.of(random.chance(0.95) ? kind : random.word() & 255, 0, 0, 0, one & 255)
      if (header[0] === frameKind.reply) {
        const answer = peers.ask(there, 'echo', null, 1_000)
        answer.then(
          () => settled++,
          (error) => {
            settled++
            assert.ok(error instanceof Error)
          },
        )
        header.set((asked.pop() as Uint8Array).subarray(1, 5), 1)
      }
      const payload = body()
      const frame = new Uint8Array(5 + payload.length)
      frame.set(header)
      frame.set(payload, 5)
      peers.receive(random.chance(0.98) ? frame : frame.subarray(0, random.between(0, 5)), () => answered++)
      if (one % 100 === 99) await new Promise((resolve) => setImmediate(resolve))
    }
    peers.stop()
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(served > inputs / 50 && answered >= served && settled > inputs / 10, `${served} ${answered} ${settled}`)
  })
})
