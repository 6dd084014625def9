/**
 * The state as bytes: frames of a 4-byte length (big endian) and as many bytes of MessagePack. First a header, then
 * sections of rows in key order, then an end that counts them. Frames do not depend on how the bytes are cut on their way.
 */
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import { Corrupt, TooNew } from '../errors.ts'
import type { Check, Index, KvPair, Node, Service } from '../model.ts'
import type { CatalogState } from './catalog.ts'
import type { KvState, Tombstone } from './kv.ts'
import type { NodeMark, ServiceMark } from './marks.ts'
import { rowKey } from './rows.ts'
import { folded, orderKey, Table } from './table.ts'

const version = 1
/** A slice ends at so many rows or so many characters, whichever comes first: neither holds the loop for long. */
const sliceRowsMax = 1000
const sliceCharactersMax = 256 * 1024
/** No frame is near this; a length above it is garbage. */
const frameLengthMax = 1 << 30

export interface State {
  index: Index
  kv: KvState
  catalog: CatalogState
}

interface Header {
  format: 'rollcall-store'
  version: number
  index: Index
  kv: { changed: Index }
  catalog: {
    nodes: Index
    services: Index
    checks: Index
    serviceExtinction: Index
    nodeExtinction: Index
    states: Index[]
  }
}

/** Keys are many and small, so they go without field names. */
type PairFields = [key: string, value: string, flags: string, lockIndex: Index, createIndex: Index, modifyIndex: Index]

/** `state` must not change meanwhile: give clones. */
export function* writeSnapshot(state: State): Generator<Uint8Array> {
  const { nodes, services, checks, serviceExtinction, nodeExtinction, states, byService, byNode } = state.catalog.marks
  const header: Header = {
    format: 'rollcall-store',
    version,
    index: state.index,
    kv: { changed: state.kv.changed },
    catalog: { nodes, services, checks, serviceExtinction, nodeExtinction, states },
  }
  yield frame(header)
  let total = 0
  const sections: [string, Iterable<unknown>, (row: never) => number][] = [
    ['pairs', state.kv.pairs.rows(), (pair: KvPair) => pair.key.length + pair.value.length],
    ['tombstones', state.kv.tombstones.rows(), () => 100],
    ['nodes', state.catalog.tables.nodes.rows(), () => 500],
    ['services', state.catalog.tables.services.rows(), () => 500],
    ['checks', state.catalog.tables.checks.rows(), (check: Check) => 500 + check.output.length],
    ['serviceMarks', byService.rows(), () => 100],
    ['nodeMarks', byNode.rows(), () => 100],
  ]
  for (const [section, rows, size] of sections) {
    let slice: unknown[] = []
    let characters = 0
    for (const row of rows) {
      slice.push(section === 'pairs' ? pairFields(row as KvPair) : row)
      characters += size(row as never)
      if (slice.length < sliceRowsMax && characters < sliceCharactersMax) continue
      total += slice.length
      yield frame({ section, rows: slice })
      slice = []
      characters = 0
    }
    total += slice.length
    if (slice.length > 0) yield frame({ section, rows: slice })
  }
  yield frame({ end: total })
}

/** The rows of one section, as they come. */
class Section<Row> {
  readonly #keys: string[] = []
  readonly #rows: Row[] = []
  readonly #keyOf: (row: Row) => string
  readonly #rowOf: (written: never) => Row

  constructor(keyOf: (row: Row) => string, rowOf: (written: never) => Row = (written) => written) {
    this.#keyOf = keyOf
    this.#rowOf = rowOf
  }

  add(written: readonly unknown[]): void {
    for (const each of written) {
      const row = this.#rowOf(each as never)
      this.#keys.push(this.#keyOf(row))
      this.#rows.push(row)
    }
  }

  table(): Table<Row> {
    return Table.ofSorted(this.#keys, this.#rows)
  }
}

/** @throws Corrupt when the bytes are not a whole snapshot of this format. */
export function readSnapshot(chunks: Iterable<Uint8Array>): State {
  const sections = {
    pairs: new Section((row: KvPair) => orderKey(row.key), pairOf),
    tombstones: new Section((row: Tombstone) => orderKey(row.key)),
    nodes: new Section((row: Node) => orderKey(folded(row.name))),
    services: new Section((row: Service) => rowKey(row.node, row.id)),
    checks: new Section((row: Check) => rowKey(row.node, row.id)),
    serviceMarks: new Section((row: ServiceMark) => orderKey(row.service)),
    nodeMarks: new Section((row: NodeMark) => orderKey(row.node)),
  }
  let header: Header | undefined
  let end: number | undefined
  let total = 0
  try {
    for (const bytes of frames(chunks)) {
      const value = unpack(bytes)
      if (end !== undefined) throw new Corrupt('snapshot goes on after its end')
      if (header === undefined) {
        header = value as Header
        if (header.format === 'rollcall-store' && header.version > version) {
          throw new TooNew('the state in this snapshot', header.version, version)
        }
        if (header.format !== 'rollcall-store' || header.version !== version) {
          throw new Corrupt(
            `expected a snapshot of the store, version ${version}, received ${JSON.stringify(value).slice(0, 200)}`,
          )
        }
      } else if (typeof value.end === 'number') {
        end = value.end
      } else {
        if (!Object.hasOwn(sections, value.section)) throw new Corrupt(`snapshot has a section "${value.section}"`)
        sections[value.section as keyof typeof sections].add(value.rows)
        total += value.rows.length
      }
    }
    if (header === undefined || end !== total) throw new Corrupt(`snapshot ends early, after ${total} rows`)
    const kv = { changed: header.kv.changed, pairs: sections.pairs.table(), tombstones: sections.tombstones.table() }
    const tables = {
      nodes: sections.nodes.table(),
      services: sections.services.table(),
      checks: sections.checks.table(),
    }
    const byService = sections.serviceMarks.table()
    const byNode = sections.nodeMarks.table()
    return { index: header.index, kv, catalog: { tables, marks: { ...header.catalog, byService, byNode } } }
  } catch (cause) {
    // Bytes that passed their checksum and still make no sense fail in many ways; all of them mean the same.
    if (cause instanceof Corrupt || cause instanceof TooNew) throw cause
    throw new Corrupt('snapshot holds something that is not a row', { cause })
  }
}

function pairOf([key, value, flags, lockIndex, createIndex, modifyIndex]: PairFields): KvPair {
  return { key, value, flags, lockIndex, createIndex, modifyIndex }
}

function pairFields({ key, value, flags, lockIndex, createIndex, modifyIndex }: KvPair): PairFields {
  return [key, value, flags, lockIndex, createIndex, modifyIndex]
}

function frame(value: unknown): Uint8Array {
  const body: Uint8Array = pack(value)
  const bytes = new Uint8Array(4 + body.length)
  new DataView(bytes.buffer).setUint32(0, body.length)
  bytes.set(body, 4)
  return bytes
}

/** The bodies of the frames, however the bytes were cut. */
function* frames(chunks: Iterable<Uint8Array>): Generator<Uint8Array> {
  let parts: Uint8Array[] = []
  let held = 0
  let needed = 4
  let inBody = false
  for (const chunk of chunks) {
    let rest = chunk
    while (held + rest.length >= needed) {
      const taken = needed - held
      parts.push(rest.subarray(0, taken))
      rest = rest.subarray(taken)
      const bytes = parts.length === 1 ? (parts[0] as Uint8Array) : joined(parts, needed)
      parts = []
      held = 0
      if (inBody) {
        yield bytes
        needed = 4
      } else {
        needed = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0)
        if (needed === 0 || needed > frameLengthMax) throw new Corrupt(`snapshot holds a frame of ${needed} bytes`)
      }
      inBody = !inBody
    }
    if (rest.length > 0) {
      parts.push(rest)
      held += rest.length
    }
  }
  if (held > 0 || inBody) throw new Corrupt('snapshot ends inside a frame')
}

function joined(parts: Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
