/**
 * Users of locks: each begins sessions, keeps them up, takes locks with them and lets go, at any agent. What they are told
 * goes into a history that has to be linearizable; and no session may be ended by the leader before its time since it was
 * last renewed is over. Sessions end by themselves soon after their users do.
 */
import type { Millis } from '../../src/model.ts'
import type { Command } from '../../src/store/command.ts'
import type { Store } from '../../src/store/store.ts'
import { check, complaint } from '../linearizability/check.ts'
import { type LockInput, type LockOutput, LockRecorder, lockFound, lockModel } from '../linearizability/locks.ts'
import { anyone, brief, type ClientsOptions, expectHonest, indexOf, isCertainlyNot } from './agent-answers.ts'
import type { Answered } from './agent-requests.ts'
import { Violation } from './checkers.ts'

/** The shortest that these agents allow is a second. */
const ttl: Millis = 2_000
const renewEvery: Millis = 600
/** Operations of a group of keys before another one takes its place: so that the checker can decide. */
const operationsPerGroup = 50
const stepsMax = 300_000
const users = 3

interface Held {
  id: string
  ttl: boolean
  /** When the last renewal that was answered was asked for, or its creation. */
  renewed: Millis
  /** Somebody asked for its end, or its user does not care any more. */
  left: boolean
  destroy: Extract<LockInput, { type: 'destroy' }>
}

interface Group {
  keys: string[]
  operations: number
  /** By user. */
  sessions: Map<string, Held>
}

export class LockUsers {
  readonly #options: ClientsOptions
  readonly #history = new LockRecorder()
  readonly #sessions = new Map<string, Held>()
  #group: Group = this.#nextGroup(0)
  #groups = 0
  #count = 0
  /** Nobody uses or ends it; it is renewed as long as it is there, whoever leads meanwhile. */
  #lasting: Held | undefined
  /** Locks that somebody was told to have got. */
  acquired = 0
  /** Sessions that the leader ended. */
  expired = 0

  constructor(options: ClientsOptions) {
    this.#options = options
    const { ledger } = options
    ledger.before.push((command) => this.#beforeApply(command, ledger.model))
    ledger.model.watch({ kind: 'sessions' }, () => expectHolders(ledger.model))
  }

  get names(): string[] {
    return Array.from({ length: users }, (_, at) => `locker ${at + 1}`)
  }

  async use(user: string): Promise<void> {
    const { random } = this.#options
    if (this.#group.operations >= operationsPerGroup) {
      for (const held of this.#group.sessions.values()) held.left = true
      this.#group = this.#nextGroup(++this.#groups)
    }
    const group = this.#group
    const held = group.sessions.get(user)
    const at = anyone(this.#options)
    if (at === undefined) return
    if (held === undefined || held.left) return this.#begin(user, at, group)
    const key = random.pick(group.keys)!
    const value = `l${this.#count++}`
    const choice = random.fraction()
    group.operations++
    if (choice < 0.3) return this.#get(user, at, key)
    if (choice < 0.62) return this.#lock(user, at, { type: 'acquire', key, value, session: held.id })
    if (choice < 0.85) return this.#lock(user, at, { type: 'release', key, value, session: held.id })
    if (choice < 0.88) return this.#write(user, { type: 'put', key, value }, at, 'PUT', `/v1/kv/${key}`, value)
    if (choice < 0.91) return this.#write(user, { type: 'delete', key }, at, 'DELETE', `/v1/kv/${key}`)
    if (choice < 0.95) return this.#end(user, at, held)
    // Its user is gone without a word.
    if (held.ttl && choice < 0.97) held.left = true
  }

  /** Renews what its user still cares for, without end until it is over. */
  async keepUp(): Promise<void> {
    if (this.#lasting === undefined || this.#lasting.left) await this.#beginLasting()
    await Promise.all([...this.#sessions.values()].map((held) => this.#renew(held)))
  }

  get renewEvery(): Millis {
    return renewEvery
  }

  checkHistory(): void {
    const verdict = check(lockModel, this.#history.operations, { stepsMax })
    const why = verdict.kind === 'illegal' ? complaint(verdict) : undefined
    if (why !== undefined) throw new Violation(why)
  }

  #nextGroup(number: number): Group {
    return { keys: [`lock/${number}/a`, `lock/${number}/b`], operations: 0, sessions: new Map() }
  }

  async #begin(user: string, at: string, group: Group): Promise<void> {
    const { agents, random, world } = this.#options
    const limited = random.chance(0.75)
    const delays = random.chance(0.3)
    const behavior = random.chance(0.25) ? ('delete' as const) : ('release' as const)
    const body = {
      Behavior: behavior,
      LockDelay: delays ? '400ms' : '0s',
      ...(limited && { TTL: `${ttl}ms` }),
      // Else it ends with the health of the agent that was asked.
      ...(random.chance(0.7) && { NodeChecks: [] }),
    }
    const asked = world.now
    const answer = await agents.request(at, 'PUT', '/v1/session/create', JSON.stringify(body))
    world.note(`${user} begins a session at ${at}: ${brief(answer)}`)
    if (answer?.status !== 200) {
      if (answer?.status === 500 && /^(Missing|Check) /.test(answer.text)) return
      expectHonest(answer, `a session at ${at}`)
      return
    }
    const { ID: id } = JSON.parse(answer.text) as { ID: string }
    const destroy = { type: 'destroy' as const, session: id, keys: group.keys, behavior, delays }
    const held: Held = { id, ttl: limited, renewed: asked, left: false, destroy }
    this.#sessions.set(id, held)
    group.sessions.set(user, held)
    // It may end without anybody's word: with its node, or when it is not renewed.
    this.#history.called('cluster', destroy, asked)
  }

  async #beginLasting(): Promise<void> {
    const { agents, world } = this.#options
    const at = anyone(this.#options)
    if (at === undefined) return
    const asked = world.now
    const body = JSON.stringify({ TTL: `${ttl}ms`, NodeChecks: [] })
    const answer = await agents.request(at, 'PUT', '/v1/session/create', body)
    if (answer?.status !== 200) return
    const { ID: id } = JSON.parse(answer.text) as { ID: string }
    const destroy = { type: 'destroy' as const, session: id, keys: [], behavior: 'release' as const, delays: false }
    this.#lasting = { id, ttl: true, renewed: asked, left: false, destroy }
    this.#sessions.set(id, this.#lasting)
  }

  async #renew(held: Held): Promise<void> {
    const { agents, world } = this.#options
    if (held.left || !held.ttl) return
    const at = anyone(this.#options)
    if (at === undefined) return
    const asked = world.now
    const answer = await agents.request(at, 'PUT', `/v1/session/renew/${held.id}`, '', renewEvery)
    if (answer?.status === 200) held.renewed = Math.max(held.renewed, asked)
    else if (answer?.status === 404) held.left = true
    else expectHonest(answer, `renewing a session at ${at}`)
  }

  async #end(user: string, at: string, held: Held): Promise<void> {
    held.left = true
    await this.#write(user, held.destroy, at, 'PUT', `/v1/session/destroy/${held.id}`)
  }

  async #lock(user: string, at: string, input: Extract<LockInput, { type: 'acquire' | 'release' }>): Promise<void> {
    const { key, value, session, type } = input
    if (this.#options.random.chance(0.8)) {
      return this.#write(user, input, at, 'PUT', `/v1/kv/${key}?${type}=${session}`, value)
    }
    const verb = type === 'acquire' ? 'lock' : 'unlock'
    const operations = [{ KV: { Verb: verb, Key: key, Value: btoa(value), Session: session } }]
    return this.#write(user, input, at, 'PUT', '/v1/txn', JSON.stringify(operations))
  }

  async #write(
    user: string,
    input: Exclude<LockInput, { type: 'get' }>,
    at: string,
    verb: string,
    path: string,
    body = '',
  ): Promise<void> {
    const { agents, world } = this.#options
    const call = this.#history.called(user, input, world.now)
    const answer = await agents.request(at, verb, path, body)
    const output = outputOf(answer)
    world.note(`${user} ${lockModel.describe(input, output)} at ${at}: ${brief(answer)}`)
    if (output !== undefined) {
      if (input.type === 'acquire' && output.type === 'written' && output.done) this.acquired++
      call.returned(output, world.now)
    } else if (isCertainlyNot(answer)) call.refused()
    else expectHonest(answer, `${input.type} at ${at}`)
  }

  async #get(user: string, at: string, key: string): Promise<void> {
    const { agents, random, world } = this.#options
    const input = { type: 'get' as const, key }
    const call = this.#history.called(user, input, world.now)
    const answer = await agents.request(at, 'GET', `/v1/kv/${key}${random.chance(0.5) ? '?consistent' : ''}`)
    if (answer?.status !== 200 && answer?.status !== 404) {
      call.refused()
      expectHonest(answer, `get ${key} at ${at}`)
      return
    }
    const found = lockFound(answer.status === 200 ? answer.text : '')
    const output: LockOutput = { type: 'read', found, index: indexOf(answer) }
    world.note(`${user} ${lockModel.describe(input, output)} at ${at}`)
    call.returned(output, world.now)
  }

  #beforeApply(command: Command, model: Store): void {
    if (command.type !== 'session.expire' || model.session(command.id).value === undefined) return
    this.expired++
    const held = this.#sessions.get(command.id)
    if (held === undefined) return
    const { world } = this.#options
    const since = world.now - held.renewed
    if (since >= ttl) return
    throw new Violation(
      `session ${command.id} was ended ${Math.round(since)} ms after it was renewed, before its ${ttl} ms were over`,
    )
  }
}

/** Undefined: it is not known what became of it. */
function outputOf(answer: Answered | undefined): LockOutput | undefined {
  if (answer === undefined) return undefined
  const { status, text } = answer
  if (status === 409 && /is already held|due to lock delay|isn't held/.test(text))
    return { type: 'written', done: false }
  if ((status === 409 || status === 500) && text.includes('invalid session')) return { type: 'invalid' }
  if (status !== 200) return undefined
  return { type: 'written', done: text !== 'false' }
}

/** Every key that is held is held by a session that is there. */
export function expectHolders(store: Store): void {
  for (const { key, session } of store.kvUnder('lock/').value) {
    if (session !== undefined && store.session(session).value === undefined) {
      throw new Violation(`${key} is held by session ${session}, which is not there`)
    }
  }
}
