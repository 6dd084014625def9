/** Rows in the order of the round trip from a node, as far as the coordinates of the catalog tell. */
import { type BySegment, roundTrip } from '../gossip/coordinate.ts'
import type { Millis, NodeName } from '../model.ts'
import { folded } from '../store/table.ts'
import type { View } from '../store/view.ts'

/** Of nodes without coordinates, and of what is near a node that has none, the order stays as it is. */
export function byRoundTrip<Row>(
  view: View,
  self: NodeName,
  rows: readonly Row[],
  nodeOf: (row: Row) => NodeName,
): Row[] {
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

function placesOf(view: View, node: NodeName): BySegment {
  return new Map(view.nodeCoordinates(node).value.map(({ segment, coordinate }) => [segment, coordinate]))
}
