/**
 * A key and its value as bytes: what a table of them holds, and what a snapshot does. Rows stand one after the other:
 *
 *   length of what follows · length of the key · key (UTF-8) · createIndex · modifyIndex - createIndex · lockIndex
 *   · kind 1 · flags (decimal digits) · value, up to the row's end
 *
 * Numbers without a width are base-128, lowest first, the high bit saying that more follow. The kind's low five bits are
 * how many digits flags has (none for 0), its bit 6 says that the value is text as it is, for what is no canonical base64;
 * any other value is its bytes. The same pair always has the same bytes.
 */
import { Corrupt } from '../errors.ts'
import type { KvPair } from '../model.ts'

const digitsMask = 0x1f
const plainText = 0x40
/** A number of 53 bits takes so many bytes at most. */
const numberBytesMax = 8
/** All of a row that is neither key nor value. */
const aroundMax = 5 * numberBytesMax + 1 + digitsMask

/** Puts a key or a row into memory of its own, `bytes` from `start` to `end`, until the next one. */
export class PairWriter {
  bytes = Buffer.allocUnsafe(256)
  start = 0
  end = 0

  key(text: string): this {
    this.#expectRoom(text.length * 3)
    this.start = 0
    this.end = writeText(this.bytes, 0, text)
    return this
  }

  /** The whole row. */
  row({ key, value, flags, lockIndex, createIndex, modifyIndex }: KvPair): this {
    this.#expectRoom(aroundMax + key.length * 3 + value.length * 3)
    const { bytes } = this
    // The key first, past the room for two lengths: how long it is, is known afterwards.
    const room = 2 * numberBytesMax
    const keyEnd = writeText(bytes, room, key)
    let at = writeNumber(bytes, keyEnd, createIndex)
    at = writeNumber(bytes, at, modifyIndex - createIndex)
    at = writeNumber(bytes, at, lockIndex)
    const digits = flags === '0' ? '' : flags
    const kindAt = at++
    at = writeText(bytes, at, digits)
    let end = at + bytes.write(value, at, 'base64')
    let kind = digits.length
    if (!isCanonical(bytes, at, end, value)) {
      end = at + bytes.write(value, at, 'utf8')
      kind |= plainText
    }
    bytes[kindAt] = kind
    const keyLength = keyEnd - room
    const keyLengthAt = room - numberBytes(keyLength)
    const length = end - keyLengthAt
    this.start = keyLengthAt - numberBytes(length)
    this.end = end
    writeNumber(bytes, this.start, length)
    writeNumber(bytes, keyLengthAt, keyLength)
    return this
  }

  get length(): number {
    return this.end - this.start
  }

  /** A copy to keep. */
  copy(): Buffer {
    return Buffer.from(this.bytes.subarray(this.start, this.end))
  }

  #expectRoom(length: number): void {
    // One large value must not keep its memory for good.
    const enough = this.bytes.length >= length && (this.bytes.length <= keptMax || length > keptMax)
    if (!enough) this.bytes = Buffer.allocUnsafe(Math.max(256, length))
  }
}

const keptMax = 64 * 1024

function isCanonical(bytes: Buffer, from: number, to: number, text: string): boolean {
  return text.length === Math.ceil((to - from) / 3) * 4 && bytes.toString('base64', from, to) === text
}

/** @returns where it ends. */
function writeText(bytes: Buffer, at: number, text: string): number {
  // Short and ASCII is the usual case by far, and a call costs more than its bytes.
  for (let place = 0; place < text.length; place++) {
    const unit = text.charCodeAt(place)
    if (unit > 0x7f || place > 64) return at + bytes.write(text, at, 'utf8')
    bytes[at + place] = unit
  }
  return at + text.length
}

function numberBytes(value: number): number {
  let count = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) count++
  return count
}

/** @returns where it ends. */
function writeNumber(bytes: Buffer, at: number, value: number): number {
  let rest = value
  while (rest >= 0x80) {
    bytes[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  bytes[at] = rest
  return at + 1
}

/** Goes over rows that stand in one piece of memory; trusts them. */
export class PairReader {
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #keyAt = 0
  #keyEnd = 0
  #end = 0

  /** Reads the beginning of the row at `at`, for what follows. */
  open(bytes: Buffer, at: number): this {
    this.#bytes = bytes
    this.#at = at
    const length = this.#number()
    this.#end = this.#at + length
    const keyLength = this.#number()
    this.#keyAt = this.#at
    this.#keyEnd = this.#at + keyLength
    return this
  }

  /** Where the row ends. */
  get end(): number {
    return this.#end
  }
  /** What a damaged row, of lengths that cannot be, would have us read: it must be asked before anything else is. */
  get isSensible(): boolean {
    return this.#keyEnd + 4 <= this.#end && this.#end <= this.#bytes.length
  }

  /** Negative when its key comes before the other one, 0 when it is the same. */
  compare(other: Uint8Array, from: number, to: number): number {
    const bytes = this.#bytes
    const keyAt = this.#keyAt
    const length = this.#keyEnd - keyAt
    const common = Math.min(length, to - from)
    for (let place = 0; place < common; place++) {
      const difference = (bytes[keyAt + place] as number) - (other[from + place] as number)
      if (difference !== 0) return difference
    }
    return length - (to - from)
  }

  startsWith(prefix: Uint8Array): boolean {
    if (this.#keyEnd - this.#keyAt < prefix.length) return false
    for (let place = 0; place < prefix.length; place++) {
      if (this.#bytes[this.#keyAt + place] !== prefix[place]) return false
    }
    return true
  }

  /** Where its key stands in this memory. */
  get keyAt(): number {
    return this.#keyAt
  }
  get keyEnd(): number {
    return this.#keyEnd
  }

  get key(): string {
    return readText(this.#bytes, this.#keyAt, this.#keyEnd)
  }

  get modifyIndex(): number {
    this.#at = this.#keyEnd
    const createIndex = this.#number()
    return createIndex + this.#number()
  }

  /** @param key when it is known, to spare reading it */
  pair(key = this.key): KvPair {
    this.#at = this.#keyEnd
    const createIndex = this.#number()
    const modifyIndex = createIndex + this.#number()
    const lockIndex = this.#number()
    const kind = this.#bytes[this.#at] as number
    const flagsAt = this.#at + 1
    const valueAt = flagsAt + (kind & digitsMask)
    const flags = valueAt === flagsAt ? '0' : readText(this.#bytes, flagsAt, valueAt)
    const value = this.#bytes.toString((kind & plainText) === 0 ? 'base64' : 'utf8', valueAt, this.#end)
    return { key, value, flags, lockIndex, createIndex, modifyIndex }
  }

  #number(): number {
    const bytes = this.#bytes
    let byte = bytes[this.#at++] as number
    if (byte < 0x80) return byte
    let value = 0
    let unit = 1
    for (; byte >= 0x80; byte = bytes[this.#at++] as number) {
      value += (byte & 0x7f) * unit
      unit *= 0x80
    }
    return value + byte * unit
  }
}

function readText(bytes: Buffer, from: number, to: number): string {
  return bytes.toString('utf8', from, to)
}

/**
 * Where the rows end, for memory that comes from outside; `onRow` is told of each, with the row open.
 * @throws Corrupt when they are no rows
 */
export function eachRow(bytes: Buffer, onRow: (row: PairReader, at: number) => void): void {
  const row = new PairReader()
  for (let at = 0; at < bytes.length; at = row.end) {
    if (!row.open(bytes, at).isSensible || row.end <= at) throw new Corrupt(`no row of a key at byte ${at}`)
    onRow(row, at)
  }
}
