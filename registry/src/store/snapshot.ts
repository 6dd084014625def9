/**
 * The state as bytes: frames of a 4-byte length (big endian) and as many bytes of MessagePack. First a header, then
 * sections of rows in key order, then an end that counts them; rows of keys are bytes as they are. Frames do not depend on
 * how the bytes are cut on their way.
 */
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import { Corrupt, TooNew } from '../errors.ts'
import type { Check, Index, KvPair, Node, PreparedQuery, Service, Session } from '../model.ts'
import type { AutopilotRow } from './autopilot.ts'
import type { CatalogState } from './catalog.ts'
import { type CoordinateRow, type CoordinatesState, coordinateKey } from './coordinates.ts'
import type { KvState, Tombstone } from './kv.ts'
import type { Hold, LockDelay } from './locks.ts'
import type { NodeMark, ServiceMark } from './marks.ts'
import type { OriginRow } from './origins.ts'
import { Pairs } from './pairs.ts'
import type { QueriesState } from './queries.ts'
import { rowKey } from './rows.ts'
import type { SessionsState } from './sessions.ts'
import { folded, orderKey, Table } from './table.ts'

/**
 * 4 has the coordinates of nodes and prepared queries, and says how autopilot shall behave; 3 has keys as the bytes they are kept as, in frames of
 * their own; 2 has sessions and locks; without them, 1 is the same as 2.
 */
const version = 4
const versionMin = 1
/** A slice ends at so many rows or so many characters, whichever comes first: neither holds the loop for long. */
const sliceRowsMax = 1000
const sliceCharactersMax = 256 * 1024
/** No frame is near this; a length above it is garbage. */
const frameLengthMax = 1 << 30

export interface State {
  index: Index
  kv: KvState
  sessions: SessionsState
  catalog: CatalogState
  autopilot: AutopilotRow | undefined
  coordinates: CoordinatesState
  queries: QueriesState
  origins: OriginRow[]
}

interface Header {
  format: 'rollcall-store'
  version: number
  index: Index
  kv: { changed: Index }
  /** Absent in version 1. */
  sessions?: { changed: Index }
  /** Absent before version 4. */
  coordinates?: { changed: Index }
  /** Absent before version 4. */
  queries?: { changed: Index }
  catalog: {
    nodes: Index
    services: Index
    checks: Index
    serviceExtinction: Index
    nodeExtinction: Index
    states: Index[]
  }
  /** Absent before version 4, and while nobody has set it. */
  autopilot?: AutopilotRow
  origins: OriginRow[]
}

/** The next frame is no MessagePack, but as many rows of keys (`pair-bytes.ts`). */
interface PackedPairs {
  section: 'packedPairs'
  count: number
}
/** About so many bytes. */
const pairsBytes = 128 * 1024

/** How the versions before had them. */
type PairFields = [key: string, value: string, flags: string, lockIndex: Index, createIndex: Index, modifyIndex: Index]

/** `state` must not change meanwhile: give clones. */
export function* writeSnapshot(state: State): Generator<Uint8Array> {
  const { nodes, services, checks, serviceExtinction, nodeExtinction, states, byService, byNode } = state.catalog.marks
  const header: Header = {
    format: 'rollcall-store',
    version,
    index: state.index,
    kv: { changed: state.kv.changed },
    sessions: { changed: state.sessions.changed },
    coordinates: { changed: state.coordinates.changed },
    queries: { changed: state.queries.changed },
    catalog: { nodes, services, checks, serviceExtinction, nodeExtinction, states },
    ...(state.autopilot === undefined ? {} : { autopilot: state.autopilot }),
    origins: state.origins,
  }
  yield* frame(header)
  let total = 0
  const sections: [string, Iterable<unknown>, (row: never) => number][] = [
    ['tombstones', state.kv.tombstones.rows(), () => 100],
    ['nodes', state.catalog.tables.nodes.rows(), () => 500],
    ['services', state.catalog.tables.services.rows(), () => 500],
    ['checks', state.catalog.tables.checks.rows(), (check: Check) => 500 + check.output.length],
    ['serviceMarks', byService.rows(), () => 100],
    ['nodeMarks', byNode.rows(), () => 100],
    ['sessions', state.sessions.sessions.rows(), () => 300],
    ['holds', state.kv.locks.holds.rows(), () => 100],
    ['lockDelays', state.kv.locks.delays.rows(), () => 100],
    ['coordinates', state.coordinates.coordinates.rows(), () => 200],
    ['queries', state.queries.queries.rows(), () => 1000],
  ]
  for (const { rows: count, pieces } of state.kv.pairs.packed(pairsBytes)) {
    total += count
    yield* frame({ section: 'packedPairs', count } satisfies PackedPairs)
    yield lengthOf(pieces.reduce((sum, { length }) => sum + length, 0))
    yield* pieces
  }
  for (const [section, rows, size] of sections) {
    let slice: unknown[] = []
    let characters = 0
    for (const row of rows) {
      slice.push(row)
      characters += size(row as never)
      if (slice.length < sliceRowsMax && characters < sliceCharactersMax) continue
      total += slice.length
      yield* frame({ section, rows: slice })
      slice = []
      characters = 0
    }
    total += slice.length
    if (slice.length > 0) yield* frame({ section, rows: slice })
  }
  yield* frame({ end: total })
}

/** The rows of one section, as they come. */
class Section<Row> {
  readonly table = new Table<Row>()
  readonly #keyOf: (row: Row) => string

  constructor(keyOf: (row: Row) => string) {
    this.#keyOf = keyOf
  }

  add(rows: Row[]): void {
    this.table.append(rows.map(this.#keyOf), rows)
  }
}

function emptySections() {
  return {
    tombstones: new Section((row: Tombstone) => orderKey(row.key)),
    nodes: new Section((row: Node) => orderKey(folded(row.name))),
    services: new Section((row: Service) => rowKey(row.node, row.id)),
    checks: new Section((row: Check) => rowKey(row.node, row.id)),
    serviceMarks: new Section((row: ServiceMark) => orderKey(row.service)),
    nodeMarks: new Section((row: NodeMark) => orderKey(row.node)),
    sessions: new Section((row: Session) => row.id),
    holds: new Section((row: Hold) => orderKey(row.key)),
    lockDelays: new Section((row: LockDelay) => orderKey(row.key)),
    coordinates: new Section<CoordinateRow>(coordinateKey),
    queries: new Section((row: PreparedQuery) => row.id),
  }
}

/** Reads a snapshot piece by piece: no call takes longer than its piece. */
export class SnapshotReader {
  readonly #sections = emptySections()
  readonly #pairs = new Pairs()
  readonly #frames = new Frames()
  #header: Header | undefined
  /** How many rows of keys the next frame holds. */
  #packed: number | undefined
  #end: number | undefined
  #total = 0

  /** The next bytes, cut anywhere. @throws Corrupt when they are no snapshot of this format, TooNew */
  add(chunk: Uint8Array): void {
    sensible(() => {
      for (const bytes of this.#frames.add(chunk)) {
        if (this.#packed === undefined) this.#take(unpack(bytes))
        else this.#takePairs(bytes, this.#packed)
      }
    })
  }

  /** Nothing follows. @throws Corrupt when something should */
  finish(): State {
    return sensible(() => {
      this.#frames.finish()
      const header = this.#header
      if (header === undefined || this.#packed !== undefined || this.#end !== this.#total) {
        throw new Corrupt(`snapshot ends early, after ${this.#total} rows`)
      }
      const { tombstones, nodes, services, checks, serviceMarks, nodeMarks, sessions } = this.#sections
      const { holds, lockDelays, coordinates, queries } = this.#sections
      const locks = { holds: holds.table, delays: lockDelays.table }
      const tables = { nodes: nodes.table, services: services.table, checks: checks.table }
      return {
        index: header.index,
        kv: { changed: header.kv.changed, pairs: this.#pairs, tombstones: tombstones.table, locks },
        sessions: { changed: header.sessions?.changed ?? 0, sessions: sessions.table },
        catalog: { tables, marks: { ...header.catalog, byService: serviceMarks.table, byNode: nodeMarks.table } },
        autopilot: header.autopilot,
        coordinates: { changed: header.coordinates?.changed ?? 0, coordinates: coordinates.table },
        queries: { changed: header.queries?.changed ?? 0, queries: queries.table },
        origins: header.origins,
      }
    })
  }

  #takePairs(bytes: Uint8Array, expected: number): void {
    const count = this.#pairs.appendPacked(bytes)
    if (count !== expected) throw new Corrupt(`snapshot has ${count} keys where it says ${expected}`)
    this.#total += count
    this.#packed = undefined
  }

  // biome-ignore lint/suspicious/noExplicitAny: whatever was unpacked.
  #take(value: any): void {
    if (this.#end !== undefined) throw new Corrupt('snapshot goes on after its end')
    if (this.#header === undefined) {
      const header = value as Header
      if (header.format === 'rollcall-store' && header.version > version) {
        throw new TooNew('the state in this snapshot', header.version, version)
      }
      if (header.format !== 'rollcall-store' || !(header.version >= versionMin)) {
        throw new Corrupt(
          `expected a snapshot of the store, version ${versionMin} to ${version}, received ${JSON.stringify(value).slice(0, 200)}`,
        )
      }
      this.#header = header
    } else if (typeof value.end === 'number') {
      this.#end = value.end
    } else if (value.section === 'packedPairs') {
      this.#packed = (value as PackedPairs).count
    } else if (value.section === 'pairs') {
      this.#pairs.append((value.rows as PairFields[]).map(pairOf))
      this.#total += value.rows.length
    } else {
      if (!Object.hasOwn(this.#sections, value.section)) throw new Corrupt(`snapshot has a section "${value.section}"`)
      this.#sections[value.section as keyof ReturnType<typeof emptySections>].add(value.rows)
      this.#total += value.rows.length
    }
  }
}

/** Bytes that passed their checksum and still make no sense fail in many ways; all of them mean the same. */
function sensible<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof Corrupt || cause instanceof TooNew) throw cause
    throw new Corrupt('snapshot holds something that is not a row', { cause })
  }
}

/** @throws Corrupt when the bytes are not a whole snapshot of this format. */
export function readSnapshot(chunks: Iterable<Uint8Array>): State {
  const reader = new SnapshotReader()
  for (const chunk of chunks) reader.add(chunk)
  return reader.finish()
}

function pairOf([key, value, flags, lockIndex, createIndex, modifyIndex]: PairFields): KvPair {
  return { key, value, flags, lockIndex, createIndex, modifyIndex }
}

/** Two chunks: joining them would copy the whole state once more. */
function frame(value: unknown): [Uint8Array, Uint8Array] {
  const body: Uint8Array = pack(value)
  return [lengthOf(body.length), body]
}

function lengthOf(bytes: number): Uint8Array {
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, bytes)
  return length
}

/** The bodies of the frames, however the bytes are cut. */
class Frames {
  #parts: Uint8Array[] = []
  #held = 0
  #needed = 4
  #inBody = false

  finish(): void {
    if (this.#held > 0 || this.#inBody) throw new Corrupt('snapshot ends inside a frame')
  }

  *add(chunk: Uint8Array): Generator<Uint8Array> {
    let rest = chunk
    while (this.#held + rest.length >= this.#needed) {
      const taken = this.#needed - this.#held
      this.#parts.push(rest.subarray(0, taken))
      rest = rest.subarray(taken)
      const bytes = this.#parts.length === 1 ? (this.#parts[0] as Uint8Array) : joined(this.#parts, this.#needed)
      this.#parts = []
      this.#held = 0
      if (this.#inBody) {
        this.#needed = 4
        this.#inBody = false
        yield bytes
      } else {
        this.#needed = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0)
        this.#inBody = true
        if (this.#needed === 0 || this.#needed > frameLengthMax) {
          throw new Corrupt(`snapshot holds a frame of ${this.#needed} bytes`)
        }
      }
    }
    if (rest.length > 0) {
      // Kept beyond this call: the caller may use its memory again.
      this.#parts.push(rest.slice())
      this.#held += rest.length
    }
  }
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
