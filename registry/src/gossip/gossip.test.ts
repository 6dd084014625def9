import assert from 'node:assert/strict'
import { Pool, type Process } from '../../test/gossip/pool.ts'
import { addressOf, alive, all, record, Wire } from '../../test/gossip/wire.ts'
import { BadRequest } from '../errors.ts'
import { addressText } from '../io/address.ts'
import { Random } from '../io/random.ts'
import type { Member } from '../model.ts'
import { origin } from './coordinate.ts'
import { lanConfig, wanConfig } from './gossip.ts'

const day = 86_400_000

/** Serf's member events of a process, as short texts. */
const story = (process: Process) =>
  process.events.flatMap(({ event }) => ('member' in event ? [`${event.type} ${event.member.name}`] : []))

const eventsOf = (process: Process, type: string) => process.events.filter(({ event }) => event.type === type)

const lives = ({ status }: Member) => status === 'alive'

const status = (process: Process, name: string) => process.gossip.get(name)?.status

describe('joining a pool', () => {
  it('everybody knows everybody soon after all joined one', () => {
    const pool = new Pool(1)
    const [first] = pool.startJoined(5)
    const took = pool.until(() => pool.converged(), 2_000)
    assert.ok(took <= 1_000, `${took}`)
    assert.deepEqual(story(first!).sort(), ['join m1', 'join m2', 'join m3', 'join m4', 'join m5'])
  })

  it('says which attempt joined, and how many members there are', () => {
    const pool = new Pool(1)
    const [a, b] = [pool.start('a'), pool.start('b')]
    const attempt = pool.join(b, a)
    pool.run(100)
    const [joined] = eventsOf(b, 'joined')
    assert.deepEqual(joined?.event, { type: 'joined', attempt, address: a.address, members: 2 })
  })

  it('a join to oneself is fine', () => {
    const pool = new Pool(1)
    const a = pool.start('a')
    pool.join(a, a)
    pool.run(5_000)
    assert.equal(eventsOf(a, 'joined').length, 1)
    assert.deepEqual(story(a), ['join a'])
    assert.equal(a.gossip.self.incarnation, 1)
  })

  it('where nobody listens it fails, and says so', () => {
    const pool = new Pool(1)
    const a = pool.start('a')
    const attempt = pool.join(a, { host: '10.9.9.9', port: 8301 })
    pool.run(100)
    assert.deepEqual(eventsOf(a, 'joinFailed')[0]?.event, {
      type: 'joinFailed',
      attempt,
      address: { host: '10.9.9.9', port: 8301 },
      reason: 'could not connect',
    })
  })

  it('where nobody answers it fails after 10 s', () => {
    const wire = new Wire()
    wire.gossip.join(3, addressOf('b'), wire.now)
    wire.run(9_900)
    assert.deepEqual(wire.story, ['join me'])
    wire.run(200)
    assert.deepEqual(wire.events.at(-1), {
      type: 'joinFailed',
      attempt: 3,
      address: addressOf('b'),
      reason: 'no answer within 10 s',
    })
  })

  it('a member of another datacenter is refused on both sides, with the reason', () => {
    const only = (dc: string) => (name: string, tags: Record<string, string>) => {
      return tags.dc === dc ? undefined : `member '${name}' part of wrong datacenter '${tags.dc}'`
    }
    const pool = new Pool(1)
    const a = pool.start('a', { tags: { id: 'a', dc: 'dc1' }, allow: only('dc1') })
    const b = pool.start('b', { tags: { id: 'b', dc: 'dc2' }, allow: only('dc2') })
    const lax = pool.start('lax', { tags: { id: 'c', dc: 'dc3' } })
    for (const process of [b, lax]) pool.join(process, a)
    pool.join(a, lax)
    pool.run(1_000)
    const reasons = [b, lax, a].map((process) => {
      const event = eventsOf(process, 'joinFailed')[0]?.event
      return event?.type === 'joinFailed' ? event.reason : ''
    })
    assert.deepEqual(reasons, [
      "member 'b' part of wrong datacenter 'dc2'",
      "member 'lax' part of wrong datacenter 'dc3'",
      "member 'lax' part of wrong datacenter 'dc3'",
    ])
    assert.deepEqual(story(a), ['join a'])
    pool.run(60_000)
    assert.deepEqual(story(a), ['join a'])
  })

  it('a large table arrives in parts that each fit a frame', () => {
    const wire = new Wire()
    const count = 4_500
    const records = Array.from({ length: count }, (_, place) => record(`b${place}`, 1, 'alive'))
    wire.gossip.join(1, addressOf('b0'), wire.now)
    const { sequence } = all(wire.sent(), 'state')[0]!
    wire.hearFrame({ type: 'state', sequence, reply: true, more: true, from: 'b0', records: records.slice(0, 2_000) })
    assert.ok(!wire.story.includes('joined'))
    wire.hearFrame({ type: 'state', sequence, reply: true, more: false, from: 'b0', records: records.slice(2_000) })
    assert.ok(wire.story.includes('joined'))
    wire.hearFrame({ type: 'state', sequence: 9, reply: false, more: false, from: 'b0', records: records.slice(0, 1) })
    const parts = all(wire.sent(), 'state')
    assert.deepEqual(
      parts.map(({ records, more, reply, sequence }) => [records.length, more, reply, sequence]),
      [
        [2_000, true, true, 9],
        [2_000, true, true, 9],
        [501, false, true, 9],
      ],
    )
    assert.equal(parts[0]?.records[0]?.name, 'me')
  })

  it('answers a state only on the connection it came on', () => {
    const wire = new Wire()
    const state = {
      type: 'state',
      sequence: 4,
      reply: false,
      more: false,
      from: 'b',
      records: [record('b', 1, 'alive')],
    } as const
    wire.hear({ ...state, records: [...state.records] })
    assert.deepEqual(wire.sent(), [])
    wire.gossip.receive(new Uint8Array(), wire.now)
    wire.hearFrame({ ...state, records: [...state.records] })
    assert.equal(wire.sent()[0]?.via, 'reply')
  })

  it('an answer that nobody asked for is ignored', () => {
    const wire = new Wire()
    wire.hearFrame({
      type: 'state',
      sequence: 4,
      reply: true,
      more: false,
      from: 'b',
      records: [record('b', 1, 'alive')],
    })
    wire.hearFrame({ type: 'refusal', sequence: 4, reason: 'no' })
    assert.deepEqual(wire.story, ['join me'])
  })

  it('a newcomer learns of those that had failed, and silently of those that left', () => {
    const wire = new Wire()
    const records = [
      record('b', 1, 'alive'),
      record('c', 4, 'failed', day),
      record('d', 2, 'left'),
      record('e', 2, 'pruned'),
    ]
    wire.hearFrame({ type: 'state', sequence: 4, reply: false, more: false, from: 'b', records })
    assert.deepEqual(wire.story, ['join me', 'join b', 'failed c'])
    assert.deepEqual(
      ['b', 'c', 'd', 'e'].map((name) => wire.gossip.get(name)?.status),
      ['alive', 'failed', 'left', undefined],
    )
    wire.run(3 * 60_000)
    wire.hearFrame({ type: 'state', sequence: 5, reply: false, more: false, from: 'b', records: records.slice(0, 1) })
    const { records: ours } = all(wire.sent(), 'state')[0]!
    assert.ok(ours.find(({ name }) => name === 'c')!.age > day)
  })

  it('who is about to be forgotten is not revived by hearsay', () => {
    const wire = new Wire()
    const records = [record('b', 1, 'alive'), record('c', 4, 'failed', 0.95 * lanConfig.failedReapTimeout)]
    wire.hearFrame({ type: 'state', sequence: 4, reply: false, more: false, from: 'b', records })
    assert.deepEqual(wire.story, ['join me', 'join b'])
  })

  it('an obituary in a state makes a member that we hold alive a suspect only', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    const records = [record('b', 1, 'alive'), record('c', 1, 'failed', 1_000)]
    wire.hearFrame({ type: 'state', sequence: 4, reply: false, more: false, from: 'b', records })
    assert.equal(wire.gossip.get('c')?.status, 'suspect')
  })
})

describe('failing and coming back', () => {
  for (const size of [2, 3, 5, 20, 50]) {
    it(`of ${size} members one is killed, and all others know within 15 s`, () => {
      const pool = new Pool(size)
      const started = pool.startJoined(size)
      pool.until(() => pool.converged(), 60_000)
      pool.stop(started.at(-1)!)
      pool.until(() => pool.converged(), 15_000)
      assert.equal(story(started[0]!).at(-1), `failed m${size}`)
    })
  }

  for (const { title, address, tags } of [
    { title: 'at its old address, as the same process would', address: true, tags: true },
    { title: 'at its old address with a new id', address: true, tags: false },
    { title: 'at another address', address: false, tags: true },
    { title: 'at another address with a new id', address: false, tags: false },
  ]) {
    for (const wait of [0, 3_000, 60_000]) {
      it(`a killed member comes back ${title}, ${wait / 1000} s later`, () => {
        const pool = new Pool(4)
        const [a, b, c] = pool.startJoined(4)
        pool.until(() => pool.converged(), 2_000)
        pool.stop(c!)
        pool.run(wait)
        const again = pool.start('m3', {
          ...(address ? { address: c!.address } : {}),
          ...(tags ? { tags: c!.gossip.self.tags } : {}),
        })
        pool.join(again, a!)
        pool.until(() => pool.converged(), 40_000)
        assert.deepEqual(b!.gossip.get('m3')?.address, again.address)
        assert.deepEqual(b!.gossip.get('m3')?.tags, again.gossip.self.tags)
        assert.ok(again.gossip.self.incarnation >= c!.gossip.self.incarnation)
      })
    }
  }

  it('a member that left comes back', () => {
    const pool = new Pool(4)
    const [a, b, c] = pool.startJoined(3)
    pool.until(() => pool.converged(), 2_000)
    pool.act(c!, (gossip) => gossip.leave(pool.now))
    pool.run(1_000)
    pool.stop(c!)
    const again = pool.start('m3', { address: c!.address, tags: c!.gossip.self.tags })
    pool.join(again, a!)
    pool.until(() => pool.converged(), 3_000)
    assert.deepEqual(story(b!).slice(-3), ['join m3', 'leave m3', 'join m3'])
  })

  it('a start with a higher incarnation is believed at once', () => {
    const pool = new Pool(4)
    const [a, b, c] = pool.startJoined(3)
    pool.until(() => pool.converged(), 2_000)
    pool.stop(c!)
    pool.until(() => pool.converged(), 15_000)
    const again = pool.start('m3', { address: c!.address, incarnation: 1_800_000_000 })
    pool.join(again, a!)
    pool.until(() => status(b!, 'm3') === 'alive', 3_000)
    assert.equal(b!.gossip.get('m3')?.incarnation, 1_800_000_000)
  })

  it('the two sides of a partition find each other again by themselves', () => {
    const pool = new Pool(6)
    const all = pool.startJoined(5)
    pool.until(() => pool.converged(), 2_000)
    pool.partition(all.slice(0, 2), all.slice(2))
    pool.until(() => status(all[0]!, 'm5') === 'failed' && status(all[4]!, 'm1') === 'failed', 60_000)
    pool.run(10 * 60_000)
    pool.heal()
    const took = pool.until(() => pool.converged(), 60_000)
    assert.ok(took <= 10_000, `${took}`)
  })

  it('the few that were cut off from many know all of them again as soon', () => {
    const pool = new Pool(7)
    const all = pool.startJoined(40)
    pool.until(() => pool.converged(), 60_000)
    pool.partition(all.slice(0, 2), all.slice(2))
    // Two that hear nobody else doubt themselves most of all, so it takes them long to give all others up.
    pool.run(15 * 60_000)
    assert.deepEqual([status(all[0]!, 'm40'), status(all[39]!, 'm1')], ['failed', 'failed'])
    pool.heal()
    const took = pool.until(() => pool.converged(), 60_000)
    assert.ok(took <= 20_000, `${took}`)
  })

  it('also when only connections get through, within two attempts to reconnect', () => {
    const pool = new Pool(6)
    const all = pool.startJoined(3)
    pool.until(() => pool.converged(), 2_000)
    pool.partition(all.slice(0, 1), all.slice(1))
    pool.until(() => status(all[0]!, 'm3') === 'failed', 60_000)
    pool.weather = { ...pool.weather, loss: 1 }
    pool.heal()
    pool.until(() => pool.converged(), 60_000)
  })

  it('two halves of sixty find each other again by themselves', () => {
    const pool = new Pool(8)
    const all = pool.startJoined(60)
    pool.until(() => pool.converged(), 60_000)
    pool.partition(all.slice(0, 30), all.slice(30))
    pool.until(() => [0, 30].every((half) => all[half]!.gossip.members().filter(lives).length === 30), 5 * 60_000)
    pool.run(60_000)
    pool.heal()
    const took = pool.until(() => pool.converged(), 60_000)
    assert.ok(took <= 20_000, `${took}`)
  })

  it('two members come back each at the address of the other', () => {
    for (const wait of [0, 3_000, 60_000]) {
      const pool = new Pool(5)
      const [a, b, c] = pool.startJoined(5)
      pool.until(() => pool.converged(), 2_000)
      for (const process of [b!, c!]) pool.stop(process)
      pool.run(wait)
      const again = [
        pool.start('m2', { address: c!.address, tags: b!.gossip.self.tags }),
        pool.start('m3', { address: b!.address, tags: c!.gossip.self.tags }),
      ]
      for (const process of again) pool.join(process, a!)
      const took = pool.until(() => pool.converged(), 40_000)
      assert.ok(took <= 20_000, `${took}`)
      assert.deepEqual(a!.gossip.get('m2')?.address, c!.address)
      assert.deepEqual(a!.gossip.get('m3')?.address, b!.address)
      for (const process of again) assert.deepEqual(eventsOf(process, 'joinFailed'), [])
    }
  })

  it('one comes back elsewhere while a newcomer takes its address', () => {
    for (const wait of [0, 3_000, 60_000]) {
      const pool = new Pool(5)
      const [a, b] = pool.startJoined(5)
      pool.until(() => pool.converged(), 2_000)
      pool.stop(b!)
      pool.run(wait)
      const newcomer = pool.start('newcomer', { address: b!.address })
      const again = pool.start('m2', { tags: b!.gossip.self.tags })
      for (const process of [newcomer, again]) pool.join(process, a!)
      pool.until(() => pool.converged(), 40_000)
      assert.deepEqual(a!.gossip.get('m2')?.address, again.address)
      assert.deepEqual(a!.gossip.get('newcomer')?.address, newcomer.address)
    }
  })

  it('a failed member is greeted with what we think of it, and overrules that in its answer', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'failed', name: 'b', incarnation: 1, from: 'c' })
    wire.run(60_000)
    const { to, messages } = wire.runUntil('ping')
    assert.deepEqual([to, messages[0]], [addressOf('b'), { type: 'failed', name: 'b', incarnation: 1, from: 'me' }])
    const b = new Wire({ name: 'b', address: addressOf('b') })
    b.meet('me')
    b.hear(...messages)
    assert.deepEqual(
      b.sent()[0]?.messages.map((message) => message.type),
      ['ack', 'alive', 'alive'],
    )
    assert.equal(b.gossip.self.incarnation, 2)
  })

  it('a new process that others take for its former life joins them by itself', () => {
    const pool = new Pool(4)
    const [, , c] = pool.startJoined(4)
    pool.until(() => pool.converged(), 2_000)
    pool.stop(c!)
    const again = pool.start('m3', { address: c!.address })
    const took = pool.until(() => pool.converged(), 40_000)
    assert.ok(took <= 10_000, `${took}`)
    assert.equal(again.gossip.self.incarnation, 2)
  })

  it('a new process that has heard less of its former life than others is told the rest, and overrules it', () => {
    const wire = new Wire()
    wire.hear({ ...alive('b', 5), tags: { id: 'b-1' } })
    wire.run(3_000)
    assert.equal(wire.gossip.queued, 0)
    wire.hear({ ...alive('b', 2), tags: { id: 'b-2' } })
    const [told] = all(wire.run(300), 'alive').filter(({ name }) => name === 'b')
    assert.deepEqual([told?.incarnation, told?.tags], [5, { id: 'b-1' }])
  })

  it('strangers are asked whether they know anything, one in ten seconds', () => {
    const wire = new Wire()
    for (const from of ['b', 'c', 'd']) {
      wire.hear({ type: 'ping', sequence: 5, target: 'me', from, address: addressOf(from) })
    }
    const asked = wire.sent().filter(({ via }) => via === 'frame')
    assert.deepEqual(
      asked.map(({ to }) => to),
      [addressOf('b')],
    )
    wire.run(10_000)
    wire.hear({ type: 'ping', sequence: 5, target: 'me', from: 'c', address: addressOf('c') })
    assert.equal(all(wire.sent(), 'digest').length, 1)
  })

  it('who missed that a member left is told when it says otherwise', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    wire.hear({ type: 'left', name: 'c', incarnation: 1, from: 'c' })
    wire.run(3_000)
    assert.equal(wire.gossip.queued, 0)
    wire.hear({ type: 'failed', name: 'c', incarnation: 1, from: 'b' })
    assert.deepEqual(all(wire.run(300), 'left')[0], { type: 'left', name: 'c', incarnation: 1, from: 'me' })
  })

  it('a failed member that pings us learns what we think of it', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'failed', name: 'b', incarnation: 1, from: 'c' })
    wire.run(60_000)
    wire.hear({ type: 'ping', sequence: 5, target: 'me', from: 'b', address: addressOf('b') })
    assert.deepEqual(wire.sent()[0]?.messages, [
      { type: 'failed', name: 'b', incarnation: 1, from: 'me' },
      { type: 'ack', sequence: 5, from: 'me', coordinate: origin() },
    ])
  })

  it('the failed are forgotten after three days, those that left after one', () => {
    assert.deepEqual([lanConfig.failedReapTimeout, lanConfig.leftReapTimeout], [3 * day, day])
    const config = { ...lanConfig, failedReapTimeout: 20 * 60_000, leftReapTimeout: 30 * 60_000 }
    const wire = new Wire({ config })
    wire.meet('b', 'c', 'd')
    wire.hear({ type: 'failed', name: 'b', incarnation: 1, from: 'd' })
    wire.hear({ type: 'left', name: 'c', incarnation: 1, from: 'c' })
    wire.hear({ type: 'failed', name: 'd', incarnation: 1, from: 'b' })
    wire.run(19 * 60_000)
    assert.deepEqual(
      wire.gossip.members().map(({ name }) => name),
      ['b', 'c', 'd', 'me'],
    )
    wire.hear(alive('d', 2))
    wire.run(3 * 60_000)
    assert.ok(wire.story.includes('reap b'))
    wire.run(10 * 60_000)
    assert.ok(wire.story.includes('reap c'))
    assert.deepEqual(
      wire.gossip.members().map(({ name }) => name),
      ['d', 'me'],
    )
  })
})

describe('leaving', () => {
  it('is known everywhere within a second, is no failure, and ends as soon as others know', () => {
    const pool = new Pool(3)
    const [a, b, c] = pool.startJoined(5)
    pool.until(() => pool.converged(), 2_000)
    pool.act(c!, (gossip) => gossip.leave(pool.now))
    const took = pool.until(() => eventsOf(c!, 'left').length === 1, 1_000)
    assert.ok(took <= 100, `${took}`)
    assert.equal(c!.gossip.self.status, 'left')
    pool.stop(c!)
    pool.until(() => pool.running.every((process) => status(process, 'm3') === 'left'), 1_000)
    pool.run(60_000)
    for (const process of [a!, b!]) {
      assert.equal(status(process, 'm3'), 'left')
      assert.equal(story(process).at(-1), 'leave m3')
    }
    assert.deepEqual(story(c!).at(-1), 'leave m3')
  })

  it('alone, is over at once', () => {
    const wire = new Wire()
    wire.gossip.leave(wire.now)
    wire.gossip.leave(wire.now)
    assert.deepEqual(wire.story, ['join me', 'leave me', 'left'])
    assert.equal(wire.gossip.self.status, 'left')
  })

  it('is over after 5 s when nobody answers', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.gossip.leave(wire.now)
    assert.equal(wire.gossip.self.status, 'leaving')
    wire.run(4_900)
    assert.ok(!wire.story.includes('left'))
    wire.run(200)
    assert.equal(wire.story.at(-1), 'left')
  })

  it('does not wait for the slowest of those that were told', () => {
    const wire = new Wire()
    wire.meet('b', 'c', 'd')
    wire.gossip.leave(wire.now)
    const [ping] = all(wire.sent(), 'ping')
    wire.hearFrame({ type: 'ack', sequence: ping!.sequence, from: ping!.target })
    wire.run(900)
    assert.ok(!wire.story.includes('left'))
    wire.run(200)
    assert.equal(wire.story.at(-1), 'left')
  })

  it('of one that cannot be reached the others are enough', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    wire.gossip.leave(wire.now)
    for (const { target, sequence } of all(wire.sent(), 'ping')) {
      if (target === 'b') wire.gossip.frameFailed(addressOf('b'), wire.now)
      else wire.hearFrame({ type: 'ack', sequence, from: 'c' })
    }
    assert.equal(wire.story.at(-1), 'left')
  })

  it('is final: we do not refute it, nor join again', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.gossip.leave(wire.now)
    wire.hear({ type: 'left', name: 'me', incarnation: 1, from: 'b' })
    wire.hear({ type: 'failed', name: 'me', incarnation: 3, from: 'b' })
    wire.gossip.join(7, addressOf('b'), wire.now)
    wire.gossip.setTags({ id: 'x' }, wire.now)
    assert.equal(wire.gossip.self.status, 'leaving')
    assert.equal(wire.gossip.self.incarnation, 1)
    assert.equal(wire.story.at(-1), 'joinFailed')
  })

  it('a failed member is made to count as left, everywhere', () => {
    const pool = new Pool(3)
    const [a, b, c] = pool.startJoined(4)
    pool.until(() => pool.converged(), 2_000)
    pool.stop(c!)
    pool.until(() => pool.converged(), 15_000)
    pool.act(a!, ({ forceLeave }) => assert.equal(forceLeave.call(a!.gossip, 'm3', false, pool.now), true))
    pool.until(() => pool.running.every((process) => status(process, 'm3') === 'left'), 2_000)
    assert.equal(story(b!).at(-1), 'leave m3')
    pool.run(120_000)
    assert.equal(status(b!, 'm3'), 'left')
  })

  it('a pruned member is forgotten everywhere, and can come back', () => {
    const pool = new Pool(3)
    const [a, b, c] = pool.startJoined(4)
    pool.until(() => pool.converged(), 2_000)
    pool.stop(c!)
    pool.until(() => pool.converged(), 15_000)
    pool.act(a!, (gossip) => void gossip.forceLeave('m3', true, pool.now))
    pool.until(() => pool.running.every((process) => status(process, 'm3') === undefined), 2_000)
    assert.deepEqual(story(b!).slice(-2), ['leave m3', 'reap m3'])
    pool.run(5 * 60_000)
    assert.ok(pool.running.every((process) => status(process, 'm3') === undefined))
    const again = pool.start('m3')
    pool.join(again, b!)
    pool.until(() => pool.converged(), 3_000)
  })

  it('forcing an unknown member to leave is told from forcing one that is alive, which changes nothing', () => {
    const wire = new Wire()
    wire.meet('b')
    assert.equal(wire.gossip.forceLeave('nobody', false, wire.now), false)
    assert.equal(wire.gossip.forceLeave('b', true, wire.now), true)
    assert.equal(wire.gossip.forceLeave('me', true, wire.now), true)
    assert.deepEqual(wire.story, ['join me', 'join b'])
  })

  it('a member that left is pruned as well', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'left', name: 'b', incarnation: 1, from: 'b' })
    assert.equal(wire.gossip.forceLeave('b', true, wire.now), true)
    assert.equal(wire.gossip.forceLeave('b', true, wire.now), false)
    assert.deepEqual(wire.story, ['join me', 'join b', 'leave b', 'reap b'])
  })
})

describe('names and tags', () => {
  it('a change of tags is an update everywhere', () => {
    const pool = new Pool(3)
    const [a, b] = pool.startJoined(3)
    pool.until(() => pool.converged(), 2_000)
    const tags = { ...a!.gossip.self.tags, bootstrap: '1' }
    pool.act(a!, (gossip) => gossip.setTags(tags, pool.now))
    pool.act(a!, (gossip) => gossip.setTags(tags, pool.now))
    pool.until(() => pool.converged(), 2_000)
    assert.deepEqual(b!.gossip.get('m1')?.tags, tags)
    assert.equal(b!.gossip.get('m1')?.incarnation, 2)
    assert.deepEqual([story(a!).at(-1), story(b!).at(-1)], ['update m1', 'update m1'])
  })

  it('tags that do not fit a packet are refused', () => {
    const wire = new Wire()
    const tags = { id: 'me-1', a: 'x'.repeat(500), b: 'x'.repeat(500), c: 'x'.repeat(200) }
    assert.throws(() => wire.gossip.setTags(tags, wire.now), BadRequest)
    assert.throws(() => new Wire({ tags }), BadRequest)
    assert.throws(() => new Wire({ name: '' }), BadRequest)
    assert.throws(() => new Wire({ address: { host: '', port: 8301 } }), BadRequest)
  })

  it('of two live processes with one name the first keeps it, and both sides are told', () => {
    const pool = new Pool(3)
    const [a, b, c] = pool.startJoined(4)
    pool.until(() => pool.converged(), 2_000)
    const twin = pool.start('m3')
    pool.join(twin, a!)
    pool.run(5 * 60_000)
    for (const process of [a!, b!, c!]) {
      assert.deepEqual(process.gossip.get('m3')?.address, c!.address)
      assert.ok(!story(process).includes('failed m3'), 'it never flips')
      assert.ok(!story(process).includes('update m3'), 'it never flips')
    }
    const [atTwin] = eventsOf(twin, 'conflict')
    assert.deepEqual(atTwin?.event, {
      type: 'conflict',
      name: 'm3',
      ours: { address: twin.address, id: 'm3-5' },
      other: { address: c!.address, id: 'm3-3' },
    })
    const count = eventsOf(a!, 'conflict').length
    assert.ok(count >= 1 && count <= 6, `${count} reports in five minutes`)
    assert.ok(twin.gossip.self.incarnation < 5, 'it does not fight for the name')
  })

  it('the second of a name is told so by whoever it joins, while the first lives', () => {
    const pool = new Pool(3)
    const [a, , c] = pool.startJoined(4)
    pool.until(() => pool.converged(), 2_000)
    const twin = pool.start('m3')
    const reasons = () =>
      eventsOf(twin, 'joinFailed').map(({ event }) => (event.type === 'joinFailed' ? event.reason : ''))
    pool.join(twin, c!)
    pool.run(1_000)
    const both = `${addressText(c!.address)} has it and ${addressText(twin.address)} asks for it`
    const taken = `the name "m3" is taken: ${both}; give one another with -node`
    assert.deepEqual(reasons(), [taken], 'the first one says it itself')
    assert.ok(eventsOf(c!, 'conflict').length > 0, 'and both addresses are in its log')
    // Somebody else only knows it from hearsay: the first one is asked.
    pool.join(twin, a!)
    pool.run(1_000)
    assert.deepEqual(reasons(), [taken, taken])
    pool.stop(c!)
    pool.join(twin, a!)
    pool.run(2_000)
    assert.equal(reasons().length, 2)
    assert.equal(eventsOf(twin, 'joined').length, 1, 'the first one is dead, though nobody knows that yet')
    pool.until(() => pool.converged(), 60_000)
    assert.deepEqual(a!.gossip.get('m3')?.address, twin.address)
  })

  it('who brings the id of another that lives is refused; at its address it has only a new name', () => {
    const pool = new Pool(3)
    const [a, , c] = pool.startJoined(4)
    pool.until(() => pool.converged(), 2_000)
    const copy = pool.start('copy', { tags: { ...c!.gossip.self.tags } })
    const reasons = () =>
      eventsOf(copy, 'joinFailed').map(({ event }) => (event.type === 'joinFailed' ? event.reason : ''))
    const words = `"copy" has the node id of "m3" at ${addressText(c!.address)}, which lives; was its data directory copied?`
    pool.join(copy, a!)
    pool.join(copy, c!)
    pool.run(1_000)
    assert.deepEqual(reasons(), [words, words])
    assert.equal(a!.gossip.get('copy'), undefined)
    pool.stop(c!)
    pool.until(() => status(a!, 'm3') === 'failed', 60_000)
    pool.join(copy, a!)
    pool.run(5_000)
    assert.equal(status(a!, 'copy'), 'alive')

    const wire = new Wire()
    wire.meet('b')
    const renamed = { ...record('renamed', 1, 'alive'), address: addressOf('b'), tags: wire.gossip.get('b')!.tags }
    wire.hearFrame({ type: 'state', sequence: 9, reply: false, more: false, from: 'renamed', records: [renamed] })
    assert.equal(wire.gossip.get('renamed')?.status, 'alive')
  })

  it('the second takes the name over when the first dies', () => {
    const pool = new Pool(3)
    const [a, b, c] = pool.startJoined(4)
    pool.until(() => pool.converged(), 2_000)
    const twin = pool.start('m3')
    pool.join(twin, a!)
    pool.run(60_000)
    pool.stop(c!)
    pool.until(() => pool.converged(), 60_000)
    assert.deepEqual(b!.gossip.get('m3')?.address, twin.address)
  })

  it('who moved and said so while its old address was still believed alive need not say so again', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    const moved = alive('b', 2, { address: addressOf('elsewhere') })
    wire.hear(moved)
    assert.deepEqual(wire.gossip.get('b')?.address, addressOf('b'))
    wire.hear({ type: 'failed', name: 'b', incarnation: 1, from: 'c' })
    assert.deepEqual(wire.gossip.get('b')?.address, moved.address)
    assert.deepEqual(wire.story.slice(3), ['conflict b', 'failed b', 'join b'])
  })

  it('a claim on a name is forgotten after a minute', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    wire.hear(alive('b', 2, { address: addressOf('elsewhere') }))
    wire.run(61_000)
    wire.hear({ type: 'failed', name: 'b', incarnation: 1, from: 'c' })
    assert.equal(wire.gossip.get('b')?.status, 'failed')
  })

  it('two processes of one name that meet only after a partition do not fight either', () => {
    const pool = new Pool(3)
    const left = [pool.start('a'), pool.start('twin')]
    const right = [pool.start('b'), pool.start('twin')]
    pool.join(left[0]!, left[1]!)
    pool.join(right[0]!, right[1]!)
    pool.run(2_000)
    pool.join(left[0]!, right[0]!)
    pool.run(5 * 60_000)
    assert.deepEqual(left[0]!.gossip.get('twin')?.address, left[1]!.address)
    assert.deepEqual(right[0]!.gossip.get('twin')?.address, right[1]!.address)
    assert.ok(eventsOf(left[0]!, 'conflict').length > 0)
    for (const process of pool.processes) assert.ok(process.gossip.self.incarnation < 5)
  })

  it('members are reached where they advertise, not where their packets come from', () => {
    const wire = new Wire()
    const address = { host: '198.51.100.7', port: 18301 }
    wire.hear({ type: 'alive', name: 'b', incarnation: 1, address, tags: {} })
    assert.deepEqual(wire.runUntil('ping').to, address)
  })
})

describe('a pool under strain', () => {
  it('a network that loses every fifth datagram fails nobody', () => {
    for (const [seed, size] of [3, 10, 20].entries()) {
      const pool = new Pool(seed, { weather: { loss: 0.2, repeat: 0.05, delay: [1, 40] } })
      pool.startJoined(size)
      pool.run(120_000)
      for (const process of pool.processes) assert.deepEqual(eventsOf(process, 'failed'), [])
    }
  })

  it('the same without connections to fall back on fails next to nobody', () => {
    let failed = 0
    for (const [seed, size] of [3, 10, 20].entries()) {
      const pool = new Pool(seed, { weather: { delay: [1, 40] } })
      pool.startJoined(size)
      pool.run(5_000)
      pool.weather = { ...pool.weather, loss: 0.2, frameLoss: 1 }
      pool.run(120_000)
      for (const process of pool.processes) failed += eventsOf(process, 'failed').length
      pool.weather = { ...pool.weather, frameLoss: 0 }
      pool.until(() => pool.converged(), 60_000)
    }
    assert.ok(failed <= 2, `${failed} false deaths in 33 member-times-two-minutes`)
  })

  it('without any datagrams everybody stays alive over connections, and the operator is warned', () => {
    const pool = new Pool(3, { weather: { loss: 1 } })
    const [a] = pool.startJoined(3)
    pool.run(120_000)
    assert.ok(pool.running.every(({ gossip }) => gossip.members().every(({ status }) => status === 'alive')))
    const warnings = eventsOf(a!, 'warning').map(({ event }) => (event.type === 'warning' ? event.reason : ''))
    assert.ok(warnings.includes('m2 is reached over TCP but not over UDP; are datagrams let through both ways?'))
    assert.ok(warnings.length <= 4, `${warnings.length} warnings in two minutes`)
  })

  it('nonsense on the wire is a warning, the same one at most once a minute and then with how often it came', () => {
    const wire = new Wire()
    for (let second = 0; second < 90; second++) {
      wire.gossip.receive(new TextEncoder().encode('GET / HTTP/1.1'), wire.now)
      wire.run(1_000)
    }
    const reason = 'dropped a datagram: not a gossip packet'
    assert.deepEqual(wire.events.slice(1), [
      { type: 'warning', reason },
      { type: 'warning', reason: `${reason}: 59 more within 60 s` },
    ])
  })

  it('strangers get bare answers and no favours', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'ping', sequence: 5, target: 'me', from: 'b', address: addressOf('victim') })
    const request = { type: 'pingRequest', sequence: 6, target: 'x', targetAddress: addressOf('victim') } as const
    wire.hear({ ...request, from: 'stranger', address: addressOf('victim') })
    assert.deepEqual(
      wire.sent().map(({ messages }) => messages),
      [[{ type: 'ack', sequence: 5, from: 'me' }]],
    )
  })

  it('sequence numbers begin at random', () => {
    const first = new Set<number>()
    for (let seed = 1; seed <= 10; seed++) {
      const pool = new Pool(seed)
      const a = pool.start('a')
      a.gossip.join(1, addressOf('b'), pool.now)
      for (const { bytes } of a.gossip.ready().frames) first.add(bytes[9]! * 256 + bytes[10]!)
    }
    assert.ok(first.size >= 9, `${first.size}`)
  })

  it('a hundred members agree, and say little when nothing happens', () => {
    const pool = new Pool(1)
    pool.startJoined(100)
    pool.until(() => pool.converged(), 60_000)
    pool.run(5_000)
    const before = pool.datagramsSent
    pool.run(10_000)
    // One ping and one answer for each member a second.
    assert.ok(pool.datagramsSent - before <= 2.2 * 100 * 10, `${pool.datagramsSent - before}`)
  })

  it('in a pool of three hundred a member sends one ping a second and one digest in two and a half minutes', () => {
    const wire = new Wire()
    wire.meet(...Array.from({ length: 299 }, (_, place) => `b${place}`))
    const counts = { ping: 0, digest: 0 }
    for (let tick = 0; tick < 3_000; tick++) {
      for (const message of wire.run(100).flatMap(({ messages }) => messages)) {
        if (message.type === 'ping') {
          counts.ping++
          wire.hear({ type: 'ack', sequence: message.sequence, from: message.target })
        } else if (message.type === 'digest') counts.digest++
      }
    }
    assert.ok(counts.ping >= 299 && counts.ping <= 300, `${counts.ping}`)
    assert.ok(counts.digest >= 1 && counts.digest <= 3, `${counts.digest}`)
  })

  it('a process that stood still for ten minutes is back within seconds, and has accused nobody', () => {
    const pool = new Pool(3)
    const [a, , c] = pool.startJoined(5)
    pool.until(() => pool.converged(), 2_000)
    pool.pause(c!)
    pool.run(10 * 60_000)
    assert.equal(status(a!, 'm3'), 'failed')
    pool.resume(c!)
    const took = pool.until(() => pool.converged(), 10_000)
    assert.ok(took <= 2_000, `${took}`)
    pool.run(60_000)
    assert.deepEqual([eventsOf(c!, 'failed'), eventsOf(c!, 'suspect')], [[], []])
    assert.equal(c!.gossip.health, 0)
  })

  it('a clock that stands still, or goes back, stops us and harms nobody', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    for (const clock of [wire.now, wire.now - 3_600_000]) {
      for (let tick = 0; tick < 1_000; tick++) {
        wire.gossip.tick(clock)
        wire.gossip.receive(new Uint8Array(3), clock)
      }
    }
    assert.ok(wire.sent().length <= 6)
    assert.ok(!wire.story.some((line) => line.startsWith('suspect') || line.startsWith('failed')))
    wire.run(2_500)
    assert.ok(wire.story.some((line) => line.startsWith('suspect')))
  })

  it('numbers of messages go round: nothing happens when they begin anew', () => {
    class AlmostRound extends Random {
      override word(): number {
        return 0xffff_fffa
      }
    }
    const wire = new Wire({ random: new AlmostRound(1) })
    wire.meet('b', 'c')
    const numbers: number[] = []
    for (let ping = 0; ping < 20; ping++) {
      const { message } = wire.runUntil('ping')
      numbers.push(message.sequence)
      wire.hear({ type: 'ack', sequence: message.sequence, from: message.target })
    }
    assert.ok(numbers.some((number) => number > 0xffff_fff0) && numbers.some((number) => number < 100))
    assert.ok(!wire.story.some((line) => line.startsWith('suspect')))
  })

  it('the WAN pool takes its time', () => {
    const pool = new Pool(1, { config: wanConfig, weather: { delay: [50, 300] } })
    const started = pool.startJoined(3)
    pool.until(() => pool.converged(), 5_000)
    pool.run(120_000)
    assert.ok(started.every((process) => eventsOf(process, 'suspect').length === 0))
    pool.stop(started[2]!)
    const took = pool.until(() => pool.converged(), 90_000)
    assert.ok(took > 30_000, `${took}`)
  })
})
