/** A history, taken apart by key and judged: the order of every part is looked for, with more steps each round. */
import type { Operation } from './history.ts'
import type { Model } from './model.ts'
import { Search } from './search.ts'

export type Verdict =
  | { kind: 'linearizable'; partitions: number; operations: number; steps: number }
  /** `explanation`: the longest order that fits, and what does not fit after it. */
  | { kind: 'illegal'; partition: string; operations: number; open: number; explanation: string }
  /** Out of steps: as good as a failure, for nothing was shown. Fewer operations per key make it decidable. */
  | { kind: 'unknown'; partition: string; operations: number; open: number; steps: number }

export interface CheckOptions {
  /** For one partition. */
  stepsMax?: number
}

const stepsMaxDefault = 5_000_000
const stepsFirst = 5_000

export function check<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  { stepsMax = stepsMaxDefault }: CheckOptions = {},
): Verdict {
  let waiting = partitions(model, operations).map(({ name, operations: all }) => {
    const prepared = model.prepare?.(all) ?? [...all]
    return { name, prepared, search: new Search(model, prepared) }
  })
  const count = waiting.length
  let steps = 0
  // A wrong one is usually found soon in its own partition: none may use up the time of the others.
  for (let limit = stepsFirst; waiting.length > 0; limit = Math.min(stepsMax, limit * 10)) {
    const undecided: typeof waiting = []
    for (const each of waiting) {
      const { name, prepared, search } = each
      const found = search.run(limit - search.steps)
      if (found === undefined) undecided.push(each)
      else if (found) steps += search.steps
      else {
        const { length } = prepared
        return {
          kind: 'illegal',
          partition: name,
          operations: length,
          open: openIn(prepared),
          explanation: explain(model, prepared, search),
        }
      }
    }
    const worst = undecided[0]
    if (limit >= stepsMax && worst !== undefined) {
      const { name, prepared, search } = worst
      return {
        kind: 'unknown',
        partition: name,
        operations: prepared.length,
        open: openIn(prepared),
        steps: search.steps,
      }
    }
    waiting = undecided
  }
  return { kind: 'linearizable', partitions: count, operations: operations.length, steps }
}

/** In words, for the message of a failing test; undefined when all is well. */
export function complaint(verdict: Verdict): string | undefined {
  if (verdict.kind === 'linearizable') return undefined
  const { partition, operations, open } = verdict
  const what = `"${partition}": ${operations} operations, ${open} of them open`
  return verdict.kind === 'illegal'
    ? `the history is not linearizable (${what})\n${verdict.explanation}`
    : `not decided within ${verdict.steps} steps whether the history is linearizable (${what}); let a key have fewer`
}

function openIn(operations: readonly Operation<unknown, unknown>[]): number {
  return operations.filter(({ return: end }) => end === undefined).length
}

/** Operations that touch a common key, directly or through others, belong together. */
function partitions<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): { name: string; operations: Operation<Input, Output>[] }[] {
  const parents = new Map<string, string>()
  const root = (key: string): string => {
    let at = key
    for (let parent = parents.get(at); parent !== undefined && parent !== at; parent = parents.get(at)) at = parent
    parents.set(key, at)
    return at
  }
  for (const { input } of operations) {
    const [first = '', ...others] = model.keys(input)
    for (const other of others) parents.set(root(other), root(first))
  }
  const parts = new Map<string, Operation<Input, Output>[]>()
  for (const operation of operations) {
    const name = root(model.keys(operation.input)[0] ?? '')
    const part = parts.get(name)
    if (part === undefined) parts.set(name, [operation])
    else part.push(operation)
  }
  return [...parts].map(([name, part]) => ({ name, operations: part }))
}

const shownBefore = 12
const shownStuck = 12

function explain<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  search: Search<State, Input, Output>,
): string {
  const zero = operations.reduce((least, { call }) => Math.min(least, call), Number.POSITIVE_INFINITY)
  const time = (at: number | undefined) => (at === undefined ? '' : (at - zero).toFixed(1)).padStart(9)
  const line = ({ client, call, return: end, input, output }: Operation<Input, Output>) =>
    `  ${time(call)} -${time(end)}  ${client.padEnd(6)} ${model.describe(input, output)}`
  const { longest } = search
  const left = longest.length - Math.min(shownBefore, longest.length)
  const stuck = search.stuck()
  return [
    `the longest order that fits has ${longest.length} of ${operations.length} operations; it ends so:`,
    ...(left === 0 ? [] : [`  (${left} more)`]),
    ...longest.slice(left).map(({ operation, state }) => `${line(operation)}  => ${model.describeState(state)}`),
    'and none of these can be next:',
    ...stuck.slice(0, shownStuck).map(line),
    ...(stuck.length > shownStuck ? [`  (${stuck.length - shownStuck} more)`] : []),
  ].join('\n')
}
