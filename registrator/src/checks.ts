/**
 * The health check that `SERVICE_CHECK_…` asks for. One per service, the first of http, https, cmd or script, ttl,
 * tcp, grpc. Times stay as written; the registry says what is wrong with them.
 */
import type { CheckRegistration } from 'registry/client'
import type { Metadata } from './metadata.ts'

export interface CheckTarget {
  serviceId: string
  /** What a check connects to; never ''. */
  address: string
  port: number
}

/** Undefined: none is asked for. */
export function checkOf(values: Metadata['values'], target: CheckTarget): CheckRegistration | undefined {
  const how = methodOf(values, target)
  if (how === undefined) return undefined
  const text = (key: string) => values.get(`check_${key}`) || undefined
  const check: CheckRegistration = { CheckID: `service:${target.serviceId}`, ...how }
  if (how.TTL === undefined) check.Interval = text('interval') ?? '10s'
  const timeout = text('timeout')
  if (timeout !== undefined && how.TTL === undefined) check.Timeout = timeout
  const status = text('initial_status')
  // The registry refuses what is no status, and says so.
  if (status !== undefined) check.Status = status as NonNullable<CheckRegistration['Status']>
  const deregisterAfter = text('deregister_after')
  if (deregisterAfter !== undefined) check.DeregisterCriticalServiceAfter = deregisterAfter
  return check
}

function methodOf(values: Metadata['values'], { address, port }: CheckTarget): CheckRegistration | undefined {
  const text = (key: string) => values.get(`check_${key}`) || undefined
  const authority = `${address.includes(':') ? `[${address}]` : address}:${port}`
  for (const scheme of ['http', 'https'] as const) {
    const path = text(scheme)
    if (path === undefined) continue
    const method = text(`${scheme}_method`)
    return {
      HTTP: `${scheme}://${authority}${path.startsWith('/') ? '' : '/'}${path}`,
      ...(method === undefined ? {} : { Method: method }),
      ...(scheme === 'https' && text('tls_skip_verify') !== undefined ? { TLSSkipVerify: true } : {}),
    }
  }
  const script = text('script') ?? text('cmd')
  if (script !== undefined) {
    const line = script.replaceAll('$SERVICE_IP', address).replaceAll('$SERVICE_PORT', String(port))
    return { Args: ['/bin/sh', '-c', line] }
  }
  const ttl = text('ttl')
  if (ttl !== undefined) return { TTL: ttl }
  if (text('tcp') !== undefined) return { TCP: authority }
  if (text('grpc') === undefined) return undefined
  if (text('grpc_use_tls') === undefined) return { GRPC: authority }
  return {
    GRPC: authority,
    GRPCUseTLS: true,
    ...(text('tls_skip_verify') === undefined ? {} : { TLSSkipVerify: true }),
  }
}
