/** What a seed of whole agents is like: who is there, and which kinds of faults it has (swarm testing). */
import type { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'

export interface AgentPlan {
  /** Servers that begin together. */
  servers: number
  /** Servers that come later, while it runs. */
  later: number
  /** Agents that are no servers. */
  observers: number
  /** Every one of the first servers waits for all of them; else one does, and takes the others in. */
  allExpect: boolean
  /** Faults begin before there is a cluster. */
  early: boolean
  crashes: boolean
  powerLoss: boolean
  blackouts: boolean
  /** The process ends in order, without leaving. */
  stops: boolean
  /** It leaves in order; a leader hands its office over first. */
  leaves: boolean
  /** An agent comes back with an empty disk: a new id under the old name. */
  wipes: boolean
  /** An agent comes back on another address. */
  moves: boolean
  /** A bit of a server's log or snapshot is another when it comes back: a new id, everything else as it was. */
  rots: boolean
  partitions: boolean
  /** Whoever leads is cut off until another does, some times in a row: so the same one leads again, in the same life. */
  turns: boolean
  oneWay: boolean
  /** A way from one to another is stopped up for seconds: nothing is lost, everything comes late. */
  clogs: boolean
  pauses: boolean
  slowDisks: boolean
  diskErrors: boolean
  fullDisks: boolean
  drift: boolean
  weather: boolean
  breaks: boolean
  /** Who does not come back. */
  ends: 'all' | 'dead' | 'left'
  /** Between two faults, on average. */
  interval: Millis
}

export function drawAgentPlan(random: Random): AgentPlan {
  const maybe = () => random.chance(0.35)
  const servers = random.pick([1, 3, 3, 3, 5, 5])!
  return {
    servers,
    later: servers < 5 && random.chance(0.25) ? random.between(1, 2) : 0,
    observers: random.between(0, servers === 5 ? 2 : 3),
    allExpect: random.chance(0.3),
    early: random.chance(0.25),
    crashes: maybe(),
    powerLoss: maybe(),
    blackouts: random.chance(0.2),
    stops: maybe(),
    leaves: maybe(),
    wipes: maybe(),
    moves: random.chance(0.25),
    rots: random.chance(0.25),
    partitions: maybe(),
    turns: random.chance(0.25),
    oneWay: maybe(),
    clogs: random.chance(0.25),
    pauses: maybe(),
    slowDisks: maybe(),
    diskErrors: random.chance(0.15),
    fullDisks: random.chance(0.15),
    drift: random.chance(0.3),
    weather: maybe(),
    breaks: maybe(),
    ends: random.pick(['all', 'all', 'dead', 'left'])!,
    interval: random.between(500, 5000),
  }
}
