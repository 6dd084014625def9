import assert from 'node:assert/strict'
import { FrameJoiner, frameHeader, frameLengthMax } from './frames.ts'
import { Random } from './random.ts'

const framed = (...bodies: Uint8Array[]) => Buffer.concat(bodies.flatMap((body) => [frameHeader(body), body]))

describe('frames', () => {
  it('come out whole, in order, however the stream is cut', () => {
    const random = new Random(1)
    const bodies = Array.from({ length: 40 }, (_, at) => Buffer.alloc(random.between(1, 300), at + 1))
    const stream = framed(...bodies)
    for (let run = 0; run < 50; run++) {
      const joiner = new FrameJoiner()
      const received: Uint8Array[] = []
      for (let at = 0; at < stream.length; ) {
        const length = run === 0 ? 1 : random.between(1, 700)
        received.push(...joiner.push(stream.subarray(at, at + length)))
        at += length
      }
      assert.deepEqual(
        received.map((frame) => Buffer.from(frame)),
        bodies,
      )
      assert.equal(joiner.pending, 0)
    }
  })

  it('wait for their last byte', () => {
    const joiner = new FrameJoiner()
    const stream = framed(Buffer.from('hello'))
    assert.deepEqual(joiner.push(stream.subarray(0, stream.length - 1)), [])
    assert.equal(joiner.pending, stream.length - 1)
    assert.equal(Buffer.from(joiner.push(stream.subarray(stream.length - 1))[0]!).toString(), 'hello')
  })

  it('refuse a length that no frame has, before any of its bytes are waited for', () => {
    for (const header of [
      [0xff, 0xff, 0xff, 0xff],
      [...frameHeader(Buffer.alloc(frameLengthMax)).subarray(0, 3), 0xff],
      [...Buffer.from('GET ')],
    ]) {
      assert.throws(() => new FrameJoiner().push(Uint8Array.from(header)), /expected a frame of at most/)
    }
  })

  it('may be empty, but not too long', () => {
    assert.deepEqual(new FrameJoiner().push(framed(new Uint8Array(0))), [Buffer.alloc(0)])
    assert.throws(() => frameHeader(new Uint8Array(frameLengthMax + 1)), RangeError)
  })
})
