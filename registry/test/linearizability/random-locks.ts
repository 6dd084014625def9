/** Histories of locks that are linearizable because they were made from an order, and ways to make them wrong for certain. */
import { Random } from '../../src/io/random.ts'
import type { LockFound, LockInput, LockOperation, LockOutput } from './locks.ts'

export interface LockShape {
  operations: number
  clients: number
  /** Of the operations, how many have an outcome that their caller never learnt. */
  open: number
}

interface Pair {
  value: string
  modifyIndex: number
  createIndex: number
  session: string
  lockIndex: number
}

const keys = ['x', 'y']

/** Two keys and the sessions that come and go with them. Clients overlap; each operation has its moment. */
export function lockHistory(seed: number, { operations, clients, open }: LockShape): LockOperation[] {
  const random = new Random(seed)
  const world = new SequentialLocks(random)
  const history: LockOperation[] = []
  const effects: { at: number; act: () => void }[] = []
  const free = Array.from({ length: clients }, () => random.fraction())
  for (let count = 0; count < operations; count++) {
    const client = free.indexOf(Math.min(...free))
    const call = free[client]!
    const end = call + random.fraction() * 6
    free[client] = end + random.fraction() * 2
    const isOpen = random.chance(open)
    const late = isOpen && random.chance(0.3) ? 100 * random.fraction() : 0
    const operation: LockOperation = {
      client: `c${client}`,
      input: { type: 'get', key: 'x' },
      call,
      return: isOpen ? undefined : end,
      output: undefined,
    }
    history.push(operation)
    effects.push({
      at: call,
      act: () => {
        operation.input = world.choose(client, `v${count}`)
      },
    })
    const happens = !isOpen || random.chance(0.5)
    effects.push({
      at: call + random.fraction() * (end - call) + late,
      act: () => {
        if (!happens) return
        const output = world.act(operation.input)
        if (!isOpen) operation.output = output
      },
    })
  }
  effects.sort((one, other) => one.at - other.at)
  for (const { act } of effects) act()
  return history
}

/** One client has one session at a time, and another one when it gave it up. */
class SequentialLocks {
  readonly #random: Random
  readonly #pairs = new Map<string, Pair>()
  readonly #delayed = new Set<string>()
  readonly #ended = new Set<string>()
  readonly #lives = new Map<number, number>()
  #index = 10

  constructor(random: Random) {
    this.#random = random
  }

  choose(client: number, value: string): LockInput {
    const random = this.#random
    const key = random.pick(keys)!
    const life = this.#lives.get(client) ?? 1
    const session = `s${client}.${life}`
    const choice = random.fraction()
    if (choice < 0.3) return { type: 'get', key }
    if (choice < 0.65) return { type: 'acquire', key, value, session }
    if (choice < 0.82) return { type: 'release', key, value, session }
    if (choice < 0.87) return { type: 'put', key, value }
    if (choice < 0.9) return { type: 'delete', key }
    if (random.chance(0.7)) this.#lives.set(client, life + 1)
    const behavior = life % 3 === 0 ? ('delete' as const) : ('release' as const)
    return { type: 'destroy', session, keys, behavior, delays: life % 2 === 0 }
  }

  act(input: LockInput): LockOutput {
    if (input.type === 'destroy') return this.#destroy(input)
    const old = this.#pairs.get(input.key)
    switch (input.type) {
      case 'get': {
        const found: LockFound | undefined = old && { ...old }
        return { type: 'read', found }
      }
      case 'acquire': {
        if (this.#delayed.has(input.key)) {
          if (this.#random.chance(0.6)) return written(false)
          this.#delayed.delete(input.key)
        }
        if (this.#ended.has(input.session)) return { type: 'invalid' }
        if (old !== undefined && old.session !== '' && old.session !== input.session) return written(false)
        const taken = (old?.lockIndex ?? 0) + (old?.session === input.session ? 0 : 1)
        this.#put(input, input.session, taken)
        return written(true)
      }
      case 'release':
        if (old?.session !== input.session) return written(false)
        this.#put(input, '', old.lockIndex)
        return written(true)
      case 'put':
        this.#put(input, old?.session ?? '', 0)
        return written(true)
      case 'delete':
        this.#remove(input.key)
        return written(true)
      default:
        throw new Error(`${input.type} is not among what is chosen`)
    }
  }

  #destroy({ session, behavior, delays }: Extract<LockInput, { type: 'destroy' }>): LockOutput {
    if (this.#ended.has(session)) return written(true)
    this.#ended.add(session)
    for (const [key, pair] of [...this.#pairs]) {
      if (pair.session !== session) continue
      if (behavior === 'delete') this.#remove(key)
      else this.#put({ key, value: pair.value }, '', pair.lockIndex)
      if (delays) this.#delayed.add(key)
    }
    return written(true)
  }

  #remove(key: string): void {
    if (this.#pairs.delete(key)) this.#index += this.#random.between(1, 3)
  }

  #put({ key, value }: { key: string; value: string }, session: string, lockIndex: number): void {
    this.#index += this.#random.between(1, 3)
    const createIndex = this.#pairs.get(key)?.createIndex ?? this.#index
    this.#pairs.set(key, { value, modifyIndex: this.#index, createIndex, session, lockIndex })
  }
}

const written = (done: boolean): LockOutput => ({ type: 'written', done })

type Reading = LockOperation & { return: number; input: { type: 'get'; key: string }; output: { found: LockFound } }

const isReading = (operation: LockOperation): operation is Reading =>
  operation.input.type === 'get' && operation.output?.type === 'read' && operation.output.found !== undefined

export type LockMutation = (history: LockOperation[], random: Random) => LockOperation[] | undefined

const replaced = (history: LockOperation[], old: LockOperation, fresh: LockOperation) =>
  history.map((each) => (each === old ? fresh : each))

/** Two reads that found a key held, and unchanged from the first to the second. */
function heldThroughout(history: LockOperation[], random: Random): { before: Reading; after: Reading } | undefined {
  const held = history.filter((each) => isReading(each) && each.output.found.session !== '') as Reading[]
  const fits = held.flatMap((before) =>
    held
      .filter(({ call, input, output: { found } }) => {
        return (
          call > before.return &&
          input.key === before.input.key &&
          found.modifyIndex === before.output.found.modifyIndex
        )
      })
      .map((after) => ({ before, after })),
  )
  return random.pick(fits)
}

export const lockMutations: Record<string, LockMutation> = {
  'a second holder': (history, random) => {
    const { before, after } = heldThroughout(history, random) ?? {}
    if (before === undefined || after === undefined) return undefined
    const width = after.call - before.return
    const thief: LockOperation = {
      client: 'thief',
      input: { type: 'acquire', key: before.input.key, value: 'stolen', session: 'thief' },
      call: before.return + width / 3,
      return: before.return + (2 * width) / 3,
      output: written(true),
    }
    return [...history, thief]
  },
  'a holder that is not the one who got it': (history, random) => {
    const reading = random.pick(history.filter((each) => isReading(each) && each.output.found.session !== '')) as
      | Reading
      | undefined
    if (reading === undefined) return undefined
    const found = { ...reading.output.found, session: 'nobody' }
    return replaced(history, reading, { ...reading, output: { type: 'read', found } })
  },
  'a count that went back': (history, random) => {
    const reading = random.pick(history.filter((each) => isReading(each) && each.output.found.lockIndex > 1)) as
      | Reading
      | undefined
    if (reading === undefined) return undefined
    const found = { ...reading.output.found, lockIndex: reading.output.found.lockIndex + 7 }
    return replaced(history, reading, { ...reading, output: { type: 'read', found } })
  },
  'a lock got with a session that was over': (history, random) => {
    const ended = random.pick(history.filter(({ input, return: end }) => input.type === 'destroy' && end !== undefined))
    if (ended?.input.type !== 'destroy' || ended.return === undefined) return undefined
    const { session } = ended.input
    const late = Math.max(...history.map(({ call, return: end }) => end ?? call)) + 1
    const ghost: LockOperation = {
      client: 'ghost',
      input: { type: 'acquire', key: 'x', value: 'ghost', session },
      call: late,
      return: late + 1,
      output: written(true),
    }
    return [...history, ghost]
  },
  'a lock that was got, and a refusal told': (history, random) => {
    const shown = new Set(history.filter(isReading).map(({ output }) => output.found.value))
    const gots = history.filter(
      ({ input, output }) =>
        input.type === 'acquire' && shown.has(input.value) && output?.type === 'written' && output.done,
    )
    const got = random.pick(gots)
    return got && replaced(history, got, { ...got, output: written(false) })
  },
}
