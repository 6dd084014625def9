/**
 * Copies and texts of a core whose parts are open (`seeded/patched.ts`). What is a time is told by its size: the
 * explorer's clocks stand at `noon`, and nothing else in a core is near it. So a copy can be made in which so much time
 * has passed, and in a text times are relative.
 */
import type { Entry, ServerId } from '../../src/raft/message.ts'

export const noon = 1_000_000_000
/** Longer ago than anything a core still cares about. */
const longAgo = noon - 5_000

function isTime(value: number): boolean {
  return value > noon / 2 && value < noon * 2
}

/** Values that nobody changes after they are made: entries, messages, configurations, bytes, and whatever is frozen. */
function isShared(value: object): boolean {
  return (
    'data' in value || 'type' in value || 'servers' in value || value instanceof Uint8Array || Object.isFrozen(value)
  )
}

/** A copy of everything that can change, `age` milliseconds older. Parts that were one are one in the copy. */
export function copy<T>(value: T, age = 0): T {
  return copyPart(value, age, new Map()) as T
}

function copyPart(value: unknown, age: number, made: Map<object, object>): unknown {
  if (typeof value === 'number') return age > 0 && isTime(value) ? Math.max(longAgo, value - age) : value
  if (typeof value !== 'object' || value === null || isShared(value)) return value
  const known = made.get(value)
  if (known !== undefined) return known
  if (Array.isArray(value)) {
    const items: unknown[] = new Array(value.length)
    made.set(value, items)
    for (let at = 0; at < value.length; at++) items[at] = copyPart(value[at], age, made)
    return items
  }
  if (value instanceof Map) {
    const map = new Map()
    made.set(value, map)
    for (const [key, item] of value) map.set(key, copyPart(item, age, made))
    return map
  }
  const object = Object.create(Object.getPrototypeOf(value))
  made.set(value, object)
  for (const key of Object.keys(value)) object[key] = copyPart((value as Record<string, unknown>)[key], age, made)
  return object
}

/** Other names for the servers, one for one. */
export type Renaming = ReadonlyMap<ServerId, ServerId>

/**
 * Two parts have the same text exactly when they are the same up to the renaming.
 * @param readys what counts Readys is told relative to this: how many there were does not matter any more.
 */
export function textOf(value: unknown, renaming: Renaming, readys = 0): string {
  switch (typeof value) {
    case 'string':
      return renaming.get(value) ?? value
    case 'number':
      return isTime(value) ? `t${value - noon}` : String(value)
    case 'boolean':
      return value ? '+' : '-'
    case 'undefined':
      return '~'
    case 'object':
      return textOfObject(value, renaming, readys)
    default:
      throw new TypeError(`a ${typeof value} in a core`)
  }
}

function textOfObject(value: object | null, renaming: Renaming, readys: number): string {
  // What is frozen is the same everywhere, and so is the one configuration there is.
  if (value === null || Object.isFrozen(value) || 'servers' in value) return ''
  if ('data' in value) {
    const { index, term, kind, data } = value as Entry
    return `${index}.${term}.${kind === 'command' ? Buffer.from(data).toString('latin1') : kind}`
  }
  if (Array.isArray(value)) {
    let text = '['
    for (const item of value) text += `${textOf(item, renaming, readys)} `
    return `${text}]`
  }
  if (value instanceof Map) {
    const entries = [...value].map(([key, item]) => `${textOf(key, renaming)}:${textOf(item, renaming, readys)}`)
    return `<${entries.sort().join(' ')}>`
  }
  let text = '{'
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key]
    const counts = (key === 'ready' || key === '_ready') && typeof item === 'number'
    text += `${counts ? readys - item : textOf(item, renaming, readys)} `
  }
  return `${text}}`
}

/** 64 bits that stand for something. */
export type Name = readonly [number, number]

/** Two multiply-and-rotate hashes side by side, each mixed at the end (after MurmurHash3). */
export class Hash {
  #one = 0x9747b28c
  #other = 0x41c6ce57

  add(word: number): void {
    const one = Math.imul(this.#one ^ word, 0xcc9e2d51)
    this.#one = (one << 13) | (one >>> 19)
    const other = Math.imul(this.#other ^ word, 0x1b873593)
    this.#other = (other << 17) | (other >>> 15)
  }

  addName([one, other]: Name): void {
    this.add(one)
    this.add(other)
  }

  addText(text: string): void {
    for (let at = 0; at < text.length; at++) this.add(text.charCodeAt(at))
    this.add(text.length)
  }

  get name(): Name {
    return [mixed(this.#one), mixed(this.#other)]
  }
}

function mixed(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}
