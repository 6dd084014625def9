/**
 * One check, once, as Consul does it. HTTP and TCP are here, the other kinds in files of their own: the same defaults, the same verdicts, and output in the words of Go's
 * libraries, because people and tools read it.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import type { Millis } from '../model.ts'
import { parseAddress } from './address.ts'
import type { ProbeOutcome, ProbeRequest } from './io.ts'
import { docker } from './node-docker.ts'
import { grpc } from './node-grpc.ts'
import type { Programs } from './node-program.ts'
import { udp } from './node-udp.ts'

type HttpRequest = Extract<ProbeRequest, { kind: 'http' }>

const redirectsMax = 10

/** @param programs what runs scripts; whoever made it closes it */
export async function probe(request: ProbeRequest, programs: Programs): Promise<ProbeOutcome> {
  try {
    return await probed(request, programs)
  } catch (error) {
    return { status: 'critical', output: reasonOf(error) }
  }
}

function probed(request: ProbeRequest, programs: Programs): Promise<ProbeOutcome> {
  switch (request.kind) {
    case 'http':
      return http(request)
    case 'tcp':
      return tcp(request.target, request.timeout)
    case 'udp':
      return udp(request.target, request.timeout, dialError)
    case 'grpc':
      return grpc(request, dialError)
    case 'docker':
      return docker(request)
    case 'script':
      return programs.run(request)
    case 'os_service':
      return osService(request, programs)
  }
}

/** Asks systemd, the only keeper of services that we know; elsewhere the outcome says so. */
async function osService(
  { service, timeout }: Extract<ProbeRequest, { kind: 'os_service' }>,
  programs: Programs,
): Promise<ProbeOutcome> {
  const ended = await programs.exec({ args: ['systemctl', 'is-active', '--', service], timeout, outputMax: 1024 })
  if ('reason' in ended) {
    const absent = ended.reason.includes('not found in $PATH')
    const output = absent ? 'os_service checks ask systemd, and this agent has no systemctl at hand' : ended.reason
    return { status: 'critical', output }
  }
  const output = `systemd unit ${service} is ${ended.output.trim() || 'unknown'}`
  return { status: ended.code === 0 ? 'passing' : 'critical', output }
}

async function http(request: HttpRequest): Promise<ProbeOutcome> {
  const method = request.method === '' ? 'GET' : request.method.toUpperCase()
  // The deadline is one for everything: name, connection, redirects, headers and body.
  const deadline = AbortSignal.timeout(request.timeout)
  let phase = 'awaiting headers'
  let url = request.url
  try {
    let hop = { method, body: request.body }
    for (let redirects = 0; ; redirects++) {
      const response = await ask(request, new URL(url), hop, deadline)
      const status = response.statusCode ?? 0
      const location = response.headers.location
      if (location !== undefined && request.disableRedirects !== true && [301, 302, 303, 307, 308].includes(status)) {
        response.destroy()
        url = new URL(location, url).href
        if (redirects + 1 >= redirectsMax) throw new Error(`stopped after ${redirectsMax} redirects`)
        // As Go's client: only 307 and 308 repeat the method and the body.
        if (status < 307) hop = { method: hop.method === 'HEAD' ? 'HEAD' : 'GET', body: '' }
        continue
      }
      phase = 'reading body'
      const body = await tail(response, request.outputMax, deadline)
      return {
        status: status >= 200 && status < 300 ? 'passing' : status === 429 ? 'warning' : 'critical',
        output: `HTTP ${method} ${request.url}: ${status} ${response.statusMessage ?? ''} Output: ${body}`,
      }
    }
  } catch (error) {
    const reason = deadline.aborted
      ? `context deadline exceeded (Client.Timeout exceeded while ${phase})`
      : dialError(error, url)
    return { status: 'critical', output: `${method[0]}${method.slice(1).toLowerCase()} "${url}": ${reason}` }
  }
}

function ask(
  request: HttpRequest,
  url: URL,
  { method, body }: { method: string; body: string },
  signal: AbortSignal,
): Promise<IncomingMessage> {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    return Promise.reject(new Error(`unsupported protocol scheme "${url.protocol.slice(0, -1)}"`))
  }
  const headers: Record<string, string | string[]> = {
    'user-agent': 'Consul Health Check',
    accept: 'text/plain, text/*, */*',
  }
  for (const [name, values] of Object.entries(request.headers)) {
    headers[name.toLowerCase()] = values.length === 1 ? values[0]! : values
  }
  if (body !== '') headers['content-length'] = String(Buffer.byteLength(body))
  return new Promise((resolve, reject) => {
    const options = { method, headers, signal, agent: false as const }
    const sent =
      url.protocol === 'https:'
        ? httpsRequest(url, { ...options, rejectUnauthorized: !request.tlsSkipVerify }, resolve)
        : httpRequest(url, options, resolve)
    sent.on('error', reject)
    sent.end(body === '' ? undefined : body)
  })
}

/** The last `max` bytes of the body, as Consul's circular buffer keeps them. */
async function tail(response: IncomingMessage, max: number, signal: AbortSignal): Promise<string> {
  let kept: Buffer[] = []
  let length = 0
  const abandon = () => response.destroy(new Error('timeout'))
  signal.addEventListener('abort', abandon)
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      kept.push(chunk)
      length += chunk.length
      if (length > 2 * max + 65_536) {
        kept = [Buffer.concat(kept).subarray(-max)]
        length = kept[0]!.length
      }
    }
  } finally {
    signal.removeEventListener('abort', abandon)
  }
  const all = Buffer.concat(kept)
  return all.subarray(Math.max(0, all.length - max)).toString('utf8')
}

async function tcp(target: string, timeout: Millis): Promise<ProbeOutcome> {
  const { host, port } = parseAddress(target)
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const timer = setTimeout(() => socket.destroy(Object.assign(new Error(), { code: 'ETIMEDOUT' })), timeout)
    socket.on('connect', () => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ status: 'passing', output: `TCP connect ${target}: Success` })
    })
    socket.on('error', (error) => {
      clearTimeout(timer)
      resolve({ status: 'critical', output: dialError(error, `tcp://${target}`) })
    })
  })
}

/** The system's error in the words of Go's net package. */
function dialError(error: unknown, url: string): string {
  // A name with several addresses fails with all their errors; the first is the one Go shows.
  const cause = error instanceof AggregateError ? error.errors[0] : error
  const { code, hostname, address, port } = cause as NodeJS.ErrnoException & {
    hostname?: string
    address?: string
    port?: number
  }
  const at = address === undefined ? hostOf(url) : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
  switch (code) {
    case 'ECONNREFUSED':
      return `dial tcp ${at}: connect: connection refused`
    case 'ECONNRESET':
      return `read tcp ${at}: read: connection reset by peer`
    case 'EHOSTUNREACH':
      return `dial tcp ${at}: connect: no route to host`
    case 'ENETUNREACH':
      return `dial tcp ${at}: connect: network is unreachable`
    case 'ETIMEDOUT':
      return `dial tcp ${at}: i/o timeout`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `dial tcp: lookup ${hostname ?? hostOf(url)}: no such host`
    default:
      return reasonOf(cause)
  }
}

function hostOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined) return url
  return parsed.port !== '' ? parsed.host : `${parsed.host}:${parsed.protocol === 'https:' ? 443 : 80}`
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
