import assert from 'node:assert/strict'
import { session, sessionUuid } from '../../test/store/samples.ts'
import type { Session, Term } from '../model.ts'
import type { LockDelay } from '../store/locks.ts'
import { SessionClock } from './session-clock.ts'

const one = sessionUuid(1)
const two = sessionUuid(2)

/** A clock, ticked every 100 ms, and what it found to be over. */
class Ticked {
  readonly clock = new SessionClock()
  now = 5000
  term: Term | undefined = 1
  sessions: Session[] = []
  lockDelays: LockDelay[] = []
  readonly over: { at: number; what: string }[] = []

  constructor() {
    this.tick(0)
  }

  add(number: number, lasts: number): void {
    this.sessions.push({ ...session(number, { lasts }), createIndex: number, modifyIndex: number })
    this.clock.changed()
  }

  end(id: string): void {
    this.sessions = this.sessions.filter((each) => each.id !== id)
    this.clock.changed()
    this.clock.settled(id)
  }

  tick(gap: number): void {
    this.now += gap
    const due = this.clock.tick(this.now, this.term, () => this)
    for (const id of due.sessions) this.over.push({ at: this.now, what: id })
    for (const { key, index } of due.delays) this.over.push({ at: this.now, what: `${key} ${index}` })
  }

  until(moment: number): void {
    while (this.now < moment) this.tick(Math.min(100, moment - this.now))
  }
}

describe('the clock of sessions', () => {
  it('gives each twice its TTL from when it was seen, and says its end once', () => {
    const ticked = new Ticked()
    ticked.add(1, 10_000)
    ticked.add(2, 0)
    ticked.until(60_000)
    assert.deepEqual(ticked.over, [{ at: 25_100, what: one }])
  })

  it('gives one that is renewed its whole time again', () => {
    const ticked = new Ticked()
    ticked.add(1, 10_000)
    ticked.until(24_900)
    ticked.clock.renewed(one)
    ticked.clock.renewed(two)
    ticked.until(44_800)
    assert.deepEqual(ticked.over, [])
    ticked.until(45_000)
    assert.deepEqual(ticked.over, [{ at: 44_900, what: one }])
  })

  it('begins them anew with every term, also when this node led the one before, and says nothing while it leads none', () => {
    const ticked = new Ticked()
    ticked.add(1, 10_000)
    ticked.until(24_000)
    ticked.term = undefined
    ticked.until(90_000)
    ticked.term = 3
    ticked.until(109_900)
    assert.deepEqual(ticked.over, [])
    ticked.term = 5
    ticked.until(129_900)
    assert.deepEqual(ticked.over, [])
    ticked.until(130_100)
    assert.equal(ticked.over.length, 1)
  })

  it('a stall ends nothing: a long gap counts as half a second', () => {
    const ticked = new Ticked()
    ticked.add(1, 10_000)
    ticked.until(10_000)
    ticked.tick(60_000)
    assert.deepEqual(ticked.over, [])
    ticked.clock.renewed(one)
    ticked.until(89_900)
    assert.deepEqual(ticked.over, [])
    ticked.until(90_100)
    assert.equal(ticked.over.length, 1)
  })

  it('a step back of the clock does nothing', () => {
    const ticked = new Ticked()
    ticked.add(1, 10_000)
    ticked.until(10_000)
    ticked.tick(-8000)
    ticked.until(17_000)
    assert.deepEqual(ticked.over, [])
    ticked.until(17_300)
    assert.equal(ticked.over.length, 1)
  })

  it('an end that could not be written is due again in a second, unless it was renewed', () => {
    const ticked = new Ticked()
    ticked.add(1, 10_000)
    ticked.add(2, 10_000)
    ticked.until(25_100)
    assert.equal(ticked.over.length, 2)
    ticked.until(30_000)
    assert.equal(ticked.over.length, 2)
    ticked.clock.settled(one)
    ticked.clock.settled(two)
    ticked.clock.renewed(two)
    ticked.until(40_000)
    assert.deepEqual(ticked.over.slice(2), [{ at: 31_000, what: one }])
  })

  it('says no more than so many ends at once', () => {
    const ticked = new Ticked()
    for (let number = 0; number < 1000; number++) ticked.add(number, 10_000)
    ticked.until(26_000)
    assert.equal(ticked.over.length, 256)
    for (const { what } of [...ticked.over]) ticked.end(what)
    ticked.tick(100)
    assert.equal(ticked.over.length, 512)
  })

  it('lock-delays end after their time in this term, each that was set anew after its own', () => {
    const ticked = new Ticked()
    ticked.lockDelays = [{ key: 'a', index: 7, lasts: 2e9 }]
    ticked.clock.changed()
    ticked.until(6000)
    ticked.lockDelays = [
      { key: 'a', index: 9, lasts: 2e9 },
      { key: 'b', index: 8, lasts: 1e9 },
    ]
    ticked.clock.changed()
    ticked.until(8000)
    assert.deepEqual(ticked.over, [{ at: 7100, what: 'b 8' }])
    ticked.term = 2
    ticked.until(9900)
    assert.deepEqual(ticked.over.slice(1), [{ at: 9100, what: 'b 8' }])
    ticked.lockDelays = ticked.lockDelays.slice(0, 1)
    ticked.clock.changed()
    ticked.until(10_500)
    assert.deepEqual(ticked.over.slice(2), [{ at: 10_100, what: 'a 9' }])
  })
})
