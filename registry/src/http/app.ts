/**
 * Consul's HTTP API over one agent. This file routes and turns errors into statuses; what is asked and answered lives
 * in the endpoints' files. Faces do not know who leads: `AgentSurface` forwards.
 */
import { Hono } from 'hono'
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest, Busy, LeadershipLost, NoLeader, NotFound, Refused, Stopped, TooLarge } from '../errors.ts'
import { agentEndpoints } from './agent.ts'
import { Abandoned } from './body.ts'
import { catalogEndpoints } from './catalog.ts'
import { type Endpoint, empty, type HttpOptions, text, type Verb } from './endpoint.ts'
import { healthEndpoints } from './health.ts'
import { kvEndpoints } from './kv.ts'
import { FailedRead } from './query.ts'
import { statusEndpoints } from './status.ts'
import { type Bindings, encodedPath, type ReadPath, rawTarget, readPath, readQuery } from './target.ts'
import { txnEndpoints } from './txn.ts'

/**
 * The application, for `serve` or for calling in-process with `app.request(…)`.
 * Unknown paths are 404 without a body, wrong verbs (HEAD among them, as in Consul 1.8) 405 with `Allow`.
 */
export function httpApp(surface: AgentSurface, options: HttpOptions): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>({ getPath: routedPath })
  const endpoints = [
    ...kvEndpoints(surface, options),
    ...healthEndpoints(surface, options),
    ...catalogEndpoints(surface, options),
    ...agentEndpoints(surface, options),
    ...statusEndpoints(surface),
    ...txnEndpoints(surface, options),
  ]
  for (const endpoint of endpoints) mount(app, endpoint, options)
  app.get('/', (context) => {
    const { path } = rawTarget(context.req.raw, context.env)
    return detour(readPath(path), context.req.method, '') ?? text(200, 'Consul Agent')
  })
  app.notFound((context) => {
    const { path, query } = rawTarget(context.req.raw, context.env)
    return detour(readPath(path), context.req.method, query) ?? empty(404)
  })
  app.onError((error, context) => {
    const { path } = rawTarget(context.req.raw, context.env)
    return failure(error, `${context.req.method} ${path}`, options)
  })
  return app
}

/** The decoded path decides the route; one that will be refused or redirected keeps its raw form. */
function routedPath(request: Request, context?: { env?: Bindings | undefined }): string {
  const { path } = rawTarget(request, context?.env)
  const read = readPath(path)
  return read.kind === 'path' ? read.path : path
}

function mount(app: Hono<{ Bindings: Bindings }>, endpoint: Endpoint, options: HttpOptions): void {
  const prefix = endpoint.path.endsWith('/')
  const allow = ['OPTIONS', ...Object.keys(endpoint.verbs)].join(',')
  app.all(prefix ? `${endpoint.path}*` : endpoint.path, (context) => {
    const { raw: request, method } = context.req
    const target = rawTarget(request, context.env)
    const read = readPath(target.path)
    const elsewhere = detour(read, method, target.query)
    if (elsewhere !== undefined) return elsewhere
    const path = context.req.path
    if (prefix && path.length < endpoint.path.length) return moved(endpoint.path, method, target.query)
    if (method === 'OPTIONS') return empty(200, { Allow: allow })
    const answer = Object.hasOwn(endpoint.verbs, method) ? endpoint.verbs[method as Verb] : undefined
    if (answer === undefined) return text(405, `method ${method} not allowed`, { Allow: allow })
    const query = readQuery(target.query)
    const pretty = options.pretty === true || query.has('pretty')
    return answer({ name: path.slice(endpoint.path.length), query, request, pretty })
  })
}

/** What is answered instead when the path itself is wrong. */
function detour(read: ReadPath, method: string, query: string): Response | undefined {
  if (read.kind === 'refused') return text(400, read.reason)
  if (read.kind === 'moved') return moved(read.path, method, query)
  return undefined
}

function moved(path: string, method: string, query: string): Response {
  const location = encodedPath(path) + (query === '' ? '' : `?${query}`)
  if (method !== 'GET' && method !== 'HEAD') return empty(301, { Location: location })
  const link = location.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
  return new Response(`<a href="${link}">Moved Permanently</a>.\n\n`, {
    status: 301,
    headers: { 'Content-Type': 'text/html; charset=utf-8', Location: location },
  })
}

function failure(error: Error, request: string, options: HttpOptions): Response {
  if (error instanceof FailedRead && error.cause instanceof Error) {
    const response = failure(error.cause, request, options)
    // Consul's catalog and health reads say so even when they fail, and its Go client parses them first.
    response.headers.set('X-Consul-Index', '1')
    response.headers.set('X-Consul-Knownleader', 'false')
    response.headers.set('X-Consul-Lastcontact', '0')
    return response
  }
  if (error instanceof BadRequest) return text(400, error.message)
  if (error instanceof NotFound) return text(404, error.message)
  // The rest of the body is not worth reading: the connection closes.
  if (error instanceof TooLarge) return text(413, error.message, { Connection: 'close' })
  if (error instanceof Refused || error instanceof NoLeader) return text(500, error.message)
  if (error instanceof LeadershipLost) return text(500, error.message)
  if (error instanceof Busy || error instanceof Stopped) return text(503, error.message)
  // Nobody is there to read this.
  if (error instanceof Abandoned) return empty(499)
  options.log('error', 'http', `Request error: ${error.message}`, { request, stack: error.stack })
  return text(500, error.message)
}
