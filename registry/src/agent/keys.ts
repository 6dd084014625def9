/**
 * The keys of all members at once: what they have, and changing it everywhere. A server asks each living member of its
 * pools, observers included, over the member's gossip channel; requests and answers are sealed like everything there.
 *
 * Each member is asked twice: what it has, and then to change it. With the first answer comes a token that the change must
 * bring back, so a recorded change cannot be played again. And nobody is changed when somebody could not follow: a key is
 * used only when all have it, and removed only when it is nobody's primary. (Consul changes those that can, and so cuts
 * off the others.)
 */
import { BadRequest, Refused } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Member, Millis } from '../model.ts'
import type { Deadlines } from './deadlines.ts'
import { type KeyChange, keyOf } from './keyring.ts'
import type { KeptKeyring, Keyrings } from './keyring-file.ts'
import type { AgentOptions } from './options.ts'
import { Peers } from './peers.ts'
import { isLive, type Pools } from './pools.ts'
import type { SealedChannel } from './sealed.ts'
import type { Pool } from './surface.ts'

export type KeyOperation = { type: 'list'; localOnly: boolean } | { type: KeyChange; key: string }

/** What came of an operation in one pool. */
export interface PoolKeys {
  wan: boolean
  datacenter: string
  /** How many members have each key, and whose primary it is. */
  keys: Map<string, number>
  primaryKeys: Map<string, number>
  /** How many were asked. */
  members: number
  /** In Consul's words; '' when all is well. */
  error: string
  failures: { name: string; reason: string }[]
}

export interface KeysSurface {
  /** Changes go to every pool this agent is in, `list` with `localOnly` to the LAN only. @throws Refused unless a server */
  operate(operation: KeyOperation): Promise<PoolKeys[]>
}

export interface KeysPool {
  /** What this agent is called in it. */
  name: string
  members(): Member[]
  channel: SealedChannel
  kept: KeptKeyring | undefined
}

export interface KeysOptions {
  io: Io
  deadlines: Deadlines
  datacenter: string
  lan: KeysPool
  /** Servers only. */
  wan: KeysPool | undefined
}

interface Request {
  /** Who is meant: another one may have its address by now. */
  target: string
  change?: KeyChange
  key?: string
  token?: string
}

interface Look {
  keys: string[]
  token: string
}

type Outcome<T> = { member: Member; value: T } | { member: Member; error: Error }

const method = 'keys'
const answerWithin: Millis = 5_000
const tokenLasts: Millis = 60_000
const tokensMax = 256
const askedAtOnce = 32
const changes: readonly unknown[] = ['install', 'use', 'remove'] satisfies KeyChange[]
const notEncrypted = 'Keyring is empty (encryption not enabled)'

export class Keys implements KeysSurface {
  readonly #pools: Partial<Record<Pool, OnePool>>
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: KeysOptions) {
    const { lan, wan } = options
    this.#pools = {
      lan: new OnePool(options, 'lan', lan),
      ...(wan === undefined ? {} : { wan: new OnePool(options, 'wan', wan) }),
    }
  }

  /** One operation of this agent after the other. */
  operate(operation: KeyOperation): Promise<PoolKeys[]> {
    const result = this.#turn.then(() => this.#operate(operation))
    this.#turn = result.catch(() => undefined)
    return result
  }

  stop(): void {
    for (const pool of Object.values(this.#pools)) pool.stop()
  }

  async #operate(operation: KeyOperation): Promise<PoolKeys[]> {
    const { lan, wan } = this.#pools
    if (wan === undefined) throw new Refused('keyring operations must run against a server node')
    const pools = operation.type === 'list' && operation.localOnly ? [lan as OnePool] : [wan, lan as OnePool]
    if (operation.type !== 'list') {
      const unreadable = unreadableReason(operation.key)
      if (unreadable !== undefined) return pools.map((pool) => ({ ...pool.nothing(), error: unreadable }))
    }
    const looks = await Promise.all(pools.map((pool) => pool.look(operation)))
    const list = () => looks.map((look, at) => (pools[at] as OnePool).summary(look))
    if (operation.type === 'list') return list()
    const failed = looks.flat().some((look) => 'error' in look)
    // A new key harms nobody who has it: those that can take it do, and the others are named.
    if (failed && operation.type !== 'install') return list()
    const outcomes = await Promise.all(
      pools.map((pool, at) => pool.change(operation.type, operation.key, looks[at] as Outcome<Look>[])),
    )
    return outcomes.map((outcome, at) => (pools[at] as OnePool).summary(outcome))
  }
}

/** Over the pools of an agent. */
export function openKeys(parts: {
  io: Io
  deadlines: Deadlines
  agent: AgentOptions
  pools: Pools
  keyrings: Keyrings
}): Keys {
  const { io, deadlines, pools, keyrings } = parts
  const { name, datacenter } = parts.agent
  const pool = (kind: Pool, channel: SealedChannel): KeysPool => ({
    name: kind === 'lan' ? name : `${name}.${datacenter}`,
    members: () => pools.members(kind),
    channel,
    kept: keyrings[kind],
  })
  const { lan, wan } = pools.channels
  return new Keys({ io, deadlines, datacenter, lan: pool('lan', lan), wan: wan && pool('wan', wan) })
}

/** Asking, and answering, in one pool. */
class OnePool {
  readonly #options: KeysOptions
  readonly #kind: Pool
  readonly #pool: KeysPool
  readonly #peers: Peers
  /** Given out and not yet used. */
  readonly #tokens = new Map<string, Millis>()

  constructor(options: KeysOptions, kind: Pool, pool: KeysPool) {
    this.#options = options
    this.#kind = kind
    this.#pool = pool
    const { io, deadlines } = options
    const { requests } = pool.channel
    this.#peers = new Peers({ ...io, network: requests }, deadlines, kind)
    this.#peers.answer(method, (body) => this.#serve(requestOf(body)))
    requests.onFrame((bytes, reply) => this.#peers.receive(bytes, reply))
  }

  stop(): void {
    this.#peers.stop()
  }

  /** What each living member has; an error for one that could not follow the operation. */
  async look(operation: KeyOperation): Promise<Outcome<Look>[]> {
    const members = this.#pool.members()
    const gone = members.filter(({ status }) => status === 'failed').map(({ name }) => name)
    if (gone.length > 0 && operation.type !== 'list') {
      const reason = `failed members are not asked to ${operation.type} the key and may be cut off when they are back`
      this.#options.io.log('warn', 'serf', `${this.#kind}: ${reason}: ${gone.join(', ')}`)
    }
    const looks = await this.#ask<Look>(members.filter(isLive), ({ name }) => ({ target: name }))
    return looks.map((look) => {
      if ('error' in look || operation.type === 'list') return look
      const error = hindrance(operation.type, operation.key, look.value.keys)
      return error === undefined ? look : { member: look.member, error }
    })
  }

  async change(change: KeyChange, key: string, looks: readonly Outcome<Look>[]): Promise<Outcome<Look>[]> {
    const able = looks.flatMap((look) => ('error' in look ? [] : [look]))
    const tokens = new Map(able.map(({ member, value }) => [member.name, value.token]))
    const changed = await this.#ask<Look>(
      able.map(({ member }) => member),
      ({ name }) => ({ target: name, change, key, token: tokens.get(name) ?? '' }),
    )
    return [...looks.filter((look) => 'error' in look), ...changed]
  }

  nothing(): PoolKeys {
    const { datacenter } = this.#options
    const empty = { keys: new Map<string, number>(), primaryKeys: new Map<string, number>() }
    return { wan: this.#kind === 'wan', datacenter, ...empty, members: 0, error: '', failures: [] }
  }

  summary(outcomes: readonly Outcome<Look>[]): PoolKeys {
    const summary = { ...this.nothing(), members: outcomes.length }
    const count = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1)
    let silent = 0
    for (const outcome of outcomes) {
      if ('error' in outcome) {
        const { error, member } = outcome
        if (!(error instanceof Refused)) silent++
        summary.failures.push({ name: member.name, reason: error.message })
        continue
      }
      for (const key of outcome.value.keys) count(summary.keys, key)
      const [primary] = outcome.value.keys
      if (primary !== undefined) count(summary.primaryKeys, primary)
    }
    const { failures, members } = summary
    // Consul counts those that answered when nobody refused.
    if (failures.length > silent) summary.error = `${failures.length}/${members} nodes reported failure`
    else if (silent > 0) summary.error = `${members - silent}/${members} nodes reported success`
    return summary
  }

  /** In the order of `members`. */
  async #ask<T>(members: readonly Member[], request: (member: Member) => Request): Promise<Outcome<T>[]> {
    const outcomes: Outcome<T>[] = []
    let next = 0
    const work = async () => {
      for (let at = next++; at < members.length; at = next++) {
        const member = members[at] as Member
        try {
          outcomes[at] = { member, value: (await this.#askOne(member, request(member))) as T }
        } catch (error) {
          outcomes[at] = { member, error: error as Error }
        }
      }
    }
    await Promise.all(Array.from({ length: askedAtOnce }, work))
    return outcomes
  }

  #askOne(member: Member, request: Request): Promise<unknown> {
    if (member.name === this.#pool.name) return this.#serve(request)
    return this.#peers.ask(member.address, method, request, answerWithin)
  }

  async #serve({ target, change, key, token }: Request): Promise<Look> {
    const { name, kept } = this.#pool
    const { io } = this.#options
    if (target !== name) throw new Refused(`this is ${name}, and not ${target}, which may have moved`)
    if (kept === undefined) throw new Refused(notEncrypted)
    if (change === undefined) return { keys: kept.keyring.texts, token: this.#token() }
    const until = this.#tokens.get(token ?? '')
    this.#tokens.delete(token ?? '')
    if (until === undefined || io.clock.now() > until) {
      throw new Refused('a change of keys without the token of a question asked just before; ask again')
    }
    io.log('info', 'serf', `Received ${change}-key query`, { pool: this.#kind })
    try {
      await kept.change(change, key ?? '')
    } catch (error) {
      if (error instanceof Refused) throw error
      throw new Refused(`the keyring could not be written: ${(error as Error).message}`)
    }
    return { keys: kept.keyring.texts, token: '' }
  }

  #token(): string {
    const { clock, random } = this.#options.io
    const now = clock.now()
    for (const [token, until] of this.#tokens) {
      if (until > now && this.#tokens.size < tokensMax) break
      this.#tokens.delete(token)
    }
    const token = random.uuid()
    this.#tokens.set(token, now + tokenLasts)
    return token
  }
}

/** Why this member could not follow. */
function hindrance(change: KeyChange, text: string, keys: readonly string[]): Error | undefined {
  const key = sizedKey(text)
  if (key === undefined && change === 'install') return new Refused('key size must be 16, 24 or 32 bytes')
  if (change === 'use' && (key === undefined || !keys.includes(key))) {
    return new Refused('Requested key is not in the keyring')
  }
  return change === 'remove' && keys[0] === key ? new Refused('Removing the primary key is not allowed') : undefined
}

/** Undefined for what is base64 of another size. */
function sizedKey(text: string): string | undefined {
  try {
    return keyOf(text).text
  } catch {
    return undefined
  }
}

function unreadableReason(text: string): string | undefined {
  try {
    keyOf(text)
    return undefined
  } catch (error) {
    const { message } = error as Error
    return message.startsWith('illegal base64') ? message : undefined
  }
}

/** What anybody with a key may have sent. @throws BadRequest */
function requestOf(body: unknown): Request {
  const { target, change, key, token } = (body ?? {}) as Partial<Record<keyof Request, unknown>>
  const text = (value: unknown) => value === undefined || (typeof value === 'string' && value.length <= 512)
  if (typeof target !== 'string' || !text(target) || !text(key) || !text(token)) {
    throw new BadRequest('expected a request about keys')
  }
  if (change === undefined) return { target }
  if (!changes.includes(change)) throw new BadRequest(`expected install, use or remove, received "${String(change)}"`)
  return { target, change: change as KeyChange, key: String(key ?? ''), token: String(token ?? '') }
}
