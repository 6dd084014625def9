/**
 * What whole agents must never do, looked at from outside. The ledger is the one history of the cluster as it is seen
 * from all stores together: every entry as whoever applied it first had it, and a store of its own that has applied them
 * all. What clients are told is compared with it. A violation throws at once.
 */
import { createHash } from 'node:crypto'
import type { Index, Term } from '../../src/model.ts'
import { type Command, decodeCommand, type Result } from '../../src/store/command.ts'
import type { OriginId } from '../../src/store/origins.ts'
import { Store } from '../../src/store/store.ts'
import { Holders } from './agent-holders.ts'
import { expectIndexesToMove } from './agent-indexes.ts'
import { Violation } from './checkers.ts'

export { Violation } from './checkers.ts'

/** What a key was from an index on; undefined: absent. */
interface Change {
  index: Index
  value: string | undefined
}

/** A key as a client found it. */
export interface Found {
  value: string
  index: Index
}

type KvSet = Extract<Command, { type: 'kv.set' }>
type KvWrite = Extract<Command, { type: 'kv.set' | 'kv.lock' | 'kv.unlock' | 'kv.delete' }>

const kvWrites: ReadonlySet<string> = new Set(['kv.set', 'kv.lock', 'kv.unlock', 'kv.delete'])

const checkpointEvery = 200

export class Ledger {
  readonly #leaders = new Map<Term, string>()
  readonly #entries = new Map<Index, { data: Uint8Array; node: string }>()
  readonly #checkpoints: { index: Index; chunks: Uint8Array[] }[] = []
  readonly #digests = new Map<Index, string>()
  readonly #changes = new Map<string, Change[]>()
  /** Where each value that a client wrote stands, and whether it took effect (a check-and-set may not). */
  readonly #writes = new Map<string, { index: Index; effect: boolean; from: string | undefined }>()
  readonly #refused = new Set<string>()
  /** The newest command of every agent's life that ever wrote. */
  readonly #lastOf = new Map<OriginId, Uint8Array>()
  /** Of the log, once it has ended, and what becomes of those commands when they come once more. */
  #end: { index: Index; digest: string; repeated: string } | undefined
  /** Called with every entry, once, before the first store applies it. */
  readonly before: ((command: Command) => void)[] = []
  /** All entries seen so far, applied. */
  readonly model = new Store()
  readonly #holders = new Holders()
  /** Everything up to here was shown to somebody by a finished write or linearizable read. */
  shown: Index = 0
  cluster = ''
  acknowledged = 0
  reads = 0
  /** How many entries say where nodes are. */
  measured = 0

  get entries(): number {
    return this.#entries.size
  }

  get terms(): number {
    return this.#leaders.size
  }

  get last(): Index {
    return this.#end?.index ?? this.model.index
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
    const known = this.#entries.get(index)
    if (known !== undefined) {
      if (Buffer.compare(known.data, data) === 0) return
      throw new Violation(`at index ${index} ${node} applies another entry than ${known.node} did`)
    }
    if (index <= this.last) throw new Violation(`${node} applies ${index}, which no command had up to ${this.last}`)
    const copy = new Uint8Array(data)
    this.#entries.set(index, { data: copy, node })
    const command = decodeCommand(copy)
    if (command.type === 'coordinates.update') this.measured++
    for (const look of this.before) look(command)
    expectIndexesToMove(this.model, command, index, () => this.#record(index, copy))
    if (aboutLocks(command)) this.#holders.look(index, this.model)
    if (command.from !== undefined) this.#lastOf.set(command.from[0], copy)
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

  /** Somebody was shown the state at an index. */
  show(index: Index): void {
    this.shown = Math.max(this.shown, index)
  }

  /** Where a value stands that was acknowledged. */
  indexOf(value: string): Index {
    return this.#writes.get(value)!.index
  }

  /**
   * A read found these keys as they are given: they were so at one moment, at which the state had everything up to `from`
   * and nothing from `to` on. @returns the lowest index at which it may have been
   */
  readTogether(
    node: string,
    found: readonly (readonly [key: string, found: Found | undefined])[],
    { from, to = Number.POSITIVE_INFINITY }: { from: Index; to?: Index },
  ): Index {
    this.reads++
    // Of all keys together: from the first index to before the second.
    let possible: (readonly [Index, Index])[] = [[from, to]]
    for (const [key, state] of found) {
      possible = overlap(possible, this.#times(key, state, from))
      if (possible.length > 0) continue
      const history = this.#changes.get(key)?.slice(-5) ?? []
      const changes = history.map(({ index, value }) => `${index} "${value}"`)
      const what = state === undefined ? 'nothing' : `"${state.value}" (${state.index})`
      throw new Violation(
        `${node} says of ${key} ${what}, which was not so at any time from ${from} to ${to} at which the keys before it ` +
          `were as it says; its last changes: ${changes.join(', ')}`,
      )
    }
    return possible[0]![0]
  }

  /** When a key was as it was found, in the order of the log; what ended before `least` is left out. */
  #times(key: string, found: Found | undefined, least: Index): [Index, Index][] {
    const changes = this.#changes.get(key) ?? []
    const times: [Index, Index][] = []
    let end = Number.POSITIVE_INFINITY
    for (let at = changes.length - 1; at >= -1 && end > least; at--) {
      const { index, value } = changes[at] ?? { index: 0, value: undefined }
      const fits = found === undefined ? value === undefined : index === found.index && value === found.value
      if (fits) times.unshift([index, end])
      end = index
    }
    return times
  }

  /**
   * Every store ends with the state that the whole log makes, in all that it does later, too: a write that is sent once
   * more after all is over changes nothing, and is answered as it was. The store is of no use afterwards.
   */
  final(node: string, store: Store): void {
    this.#end ??= { index: this.last, digest: digestOf(this.model), repeated: this.#repeat(this.model) }
    const { index, digest, repeated } = this.#end
    if (store.index !== index) throw new Violation(`${node} ends at ${store.index}, the log at ${index}`)
    if (digestOf(store) !== digest) throw new Violation(`the state of ${node} is not what the log makes`)
    if (this.#repeat(store) !== repeated) {
      throw new Violation(`${node} answers writes that are sent once more in another way than the log does`)
    }
  }

  /** All answers, and what then is the state. */
  #repeat(store: Store): string {
    const answers: Result[] = []
    // Not what the simulation made of it: these are no entries of the log.
    const { apply } = Store.prototype
    for (const data of this.#lastOf.values()) answers.push(apply.call(store, store.index + 1, data))
    return `${JSON.stringify(answers)} ${digestOf(store)}`
  }

  #record(index: Index, data: Uint8Array): void {
    const command = decodeCommand(data)
    const operations = operationsOf(command)
    const keys = new Set(operations.flatMap((operation) => keysOf(operation, this.model)))
    const before = new Map([...keys].map((key) => [key, this.model.kv(key).value?.modifyIndex]))
    const result = this.model.apply(index, data)
    for (const [key, modifyIndex] of before) {
      const after = this.model.kv(key).value
      if (after?.modifyIndex === modifyIndex) continue
      const changes = this.#changes.get(key)
      const change = { index, value: after === undefined ? undefined : textOf(after.value) }
      if (changes === undefined) this.#changes.set(key, [change])
      else changes.push(change)
    }
    const effect = 'value' in result && result.value
    const from = command.from?.slice(0, 2).join(' ')
    for (const operation of operations) {
      if (operation.type === 'kv.set') this.#recordWrite(index, operation, effect, from)
    }
  }

  #recordWrite(index: Index, { key, value: base64 }: KvSet, effect: boolean, from: string | undefined): void {
    const value = textOf(base64)
    const first = this.#writes.get(value)
    if (first !== undefined) {
      // A write that is sent again may be in the log again, but it happened once.
      if (from === undefined || first.from !== from) {
        throw new Violation(`${value} is in the log twice, at ${first.index} and ${index}`)
      }
      if (this.model.kv(key).value?.modifyIndex === index)
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

/** Whether it may change who holds what: sessions end with their nodes and checks, too. */
function aboutLocks(command: Command): boolean {
  const [write] = operationsOf(command)
  return write === undefined
    ? command.type !== 'tombstones.reap'
    : write.type !== 'kv.set' || write.key.startsWith('lock/')
}

/** What a command does with keys, in order. */
function operationsOf(command: Command): KvWrite[] {
  if (command.type === 'txn') return command.operations.filter(({ type }) => kvWrites.has(type)) as KvWrite[]
  return kvWrites.has(command.type) ? [command as KvWrite] : []
}

function keysOf(operation: KvWrite, model: Store): string[] {
  if (operation.type === 'kv.delete' && operation.recurse) return model.kvKeys(operation.key).value
  return [operation.key]
}

/** What is in both, in order. */
function overlap(ones: readonly (readonly [Index, Index])[], others: readonly [Index, Index][]): [Index, Index][] {
  return ones.flatMap(([from, to]) =>
    others.flatMap(([start, end]): [Index, Index][] => {
      const both: [Index, Index] = [Math.max(from, start), Math.min(to, end)]
      return both[0] < both[1] ? [both] : []
    }),
  )
}

function textOf(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8')
}
