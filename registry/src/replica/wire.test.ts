import assert from 'node:assert/strict'
import { Random } from '../io/random.ts'
import { Malformed } from '../raft/codec.ts'
import { decodeFrame, encodeFrame, type Header, type ReplicaFrame, type SnapshotMessage } from './wire.ts'

const header: Header = { to: 'b', from: 'a', address: '10.0.0.1:8300', cluster: 'c' }
const message: SnapshotMessage = {
  type: 'snapshot',
  term: 3,
  round: 9,
  mark: { index: 5, term: 2, configuration: { cluster: 'c', servers: [] }, configurationIndex: 1 },
}
const frames: ReplicaFrame[] = [
  { kind: 'message', message: { type: 'timeoutNow', term: 4 } },
  { kind: 'message', message: { type: 'vote', term: 4, pre: true, lastIndex: 5, lastTerm: 2, transfer: false } },
  { kind: 'chunk', transfer: 0xfedcba98, message, size: 100, offset: 90, bytes: new Uint8Array(10).fill(7) },
  { kind: 'chunkReply', transfer: 1, offset: 2 ** 40, state: 'refused' },
]

describe('frames between replicas', () => {
  it('read back as they were written, and begin with 1', () => {
    for (const frame of frames) {
      const bytes = encodeFrame(header, frame)
      assert.equal(bytes[0], 1)
      assert.deepEqual(decodeFrame(bytes), { header, frame })
      for (const cluster of ['', undefined]) {
        assert.deepEqual(decodeFrame(encodeFrame({ ...header, cluster }, frame)).header.cluster, cluster)
      }
    }
  })

  it('are malformed when they are cut off, and when their parts contradict each other', () => {
    for (const frame of frames) {
      const bytes = encodeFrame(header, frame)
      for (let length = 0; length < bytes.length; length++) {
        // A chunk of fewer bytes is a chunk too.
        if (frame.kind === 'chunk' && length > bytes.length - frame.bytes.length) continue
        assert.throws(() => decodeFrame(bytes.subarray(0, length)), Malformed, `${frame.kind} of ${length} bytes`)
      }
    }
    const beyond: ReplicaFrame = { kind: 'chunk', transfer: 1, message, size: 5, offset: 0, bytes: new Uint8Array(10) }
    assert.throws(() => decodeFrame(encodeFrame(header, beyond)), Malformed)
  })

  it('never do anything but throw Malformed, whatever bytes arrive', () => {
    const random = new Random(11)
    for (let run = 0; run < 20_000; run++) {
      const bytes = Uint8Array.from(encodeFrame(header, random.pick(frames)!))
      for (let flips = random.between(1, 5); flips > 0; flips--)
        bytes[random.between(0, bytes.length - 1)] = random.word() & 0xff
      try {
        decodeFrame(bytes)
      } catch (error) {
        assert.ok(error instanceof Malformed, String(error))
      }
    }
  })
})
