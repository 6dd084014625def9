/**
 * A pool of gossiping processes on a simulated network, for tests: deterministic by seed, as fast as it computes. The
 * network loses, delays and repeats datagrams; frames arrive or fail; hosts can be cut off, killed, paused.
 */

import { Gossip, type GossipConfig, type GossipEvent, lanConfig } from '../../src/gossip/gossip.ts'
import { decodePacket } from '../../src/gossip/message.ts'
import { Random } from '../../src/io/random.ts'
import type { Address, Member, Millis } from '../../src/model.ts'

export interface Weather {
  /** Chance that a datagram is lost, and that it arrives twice. */
  loss: number
  repeat: number
  /** Chance that a frame fails, and with it the connection. */
  frameLoss: number
  /** Delay of a datagram or frame, between these. */
  delay: readonly [Millis, Millis]
}

export const fairWeather: Weather = { loss: 0, repeat: 0, frameLoss: 0, delay: [1, 5] }

export interface Process {
  name: string
  address: Address
  gossip: Gossip
  /** running; paused: nothing happens, messages wait; stopped: gone for good. */
  state: 'running' | 'paused' | 'stopped'
  inbox: (() => void)[]
  events: { at: Millis; event: GossipEvent }[]
}

export interface ProcessOptions {
  address?: Address
  tags?: Record<string, string>
  incarnation?: number
  allow?: (name: string, tags: Record<string, string>) => string | undefined
}

interface Due {
  at: Millis
  order: number
  run: () => void
}

/** How long a connection to a host that swallows packets takes to fail. */
const connectTimeout = 3_000
const tickInterval = 100

export class Pool {
  readonly random: Random
  readonly config: GossipConfig
  weather: Weather
  /** True: packets between the two do not get through. */
  cut: (a: Process, b: Process) => boolean = () => false
  /** What a datagram takes from one to the other, besides the weather. */
  way: (from: Process, to: Process) => Millis = () => 0
  now: Millis = 1_000_000
  datagramsSent = 0
  largestDatagram = 0
  /** Frames that tell a whole table. */
  stateFrames = 0
  /** Sees all that is sent. */
  onPacket: (bytes: Uint8Array) => void = () => {}
  readonly processes: Process[] = []
  readonly #due: Due[] = []
  #order = 0
  #attempts = 0

  constructor(seed: number, options: { config?: Partial<GossipConfig>; weather?: Partial<Weather> } = {}) {
    this.random = new Random(seed)
    this.config = { ...lanConfig, ...options.config }
    this.weather = { ...fairWeather, ...options.weather }
  }

  /** Starts a process; without an address it gets one of its own. The tag `id` tells its lives apart. */
  start(name: string, options: ProcessOptions = {}): Process {
    const count = this.processes.length + 1
    const address = options.address ?? { host: `10.0.${count >> 8}.${count & 255}`, port: 8301 }
    const gossip = new Gossip(
      {
        name,
        address,
        tags: options.tags ?? { id: `${name}-${count}` },
        config: this.config,
        random: new Random(this.random.word()),
        ...(options.incarnation === undefined ? {} : { incarnation: options.incarnation }),
        ...(options.allow === undefined ? {} : { allow: options.allow }),
      },
      this.now,
    )
    const process: Process = { name, address, gossip, state: 'running', inbox: [], events: [] }
    this.processes.push(process)
    this.flush(process)
    this.#later(this.random.between(0, tickInterval), () => this.#tick(process))
    return process
  }

  /** Starts `count` members named m1, m2 … and joins all to the first. */
  startJoined(count: number): Process[] {
    const started = Array.from({ length: count }, (_, place) => this.start(`m${place + 1}`))
    for (const process of started.slice(1)) this.join(process, started[0] as Process)
    return started
  }

  join(process: Process, to: Process | Address): number {
    const attempt = ++this.#attempts
    this.act(process, (gossip) => gossip.join(attempt, 'address' in to ? to.address : to, this.now))
    return attempt
  }

  act(process: Process, action: (gossip: Gossip) => void): void {
    action(process.gossip)
    this.flush(process)
  }

  stop(process: Process): void {
    process.state = 'stopped'
    process.inbox = []
  }

  pause(process: Process): void {
    process.state = 'paused'
  }

  /** The first thing a process does when it wakes up is the tick that was due; then it finds its messages. */
  resume(process: Process): void {
    process.state = 'running'
    this.act(process, (gossip) => gossip.tick(this.now))
    const inbox = process.inbox
    process.inbox = []
    for (const receive of inbox) receive()
  }

  /** Members of different groups do not hear each other. */
  partition(...groups: Process[][]): void {
    const groupOf = (process: Process) => groups.findIndex((group) => group.includes(process))
    this.cut = (a, b) => groupOf(a) !== groupOf(b)
  }

  heal(): void {
    this.cut = () => false
  }

  get running(): Process[] {
    return this.processes.filter((process) => process.state === 'running')
  }

  /** Lets time pass. */
  run(span: Millis): void {
    const until = this.now + span
    for (let first = this.#due[0]; first !== undefined && first.at <= until; first = this.#due[0]) this.#step()
    this.now = until
  }

  /** Lets time pass until the state is reached; how long that took. @throws when it is not within `limit` */
  until(reached: () => boolean, limit: Millis, what = 'the state'): Millis {
    const begin = this.now
    while (!reached()) {
      if (this.now - begin > limit) throw new Error(`${what} was not reached within ${limit} ms\n${this.views()}`)
      this.run(50)
    }
    return this.now - begin
  }

  /** All running processes hold the same view, in which they are alive and all others have failed or left. */
  converged(): boolean {
    const running = this.running
    const names = new Set(running.map((process) => process.name))
    const view = (members: Member[]) =>
      members
        .map(({ name, status, incarnation, tags }) => {
          return `${name} ${status} ${incarnation} ${status === 'alive' ? JSON.stringify(tags) : ''}`
        })
        .join('\n')
    const first = running[0]
    if (first === undefined) return true
    const alive = ({ gossip }: Process) => gossip.members().filter(({ status }) => status === 'alive').length
    if (running.some((process) => alive(process) !== names.size)) return false
    const expected = view(first.gossip.members())
    return running.every(({ gossip }) => {
      const members = gossip.members()
      return (
        view(members) === expected &&
        members.every(({ name, status }) => status !== 'suspect' && (status === 'alive') === names.has(name))
      )
    })
  }

  /** What everybody (of the first few) thinks of everybody, for messages. */
  views(): string {
    const view = ({ name, gossip }: Process) =>
      `${name}: ${gossip
        .members()
        .map((member) => `${member.name}=${member.status}@${member.incarnation}`)
        .join(' ')}`
    return this.running.slice(0, 8).map(view).join('\n').slice(0, 3_000)
  }

  flush(process: Process): void {
    const { datagrams, frames, events } = process.gossip.ready()
    for (const event of events) process.events.push({ at: this.now, event })
    for (const { to, bytes } of datagrams) this.#datagram(process, to, bytes)
    for (const { to, replyTo, bytes } of frames) {
      this.onPacket(bytes)
      if (decodePacket(bytes).some(({ type }) => type === 'state')) this.stateFrames++
      if (to === undefined) this.#deliver(process, replyTo as Process, bytes, process)
      else this.#frame(process, to, bytes)
    }
  }

  #datagram(from: Process, to: Address, bytes: Uint8Array): void {
    this.datagramsSent++
    this.onPacket(bytes)
    this.largestDatagram = Math.max(this.largestDatagram, bytes.length)
    if (this.random.chance(this.weather.loss)) return
    const copies = this.random.chance(this.weather.repeat) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      const there = this.#at(to)
      const way = there === undefined ? 0 : this.way(from, there)
      this.#later(this.#delay() + way, () => {
        const target = this.#at(to)
        if (target !== undefined && !this.cut(from, target)) this.#receive(target, bytes, undefined)
      })
    }
  }

  #frame(from: Process, to: Address, bytes: Uint8Array): void {
    const target = this.#at(to)
    const failed = () => {
      if (from.state !== 'stopped') this.#hand(from, () => from.gossip.frameFailed(to, this.now))
    }
    if (target === undefined || this.random.chance(this.weather.frameLoss)) this.#later(this.#delay(), failed)
    else if (this.cut(from, target)) this.#later(connectTimeout, failed)
    else this.#deliver(from, target, bytes, from)
  }

  #deliver(from: Process, to: Process, bytes: Uint8Array, replyTo: Process): void {
    this.#later(this.#delay(), () => {
      if (!this.cut(from, to)) this.#receive(to, bytes, replyTo)
    })
  }

  #receive(process: Process, bytes: Uint8Array, replyTo: Process | undefined): void {
    this.#hand(process, () => process.gossip.receive(bytes, this.now, replyTo))
  }

  #hand(process: Process, receive: () => void): void {
    const whole = () => {
      receive()
      this.flush(process)
    }
    if (process.state === 'running') whole()
    else if (process.state === 'paused' && process.inbox.length < 10_000) process.inbox.push(whole)
  }

  #tick(process: Process): void {
    if (process.state === 'stopped') return
    if (process.state === 'running') this.act(process, (gossip) => gossip.tick(this.now))
    this.#later(tickInterval, () => this.#tick(process))
  }

  #at(address: Address): Process | undefined {
    return this.processes.find(
      (process) =>
        process.state !== 'stopped' && process.address.host === address.host && process.address.port === address.port,
    )
  }

  #delay(): Millis {
    return this.random.between(...this.weather.delay)
  }

  // A binary heap by time, then by order of scheduling.

  #later(delay: Millis, run: () => void): void {
    const heap = this.#due
    heap.push({ at: this.now + delay, order: this.#order++, run })
    let child = heap.length - 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!before(heap[child] as Due, heap[parent] as Due)) break
      ;[heap[child], heap[parent]] = [heap[parent] as Due, heap[child] as Due]
      child = parent
    }
  }

  #step(): void {
    const heap = this.#due
    const first = heap[0] as Due
    const last = heap.pop() as Due
    if (heap.length > 0) {
      heap[0] = last
      for (let parent = 0; ; ) {
        let least = parent
        for (const child of [2 * parent + 1, 2 * parent + 2]) {
          if (child < heap.length && before(heap[child] as Due, heap[least] as Due)) least = child
        }
        if (least === parent) break
        ;[heap[parent], heap[least]] = [heap[least] as Due, heap[parent] as Due]
        parent = least
      }
    }
    this.now = Math.max(this.now, first.at)
    first.run()
  }
}

function before(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
