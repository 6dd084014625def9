/**
 * The machine that the simulated replicas replicate: the real store, compared after every entry with the plain one and,
 * through it, with all the others. Its snapshots must be the same bytes wherever they are of the same index.
 */
import { createHash } from 'node:crypto'
import type { Index } from '../../src/model.ts'
import type { StateMachine } from '../../src/replica/machine.ts'
import { type Command, decodeCommand, type Result } from '../../src/store/command.ts'
import type { From } from '../../src/store/origins.ts'
import { Store } from '../../src/store/store.ts'
import { Violation } from './checkers.ts'
import { answerText, PlainStore } from './plain-store.ts'

interface Applied {
  index: Index
  /** Of the entry's bytes: two nodes that have the same plain state at an index had the same entries up to there. */
  data: Uint8Array
  command: Command & { from?: From }
  answer: string
  node: string
}

/** What was applied, by whoever did it first, and what should have come of it. */
export class Reference {
  readonly plain = new PlainStore()
  /** By index; entries that are no commands leave holes. */
  readonly #applied: Applied[] = []
  readonly #snapshots = new Map<Index, { hash: string; node: string }>()
  /** The last command's. */
  index: Index = 0
  snapshots = 0

  /** @throws Violation when another node applied something else there, or after it */
  applied(node: string, index: Index, data: Uint8Array, before: Index): Applied {
    const known = this.#applied[index]
    if (known !== undefined) {
      if (!same(known.data, data)) {
        throw new Violation(`at index ${index} ${node} applied other entries than ${known.node}`)
      }
      return known
    }
    if (index <= this.index)
      throw new Violation(`at index ${index} ${node} applied an entry that nobody else has there`)
    if (before !== this.index) {
      throw new Violation(`${node} applies ${index} after ${before}, but ${this.index} was applied before`)
    }
    const command = decodeCommand(data)
    let answer: string
    try {
      answer = this.plain.apply(index, command)
    } catch (error) {
      throw new Violation((error as Error).message)
    }
    const applied = { index, data: data.slice(), command, answer, node }
    this.#applied[index] = applied
    this.index = index
    return applied
  }

  /** The command before `index`; 0: there was none. */
  before(index: Index): Index {
    let at = index - 1
    while (at > 0 && this.#applied[at] === undefined) at--
    return Math.max(0, at)
  }

  has(index: Index): boolean {
    return index === 0 || this.#applied[index] !== undefined
  }

  snapshot(node: string, index: Index, hash: string): void {
    this.snapshots++
    const first = this.#snapshots.get(index)
    if (first === undefined) this.#snapshots.set(index, { hash, node })
    else if (first.hash !== hash) {
      throw new Violation(`the snapshots at ${index} of ${first.node} and ${node} are not the same bytes`)
    }
  }
}

export class Keys implements StateMachine {
  readonly store = new Store()
  readonly #node: string
  readonly #reference: Reference

  constructor(node: string, reference: Reference) {
    this.#node = node
    this.#reference = reference
  }

  /** Of the last command applied. */
  get index(): Index {
    return this.store.index
  }

  apply(index: Index, data: Uint8Array, read?: Command): Result {
    const before = this.store.index
    const expected = this.#reference.applied(this.#node, index, data, before)
    if (expected.node !== this.#node && this.#reference.before(index) !== before) {
      throw new Violation(`${this.#node} applies ${index} after ${before}, and left out what is between`)
    }
    const result = this.store.apply(index, data, read)
    const answer = answerText(expected.command, result)
    if (answer !== expected.answer) {
      throw new Violation(`at index ${index} ${this.#node} answers "${answer}", expected "${expected.answer}"`)
    }
    const { command } = expected
    if ('key' in command) this.#compare(command.key, index)
    else if (command.type === 'txn')
      for (const each of command.operations) if ('key' in each) this.#compare(each.key, index)
    return result
  }

  snapshot(): Iterable<Uint8Array> {
    return this.#hashed(this.store.index, this.store.snapshot())
  }

  *#hashed(index: Index, chunks: Iterable<Uint8Array>): Iterable<Uint8Array> {
    const hash = createHash('md5')
    for (const chunk of chunks) {
      hash.update(chunk)
      yield chunk
    }
    this.#reference.snapshot(this.#node, index, hash.digest('base64'))
  }

  restore(chunks: Iterable<Uint8Array>): void {
    this.store.restore(chunks)
    this.#restored()
  }

  restoring(): { add(chunk: Uint8Array): void; finish(): void } {
    const restoring = this.store.restoring()
    return {
      add: (chunk) => restoring.add(chunk),
      finish: () => {
        restoring.finish()
        this.#restored()
      },
    }
  }

  #restored(): void {
    const { index } = this.store
    if (!this.#reference.has(index)) throw new Violation(`${this.#node} restores a state at ${index}, where none was`)
    for (const key of this.#reference.plain.keys()) this.#compare(key, index)
  }

  /** @throws Violation when a key, or an index of it, is not as it should be at `index` */
  #compare(key: string, index: Index): void {
    const { value: pair } = this.store.kv(key)
    const expected = this.#reference.plain.at(key, index)
    if (
      pair?.value === expected?.value &&
      pair?.modifyIndex === expected?.modifyIndex &&
      pair?.createIndex === expected?.createIndex
    )
      return
    throw new Violation(
      `at index ${index} ${key} is ${JSON.stringify(pair)} at ${this.#node}, expected ${JSON.stringify(expected)}`,
    )
  }
}

function same(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0
}
