/**
 * What is looked at in every state. `Memory` is what happened before as far as promises speak of it: who led in which
 * term, and what was ever known to be committed. It only grows, so a promise broken by an order of events that is not
 * gone through is broken by the one that is.
 */
import type { Index, Term } from '../../src/model.ts'
import type { Entry } from '../../src/raft/message.ts'
import { expect, type Host, ids, type Reaction } from './host.ts'

export interface Memory {
  /** By term: the place of its leader among `ids`. */
  readonly leaders: readonly (number | undefined)[]
  /** From index 1 on; `in`: the term of whoever first knew. */
  readonly committed: readonly { entry: Entry; in: Term }[]
  /** What was committed when each read was asked for. */
  readonly reads: readonly { at: number; committed: Index }[]
}

/** What is remembered once this server stands so. @throws Broken */
export function remember({ raft, at, id }: Host, memory: Memory): Memory {
  if (raft === undefined) return memory
  const leader = memory.leaders[raft.term]
  let { leaders, committed } = memory
  if (raft.role === 'leader' && leader !== at) {
    expect(leader === undefined, () => `${ids[leader as number]} and ${id} both lead in term ${raft.term}`)
    for (const { entry, in: term } of committed) {
      if (term >= raft.term) continue
      expect(raft.termAt(entry.index) === entry.term, () => `leader ${id} lacks committed entry ${entry.index}`)
    }
    leaders = Object.assign([], leaders, { [raft.term]: at })
  }
  if (raft.commit > committed.length) {
    const entries = raft.entriesFrom(committed.length + 1, Number.POSITIVE_INFINITY) as Entry[]
    committed = [...committed, ...entries.map((entry) => ({ entry, in: raft.term }))]
  }
  for (let index = 1; index <= raft.commit; index++) {
    const { term } = (committed[index - 1] as { entry: Entry }).entry
    expect(raft.termAt(index) === term, () => `${id} has another entry committed at ${index}`)
  }
  return leaders === memory.leaders && committed === memory.committed ? memory : { ...memory, leaders, committed }
}

/** What a server has just told its clients. @throws Broken */
export function checkTold({ applied, reads, host }: Reaction, { committed, reads: asked }: Memory): void {
  for (const { id, index } of reads) {
    const read = asked[id - 1] as Memory['reads'][number]
    expect(
      index === undefined || index >= read.committed,
      () => `a read at ${ids[read.at]} goes back to ${index}; ${read.committed} was committed before it began`,
    )
  }
  for (const entry of applied) {
    const known = committed[entry.index - 1]?.entry
    const same = known !== undefined && known.term === entry.term && Buffer.compare(known.data, entry.data) === 0
    expect(same, () => `${host.id} applies another entry at ${entry.index}`)
  }
}

/** Log matching: where two logs have the same term, they are the same up to there. @throws Broken */
export function checkMatch({ id, raft }: Host, { id: otherId, raft: other }: Host): void {
  if (raft === undefined || other === undefined) return
  let same = false
  for (let index = Math.min(raft.lastIndex, other.lastIndex); index > 0; index--) {
    const equal = raft.termAt(index) === other.termAt(index)
    expect(equal || !same, () => `${id} and ${otherId} have one log later but differ at ${index}`)
    same ||= equal
  }
}

/** Bit by bit, which committed entries a server's disk has. */
export function copiesOf({ entries }: Host, { committed }: Memory): number {
  let copies = 0
  for (const [at, { entry }] of committed.entries()) if (entries[at]?.term === entry.term) copies |= 1 << at
  return copies
}
