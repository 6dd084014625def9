/**
 * What must never happen, looked at from outside: plain records of what the nodes did and what clients were told. A
 * violation throws at once, so that the run stops where it happened.
 */
import type { Index, Term } from '../../src/model.ts'
import { complaint } from '../linearizability/check.ts'
import { checkHistory, KvRecorder } from '../linearizability/kv.ts'

export class Violation extends Error {
  override name = 'Violation'
}

export class History {
  readonly #leaders = new Map<Term, string>()
  /** The chained hash of everything up to an index, by whoever applied it first. */
  readonly #chain = new Map<Index, { hash: string; node: string }>()
  /** Writes whose caller was told "done", and at which index. */
  readonly acknowledged = new Map<string, Index>()
  /** Writes whose caller was told "certainly not". */
  readonly refused = new Set<string>()
  /** Nobody was told anything yet. */
  readonly open = new Set<string>()
  /** What clients asked of single keys and were told, for the linearizability checker. */
  readonly registers = new KvRecorder()
  /** The highest index that any finished write or linearizable read has shown. */
  shown: Index = 0
  readsDone = 0
  leaseReadsDone = 0

  led(node: string, term: Term): void {
    const other = this.#leaders.get(term)
    if (other !== undefined && other !== node) throw new Violation(`${other} and ${node} both lead in term ${term}`)
    this.#leaders.set(term, node)
  }

  get terms(): number {
    return this.#leaders.size
  }

  /** A store has everything up to `index`, and `hash` stands for all of it in order. */
  applied(node: string, index: Index, hash: string): void {
    const first = this.#chain.get(index)
    if (first === undefined) this.#chain.set(index, { hash, node })
    else if (first.hash !== hash)
      throw new Violation(`at index ${index} ${node} applied other entries than ${first.node}`)
  }

  began(write: string): void {
    this.open.add(write)
  }

  acknowledge(write: string, index: Index): void {
    this.open.delete(write)
    this.acknowledged.set(write, index)
    this.shown = Math.max(this.shown, index)
  }

  refuse(write: string): void {
    this.open.delete(write)
    this.refused.add(write)
  }

  /** A linearizable read that began when `shownBefore` was known has an answer that is true at `index`. */
  read(node: string, shownBefore: Index, index: Index, kind: 'quorum' | 'lease'): void {
    if (index < shownBefore) {
      throw new Violation(
        `a ${kind} read at ${node} is true at ${index}, though ${shownBefore} had been shown before it`,
      )
    }
    if (kind === 'lease') this.leaseReadsDone++
    else this.readsDone++
    this.shown = Math.max(this.shown, index)
  }

  /** At the end: some order of everything explains what every client was told. */
  linearizable(): void {
    const why = complaint(checkHistory(this.registers.operations))
    if (why !== undefined) throw new Violation(why)
  }

  /** At the end: every store holds what was acknowledged, once, and nothing that was refused. */
  final(node: string, writes: readonly string[]): void {
    const held = new Set(writes)
    if (held.size !== writes.length) throw new Violation(`${node} holds a write twice`)
    for (const write of this.acknowledged.keys()) {
      if (!held.has(write)) throw new Violation(`${node} lacks ${write}, which was acknowledged`)
    }
    for (const write of this.refused) {
      if (held.has(write)) throw new Violation(`${node} holds ${write}, which was refused as certainly not applied`)
    }
  }
}
