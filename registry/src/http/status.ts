/** `/v1/status/`: who leads, and who votes. They answer whatever the state of the cluster. */
import type { AgentSurface } from '../agent/surface.ts'
import { type Asked, type Endpoint, json } from './endpoint.ts'
import { localOnly } from './query.ts'

export function statusEndpoints(surface: AgentSurface): Endpoint[] {
  const local = (answer: () => unknown) => (asked: Asked) => {
    localOnly(surface, asked.query.get('dc') ?? '')
    return json(asked, answer())
  }
  return [
    { path: '/v1/status/leader', verbs: { GET: local(() => surface.leader()) } },
    { path: '/v1/status/peers', verbs: { GET: local(() => surface.peers()) } },
  ]
}
