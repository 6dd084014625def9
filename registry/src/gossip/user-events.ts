/**
 * User events of one pool, as Serf has them: each is told to everybody, passed on a limited number of times, and carried
 * in state exchanges for those whom all of that missed; each member reports it once.
 *
 * Lamport's clock puts them in order: an event's time is above that of every event its sender knew. Events that nobody
 * knew of each other may have the same time, and arrive in any order.
 *
 * What a member remembers, and so reports only once, are the events of the last `window` times. What is older than that
 * when it comes is dropped. Everything here is bounded, whatever others send.
 */
import { BadRequest, Refused } from '../errors.ts'
import type { UserEvent } from '../model.ts'
import { Broadcasts } from './broadcasts.ts'
import { combined, type Hash, hashOf, nothing } from './digest.ts'
import { encodeMessage } from './message.ts'
import { lamportMax, type UserEventState, unfitEventReason } from './user-event.ts'

/** Serf's event buffer in Consul: 512 Lamport times. */
const window = 512
/** Many may be fired at the same time, hence more than times: at most 1 MB. */
const rememberedMax = 1_024
/** Of those who fire faster than gossip spreads: what is dropped here, state exchanges still carry. */
const queuedMax = 512

/** The events of one Lamport time. */
interface Moment {
  ltime: number
  events: UserEvent[]
}

export class UserEvents {
  readonly #broadcasts = new Broadcasts(queuedMax)
  /** The events of time t are at t % window. */
  readonly #moments: (Moment | undefined)[] = new Array(window)
  #remembered = 0
  /** Of the next event fired here. */
  #clock = 1
  /** Earlier events were forgotten before they were out of the window, for there were too many. */
  #minimum = 0
  /** Somebody has told us what there was before we came. */
  #introduced: boolean

  /** @param introduced it takes part already: what it hears from the first member on is for it */
  constructor(introduced = false) {
    this.#introduced = introduced
  }

  get clock(): number {
    return this.#clock
  }

  /** How many events wait to be spread. */
  get queued(): number {
    return this.#broadcasts.size
  }

  /** @throws BadRequest when it cannot be gossiped; Refused when the clock has come to its end, which takes a forger */
  fire(fired: Omit<UserEvent, 'ltime'>): UserEvent {
    const event = { ...fired, ltime: this.#clock }
    const unfit = unfitEventReason(event)
    if (unfit !== undefined) throw new BadRequest(`cannot fire the event: ${unfit}`)
    if (event.ltime > lamportMax) throw new Refused('the clock of user events is at its end; restart all agents')
    this.hear(event)
    return event
  }

  /** So long ago that we do not remember whether we heard it. */
  tooOld({ ltime }: UserEvent): boolean {
    return ltime < this.#oldest
  }

  /** True when it is new, and to be reported. */
  hear(event: UserEvent): boolean {
    if (!this.#remember(event)) return false
    this.#broadcasts.queue(`${event.ltime} ${event.id}`, encodeMessage({ type: 'userEvent', event }))
    return true
  }

  /** Encoded events of at most `room` bytes, counted as sent once. */
  take(room: number, limit: number): Uint8Array[] {
    return this.#broadcasts.take(room, limit)
  }

  /** What a state exchange carries, in the order of time. */
  state(): UserEventState {
    const moments = this.#moments.filter((moment) => moment !== undefined && moment.ltime >= this.#oldest)
    const sorted = (moments as Moment[]).sort((a, b) => a.ltime - b.ltime)
    return { clock: this.#clock, events: sorted.flatMap(({ events }) => events) }
  }

  /** Of what a state exchange carries. */
  digest(): Hash {
    let digest = nothing
    for (const moment of this.#moments) {
      if (moment === undefined || moment.ltime < this.#oldest) continue
      for (const { id } of moment.events) digest = combined(digest, hashOf([moment.ltime, id]))
    }
    return digest
  }

  /**
   * Another member's events. Whoever has just come takes note of what there was and reports none of it: those events are
   * not for it, and a process that was restarted has had them already.
   *
   * @param stranger it belongs to a pool that we were not part of
   * @returns what is new, in the order of time
   */
  merge({ clock, events }: UserEventState, stranger: boolean): UserEvent[] {
    const before = stranger || !this.#introduced
    this.#introduced = true
    this.#clock = Math.max(this.#clock, clock)
    const reported: UserEvent[] = []
    for (const event of [...events].sort((a, b) => a.ltime - b.ltime)) {
      if (before) this.#remember(event)
      else if (this.hear(event)) reported.push(event)
    }
    return reported
  }

  get #oldest(): number {
    return Math.max(this.#minimum, this.#clock - window)
  }

  /** False: it is known, or too old for us to know. */
  #remember(event: UserEvent): boolean {
    const { ltime, id } = event
    this.#clock = Math.max(this.#clock, ltime + 1)
    if (ltime < this.#oldest) return false
    const place = ltime % window
    const there = this.#moments[place]
    if (there?.ltime === ltime) {
      if (there.events.some((known) => known.id === id)) return false
      there.events.push(event)
    } else {
      this.#remembered -= there?.events.length ?? 0
      this.#moments[place] = { ltime, events: [event] }
    }
    this.#remembered++
    while (this.#remembered > rememberedMax) this.#forgetOldest()
    return true
  }

  #forgetOldest(): void {
    let oldest: Moment | undefined
    for (const moment of this.#moments) {
      if (moment !== undefined && (oldest === undefined || moment.ltime < oldest.ltime)) oldest = moment
    }
    if (oldest === undefined) return
    this.#moments[oldest.ltime % window] = undefined
    this.#remembered -= oldest.events.length
    this.#minimum = Math.max(this.#minimum, oldest.ltime + 1)
  }
}
