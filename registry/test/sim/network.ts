/**
 * A network in memory. Datagrams are lost, repeated, late and out of order. Frames keep their order on a connection; a
 * connection breaks when its ends are cut off, when a node dies, and by chance, and what was under way on it is then lost:
 * the sender may or may not be told. Cuts have a direction.
 */

import { addressText } from '../../src/io/address.ts'
import type { Channel, Network, Reply } from '../../src/io/io.ts'
import type { Random } from '../../src/io/random.ts'
import type { Address, Millis } from '../../src/model.ts'

export interface NetworkFaults {
  /** Of datagrams; frames break their connection with a hundredth of this. */
  loss: number
  duplicate: number
  delayMin: Millis
  delayMax: Millis
  /** How often a datagram or a frame takes up to `tailMax` instead. */
  tail: number
  tailMax: Millis
}

export const calm: NetworkFaults = { loss: 0, duplicate: 0, delayMin: 0.2, delayMax: 2, tail: 0, tailMax: 0 }

type FrameReceiver = (bytes: Uint8Array, reply: Reply) => void
type DatagramReceiver = (bytes: Uint8Array) => void
type LostReceiver = (to: Address, reason: Error) => void

/** What an address is called, worked out once. */
interface Route {
  text: string
  /** Of the connection there. */
  key: string
}

interface Station {
  node: string
  routes: Map<Channel, WeakMap<Address, Route>>
  /** Grows with every life of the node: connections of an older one are broken. */
  life: number
  alive: boolean
  frames: Map<Channel, FrameReceiver>
  datagrams: Map<Channel, DatagramReceiver>
  lost: Map<Channel, LostReceiver>
}

interface Connection {
  channel: Channel
  address: Address
  from: string
  to: string
  fromLife: number
  toLife: number
  /** When the last frame arrives: the next one does not before it. One for each direction. */
  readyAt: { there: Millis; back: Millis }
  broken: boolean
}

export interface Wires {
  now(): Millis
  at(time: Millis, run: () => void): void
  random: Random
}

export class SimulatedNetwork {
  faults: NetworkFaults = calm
  /** What everything takes from one node to another, besides. */
  way: (from: string, to: string) => Millis = () => 0
  delivered = 0
  lost = 0

  readonly #wires: Wires
  readonly #stations = new Map<string, Station>()
  readonly #owners = new Map<string, string>()
  readonly #connections = new Map<string, Connection>()
  readonly #cuts = new Set<string>()
  readonly #clogs = new Map<string, Millis>()
  /** Sees every frame that a node sends, whatever becomes of it. */
  onFrameSent: ((bytes: Uint8Array) => void) | undefined

  constructor(wires: Wires) {
    this.#wires = wires
  }

  /** The network as one life of a node sees it. `addresses`: what it listens on. */
  open(node: string, addresses: Partial<Record<Channel, Address>>): Network {
    const life = (this.#stations.get(node)?.life ?? 0) + 1
    const station: Station = {
      node,
      life,
      alive: true,
      routes: new Map(),
      frames: new Map(),
      datagrams: new Map(),
      lost: new Map(),
    }
    this.#stations.set(node, station)
    // It may have moved: nobody answers where it was.
    for (const [address, owner] of this.#owners) if (owner === node) this.#owners.delete(address)
    for (const [channel, address] of Object.entries(addresses)) {
      this.#owners.set(`${channel} ${addressText(address)}`, node)
    }
    return {
      datagram: (channel, to, bytes) => this.#datagram(station, channel, to, bytes),
      frame: (channel, to, bytes, onFailed) => this.#frame(station, channel, to, bytes, onFailed),
      onDatagram: (channel, receive) => station.datagrams.set(channel, receive),
      onFrame: (channel, receive) => station.frames.set(channel, receive),
      onLost: (channel, lost) => station.lost.set(channel, lost),
    }
  }

  /** The node is gone: what was on its way to it is lost, and its connections break. */
  close(node: string): void {
    const station = this.#stations.get(node)
    if (station !== undefined) station.alive = false
    for (const connection of this.#connections.values()) {
      if (connection.from === node || connection.to === node) this.#break(connection)
    }
  }

  cut(from: string, to: string): void {
    this.#cuts.add(`${from} ${to}`)
  }

  /** Between every two of different groups, in both directions. */
  partition(groups: readonly (readonly string[])[]): void {
    for (const one of groups) {
      for (const other of groups) {
        if (one !== other) for (const a of one) for (const b of other) this.cut(a, b)
      }
    }
  }

  /** What goes this way arrives, but not before `until`, and then all at once. */
  clog(from: string, to: string, until: Millis): void {
    this.#clogs.set(`${from} ${to}`, until)
  }

  heal(): void {
    this.#cuts.clear()
    this.#clogs.clear()
  }

  breakConnections(chance: number): void {
    for (const connection of this.#connections.values()) {
      if (this.#wires.random.chance(chance)) this.#break(connection)
    }
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(`${from} ${to}`)
  }

  #arrival(from: string, to: string): Millis {
    const at = this.#wires.now() + this.#delay() + this.way(from, to)
    return this.#clogs.size === 0 ? at : Math.max(at, this.#clogs.get(`${from} ${to}`) ?? 0)
  }

  #delay(): Millis {
    const { random } = this.#wires
    const { delayMin, delayMax, tail, tailMax } = this.faults
    if (tail > 0 && random.chance(tail)) return delayMin + random.fraction() * tailMax
    return delayMin + random.fraction() * (delayMax - delayMin)
  }

  #datagram(from: Station, channel: Channel, to: Address, bytes: Uint8Array): void {
    const { random } = this.#wires
    const owner = this.#owners.get(`${channel} ${addressText(to)}`)
    if (!this.#isCurrent(from) || owner === undefined) return
    const copies = random.chance(this.faults.loss) ? 0 : random.chance(this.faults.duplicate) ? 2 : 1
    if (copies === 0) this.lost++
    // The sender may use its buffer again.
    const copy = copyOf(bytes)
    for (let sent = 0; sent < copies; sent++) {
      this.#wires.at(this.#arrival(from.node, owner), () => {
        const station = this.#stations.get(owner)
        if (this.isCut(from.node, owner) || station === undefined || !station.alive) {
          this.lost++
          return
        }
        this.delivered++
        station.datagrams.get(channel)?.(copy)
      })
    }
  }

  #frame(from: Station, channel: Channel, to: Address, bytes: Uint8Array, onFailed?: (reason: Error) => void): void {
    if (!this.#isCurrent(from)) return
    this.onFrameSent?.(bytes)
    const { random } = this.#wires
    const { text, key } = this.#route(from, channel, to)
    const owner = this.#owners.get(text)
    const target = owner === undefined ? undefined : this.#stations.get(owner)
    const fail = (reason: string, code?: string) => {
      this.lost++
      if (onFailed === undefined) return
      const error = Object.assign(new Error(reason), code === undefined ? {} : { code })
      this.#wires.at(this.#wires.now() + this.#delay(), () => {
        if (this.#isCurrent(from)) onFailed(error)
      })
    }
    if (owner === undefined || target === undefined || !target.alive) {
      fail(`no connection to ${addressText(to)}: refused`, 'ECONNREFUSED')
      return
    }
    if (this.isCut(from.node, owner) || this.isCut(owner, from.node)) {
      fail(`no connection to ${addressText(to)}: timed out`, 'ETIMEDOUT')
      return
    }
    let connection = this.#connections.get(key)
    const isCurrent = (one: Connection) => !one.broken && one.fromLife === from.life && one.toLife === target.life
    if (connection !== undefined && !isCurrent(connection)) {
      this.#connections.delete(key)
      // The sender finds the break out by the frame that it loses.
      if (random.chance(0.5)) {
        fail(`the connection to ${addressText(to)} was lost`)
        return
      }
      connection = undefined
    }
    if (connection === undefined) {
      connection = {
        channel,
        address: to,
        from: from.node,
        to: owner,
        fromLife: from.life,
        toLife: target.life,
        readyAt: { there: 0, back: 0 },
        broken: false,
      }
      this.#connections.set(key, connection)
    }
    if (random.chance(this.faults.loss / 100)) this.#break(connection)
    this.#carry(connection, 'there', channel, copyOf(bytes), fail)
  }

  #carry(
    connection: Connection,
    way: 'there' | 'back',
    channel: Channel,
    bytes: Uint8Array,
    fail: (reason: string) => void,
  ): void {
    const { random } = this.#wires
    const [from, to] = way === 'there' ? [connection.from, connection.to] : [connection.to, connection.from]
    const at = Math.max(this.#arrival(from, to), connection.readyAt[way])
    connection.readyAt[way] = at
    this.#wires.at(at, () => {
      const station = this.#stations.get(to)
      const life = way === 'there' ? connection.toLife : connection.fromLife
      if (
        connection.broken ||
        this.isCut(from, to) ||
        station === undefined ||
        !station.alive ||
        station.life !== life
      ) {
        this.#break(connection)
        // Whether the sender learns of it is chance: the kernel had taken the bytes.
        if (random.chance(0.5)) fail('the connection was lost')
        else this.lost++
        return
      }
      this.delivered++
      const reply: Reply = (answer) => {
        if (connection.broken) return
        this.#carry(connection, way === 'there' ? 'back' : 'there', channel, copyOf(answer), () => {})
      }
      station.frames.get(channel)?.(bytes, reply)
    })
  }

  /** Who made it learns of it, or not: a machine that is gone says nothing. Not while it is cut off. */
  #break(connection: Connection): void {
    if (connection.broken) return
    connection.broken = true
    const { random } = this.#wires
    if (random.chance(0.3)) return
    const { from, to, fromLife, channel, address } = connection
    this.#wires.at(this.#arrival(to, from), () => {
      const station = this.#stations.get(from)
      if (station === undefined || station.life !== fromLife || !this.#isCurrent(station) || this.isCut(to, from))
        return
      station.lost.get(channel)?.(address, new Error('the connection was lost'))
    })
  }

  #route(from: Station, channel: Channel, to: Address): Route {
    let routes = from.routes.get(channel)
    if (routes === undefined) {
      routes = new WeakMap()
      from.routes.set(channel, routes)
    }
    let route = routes.get(to)
    if (route === undefined) {
      const text = `${channel} ${addressText(to)}`
      route = { text, key: `${from.node} ${text}` }
      routes.set(to, route)
    }
    return route
  }

  #isCurrent(station: Station): boolean {
    return station.alive && this.#stations.get(station.node) === station
  }
}

/** As a socket would hand it over: memory that nobody else has. */
function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.allocUnsafe(bytes.length)
  copy.set(bytes)
  return copy
}
