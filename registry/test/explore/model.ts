/**
 * Three Raft cores as a graph: a state is three places (a server and what was sent to it) and what is remembered; a step
 * is one thing that happens to one server. Nothing is left to chance or to a clock: that somebody's patience ends, that a
 * save takes long, that a server crashes are steps like any other, as many as `Bounds` allow. What the network does has no
 * bounds (`places.ts`).
 *
 * Who is who does not matter: of the up to six states that differ only in names one is looked at. The core is made sure
 * not to look at names each time a server's reaction is worked out (`host.ts`), so whatever can happen from a state can
 * happen, renamed, from the renamed one; and no promise speaks of a name.
 */
import type { Term } from '../../src/model.ts'
import { encodeConfiguration } from '../../src/raft/codec.ts'
import type { Entry, ServerId } from '../../src/raft/message.ts'
import { describeMessage } from '../scenarios/cluster.ts'
import { checkMatch, checkTold, copiesOf, type Memory, remember } from './checks.ts'
import { expect, type Host, Hosts, type Input, ids, permutations, type Reaction } from './host.ts'
import { type Letter, type Move, Places } from './places.ts'
import { Pairs } from './tables.ts'

/** How much of everything there is in one life of the world; infinite: as often as you like. */
export interface Bounds {
  /** Somebody may stand in so many terms after those of the beginning. */
  terms: number
  /** Entries in a log besides the configuration it begins with: what leaders begin their terms with, and commands. */
  entries: number
  /** How often anybody's patience may end; it then asks for pre-votes. A leader's ends when no majority is heard. */
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
  /** Also after something was sent and before what it goes with is saved. Whoever crashed may start again at any time. */
  crashes: number
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
  slowSaves: 0,
}

/** Terms of the entries that each has after the configuration, of leaders that came to nothing; nobody: all are alike. */
export type Tails = Readonly<Record<ServerId, readonly Term[]>>

const kinds = Object.keys(noBounds) as (keyof Bounds)[]

/** Three places, one for each of `ids`, and the number of what is remembered and what is left of the bounds. */
export type State = readonly [number, number, number, number]

interface Rest {
  readonly memory: Memory
  readonly left: Bounds
}

export interface Choice {
  /** The place among `ids` of whom it happens to. */
  at: number
  move: Move
}

export interface ModelOptions {
  tails?: Tails
  /** Each entry travels in a message of its own. */
  apart?: boolean
}

export class Model {
  readonly bounds: Bounds
  readonly hosts: Hosts
  readonly places: Places
  readonly #tails: Tails | undefined
  /** The last term that somebody has an entry of. */
  readonly #firstTerm: Term
  readonly #rests: Rest[] = []
  readonly #restNumbers = new Map<string, number>()
  readonly #remembered = new Pairs()
  readonly #restRenamed = new Pairs()
  readonly #matched = new Pairs()
  readonly #copies = new Pairs()

  constructor(bounds: Partial<Bounds>, { tails, apart = false }: ModelOptions = {}) {
    this.bounds = { ...noBounds, ...bounds }
    this.#tails = tails
    this.#firstTerm = Math.max(1, ...Object.values(tails ?? {}).flat())
    this.hosts = new Hosts(apart ? 1 : 1_000_000)
    const { timeouts, candidacies, heartbeats, crashes, slowSaves, proposals, reads, terms, entries } = this.bounds
    this.places = new Places(this.hosts, {
      proposals,
      reads,
      inputs: [
        ...(timeouts > 0 ? (['timeout'] as const) : []),
        ...(candidacies > 0 ? (['stands'] as const) : []),
        ...(heartbeats > 0 ? (['heartbeat'] as const) : []),
        ...(crashes > 0 ? (['crash'] as const) : []),
        ...(slowSaves > 0 ? (['save'] as const) : []),
      ],
      saves: ['done', ...(slowSaves > 0 ? (['waits'] as const) : []), ...(crashes > 0 ? (['dies'] as const) : [])],
      within: ({ raft }) =>
        raft === undefined || (raft.term <= this.#firstTerm + terms && raft.lastIndex <= 1 + entries),
    })
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
    const [one, two, three] = ids.map((id) =>
      this.places.empty(this.hosts.founded(id, { term: this.#firstTerm, vote: '' }, logOf(id))),
    ) as [number, number, number]
    return [one, two, three, this.#restNumber({ memory: { leaders: [], committed: [], reads: [] }, left: this.bounds })]
  }

  /** All that can happen next. */
  choices(state: State): Choice[] {
    const { left } = this.#rests[state[3]] as Rest
    const choices: Choice[] = []
    for (let at = 0; at < ids.length; at++)
      for (const move of this.places.moves(state[at] as number))
        if (affords(left, move.outcome.input)) choices.push({ at, move })
    return choices
  }

  /** What becomes of the state. @throws Broken, or what a core asserts. */
  after(state: State, { at, move }: Choice): State {
    const { input, reaction, error, posts } = move.outcome
    if (reaction === undefined) throw error ?? new Error('nothing happens')
    const next: [number, number, number, number] = [...state]
    next[at] = move.place
    this.#post(next, posts)
    this.#post(next, this.places.answers(move.place))
    next[3] = this.#restAfter(state[3], at, input, reaction)
    return next
  }

  /** The one of those that differ only in names that stands for all of them. */
  canonical(state: State): State {
    let smallest = state
    for (let which = 1; which < permutations.length; which++) {
      const other = this.#renamed(state, which)
      if (isBefore(other, smallest)) smallest = other
    }
    return smallest
  }

  /** As `canonical`, by servers and what is remembered alone: all that can stand for the state, most often one. */
  canonicalServers(state: State): State[] {
    const [one, two, three] = [this.places.hostAt(state[0]), this.places.hostAt(state[1]), this.places.hostAt(state[2])]
    const servers = [0, 0, 0, 0]
    let [a, b, c, rest] = [one.number, two.number, three.number, state[3]]
    let chosen = [0]
    for (let which = 1; which < permutations.length; which++) {
      const [atOne, atTwo, atThree] = permutations[which] as readonly [number, number, number]
      servers[atOne] = this.hosts.renamed(one, which).number
      servers[atTwo] = this.hosts.renamed(two, which).number
      servers[atThree] = this.hosts.renamed(three, which).number
      const order = (servers[0] as number) - a || (servers[1] as number) - b || (servers[2] as number) - c
      if (order > 0) continue
      const after = this.#renamedRest(state[3], which)
      if (order === 0 && after > rest) continue
      if (order === 0 && after === rest) {
        chosen.push(which)
        continue
      }
      ;[a, b, c, rest] = [servers[0] as number, servers[1] as number, servers[2] as number, after]
      chosen = [which]
    }
    return chosen.map((which) => this.#renamed(state, which))
  }

  #renamed(state: State, which: number): State {
    const permutation = permutations[which] as readonly [number, number, number]
    const other: [number, number, number, number] = [0, 0, 0, this.#renamedRest(state[3], which)]
    for (let at = 0; at < ids.length; at++)
      other[permutation[at] as number] = this.places.renamed(state[at] as number, which)
    return other
  }

  /** What must hold between servers. @throws Broken */
  check([one, two, three, rest]: State): void {
    const hosts = [this.places.hostAt(one), this.places.hostAt(two), this.places.hostAt(three)] as const
    this.#checkMatch(hosts[0], hosts[1])
    this.#checkMatch(hosts[1], hosts[2])
    this.#checkMatch(hosts[0], hosts[2])
    const { memory } = this.#rests[rest] as Rest
    const [a, b, c] = hosts.map((host) => this.#copiesOf(host, rest)) as [number, number, number]
    const lost = ((1 << memory.committed.length) - 1) & ~((a & b) | (b & c) | (a & c))
    expect(lost === 0, () => {
      const index = 32 - Math.clz32(lost)
      const holders = ids.filter((_, at) => (((([a, b, c] as const)[at] as number) >> (index - 1)) & 1) === 1)
      return `${index} is committed, but only on the disks of: ${holders.join(' ') || 'nobody'}`
    })
  }

  #checkMatch(one: Host, other: Host): void {
    if (this.#matched.get(one.number, other.number) >= 0) return
    checkMatch(one, other)
    this.#matched.set(one.number, other.number, 1)
  }

  #copiesOf(host: Host, rest: number): number {
    let copies = this.#copies.get(host.number, rest)
    if (copies < 0) {
      copies = copiesOf(host, (this.#rests[rest] as Rest).memory)
      this.#copies.set(host.number, rest, copies)
    }
    return copies
  }

  #post(next: [number, number, number, number], letters: readonly Letter[]): void {
    for (const { to, letter } of letters) {
      const before = next[to] as number
      const after = this.places.add(before, letter)
      if (after === before) continue
      next[to] = after
      this.#post(next, this.places.answers(after))
    }
  }

  #restAfter(number: number, at: number, input: Input, reaction: Reaction): number {
    const cost = costOf(input)
    let after = number
    if (cost.length > 0) {
      const { memory, left } = this.#rests[number] as Rest
      const spent = { ...left }
      for (const kind of cost) spent[kind]--
      const reads = input.type === 'read' ? [...memory.reads, { at, committed: memory.committed.length }] : memory.reads
      after = this.#restNumber({ memory: { ...memory, reads }, left: spent })
    }
    const { stood } = reaction
    let remembered = this.#remembered.get(after, stood.number)
    if (remembered < 0) {
      const rest = this.#rests[after] as Rest
      remembered = this.#restNumber({ ...rest, memory: remember(stood, rest.memory) })
      this.#remembered.set(after, stood.number, remembered)
    }
    if (reaction.applied.length > 0 || reaction.reads.length > 0)
      checkTold(reaction, (this.#rests[remembered] as Rest).memory)
    return remembered
  }

  #restNumber(rest: Rest): number {
    const { leaders, committed, reads } = rest.memory
    const key = [
      ...kinds.map((kind) => rest.left[kind]),
      `l${leaders.map((leader) => leader ?? '-').join()}`,
      `c${committed.map(({ entry, in: term }) => `${entry.term}.${term}.${Buffer.from(entry.data).toString('hex')}`)}`,
      `r${reads.map((read) => `${read.at}.${read.committed}`)}`,
    ].join(' ')
    let number = this.#restNumbers.get(key)
    if (number === undefined) {
      number = this.#rests.length
      this.#restNumbers.set(key, number)
      this.#rests.push(rest)
    }
    return number
  }

  #renamedRest(number: number, which: number): number {
    if (which === 0) return number
    let renamed = this.#restRenamed.get(number, which)
    if (renamed < 0) {
      const { memory, left } = this.#rests[number] as Rest
      const permutation = permutations[which] as readonly number[]
      const leaders = memory.leaders.map((leader) => (leader === undefined ? undefined : permutation[leader]))
      const reads = memory.reads.map((read) => ({ ...read, at: permutation[read.at] as number }))
      renamed = this.#restNumber({ memory: { ...memory, leaders, reads }, left })
      this.#restRenamed.set(number, which, renamed)
    }
    return renamed
  }
}

function isBefore(one: State, other: State): boolean {
  for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) return (one[at] as number) < (other[at] as number)
  return false
}

const costs: Partial<Record<Input['type'], keyof Bounds>> = {
  timeout: 'timeouts',
  stands: 'candidacies',
  heartbeat: 'heartbeats',
  propose: 'proposals',
  read: 'reads',
  crash: 'crashes',
}

function costOf({ type, save }: Input): (keyof Bounds)[] {
  const cost: (keyof Bounds)[] = []
  const kind = costs[type]
  if (kind !== undefined) cost.push(kind)
  if (save === 'waits') cost.push('slowSaves')
  if (save === 'dies') cost.push('crashes')
  return cost
}

function affords(left: Bounds, input: Input): boolean {
  // Reads are numbered as they come.
  if (input.type === 'read' && input.number !== left.reads) return false
  const kind = costs[input.type]
  if (kind !== undefined && left[kind] <= 0) return false
  if (input.save === 'waits') return left.slowSaves > 0
  if (input.save === 'dies') return left.crashes > 0
  return true
}

// --- words

const savesInWords = { done: '', waits: '; the save waits', dies: '; it crashes before that is saved' }

export function describeChoice(model: Model, { at, move }: Choice): string {
  return `${describeInput(model, at, move.outcome.input)}${savesInWords[move.outcome.input.save]}`
}

function describeInput({ hosts }: Model, at: number, input: Input): string {
  const id = ids[at] as ServerId
  switch (input.type) {
    case 'timeout':
      return `${id} loses patience`
    case 'stands':
      return `${id} loses patience and somebody would vote for it`
    case 'heartbeat':
      return `${id} sends a heartbeat`
    case 'propose':
      return `${id} is given a command`
    case 'read':
      return `${id} is asked for a read`
    case 'crash':
      return `${id} crashes`
    case 'restart':
      return `${id} restarts`
    case 'save':
      return `${id} has saved`
    case 'letter': {
      const message = hosts.messages[input.message] as (typeof hosts.messages)[number]
      const sent = describeMessage({ from: ids[input.from] as ServerId, to: id, message })
      return `${sent}${input.forgetful ? ' (no leader was heard lately)' : ''}`
    }
    default:
      return input satisfies never
  }
}

/** One line per server. */
export function describeState({ places }: Model, state: State): string[] {
  return ids.map((id, at) => {
    const { raft, hardState, entries } = places.hostAt(state[at] as number)
    const disk = entries.map(({ term }) => term).join('.')
    if (raft === undefined) return `${id} down, disk ${disk}`
    const terms = Array.from({ length: raft.lastIndex }, (_, index) => raft.termAt(index + 1)).join('.')
    const vote = hardState.vote === '' ? '' : ` voted ${hardState.vote}`
    return `${id} ${raft.role} term ${raft.term}${vote} log ${terms} disk ${disk} commit ${raft.commit}`
  })
}
