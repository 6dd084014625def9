/**
 * What whole agents must never do, looked at from outside. The ledger is the one history of the cluster as it is seen
 * from all stores together: every entry as whoever applied it first had it, and a store of its own that has applied them
 * all. What clients are told is compared with it. A violation throws at once.
 */
import { createHash } from 'node:crypto'
import type { Index, Term } from '../../src/model.ts'
import { type Command, decodeCommand } from '../../src/store/command.ts'
import { Store } from '../../src/store/store.ts'
import { Violation } from './checkers.ts'

export { Violation } from './checkers.ts'

/** What a key was from an index on; undefined: absent. */
interface Change {
  index: Index
  value: string | undefined
}

const checkpointEvery = 200

export class Ledger {
  readonly #leaders = new Map<Term, string>()
  readonly #entries = new Map<Index, { digest: string; data: Uint8Array; node: string }>()
  readonly #checkpoints: { index: Index; chunks: Uint8Array[] }[] = []
  readonly #digests = new Map<Index, string>()
  readonly #changes = new Map<string, Change[]>()
  /** Where each value that a client wrote stands, and whether it took effect (a check-and-set may not). */
  readonly #writes = new Map<string, { index: Index; effect: boolean; from: string | undefined }>()
  readonly #refused = new Set<string>()
  /** All entries seen so far, applied. */
  readonly model = new Store()
  /** Everything up to here was shown to somebody by a finished write or linearizable read. */
  shown: Index = 0
  cluster = ''
  acknowledged = 0
  reads = 0

  get entries(): number {
    return this.#entries.size
  }

  get terms(): number {
    return this.#leaders.size
  }

  get last(): Index {
    return this.model.index
  }

  led(node: string, term: Term): void {
    const other = this.#leaders.get(term)
    if (other !== undefined && other !== node) throw new Violation(`${other} and ${node} both lead in term ${term}`)
    this.#leaders.set(term, node)
  }

  /** There is one cluster, whatever happens. */
  belongs(node: string, cluster: string): void {
    if (cluster === '') return
    if (this.cluster === '') this.cluster = cluster
    if (cluster !== this.cluster) throw new Violation(`${node} is in cluster ${cluster}, the others in ${this.cluster}`)
  }

  /** A store is about to apply an entry. */
  applies(node: string, index: Index, data: Uint8Array): void {
    const digest = createHash('md5').update(data).digest('base64')
    const known = this.#entries.get(index)
    if (known !== undefined) {
      if (known.digest === digest) return
      throw new Violation(`at index ${index} ${node} applies another entry than ${known.node} did`)
    }
    if (index <= this.last) throw new Violation(`${node} applies ${index}, which no command had up to ${this.last}`)
    const copy = Uint8Array.from(data)
    this.#entries.set(index, { digest, data: copy, node })
    this.#record(index, copy)
    if (this.#entries.size % checkpointEvery === 0) {
      this.#checkpoints.push({ index, chunks: [...this.model.snapshot()] })
    }
  }

  /** A store holds a state that it did not get entry by entry: the same as if it had. */
  restored(node: string, store: Store): void {
    const { index } = store
    if (index === 0) return
    if (!this.#entries.has(index)) throw new Violation(`${node} restores a state at ${index}, which nobody applied`)
    const expected = this.#digestAt(index)
    if (digestOf(store) !== expected) throw new Violation(`the state that ${node} restores at ${index} is another`)
  }

  /** The client was told "done" (`effect`) or "did not match" of a write that it began when `before` was shown. */
  acknowledge(value: string, before: Index, effect: boolean): void {
    const write = this.#writes.get(value)
    if (write === undefined) throw new Violation(`${value} was acknowledged, but nobody has applied it`)
    if (write.effect !== effect) throw new Violation(`${value} was answered ${effect}, but the state says otherwise`)
    if (write.index <= before)
      throw new Violation(`${value} is at ${write.index}, though ${before} had been shown before`)
    this.shown = Math.max(this.shown, write.index)
    this.acknowledged++
  }

  /** The client was told "certainly not". */
  refuse(value: string): void {
    if (this.#writes.has(value)) throw new Violation(`${value} was refused, but it is in the log`)
    this.#refused.add(value)
  }

  /** A linearizable read that began when everything up to `before` had been shown was answered from a store at `index`. */
  answeredFrom(node: string, index: Index, before: Index): void {
    if (index < before)
      throw new Violation(`${node} answers from a store at ${index}, though ${before} had been shown before`)
  }

  /**
   * A read of a key found `found`. Linearizable: it is true at some moment between its beginning, when everything up to
   * `before` had been shown, and now. Stale: it was true at some moment.
   */
  read(node: string, key: string, found: { value: string; index: Index } | undefined, before: Index | 'stale'): void {
    this.reads++
    const changes = [{ index: 0, value: undefined }, ...(this.#changes.get(key) ?? [])]
    const saying = `${node} says of ${key} ${found === undefined ? 'nothing' : `"${found.value}" (${found.index})`}`
    const fitting = changes.findIndex((change, at) => {
      const next = changes[at + 1]?.index ?? Number.POSITIVE_INFINITY
      const same =
        found === undefined ? change.value === undefined : change.index === found.index && change.value === found.value
      return same && (before === 'stale' || next > before)
    })
    if (fitting < 0) {
      const history = changes.slice(-5).map(({ index, value }) => `${index} "${value}"`)
      const when = before === 'stale' ? 'which was never so' : `though ${before} had been shown before the question`
      throw new Violation(`${saying}, ${when}; its last changes: ${history.join(', ')}`)
    }
    if (before !== 'stale') this.shown = Math.max(this.shown, changes[fitting]!.index)
  }

  /** Every store ends with the state that the whole log makes. */
  final(node: string, store: Store): void {
    if (store.index !== this.last) throw new Violation(`${node} ends at ${store.index}, the log at ${this.last}`)
    if (digestOf(store) !== digestOf(this.model)) throw new Violation(`the state of ${node} is not what the log makes`)
  }

  #record(index: Index, data: Uint8Array): void {
    const command = decodeCommand(data)
    const before = keyOf(command) === undefined ? undefined : this.model.kv(keyOf(command)!).value
    const result = this.model.apply(index, data)
    if (command.type !== 'kv.set' && command.type !== 'kv.delete') return
    const after = this.model.kv(command.key).value
    const effect = 'value' in result && result.value
    if (after?.modifyIndex !== before?.modifyIndex) {
      const changes = this.#changes.get(command.key) ?? []
      this.#changes.set(command.key, changes)
      changes.push({ index, value: after === undefined ? undefined : textOf(after.value) })
    }
    if (command.type === 'kv.delete') return
    const value = textOf(command.value)
    const first = this.#writes.get(value)
    const from = command.from?.slice(0, 2).join(' ')
    if (first !== undefined) {
      // A write that is sent again may be in the log again, but it happened once.
      if (from === undefined || first.from !== from) {
        throw new Violation(`${value} is in the log twice, at ${first.index} and ${index}`)
      }
      if (after?.modifyIndex === index)
        throw new Violation(`${value} took effect twice, at ${first.index} and ${index}`)
      return
    }
    if (this.#refused.has(value)) throw new Violation(`${value} is in the log at ${index}, but it was refused`)
    this.#writes.set(value, { index, effect, from })
  }

  #digestAt(index: Index): string {
    const known = this.#digests.get(index)
    if (known !== undefined) return known
    const store = new Store()
    const checkpoint = this.#checkpoints.findLast((each) => each.index <= index)
    if (checkpoint !== undefined) store.restore(checkpoint.chunks)
    for (const [at, { data }] of this.#entries) if (at > store.index && at <= index) store.apply(at, data)
    const digest = digestOf(store)
    this.#digests.set(index, digest)
    return digest
  }
}

export function digestOf(store: Store): string {
  const hash = createHash('md5')
  for (const chunk of store.snapshot()) hash.update(chunk)
  return hash.digest('base64')
}

function keyOf(command: Command): string | undefined {
  return command.type === 'kv.set' || command.type === 'kv.delete' ? command.key : undefined
}

function textOf(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8')
}
