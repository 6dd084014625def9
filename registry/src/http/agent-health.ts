/** `/v1/agent/health/service/`: one word and a status code for load balancers, from this agent's own checks. */
import type { AgentSurface, LocalCheck } from '../agent/surface.ts'
import { Refused } from '../errors.ts'
import { isMaintenance } from '../health/status.ts'
import type { ServiceDefinition } from '../model.ts'
import { type Answer, type Asked, type Endpoint, json } from './endpoint.ts'
import { sortedChecks, sortedServices } from './local.ts'
import { agentCheck, agentService } from './shapes.ts'

type Aggregated = 'passing' | 'warning' | 'critical' | 'maintenance'

const statusCode: Readonly<Record<Aggregated, number>> = { passing: 200, warning: 429, critical: 503, maintenance: 503 }
const badness: readonly Aggregated[] = ['passing', 'warning', 'critical', 'maintenance']

export function healthEndpoint(surface: AgentSurface): Endpoint[] {
  return [
    { path: '/v1/agent/health/service/name/', verbs: { GET: (asked) => byName(surface, asked) } },
    { path: '/v1/agent/health/service/id/', verbs: { GET: (asked) => byId(surface, asked) } },
  ]
}

function byName(surface: AgentSurface, asked: Asked): Answer {
  if (asked.name === '') throw new Refused('Bad request: Missing service Name')
  const found = sortedServices(surface)
    .filter(({ name }) => name === asked.name)
    .map((service) => healthOf(surface, service))
  if (found.length === 0) return answer(asked, 404, `ServiceName ${asked.name} Not Found`, [])
  const worst = found.map(({ AggregatedStatus }) => AggregatedStatus).reduce(worse)
  return answer(asked, statusCode[worst], worst, found)
}

function byId(surface: AgentSurface, asked: Asked): Answer {
  if (asked.name === '') throw new Refused('Bad request: Missing serviceID')
  const service = sortedServices(surface).find(({ id }) => id === asked.name)
  if (service === undefined) {
    const nothing = { AggregatedStatus: 'critical', Service: null, Checks: null }
    return answer(asked, 404, `ServiceId ${asked.name} not found`, nothing)
  }
  const health = healthOf(surface, service)
  return answer(asked, statusCode[health.AggregatedStatus], health.AggregatedStatus, health)
}

function healthOf(surface: AgentSurface, service: ServiceDefinition) {
  const checks = sortedChecks(surface).filter(
    ({ result }) => result.serviceId === '' || result.serviceId === service.id,
  )
  const own = checks.filter(({ result }) => result.serviceId !== '')
  const first = [...own, ...checks.filter(({ result }) => result.serviceId === '')]
  return {
    AggregatedStatus: checks.map(statusOf).reduce(worse, 'passing'),
    Service: agentService(service),
    Checks: first.map((check) => shapedCheck(surface, check, service)),
  }
}

/** Here Consul writes the definition out with all its zeros, and no type. */
function shapedCheck(surface: AgentSurface, check: LocalCheck, service: ServiceDefinition) {
  const ofService = check.result.serviceId === '' ? undefined : service
  const shaped = agentCheck(surface.identity.name, check, ofService)
  return {
    ...shaped,
    ServiceTags: shaped.ServiceTags.length === 0 ? null : shaped.ServiceTags,
    Type: '',
    Definition: {
      Interval: '0s',
      Timeout: '0s',
      DeregisterCriticalServiceAfter: '0s',
      HTTP: '',
      Header: null,
      Method: '',
      Body: '',
      TLSSkipVerify: false,
      TCP: '',
    },
  }
}

function statusOf(check: LocalCheck): Aggregated {
  if (isMaintenance(check.result.id)) return 'maintenance'
  const { status } = check.result
  return status === 'passing' || status === 'warning' ? status : 'critical'
}

function worse(a: Aggregated, b: Aggregated): Aggregated {
  return badness.indexOf(a) >= badness.indexOf(b) ? a : b
}

/** As JSON, or as one word for who asks for text. */
function answer(asked: Asked, status: number, reason: string, body: unknown): Answer {
  // A header cannot hold every character a name can.
  const headers = { 'X-Consul-Reason': reason.replace(/[^\x20-\x7e]/g, '?') }
  const wantsText =
    asked.query.get('format') === 'text' || (asked.request.header('accept') ?? '').startsWith('text/plain')
  if (!wantsText) return json(asked, body, headers, status)
  return { status, headers: { 'Content-Type': 'text/plain', ...headers }, body: reason }
}
