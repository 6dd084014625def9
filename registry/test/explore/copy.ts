/**
 * Copies and texts of a core whose parts are open (`seeded/patched.ts`). What is a time is told by its size: the
 * explorer's clocks stand at `noon`, and nothing else in a core is near it.
 */
import type { Entry, ServerId } from '../../src/raft/message.ts'

export const noon = 1_000_000_000
/** What every time in a core is set to between steps: a moment to come, so that nothing has run out. */
const soon = noon + 50

function isTime(value: number): boolean {
  return value > noon / 2 && value < noon * 2
}

/** Values that nobody changes after they are made: entries, messages, configurations, bytes, and whatever is frozen. */
function isShared(value: object): boolean {
  return (
    'data' in value || 'type' in value || 'servers' in value || value instanceof Uint8Array || Object.isFrozen(value)
  )
}

/** Other names for the servers, one for one. */
export type Renaming = ReadonlyMap<ServerId, ServerId>

interface Change {
  /** What becomes of a time. */
  time: (at: number) => number
  renaming: Renaming | undefined
}

/** A copy of everything that can change, in which so many milliseconds have passed. Parts that were one are one in it. */
export function aged<T>(value: T, by: number): T {
  return copyPart(value, { time: (at) => at - by, renaming: undefined }, new Map()) as T
}

/** A copy that remembers no times, as it is for a server of another name. */
export function timeless<T>(value: T, renaming?: Renaming): T {
  return copyPart(value, { time: () => soon, renaming }, new Map()) as T
}

function copyPart(value: unknown, change: Change, made: Map<object, object>): unknown {
  if (typeof value === 'number') return isTime(value) ? change.time(value) : value
  if (typeof value === 'string') return change.renaming?.get(value) ?? value
  if (typeof value !== 'object' || value === null) return value
  const known = made.get(value)
  if (known !== undefined) return known
  if (change.renaming !== undefined && 'random' in value) {
    // The options of a core.
    const { id } = value as unknown as { id: ServerId }
    const options = Object.freeze({ ...value, id: change.renaming.get(id) ?? id })
    made.set(value, options)
    return options
  }
  if (isShared(value)) return value
  if (Array.isArray(value)) {
    const items: unknown[] = new Array(value.length)
    made.set(value, items)
    for (let at = 0; at < value.length; at++) items[at] = copyPart(value[at], change, made)
    return items
  }
  if (value instanceof Map) {
    const map = new Map()
    made.set(value, map)
    for (const [key, item] of value) map.set(copyPart(key, change, made), copyPart(item, change, made))
    return map
  }
  const object = Object.create(Object.getPrototypeOf(value))
  made.set(value, object)
  for (const key of Object.keys(value)) object[key] = copyPart((value as Record<string, unknown>)[key], change, made)
  return object
}

/**
 * Two parts have the same text exactly when nothing tells them apart.
 * @param readys what counts Readys is told relative to this: how many there were does not matter any more.
 */
export function textOf(value: unknown, readys = 0): string {
  switch (typeof value) {
    case 'string':
      return value
    case 'number':
      return isTime(value) ? `t${value - noon}` : String(value)
    case 'boolean':
      return value ? '+' : '-'
    case 'undefined':
      return '~'
    case 'object':
      return textOfObject(value, readys)
    default:
      throw new TypeError(`a ${typeof value} in a core`)
  }
}

function textOfObject(value: object | null, readys: number): string {
  // What is frozen is the same everywhere, and so is the one configuration there is.
  if (value === null || Object.isFrozen(value) || 'servers' in value) return ''
  if ('data' in value) {
    const { index, term, kind, data } = value as Entry
    return `${index}.${term}.${kind === 'command' ? Buffer.from(data).toString('latin1') : kind}`
  }
  if (Array.isArray(value)) {
    let text = '['
    for (const item of value) text += `${textOf(item, readys)} `
    return `${text}]`
  }
  if (value instanceof Map) {
    const entries = [...value].map(([key, item]) => `${textOf(key)}:${textOf(item, readys)}`)
    return `<${entries.sort().join(' ')}>`
  }
  let text = '{'
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key]
    const counts = (key === 'ready' || key === '_ready') && typeof item === 'number'
    text += `${counts ? readys - item : textOf(item, readys)} `
  }
  return `${text}}`
}
