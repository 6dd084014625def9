/**
 * The entries after a starting point, in memory: an array with an offset, so that appending, looking up and cutting off
 * the end cost nothing that grows with the log. What is before the start is in a snapshot; of it only the last index and
 * term are known. Knows nothing of commitment or disks.
 */
import { assert } from '../errors.ts'
import type { Index, Term } from '../model.ts'
import { entryLength } from './codec.ts'
import type { Entry } from './message.ts'

export class Log {
  #startIndex: Index
  #startTerm: Term
  #entries: Entry[]

  /** @param start index and term of the last entry that is not here any more; 0 and 0 for a new log. */
  constructor(start: { index: Index; term: Term }) {
    this.#startIndex = start.index
    this.#startTerm = start.term
    this.#entries = []
  }

  /** The last index that is not here any more; its term is still known. */
  get startIndex(): Index {
    return this.#startIndex
  }
  get lastIndex(): Index {
    return this.#startIndex + this.#entries.length
  }
  get lastTerm(): Term {
    return this.#entries.at(-1)?.term ?? this.#startTerm
  }

  /** Undefined before the start and after the end. */
  termAt(index: Index): Term | undefined {
    return index === this.#startIndex ? this.#startTerm : this.#entries[index - this.#startIndex - 1]?.term
  }

  at(index: Index): Entry | undefined {
    return this.#entries[index - this.#startIndex - 1]
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, `entry ${entry.index} appended after ${this.lastIndex}`)
    assert(entry.term >= this.lastTerm, `entry ${entry.index} of term ${entry.term} after one of term ${this.lastTerm}`)
    this.#entries.push(entry)
  }

  /** Forgets `from` and everything after it. */
  truncate(from: Index): void {
    assert(from > this.#startIndex, `truncate from ${from}, but the log starts after ${this.#startIndex}`)
    this.#entries.length = Math.min(this.#entries.length, from - this.#startIndex - 1)
  }

  /** Entries `from` to `through`, as many as fit in `bytesMax` but at least one if there is one. */
  slice(from: Index, through: Index, bytesMax: number): Entry[] {
    assert(from > this.#startIndex, `entries from ${from} wanted, but the log starts after ${this.#startIndex}`)
    const first = from - this.#startIndex - 1
    const end = Math.min(through - this.#startIndex, this.#entries.length)
    let stop = first
    let bytes = 0
    while (stop < end) {
      bytes += entryLength(this.#entries[stop] as Entry)
      if (bytes > bytesMax && stop > first) break
      stop++
    }
    return this.#entries.slice(first, stop)
  }

  /** What the entries after `index` weigh on the wire; it looks at each of them. */
  bytesAfter(index: Index): number {
    let bytes = 0
    for (let at = Math.max(0, index - this.#startIndex); at < this.#entries.length; at++) {
      bytes += entryLength(this.#entries[at] as Entry)
    }
    return bytes
  }

  /** Forgets everything up to and including `index`. */
  compact(index: Index): void {
    if (index <= this.#startIndex) return
    const term = this.termAt(index)
    assert(term !== undefined, `compact to ${index}, but the log ends at ${this.lastIndex}`)
    this.#entries = this.#entries.slice(index - this.#startIndex)
    this.#startIndex = index
    this.#startTerm = term
  }

  /** Starts anew after a snapshot. */
  restart(start: { index: Index; term: Term }): void {
    this.#startIndex = start.index
    this.#startTerm = start.term
    this.#entries = []
  }

  /**
   * The last position at or before `index` whose term is at most `term`: no later one can be in a log that has `term`
   * at `index`, because terms never fall along a log. Lets leader and follower skip a whole term per refusal (Raft §5.3,
   * last paragraph). Not below the start: what is there is committed, hence the same in both logs.
   */
  meetingPoint(index: Index, term: Term): { index: Index; term: Term } {
    let low = this.#startIndex
    let high = Math.max(low, Math.min(index, this.lastIndex))
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((this.termAt(middle) as Term) <= term) low = middle
      else high = middle - 1
    }
    return { index: low, term: this.termAt(low) as Term }
  }
}
