/** The listener under the HTTP application: sockets, limits, and an orderly end.  [door] */
import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Log } from '../io/io.ts'
import type { Millis } from '../model.ts'
import { bodyBytesMax } from './body.ts'
import type { Connections } from './connections.ts'
import type { Direct } from './direct.ts'
import { Abandoned, type Answer, type Sent, text } from './endpoint.ts'

export interface Listening {
  host: string
  /** The port that was bound; tells which one when 0 was asked for. */
  port: number
  /**
   * Takes no more connections, lets answers under way finish for a moment, then closes whatever is left: long polls
   * end here. Resolves when every socket is closed.
   */
  close(): Promise<void>
}

export interface ServeOptions {
  /** An IPv4 or IPv6 address (without brackets) or a host name. */
  host: string
  port: number
  /** The option that chose the port, for the error when it is taken. */
  flag?: string
  log?: Log
  /** Is asked first; the application has what it leaves. */
  direct?: Direct
  /** How many connections a client may have; without it any number. */
  connections?: Connections
  /** For clients that send slowly. */
  patience?: Patience
}

interface Patience {
  /** From the connection, or from the first byte of the next request, to the end of the headers. */
  headers: Millis
  /** To the end of the body. Waiting for an answer is not limited here. */
  request: Millis
  /** How often that is looked at. */
  every: Millis
}

/** Anything with a fetch, as Hono has. */
export interface Application {
  fetch(request: Request, bindings: object): Response | Promise<Response>
}

const graceMillis = 200
const patienceDefault: Patience = { headers: 20_000, request: 60_000, every: 10_000 }

/**
 * @throws Error that names the address, the port and the option when it cannot listen
 */
export async function serve(
  app: Application,
  { host, port, flag = '-http-port', log, direct, connections, patience = patienceDefault }: ServeOptions,
): Promise<Listening> {
  const fetch = (request: Request, { incoming, outgoing }: { incoming: IncomingMessage; outgoing: ServerResponse }) => {
    let signal: AbortSignal | undefined
    const gone = () => {
      signal ??= goneSignal(incoming, outgoing)
      return signal
    }
    const found = app.fetch(request, { incoming, outgoing, gone })
    const settled = (response: Response) => {
      if (response.status === nobodyThere) outgoing.destroy()
      return response
    }
    return found instanceof Promise ? found.then(settled) : settled(found)
  }
  const listener = getRequestListener((request, bindings) => fetch(request, bindings as never), {
    // HTTP/1.0 requests without a Host header are fine, as health checks of load balancers send them.
    hostname: 'localhost',
    // The application answers its own errors; what ends here is a target or a host no URL can be made of.
    errorHandler: (error) => {
      const status = error instanceof RequestError ? 400 : 500
      return new Response(`${status} ${STATUS_CODES[status]}`, {
        status,
        headers: { 'Content-Type': 'text/plain; charset=utf-8', Connection: 'close' },
      })
    },
  })
  const take = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    if (incoming.httpVersion === '1.1' && incoming.headers.host === undefined) {
      write(outgoing, text(400, '400 Bad Request: missing required Host header', { Connection: 'close' }))
      return
    }
    if (direct !== undefined && answeredDirectly(direct, incoming, outgoing)) return
    // Nothing depends on the host; the framework would make a URL of it, and refuse ports that Consul takes.
    if (incoming.headers.host !== undefined && ordinaryHost.test(incoming.headers.host))
      incoming.headers.host = 'localhost'
    void listener(incoming, outgoing)
  }
  /** The last request of each connection. */
  const latest = new WeakMap<Duplex, Latest>()
  const server = createServer(
    {
      maxHeaderSize: 64 * 1024,
      // Refused below, in words and with a length.
      requireHostHeader: false,
      headersTimeout: patience.headers,
      requestTimeout: patience.request,
      connectionsCheckingInterval: patience.every,
      // Clients keep pools: closing early would race with their next request.
      keepAliveTimeout: 120_000,
    },
    (incoming, outgoing) => {
      // Pipelined requests are answered one after the other: a read sees the write before it (RFC 9112 §9.3.2).
      const last = latest.get(incoming.socket)?.outgoing
      const before = last === undefined || last.writableEnded ? undefined : last
      latest.set(incoming.socket, { incoming, outgoing, before })
      if (before === undefined) take(incoming, outgoing)
      else
        before.once('close', () => void (outgoing.destroyed || incoming.socket.destroyed || take(incoming, outgoing)))
    },
  )
  // A client may say that it sends no more and still wants its answer: `nc -N`, and some proxies. Node closes such a
  // connection at once unless told so (`httpAllowHalfOpen`, which its types do not know).
  Object.assign(server, { httpAllowHalfOpen: true })
  server.on('connection', (socket) => {
    if (connections !== undefined) count(connections, socket)
    socket.once('end', () => {
      const { incoming, outgoing } = latest.get(socket) ?? {}
      // A stream has no end of its own.
      if (incoming?.method === 'GET' && outgoing?.headersSent && !outgoing.writableEnded) outgoing.destroy()
    })
  })
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    // Who asks first need not send what would be refused. A snapshot has limits of its own.
    const announced = Number(incoming.headers['content-length'] ?? 0)
    if (announced <= bodyBytesMax || incoming.url?.startsWith('/v1/snapshot')) outgoing.writeContinue()
    server.emit('request', incoming, outgoing)
  })
  server.on('checkExpectation', (_incoming: IncomingMessage, outgoing: ServerResponse) => {
    outgoing.writeHead(417, { 'Content-Length': '0', Connection: 'close' }).end()
  })
  const refused = new WeakSet<Duplex>()
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    // The parser may complain again of what comes after.
    if (refused.has(socket)) return
    refused.add(socket)
    // What came whole before has its own answer: taking this one for it, a client would believe that nothing was written.
    const answering = wholeUnanswered(latest.get(socket))
    if (answering === undefined) refuse(error, socket)
    else answering.once('close', () => refuse(error, socket))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(error, host, port, flag)))
    server.listen(port, host, resolve)
  })
  // Out of file descriptors, for one: those who are connected are still served.
  server.on('error', (error) => log?.('error', 'http', `accept failed: ${error.message}`))
  const bound = server.address() as AddressInfo
  return {
    host: bound.address,
    port: bound.port,
    close: () =>
      new Promise((resolve) => {
        const force = setTimeout(() => server.closeAllConnections(), graceMillis)
        server.close(() => {
          clearTimeout(force)
          resolve()
        })
        server.closeIdleConnections()
      }),
  }
}

/** nginx's word for an answer that nobody waits for any more. */
const nobodyThere = 499

/** Closes the connection if it is one too many. */
function count(connections: Connections, socket: Socket): void {
  const address = socket.remoteAddress
  if (address === undefined) return
  if (connections.opened(address)) socket.once('close', () => connections.closed(address))
  else socket.resetAndDestroy()
}

/**
 * Fires when nobody reads the answer any more. Who asks something and sends no more is either waiting or gone: for a
 * read we take it for gone, or a long poll would be kept for nobody; a change is carried out and answered anyway.
 */
function goneSignal(incoming: IncomingMessage, outgoing: ServerResponse): AbortSignal {
  const gone = new AbortController()
  const { socket, method } = incoming
  // No reason: each would be an error with its own stack. Also after the whole answer has left; nobody listens then.
  const abort = () => gone.abort(null)
  outgoing.once('close', abort)
  if (method === 'GET') {
    socket.once('end', abort)
    outgoing.once('close', () => socket.off('end', abort))
  }
  if (outgoing.destroyed || (method === 'GET' && socket.readableEnded)) abort()
  return gone.signal
}

interface Latest {
  incoming: IncomingMessage
  outgoing: ServerResponse
  /** Was not answered yet when this one came. */
  before: ServerResponse | undefined
}

/** The last answer under way to a request that came whole; only the latest may be in pieces. */
function wholeUnanswered(latest: Latest | undefined): ServerResponse | undefined {
  const last = latest?.incoming.complete === false ? latest.before : latest?.outgoing
  return last === undefined || last.writableEnded || last.destroyed ? undefined : last
}

/** Bytes that are no request. */
function refuse({ code }: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable) return
  const status = code === 'HPE_HEADER_OVERFLOW' ? 431 : code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const message = `${status} ${STATUS_CODES[status]}`
  socket.end(
    `HTTP/1.1 ${message}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${message.length}\r\nConnection: close\r\n\r\n${message}`,
  )
}

const ordinaryHost = /^[\w.:[\]-]*$/

/** False: nothing was done. */
function answeredDirectly(direct: Direct, incoming: IncomingMessage, outgoing: ServerResponse): boolean {
  const { method = '', url = '', headers } = incoming
  // What may not come in whole has the framework's care.
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > bodyBytesMax) return false
  // A host that is none is refused there too.
  if (!ordinaryHost.test(headers.host ?? '')) return false
  const answer = direct(method, url, () => new IncomingRequest(incoming, outgoing))
  if (answer === undefined) return false
  if (answer instanceof Promise) void answer.then((settled) => write(outgoing, settled))
  else write(outgoing, answer)
  return true
}

/** A request whose body's length was announced, straight from the parser. */
class IncomingRequest implements Sent {
  readonly #incoming: IncomingMessage
  readonly #outgoing: ServerResponse
  #signal: AbortSignal | undefined

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    this.#incoming = incoming
    this.#outgoing = outgoing
  }

  get signal(): AbortSignal {
    this.#signal ??= goneSignal(this.#incoming, this.#outgoing)
    return this.#signal
  }

  get address(): string | undefined {
    return this.#incoming.socket.remoteAddress
  }

  header(name: string): string | null {
    const value = this.#incoming.headers[name]
    return value === undefined ? null : String(value)
  }

  content(): Promise<Uint8Array> {
    const incoming = this.#incoming
    // The parser refuses what is no number, and ends the body after so many bytes.
    const announced = Number(incoming.headers['content-length'] ?? 0)
    if (announced === 0) return Promise.resolve(new Uint8Array(0))
    return new Promise((resolve, reject) => {
      const chunks: Uint8Array[] = []
      let left = announced
      incoming.on('data', (chunk: Uint8Array) => {
        chunks.push(chunk)
        left -= chunk.length
        if (left === 0) resolve(chunks.length === 1 ? chunk : Buffer.concat(chunks, announced))
      })
      incoming.once('close', () => left > 0 && reject(new Abandoned('the client broke off while sending its body')))
    })
  }
}

function write(outgoing: ServerResponse, { status, headers, body }: Answer): void {
  if (status === nobodyThere) {
    outgoing.destroy()
    return
  }
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
  const fields = ['Content-Length', String(length)]
  for (const [name, value] of Object.entries(headers)) fields.push(name, value)
  outgoing.writeHead(status, fields)
  outgoing.end(body)
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number, flag: string): Error {
  const place = `${host.includes(':') ? `[${host}]` : host}:${port}`
  switch (error.code) {
    case 'EADDRINUSE':
      return new Error(`cannot listen on ${place}: the port is taken; stop who has it or choose another with ${flag}`, {
        cause: error,
      })
    case 'EACCES':
      return new Error(`cannot listen on ${place}: ports below 1024 need privileges; choose another with ${flag}`, {
        cause: error,
      })
    case 'EADDRNOTAVAIL':
      return new Error(`cannot listen on ${place}: this machine does not have that address; choose it with -client`, {
        cause: error,
      })
    default:
      return new Error(`cannot listen on ${place}: ${error.message}`, { cause: error })
  }
}
