/**
 * Keys and values. A write that says what is already there changes nothing and wakes nobody (Consul 1.8). A deletion
 * leaves a tombstone, so that the index of a prefix never moves backwards while someone may still wait on it.
 */
import type { Base64, Index, KvPair } from '../model.ts'
import type { Result } from './command.ts'
import { byBytes, orderKey, Table } from './table.ts'
import type { Indexed } from './view.ts'
import type { Watchers } from './watch.ts'

/** That `key`, or with a recursive delete everything that begins with it, went at `index`. */
export interface Tombstone {
  key: string
  index: Index
  /** When everything under the key went at once; 0: never. One tombstone stands for all of them. */
  treeIndex: Index
}

/** All there is to know of the keys, for a snapshot. */
export interface KvState {
  /** The last change or deletion of any key. */
  changed: Index
  pairs: Table<KvPair>
  tombstones: Table<Tombstone>
}

export class Kv {
  readonly #watchers: Watchers
  #pairs: Table<KvPair>
  #tombstones: Table<Tombstone>
  #changed: Index
  /** Tombstones in the order they came, for reaping; one whose key was deleted again since counts no more. */
  #burials: Tombstone[]

  constructor(
    watchers: Watchers,
    state: KvState = { changed: 0, pairs: new Table<KvPair>(), tombstones: new Table<Tombstone>() },
  ) {
    this.#watchers = watchers
    this.#pairs = state.pairs
    this.#tombstones = state.tombstones
    this.#changed = state.changed
    this.#burials = [...state.tombstones.rows()].sort((a, b) => a.index - b.index || byBytes(a.key, b.key))
  }

  /** A copy-on-write clone. */
  state(): KvState {
    return { changed: this.#changed, pairs: this.#pairs.clone(), tombstones: this.#tombstones.clone() }
  }

  /** @returns what makes everything as it is now; good until the next `reap`. */
  savepoint(): () => void {
    const { changed, pairs, tombstones } = this.state()
    const burials = this.#burials.length
    return () => {
      this.#changed = changed
      this.#pairs = pairs
      this.#tombstones = tombstones
      this.#burials.length = burials
    }
  }

  /** `value` false: `cas` did not match. */
  set(index: Index, { key, value, flags, cas }: { key: string; value: Base64; flags: string; cas?: Index }): Result {
    const place = orderKey(key)
    const existing = this.#pairs.get(place)
    if (cas !== undefined && cas !== (existing?.modifyIndex ?? 0)) return { value: false }
    if (existing !== undefined && existing.value === value && existing.flags === flags) return { value: true }
    this.#pairs.set(place, {
      key,
      value,
      flags,
      lockIndex: existing?.lockIndex ?? 0,
      createIndex: existing?.createIndex ?? index,
      modifyIndex: index,
    })
    this.#changed = index
    this.#watchers.keyChanged(key)
    return { value: true }
  }

  /** Deleting what is not there is fine, changes nothing, and matches any `cas` (Consul's kvsDeleteCAS). */
  delete(index: Index, key: string, cas?: Index): Result {
    const place = orderKey(key)
    const existing = this.#pairs.get(place)
    if (existing === undefined) return { value: true }
    if (cas !== undefined && cas !== existing.modifyIndex) return { value: false }
    this.#pairs.delete(place)
    this.#bury(index, key)
    this.#watchers.keyChanged(key)
    return { value: true }
  }

  /**
   * Every key that begins with `prefix`. One tombstone at `prefix` is enough: a longer prefix below it is either empty now,
   * and answers the index of the last change of any key, or holds newer keys.
   */
  deleteUnder(index: Index, prefix: string): Result {
    const gone = this.#pairs.deleteUnder(orderKey(prefix))
    if (gone.length === 0) return { value: true }
    this.#bury(index, prefix, true)
    for (const pair of gone) this.#watchers.keyChanged(pair.key)
    return { value: true }
  }

  /** Forgets deletions up to `upTo`. Prefix indexes may move back to that of what is left; nobody is woken. */
  reap(upTo: Index): Result {
    let reaped = 0
    for (const burial of this.#burials) {
      if (burial.index > upTo) break
      reaped++
      const place = orderKey(burial.key)
      if (this.#tombstones.get(place)?.index === burial.index) this.#tombstones.delete(place)
    }
    if (reaped > 0) this.#burials = this.#burials.slice(reaped)
    return { value: true }
  }

  pair(key: string): Indexed<KvPair | undefined> {
    const value = this.#pairs.get(orderKey(key))
    return { index: value?.modifyIndex ?? this.#tableIndex, value }
  }

  under(prefix: string): Indexed<KvPair[]> {
    const value = this.#pairs.under(orderKey(prefix))
    let newest = 0
    for (const pair of value) newest = Math.max(newest, pair.modifyIndex)
    return { index: this.#prefixIndex(prefix, newest), value }
  }

  keys(prefix: string, separator = ''): Indexed<string[]> {
    const value: string[] = []
    let newest = 0
    this.#pairs.eachUnder(orderKey(prefix), ({ key, modifyIndex }) => {
      newest = Math.max(newest, modifyIndex)
      const cut = separator === '' ? -1 : key.indexOf(separator, prefix.length)
      const name = cut < 0 ? key : key.slice(0, cut + separator.length)
      // Keys that fold into one entry are neighbours.
      if (value.at(-1) !== name) value.push(name)
    })
    return { index: this.#prefixIndex(prefix, newest), value }
  }

  /** Every change is under the empty prefix; an empty prefix without tombstones answers the same. */
  get #tableIndex(): Index {
    return Math.max(1, this.#changed)
  }

  #prefixIndex(prefix: string, newest: Index): Index {
    if (prefix === '') return this.#tableIndex
    let index = newest
    this.#tombstones.eachUnder(orderKey(prefix), (tombstone) => {
      index = Math.max(index, tombstone.index)
    })
    // The removal of everything under a shorter prefix left one tombstone, there.
    for (let length = 0; length < prefix.length; length++) {
      index = Math.max(index, this.#tombstones.get(orderKey(prefix.slice(0, length)))?.treeIndex ?? 0)
    }
    return index === 0 ? this.#tableIndex : index
  }

  #bury(index: Index, key: string, tree = false): void {
    const treeIndex = tree ? index : (this.#tombstones.get(orderKey(key))?.treeIndex ?? 0)
    const tombstone = { key, index, treeIndex }
    this.#tombstones.set(orderKey(key), tombstone)
    this.#burials.push(tombstone)
    this.#changed = index
  }
}
