/** What goes wrong among agents, and when. Each seed draws which kinds of faults it has (swarm testing). */
import type { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { type Agents, votersOf } from './agents.ts'
import { Violation } from './checkers.ts'
import { calm } from './network.ts'
import { quickDisk, type World } from './world.ts'

export interface AgentPlan {
  /** Faults begin before there is a cluster. */
  early: boolean
  crashes: boolean
  powerLoss: boolean
  blackouts: boolean
  /** The process ends in order, without leaving. */
  stops: boolean
  leaves: boolean
  /** An agent comes back with an empty disk: a new id under the old name. */
  wipes: boolean
  /** A bit of a server's log or snapshot is another when it comes back: a new id, everything else as it was. */
  rots: boolean
  partitions: boolean
  oneWay: boolean
  pauses: boolean
  slowDisks: boolean
  diskErrors: boolean
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
  return {
    early: random.chance(0.25),
    crashes: maybe(),
    powerLoss: maybe(),
    blackouts: random.chance(0.2),
    stops: maybe(),
    leaves: maybe(),
    wipes: maybe(),
    rots: random.chance(0.25),
    partitions: maybe(),
    oneWay: maybe(),
    pauses: maybe(),
    slowDisks: maybe(),
    diskErrors: random.chance(0.15),
    drift: random.chance(0.3),
    weather: maybe(),
    breaks: maybe(),
    ends: random.pick(['all', 'all', 'dead', 'left'])!,
    interval: random.between(500, 5000),
  }
}

/** What heals takes so long at most: gossip tries the failed again every 30 s, and detection takes as long. */
export const healWithin: Millis = 60_000

export interface NemesisOptions {
  world: World
  agents: Agents
  random: Random
  plan: AgentPlan
  onWipe: (name: string) => void
  /** What the agents do not agree about. */
  missing: () => string | undefined
}

export class AgentNemesis {
  readonly #options: NemesisOptions
  #active = true
  readonly #leaving = new Set<string>()

  constructor(options: NemesisOptions) {
    this.#options = options
  }

  /** Before the nodes start: clocks keep their rate for a life. */
  prepare(): void {
    const { world, random, plan } = this.#options
    if (plan.drift) for (const place of world.nodes.values()) place.rate = 0.75 + random.fraction() * 0.65
  }

  begin(): void {
    const { world, random, plan } = this.#options
    if (plan.weather) {
      world.network.faults = {
        loss: random.fraction() * 0.3,
        duplicate: random.fraction() * 0.3,
        delayMin: 0.2,
        delayMax: random.pick([2, 20, 100])!,
        tail: random.chance(0.5) ? 0.01 : 0,
        tailMax: 2000,
      }
    }
    if (plan.slowDisks || plan.blackouts) {
      const delayMax = random.pick([0.5, 10, 40])!
      for (const place of world.nodes.values()) {
        place.diskFaults = { ...place.diskFaults, delayMin: delayMax / 10, delayMax }
      }
    }
    if (plan.diskErrors) {
      for (const place of world.nodes.values()) place.diskFaults = { ...place.diskFaults, failure: 0.001 }
    }
    this.#next()
  }

  /** Everything is well again, but for one agent that stays away when the plan says so. */
  async end(): Promise<void> {
    const { world, agents, plan, random } = this.#options
    this.#active = false
    world.network.heal()
    world.network.faults = calm
    for (const place of world.nodes.values()) {
      place.diskFaults = quickDisk
      place.pausedUntil = Math.min(place.pausedUntil, world.now)
    }
    for (const { name } of agents.stations.values()) if (!agents.isUp(name)) agents.start(name)
    if (plan.ends === 'all') return
    // Two of three servers are a majority: one may be missing, when all three were there.
    const missing = () => (this.#isWhole() ? this.#options.missing() : 'the servers do not all vote')
    if (!(await world.runWhile(() => missing() !== undefined, healWithin, 200))) {
      throw new Violation(`${healWithin} ms after all healed: ${missing()}`)
    }
    const victim = random.pick([...agents.stations.values()])!
    world.note(`${victim.name} goes for good: ${plan.ends}`)
    victim.gone = plan.ends
    if (plan.ends === 'dead') agents.down(victim.name, true)
    else {
      let left = false
      void agents.leave(victim.name).then(() => {
        left = true
      })
      await world.runWhile(() => !left, 10_000)
    }
  }

  #next(): void {
    const { world, random, plan } = this.#options
    world.after(random.fraction() * 2 * plan.interval, () => {
      if (!this.#active) return
      this.#act()
      this.#next()
    })
  }

  #act(): void {
    const { world, agents, random, plan } = this.#options
    const kinds = (Object.keys(plan) as (keyof AgentPlan)[]).filter((kind) => plan[kind] === true)
    const names = [...agents.stations.keys()]
    const leader = agents.leader()?.name
    const victim = leader !== undefined && random.chance(0.35) ? leader : random.pick(names)!
    const others = names.filter((name) => name !== victim)
    const kind = random.pick(kinds)
    switch (kind) {
      case 'crashes':
      case 'powerLoss':
        if (agents.isUp(victim)) this.#crash(victim, kind === 'crashes')
        return
      case 'blackouts':
        for (const name of random.shuffle(names).slice(0, random.between(2, names.length))) {
          if (agents.isUp(name)) this.#crash(name, false)
        }
        return
      case 'stops':
        void agents.stop(victim).then(() => this.#comeBack(victim))
        return
      case 'leaves':
        if (!this.#maySpare(victim)) return
        this.#leaving.add(victim)
        void agents.leave(victim).then(() => {
          this.#leaving.delete(victim)
          this.#comeBack(victim)
        })
        return
      case 'wipes':
        if (!this.#maySpare(victim)) return
        world.note(`${victim} is wiped`)
        agents.down(victim, true)
        world.nodes.get(victim)!.disk.wipe()
        this.#options.onWipe(victim)
        this.#comeBack(victim)
        return
      case 'rots': {
        if (!agents.station(victim).server || !this.#maySpare(victim)) return
        agents.down(victim, false)
        const place = world.nodes.get(victim)!.disk.rot()
        world.note(
          `${victim} loses power${place === undefined ? '' : `, a bit of ${place.file} at ${place.offset} rots`}`,
        )
        this.#comeBack(victim)
        return
      }
      case 'partitions': {
        world.network.heal()
        if (random.chance(0.3)) return
        const shuffled = random.shuffle(names)
        const size = random.between(1, names.length - 1)
        const groups = random.chance(0.5) ? [[victim], others] : [shuffled.slice(0, size), shuffled.slice(size)]
        world.note(`partition: ${groups.map((group) => group.join(' ')).join(' | ')}`)
        world.network.partition(groups)
        return
      }
      case 'oneWay': {
        world.network.heal()
        if (random.chance(0.3)) return
        const target = random.pick(others)!
        const mute = random.chance(0.5)
        world.note(`one way: ${victim} ${mute ? 'is not heard' : `does not reach ${target}`}`)
        for (const other of mute ? others : [target]) world.network.cut(victim, other)
        return
      }
      case 'pauses': {
        const duration = random.pick([200, 1200, 3000, 12_000])!
        world.note(`${victim} stands still for ${duration} ms`)
        world.nodes.get(victim)!.pausedUntil = world.now + duration
        // When it wakes up it has not even been told that it was deposed.
        if (plan.partitions && random.chance(0.3)) world.network.partition([[victim], others])
        return
      }
      case 'slowDisks': {
        const delayMax = random.pick([0.5, 5, 50, 400])!
        const place = world.nodes.get(victim)!
        place.diskFaults = { ...place.diskFaults, delayMin: delayMax / 10, delayMax }
        world.note(`the disk of ${victim} takes up to ${delayMax} ms`)
        return
      }
      case 'breaks':
        world.network.breakConnections(0.5)
        return
      case 'diskErrors':
        for (const name of names) if (!agents.isUp(name)) this.#restart(name)
        return
      default:
        return
    }
  }

  /**
   * Whether an agent may leave or lose its disk without the cluster losing what it needs: a server only while all of
   * them vote as they are now, so that the two others hold everything and can go on.
   */
  #maySpare(name: string): boolean {
    const { agents } = this.#options
    if (!agents.isUp(name) || agents.station(name).life === undefined) return false
    return !agents.station(name).server || this.#isWhole()
  }

  /** Every server is up and sees all of them vote. */
  #isWhole(): boolean {
    const { agents } = this.#options
    const servers = agents.servers()
    const all = servers.map(({ id }) => id).sort()
    return (
      this.#leaving.size === 0 &&
      agents.leader() !== undefined &&
      servers.every(
        ({ name, life }) => life !== undefined && agents.isUp(name) && votersOf(life).sort().join() === all.join(),
      )
    )
  }

  #crash(name: string, keepCache: boolean): void {
    const { world, agents } = this.#options
    world.note(`${name} ${keepCache ? 'dies' : 'loses power'}`)
    agents.down(name, keepCache)
    this.#comeBack(name)
  }

  #comeBack(name: string): void {
    const { world, random } = this.#options
    // Who was still stopping when all healed comes back at once.
    const away = this.#active ? random.pick([1, 100, 1000, 8000, 20_000])! : 1
    world.after(away, () => this.#restart(name))
  }

  #restart(name: string): void {
    const { world, agents } = this.#options
    if (agents.isUp(name) || agents.station(name).gone !== undefined) return
    world.note(`${name} starts`)
    agents.start(name)
  }
}
