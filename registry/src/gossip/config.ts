/**
 * What a gossip pool can be tuned with, the values Consul gives it, and the formulas that scale them with the size of
 * the pool. Sizes count the members that take part (alive and suspect), ourselves included.
 */
import type { Millis } from '../model.ts'

export interface GossipConfig {
  /** One member is probed per interval (SWIM's protocol period); the whole probe, indirect part included, fits in it. */
  probeInterval: Millis
  /** How long the direct ping is waited for before others are asked. */
  probeTimeout: Millis
  /** How many others are asked to ping a member that did not answer (SWIM's k). */
  indirectProbes: number
  /** Pending news is sent this often, apart from riding on pings and acks … */
  gossipInterval: Millis
  /** … to this many random members, */
  gossipNodes: number
  /** among which are failed ones for this long, so that they hear of it and refute. */
  gossipToFailed: Millis
  /** The full state is exchanged with one random member this often (in pools of up to 32; see `pushPullScaled`). */
  pushPullInterval: Millis
  /** A join or a state exchange without an answer for this long has failed. */
  exchangeTimeout: Millis
  /** The shortest suspicion lasts suspicionMult * log10(size) probe intervals, */
  suspicionMult: number
  /** the longest this many times as long (Lifeguard). */
  suspicionMaxTimeoutMult: number
  /** News is sent retransmitMult * log10(size + 1) times. */
  retransmitMult: number
  /** The local health score stays below this (Lifeguard's saturation limit S, plus one). */
  awarenessMax: number
  /** A failed member may be tried again this often. */
  reconnectInterval: Millis
  /** Failed members are forgotten after this long, */
  failedReapTimeout: Millis
  /** and members that left after this long. */
  leftReapTimeout: Millis
  /** Strangers beyond so many members are not taken in: somebody is wrong or hostile, and would fill the memory. */
  membersMax: number
  /** A leave that nobody acknowledges is over after this long. */
  leaveTimeout: Millis
}

const hour = 3_600_000

/**
 * Consul's LAN pool: memberlist's DefaultLANConfig with Consul's multipliers, Serf's timings for the rest, and Consul's 72
 * hours for the failed. Consul 1.8.7 says the same of itself under DebugConfig of /v1/agent/self.
 */
export const lanConfig: GossipConfig = {
  probeInterval: 1_000,
  probeTimeout: 500,
  indirectProbes: 3,
  gossipInterval: 200,
  gossipNodes: 3,
  gossipToFailed: 30_000,
  pushPullInterval: 30_000,
  exchangeTimeout: 10_000,
  suspicionMult: 4,
  suspicionMaxTimeoutMult: 6,
  retransmitMult: 4,
  awarenessMax: 8,
  reconnectInterval: 30_000,
  failedReapTimeout: 72 * hour,
  leftReapTimeout: 24 * hour,
  membersMax: 20_000,
  leaveTimeout: 5_000,
}

/** Consul's WAN pool: slower probes, longer suspicion, time for round trips between continents. */
export const wanConfig: GossipConfig = {
  ...lanConfig,
  probeInterval: 5_000,
  probeTimeout: 3_000,
  gossipInterval: 500,
  gossipToFailed: 60_000,
  pushPullInterval: 60_000,
  exchangeTimeout: 30_000,
  suspicionMult: 6,
}

/**
 * Members that all run on one machine (memberlist's DefaultLocalConfig): nothing is lost, and a member that is silent for
 * a fifth of a second is not there. For `-dev`; Consul's own probes ten times a second then.
 */
export const localConfig: GossipConfig = {
  ...lanConfig,
  probeTimeout: 200,
  indirectProbes: 1,
  gossipInterval: 100,
  gossipToFailed: 15_000,
  pushPullInterval: 15_000,
  exchangeTimeout: 5_000,
  suspicionMult: 3,
  retransmitMult: 2,
}

/** How often one piece of news is sent: enough that the epidemic reaches everybody with high probability (SWIM §4.1). */
export function transmitLimit(retransmitMult: number, size: number): number {
  return retransmitMult * Math.ceil(Math.log10(size + 1))
}

/** How long a suspect has to speak up at least: grows with the time news needs to cross the pool (SWIM §4.2). */
export function suspicionTimeout(config: GossipConfig, size: number): Millis {
  return config.suspicionMult * Math.max(1, Math.log10(Math.max(1, size))) * config.probeInterval
}

/** Full exchanges cost more in larger pools: the interval grows by one step with each doubling above 32 members. */
export function pushPullScaled(interval: Millis, size: number): Millis {
  return size <= 32 ? interval : interval * (Math.ceil(Math.log2(size / 32)) + 1)
}
