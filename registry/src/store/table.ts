/**
 * Ordered rows: a thin coat over a B+ tree with constant-time copy-on-write clones. Rows are values nobody changes;
 * an update puts a new row in place of the old. Keys order by the bytes of their UTF-8, as Consul's do.
 */
import sorted from 'sorted-btree'
import { bulkLoad } from 'sorted-btree/extended/bulkLoad.js'
import union from 'sorted-btree/extended/union.js'

/** Separates the parts of a compound key, so that all keys under one part are neighbours. Never occurs inside a part. */
export const separator = '\0'

const beyondPlainOrder = /[\ud800-\uffff]/

/**
 * The text to keep a row under, so that plain string comparison (UTF-16 units) orders as UTF-8 bytes do. The two differ
 * only where surrogates, which stand for code points above U+FFFF, meet U+E000 to U+FFFF: those trade places.
 * One to one, unit by unit; so prefixes stay prefixes.
 */
export function orderKey(text: string): string {
  if (!beyondPlainOrder.test(text)) return text
  let key = ''
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    key += String.fromCharCode(unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800)
  }
  return key
}

/** The text that `orderKey` made this of. */
export function plainKey(key: string): string {
  if (!beyondPlainOrder.test(key)) return key
  let text = ''
  for (let at = 0; at < key.length; at++) {
    const unit = key.charCodeAt(at)
    text += String.fromCharCode(unit < 0xd800 ? unit : unit < 0xf800 ? unit + 0x800 : unit - 0x2000)
  }
  return text
}

/** Orders texts by the bytes of their UTF-8. */
export function byBytes(left: string, right: string): number {
  const a = orderKey(left)
  const b = orderKey(right)
  return a < b ? -1 : a > b ? 1 : 0
}

const upperCase = /[A-Z]+/g

/**
 * The spelling under which names compare without regard to case. ASCII only, as in DNS (RFC 4343): what Unicode calls
 * lower case changes with the version of the runtime, and every replica must agree.
 */
export function folded(name: string): string {
  return name.replace(upperCase, (letters) => letters.toLowerCase())
}

/** The first key after every key that begins with `prefix`; undefined when there is none. */
function afterPrefix(prefix: string): string | undefined {
  for (let at = prefix.length - 1; at >= 0; at--) {
    const unit = prefix.charCodeAt(at)
    if (unit < 0xffff) return prefix.slice(0, at) + String.fromCharCode(unit + 1)
  }
  return undefined
}

/** Rows per tree node; the library's default. */
const nodeSize = 32

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

/** Keys given to a table have been through `orderKey` (or are known to need no change). */
export class Table<Row> {
  #tree: sorted.default<string, Row>

  constructor(tree: sorted.default<string, Row> = new sorted.default<string, Row>(undefined, compare, nodeSize)) {
    this.#tree = tree
  }

  /**
   * Built at once from rows in key order; `keys` and `rows` belong together by place.
   * @throws Error when a key does not come after the one before it.
   */
  static ofSorted<Row>(keys: string[], rows: Row[]): Table<Row> {
    return keys.length === 0 ? new Table<Row>() : new Table(bulkLoad(keys, rows, nodeSize, compare))
  }

  /**
   * Puts rows in key order behind all that are here, in time that depends on them alone: ranges that do not overlap are
   * joined by their edges. So a large table grows in slices, as full as one built at once.
   * @throws Error when a key does not come after the one before it.
   */
  append(keys: string[], rows: Row[]): void {
    const first = keys[0]
    if (first === undefined) return
    const last = this.#tree.maxKey()
    const added = bulkLoad(keys, rows, nodeSize, compare)
    if (last === undefined) {
      this.#tree = added
      return
    }
    if (last >= first) throw new Error(`expected a key after "${last}", received "${first}"`)
    this.#tree = union.default<sorted.default<string, Row>, string, Row>(this.#tree, added, () => {
      throw new Error('a key is there twice')
    })
  }

  get size(): number {
    return this.#tree.size
  }

  get(key: string): Row | undefined {
    return this.#tree.get(key)
  }

  /** The row at the key, or the last one before it. */
  atOrBefore(key: string): { key: string; row: Row } | undefined {
    const found = this.#tree.getPairOrNextLower(key)
    return found && { key: found[0], row: found[1] }
  }

  set(key: string, row: Row): void {
    this.#tree.set(key, row)
  }

  delete(key: string): boolean {
    return this.#tree.delete(key)
  }

  /** In key order; the table must not change meanwhile. */
  eachUnder(prefix: string, visit: (row: Row, key: string) => void): void {
    const onFound = (key: string, row: Row): void => visit(row, key)
    const end = afterPrefix(prefix)
    if (end !== undefined) {
      this.#tree.forRange(prefix, end, false, onFound)
      return
    }
    const last = this.#tree.maxKey()
    if (last !== undefined && last >= prefix) this.#tree.forRange(prefix, last, true, onFound)
  }

  /** In key order; a list of its own, so that the table may change while it is walked. */
  under(prefix: string): Row[] {
    const rows: Row[] = []
    this.eachUnder(prefix, (row) => rows.push(row))
    return rows
  }

  hasUnder(prefix: string): boolean {
    return this.#tree.getPairOrNextHigher(prefix)?.[0].startsWith(prefix) ?? false
  }

  /** @returns the rows that are gone, in key order. */
  deleteUnder(prefix: string): Row[] {
    const keys: string[] = []
    const rows: Row[] = []
    this.eachUnder(prefix, (row, key) => {
      keys.push(key)
      rows.push(row)
    })
    const first = keys[0]
    const last = keys.at(-1)
    if (first !== undefined && last !== undefined) this.#tree.deleteRange(first, last, true)
    return rows
  }

  /** In key order. Walk a clone when the table may change meanwhile. */
  rows(): Iterable<Row> {
    return this.#tree.values()
  }

  /** The same rows at once, whatever happens to either table later. */
  clone(): Table<Row> {
    return new Table(this.#tree.clone())
  }
}
