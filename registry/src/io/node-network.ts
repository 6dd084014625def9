/**
 * The real network: frames over TCP, datagrams over UDP. One outgoing connection for each channel and address, made when a
 * frame needs it and kept while frames flow; after a failure the next frame makes another. A peer that vanished without a
 * word (a cut cable, a stopped machine) is noticed by silence: a connection that frames left on must answer an empty frame
 * within `silenceMax`, for TCP alone would repeat itself for minutes and keep the frames of a healed network waiting.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { type AddressInfo, connect, createServer, isIPv4, isIPv6, type Server, type Socket } from 'node:net'
import { BadRequest } from '../errors.ts'
import type { Address, Millis } from '../model.ts'
import { addressText } from './address.ts'
import { FrameJoiner, frameHeader } from './frames.ts'
import type { Channel, Log, Network, Reply, Seemingly } from './io.ts'
import { Repeats } from './repeats.ts'

export type Listen = Partial<Record<Channel, Address | undefined>>

export interface NetworkLimits {
  connectTimeout: Millis
  /** An outgoing connection that carried nothing for so long is closed. */
  idleMax: Millis
  silenceMax: Millis
  /** Bytes that may wait for one connection. */
  queueBytesMax: number
  connectionsMax: number
}

const limitsDefault: NetworkLimits = {
  connectTimeout: 2000,
  idleMax: 120_000,
  silenceMax: 3000,
  queueBytesMax: 32 * 1024 * 1024,
  connectionsMax: 8192,
}

const channels = ['rpc', 'lan', 'wan'] as const
const portFlags: Record<Channel, string> = { rpc: '-server-port', lan: '-serf-lan-port', wan: '-serf-wan-port' }
const flushWait = 500
const watchInterval = 500
const earlyFramesMax = 256
const nothing = new Uint8Array(0)

type FrameReceiver = (bytes: Uint8Array, reply: Reply, from?: Seemingly) => void
type DatagramReceiver = (bytes: Uint8Array, from?: Seemingly) => void
type LostReceiver = (to: Address, reason: Error) => void

interface Outgoing {
  socket: Socket
  /** When an answer began to be owed, and when a frame last passed in either direction. */
  askedAt: number | undefined
  usedAt: number
  /** Frames left since the last answer. */
  unanswered: boolean
  /** Who wants to know when the other side turns out not to be one of ours; gone once it has said something. */
  strangers: ((reason: Error) => void)[] | undefined
}

/** Told through `onFailed` of a frame on a gossip channel: whoever listens there has never answered as an agent does. */
export const strangerCode = 'ENOAGENT'

/** As many wait for the first sign of life; whoever asks more often than that hears nothing, and has a deadline anyway. */
const strangersMax = 64

export class NodeNetwork implements Network {
  /** The ports that are bound, which differ from those asked for where these were 0. */
  readonly ports: Partial<Record<Channel, number>> = {}

  readonly #log: Log
  readonly #repeats: Repeats
  readonly #halt: (reason: Error) => void
  readonly #limits: NetworkLimits
  readonly #servers: Server[] = []
  readonly #datagrams = new Map<Channel, UdpSocket>()
  /** Channels whose datagram socket is one of IPv6. */
  readonly #wide = new Set<Channel>()
  readonly #incoming = new Set<Socket>()
  readonly #outgoing = new Map<string, Outgoing>()
  readonly #frameReceivers = new Map<Channel, FrameReceiver>()
  /** Frames that came before anybody asked for them: a node listens before it has read its log. */
  readonly #early = new Map<Channel, { frame: Uint8Array; reply: Reply; from: Seemingly }[]>()
  readonly #datagramReceivers = new Map<Channel, DatagramReceiver>()
  readonly #lostReceivers = new Map<Channel, LostReceiver>()
  readonly #watch: NodeJS.Timeout
  #closed = false

  private constructor(log: Log, halt: (reason: Error) => void, limits: NetworkLimits) {
    this.#log = log
    this.#repeats = new Repeats(log)
    this.#halt = halt
    this.#limits = limits
    this.#watch = setInterval(() => this.#look(performance.now()), Math.min(watchInterval, limits.silenceMax / 2))
    this.#watch.unref()
  }

  /** How many frames wait for a receiver. */
  get earlyFrames(): number {
    return [...this.#early.values()].reduce((sum, frames) => sum + frames.length, 0)
  }

  /** @throws BadRequest naming channel, address and option when an address cannot be listened on. */
  static async open(
    listen: Listen,
    log: Log,
    halt: (reason: Error) => void,
    limits: Partial<NetworkLimits> = {},
  ): Promise<NodeNetwork> {
    const network = new NodeNetwork(log, halt, { ...limitsDefault, ...limits })
    try {
      for (const channel of channels) {
        const address = listen[channel]
        if (address !== undefined) await network.#listen(channel, address)
      }
    } catch (error) {
      await network.close()
      throw error
    }
    return network
  }

  datagram(channel: Channel, to: Address, bytes: Uint8Array): void {
    const socket = this.#datagrams.get(channel)
    if (socket === undefined || this.#closed) return
    // A socket of IPv6 reaches IPv4 by mapped addresses only.
    const host = this.#wide.has(channel) && isIPv4(to.host) ? `::ffff:${to.host}` : to.host
    socket.send(bytes, to.port, host, (error) => {
      if (error) this.#log('trace', 'network', 'datagram not sent', { to: addressText(to), error: error.message })
    })
  }

  frame(channel: Channel, to: Address, bytes: Uint8Array, onFailed?: (reason: Error) => void): void {
    const header = frameHeader(bytes)
    if (this.#closed) {
      this.#fail(onFailed, new Error('the network is closed'))
      return
    }
    const key = `${channel} ${addressText(to)}`
    const known = this.#outgoing.get(key)
    // One that has just failed, or was ended because it was idle, is there until its socket has closed.
    const usable = known !== undefined && !known.socket.destroyed && !known.socket.writableEnded
    const connection = usable ? known : this.#connect(channel, to, key)
    const { socket } = connection
    if (socket.writableLength + bytes.length > this.#limits.queueBytesMax) {
      this.#fail(onFailed, new Error(`too many bytes wait for ${addressText(to)}`))
      return
    }
    connection.usedAt = performance.now()
    connection.unanswered = true
    write(socket, header, bytes, (error) => {
      if (error) this.#fail(onFailed, socket.errored ?? error)
      else if (onFailed !== undefined && channel !== 'rpc' && (connection.strangers?.length ?? 0) < strangersMax) {
        // Of a request that left, nobody may say that it was not seen; who gossips only wants to know whom it talks to.
        connection.strangers?.push(onFailed)
      }
    })
  }

  onDatagram(channel: Channel, receive: DatagramReceiver): void {
    this.#datagramReceivers.set(channel, receive)
  }

  onFrame(channel: Channel, receive: FrameReceiver): void {
    this.#frameReceivers.set(channel, receive)
    const early = this.#early.get(channel) ?? []
    this.#early.delete(channel)
    // Never inside the receiver's own call.
    for (const { frame, reply, from } of early) queueMicrotask(() => this.#receive(channel, frame, reply, from))
  }

  onLost(channel: Channel, lost: LostReceiver): void {
    this.#lostReceivers.set(channel, lost)
  }

  /** Stops listening, lets what was written leave for at most half a second, and closes every socket. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#watch)
    const servers = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    const sockets = [...this.#incoming, ...[...this.#outgoing.values()].map(({ socket }) => socket)]
    await Promise.all(sockets.map(flushed))
    for (const socket of this.#datagrams.values()) await new Promise<void>((resolve) => socket.close(() => resolve()))
    await Promise.all(servers)
  }

  async #listen(channel: Channel, address: Address): Promise<void> {
    // With port 0 the kernel chooses one for TCP, and UDP has to get the same.
    for (let attempt = 1; ; attempt++) {
      const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 }, (socket) =>
        this.#accept(channel, socket),
      )
      server.maxConnections = this.#limits.connectionsMax
      const port = await listenTcp(server, channel, address)
      try {
        if (channel !== 'rpc') this.#datagrams.set(channel, await this.#listenUdp(channel, { ...address, port }))
        server.on('error', (error) => this.#log('error', 'network', 'accept failed', { channel, error: error.message }))
        this.#servers.push(server)
        this.ports[channel] = port
        return
      } catch (error) {
        await new Promise((resolve) => server.close(resolve))
        if (address.port !== 0 || attempt === 10) throw error
      }
    }
  }

  #listenUdp(channel: Channel, address: Address): Promise<UdpSocket> {
    if (isIPv6(address.host)) this.#wide.add(channel)
    const socket = createSocket({ type: isIPv6(address.host) ? 'udp6' : 'udp4', recvBufferSize: 1024 * 1024 })
    socket.on('message', (bytes, { address: host, port }) => {
      this.#give(() => this.#datagramReceivers.get(channel)?.(bytes, addressText({ host, port })))
    })
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close()
        reject(listenError(channel, 'udp', address, error))
      })
      socket.bind(address.port, address.host, () => {
        socket.removeAllListeners('error')
        socket.on('error', (error) =>
          this.#log('warn', 'network', 'datagram socket', { channel, error: error.message }),
        )
        resolve(socket)
      })
    })
  }

  #accept(channel: Channel, socket: Socket): void {
    this.#incoming.add(socket)
    const reply: Reply = (bytes) => {
      if (socket.destroyed || !socket.writable) return
      // Who does not read its answers must not make us keep them.
      if (socket.writableLength + bytes.length > this.#limits.queueBytesMax) socket.destroy()
      else write(socket, frameHeader(bytes), bytes)
    }
    const from = remoteText(socket)
    this.#read(channel, socket, (frame) => {
      if (frame.length > 0) this.#receive(channel, frame, reply, from)
      // Whatever waits to leave is as good an answer; and who asks without reading must not make us keep the answers.
      else if (socket.writableLength === 0) write(socket, frameHeader(nothing), nothing)
    })
    socket.on('close', () => this.#incoming.delete(socket))
  }

  #connect(channel: Channel, to: Address, key: string): Outgoing {
    const socket = connect({
      host: to.host,
      port: to.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 15_000,
    })
    const connection: Outgoing = {
      socket,
      askedAt: undefined,
      usedAt: performance.now(),
      unanswered: false,
      strangers: [],
    }
    this.#outgoing.set(key, connection)
    const timer = setTimeout(
      () => socket.destroy(unconnected(`no connection to ${addressText(to)} within ${this.#limits.connectTimeout} ms`)),
      this.#limits.connectTimeout,
    )
    let connected = false
    socket.on('connect', () => {
      clearTimeout(timer)
      connected = true
    })
    const reply: Reply = (bytes) => this.frame(channel, to, bytes)
    this.#read(channel, socket, (frame) => {
      connection.askedAt = undefined
      connection.usedAt = performance.now()
      connection.strangers = undefined
      if (frame.length > 0) this.#receive(channel, frame, reply, addressText(to))
    })
    socket.on('close', () => {
      clearTimeout(timer)
      const reason = socket.errored as NodeJS.ErrnoException | null
      const words = reason?.code === strangerCode ? reason.message : 'the connection was closed without an answer'
      for (const failed of connection.strangers ?? []) this.#fail(failed, stranger(words))
      connection.strangers = undefined
      // Else another one has taken its place, and what is owed is owed there.
      if (this.#outgoing.get(key) !== connection) return
      this.#outgoing.delete(key)
      if (connected) {
        const lost = reason ?? new Error('the connection was closed')
        this.#give(() => this.#lostReceivers.get(channel)?.(to, lost))
      }
    })
    return connection
  }

  #read(channel: Channel, socket: Socket, receive: (frame: Uint8Array) => void): void {
    const joiner = new FrameJoiner()
    socket.on('data', (bytes) => {
      let frames: Uint8Array[]
      try {
        frames = joiner.push(bytes)
      } catch (error) {
        const { remoteAddress, remotePort } = socket
        this.#repeats.warn(
          `${channel} ${remoteAddress}`,
          performance.now(),
          'network',
          `connection with ${remoteAddress} closed: not an agent, or damaged bytes`,
          { channel, port: remotePort, error: (error as Error).message },
        )
        socket.destroy(stranger(spoken(bytes)))
        return
      }
      for (const frame of frames) receive(frame)
    })
    socket.on('error', (error) => {
      this.#log('debug', 'network', 'connection failed', { channel, error: error.message })
    })
  }

  #look(now: Millis): void {
    this.#repeats.tick(now)
    for (const connection of this.#outgoing.values()) {
      const { socket } = connection
      if (socket.connecting) continue
      if (connection.askedAt !== undefined && now - connection.askedAt > this.#limits.silenceMax) {
        // Closed in the usual way, the kernel would go on trying, and deliver a request long after its sender was told
        // that nobody knows what became of it. A reset throws away what is still on the way.
        for (const failed of connection.strangers ?? []) {
          this.#fail(failed, stranger(`nothing was answered within ${this.#limits.silenceMax / 1000} s`))
        }
        connection.strangers = undefined
        socket.resetAndDestroy()
        this.#log('debug', 'network', 'connection given up', {
          reason: `no sign of life for ${this.#limits.silenceMax} ms`,
        })
      } else if (connection.askedAt === undefined && connection.unanswered) {
        connection.unanswered = false
        connection.askedAt = now
        write(socket, frameHeader(nothing), nothing)
      } else if (now - connection.usedAt > this.#limits.idleMax) {
        socket.end()
      }
    }
  }

  #receive(channel: Channel, frame: Uint8Array, reply: Reply, from: Seemingly): void {
    const receiver = this.#frameReceivers.get(channel)
    if (receiver !== undefined) {
      this.#give(() => receiver(frame, reply, from))
      return
    }
    const early = this.#early.get(channel) ?? []
    this.#early.set(channel, early)
    if (early.length < earlyFramesMax) early.push({ frame, reply, from })
  }

  /** A receiver that throws is a broken invariant of this node. */
  #give(receive: () => void): void {
    if (this.#closed) return
    try {
      receive()
    } catch (error) {
      this.#halt(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #fail(onFailed: ((reason: Error) => void) | undefined, reason: Error): void {
    // Never inside the sender's own call.
    if (onFailed !== undefined) queueMicrotask(() => this.#closedOr(() => onFailed(reason)))
  }

  #closedOr(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#halt(error instanceof Error ? error : new Error(String(error)))
    }
  }
}

function remoteText({ remoteAddress: host, remotePort: port }: Socket): Seemingly {
  return host === undefined || port === undefined ? undefined : addressText({ host, port })
}

function stranger(words: string): Error {
  return Object.assign(new Error(words), { code: strangerCode })
}

/** What somebody said who does not speak frames. */
function spoken(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, 24)).toString('latin1')
  if (text.startsWith('HTTP/')) return 'an HTTP server answered'
  if (text.startsWith('SSH-')) return 'an SSH server answered'
  // A TLS record: alert or handshake, version 3.x.
  if ((bytes[0] === 0x15 || bytes[0] === 0x16) && bytes[1] === 3) return 'a TLS server answered'
  return `the answer began with ${JSON.stringify(text.replace(/[^ -~]/g, '.'))}`
}

/** As Node says it of a socket that was closed before it was connected: nothing has left. */
function unconnected(message: string): Error {
  return Object.assign(new Error(message), { code: 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION' })
}

/** Header and body, and whatever else is written in this turn of the loop, by whomever, in one system call. */
function write(socket: Socket, header: Uint8Array, body: Uint8Array, done?: (error?: Error | null) => void): void {
  if (socket.writableCorked === 0) {
    socket.cork()
    setImmediate(() => socket.uncork())
  }
  if (body.length === 0) {
    socket.write(header, done)
    return
  }
  socket.write(header)
  socket.write(body, done)
}

/**
 * Everything written has left, and the other side has closed too: a socket that is destroyed with unread bytes in it sends a
 * reset, which may overtake what the other side has not read yet.
 */
function flushed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed || socket.connecting) {
      socket.destroy()
      resolve()
      return
    }
    const timer = setTimeout(() => socket.destroy(), flushWait)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    socket.end()
  })
}

function listenTcp(server: Server, channel: Channel, address: Address): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenError(channel, 'tcp', address, error)))
    server.listen({ host: address.host, port: address.port, backlog: 1024 }, () => {
      server.removeAllListeners('error')
      resolve((server.address() as AddressInfo).port)
    })
  })
}

function listenError(channel: Channel, protocol: string, address: Address, error: NodeJS.ErrnoException): BadRequest {
  const what = `cannot listen on ${addressText(address)} (${protocol}) for ${channel}`
  const options = { cause: error }
  switch (error.code) {
    case 'EADDRINUSE':
      return new BadRequest(
        `${what}: the port is taken; stop what has it, or choose another with ${portFlags[channel]}`,
        options,
      )
    case 'EADDRNOTAVAIL':
      return new BadRequest(`${what}: no interface of this machine has that address; choose one with -bind`, options)
    case 'EACCES':
      return new BadRequest(`${what}: this user may not; choose a port above 1023 with ${portFlags[channel]}`, options)
    default:
      return new BadRequest(`${what}: ${error.message}`, options)
  }
}
