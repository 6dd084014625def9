/**
 * Consul's keys and values as one sequential object, with indexes; keys that no transaction connects are apart. A write's answer does not say at which index
 * it took effect; a read says of what it found. So the index of a state is known exactly or only from below: every
 * change has a higher one than the change before.
 *
 * A write that says what is there already changes nothing (Consul 1.8). Deleting what is absent succeeds, whatever index
 * it names; but index 0 never matches in a deletion. A transaction runs its operations one after the other, each on what
 * those before it left, goes on after one that fails, and changes nothing if any did; all it writes is at one index.
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
  | { type: 'txn'; operations: readonly TxnInput[]; at?: number }

/** One operation of a transaction, by the verb it has in `/v1/txn`. */
export type TxnInput =
  | { type: 'get'; key: string }
  | { type: 'put'; key: string; value: string }
  | { type: 'cas'; key: string; value: string; index: number }
  | { type: 'delete'; key: string }
  | { type: 'delete-cas'; key: string; index: number }
  | { type: 'check-index'; key: string; index: number }
  | { type: 'check-not-exists'; key: string }

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
  /** Of each operation: what it found, or wrote (then without a value), if its verb answers that. */
  | { type: 'txn'; done: true; results: readonly (TxnFound | undefined)[] }
  /** Nothing came of it: these operations failed, by their place. */
  | { type: 'txn'; done: false; failed: readonly number[] }

/** `value` undefined: the answer does not tell it, as those to writes and checks do not. */
export type TxnFound = Omit<Found, 'value'> & { value: string | undefined }

export type KvOperation = Operation<KvInput, KvOutput>

export class KvRecorder extends Recorder<KvInput, KvOutput> {}

/** What is known of an index: it is `least`, or not below it and none of `not`. */
interface Place {
  least: number
  exact: boolean
  not: readonly number[]
}

interface KeyState {
  /** Undefined: absent. */
  value: string | undefined
  /** Of the last change, a deletion too. */
  changed: Place
  /** Of the write that created the key; undefined: that was the last change itself. */
  created: Place | undefined
}

/** What is not in it was never written. */
export type KvState = ReadonlyMap<string, KeyState>

const absent: KeyState = { value: undefined, changed: { least: 0, exact: true, not: [] }, created: undefined }

/** What an open write made of the key, when no read ever found it: which of them it was is all the same. */
const unseen = '\u0000unseen'

/** @returns the verdict on a history of all keys: orders of the log first, then an order of every key's operations */
export function checkHistory(operations: readonly KvOperation[], options: CheckOptions = {}): Verdict {
  return indexOrder(operations) ?? check(kvModel, operations, options)
}

export const kvModel: Model<KvState, KvInput, KvOutput> = {
  initial: new Map(),
  keys: (input) => keysOf(input),
  step: (state, input, output) => {
    if (input.type === 'txn') {
      if (output === undefined || output.type === 'txn') return transact(state, input, output)
      return []
    }
    const key = state.get(input.key) ?? absent
    return stepKey(key, input, output).map((next) => (next === key ? state : new Map(state).set(input.key, next)))
  },
  stateKey: (state) => {
    if (state.size === 1) return [...state].map(([key, value]) => `${key} ${keyText(value)}`)[0] as string
    return [...state]
      .map(([key, value]) => `${key} ${keyText(value)}`)
      .sort()
      .join('\n')
  },
  prepare,
  ranks,
  openClass: (input) => {
    switch (input.type) {
      case 'put':
        return input.value === unseen ? `${input.key} put` : undefined
      case 'cas':
        return input.value === unseen ? `${input.key} cas ${input.index}` : undefined
      case 'delete':
        return `${input.key} delete`
      case 'delete-cas':
        return `${input.key} delete ${input.index}`
      default:
        return undefined
    }
  },
  describe,
  describeState: (state) => [...state].map(([key, value]) => `${key} ${keyWords(value)}`).join(', ') || 'nothing yet',
}

export function keysOf(input: KvInput): readonly string[] {
  return input.type === 'txn' ? [...new Set(input.operations.map(({ key }) => key))] : [input.key]
}

/** What it may write, of which the reads of a key can tell. */
export function valuesOf(input: KvInput): readonly { key: string; value: string }[] {
  const parts = input.type === 'txn' ? input.operations : [input]
  return parts.flatMap((part) => ('value' in part ? [{ key: part.key, value: part.value }] : []))
}

/** What its answer shows of keys; `wrote`: at which index it took effect. */
export function foundBy({ input, output }: KvOperation): readonly { key: string; found: TxnFound; wrote: boolean }[] {
  if (output?.type === 'read' && input.type === 'get') {
    return output.found === undefined ? [] : [{ key: input.key, found: output.found, wrote: false }]
  }
  if (output?.type !== 'txn' || !output.done || input.type !== 'txn') return []
  return input.operations.flatMap(({ type, key }, at) => {
    const found = output.results[at]
    return found === undefined ? [] : [{ key, found, wrote: type === 'put' || type === 'cas' }]
  })
}

/**
 * The index of a key only grows: a write that is known to be at some index comes before those who read it there, and both
 * before the next one. Writes of several keys are in the log's order as well; but who read one of them need not come
 * before a write of another.
 */
function ranks(operations: readonly KvOperation[]): (number | undefined)[] {
  const several = new Set(operations.flatMap(({ input }) => keysOf(input))).size > 1
  return operations.map(({ input, output }) => {
    if (input.type === 'get') {
      const index = output?.type === 'read' && !several ? output.found?.modifyIndex : undefined
      return index === undefined ? undefined : 2 * index + 1
    }
    const failed = (output?.type === 'written' || output?.type === 'txn') && !output.done
    return 'at' in input && input.at !== undefined && !failed ? 2 * input.at : undefined
  })
}

function keyText({ value, changed, created }: KeyState): string {
  return `${placeKey(changed)} ${created === undefined ? '' : placeKey(created)} ${value === undefined ? '-' : `"${value}`}`
}

function keyWords({ value, changed: { least, exact } }: KeyState): string {
  const what = value === undefined ? 'absent' : value === unseen ? 'something nobody saw' : `"${value}"`
  return `${what} ${exact ? 'at' : 'at or after'} ${least}`
}

type OneKey = Exclude<KvInput, { type: 'txn' }>

function stepKey(state: KeyState, input: OneKey, output: KvOutput | undefined): readonly KeyState[] {
  if (input.type === 'get') return output?.type === 'read' ? read(state, output) : []
  if (output !== undefined && output.type !== 'written') return []
  const at = ('at' in input ? input.at : undefined) ?? output?.index
  return write(state, input, output?.done ?? true, at)
}

/**
 * `before`: what is now known of the state the transaction began with; `now`: what its operations made of it. A key that
 * none has written is the same in both. No answer: it took effect, so each operation succeeded, whatever it found.
 */
function transact(
  state: KvState,
  { operations, at }: Extract<KvInput, { type: 'txn' }>,
  output: Extract<KvOutput, { type: 'txn' }> | undefined,
): readonly KvState[] {
  const failed = new Set(output?.done === false ? output.failed : [])
  if (output?.done === false && failed.size === 0) return []
  let before = state
  let now = state
  const written = new Set<string>()
  for (const [place, operation] of operations.entries()) {
    const { key } = operation
    const found = output?.done === true ? output.results[place] : undefined
    // What is known only from below never leaves two ways open here: each step narrows, or it does not fit.
    const done = !failed.has(place)
    const former = now.get(key) ?? absent
    const [next] = stepPart(former, operation, { done, at, found, again: written.has(key) })
    if (next === undefined) return []
    now = new Map(now).set(key, next)
    if (next.value !== former.value) written.add(key)
    if (!written.has(key)) before = new Map(before).set(key, next)
  }
  return output?.done === false ? [before] : atOneIndex(now, written)
}

/** What a transaction wrote, placed where the answer to one of its writes says; none: its answers contradict each other. */
function atOneIndex(state: KvState, written: ReadonlySet<string>): readonly KvState[] {
  const told = [...written].map((key) => state.get(key)!.changed).find(({ exact }) => exact)
  if (told === undefined) return [state]
  const placed = new Map(state)
  for (const key of written) {
    const each = state.get(key)!
    const changed = placedAt(each.changed, told.least)
    if (changed === undefined) return []
    placed.set(key, { ...each, changed })
  }
  return [placed]
}

function stepPart(
  state: KeyState,
  part: TxnInput,
  { done, at, found, again }: { done: boolean; at: number | undefined; found: TxnFound | undefined; again: boolean },
): readonly KeyState[] {
  switch (part.type) {
    case 'get':
      if (!done) return state.value === undefined ? [state] : []
      if (found === undefined) return state.value === undefined ? [] : [state]
      return shown(state, found)
    case 'check-index': {
      if (!done) return state.value === undefined ? [state] : unmatched(state, part.index)
      const matched = present(state, part.index)
      return matched === undefined ? [] : found === undefined ? [matched] : shown(matched, found)
    }
    case 'check-not-exists':
      return (state.value === undefined) === done ? [state] : []
    case 'delete-cas':
      // Here index 0 is one as any other, which no key ever has; that it never matches is the way of DELETE alone.
      if (part.index === 0) return (state.value === undefined) === done ? [state] : []
      return write(state, part, done, again ? 'same' : at)
    default: {
      const after = write(state, part, done, again ? 'same' : at)
      return found === undefined ? after : after.flatMap((each) => shown(each, found))
    }
  }
}

/** The key is there, as an answer tells it. */
function shown(state: KeyState, { value, ...indexes }: TxnFound): readonly KeyState[] {
  if (state.value === undefined) return []
  return read(state, { type: 'read', found: { ...indexes, value: value ?? state.value } })
}

const placeKey = ({ least, exact, not }: Place) => `${least}${exact ? '' : `+${not.join()}`}`

function read(state: KeyState, { found, index }: Extract<KvOutput, { type: 'read' }>): readonly KeyState[] {
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

function write(state: KeyState, input: Exclude<OneKey, { type: 'get' }>, done: boolean, at: At): readonly KeyState[] {
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

const onlyAbsent = (state: KeyState) => (state.value === undefined ? state : undefined)

function present(state: KeyState, index: number): KeyState | undefined {
  const changed = state.value === undefined ? undefined : placedAt(state.changed, index)
  return changed && { ...state, changed }
}

/** A check-and-set on `index` did not match. */
function unmatched(state: KeyState, index: number): readonly KeyState[] {
  if (state.value === undefined) return index === 0 ? [] : [state]
  const { changed } = state
  if (placedAt(changed, index) === undefined) return [state]
  if (changed.exact) return []
  return [{ ...state, changed: { ...changed, not: [...changed.not, index].sort((one, other) => one - other) } }]
}

function set(state: KeyState, value: string, at: At): readonly KeyState[] {
  if (state.value === value) return [state]
  const changed = changedAfter(state.changed, at)
  if (changed === undefined) return []
  if (state.value === undefined) return [{ value, changed, created: undefined }]
  // Made and changed by one transaction: that is one index.
  return [{ value, changed, created: at === 'same' ? state.created : (state.created ?? state.changed) }]
}

function gone(state: KeyState, at: At): readonly KeyState[] {
  const changed = changedAfter(state.changed, at)
  return changed === undefined ? [] : [{ value: undefined, changed, created: undefined }]
}

/** At which index a write takes effect; undefined: not known. `same`: where the transaction has written the key before. */
type At = number | 'same' | undefined

function changedAfter(place: Place, at: At): Place | undefined {
  if (at === 'same') return place
  const { least } = place
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
  for (const operation of operations) {
    for (const each of valuesOf(operation.input)) writers.set(nameOf(each), (writers.get(nameOf(each)) ?? 0) + 1)
    const { return: end } = operation
    if (end === undefined) continue
    for (const { key, found, wrote } of foundBy(operation)) {
      if (wrote || found.value === undefined) continue
      const name = nameOf({ key, value: found.value })
      const earlier = seen.get(name)
      seen.set(name, { index: earlier?.index ?? found.modifyIndex, return: Math.min(end, earlier?.return ?? end) })
    }
  }
  return operations.flatMap((operation): KvOperation[] => {
    const { input } = operation
    const open = operation.return === undefined
    if (input.type === 'get') return open ? [] : [operation]
    const own = valuesOf(input)
    if (own.length === 0 || own.some((each) => writers.get(nameOf(each)) !== 1)) return [operation]
    const found = own.map((each) => seen.get(nameOf(each))).find((each) => each !== undefined)
    const at = toldIndex(operation) ?? found?.index
    const known = at === undefined ? operation : { ...operation, input: { ...input, at } as KvInput }
    if (found === undefined) {
      return open && 'value' in input ? [{ ...operation, input: { ...input, value: unseen } }] : [known]
    }
    return [open ? { ...known, return: Math.max(operation.call, found.return) } : known]
  })
}

export const nameOf = ({ key, value }: { key: string; value: string }) => `${key} ${value}`

/** The index at which it took effect, if its answer says so. */
export function toldIndex(operation: KvOperation): number | undefined {
  const { output, input } = operation
  if (output?.type === 'written') return output.index
  if (input.type !== 'txn') return undefined
  return foundBy(operation).find(({ wrote }) => wrote)?.found.modifyIndex
}

export function describe(input: KvInput, output: KvOutput | undefined): string {
  const what = input.type === 'txn' ? `txn [${input.operations.map(words).join(', ')}]` : words(input)
  if (output === undefined) return `${what} -> ?`
  if (output.type === 'written') return `${what} -> ${output.done}`
  if (output.type === 'txn') {
    if (!output.done) return `${what} -> failed at ${output.failed.join(', ')}`
    return `${what} -> [${output.results.map((found) => (found === undefined ? '' : foundWords(found))).join(', ')}]`
  }
  return `${what} -> ${output.found === undefined ? `absent (${output.index ?? ''})` : foundWords(output.found)}`
}

const foundWords = ({ value, modifyIndex }: TxnFound) => `${value === undefined ? '' : `"${value}" `}(${modifyIndex})`

function words(input: OneKey | TxnInput): string {
  const value = 'value' in input ? (input.value === unseen ? ' something nobody saw' : `="${input.value}"`) : ''
  return `${input.type} ${input.key}${value}${'index' in input ? ` if ${input.index}` : ''}`
}
