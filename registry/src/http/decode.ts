/**
 * Request bodies as Go's JSON decoder reads them: field names without regard to case (and to underscores, so that
 * snake_case works), the first value only, and its sentences when something is wrong. Unlike Consul 1.8, fields that are
 * not known are skipped: newer clients send many.
 */
import { BadRequest } from '../errors.ts'
import { parseDuration } from '../health/duration.ts'
import type { Millis } from '../model.ts'
import { isUint64 } from './query.ts'

const utf8 = new TextDecoder()

/** @throws BadRequest `Request decode failed: …` */
export function parseJson(bytes: Uint8Array): unknown {
  return parse(utf8.decode(bytes), undefined)
}

/** The same, with whole numbers above 2^53 and below 2^64 as a bigint: the digits that they were written in. */
export function parseJsonExactly(bytes: Uint8Array): unknown {
  const text = utf8.decode(bytes)
  // Without so many digits in a row there is no such number, and a reviver costs much more than this look.
  return parse(text, /\d{16}/.test(text) ? keepDigits : undefined)
}

function keepDigits(_name: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' && !Number.isSafeInteger(value) && isUint64(context?.source ?? '')
    ? BigInt(context?.source ?? '')
    : value
}

function parse(text: string, reviver: Reviver): unknown {
  try {
    return JSON.parse(text, reviver)
  } catch {
    const scanned = scanValue(text)
    if ('complaint' in scanned) throw decodeFailed(scanned.complaint)
    // What follows the first value is not looked at.
    return JSON.parse(text.slice(0, scanned.end), reviver)
  }
}

type Reviver = Parameters<typeof JSON.parse>[1]

export function decodeFailed(reason: string): BadRequest {
  return new BadRequest(`Request decode failed: ${reason}`)
}

/** An object whose members are asked for by name and type. A missing member, or null, is the type's zero. */
export class Fields {
  readonly #where: string
  readonly #value: Readonly<Record<string, unknown>>
  readonly #names: readonly string[]

  /**
   * @param where the Go struct, for messages: '' for an unnamed one
   * @param type the same with its package, where a message gives that
   * @throws BadRequest when `value` is not an object or null
   */
  constructor(value: unknown, where: string, type = where) {
    this.#where = where
    this.#value = {}
    this.#names = []
    if (value === null || value === undefined) return
    if (typeof value !== 'object' || Array.isArray(value)) {
      throw decodeFailed(`json: cannot unmarshal ${kindOf(value)} into Go value of type ${type || 'struct'}`)
    }
    this.#value = value as Record<string, unknown>
    this.#names = Object.keys(value)
  }

  has(name: string): boolean {
    return this.#get(name) !== undefined
  }

  get isEmpty(): boolean {
    return this.#names.every((name) => this.#value[name] === null)
  }

  text(name: string): string {
    const value = this.#get(name)
    if (value === undefined) return ''
    if (typeof value !== 'string') throw this.#mismatch(value, name, 'string')
    return value
  }

  boolean(name: string): boolean {
    const value = this.#get(name)
    if (value === undefined) return false
    if (typeof value !== 'boolean') throw this.#mismatch(value, name, 'bool')
    return value
  }

  /** @param digits a text of decimal digits is taken too: old clients send ports that way */
  integer(name: string, digits: 'digits' | 'numbers' = 'numbers'): number {
    const value = this.#get(name)
    if (value === undefined) return 0
    if (digits === 'digits' && typeof value === 'string' && /^-?\d{1,9}$/.test(value)) return Number(value)
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw this.#mismatch(value, name, 'int')
    return value
  }

  /** As it came; undefined when missing or null. */
  any(name: string): unknown {
    return this.#get(name)
  }

  /** Any number that a double holds. */
  float(name: string): number {
    return this.#float(this.#get(name) ?? 0, name)
  }

  floats(name: string): number[] {
    return this.list(name).map((value) => this.#float(value ?? 0, name))
  }

  /** Up to 2^64; above 2^53 as a bigint, which a reviver must have made. */
  unsigned(name: string, type = 'uint64'): number | bigint {
    const value = this.#get(name)
    if (value === undefined) return 0
    if (typeof value === 'bigint') return value
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      // Go names the number when it is one but does not fit.
      const received = typeof value === 'number' ? `number ${value}` : kindOf(value)
      throw this.#mismatched(received, name, type)
    }
    return value
  }

  /** Go's syntax, or nanoseconds as a number. '' is 0. */
  duration(name: string): Millis {
    const value = this.#get(name)
    if (value === undefined || value === '') return 0
    if (typeof value === 'number') return value / 1e6
    if (typeof value !== 'string') throw this.#mismatch(value, name, 'time.Duration')
    try {
      return parseDuration(value)
    } catch (error) {
      throw decodeFailed((error as BadRequest).message)
    }
  }

  texts(name: string): string[] {
    return this.list(name).map((value) => {
      if (value === null) return ''
      if (typeof value !== 'string') throw this.#mismatch(value, name, 'string')
      return value
    })
  }

  list(name: string): unknown[] {
    const value = this.#get(name)
    if (value === undefined) return []
    if (!Array.isArray(value)) throw this.#mismatch(value, name, '[]interface {}')
    return value
  }

  /** Null when missing: Consul tells that from an empty map. Keys are taken as they are. */
  map<T>(name: string, read: (value: unknown, key: string) => T): Record<string, T> | null {
    const value = this.#get(name)
    if (value === undefined) return null
    if (typeof value !== 'object' || Array.isArray(value)) throw this.#mismatch(value, name, 'map[string]string')
    return Object.fromEntries(Object.entries(value as object).map(([key, member]) => [key, read(member, key)]))
  }

  textMap(name: string): Record<string, string> | null {
    return this.map(name, (value) => {
      if (value === null) return ''
      if (typeof value !== 'string') throw this.#mismatch(value, name, 'string')
      return value
    })
  }

  object(name: string, where = this.#path(name)): Fields {
    return new Fields(this.#get(name), where)
  }

  #float(value: unknown, name: string): number {
    if (!Number.isFinite(value)) throw this.#mismatch(value, name, 'float64')
    return value as number
  }

  /** Of several spellings the last one counts, unless it is null. */
  #get(name: string): unknown {
    let found: unknown
    for (const given of this.#names) {
      if (given !== name && !sameName(given, name)) continue
      const member = this.#value[given]
      if (member !== null) found = member
    }
    return found
  }

  #path(name: string): string {
    return this.#where === '' ? name : `${this.#where}.${name}`
  }

  #mismatch(value: unknown, name: string, type: string): BadRequest {
    return this.#mismatched(kindOf(value), name, type)
  }

  #mismatched(received: string, name: string, type: string): BadRequest {
    return decodeFailed(
      `json: cannot unmarshal ${received} into Go struct field ${this.#where}.${name} of type ${type}`,
    )
  }
}

function sameName(given: string, name: string): boolean {
  // Asked for every member of every operation of a transaction: most differ where it shows at once.
  if (!given.includes('_') && !name.includes('_')) {
    if (given.length !== name.length) return false
    const first = given.charCodeAt(0)
    if (first < 0x80 && (first | 0x20) !== (name.charCodeAt(0) | 0x20)) return false
  }
  return plain(given) === plain(name)
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll('_', '')
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'bigint') return `number ${value}`
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'number' : `number ${value}`
  return typeof value === 'boolean' ? 'bool' : typeof value
}

type Scanned = { end: number } | { complaint: string }

/**
 * Where the first JSON value of the text ends, or what Go's scanner says of the first character that cannot be.
 * Keeps its own stack: a body may nest as deeply as it is long.
 */
function scanValue(text: string): Scanned {
  const open: ('{' | '[')[] = []
  let at = 0
  const space = () => {
    while (at < text.length && ' \t\r\n'.includes(text[at]!)) at++
  }
  const bad = (context: string): Scanned =>
    at >= text.length
      ? { complaint: 'unexpected EOF' }
      : { complaint: `invalid character ${quoted(text[at]!)} ${context}` }
  space()
  if (at >= text.length) return { complaint: 'EOF' }
  // Whether a value, or a key, is due at `at`.
  let due: 'value' | 'key' | 'none' = 'value'
  for (;;) {
    space()
    if (due === 'key') {
      if (text[at] !== '"') return bad('looking for beginning of object key string')
      const complaint = string()
      if (complaint !== undefined) return complaint
      space()
      if (text[at] !== ':') return bad('after object key')
      at++
      due = 'value'
      continue
    }
    if (due === 'value') {
      const character = text[at]
      if (character === '{' || character === '[') {
        at++
        space()
        if (text[at] === (character === '{' ? '}' : ']')) at++
        else {
          open.push(character)
          due = character === '{' ? 'key' : 'value'
          continue
        }
      } else {
        const complaint = scalar()
        if (complaint !== undefined) return complaint
      }
      due = 'none'
      continue
    }
    const inside = open.at(-1)
    if (inside === undefined) return { end: at }
    if (text[at] === ',') {
      at++
      due = inside === '{' ? 'key' : 'value'
    } else if (text[at] === (inside === '{' ? '}' : ']')) {
      at++
      open.pop()
    } else return bad(inside === '{' ? 'after object key:value pair' : 'after array element')
  }

  function string(): Scanned | undefined {
    at++
    for (; text[at] !== '"'; at++) {
      if (at >= text.length || text[at]! < ' ') return bad('in string literal')
      if (text[at] !== '\\') continue
      at++
      if (text[at] === 'u') {
        for (let digit = 0; digit < 4; digit++) {
          at++
          if (!/^[0-9a-fA-F]$/.test(text[at] ?? '')) return bad('in \\u hexadecimal character escape')
        }
      } else if (at >= text.length || !'"\\/bfnrt'.includes(text[at]!)) return bad('in string escape code')
    }
    at++
    return undefined
  }

  function scalar(): Scanned | undefined {
    const character = text[at] ?? ''
    if (character === '"') return string()
    const word = { t: 'true', f: 'false', n: 'null' }[character]
    if (word !== undefined) {
      for (const expected of word) {
        if (text[at] !== expected) return bad(`in literal ${word} (expecting ${quoted(expected)})`)
        at++
      }
      return undefined
    }
    if (!/^[-\d]$/.test(character)) return bad('looking for beginning of value')
    if (character === '-') at++
    if (text[at] === '0') at++
    else if (!digits()) return bad('in numeric literal')
    if (text[at] === '.') {
      at++
      if (!digits()) return bad('after decimal point in numeric literal')
    }
    if (text[at] === 'e' || text[at] === 'E') {
      at++
      if (text[at] === '+' || text[at] === '-') at++
      if (!digits()) return bad('in exponent of numeric literal')
    }
    return undefined
  }

  function digits(): boolean {
    const from = at
    while (text[at] !== undefined && text[at]! >= '0' && text[at]! <= '9') at++
    return at > from
  }
}

/** A character as Go quotes it in these messages. */
function quoted(character: string): string {
  if (character === "'") return `'\\''`
  if (character === '"') return `'"'`
  return `'${JSON.stringify(character).slice(1, -1)}'`
}
