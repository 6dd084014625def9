/** A check as its owner describes it. Times are milliseconds. */
import type { CheckId, CheckStatus, Millis, ServiceId } from '../model.ts'

export interface CheckDefinition {
  id: CheckId
  name: string
  notes: string
  /** '' is a check of the node. */
  serviceId: ServiceId
  /** Before the first result: Consul's default is critical. */
  initialStatus: CheckStatus
  initialOutput: string
  /** Consecutive results of a probe needed before the status changes; 0 and 1 both mean at once. */
  successesBeforePassing: number
  failuresBeforeCritical: number
  /** Critical for this long: the service goes. 0: never. Consul looks every 30 s and takes no less than a minute. */
  deregisterServiceAfter: Millis
  how: CheckKind
}

export type CheckKind =
  /** Says what it said at first until it is taken away. */
  | { type: 'maintenance' }
  /** `outputMax`: bytes kept of what the owner says; 4096 when absent. */
  | { type: 'ttl'; ttl: Millis; outputMax?: number }
  | {
      type: 'http'
      url: string
      method: string
      headers: Record<string, string[]>
      body: string
      tlsSkipVerify: boolean
      interval: Millis
      timeout: Millis
      outputMax: number
    }
  | { type: 'tcp'; target: string; interval: Millis; timeout: Millis }
