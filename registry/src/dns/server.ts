/**
 * The sockets of DNS: UDP and TCP on each address, and fresh ones towards recursors. What a packet means is decided
 * in `respond.ts`. This file is a door.
 *
 * One socket per address, never one for all: Node cannot say from which address a datagram leaves, so a wildcard
 * socket answers containers on Docker's own networks from an address they did not ask, and they drop the answer. For
 * `0.0.0.0` and `::` the interfaces are looked at again every few seconds, as networks come and go under Docker. It
 * also lets us live beside a stub resolver that has the port on an address of its own (127.0.0.53).
 */
import { randomInt } from 'node:crypto'
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { readFile } from 'node:fs/promises'
import { connect, createServer, isIPv6, type Server, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { ElsewhereSurface } from '../agent/elsewhere.ts'
import type { AgentSurface } from '../agent/surface.ts'
import type { Io } from '../io/io.ts'
import type { Address, Millis } from '../model.ts'
import { Connection, framed, takeMessage } from './connection.ts'
import { Elsewhere } from './elsewhere.ts'
import { ipv4Addresses, ipv6Addresses, isLinkLocal } from './interfaces.ts'
import type { Transport } from './message.ts'
import { type DnsOptions, dnsSettings } from './options.ts'
import { PreparedQueries } from './prepared.ts'
import { type Exchange, Recursors } from './recursors.ts'
import { Responder } from './respond.ts'

const rescanEvery: Millis = 2000
/** A TCP connection that asks nothing for this long is closed (RFC 7766 §6.2.3 asks for seconds). */
const tcpIdleDefault: Millis = 10_000
const tcpConnectionsMax = 1000
/** The kernel gives less if it likes; enough for a burst while another part of the program holds the loop. */
const receiveBuffer = 4 * 1024 * 1024

export interface DnsServer {
  /** Where it listens now, UDP and TCP alike; of a wildcard, each interface's address. */
  addresses(): Address[]
  /** Ends listening, open connections and waiting questions. */
  close(): Promise<void>
}

/**
 * Answers DNS from the agent's store. Port 0 takes a free one, the same for all addresses and both transports.
 * @throws BadRequest for a bad domain or recursor; Error when an address cannot be listened on: the message names
 * address, port and what to do. Of a wildcard, single addresses that are taken are only warned about.
 */
export async function dnsServer(
  surface: Pick<AgentSurface, 'view'> & { remote?: ElsewhereSurface } & Partial<
      Pick<AgentSurface, 'queries' | 'identity'>
    >,
  listen: { hosts: readonly string[]; port: number; tcpIdle?: Millis },
  options: DnsOptions,
  io: Pick<Io, 'random' | 'log' | 'clock'>,
): Promise<DnsServer> {
  const settings = dnsSettings(options)
  const client = new Client()
  const recursors =
    settings.recursorAddresses.length === 0
      ? undefined
      : new Recursors({
          servers: settings.recursorAddresses,
          timeout: settings.recursorTimeout,
          exchange: (request) => client.exchange(request),
          // Not `io.random`: who sees the order of our answers could work out its state, and with it the next id.
          nextId: () => randomInt(65536),
          clock: io.clock,
          log: io.log,
        })
  const elsewhere = surface.remote && new Elsewhere(surface.remote, io.log)
  const { queries, identity } = surface
  const prepared = queries && new PreparedQueries(queries, identity?.name ?? '', elsewhere, io.log)
  const responder = new Responder(() => surface.view, io.random, settings, recursors, elsewhere, prepared)
  const listeners = new Listeners(listen.hosts, responder, listen.tcpIdle ?? tcpIdleDefault, io.log)
  await listeners.open(listen.port)
  return {
    addresses: () => listeners.addresses(),
    close: async () => {
      client.close()
      await listeners.close()
    },
  }
}

/** Addresses we listen on. */
class Listeners {
  readonly #hosts: readonly string[]
  readonly #responder: Responder
  readonly #tcpIdle: Millis
  readonly #log: Io['log']
  readonly #open = new Map<string, Listener>()
  /** Of a wildcard: why an address could not be had, so that it is said once. */
  readonly #refused = new Map<string, string>()
  #port = 0
  #timer: NodeJS.Timeout | undefined
  #rescan: Promise<void> = Promise.resolve()
  #closed = false

  constructor(hosts: readonly string[], responder: Responder, tcpIdle: Millis, log: Io['log']) {
    this.#hosts = [...new Set(hosts)]
    this.#responder = responder
    this.#tcpIdle = tcpIdle
    this.#log = log
  }

  addresses(): Address[] {
    return [...this.#open.keys()].map((host) => ({ host, port: this.#port }))
  }

  async open(port: number): Promise<void> {
    // A free port on one address may be taken on the next: try others, when any will do.
    for (let attempt = 1; ; attempt++) {
      try {
        this.#port = port
        await this.#openAll()
        break
      } catch (error) {
        await this.#closeAll()
        if (port !== 0 || attempt === 10) throw error
      }
    }
    if (this.#hosts.some(isWildcard)) {
      this.#timer = setInterval(() => {
        this.#rescan = this.#rescan
          .then(() => this.#follow())
          .catch((error) => this.#log('warn', 'dns', 'interfaces could not be read', { error: String(error) }))
      }, rescanEvery)
      this.#timer.unref()
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#rescan
    await this.#closeAll()
  }

  async #openAll(): Promise<void> {
    for (const host of this.#hosts.filter((host) => !isWildcard(host))) await this.#add(host)
    const failures = new Map<string, unknown>()
    for (const host of await this.#ownAddresses()) {
      await this.#add(host).catch((error) => failures.set(host, error))
    }
    const [failure] = failures.values()
    if (this.#open.size === 0) throw failure ?? new Error('no address to listen on for DNS')
    for (const [host, error] of failures) this.#refuse(host, error)
  }

  async #add(host: string): Promise<void> {
    if (this.#open.has(host)) return
    const listener = await Listener.open(host, this.#port, this.#responder, this.#tcpIdle, this.#log)
    this.#port = listener.port
    this.#open.set(host, listener)
    this.#refused.delete(host)
    for (const network of ['udp', 'tcp']) {
      this.#log('info', 'agent', 'Started DNS server', { address: hostAndPort(host, this.#port), network })
    }
  }

  /** Once around what a wildcard stands for: new addresses get sockets, those of addresses gone are closed. */
  async #follow(): Promise<void> {
    const present = await this.#ownAddresses()
    for (const [host, listener] of this.#open) {
      if (present.has(host) || this.#hosts.includes(host)) continue
      this.#open.delete(host)
      this.#log('info', 'dns', 'address is gone', { address: host })
      await listener.close()
    }
    for (const host of present) {
      if (this.#closed) return
      await this.#add(host).catch((error) => this.#refuse(host, error))
    }
  }

  #refuse(host: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    if (this.#refused.get(host) === reason) return
    this.#refused.set(host, reason)
    this.#log('warn', 'dns', reason)
  }

  /** What the wildcard among the hosts stands for now; none when there is no wildcard. */
  async #ownAddresses(): Promise<Set<string>> {
    const wildcards = this.#hosts.filter(isWildcard)
    if (wildcards.length === 0) return new Set()
    const wanted = (address: string) => !isIPv6(address) || (wildcards.includes('::') && !isLinkLocal(address))
    const listed = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
    // Where there is no such file, what Node knows has to do.
    const [fibTrie, ifInet6] = await Promise.all(
      ['/proc/net/fib_trie', '/proc/net/if_inet6'].map((file) => readFile(file, 'utf8').catch(() => '')),
    )
    const known = [...ipv4Addresses(fibTrie ?? ''), ...ipv6Addresses(ifInet6 ?? '')]
    return new Set([...listed.map(({ address }) => address), ...known].filter(wanted))
  }

  async #closeAll(): Promise<void> {
    const listeners = [...this.#open.values()]
    this.#open.clear()
    await Promise.all(listeners.map((listener) => listener.close()))
  }
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function hostAndPort(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

/** UDP and TCP on one address. */
class Listener {
  readonly port: number
  readonly #udp: UdpSocket
  readonly #tcp: Server
  readonly #connections = new Set<Socket>()
  #closed = false
  readonly #responder: Responder
  readonly #log: Io['log']

  static async open(
    host: string,
    port: number,
    responder: Responder,
    tcpIdle: Millis,
    log: Io['log'],
  ): Promise<Listener> {
    const tcp = createServer({ allowHalfOpen: true })
    tcp.maxConnections = tcpConnectionsMax
    await listening('tcp', host, port, tcp, () => tcp.listen({ host, port, ipv6Only: true }))
    const bound = tcp.address()
    const actual = bound !== null && typeof bound === 'object' ? bound.port : port
    const udp = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', ipv6Only: isIPv6(host) })
    try {
      await listening('udp', host, actual, udp, () => udp.bind({ address: host, port: actual, exclusive: true }))
    } catch (error) {
      tcp.close()
      throw error
    }
    return new Listener(actual, udp, tcp, responder, tcpIdle, log)
  }

  constructor(port: number, udp: UdpSocket, tcp: Server, responder: Responder, tcpIdle: Millis, log: Io['log']) {
    this.port = port
    this.#udp = udp
    this.#tcp = tcp
    this.#responder = responder
    this.#log = log
    try {
      udp.setRecvBufferSize(receiveBuffer)
    } catch (error) {
      log('debug', 'dns', 'receive buffer stays as it is', { error: String(error) })
    }
    udp.on('message', (packet, from) => this.#datagram(packet, from))
    udp.on('error', (error) => log('warn', 'dns', 'udp socket failed', { error: error.message }))
    tcp.on('connection', (socket) => this.#connection(socket, tcpIdle))
    tcp.on('error', (error) => log('warn', 'dns', 'tcp socket failed', { error: error.message }))
  }

  #datagram(packet: Uint8Array, from: { address: string; port: number }): void {
    // Nobody has port 0; the packet was made to be answered elsewhere, or not at all.
    if (from.port === 0) return
    this.#respond(packet, 'udp', from.address, (reply) => {
      if (reply === undefined || this.#closed) return
      this.#udp.send(reply, from.port, from.address, (error) => {
        if (error) this.#log('debug', 'dns', 'answer could not be sent', { to: from.address, error: error.message })
      })
    })
  }

  #connection(socket: Socket, tcpIdle: Millis): void {
    this.#connections.add(socket)
    // Whole messages count, not octets: who sends one now and then has asked nothing.
    const idle = setTimeout(() => socket.destroy(), tcpIdle)
    idle.unref()
    const connection = new Connection(
      socket,
      (packet, done) => this.#respond(packet, 'tcp', socket.remoteAddress ?? '', done),
      () => idle.refresh(),
    )
    socket.setNoDelay(true)
    socket.on('data', (bytes) => connection.data(bytes))
    socket.on('drain', () => connection.continue())
    socket.on('end', () => connection.ended())
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      clearTimeout(idle)
      this.#connections.delete(socket)
    })
  }

  /** Calls back exactly once, at once unless a recursor is asked. A packet that we fail on is logged and not answered. */
  #respond(
    packet: Uint8Array,
    transport: Transport,
    from: string,
    done: (reply: Uint8Array | undefined) => void,
  ): void {
    const failed = (error: unknown) => {
      const bytes = Buffer.from(packet).toString('hex', 0, 512)
      this.#log('error', 'dns', 'question could not be answered', { error: String(error), packet: bytes })
      return undefined
    }
    let reply: ReturnType<Responder['respond']>
    try {
      reply = this.#responder.respond(packet, transport, from)
    } catch (error) {
      reply = failed(error)
    }
    if (reply instanceof Promise) reply.catch(failed).then(done).catch(failed)
    else done(reply)
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const socket of this.#connections) socket.destroy()
    await Promise.all([
      new Promise<void>((closed) => this.#udp.close(closed)),
      new Promise<void>((closed) => this.#tcp.close(() => closed())),
    ])
  }
}

/** Resolves when the server or socket listens; rejects with what to do about it. */
async function listening(
  network: Transport,
  host: string,
  port: number,
  socket: Server | UdpSocket,
  start: () => void,
): Promise<void> {
  try {
    await new Promise<void>((listening, failed) => {
      socket.once('error', failed)
      socket.once('listening', () => {
        socket.removeListener('error', failed)
        listening()
      })
      start()
    })
  } catch (cause) {
    if (network === 'udp') (socket as UdpSocket).close()
    throw new Error(`cannot listen for DNS on ${hostAndPort(host, port)} (${network}): ${advice(cause, port)}`, {
      cause,
    })
  }
}

function advice(cause: unknown, port: number): string {
  switch ((cause as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return 'something else listens there; stop it, or choose another port with -dns-port or another address with -client'
    case 'EACCES':
      return (
        `ports below 1024 are for root; run as root, allow it to this user (sysctl net.ipv4.ip_unprivileged_port_start=${port}, ` +
        'or setcap cap_net_bind_service=+ep on the node program), or choose a port above with -dns-port, such as 8600'
      )
    case 'EADDRNOTAVAIL':
      return 'no interface of this machine has that address; choose one of its own with -client'
    default:
      return cause instanceof Error ? cause.message : String(cause)
  }
}

/** Our side of the questions to recursors: a fresh socket, and with it a fresh port, for each (RFC 5452 §9.2). */
class Client {
  readonly #abandon = new Set<(reason: Error) => void>()

  exchange({ transport, server, packet, timeout, isReply }: Parameters<Exchange>[0]): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      let end: (() => void) | undefined
      const finish = (settle: () => void) => {
        if (!this.#abandon.delete(abandon)) return
        clearTimeout(timer)
        end?.()
        settle()
      }
      const abandon = (reason: Error) => finish(() => reject(reason))
      const take = (reply: Uint8Array) => finish(() => resolve(reply))
      const timer = setTimeout(() => abandon(new Error(`no reply in ${timeout} ms`)), timeout)
      this.#abandon.add(abandon)
      const start = transport === 'udp' ? askOverUdp : askOverTcp
      try {
        end = start(server, packet, (reply) => isReply(reply) && take(reply), abandon)
      } catch (error) {
        abandon(error as Error)
      }
      // It may have failed before it returned.
      if (!this.#abandon.has(abandon)) end?.()
    })
  }

  close(): void {
    for (const abandon of this.#abandon) abandon(new Error('stopped'))
  }
}

type Ask = (
  server: Address,
  packet: Uint8Array,
  onPacket: (packet: Uint8Array) => void,
  onError: (error: Error) => void,
) => () => void

const askOverUdp: Ask = (server, packet, onPacket, onError) => {
  const socket = createSocket(isIPv6(server.host) ? 'udp6' : 'udp4')
  socket.on('message', onPacket)
  socket.on('error', onError)
  // Connected: the kernel drops what comes from anyone else, and a refusal comes back as an error at once.
  socket.connect(server.port, server.host, () => socket.send(packet))
  return () => socket.close()
}

const askOverTcp: Ask = (server, packet, onPacket, onError) => {
  const socket = connect(server.port, server.host)
  let received: Buffer = Buffer.alloc(0)
  socket.on('connect', () => socket.write(framed(packet)))
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes])
    const reply = takeMessage(received)
    if (reply === undefined) return
    onPacket(reply)
    // Still here: it was no reply to us.
    onError(new Error('the reply is not to our question'))
  })
  socket.on('error', onError)
  socket.on('end', () => onError(new Error('connection ended before the reply')))
  return () => socket.destroy()
}
