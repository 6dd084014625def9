/** What somebody who is no member can do with a packet, in a pool without encryption: nothing that outlasts it. */
import assert from 'node:assert/strict'
import { Pool } from '../../test/gossip/pool.ts'
import { addressOf, alive, all, record, Wire } from '../../test/gossip/wire.ts'
import { encodeMessage, type Message, packet, type StateRecord } from './message.ts'

const packetOf = (...messages: Message[]) => packet(messages.map(encodeMessage))

describe('a forged packet', () => {
  const victim = 'm3'
  for (const incarnation of [2 ** 32, 2 ** 47 - 1, 2 ** 47, 2 ** 47 + 1, 2 ** 48 - 1]) {
    for (const type of ['alive', 'suspect', 'failed', 'left', 'pruned'] as const) {
      it(`${type} with the incarnation ${incarnation}, told to anybody, is overruled`, () => {
        for (const told of ['m1', victim, 'newcomer']) {
          const pool = new Pool(2)
          const [first, , third] = pool.startJoined(4)
          pool.until(() => pool.converged(), 5_000)
          pool.start('newcomer')
          const { address, tags } = third!.gossip.self
          const news: Message[] = [{ type: 'alive', name: victim, incarnation, address, tags: { id: 'forged' } }]
          if (type !== 'alive') news.push({ type, name: victim, incarnation, from: 'm2' })
          const ears = pool.processes.find(({ name }) => name === told)!
          pool.act(ears, (gossip) => gossip.receive(packetOf(...news), pool.now))
          pool.join(pool.processes.at(-1)!, first!)
          pool.until(() => pool.converged(), 60_000)
          assert.deepEqual(first!.gossip.get(victim)?.tags, tags)
          // And it can still change, fail and come back.
          pool.act(third!, (gossip) => gossip.setTags({ ...tags, round: '2' }, pool.now))
          pool.until(() => pool.converged(), 10_000)
          pool.stop(third!)
          pool.until(() => pool.converged(), 30_000)
          pool.join(pool.start(victim, { address, tags }), first!)
          pool.until(() => pool.converged(), 60_000)
        }
      })
    }
  }

  it('that accuses us a thousand times costs one piece of news at a time, and we are well soon after', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.run(10_000)
    const queued = wire.gossip.queued
    for (let time = 0; time < 1_000; time++) {
      wire.hear({ type: 'suspect', name: 'me', incarnation: wire.gossip.self.incarnation, from: 'b' })
      wire.now++
    }
    assert.ok(wire.gossip.queued <= queued + 1)
    assert.equal(wire.gossip.self.incarnation, 1_001)
    assert.equal(wire.gossip.health, 7)
    const sent = wire.run(10_000)
    assert.ok(sent.length < 60, `${sent.length}`)
    assert.equal(wire.gossip.self.status, 'alive')
  })

  it('that was heard before, and is sent again when it is no longer true, changes nothing', () => {
    const wire = new Wire()
    wire.meet('b')
    const old: Message[] = [
      alive('b', 1),
      { type: 'suspect', name: 'b', incarnation: 1, from: 'c' },
      { type: 'failed', name: 'b', incarnation: 1, from: 'c' },
      { type: 'left', name: 'b', incarnation: 1, from: 'b' },
    ]
    wire.hear(...old)
    wire.hear(alive('b', 2))
    const story = wire.story
    for (let second = 0; second < 10; second++) {
      wire.run(1_100)
      wire.hear(...old)
    }
    const after = wire.story.filter((line) => !story.includes(line))
    assert.ok(!after.some((line) => line === 'leave b'))
    assert.equal(wire.gossip.get('b')?.incarnation, 2)
  })

  it('that asks for a ping to an address we do not know gets the bare ping sent there, whatever news there is', () => {
    const wire = new Wire()
    wire.meet('b', 'c', 'd')
    wire.hear({ type: 'suspect', name: 'c', incarnation: 1, from: 'd' })
    const request = { type: 'pingRequest', sequence: 6, from: 'b', address: addressOf('b') } as const
    wire.hear({ ...request, target: 'c', targetAddress: addressOf('victim') })
    wire.hear({ ...request, target: 'stranger', targetAddress: addressOf('victim') })
    const sent = wire.sent().map(({ to, messages }) => [to?.host, messages.map(({ type }) => type)])
    assert.deepEqual(sent, [
      ['victim.example', ['ping']],
      ['victim.example', ['ping']],
    ])
  })

  it('in the name of a stranger does not make us send our table there, unless it answers like a member', () => {
    const wire = new Wire()
    wire.meet(...Array.from({ length: 100 }, (_, place) => `b${place}`))
    const ping = { type: 'ping', sequence: 5, target: 'me', from: 'stranger', address: addressOf('victim') } as const
    wire.hear(ping)
    const frames = wire.sent().filter(({ via }) => via === 'frame')
    assert.deepEqual(
      frames.map(({ messages }) => messages.map(({ type }) => type)),
      [['digest']],
    )
    const [digest] = all(frames, 'digest')
    wire.hearFrame({ type: 'digest', sequence: digest!.sequence, reply: true, from: 'stranger', digest: [1, 2] })
    assert.equal(all(wire.sent(), 'state')[0]?.records.length, 101)
  })

  it('nor does one in the name of a member that has failed', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'failed', name: 'b', incarnation: 1, from: 'c' })
    const frames = wire.run(120_000).filter(({ via }) => via === 'frame')
    assert.ok(frames.length > 1)
    for (const { messages } of frames) assert.equal(messages[0]?.type, 'digest')
  })

  it('with more members than a pool may have fills the table to its bound, and says so once', () => {
    const wire = new Wire()
    const records: StateRecord[] = Array.from({ length: 25_000 }, (_, place) => record(`b${place}`, 1, 'alive'))
    wire.hearFrame({ type: 'state', sequence: 4, reply: false, more: false, from: 'b0', records })
    assert.equal(wire.gossip.members().length, 20_000)
    wire.sent()
    assert.equal(wire.events.filter(({ type }) => type === 'warning').length, 1)
  })

  it('with names that differ in capitals tells of several members', () => {
    const wire = new Wire()
    wire.meet('b', 'B')
    wire.hear({ type: 'failed', name: 'B', incarnation: 1, from: 'c' })
    assert.deepEqual([wire.gossip.get('b')?.status, wire.gossip.get('B')?.status], ['alive', 'failed'])
  })
})
