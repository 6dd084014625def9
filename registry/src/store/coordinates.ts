/**
 * Where the nodes of the catalog are, as they said last. A coordinate lives with its node: for one that is not registered
 * there is none (Consul drops it as well), and it goes when the node goes.
 */
import type { Index, NodeCoordinate, NodeName } from '../model.ts'
import type { Result } from './command.ts'
import type { CatalogRows } from './rows.ts'
import { folded, orderKey, separator, Table } from './table.ts'
import type { Indexed } from './view.ts'
import type { Watchers } from './watch.ts'

export interface CoordinateRow extends NodeCoordinate {
  modifyIndex: Index
}

export interface CoordinatesState {
  /** The last time one came, changed or went. */
  changed: Index
  coordinates: Table<CoordinateRow>
}

export class Coordinates {
  readonly #watchers: Watchers
  #changed: Index
  /** By node, then segment. */
  #coordinates: Table<CoordinateRow>

  constructor(watchers: Watchers, state: CoordinatesState = { changed: 0, coordinates: new Table() }) {
    this.#watchers = watchers
    this.#changed = state.changed
    this.#coordinates = state.coordinates
  }

  /** Copy-on-write clones. */
  state(): CoordinatesState {
    return { changed: this.#changed, coordinates: this.#coordinates.clone() }
  }

  /** @returns what makes everything as it is now. */
  savepoint(): () => void {
    const { changed, coordinates } = this.state()
    return () => {
      this.#changed = changed
      this.#coordinates = coordinates
    }
  }

  /** Those of registered nodes, in whatever spelling they are named (Consul shows it); of several of one, the last. */
  update(index: Index, updates: readonly NodeCoordinate[], rows: CatalogRows): Result {
    for (const { node, segment, coordinate } of updates) {
      if (rows.node(node) === undefined) continue
      const { vector, error, adjustment, height } = coordinate
      const row: CoordinateRow = {
        node,
        segment,
        coordinate: { vector: [...vector], error, adjustment, height },
        modifyIndex: index,
      }
      this.#coordinates.set(coordinateKey(row), row)
      this.#mark(index, node)
    }
    return { value: true }
  }

  nodeGone(index: Index, node: NodeName): void {
    if (this.#coordinates.deleteUnder(under(node)).length > 0) this.#mark(index, node)
  }

  /** In node, then segment order. */
  all(): Indexed<NodeCoordinate[]> {
    return { index: Math.max(1, this.#changed), value: [...this.#coordinates.rows()] }
  }

  /** In segment order. The index moves with this node's alone, and is that of all while it has none. */
  ofNode(node: NodeName): Indexed<NodeCoordinate[]> {
    const value = this.#coordinates.under(under(node))
    const index = value.length === 0 ? this.#changed : Math.max(...value.map(({ modifyIndex }) => modifyIndex))
    return { index: Math.max(1, index), value }
  }

  #mark(index: Index, node: NodeName): void {
    this.#changed = index
    this.#watchers.changed({ kind: 'coordinates' })
    this.#watchers.changed({ kind: 'coordinates', node })
  }
}

/** Where a row stands. */
export function coordinateKey({ node, segment }: NodeCoordinate): string {
  return under(node) + orderKey(segment)
}

function under(node: NodeName): string {
  return orderKey(folded(node) + separator)
}
