/**
 * What is asked of a large pool, and what theory promises: how soon a crash is known to nearly all, whether anybody is
 * taken for dead who is not, and what a member sends. The same questions in CI with a hundred members, and by
 * `scripts/swarm.ts` with thousands.
 */

import { suspicionTimeout, transmitLimit } from '../../src/gossip/config.ts'
import type { GossipConfig } from '../../src/gossip/gossip.ts'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { nameOf, Swarm, type SwarmOptions } from './swarm.ts'

/** One member in so many is paused each second. */
const pausedEach = 500

export interface PeaceOptions extends SwarmOptions {
  span: Millis
  /** Members are paused at random for up to so long. Default 0: none. */
  pauseMax?: Millis
  /** The loss changes from one of these to the next. */
  losses?: readonly number[]
  /** … every so often. */
  lossLasts?: Millis
  onMinute?: (minute: number, soFar: Peace) => void
}

/** What became of a pool in which nobody dies. */
export interface Peace {
  /** How often a member took another for dead, and the first few times: who, whom, when. */
  falseDeaths: number
  first: string[]
  pauses: number
  /** How many members, together, believed a suspicion. */
  suspicions: number
  /** Each for one member and second. */
  datagrams: number
  datagramBytes: number
  frames: number
  frameBytes: number
  largestDatagram: number
}

/** Lets a pool live for a while in which nobody dies. */
export function peace(options: PeaceOptions): Peace {
  const { nodes, seed, span, pauseMax = 0, losses = [options.loss ?? 0], lossLasts = 300_000 } = options
  const random = new Random(seed + 1)
  const swarm = new Swarm(options)
  const began = swarm.now
  const first: string[] = []
  let [falseDeaths, pauses, suspicions] = [0, 0, 0]
  swarm.onEvent = (event, of, now) => {
    if (event.type === 'suspect') suspicions++
    if (event.type !== 'failed') return
    falseDeaths++
    if (first.length < 5) first.push(`${nameOf(of)} took ${event.member.name} for dead after ${now - began} ms`)
  }
  // Everybody has said once that it is there.
  swarm.run(20_000)
  const before = { ...swarm.traffic }
  const started = swarm.now
  const result = (): Peace => {
    const memberSeconds = (nodes * Math.max(1, swarm.now - started)) / 1_000
    return {
      falseDeaths,
      first,
      pauses,
      suspicions,
      datagrams: (swarm.traffic.datagrams - before.datagrams) / memberSeconds,
      datagramBytes: (swarm.traffic.datagramBytes - before.datagramBytes) / memberSeconds,
      frames: (swarm.traffic.frames - before.frames) / memberSeconds,
      frameBytes: (swarm.traffic.frameBytes - before.frameBytes) / memberSeconds,
      largestDatagram: swarm.largestDatagram,
    }
  }
  for (let second = 0; second * 1_000 < span; second++) {
    swarm.loss = losses[Math.floor((second * 1_000) / lossLasts) % losses.length] as number
    if (pauseMax > 0) {
      const expected = nodes / pausedEach
      const count = Math.floor(expected) + (random.chance(expected % 1) ? 1 : 0)
      for (let pause = 0; pause < count; pause++) {
        if (swarm.pause(random.between(0, nodes - 1), random.between(1, pauseMax))) pauses++
      }
    }
    swarm.run(1_000)
    if (second % 60 === 59) options.onMinute?.((second + 1) / 60, result())
  }
  return result()
}

/** How long it took, from each event that somebody fired, until 99 % of the members and until all had heard of it. */
export interface Spread {
  most: Millis[]
  all: Millis[]
  /** Reported a second time, by anybody. */
  twice: number
  largestDatagram: number
}

/** Members fire user events, one after the other. @throws Error when one has not reached everybody within ten minutes */
export function spread(options: SwarmOptions & { events: number }): Spread {
  const { nodes, seed } = options
  const random = new Random(seed + 1)
  const swarm = new Swarm(options)
  const result: Spread = { most: [], all: [], twice: 0, largestDatagram: 0 }
  const heard = new Map<string, Millis[]>()
  const reported = new Set<string>()
  swarm.onEvent = (event, of, now) => {
    if (event.type !== 'userEvent') return
    const { id } = event.event
    if (reported.has(`${of} ${id}`)) result.twice++
    reported.add(`${of} ${id}`)
    heard.get(id)?.push(now)
  }
  swarm.run(20_000)
  for (let event = 0; event < options.events; event++) {
    swarm.run(random.between(1, 1_000))
    const id = String(event)
    const times: Millis[] = []
    heard.set(id, times)
    const began = swarm.now
    const filters = { nodeFilter: '', serviceFilter: '', tagFilter: '' }
    swarm.fire(random.between(0, nodes - 1), { id, name: 'deploy', payload: new Uint8Array(100), ...filters })
    while (times.length < nodes) {
      if (swarm.now - began > 600_000) throw new Error(`event ${id} reached ${times.length} of ${nodes} in ten minutes`)
      swarm.run(100)
    }
    const sorted = times.toSorted((a, b) => a - b)
    result.most.push((sorted[Math.ceil(0.99 * nodes) - 1] as Millis) - began)
    result.all.push((sorted.at(-1) as Millis) - began)
  }
  result.largestDatagram = swarm.largestDatagram
  return result
}

export interface CrashOptions extends SwarmOptions {
  crashes: number
}

/** How long it took, from each crash, until the first and until 99 % of the others held the crashed for dead. */
export interface Crashes {
  first: Millis[]
  most: Millis[]
  falseDeaths: number
  largestDatagram: number
}

/** Members crash one after the other. @throws Error when one is not known dead within ten times the bound */
export function crashes(options: CrashOptions): Crashes {
  const { nodes, seed } = options
  const random = new Random(seed + 1)
  const swarm = new Swarm(options)
  const dead = new Set<string>()
  let falseDeaths = 0
  let victim = ''
  const heard: Millis[] = []
  swarm.onEvent = (event, _of, now) => {
    if (event.type !== 'failed') return
    if (event.member.name === victim) heard.push(now)
    if (!dead.has(event.member.name)) falseDeaths++
  }
  swarm.run(20_000)
  const result: Crashes = { first: [], most: [], falseDeaths: 0, largestDatagram: 0 }
  const bound = crashBound(swarm.config, nodes, swarm.loss).bound
  for (const place of random.shuffle(swarm.processes.map((_, place) => place)).slice(0, options.crashes)) {
    // At any moment of a probe round.
    swarm.run(random.between(0, 2_000))
    heard.length = 0
    victim = nameOf(place)
    dead.add(victim)
    swarm.stop(place)
    const crashed = swarm.now
    const wanted = Math.ceil(0.99 * (nodes - dead.size))
    while (heard.length < wanted) {
      if (swarm.now - crashed > 10 * bound) throw new Error(`${victim} is known dead to ${heard.length} of ${nodes}`)
      swarm.run(100)
    }
    result.first.push((heard[0] as Millis) - crashed)
    result.most.push((heard[wanted - 1] as Millis) - crashed)
  }
  result.falseDeaths = falseDeaths
  result.largestDatagram = swarm.largestDatagram
  return result
}

/** How much later than a message of theory everything happens here: each of its steps waits for a tick and travels. */
const stepSlack: Millis = 105

/**
 * How soon 99 % should hold a crashed member for dead.
 *
 * - *Probe.* In a period T each of n members probes one, so the crashed is probed by nobody with chance
 *   (1 - 1/(n-1))^(n-1), nearly 1/e: the first probe comes after 1/(1 - 1/e) periods in the mean (SWIM §3.1), and with
 *   99 % certainty within ln 100 = 4.6 of them. It takes one period to fail.
 * - *Suspicion.* suspicionMult - 2 others confirm it, one more each period in the mean, long before the shortest
 *   time-out suspicionMult * log10(n) * T, which therefore applies (Lifeguard §IV-B).
 * - *Spread.* Who knows tells gossipNodes others each gossip interval, of which a share p is lost: everybody knows after
 *   log n / log(1 + f(1-p)) + ln n / (f(1-p)) intervals nearly surely (Pittel 1987), within the retransmitMult * log10(n+1)
 *   times that each tells it. Most began to suspect as early as that, and need not be told.
 */
export function crashBound(
  config: GossipConfig,
  nodes: number,
  loss: number,
): { mean: Millis; bound: Millis; parts: Record<string, Millis> } {
  const told = config.gossipNodes * (1 - loss)
  const rounds = Math.log(nodes) / Math.log(1 + told) + Math.log(nodes) / told
  const tellings = transmitLimit(config.retransmitMult, nodes) / config.gossipNodes
  const parts = {
    probeMean: config.probeInterval / (1 - 1 / Math.E),
    probe99: Math.log(100) * config.probeInterval,
    failing: config.probeInterval,
    suspicion: suspicionTimeout(config, nodes),
    spread: Math.max(rounds, tellings) * config.gossipInterval,
    slack: 4 * stepSlack,
  }
  const rest = parts.failing + parts.suspicion + parts.spread + parts.slack
  return { mean: parts.probeMean + rest, bound: parts.probe99 + rest, parts }
}
