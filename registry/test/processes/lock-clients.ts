/**
 * Programs that take locks at real agents and write down, for the checker, what they asked and were told. Each keeps a
 * session of its own up; that it is gone before its time since it was last renewed is over is an error at once.
 */
import { Agent } from 'node:http'
import { Random } from '../../src/io/random.ts'
import { type LockInput, type LockOutput, type LockRecorder, lockFound } from '../linearizability/locks.ts'
import { type Answer, ask, certainlyNot, expectNamed } from './clients.ts'
import type { Host } from './cluster.ts'

/** Operations on a pair of keys before another one takes its place: so that the checker can decide. */
const operationsPerGroup = 45
/** In milliseconds; the agents must allow it (`session_ttl_min`). */
export const lockTtl = 3_000
const renewEvery = 700

/** The keys in use now. */
export class LockGroups {
  #number = 0
  #operations = 0

  use(): number {
    if (++this.#operations % operationsPerGroup === 0) this.#number++
    return this.#number
  }
}

export interface LockCounts {
  acquired: number
  refused: number
  sessions: number
  /** Sessions that were gone when they had not been renewed in time. */
  late: number
}

export interface LockClientOptions {
  name: string
  host: Host
  groups: LockGroups
  recorder: LockRecorder
  counts: LockCounts
  /** How long it waits for an answer, in milliseconds. */
  patience: number
  seed: number
}

interface Session {
  id: string
  group: number
  renewed: number
  tried: number
  destroy: Extract<LockInput, { type: 'destroy' }>
}

const keysOf = (group: number) => [`lock/${group}/a`, `lock/${group}/b`]

export class LockClient {
  readonly #options: LockClientOptions
  readonly #random: Random
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  #session: Session | undefined
  #count = 0

  constructor(options: LockClientOptions) {
    this.#options = options
    this.#random = new Random(options.seed)
  }

  /** One operation after the other until `ended`. @throws when an answer is none that it may have */
  async run(ended: () => boolean): Promise<void> {
    while (!ended()) {
      await this.#once()
      await new Promise((next) => setTimeout(next, this.#random.between(10, 60)))
    }
    this.#agent.destroy()
  }

  async #once(): Promise<void> {
    const random = this.#random
    const group = this.#options.groups.use()
    if (this.#session?.group !== group) this.#session = undefined
    if (this.#session === undefined) return this.#begin(group)
    await this.#renew(this.#session)
    const { id, destroy } = this.#session
    const key = random.pick(keysOf(group))!
    const value = `${this.#options.name}.${this.#count++}`
    const choice = random.fraction()
    if (choice < 0.3) return this.#get(key)
    if (choice < 0.6) return this.#write({ type: 'acquire', key, value, session: id }, `/v1/kv/${key}?acquire=${id}`)
    if (choice < 0.88) return this.#write({ type: 'release', key, value, session: id }, `/v1/kv/${key}?release=${id}`)
    if (choice < 0.91) return this.#write({ type: 'put', key, value }, `/v1/kv/${key}`)
    if (choice < 0.94) return this.#write({ type: 'delete', key }, `/v1/kv/${key}`)
    if (choice < 0.97) {
      this.#session = undefined
      return this.#write(destroy, `/v1/session/destroy/${id}`)
    }
  }

  async #begin(group: number): Promise<void> {
    const { recorder, counts } = this.#options
    const random = this.#random
    const behavior = random.chance(0.3) ? ('delete' as const) : ('release' as const)
    const delays = random.chance(0.3)
    const body = { TTL: `${lockTtl}ms`, LockDelay: delays ? '300ms' : '0s', Behavior: behavior, NodeChecks: [] }
    const asked = performance.now()
    const answer = await this.#ask('PUT', '/v1/session/create', JSON.stringify(body))
    if (answer.kind !== 'answer' || answer.status !== 200) {
      // A server that has just been made anew does not know its node yet.
      if (answer.kind === 'answer' && !/Missing node registration/.test(answer.text)) this.#expectNamed(answer)
      return
    }
    const { ID: id } = JSON.parse(answer.text) as { ID: string }
    counts.sessions++
    const destroy = { type: 'destroy' as const, session: id, keys: keysOf(group), behavior, delays }
    this.#session = { id, group, renewed: asked, tried: asked, destroy }
    // It ends by itself when it is not renewed.
    recorder.called('leader', destroy, asked)
  }

  async #renew(session: Session): Promise<void> {
    const asked = performance.now()
    if (asked - session.tried < renewEvery) return
    session.tried = asked
    const answer = await this.#ask('PUT', `/v1/session/renew/${session.id}`)
    if (answer.kind !== 'answer') return
    if (answer.status === 200) session.renewed = asked
    else if (answer.status === 404) this.#gone(session)
    else this.#expectNamed(answer)
  }

  /** @throws when it should be there still */
  #gone(session: Session): void {
    const since = performance.now() - session.renewed
    if (since < lockTtl) throw new Error(`session ${session.id} is gone ${Math.round(since)} ms after it was renewed`)
    this.#options.counts.late++
    if (this.#session === session) this.#session = undefined
  }

  async #write(input: Exclude<LockInput, { type: 'get' }>, path: string): Promise<void> {
    const { recorder, name, counts } = this.#options
    const session = this.#session
    const call = recorder.called(name, input, performance.now())
    const answer = await this.#ask(
      input.type === 'delete' ? 'DELETE' : 'PUT',
      path,
      'value' in input ? input.value : '',
    )
    const output = outputOf(answer)
    if (output !== undefined) {
      call.returned(output, performance.now())
      if (output.type === 'invalid' && session !== undefined) this.#gone(session)
      if (input.type === 'acquire' && output.type === 'written') counts[output.done ? 'acquired' : 'refused']++
      return
    }
    if (certainlyNot(answer)) call.refused()
    if (answer.kind === 'answer') this.#expectNamed(answer)
  }

  async #get(key: string): Promise<void> {
    const { recorder, name } = this.#options
    const call = recorder.called(name, { type: 'get', key }, performance.now())
    const answer = await this.#ask('GET', `/v1/kv/${key}${this.#random.chance(0.5) ? '?consistent' : ''}`)
    if (answer.kind !== 'answer' || (answer.status !== 200 && answer.status !== 404)) {
      call.refused()
      if (answer.kind === 'answer') this.#expectNamed(answer)
      return
    }
    const found = lockFound(answer.status === 200 ? answer.text : '')
    call.returned({ type: 'read', found, index: answer.index }, performance.now())
  }

  #expectNamed(answer: Extract<Answer, { kind: 'answer' }>): void {
    expectNamed('a lock', this.#options.host, answer)
  }

  #ask(method: string, path: string, body?: string): Promise<Answer> {
    return ask({ host: this.#options.host, agent: this.#agent, patience: this.#options.patience }, method, path, body)
  }
}

/** Undefined: it is not known what became of it. */
function outputOf(answer: Answer): LockOutput | undefined {
  if (answer.kind !== 'answer') return undefined
  if (answer.status === 200) return { type: 'written', done: answer.text !== 'false' }
  return answer.status === 500 && answer.text.startsWith('invalid session') ? { type: 'invalid' } : undefined
}
