/**
 * A large pool of pure `Gossip` on a simulated network: thousands of members, for hours. What `Pool` is for whole stories
 * of a few members, this is for numbers: an event costs a place in an array, and everything is counted.
 *
 * The network: a datagram takes 1 to 5 ms and is lost by chance. A frame goes over a connection that is made for it as
 * Linux makes it: a lost SYN or answer to it is sent again after 1 s, then 2 s, and given up by the agent after 2 s; a
 * lost segment is sent again after 200 ms, 400 ms and so on. A process that is paused hears nothing until it goes on;
 * then it ticks, and finds up to `inboxMax` datagrams that its socket kept.
 */
import { Gossip, type GossipConfig, type GossipEvent, lanConfig } from '../../src/gossip/gossip.ts'
import { type Entry, Members } from '../../src/gossip/members.ts'
import { datagramLengthMax } from '../../src/gossip/message.ts'
import { Texts } from '../../src/gossip/texts.ts'
import { Random } from '../../src/io/random.ts'
import type { Address, Millis, UserEvent } from '../../src/model.ts'

export interface SwarmOptions {
  nodes: number
  seed: number
  /** Chance that a datagram, or a segment of a connection, is lost. Default 0. */
  loss?: number
  config?: GossipConfig
  /** What everybody says of itself. Default: as much as an agent says. */
  tags?: Record<string, string>
}

export interface Traffic {
  datagrams: number
  datagramBytes: number
  frames: number
  frameBytes: number
}

/** A member and what becomes of it. */
interface Process {
  readonly gossip: Gossip
  readonly address: Address
  stopped: boolean
  paused: boolean
  inbox: Delivery[]
}

/** `kind` 0: a datagram for `to`; 1: a frame for `to`, from `from`; 2: `from` learns that its frame to `to` failed; 3: `to` goes on. */
interface Delivery {
  readonly kind: 0 | 1 | 2 | 3
  readonly to: number
  readonly from: number
  readonly bytes: Uint8Array
}

const tickInterval: Millis = 100
/** Deliveries farther away than this do not exist: a connection is given up before. A power of two. */
const horizon = 16_384
const firstPort = 1_000
const connectTimeout: Millis = 2_000
/** What a socket buffer of a megabyte holds. */
const inboxMax = 700
/** An encrypted datagram is longer by this at most. */
const sealLength = 32
const nothing = new Uint8Array(0)

export class Swarm {
  now: Millis = 1_000_000
  loss: number
  readonly processes: Process[] = []
  readonly traffic: Traffic = { datagrams: 0, datagramBytes: 0, frames: 0, frameBytes: 0 }
  /** Including what encryption adds. */
  largestDatagram = 0
  /** What happened, told at once. */
  onEvent: (event: GossipEvent, of: number, now: Millis) => void = () => {}
  readonly config: GossipConfig
  readonly #random: Random
  readonly #due: Delivery[][] = Array.from({ length: horizon }, () => [])

  /** All know each other from the start. */
  constructor(options: SwarmOptions) {
    const { nodes, seed, loss = 0, config = lanConfig, tags = agentTags } = options
    this.config = config
    this.loss = loss
    this.#random = new Random(seed)
    const known: Entry[] = []
    const table = new Members()
    const texts = new Texts(32_768)
    for (let place = 0; place < nodes; place++) {
      const name = nameOf(place)
      const address = { host: `10.${place >> 16}.${(place >> 8) & 255}.${place & 255}`, port: firstPort + place }
      const member = { name, address, status: 'alive', tags: { ...tags, id: idOf(place) }, incarnation: 1 } as const
      known.push(table.set(member, 'alive', this.now))
    }
    for (const { member } of known) {
      const { name, address, tags: own } = member
      const random = new Random(this.#random.word())
      const gossip = new Gossip({ name, address, tags: own, config, random, known, texts }, this.now)
      gossip.ready()
      this.processes.push({ gossip, address, stopped: false, paused: false, inbox: [] })
    }
  }

  /** Lets time pass. */
  run(span: Millis): void {
    for (const until = this.now + span; this.now < until; ) {
      this.now++
      const due = this.#due[this.now & (horizon - 1)] as Delivery[]
      // Nothing is due at once, so the list does not grow while we go through it.
      for (const delivery of due) this.#deliver(delivery)
      due.length = 0
      for (let place = this.now % tickInterval; place < this.processes.length; place += tickInterval) {
        const process = this.processes[place] as Process
        if (process.stopped || process.paused) continue
        process.gossip.tick(this.now)
        this.#flush(process, place)
      }
    }
  }

  /** The member tells everybody. */
  fire(place: number, event: Omit<UserEvent, 'ltime'>): void {
    const process = this.processes[place] as Process
    process.gossip.fire(event, this.now)
    this.#flush(process, place)
  }

  /** The process is gone, without a word. */
  stop(place: number): void {
    const process = this.processes[place] as Process
    process.stopped = true
    process.inbox = []
  }

  /** The process stands still for so long, at most `horizon` ms. False: it does so already, or is gone. */
  pause(place: number, span: Millis): boolean {
    const process = this.processes[place] as Process
    if (process.stopped || process.paused) return false
    process.paused = true
    this.#later(span, { kind: 3, to: place, from: place, bytes: nothing })
    return true
  }

  #deliver(delivery: Delivery): void {
    const { kind, to, from, bytes } = delivery
    const place = kind === 2 ? from : to
    const process = this.processes[place] as Process
    if (process.stopped) {
      // The kernel of the host refuses the connection.
      if (kind === 1) this.#later(this.#delay(), { kind: 2, to, from, bytes: nothing })
      return
    }
    if (kind === 3) {
      this.#goOn(process, place)
      return
    }
    if (process.paused) {
      if (process.inbox.length < inboxMax) process.inbox.push(delivery)
      return
    }
    if (kind === 0) process.gossip.receive(bytes, this.now)
    else if (kind === 1) process.gossip.receive(bytes, this.now, from)
    else process.gossip.frameFailed((this.processes[to] as Process).address, this.now)
    this.#flush(process, place)
  }

  #goOn(process: Process, place: number): void {
    process.paused = false
    // Node's loop runs the timers before it looks at sockets.
    process.gossip.tick(this.now)
    this.#flush(process, place)
    const inbox = process.inbox
    process.inbox = []
    for (const delivery of inbox) this.#deliver(delivery)
  }

  #flush(process: Process, place: number): void {
    const { datagrams, frames, events } = process.gossip.ready()
    for (const { to, bytes } of datagrams) {
      const { traffic } = this
      traffic.datagrams++
      traffic.datagramBytes += bytes.length
      if (bytes.length + sealLength > this.largestDatagram) this.largestDatagram = bytes.length + sealLength
      if (this.#random.chance(this.loss)) continue
      this.#later(this.#delay(), { kind: 0, to: to.port - firstPort, from: place, bytes })
    }
    for (const { to, replyTo, bytes } of frames) {
      this.traffic.frames++
      this.traffic.frameBytes += bytes.length
      const target = to === undefined ? (replyTo as number) : to.port - firstPort
      // An answer goes back on the connection that is there.
      const made = to === undefined ? 0 : this.#handshake()
      if (made > connectTimeout) this.#later(connectTimeout, { kind: 2, to: target, from: place, bytes: nothing })
      else this.#later(made + this.#segment(), { kind: 1, to: target, from: place, bytes })
    }
    for (const event of events) this.onEvent(event, place, this.now)
  }

  /** How long a connection takes to be made. */
  #handshake(): Millis {
    let span = this.#delay() + this.#delay()
    for (let wait = 1_000; this.#random.chance(this.loss) || this.#random.chance(this.loss); wait *= 2) span += wait
    return span
  }

  /** How long what is written to a connection takes. */
  #segment(): Millis {
    let span = this.#delay()
    for (let wait = 200; this.#random.chance(this.loss) && span + wait < horizon / 2; wait *= 2) span += wait
    return span
  }

  #delay(): Millis {
    return this.#random.between(1, 5)
  }

  #later(span: Millis, delivery: Delivery): void {
    ;(this.#due[(this.now + span) & (horizon - 1)] as Delivery[]).push(delivery)
  }
}

export const nameOf = (place: number): string => `node-${place + 1}`

const idOf = (place: number): string => `${(place + 1).toString(16).padStart(8, '0')}-1111-4222-8333-444455556666`

/** What an agent that is no server says of itself. */
const agentTags = { dc: 'dc1', build: '1.8.7:', vsn: '2', vsn_min: '2', vsn_max: '3', role: 'node', segment: '' }

/** @throws RangeError for a datagram that would not fit once it is encrypted */
export function expectFits(swarm: Swarm): void {
  if (swarm.largestDatagram > datagramLengthMax) throw new RangeError(`a datagram of ${swarm.largestDatagram} bytes`)
}
