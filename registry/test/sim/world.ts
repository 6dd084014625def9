/**
 * A world in one process: a clock that jumps from event to event, and for each node an `Io` whose disk and network fail.
 * The same seed gives the same run, because nothing here or in the nodes asks anything else for time or chance.
 */
import type { Channel, Io, LogLevel, Network, ProbeOutcome, ProbeRequest } from '../../src/io/io.ts'
import { aesGcm } from '../../src/io/node-cipher.ts'
import { Random } from '../../src/io/random.ts'
import type { Address, Millis } from '../../src/model.ts'
import { type DiskOperation, SimulatedDisk } from './disk.ts'
import { SimulatedNetwork } from './network.ts'

interface Event {
  at: Millis
  order: number
  run: () => void
}

export interface DiskFaults {
  /** How long a write or a sync takes. */
  delayMin: Millis
  delayMax: Millis
  /** How often an operation that changes something fails with EIO; the node must halt. */
  failure: number
  /** How often a read does. */
  readFailure?: number
  /** Nothing more can be written; what is there can be read and removed. */
  full?: boolean
}

export const quickDisk: DiskFaults = { delayMin: 0.05, delayMax: 0.5, failure: 0 }

export interface NodePlace {
  name: string
  disk: SimulatedDisk
  diskFaults: DiskFaults
  addresses: Partial<Record<Channel, Address>>
  /** How fast its clock runs from now on; its offset is chosen by chance. */
  rate: number
  /** What its monotonic clock says but for an offset that each life chooses. */
  readonly local: Millis
  /** How far its wall clock is off. */
  wallOffset: Millis
  /** Until then the process stands still: a stopped virtual machine, a garbage collection. May be moved while it does. */
  pausedUntil: Millis
  /** What waits for that, in the order in which it came. */
  held: (() => void)[]
  /** How much arrived during a pause and is not read yet. */
  backlog: number
  alive: boolean
  halted: Error | undefined
  life: number
  /** Called once, within the next operation that changes the disk. */
  atDisk: (() => void) | undefined
}

export class World {
  now: Millis = 0
  readonly random: Random
  readonly network: SimulatedNetwork
  readonly nodes = new Map<string, NodePlace>()
  readonly lines: string[] = []
  /** Scripted results of checks. */
  probe: (node: string, request: ProbeRequest) => ProbeOutcome = () => ({ status: 'passing', output: '' })
  /** Called when a node halts itself; default: nothing, it is down. */
  onHalt: (node: string, reason: Error) => void = () => {}
  /** Keep log lines. */
  logging: boolean
  /** Of everything that happened so far, and when: the same seed gives the same number. */
  fingerprint = 0

  readonly #events: Event[] = []
  #order = 0
  /** hono needs up to three turns of the real loop for a request in process; promises alone need none. */
  readonly #settleTurns: number

  constructor(seed: number, options: { logging?: boolean; settleTurns?: number } = {}) {
    this.#settleTurns = options.settleTurns ?? 0
    this.random = new Random(seed)
    this.logging = options.logging ?? false
    this.network = new SimulatedNetwork({
      now: () => this.now,
      at: (time, run) => this.at(time, run),
      random: new Random(this.random.word()),
    })
  }

  /** A machine with a disk and addresses; no process runs on it yet. */
  place(name: string, addresses: NodePlace['addresses']): NodePlace {
    const world = this
    let [rate, since, local] = [1, this.now, 0]
    let pausedUntil = 0
    const place: NodePlace = {
      name,
      disk: new SimulatedDisk(new Random(this.random.word())),
      diskFaults: quickDisk,
      addresses,
      get rate() {
        return rate
      },
      set rate(wanted: number) {
        local = place.local
        since = world.now
        rate = wanted
      },
      get local() {
        return local + (world.now - since) * rate
      },
      wallOffset: 0,
      get pausedUntil() {
        return pausedUntil
      },
      set pausedUntil(wanted: Millis) {
        pausedUntil = wanted
        if (wanted <= world.now) world.#wake(place)
      },
      held: [],
      backlog: 0,
      alive: false,
      halted: undefined,
      life: 0,
      atDisk: undefined,
    }
    this.nodes.set(name, place)
    return place
  }

  /** The doors of a new life of the node. */
  boot(name: string): Io {
    const place = this.#place(name)
    place.life++
    place.alive = true
    place.halted = undefined
    place.pausedUntil = 0
    place.backlog = 0
    place.atDisk = undefined
    const { life } = place
    const current = () => place.alive && place.life === life
    const offset = this.random.between(0, 1_000_000) - place.local
    return {
      clock: {
        now: () => offset + place.local,
        wall: () => 1_700_000_000_000 + place.wallOffset + this.now,
      },
      random: new Random(this.random.word()),
      cipher: aesGcm(chanceOf(offset)),
      disk: place.disk.open((operation) => this.#diskTurn(place, operation)),
      network: this.#afterPauses(name, this.network.open(name, place.addresses)),
      probe: async (request) => this.probe(name, request),
      log: (level: LogLevel, area, message, fields) => {
        if (!this.logging || level === 'trace') return
        const extra = fields === undefined ? '' : ` ${JSON.stringify(fields)}`
        this.lines.push(`${this.now.toFixed(1).padStart(9)} ${name} [${level}] ${area}: ${message}${extra}`)
      },
      turn: () => new Promise((resolve) => this.#nodeAt(place, this.now, resolve)),
      halt: (reason) => {
        if (!current()) return
        this.note(`${name} halted: ${reason.message}`)
        place.halted = reason
        this.crash(name, true)
        this.onHalt(name, reason)
      },
    }
  }

  /** What arrives while the process stands still is read afterwards, in the same order. */
  #afterPauses(name: string, network: Network): Network {
    const place = this.#place(name)
    const later = (run: () => void) => {
      if (place.pausedUntil > this.now || place.backlog > 0) {
        place.backlog++
        this.#nodeAt(place, this.now, () => {
          place.backlog--
          run()
        })
      } else run()
    }
    return {
      ...network,
      onDatagram: (channel, receive) => network.onDatagram(channel, (bytes) => later(() => receive(bytes))),
      onFrame: (channel, receive) => network.onFrame(channel, (bytes, reply) => later(() => receive(bytes, reply))),
      onLost: (channel, lost) => network.onLost(channel, (to, reason) => later(() => lost(to, reason))),
    }
  }

  /** The process is gone at once. `keepCache`: the machine lives on, and with it what was written but not synced. */
  crash(name: string, keepCache: boolean): void {
    const place = this.#place(name)
    place.alive = false
    place.disk.crash(keepCache)
    this.network.close(name)
  }

  /** Runs later, unless that life of the node is over; during a pause it waits for the pause to end. */
  nodeAt(name: string, time: Millis, run: () => void): void {
    this.#nodeAt(this.#place(name), time, run)
  }

  #nodeAt(place: NodePlace, time: Millis, run: () => void): void {
    const { life } = place
    const step = () => {
      if (!place.alive || place.life !== life) return
      if (place.pausedUntil > this.now) this.#hold(place, step)
      else run()
    }
    this.at(time, step)
  }

  #hold(place: NodePlace, step: () => void): void {
    place.held.push(step)
    if (place.held.length === 1) this.at(place.pausedUntil, () => this.#wake(place))
  }

  /** The pause may be over: what was held happens, in the same order. */
  #wake(place: NodePlace): void {
    if (place.held.length === 0) return
    if (place.pausedUntil > this.now) {
      this.at(place.pausedUntil, () => this.#wake(place))
      return
    }
    const { held } = place
    place.held = []
    for (const step of held) this.at(this.now, step)
  }

  /** Ticks a node every `interval` of its own clock as long as it lives. */
  every(name: string, interval: Millis, tick: () => void): void {
    const place = this.#place(name)
    const next = () => {
      tick()
      this.#nodeAt(place, this.now + interval / place.rate, next)
    }
    this.#nodeAt(place, this.now + this.random.fraction() * interval, next)
  }

  at(time: Millis, run: () => void): void {
    push(this.#events, { at: Math.max(time, this.now), order: this.#order++, run })
  }

  after(delay: Millis, run: () => void): void {
    this.at(this.now + delay, run)
  }

  /** How much is going to happen, as far as is known. */
  get pending(): number {
    return this.#events.length
  }

  /** Resolves after so much time of this world. */
  sleep(delay: Millis): Promise<void> {
    return new Promise((resolve) => this.after(delay, resolve))
  }

  note(line: string): void {
    if (this.logging) this.lines.push(`${this.now.toFixed(1).padStart(9)} ${line}`)
  }

  /** Lets everything happen up to `time`. */
  async runUntil(time: Millis): Promise<void> {
    const patience = Math.max(0, time - this.now)
    await this.runWhile(() => true, patience, patience)
  }

  runFor(duration: Millis): Promise<void> {
    return this.runUntil(this.now + duration)
  }

  /**
   * Lets time pass until `condition` holds no more, at most `patience`; it is looked at every `step`. Resolves to whether
   * it came to that. One call at a time.
   */
  runWhile(condition: () => boolean, patience: Millis, step: Millis = 10): Promise<boolean> {
    const end = this.now + patience
    if (this.#settleTurns > 0) return this.#runSlowly(condition, end, step)
    return new Promise((resolve, reject) => {
      // A turn of its own: within a chain of promises the others would stand still.
      setImmediate(() => {
        try {
          while (condition()) {
            if (this.now >= end) {
              resolve(false)
              return
            }
            const next = Math.min(end, this.now + step)
            while (this.#happens(next)) settle()
          }
          resolve(true)
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  async #runSlowly(condition: () => boolean, end: Millis, step: Millis): Promise<boolean> {
    while (condition()) {
      if (this.now >= end) return false
      const next = Math.min(end, this.now + step)
      while (this.#happens(next)) for (let turns = 0; turns < this.#settleTurns; turns++) await turn()
    }
    return true
  }

  /** The next event up to `time`; false: there is none, and it is `time`. */
  #happens(time: Millis): boolean {
    const next = this.#events[0]
    if (next === undefined || next.at > time) {
      this.now = Math.max(this.now, time)
      return false
    }
    pop(this.#events)
    this.now = Math.max(this.now, next.at)
    this.fingerprint = Math.imul(this.fingerprint ^ Math.floor(this.now * 4096) ^ next.order, 0x01000193)
    next.run()
    return true
  }

  #diskTurn(place: NodePlace, operation: DiskOperation): Promise<void> {
    const { delayMin, delayMax } = place.diskFaults
    const modifies = operation !== 'read' && operation !== 'list' && operation !== 'lock'
    const delay = modifies ? delayMin + this.random.fraction() * (delayMax - delayMin) : 0.01
    if (modifies && place.atDisk !== undefined) {
      this.at(this.now + this.random.fraction() * delay, place.atDisk)
      place.atDisk = undefined
    }
    return new Promise<void>((resolve, reject) => {
      this.#nodeAt(place, this.now + delay, () => {
        // As the disk is by now.
        const { failure, readFailure = 0, full } = place.diskFaults
        if (full === true && operation === 'write') {
          reject(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }))
        } else if (this.#fails(modifies ? failure : operation === 'read' ? readFailure : 0)) {
          reject(Object.assign(new Error(`EIO: i/o error, ${operation}`), { code: 'EIO' }))
        } else resolve()
      })
    })
  }

  #fails(chance: number): boolean {
    return chance > 0 && this.random.chance(chance)
  }

  #place(name: string): NodePlace {
    const place = this.nodes.get(name)
    if (place === undefined) throw new Error(`no node is called ${name}`)
    return place
  }
}

/**
 * Every chain of promises that waits for nothing else goes to its end, here and now: what Node does between two of its
 * own events, without waiting for one (a turn of the loop costs ten times as much). Does nothing within such a chain.
 */
const settle = (process as typeof process & { _tickCallback(): void })._tickCallback

/** A turn of the real loop: every chain of promises that waits for nothing else has ended when it comes. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** For the nonces of one life: the real cipher, with chance that the seed decides and that takes none from anybody else. */
function chanceOf(seed: number): (bytes: Uint8Array) => void {
  const random = new Random(seed)
  return (bytes) => {
    for (let at = 0; at < bytes.length; at++) bytes[at] = random.word()
  }
}

function before(one: Event, other: Event): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order)
}

function push(heap: Event[], event: Event): void {
  let at = heap.length
  heap.push(event)
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!before(event, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = event
}

function pop(heap: Event[]): Event | undefined {
  const first = heap[0]
  const last = heap.pop()
  if (first === undefined || last === undefined || heap.length === 0) return first
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
    if (!before(heap[child]!, last)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = last
  return first
}
