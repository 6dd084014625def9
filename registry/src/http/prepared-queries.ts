/**
 * `/v1/query`: prepared queries, and what they find. Unlike Consul 1.8, field names may be in snake_case, as everywhere else
 * here; fields that are not known are refused, as there: they would say which instances are meant.
 */
import { expectTemplate } from '../agent/queries.ts'
import type { AgentSurface, Fresh } from '../agent/surface.ts'
import { type BadRequest, NotFound, Refused } from '../errors.ts'
import { parseDuration } from '../health/duration.ts'
import type { Instance, Millis, PreparedQuery, PreparedQueryDefinition } from '../model.ts'
import { missingQuery } from '../store/queries.ts'
import { sessionId } from '../store/sessions.ts'
import { readBody } from './body.ts'
import { decodeFailed, Fields, parseJson } from './decode.ts'
import { type Answer, type Asked, type Endpoint, empty, type HttpOptions, json, text, type Verb } from './endpoint.ts'
import { sorted } from './json.ts'
import {
  consistency,
  FailedRead,
  freshEnough,
  headersOf,
  localOnly,
  type ReadOptions,
  reading,
  readOptions,
  told,
} from './query.ts'
import { metaProblem } from './registration.ts'
import { checkServiceNode } from './shapes.ts'

/** All other datacenters together may take as long before the answer is that nothing was found. */
const failoverWithin: Millis = 10_000
/** What Consul shows instead of a token. */
const redacted = '<hidden>'

export function preparedQueryEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  return [
    {
      path: '/v1/query',
      verbs: { GET: (asked) => list(surface, options, asked), POST: (asked) => create(surface, options, asked) },
    },
    {
      path: '/v1/query/',
      verbs: {
        GET: (asked) => {
          const found = /^(.*)\/(execute|explain)$/s.exec(asked.name)
          if (found === null) return get(surface, options, asked)
          const [, name = '', what] = found
          return what === 'execute' ? execute(surface, options, asked, name) : explain(surface, options, asked, name)
        },
        PUT: (asked) => onlyRead(asked, 'PUT') ?? update(surface, asked),
        DELETE: (asked) => onlyRead(asked, 'DELETE') ?? remove(surface, asked),
      },
    },
  ]
}

function onlyRead({ name }: Asked, verb: Verb): Answer | undefined {
  if (!/\/(execute|explain)$/.test(name)) return undefined
  return text(405, `method ${verb} not allowed`, { Allow: 'GET' })
}

async function list(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const read = readOptions(asked, options)
  const question = { topics: [{ kind: 'queries' as const }], look: (view: Fresh['view']) => view.queries() }
  const { value, headers } = await localReading(surface, options, read, asked, question)
  return json(asked, value.map(consulQuery), headers)
}

async function get(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const read = readOptions(asked, options)
  const { value, headers } = await localReading(surface, options, read, asked, {
    topics: [{ kind: 'queries' as const }],
    look: (view: Fresh['view']) => {
      const named = sessionId(asked.name)
      if ('error' in named) throw new Refused(lookupFailed(named.error))
      return view.query(named.id)
    },
  })
  if (value === undefined) throw new NotFound('Query not found')
  return json(asked, [consulQuery(value)], headers)
}

async function localReading<T>(
  surface: AgentSurface,
  options: HttpOptions,
  read: ReadOptions,
  asked: Asked,
  question: Parameters<typeof reading<T>>[4],
) {
  const answer = await reading(surface, options, read, asked, question)
  return { ...answer, headers: { ...answer.headers, 'X-Consul-Effective-Consistency': consistency(read) } }
}

async function create(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const given = definition(parseJson(await readBody(asked.request)))
  localOnly(surface, asked.query.get('dc') ?? '')
  if (given.id !== '') throw new Refused('ID must be empty when creating a new prepared query')
  expectSound(given)
  const query = { ...given, id: options.random.uuid() }
  await surface.write({ type: 'query.set', query, create: true })
  return json(asked, { ID: query.id })
}

async function update(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const given = definition(parseJson(await readBody(asked.request)))
  localOnly(surface, asked.query.get('dc') ?? '')
  const id = idIn(asked)
  const { view } = await surface.read('default')
  if (view.query(id).value === undefined) throw new Refused(missingQuery(asked.name))
  expectSound(given)
  await surface.write({ type: 'query.set', query: { ...given, id }, create: false })
  return empty()
}

async function remove(surface: AgentSurface, asked: Asked): Promise<Answer> {
  localOnly(surface, asked.query.get('dc') ?? '')
  await surface.write({ type: 'query.delete', id: idIn(asked) })
  return empty()
}

async function execute(surface: AgentSurface, options: HttpOptions, asked: Asked, name: string): Promise<Answer> {
  const { query, request } = asked
  const read = readOptions(asked, options)
  const limit = limitOf(query.get('limit') ?? '')
  const connect = connectOf(query.get('connect') ?? '')
  const answered = await executing(surface, read, async () => {
    const fresh = await freshEnough(surface, read)
    const agent = request.from ?? surface.identity.name
    const wanted = { near: query.get('near') ?? '', ip: addressOf(asked), agent, limit, connect }
    return { fresh, found: await surface.queries.execute(name, wanted, failoverWithin) }
  })
  const { fresh, found } = answered
  if (found === undefined) throw new NotFound('Query not found')
  const { service, instances, ttl, datacenter, failovers } = found
  const shape = datacenter === surface.identity.datacenter ? hereShape : elsewhereShape
  const body = {
    Service: service,
    Nodes: instances.map(shape),
    DNS: { TTL: ttl },
    Datacenter: datacenter,
    Failovers: failovers,
  }
  return json(asked, { ...body, ...meta(fresh, read) }, executedHeaders(fresh, read))
}

async function explain(surface: AgentSurface, options: HttpOptions, asked: Asked, name: string): Promise<Answer> {
  const read = readOptions(asked, options)
  const { fresh, query } = await executing(surface, read, async () => {
    const fresh = await freshEnough(surface, read)
    return { fresh, query: surface.queries.resolve(name) }
  })
  if (query === undefined) throw new NotFound('Query not found')
  return json(asked, { Query: consulQuery(query), ...meta(fresh, read) }, executedHeaders(fresh, read))
}

/** What fails once the request is understood carries index 1, as other reads do. */
async function executing<T>(surface: AgentSurface, { dc }: ReadOptions, act: () => Promise<T>): Promise<T> {
  try {
    localOnly(surface, dc)
    return await act()
  } catch (cause) {
    throw new FailedRead('the query was not executed', { cause })
  }
}

/** Not to be waited for: the index says nothing. */
function executedHeaders(fresh: Fresh, read: ReadOptions): Record<string, string> {
  return { ...headersOf(1, fresh, read), 'X-Consul-Effective-Consistency': consistency(read) }
}

function meta(fresh: Fresh, read: ReadOptions) {
  return {
    Index: 0,
    LastContact: Math.round(told(fresh) * 1e6),
    KnownLeader: fresh.knownLeader,
    ConsistencyLevel: consistency(read),
  }
}

/** @throws Refused in the words of Go's strconv.Atoi */
function limitOf(given: string): number {
  if (given === '') return 0
  const wrong = (why: string) => new Refused(`Bad limit: strconv.Atoi: parsing ${JSON.stringify(given)}: ${why}`)
  if (!/^[-+]?\d+$/.test(given)) throw wrong('invalid syntax')
  const limit = BigInt(given.replace('+', ''))
  if (limit < -(2n ** 63n) || limit >= 2n ** 63n) throw wrong('value out of range')
  return limit <= 0n ? 0 : Math.min(Number(limit), Number.MAX_SAFE_INTEGER)
}

function connectOf(given: string): boolean {
  if (given === '' || /^(0|f|F|false|FALSE|False)$/.test(given)) return false
  if (/^(1|t|T|true|TRUE|True)$/.test(given)) return true
  const wrong = `strconv.ParseBool: parsing ${JSON.stringify(given)}: invalid syntax`
  throw new Refused(`Error parsing 'connect' value: ${wrong}`)
}

/** Where the request came from: what the first proxy says, or the connection. */
function addressOf({ request }: Asked): string {
  const [forwarded = ''] = (request.header('x-forwarded-for') ?? '').split(',')
  if (/^[\d.]+$|:/.test(forwarded.trim())) return forwarded.trim()
  return (request.address ?? '').replace(/^::ffff:(?=\d+\.)/, '')
}

/** @throws Refused */
function idIn({ name }: Asked): string {
  const named = sessionId(name)
  if ('error' in named) throw new Refused(`Prepared Query lookup failed: ${lookupFailed(named.error)}`)
  // Of an id that is no UUID there is none.
  if (!named.id.includes('-')) throw new Refused(missingQuery(name))
  return named.id
}

const lookupFailed = (error: string) => error.replace(/^failed session lookup/, 'failed prepared query lookup')

/** @throws BadRequest in Go's words */
function definition(body: unknown): PreparedQueryDefinition {
  const whole = new Fields(body, 'PreparedQuery', 'structs.PreparedQuery')
  const template = whole.object('Template', 'QueryTemplateOptions.Template')
  const service = whole.object('Service', 'ServiceQuery.Service')
  const failover = service.object('Failover', 'QueryDatacenterOptions.Service.Failover')
  const dns = whole.object('DNS', 'QueryDNSOptions.DNS')
  expectKnown(body, known.query)
  expectKnown(whole.any('Template'), known.template)
  expectKnown(whole.any('Service'), known.service)
  expectKnown(service.any('Failover'), known.failover)
  expectKnown(whole.any('DNS'), known.dns)
  const texts = (fields: Fields, name: string) => (fields.has(name) ? fields.texts(name) : null)
  return {
    id: whole.text('ID'),
    name: whole.text('Name'),
    session: whole.text('Session'),
    token: whole.text('Token'),
    template: {
      type: template.text('Type'),
      regexp: template.text('Regexp'),
      removeEmptyTags: template.boolean('RemoveEmptyTags'),
    },
    service: {
      service: service.text('Service'),
      failover: { nearest: failover.integer('NearestN'), datacenters: texts(failover, 'Datacenters') },
      onlyPassing: service.boolean('OnlyPassing'),
      ignoreCheckIds: texts(service, 'IgnoreCheckIDs'),
      near: service.text('Near'),
      tags: texts(service, 'Tags'),
      nodeMeta: service.textMap('NodeMeta'),
      serviceMeta: service.textMap('ServiceMeta'),
      connect: service.boolean('Connect'),
    },
    dns: { ttl: dns.text('TTL') },
  }
}

const known = {
  query: ['ID', 'Name', 'Session', 'Token', 'Template', 'Service', 'DNS', 'CreateIndex', 'ModifyIndex'],
  template: ['Type', 'Regexp', 'RemoveEmptyTags'],
  service: [
    'Service',
    'Failover',
    'OnlyPassing',
    'IgnoreCheckIDs',
    'Near',
    'Tags',
    'NodeMeta',
    'ServiceMeta',
    'Connect',
  ],
  failover: ['NearestN', 'Datacenters'],
  dns: ['TTL'],
}

function expectKnown(given: unknown, names: readonly string[]): void {
  const plain = (name: string) => name.toLowerCase().replaceAll('_', '')
  for (const name of Object.keys(given ?? {})) {
    if (!names.some((each) => plain(each) === plain(name))) {
      throw decodeFailed(`json: unknown field ${JSON.stringify(name)}`)
    }
  }
}

/** All that can be said of a query by itself, in Consul's order. @throws Refused */
function expectSound(query: PreparedQueryDefinition): void {
  const { name, template, session, token, service, dns } = query
  const wrong = (why: string) => new Refused(`Invalid prepared query: ${why}`)
  if (name === '' && template.type === '' && session === '') throw wrong('Must be bound to a session')
  if (token === redacted) {
    throw wrong(`Bad Token '${token}', it looks like a query definition with a redacted token was submitted`)
  }
  if (service.service === '') throw wrong('Must provide a Service name to query')
  const { nearest } = service.failover
  if (nearest < 0) throw wrong(`Bad NearestN '${nearest}', must be >= 0`)
  const pairs = Object.entries(service.nodeMeta ?? {})
  if (pairs.length > 64) throw wrong('Node metadata cannot contain more than 64 key/value pairs')
  for (const [key, value] of pairs) {
    const problem = metaProblem(key, value, true)
    if (problem !== undefined) throw wrong(`Couldn't load metadata pair ('${key}', '${value}'): ${problem}`)
  }
  expectTtl(dns.ttl)
  expectTemplate(query)
}

function expectTtl(ttl: string): void {
  if (ttl === '') return
  let lasts: Millis
  try {
    lasts = parseDuration(ttl)
  } catch (error) {
    throw new Refused(`Invalid prepared query: Bad DNS TTL '${ttl}': ${(error as BadRequest).message}`)
  }
  if (lasts < 0) {
    throw new Refused(`Invalid prepared query: DNS TTL '${BigInt(Math.round(lasts * 1e6))}', must be >=0`)
  }
}

/** In Consul's order and spelling. */
function consulQuery(query: PreparedQuery) {
  const { template, service, dns } = query
  return {
    ID: query.id,
    Name: query.name,
    Session: query.session,
    Token: query.token,
    Template: { Type: template.type, Regexp: template.regexp, RemoveEmptyTags: template.removeEmptyTags },
    Service: {
      Service: service.service,
      Failover: { NearestN: service.failover.nearest, Datacenters: service.failover.datacenters },
      OnlyPassing: service.onlyPassing,
      IgnoreCheckIDs: service.ignoreCheckIds,
      Near: service.near,
      Tags: service.tags,
      NodeMeta: service.nodeMeta && sorted(service.nodeMeta),
      ServiceMeta: service.serviceMeta && sorted(service.serviceMeta),
      Connect: service.connect,
    },
    DNS: { TTL: dns.ttl },
    CreateIndex: query.createIndex,
    ModifyIndex: query.modifyIndex,
  }
}

/** Of an instance without checks Consul says null here, and of what another datacenter found also of other empty lists. */
function hereShape(instance: Instance) {
  const { Node, Service, Checks } = checkServiceNode(instance)
  return { Node, Service, Checks: Checks.length === 0 ? null : Checks }
}

function elsewhereShape(instance: Instance) {
  const { Node, Service, Checks } = hereShape(instance)
  const orNull = (tags: string[]) => (tags.length === 0 ? null : tags)
  return {
    Node,
    Service: { ...Service, Tags: orNull(Service.Tags) },
    Checks: Checks?.map((check) => ({ ...check, ServiceTags: orNull(check.ServiceTags) })) ?? null,
  }
}
