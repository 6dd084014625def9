/**
 * The fields that gossip messages are made of: whole numbers as LEB128 varints, texts as length + UTF-8, names, addresses,
 * tags, coordinates; and parts, which are fields behind their length. Every length is bounded before anything is allocated for it.
 */
import type { Address, Coordinate } from '../model.ts'
import { dimensions } from './coordinate.ts'
import type { Texts } from './texts.ts'

export const textLengthMax = 512
export const nameLengthMax = 255
export const tagsMax = 64
const dimensionsMax = 64

/** The bytes are not a packet of ours; the message says what was wrong and where. */
export class Malformed extends Error {
  override name = 'Malformed'
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Appends fields to bytes that grow as needed. */
export class Writer {
  #bytes = new Uint8Array(256)
  #length = 0

  /** A copy of what was written. */
  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  /** Begins a part; `close` puts its length before it. */
  open(): number {
    this.#reserve(1)
    return ++this.#length
  }

  close(begin: number): this {
    const length = this.#length - begin
    const more = varintLength(length) - 1
    this.#reserve(more)
    this.#bytes.copyWithin(begin + more, begin, this.#length)
    this.#length = begin - 1
    this.number(length)
    this.#length += length
    return this
  }

  byte(value: number): this {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
    return this
  }

  /** A whole number from 0 to 2^53 - 1, seven bits a byte, low ones first. */
  number(value: number): this {
    this.#reserve(8)
    let rest = value
    while (rest >= 128) {
      this.#bytes[this.#length++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.#bytes[this.#length++] = rest
    return this
  }

  /** @throws RangeError when it is longer than any text may be */
  text(value: string): this {
    // Nearly all are short and ASCII: quicker by hand.
    if (value.length < 128) {
      this.#reserve(value.length + 1)
      const begin = this.#length
      this.#bytes[begin] = value.length
      for (let place = 0; place < value.length; place++) {
        const code = value.charCodeAt(place)
        if (code >= 128) return this.#anyText(value)
        this.#bytes[begin + 1 + place] = code
      }
      this.#length += value.length + 1
      return this
    }
    return this.#anyText(value)
  }

  blob(bytes: Uint8Array): this {
    this.number(bytes.length).#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
    return this
  }

  address(address: Address): this {
    return this.text(address.host).number(address.port)
  }

  tags(tags: Record<string, string>): this {
    const entries = Object.entries(tags)
    this.number(entries.length)
    for (const [key, value] of entries) this.text(key).text(value)
    return this
  }

  /** How many dimensions (0: there is none), and as many numbers and three more, of eight bytes, big-endian. */
  coordinate({ vector, error, adjustment, height }: Coordinate): this {
    this.number(vector.length).#reserve(8 * (vector.length + 3))
    const bytes = new DataView(this.#bytes.buffer)
    for (const each of vector) this.#float(bytes, each)
    this.#float(bytes, error)
    this.#float(bytes, adjustment)
    this.#float(bytes, height)
    return this
  }

  #float(bytes: DataView, value: number): void {
    bytes.setFloat64(this.#length, value)
    this.#length += 8
  }

  #anyText(value: string): this {
    const bytes = encoder.encode(value)
    if (bytes.length > textLengthMax) throw new RangeError(`text of ${bytes.length} bytes, at most ${textLengthMax}`)
    this.number(bytes.length)
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
    return this
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more))
    larger.set(this.#bytes)
    this.#bytes = larger
  }
}

/** Takes fields off bytes that anybody may have sent. @throws Malformed from every method */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #texts: Texts | undefined
  #at: number
  readonly #end: number

  constructor(bytes: Uint8Array, texts?: Texts, begin = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#texts = texts
    this.#at = begin
    this.#end = end
  }

  get done(): boolean {
    return this.#at === this.#end
  }

  get position(): number {
    return this.#at
  }

  /** A part, which is stepped over here. It may hold more than its reader wants. */
  part(): Reader {
    const length = this.number()
    const begin = this.#at
    const end = begin + length
    if (end > this.#end) throw new Malformed(`message or record of ${length} bytes at byte ${begin} is cut off`)
    this.#at = end
    return new Reader(this.#bytes, this.#texts, begin, end)
  }

  byte(): number {
    if (this.#at === this.#end) throw new Malformed(`message or packet ends at byte ${this.#at}, before its fields do`)
    return this.#bytes[this.#at++] as number
  }

  number(max: number = Number.MAX_SAFE_INTEGER): number {
    let value = 0
    let factor = 1
    for (;;) {
      const byte = this.byte()
      value += (byte & 127) * factor
      if (value > max) throw new Malformed(`number before byte ${this.#at} is above ${max}`)
      if (byte < 128) return value
      factor *= 128
      if (factor > Number.MAX_SAFE_INTEGER) throw new Malformed(`number before byte ${this.#at} does not end`)
    }
  }

  text(max: number): string {
    const length = this.number(max)
    const begin = this.#at
    const end = begin + length
    if (end > this.#end) throw new Malformed(`text of ${length} bytes at byte ${begin} is cut off`)
    this.#at = end
    const known = this.#texts?.find(this.#bytes, begin, end)
    if (known !== undefined) return known
    try {
      return decoder.decode(this.#bytes.subarray(begin, end))
    } catch (cause) {
      throw new Malformed(`text at byte ${begin} is not UTF-8`, { cause })
    }
  }

  /** A copy: what it came in may be much longer, and would be kept with it. */
  blob(max: number): Uint8Array {
    const length = this.number(max)
    const begin = this.#at
    if (begin + length > this.#end) throw new Malformed(`${length} bytes at byte ${begin} are cut off`)
    this.#at = begin + length
    return this.#bytes.slice(begin, this.#at)
  }

  /** Of a member or host: goes into logs and tables, so neither empty nor with control characters. */
  name(): string {
    const name = this.text(nameLengthMax)
    if (!isName(name)) throw new Malformed(`name before byte ${this.#at} is empty or has control characters`)
    return name
  }

  address(): Address {
    const host = this.name()
    const port = this.number(65_535)
    if (port === 0) throw new Malformed(`port before byte ${this.#at} is 0`)
    return { host, port }
  }

  /** Undefined: there is none, or one with other dimensions than ours, which says nothing to us. */
  coordinate(): Coordinate | undefined {
    const count = this.number(dimensionsMax)
    if (count === 0) return undefined
    const end = this.#at + 8 * (count + 3)
    if (end > this.#end) throw new Malformed(`coordinate at byte ${this.#at} is cut off`)
    const bytes = new DataView(this.#bytes.buffer, this.#bytes.byteOffset)
    const numbers: number[] = []
    for (; this.#at < end; this.#at += 8) numbers.push(bytes.getFloat64(this.#at))
    if (count !== dimensions) return undefined
    const [error = 0, adjustment = 0, height = 0] = numbers.splice(count)
    return { vector: numbers, error, adjustment, height }
  }

  tags(): Record<string, string> {
    const count = this.number(tagsMax)
    const entries: [string, string][] = []
    for (let read = 0; read < count; read++) entries.push([this.text(textLengthMax), this.text(textLengthMax)])
    return Object.fromEntries(entries)
  }
}

/** Not empty, and without control characters. */
export function isName(text: string): boolean {
  for (let place = 0; place < text.length; place++) {
    const code = text.charCodeAt(place)
    if (code < 32 || code === 127) return false
  }
  return text.length > 0
}

export function byteLength(text: string): number {
  return encoder.encode(text).length
}

function varintLength(value: number): number {
  let length = 1
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++
  return length
}
