/**
 * One server of the explorer: a core, its disk and the saves under way. What a server does depends on nothing but what it
 * is and what happens to it, so it is worked out once for each pair of the two; and servers that are the same are one
 * object, as are messages.
 */
import type { Random } from '../../src/io/random.ts'
import type { Index } from '../../src/model.ts'
import type { Entry, Envelope, HardState, Message, ReadId, Ready, SavePoint, ServerId } from '../../src/raft/message.ts'
import { Raft, type RaftOptions } from '../../src/raft/raft.ts'
import { copy, Hash, type Name, noon, type Renaming, textOf } from './copy.ts'

export const ids: readonly ServerId[] = ['a', 'b', 'c']

/** Only b and c may change places: a is whoever is the first to lose patience. */
export const renamings: readonly Renaming[] = [
  new Map(),
  new Map([
    ['b', 'c'],
    ['c', 'b'],
  ]),
]

interface Server {
  id: ServerId
  /** Undefined: down. */
  raft: Raft | undefined
  hardState: HardState
  entries: readonly Entry[]
  saving: Ready[]
  /** The last entry handed out. */
  applied: Index
}

export interface Host extends Readonly<Omit<Server, 'saving'>> {
  readonly saving: readonly Ready[]
  readonly number: number
  /** One for each renaming. */
  readonly names: readonly Name[]
}

/** A message of which there is only one object. */
export interface Letter {
  readonly message: Message
  readonly number: number
  readonly names: readonly Name[]
}

export type Input =
  /** `stands`: the first who is asked would vote for it. */
  | { type: 'timeout' | 'stands' | 'heartbeat' | 'save' | 'crash' | 'restart' }
  | { type: 'propose'; command: string }
  | { type: 'read'; id: ReadId }
  /** `forgetful`: it is long since a leader was heard. */
  | { type: 'letter'; from: ServerId; letter: Letter; forgetful: boolean }

export interface Reaction {
  host: Host
  posted: { to: ServerId; letter: Letter }[]
  applied: Entry[]
  reads: { id: ReadId; index: Index | undefined }[]
  /** A save was left waiting because it was to be slow. */
  waits: boolean
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
  readonly #hosts = new Map<string, Host>()
  readonly #letters = new Map<string, Letter>()
  readonly #reactions = new Map<string, Reaction | Error>()
  readonly #entriesBytesMax: number

  /** @param entriesBytesMax 1: each entry travels alone. */
  constructor(entriesBytesMax: number) {
    this.#entriesBytesMax = entriesBytesMax
  }

  /** How many different servers there were, and how many reactions. */
  get counts(): { hosts: number; reactions: number } {
    return { hosts: this.#hosts.size, reactions: this.#reactions.size }
  }

  /** A server that has this on its disk, and was started long ago. */
  founded(id: ServerId, hardState: HardState, entries: readonly Entry[]): Host {
    const server: Server = { id, raft: undefined, hardState, entries, saving: [], applied: 0 }
    server.raft = core(server, noon - longTime, this.#entriesBytesMax)
    return this.#host(server)
  }

  /** @param slow the save that this may need is not done at once. @throws Broken, or what the core asserts. */
  react(host: Host, input: Input, slow: boolean): Reaction {
    const key = `${host.number} ${slow ? 1 : 0} ${keyOf(input)}`
    let reaction = this.#reactions.get(key)
    if (reaction === undefined) {
      try {
        reaction = this.#work(host, input, slow)
      } catch (error) {
        reaction = error as Error
      }
      this.#reactions.set(key, reaction)
    }
    if (reaction instanceof Error) throw reaction
    return reaction
  }

  #work({ id, raft, hardState, entries, saving, applied }: Host, input: Input, slow: boolean): Reaction {
    const server: Server = { id, raft, hardState, entries, saving: saving.slice(), applied }
    const outcome: Outcome = { posted: [], applied: [], reads: [] }
    change(server, input, { slow, entriesBytesMax: this.#entriesBytesMax }, outcome)
    const { posted } = outcome
    return {
      ...outcome,
      host: this.#host(server),
      posted: posted.map(({ to, message }) => ({ to, letter: this.#letter(message) })),
      waits: slow && server.saving.length > 0 && saving.length === 0,
    }
  }

  #host(server: Server): Host {
    const saves = (server.raft as unknown as { _log: { saves: { _ready: number } } } | undefined)?._log.saves
    const texts = renamings.map((renaming) => textOf(server, renaming, saves?._ready))
    return one(this.#hosts, texts, (number, names) => ({ ...server, number, names }))
  }

  #letter(message: Message): Letter {
    const texts = renamings.map((renaming) => textOf(message, renaming))
    return one(this.#letters, texts, (number, names) => ({ message, number, names }))
  }
}

function one<T>(known: Map<string, T>, texts: readonly string[], make: (number: number, names: Name[]) => T): T {
  const [text = ''] = texts
  let it = known.get(text)
  if (it === undefined) {
    const names = texts.map((each) => {
      const hash = new Hash()
      hash.addText(each)
      return hash.name
    })
    it = make(known.size, names)
    known.set(text, it)
  }
  return it
}

function keyOf(input: Input): string {
  switch (input.type) {
    case 'propose':
      return `propose ${input.command}`
    case 'read':
      return `read ${input.id}`
    case 'letter':
      return `${input.from} ${input.letter.number} ${input.forgetful ? 1 : 0}`
    default:
      return input.type
  }
}

interface Outcome {
  posted: Envelope[]
  applied: Entry[]
  reads: { id: ReadId; index: Index | undefined }[]
}

function change(
  server: Server,
  input: Input,
  { slow, entriesBytesMax }: { slow: boolean; entriesBytesMax: number },
  outcome: Outcome,
): void {
  if (input.type === 'crash') {
    server.raft = undefined
    server.saving = []
    server.applied = 0
    return
  }
  if (input.type === 'restart') {
    server.raft = core(server, noon, entriesBytesMax)
    turn(server, slow, outcome)
    return
  }
  const age = (by: number) => Object.assign(server, copy({ ...server }, by))
  age(
    input.type === 'timeout' || input.type === 'stands' || (input.type === 'letter' && input.forgetful) ? longTime : 0,
  )
  const raft = () => server.raft as Raft
  switch (input.type) {
    case 'timeout':
    case 'stands':
      // After a stall a core gives what waits a moment to be heard.
      raft().tick(noon)
      age(2 * heartbeatInterval)
      raft().tick(noon)
      if (input.type === 'stands' && raft().role === 'preCandidate') grantPreVote(server)
      break
    case 'heartbeat':
      age(heartbeatInterval)
      raft().tick(noon)
      break
    case 'propose':
      raft().propose([Buffer.from(input.command)])
      break
    case 'read':
      raft().requestRead(input.id, noon)
      break
    case 'letter':
      raft().step(input.from, input.letter.message, noon)
      break
    case 'save':
      save(server, outcome)
      break
    default:
      input.type satisfies never
  }
  turn(server, slow || (server.saving.length > 0 && input.type !== 'save'), outcome)
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
    if (ready.save !== undefined) server.saving.push(ready)
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
