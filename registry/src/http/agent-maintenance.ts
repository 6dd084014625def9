/** Maintenance mode: a critical check that stays until it is taken away, so that nobody is sent here meanwhile. */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest, NotFound } from '../errors.ts'
import type { CheckDefinition } from '../health/definition.ts'
import { nodeMaintenanceId, serviceMaintenancePrefix } from '../health/status.ts'
import { type Answer, type Asked, type Endpoint, empty } from './endpoint.ts'
import { localServices } from './local.ts'

export function maintenanceEndpoints(surface: AgentSurface): Endpoint[] {
  return [
    { path: '/v1/agent/maintenance', verbs: { PUT: (asked) => nodeMaintenance(surface, asked) } },
    { path: '/v1/agent/service/maintenance/', verbs: { PUT: (asked) => serviceMaintenance(surface, asked) } },
  ]
}

function nodeMaintenance(surface: AgentSurface, { query }: Asked): Promise<Answer> {
  const enable = enabled(query)
  return set(surface, enable, {
    ...maintenanceCheck('node', query),
    id: nodeMaintenanceId,
    name: 'Node Maintenance Mode',
  })
}

function serviceMaintenance(surface: AgentSurface, { name, query }: Asked): Promise<Answer> {
  if (name === '') throw new BadRequest('Missing service ID')
  const enable = enabled(query)
  if (!localServices(surface).has(name)) throw new NotFound(`No service registered with ID ${JSON.stringify(name)}`)
  return set(surface, enable, {
    ...maintenanceCheck('service', query),
    id: serviceMaintenancePrefix + name,
    name: 'Service Maintenance Mode',
    serviceId: name,
  })
}

/** Enabling twice keeps the first reason, as in Consul. */
async function set(surface: AgentSurface, enable: boolean, check: CheckDefinition): Promise<Answer> {
  const on = surface.local.checks().some(({ result }) => result.id === check.id)
  if (enable && !on) await surface.local.registerCheck(check)
  if (!enable && on) await surface.local.deregisterCheck(check.id)
  return empty()
}

function enabled(query: URLSearchParams): boolean {
  const value = query.get('enable')
  if (value === null || value === '') throw new BadRequest('Missing value for enable')
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false
  throw new BadRequest(`Invalid value for enable: ${JSON.stringify(value)}`)
}

function maintenanceCheck(what: 'node' | 'service', query: URLSearchParams): CheckDefinition {
  return {
    id: '',
    name: '',
    notes:
      query.get('reason') ||
      `Maintenance mode is enabled for this ${what}, but no reason was provided. This is a default message.`,
    serviceId: '',
    initialStatus: 'critical',
    initialOutput: '',
    successesBeforePassing: 0,
    failuresBeforeCritical: 0,
    deregisterServiceAfter: 0,
    how: { type: 'maintenance' },
  }
}
