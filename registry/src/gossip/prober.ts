/**
 * The failure detector: probe rounds (SWIM §3.1, §4.3) with Lifeguard's local health (LHA-Probe), and the pings we make
 * for others. It knows who was asked and who answered; what a failed probe means is for `Gossip` to say.
 *
 * A probe: a direct ping; without an answer after probeTimeout, ping requests to a few others, a ping over a connection (some
 * networks lose all datagrams, and stale connection tracking loses them for minutes), and the direct ping again, twice in
 * each further probeTimeout (where datagrams are lost by chance that is what helps most); without an answer at the end of the interval the member has failed it. Acknowledgements count by sequence number and by the name of
 * who answers, never by where they come from.
 */
import type { Random } from '../io/random.ts'
import type { Address, Millis } from '../model.ts'
import type { Awareness } from './awareness.ts'
import type { GossipConfig } from './config.ts'
import { type Entry, isLive, type Members } from './members.ts'
import type { Message } from './message.ts'

/** A message on its way out. `about`: the member whose bad standing, if any, should ride along so that it can refute. */
export interface Outgoing {
  via: 'datagram' | 'frame'
  to: Address
  message: Message
  about?: string
  /** A ping that was sent before, and not answered. */
  again?: boolean
}

/** What a tick or an answer made of the current probe. */
export type ProbeResult =
  | { type: 'failed'; name: string; incarnation: number }
  /** Several times now it answered over the connection only: datagrams get lost on the way there or back. */
  | { type: 'reachedByFrameOnly'; name: string }

interface Probe {
  name: string
  incarnation: number
  address: Address
  sequence: number
  indirectAt: Millis
  deadline: Millis
  /** Ping requests and the ping over a connection have been sent. */
  indirect: boolean
  /** The number of the later pings, which is not that of the first, so that their answers are not taken for late ones. */
  again: number | undefined
  againAt: Millis
  /** Others asked who have not said nack. */
  silent: Set<string>
  asked: number
  /** An answer came over the connection; one by datagram may still follow. */
  byFrame: boolean
}

/** A ping we made because `to` asked. */
interface Relay {
  target: string
  to: Address
  sequence: number
  nackAt: Millis
  nacked: boolean
  until: Millis
}

/** One lost datagram means nothing; this many probes in a row do. */
const framesOnlyMin = 3
/** More relays than this at once are refused: somebody is wrong or hostile. */
const relaysMax = 1_000

export class Prober {
  readonly #config: GossipConfig
  readonly #members: Members
  readonly #awareness: Awareness
  readonly #random: Random
  #order: string[] = []
  /** Who comes later in this round. */
  readonly #waiting = new Set<string>()
  #next = 0
  #nextRound: Millis
  #probe: Probe | undefined
  readonly #relays = new Map<number, Relay>()
  /** How many probes in a row a member answered over the connection only. */
  readonly #framesOnly = new Map<string, number>()
  #sequence: number

  constructor(options: { config: GossipConfig; members: Members; awareness: Awareness; random: Random }, now: Millis) {
    this.#config = options.config
    this.#members = options.members
    this.#awareness = options.awareness
    this.#random = options.random
    // A random start keeps answers meant for our former life from counting in this one; a random phase keeps members
    // that were started together from probing in step.
    this.#sequence = options.random.word()
    this.#nextRound = now + options.random.between(0, options.config.probeInterval)
  }

  nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0
    return this.#sequence
  }

  /** A new member gets a random place, so that the time until its first probe is bounded and on average short (§4.3). */
  joined(name: string): void {
    if (this.#waiting.has(name)) return
    const place = this.#random.between(0, this.#order.length)
    this.#order.splice(place, 0, name)
    if (place < this.#next) this.#next++
    else this.#waiting.add(name)
  }

  /** @param self our name and address, as they go into pings */
  tick(self: { name: string; address: Address }, now: Millis): { send: Outgoing[]; results: ProbeResult[] } {
    const send: Outgoing[] = []
    const results: ProbeResult[] = []
    this.#tickRelays(self.name, now, send)
    const probe = this.#probe
    if (probe !== undefined && now >= probe.deadline) {
      this.#probe = undefined
      results.push(...this.#conclude(probe))
    } else if (probe !== undefined && !probe.indirect && now >= probe.indirectAt) {
      this.#askOthers(probe, self, send)
      this.#askAgain(probe, self, now, send)
    } else if (probe?.again !== undefined && now >= probe.againAt) {
      this.#askAgain(probe, self, now, send)
    }
    if (this.#probe === undefined && now >= this.#nextRound) this.#begin(self, now, send)
    return { send, results }
  }

  /** Somebody asks us to ping for it. */
  relay(
    request: Message & { type: 'pingRequest' },
    self: { name: string; address: Address },
    now: Millis,
  ): Outgoing | undefined {
    if (this.#relays.size >= relaysMax) return undefined
    const sequence = this.nextSequence()
    // The nack has to be back before the asker's interval ends, ticks and travel included (Lifeguard: at 80 % of the
    // time-out; with ticks of a fifth of it, 60 %).
    const patience = Math.min(this.#config.probeTimeout, this.#config.probeInterval - this.#config.probeTimeout)
    this.#relays.set(sequence, {
      target: request.target,
      to: request.address,
      sequence: request.sequence,
      nackAt: now + 0.6 * patience,
      nacked: false,
      until: now + this.#config.probeInterval,
    })
    return {
      via: 'datagram',
      to: request.targetAddress,
      message: { type: 'ping', sequence, target: request.target, from: self.name, address: self.address },
      about: request.target,
    }
  }

  /** @param viaFrame it came over a connection. Returns what to pass on to a member we pinged for. */
  acked(sequence: number, from: string, viaFrame: boolean): Outgoing | undefined {
    const probe = this.#probe
    if (probe !== undefined && (probe.sequence === sequence || probe.again === sequence)) {
      if (probe.name !== from) return undefined
      if (viaFrame) {
        // Kept until the deadline: whether datagrams get through as well is worth knowing.
        probe.byFrame = true
        return undefined
      }
      this.#probe = undefined
      this.#framesOnly.delete(from)
      this.#awareness.change(-1)
      return undefined
    }
    const relay = this.#relays.get(sequence)
    if (relay === undefined || relay.target !== from) return undefined
    this.#relays.delete(sequence)
    return { via: 'datagram', to: relay.to, message: { type: 'ack', sequence: relay.sequence, from } }
  }

  nacked(sequence: number, from: string): void {
    if (this.#probe?.sequence === sequence) this.#probe.silent.delete(from)
  }

  #begin(self: { name: string; address: Address }, now: Millis, send: Outgoing[]): void {
    this.#greetFailed(self, send)
    const target = this.#choose(self.name)
    this.#nextRound = now + this.#awareness.scale(this.#config.probeInterval)
    if (target === undefined) {
      // Alone, we owe nobody a judgement.
      this.#awareness.change(-1)
      return
    }
    const sequence = this.nextSequence()
    this.#probe = {
      name: target.name,
      incarnation: target.incarnation,
      address: target.address,
      sequence,
      // Not scaled by health: waiting longer does not bring a lost datagram. The time is better spent on the detours.
      indirectAt: now + this.#config.probeTimeout,
      deadline: this.#nextRound,
      indirect: false,
      again: undefined,
      againAt: 0,
      silent: new Set(),
      asked: 0,
      byFrame: false,
    }
    const message: Message = { type: 'ping', sequence, target: target.name, from: self.name, address: self.address }
    send.push({ via: 'datagram', to: target.address, message, about: target.name })
  }

  /**
   * A ping to one that has failed, with the news that it has: if it is back in reach it overrules that in its answer, and
   * a healed partition closes within seconds. As often as keeps the pool's total at about one per failed member and interval.
   * What loses datagrams only is left to the rarer reconnects over connections.
   */
  #greetFailed(self: { name: string; address: Address }, send: Outgoing[]): void {
    if (!this.#random.chance(this.#members.count('failed') / this.#members.live)) return
    const [target] = this.#members.pick(1, ({ standing }) => standing === 'failed', this.#random)
    if (target === undefined) return
    const { name: from, address } = self
    const message: Message = { type: 'ping', sequence: this.nextSequence(), target: target.name, from, address }
    send.push({ via: 'datagram', to: target.address, message, about: target.name })
  }

  /** Round robin over a shuffled list: everybody is probed once per round, so detection time is bounded (SWIM §4.3). */
  #choose(self: string) {
    for (let wrapped = 0; wrapped < 2; wrapped++) {
      while (this.#next < this.#order.length) {
        const name = this.#order[this.#next++] as string
        this.#waiting.delete(name)
        const entry = this.#members.entry(name)
        if (entry !== undefined && isLive(entry) && entry.member.name !== self) return entry.member
      }
      const names: string[] = []
      for (const entry of this.#members.entries()) {
        if (isLive(entry) && entry.member.name !== self) names.push(entry.member.name)
      }
      this.#order = this.#random.shuffle(names)
      for (const name of names) this.#waiting.add(name)
      this.#next = 0
    }
    return undefined
  }

  #askOthers(probe: Probe, self: { name: string; address: Address }, send: Outgoing[]): void {
    probe.indirect = true
    const { sequence, name: target, address: targetAddress } = probe
    const able = ({ member, standing }: Entry) => {
      return standing === 'alive' && member.name !== self.name && member.name !== target
    }
    for (const other of this.#members.pick(this.#config.indirectProbes, able, this.#random)) {
      probe.silent.add(other.name)
      probe.asked++
      const { name: from, address } = self
      const message: Message = { type: 'pingRequest', sequence, target, targetAddress, from, address }
      send.push({ via: 'datagram', to: other.address, message })
    }
    const message: Message = { type: 'ping', sequence, target, from: self.name, address: self.address }
    send.push({ via: 'frame', to: targetAddress, message, about: target })
  }

  #askAgain(probe: Probe, self: { name: string; address: Address }, now: Millis, send: Outgoing[]): void {
    probe.again ??= this.nextSequence()
    probe.againAt = now + this.#config.probeTimeout / 2
    const { name: target, address: to, again: sequence } = probe
    const message: Message = { type: 'ping', sequence, target, from: self.name, address: self.address }
    send.push({ via: 'datagram', to, message, about: target, again: true })
  }

  #conclude(probe: Probe): ProbeResult[] {
    if (probe.byFrame) {
      this.#awareness.change(-1)
      const times = (this.#framesOnly.get(probe.name) ?? 0) + 1
      this.#framesOnly.set(probe.name, times)
      return times < framesOnlyMin ? [] : [{ type: 'reachedByFrameOnly', name: probe.name }]
    }
    this.#framesOnly.delete(probe.name)
    // Lifeguard: those we asked and who are well say nack; their silence is a sign that it is us who are not heard.
    // With nobody to ask, any failed probe is held against us a little.
    this.#awareness.change(probe.asked > 0 ? probe.silent.size : 1)
    return [{ type: 'failed', name: probe.name, incarnation: probe.incarnation }]
  }

  #tickRelays(self: string, now: Millis, send: Outgoing[]): void {
    for (const [sequence, relay] of this.#relays) {
      if (now >= relay.until) this.#relays.delete(sequence)
      else if (!relay.nacked && now >= relay.nackAt) {
        relay.nacked = true
        const message: Message = { type: 'nack', sequence: relay.sequence, from: self }
        send.push({ via: 'datagram', to: relay.to, message })
      }
    }
  }
}
