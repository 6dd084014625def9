/**
 * What the keys should be after each entry of the log, the plain way: maps, and every version of every key, so that an
 * answer that is true at any index can be looked up. Only what the clients of the simulator write: sets, deletions, with
 * and without an index to match, transactions of them, requests sent twice, and reaping.
 */
import type { Index } from '../../src/model.ts'
import type { Command, Result } from '../../src/store/command.ts'
import type { Operation } from '../../src/store/operation.ts'
import type { From } from '../../src/store/origins.ts'

export interface Pair {
  value: string
  createIndex: Index
  modifyIndex: Index
}

interface Version {
  index: Index
  pair: Pair | undefined
}

interface Origin {
  settled: number
  last: Index
  results: Map<number, string>
}

export class PlainStore {
  readonly #versions = new Map<string, Version[]>()
  readonly #origins = new Map<string, Origin>()
  /** At which index each write took effect, by its value: every value is written once. */
  readonly written = new Map<string, Index>()

  /** The next entry of the log. Returns the answer, as `answerText` has it. @throws when a write takes effect again */
  apply(index: Index, command: Command & { from?: From }): string {
    const { from } = command
    if (from === undefined) return this.#apply(index, command)
    const [id, sequence, settled] = from
    let origin = this.#origins.get(id)
    if (origin === undefined) {
      origin = { settled: 0, last: index, results: new Map() }
      this.#origins.set(id, origin)
    }
    if (sequence <= origin.settled) return 'given up'
    const answer = origin.results.get(sequence) ?? this.#apply(index, command)
    origin.results.set(sequence, answer)
    origin.last = index
    if (settled > origin.settled) {
      origin.settled = settled
      for (const old of origin.results.keys()) if (old <= settled) origin.results.delete(old)
    }
    return answer
  }

  keys(): string[] {
    return [...this.#versions.keys()]
  }

  /** What a key was when everything up to `index` was applied. */
  at(key: string, index: Index): Pair | undefined {
    const versions = this.#versions.get(key)
    if (versions === undefined) return undefined
    // Nearly always the newest, or one of the last.
    for (let at = versions.length - 1; at >= 0; at--) if (versions[at]!.index <= index) return versions[at]!.pair
    return undefined
  }

  /** What it is now. */
  now(key: string): Pair | undefined {
    return this.#versions.get(key)?.at(-1)?.pair
  }

  #apply(index: Index, command: Command): string {
    switch (command.type) {
      case 'kv.set':
      case 'kv.delete':
        return this.#perform(index, command) === undefined ? 'no' : 'yes'
      case 'txn': {
        const before = new Map<string, number>()
        for (const each of command.operations) {
          if ('key' in each) before.set(each.key, this.#versions.get(each.key)?.length ?? 0)
        }
        const outcomes = command.operations.map((operation) => this.#perform(index, operation))
        const failed = outcomes.flatMap((outcome, place) => (outcome === undefined ? [place] : []))
        if (failed.length === 0) return `yes ${outcomes.filter((outcome) => outcome !== '').join(' ')}`
        // None of them has happened.
        for (const [key, length] of before) {
          const versions = this.#versions.get(key)
          for (const { pair } of versions?.splice(length) ?? []) if (pair !== undefined) this.written.delete(pair.value)
        }
        return `no ${failed.join()}`
      }
      case 'tombstones.reap':
        for (const [id, { last }] of this.#origins) if (last <= command.upTo) this.#origins.delete(id)
        return 'yes'
      default:
        throw new Error(`no client writes ${command.type}`)
    }
  }

  /** What it answers; undefined: it failed. */
  #perform(index: Index, operation: Operation): string | undefined {
    switch (operation.type) {
      case 'kv.get': {
        const pair = this.now(operation.key)
        return pair && pairText(operation.key, pair, true)
      }
      case 'kv.check': {
        const pair = this.now(operation.key)
        return pair?.modifyIndex === operation.index ? pairText(operation.key, pair, false) : undefined
      }
      case 'kv.absent':
        return this.now(operation.key) === undefined ? '' : undefined
      case 'kv.set': {
        const { key, value, cas } = operation
        const old = this.now(key)
        if (cas !== undefined && cas !== (old?.modifyIndex ?? 0)) return undefined
        if (old?.value === value) return pairText(key, old, false)
        const earlier = this.written.get(value)
        if (earlier !== undefined) throw new Error(`${value} took effect at ${earlier}, and again at ${index}`)
        this.written.set(value, index)
        const pair = { value, createIndex: old?.createIndex ?? index, modifyIndex: index }
        this.#set(key, index, pair)
        return pairText(key, pair, false)
      }
      case 'kv.delete': {
        const { key, cas } = operation
        const old = this.now(key)
        if (old === undefined) return ''
        if (cas !== undefined && cas !== old.modifyIndex) return undefined
        this.#set(key, index, undefined)
        return ''
      }
      default:
        throw new Error(`no client writes ${operation.type}`)
    }
  }

  #set(key: string, index: Index, pair: Pair | undefined): void {
    const versions = this.#versions.get(key)
    if (versions === undefined) this.#versions.set(key, [{ index, pair }])
    else versions.push({ index, pair })
  }
}

/** A result of the store, in the plain store's words. */
export function answerText(command: Command, result: Result): string {
  if ('error' in result) return 'given up'
  if (command.type !== 'txn') return result.value ? 'yes' : 'no'
  if (!result.value) return `no ${(result.errors ?? []).map(({ operation }) => operation).join()}`
  const texts = (result.results ?? []).map((each) => {
    if (each.type !== 'kv') throw new Error(`no client reads a ${each.type}`)
    // Only a read answers with the value.
    return pairText(each.pair.key, each.pair, each.pair.value !== '')
  })
  return `yes ${texts.join(' ')}`
}

function pairText(key: string, { value, createIndex, modifyIndex }: Pair, whole: boolean): string {
  return `${key}@${createIndex}-${modifyIndex}${whole ? `="${value}"` : ''}`
}
