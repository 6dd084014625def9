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
import type { Random } from '../io/random.ts'
import type { Address, Coordinate, Member, Millis, UserEvent } from '../model.ts'
import { Awareness } from './awareness.ts'
import { type GossipConfig, transmitLimit } from './config.ts'
import { Departure } from './departure.ts'
import { Events, type GossipEvent } from './events.ts'
import { type Entry, isLive, sameAddress, sameTags } from './members.ts'
import { Membership } from './membership.ts'
import {
  datagramRoom,
  decodePacket,
  encodeMessage,
  Malformed,
  type Memory,
  type Message,
  type News,
  packet,
  unfitReason,
} from './message.ts'
import { type Datagram, type Frame, Outbox } from './outbox.ts'
import { type Outgoing, Prober } from './prober.ts'
import { Repeats } from './repeats.ts'
import { StateExchange } from './state-exchange.ts'
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
  datagrams: Datagram[]
  frames: Frame[]
  events: GossipEvent[]
}

const reapInterval: Millis = 60_000
/** A tick may be so late without a word, however short the probe interval. */
const breath: Millis = 250

export class Gossip {
  readonly #config: GossipConfig
  readonly #name: string
  readonly #events = new Events()
  readonly #repeats = new Repeats()
  readonly #memory: Memory
  readonly #awareness: Awareness
  readonly #membership: Membership
  readonly #prober: Prober
  readonly #states: StateExchange
  readonly #outbox = new Outbox()
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
  #nextReap: Millis

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
    this.#name = name
    this.#outside = now
    this.#now = now
    const awareness = new Awareness(config.awarenessMax)
    this.#awareness = awareness
    const allow = (other: string, itsTags: Record<string, string>) => options.allow?.(other, itsTags)
    const shared = { config, awareness, events: this.#events, random, allow, repeats: this.#repeats }
    this.#membership = new Membership({ name, address, tags, incarnation }, shared, now)
    this.#userEvents = new UserEvents(known.length > 0)
    for (const entry of known) if (entry.member.name !== name) this.#membership.members.put(entry)
    this.#prober = new Prober({ config, members: this.#membership.members, awareness, random }, now)
    this.#vivaldi = new Vivaldi(random)
    // A random phase, so that members that were started together do not act together.
    this.#nextGossip = now + random.between(0, config.gossipInterval)
    this.#nextReap = now + reapInterval
    const rooms = { membership: this.#membership, userEvents: this.#userEvents, prober: this.#prober }
    this.#states = new StateExchange({ ...shared, ...rooms, outbox: this.#outbox }, now)
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
    this.#states.join(attempt, address, this.#now)
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
      this.#outbox.frame(witness.address, packet([encodeMessage(news), encodeMessage(ping)]))
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
    this.#hear(news)
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
    this.#lastTick = Math.max(now, this.#lastTick ?? now)
    if (gap > Math.max(this.#config.probeInterval, breath)) this.stall(gap)
    this.#advance(now)
    this.#states.expire(this.#now)
    this.#tickDeparture()
    this.#tickSuspicions()
    if (this.#departure === undefined) {
      this.#tickProber()
      this.#states.tick(this.#now)
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
    this.#states.unreachable(to, reason, this.#now)
    this.#departure?.unreachable(to)
    this.#tickDeparture()
  }

  /** What there is to send and to know since the last call. */
  ready(): Ready {
    return { ...this.#outbox.drain(), events: this.#events.drain() }
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
        this.#hear(message)
        break
      case 'state':
        // Only in frames: a forged datagram must not make us send the whole table somewhere.
        if (replyTo !== undefined) this.#states.receive(message, replyTo, this.#now)
        break
      case 'digest':
        if (replyTo !== undefined) this.#states.receiveDigest(message, replyTo, this.#now)
        break
      case 'refusal':
        this.#states.refused(message, this.#now)
        break
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
      this.#outbox.answer(replyTo, bytes)
    } else if (this.#knows(ping.from, ping.address)) {
      const message: Message = { ...ack, coordinate: this.coordinate }
      this.#send({ via: 'datagram', to: ping.address, message, about: ping.from })
    } else {
      // Strangers get the bare answer, so that a forged ping cannot make us flood its victim.
      this.#outbox.datagram(ping.address, packet([encodeMessage(ack)]))
    }
    if (this.#departure === undefined) this.#states.meet(ping.from, ping.address, this.#now)
  }

  #knows(name: string, address: Address): boolean {
    const known = this.#membership.members.entry(name)
    return known !== undefined && sameAddress(known.member.address, address)
  }

  #hear(news: News): void {
    const arrival = this.#membership.hear(news, this.#now)
    if (arrival !== undefined) this.#states.arrived(news.name, arrival, this.#now)
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
    for (const name of joined) this.#states.arrived(name, 'joined', this.#now)
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
      if (news.length > 0) this.#outbox.datagram(address, packet(news))
    }
  }

  #tickDeparture(): void {
    if (this.#left || this.#departure === undefined || !this.#departure.over(this.#now)) return
    this.#left = true
    this.#membership.left()
  }

  /**
   * A datagram takes along as much news as fits; a frame only what concerns its receiver. Where somebody only says that a
   * member is goes the bare message: a forged request must not make us flood its victim.
   */
  #send(outgoing: Outgoing | undefined, ping?: number): void {
    if (outgoing === undefined) return
    const { via, to, message, about } = outgoing
    const hearsay = about !== undefined && !this.#knows(about, to)
    // Bad news first: the answer to the ping behind it then brings the refutation along.
    const parts = [...(about === undefined || hearsay ? [] : this.#membership.badNews(about)), encodeMessage(message)]
    if (via === 'frame') {
      this.#outbox.frame(to, packet(parts))
      return
    }
    if (hearsay) {
      this.#outbox.datagram(to, packet(parts), ping)
      return
    }
    let room = datagramRoom
    for (const part of parts) room -= part.length
    this.#outbox.datagram(to, packet([...parts, ...this.#takeNews(room)]), ping)
  }

  /** User events get the room that members' news leaves, so that no flood of them keeps us from hearing who failed. */
  #takeNews(room: number): Uint8Array[] {
    const news = this.#membership.takeNews(room)
    if (this.#userEvents.queued === 0) return news
    const left = news.reduce((rest, { length }) => rest - length, room)
    const limit = transmitLimit(this.#config.retransmitMult, this.#membership.members.live)
    return [...news, ...this.#userEvents.take(left, limit)]
  }
}
