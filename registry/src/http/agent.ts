/**
 * `/v1/agent/`: this node alone. Its services and checks as they were registered here (anti-entropy carries them into
 * the catalog), the members as gossip sees them, and what is to be done with the node itself.
 */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest, NotFound, Refused } from '../errors.ts'
import { isMaintenance } from '../health/status.ts'
import type { CheckStatus } from '../model.ts'
import { healthEndpoint } from './agent-health.ts'
import { maintenanceEndpoints } from './agent-maintenance.ts'
import { readBody } from './body.ts'
import { consulCoordinate } from './coordinates.ts'
import { Fields, parseJson } from './decode.ts'
import { type Answer, type Asked, type Endpoint, empty, type HttpOptions, json } from './endpoint.ts'
import { filterOf } from './filter.ts'
import { encode } from './json.ts'
import { localServices, sortedChecks, sortedServices } from './local.ts'
import { readOptions, waiting } from './query.ts'
import { checkRegistration, dnsWarnings, remoteScriptsOff, type Scripts, serviceRegistration } from './registration.ts'
import { checkShape, serviceShape } from './selector.ts'
import { agentCheck, agentService, consulMember } from './shapes.ts'

/** Exact paths come before the prefixes that also match them. */
export function agentEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  const ttl = (status: CheckStatus) => ({
    PUT: async ({ name, query }: Asked) => {
      await updateTtl(surface, name, status, query.get('note') ?? '')
      return empty()
    },
  })
  return [
    { path: '/v1/agent/self', verbs: { GET: (asked) => json(asked, self(surface)) } },
    { path: '/v1/agent/members', verbs: { GET: (asked) => members(surface, asked) } },
    { path: '/v1/agent/services', verbs: { GET: (asked) => services(surface, asked) } },
    { path: '/v1/agent/checks', verbs: { GET: (asked) => checks(surface, asked) } },
    ...maintenanceEndpoints(surface),
    ...healthEndpoint(surface),
    { path: '/v1/agent/service/register', verbs: { PUT: (asked) => registerService(surface, options, asked) } },
    { path: '/v1/agent/service/deregister/', verbs: { PUT: (asked) => deregisterService(surface, asked) } },
    { path: '/v1/agent/service/', verbs: { GET: (asked) => service(surface, options, asked) } },
    { path: '/v1/agent/check/register', verbs: { PUT: (asked) => registerCheck(surface, options, asked) } },
    { path: '/v1/agent/check/deregister/', verbs: { PUT: (asked) => deregisterCheck(surface, asked) } },
    { path: '/v1/agent/check/pass/', verbs: ttl('passing') },
    { path: '/v1/agent/check/warn/', verbs: ttl('warning') },
    { path: '/v1/agent/check/fail/', verbs: ttl('critical') },
    { path: '/v1/agent/check/update/', verbs: { PUT: (asked) => updateCheck(surface, asked) } },
    { path: '/v1/agent/join/', verbs: { PUT: (asked) => join(surface, asked) } },
    ...reloadEndpoint(options),
    { path: '/v1/agent/leave', verbs: { PUT: () => leave(surface) } },
    { path: '/v1/agent/force-leave/', verbs: { PUT: (asked) => forceLeave(surface, asked) } },
  ]
}

function self(surface: AgentSurface): unknown {
  const { identity } = surface
  const own = surface.members('lan').find(({ name }) => name === identity.name)
  return {
    Config: {
      Datacenter: identity.datacenter,
      NodeName: identity.name,
      NodeID: identity.id,
      Revision: '',
      Server: identity.server,
      Version: identity.version,
    },
    DebugConfig: surface.configuration(),
    Coord: consulCoordinate(surface.coordinates.own),
    Member: own === undefined ? null : consulMember(own),
    Stats: surface.statistics(),
    Meta: surface.view.nodeById(identity.id)?.meta ?? {},
  }
}

function members(surface: AgentSurface, asked: Asked): Answer {
  const { query } = asked
  const segment = query.get('segment') ?? ''
  if (segment !== '' && segment !== '_all') {
    throw new Refused('Network segments are not supported in this version of Consul')
  }
  // Consul 1.8: a bare ?wan is not enough.
  const pool = query.get('wan') ? 'wan' : 'lan'
  return json(asked, surface.members(pool).map(consulMember))
}

function services(surface: AgentSurface, asked: Asked): Answer {
  const keep = filterOf(asked.query, serviceShape)
  const all = sortedServices(surface).map(agentService)
  const kept = keep === undefined ? all : all.filter(keep)
  return json(asked, Object.fromEntries(kept.map((each) => [each.ID, each])))
}

function checks(surface: AgentSurface, asked: Asked): Answer {
  let keep: ReturnType<typeof filterOf>
  try {
    keep = filterOf(asked.query, checkShape)
  } catch (error) {
    // Here alone Consul says only what is wrong.
    throw new Refused((error as Error).message.replace(/^Failed to create boolean expression evaluator: /, ''))
  }
  const services = localServices(surface)
  const all = sortedChecks(surface).map((check) =>
    agentCheck(surface.identity.name, check, services.get(check.result.serviceId)),
  )
  const kept = keep === undefined ? all : all.filter(keep)
  return json(asked, Object.fromEntries(kept.map((each) => [each.CheckID, each])))
}

/** One service; with `?hash=` waits until its content is another one. */
async function service(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const { name, query } = asked
  const look = () => {
    const found = localServices(surface).get(name)
    if (found === undefined) throw new NotFound(`unknown service ID: ${name}`)
    const shaped = agentService(found)
    return { shaped, hash: contentHash(encode(shaped)) }
  }
  const read = readOptions(asked, options)
  const known = query.get('hash') ?? ''
  let found = look()
  if (known === found.hash) {
    // What is registered here shows in the catalog as soon as it is carried there, which wakes us.
    const topics = [{ kind: 'node' as const, node: surface.identity.name }]
    found = await waiting(surface, options, read.wait, asked.request.signal, topics, (over) => {
      const now = look()
      return over || now.hash !== known ? now : undefined
    })
  }
  const { shaped, hash } = found
  return json(asked, { ...shaped, ContentHash: hash }, { 'X-Consul-Contenthash': hash })
}

/** FNV-1a, 64 bits: tells contents apart, protects nothing. */
function contentHash(content: string): string {
  let hash = 0xcbf29ce484222325n
  for (const byte of Buffer.from(content)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn
  return hash.toString(16).padStart(16, '0')
}

async function registerService(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const { service, checks } = serviceRegistration(parseJson(await readBody(asked.request)), scriptsOf(options))
  for (const warning of dnsWarnings(service)) options.log('warn', 'agent', warning)
  const replace = /^(1|t|T|true|TRUE|True)$/.test(asked.query.get('replace-existing-checks') ?? '')
  await surface.local.registerService(service, checks, replace)
  return empty()
}

function scriptsOf({ remoteScripts }: HttpOptions): Scripts {
  return remoteScripts === true ? 'allowed' : remoteScriptsOff
}

/** An id that is not registered is fine, as in Consul 1.8: deregistering twice is what clients do when they stop. */
async function deregisterService(surface: AgentSurface, { name }: Asked): Promise<Answer> {
  if (name === '') throw new Refused('ServiceID missing')
  await fineIfGone(surface.local.deregisterService(name))
  return empty()
}

async function registerCheck(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const check = checkRegistration(parseJson(await readBody(asked.request)), scriptsOf(options))
  if (check.serviceId !== '' && !localServices(surface).has(check.serviceId)) {
    throw new Refused(`ServiceID ${JSON.stringify(check.serviceId)} does not exist`)
  }
  await surface.local.registerCheck(check)
  return empty()
}

async function deregisterCheck(surface: AgentSurface, { name }: Asked): Promise<Answer> {
  if (name === '') throw new Refused('CheckID missing')
  await fineIfGone(surface.local.deregisterCheck(name))
  return empty()
}

async function fineIfGone(done: Promise<void>): Promise<void> {
  try {
    await done
  } catch (error) {
    if (!(error instanceof NotFound)) throw error
  }
}

async function updateCheck(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const fields = new Fields(parseJson(await readBody(asked.request)), 'checkUpdate')
  const status = fields.text('Status')
  if (status !== 'passing' && status !== 'warning' && status !== 'critical') {
    throw new BadRequest(`Invalid check status: '${status}'`)
  }
  await updateTtl(surface, asked.name, status, fields.text('Output'))
  return empty()
}

async function updateTtl(surface: AgentSurface, id: string, status: CheckStatus, output: string): Promise<void> {
  // Consul 1.8 does not tell an unknown check from one that is not a TTL check.
  const refused = new Refused(`CheckID ${JSON.stringify(id)} does not have associated TTL`)
  if (isMaintenance(id)) throw refused
  try {
    await surface.local.updateTtl(id, status, output)
  } catch (error) {
    throw error instanceof NotFound || error instanceof BadRequest ? refused : error
  }
}

async function join(surface: AgentSurface, { name, query }: Asked): Promise<Answer> {
  const pool = query.get('wan') ? 'wan' : 'lan'
  if (pool === 'wan' && !surface.identity.server) throw new Refused('Must be a server to join WAN cluster')
  if (name === '') throw joinFailed(['Failed to resolve : lookup : no such host'])
  try {
    await surface.join([name], pool)
  } catch (error) {
    const host = name.replace(/^\[(.*)\](:\d+)?$|^([^:]*):\d+$/, '$1$3')
    const causes: unknown[] = error instanceof AggregateError ? error.errors : [error]
    throw joinFailed(
      causes.map((cause) => {
        const reason = cause instanceof Error ? cause.message : String(cause)
        return reason.startsWith('Failed to') ? reason : `Failed to join ${host}: ${reason}`
      }),
    )
  }
  return empty()
}

/** Several errors as Consul lists them; ends in an empty line. */
function joinFailed(reasons: string[]): Refused {
  const count = reasons.length === 1 ? '1 error' : `${reasons.length} errors`
  return new Refused(`${count} occurred:\n${reasons.map((reason) => `\t* ${reason}\n`).join('')}\n`)
}

/** None where there are no options to read. */
function reloadEndpoint({ reload }: HttpOptions): Endpoint[] {
  if (reload === undefined) return []
  const answer = async () => {
    await reload()
    return empty()
  }
  return [{ path: '/v1/agent/reload', verbs: { PUT: answer } }]
}

async function leave(surface: AgentSurface): Promise<Answer> {
  await surface.leave()
  return empty()
}

async function forceLeave(surface: AgentSurface, { name, query }: Asked): Promise<Answer> {
  try {
    await surface.forceLeave(name, query.has('prune'))
  } catch (error) {
    if (error instanceof NotFound) throw new Refused(`agent: No node found with name '${name}'`)
    throw error
  }
  return empty()
}
