/**
 * What indexes say across keys. They are places in one log: a write that was called after an index had been shown, by any
 * operation on any key, has a higher one; and no two writes have the same. Holds for every linearizable history, and is
 * checked in n log n.
 */
import type { Verdict } from './check.ts'
import { describe, foundBy, type KvOperation, keysOf, nameOf, toldIndex, valuesOf } from './kv.ts'

interface Shown {
  index: number
  operation: KvOperation
}

/** Undefined: nothing is wrong with the indexes. */
export function indexOrder(operations: readonly KvOperation[]): Verdict | undefined {
  const shown = operations.flatMap(shownBy)
  const writes = writesWithIndex(operations)
  const taken = new Map<number, Shown>()
  for (const write of writes) {
    const other = taken.get(write.index)
    if (other !== undefined) return illegal(operations, `two writes took effect at index ${write.index}`, other, write)
    taken.set(write.index, write)
    if (write.operation.return !== undefined) shown.push(write)
  }
  shown.sort((one, other) => one.operation.return! - other.operation.return!)
  writes.sort((one, other) => one.operation.call - other.operation.call)
  let next = 0
  let highest: Shown = { index: -1, operation: operations[0]! }
  for (const write of writes) {
    for (; next < shown.length && shown[next]!.operation.return! < write.operation.call; next++) {
      if (shown[next]!.index > highest.index) highest = shown[next]!
    }
    if (write.index > highest.index) continue
    const why = `a write took effect at index ${write.index}, though ${highest.index} had been shown before it was called`
    return illegal(operations, why, highest, write)
  }
  return undefined
}

function shownBy(operation: KvOperation): Shown[] {
  const { output, return: end } = operation
  if (end === undefined) return []
  const shown = foundBy(operation).map(({ found }) => ({ index: found.modifyIndex, operation }))
  if (output?.type === 'read' && output.found === undefined && output.index !== undefined) {
    shown.push({ index: output.index, operation })
  }
  return shown
}

/** Writes whose index their answer or some read told: of values that one operation alone wrote. */
function writesWithIndex(operations: readonly KvOperation[]): Shown[] {
  const found = new Map<string, number>()
  const writers = new Map<string, number>()
  for (const operation of operations) {
    for (const each of valuesOf(operation.input)) writers.set(nameOf(each), (writers.get(nameOf(each)) ?? 0) + 1)
    for (const { key, found: one, wrote } of foundBy(operation)) {
      if (!wrote && one.value !== undefined) found.set(nameOf({ key, value: one.value }), one.modifyIndex)
    }
  }
  return operations.flatMap((operation) => {
    const { input, output } = operation
    if ((output?.type === 'written' || output?.type === 'txn') && !output.done) return []
    const own = valuesOf(input)
    if (own.length === 0 || own.some((each) => writers.get(nameOf(each)) !== 1)) return []
    const read = own.map((each) => found.get(nameOf(each))).find((index) => index !== undefined)
    const index = toldIndex(operation) ?? ('at' in input ? input.at : undefined) ?? read
    return index === undefined ? [] : [{ index, operation }]
  })
}

function illegal(operations: readonly KvOperation[], why: string, ...those: Shown[]): Verdict {
  const lines = those.map(({ index, operation: { client, call, return: end, input, output } }) => {
    return `  ${call} - ${end ?? ''}  ${client} ${describe(input, output)}, index ${index}`
  })
  return {
    kind: 'illegal',
    partition: keysOf(those[0]!.operation.input)[0] ?? '',
    operations: operations.length,
    open: operations.filter(({ return: end }) => end === undefined).length,
    explanation: [why, ...lines].join('\n'),
  }
}
