/** What goes wrong among agents, and when. */
import type { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import type { AgentPlan } from './agent-plan.ts'
import { type Agents, type Station, votersOf } from './agents.ts'
import { Violation } from './checkers.ts'
import { calm } from './network.ts'
import { quickDisk, type World } from './world.ts'

/** What heals takes so long at most: gossip tries the failed again every 30 s, and detection takes as long. */
export const healWithin: Millis = 60_000

/** Until then whoever starts again has read its disk. */
const introduceAfter: Millis = 2_000

/** A cluster of fewer servers cannot spare one: two of three are a majority, and hold everything. */
const sparesFrom = 3

export interface NemesisOptions {
  world: World
  agents: Agents
  random: Random
  plan: AgentPlan
  /** Servers that come while it runs. */
  later: readonly string[]
  /** How long it goes on. */
  duration: Millis
  onWipe: (name: string) => void
  /** What the agents do not agree about. */
  missing: () => string | undefined
}

export class AgentNemesis {
  readonly #options: NemesisOptions
  #active = true
  /** How many faults there were. */
  faults = 0
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
    const { world, agents, random, plan } = this.#options
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
    for (const name of this.#options.later) {
      world.after(random.fraction() * this.#options.duration, () => {
        if (agents.isUp(name)) return
        world.note(`${name} is new`)
        agents.start(name)
      })
    }
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
    if (plan.moves) this.#introduce()
    if (plan.ends === 'all') return
    const missing = () => (this.#isWhole() ? this.#options.missing() : 'the servers do not all vote')
    if (!(await world.runWhile(() => missing() !== undefined, healWithin, 200))) {
      throw new Violation(`${healWithin} ms after all healed: ${missing()}`)
    }
    const spare = agents.servers().length >= sparesFrom
    const victim = random.pick([...agents.stations.values()].filter(({ server }) => spare || !server))
    if (victim === undefined) return
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

  /** Two that moved at the same time know nothing of each other's new address: somebody has to tell them. */
  #introduce(): void {
    const { world, agents } = this.#options
    world.after(introduceAfter, () => {
      const all = [...agents.stations.values()].map(({ host }) => `${host}:8301`)
      for (const { life } of agents.running()) life.agent.join(all, 'lan').catch(() => {})
    })
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
    // Who has not come yet has no faults.
    const names = [...agents.stations.values()].flatMap(({ name, id }) => (id === '' ? [] : [name]))
    const leader = agents.leader()?.name
    const victim = leader !== undefined && random.chance(0.35) ? leader : random.pick(names)
    const kind = random.pick(kinds)
    if (victim === undefined || kind === undefined) return
    const others = names.filter((name) => name !== victim)
    this.faults++
    switch (kind) {
      case 'crashes':
      case 'powerLoss':
        if (agents.isUp(victim)) this.#crash(victim, kind === 'crashes')
        return
      case 'blackouts':
        for (const name of random.shuffle(names).slice(0, random.between(Math.min(2, names.length), names.length))) {
          if (agents.isUp(name)) this.#crash(name, false)
        }
        return
      case 'stops':
        void agents.stop(victim).then(() => this.#comeBack(victim))
        return
      case 'leaves':
        // Whoever else is missing: one that is needed is not let go, and has everything when it comes back.
        if (!agents.isUp(victim) || agents.station(victim).life === undefined) return
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
        if (others.length === 0) return
        const shuffled = random.shuffle(names)
        const size = random.between(1, names.length - 1)
        const groups = random.chance(0.5) ? [[victim], others] : [shuffled.slice(0, size), shuffled.slice(size)]
        world.note(`partition: ${groups.map((group) => group.join(' ')).join(' | ')}`)
        world.network.partition(groups)
        return
      }
      case 'turns':
        this.#turn(random.between(2, 5))
        return
      case 'oneWay': {
        world.network.heal()
        if (random.chance(0.3)) return
        const target = random.pick(others)
        if (target === undefined) return
        const mute = random.chance(0.5)
        world.note(`one way: ${victim} ${mute ? 'is not heard' : `does not reach ${target}`}`)
        for (const other of mute ? others : [target]) world.network.cut(victim, other)
        return
      }
      case 'clogs': {
        const duration = random.pick([300, 2000, 6000])!
        const some = random.chance(0.5) ? others : random.shuffle(others).slice(0, 1)
        world.note(`ways between ${victim} and ${some.join(' ')} are stopped up for ${duration} ms`)
        const ways = random.between(1, 3)
        for (const other of some) {
          if (ways & 1) world.network.clog(victim, other, world.now + duration)
          if (ways & 2) world.network.clog(other, victim, world.now + duration)
        }
        return
      }
      case 'moves':
        if (!agents.isUp(victim)) return
        world.note(`${victim} moves`)
        agents.down(victim, true)
        agents.move(victim)
        this.#comeBack(victim)
        return
      case 'pauses': {
        const duration = random.pick([200, 1200, 3000, 10_000])!
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
      case 'fullDisks': {
        const place = world.nodes.get(victim)!
        world.note(`the disk of ${victim} is full`)
        place.diskFaults = { ...place.diskFaults, full: true }
        world.after(random.pick([300, 3000])!, () => {
          place.diskFaults = { ...place.diskFaults, full: false }
          this.#restart(victim)
        })
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
   * Whether an agent may lose its disk without the cluster losing what it needs: a server only while all of
   * them vote as they are now, so that the two others hold everything and can go on.
   */
  #maySpare(name: string): boolean {
    const { agents } = this.#options
    if (!agents.isUp(name) || agents.station(name).life === undefined) return false
    return !agents.station(name).server || (this.#isWhole() && this.#came().length >= sparesFrom)
  }

  /** Servers that have run. */
  #came(): Station[] {
    return this.#options.agents.servers().filter(({ id }) => id !== '')
  }

  /** Every server is up and sees all of them vote. */
  #isWhole(): boolean {
    const { agents } = this.#options
    const servers = this.#came()
    const all = servers.map(({ id }) => id).sort()
    return (
      this.#leaving.size === 0 &&
      agents.leader() !== undefined &&
      servers.every(
        ({ name, life }) => life !== undefined && agents.isUp(name) && votersOf(life).sort().join() === all.join(),
      )
    )
  }

  /** So long that others elect somebody, and so short that they would wait for this one. */
  #turn(left: number): void {
    const { world, agents, random } = this.#options
    const leader = agents.leader()?.name
    if (leader === undefined || left === 0 || !this.#active) return
    const others = [...agents.stations.keys()].filter((name) => name !== leader)
    world.note(`${leader}, who leads, is cut off`)
    world.network.partition([[leader], others])
    world.after(random.between(1500, 3000), () => {
      world.network.heal()
      world.after(random.between(100, 1000), () => this.#turn(left - 1))
    })
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
