/**
 * Keys and values. A write that says what is already there changes nothing and wakes nobody (Consul 1.8). A deletion
 * leaves a tombstone, so that the index of a prefix never moves backwards while someone may still wait on it.
 *
 * A lock is advice: a write or deletion that names no session is carried out whoever holds the key.
 */
import type { Base64, Index, KvPair, SessionBehavior, SessionId } from '../model.ts'
import type { Result } from './command.ts'
import { type LockDelay, Locks, type LocksState } from './locks.ts'
import { Pairs } from './pairs.ts'
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
  /** Without their holders. */
  pairs: Pairs
  tombstones: Table<Tombstone>
  locks: LocksState
}

interface Written {
  key: string
  value: Base64
  flags: string
}

export class Kv {
  readonly #watchers: Watchers
  #pairs: Pairs
  #tombstones: Table<Tombstone>
  #changed: Index
  readonly #locks: Locks
  /** Tombstones in the order they came, for reaping; one whose key was deleted again since counts no more. */
  #burials: Tombstone[]

  constructor(watchers: Watchers, state: KvState = emptyState()) {
    this.#watchers = watchers
    this.#locks = new Locks(state.locks)
    this.#pairs = state.pairs
    this.#tombstones = state.tombstones
    this.#changed = state.changed
    this.#burials = [...state.tombstones.rows()].sort((a, b) => a.index - b.index || byBytes(a.key, b.key))
  }

  /** A copy-on-write clone. */
  state(): KvState {
    return {
      changed: this.#changed,
      pairs: this.#pairs.clone(),
      tombstones: this.#tombstones.clone(),
      locks: this.#locks.state(),
    }
  }

  /** @returns what makes everything as it is now; good until the next `reap`. */
  savepoint(): () => void {
    const { changed, pairs, tombstones } = this.state()
    const locksBack = this.#locks.savepoint()
    const burials = this.#burials.length
    return () => {
      this.#changed = changed
      this.#pairs = pairs
      this.#tombstones = tombstones
      locksBack()
      this.#burials.length = burials
    }
  }

  /** `value` false: `cas` did not match. Whoever holds the key goes on to, and its lockIndex begins anew (Consul 1.8). */
  set(index: Index, written: Written & { cas?: Index }): Result {
    const existing = this.#pairs.get(orderKey(written.key))
    if (written.cas !== undefined && written.cas !== (existing?.modifyIndex ?? 0)) return { value: false }
    this.#put(index, existing, written, 0)
    return { value: true }
  }

  /**
   * Sets the key and holds it for the session, which exists; whether the key is delayed was asked before. `value` false:
   * another session holds it. Who holds it already may do so again.
   */
  lock(index: Index, written: Written, session: SessionId): Result {
    const { key } = written
    const holder = this.#locks.holder(key)
    if (holder !== undefined && holder !== session) return { value: false }
    const existing = this.#pairs.get(orderKey(key))
    const lockIndex = existing?.lockIndex ?? 0
    if (holder === session) this.#put(index, existing, written, lockIndex)
    else {
      this.#locks.hold(key, session)
      this.#put(index, existing, written, lockIndex + 1, true)
    }
    return { value: true }
  }

  /** Sets the key and holds it no longer. `value` false: the session does not hold it. */
  unlock(index: Index, written: Written, session: SessionId): Result {
    const { key } = written
    if (this.#locks.holder(key) !== session) return { value: false }
    const existing = this.#pairs.get(orderKey(key))
    this.#locks.free(key)
    this.#put(index, existing, written, existing?.lockIndex ?? 0, true)
    return { value: true }
  }

  /** The session has ended: lets go of what it holds, or deletes it, and marks it as delayed. */
  sessionEnded(index: Index, session: SessionId, behavior: SessionBehavior, delay: number): void {
    for (const key of this.#locks.keysOf(session)) {
      this.#locks.free(key)
      const existing = this.#pairs.get(orderKey(key))
      if (existing === undefined)
        throw new Error(`session ${session} holds key ${JSON.stringify(key)}, which is absent`)
      if (behavior === 'delete') this.delete(index, key)
      else this.#put(index, existing, existing, existing.lockIndex, true)
      if (delay > 0) this.#locks.delay({ key, index, lasts: delay })
    }
  }

  /** Those whose lock-delay is over may be locked again. */
  endDelays(marks: readonly { key: string; index: Index }[]): Result {
    for (const { key, index } of marks) this.#locks.endDelay(key, index)
    return { value: true }
  }

  /** Its lock-delay is not over: a lock on it is refused, whoever asks. */
  isDelayed(key: string): boolean {
    return this.#locks.isDelayed(key)
  }

  lockDelays(): LockDelay[] {
    return this.#locks.delays()
  }

  /** Deleting what is not there is fine, changes nothing, and matches any `cas` (Consul's kvsDeleteCAS). */
  delete(index: Index, key: string, cas?: Index): Result {
    const place = orderKey(key)
    const existing = this.#pairs.get(place)
    if (existing === undefined) return { value: true }
    if (cas !== undefined && cas !== existing.modifyIndex) return { value: false }
    this.#pairs.delete(place)
    this.#locks.free(key)
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
    for (const key of gone) {
      this.#locks.free(key)
      this.#watchers.keyChanged(key)
    }
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
    return { index: value?.modifyIndex ?? this.#tableIndex, value: value && this.#held(value) }
  }

  under(prefix: string): Indexed<KvPair[]> {
    const value = this.#pairs.under(orderKey(prefix))
    let newest = 0
    for (const pair of value) newest = Math.max(newest, pair.modifyIndex)
    return { index: this.#prefixIndex(prefix, newest), value: value.map((pair) => this.#held(pair)) }
  }

  keys(prefix: string, separator = ''): Indexed<string[]> {
    const value: string[] = []
    let newest = 0
    this.#pairs.eachKeyUnder(orderKey(prefix), (key, modifyIndex) => {
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
    index = Math.max(index, this.#treeIndexAbove(orderKey(prefix)))
    return index === 0 ? this.#tableIndex : index
  }

  /**
   * Of the removals of everything under a shorter prefix, each of which left one tombstone, there. From the longest on, past
   * all lengths at which there is none: a prefix may be as long as a request, and looked up at every length it would cost the
   * square of that.
   */
  #treeIndexAbove(place: string): Index {
    let index = 0
    let length = place.length - 1
    while (length >= 0) {
      const before = this.#tombstones.atOrBefore(place.slice(0, length))
      if (before === undefined) break
      const common = commonLength(place, before.key)
      if (common < before.key.length) {
        // Whatever goes further along `place` than this one does comes after it, and would have been found instead.
        length = common
        continue
      }
      index = Math.max(index, before.row.treeIndex)
      length = common - 1
    }
    return index
  }

  /** With its holder, if any. */
  #held(pair: KvPair): KvPair {
    const session = this.#locks.holder(pair.key)
    return session === undefined ? pair : { ...pair, session }
  }

  /** Says nothing new and changes nothing unless it differs from what is there, or the holder does (`heldAnew`). */
  #put(
    index: Index,
    existing: KvPair | undefined,
    { key, value, flags }: Written,
    lockIndex: Index,
    heldAnew = false,
  ): void {
    const same = existing?.value === value && existing.flags === flags && existing.lockIndex === lockIndex
    if (same && !heldAnew) return
    this.#pairs.set(orderKey(key), {
      key,
      value,
      flags,
      lockIndex,
      createIndex: existing?.createIndex ?? index,
      modifyIndex: index,
    })
    this.#changed = index
    this.#watchers.keyChanged(key)
  }

  #bury(index: Index, key: string, tree = false): void {
    const treeIndex = tree ? index : (this.#tombstones.get(orderKey(key))?.treeIndex ?? 0)
    const tombstone = { key, index, treeIndex }
    this.#tombstones.set(orderKey(key), tombstone)
    this.#burials.push(tombstone)
    this.#changed = index
  }
}

/** How many units two texts begin with in common. */
function commonLength(one: string, other: string): number {
  const most = Math.min(one.length, other.length)
  let length = 0
  while (length < most && one.charCodeAt(length) === other.charCodeAt(length)) length++
  return length
}

function emptyState(): KvState {
  return { changed: 0, pairs: new Pairs(), tombstones: new Table(), locks: { holds: new Table(), delays: new Table() } }
}
