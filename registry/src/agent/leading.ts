/**
 * A server's part as the leader: when its duties are looked at, what they are told of the world, who asked to be let go,
 * and which deletions may be forgotten. `leader.ts` says what the duties are.
 */
import { Busy, MajorityUnheard, NotLeader } from '../errors.ts'
import type { GossipEvent } from '../gossip/gossip.ts'
import type { Io } from '../io/io.ts'
import type { AutopilotConfiguration, Millis, NodeId } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import { encodeCommand } from '../store/command.ts'
import type { View } from '../store/view.ts'
import { Absences, serverAbsenceMax } from './absences.ts'
import { type HealthReport, ServerHealths } from './autopilot.ts'
import { serverOf } from './bootstrap.ts'
import type { Deadlines } from './deadlines.ts'
import { withoutFormerNames } from './former-names.ts'
import type { Forward } from './forward.ts'
import { Leader, type Situation } from './leader.ts'
import type { Peers } from './peers.ts'
import type { Pools } from './pools.ts'
import { Reconciler } from './reconciler.ts'
import { askStatuses } from './statuses.ts'
import type { Fresh, Freshness } from './surface.ts'
import { Tombstones } from './tombstones.ts'

/** The members are looked at at least this often. */
const leaderInterval: Millis = 60_000
const promoteInterval: Millis = 500
const leavingLasts: Millis = 30_000
const letGoPause: Millis = 100
/** A server that was taken out by hand stays out for about so long, if it lives. */
const takenOutLasts: Millis = 10_000
/** How often the health of servers is looked at, at least. */
const healthInterval: Millis = 1_000
/** Between two ticks: what answered meanwhile has not been read yet, and nobody is judged by that. */
const stallMin: Millis = 300
/** A cluster is put together for so long after it was begun: who joins then votes as soon as it has caught up. */
const foundingLasts: Millis = 60_000

export interface LeadingOptions {
  io: Io
  deadlines: Deadlines
  peers: Peers
  pools: Pools
  replica: Replica
  forward: Forward
  view: View
  self: NodeId
  datacenter: string
  heartbeatInterval: Millis
  /** What is written where no autopilot was ever set. */
  autopilot: AutopilotConfiguration
  read(freshness: Freshness): Promise<Fresh>
}

export class Leading {
  readonly #options: LeadingOptions
  readonly #reconciler: Reconciler
  readonly #tombstones = new Tombstones()
  readonly #absences = new Absences()
  readonly #serverAbsences = new Absences(serverAbsenceMax)
  /** Servers that asked to be let go, and until when that holds. */
  readonly #leaving = new Map<NodeId, Millis>()
  readonly #healths = new ServerHealths()
  #lookedAt: Millis = Number.NEGATIVE_INFINITY
  #tickedAt: Millis = Number.NEGATIVE_INFINITY
  /** When this server began the cluster, if it did in this life. */
  #foundedAt: Millis = Number.NEGATIVE_INFINITY
  #lookingAgain = false
  #stopped = false

  constructor(options: LeadingOptions) {
    this.#options = options
    const { io, replica, forward } = options
    const duties = new Leader({
      io,
      situation: () => this.#situation(),
      write: (command) => forward.lead(encodeCommand(command)),
      change: (change) => replica.changeServers(change),
      forceLeave: (name) => void options.pools.forceLeave(name, false),
    })
    this.#reconciler = new Reconciler({
      work: async () => {
        if (!this.#leads) return
        const changed = await duties.run()
        if (changed) this.wake()
        else if (this.#mayVoteSoon()) this.#lookAgainSoon()
      },
      every: leaderInterval,
      backOffMin: 200,
      backOffMax: 5_000,
      random: io.random,
      onFailure: (error) => {
        if (error instanceof NotLeader) return
        io.log('warn', 'consul', `the leader's duties wait: ${(error as Error).message}`)
      },
    })
  }

  /** Something changed that the leader may have to act upon. */
  wake(): void {
    this.#reconciler.wake()
  }

  tick(now: Millis): void {
    const stalled = now - this.#tickedAt >= stallMin
    this.#tickedAt = now
    if (this.#leads) {
      if (!stalled && now - this.#lookedAt >= healthInterval) this.health()
      this.#reconciler.tick(now)
      this.#reap(now)
    }
    for (const [id, until] of this.#leaving) if (now >= until) this.#leaving.delete(id)
  }

  /** This server leads since just now: what another leader saw does not count. */
  begin(): void {
    this.#tombstones.reset()
    this.#absences.reset()
    this.#serverAbsences.reset()
    this.#healths.reset()
  }

  /** This server has just begun the cluster. */
  founded(): void {
    this.#foundedAt = this.#options.io.clock.now()
  }

  /** As the leader: how every server of the configuration is, now. */
  health(): HealthReport {
    const { io, pools, replica, self, heartbeatInterval } = this.#options
    const now = io.clock.now()
    this.#lookedAt = now
    const heard = withoutFormerNames(pools.members('lan')).flatMap(({ name, status, tags }) => {
      const version = (tags.build ?? '').replace(/:.*$/, '')
      return tags.id === undefined ? [] : [[tags.id, { name, status, version }] as const]
    })
    return this.#healths.look({
      servers: replica.servers(),
      self,
      lastIndex: replica.status.lastIndex,
      lastTerm: replica.status.lastTerm,
      heard: new Map(heard),
      configuration: this.#autopilot,
      heartbeatInterval,
      now,
      wall: io.clock.wall(),
    })
  }

  /** As the leader: takes a server out because somebody says so; resolves when it is out. @throws as `changeServers` */
  async remove(id: NodeId): Promise<void> {
    const { io, deadlines, replica } = this.#options
    const listed = () => replica.status.configuration.servers.some((server) => server.id === id)
    while (listed()) {
      try {
        await replica.changeServers({ type: 'remove', id })
      } catch (error) {
        if (!(error instanceof Busy) || this.#stopped) throw error
        await deadlines.until(io.clock.now() + letGoPause)
      }
    }
    // One that lives is taken in again, but whoever took it out may have something to do first.
    deadlines.at(io.clock.now() + takenOutLasts, () => this.wake())
  }

  onMember(event: GossipEvent & { type: 'join' | 'leave' | 'failed' | 'update' | 'reap' }): void {
    const { member } = event
    const server = serverOf(member, this.#options.datacenter)
    // It left and came back: what it asked for in its former life is over.
    if (event.type === 'join' && server !== undefined) this.#leaving.delete(server.id)
    if (event.type === 'reap') {
      this.#absences.reaped(member.name)
      const { io, pools } = this.#options
      // A former name of one that is there may be forgotten, too.
      const there = pools.members('lan').some(({ tags }) => tags.id === server?.id)
      if (server !== undefined && !there) this.#leaving.set(server.id, io.clock.now() + leavingLasts)
    }
    this.wake()
  }

  /** Takes a server that leaves out of the configuration; resolves when it is out. @throws NotLeader */
  async letGo(id: NodeId): Promise<void> {
    const { io, deadlines, replica } = this.#options
    if (!this.#leads) throw new NotLeader()
    this.#leaving.set(id, io.clock.now() + leavingLasts)
    const listed = () => replica.status.configuration.servers.some((server) => server.id === id)
    while (listed() && this.#leaving.has(id)) {
      try {
        await replica.changeServers({ type: 'remove', id })
      } catch (error) {
        // One change at a time: the one under way may well be this. Or somebody else is needed, and not heard just now.
        if (!(error instanceof Busy || error instanceof MajorityUnheard) || this.#stopped) throw error
        await deadlines.until(io.clock.now() + letGoPause)
      }
    }
    // It may be back already.
    this.wake()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#reconciler.stop()
  }

  get #autopilot(): AutopilotConfiguration {
    return this.#options.view.autopilot() ?? this.#options.autopilot
  }

  get #leads(): boolean {
    return this.#options.replica.status.role === 'leader'
  }

  async #situation(): Promise<Situation> {
    const { io, deadlines, peers, pools, replica, view, self, datacenter, read } = this.#options
    await read('consistent')
    const statuses = await askStatuses(peers, pools.servers(), replica.status.configuration)
    const members = pools.members('lan')
    const names = new Set(members.map(({ name }) => name.toLowerCase()))
    const nodes = view.nodes().value.map(({ name }) => name)
    const now = io.clock.now()
    const { configuration } = replica.status
    const ids = configuration.servers.map(({ id }) => id)
    const known = new Set(members.flatMap(({ tags, status }) => (status === 'failed' ? [] : [tags.id ?? ''])))
    const dead = this.#serverAbsences.look(ids, known, now)
    if (ids.some((id) => !known.has(id) && !dead(id))) deadlines.at(now + serverAbsenceMax, () => this.wake())
    this.health()
    const autopilot = this.#autopilot
    const stabilization = now - this.#foundedAt < foundingLasts ? 0 : autopilot.serverStabilizationTime
    return {
      datacenter,
      self,
      members,
      view,
      configuration,
      leaving: new Set(this.#leaving.keys()),
      statuses,
      autopilot,
      initial: this.#options.autopilot,
      heard: (id) => replica.hears(id),
      stable: (id) => this.#healths.isStable(id, stabilization, now),
      gone: this.#absences.look(nodes, names, now),
      dead,
    }
  }

  /** A living server that does not vote: it catches up, or did not say whose it is yet, or has left a moment ago. */
  #mayVoteSoon(): boolean {
    const { pools, replica } = this.#options
    const voters = new Set(replica.status.configuration.servers.flatMap(({ id, voter }) => (voter ? [id] : [])))
    return pools.servers().some(({ id }) => !voters.has(id))
  }

  #lookAgainSoon(): void {
    if (this.#lookingAgain) return
    this.#lookingAgain = true
    const { io, deadlines } = this.#options
    deadlines.at(io.clock.now() + promoteInterval, () => {
      this.#lookingAgain = false
      this.wake()
    })
  }

  #reap(now: Millis): void {
    const { io, forward, replica } = this.#options
    const upTo = this.#tombstones.due(now, replica.status.applied)
    if (upTo === undefined) return
    forward.lead(encodeCommand({ type: 'tombstones.reap', upTo })).then(
      ({ index }) => this.#tombstones.reaped(index),
      (error: Error) => io.log('debug', 'consul', `forgetting deletions: ${error.message}`),
    )
  }
}
