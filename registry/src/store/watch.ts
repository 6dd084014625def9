/**
 * Who waits for what. A change marks the watchers of its topics; when the apply is over, each marked watcher is called
 * once. Costs grow with what a change touches, not with how many wait for other things.
 */
import { folded } from './table.ts'
import type { Topic } from './view.ts'

interface Watcher {
  readonly onChange: () => void
  active: boolean
}

/** The states whose checks are followed one by one; whoever waits for another text waits for all checks. */
export const followedStates: readonly string[] = ['passing', 'warning', 'critical']

/** The places a topic's watchers wait at; names compare without regard to case, so they wait under the folded one. */
function placeOf(topic: Exclude<Topic, { kind: 'prefix' }>): string {
  switch (topic.kind) {
    case 'key':
      return `key ${topic.key}`
    case 'node':
      return `node ${folded(topic.node)}`
    case 'service':
      return `service ${folded(topic.service)}`
    case 'locations':
      return `locations ${folded(topic.service)}`
    case 'checks':
      return followedStates.includes(topic.state ?? 'any') ? `checks ${topic.state}` : 'checks'
    case 'coordinates':
      return topic.node === undefined ? 'coordinates' : `coordinates ${folded(topic.node)}`
    case 'nodes':
    case 'services':
    case 'sessions':
    case 'queries':
      return topic.kind
  }
}

export class Watchers {
  readonly #places = new Map<string, Set<Watcher>>()
  readonly #prefixes = new Map<string, Set<Watcher>>()
  /** How many watched prefixes have a length, so that a changed key looks at one prefix per length. */
  readonly #prefixLengths = new Map<number, number>()
  #marked = new Set<Watcher>()

  /** How many wait. */
  get size(): number {
    let size = 0
    for (const waiting of this.#places.values()) size += waiting.size
    for (const waiting of this.#prefixes.values()) size += waiting.size
    return size
  }

  /** @returns what ends the watch; calling it again does nothing. */
  add(topic: Topic, onChange: () => void): () => void {
    const watcher: Watcher = { onChange, active: true }
    const isPrefix = topic.kind === 'prefix'
    const places = isPrefix ? this.#prefixes : this.#places
    const place = isPrefix ? topic.prefix : placeOf(topic)
    const waiting = places.get(place)
    if (waiting !== undefined) waiting.add(watcher)
    else {
      places.set(place, new Set([watcher]))
      if (isPrefix) this.#countLength(place.length, 1)
    }
    return () => {
      if (!watcher.active) return
      watcher.active = false
      const left = places.get(place)
      left?.delete(watcher)
      if (left?.size !== 0) return
      places.delete(place)
      if (isPrefix) this.#countLength(place.length, -1)
    }
  }

  /** The key came, changed or went: marks its watchers and those of every prefix of it. */
  keyChanged(key: string): void {
    this.#mark(this.#places.get(`key ${key}`))
    for (const length of this.#prefixLengths.keys()) {
      if (length <= key.length) this.#mark(this.#prefixes.get(key.slice(0, length)))
    }
  }

  changed(topic: Exclude<Topic, { kind: 'key' | 'prefix' }>): void {
    this.#mark(this.#places.get(placeOf(topic)))
  }

  everythingChanged(): void {
    for (const waiting of this.#places.values()) this.#mark(waiting)
    for (const waiting of this.#prefixes.values()) this.#mark(waiting)
  }

  /** Calls the marked watchers, once each. A watch that another one's call ended is not called; new ones wait for the next change. */
  wake(): void {
    if (this.#marked.size === 0) return
    const marked = this.#marked
    this.#marked = new Set()
    for (const watcher of marked) if (watcher.active) watcher.onChange()
  }

  /** What was marked since the last `wake` did not happen after all. */
  forget(): void {
    if (this.#marked.size > 0) this.#marked = new Set()
  }

  #mark(waiting: Set<Watcher> | undefined): void {
    if (waiting !== undefined) for (const watcher of waiting) this.#marked.add(watcher)
  }

  #countLength(length: number, by: number): void {
    const count = (this.#prefixLengths.get(length) ?? 0) + by
    if (count === 0) this.#prefixLengths.delete(length)
    else this.#prefixLengths.set(length, count)
  }
}
