/**
 * `?near=`: rows in the order of the round trip from a node, as far as coordinates tell. Of nodes without any, and of what is
 * near a node that has none, the order stays as it is; nothing is said about that, as in Consul. Coordinates are looked at
 * when the answer is made: that they change wakes no blocking query.
 */
import type { AgentSurface } from '../agent/surface.ts'
import { type BySegment, roundTrip } from '../gossip/coordinate.ts'
import type { Millis, NodeName } from '../model.ts'
import { folded } from '../store/table.ts'
import type { View } from '../store/view.ts'

/** Undefined: the order shall stay. */
export type Nearest = (<Row>(rows: readonly Row[], nodeOf: (row: Row) => NodeName) => Row[]) | undefined

/** `_agent` is the agent that was asked. (`_ip` means something to prepared queries only, in Consul as well.) */
export function nearest(surface: AgentSurface, query: URLSearchParams): Nearest {
  const near = query.size === 0 ? '' : (query.get('near') ?? '')
  if (near === '') return undefined
  return (rows, nodeOf) => {
    const { view, identity } = surface
    const self = near === '_agent' ? identity.name : near
    const from = placesOf(view, self)
    if (from.size === 0) return [...rows]
    const known = new Map<NodeName, Millis>()
    const far = (node: NodeName): Millis => {
      // By its coordinate a node is as far from itself as the network is, twice; another may seem nearer (in Consul it is).
      if (folded(node) === folded(self)) return 0
      const before = known.get(node)
      if (before !== undefined) return before
      const now = roundTrip(from, placesOf(view, node)) ?? Number.POSITIVE_INFINITY
      known.set(node, now)
      return now
    }
    const placed = rows.map((row) => ({ row, far: far(nodeOf(row)) }))
    // Stable; two infinite ones must not give NaN.
    placed.sort((a, b) => (a.far === b.far ? 0 : a.far - b.far))
    return placed.map(({ row }) => row)
  }
}

function placesOf(view: View, node: NodeName): BySegment {
  return new Map(view.nodeCoordinates(node).value.map(({ segment, coordinate }) => [segment, coordinate]))
}
