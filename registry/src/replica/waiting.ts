/** Promises for what the log will bring: proposals, confirmed reads, and indexes to be applied; and how much is under way. */
import type { Index, Term } from '../model.ts'

export interface Waiter<T> {
  resolve(value: T): void
  reject(reason: Error): void
}

/** Callers waiting for the fate of entries they proposed, by index and term. */
export class Proposed {
  readonly #waiting = new Map<Index, Waiter<{ index: Index; result: unknown }> & { term: Term; read: unknown }>()

  get size(): number {
    return this.#waiting.size
  }

  /** @param read what the entry says, for whoever applies it */
  add(index: Index, term: Term, waiter: Waiter<{ index: Index; result: unknown }>, read?: unknown): void {
    this.#waiting.set(index, { term, read, resolve: waiter.resolve, reject: waiter.reject })
  }

  /** What the entry at `index` says; undefined when it is not one of ours. */
  readAt(index: Index, term: Term): unknown {
    const waiter = this.#waiting.get(index)
    return waiter?.term === term ? waiter.read : undefined
  }

  /**
   * The entry at `index` is committed and applied. An entry of ours with another term there can never be: `displaced`
   * says so.
   */
  applied(index: Index, term: Term, result: unknown, displaced: () => Error): void {
    const waiter = this.#waiting.get(index)
    if (waiter === undefined) return
    this.#waiting.delete(index)
    if (waiter.term === term) waiter.resolve({ index, result })
    else waiter.reject(displaced())
  }

  /** A snapshot stands for everything up to `index`: what became of these entries cannot be told. */
  covered(index: Index, reason: () => Error): void {
    for (const [at, waiter] of this.#waiting) {
      if (at > index) continue
      this.#waiting.delete(at)
      waiter.reject(reason())
    }
  }

  rejectAll(reason: () => Error): void {
    for (const waiter of this.#waiting.values()) waiter.reject(reason())
    this.#waiting.clear()
  }
}

/** Callers waiting until an index is applied. */
export class Arrivals {
  readonly #waiting = new Map<Index, Waiter<void>[]>()

  add(index: Index, waiter: Waiter<void>): void {
    const waiters = this.#waiting.get(index)
    if (waiters === undefined) this.#waiting.set(index, [waiter])
    else waiters.push(waiter)
  }

  /** Everything up to `index` is applied; `from` was before. */
  reached(from: Index, index: Index): void {
    if (this.#waiting.size === 0) return
    if (index - from <= this.#waiting.size) {
      for (let at = from + 1; at <= index; at++) this.#release(at)
    } else {
      for (const at of [...this.#waiting.keys()]) if (at <= index) this.#release(at)
    }
  }

  #release(index: Index): void {
    const waiters = this.#waiting.get(index)
    if (waiters === undefined) return
    this.#waiting.delete(index)
    for (const waiter of waiters) waiter.resolve()
  }

  rejectAll(reason: () => Error): void {
    for (const waiters of this.#waiting.values()) for (const waiter of waiters) waiter.reject(reason())
    this.#waiting.clear()
  }
}

/**
 * What a leader's log holds in memory because it is not committed, or not on this disk, yet. No bound on time: without a
 * majority, or with a disk that hangs, it must not grow with the patience of the clients.
 */
export class Unsettled {
  bytes = 0
  #end: Index = 0
  #settled: Index = 0
  #batches: { last: Index; bytes: number }[] = []

  get count(): number {
    return this.#end - this.#settled
  }

  /** A new leadership: the log goes on to `last`, with so many bytes after `settled`. */
  begin(settled: Index, last: Index, bytes: number): void {
    this.#batches = [{ last, bytes }]
    this.bytes = bytes
    this.#end = last
    this.#settled = settled
  }

  add(last: Index, bytes: number): void {
    this.#batches.push({ last, bytes })
    this.bytes += bytes
    this.#end = last
  }

  /** Everything up to `index` is committed and on this disk. */
  settle(index: Index): void {
    this.#settled = Math.min(index, this.#end)
    let done = 0
    while (this.#batches[done] !== undefined && this.#batches[done]!.last <= index) {
      this.bytes -= this.#batches[done]!.bytes
      done++
    }
    if (done > 0) this.#batches.splice(0, done)
  }
}
