import assert from 'node:assert/strict'
import { fairWeather, Pool, type Process } from '../../test/gossip/pool.ts'
import { addressOf, alive, all, record, Wire } from '../../test/gossip/wire.ts'
import { BadRequest, Refused } from '../errors.ts'
import type { UserEvent } from '../model.ts'
import { datagramRoom } from './message.ts'
import { lamportMax } from './user-event.ts'
import { UserEvents } from './user-events.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const draft = (id: string, payload = 'p') => ({
  id,
  name: 'deploy',
  payload: bytes(payload),
  nodeFilter: '',
  serviceFilter: '',
  tagFilter: '',
})
const event = (id: string, ltime: number): UserEvent => ({ ...draft(id), ltime })

/** Ids in the order in which a process reported them. */
const reported = ({ events }: Process) =>
  events.flatMap(({ event }) => (event.type === 'userEvent' ? [event.event] : []))
const ids = (process: Process) => reported(process).map(({ id }) => id)
const fire = (pool: Pool, process: Process, id: string) =>
  pool.act(process, (gossip) => gossip.fire(draft(id), pool.now))

describe('user events', () => {
  it('have a time above that of all that their sender knew', () => {
    const events = new UserEvents()
    assert.equal(events.fire(draft('a')).ltime, 1)
    assert.equal(events.fire(draft('b')).ltime, 2)
    events.hear(event('c', 40))
    assert.equal(events.fire(draft('d')).ltime, 41)
    events.merge({ clock: 90, events: [] }, false)
    assert.equal(events.fire(draft('e')).ltime, 90)
  })

  it('are new once, however often they come', () => {
    const events = new UserEvents()
    assert.equal(events.hear(event('a', 7)), true)
    assert.equal(events.hear(event('a', 7)), false)
    assert.equal(events.hear(event('b', 7)), true, 'another one of the same time')
    assert.equal(events.hear(event('a', 7)), false)
    assert.equal(events.queued, 2)
  })

  it('of more than 512 times ago are dropped, for nobody remembers whether they were heard', () => {
    const events = new UserEvents()
    events.hear(event('a', 600))
    assert.equal(events.hear(event('b', 88)), false)
    assert.equal(events.hear(event('c', 89)), true)
    assert.equal(events.hear(event('c', 89)), false)
    events.hear(event('d', 601))
    assert.equal(events.hear(event('c', 89)), false, 'its place is taken')
    assert.deepEqual(
      events.state().events.map(({ id }) => id),
      ['a', 'd'],
    )
  })

  it('are remembered up to a number, also when all have the same time, and never new twice', () => {
    const events = new UserEvents()
    for (let n = 0; n < 5_000; n++) events.hear(event(`e${n}`, 3))
    assert.ok(events.state().events.length <= 1_024)
    assert.ok(events.queued <= 512)
    for (let n = 0; n < 5_000; n++) assert.equal(events.hear(event(`e${n}`, 3)), false)
    assert.equal(events.hear(event('later', 4)), true)
    for (let n = 0; n < 5_000; n++) events.hear(event(`f${n}`, 4 + n))
    assert.ok(events.state().events.length <= 1_024)
  })

  it('that were fired before we came are noted and not reported', () => {
    const events = new UserEvents()
    const before = [event('a', 7), event('b', 8)]
    assert.deepEqual(events.merge({ clock: 9, events: before }, true), [])
    assert.equal(events.hear(event('a', 7)), false)
    assert.equal(events.clock, 9)
    const more = [event('d', 10), ...before, event('c', 9)]
    assert.deepEqual(
      events.merge({ clock: 11, events: more }, false).map(({ id }) => id),
      ['c', 'd'],
      'in the order of time',
    )
    assert.deepEqual(events.merge({ clock: 30, events: [event('e', 12)] }, true), [], 'of another pool')
  })

  it('that cannot be gossiped are refused', () => {
    const events = new UserEvents()
    assert.throws(() => events.fire({ ...draft('a'), name: '' }), BadRequest)
    assert.throws(() => events.fire({ ...draft('a'), name: 'x\ny' }), BadRequest)
    assert.throws(() => events.fire(draft('a', 'x'.repeat(500))), BadRequest)
    assert.equal(events.clock, 1)
    events.merge({ clock: lamportMax + 1, events: [] }, false)
    assert.throws(() => events.fire(draft('a')), Refused)
  })
})

describe('user events on the wire', () => {
  it('ride on pings, behind the news of members, and stay within a datagram', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.run(3_000)
    for (let n = 0; n < 20; n++) wire.gossip.fire(draft(`e${n}`, 'x'.repeat(350)), wire.now)
    wire.meet('c')
    const first = wire.run(1_000).filter(({ via, messages }) => via === 'datagram' && messages.length > 1)
    const kinds = first.map(({ messages }) => messages.map(({ type }) => type))
    const withBoth = kinds.find((types) => types.includes('alive') && types.includes('userEvent')) ?? []
    assert.ok(withBoth.indexOf('alive') < withBoth.indexOf('userEvent'), JSON.stringify(kinds))
    assert.ok(first.length > 0)
  })

  it('of a refused pool are not taken in', () => {
    const wire = new Wire({ allow: (_, { dc }) => (dc === 'dc2' ? 'another datacenter' : undefined) })
    const tags = { dc: 'dc2', id: 'x-1' }
    const stranger = { ...record('x', 1, 'alive'), tags }
    const userEvents = { clock: 50, events: [event('a', 49)] }
    wire.hearFrame({
      type: 'state',
      sequence: 1,
      reply: false,
      more: false,
      from: 'x',
      records: [stranger],
      userEvents,
    })
    assert.equal(wire.gossip.eventClock, 1)
    assert.equal(all(wire.sent(), 'refusal').length, 1)
  })

  it('of an answer nobody asked for are not taken in', () => {
    const wire = new Wire()
    const userEvents = { clock: 50, events: [event('a', 49)] }
    const records = [record('x', 1, 'alive')]
    wire.hearFrame({ type: 'state', sequence: 77, reply: true, more: false, from: 'x', records, userEvents })
    assert.equal(wire.gossip.eventClock, 1)
  })

  it('go with the first part of a state only, and a state without them is understood', () => {
    const wire = new Wire()
    wire.gossip.fire(draft('a'), wire.now)
    wire.hearFrame({
      type: 'state',
      sequence: 1,
      reply: false,
      more: false,
      from: 'b',
      records: [record('b', 1, 'alive')],
    })
    const [answer] = all(wire.sent(), 'state')
    assert.deepEqual(
      answer?.userEvents?.events.map(({ id }) => id),
      ['a'],
    )
  })

  it('are not fired by a member that has left', () => {
    const wire = new Wire()
    wire.gossip.leave(wire.now)
    assert.throws(() => wire.gossip.fire(draft('a'), wire.now), Refused)
  })

  it('that are too old are dropped with a warning', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'userEvent', event: event('a', 900) })
    wire.hear({ type: 'userEvent', event: event('b', 200) })
    wire.sent()
    const heard = wire.events.flatMap((each) => (each.type === 'userEvent' ? [each.event.id] : []))
    assert.deepEqual(heard, ['a'])
    assert.ok(wire.events.some((each) => each.type === 'warning' && /too many events ago/.test(each.reason)))
  })

  it('are told to members alone', () => {
    const wire = new Wire()
    wire.gossip.fire(draft('a'), wire.now)
    wire.hear({ type: 'ping', sequence: 9, target: 'me', from: 'nobody', address: addressOf('nobody') })
    assert.equal(all(wire.run(1_000), 'userEvent').length, 0)
    wire.hear(alive('b', 1))
    assert.ok(all(wire.run(2_000), 'userEvent').length > 0)
  })
})

describe('user events in a pool', () => {
  it('fifty members and a fifth of all packets lost: everybody reports each of 100 events once, causes before effects in time', () => {
    for (const seed of [1, 2]) {
      const pool = new Pool(seed)
      const members = pool.startJoined(50)
      pool.until(() => pool.converged(), 60_000, 'one pool')
      pool.weather = { loss: 0.2, repeat: 0.1, frameLoss: 0.2, delay: [1, 80] }
      const knownBefore = new Map<string, UserEvent[]>()
      for (let n = 0; n < 100; n++) {
        const sender = pool.random.pick(members) as Process
        knownBefore.set(`e${n}`, [...reported(sender)])
        fire(pool, sender, `e${n}`)
        pool.run(pool.random.between(0, 400))
      }
      pool.until(() => members.every((member) => reported(member).length >= 100), 180_000, `all events (seed ${seed})`)
      pool.run(120_000)
      for (const member of members) {
        assert.deepEqual([...ids(member)].sort(), [...knownBefore.keys()].sort(), `${member.name} (seed ${seed})`)
      }
      for (const { id, ltime } of reported(members[0] as Process)) {
        for (const earlier of knownBefore.get(id) ?? []) assert.ok(earlier.ltime < ltime, `${earlier.id} before ${id}`)
      }
      assert.ok(pool.largestDatagram <= datagramRoom + 7)
      pool.weather = fairWeather
      pool.run(60_000)
      assert.ok(
        pool.running.every(({ gossip }) => gossip.queued === 0),
        'nothing is passed on for ever',
      )
    }
  })

  it('who comes later, or is started again, hears what is fired from then on', () => {
    const pool = new Pool(5)
    const members = pool.startJoined(5)
    pool.run(10_000)
    for (let n = 0; n < 20; n++) fire(pool, members[n % 5] as Process, `old${n}`)
    pool.run(30_000)
    const again = members[4] as Process
    pool.stop(again)
    const back = pool.start(again.name, { address: again.address, tags: { id: 'm5-again' } })
    const late = pool.start('late')
    pool.join(back, members[0] as Process)
    pool.join(late, members[1] as Process)
    pool.run(90_000)
    fire(pool, members[2] as Process, 'new')
    pool.run(60_000)
    assert.deepEqual([ids(back), ids(late)], [['new'], ['new']])
    fire(pool, late, 'newer')
    pool.run(30_000)
    for (const process of pool.running) assert.equal(ids(process).at(-1), 'newer')
  })

  it('fired on both sides of a cut they reach the other side when it is healed', () => {
    const pool = new Pool(6)
    const members = pool.startJoined(6)
    pool.run(10_000)
    pool.partition(members.slice(0, 3), members.slice(3))
    pool.run(60_000)
    for (let n = 0; n < 5; n++) {
      fire(pool, members[0] as Process, `left${n}`)
      fire(pool, members[3] as Process, `right${n}`)
    }
    pool.run(30_000)
    assert.equal(reported(members[1] as Process).length, 5)
    pool.heal()
    pool.until(() => pool.converged(), 300_000, 'one pool')
    pool.until(() => members.every((member) => reported(member).length === 10), 120_000, 'all events')
    pool.run(60_000)
    for (const member of members) assert.equal(new Set(ids(member)).size, 10)
  })

  it('a flood of them does not keep a failure from becoming known', () => {
    const pool = new Pool(7, { weather: { loss: 0.05 } })
    const members = pool.startJoined(10)
    pool.run(10_000)
    pool.stop(members[9] as Process)
    const knows = ({ gossip }: Process) => gossip.get('m10')?.status === 'failed'
    let n = 0
    for (let step = 0; step < 300 && !pool.running.every(knows); step++) {
      for (let burst = 0; burst < 20; burst++) fire(pool, members[0] as Process, `f${n++}`)
      pool.run(100)
    }
    assert.ok(pool.running.every(knows))
    for (const { gossip } of pool.running) assert.ok(gossip.queued < 600)
  })
})
