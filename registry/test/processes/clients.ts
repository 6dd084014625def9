/** Programs that use keys of real agents over HTTP and write down, for the checker, what they asked and were told. */
import { Agent, request as send } from 'node:http'
import { Random } from '../../src/io/random.ts'
import type { Found, KvInput, KvOutput, KvRecorder, TxnInput } from '../linearizability/kv.ts'
import type { Host } from './cluster.ts'

/** Operations a key and its twin take before others take their place: so that the checker can decide. */
const operationsPerKey = 120
const keysInUse = 5

/** Every key has one beside it that transactions use as well: what they do to both is one act. */
const twinOf = (key: string) => `${key}/twin`

export type Answer =
  | { kind: 'answer'; status: number; text: string; index: number }
  /** No connection could be made: the request never left. */
  | { kind: 'never'; reason: string }
  /** It left, and nothing came back. */
  | { kind: 'silence'; reason: string }

export interface Counts {
  reads: number
  written: number
  refused: number
  open: number
  /** What answers of writes that are open or refused said. */
  reasons: Map<string, number>
}

/** The keys in use now, and all that were. */
export class Keys {
  readonly all: string[] = []
  readonly #current: { key: string; operations: number }[] = []
  readonly #indexes = new Map<string, number>()

  constructor() {
    for (let at = 0; at < keysInUse; at++) this.#renew(at)
  }

  get inUse(): string[] {
    return this.#current.map(({ key }) => key)
  }

  use(random: Random): string {
    const at = random.between(0, keysInUse - 1)
    const current = this.#current[at]!
    if (++current.operations >= operationsPerKey) this.#renew(at)
    return current.key
  }

  /** The index that somebody read of it last; 0: none. */
  indexOf(key: string): number {
    return this.#indexes.get(key) ?? 0
  }

  learn(key: string, index: number): void {
    this.#indexes.set(key, index)
  }

  #renew(at: number): void {
    const key = `key${this.all.length}`
    this.all.push(key, twinOf(key))
    this.#current[at] = { key, operations: 0 }
  }
}

type Call = ReturnType<KvRecorder['called']>

/** Of what clients do, how many are transactions. */
const transactions = 0.15

export interface ClientOptions {
  name: string
  host: Host
  keys: Keys
  recorder: KvRecorder
  counts: Counts
  /** How long it waits for an answer, in milliseconds. */
  patience: number
  /** Of its operations, how many are reads. */
  reads: number
  seed: number
}

export class Client {
  readonly #options: ClientOptions
  readonly #random: Random
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  #count = 0

  constructor(options: ClientOptions) {
    this.#options = options
    this.#random = new Random(options.seed)
  }

  /** One operation after the other until `ended`. @throws when an answer is none that a write or read may have */
  async run(ended: () => boolean): Promise<void> {
    const random = this.#random
    while (!ended()) {
      await this.once()
      await new Promise((next) => setTimeout(next, random.between(1, 20)))
    }
    this.#agent.destroy()
  }

  close(): void {
    this.#agent.destroy()
  }

  async once(): Promise<void> {
    const { keys, name, reads } = this.#options
    const random = this.#random
    const used = keys.use(random)
    if (random.chance(transactions)) return this.#transact(used, random.chance(reads))
    const key = random.chance(0.25) ? twinOf(used) : used
    if (random.chance(reads)) {
      await this.read(key, random.chance(0.5))
      return
    }
    const choice = random.fraction()
    const value = `${name}.${this.#count++}`
    const index = random.chance(0.1) ? 0 : keys.indexOf(key)
    if (choice < 0.5) return this.#write({ type: 'put', key, value })
    if (choice < 0.85) return this.#write({ type: 'cas', key, value, index })
    return this.#write(choice < 0.95 ? { type: 'delete', key } : { type: 'delete-cas', key, index })
  }

  async read(key: string, consistent: boolean): Promise<boolean> {
    const { recorder, name, keys, counts } = this.#options
    const call = recorder.called(`${name}${consistent ? '!' : ''}`, { type: 'get', key }, performance.now())
    const answer = await this.#ask('GET', `/v1/kv/${key}${consistent ? '?consistent' : ''}`)
    const now = performance.now()
    if (answer.kind !== 'answer' || (answer.status !== 200 && answer.status !== 404)) {
      // A read without an answer says nothing.
      call.refused()
      if (answer.kind === 'answer') this.#expectNamed('GET', answer)
      return false
    }
    counts.reads++
    const { status, text, index } = answer
    if (status === 404) {
      call.returned({ type: 'read', found: undefined, index }, now)
      return true
    }
    const [pair] = JSON.parse(text) as { Value: string; ModifyIndex: number; CreateIndex: number }[]
    if (pair === undefined || pair.ModifyIndex !== index) throw new Error(`GET ${key}: index ${index}, body ${text}`)
    const { ModifyIndex: modifyIndex, CreateIndex: createIndex, Value } = pair
    keys.learn(key, modifyIndex)
    const value = Buffer.from(Value, 'base64').toString()
    call.returned({ type: 'read', found: { value, modifyIndex, createIndex }, index }, now)
    return true
  }

  put(key: string): Promise<void> {
    return this.#write({ type: 'put', key, value: `${this.#options.name}.${this.#count++}` })
  }

  /** Both keys at once; `reads`: only to look at them. */
  async #transact(key: string, reads: boolean): Promise<void> {
    const { recorder, name, counts, keys } = this.#options
    const random = this.#random
    const pair = random.shuffle([key, twinOf(key)])
    const operations = pair.flatMap((each) => (reads ? [{ type: 'get' as const, key: each }] : this.#parts(each)))
    const call = recorder.called(name, { type: 'txn', operations }, performance.now())
    const answer = await this.#ask('PUT', '/v1/txn', JSON.stringify(operations.map(txnShape)))
    const now = performance.now()
    if (answer.kind !== 'answer' || (answer.status !== 200 && answer.status !== 409)) {
      if (!reads) return this.#unwritten(call, answer)
      // What only looks and is not answered says nothing.
      call.refused()
      if (answer.kind === 'answer') this.#expectNamed('txn', answer)
      return
    }
    const output = txnOutput(operations, answer)
    if (output.done) {
      for (const [at, { key: each }] of operations.entries()) {
        const found = output.results[at]
        if (found !== undefined) keys.learn(each, found.modifyIndex)
      }
    }
    call.returned(output, now)
    if (reads) counts.reads++
    else counts.written++
  }

  /** What a transaction does to one key: one change, and perhaps a condition or a look around it. */
  #parts(key: string): TxnInput[] {
    const random = this.#random
    const index = this.#options.keys.indexOf(key)
    const value = `${this.#options.name}.${this.#count++}`
    const choice = random.fraction()
    const change: TxnInput =
      choice < 0.55
        ? { type: 'put', key, value }
        : choice < 0.8
          ? { type: 'cas', key, value, index }
          : choice < 0.9
            ? { type: 'delete', key }
            : { type: 'delete-cas', key, index }
    const around = random.fraction()
    if (around < 0.1) return [{ type: 'check-index', key, index }, change]
    if (around < 0.15) return [{ type: 'check-not-exists', key }, change]
    if (around < 0.25) return [change, { type: 'get', key }]
    return [change]
  }

  async #write(input: Exclude<KvInput, { type: 'get' | 'txn' }>): Promise<void> {
    const { recorder, name, counts } = this.#options
    const call: Call = recorder.called(name, input, performance.now())
    const condition = 'index' in input ? `?cas=${input.index}` : ''
    const path = `/v1/kv/${input.key}${condition}`
    const answer = 'value' in input ? await this.#ask('PUT', path, input.value) : await this.#ask('DELETE', path)
    const now = performance.now()
    if (answer.kind === 'answer' && answer.status === 200) {
      if (answer.text !== 'true' && answer.text !== 'false') throw new Error(`${path}: ${answer.text}`)
      call.returned({ type: 'written', done: answer.text === 'true' }, now)
      counts.written++
      return
    }
    this.#unwritten(call, answer)
  }

  /** A write without the answer it asked for. */
  #unwritten(call: Call, answer: Answer): void {
    const { counts } = this.#options
    const reason = answer.kind === 'answer' ? `${answer.status} ${answer.text}` : `${answer.kind}: ${answer.reason}`
    const short = reason.replaceAll(/\d+(\.\d+)+(:\d+)?|\d{4,}/g, '…')
    counts.reasons.set(short, (counts.reasons.get(short) ?? 0) + 1)
    if (answer.kind === 'answer') this.#expectNamed('write', answer)
    if (certainlyNot(answer)) {
      counts.refused++
      call.refused()
    } else counts.open++
  }

  #expectNamed(what: string, answer: Extract<Answer, { kind: 'answer' }>): void {
    expectNamed(what, this.#options.host, answer)
  }

  #ask(method: string, path: string, body?: string): Promise<Answer> {
    const { host, patience } = this.#options
    return ask({ host, patience, agent: this.#agent }, method, path, body)
  }
}

/** A failure says what it is. @throws Error when it does not */
export function expectNamed(what: string, host: Host, { status, text }: { status: number; text: string }): void {
  if (status === 503 || (status === 500 && named.some((pattern) => pattern.test(text)))) return
  throw new Error(`${what} at ${host.name} was answered ${status} ${text}`)
}

export function ask(
  { host, agent, patience }: { host: Host; agent: Agent; patience: number },
  method: string,
  path: string,
  body?: string,
): Promise<Answer> {
  return new Promise((resolve) => {
    const asked = send({ host: host.address, port: 8500, method, path, agent })
    const timer = setTimeout(() => asked.destroy(new Error('timeout')), patience)
    const end = (answer: Answer) => {
      clearTimeout(timer)
      resolve(answer)
    }
    asked.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', ({ message }) => end({ kind: 'silence', reason: message }))
      response.on('end', () => {
        const index = Number(response.headers['x-consul-index'])
        end({ kind: 'answer', status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString(), index })
      })
    })
    asked.on('error', (error: NodeJS.ErrnoException) => {
      const never = error.code === 'ECONNREFUSED' && !asked.reusedSocket
      end({ kind: never ? 'never' : 'silence', reason: error.code ?? error.message })
    })
    asked.end(body)
  })
}

const verbs: Record<TxnInput['type'], string> = {
  get: 'get',
  put: 'set',
  cas: 'cas',
  delete: 'delete',
  'delete-cas': 'delete-cas',
  'check-index': 'check-index',
  'check-not-exists': 'check-not-exists',
}

function txnShape(part: TxnInput): unknown {
  const value = 'value' in part ? { Value: Buffer.from(part.value).toString('base64') } : {}
  const index = 'index' in part ? { Index: part.index } : {}
  return { KV: { Verb: verbs[part.type], Key: part.key, ...value, ...index } }
}

type TxnOutput = Extract<KvOutput, { type: 'txn' }>

/** @throws when the answer is none that the transaction may have */
function txnOutput(operations: readonly TxnInput[], { text }: { text: string }): TxnOutput {
  const { Results, Errors } = JSON.parse(text) as {
    Results: { KV: { Key: string; Value: string | null; ModifyIndex: number; CreateIndex: number } }[] | null
    Errors: { OpIndex: number; What: string }[] | null
  }
  if (Errors !== null) {
    if (Results !== null || Errors.length === 0) throw new Error(`txn: ${text}`)
    return { type: 'txn', done: false, failed: Errors.map(({ OpIndex }) => OpIndex) }
  }
  const left = [...(Results ?? [])]
  const results = operations.map(({ type, key }) => {
    // These answer nothing.
    if (type === 'delete' || type === 'delete-cas' || type === 'check-not-exists') return undefined
    const { KV: pair } = left.shift() ?? { KV: undefined }
    if (pair?.Key !== key) throw new Error(`txn: expected a result for ${type} ${key}: ${text}`)
    const value = pair.Value === null ? undefined : Buffer.from(pair.Value, 'base64').toString()
    const indexes: Omit<Found, 'value'> = { modifyIndex: pair.ModifyIndex, createIndex: pair.CreateIndex }
    return { ...indexes, value: type === 'get' ? value : undefined }
  })
  if (left.length > 0) throw new Error(`txn: more results than asked for: ${text}`)
  return { type: 'txn', done: true, results }
}

/** "No cluster leader" promises that nothing was proposed; "try again later" (too many writes wait), too. */
export function certainlyNot(answer: Answer): boolean {
  if (answer.kind !== 'answer') return answer.kind === 'never'
  return (
    (answer.status === 500 && answer.text === 'No cluster leader') ||
    (answer.status === 503 && answer.text.endsWith('try again later'))
  )
}

const named = [
  /^No cluster leader$/,
  /may or may not have happened/,
  /outcome (of this write )?is unknown/,
  /could not reach \d+ within/,
]
