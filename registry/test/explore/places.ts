/**
 * A server together with all that was ever sent to it and may still mean something: its place. Messages are a set, and
 * are never used up: each may arrive at any time, in any order, any number of times, or never. So loss, delay, reordering
 * and duplication are not steps with a price, but how the network is. It holds more behaviours than a network that loses
 * or repeats some number of messages, and has fewer states: that a message was lost needs no state of its own.
 *
 * More messages never make less possible. Three reductions rest on that and on how a core treats old terms:
 *
 * - Where a delivery changes nothing at its receiver but makes it answer, the answer is sent as soon as it can be. Whatever
 *   could have happened without the answer still can (no message takes another's place), and promises speak of servers,
 *   which are as they were.
 * - An answer of a term that its receiver's disk knows to be over is dropped. `Raft.step` drops it too, then and, as a
 *   term on disk never falls, ever after. A refused pre-vote is not such an answer: its term is the voter's.
 * - A request of such a term is replaced by one of term 0 of the same kind: `Raft.step` looks at nothing in it but its
 *   kind and who sent it, now and ever after.
 *
 * Of the latter two the table makes sure each time one is used that the core does nothing, or the same, at that server.
 */
import type { Message } from '../../src/raft/message.ts'
import { Broken, type Host, type Hosts, type Input, permutations, type Reaction } from './host.ts'
import { Sets } from './sets.ts'
import { Numbers, Pairs } from './tables.ts'

/** What can happen to a server. */
export interface Outcome {
  input: Input
  /** Undefined: the core, or a check, says that this must never happen. */
  reaction: Reaction | undefined
  error: Error | undefined
  posts: readonly Letter[]
}

/** A step of one server, as far as it can be told without the others. */
export interface Move {
  outcome: Outcome
  /** Where its server then is; not defined with an error. */
  place: number
}

/** To whom, and `message * 3 + from`. */
export interface Letter {
  to: number
  letter: number
}

export interface PlaceOptions {
  proposals: number
  reads: number
  /** Which inputs there are besides letters. */
  inputs: readonly ('timeout' | 'stands' | 'heartbeat' | 'save' | 'crash' | 'restart')[]
  saves: readonly Input['save'][]
  within: (host: Host) => boolean
}

export class Places {
  readonly hosts: Hosts
  readonly #options: PlaceOptions
  /** For each place its server and its letters: `message * 3 + from`. */
  readonly #host: Host[] = []
  readonly #letters = new Numbers()
  readonly #sets = new Sets()
  readonly #numbers = new Pairs()
  readonly #moves: (readonly Move[] | undefined)[] = []
  readonly #answers: (readonly Letter[] | undefined)[] = []
  readonly #added = new Pairs()
  readonly #joined = new Pairs()
  readonly #renamed: Int32Array[] = []
  readonly #setsRenamed = new Pairs()
  /** One more than what a letter means to a server; 0: nothing. */
  readonly #meanings = new Pairs()
  /** For each server and letter. */
  readonly #reactions: Map<number, { answers: readonly Letter[]; moves: readonly Outcome[] }>[] = []

  constructor(hosts: Hosts, options: PlaceOptions) {
    this.hosts = hosts
    this.#options = options
  }

  get size(): number {
    return this.#host.length
  }

  hostAt(place: number): Host {
    return this.#host[place] as Host
  }

  lettersAt(place: number): readonly number[] {
    return this.#sets.at(this.#letters.at(place))
  }

  /** The place of this server with nothing sent to it. */
  empty(host: Host): number {
    return this.#number(host, this.#sets.number([]))
  }

  /** The place of this server with these letters, those that mean something. */
  #number(host: Host, letters: number): number {
    const kept = this.#sets.mapped(letters, (letter) => this.#meaning(host, letter))
    let number = this.#numbers.get(host.number, kept)
    if (number < 0) {
      number = this.#host.length
      this.#numbers.set(host.number, kept, number)
      this.#host.push(host)
      this.#letters.push(kept)
      this.#moves.push(undefined)
      this.#answers.push(undefined)
      this.#renamed.push(new Int32Array(permutations.length).fill(-1))
    }
    return number
  }

  /** The place once this letter is there too. */
  add(place: number, letter: number): number {
    let after = this.#added.get(place, letter)
    if (after < 0) {
      const letters = this.#letters.at(place)
      const added = this.#sets.add(letters, letter)
      after = added === letters ? place : this.#number(this.hostAt(place), added)
      this.#added.set(place, letter, after)
    }
    return after
  }

  /** The place with the letters of both, which are of the same server. */
  joined(one: number, other: number): number {
    if (one === other) return one
    let both = this.#joined.get(one, other)
    if (both < 0) {
      both = this.#number(this.hostAt(one), this.#sets.joined(this.#letters.at(one), this.#letters.at(other)))
      this.#joined.set(one, other, both)
    }
    return both
  }

  /** The same under other names. */
  renamed(place: number, which: number): number {
    if (which === 0) return place
    const row = this.#renamed[place] as Int32Array
    if ((row[which] as number) < 0) {
      const letters = this.#letters.at(place)
      let renamed = this.#setsRenamed.get(letters, which)
      if (renamed < 0) {
        const permutation = permutations[which] as readonly number[]
        renamed = this.#sets.mapped(letters, (letter) => letter - (letter % 3) + (permutation[letter % 3] as number))
        this.#setsRenamed.set(letters, which, renamed)
      }
      row[which] = this.#number(this.hosts.renamed(this.hostAt(place), which), renamed)
    }
    return row[which] as number
  }

  /** All that can happen to this server that is within the bounds of one. */
  moves(place: number): readonly Move[] {
    this.#moves[place] ??= this.#work(place)
    return this.#moves[place]
  }

  /** What it answers to letters that change nothing here. */
  answers(place: number): readonly Letter[] {
    if (this.#answers[place] === undefined) this.moves(place)
    return this.#answers[place] as readonly Letter[]
  }

  #work(place: number): Move[] {
    const host = this.hostAt(place)
    const letters = this.#letters.at(place)
    const outcomes = [...this.#alone(host).moves]
    const answers = new Set<Letter>()
    if (host.raft !== undefined) {
      for (const letter of this.#sets.at(letters)) {
        const reactions = this.#toLetter(host, letter)
        outcomes.push(...reactions.moves)
        for (const answer of reactions.answers) answers.add(answer)
      }
    }
    this.#answers[place] = [...answers]
    return outcomes.map((outcome) => ({
      outcome,
      place: outcome.reaction === undefined ? -1 : this.#number(outcome.reaction.host, letters),
    }))
  }

  /** What a server can do without a letter. */
  #alone(host: Host): { answers: readonly Letter[]; moves: readonly Outcome[] } {
    return this.#known(host, -1, () => this.#inputs(host))
  }

  /** What this letter can do to a server. */
  #toLetter(host: Host, letter: number): { answers: readonly Letter[]; moves: readonly Outcome[] } {
    return this.#known(host, letter, () => this.#arrivals(letter))
  }

  #known(host: Host, key: number, inputs: () => Iterable<Input>) {
    this.#reactions[host.number] ??= new Map()
    const known = this.#reactions[host.number] as Map<number, { answers: Letter[]; moves: Outcome[] }>
    let reactions = known.get(key)
    if (reactions === undefined) {
      reactions = { answers: [], moves: [] }
      for (const input of inputs()) {
        const outcome = this.#outcome(host, input)
        if (outcome === undefined) continue
        if (input.type === 'letter' && outcome.reaction?.host === host) reactions.answers.push(...outcome.posts)
        else reactions.moves.push(outcome)
      }
      known.set(key, reactions)
    }
    return reactions
  }

  /** Undefined: nothing, or what is beyond the bounds. */
  #outcome(host: Host, input: Input): Outcome | undefined {
    try {
      const reaction = this.hosts.react(host, input)
      if (reaction === undefined || !this.#options.within(reaction.host)) return undefined
      const posts = reaction.posts.map(({ to, message }) => ({ to, letter: message * 3 + host.at }))
      return { input, reaction, error: undefined, posts }
    } catch (error) {
      return { input, reaction: undefined, error: error as Error, posts: [] }
    }
  }

  *#arrivals(letter: number): Iterable<Input> {
    const from = letter % 3
    const message = (letter - from) / 3
    const { type } = this.hosts.messages[message] as Message
    for (const save of this.#options.saves) {
      yield { type: 'letter', from, message, forgetful: false, save }
      // A vote is refused by those who heard a leader lately: how lately is for us to choose.
      if (type === 'vote') yield { type: 'letter', from, message, forgetful: true, save }
    }
  }

  *#inputs({ raft, saving }: Host): Iterable<Input> {
    const { inputs, saves, proposals, reads } = this.#options
    for (const save of saves) {
      if (raft === undefined) {
        yield { type: 'restart', save }
        continue
      }
      for (const type of inputs) {
        if (type === 'heartbeat' && raft.role !== 'leader') continue
        if ((type === 'save' || type === 'crash') && save !== 'done') continue
        if (type === 'save' && saving.length === 0) continue
        yield { type, save }
      }
      if (raft.role !== 'leader') continue
      if (proposals > 0) yield { type: 'propose', save }
      for (let number = 1; number <= reads; number++) yield { type: 'read', number, save }
    }
  }

  /** What a letter means to a server; -1: nothing, ever. */
  #meaning(host: Host, letter: number): number {
    let meaning = this.#meanings.get(host.number, letter)
    if (meaning < 0) {
      meaning = this.#workMeaning(host, letter) + 1
      this.#meanings.set(host.number, letter, meaning)
    }
    return meaning - 1
  }

  #workMeaning(host: Host, letter: number): number {
    const from = letter % 3
    const message = this.hosts.messages[(letter - from) / 3] as Message
    if (message.term >= host.hardState.term || message.term === 0) return letter
    switch (message.type) {
      case 'voteReply':
        if (message.pre && !message.granted) return letter
        break
      case 'appendReply':
      case 'timeoutNow':
        break
      default: {
        const asOld = this.hosts.messageNumber(longOver(message))
        this.#same(host, (letter - from) / 3, asOld, from)
        return asOld * 3 + from
      }
    }
    this.#same(host, (letter - from) / 3, undefined, from)
    return -1
  }

  /** Makes sure of what was said above: both do the same here, or the one does nothing. */
  #same(host: Host, message: number, asOld: number | undefined, from: number): void {
    if (host.raft === undefined) return
    const react = (number: number) =>
      this.hosts.react(host, { type: 'letter', from, message: number, forgetful: false, save: 'done' })
    const told = ({ host: after, posts, applied, reads }: Omit<Reaction, 'stood'>) =>
      JSON.stringify([after.number, posts, applied.length, reads.length])
    const received = told(react(message) as Reaction)
    const expected =
      asOld === undefined ? told({ host, posts: [], applied: [], reads: [] }) : told(react(asOld) as Reaction)
    if (received !== expected)
      throw new Broken(`${host.id} in term ${host.hardState.term} takes a message of an older term: ${received}`)
  }
}

/** The same kind of request, of a term before all others. */
function longOver(message: Extract<Message, { type: 'vote' | 'append' | 'snapshot' }>): Message {
  switch (message.type) {
    case 'vote':
      return { type: 'vote', term: 0, pre: message.pre, lastIndex: 0, lastTerm: 0, transfer: false }
    case 'append':
    case 'snapshot':
      return { type: 'append', term: 0, previousIndex: 0, previousTerm: 0, entries: [], commit: 0, round: 0 }
    default:
      return message satisfies never
  }
}
