/**
 * `?dc=`: a request for another datacenter goes there whole, is answered by an agent of that place as if it had been asked
 * there, and the answer comes back as it is. What is for us, or for a datacenter that nobody knows, is the endpoint's own.
 */
import type { TravelAnswer, Travelling } from '../agent/elsewhere.ts'
import type { AgentSurface } from '../agent/surface.ts'
import type { Millis } from '../model.ts'
import { readBody } from './body.ts'
import {
  Abandoned,
  type Answer,
  type Answerer,
  type Asked,
  type Endpoint,
  empty,
  type HttpOptions,
  Overlong,
  type Sent,
  type Verb,
} from './endpoint.ts'
import { failure } from './failure.ts'
import { FailedRead, readOptions } from './query.ts'
import { readQuery } from './target.ts'

/** Where `?dc=` says nothing, as in Consul: these are about the agent itself, about all datacenters, or read the body. */
const local =
  /^\/v1\/(?:agent\/|catalog\/(?:datacenters|register|deregister)$|coordinate\/datacenters$|event\/list$|operator\/keyring$)/

/** Reads whose failures carry index 1, as the endpoints' own do. */
const indexed = /^\/v1\/(?:catalog\/|coordinate\/|health\/|query(?:\/|$)|session\/)/

/** Headers that say something about the request itself. */
const travellingHeaders = ['x-consul-token', 'authorization', 'cache-control', 'content-type']

/** The endpoint, with what is for other datacenters sent there. */
export function reaching(endpoint: Endpoint, surface: AgentSurface, options: HttpOptions): Endpoint {
  if (local.test(endpoint.path)) return endpoint
  const verbs: Endpoint['verbs'] = {}
  for (const [verb, answer] of Object.entries(endpoint.verbs) as [Verb, Answerer][]) {
    verbs[verb] = (asked) => {
      const datacenter = asked.query.size === 0 ? '' : (asked.query.get('dc') ?? '')
      if (!isElsewhere(surface, asked, datacenter)) return answer(asked)
      return travel(surface, options, { asked, datacenter, method: verb, path: endpoint.path + asked.name })
    }
  }
  return { ...endpoint, verbs }
}

/** Whether this is to be sent on: not what came from elsewhere itself, nor what is for a datacenter nobody knows. */
export function isElsewhere(surface: AgentSurface, asked: Asked, datacenter: string): boolean {
  return (
    datacenter !== '' &&
    datacenter !== surface.identity.datacenter &&
    asked.request.from === undefined &&
    surface.remote.knows(datacenter) !== false
  )
}

interface Errand {
  asked: Asked
  datacenter: string
  method: Verb
  /** Decoded. */
  path: string
  /** When it was read already. */
  body?: Uint8Array
}

async function travel(surface: AgentSurface, options: HttpOptions, errand: Errand): Promise<Answer> {
  const { asked, method, path } = errand
  // Understood here as well: a long poll has to be waited for.
  const read = method === 'GET' ? readOptions(asked, options) : undefined
  const waits = read === undefined || read.index === 0 ? 0 : (read.wait * 17) / 16
  try {
    return await askElsewhere(surface, errand, waits)
  } catch (error) {
    if (method !== 'GET' || !indexed.test(path) || error instanceof Abandoned) throw error
    throw new FailedRead('the read failed', { cause: error })
  }
}

/** @throws as `ElsewhereSurface.http`; Abandoned when the client is gone */
export async function askElsewhere(surface: AgentSurface, errand: Errand, waits: Millis = 0): Promise<Answer> {
  const { asked, datacenter, method, path } = errand
  const { request, pretty } = asked
  const body = errand.body ?? (method === 'GET' ? nothing : await readBody(request, limitOf(path)))
  const headers: Record<string, string> = {}
  for (const name of travellingHeaders) {
    const value = request.header(name)
    if (value !== null) headers[name] = value
  }
  const query = new URLSearchParams(asked.query)
  query.delete('dc')
  // Distances are between nodes of one datacenter: the agent that was asked is no node there.
  if (query.get('near') === '_agent') query.delete('near')
  const travelling: Travelling = {
    method,
    path,
    query: String(query),
    headers,
    body,
    pretty,
    node: surface.identity.name,
  }
  const { signal } = request
  try {
    return await surface.remote.http(datacenter, travelling, waits, signal)
  } catch (error) {
    if (signal.aborted) throw new Abandoned('the client broke off while waiting', { cause: error })
    throw error
  }
}

const limitOf = (path: string) => (path.startsWith('/v1/txn') ? 'txn_max_req_len' : 'kv_max_value_size')
const nothing = new Uint8Array(0)

/** @param endpoints what may be asked from elsewhere; those of the agent itself are not */
export function answerTravelling(endpoints: readonly Endpoint[], options: HttpOptions): TravelAnswer {
  const reachable = endpoints.filter(({ path }) => !path.startsWith('/v1/agent/'))
  return async (request, abandoned) => {
    const { status, headers, body } = await answered(reachable, request, abandoned, options)
    return { status, headers: { ...headers }, body: typeof body === 'string' ? Buffer.from(body) : body }
  }
}

async function answered(
  endpoints: readonly Endpoint[],
  request: Travelling,
  abandoned: AbortSignal,
  options: HttpOptions,
): Promise<Answer> {
  const { method, path, query, pretty } = request
  const endpoint = endpoints.find((each) => (each.path.endsWith('/') ? path.startsWith(each.path) : path === each.path))
  const answer = endpoint !== undefined && Object.hasOwn(endpoint.verbs, method) && endpoint.verbs[method as Verb]
  // An agent that knows more than we do asked.
  if (endpoint === undefined || !answer) return empty(404)
  try {
    const name = path.slice(endpoint.path.length)
    return await answer({ name, query: readQuery(query), request: new TravelledRequest(request, abandoned), pretty })
  } catch (error) {
    // Nobody waits for it; or we are stopping, and whoever asked may ask another one.
    if (error instanceof Abandoned) throw abandoned.reason
    return failure(error as Error, `${method} ${path} from ${request.node}`, options)
  }
}

class TravelledRequest implements Sent {
  readonly signal: AbortSignal
  readonly from: string
  readonly #request: Travelling

  constructor(request: Travelling, signal: AbortSignal) {
    this.#request = request
    this.signal = signal
    this.from = request.node
  }

  header(name: string): string | null {
    const { headers, body } = this.#request
    if (name === 'content-length') return String(body.length)
    return Object.hasOwn(headers, name) ? String(headers[name]) : null
  }

  async content(bytesMax: number): Promise<Uint8Array> {
    const { body } = this.#request
    if (body.length > bytesMax) throw new Overlong(body.length)
    return body
  }
}
