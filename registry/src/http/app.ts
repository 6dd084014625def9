/**
 * Consul's HTTP API over one agent. This file routes; what is asked and answered lives in the endpoints' files, and what
 * becomes of errors in `failure.ts`. Faces do not know who leads: `AgentSurface` forwards. What is asked most often does
 * not come here: `direct.ts`.
 */
import { Hono } from 'hono'
import type { TravelAnswer } from '../agent/elsewhere.ts'
import type { AgentSurface } from '../agent/surface.ts'
import { aclEndpoints } from './acl.ts'
import { agentEndpoints } from './agent.ts'
import { blocked, readOnly } from './allowed.ts'
import { catalogEndpoints } from './catalog.ts'
import { coordinateEndpoints } from './coordinates.ts'
import { answerTravelling, reaching } from './elsewhere.ts'
import { type Answer, type Endpoint, empty, type HttpOptions, type Sent, text, type Verb } from './endpoint.ts'
import { eventEndpoints } from './events.ts'
import { failure } from './failure.ts'
import { FetchedRequest, responseOf } from './fetched.ts'
import { healthEndpoints } from './health.ts'
import { keyringEndpoints } from './keyring.ts'
import { kvEndpoints } from './kv.ts'
import { meshEndpoints } from './mesh.ts'
import { monitorEndpoints } from './monitor.ts'
import { operatorEndpoints } from './operator.ts'
import { type Outward, outward } from './outward.ts'
import { preparedQueryEndpoints } from './prepared-queries.ts'
import { sessionEndpoints } from './sessions.ts'
import { statusEndpoints } from './status.ts'
import { type Bindings, encodedPath, type ReadPath, rawTarget, readPath, readQuery } from './target.ts'
import { txnEndpoints } from './txn.ts'

/**
 * The application, for `serve` or for calling in-process with `app.request(…)`.
 * Unknown paths are 404 without a body, wrong verbs (HEAD among them, as in Consul 1.8) 405 with `Allow`.
 */
export function httpApp(surface: AgentSurface, options: HttpOptions): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>({ getPath: routedPath })
  const out = outward(options)
  for (const endpoint of endpointsOf(surface, options)) mount(app, endpoint, options, out)
  app.get('/', (context) => {
    const { path } = rawTarget(context.req.raw, context.env)
    return responseOf(detour(readPath(path), context.req.method, '') ?? text(200, 'Consul Agent'))
  })
  app.notFound((context) => {
    const { path, query } = rawTarget(context.req.raw, context.env)
    return responseOf(detour(readPath(path), context.req.method, query) ?? empty(404))
  })
  app.onError((error, context) => {
    const { path } = rawTarget(context.req.raw, context.env)
    return responseOf(failure(error, `${context.req.method} ${path}`, options))
  })
  return app
}

/** Everything that is answered, whichever way it comes in. */
export function endpointsOf(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  const endpoints = [
    ...kvEndpoints(surface, options),
    ...healthEndpoints(surface, options),
    ...catalogEndpoints(surface, options),
    ...agentEndpoints(surface, options),
    ...monitorEndpoints(options),
    ...sessionEndpoints(surface, options),
    ...preparedQueryEndpoints(surface, options),
    ...statusEndpoints(surface),
    ...operatorEndpoints(surface),
    ...coordinateEndpoints(surface, options),
    ...keyringEndpoints(surface),
    ...eventEndpoints(surface, options),
    ...txnEndpoints(surface, options),
    ...meshEndpoints(surface, options),
    ...aclEndpoints(),
  ]
  return endpoints.map((endpoint) => reaching(endpoint, surface, options))
}

/** What this agent answers to requests that come from another datacenter. */
export function travelAnswer(surface: AgentSurface, options: HttpOptions): TravelAnswer {
  return answerTravelling(endpointsOf(surface, options), options)
}

/** The decoded path decides the route; one that will be refused or redirected keeps its raw form. */
function routedPath(request: Request, context?: { env?: Bindings | undefined }): string {
  const { path } = rawTarget(request, context?.env)
  const read = readPath(path)
  return read.kind === 'path' ? read.path : path
}

function mount(app: Hono<{ Bindings: Bindings }>, endpoint: Endpoint, options: HttpOptions, out: Outward): void {
  const prefix = endpoint.path.endsWith('/')
  app.all(prefix ? `${endpoint.path}*` : endpoint.path, async (context) => {
    const { raw, method } = context.req
    const { path, query } = rawTarget(raw, context.env)
    const routed = context.req.path
    // The router's own answers have none of an endpoint's headers.
    const elsewhere = detour(readPath(path), method, query)
    if (elsewhere !== undefined) return responseOf(elsewhere)
    if (prefix && routed.length < endpoint.path.length) return responseOf(moved(endpoint.path, method, query))
    const request = new FetchedRequest(raw, context.env)
    let answer: Answer
    try {
      answer = await answered(endpoint, { routed, method, query }, request, options)
    } catch (error) {
      answer = failure(error as Error, `${method} ${path}`, options)
    }
    // Nobody would ever end a stream that begins after its client left.
    if (answer.stream !== undefined && request.signal.aborted) {
      await answer.stream.cancel()
      answer = empty(499)
    }
    return responseOf(await out(answer, request))
  })
}

/** `routed`: the decoded path. */
interface Target {
  routed: string
  method: string
  query: string
}

function answered(
  endpoint: Endpoint,
  { routed, method, query: queryText }: Target,
  request: Sent,
  options: HttpOptions,
): Answer | Promise<Answer> {
  const refused = blocked(routed, options)
  if (refused !== undefined) return refused
  const allow = () => ({ Allow: ['OPTIONS', ...Object.keys(endpoint.verbs)].join(',') })
  if (method === 'OPTIONS') return empty(200, allow())
  const answer = Object.hasOwn(endpoint.verbs, method) ? endpoint.verbs[method as Verb] : undefined
  if (answer === undefined) return text(405, `method ${method} not allowed`, allow())
  const restricted = readOnly(method, request, options)
  if (restricted !== undefined) return restricted
  const query = readQuery(queryText)
  const pretty = options.pretty === true || query.has('pretty')
  return answer({ name: routed.slice(endpoint.path.length), query, request, pretty })
}

/** What is answered instead when the path itself is wrong. */
function detour(read: ReadPath, method: string, query: string): Answer | undefined {
  if (read.kind === 'refused') return text(400, read.reason)
  if (read.kind === 'moved') return moved(read.path, method, query)
  return undefined
}

function moved(path: string, method: string, query: string): Answer {
  const location = encodedPath(path) + (query === '' ? '' : `?${query}`)
  if (method !== 'GET' && method !== 'HEAD') return empty(301, { Location: location })
  const link = location.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
  return {
    status: 301,
    headers: { 'Content-Type': 'text/html; charset=utf-8', Location: location },
    body: `<a href="${link}">Moved Permanently</a>.\n\n`,
  }
}
