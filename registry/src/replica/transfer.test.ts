/** Snapshots on their way, with the wire in the hands of the test: every frame may be lost, late or repeated. */
import assert from 'node:assert/strict'
import { SimulatedDisk } from '../../test/sim/disk.ts'
import { Random } from '../io/random.ts'
import type { Millis } from '../model.ts'
import { Snapshots } from './snapshots.ts'
import { SnapshotReceiver, SnapshotSender } from './transfer.ts'
import type { ReplicaFrame, SnapshotMessage } from './wire.ts'

type Chunk = Extract<ReplicaFrame, { kind: 'chunk' }>
type ChunkReply = Extract<ReplicaFrame, { kind: 'chunkReply' }>

const folder = 'raft/snapshots'
const chunkBytes = 256 * 1024
const chunks = 6
const mark = { index: 40, term: 3, configuration: { cluster: 'c', servers: [] }, configurationIndex: 1 }
const message: SnapshotMessage = { type: 'snapshot', term: 3, mark, round: 1 }

async function pair(content = 1) {
  const from = new SimulatedDisk(new Random(1))
  const to = new SimulatedDisk(new Random(2))
  const source = await Snapshots.open(from.open(), folder)
  const pieces = Array.from({ length: chunks }, (_, at) => new Uint8Array(chunkBytes - 100).fill(content + at))
  const sent = await source.write(mark, pieces)
  const target = await Snapshots.open(to.open(), folder)
  const wire: Chunk[] = []
  const replies: ChunkReply[] = []
  const ended: { ok: boolean; damaged: boolean }[] = []
  const arrived: SnapshotMessage[] = []
  const failed = (error: unknown) => {
    throw error
  }
  const sender = new SnapshotSender({
    snapshots: source,
    failed,
    send: (_to, frame) => wire.push(frame),
    ended: (_to, ok, _snapshot, damaged) => ended.push({ ok, damaged }),
  })
  const receiver = new SnapshotReceiver({
    disk: to.open(),
    snapshots: target,
    failed,
    send: (_to, frame) => replies.push(frame),
    committed: () => 0,
    arrived: (_from, whole) => arrived.push(whole),
  })
  let now: Millis = 0
  /** Reads and writes end. */
  const rest = async () => {
    for (let turn = 0; turn < 30; turn++) await Promise.resolve()
    await receiver.idle()
    for (let turn = 0; turn < 30; turn++) await Promise.resolve()
  }
  const tick = async (time: Millis) => {
    now += time
    sender.tick(now)
    await rest()
  }
  const start = async (transfer: number) => {
    sender.start('f', message, transfer, now)
    await rest()
  }
  const same = () => {
    const name = target.newest?.file
    return name !== undefined && Buffer.compare(from.peek(sent.file)!, to.peek(name)!) === 0
  }
  return { wire, replies, ended, arrived, sender, receiver, rest, tick, start, same, size: sent.size, now: () => now }
}

type Pair = Awaited<ReturnType<typeof pair>>

/** Brings everything, and what that leads to; `lost` says what does not arrive. Returns how many bytes were sent. */
async function carry(one: Pair, lost: (frame: Chunk | ChunkReply, at: number) => boolean = () => false) {
  let at = 0
  let bytes = 0
  for (let quiet = 0; quiet < 40 && one.ended.length === 0; quiet++) {
    while (one.wire.length + one.replies.length > 0) {
      quiet = 0
      const chunk = one.wire.shift()
      if (chunk !== undefined) {
        bytes += chunk.bytes.length
        if (!lost(chunk, at++)) one.receiver.receive('l', chunk)
      }
      await one.rest()
      const reply = one.replies.shift()
      if (reply !== undefined && !lost(reply, at++)) one.sender.reply('f', reply, one.now())
      await one.rest()
    }
    await one.tick(1100)
  }
  return bytes
}

describe('a snapshot on its way', () => {
  it('arrives as it was, once', async () => {
    const one = await pair()
    await one.start(7)
    const bytes = await carry(one)
    assert.deepEqual(one.ended, [{ ok: true, damaged: false }])
    assert.deepEqual([one.arrived.length, one.same(), bytes], [1, true, one.size])
  })

  it('cut at any frame goes on from what was acknowledged', async () => {
    for (let cut = 0; cut < 4 * chunks; cut++) {
      const one = await pair()
      await one.start(7)
      // The connection breaks: what is under way then is gone, in both directions.
      let gone = false
      const bytes = await carry(one, (_frame, at) => {
        if (at !== cut) return false
        gone = true
        one.wire.length = 0
        one.replies.length = 0
        return true
      })
      assert.deepEqual(one.ended, [{ ok: true, damaged: false }], `cut at ${cut}`)
      assert.deepEqual([one.arrived.length, one.same()], [1, true], `cut at ${cut}`)
      assert.ok(bytes <= one.size + 3 * chunkBytes, `cut at ${cut} (${gone}): ${bytes} of ${one.size} bytes`)
    }
  })

  it('cut at every single frame once goes on all the same', async () => {
    const one = await pair()
    await one.start(7)
    const seen = new Set<string>()
    await carry(one, (frame) => {
      const name = frame.kind === 'chunk' ? `chunk ${frame.offset}` : `reply ${frame.offset} ${frame.state}`
      const first = !seen.has(name)
      seen.add(name)
      return first
    })
    assert.deepEqual(one.ended, [{ ok: true, damaged: false }])
    assert.deepEqual([one.arrived.length, one.same()], [1, true])
  })

  it('takes nothing twice and nothing out of order, whatever is repeated or late', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = new Random(seed)
      const one = await pair()
      await one.start(7)
      const late: Chunk[] = []
      await carry(one, (frame) => {
        if (frame.kind === 'chunkReply') return random.chance(0.1)
        if (random.chance(0.3)) one.receiver.receive('l', frame)
        if (random.chance(0.2)) late.push(frame)
        if (random.chance(0.2)) one.receiver.receive('l', random.pick(late) ?? frame)
        // Who has nothing of a transfer refuses its middle, and it begins anew.
        return frame.offset > 0 && random.chance(0.2)
      })
      assert.deepEqual(one.ended, [{ ok: true, damaged: false }], `seed ${seed}`)
      assert.deepEqual([one.arrived.length, one.same()], [1, true], `seed ${seed}`)
    }
  })

  it('a chunk of a transfer that was given up is no part of the next', async () => {
    const one = await pair()
    await one.start(7)
    const [first, second] = one.wire.splice(0)
    one.receiver.receive('l', first as Chunk)
    await one.rest()
    one.replies.length = 0
    // The same leader begins anew, with other bytes at the same place.
    const other = await pair(100)
    await other.start(8)
    const [begin] = other.wire
    one.receiver.receive('l', begin as Chunk)
    await one.rest()
    one.replies.length = 0
    one.receiver.receive('l', second as Chunk)
    await one.rest()
    assert.deepEqual(
      one.replies.map(({ transfer, state }) => [transfer, state]),
      [[7, 'refused']],
    )
    assert.equal(one.arrived.length, 0)
  })
})
