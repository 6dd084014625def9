/**
 * `?near=`: rows in the order of the round trip from a node, as far as coordinates tell. Of nodes without any, and of what is
 * near a node that has none, the order stays as it is; nothing is said about that, as in Consul. Coordinates are looked at
 * when the answer is made: that they change wakes no blocking query.
 */
import { byRoundTrip } from '../agent/nearest.ts'
import type { AgentSurface } from '../agent/surface.ts'
import type { NodeName } from '../model.ts'

/** Undefined: the order shall stay. */
export type Nearest = (<Row>(rows: readonly Row[], nodeOf: (row: Row) => NodeName) => Row[]) | undefined

/** `_agent` is the agent that was asked. (`_ip` means something to prepared queries only, in Consul as well.) */
export function nearest(surface: AgentSurface, query: URLSearchParams): Nearest {
  const near = query.size === 0 ? '' : (query.get('near') ?? '')
  if (near === '') return undefined
  return (rows, nodeOf) => {
    const { view, identity } = surface
    return byRoundTrip(view, near === '_agent' ? identity.name : near, rows, nodeOf)
  }
}
