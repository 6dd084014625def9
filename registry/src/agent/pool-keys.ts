/**
 * The keys of all members of one pool. Each living member, observers included, is asked over its gossip channel; requests
 * and answers are sealed like everything there.
 *
 * For a change members are asked twice: what they have, and then to change it. With the first answer comes a token that the
 * change must bring back, and only the newest counts: a change that comes late, or is a recording played again, changes
 * nothing, for somebody has looked since. The member whose name is first is changed first and alone. So of two changes that
 * are made at the same time, through whichever servers, one at most gets beyond that member, and what it was based on is
 * still true: either the other has looked there later and this one ends, or it has changed it before the other looked.
 */
import { BadRequest, Refused } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Member, Millis } from '../model.ts'
import type { Deadlines } from './deadlines.ts'
import { type KeyChange, keyOf } from './keyring.ts'
import type { KeptKeyring } from './keyring-file.ts'
import { Newest } from './newest.ts'
import { Peers } from './peers.ts'
import { isLive } from './pools.ts'
import type { SealedChannel } from './sealed.ts'
import type { Pool } from './surface.ts'

export type KeyOperation = { type: 'list'; localOnly: boolean } | { type: KeyChange; key: string }

/** What came of an operation in one pool. */
export interface KeyReport {
  wan: boolean
  datacenter: string
  /** How many members have each key, and whose primary it is. */
  keys: Record<string, number>
  primaryKeys: Record<string, number>
  /** How many were asked. */
  members: number
  /** In Consul's words; '' when all is well. */
  error: string
  failures: { name: string; reason: string }[]
}

/** What the members have, and the change that was asked for; it may be made once. */
export interface Looked {
  report: KeyReport
  change(): Promise<KeyReport>
}

/** A pool as it is for this agent. */
export interface KeysPool {
  /** What this agent is called in it. */
  name: string
  members(): Member[]
  channel: SealedChannel
  kept: KeptKeyring | undefined
}

interface Request {
  /** Who is meant: another one may have its address by now. */
  target: string
  /** 'look': as list, and with a change in mind. */
  type: 'list' | 'look' | KeyChange
  key: string
  token: string
}

interface Look {
  /** The primary first. */
  keys: string[]
  token: string
}

type Outcome = { member: Member; look: Look } | { member: Member; error: Error }

const method = 'keys'
const answerWithin: Millis = 5_000
const askedAtOnce = 64
const types: readonly unknown[] = ['list', 'look', 'install', 'use', 'remove'] satisfies Request['type'][]

export class PoolKeys {
  readonly #io: Io
  readonly #datacenter: string
  readonly #kind: Pool
  readonly #pool: KeysPool
  readonly #token: Newest<true>
  /** Requests on the channel of this pool. */
  readonly peers: Peers

  constructor(
    { io, deadlines, datacenter }: { io: Io; deadlines: Deadlines; datacenter: string },
    kind: Pool,
    pool: KeysPool,
  ) {
    this.#io = io
    this.#datacenter = datacenter
    this.#kind = kind
    this.#pool = pool
    this.#token = new Newest(io)
    const { requests } = pool.channel
    this.peers = new Peers({ ...io, network: requests }, deadlines, kind)
    this.peers.answer(method, (body) => this.#serve(requestOf(body)))
    requests.onFrame((bytes, reply) => this.peers.receive(bytes, reply))
  }

  /** What this agent is called in this pool. */
  get name(): string {
    return this.#pool.name
  }

  members(): Member[] {
    return this.#pool.members()
  }

  /** A report of what each living member has; as a failure, who could not follow the operation. */
  async look(operation: KeyOperation): Promise<Looked> {
    const members = this.members()
    const gone = members.filter(({ status }) => status === 'failed').map(({ name }) => name)
    if (gone.length > 0 && operation.type !== 'list') {
      const reason = `failed members are not asked to ${operation.type} the key and may be cut off when they are back`
      this.#io.log('warn', 'serf', `${this.#kind}: ${reason}: ${gone.join(', ')}`)
    }
    const type = operation.type === 'list' ? 'list' : 'look'
    const asked = await this.#ask(members.filter(isLive), ({ name }) => ({ target: name, type, key: '', token: '' }))
    const looks = operation.type === 'list' ? asked : asked.map((one) => following(one, operation.type, operation.key))
    return {
      report: this.#report(looks),
      change: async () => {
        if (operation.type === 'list') throw new BadRequest('there is nothing to change')
        return this.#report(await this.#change(operation.type, operation.key, looks))
      },
    }
  }

  /** Of nobody. */
  empty(error: string): KeyReport {
    const { datacenter, wan } = { datacenter: this.#datacenter, wan: this.#kind === 'wan' }
    return { wan, datacenter, keys: {}, primaryKeys: {}, members: 0, error, failures: [] }
  }

  stop(): void {
    this.peers.stop()
  }

  async #change(type: KeyChange, key: string, looks: readonly Outcome[]): Promise<Outcome[]> {
    const unable = looks.filter((outcome) => 'error' in outcome)
    const able = looks.flatMap((outcome) => ('error' in outcome ? [] : [outcome]))
    able.sort((one, other) => (one.member.name < other.member.name ? -1 : 1))
    const tokens = new Map(able.map(({ member, look }) => [member.name, look.token]))
    const ask = (outcomes: readonly Outcome[]) => {
      const members = outcomes.map(({ member }) => member)
      return this.#ask(members, ({ name }) => ({ target: name, type, key, token: tokens.get(name) ?? '' }))
    }
    const [first, ...others] = [await ask(able.slice(0, 1)), able.slice(1)].flat()
    if (first === undefined) return unable
    return [...unable, first, ...('error' in first ? others : await ask(others))]
  }

  #report(outcomes: readonly Outcome[]): KeyReport {
    const report = { ...this.empty(''), members: outcomes.length }
    const count = (counts: Record<string, number>, key: string) => {
      counts[key] = (counts[key] ?? 0) + 1
    }
    let silent = 0
    for (const outcome of outcomes) {
      if ('error' in outcome) {
        const { error, member } = outcome
        if (!(error instanceof Refused)) silent++
        report.failures.push({ name: member.name, reason: error.message })
        continue
      }
      for (const key of outcome.look.keys) count(report.keys, key)
      const [primary] = outcome.look.keys
      if (primary !== undefined) count(report.primaryKeys, primary)
    }
    const { failures, members } = report
    // Consul counts those that answered when nobody refused.
    if (failures.length > silent) report.error = `${failures.length}/${members} nodes reported failure`
    else if (silent > 0) report.error = `${members - silent}/${members} nodes reported success`
    return report
  }

  /** In the order of `members`. */
  async #ask(members: readonly Member[], request: (member: Member) => Request): Promise<Outcome[]> {
    const outcomes: Outcome[] = []
    let next = 0
    const work = async () => {
      for (let at = next++; at < members.length; at = next++) {
        const member = members[at] as Member
        try {
          outcomes[at] = { member, look: lookOf(await this.#askOne(member, request(member))) }
        } catch (error) {
          outcomes[at] = { member, error: error as Error }
        }
      }
    }
    await Promise.all(Array.from({ length: askedAtOnce }, work))
    return outcomes
  }

  #askOne(member: Member, request: Request): Promise<unknown> {
    if (member.name === this.name) return this.#serve(request)
    return this.peers.ask(member.address, method, request, answerWithin)
  }

  async #serve({ target, type, key, token }: Request): Promise<Look> {
    const { name, kept } = this.#pool
    if (target !== name) throw new Refused(`this is ${name}, and not ${target}, which may have moved`)
    if (kept === undefined) throw new Refused('Keyring is empty (encryption not enabled)')
    if (type === 'list') return { keys: kept.keyring.texts, token: '' }
    if (type === 'look') return { keys: kept.keyring.texts, token: this.#token.give(true) }
    if (this.#token.take(token) === undefined) {
      throw new Refused('another change of keys was begun meanwhile, or this one took too long; look with -list')
    }
    this.#io.log('info', 'serf', `Received ${type}-key query`, { pool: this.#kind })
    try {
      await kept.change(type, key)
    } catch (error) {
      if (error instanceof Refused) throw error
      throw new Refused(`the keyring could not be written: ${(error as Error).message}`)
    }
    return { keys: kept.keyring.texts, token: '' }
  }
}

/** As it is, or why this member could not follow. */
function following(outcome: Outcome, change: KeyChange, text: string): Outcome {
  if ('error' in outcome) return outcome
  const { member, look } = outcome
  const key = sizedKey(text)
  const refused = (reason: string) => ({ member, error: new Refused(reason) })
  if (key === undefined && change === 'install') return refused('key size must be 16, 24 or 32 bytes')
  if (change === 'use' && (key === undefined || !look.keys.includes(key))) {
    return refused('Requested key is not in the keyring')
  }
  return change === 'remove' && look.keys[0] === key ? refused('Removing the primary key is not allowed') : outcome
}

/** Undefined for what is base64 of another size. */
function sizedKey(text: string): string | undefined {
  try {
    return keyOf(text).text
  } catch {
    return undefined
  }
}

/** What anybody with a key may have sent. @throws BadRequest */
function requestOf(body: unknown): Request {
  const { target, type, key, token } = (body ?? {}) as Partial<Record<keyof Request, unknown>>
  if (typeof target !== 'string' || typeof key !== 'string' || typeof token !== 'string') {
    throw new BadRequest('expected a request about keys')
  }
  if (!types.includes(type)) throw new BadRequest(`expected ${types.join(', ')}, received ${JSON.stringify(type)}`)
  if (target.length > 512 || key.length > 512) throw new BadRequest('expected a name and a key, received more')
  return { target, type: type as Request['type'], key, token }
}

/** The same for an answer. @throws BadRequest */
function lookOf(body: unknown): Look {
  const { keys, token } = (body ?? {}) as Partial<Record<keyof Look, unknown>>
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'string') || typeof token !== 'string') {
    throw new BadRequest('expected keys')
  }
  return { keys, token }
}
