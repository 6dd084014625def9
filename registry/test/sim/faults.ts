/**
 * What goes wrong, and when. Each seed first draws which kinds of faults it has and how strong they are (swarm testing):
 * runs with few kinds reach places that runs with all of them never do.
 */
import type { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import type { Cluster } from './cluster.ts'
import { calm } from './network.ts'
import { quickDisk, type World } from './world.ts'

export interface Plan {
  crashes: boolean
  powerLoss: boolean
  /** A majority or all lose power in the same moment: only what was really on disk is left. */
  blackouts: boolean
  partitions: boolean
  oneWay: boolean
  pauses: boolean
  slowDisks: boolean
  diskErrors: boolean
  drift: boolean
  weather: boolean
  changes: boolean
  transfers: boolean
  /** A bit of a log or a snapshot is another after a crash. */
  rot: boolean
  /** A disk is exchanged for an empty one. */
  wipes: boolean
  fullDisks: boolean
  /** Between two faults, on average. */
  interval: Millis
}

export function drawPlan(random: Random): Plan {
  const maybe = () => random.chance(0.4)
  const changes = maybe()
  return {
    crashes: maybe(),
    powerLoss: maybe(),
    blackouts: random.chance(0.3),
    partitions: maybe(),
    oneWay: maybe(),
    pauses: maybe(),
    slowDisks: maybe(),
    diskErrors: random.chance(0.2),
    drift: random.chance(0.3),
    weather: maybe(),
    changes,
    transfers: maybe(),
    // Two thirds of a cluster must be whole when one is not, and changes of the configuration make that hard to tell.
    rot: !changes && random.chance(0.3),
    wipes: !changes && random.chance(0.2),
    fullDisks: random.chance(0.2),
    interval: random.between(150, 1500),
  }
}

export class Nemesis {
  readonly #world: World
  readonly #cluster: Cluster
  readonly #random: Random
  readonly #plan: Plan
  #active = true

  constructor(world: World, cluster: Cluster, random: Random, plan: Plan) {
    this.#world = world
    this.#cluster = cluster
    this.#random = random
    this.#plan = plan
  }

  begin(): void {
    const random = this.#random
    if (this.#plan.drift) {
      for (const place of this.#world.nodes.values()) place.rate = 0.75 + random.fraction() * 0.65
    }
    if (this.#plan.weather) {
      this.#world.network.faults = {
        loss: random.fraction() * 0.3,
        duplicate: random.fraction() * 0.3,
        delayMin: 0.2,
        delayMax: random.pick([2, 20, 100])!,
        tail: random.chance(0.5) ? 0.01 : 0,
        tailMax: 2000,
      }
    }
    if (this.#plan.slowDisks || this.#plan.blackouts) {
      const delayMax = random.pick([0.5, 10, 40])!
      for (const place of this.#world.nodes.values()) {
        place.diskFaults = { ...place.diskFaults, delayMin: delayMax / 10, delayMax }
      }
    }
    this.#cluster.damageExpected = this.#plan.rot
    if (this.#plan.rot || this.#plan.wipes) this.#repair()
    if (this.#plan.diskErrors) {
      for (const place of this.#world.nodes.values()) place.diskFaults = { ...place.diskFaults, failure: 0.002 }
    }
    this.#next()
  }

  /** Everything is well again: cuts healed, disks quick, all nodes up. Clocks keep their rates. */
  end(): void {
    this.#active = false
    this.#world.network.heal()
    this.#world.network.faults = calm
    for (const place of this.#world.nodes.values()) {
      place.diskFaults = quickDisk
      place.pausedUntil = Math.min(place.pausedUntil, this.#world.now)
    }
    for (const { name } of this.#cluster.members.values()) if (!this.#cluster.isUp(name)) this.#cluster.start(name)
  }

  /** Goes on when all is well again: what is broken then has to be mended. */
  #repair(): void {
    this.#world.after(200, () => {
      const due = this.#cluster.repair()
      if (due || this.#active) this.#repair()
    })
  }

  #next(): void {
    this.#world.after(this.#random.fraction() * 2 * this.#plan.interval, () => {
      if (!this.#active) return
      this.#act()
      this.#next()
    })
  }

  #act(): void {
    const random = this.#random
    const plan = this.#plan
    const kinds = (Object.keys(plan) as (keyof Plan)[]).filter((kind) => plan[kind] === true)
    const names = [...this.#cluster.members.keys()]
    // The leader is the most interesting victim.
    const leader = this.#cluster.leader()?.name
    const victim = leader !== undefined && random.chance(0.4) ? leader : random.pick(names)!
    const others = names.filter((name) => name !== victim)
    const kind = random.pick(kinds)
    switch (kind) {
      case 'crashes':
      case 'powerLoss':
        if (this.#cluster.isUp(victim)) this.#crash(victim, kind === 'crashes')
        return
      case 'blackouts': {
        const dark = random.shuffle(names).slice(0, random.between(Math.floor(names.length / 2) + 1, names.length))
        for (const name of dark) if (this.#cluster.isUp(name)) this.#crash(name, false)
        return
      }
      case 'partitions': {
        this.#world.network.heal()
        const shuffled = random.shuffle(names)
        const size = random.between(0, Math.floor(names.length / 2))
        const groups = random.chance(0.5) ? [[victim], others] : [shuffled.slice(0, size), shuffled.slice(size)]
        this.#world.note(`partition: ${groups.map((group) => group.join(' ')).join(' | ')}`)
        this.#world.network.partition(groups)
        return
      }
      case 'oneWay': {
        this.#world.network.heal()
        const target = random.pick(others)!
        if (random.chance(0.3)) return
        const mute = random.chance(0.5)
        this.#world.note(`one way: ${victim} ${mute ? 'is not heard' : `does not reach ${target}`}`)
        for (const other of mute ? others : [target]) this.#world.network.cut(victim, other)
        return
      }
      case 'pauses': {
        const duration = random.pick([50, 300, 1200, 3000])!
        this.#world.note(`${victim} stands still for ${duration} ms`)
        this.#world.nodes.get(victim)!.pausedUntil = this.#world.now + duration
        return
      }
      case 'slowDisks': {
        const delayMax = random.pick([0.5, 5, 50, 400])!
        const place = this.#world.nodes.get(victim)!
        place.diskFaults = { ...place.diskFaults, delayMin: delayMax / 10, delayMax }
        this.#world.note(`the disk of ${victim} takes up to ${delayMax} ms`)
        return
      }
      case 'weather':
        this.#world.network.breakConnections(0.3)
        return
      case 'changes':
        this.#change()
        return
      case 'transfers':
        this.#cluster
          .leader()
          ?.replica.transferLeadership(random.chance(0.5) ? this.#cluster.member(random.pick(names)!).id : undefined)
          .catch(() => {})
        return
      case 'rot':
      case 'wipes': {
        // Three that vote and have everything: two go on, and one is mended.
        if (this.#cluster.members.size < 3 || !this.#cluster.isWhole()) return
        this.#world.note(`${victim} loses power${kind === 'wipes' ? ' and its disk' : ''}`)
        this.#cluster.down(victim, false)
        const { disk } = this.#world.nodes.get(victim)!
        if (kind === 'wipes') {
          disk.wipe()
          this.#cluster.replace(victim)
        } else {
          const place = disk.rot()
          if (place !== undefined) this.#world.note(`a bit of ${place.file} at ${place.offset} is another`)
        }
        this.#world.after(random.pick([1, 1000])!, () => this.#restart(victim))
        return
      }
      case 'fullDisks': {
        const place = this.#world.nodes.get(victim)!
        this.#world.note(`the disk of ${victim} is full`)
        place.diskFaults = { ...place.diskFaults, full: true }
        this.#world.after(random.pick([300, 3000])!, () => {
          place.diskFaults = { ...place.diskFaults, full: false }
          this.#restart(victim)
        })
        return
      }
      case 'diskErrors':
        for (const name of names) if (!this.#cluster.isUp(name)) this.#restart(name)
        return
      default:
        return
    }
  }

  #crash(name: string, keepCache: boolean): void {
    this.#world.note(`${name} ${keepCache ? 'dies' : 'loses power'}`)
    this.#cluster.down(name, keepCache)
    const away = this.#random.pick([1, 100, 1000, 3000])!
    this.#world.after(away, () => {
      if (this.#active) this.#restart(name)
    })
  }

  #restart(name: string): void {
    if (this.#cluster.isUp(name)) return
    this.#world.note(`${name} starts`)
    this.#cluster.start(name)
  }

  #change(): void {
    const leader = this.#cluster.leader()
    if (leader === undefined) return
    const { servers } = leader.replica.status.configuration
    const random = this.#random
    const member = random.pick([...this.#cluster.members.values()])!
    const known = servers.find(({ id }) => id === member.id)
    const change =
      known === undefined
        ? ({ type: 'add', id: member.id, address: member.address, voter: random.chance(0.3) } as const)
        : !known.voter
          ? ({ type: 'promote', id: member.id } as const)
          : servers.filter(({ voter }) => voter).length > 2
            ? ({ type: 'remove', id: member.id } as const)
            : undefined
    if (change === undefined) return
    this.#world.note(`change: ${change.type} ${change.id}`)
    leader.replica.changeServers(change).catch(() => {})
  }
}
