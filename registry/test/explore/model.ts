/**
 * Three Raft cores as a graph: a state is the servers and what is on the wire; a step is one thing that can happen next.
 * Nothing is left to chance or to a clock: that somebody's patience ends, that a save takes long, that a message is lost
 * or arrives twice are steps like any other, as many as `Bounds` allow. Checkers look at every state.
 *
 * On a link messages keep their order, as they do on a connection; one that is repeated may arrive the second time
 * whenever it likes. How long a message takes is not limited: that one never arrives needs no loss when it is the last.
 */
import type { Index, Term } from '../../src/model.ts'
import { encodeConfiguration } from '../../src/raft/codec.ts'
import type { Entry, ServerId } from '../../src/raft/message.ts'
import type { Raft } from '../../src/raft/raft.ts'
import { describeMessage } from '../scenarios/cluster.ts'
import { Hash, type Name } from './copy.ts'
import { expect, type Host, type Hosts, type Input, ids, type Letter, type Reaction, renamings } from './host.ts'

/** How much of everything there is in one life of the world. */
export interface Bounds {
  /** Somebody may stand in so many terms after those of the beginning. */
  terms: number
  /** Entries in a log besides the configuration it begins with. */
  entries: number
  /** How often anybody's patience may end; it then asks for pre-votes. */
  timeouts: number
  /**
   * As `timeouts`, but somebody grants a pre-vote at once, rightly or not. Who is asked for one does not change by it, so
   * this reaches all that pre-votes could lead to (but for a term that a refusal brings), in far fewer states.
   */
  candidacies: number
  proposals: number
  /** Linearizable reads that are asked for. */
  reads: number
  /** Heartbeats besides a leader's first. */
  heartbeats: number
  crashes: number
  /** Messages that are lost, or arrive twice. */
  faults: number
  /** Saves that are not done at once: others act first, or a crash comes. */
  slowSaves: number
}

export const noBounds: Bounds = {
  terms: 0,
  entries: 0,
  timeouts: 0,
  candidacies: 0,
  proposals: 0,
  reads: 0,
  heartbeats: 0,
  crashes: 0,
  faults: 0,
  slowSaves: 0,
}
/** Terms of the entries that each has after the configuration, of leaders that came to nothing; nobody: all are alike. */
export type Tails = Readonly<Record<ServerId, readonly Term[]>>

const kinds = Object.keys(noBounds) as (keyof Bounds)[]

/** What the checkers remember. */
interface Memory {
  /** By term. */
  readonly leaders: readonly (ServerId | undefined)[]
  /** From index 1 on; `in`: the term of whoever first knew. */
  readonly committed: readonly { entry: Entry; in: Term }[]
  /** What was committed when each read was asked for. */
  readonly reads: readonly { at: ServerId; committed: Index }[]
}

interface Sent {
  readonly from: ServerId
  readonly to: ServerId
  readonly letter: Letter
}

export interface State {
  readonly hosts: readonly Host[]
  /** What is under way from each to each, in order; at `linkOf`. */
  readonly links: readonly (readonly Letter[])[]
  /** Second copies. */
  readonly late: readonly Sent[]
  readonly left: Bounds
  /** All were alike at the beginning: b and c may change places, and a is who loses patience first. */
  readonly alike: boolean
  /** Nobody has lost patience yet. */
  readonly quiet: boolean
  readonly memory: Memory
}

export type Step =
  | { type: 'timeout' | 'stands' | 'heartbeat' | 'propose' | 'read' | 'crash' | 'restart' | 'save'; id: ServerId }
  | { type: 'deliver'; link: number; forgetful: boolean; again: boolean }
  | { type: 'deliverLate'; at: number; forgetful: boolean }
  | { type: 'lose'; link: number }

/** A step, and whether the save it asks for is left waiting. */
export interface Choice {
  step: Step
  slow: boolean
}

const linkCount = ids.length * ids.length

function linkOf(from: ServerId, to: ServerId): number {
  return ids.indexOf(from) * ids.length + ids.indexOf(to)
}

function endsOf(link: number): { from: ServerId; to: ServerId } {
  return { from: ids[Math.floor(link / ids.length)] as ServerId, to: ids[link % ids.length] as ServerId }
}

const none: readonly never[] = []

export class Model {
  readonly bounds: Bounds
  readonly #hosts: Hosts
  readonly #tails: Tails | undefined
  /** The last term that somebody has an entry of. */
  readonly #firstTerm: Term

  constructor(hosts: Hosts, bounds: Bounds, tails?: Tails) {
    this.#hosts = hosts
    this.bounds = bounds
    this.#tails = tails
    this.#firstTerm = Math.max(1, ...Object.values(tails ?? {}).flat())
  }

  /** All know each other; nobody leads. */
  beginning(): State {
    const servers = ids.map((id) => ({ id, address: `${id}:8300`, voter: true }))
    const data = encodeConfiguration({ cluster: 'explored', servers })
    const first: Entry = { index: 1, term: 1, kind: 'configuration', data }
    const logOf = (id: ServerId): Entry[] => {
      const tail = this.#tails?.[id] ?? []
      return [
        first,
        ...tail.map((term, at): Entry => ({ index: 2 + at, term, kind: 'empty', data: new Uint8Array(0) })),
      ]
    }
    return {
      hosts: ids.map((id) => this.#hosts.founded(id, { term: this.#firstTerm, vote: '' }, logOf(id))),
      links: Array.from({ length: linkCount }, () => none),
      late: none,
      left: this.bounds,
      alike: this.#tails === undefined,
      quiet: true,
      memory: { leaders: [], committed: [], reads: [] },
    }
  }

  /** All that can happen next. */
  choices(state: State): Choice[] {
    const { hosts, left, links, late, alike, quiet } = state
    const stale = this.#stale(state)
    if (stale !== undefined) return [stale]
    const all: Choice[] = []
    const add = (step: Step) => {
      all.push({ step, slow: false })
      if (left.slowSaves > 0) all.push({ step, slow: true })
    }
    for (const [link, letters] of links.entries()) {
      const [letter] = letters
      if (letter === undefined) continue
      for (const forgetful of this.#memories(state, endsOf(link).to, letter)) {
        add({ type: 'deliver', link, forgetful, again: false })
        if (left.faults > 0) add({ type: 'deliver', link, forgetful, again: true })
      }
      if (left.faults > 0) all.push({ step: { type: 'lose', link }, slow: false })
    }
    for (const [at, { to, letter }] of late.entries()) {
      for (const forgetful of this.#memories(state, to, letter)) add({ type: 'deliverLate', at, forgetful })
    }
    for (const { id, raft, saving } of hosts) {
      if (raft === undefined) {
        add({ type: 'restart', id })
        continue
      }
      if (saving.length > 0) all.push({ step: { type: 'save', id }, slow: false })
      // All are alike until one loses patience: let it be a.
      if (left.timeouts > 0 && (!quiet || !alike || id === 'a')) add({ type: 'timeout', id })
      if (left.candidacies > 0 && (!quiet || !alike || id === 'a')) add({ type: 'stands', id })
      if (left.crashes > 0) all.push({ step: { type: 'crash', id }, slow: false })
      if (raft.role !== 'leader') continue
      if (left.heartbeats > 0) add({ type: 'heartbeat', id })
      if (left.reads > 0) add({ type: 'read', id })
      if (left.proposals > 0) add({ type: 'propose', id })
    }
    return all
  }

  /**
   * An answer of a term that its receiver's disk knows to be over, and that does nothing. It never will do anything, so
   * nothing is missed when it arrives before all else happens.
   */
  #stale({ hosts, links }: State): Choice | undefined {
    for (const [link, letters] of links.entries()) {
      const [letter] = letters
      if (letter === undefined) continue
      const { message } = letter
      if (message.type !== 'voteReply' && message.type !== 'appendReply') continue
      const { from, to } = endsOf(link)
      const target = hosts[ids.indexOf(to)] as Host
      if (target.raft === undefined || message.term >= target.hardState.term) continue
      const { host, posted } = this.#hosts.react(target, { type: 'letter', from, letter, forgetful: false }, false)
      if (host === target && posted.length === 0)
        return { step: { type: 'deliver', link, forgetful: false, again: false }, slow: false }
    }
    return undefined
  }

  /** A vote is refused by those who heard a leader lately: how lately is for us to choose. */
  #memories(state: State, to: ServerId, { message }: Letter): readonly boolean[] {
    const { raft } = state.hosts[ids.indexOf(to)] as Host
    if (raft === undefined) return none
    return message.type === 'vote' && !message.transfer ? [false, true] : [false]
  }

  /** What becomes of the state; undefined: it is beyond the bounds. @throws Broken, or what a core asserts. */
  after(state: State, { step, slow }: Choice): State | undefined {
    const id =
      'id' in step ? step.id : step.type === 'deliverLate' ? (state.late[step.at] as Sent).to : endsOf(step.link).to
    const before = state.hosts[ids.indexOf(id)] as Host
    const left = { ...state.left }
    let { late } = state
    const links = state.links.slice()
    const { memory } = state
    if (step.type === 'deliver' || step.type === 'lose') links[step.link] = (links[step.link] as Letter[]).slice(1)
    if (step.type === 'lose') {
      left.faults--
      return { ...state, links, left }
    }
    if (step.type === 'deliver' && step.again) {
      left.faults--
      late = [...late, { ...endsOf(step.link), letter: (state.links[step.link] as Letter[])[0] as Letter }]
    }
    if (step.type === 'deliverLate') late = late.filter((_, at) => at !== step.at)
    const spent = costOf[step.type]
    if (spent !== undefined) left[spent]--
    const reaction = this.#hosts.react(before, inputOf(state, step), slow)
    if (slow) {
      if (!reaction.waits) return undefined
      left.slowSaves--
    }
    const { host } = reaction
    const { raft } = host
    if (raft !== undefined && raft.term > this.#firstTerm + this.bounds.terms) return undefined
    if (raft !== undefined && raft.lastIndex > 1 + this.bounds.entries) return undefined
    const hosts = state.hosts.slice()
    hosts[ids.indexOf(id)] = host
    // Its connections break; what it had sent before may still arrive.
    if (step.type === 'crash') for (const from of ids) links[linkOf(from, id)] = none
    for (const { to, letter } of reaction.posted) {
      const link = linkOf(id, to)
      // Nobody listens where nobody is up.
      if (hosts[ids.indexOf(to)]?.raft !== undefined) links[link] = [...(links[link] as readonly Letter[]), letter]
    }
    const asked =
      step.type === 'read' ? [...memory.reads, { at: id, committed: memory.committed.length }] : memory.reads
    return {
      hosts,
      links,
      late,
      left,
      alike: state.alike,
      quiet: state.quiet && step.type !== 'timeout' && step.type !== 'stands',
      memory: check(hosts, host, reaction, { ...memory, reads: asked }),
    }
  }
}

const costOf: Partial<Record<Step['type'], keyof Bounds>> = {
  timeout: 'timeouts',
  stands: 'candidacies',
  heartbeat: 'heartbeats',
  propose: 'proposals',
  read: 'reads',
  crash: 'crashes',
}

function inputOf(state: State, step: Exclude<Step, { type: 'lose' }>): Input {
  switch (step.type) {
    case 'deliver': {
      const letter = (state.links[step.link] as Letter[])[0] as Letter
      return { type: 'letter', from: endsOf(step.link).from, letter, forgetful: step.forgetful }
    }
    case 'deliverLate': {
      const { from, letter } = state.late[step.at] as Sent
      return { type: 'letter', from, letter, forgetful: step.forgetful }
    }
    case 'propose':
      return { type: 'propose', command: `p${state.left.proposals}` }
    case 'read':
      return { type: 'read', id: state.memory.reads.length }
    default:
      return { type: step.type }
  }
}

// --- checkers

/** The server that has just acted, against what is remembered and against the others. */
function check(hosts: readonly Host[], host: Host, { applied, reads }: Reaction, before: Memory): Memory {
  const { raft, id } = host
  for (const { id: read, index } of reads) {
    const { at, committed } = before.reads[read] as Memory['reads'][number]
    expect(
      index === undefined || index >= committed,
      () => `a read at ${at} goes back to ${index}; ${committed} was committed before it began`,
    )
  }
  const memory = raft === undefined ? before : remember(raft, id, before)
  for (const entry of applied) {
    const known = memory.committed[entry.index - 1]?.entry as Entry
    const same = known.term === entry.term && Buffer.compare(known.data, entry.data) === 0
    expect(same, () => `${id} applies another entry at ${entry.index}`)
  }
  if (raft !== undefined) {
    for (let index = 1; index <= raft.commit; index++) {
      const term = memory.committed[index - 1]?.entry.term
      expect(raft.termAt(index) === term, () => `${id} has another entry committed at ${index}`)
    }
    for (const other of hosts)
      if (other !== host && other.raft !== undefined) checkMatch(id, raft, other.id, other.raft)
  }
  for (const { entry } of memory.committed) {
    const copies = hosts.filter(({ entries }) => entries[entry.index - 1]?.term === entry.term)
    const where = () => copies.map((each) => each.id).join(' ') || 'nobody'
    expect(copies.length >= 2, () => `${entry.index} is committed, but only on the disks of: ${where()}`)
  }
  return memory
}

function remember(raft: Raft, id: ServerId, memory: Memory): Memory {
  const leader = memory.leaders[raft.term]
  if (raft.role === 'leader' && leader !== id) {
    expect(leader === undefined, () => `${leader} and ${id} both lead in term ${raft.term}`)
    for (const { entry, in: term } of memory.committed) {
      if (term >= raft.term) continue
      expect(raft.termAt(entry.index) === entry.term, () => `leader ${id} lacks committed entry ${entry.index}`)
    }
    const leaders = memory.leaders.slice()
    leaders[raft.term] = id
    memory = { ...memory, leaders }
  }
  if (raft.commit <= memory.committed.length) return memory
  const entries = raft.entriesFrom(memory.committed.length + 1, Number.POSITIVE_INFINITY) as Entry[]
  return { ...memory, committed: [...memory.committed, ...entries.map((entry) => ({ entry, in: raft.term }))] }
}

/** Log matching: where two logs have the same term, they are the same up to there. */
function checkMatch(id: ServerId, raft: Raft, otherId: ServerId, other: Raft): void {
  let same = false
  for (let index = Math.min(raft.lastIndex, other.lastIndex); index > 0; index--) {
    const equal = raft.termAt(index) === other.termAt(index)
    expect(equal || !same, () => `${id} and ${otherId} have one log later but differ at ${index}`)
    same ||= equal
  }
}

// --- what a state is called

/** The same for states that differ only in who is who. */
export function nameOf(state: State): Name {
  if (!state.alike) return nameAs(state, 0)
  let smallest: Name | undefined
  for (const which of renamings.keys()) {
    const name = nameAs(state, which)
    if (smallest === undefined || name[0] < smallest[0] || (name[0] === smallest[0] && name[1] < smallest[1]))
      smallest = name
  }
  return smallest as Name
}

/** Places under each renaming. */
const places = renamings.map((renaming) => ids.map((id) => ids.indexOf(renaming.get(id) ?? id)))

function nameAs({ hosts, links, late, left, memory }: State, which: number): Name {
  const hash = new Hash()
  const place = places[which] as number[]
  const placeOf = (id: ServerId) => place[ids.indexOf(id)] as number
  for (const at of place) {
    hash.addName((hosts[at] as Host).names[which] as Name)
    for (const to of place) {
      const letters = links[at * ids.length + to] as readonly Letter[]
      for (const { names } of letters) hash.addName(names[which] as Name)
      hash.add(letters.length)
    }
  }
  const copies = late.map(({ from, to, letter }) => `${placeOf(from)}${placeOf(to)}${letter.names[which]}`)
  for (const each of copies.sort()) hash.addText(each)
  for (const kind of kinds) hash.add(left[kind])
  for (const leader of memory.leaders) hash.add(leader === undefined ? 9 : placeOf(leader))
  for (const { entry, in: term } of memory.committed) hash.add(entry.term * 16 + term)
  hash.add(memory.committed.length)
  for (const { at, committed } of memory.reads) hash.add(placeOf(at) * 16 + committed)
  return hash.name
}

// --- words

export function describeChoice(state: State, { step, slow }: Choice): string {
  return `${describeStep(state, step)}${slow ? '; the save waits' : ''}`
}

function describeStep({ links, late }: State, step: Step): string {
  const first = (link: number) =>
    describeMessage({ ...endsOf(link), message: ((links[link] as Letter[])[0] as Letter).message })
  switch (step.type) {
    case 'timeout':
      return `${step.id} loses patience`
    case 'stands':
      return `${step.id} loses patience and somebody would vote for it`
    case 'heartbeat':
      return `${step.id} sends a heartbeat`
    case 'propose':
      return `${step.id} is given a command`
    case 'read':
      return `${step.id} is asked for a read`
    case 'crash':
      return `${step.id} crashes`
    case 'restart':
      return `${step.id} restarts`
    case 'save':
      return `${step.id} has saved`
    case 'deliver':
      return `${first(step.link)}${step.forgetful ? ' (no leader was heard lately)' : ''}${step.again ? ' (it will come again)' : ''}`
    case 'deliverLate': {
      const { from, to, letter } = late[step.at] as Sent
      return `${describeMessage({ from, to, message: letter.message })} (for the second time)`
    }
    case 'lose':
      return `lost: ${first(step.link)}`
    default:
      return step satisfies never
  }
}

/** One line per server. */
export function describeState({ hosts }: State): string[] {
  return hosts.map(({ id, raft, hardState, entries }) => {
    const disk = entries.map(({ term }) => term).join('.')
    if (raft === undefined) return `${id} down, disk ${disk}`
    const terms = Array.from({ length: raft.lastIndex }, (_, at) => raft.termAt(at + 1)).join('.')
    const vote = hardState.vote === '' ? '' : ` voted ${hardState.vote}`
    return `${id} ${raft.role} term ${raft.term}${vote} log ${terms} disk ${disk} commit ${raft.commit}`
  })
}
