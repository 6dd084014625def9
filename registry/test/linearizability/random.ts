/** Histories that are linearizable because they were made from an order, and ways to make them wrong for certain. */
import { Random } from '../../src/io/random.ts'
import type { KvOperation } from './kv.ts'

export interface Shape {
  operations: number
  keys: number
  clients: number
  /** Of the operations, how many have an outcome that their caller never learnt. */
  open: number
}

/** Clients one after the other in themselves, at the same time among each other; each takes effect at a moment of its own. */
export function linearizableHistory(seed: number, { operations, keys, clients, open }: Shape): KvOperation[] {
  const random = new Random(seed)
  const history: KvOperation[] = []
  const effects: { at: number; act: () => void }[] = []
  const free = Array.from({ length: clients }, () => random.fraction())
  const values = new Map<string, { value: string; modifyIndex: number; createIndex: number }>()
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
          default:
            input satisfies never
        }
        if (isOpen) return
        if (input.type !== 'get') operation.output = { type: 'written', done }
        operation.return = end
      },
    })
  }
  for (const { act } of effects.sort((one, other) => one.at - other.at)) act()
  return history
}

/** Makes a history wrong in one place; undefined: it has no place for that. */
export type Mutation = (history: readonly KvOperation[], random: Random) => KvOperation[] | undefined

type Reading = KvOperation & { return: number; output: { type: 'read'; found: { value: string; modifyIndex: number } } }

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
