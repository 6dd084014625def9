import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Pool } from '../../test/gossip/pool.ts'
import { addressOf, alive, all, record, Wire } from '../../test/gossip/wire.ts'
import { nothing } from './digest.ts'
import { Members } from './members.ts'
import type { Standing } from './message.ts'

const member = { name: 'b', address: addressOf('b'), tags: { id: 'b-1', dc: 'dc1' }, incarnation: 5 }

/** The digest of a table in which only b is. */
function digestOf(change: Partial<typeof member> = {}, standing: Standing = 'alive') {
  const members = new Members()
  members.set({ ...member, ...change }, standing, 0)
  return members.digest
}

describe('the digest of a table', () => {
  it('does not depend on how the table came to say what it says', () => {
    const change = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      incarnation: fc.nat(3),
      standing: fc.constantFrom<Standing>('alive', 'suspect', 'failed', 'left', 'pruned'),
      remove: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const members = new Members()
        for (const { name, incarnation, standing, remove } of changes) {
          if (remove) members.remove(name)
          else members.set({ ...member, name, incarnation }, standing, 0)
        }
        const straight = new Members()
        for (const { member, standing } of [...members.entries()].reverse()) straight.set(member, standing, 9)
        assert.deepEqual(members.digest, straight.digest)
      }),
      { seed: 1, numRuns: 500 },
    )
  })

  it('tells tables apart by every field', () => {
    const digests = [
      nothing,
      digestOf(),
      digestOf({ name: 'c' }),
      digestOf({ incarnation: 6 }),
      digestOf({ address: { host: 'b.example', port: 8302 } }),
      digestOf({ address: { host: 'b', port: 8301 } }),
      digestOf({ tags: { id: 'b-1', dc: 'dc2' } }),
      digestOf({ tags: { id: 'b-1dc', dc: '1' } }),
      digestOf({}, 'failed'),
      digestOf({}, 'left'),
      digestOf({}, 'pruned'),
    ]
    assert.equal(new Set(digests.map(String)).size, digests.length)
  })

  it('is the same with a suspicion, with tags in another order, and whatever the gone said last', () => {
    assert.deepEqual(digestOf({}, 'suspect'), digestOf())
    assert.deepEqual(digestOf({ tags: { dc: 'dc1', id: 'b-1' } }), digestOf())
    assert.deepEqual(digestOf({ tags: { id: 'b-1', dc: 'old' } }, 'failed'), digestOf({}, 'failed'))
  })
})

describe('the periodic state exchange', () => {
  /** Alone with b, which answers pings, until it is asked for its digest. */
  function asked() {
    const wire = new Wire()
    wire.meet('b')
    for (;;) {
      for (const sent of wire.run(100)) {
        for (const message of sent.messages) {
          if (message.type === 'ping') wire.hear({ type: 'ack', sequence: message.sequence, from: message.target })
          if (message.type === 'digest') return { wire, sent, request: message }
        }
      }
    }
  }

  it('begins with a digest, and is over when the other side has the same', () => {
    const { wire, sent, request } = asked()
    assert.deepEqual([sent.via, sent.to, request.reply], ['frame', addressOf('b'), false])
    wire.hearFrame({ ...request, reply: true, from: 'b' })
    assert.deepEqual(all(wire.run(15_000), 'state'), [])
    assert.ok(!wire.story.includes('warning'), wire.story.join())
  })

  it('tells all and hears all when the other side has another', () => {
    const { wire, request } = asked()
    wire.hearFrame({ ...request, reply: true, from: 'b', digest: [1, 2] })
    const [sent] = wire.sent()
    const [state] = all(sent === undefined ? [] : [sent], 'state')
    assert.deepEqual([sent?.to, state?.sequence, state?.reply], [addressOf('b'), request.sequence, false])
    assert.deepEqual(
      state?.records.map(({ name }) => name),
      ['me', 'b'],
    )
    const records = [record('b', 1, 'alive'), record('c', 1, 'alive')]
    wire.hearFrame({ type: 'state', sequence: request.sequence, reply: true, more: false, from: 'b', records })
    assert.equal(wire.gossip.get('c')?.status, 'alive')
  })

  it('answers with the digest of what it knows', () => {
    const { wire, request } = asked()
    const digest = () => {
      wire.hearFrame({ ...request, from: 'b' })
      const [answer] = wire.sent()
      assert.equal(answer?.via, 'reply')
      const [message] = all([answer], 'digest')
      assert.deepEqual([message?.sequence, message?.reply, message?.from], [request.sequence, true, 'me'])
      return message?.digest
    }
    assert.deepEqual(digest(), request.digest)
    wire.hear(alive('c', 1))
    assert.notDeepEqual(digest(), request.digest)
  })

  it('that is not answered is a warning, and a digest that nobody asked for is nothing', () => {
    const { wire, request } = asked()
    wire.hearFrame({ ...request, reply: true, sequence: request.sequence + 1, from: 'b', digest: [1, 2] })
    wire.hear({ ...request, from: 'b' })
    assert.deepEqual(wire.sent(), [])
    wire.run(11_000)
    assert.ok(wire.events.some((event) => event.type === 'warning' && /state exchange .* no answer/.test(event.reason)))
  })

  it('mends what gossip lost, and then is a digest again', () => {
    const pool = new Pool(3)
    const started = pool.startJoined(8)
    pool.until(() => pool.converged(), 5_000)
    // Nothing is heard of the change but through connections.
    pool.weather = { ...pool.weather, loss: 1 }
    pool.act(started[0]!, (gossip) => gossip.setTags({ ...gossip.self.tags, round: '2' }, pool.now))
    pool.until(() => pool.converged(), 90_000)
    const before = pool.stateFrames
    pool.weather = { ...pool.weather, loss: 0 }
    pool.run(120_000)
    assert.equal(pool.stateFrames, before)
  })
})
