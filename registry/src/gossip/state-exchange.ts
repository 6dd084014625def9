/**
 * Two members tell each other all they know, over a connection (memberlist's push/pull): to join, at times with anybody to
 * mend what gossip lost, and to look again for those that had failed. Here is decided whom we ask and when, who is let in,
 * and what an answer, or that there is none, means.
 *
 * `now` is the time in the room, which stands still during stalls.
 */
import { addressText } from '../io/address.ts'
import type { Random } from '../io/random.ts'
import type { Address, Millis } from '../model.ts'
import { type GossipConfig, pushPullScaled } from './config.ts'
import { combined, type Hash } from './digest.ts'
import type { Events } from './events.ts'
import { type Exchange, Exchanges, type Purpose, stateFrames } from './exchanges.ts'
import { isLive, sameAddress } from './members.ts'
import type { Arrival, Membership } from './membership.ts'
import { encodeMessage, type Message, packet, type StateRecord } from './message.ts'
import type { Outbox } from './outbox.ts'
import type { Prober } from './prober.ts'
import type { UserEvents } from './user-events.ts'

type State = Message & { type: 'state' }

/** When a member returns about this many others ask it for its state. */
const reunionExchanges = 3

export interface Parts {
  config: GossipConfig
  random: Random
  membership: Membership
  userEvents: UserEvents
  prober: Prober
  events: Events
  outbox: Outbox
  /** A reason to keep a member out. */
  allow(name: string, tags: Record<string, string>): string | undefined
}

export class StateExchange {
  readonly #config: GossipConfig
  readonly #random: Random
  readonly #membership: Membership
  readonly #userEvents: UserEvents
  readonly #prober: Prober
  readonly #events: Events
  readonly #outbox: Outbox
  readonly #allow: Parts['allow']
  readonly #exchanges = new Exchanges()
  #nextPushPull: Millis
  #nextReconnect: Millis
  /** Before this no further stranger is asked for its state. */
  #nextMeeting: Millis
  /** Before this nobody else who returned is asked for its state. */
  #nextReunion: Millis

  constructor(parts: Parts, now: Millis) {
    this.#config = parts.config
    this.#random = parts.random
    this.#membership = parts.membership
    this.#userEvents = parts.userEvents
    this.#prober = parts.prober
    this.#events = parts.events
    this.#outbox = parts.outbox
    this.#allow = parts.allow
    // Random phases, so that members that were started together do not act together.
    this.#nextPushPull = now + this.#random.between(0, this.#pushPullInterval())
    this.#nextReconnect = now + this.#random.between(0, this.#config.reconnectInterval)
    this.#nextMeeting = now
    this.#nextReunion = now
  }

  /** Ends in one `joined` or `joinFailed` of that attempt. */
  join(attempt: number, address: Address, now: Millis): void {
    this.#begin({ type: 'join', attempt }, address, now)
  }

  /**
   * Whoever pings us by name holds us for a member. When we do not know it at all we are a new process in the place of an
   * old one: asking for its state makes us take part again, also when our own attempts to join failed.
   */
  meet(name: string, address: Address, now: Millis): void {
    if (now < this.#nextMeeting || this.#membership.members.entry(name) !== undefined) return
    this.#nextMeeting = now + this.#config.exchangeTimeout
    this.#compare({ type: 'reconnect' }, address, now)
  }

  /** What news did to a member. It takes part now, and is to be probed. */
  arrived(name: string, arrival: Arrival, now: Millis): void {
    this.#prober.joined(name)
    // Who returns may be back with everybody else from its side of a partition. Their news goes round among those who
    // know each other, and may have gone round before they knew us: ask. By chance, so that when a single member of a
    // large pool returns only a few ask it, and rarely, so that when many return we ask one of them.
    if (arrival !== 'returned' || now < this.#nextReunion) return
    const { members } = this.#membership
    const entry = members.entry(name)
    if (entry === undefined || !this.#random.chance(reunionExchanges / members.live)) return
    this.#nextReunion = now + this.#config.exchangeTimeout
    this.#begin({ type: 'sync' }, entry.member.address, now)
  }

  /** Those that were waited for long enough have failed. */
  expire(now: Millis): void {
    for (const exchange of this.#exchanges.expire(now)) {
      this.#failed(exchange, `no answer within ${this.#config.exchangeTimeout / 1000} s`, now)
    }
  }

  /** The connection to that address was lost, or not made. */
  unreachable(address: Address, reason: string, now: Millis): void {
    for (const exchange of this.#exchanges.fail(address)) this.#failed(exchange, reason, now)
  }

  /** Asks whom it is time to ask. */
  tick(now: Millis): void {
    this.#tickPushPull(now)
    this.#tickReconnect(now)
  }

  receive(state: State, replyTo: unknown, now: Millis): void {
    if (state.reply && this.#exchanges.get(state.sequence) === undefined) return
    const reason = this.#objection(state, now)
    if (reason !== undefined) {
      this.#refuse(state, reason, replyTo, now)
      return
    }
    if (state.userEvents !== undefined) {
      // Who answers and is unknown to us took part before we came.
      const stranger = state.reply && this.#membership.members.entry(state.from) === undefined
      for (const event of this.#userEvents.merge(state.userEvents, stranger)) {
        this.#events.push({ type: 'userEvent', event })
      }
    }
    for (const record of state.records) {
      // A reunion is what is happening here already.
      if (this.#membership.merge(record, state.from, now) !== undefined) this.arrived(record.name, 'joined', now)
      if (state.reply && this.#rivals(record)) this.#exchanges.rival(state.sequence, record.address)
    }
    if (state.more) return
    if (!state.reply) {
      // After merging: a member that had failed for us has overruled that by now, and the other side sees it at once.
      for (const bytes of this.#state(state.sequence, true, now)) this.#outbox.answer(replyTo, bytes)
      return
    }
    const exchange = this.#exchanges.end(state.sequence)
    if (exchange?.purpose.type === 'claim') this.#joined(exchange.purpose.attempt, exchange.purpose.via)
    if (exchange?.purpose.type !== 'join') return
    const { attempt } = exchange.purpose
    if (exchange.rival === undefined) this.#joined(attempt, exchange.address)
    else this.#begin({ type: 'claim', attempt, via: exchange.address }, exchange.rival, now)
  }

  receiveDigest(message: Message & { type: 'digest' }, replyTo: unknown, now: Millis): void {
    const { sequence, reply, digest: theirs } = message
    if (!reply) {
      this.#outbox.answer(replyTo, this.#digestFrame(sequence, true))
      return
    }
    const exchange = this.#exchanges.get(sequence)
    if (exchange?.purpose.type !== 'sync' && exchange?.purpose.type !== 'reconnect') return
    const ours = this.#digest
    if (ours[0] === theirs[0] && ours[1] === theirs[1]) this.#exchanges.end(sequence)
    else for (const bytes of this.#state(sequence, false, now)) this.#outbox.frame(exchange.address, bytes)
  }

  /** The other side does not let us in. */
  refused({ sequence, reason }: Message & { type: 'refusal' }, now: Millis): void {
    const exchange = this.#exchanges.end(sequence)
    if (exchange !== undefined) this.#failed(exchange, reason, now, true)
  }

  #tickPushPull(now: Millis): void {
    if (now < this.#nextPushPull) return
    this.#nextPushPull = now + this.#pushPullInterval()
    const [partner] = this.#membership.pick(1, (entry) => entry.standing === 'alive')
    if (partner === undefined) return
    // Nearly always both know the same already; then that is all there is to say.
    this.#compare({ type: 'sync' }, partner.address, now)
  }

  /** Serf: a healed partition merges by itself. By chance, so that a large pool does not storm its few failed members. */
  #tickReconnect(now: Millis): void {
    if (now < this.#nextReconnect) return
    this.#nextReconnect = now + this.#config.reconnectInterval
    const { members } = this.#membership
    if (!this.#random.chance(members.count('failed') / members.live)) return
    const [target] = this.#membership.pick(1, (entry) => entry.standing === 'failed')
    if (target !== undefined) this.#compare({ type: 'reconnect' }, target.address, now)
  }

  #pushPullInterval(): Millis {
    return pushPullScaled(this.#config.pushPullInterval, this.#membership.members.live)
  }

  /**
   * Asks first whether the other side knows anything else. Where a stranger said that a member is, or where one was that has
   * failed, anything may listen by now: it gets a few bytes, and the table only when it answers like a member.
   */
  #compare(purpose: Purpose, address: Address, now: Millis): void {
    this.#outbox.frame(address, this.#digestFrame(this.#expect(purpose, address, now), false))
  }

  #begin(purpose: Purpose, address: Address, now: Millis): void {
    const sequence = this.#expect(purpose, address, now)
    for (const bytes of this.#state(sequence, false, now)) this.#outbox.frame(address, bytes)
  }

  /** The number of the answer. */
  #expect(purpose: Purpose, address: Address, now: Millis): number {
    const sequence = this.#prober.nextSequence()
    this.#exchanges.begin(sequence, { purpose, address, until: now + this.#config.exchangeTimeout })
    return sequence
  }

  #joined(attempt: number, address: Address): void {
    this.#events.push({ type: 'joined', attempt, address, members: this.#membership.members.live })
  }

  /** @param refused the other side lives, and said no */
  #failed({ purpose, address }: Exchange, reason: string, now: Millis, refused = false): void {
    if (purpose.type === 'join') {
      this.#events.push({ type: 'joinFailed', attempt: purpose.attempt, address, reason })
    } else if (purpose.type === 'claim') {
      // Who does not answer for its name is dead, or will have to say so itself: it is ours once the others have found out.
      if (!refused) this.#joined(purpose.attempt, purpose.via)
      else this.#events.push({ type: 'joinFailed', attempt: purpose.attempt, address: purpose.via, reason })
    } else if (purpose.type === 'sync') {
      this.#events.warn(`state exchange with ${addressText(address)} failed: ${reason}`, now)
    }
    // A reconnect that fails is no news: the member is known to have failed.
  }

  /** Why we do not talk with whoever sent that. It speaks of itself first. */
  #objection(state: State, now: Millis): string | undefined {
    const [first] = state.records
    if (first?.name !== state.from) return undefined
    if (first.name === this.#own.name) return this.#taken(first, now)
    return this.#allow(first.name, first.tags) ?? (state.reply ? undefined : this.#copied(first))
  }

  /**
   * Why somebody else of our name is kept out: we live, so it is the second. Undefined: it is ourselves. Serf has the pool
   * vote and its loser go silent; here the second is told so before it takes part.
   */
  #taken({ name, incarnation, address, tags }: StateRecord, now: Millis): string | undefined {
    if (sameAddress(address, this.#own.address)) return undefined
    // Both addresses are for our log, too.
    this.#membership.hear({ type: 'alive', name, incarnation, address, tags }, now)
    const here = addressText(this.#own.address)
    return tags.id === this.#own.tags.id
      ? `the agent "${name}" at ${here} lives and has the same node id; was its data directory copied?`
      : `the name "${name}" is taken: ${here} has it and ${addressText(address)} asks for it; give one another with -node`
  }

  /**
   * Why one that brings the id of somebody else is kept out: ids are made once and kept, so one of the two runs on a copy, and
   * as servers they would vote under one id. At the same address it is the same agent under a new name.
   */
  #copied({ name, address, tags }: StateRecord): string | undefined {
    const { id = '' } = tags
    if (id === '') return undefined
    for (const entry of this.#membership.members.entries()) {
      const { member } = entry
      if (!isLive(entry) || member.tags.id !== id || member.name === name || sameAddress(member.address, address))
        continue
      return `"${name}" has the node id of "${member.name}" at ${addressText(member.address)}, which lives; was its data directory copied?`
    }
    return undefined
  }

  /** Another process of our name takes part in the pool, by what that record says. */
  #rivals({ name, standing, address }: StateRecord): boolean {
    const live = standing === 'alive' || standing === 'suspect'
    return name === this.#own.name && live && !sameAddress(address, this.#own.address)
  }

  #refuse(state: State, reason: string, replyTo: unknown, now: Millis): void {
    if (state.reply) {
      const exchange = this.#exchanges.end(state.sequence)
      if (exchange !== undefined) this.#failed(exchange, reason, now, true)
      return
    }
    this.#events.warn(`refused ${state.from}: ${reason}`, now)
    const refusal: Message = { type: 'refusal', sequence: state.sequence, reason: reason.slice(0, 160) }
    this.#outbox.answer(replyTo, packet([encodeMessage(refusal)]))
  }

  get #own() {
    return this.#membership.own.member
  }

  /** Of all that a state says. */
  get #digest(): Hash {
    return combined(this.#membership.members.digest, this.#userEvents.digest())
  }

  #digestFrame(sequence: number, reply: boolean): Uint8Array {
    return packet([encodeMessage({ type: 'digest', sequence, reply, from: this.#own.name, digest: this.#digest })])
  }

  #state(sequence: number, reply: boolean, now: Millis): Uint8Array[] {
    const { own, members } = this.#membership
    const accuser = (name: string) => this.#membership.accuser(name)
    return stateFrames(own, members.entries(), accuser, this.#userEvents.state(), { sequence, reply }, now)
  }
}
