/** Who may ask what over HTTP at all, as the agent's configuration says. */
import { type Answer, type Asked, type HttpOptions, text } from './endpoint.ts'

/** Undefined: the configuration has nothing against the path. `blockEndpoints` are beginnings of paths, as Consul's are. */
export function blocked(path: string, { blockEndpoints = [], log }: HttpOptions): Answer | undefined {
  if (!blockEndpoints.some((beginning) => path.startsWith(beginning))) return undefined
  log('error', 'http', 'Request error: Endpoint is blocked by agent configuration', { request: path })
  return text(403, 'Endpoint is blocked by agent configuration')
}

/** Undefined: this client may change things, or nothing is to be changed. A client without an address may not. */
export function readOnly(method: string, { address }: Asked['request'], { mayWrite }: HttpOptions): Answer | undefined {
  if (mayWrite === undefined || method === 'GET' || method === 'HEAD' || method === 'OPTIONS') return undefined
  return address !== undefined && mayWrite(address) ? undefined : text(403, 'Access is restricted')
}
