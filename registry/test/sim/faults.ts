/**
 * What goes wrong, and when. Each seed first draws which kinds of faults it has and how strong they are (swarm testing):
 * runs with few kinds reach places that runs with all of them never do.
 */
import type { Random } from '../../src/io/random.ts'
import type { Index, Millis } from '../../src/model.ts'
import type { StateMachine } from '../../src/replica/machine.ts'
import type { Cluster } from './cluster.ts'
import { calm } from './network.ts'
import { quickDisk, type World } from './world.ts'

export interface Plan {
  crashes: boolean
  powerLoss: boolean
  /** A majority or all lose power in the same moment: only what was really on disk is left. */
  blackouts: boolean
  /** A node dies within a write, a sync or a rename. */
  midWrite: boolean
  partitions: boolean
  oneWay: boolean
  /** Two groups that do not reach each other, and one node that reaches both. */
  bridges: boolean
  /** One path holds back what it should carry. */
  clogs: boolean
  /** All paths of one node after the other are clogged, and set free in another order (FoundationDB). */
  swizzles: boolean
  pauses: boolean
  slowDisks: boolean
  diskErrors: boolean
  /** Clocks run at rates that are up to 2 apart. */
  drift: boolean
  /** Wall clocks jump by up to an hour. */
  wallJumps: boolean
  weather: boolean
  changes: boolean
  transfers: boolean
  /** A bit of a log or a snapshot is another after a crash. */
  rot: boolean
  /** The same with a whole sector, which holds what was meant for elsewhere. */
  misdirected: boolean
  /** A disk says for a while that it syncs, does not, and then loses power. */
  lies: boolean
  /** A disk is exchanged for an empty one. */
  wipes: boolean
  fullDisks: boolean
  /** Between two faults, on average. */
  interval: Millis
}

export function drawPlan(random: Random): Plan {
  // Some seeds have few kinds, some have many.
  const share = random.pick([0.15, 0.35, 0.5])!
  const maybe = () => random.chance(share)
  const changes = maybe()
  // Two thirds of a cluster must be whole when one is not, and changes of the configuration make that hard to tell.
  const damage = () => !changes && random.chance(0.25)
  return {
    crashes: maybe(),
    powerLoss: maybe(),
    blackouts: random.chance(0.3),
    midWrite: maybe(),
    partitions: maybe(),
    oneWay: maybe(),
    bridges: maybe(),
    clogs: maybe(),
    swizzles: random.chance(0.2),
    pauses: maybe(),
    slowDisks: maybe(),
    diskErrors: random.chance(0.2),
    drift: random.chance(0.3),
    wallJumps: random.chance(0.2),
    weather: maybe(),
    changes,
    transfers: maybe(),
    rot: damage(),
    misdirected: damage(),
    lies: damage(),
    wipes: damage(),
    fullDisks: random.chance(0.2),
    interval: random.between(100, 1000),
  }
}

/** What the nemesis must know of disks: when it may let one lose what it holds. */
export interface Disks {
  /** Every disk lies all the time, and nobody is spared. */
  allLie?: boolean
  /** Up to where the disk of a server has the log. */
  durable(id: string): Index
  /** It has lost what it promised. */
  forgive(id: string): void
}

export class Nemesis<Machine extends StateMachine> {
  /** How many faults of each kind there were. */
  readonly counts = new Map<keyof Plan, number>()
  readonly #world: World
  readonly #cluster: Cluster<Machine>
  readonly #random: Random
  readonly #plan: Plan
  readonly #disks: Disks
  readonly #kinds: readonly (keyof Plan)[]
  /** Nodes whose disk lost something, and up to where they must have the log again before another may. */
  readonly #owed = new Map<string, Index>()
  #active = true

  constructor(world: World, cluster: Cluster<Machine>, random: Random, plan: Plan, disks: Disks) {
    this.#world = world
    this.#cluster = cluster
    this.#random = random
    this.#plan = plan
    this.#disks = disks
    this.#kinds = (Object.keys(plan) as (keyof Plan)[]).filter((kind) => plan[kind] === true)
  }

  begin(): void {
    const random = this.#random
    const places = [...this.#world.nodes.values()]
    if (this.#plan.drift) {
      const slowest = 0.5 + random.fraction() * 0.5
      for (const place of places) place.rate = slowest * (1 + random.fraction())
    }
    if (this.#plan.weather) {
      this.#world.network.faults = {
        loss: random.fraction() * 0.3,
        duplicate: random.fraction() * 0.5,
        delayMin: 0.2,
        delayMax: random.pick([2, 20, 100, 200])!,
        tail: random.chance(0.5) ? 0.01 : 0,
        tailMax: random.pick([500, 2000, 5000])!,
      }
    }
    if (this.#plan.slowDisks || this.#plan.blackouts) {
      const delayMax = random.pick([0.5, 10, 40])!
      for (const place of places) place.diskFaults = { ...place.diskFaults, delayMin: delayMax / 10, delayMax }
    }
    const { rot, misdirected, lies, wipes } = this.#plan
    this.#cluster.damageExpected = rot || misdirected || lies
    if (this.#cluster.damageExpected || wipes) this.#repair()
    if (this.#plan.diskErrors) {
      for (const place of places) place.diskFaults = { ...place.diskFaults, failure: 0.002, readFailure: 0.005 }
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
      place.atDisk = undefined
      this.#honest(place.name)
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
      const kind = this.#random.pick(this.#kinds)
      if (kind !== undefined && this.#act(kind)) this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
      this.#next()
    })
  }

  /** Returns whether anything went wrong by it. */
  #act(kind: keyof Plan): boolean {
    const random = this.#random
    const names = [...this.#cluster.members.keys()]
    // The leader is the most interesting victim.
    const leader = this.#cluster.leader()?.name
    const victim = leader !== undefined && random.chance(0.4) ? leader : random.pick(names)!
    const others = names.filter((name) => name !== victim)
    const { network, now } = this.#world
    const place = this.#world.nodes.get(victim)!
    switch (kind) {
      case 'crashes':
      case 'powerLoss':
        if (!this.#cluster.isUp(victim)) return false
        this.#crash(victim, kind === 'crashes')
        return true
      case 'blackouts': {
        const dark = random.shuffle(names).slice(0, random.between(Math.floor(names.length / 2) + 1, names.length))
        for (const name of dark) if (this.#cluster.isUp(name)) this.#crash(name, false)
        return true
      }
      case 'midWrite': {
        if (!this.#cluster.isUp(victim)) return false
        const keepCache = random.chance(0.3)
        const { life } = place
        place.atDisk = () => {
          if (this.#active && place.life === life && this.#cluster.isUp(victim)) this.#crash(victim, keepCache)
        }
        return true
      }
      case 'partitions': {
        network.heal()
        const shuffled = random.shuffle(names)
        const size = random.between(0, Math.floor(names.length / 2))
        const groups = random.chance(0.5) ? [[victim], others] : [shuffled.slice(0, size), shuffled.slice(size)]
        this.#world.note(`partition: ${groups.map((group) => group.join(' ')).join(' | ')}`)
        network.partition(groups)
        return true
      }
      case 'bridges': {
        if (names.length < 3) return false
        network.heal()
        const [bridge, ...rest] = random.shuffle(names) as [string, ...string[]]
        const size = random.between(1, rest.length - 1)
        const groups = [rest.slice(0, size), rest.slice(size)]
        this.#world.note(`partition: ${groups.map((group) => group.join(' ')).join(` | `)}, but ${bridge} reaches all`)
        network.partition(groups)
        return true
      }
      case 'oneWay': {
        network.heal()
        if (others.length === 0 || random.chance(0.3)) return false
        const target = random.pick(others)!
        const mute = random.chance(0.5)
        this.#world.note(`one way: ${victim} ${mute ? 'is not heard' : `does not reach ${target}`}`)
        for (const other of mute ? others : [target]) network.cut(victim, other)
        return true
      }
      case 'clogs': {
        if (others.length === 0) return false
        const target = random.pick(others)!
        const duration = random.fraction() * 5000
        this.#world.note(`from ${victim} to ${target} nothing arrives for ${duration.toFixed(0)} ms`)
        network.clog(victim, target, now + duration)
        return true
      }
      case 'swizzles': {
        if (others.length === 0) return false
        const those = random.shuffle(names).slice(0, random.between(2, names.length))
        this.#world.note(`clogged one after the other: ${those.join(' ')}`)
        for (const name of those) {
          const until = now + 1500 + random.fraction() * 2500
          this.#world.after(random.fraction() * 1500, () => {
            if (!this.#active) return
            for (const other of names) {
              network.clog(name, other, until)
              network.clog(other, name, until)
            }
          })
        }
        return true
      }
      case 'pauses': {
        const duration = random.pick([100, 300, 1200, 3000, 10_000])!
        this.#world.note(`${victim} stands still for ${duration} ms`)
        place.pausedUntil = now + duration
        return true
      }
      case 'slowDisks': {
        const delayMax = random.pick([0.5, 5, 50, 500])!
        place.diskFaults = { ...place.diskFaults, delayMin: delayMax / 10, delayMax }
        this.#world.note(`the disk of ${victim} takes up to ${delayMax} ms`)
        return true
      }
      case 'wallJumps':
        place.wallOffset = (random.fraction() - 0.5) * 2 * 3_600_000
        return true
      case 'weather':
        network.breakConnections(0.3)
        return true
      case 'changes':
        return this.#change()
      case 'transfers': {
        const to = random.chance(0.5) ? this.#cluster.member(random.pick(names)!).id : undefined
        this.#cluster
          .leader()
          ?.replica.transferLeadership(to)
          .catch(() => {})
        return leader !== undefined
      }
      case 'rot':
      case 'misdirected':
      case 'wipes': {
        // Three that vote and have everything: two go on, and one is mended.
        if (!this.#mayLose()) return false
        this.#world.note(`${victim} loses power${kind === 'wipes' ? ' and its disk' : ''}`)
        this.#honest(victim)
        this.#cluster.down(victim, false)
        if (kind === 'wipes') {
          place.disk.wipe()
          this.#cluster.replace(victim)
        } else {
          const where = place.disk.rot(kind === 'rot' ? 'bit' : 'sector')
          if (where !== undefined) this.#world.note(`${kind}: ${where.file} at ${where.offset} is another`)
        }
        this.#world.after(random.pick([1, 1000])!, () => this.#restart(victim))
        return true
      }
      case 'lies':
        if (!this.#mayLose() || !this.#cluster.isUp(victim) || place.disk.lies) return false
        this.#world.note(`the disk of ${victim} only says that it syncs`)
        place.disk.lies = true
        this.#world.after(random.between(50, 3000), () => this.#findOut(victim))
        return true
      case 'fullDisks':
        this.#world.note(`the disk of ${victim} is full`)
        place.diskFaults = { ...place.diskFaults, full: true }
        this.#world.after(random.pick([300, 3000])!, () => {
          place.diskFaults = { ...place.diskFaults, full: false }
          this.#restart(victim)
        })
        return true
      case 'diskErrors':
        for (const name of names) if (!this.#cluster.isUp(name)) this.#restart(name)
        return true
      case 'drift':
      case 'interval':
        return false
      default:
        return kind satisfies never
    }
  }

  /** All members vote, and all that was lost before is there again. */
  #mayLose(): boolean {
    if (this.#cluster.members.size < 3 || !this.#cluster.isWhole()) return false
    for (const [name, index] of this.#owed) {
      if (this.#disks.durable(this.#cluster.member(name).id) < index) return false
      this.#owed.delete(name)
    }
    return ![...this.#world.nodes.values()].some(({ disk }) => disk.lies)
  }

  /**
   * A disk that lied loses power, in a moment when nobody needs what it has: all others hold all of the log that it holds,
   * on disks that keep it, and are in its term, so that its vote decides nothing any more. What a majority of lying disks
   * loses is lost.
   */
  #findOut(victim: string): void {
    const { disk } = this.#world.nodes.get(victim)!
    if (!disk.lies) return
    const running = this.#cluster.running()
    const member = running.find(({ name }) => name === victim)
    if (!this.#active || member === undefined || running.length < this.#cluster.members.size) {
      this.#honest(victim)
      return
    }
    const { status } = member.replica
    const needed = Math.max(status.lastIndex, this.#disks.durable(member.id))
    const safe = running.every(({ name, id, replica }) => {
      const { term, leader } = replica.status
      return term === status.term && leader === status.leader && (name === victim || this.#disks.durable(id) >= needed)
    })
    if (!safe || status.leader === '' || status.leader === member.id) {
      this.#world.after(37, () => this.#findOut(victim))
      return
    }
    this.#world.note(`${victim} loses power, and with it what its disk said was synced`)
    this.#owed.set(victim, needed)
    this.#disks.forgive(member.id)
    this.#cluster.down(victim, false)
    disk.lies = false
    this.#world.after(this.#random.pick([1, 1000])!, () => this.#restart(victim))
  }

  /** Its disk has told the truth after all. */
  #honest(name: string): void {
    const { disk } = this.#world.nodes.get(name)!
    if (!disk.lies || this.#disks.allLie === true) return
    disk.lies = false
    disk.settle()
  }

  #crash(name: string, keepCache: boolean): void {
    this.#world.note(`${name} ${keepCache ? 'dies' : 'loses power'}`)
    if (!keepCache) this.#honest(name)
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

  #change(): boolean {
    const leader = this.#cluster.leader()
    if (leader === undefined) return false
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
    if (change === undefined) return false
    this.#world.note(`change: ${change.type} ${change.id}`)
    leader.replica.changeServers(change).catch(() => {})
    return true
  }
}
