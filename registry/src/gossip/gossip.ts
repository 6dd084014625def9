/**
 * Membership of one pool by gossip: SWIM (Das, Gupta, Motivala 2002) for finding out who is there, Lifeguard
 * (arXiv:1707.00788) against false alarms of slow members, and what Serf adds: leaving is told from failing, the failed
 * are tried again so that a healed partition merges by itself, and tags say what a member is.
 *
 * A pure room: calls go in, `ready` says what to send and what became known. Members are who they say they are and are
 * where they advertise to be; the source of a packet means nothing (published ports, NAT).
 *
 * Time: `tick` is meant to come every 100 ms. A silence between two calls as long as a probe interval is a stall of
 * our process: time inside the room then stands still, so that no time-out of ours expires before the answers that
 * wait in the sockets were looked at, and our local health suffers.
 */
import { BadRequest, Refused } from '../errors.ts'
import { addressText } from '../io/address.ts'
import type { Random } from '../io/random.ts'
import type { Address, Coordinate, Member, Millis, UserEvent } from '../model.ts'
import { Awareness } from './awareness.ts'
import { type GossipConfig, pushPullScaled, transmitLimit } from './config.ts'
import { Departure } from './departure.ts'
import { combined, type Hash } from './digest.ts'
import { Events, type GossipEvent } from './events.ts'
import { type Exchange, Exchanges, type Purpose, stateFrames } from './exchanges.ts'
import { type Entry, isLive, sameAddress, sameTags } from './members.ts'
import { type Arrival, Membership } from './membership.ts'
import {
  datagramRoom,
  decodePacket,
  encodeMessage,
  Malformed,
  type Memory,
  type Message,
  packet,
  type StateRecord,
  unfitReason,
} from './message.ts'
import { type Outgoing, Prober } from './prober.ts'
import { Repeats } from './repeats.ts'
import { Texts } from './texts.ts'
import { UserEvents } from './user-events.ts'
import { Vivaldi } from './vivaldi.ts'

export type { GossipConfig } from './config.ts'
export { lanConfig, localConfig, wanConfig } from './config.ts'
export type { Claim, GossipEvent } from './events.ts'

export interface GossipOptions {
  /** Unique in the pool. */
  name: string
  /** Where others reach us, as we advertise it. */
  address: Address
  /** `id` among them tells processes of the same name apart. */
  tags: Record<string, string>
  config: GossipConfig
  random: Random
  /** Where to begin; anything will do, for old news of ourselves is overruled as soon as we hear it. Default 1. */
  incarnation?: number
  /** A reason to keep a member out, for example that it belongs to another datacenter. */
  allow?(name: string, tags: Record<string, string>): string | undefined
  /** Members to know from the start, without a word about them: for simulations that begin with a large pool. */
  known?: readonly Entry[]
  /** To share among members of one simulation. */
  texts?: Texts
}

export interface Ready {
  /** With `ping`, say in `sent` when it left. */
  datagrams: { to: Address; bytes: Uint8Array; ping?: number }[]
  /** To an address, or, with `to` undefined, on the connection that `replyTo` (as given to `receive`) stands for. */
  frames: { to: Address | undefined; replyTo?: unknown; bytes: Uint8Array }[]
  events: GossipEvent[]
}

const reapInterval: Millis = 60_000
/** A tick may be so late without a word, however short the probe interval. */
const breath: Millis = 250
/** When a member returns about this many others ask it for its state. */
const reunionExchanges = 3

export class Gossip {
  readonly #config: GossipConfig
  readonly #random: Random
  readonly #allow: (name: string, tags: Record<string, string>) => string | undefined
  readonly #name: string
  readonly #events = new Events()
  readonly #repeats = new Repeats()
  readonly #memory: Memory
  readonly #awareness: Awareness
  readonly #membership: Membership
  readonly #prober: Prober
  readonly #exchanges = new Exchanges()
  readonly #vivaldi: Vivaldi
  /** The probe whose way there and back is being measured, in time from outside. */
  #measured: { sequence: number; name: string; at: Millis } | undefined
  readonly #userEvents: UserEvents
  #departure: Departure | undefined
  #left = false
  /** The latest time from outside, and the time in here, which stands still during stalls. */
  #outside: Millis
  #now: Millis
  #lastTick: Millis | undefined
  #nextGossip: Millis
  #nextPushPull: Millis
  #nextReconnect: Millis
  #nextReap: Millis
  /** Before this no further stranger is asked for its state. */
  #nextMeeting: Millis
  /** Before this nobody else who returned is asked for its state. */
  #nextReunion: Millis
  #datagrams: Ready['datagrams'] = []
  #frames: Ready['frames'] = []

  /** @throws BadRequest when name, address or tags cannot be gossiped (empty, control characters, too long) */
  constructor(options: GossipOptions, now: Millis) {
    const { name, address, tags, config, random, incarnation = 1, known = [] } = options
    const unfit = unfitReason(name, address, tags)
    if (unfit !== undefined) throw new BadRequest(`cannot take part in gossip: ${unfit}`)
    this.#config = config
    this.#memory = {
      texts: options.texts ?? new Texts(),
      repeated: (bytes, begin, end) => this.#repeats.heard(bytes, begin, end, this.#now),
    }
    this.#random = random
    this.#allow = (other, itsTags) => options.allow?.(other, itsTags)
    this.#name = name
    this.#outside = now
    this.#now = now
    const awareness = new Awareness(config.awarenessMax)
    this.#awareness = awareness
    const shared = { config, awareness, events: this.#events, random, allow: this.#allow, repeats: this.#repeats }
    this.#membership = new Membership({ name, address, tags, incarnation }, shared, now)
    this.#userEvents = new UserEvents(known.length > 0)
    for (const entry of known) if (entry.member.name !== name) this.#membership.members.put(entry)
    this.#prober = new Prober({ config, members: this.#membership.members, awareness, random }, now)
    this.#vivaldi = new Vivaldi(random)
    // Random phases, so that members that were started together do not act together.
    this.#nextGossip = now + random.between(0, config.gossipInterval)
    this.#nextPushPull = now + random.between(0, this.#pushPullInterval())
    this.#nextReconnect = now + random.between(0, config.reconnectInterval)
    this.#nextReap = now + reapInterval
    this.#nextMeeting = now
    this.#nextReunion = now
  }

  get self(): Member {
    return this.#membership.own.member
  }

  /** Everybody but the reaped, ourselves included, in name order. The members in it are replaced, never changed, later. */
  members(): Member[] {
    return this.#membership.members.list().slice()
  }

  get(name: string): Member | undefined {
    const entry = this.#membership.members.entry(name)
    return entry === undefined || entry.standing === 'pruned' ? undefined : entry.member
  }

  /** Lifeguard's local health score: 0 is well, awarenessMax - 1 the worst. */
  get health(): number {
    return this.#awareness.score
  }

  /** How many pieces of news wait to be spread. */
  get queued(): number {
    return this.#membership.queued + this.#userEvents.queued
  }

  /** Where we are in the network, by what probes have measured. */
  get coordinate(): Coordinate {
    return this.#vivaldi.own
  }

  /** Where a member, or we, said last that it is; undefined when it never answered a probe of ours. */
  coordinateOf(name: string): Coordinate | undefined {
    return name === this.#name ? this.coordinate : this.#vivaldi.of(name)
  }

  /** The datagram with this ping has left now: its round trip begins, which until then was said to begin with the tick. */
  sent(ping: number, now: Millis): void {
    if (this.#measured?.sequence === ping) this.#measured.at = now
  }

  /** The process stood still for `gap`: trust our own judgement less for a while. `tick` sees most stalls by itself. */
  stall(gap: Millis): void {
    this.#awareness.change(Math.max(1, Math.floor(gap / Math.max(this.#config.probeInterval, breath))))
  }

  /** Exchanges states with whoever listens there, ourselves included. Ends in one `joined` or `joinFailed` of that attempt. */
  join(attempt: number, address: Address, now: Millis): void {
    this.#advance(now)
    if (this.#departure !== undefined) {
      this.#events.push({ type: 'joinFailed', attempt, address, reason: 'this member has left the pool' })
      return
    }
    this.#exchange({ type: 'join', attempt }, address)
  }

  /**
   * Tells the pool that we go; then comes the event `left`, and nothing brings us back (a new process may take the name
   * again at any time). We go on answering, so the process may end whenever it likes.
   */
  leave(now: Millis): void {
    this.#advance(now)
    if (this.#departure !== undefined) return
    const { name: from, address } = this.self
    const news = this.#membership.leave(this.#now)
    const departure = new Departure(this.#now + this.#config.probeInterval, this.#now + this.#config.leaveTimeout)
    this.#departure = departure
    for (const witness of this.#membership.pick(this.#config.gossipNodes, isLive)) {
      // Over a connection and with a ping behind it: the acknowledgement says that the news arrived.
      const sequence = this.#prober.nextSequence()
      departure.told(sequence, witness)
      const ping: Message = { type: 'ping', sequence, target: witness.name, from, address }
      this.#frames.push({ to: witness.address, bytes: packet([encodeMessage(news), encodeMessage(ping)]) })
    }
    this.#tickDeparture()
  }

  /** Changes what we say of ourselves; others see an `update`. @throws BadRequest when the tags do not fit a packet */
  setTags(tags: Record<string, string>, now: Millis): void {
    this.#advance(now)
    const { name, address, tags: old } = this.self
    const unfit = unfitReason(name, address, tags)
    if (unfit !== undefined) throw new BadRequest(`cannot change tags: ${unfit}`)
    if (this.#departure === undefined && !sameTags(old, tags)) this.#membership.setTags(tags)
  }

  /**
   * Makes a suspect or failed member count as left; with `prune` it is forgotten everywhere as well, also when it had left.
   * A member that is in truth alive overrules this. False: nobody of that name is known. An alive member stays as it is.
   */
  forceLeave(name: string, prune: boolean, now: Millis): boolean {
    this.#advance(now)
    const entry = this.#membership.members.entry(name)
    if (entry === undefined || entry.standing === 'pruned') return false
    if (entry.standing === 'alive' || name === this.#name) return true
    const { incarnation } = entry.member
    const news = { type: prune ? 'pruned' : 'left', name, incarnation, from: this.#name } as const
    this.#note(name, this.#membership.hear(news, this.#now))
    return true
  }

  /**
   * Tells everybody in the pool, ourselves first: one event `userEvent` on each that is there now.
   * @returns it with its Lamport time. @throws BadRequest when it cannot be gossiped; Refused after leaving
   */
  fire(event: Omit<UserEvent, 'ltime'>, now: Millis): UserEvent {
    this.#advance(now)
    if (this.#departure !== undefined) throw new Refused('this member has left the pool')
    const fired = this.#userEvents.fire(event)
    this.#events.push({ type: 'userEvent', event: fired })
    return fired
  }

  /** The Lamport time of the next user event. */
  get eventClock(): number {
    return this.#userEvents.clock
  }

  /** Does what is due. */
  tick(now: Millis): void {
    // The first tick is late for reasons of its own: a start reads disks.
    const gap = now - (this.#lastTick ?? now)
    this.#lastTick = now
    if (gap > Math.max(this.#config.probeInterval, breath)) this.stall(gap)
    this.#advance(now)
    for (const exchange of this.#exchanges.expire(this.#now)) {
      this.#exchangeFailed(exchange, `no answer within ${this.#config.exchangeTimeout / 1000} s`)
    }
    this.#tickDeparture()
    this.#tickSuspicions()
    if (this.#departure === undefined) {
      this.#tickProber()
      this.#tickPushPull()
      this.#tickReconnect()
    }
    this.#tickGossip()
    this.#events.tick(this.#now)
    if (this.#now >= this.#nextReap) {
      this.#nextReap = this.#now + reapInterval
      this.#membership.reap(this.#now)
      this.#vivaldi.forget((name) => this.get(name) === undefined)
    }
  }

  /**
   * A datagram, or, with `replyTo`, a frame that can be answered. Never throws: what cannot be understood becomes a warning.
   */
  receive(bytes: Uint8Array, now: Millis, replyTo?: unknown): void {
    this.#advance(now)
    let messages: Message[]
    try {
      messages = decodePacket(bytes, this.#memory)
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
      // Nothing in it was heard.
      this.#repeats.forget()
      this.#events.warn(`dropped a ${replyTo === undefined ? 'datagram' : 'frame'}: ${error.message}`, this.#now)
      return
    }
    for (const message of messages) this.#receive(message, replyTo)
  }

  /** A frame to that address was lost, or nobody listens there. `reason` goes into `joinFailed`. */
  frameFailed(to: Address, now: Millis, reason = 'could not connect'): void {
    this.#advance(now)
    for (const exchange of this.#exchanges.fail(to)) this.#exchangeFailed(exchange, reason)
    this.#departure?.unreachable(to)
    this.#tickDeparture()
  }

  /** What there is to send and to know since the last call. */
  ready(): Ready {
    const ready = { datagrams: this.#datagrams, frames: this.#frames, events: this.#events.drain() }
    this.#datagrams = []
    this.#frames = []
    return ready
  }

  #advance(now: Millis): void {
    const passed = Math.max(0, now - this.#outside)
    this.#outside += passed
    this.#now += Math.min(passed, Math.max(this.#config.probeTimeout, breath))
    // While we stood still an answer may have waited for us: how long it took is not to be known any more.
    if (passed > this.#config.probeTimeout) this.#measured = undefined
  }

  #receive(message: Message, replyTo: unknown): void {
    switch (message.type) {
      case 'ping':
        this.#pinged(message, replyTo)
        break
      case 'pingRequest':
        // For members only: a stranger could have us send pings, and answers, to wherever it likes.
        if (this.#knows(message.from, message.address)) {
          this.#send(this.#prober.relay(message, this.self, this.#now))
        }
        break
      case 'ack':
        if (message.coordinate !== undefined && replyTo === undefined) this.#measure(message, message.coordinate)
        if (this.#departure?.acknowledged(message.sequence)) this.#tickDeparture()
        else this.#send(this.#prober.acked(message.sequence, message.from, replyTo !== undefined))
        break
      case 'nack':
        this.#prober.nacked(message.sequence, message.from)
        break
      case 'alive':
      case 'suspect':
      case 'failed':
      case 'left':
      case 'pruned':
        this.#note(message.name, this.#membership.hear(message, this.#now))
        break
      case 'state':
        // Only in frames: a forged datagram must not make us send the whole table somewhere.
        if (replyTo !== undefined) this.#receiveState(message, replyTo)
        break
      case 'digest':
        if (replyTo !== undefined) this.#receiveDigest(message, replyTo)
        break
      case 'refusal': {
        const exchange = this.#exchanges.end(message.sequence)
        if (exchange !== undefined) this.#exchangeFailed(exchange, message.reason, true)
        break
      }
      case 'userEvent':
        if (this.#userEvents.tooOld(message.event)) {
          this.#events.warn('dropped a user event that was fired too many events ago', this.#now)
        } else if (this.#userEvents.hear(message.event)) this.#events.push(message)
        break
      default:
        message satisfies never
    }
  }

  #pinged(ping: Message & { type: 'ping' }, replyTo: unknown): void {
    // A ping for somebody who used this address before us: our answer would keep a dead member alive.
    if (ping.target !== this.#name) return
    const ack: Message = { type: 'ack', sequence: ping.sequence, from: this.#name }
    if (replyTo !== undefined) {
      const bytes = packet([...this.#membership.badNews(ping.from), encodeMessage(ack)])
      this.#frames.push({ to: undefined, replyTo, bytes })
    } else if (this.#knows(ping.from, ping.address)) {
      const message: Message = { ...ack, coordinate: this.coordinate }
      this.#send({ via: 'datagram', to: ping.address, message, about: ping.from })
    } else {
      // Strangers get the bare answer, so that a forged ping cannot make us flood its victim.
      this.#datagrams.push({ to: ping.address, bytes: packet([encodeMessage(ack)]) })
    }
    this.#meet(ping.from, ping.address)
  }

  /**
   * Whoever pings us by name holds us for a member. When we do not know it at all we are a new process in the place of an
   * old one: asking for its state makes us take part again, also when our own attempts to join failed.
   */
  #meet(name: string, address: Address): void {
    if (this.#departure !== undefined || this.#now < this.#nextMeeting) return
    if (this.#membership.members.entry(name) !== undefined) return
    this.#nextMeeting = this.#now + this.#config.exchangeTimeout
    this.#exchange({ type: 'reconnect' }, address)
  }

  #receiveState(state: Message & { type: 'state' }, replyTo: unknown): void {
    if (state.reply && this.#exchanges.get(state.sequence) === undefined) return
    const first = state.records[0]
    if (first?.name === state.from) {
      const reason =
        first.name === this.#name
          ? this.#taken(first)
          : (this.#allow(first.name, first.tags) ?? (state.reply ? undefined : this.#copied(first)))
      if (reason !== undefined) {
        this.#refuse(state, reason, replyTo)
        return
      }
    }
    if (state.userEvents !== undefined) {
      // Who answers and is unknown to us took part before we came.
      const stranger = state.reply && this.#membership.members.entry(state.from) === undefined
      for (const event of this.#userEvents.merge(state.userEvents, stranger)) {
        this.#events.push({ type: 'userEvent', event })
      }
    }
    for (const record of state.records) {
      const arrival = this.#membership.merge(record, state.from, this.#now)
      // A reunion is what is happening here already.
      this.#note(record.name, arrival === undefined ? undefined : 'joined')
      if (state.reply && this.#rivals(record)) this.#exchanges.rival(state.sequence, record.address)
    }
    if (state.more) return
    if (!state.reply) {
      // After merging: a member that had failed for us has overruled that by now, and the other side sees it at once.
      for (const bytes of this.#state(state.sequence, true)) this.#frames.push({ to: undefined, replyTo, bytes })
      return
    }
    const exchange = this.#exchanges.end(state.sequence)
    if (exchange?.purpose.type === 'claim') this.#joined(exchange.purpose.attempt, exchange.purpose.via)
    if (exchange?.purpose.type !== 'join') return
    const { attempt } = exchange.purpose
    if (exchange.rival === undefined) this.#joined(attempt, exchange.address)
    else this.#exchange({ type: 'claim', attempt, via: exchange.address }, exchange.rival)
  }

  #joined(attempt: number, address: Address): void {
    this.#events.push({ type: 'joined', attempt, address, members: this.#membership.members.live })
  }

  /**
   * Why somebody else of our name is kept out: we live, so it is the second. Undefined: it is ourselves. Serf has the pool
   * vote and its loser go silent; here the second is told so before it takes part.
   */
  #taken({ name, incarnation, address, tags }: StateRecord): string | undefined {
    if (sameAddress(address, this.self.address)) return undefined
    // Both addresses are for our log, too.
    this.#membership.hear({ type: 'alive', name, incarnation, address, tags }, this.#now)
    const here = addressText(this.self.address)
    return tags.id === this.self.tags.id
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
    for (const { member, standing } of this.#membership.members.entries()) {
      const live = standing === 'alive' || standing === 'suspect'
      if (!live || member.tags.id !== id || member.name === name || sameAddress(member.address, address)) continue
      return `"${name}" has the node id of "${member.name}" at ${addressText(member.address)}, which lives; was its data directory copied?`
    }
    return undefined
  }

  /** Another process of our name takes part in the pool, by what that record says. */
  #rivals({ name, standing, address }: StateRecord): boolean {
    const live = standing === 'alive' || standing === 'suspect'
    return name === this.#name && live && !sameAddress(address, this.self.address)
  }

  #refuse(state: Message & { type: 'state' }, reason: string, replyTo: unknown): void {
    if (state.reply) {
      const exchange = this.#exchanges.end(state.sequence)
      if (exchange !== undefined) this.#exchangeFailed(exchange, reason, true)
      return
    }
    this.#events.warn(`refused ${state.from}: ${reason}`, this.#now)
    const refusal: Message = { type: 'refusal', sequence: state.sequence, reason: reason.slice(0, 160) }
    this.#frames.push({ to: undefined, replyTo, bytes: packet([encodeMessage(refusal)]) })
  }

  #knows(name: string, address: Address): boolean {
    const known = this.#membership.members.entry(name)
    return known !== undefined && sameAddress(known.member.address, address)
  }

  #note(name: string, arrival: Arrival | undefined): void {
    if (arrival === undefined) return
    this.#prober.joined(name)
    // Who returns may be back with everybody else from its side of a partition. Their news goes round among those who
    // know each other, and may have gone round before they knew us: ask. By chance, so that when a single member of a
    // large pool returns only a few ask it, and rarely, so that when many return we ask one of them.
    if (arrival !== 'returned' || this.#now < this.#nextReunion) return
    const member = this.get(name)
    if (member === undefined || !this.#random.chance(reunionExchanges / this.#membership.members.live)) return
    this.#nextReunion = this.#now + this.#config.exchangeTimeout
    this.#exchange({ type: 'sync' }, member.address)
  }

  #tickProber(): void {
    const { send, results } = this.#prober.tick(this.self, this.#now)
    for (const result of results) {
      if (result.type === 'failed') {
        const { name, incarnation } = result
        this.#membership.hear({ type: 'suspect', name, incarnation, from: this.#name }, this.#now)
      } else {
        const reason = `${result.name} is reached over TCP but not over UDP; are datagrams let through both ways?`
        this.#events.warn(reason, this.#now)
      }
    }
    for (const outgoing of send) {
      const { message, via } = outgoing
      if (message.type !== 'ping' || via !== 'datagram' || outgoing.again) {
        this.#send(outgoing)
        continue
      }
      // The last of them is the probe.
      this.#measured = { sequence: message.sequence, name: message.target, at: this.#outside }
      this.#send(outgoing, message.sequence)
    }
  }

  /** Serf: only the way straight there and back by datagram counts; others may be reached by any detour. */
  #measure({ sequence, from }: { sequence: number; from: string }, there: Coordinate): void {
    const measured = this.#measured
    if (measured?.sequence !== sequence || measured.name !== from) return
    this.#measured = undefined
    this.#vivaldi.observe(from, there, this.#outside - measured.at)
  }

  #tickSuspicions(): void {
    const { joined, ask } = this.#membership.tick(this.#now)
    for (const name of joined) this.#note(name, 'joined')
    const { name: from, address } = this.self
    for (const { name: target, address: to } of ask) {
      const message: Message = { type: 'ping', sequence: this.#prober.nextSequence(), target, from, address }
      this.#send({ via: 'datagram', to, message, about: target })
    }
  }

  #tickGossip(): void {
    if (this.#now < this.#nextGossip) return
    this.#nextGossip = this.#now + this.#config.gossipInterval
    if (this.queued === 0) return
    // The lately failed are told as well: if they are not dead they learn what is said of them and refute it.
    const since = this.#now - this.#config.gossipToFailed
    const listens = (entry: Entry) => isLive(entry) || (entry.standing === 'failed' && entry.since > since)
    for (const { address } of this.#membership.pick(this.#config.gossipNodes, listens)) {
      const news = this.#takeNews(datagramRoom)
      if (news.length > 0) this.#datagrams.push({ to: address, bytes: packet(news) })
    }
  }

  #tickPushPull(): void {
    if (this.#now < this.#nextPushPull) return
    this.#nextPushPull = this.#now + this.#pushPullInterval()
    const [partner] = this.#membership.pick(1, (entry) => entry.standing === 'alive')
    if (partner === undefined) return
    // Nearly always both know the same already; then that is all there is to say.
    const { address } = partner
    const sequence = this.#prober.nextSequence()
    this.#exchanges.begin(sequence, {
      purpose: { type: 'sync' },
      address,
      until: this.#now + this.#config.exchangeTimeout,
    })
    this.#frames.push({ to: address, bytes: this.#digestFrame(sequence, false) })
  }

  /** Of all that a state says. */
  get #digest(): Hash {
    return combined(this.#membership.members.digest, this.#userEvents.digest())
  }

  #digestFrame(sequence: number, reply: boolean): Uint8Array {
    return packet([encodeMessage({ type: 'digest', sequence, reply, from: this.#name, digest: this.#digest })])
  }

  #receiveDigest(message: Message & { type: 'digest' }, replyTo: unknown): void {
    const { sequence, reply, digest: theirs } = message
    if (!reply) {
      this.#frames.push({ to: undefined, replyTo, bytes: this.#digestFrame(sequence, true) })
      return
    }
    const exchange = this.#exchanges.get(sequence)
    if (exchange?.purpose.type !== 'sync') return
    const ours = this.#digest
    if (ours[0] === theirs[0] && ours[1] === theirs[1]) this.#exchanges.end(sequence)
    else for (const bytes of this.#state(sequence, false)) this.#frames.push({ to: exchange.address, bytes })
  }

  #pushPullInterval(): Millis {
    return pushPullScaled(this.#config.pushPullInterval, this.#membership.members.live)
  }

  /** Serf: a healed partition merges by itself. By chance, so that a large pool does not storm its few failed members. */
  #tickReconnect(): void {
    if (this.#now < this.#nextReconnect) return
    this.#nextReconnect = this.#now + this.#config.reconnectInterval
    const { members } = this.#membership
    if (!this.#random.chance(members.count('failed') / members.live)) return
    const [target] = this.#membership.pick(1, (entry) => entry.standing === 'failed')
    if (target !== undefined) this.#exchange({ type: 'reconnect' }, target.address)
  }

  #tickDeparture(): void {
    if (this.#left || this.#departure === undefined || !this.#departure.over(this.#now)) return
    this.#left = true
    this.#membership.left()
  }

  /** A datagram takes along as much news as fits; a frame only what concerns its receiver. */
  #send(outgoing: Outgoing | undefined, ping?: number): void {
    if (outgoing === undefined) return
    const { via, to, message, about } = outgoing
    // Bad news first: the answer to the ping behind it then brings the refutation along.
    const parts = [...(about === undefined ? [] : this.#membership.badNews(about)), encodeMessage(message)]
    if (via === 'frame') {
      this.#frames.push({ to, bytes: packet(parts) })
      return
    }
    let room = datagramRoom
    for (const part of parts) room -= part.length
    const bytes = packet([...parts, ...this.#takeNews(room)])
    this.#datagrams.push(ping === undefined ? { to, bytes } : { to, bytes, ping })
  }

  /** User events get the room that members' news leaves, so that no flood of them keeps us from hearing who failed. */
  #takeNews(room: number): Uint8Array[] {
    const news = this.#membership.takeNews(room)
    if (this.#userEvents.queued === 0) return news
    const left = news.reduce((rest, { length }) => rest - length, room)
    const limit = transmitLimit(this.#config.retransmitMult, this.#membership.members.live)
    return [...news, ...this.#userEvents.take(left, limit)]
  }

  #exchange(purpose: Purpose, address: Address): void {
    const sequence = this.#prober.nextSequence()
    this.#exchanges.begin(sequence, { purpose, address, until: this.#now + this.#config.exchangeTimeout })
    for (const bytes of this.#state(sequence, false)) this.#frames.push({ to: address, bytes })
  }

  /** @param refused the other side lives, and said no */
  #exchangeFailed({ purpose, address }: Exchange, reason: string, refused = false): void {
    if (purpose.type === 'join') {
      this.#events.push({ type: 'joinFailed', attempt: purpose.attempt, address, reason })
    } else if (purpose.type === 'claim') {
      // Who does not answer for its name is dead, or will have to say so itself: it is ours once the others have found out.
      if (!refused) this.#joined(purpose.attempt, purpose.via)
      else this.#events.push({ type: 'joinFailed', attempt: purpose.attempt, address: purpose.via, reason })
    } else if (purpose.type === 'sync') {
      this.#events.warn(`state exchange with ${addressText(address)} failed: ${reason}`, this.#now)
    }
    // A reconnect that fails is no news: the member is known to have failed.
  }

  #state(sequence: number, reply: boolean): Uint8Array[] {
    const { own, members } = this.#membership
    const accuser = (name: string) => this.#membership.accuser(name)
    const userEvents = this.#userEvents.state()
    return stateFrames(own, members.entries(), accuser, userEvents, { sequence, reply }, this.#now)
  }
}
