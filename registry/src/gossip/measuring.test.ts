import assert from 'node:assert/strict'
import { Pool } from '../../test/gossip/pool.ts'
import { addressOf, all, Wire } from '../../test/gossip/wire.ts'
import type { Coordinate, Millis } from '../model.ts'
import { distance, origin } from './coordinate.ts'
import type { Message } from './message.ts'

const there: Coordinate = { ...origin(), vector: [0.02, 0, 0, 0, 0, 0, 0, 0] }

type Ping = Message & { type: 'ping' }

/** A member b, and our first probe of it. */
function probing(): { wire: Wire; ping: Ping } {
  const wire = new Wire()
  wire.meet('b')
  return { wire, ping: wire.runUntil('ping').message }
}

function answer(ping: Ping, coordinate: Coordinate = there): Message {
  return { type: 'ack', sequence: ping.sequence, from: ping.target, coordinate }
}

/** How far we think that b is after it answered so long after it was asked, and no other probe was measured. */
function believed(roundTrip: Millis): Coordinate {
  const { wire, ping } = probing()
  wire.gossip.sent(ping.sequence, wire.now - roundTrip)
  wire.hear(answer(ping))
  return wire.gossip.coordinate
}

describe('measuring round trips', () => {
  it('is done between a ping and its answer, in fractions of a millisecond', () => {
    const { wire, ping } = probing()
    wire.now += 0.25
    wire.hear(answer(ping))
    assert.notDeepEqual(wire.gossip.coordinate, origin())
    assert.deepEqual(wire.gossip.coordinateOf('b'), there)
    assert.notDeepEqual(wire.gossip.coordinate, believed(0.5))
  })

  it('begins when the ping has left, which may be long after the tick', () => {
    const { wire, ping } = probing()
    wire.gossip.sent(ping.sequence, wire.now + 70)
    wire.gossip.sent(ping.sequence + 1, wire.now + 72)
    wire.now += 75
    wire.hear(answer(ping))
    assert.deepEqual(wire.gossip.coordinate, believed(5))
  })

  it('takes as long as it takes on a slow network, while ticks go on', () => {
    const { wire, ping } = probing()
    wire.run(800)
    wire.hear(answer(ping))
    assert.deepEqual(wire.gossip.coordinate, believed(800))
    assert.notDeepEqual(wire.gossip.coordinate, believed(500))
  })

  it('is done once for a ping', () => {
    const { wire, ping } = probing()
    wire.hear(answer(ping))
    const once = wire.gossip.coordinate
    wire.hear(answer(ping))
    assert.equal(wire.gossip.coordinate, once)
  })

  const notCounted: [string, (wire: Wire, ping: Ping) => void][] = [
    ['an answer of somebody else', (wire, ping) => wire.hear({ ...answer(ping), from: 'c' } as Message)],
    [
      'an answer to another ping',
      (wire, ping) => wire.hear({ ...answer(ping), sequence: ping.sequence - 1 } as Message),
    ],
    ['an answer over a connection', (wire, ping) => wire.hearFrame(answer(ping))],
    [
      'an answer that says nothing of places',
      (wire, { sequence, target }) => wire.hear({ type: 'ack', sequence, from: target }),
    ],
    [
      'an answer from a place that cannot be',
      (wire, ping) => wire.hear(answer(ping, { ...there, height: Number.NaN })),
    ],
  ]
  for (const [what, hear] of notCounted) {
    it(`leaves out ${what}`, () => {
      const { wire, ping } = probing()
      hear(wire, ping)
      assert.deepEqual(wire.gossip.coordinate, origin())
      assert.equal(wire.gossip.coordinateOf('b'), undefined)
    })
  }

  it('is helped by who is asked by datagram and knows us, with the place it is at', () => {
    const { wire, ping } = probing()
    wire.now += 4
    wire.hear(answer(ping))
    wire.hear({ type: 'ping', sequence: 5, target: 'me', from: 'b', address: addressOf('b') })
    assert.deepEqual(all(wire.sent(), 'ack'), [
      { type: 'ack', sequence: 5, from: 'me', coordinate: wire.gossip.coordinate },
    ])
    wire.hearFrame({ type: 'ping', sequence: 6, target: 'me', from: 'b', address: addressOf('b') })
    assert.deepEqual(all(wire.sent(), 'ack'), [{ type: 'ack', sequence: 6, from: 'me' }])
  })

  it('is not done by detours: an answer that is passed on carries no place', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    const request = { type: 'pingRequest', sequence: 77, target: 'c', targetAddress: addressOf('c') } as const
    wire.hear({ ...request, from: 'b', address: addressOf('b') })
    const ping = all(wire.sent(), 'ping').find(({ target }) => target === 'c')
    wire.hear(answer(ping as Ping))
    assert.deepEqual(all(wire.sent(), 'ack'), [{ type: 'ack', sequence: 77, from: 'c' }])
    assert.deepEqual(wire.gossip.coordinate, origin())
  })

  it('forgets members who are gone', () => {
    const { wire, ping } = probing()
    wire.hear(answer(ping))
    wire.hear({ type: 'pruned', name: 'b', incarnation: 1, from: 'c' })
    wire.run(61_000)
    assert.equal(wire.gossip.coordinateOf('b'), undefined)
  })

  it('puts a pool of sites into an order that is right, within minutes', () => {
    const pool = new Pool(11, { weather: { delay: [0, 1], loss: 0.02 } })
    const members = pool.startJoined(12)
    const site = (name: string) => Number(name.slice(1)) % 3
    const between: Record<string, Millis> = { '01': 10, '02': 40, '12': 30 }
    const oneWay = (a: string, b: string) => between[[site(a), site(b)].sort().join('')] ?? 0
    pool.way = (from, to) => oneWay(from.name, to.name)
    pool.run(4 * 60_000)
    for (const { name, gossip } of members) {
      const near = members
        .filter((other) => other.name !== name)
        .sort(
          (a, b) => distance(gossip.coordinate, a.gossip.coordinate) - distance(gossip.coordinate, b.gossip.coordinate),
        )
        .map((other) => oneWay(name, other.name))
      assert.deepEqual(
        near,
        near.toSorted((a, b) => a - b),
        `as ${name} sees it`,
      )
    }
  })
})
