/** What several checks together say of an instance or a node. */
import type { CheckId, CheckStatus } from '../model.ts'

/** The check that a node in maintenance has; always critical. */
export const nodeMaintenanceId = '_node_maintenance'
/** The check that service `web` in maintenance has is `_service_maintenance:web`; always critical. */
export const serviceMaintenancePrefix = '_service_maintenance:'

/**
 * The worst of the checks; without checks all is well. The catalog takes any text as a status: one that is not a status
 * counts as a warning, so that, as in Consul, such an instance is named by DNS and dropped by `?passing`.
 */
export function worstStatus(checks: Iterable<{ readonly status: string }>): CheckStatus {
  let worst: CheckStatus = 'passing'
  for (const { status } of checks) {
    if (status === 'critical') return 'critical'
    if (status !== 'passing') worst = 'warning'
  }
  return worst
}

export function isMaintenance(id: CheckId): boolean {
  return id === nodeMaintenanceId || id.startsWith(serviceMaintenancePrefix)
}
