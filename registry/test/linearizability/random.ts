/** Histories that are linearizable because they were made from an order, and ways to make them wrong for certain. */
import { Random } from '../../src/io/random.ts'
import type { KvInput, KvOperation, TxnFound, TxnInput } from './kv.ts'

export interface Shape {
  operations: number
  keys: number
  clients: number
  /** Of the operations, how many have an outcome that their caller never learnt. */
  open: number
  /** Of the operations, how many are transactions. */
  transactions?: number
}

interface Pair {
  value: string
  modifyIndex: number
  createIndex: number
}

/** Clients one after the other in themselves, at the same time among each other; each takes effect at a moment of its own. */
export function linearizableHistory(
  seed: number,
  { operations, keys, clients, open, transactions = 0 }: Shape,
): KvOperation[] {
  const random = new Random(seed)
  const history: KvOperation[] = []
  const effects: { at: number; act: () => void }[] = []
  const free = Array.from({ length: clients }, () => random.fraction())
  const values = new Map<string, Pair>()
  /** What a client may know of a key's index: anything that was true at some time before. */
  const known = new Map<string, number>()
  let index = 10
  let changed = 10
  const store = (key: string, value: string) => {
    const existing = values.get(key)
    index += random.between(1, 3)
    changed = index
    values.set(key, { value, modifyIndex: index, createIndex: existing?.createIndex ?? index })
  }
  const remove = (key: string) => {
    if (!values.delete(key)) return
    index += random.between(1, 3)
    changed = index
  }
  const transact = (parts: readonly TxnInput[]): KvOperation['output'] => {
    const before = new Map(values)
    const at = index + random.between(1, 3)
    const results = parts.map((part) => act(values, part, at))
    const failed = results.flatMap((result, place) => (result === 'failed' ? [place] : []))
    if (failed.length === 0) {
      if (parts.some(({ type }) => type !== 'get' && !type.startsWith('check'))) changed = index = at
      return { type: 'txn', done: true, results: results as (TxnFound | undefined)[] }
    }
    values.clear()
    for (const [key, pair] of before) values.set(key, pair)
    return { type: 'txn', done: false, failed }
  }
  for (let count = 0; count < operations; count++) {
    const client = free.indexOf(Math.min(...free))
    const call = free[client]!
    const end = call + random.fraction() * 10
    free[client] = end + random.fraction() * 2
    const key = `k${random.between(1, keys)}`
    const operation: KvOperation = {
      client: `c${client}`,
      input: { type: 'get', key },
      call,
      return: undefined,
      output: undefined,
    }
    const isOpen = random.chance(open)
    const at = call + random.fraction() * (end - call) + (isOpen && random.chance(0.3) ? 200 * random.fraction() : 0)
    history.push(operation)
    const happens = !isOpen || random.chance(0.5)
    const choice = random.fraction()
    effects.push({
      at: call,
      act: () => {
        const expected = random.chance(0.1) ? 0 : (known.get(key) ?? 0)
        const value = `v${count}`
        if (transactions > 0 && random.chance(transactions)) {
          operation.input = { type: 'txn', operations: parts(random, { keys, value, known }) }
          return
        }
        operation.input =
          choice < 0.45
            ? { type: 'get', key }
            : choice < 0.7
              ? { type: 'put', key, value }
              : choice < 0.85
                ? { type: 'cas', key, value, index: expected }
                : choice < 0.95
                  ? { type: 'delete', key }
                  : { type: 'delete-cas', key, index: expected }
      },
    })
    effects.push({
      at,
      act: () => {
        if (!happens) return
        const { input } = operation
        const existing = values.get(key)
        let done = true
        switch (input.type) {
          case 'get':
            if (existing !== undefined) known.set(key, existing.modifyIndex)
            if (!isOpen) operation.output = { type: 'read', found: existing, index: existing?.modifyIndex ?? changed }
            break
          case 'put':
            store(key, input.value)
            break
          case 'cas':
            done = input.index === (existing?.modifyIndex ?? 0)
            if (done) store(key, input.value)
            break
          case 'delete':
            remove(key)
            break
          case 'delete-cas':
            done = input.index !== 0 && (existing === undefined || existing.modifyIndex === input.index)
            if (done) remove(key)
            break
          case 'txn': {
            const output = transact(input.operations)
            if (!isOpen) operation.output = output
            break
          }
          default:
            input satisfies never
        }
        if (isOpen) return
        if (input.type !== 'get' && input.type !== 'txn') operation.output = { type: 'written', done }
        operation.return = end
      },
    })
  }
  for (const { act } of effects.sort((one, other) => one.at - other.at)) act()
  return history
}

/** One operation of a transaction, as the store does it. */
function act(values: Map<string, Pair>, part: TxnInput, at: number): TxnFound | undefined | 'failed' {
  const { key } = part
  const existing = values.get(key)
  const told = (pair: Pair) => ({ ...pair, value: undefined })
  switch (part.type) {
    case 'get':
      return existing ?? 'failed'
    case 'check-index':
      return existing?.modifyIndex === part.index ? told(existing) : 'failed'
    case 'check-not-exists':
      return existing === undefined ? undefined : 'failed'
    case 'put':
    case 'cas': {
      if (part.type === 'cas' && part.index !== (existing?.modifyIndex ?? 0)) return 'failed'
      const pair = { value: part.value, modifyIndex: at, createIndex: existing?.createIndex ?? at }
      values.set(key, pair)
      return told(pair)
    }
    case 'delete':
    case 'delete-cas':
      if (part.type === 'delete-cas' && (existing?.modifyIndex ?? part.index) !== part.index) return 'failed'
      values.delete(key)
      return undefined
  }
}

/** Some operations of a transaction; half of them only read. */
function parts(random: Random, given: { keys: number; value: string; known: Map<string, number> }): TxnInput[] {
  const { keys, value, known } = given
  const chosen = Array.from({ length: random.between(2, 4) }, () => `k${random.between(1, keys)}`)
  const onlyReads = random.chance(0.3)
  return chosen.map((key, at): TxnInput => {
    const index = known.get(key) ?? 0
    const own = `${value}.${at}`
    const choice = onlyReads ? 0 : random.between(0, 9)
    if (choice < 2) return { type: 'get', key }
    if (choice < 6) return { type: 'put', key, value: own }
    if (choice === 6) return { type: 'cas', key, value: own, index }
    if (choice === 7) return { type: 'delete', key }
    if (choice === 8)
      return random.chance(0.5) ? { type: 'delete-cas', key, index } : { type: 'check-index', key, index }
    return { type: 'check-not-exists', key }
  })
}

/** Makes a history wrong in one place; undefined: it has no place for that. */
export type Mutation = (history: readonly KvOperation[], random: Random) => KvOperation[] | undefined

type Reading = KvOperation & {
  return: number
  input: Extract<KvInput, { type: 'get' }>
  output: { type: 'read'; found: { value: string; modifyIndex: number } }
}

const isReading = (operation: KvOperation): operation is Reading =>
  operation.return !== undefined && operation.output?.type === 'read' && operation.output.found !== undefined

function replaced(history: readonly KvOperation[], one: KvOperation, by: KvOperation): KvOperation[] {
  return history.map((operation) => (operation === one ? by : operation))
}

function pairs(history: readonly KvOperation[], fits: (one: Reading, other: Reading) => boolean): [Reading, Reading][] {
  const readings = history.filter(isReading)
  return readings.flatMap((one) =>
    readings
      .filter((other) => one !== other && one.input.key === other.input.key && fits(one, other))
      .map((other): [Reading, Reading] => [one, other]),
  )
}

/** Of those reads that found the same key one certainly after the other: with the same index, or a later one. */
const successive = (history: readonly KvOperation[], same: boolean) =>
  pairs(history, (one, other) => {
    const [before, after] = [one.output.found.modifyIndex, other.output.found.modifyIndex]
    return one.return < other.call && (same ? before === after : before < after)
  })

/** Of histories with transactions. */
export const txnMutations: Record<string, Mutation> = {
  /** Both parts were acknowledged, and of one there is nothing. */
  'half a transaction': (history, random) => {
    const [before, after] = random.pick(successive(history, true)) ?? []
    if (before === undefined || after === undefined) return undefined
    const width = after.call - before.return
    const fresh = 'half'
    const half: KvOperation = {
      client: 'half',
      input: {
        type: 'txn',
        operations: [
          { type: 'put', key: fresh, value: 'half.0' },
          { type: 'put', key: before.input.key, value: 'half.1' },
        ],
      },
      call: before.return + width / 4,
      return: undefined,
      output: undefined,
    }
    const seen: KvOperation = {
      client: 'half',
      input: { type: 'get', key: fresh },
      call: before.return + width / 2,
      return: before.return + (3 * width) / 4,
      output: { type: 'read', found: { value: 'half.0', modifyIndex: before.output.found.modifyIndex + 1 } },
    }
    return [...history, half, seen]
  },
  /** It failed, and somebody reads what it wrote. */
  'a failed transaction that took effect': (history, random) => {
    const found = new Set(history.filter(isReading).map(({ output }) => output.found.value))
    const fits = history.filter(
      ({ input, output }) =>
        input.type === 'txn' &&
        output?.type === 'txn' &&
        output.done &&
        input.operations.some((part) => 'value' in part && found.has(part.value)),
    )
    const one = random.pick(fits)
    return one && replaced(history, one, { ...one, output: { type: 'txn', done: false, failed: [0] } })
  },
  /** Of two keys, one as it was before the other's present value was there. */
  'a transaction that reads two moments': (history, random) => {
    const [old, fresh] = random.pick(successive(history, false)) ?? []
    if (old === undefined || fresh === undefined) return undefined
    const other = { value: 'skew', modifyIndex: fresh.output.found.modifyIndex + 1 }
    const input: KvInput = { type: 'put', key: 'skew', value: 'skew' }
    const after = fresh.return
    const write: KvOperation = { client: 'skew', input, call: after + 0.01, return: after + 0.02, output: undefined }
    write.output = { type: 'written', done: true, index: other.modifyIndex }
    const both: KvOperation = {
      client: 'skew',
      input: {
        type: 'txn',
        operations: [
          { type: 'get', key: 'skew' },
          { type: 'get', key: old.input.key },
        ],
      },
      call: old.call,
      return: after + 100,
      output: { type: 'txn', done: true, results: [other, old.output.found] },
    }
    return [...history, write, both]
  },
}

export const mutations: Record<string, Mutation> = {
  /** The later of two reads finds what the earlier one did, though something newer had been read between them. */
  'a stale read': (history, random) => {
    const fits = pairs(history, (old, fresh) => old.output.found.modifyIndex < fresh.output.found.modifyIndex)
    const [old, fresh] = random.pick(fits) ?? []
    if (old === undefined || fresh === undefined) return undefined
    const late = { ...old, client: 'late', call: fresh.return + 0.01, return: fresh.return + 0.02 }
    return [...history, late]
  },
  /** A read had returned before the write of what it found was called. */
  'a read from the future': (history, random) => {
    const readings = history.filter(isReading)
    const fits = history.flatMap((write) => {
      const { input } = write
      if (!('value' in input)) return []
      const reading = readings.find(
        ({ output, input: { key } }) => key === input.key && output.found.value === input.value,
      )
      return reading === undefined ? [] : [{ write, reading }]
    })
    const chosen = random.pick(fits)
    if (chosen === undefined) return undefined
    const { write, reading } = chosen
    return [...history, { ...reading, client: 'early', call: write.call - 0.02, return: write.call - 0.01 }]
  },
  /** A write is acknowledged, and what was there before is still there, unchanged. */
  'a lost update': (history, random) => {
    const [before, after] = random.pick(successive(history, true)) ?? []
    if (before === undefined || after === undefined) return undefined
    const width = after.call - before.return
    const lost: KvOperation = {
      client: 'lost',
      input: { type: 'put', key: before.input.key, value: 'lost' },
      call: before.return + width / 3,
      return: before.return + (2 * width) / 3,
      output: { type: 'written', done: true },
    }
    return [...history, lost]
  },
  /** The caller was told that it certainly did not happen. */
  'a refused write that took effect': (history, random) => {
    const found = new Set(history.filter(isReading).map(({ output }) => output.found.value))
    const write = random.pick(history.filter(({ input }) => 'value' in input && found.has(input.value)))
    return write && history.filter((operation) => operation !== write)
  },
  /** What a later write had replaced is back, at an index of its own. */
  'a write applied twice': (history, random) => {
    const [old, fresh] = random.pick(successive(history, false)) ?? []
    if (old === undefined || fresh === undefined) return undefined
    const found = { ...old.output.found, modifyIndex: fresh.output.found.modifyIndex + 1 }
    const again: KvOperation = {
      client: 'twice',
      input: fresh.input,
      call: fresh.return + 0.01,
      return: fresh.return + 0.02,
      output: { type: 'read', found },
    }
    return [...history, again]
  },
  /** Two check-and-sets on the same index, and both are told that they won. */
  'two winners': (history, random) => {
    const wins = history.filter(
      ({ input, output }) => input.type === 'cas' && input.index > 0 && output?.type === 'written' && output.done,
    )
    const win = random.pick(wins)
    if (win?.input.type !== 'cas') return undefined
    return [...history, { ...win, client: 'second', input: { ...win.input, value: 'second' } }]
  },
  'a winner that was told it lost': (history, random) => {
    const found = new Set(history.filter(isReading).map(({ output }) => output.found.value))
    const wins = history.filter(
      ({ input, output }) =>
        input.type === 'cas' && found.has(input.value) && output?.type === 'written' && output.done,
    )
    const win = random.pick(wins)
    return win && replaced(history, win, { ...win, output: { type: 'written', done: false } })
  },
  'an index that goes back': (history, random) => {
    const [before, after] = random.pick(successive(history, true)) ?? []
    if (before === undefined || after === undefined) return undefined
    const found = { ...after.output.found, modifyIndex: before.output.found.modifyIndex - 1 }
    return replaced(history, after, { ...after, output: { type: 'read', found } })
  },
  'a value out of nowhere': (history, random) => {
    const reading = random.pick(history.filter(isReading))
    if (reading === undefined) return undefined
    const found = { ...reading.output.found, value: 'nowhere' }
    return replaced(history, reading, { ...reading, output: { type: 'read', found } })
  },
  'a key that is gone without a deletion': (history, random) => {
    const [before, after] = random.pick(successive(history, true)) ?? []
    if (before === undefined || after === undefined) return undefined
    const width = after.call - before.return
    const gone: KvOperation = {
      client: 'blind',
      input: { type: 'get', key: before.input.key },
      call: before.return + width / 3,
      return: before.return + (2 * width) / 3,
      output: { type: 'read', found: undefined },
    }
    return [...history, gone]
  },
}
