import assert from 'node:assert/strict'
import { addressOf, alive, all, record, Wire } from '../../test/gossip/wire.ts'
import { encodeMessage, packet } from './message.ts'
import { Repeats } from './repeats.ts'

const encode = (text: string) => new TextEncoder().encode(text)

describe('news heard a moment ago', () => {
  it('is known by its bytes, wherever they are, for a second', () => {
    const repeats = new Repeats()
    const bytes = encode('b is alive, b is dead')
    assert.equal(repeats.heard(bytes, 0, 10, 500), false)
    assert.equal(repeats.heard(encode('-b is alive'), 1, 11, 1_499), true)
    assert.equal(repeats.heard(bytes, 12, 21, 1_499), false)
    assert.equal(repeats.heard(bytes, 0, 10, 1_500), false)
    repeats.forget()
    assert.equal(repeats.heard(bytes, 0, 10, 1_501), false)
  })

  it('does not grow', () => {
    const repeats = new Repeats()
    for (let one = 0; one < 100_000; one++) repeats.heard(encode(`news ${one}`), 0, 10, one)
    assert.equal(repeats.heard(encode('news 0'), 0, 6, 0), false)
  })

  it('of a member we did not know is heard again once we know it', () => {
    const wire = new Wire()
    const failed = { type: 'failed', name: 'b', incarnation: 1, from: 'c' } as const
    wire.hear(failed)
    wire.hear(alive('b', 1))
    wire.hear(failed)
    assert.equal(wire.gossip.get('b')?.status, 'failed')
  })

  it('that suspects a later life of a failed member is heard again once that life began', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'failed', name: 'b', incarnation: 1, from: 'c' })
    const suspect = { type: 'suspect', name: 'b', incarnation: 2, from: 'c' } as const
    wire.hear(suspect)
    wire.hear(alive('b', 2))
    wire.hear(suspect)
    assert.equal(wire.gossip.get('b')?.status, 'suspect')
  })

  it('that claims a name is heard again once the name is free', () => {
    const wire = new Wire()
    wire.meet('b')
    const moved = alive('b', 3, { address: addressOf('b2') })
    wire.hear(moved)
    wire.hear({ type: 'left', name: 'b', incarnation: 2, from: 'b' })
    wire.hear(moved)
    assert.deepEqual(wire.gossip.get('b')?.address, addressOf('b2'))
  })

  it('in a packet that was damaged behind it is heard when it comes undamaged', () => {
    const wire = new Wire()
    const good = encodeMessage(alive('b', 1))
    wire.gossip.receive(packet([good, Uint8Array.of(2, 0)]), wire.now)
    assert.equal(wire.gossip.get('b'), undefined)
    wire.gossip.receive(packet([good]), wire.now)
    assert.equal(wire.gossip.get('b')?.status, 'alive')
  })

  it('contradicts what we know only once a second', () => {
    const wire = new Wire()
    wire.hearFrame({
      type: 'state',
      sequence: 1,
      reply: false,
      more: false,
      from: 'c',
      records: [record('c', 1, 'alive'), record('b', 5, 'left')],
    })
    wire.run(20_000)
    const tells = () => {
      wire.hear(alive('b', 4))
      return all(wire.run(900), 'left').length > 0
    }
    assert.deepEqual([tells(), tells()], [true, false])
    wire.run(10_000)
    assert.equal(tells(), true)
  })
})
