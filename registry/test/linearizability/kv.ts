/**
 * Consul's keys and values as one sequential object per key, with indexes. A write's answer does not say at which index
 * it took effect; a read says of what it found. So the index of a state is known exactly or only from below: every
 * change has a higher one than the change before.
 *
 * A write that says what is there already changes nothing (Consul 1.8). Deleting what is absent succeeds, whatever index
 * it names; but index 0 never matches in a deletion.
 */
import { type CheckOptions, check, type Verdict } from './check.ts'
import { type Operation, Recorder } from './history.ts'
import { indexOrder } from './indexes.ts'
import type { Model } from './model.ts'

export type KvInput =
  | { type: 'get'; key: string }
  /** `at`: the index it took effect at, if somebody knows. Values include whatever else a write sets, such as flags. */
  | { type: 'put'; key: string; value: string; at?: number }
  | { type: 'cas'; key: string; value: string; index: number; at?: number }
  | { type: 'delete'; key: string }
  | { type: 'delete-cas'; key: string; index: number }

export interface Found {
  value: string
  modifyIndex: number
  createIndex?: number
}

export type KvOutput =
  /** `index`: that of the answer, at least the last change of this key. */
  | { type: 'read'; found: Found | undefined; index?: number }
  /** `done` false: the check-and-set did not match. `index`: where it took effect, if the answer says so. */
  | { type: 'written'; done: boolean; index?: number }

export type KvOperation = Operation<KvInput, KvOutput>

export class KvRecorder extends Recorder<KvInput, KvOutput> {}

/** What is known of an index: it is `least`, or not below it and none of `not`. */
interface Place {
  least: number
  exact: boolean
  not: readonly number[]
}

export interface KvState {
  /** Undefined: absent. */
  value: string | undefined
  /** Of the last change, a deletion too. */
  changed: Place
  /** Of the write that created the key; undefined: that was the last change itself. */
  created: Place | undefined
}

const absent: KvState = { value: undefined, changed: { least: 0, exact: true, not: [] }, created: undefined }

/** What an open write made of the key, when no read ever found it: which of them it was is all the same. */
const unseen = '\u0000unseen'

/** @returns the verdict on a history of all keys: orders of the log first, then an order of every key's operations */
export function checkHistory(operations: readonly KvOperation[], options: CheckOptions = {}): Verdict {
  return indexOrder(operations) ?? check(kvModel, operations, options)
}

export const kvModel: Model<KvState, KvInput, KvOutput> = {
  initial: absent,
  keys: ({ key }) => [key],
  step: (state, input, output) => {
    if (input.type === 'get') return output?.type === 'read' ? read(state, output) : []
    if (output?.type === 'read') return []
    const at = ('at' in input ? input.at : undefined) ?? output?.index
    return write(state, input, output?.done ?? true, at)
  },
  stateKey: ({ value, changed, created }) =>
    `${placeKey(changed)} ${created === undefined ? '' : placeKey(created)} ${value === undefined ? '-' : `"${value}`}`,
  prepare,
  // The index of the key only grows: a write that is known to be at some index comes before those who read it there, and
  // both before the next one.
  rank: ({ input, output }) => {
    if (input.type === 'get') {
      const index = output?.type === 'read' ? output.found?.modifyIndex : undefined
      return index === undefined ? undefined : 2 * index + 1
    }
    const failed = output?.type === 'written' && !output.done
    return 'at' in input && input.at !== undefined && !failed ? 2 * input.at : undefined
  },
  openClass: (input) => {
    switch (input.type) {
      case 'put':
        return input.value === unseen ? 'put' : undefined
      case 'cas':
        return input.value === unseen ? `cas ${input.index}` : undefined
      case 'delete':
        return 'delete'
      case 'delete-cas':
        return `delete ${input.index}`
      default:
        return undefined
    }
  },
  describe,
  describeState: ({ value, changed: { least, exact } }) => {
    const what = value === undefined ? 'absent' : value === unseen ? 'something nobody saw' : `"${value}"`
    return `${what} ${exact ? 'at' : 'at or after'} ${least}`
  },
}

const placeKey = ({ least, exact, not }: Place) => `${least}${exact ? '' : `+${not.join()}`}`

function read(state: KvState, { found, index }: Extract<KvOutput, { type: 'read' }>): readonly KvState[] {
  if (found === undefined) {
    const fits = state.value === undefined && (index === undefined || index >= state.changed.least)
    return fits ? [state] : []
  }
  const { value, modifyIndex, createIndex } = found
  if (state.value !== value) return []
  const changed = placedAt(state.changed, modifyIndex)
  if (changed === undefined) return []
  if (createIndex === undefined) return [{ ...state, changed }]
  if (state.created === undefined) return createIndex === modifyIndex ? [{ ...state, changed }] : []
  const created = createIndex < modifyIndex ? placedAt(state.created, createIndex) : undefined
  return created === undefined ? [] : [{ ...state, changed, created }]
}

function write(
  state: KvState,
  input: Exclude<KvInput, { type: 'get' }>,
  done: boolean,
  at: number | undefined,
): readonly KvState[] {
  switch (input.type) {
    case 'put':
      return done ? set(state, input.value, at) : []
    case 'cas': {
      if (!done) return unmatched(state, input.index)
      const matched = input.index === 0 ? onlyAbsent(state) : present(state, input.index)
      return matched === undefined ? [] : set(matched, input.value, at)
    }
    case 'delete':
      return !done ? [] : state.value === undefined ? [state] : gone(state, at)
    case 'delete-cas': {
      if (input.index === 0) return done ? [] : [state]
      if (state.value === undefined) return done ? [state] : []
      if (!done) return unmatched(state, input.index)
      const matched = present(state, input.index)
      return matched === undefined ? [] : gone(matched, at)
    }
    default:
      return input satisfies never
  }
}

/** Known to be `index`; undefined: it cannot be. */
function placedAt(place: Place, index: number): Place | undefined {
  if (place.exact) return place.least === index ? place : undefined
  return index >= place.least && !place.not.includes(index) ? { least: index, exact: true, not: [] } : undefined
}

const onlyAbsent = (state: KvState) => (state.value === undefined ? state : undefined)

function present(state: KvState, index: number): KvState | undefined {
  const changed = state.value === undefined ? undefined : placedAt(state.changed, index)
  return changed && { ...state, changed }
}

/** A check-and-set on `index` did not match. */
function unmatched(state: KvState, index: number): readonly KvState[] {
  if (state.value === undefined) return index === 0 ? [] : [state]
  const { changed } = state
  if (placedAt(changed, index) === undefined) return [state]
  if (changed.exact) return []
  return [{ ...state, changed: { ...changed, not: [...changed.not, index].sort((one, other) => one - other) } }]
}

function set(state: KvState, value: string, at: number | undefined): readonly KvState[] {
  if (state.value === value) return [state]
  const changed = changedAfter(state.changed, at)
  if (changed === undefined) return []
  return [{ value, changed, created: state.value === undefined ? undefined : (state.created ?? state.changed) }]
}

function gone(state: KvState, at: number | undefined): readonly KvState[] {
  const changed = changedAfter(state.changed, at)
  return changed === undefined ? [] : [{ value: undefined, changed, created: undefined }]
}

function changedAfter({ least }: Place, at: number | undefined): Place | undefined {
  if (at !== undefined && at <= least) return undefined
  return { least: at ?? least + 1, exact: at !== undefined, not: [] }
}

/**
 * Clients write every value once, so that a read names the write whose value it found. Of that write then the index is
 * known; and if it was open: that it took effect, and not after the first such read had returned. Values that two wrote
 * are left as they are. Reads that were not answered say nothing.
 */
function prepare(operations: readonly KvOperation[]): KvOperation[] {
  const writers = new Map<string, number>()
  const seen = new Map<string, { index: number; return: number }>()
  for (const { input, output, return: end } of operations) {
    if ('value' in input) writers.set(input.value, (writers.get(input.value) ?? 0) + 1)
    if (output?.type !== 'read' || output.found === undefined || end === undefined) continue
    const { value, modifyIndex } = output.found
    const earlier = seen.get(value)
    seen.set(value, { index: earlier?.index ?? modifyIndex, return: Math.min(end, earlier?.return ?? end) })
  }
  return operations.flatMap((operation): KvOperation[] => {
    const { input } = operation
    const open = operation.return === undefined
    if (input.type === 'get') return open ? [] : [operation]
    if (!('value' in input) || writers.get(input.value) !== 1) return [operation]
    const found = seen.get(input.value)
    const told = operation.output?.type === 'written' ? operation.output.index : undefined
    const at = told ?? found?.index
    const known = at === undefined ? operation : { ...operation, input: { ...input, at } }
    if (found === undefined) return open ? [{ ...operation, input: { ...input, value: unseen } }] : [known]
    return [open ? { ...known, return: Math.max(operation.call, found.return) } : known]
  })
}

export function describe(input: KvInput, output: KvOutput | undefined): string {
  const value = 'value' in input && (input.value === unseen ? ' something nobody saw' : `="${input.value}"`)
  const condition = 'index' in input ? ` if ${input.index}` : ''
  const what = `${input.type} ${input.key}${value || ''}${condition}`
  if (output === undefined) return `${what} -> ?`
  if (output.type === 'written') return `${what} -> ${output.done}`
  const { found } = output
  return `${what} -> ${found === undefined ? `absent (${output.index ?? ''})` : `"${found.value}" (${found.modifyIndex})`}`
}
