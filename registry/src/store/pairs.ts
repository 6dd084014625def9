/**
 * Keys and values in key order, packed: a row is bytes (`pair-bytes.ts`), and many rows share one piece of memory, a leaf.
 * A tree finds the leaf; the row is found by going over it. So a million keys are some ten thousand objects, which the
 * garbage collector passes quickly, and take little more memory than their bytes do; and a snapshot is copied, not encoded.
 * Rows come out as values nobody changes. A clone shares the leaves, and whoever changes one copies it first.
 *
 * The same promises as `Table`, and as there keys have been through `orderKey`.
 */
import sorted from 'sorted-btree'
import { Corrupt } from '../errors.ts'
import type { Index, KvPair } from '../model.ts'
import { eachRow, PairReader, PairWriter } from './pair-bytes.ts'
import { orderKey, plainKey } from './table.ts'

/** A leaf holds so many bytes, or one row that is longer. */
const leafBytes = 8 * 1024
/** What leaves that have lost rows are joined into. */
const joinedBytes = leafBytes / 2

interface Leaf {
  /** The table that may change it. */
  owner: object
  bytes: Buffer
  used: number
  /** Where the last row begins: keys often come in order. */
  last: number
}

type Leaves = sorted.default<string, Leaf>

export class Pairs {
  /** By the key from which on they hold rows; the first by ''. */
  readonly #leaves: Leaves
  #owner = {}
  #size: number
  readonly #writer = new PairWriter()
  readonly #row = new PairReader()
  /** The last row put or found: often the next one asked for. */
  #recent: { place: string; pair: KvPair } | undefined

  constructor(leaves: Leaves = new sorted.default(undefined, compare), size = 0) {
    this.#leaves = leaves
    this.#size = size
  }

  get size(): number {
    return this.#size
  }

  get(place: string): KvPair | undefined {
    if (this.#recent?.place === place) return this.#recent.pair
    const leaf = this.#leaves.getPairOrNextLower(place)?.[1]
    if (leaf === undefined) return undefined
    const key = plainKey(place)
    const at = this.#find(leaf, this.#writer.key(key))
    if (at < 0) return undefined
    const pair = this.#row.open(leaf.bytes, at).pair(key)
    this.#recent = { place, pair }
    return pair
  }

  set(place: string, pair: KvPair): void {
    const [separator, leaf] = this.#own(place)
    const key = this.#writer.key(pair.key)
    const found = this.#find(leaf, key)
    const at = found < 0 ? ~found : found
    const end = found < 0 ? at : this.#row.open(leaf.bytes, at).end
    if (found < 0) this.#size++
    this.#writer.row(pair)
    this.#replace(separator, leaf, at, end)
    this.#recent = { place, pair }
  }

  delete(place: string): boolean {
    const found = this.#leaves.getPairOrNextLower(place)?.[1]
    const key = plainKey(place)
    if (found === undefined || this.#find(found, this.#writer.key(key)) < 0) return false
    this.#recent = undefined
    const [separator, leaf] = this.#own(place)
    const at = this.#find(leaf, this.#writer.key(key))
    this.#cut(separator, leaf, { from: at, to: this.#row.open(leaf.bytes, at).end })
    this.#size--
    return true
  }

  /** In key order; the table must not change meanwhile. */
  eachUnder(prefix: string, visit: (pair: KvPair) => void): void {
    this.#eachUnder(prefix, (row) => visit(row.pair()))
  }

  /** The same for those who do not need the values. */
  eachKeyUnder(prefix: string, visit: (key: string, modifyIndex: Index) => void): void {
    this.#eachUnder(prefix, (row) => visit(row.key, row.modifyIndex))
  }

  /** In key order; a list of its own, so that the table may change while it is walked. */
  under(prefix: string): KvPair[] {
    const pairs: KvPair[] = []
    this.eachUnder(prefix, (pair) => pairs.push(pair))
    return pairs
  }

  /** @returns the keys that are gone, in order. */
  deleteUnder(prefix: string): string[] {
    const gone: string[] = []
    const cuts: { separator: string; from: number; to: number }[] = []
    this.#eachUnder(prefix, (row, { separator, at }) => {
      gone.push(row.key)
      const cut = cuts.at(-1)
      if (cut?.separator === separator) cut.to = row.end
      else cuts.push({ separator, from: at, to: row.end })
    })
    this.#recent = undefined
    this.#size -= gone.length
    // From the end: what is left of a leaf may join the one before it.
    for (const { separator, from, to } of cuts.reverse()) {
      const [, leaf] = this.#own(separator)
      this.#cut(separator, leaf, { from, to })
    }
    return gone
  }

  /** In key order. Walk a clone when the table may change meanwhile. */
  *rows(): Generator<KvPair> {
    const row = new PairReader()
    for (const { bytes, used } of this.#leaves.values()) {
      for (let at = 0; at < used; at = row.end) yield row.open(bytes, at).pair()
    }
  }

  /**
   * All rows as bytes, in portions of at least so many, cut between rows at places that depend on the rows alone. A portion
   * comes in several pieces, which are the leaves' own memory: of a clone, so that they stay as they are.
   */
  *packed(portionBytes: number): Generator<{ rows: number; pieces: Uint8Array[] }> {
    const row = new PairReader()
    let pieces: Uint8Array[] = []
    let filled = 0
    let rows = 0
    for (const { bytes, used } of this.#leaves.values()) {
      let from = 0
      for (let at = 0; at < used; at = row.end) {
        row.open(bytes, at)
        rows++
        if (filled + row.end - from < portionBytes) continue
        pieces.push(bytes.subarray(from, row.end))
        yield { rows, pieces }
        pieces = []
        filled = 0
        rows = 0
        from = row.end
      }
      if (from < used) pieces.push(bytes.subarray(from, used))
      filled += used - from
    }
    if (rows > 0) yield { rows, pieces }
  }

  /** Puts rows in key order behind all that are here. @throws Error when a key does not come after the one before it */
  append(pairs: readonly KvPair[]): void {
    this.appendPacked(Buffer.concat(pairs.map((pair) => this.#writer.row(pair).copy())))
  }

  /**
   * The same for rows as bytes; the memory is not kept.
   * @returns how many they are. @throws Corrupt when they are none, or not in order; some may have been taken then
   */
  appendPacked(given: Uint8Array): number {
    const bytes = Buffer.from(given.buffer, given.byteOffset, given.length)
    let leaf = this.#leaves.size === 0 ? undefined : this.#own(this.#leaves.maxKey() as string)[1]
    /** The key before: where it stands, and in which memory. */
    let before = { bytes: bytes, from: 0, to: 0, any: false }
    if (leaf !== undefined) {
      const { keyAt, keyEnd } = this.#row.open(leaf.bytes, leaf.last)
      before = { bytes: leaf.bytes, from: keyAt, to: keyEnd, any: true }
    }
    let count = 0
    /** Rows from here on are not in a leaf yet. */
    let from = 0
    const take = (to: number, last: number) => {
      if (leaf === undefined || to === from) return
      bytes.copy(leaf.bytes, leaf.used, from, to)
      leaf.last = leaf.used + last - from
      leaf.used += to - from
      from = to
    }
    let lastAt = 0
    eachRow(bytes, (row, at) => {
      if (before.any && row.compare(before.bytes, before.from, before.to) <= 0) {
        const key = before.bytes.toString('utf8', before.from, before.to)
        throw new Corrupt(`expected a key after "${key}", received "${row.key}"`)
      }
      before.bytes = bytes
      before.from = row.keyAt
      before.to = row.keyEnd
      before.any = true
      if (leaf === undefined || leaf.used + row.end - from > leafBytes) {
        take(at, lastAt)
        leaf = { owner: this.#owner, bytes: withRoom(nothing, Math.max(leafBytes, row.end - at)), used: 0, last: 0 }
        this.#leaves.set(this.#leaves.size === 0 ? '' : orderKey(row.key), leaf)
      } else if (leaf.bytes.length < leafBytes) {
        leaf.bytes = withRoom(leaf.bytes, leafBytes)
      }
      lastAt = at
      count++
    })
    take(bytes.length, lastAt)
    this.#size += count
    this.#recent = undefined
    return count
  }

  /** The same rows at once, whatever happens to either table later. */
  clone(): Pairs {
    this.#owner = {}
    return new Pairs(this.#leaves.clone(), this.#size)
  }

  /** The leaf that has, or would have, the key; ours to change. */
  #own(place: string): [separator: string, leaf: Leaf] {
    const found = this.#leaves.getPairOrNextLower(place)
    if (found === undefined) {
      const leaf = { owner: this.#owner, bytes: Buffer.alloc(0), used: 0, last: 0 }
      this.#leaves.set('', leaf)
      return ['', leaf]
    }
    const [separator, leaf] = found
    if (leaf.owner === this.#owner) return found
    const own = { ...leaf, owner: this.#owner, bytes: withRoom(leaf.bytes.subarray(0, leaf.used), leaf.bytes.length) }
    this.#leaves.set(separator, own)
    return [separator, own]
  }

  /** Where the row with this key begins; when there is none, the complement of where it would. */
  #find({ bytes, used, last }: Leaf, { bytes: key, start, end }: PairWriter): number {
    if (used === 0) return ~0
    const row = this.#row
    const order = row.open(bytes, last).compare(key, start, end)
    if (order < 0) return ~used
    if (order === 0) return last
    for (let at = 0; at < last; at = row.end) {
      const order = row.open(bytes, at).compare(key, start, end)
      if (order === 0) return at
      if (order > 0) return ~at
    }
    return ~last
  }

  /** Puts the row that is written in place of what is from `at` to `end`. */
  #replace(separator: string, leaf: Leaf, at: number, end: number): void {
    const row = this.#writer
    const used = leaf.used + row.length - (end - at)
    if (used > leafBytes && leaf.used > end - at) {
      this.#split(separator, leaf, { at, end, row: row.copy() })
      return
    }
    if (used > leaf.bytes.length) leaf.bytes = withRoom(leaf.bytes.subarray(0, leaf.used), roomFor(used))
    if (at === leaf.used || (at === leaf.last && end > at)) leaf.last = at
    else leaf.last += row.length - (end - at)
    leaf.bytes.copyWithin(at + row.length, end, leaf.used)
    row.bytes.copy(leaf.bytes, at, row.start, row.end)
    leaf.used = used
    trim(leaf)
  }

  /** The same where that is too much for one leaf. */
  #split(separator: string, leaf: Leaf, { at, end, row }: { at: number; end: number; row: Buffer }): void {
    const { bytes, used } = leaf
    if (at === used) {
      // Behind everything: what is here stays full, as with all keys that come in order. To a next leaf that holds little,
      // so that of keys that come in reverse, each of them just behind here, not every one has a leaf to itself.
      const after = this.#leaves.nextHigherPair(separator)
      if (after !== undefined && row.length + after[1].used <= joinedBytes) this.#prepend(row, after)
      else this.#addLeaves(row)
      return
    }
    const all = Buffer.concat([bytes.subarray(0, at), row, bytes.subarray(end, used)])
    const cut = middle(all)
    leaf.bytes = withRoom(all.subarray(0, cut), roomFor(cut))
    leaf.used = cut
    leaf.last = lastRow(leaf.bytes, cut)
    if (cut > leafBytes && leaf.last > 0) this.#halve(separator, leaf)
    this.#addLeaves(all.subarray(cut))
  }

  /** Puts a row that comes before all of the leaf into it. */
  #prepend(row: Buffer, [separator, leaf]: [string, Leaf]): void {
    const used = row.length + leaf.used
    const bytes = withRoom(row, roomFor(used))
    leaf.bytes.copy(bytes, row.length, 0, leaf.used)
    this.#leaves.delete(separator)
    const first = orderKey(this.#row.open(row, 0).key)
    this.#leaves.set(first, { owner: this.#owner, bytes, used, last: row.length + leaf.last })
  }

  /** A leaf with one long row among short ones. */
  #halve(separator: string, leaf: Leaf): void {
    const all = leaf.bytes.subarray(0, leaf.used)
    this.#leaves.delete(separator)
    this.#addLeaves(all, separator)
  }

  /** Rows that no leaf has, as many leaves as they need. */
  #addLeaves(rows: Buffer, separator = orderKey(this.#row.open(rows, 0).key)): void {
    const last = lastRow(rows, rows.length)
    if (rows.length <= leafBytes || last === 0) {
      const bytes = withRoom(rows, Math.max(leafBytes, rows.length))
      this.#leaves.set(separator, { owner: this.#owner, bytes, used: rows.length, last })
      return
    }
    const cut = middle(rows)
    this.#addLeaves(rows.subarray(0, cut), separator)
    this.#addLeaves(rows.subarray(cut))
  }

  /** Takes whole rows out. A leaf of which little is left joins the one after it, or before. */
  #cut(separator: string, leaf: Leaf, { from, to }: { from: number; to: number }): void {
    leaf.bytes.copyWithin(from, to, leaf.used)
    leaf.used -= to - from
    leaf.last = lastRow(leaf.bytes, leaf.used)
    if (leaf.used === 0) {
      this.#leaves.delete(separator)
      this.#firstIsFirst()
      return
    }
    trim(leaf)
    if (leaf.used > joinedBytes / 2) return
    const after = this.#leaves.nextHigherPair(separator)
    if (after !== undefined && leaf.used + after[1].used <= joinedBytes) this.#join([separator, leaf], after)
    else {
      const before = this.#leaves.nextLowerPair(separator)
      if (before !== undefined && before[1].used + leaf.used <= joinedBytes) this.#join(before, [separator, leaf])
    }
  }

  #join([separator, one]: [string, Leaf], [after, other]: [string, Leaf]): void {
    const used = one.used + other.used
    const bytes = withRoom(one.bytes.subarray(0, one.used), roomFor(used))
    other.bytes.copy(bytes, one.used, 0, other.used)
    this.#leaves.delete(after)
    this.#leaves.set(separator, { owner: this.#owner, bytes, used, last: one.used + other.last })
  }

  /** Keys before all others find a leaf too. */
  #firstIsFirst(): void {
    const first = this.#leaves.minKey()
    if (first === undefined || first === '') return
    const leaf = this.#leaves.get(first) as Leaf
    this.#leaves.delete(first)
    this.#leaves.set('', leaf)
  }

  #eachUnder(prefix: string, visit: (row: PairReader, where: { separator: string; at: number }) => void): void {
    const row = new PairReader()
    const start = Buffer.from(plainKey(prefix))
    let found = this.#leaves.getPairOrNextLower(prefix)
    while (found !== undefined) {
      const [separator, { bytes, used }] = found
      for (let at = 0; at < used; at = row.end) {
        if (row.open(bytes, at).compare(start, 0, start.length) < 0) continue
        if (!row.startsWith(start)) return
        visit(row, { separator, at })
      }
      found = this.#leaves.nextHigherPair(separator)
    }
  }
}

const nothing = new Uint8Array(0)

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

/** A copy with room for so many bytes. */
function withRoom(bytes: Uint8Array, length: number): Buffer {
  // Of its own: a slice of a shared pool would keep all of the pool.
  const larger = Buffer.allocUnsafeSlow(length)
  larger.set(bytes)
  return larger
}

/** Small tables take little; a leaf that grows is not copied for every row. */
function roomFor(bytes: number): number {
  let room = 256
  while (room < bytes && room < leafBytes) room *= 2
  return Math.max(room, bytes)
}

/** What a long row that is gone had needed. */
function trim(leaf: Leaf): void {
  const room = roomFor(leaf.used)
  if (leaf.bytes.length > leafBytes && leaf.bytes.length > room) {
    leaf.bytes = withRoom(leaf.bytes.subarray(0, leaf.used), room)
  }
}

/** Where the last row begins; 0 when there is none. */
function lastRow(bytes: Buffer, used: number): number {
  const row = new PairReader()
  let last = 0
  for (let at = 0; at < used; at = row.end) {
    row.open(bytes, at)
    last = at
  }
  return last
}

/** The place between two rows that is nearest to the middle; there are at least two rows. */
function middle(rows: Buffer): number {
  const row = new PairReader()
  let best = 0
  for (let at = row.open(rows, 0).end; at < rows.length; at = row.open(rows, at).end) {
    if (best === 0 || Math.abs(at - rows.length / 2) < Math.abs(best - rows.length / 2)) best = at
  }
  return best
}
