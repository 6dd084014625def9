/** A check as its owner describes it. Times are milliseconds. */
import type { CheckId, CheckStatus, Millis, NodeName, ServiceId } from '../model.ts'

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
      /** The answer to a redirect is the outcome. */
      disableRedirects?: boolean
    }
  | { type: 'tcp'; target: string; interval: Millis; timeout: Millis }
  /** Nothing is sent but an empty datagram: fails only when the other host says that nobody listens. */
  | { type: 'udp'; target: string; interval: Millis; timeout: Millis }
  /** `target`: `host:port` or `host:port/service`, for `grpc.health.v1.Health/Check`. */
  | { type: 'grpc'; target: string; tls: boolean; tlsSkipVerify: boolean; interval: Millis; timeout: Millis }
  /** A program of this host with its arguments; nothing in them is for a shell. */
  | { type: 'script'; args: string[]; interval: Millis; timeout: Millis; outputMax: number }
  /** The same within a container of this host. */
  | { type: 'docker'; container: string; args: string[]; interval: Millis; timeout: Millis; outputMax: number }
  /** A unit of this host's systemd. */
  | { type: 'os_service'; service: string; interval: Millis; timeout: Millis }
  /** Is as the checks of another are; `node` '': a service of this agent. `service` '': the node alone. */
  | { type: 'alias'; node: NodeName; service: ServiceId }

/** Runs a program that the definition names: only where the operator allowed that. */
export function runsProgram({ type }: CheckKind): boolean {
  return type === 'script' || type === 'docker'
}
