/**
 * Stands between agents that are real processes: each advertises an address that the proxy listens on, and what comes
 * there goes on to the agent itself, unless the path from the one who sent it is cut, slow or loses packets. Paths have
 * a direction.
 *
 * A cut is what a network does to TCP: bytes on the way are held, and come late when the path heals, as retransmissions
 * do; a connection that is opened across it waits. Datagrams are lost. All agents connect from the same loopback address,
 * so whose connection it is tells the kernel's table of sockets (/proc, Linux).
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { Random } from '../../src/io/random.ts'
import type { Host } from './cluster.ts'

const ports = { tcp: [8300, 8301], udp: [8301] }
/** What one direction of a connection holds before its sender has to wait. */
const heldBytesMax = 4 * 1024 * 1024

/** One direction between two hosts. */
export interface Path {
  cut: boolean
  /** Milliseconds. */
  delayMin: number
  delayMax: number
  /** Of datagrams, 0 to 1. */
  loss: number
}

const clear: Path = { cut: false, delayMin: 0, delayMax: 0, loss: 0 }

export class FaultProxy {
  readonly #hosts: readonly Host[]
  readonly #random: Random
  readonly #paths = new Map<string, Path>()
  readonly #servers: Server[] = []
  readonly #datagrams: UdpSocket[] = []
  readonly #connections = new Set<Connection>()
  /** Connections carried, and those whose sender was not found. */
  carried = 0
  unknown = 0

  constructor(hosts: readonly Host[], seed = 1) {
    this.#hosts = hosts
    this.#random = new Random(seed)
    for (const from of hosts) for (const to of hosts) if (from !== to) this.#paths.set(key(from, to), { ...clear })
  }

  async open(): Promise<void> {
    for (const host of this.#hosts) {
      for (const port of ports.tcp) this.#servers.push(await this.#listen(host, port))
      for (const port of ports.udp) this.#datagrams.push(await this.#bind(host, port))
    }
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.reset()
    // Emptied: what a delayed path still holds has nowhere to go any more.
    for (const socket of this.#datagrams.splice(0)) socket.close()
    await Promise.all(this.#servers.map((server) => new Promise((closed) => server.close(closed))))
  }

  /** Changes the paths from each of the first to each of the second. */
  set(from: readonly Host[], to: readonly Host[], change: Partial<Path>): void {
    for (const one of from) for (const other of to) if (one !== other) Object.assign(this.path(one, other), change)
    for (const connection of this.#connections) connection.moved()
  }

  /** Nothing passes between `these` and the others, in either direction. */
  isolate(...these: Host[]): void {
    const others = this.#hosts.filter((host) => !these.includes(host))
    this.set(these, others, { cut: true })
    this.set(others, these, { cut: true })
  }

  heal(): void {
    this.set(this.#hosts, this.#hosts, clear)
  }

  /** Every connection between agents breaks at once, with whatever was on its way. */
  reset(): void {
    for (const connection of [...this.#connections]) connection.reset()
  }

  path(from: Host, to: Host): Path {
    const path = this.#paths.get(key(from, to))
    if (path === undefined) throw new Error(`no path from ${from.name} to ${to.name}`)
    return path
  }

  /** How long the next bytes take. */
  delay({ delayMin, delayMax }: Path): number {
    return delayMax === 0 ? 0 : delayMin + this.#random.fraction() * (delayMax - delayMin)
  }

  #listen(to: Host, port: number): Promise<Server> {
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (socket) => {
      const from = this.#senderOf(socket, to.advertised, port)
      if (from === undefined || from === to) {
        this.unknown++
        socket.destroy()
        return
      }
      this.carried++
      const connection = new Connection(
        this,
        socket,
        { to: to.address, port },
        this.path(from, to),
        this.path(to, from),
      )
      this.#connections.add(connection)
      connection.ended = () => this.#connections.delete(connection)
      connection.moved()
    })
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host: to.advertised, port, backlog: 256 }, () => resolve(server))
    })
  }

  #bind(to: Host, port: number): Promise<UdpSocket> {
    const socket = createSocket('udp4')
    socket.on('message', (bytes, { address }) => {
      const from = this.#hosts.find((host) => host.address === address)
      if (from === undefined || from === to) return
      const path = this.path(from, to)
      if (path.cut || (path.loss > 0 && this.#random.chance(path.loss))) return
      const send = () => {
        if (this.#datagrams.includes(socket) && !path.cut) socket.send(bytes, port, to.address, () => {})
      }
      const delay = this.delay(path)
      if (delay === 0) send()
      else setTimeout(send, delay).unref()
    })
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.bind(port, to.advertised, () => resolve(socket))
    })
  }

  #senderOf({ remoteAddress, remotePort }: Socket, host: string, port: number): Host | undefined {
    if (remoteAddress === undefined || remotePort === undefined) return undefined
    const [local, remote] = [hexadecimal(remoteAddress, remotePort), hexadecimal(host, port)]
    const line = readFileSync('/proc/net/tcp', 'latin1')
      .split('\n')
      .map((each) => each.trim().split(/\s+/))
      .find((fields) => fields[1] === local && fields[2] === remote)
    const name = `socket:[${line?.[9]}]`
    return this.#hosts.find(({ process, runs }) => runs && descriptors(process?.child.pid).includes(name))
  }
}

const key = (from: Host, to: Host) => `${from.name} ${to.name}`

/** As in /proc/net/tcp: the address in the order of this machine's bytes (little endian), the port as a number. */
function hexadecimal(address: string, port: number): string {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))
  return `${bytes.reverse().join('')}:${port.toString(16).padStart(4, '0')}`.toUpperCase()
}

function descriptors(pid: number | undefined): string[] {
  const folder = `/proc/${pid}/fd`
  try {
    return readdirSync(folder).map((each) => {
      try {
        return readlinkSync(`${folder}/${each}`)
      } catch {
        return ''
      }
    })
  } catch {
    return []
  }
}

/** A connection that one agent opened to another, as two: its own, and the proxy's to the other. */
class Connection {
  ended: () => void = () => {}
  readonly #near: Socket
  readonly #target: { to: string; port: number }
  readonly #proxy: FaultProxy
  readonly #paths: [there: Path, back: Path]
  #far: Socket | undefined
  #flows: Flow[] = []

  constructor(proxy: FaultProxy, near: Socket, target: { to: string; port: number }, there: Path, back: Path) {
    this.#proxy = proxy
    this.#near = near
    this.#target = target
    this.#paths = [there, back]
    near.on('error', () => {})
    near.once('close', () => {
      if (this.#far === undefined) this.ended()
    })
  }

  /** A path has changed. */
  moved(): void {
    const [there, back] = this.#paths
    // A handshake needs both directions.
    if (this.#far === undefined && !there.cut && !back.cut && !this.#near.destroyed) this.#open(there, back)
    for (const flow of this.#flows) flow.pump()
  }

  reset(): void {
    for (const socket of [this.#near, this.#far]) {
      if (socket !== undefined && !socket.destroyed) socket.resetAndDestroy()
    }
    for (const flow of this.#flows) flow.stop()
    this.ended()
  }

  #open(there: Path, back: Path): void {
    const far = connect({ host: this.#target.to, port: this.#target.port, noDelay: true, allowHalfOpen: true })
    this.#far = far
    far.on('error', () => {})
    far.once('close', () => {
      if (far.connecting || this.#flows.length === 0) this.reset()
    })
    far.once('connect', () => {
      const over = () => {
        if (this.#near.destroyed && far.destroyed) this.ended()
      }
      this.#flows = [
        new Flow(this.#proxy, this.#near, far, there, over),
        new Flow(this.#proxy, far, this.#near, back, over),
      ]
    })
  }
}

/** Bytes in one direction, in order, each not before its time; how the sender's side ended is the last of them. */
class Flow {
  readonly #from: Socket
  readonly #to: Socket
  readonly #path: Path
  readonly #over: () => void
  readonly #queue: { due: number; act: () => void; bytes: number }[] = []
  #held = 0
  #lastDue = 0
  #timer: NodeJS.Timeout | undefined

  constructor(proxy: FaultProxy, from: Socket, to: Socket, path: Path, over: () => void) {
    this.#from = from
    this.#to = to
    this.#path = path
    this.#over = over
    const add = (act: () => void, bytes = 0) => {
      this.#lastDue = Math.max(this.#lastDue, performance.now() + proxy.delay(path))
      this.#queue.push({ due: this.#lastDue, act, bytes })
      this.#held += bytes
      if (this.#held > heldBytesMax) from.pause()
      this.pump()
    }
    from.on('data', (bytes) => add(() => to.write(bytes), bytes.length))
    from.once('end', () => add(() => to.end()))
    from.once('close', (broken) => add(() => (broken && !to.destroyed ? to.resetAndDestroy() : to.destroySoon())))
    to.on('close', over)
    from.resume()
  }

  pump(): void {
    clearTimeout(this.#timer)
    const now = performance.now()
    while (!this.#path.cut && this.#queue.length > 0 && this.#queue[0]!.due <= now) {
      const { act, bytes } = this.#queue.shift()!
      this.#held -= bytes
      if (!this.#to.destroyed) act()
    }
    if (this.#held < heldBytesMax && this.#from.isPaused()) this.#from.resume()
    const next = this.#queue[0]
    if (next !== undefined && !this.#path.cut) this.#timer = setTimeout(() => this.pump(), next.due - now)
    this.#over()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#queue.length = 0
  }
}
