/**
 * Clients of replicas: each writes and reads at a rhythm of its own, mostly at the leader, sometimes at whoever else runs.
 * What they are told is compared at once with what the log says, and written down for the linearizability checker.
 */
import { Busy, LeadershipLost, NotLeader, Stopped } from '../../src/errors.ts'
import type { Random } from '../../src/io/random.ts'
import type { Index, Millis } from '../../src/model.ts'
import type { Replica } from '../../src/replica/replica.ts'
import { type Command, encodeCommand, type Result } from '../../src/store/command.ts'
import type { Operation } from '../../src/store/operation.ts'
import { complaint } from '../linearizability/check.ts'
import type { Call } from '../linearizability/history.ts'
import {
  checkHistory,
  describe,
  type KvInput,
  type KvOutput,
  KvRecorder,
  type TxnInput,
} from '../linearizability/kv.ts'
import { Violation } from './checkers.ts'
import type { Cluster, Member } from './cluster.ts'
import type { Keys, Reference } from './keys.ts'
import { answerText } from './plain-store.ts'
import type { World } from './world.ts'

export interface Load {
  /** Between two operations of one client, on average: milliseconds to seconds. */
  pause: Millis
  /** So many keys that none gets more operations than the checker can put in order. */
  keys: number
  /** How long values are, at least. */
  valueLength: number
  /** Unknown outcomes are asked for again, under the same number. */
  repeats: boolean
}

type Write = Exclude<KvInput, { type: 'get' }>

/** A client numbers its writes, and knows which it has the answers of. */
class Sender {
  readonly id: string
  #sequence = 0
  readonly #open = new Set<number>()

  constructor(id: string) {
    this.id = id
  }

  begin(): number {
    this.#open.add(++this.#sequence)
    return this.#sequence
  }

  end(sequence: number): void {
    this.#open.delete(sequence)
  }

  get settled(): number {
    let least = this.#sequence + 1
    for (const sequence of this.#open) least = Math.min(least, sequence)
    return least - 1
  }
}

/** How long a client asks again. */
const repeatsFor: Millis = 8_000

export class Clients {
  acknowledged = 0
  refusals = 0
  unknown = 0
  repeated = 0
  quorumReads = 0
  leaseReads = 0
  staleReads = 0
  readonly #world: World
  readonly #cluster: Cluster<Keys>
  readonly #reference: Reference
  readonly #random: Random
  readonly #load: Load
  readonly #failed: (error: Error) => void
  readonly #history = new KvRecorder()
  /** The highest index that any finished write or linearizable read has shown. */
  #shown: Index = 0
  /** Values whose writers were told "certainly not". */
  readonly #refused = new Set<string>()
  /** Values whose writers were told "done": at least at that index. */
  readonly #done = new Map<string, Index>()
  /** By node: how far the last stale read of its present life had come. */
  readonly #seen = new Map<string, { life: number; index: Index }>()
  #active = true
  #count = 0

  constructor(
    {
      world,
      cluster,
      reference,
      random,
    }: { world: World; cluster: Cluster<Keys>; reference: Reference; random: Random },
    load: Load,
    failed: (error: Error) => void,
  ) {
    this.#failed = failed
    this.#world = world
    this.#cluster = cluster
    this.#reference = reference
    this.#random = random
    this.#load = load
  }

  get operations(): number {
    return this.acknowledged + this.refusals + this.unknown + this.quorumReads + this.leaseReads + this.staleReads
  }

  /** @param pause on average between two of its operations; some clients are steady, others come in bursts */
  begin(pause = this.#load.pause, burst = this.#random.chance(0.3) ? this.#random.between(2, 30) : 1): void {
    const sender = new Sender(`s${this.#random.word()}`)
    const step = () => {
      if (!this.#active) return
      for (let each = 0; each < burst; each++) this.#act(sender)
      this.#world.after(this.#random.fraction() * 2 * pause * burst, step)
    }
    this.#world.after(this.#random.fraction() * pause, step)
  }

  end(): void {
    this.#active = false
  }

  /** Mostly the leader; sometimes whoever else runs, for that is where mistakes would be. */
  #target(): (Member<Keys> & { replica: Replica }) | undefined {
    return this.#random.chance(0.8) ? this.#cluster.leader() : this.#random.pick(this.#cluster.running())
  }

  #act(sender: Sender): void {
    const target = this.#target()
    if (target === undefined) return
    const { name } = target
    this.#world.nodeAt(name, this.#world.now, () => {
      const choice = this.#random.fraction()
      if (choice < 0.55) this.#write(name, sender)
      else if (choice < 0.72) this.#quorumRead(name)
      else if (choice < 0.9) this.#leaseRead(name)
      else this.#staleRead(name)
    })
  }

  #key(): string {
    return `k${this.#random.between(0, this.#load.keys - 1)}`
  }

  // --- writes

  #write(name: string, sender: Sender): void {
    const random = this.#random
    const value = `w${++this.#count}`
    const choice = random.fraction()
    const key = this.#key()
    // What somebody may have read there a moment ago.
    const index = () => {
      return random.chance(0.2) ? random.between(0, this.#shown) : (this.#reference.plain.now(key)?.modifyIndex ?? 0)
    }
    const input: Write =
      choice < 0.55
        ? { type: 'put', key, value }
        : choice < 0.7
          ? { type: 'cas', key, value, index: index() }
          : choice < 0.78
            ? { type: 'delete', key }
            : choice < 0.85
              ? { type: 'delete-cas', key, index: Math.max(1, index()) }
              : this.#transaction(value)
    const call = this.#history.called(name, input, this.#world.now)
    const before = this.#shown
    const command = this.#command(input)
    if (!this.#load.repeats || random.chance(0.5)) {
      this.#propose(name, encodeCommand(command), { input, command, call, before, value })
      return
    }
    const sequence = sender.begin()
    const end = this.#world.now + repeatsFor
    const data = () => encodeCommand(command, [sender.id, sequence, Math.min(sender.settled, sequence - 1)])
    const again = (target: string | undefined) => {
      if (this.#world.now >= end || !this.#active) {
        // Given up: whatever is on its way may still come to be, until the number is settled.
        sender.end(sequence)
        return
      }
      if (target === undefined) this.#world.after(random.between(50, 1000), () => again(this.#target()?.name))
      else {
        const retry = () => {
          this.repeated++
          this.#world.after(random.between(20, 800), () => again(this.#target()?.name))
        }
        this.#propose(target, data(), {
          input,
          command,
          call,
          before,
          value,
          retry,
          answered: () => sender.end(sequence),
        })
      }
    }
    again(name)
  }

  #propose(
    name: string,
    data: Uint8Array,
    {
      input,
      command,
      call,
      before,
      value,
      retry,
      answered,
    }: {
      input: Write
      command: Command
      call: Call<KvOutput>
      before: Index
      value: string
      retry?: () => void
      answered?: () => void
    },
  ): void {
    const { replica } = this.#cluster.member(name)
    if (replica === undefined) {
      if (retry !== undefined) retry()
      else call.refused()
      return
    }
    replica.propose(data).then(
      ({ index, result }) => {
        this.#check(() => {
          answered?.()
          if ('error' in (result as Result)) throw new Violation(`a write that is waited for was given up: ${value}`)
          // A copy that came second answers what the first one did.
          const first = retry === undefined ? index : this.#reference.plain.written.get(this.#stored(value))
          if (first !== undefined && first <= before) {
            throw new Violation(
              `${value} took effect at ${first}, though ${before} had been shown before it was asked for`,
            )
          }
          this.#note(() => `${asked(input)} at ${name}: ${answerText(command, result as Result)} at ${index}`)
          this.#acknowledge(input, call, { value, command, result: result as Result, index, first })
        })
      },
      (error) => {
        this.#note(() => `${asked(input)} at ${name}: ${error.name}`)
        if (error instanceof NotLeader || error instanceof Busy) {
          this.refusals++
          if (retry !== undefined) retry()
          else {
            this.#refused.add(value)
            call.refused()
          }
        } else if (error instanceof LeadershipLost || error instanceof Stopped) {
          this.unknown++
          retry?.()
        } else this.#fail(error)
      },
    )
  }

  #acknowledge(
    input: Write,
    call: Call<KvOutput>,
    {
      value,
      command,
      result,
      index,
      first,
    }: { value: string; command: Command; result: Result; index: Index; first: Index | undefined },
  ): void {
    this.acknowledged++
    this.#shown = Math.max(this.#shown, index)
    const done = 'value' in result && result.value
    const writes = 'value' in input || (input.type === 'txn' && input.operations.some((each) => 'value' in each))
    if (done && writes) this.#done.set(value, first ?? index)
    const now = this.#world.now
    if (input.type !== 'txn') {
      call.returned({ type: 'written', done, ...(done && first !== undefined && writes ? { index: first } : {}) }, now)
      return
    }
    if (!done) {
      const failed = ('errors' in result ? (result.errors ?? []) : []).map(({ operation }) => operation)
      call.returned({ type: 'txn', done: false, failed }, now)
      return
    }
    const results = [...('results' in result ? (result.results ?? []) : [])]
    const found = input.operations.map((each) => {
      if (each.type === 'delete' || each.type === 'delete-cas' || each.type === 'check-not-exists') return undefined
      const one = results.shift()
      if (one?.type !== 'kv') throw new Violation(`a result is missing: ${answerText(command, result)}`)
      const { pair } = one
      return {
        value: pair.value === '' ? undefined : named(pair.value),
        modifyIndex: pair.modifyIndex,
        createIndex: pair.createIndex,
      }
    })
    call.returned({ type: 'txn', done: true, results: found }, now)
  }

  /** On two keys that only transactions write. */
  #transaction(value: string): Write {
    const random = this.#random
    const group = random.between(0, 2)
    const keys = [`t${2 * group}`, `t${2 * group + 1}`]
    let written = false
    const operations = Array.from({ length: random.between(1, 4) }, (): TxnInput => {
      const key = random.pick(keys)!
      const index = this.#reference.plain.now(key)?.modifyIndex ?? 0
      switch (random.between(0, written ? 4 : 6)) {
        case 0:
          return { type: 'get', key }
        case 1:
          return { type: 'delete', key }
        case 2:
          // Faces take index 0 as one that never matches.
          return { type: 'delete-cas', key, index: Math.max(1, index) }
        case 3:
          return { type: 'check-index', key, index }
        case 4:
          return { type: 'check-not-exists', key }
        case 5:
          written = true
          return { type: 'cas', key, value, index }
        default:
          written = true
          return { type: 'put', key, value }
      }
    })
    return { type: 'txn', operations }
  }

  #command(input: Write): Command {
    return input.type === 'txn'
      ? { type: 'txn', operations: input.operations.map((each) => this.#operation(each)) }
      : (this.#operation(input) as Extract<Operation, { type: 'kv.set' | 'kv.delete' }>)
  }

  #operation(input: TxnInput): Operation {
    const { key } = input
    const value = () => ('value' in input ? this.#stored(input.value) : '')
    switch (input.type) {
      case 'get':
        return { type: 'kv.get', key }
      case 'put':
        return { type: 'kv.set', key, value: value(), flags: '0' }
      case 'cas':
        return { type: 'kv.set', key, value: value(), flags: '0', cas: input.index }
      case 'delete':
        return { type: 'kv.delete', key }
      case 'delete-cas':
        return { type: 'kv.delete', key, cas: input.index }
      case 'check-index':
        return { type: 'kv.check', key, index: input.index }
      case 'check-not-exists':
        return { type: 'kv.absent', key }
    }
  }

  #stored(value: string): string {
    return value.padEnd(this.#load.valueLength, '.')
  }

  // --- reads

  #quorumRead(name: string): void {
    const { replica, list } = this.#cluster.member(name)
    if (replica === undefined) return
    const before = this.#shown
    const answer = this.#beginRead(name, list)
    replica
      .readIndex()
      .then((index) => replica.waitApplied(index).then(() => index))
      .then(
        (index) => {
          this.#check(() => {
            const { applied } = replica.status
            if (applied < index) throw new Violation(`${name} answers a read before it has applied ${index}`)
            this.#fresh(name, before, applied, 'quorum')
            this.quorumReads++
            answer()
          })
        },
        (error) => {
          if (!(error instanceof NotLeader || error instanceof Stopped)) this.#fail(error)
        },
      )
  }

  #leaseRead(name: string): void {
    const { replica, list } = this.#cluster.member(name)
    const before = this.#shown
    const index = replica?.leaseIndex()
    if (replica === undefined || index === undefined) return
    const answer = this.#beginRead(name, list)
    replica.waitApplied(index).then(
      () => {
        this.#check(() => {
          // It is looked at again when the answer leaves.
          if (replica.leaseIndex() === undefined) return
          this.#fresh(name, before, replica.status.applied, 'lease')
          this.leaseReads++
          answer()
        })
      },
      (error) => {
        if (!(error instanceof Stopped)) this.#fail(error)
      },
    )
  }

  /** @throws Violation when an answer that is true at `index` leaves out what was shown before it was asked for */
  #fresh(name: string, before: Index, index: Index, kind: string): void {
    if (index < before) {
      throw new Violation(`a ${kind} read at ${name} is true at ${index}, though ${before} had been shown before it`)
    }
    this.#shown = Math.max(this.#shown, index)
  }

  /** Whatever the node has: old, perhaps, but a state that was, and never an older one than before. */
  #staleRead(name: string): void {
    const { replica, list } = this.#cluster.member(name)
    if (replica === undefined) return
    this.#check(() => {
      const { index } = list
      const { life } = this.#world.nodes.get(name)!
      const seen = this.#seen.get(name)
      if (seen?.life === life && index < seen.index) {
        throw new Violation(`a stale read at ${name} is true at ${index}, one before it at ${seen.index}`)
      }
      this.#seen.set(name, { life, index })
      this.#lookUp(name, list, this.#key())
      this.staleReads++
    })
  }

  /** Of some key; what the store says of it when the answer leaves is the answer. */
  #beginRead(name: string, machine: Keys): () => void {
    const key = this.#key()
    const call = this.#history.called(name, { type: 'get', key }, this.#world.now)
    return () => {
      const found = this.#lookUp(name, machine, key)
      this.#note(
        () => `get ${key} at ${name}: ${found === undefined ? 'absent' : `${found.value} of ${found.modifyIndex}`}`,
      )
      call.returned({ type: 'read', found }, this.#world.now)
    }
  }

  /** @throws Violation when the store does not say what was true at its index */
  #lookUp(name: string, { store }: Keys, key: string) {
    const { value: pair } = store.kv(key)
    const expected = this.#reference.plain.at(key, store.index)
    if (pair?.value !== expected?.value || pair?.modifyIndex !== expected?.modifyIndex) {
      throw new Violation(
        `${name} says at ${store.index} that ${key} is ${JSON.stringify(pair)}, expected ${JSON.stringify(expected)}`,
      )
    }
    return pair === undefined ? undefined : { value: named(pair.value), modifyIndex: pair.modifyIndex }
  }

  // --- the end

  /**
   * Some order of everything explains what every client was told; what was acknowledged is in the log, and nothing that was
   * refused. Every answer was compared with the log's own order when it came, so that an order is known: the search for one
   * is a second opinion that knows nothing of the log, and now and then it does not come to an end.
   * @returns whether it did. @throws Violation
   */
  finish(): boolean {
    const { written } = this.#reference.plain
    const effects = new Map([...written].map(([value, index]) => [named(value), index]))
    for (const [value, index] of this.#done) {
      if (effects.get(value) !== index) {
        throw new Violation(`${value} was acknowledged at ${index}, and took effect at ${effects.get(value) ?? 'none'}`)
      }
    }
    for (const value of this.#refused) {
      if (effects.has(value)) throw new Violation(`${value} took effect, and was refused as certainly not applied`)
    }
    const verdict = checkHistory(this.#history.operations)
    if (verdict.kind === 'unknown') return false
    const why = complaint(verdict)
    if (why !== undefined) throw new Violation(why)
    return true
  }

  /** Only made when somebody reads it. */
  #note(line: () => string): void {
    if (this.#world.logging) this.#world.note(line())
  }

  #check(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #fail(error: Error): void {
    this.#active = false
    this.#failed(error)
  }
}

/** A value without what makes it long. */
function named(value: string): string {
  const end = value.indexOf('.')
  return end < 0 ? value : value.slice(0, end)
}

/** In words, for the log. */
function asked(input: Write): string {
  return describe(input, undefined).replace(/ -> \?$/, '')
}
