/**
 * Network coordinates of one agent: where it is, told to its leader now and then; as the leader, what others tell, written
 * to the log in batches; and where the servers of all datacenters are.
 *
 * Told is what the catalog does not say yet. Coordinates move for ever, all together and each by what the last round trip
 * happened to take, and Consul writes every one of them every 15 to 30 seconds. Here one is told anew when the round trips
 * that the catalog gives for its node have become wrong (as Ledlie, Gardner and Seltzer have it, who tell coordinates for use
 * from those that follow every measurement): where nothing changes, hardly anything is written.
 */
import { Busy, DatacenterLost, NotLeader } from '../errors.ts'
import { distance } from '../gossip/coordinate.ts'
import type { Gossip } from '../gossip/gossip.ts'
import type { Io } from '../io/io.ts'
import type { Address, Coordinate, Member, Millis, NodeCoordinate, NodeName } from '../model.ts'
import { encodeCommand } from '../store/command.ts'
import { nodeCoordinate, record } from '../store/fields.ts'
import type { View } from '../store/view.ts'
import type { Deadlines } from './deadlines.ts'
import type { Forward } from './forward.ts'
import type { Peers } from './peers.ts'

/** The servers of one datacenter whose places are known, in name order; names without the datacenter. */
export interface DatacenterCoordinates {
  datacenter: string
  coordinates: NodeCoordinate[]
}

export interface CoordinatesSurface {
  /** Where this agent is among those of its datacenter; at the origin before it has measured anything. */
  readonly own: Coordinate
  /** Of all datacenters, by name, as a server of ours has them. @throws DatacenterLost when none answers */
  datacenters(): Promise<DatacenterCoordinates[]>
  /** Resolves when the leader has it; in the catalog 5 s later, if the node is there. @throws NoLeader, BadRequest, Busy */
  update(update: NodeCoordinate): Promise<void>
}

export interface CoordinatesOptions {
  io: Pick<Io, 'clock' | 'random' | 'log'>
  deadlines: Deadlines
  peers: Pick<Peers, 'answer' | 'ask'>
  forward: Pick<Forward, 'ask' | 'lead' | 'expectCluster'>
  following: { readonly leading: boolean; readonly leader: string; readonly cluster: string }
  view: View
  node: NodeName
  datacenter: string
  lan: Pick<Gossip, 'coordinate' | 'coordinateOf' | 'members'>
  /** Servers only. */
  wan: Pick<Gossip, 'coordinate' | 'coordinateOf' | 'members'> | undefined
  /** Where living servers of our own datacenter are. */
  servers(): Address[]
  /**
   * As the leader: gossip has heard of every server of the cluster. One that it never heard of may run a release from before
   * there were coordinates, which does not read our packets either, and would stop at an entry that it does not know.
   */
  understood(): boolean
}

interface UpdateRequest {
  cluster: string
  update: NodeCoordinate
}

/** All agents of a datacenter together tell theirs about so often a second, and each at most this often (Consul). */
const updatesPerSecond = 64
const tellInterval: Millis = 15_000
/** The leader writes what it was told after this long, in entries of so many, and so many of them (Consul). */
const writePause: Millis = 5_000
const batchMax = 128
const pendingMax = 5 * batchMax
/** The round trips in the catalog may be wrong by so much on average, and by this part of what they are, or our own error. */
const wrongMax: Millis = 0.5
const wrongRatioMax = 0.3
/** Soon after it was told it has to be more wrong, up to ten times: noise must not make an entry every few seconds. */
const settled: Millis = 300_000
const hasteMax = 10
/** Who is that much surer than it said is likely to be elsewhere, too. */
const errorRatio = 2
const serverTimeout: Millis = 2_000

export class Coordinates implements CoordinatesSurface {
  readonly #options: CoordinatesOptions
  /** As the leader: what was told and is not written yet, the last of each node. */
  readonly #pending = new Map<string, NodeCoordinate>()
  #nextTelling: Millis
  #telling = false
  #toldAt: Millis = Number.NEGATIVE_INFINITY
  #stopped = false

  constructor(options: CoordinatesOptions) {
    this.#options = options
    this.#nextTelling = options.io.clock.now() + this.#pause()
    if (options.wan === undefined) return
    options.peers.answer('coordinate', async (body) => {
      const { cluster, update } = record(body, 'request') as unknown as UpdateRequest
      options.forward.expectCluster(String(cluster))
      this.#take(update)
      return true
    })
    options.peers.answer('coordinates', () => this.#known())
  }

  get own(): Coordinate {
    return this.#options.lan.coordinate
  }

  async datacenters(): Promise<DatacenterCoordinates[]> {
    const { io, peers, servers, wan, datacenter } = this.#options
    if (wan !== undefined) return this.#known()
    let reason = 'no server of it is known'
    for (const server of io.random.shuffle(servers())) {
      try {
        return (await peers.ask(server, 'coordinates', {}, serverTimeout)) as DatacenterCoordinates[]
      } catch (error) {
        reason = (error as Error).message
      }
    }
    throw new DatacenterLost(`datacenter ${datacenter} cannot be reached: ${reason}`)
  }

  async update(update: NodeCoordinate): Promise<void> {
    const { forward, following } = this.#options
    const request: UpdateRequest = { cluster: following.cluster, update }
    await forward.ask('coordinate', request, async () => this.#take(update))
  }

  /** As a server: the middle one of the round trips to the servers there (Consul); undefined when it is not known. */
  distanceTo(datacenter: string): Millis | undefined {
    const { wan } = this.#options
    if (wan === undefined) return undefined
    const roundTrips = wan.members().flatMap(({ name, tags, status }) => {
      if (tags.dc !== datacenter || status === 'left') return []
      const there = wan.coordinateOf(name)
      return [there === undefined ? Number.POSITIVE_INFINITY : distance(wan.coordinate, there)]
    })
    const middle = roundTrips.sort((a, b) => a - b)[Math.floor(roundTrips.length / 2)]
    return middle === Number.POSITIVE_INFINITY ? undefined : middle
  }

  tick(now: Millis): void {
    if (now < this.#nextTelling || this.#telling) return
    this.#nextTelling = now + this.#pause()
    if (this.#options.following.leader === '' || !this.#moved(now)) return
    this.#telling = true
    this.#toldAt = now
    const { node } = this.#options
    this.update({ node, segment: '', coordinate: this.own })
      // A leader of an older release does not know what this is.
      .catch((error: Error) => this.#options.io.log('debug', 'consul', `telling our coordinate: ${error.message}`))
      .finally(() => {
        this.#telling = false
      })
  }

  stop(): void {
    this.#stopped = true
  }

  /** Random, and longer in large datacenters: together they must not be more than the leader writes. */
  #pause(): Millis {
    const { io, lan } = this.#options
    const interval = Math.max(tellInterval, (1000 * lan.members().length) / updatesPerSecond)
    return interval + io.random.fraction() * interval
  }

  /** The catalog says something else of us, or nothing. */
  #moved(now: Millis): boolean {
    const { view, node, lan } = this.#options
    const { own } = this
    const told = view.nodeCoordinates(node).value.find(({ segment }) => segment === '')?.coordinate
    if (told === undefined || own.error * errorRatio < told.error) return true
    let wrong = 0
    let all = 0
    let count = 0
    for (const other of view.coordinates().value) {
      // As it was when it answered us: that all drift together is nothing to anybody.
      const there = other.segment === '' && other.node !== node ? lan.coordinateOf(other.node) : undefined
      if (there === undefined) continue
      const roundTrip = distance(own, there)
      wrong += Math.abs(roundTrip - distance(told, other.coordinate))
      all += roundTrip
      count++
    }
    const haste = Math.min(Math.max(settled / (now - this.#toldAt), 1), hasteMax)
    return wrong > haste * Math.max(count * wrongMax, Math.max(wrongRatioMax, own.error) * all)
  }

  /** @throws NotLeader, BadRequest, Busy */
  #take(update: NodeCoordinate): void {
    const { deadlines, following, io } = this.#options
    if (!following.leading) throw new NotLeader()
    nodeCoordinate(record(update, 'update'))
    const { node, segment, coordinate } = update
    const place = JSON.stringify([node.toLowerCase(), segment])
    if (this.#pending.size >= pendingMax && !this.#pending.has(place)) {
      throw new Busy(`${pendingMax} coordinates wait to be written; try again in ${writePause / 1000} s`)
    }
    if (this.#pending.size === 0) deadlines.at(io.clock.now() + writePause, () => void this.#write())
    this.#pending.set(place, { node, segment, coordinate })
  }

  async #write(): Promise<void> {
    const { forward, following, io, view } = this.#options
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    if (this.#stopped || !following.leading || !this.#options.understood()) return
    // Nobody keeps the coordinate of a node that is not there: that would be an entry about nothing.
    const updates = pending.filter(({ node }) => view.node(node).value !== undefined)
    for (let first = 0; first < updates.length; first += batchMax) {
      const batch = updates.slice(first, first + batchMax)
      try {
        await forward.lead(encodeCommand({ type: 'coordinates.update', updates: batch }))
      } catch (error) {
        // Who is still where they said will say so again.
        io.log('debug', 'consul', `writing ${batch.length} coordinates: ${(error as Error).message}`)
        return
      }
    }
  }

  #known(): DatacenterCoordinates[] {
    const { wan, datacenter } = this.#options
    const places = new Map<string, NodeCoordinate[]>([[datacenter, []]])
    for (const member of wan?.members() ?? []) {
      const { dc = '' } = member.tags
      if (member.status === 'left' || dc === '') continue
      const coordinate = wan?.coordinateOf(member.name)
      const listed = places.get(dc) ?? []
      places.set(dc, listed)
      if (coordinate !== undefined) listed.push({ node: nodeOf(member, dc), segment: '', coordinate })
    }
    const names = [...places.keys()].sort()
    return names.map((name) => ({ datacenter: name, coordinates: places.get(name) ?? [] }))
  }
}

/** In the WAN pool members are called `node.datacenter`. */
function nodeOf({ name }: Member, datacenter: string): NodeName {
  return name.endsWith(`.${datacenter}`) ? name.slice(0, -datacenter.length - 1) : name
}
