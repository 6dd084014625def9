/** This agent's own services and checks, as the endpoints need them. */
import type { AgentSurface, LocalCheck } from '../agent/surface.ts'
import type { ServiceDefinition, ServiceId } from '../model.ts'

export function localServices(surface: AgentSurface): Map<ServiceId, ServiceDefinition> {
  return new Map(surface.local.services().map(({ definition }) => [definition.id, definition]))
}

/** By id, as Go prints maps. */
export function sortedServices(surface: AgentSurface): ServiceDefinition[] {
  return surface.local
    .services()
    .map(({ definition }) => definition)
    .sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
}

/** By id. */
export function sortedChecks(surface: AgentSurface): LocalCheck[] {
  return surface.local.checks().sort((a, b) => (a.result.id < b.result.id ? -1 : a.result.id > b.result.id ? 1 : 0))
}
