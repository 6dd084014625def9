/**
 * Keys with locks, and the sessions that hold them, as one sequential object. What a key is without its lock is the model
 * of keys and values; here a holder is added, how often the lock was taken, and whether it is delayed. A session's end
 * touches every key that it might hold, so that keys that share sessions are judged together.
 *
 * When a delay ends nobody is told: a lock that was lost with its session may be refused, until somebody gets it.
 */
import { type CheckOptions, check, type Verdict } from './check.ts'
import { type Operation, Recorder } from './history.ts'
import { type Found, type KvInput, type KvOutput, type KvState, kvModel } from './kv.ts'
import type { Model } from './model.ts'

type PlainInput = Exclude<KvInput, { type: 'txn' }>

export type LockInput =
  | PlainInput
  | { type: 'acquire'; key: string; value: string; session: string; at?: number }
  | { type: 'release'; key: string; value: string; session: string; at?: number }
  /** Also one that was not renewed, or lost its node: then nobody asked for it, and it is open. */
  | {
      type: 'destroy'
      session: string
      /** Keys it may have been used with. */
      keys: readonly string[]
      behavior: 'release' | 'delete'
      /** Its keys are kept from everybody for a while. */
      delays: boolean
    }

/** `session` '': nobody holds it. */
export type LockFound = Found & { session: string; lockIndex: number }

/** The answer to a get of one key, as the body of its 200, or '' where there was none. */
export function lockFound(body: string): LockFound | undefined {
  const [pair] = body === '' ? [] : (JSON.parse(body) as AnsweredPair[])
  return (
    pair && {
      value: Buffer.from(pair.Value ?? '', 'base64').toString(),
      modifyIndex: pair.ModifyIndex,
      createIndex: pair.CreateIndex,
      session: pair.Session ?? '',
      lockIndex: pair.LockIndex,
    }
  )
}

interface AnsweredPair {
  Value: string | null
  Session?: string
  LockIndex: number
  CreateIndex: number
  ModifyIndex: number
}

export type LockOutput =
  | { type: 'read'; found: LockFound | undefined; index?: number }
  | { type: 'written'; done: boolean; index?: number }
  /** There is no such session, any more. */
  | { type: 'invalid' }

export type LockOperation = Operation<LockInput, LockOutput>

export class LockRecorder extends Recorder<LockInput, LockOutput> {}

interface Lock {
  session: string
  lockIndex: number
  delayed: boolean
}

export interface LockState {
  kv: KvState
  locks: ReadonlyMap<string, Lock>
  /** Sessions that are over; all others are there as soon as somebody knows their names. */
  ended: ReadonlySet<string>
}

const open: Lock = { session: '', lockIndex: 0, delayed: false }

export function checkLocks(operations: readonly LockOperation[], options: CheckOptions = {}): Verdict {
  return check(lockModel, operations, options)
}

export const lockModel: Model<LockState, LockInput, LockOutput> = {
  initial: { kv: kvModel.initial, locks: new Map(), ended: new Set() },
  keys: (input) => {
    if (input.type === 'destroy') return [`session ${input.session}`, ...input.keys]
    return 'session' in input ? [input.key, `session ${input.session}`] : [input.key]
  },
  step,
  stateKey: ({ kv, locks, ended }) =>
    [
      kvModel.stateKey(kv),
      ...[...locks].map(([key, each]) => `${key} ${each.session} ${each.lockIndex} ${each.delayed}`).sort(),
      ...[...ended].sort(),
    ].join('\n'),
  prepare,
  // Indexes are places in one log, whichever key they are of.
  ranks: (operations) =>
    operations.map(({ input, output }) => {
      const failed = output !== undefined && (output.type === 'invalid' || (output.type === 'written' && !output.done))
      return 'at' in input && input.at !== undefined && !failed ? input.at : undefined
    }),
  describe: describeLock,
  describeState: ({ kv, locks, ended }) => {
    const held = [...locks].map(([key, { session, lockIndex, delayed }]) => {
      return `${key} ${session === '' ? 'free' : `held by ${session}`}, taken ${lockIndex}${delayed ? ', delayed' : ''}`
    })
    return [kvModel.describeState(kv), ...held, ...[...ended].map((each) => `${each} is over`)].join('; ')
  },
}

function step(state: LockState, input: LockInput, output: LockOutput | undefined): readonly LockState[] {
  switch (input.type) {
    case 'get':
      return output?.type === 'read' ? read(state, input, output) : []
    case 'put':
    case 'cas':
    case 'delete':
    case 'delete-cas':
      return output === undefined || output.type === 'written' ? plain(state, input, output) : []
    case 'acquire':
      return acquire(state, input, output)
    case 'release':
      return output === undefined || output.type === 'written' ? release(state, input, output) : []
    case 'destroy':
      return output === undefined || (output.type === 'written' && output.done) ? destroy(state, input) : []
    default:
      return input satisfies never
  }
}

function read(
  state: LockState,
  input: Extract<LockInput, { type: 'get' }>,
  output: Extract<LockOutput, { type: 'read' }>,
): readonly LockState[] {
  const { found } = output
  const { session, lockIndex } = state.locks.get(input.key) ?? open
  if (found !== undefined && (found.session !== session || found.lockIndex !== lockIndex)) return []
  return kvModel.step(state.kv, input, output).map((kv) => ({ ...state, kv }))
}

/** Who writes or deletes without a lock is not asked for one; the count begins anew. */
function plain(
  state: LockState,
  input: Exclude<PlainInput, { type: 'get' }>,
  output: Extract<KvOutput, { type: 'written' }> | undefined,
): readonly LockState[] {
  const lock = state.locks.get(input.key) ?? open
  const done = output?.done ?? true
  // Who says what is there already changes only the count, if there is one.
  const counts = done && 'value' in input && lock.lockIndex > 0
  const before = counts && input.type === 'put' ? otherwise(state.kv, input.key) : state.kv
  const after = 'value' in input ? { ...lock, lockIndex: 0 } : { ...lock, session: '', lockIndex: 0 }
  return kvModel.step(before, input, output).map((kv) => (done ? locked({ ...state, kv }, input.key, after) : state))
}

function acquire(
  state: LockState,
  input: Extract<LockInput, { type: 'acquire' }>,
  output: LockOutput | undefined,
): readonly LockState[] {
  const { key, session } = input
  const lock = state.locks.get(key) ?? open
  const over = state.ended.has(session)
  if (output?.type === 'read') return []
  if (output?.type === 'invalid') return over ? [state] : []
  const taken = lock.session !== '' && lock.session !== session
  if (output?.done === false) return lock.delayed || (!over && taken) ? [state] : []
  if (over || taken) return []
  if (lock.session === session) return put(state, input, lock, output)
  // Whoever gets it knows that the delay is over.
  return put(state, input, { session, lockIndex: lock.lockIndex + 1, delayed: false }, output, true)
}

function release(
  state: LockState,
  input: Extract<LockInput, { type: 'release' }>,
  output: Extract<LockOutput, { type: 'written' }> | undefined,
): readonly LockState[] {
  const lock = state.locks.get(input.key) ?? open
  const holds = lock.session === input.session
  if (output?.done === false) return holds ? [] : [state]
  return holds ? put(state, input, { ...lock, session: '' }, output, true) : []
}

function destroy(state: LockState, input: Extract<LockInput, { type: 'destroy' }>): readonly LockState[] {
  if (state.ended.has(input.session)) return [state]
  let states: readonly LockState[] = [{ ...state, ended: new Set(state.ended).add(input.session) }]
  for (const [key, lock] of state.locks) {
    if (lock.session !== input.session) continue
    const free = { ...lock, session: '', delayed: input.delays }
    states = states.flatMap((each) => {
      if (input.behavior === 'delete') {
        const gone = kvModel.step(each.kv, { type: 'delete', key }, undefined)
        return gone.map((kv) => locked({ ...each, kv }, key, { ...free, lockIndex: 0 }))
      }
      return put(each, { key, value: each.kv.get(key)?.value ?? '' }, free, undefined, true)
    })
  }
  return states
}

/** `anew`: it changes the key whatever its value was. */
function put(
  state: LockState,
  { key, value, at }: { key: string; value: string; at?: number },
  lock: Lock,
  output: Extract<LockOutput, { type: 'written' }> | undefined,
  anew = false,
): readonly LockState[] {
  const before = anew ? otherwise(state.kv, key) : state.kv
  const input = { type: 'put' as const, key, value, ...(at !== undefined && { at }) }
  return kvModel.step(before, input, output).map((kv) => locked({ ...state, kv }, key, lock))
}

const another = '\u0000another'

/** As it is, but with a value that no write gives, so that any write changes it. */
function otherwise(kv: KvState, key: string): KvState {
  const state = kv.get(key)
  return state?.value === undefined ? kv : new Map(kv).set(key, { ...state, value: another })
}

function locked(state: LockState, key: string, lock: Lock): LockState {
  return { ...state, locks: new Map(state.locks).set(key, lock) }
}

/**
 * Clients write every value once, so that a read names the write whose value it found: that write was over, and at which
 * index, unless a session's end may have changed the key since without its value.
 */
function prepare(operations: readonly LockOperation[]): LockOperation[] {
  const writers = new Map<string, number>()
  const seen = new Map<string, { return: number; founds: LockFound[] }>()
  for (const { input, output, return: end } of operations) {
    if ('value' in input) writers.set(input.value, (writers.get(input.value) ?? 0) + 1)
    if (output?.type !== 'read' || output.found === undefined || end === undefined) continue
    const { found } = output
    const earlier = seen.get(found.value)
    seen.set(found.value, {
      return: Math.min(end, earlier?.return ?? end),
      founds: [...(earlier?.founds ?? []), found],
    })
  }
  return operations.flatMap((operation): LockOperation[] => {
    const { input } = operation
    const isOpen = operation.return === undefined
    if (input.type === 'get') return isOpen ? [] : [operation]
    if (!('value' in input) || writers.get(input.value) !== 1) return [operation]
    const found = seen.get(input.value)
    if (found === undefined) return [operation]
    const certain = found.founds.find(({ session }) => {
      return input.type === 'acquire' ? session === input.session : input.type === 'release' || session !== ''
    })
    const known = certain === undefined ? operation : { ...operation, input: { ...input, at: certain.modifyIndex } }
    return [isOpen ? { ...known, return: Math.max(operation.call, found.return) } : known]
  })
}

function describeLock(input: LockInput, output: LockOutput | undefined): string {
  const told = () => {
    if (output === undefined) return '?'
    if (output.type === 'written') return String(output.done)
    if (output.type === 'invalid') return 'no such session'
    const { found } = output
    if (found === undefined) return 'absent'
    return `"${found.value}" (${found.modifyIndex}), ${found.session === '' ? 'free' : `held by ${found.session}`}, taken ${found.lockIndex}`
  }
  const value = 'value' in input ? `="${input.value}"` : ''
  const by = input.type === 'acquire' || input.type === 'release' ? ` by ${input.session}` : ''
  const condition = 'index' in input ? ` if ${input.index}` : ''
  const what = input.type === 'destroy' ? input.session : input.key
  return `${input.type} ${what}${value}${by}${condition} -> ${told()}`
}
