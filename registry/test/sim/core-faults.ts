/**
 * What goes wrong in `cores.ts`. Each seed first draws which misfortunes it has and how often they come (swarm testing), and
 * what becomes of those who are elected: in many worlds they do not get far, for that is where the orderings lie that chance
 * alone hardly ever reaches (Raft figure 8; "bug in single-server membership changes", raft-dev 2015).
 */
import type { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import type { Message, ServerId } from '../../src/raft/message.ts'
import type { Peer } from './core-peer.ts'
import type { CoreWorld, Watching, Weather, WorldPlan } from './core-world.ts'

export interface CorePlan extends WorldPlan {
  weather: Weather
  /** How often each comes, relative to the others; 0: never. */
  weights: Record<Misfortune, number>
  /** Chance of one at each step of the run. */
  misfortune: number
  /** Somebody asks every new leader at once to change the configuration. */
  eager: boolean
  /**
   * `harsh`: whoever is elected often comes to nothing before its first entry is committed.
   * `doomed`: it reaches only some with only a few entries, then it is gone; those who were gone before come back.
   */
  leaders: 'lasting' | 'harsh' | 'doomed'
}

const misfortunes = ['crash', 'stall', 'partition', 'cut', 'heal', 'change', 'transfer', 'snapshot', 'none'] as const
type Misfortune = (typeof misfortunes)[number]
const usual: Record<Misfortune, number> = {
  crash: 12,
  stall: 8,
  partition: 14,
  cut: 8,
  heal: 10,
  change: 10,
  transfer: 5,
  snapshot: 13,
  none: 20,
}

export function drawCorePlan(random: Random): CorePlan {
  const calm = random.chance(0.25)
  const upTo = (most: number) => (calm ? 0 : random.fraction() * most)
  const leaders = random.pick(['lasting', 'lasting', 'harsh', 'doomed', 'doomed'] as const)!
  // Only of an even number do two halves make majorities of configurations that are one change apart.
  const doubtful = leaders === 'doomed' && random.chance(0.4)
  const servers = ['a', 'b', 'c', 'd', 'e'].slice(0, doubtful ? random.between(4, 5) : random.between(3, 5))
  const all = random.chance(0.4)
  const weights = { ...usual }
  if (!all) for (const each of misfortunes) weights[each] *= random.pick([0, 1, 1, 3])!
  return {
    servers,
    founders: servers.slice(0, doubtful ? 4 : random.pick([1, 2, 3, 3, 4, 4, 5])!),
    electionTimeoutMin: random.pick(leaders === 'doomed' ? [250, 500] : [300, 1000])!,
    entriesBytesMax: random.pick(leaders === 'doomed' ? [1, 1, 200] : [1, 200, 200, 2000])!,
    weather: { loss: upTo(0.25), repeat: upTo(0.2), late: upTo(0.1), slowSave: upTo(0.1) },
    weights,
    misfortune: leaders === 'doomed' ? random.pick([0.02, 0.1])! : random.pick([0.1, 0.35, 0.35])!,
    eager: doubtful || random.chance(0.2),
    leaders,
  }
}

/** How far somebody who was elected gets. */
interface Doom {
  life: number
  reaches: ReadonlySet<ServerId>
  /** So many messages with entries. */
  appends: number
}

export class CoreFaults implements Watching {
  readonly #world: CoreWorld
  readonly #plan: CorePlan
  readonly #random: Random
  readonly #doomed = new Map<ServerId, Doom>()
  readonly #bag: Misfortune[]
  #active = true

  constructor(world: CoreWorld, plan: CorePlan) {
    this.#world = world
    this.#plan = plan
    this.#random = world.random
    this.#bag = misfortunes.flatMap((each) => Array.from({ length: plan.weights[each] }, () => each))
    world.weather = plan.weather
    world.watching = this
  }

  /** All is well from now on. */
  end(): void {
    this.#active = false
    const world = this.#world
    world.watching = undefined
    world.weather = { loss: 0, repeat: 0, late: 0, slowSave: 0 }
    for (const peer of world.peers.values()) peer.stalledUntil = 0
    this.#mend()
  }

  // --- what is drawn at every step

  step(): void {
    if (this.#random.chance(this.#plan.misfortune)) this.#misfortune()
  }

  #misfortune(): void {
    const world = this.#world
    const random = this.#random
    const leader = world.leader()
    // A leader is the most interesting victim.
    const peer = leader !== undefined && random.chance(0.4) ? leader : world.peer(random.pick(world.ids)!)
    const kind = random.pick(this.#bag) ?? 'none'
    switch (kind) {
      case 'crash':
        world.crash(peer)
        break
      case 'stall':
        this.#stall(peer)
        break
      case 'partition':
        this.#partition()
        break
      case 'cut':
        world.cut.add(`${peer.id}>${random.pick(world.ids)}`)
        break
      case 'heal':
        world.cut.clear()
        break
      case 'change':
        this.#changeSomeone()
        break
      case 'transfer':
        leader?.raft.transferLeadership(random.chance(0.5) ? undefined : random.pick(world.ids), world.now(leader))
        break
      case 'snapshot':
        world.snapshot(peer)
        break
      case 'none':
        break
      default:
        kind satisfies never
    }
    for (const each of world.peers.values()) {
      if (!each.up && random.chance(0.3)) world.start(each)
      world.turn(each)
    }
  }

  #partition(): void {
    const ids = this.#random.shuffle(this.#world.ids)
    const size = this.#random.between(1, ids.length - 1)
    this.#separate(ids.slice(0, size), ids.slice(size))
  }

  #separate(some: readonly ServerId[], others: readonly ServerId[]): void {
    for (const one of some) {
      for (const other of others) this.#world.cut.add(`${one}>${other}`).add(`${other}>${one}`)
    }
  }

  /** Whoever waits is the first to be heard afterwards: it may have been deposed meanwhile and not know. */
  #stall(peer: Peer): void {
    const world = this.#world
    const duration = this.#random.between(300, 3000)
    peer.stalledUntil = world.at + duration
    world.schedule(
      duration,
      world.atPeer(peer, () => world.read(peer)),
    )
  }

  /** Several changes in a row, at any server that believes to lead. */
  #changeSomeone(): void {
    const leader = this.#random.pick(this.#world.leaders().filter(({ up }) => up))
    if (leader === undefined) return
    for (let count = this.#random.pick([1, 1, 3])!; count > 0; count--) this.#world.change(leader)
  }

  // --- what happens to leaders

  elected(peer: Peer): void {
    const world = this.#world
    const random = this.#random
    if (this.#plan.eager) {
      const ask = world.atPeer(peer, () => world.change(peer))
      world.schedule(random.between(1, 20), ask)
    }
    if (this.#plan.leaders === 'harsh' && random.chance(0.6)) this.#strike(peer)
    if (this.#plan.leaders === 'doomed') this.#doom(peer)
  }

  commits(peer: Peer): void {
    if (this.#plan.leaders === 'harsh' && this.#random.chance(0.05)) this.#world.crash(peer)
  }

  sends({ id, life }: Peer, to: ServerId, message: Message): boolean {
    const doom = this.#doomed.get(id)
    if (doom === undefined || doom.life !== life || (message.type !== 'append' && message.type !== 'snapshot'))
      return false
    if (!doom.reaches.has(to)) return true
    if (message.type === 'append' && message.entries.length === 0) return false
    return doom.appends-- <= 0
  }

  /** It dies, or is cut off from some, soon or at once. */
  #strike(peer: Peer): void {
    const world = this.#world
    const crashes = this.#random.chance(0.5)
    const happen = () => {
      if (!this.#active) return
      if (crashes) world.crash(peer)
      else this.#partition()
    }
    if (this.#random.chance(0.5)) world.schedule(0, happen)
    else world.schedule(this.#random.between(1, 60), world.atPeer(peer, happen))
  }

  /** Its entries reach some only, and not all of them; a little later it is gone, and who was gone before is back. */
  #doom(peer: Peer): void {
    const world = this.#world
    const random = this.#random
    const others = world.ids.filter((id) => id !== peer.id)
    const { life } = peer
    const { term } = peer.raft
    const lucky = random.chance(0.2)
    const doom: Doom = {
      life,
      reaches: new Set(others.filter(() => lucky || random.chance(0.5))),
      appends: lucky ? Number.POSITIVE_INFINITY : random.pick([0, 0, 1, 1, 2, 4])!,
    }
    this.#doomed.set(peer.id, doom)
    const crashes = random.chance(0.5)
    const after: Millis = lucky ? random.between(300, 1500) : random.pick([30, 100, 300])!
    world.schedule(after, () => {
      if (!this.#active || this.#doomed.get(peer.id) !== doom) return
      this.#doomed.delete(peer.id)
      if (random.chance(0.9)) this.#mend()
      const { elections } = world.checkers
      // Too few are left to elect anybody.
      world.schedule(4 * this.#plan.electionTimeoutMin, () => {
        if (this.#active && world.checkers.elections === elections) this.#mend()
      })
      if (!peer.up || peer.life !== life || peer.raft.term !== term) return
      if (crashes) world.crash(peer)
      else this.#separate([peer.id], others)
    })
  }

  #mend(): void {
    this.#world.cut.clear()
    for (const peer of this.#world.peers.values()) if (!peer.up) this.#world.start(peer)
  }
}
