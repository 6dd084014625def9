/**
 * Users of keys and values: single keys, prefixes and transactions, in all freshness modes, at any agent. What they are
 * told goes to the ledger, which knows the order of the log, and single keys also into a history that is judged without it.
 */
import type { Index } from '../../src/model.ts'
import { check, complaint } from '../linearizability/check.ts'
import { type KvInput, KvRecorder, kvModel } from '../linearizability/kv.ts'
import { anyone, brief, type ClientsOptions, expectHonest, indexOf, isCertainlyNot } from './agent-answers.ts'
import { type Found, Violation } from './agent-checkers.ts'
import type { Answered } from './agent-requests.ts'
import type { Life } from './agents.ts'

export const sharedKeys = ['a', 'b', 'c/1', 'c/2']
/** Read together, every shared key stands under exactly one of them. */
const prefixes = ['a', 'b', 'c/']

type Mode = 'stale' | 'default' | 'consistent'

interface Pair {
  Key: string
  Value: string | null
  ModifyIndex: number
  CreateIndex: number
}

/** After a partition or a pause, so much may pass between what was heard and the answer: a tick, and rounding. */
const contactSlack = 150

export class KeyUsers {
  readonly #options: ClientsOptions
  readonly #history = new KvRecorder()
  /** How far the store of an agent has been seen to be: it does not go back in its life. */
  readonly #reached = new WeakMap<Life, Index>()
  #count = 0
  transactions = 0

  constructor(options: ClientsOptions) {
    this.#options = options
  }

  async use(user: string): Promise<void> {
    const { random } = this.#options
    const at = anyone(this.#options)
    if (at === undefined) return
    const choice = random.fraction()
    if (choice < 0.15) return this.#put(user, at, `u/${this.#count}`)
    const key = random.pick(sharedKeys)!
    if (choice < 0.27) return this.#put(user, at, key)
    if (choice < 0.31) return this.#remove(user, at, key, false)
    if (choice < 0.34) return this.#remove(user, at, 'c/', true)
    if (choice < 0.44) return this.#change(user, at)
    if (choice < 0.5) return this.#readTogether(at)
    if (choice < 0.56) return this.#list(at, 'c/')
    const found = await this.#get(user, at, key)
    if (choice < 0.72 && found !== undefined) return this.#put(user, anyone(this.#options) ?? at, key, found.index)
  }

  /** When two believe to lead, what one of them acknowledges must not be unknown to an answer of the other. */
  async useRivals(): Promise<void> {
    const { agents, random } = this.#options
    const rivals = agents.servers().filter((station) => agents.leads(station))
    const newest = agents.leader()
    if (newest === undefined || rivals.length < 2) return
    await this.#put('rival', newest.name, random.pick(sharedKeys)!)
    const reads = rivals.filter(({ name }) => name !== newest.name)
    await Promise.all(reads.map(({ name }) => this.#get(`rival of ${name}`, name, sharedKeys[0]!)))
  }

  /** Whether single keys behaved like registers, whatever the log says. */
  checkHistory(): void {
    const verdict = check(kvModel, this.#history.operations, { stepsMax: 500_000 })
    const why = verdict.kind === 'illegal' ? complaint(verdict) : undefined
    if (why !== undefined) throw new Violation(why)
  }

  async #put(user: string, at: string, key: string, cas?: Index): Promise<void> {
    const { agents, ledger, world } = this.#options
    const value = `v${this.#count++}`
    const before = ledger.shown
    const input: KvInput = cas === undefined ? { type: 'put', key, value } : { type: 'cas', key, value, index: cas }
    const call = this.#history.called(user, input, world.now)
    const answer = await agents.request(at, 'PUT', `/v1/kv/${key}${cas === undefined ? '' : `?cas=${cas}`}`, value)
    world.note(`put ${key}=${value}${cas === undefined ? '' : ` if ${cas}`} at ${at}: ${brief(answer)}`)
    if (answer?.status === 200) {
      const done = JSON.parse(answer.text) as boolean
      ledger.acknowledge(value, before, done)
      call.returned({ type: 'written', done }, world.now)
    } else if (isCertainlyNot(answer)) {
      ledger.refuse(value)
      call.refused()
    } else expectHonest(answer, `put ${key} at ${at}`)
  }

  /** `all`: every key that begins with `key`. */
  async #remove(user: string, at: string, key: string, all: boolean): Promise<void> {
    const { agents, world } = this.#options
    const keys = all ? sharedKeys.filter((each) => each.startsWith(key)) : [key]
    const calls = keys.map((each) => this.#history.called(user, { type: 'delete', key: each }, world.now))
    const answer = await agents.request(at, 'DELETE', `/v1/kv/${key}${all ? '?recurse' : ''}`)
    world.note(`delete ${key}${all ? '...' : ''} at ${at}: ${brief(answer)}`)
    if (answer?.status === 200) for (const call of calls) call.returned({ type: 'written', done: true }, world.now)
    else if (isCertainlyNot(answer)) for (const call of calls) call.refused()
    else expectHonest(answer, `delete ${key} at ${at}`)
  }

  /** A transaction: one or two keys are set, sometimes only if another is as it was, and all are read on the way. */
  async #change(user: string, at: string): Promise<void> {
    const { agents, ledger, random, world } = this.#options
    const [first, second, third] = random.shuffle(sharedKeys) as [string, string, string]
    const condition = random.chance(0.4) ? await this.#get(user, at, third) : undefined
    const keys = random.chance(0.7) ? [first, second] : [first]
    const values = keys.map(() => `v${this.#count++}`)
    const conditions = !condition
      ? []
      : condition.index === 0
        ? [{ KV: { Verb: 'check-not-exists', Key: third } }]
        : [{ KV: { Verb: 'check-index', Key: third, Index: condition.index } }]
    const body = [
      ...prefixes.map((prefix) => ({ KV: { Verb: 'get-tree', Key: prefix } })),
      ...conditions,
      ...keys.map((key, place) => ({ KV: { Verb: 'set', Key: key, Value: btoa(values[place]!) } })),
    ]
    const before = ledger.shown
    const calls = keys.map((key, place) =>
      this.#history.called(user, { type: 'put', key, value: values[place]! }, world.now),
    )
    const answer = await agents.request(at, 'PUT', '/v1/txn', JSON.stringify(body))
    const what = `transaction ${keys.map((key, place) => `${key}=${values[place]}`).join(' ')}`
    world.note(`${what}${condition ? ` if ${third} is at ${condition.index}` : ''} at ${at}: ${brief(answer)}`)
    if (answer?.status === 200 || answer?.status === 409) {
      this.transactions++
      const done = answer.status === 200
      if (!done && condition === undefined) throw new Violation(`${what} was answered ${brief(answer)}`)
      for (const value of values) ledger.acknowledge(value, before, done)
      for (const call of calls) if (done) call.returned({ type: 'written', done }, world.now)
      for (const call of calls) if (!done) call.refused()
      if (done) this.#checkResults(at, JSON.parse(answer.text).Results, keys, values)
    } else if (isCertainlyNot(answer)) {
      for (const value of values) ledger.refuse(value)
      for (const call of calls) call.refused()
    } else expectHonest(answer, `${what} at ${at}`)
  }

  /** What it read is the state right before it, and what it wrote has its index. */
  #checkResults(at: string, results: { KV: Pair }[], keys: string[], values: string[]): void {
    const { ledger } = this.#options
    const index = ledger.indexOf(values[0]!)
    const pairs = results.map(({ KV }) => KV)
    const written = pairs.slice(-keys.length)
    if (written.some(({ Key, ModifyIndex }, place) => Key !== keys[place] || ModifyIndex !== index)) {
      throw new Violation(`a transaction at ${index} answers ${written.map(({ ModifyIndex }) => ModifyIndex)}`)
    }
    const read = new Map(pairs.filter(({ Value }) => Value !== null).map((pair) => [pair.Key, foundIn(pair)]))
    ledger.readTogether(
      `${at} (transaction)`,
      sharedKeys.map((key) => [key, read.get(key)]),
      { from: index - 1, to: index },
    )
  }

  /** Several keys in one transaction that only reads: as they were at one moment. */
  async #readTogether(at: string): Promise<void> {
    const body = prefixes.map((prefix) => ({ KV: { Verb: 'get-tree', Key: prefix } }))
    await this.#ask(at, 'PUT', '/v1/txn', JSON.stringify(body), ({ text }) => {
      const pairs = (JSON.parse(text).Results as { KV: Pair }[]).map(({ KV }) => [KV.Key, foundIn(KV)] as const)
      const found = new Map(pairs)
      return sharedKeys.map((key) => [key, found.get(key)])
    })
  }

  async #list(at: string, prefix: string): Promise<void> {
    await this.#ask(at, 'GET', `/v1/kv/${prefix}?recurse`, '', ({ status, text }) => {
      const pairs = status === 200 ? (JSON.parse(text) as Pair[]) : []
      const found = new Map(pairs.map((pair) => [pair.Key, foundIn(pair)]))
      return sharedKeys.flatMap((key) => (key.startsWith(prefix) ? [[key, found.get(key)]] : []))
    })
  }

  /** Resolves to what a check-and-set needs; undefined when the read failed. */
  async #get(user: string, at: string, key: string): Promise<{ index: Index } | undefined> {
    const { world } = this.#options
    let found: Found | undefined
    const call = this.#history.called(user, { type: 'get', key }, world.now)
    const mode = await this.#ask(at, 'GET', `/v1/kv/${key}`, '', (answer) => {
      const [pair] = answer.status === 200 ? (JSON.parse(answer.text) as Pair[]) : []
      found = pair && foundIn(pair)
      if (pair !== undefined && indexOf(answer) !== pair.ModifyIndex) {
        throw new Violation(`${at} answers ${key} of ${pair.ModifyIndex} with index ${indexOf(answer)}`)
      }
      return [[key, found]]
    })
    if (mode === undefined || mode === 'stale') call.refused()
    else call.returned({ type: 'read', found: found && { value: found.value, modifyIndex: found.index } }, world.now)
    return mode === undefined ? undefined : { index: found?.index ?? 0 }
  }

  /** Reads in some mode; resolves to it when there was an answer, after the ledger has found it right. */
  async #ask(
    at: string,
    verb: string,
    path: string,
    body: string,
    keysIn: (answer: Answered) => readonly (readonly [key: string, found: Found | undefined])[],
  ): Promise<Mode | undefined> {
    const { agents, ledger, random, world } = this.#options
    const mode: Mode = random.pick(['stale', 'default', 'default', 'consistent'] as const)!
    const asked = mode === 'default' ? path : `${path}${path.includes('?') ? '&' : '?'}${mode}`
    const station = agents.station(at)
    const { life } = station
    // One agent's answers do not go back; what is linearizable is as new as all that anybody was shown.
    const reached = (life && this.#reached.get(life)) ?? 0
    const before = mode === 'stale' ? reached : Math.max(reached, ledger.shown)
    const answer = await agents.request(at, verb, asked, body)
    if (answer?.status !== 200 && answer?.status !== 404) {
      world.note(`${verb} ${asked} at ${at}: ${brief(answer)}`)
      expectHonest(answer, `${verb} ${asked} at ${at}`)
      return undefined
    }
    const who = `${at} (${mode})`
    const alike = station.life === life && life !== undefined
    const least = ledger.readTogether(who, keysIn(answer), { from: alike || mode !== 'stale' ? before : 0 })
    if (mode !== 'stale') ledger.show(least)
    if (mode !== 'stale') ledger.answeredFrom(who, answer.storeIndex, before)
    if (alike) this.#reached.set(life, Math.max(this.#reached.get(life) ?? 0, least))
    if (indexOf(answer) > Math.max(1, answer.storeIndex)) {
      throw new Violation(`${who} answers with index ${indexOf(answer)} from a store at ${answer.storeIndex}`)
    }
    if (mode === 'stale') this.#checkContact(at, answer)
    return mode
  }

  /** Nobody has heard from a leader later than it heard from anybody at all. */
  #checkContact(at: string, { headers }: Answered): void {
    const { agents, world } = this.#options
    const station = agents.station(at)
    if (headers.get('X-Consul-Knownleader') !== 'true' || agents.leads(station) || station.life === undefined) return
    const said = Number(headers.get('X-Consul-Lastcontact'))
    const silent = (world.now - station.heardAt) * world.nodes.get(at)!.rate
    if (said < silent - contactSlack) {
      throw new Violation(
        `${at} says that it heard from the leader ${said} ms ago, but it heard nothing for ${silent} ms`,
      )
    }
  }
}

function foundIn({ Value, ModifyIndex }: Pair): Found {
  return { value: Buffer.from(Value ?? '', 'base64').toString(), index: ModifyIndex }
}
