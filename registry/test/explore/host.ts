/**
 * One server of the explorer: a core, its disk and the saves under way. What a server does depends on nothing but what it
 * is and what happens to it, so it is worked out once for each pair of the two; and servers that are the same have one
 * number, as have messages.
 *
 * A server remembers no times between steps. What depends on a time can go either way at any step instead: patience may
 * end, a heartbeat may be due, a vote may be refused because a leader was heard lately, or not. So these servers do
 * whatever real ones can do, and more.
 */
import type { Random } from '../../src/io/random.ts'
import type { Index } from '../../src/model.ts'
import type { Entry, Envelope, HardState, Message, ReadId, Ready, SavePoint, ServerId } from '../../src/raft/message.ts'
import { Raft, type RaftOptions } from '../../src/raft/raft.ts'
import { aged, noon, type Renaming, textOf, timeless } from './copy.ts'

export const ids: readonly ServerId[] = ['a', 'b', 'c']

/** All ways to rename three servers: at each place the new place of who was there; the first changes nothing. */
export const permutations: readonly (readonly [number, number, number])[] = [
  [0, 1, 2],
  [1, 0, 2],
  [0, 2, 1],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
]
/** Of these, one after the other, all others are made: a and b change places, b and c do. */
const generators = [1, 2]

const renamings: readonly Renaming[] = permutations.map(
  (permutation) => new Map(ids.map((id, at) => [id, ids[permutation[at] as number] as ServerId])),
)

/** Those that have been taken from a Ready that is not on the disk yet. */
type Saving = Pick<Ready, 'save' | 'hardState' | 'entries' | 'afterSave'>

interface Server {
  id: ServerId
  /** Undefined: down. */
  raft: Raft | undefined
  hardState: HardState
  entries: readonly Entry[]
  saving: Saving[]
  /** The last entry handed out. */
  applied: Index
}

export interface Host extends Readonly<Omit<Server, 'saving'>> {
  readonly saving: readonly Saving[]
  readonly number: number
  /** Its place among `ids`. */
  readonly at: number
}

export type Input = {
  /**
   * What becomes of the save that this may need: it is done at once, it waits, or the server crashes before it is done but
   * after it has sent what does not rest on it.
   */
  save: 'done' | 'waits' | 'dies'
} & (
  | { type: 'timeout' | 'stands' | 'heartbeat' | 'propose' | 'save' | 'crash' | 'restart' }
  | { type: 'read'; number: number }
  /** `forgetful`: it is long since a leader was heard. */
  | { type: 'letter'; from: number; message: number; forgetful: boolean }
)

const plainInputs = ['timeout', 'stands', 'heartbeat', 'propose', 'save', 'crash', 'restart'] as const
const saves = ['done', 'waits', 'dies'] as const

export interface Post {
  /** Its place among `ids`. */
  to: number
  message: number
}

export interface Reaction {
  host: Host
  /** How it stood before it crashed in this very step; otherwise as `host`. */
  stood: Host
  posts: readonly Post[]
  applied: readonly Entry[]
  reads: readonly { id: ReadId; index: Index | undefined }[]
}

export class Broken extends Error {
  override name = 'Broken'
}

export function expect(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Broken(message())
}

const electionTimeout = 1000
const heartbeatInterval = 100
/** Beyond every timeout, also twice. */
export const longTime = 4_000

// Every timeout is the same: when it ends is a step.
const random = Object.freeze({ between: (from: number) => from }) as unknown as Random

function core({ id, hardState, entries }: Server, now: number, entriesBytesMax: number): Raft {
  const options: RaftOptions = Object.freeze({
    id,
    random,
    electionTimeoutMin: electionTimeout,
    electionTimeoutMax: electionTimeout,
    heartbeatInterval,
    entriesBytesMax,
    inflightBytesMax: 1_000_000,
  })
  return new Raft(options, { hardState, snapshot: undefined, entries: entries.slice() }, now)
}

export class Hosts {
  readonly all: Host[] = []
  readonly messages: Message[] = []
  readonly #hosts = new Map<string, number>()
  readonly #messages = new Map<string, number>()
  /** For each server. */
  readonly #reactions: Map<number, Reaction | Error | undefined>[] = []
  readonly #renamed: number[][] = []
  readonly #entriesBytesMax: number
  /** How many different pairs of a server and what happens to it there were. */
  reactions = 0

  /** @param entriesBytesMax 1: each entry travels alone. */
  constructor(entriesBytesMax: number) {
    this.#entriesBytesMax = entriesBytesMax
  }

  /** A server that has this on its disk, and was started long ago. */
  founded(id: ServerId, hardState: HardState, entries: readonly Entry[]): Host {
    const server: Server = { id, raft: undefined, hardState, entries, saving: [], applied: 0 }
    server.raft = core(server, noon - longTime, this.#entriesBytesMax)
    return this.#host(server)
  }

  /** @returns undefined: the server has nothing to save. @throws Broken, or what the core asserts. */
  react(host: Host, input: Input): Reaction | undefined {
    const reaction = this.#known(host, input)
    if (reaction instanceof Error) throw reaction
    return reaction
  }

  #known(host: Host, input: Input): Reaction | Error | undefined {
    const key = keyOf(input)
    const known = this.#reactions[host.number] as Map<number, Reaction | Error | undefined>
    if (known.has(key)) return known.get(key)
    let reaction: Reaction | Error | undefined
    try {
      reaction = this.#work(host, input)
    } catch (error) {
      reaction = error as Error
    }
    known.set(key, reaction)
    this.reactions++
    for (const which of generators) this.#checkSymmetry(host, input, reaction, which)
    return reaction
  }

  /** Who is who does not matter: the renamed server does the same, renamed. */
  #checkSymmetry(host: Host, input: Input, reaction: Reaction | Error | undefined, which: number): void {
    const permutation = permutations[which] as readonly number[]
    const mirror = input.type === 'letter' ? { ...input, from: permutation[input.from] as number } : input
    const other = this.#known(this.renamed(host, which), mirror)
    const told = (it: typeof reaction, place: (at: number) => number, is: (of: Host) => number) =>
      it === undefined || it instanceof Error
        ? `${it?.name}`
        : `${is(it.host)} ${it.posts.map(({ to, message }) => `${place(to)}.${message}`).sort()} ${it.applied.map(({ index }) => index)} ${it.reads.map(({ id, index }) => `${id}.${index}`)}`
    const expected = told(
      reaction,
      (at) => permutation[at] as number,
      (of) => this.renamed(of, which).number,
    )
    const received = told(
      other,
      (at) => at,
      (of) => of.number,
    )
    if (expected !== received)
      throw new Error(`the core tells servers apart by name: ${host.id} on ${input.type}: ${expected} | ${received}`)
  }

  /** The same server under another name. */
  renamed(host: Host, which: number): Host {
    if (which === 0) return host
    const row = this.#renamed[host.number] as number[]
    row[which] ??= this.#host({ ...host, saving: [...host.saving] }, renamings[which]).number
    return this.all[row[which]] as Host
  }

  #work({ id, raft, hardState, entries, saving, applied }: Host, input: Input): Reaction | undefined {
    const server: Server = { id, raft, hardState, entries, saving: saving.slice(), applied }
    const outcome: Outcome = { posted: [], applied: [], reads: [] }
    this.#change(server, input, outcome)
    if (input.save !== 'done' && (server.saving.length === 0 || saving.length > 0)) return undefined
    const stood = this.#host(server)
    if (input.save === 'dies') crash(server)
    return {
      stood,
      host: input.save === 'dies' ? this.#host(server) : stood,
      posts: outcome.posted.map(({ to, message }) => ({ to: ids.indexOf(to), message: this.messageNumber(message) })),
      applied: outcome.applied,
      reads: outcome.reads,
    }
  }

  #host({ id, raft, hardState, entries, saving, applied }: Server, renaming?: Renaming): Host {
    const server = timeless({ id, raft, hardState, entries, saving, applied }, renaming)
    if (server.raft !== undefined) {
      const raft = server.raft as unknown as Open
      forget(raft)
      raft._outbox._afterSave = this.#once(raft._outbox._afterSave)
    }
    // To whom something is sent first does not matter.
    for (const each of server.saving)
      each.afterSave = this.#once(each.afterSave).sort((one, other) =>
        one.to < other.to ? -1 : one.to > other.to ? 1 : 0,
      )
    const text = textOf(server, (server.raft as unknown as Open | undefined)?._log.saves._ready)
    let number = this.#hosts.get(text)
    if (number === undefined) {
      number = this.all.length
      this.#hosts.set(text, number)
      this.all.push({ ...server, number, at: ids.indexOf(server.id) })
      this.#reactions.push(new Map())
      this.#renamed.push([])
    }
    return this.all[number] as Host
  }

  /** To send a message twice is to send it once; which of two is taken is told by what follows it. */
  #once(envelopes: readonly Envelope[]): Envelope[] {
    const last = new Map<string, Envelope>()
    for (const envelope of envelopes) {
      const key = `${envelope.to} ${this.messageNumber(envelope.message)}`
      last.delete(key)
      last.set(key, envelope)
    }
    return [...last.values()]
  }

  messageNumber(message: Message): number {
    const text = textOf(message)
    let number = this.#messages.get(text)
    if (number === undefined) {
      number = this.messages.length
      this.#messages.set(text, number)
      this.messages.push(message)
    }
    return number
  }

  #change(server: Server, input: Input, outcome: Outcome): void {
    if (input.type === 'crash') {
      crash(server)
      return
    }
    const slow = input.save !== 'done'
    if (input.type === 'restart') {
      server.raft = core(server, noon, this.#entriesBytesMax)
      turn(server, slow, outcome)
      return
    }
    const age = (by: number) => Object.assign(server, aged({ ...server }, by))
    age(0)
    const raft = () => server.raft as Raft
    switch (input.type) {
      case 'timeout':
      case 'stands':
        age(longTime)
        // After a stall a core gives what waits a moment to be heard.
        raft().tick(noon)
        age(2 * heartbeatInterval)
        raft().tick(noon)
        if (input.type === 'stands' && raft().role === 'preCandidate') grantPreVote(server)
        break
      case 'heartbeat':
        age(2 * heartbeatInterval)
        raft().tick(noon)
        break
      case 'propose':
        raft().propose([Buffer.from(`p${raft().term}`)])
        break
      case 'read':
        raft().requestRead(input.number, noon)
        break
      case 'letter':
        if (input.forgetful) age(longTime)
        raft().step(ids[input.from] as ServerId, this.messages[input.message] as Message, noon)
        break
      case 'save':
        save(server, outcome)
        break
      default:
        input.type satisfies never
    }
    turn(server, slow || (server.saving.length > 0 && input.type !== 'save'), outcome)
  }
}

/** What only the explorer's copy of a core shows. */
interface Open {
  _role: string
  _term: number
  _votes: Map<ServerId, boolean>
  _answered: { term: number; round: number; match: number }
  _leaderHeardAt: number | undefined
  _log: { saves: { _ready: number } }
  _outbox: { _afterSave: Envelope[] }
  _leadership: { _followers: Map<ServerId, { _inflight: unknown[]; _inflightBytes: number }> } | undefined
}

/**
 * Takes away what a core has but will not look at again, so that it tells no states apart:
 * - the votes of who leads: answers to an election are dropped by a leader, and whoever stands begins to count anew;
 * - what it answered in an older term: that is compared with its present term only;
 * - how long ago a leader was heard: it only moves times;
 * - what is on the way to a follower: the window is wider than all entries there are, and nothing else asks for it.
 */
function forget(raft: Open): void {
  if (raft._role === 'leader') raft._votes.clear()
  if (raft._answered.term < raft._term) raft._answered = { term: 0, round: 0, match: 0 }
  raft._leaderHeardAt = undefined
  for (const progress of raft._leadership?._followers.values() ?? []) {
    progress._inflight = []
    progress._inflightBytes = 0
  }
}

function keyOf(input: Input): number {
  const save = saves.indexOf(input.save)
  const letter = 64
  if (input.type === 'letter')
    return ((letter + input.message * 6 + input.from * 2 + (input.forgetful ? 1 : 0)) << 2) | save
  if (input.type === 'read') return ((32 + input.number) << 2) | save
  return (plainInputs.indexOf(input.type) << 2) | save
}

interface Outcome {
  posted: Envelope[]
  applied: Entry[]
  reads: { id: ReadId; index: Index | undefined }[]
}

function crash(server: Server): void {
  server.raft = undefined
  server.saving = []
  server.applied = 0
}

/** Whoever is asked answers yes, and nothing else comes of its asking. */
function grantPreVote(server: Server): void {
  const raft = server.raft as Raft
  const asked = raft.ready(noon)
  expect(asked?.save === undefined, () => `${server.id} has something to save when it asks for pre-votes`)
  const [first] = asked?.messages ?? []
  if (first === undefined) return
  const { term } = first.message
  raft.step(first.to, { type: 'voteReply', term, pre: true, granted: true, heardLeader: false }, noon)
}

/** Takes what is ready. Saves end at once unless they are slow, or one before them is. */
function turn(server: Server, slow: boolean, outcome: Outcome): void {
  const raft = server.raft as Raft
  for (let ready = raft.ready(noon); ready !== undefined; ready = raft.ready(noon)) {
    post(server, ready.messages, outcome)
    if (ready.save !== undefined) {
      const { save, hardState, entries, afterSave } = ready
      server.saving.push({ save, hardState, entries, afterSave })
    }
    for (const entry of ready.committed) {
      expect(entry.index === server.applied + 1, () => `${server.id} applies ${entry.index} after ${server.applied}`)
      server.applied = entry.index
      outcome.applied.push(entry)
    }
    outcome.reads.push(...ready.reads)
    if (!slow) save(server, outcome)
  }
}

/** All that waits is on the disk. */
function save(server: Server, outcome: Outcome): void {
  const done = server.saving.splice(0)
  const last = done.at(-1)
  if (last === undefined) return
  for (const { hardState, entries } of done) {
    if (hardState !== undefined) server.hardState = hardState
    const [first] = entries
    if (first !== undefined) server.entries = [...server.entries.slice(0, first.index - 1), ...entries]
  }
  ;(server.raft as Raft).saved(last.save as SavePoint)
  for (const { afterSave } of done) post(server, afterSave, outcome)
}

function post(server: Server, envelopes: readonly Envelope[], outcome: Outcome): void {
  for (const { to, message } of envelopes) {
    checkPromise(server, to, message)
    outcome.posted.push({ to, message })
  }
}

/** What leaves a server rests on its disk. */
function checkPromise({ id, hardState, entries }: Server, to: ServerId, message: Message): void {
  const knows = (vote: ServerId) =>
    hardState.term > message.term || (hardState.term === message.term && hardState.vote === vote)
  if (message.type === 'voteReply' && message.granted && !message.pre)
    expect(knows(to), () => `${id} votes for ${to} before its disk knows`)
  if (message.type === 'vote' && !message.pre) expect(knows(id), () => `${id} stands before its disk knows`)
  if (message.type === 'appendReply' && message.success) {
    expect(hardState.term >= message.term, () => `${id} acknowledges in term ${message.term} before its disk knows`)
    // When one save holds a later term too, that may already have cut off what an older leader is told of.
    const holds = message.match <= entries.length || hardState.term > message.term
    expect(holds, () => `${id} acknowledges ${message.match}, but its disk ends at ${entries.length}`)
  }
}
