import assert from 'node:assert/strict'
import { Broadcasts } from './broadcasts.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const texts = (taken: Uint8Array[]) => taken.map((one) => new TextDecoder().decode(one))

describe('news to broadcast', () => {
  it('is taken as often as the limit says', () => {
    const broadcasts = new Broadcasts()
    broadcasts.queue('b', bytes('b1'))
    assert.deepEqual(
      [1, 2, 3, 4].map(() => texts(broadcasts.take(100, 3))),
      [['b1'], ['b1'], ['b1'], []],
    )
    assert.equal(broadcasts.size, 0)
  })

  it('newer news about a member replaces older news and starts anew', () => {
    const broadcasts = new Broadcasts()
    broadcasts.queue('b', bytes('b1'))
    broadcasts.take(100, 2)
    broadcasts.queue('b', bytes('b2'))
    assert.deepEqual(
      [1, 2, 3].map(() => texts(broadcasts.take(100, 2))),
      [['b2'], ['b2'], []],
    )
  })

  it('goes out least sent first, and of those the newest first', () => {
    const broadcasts = new Broadcasts()
    broadcasts.queue('b', bytes('b1'))
    broadcasts.take(100, 5)
    broadcasts.queue('c', bytes('c1'))
    broadcasts.queue('d', bytes('d1'))
    assert.deepEqual(texts(broadcasts.take(100, 5)), ['d1', 'c1', 'b1'])
  })

  it('fills the room, passing over what does not fit', () => {
    const broadcasts = new Broadcasts()
    broadcasts.queue('b', bytes('b1'))
    broadcasts.queue('c', bytes('long news of c'))
    broadcasts.queue('d', bytes('d1'))
    assert.deepEqual(texts(broadcasts.take(4, 5)), ['d1', 'b1'])
    assert.deepEqual(texts(broadcasts.take(14, 5)), ['long news of c'])
  })
})
