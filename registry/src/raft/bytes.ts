/**
 * Reading and writing fixed-width fields. A `Reader` never reads past its end and never believes a length before it has
 * seen that so many bytes are there: what it cannot read it reports as `Malformed`, with the place and the expectation.
 */

/** These bytes are not what they claim to be. Whoever sent or stored them is wrong; nothing was taken from them. */
export class Malformed extends Error {
  override name = 'Malformed'
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/** Texts up to here are looked at byte by byte. */
const shortMax = 64

/** How many bytes `text` takes with its length in front. */
export function textLength(text: string): number {
  return 2 + Buffer.byteLength(text)
}

export class Writer {
  readonly bytes: Uint8Array
  #at = 0

  /** @param length all that will be written; known in advance so that nothing is copied twice. */
  constructor(length: number) {
    // From Node's pool when it is short: every byte of it is written, or `done` refuses.
    const { buffer, byteOffset } = Buffer.allocUnsafe(length)
    this.bytes = new Uint8Array(buffer, byteOffset, length)
  }

  byte(value: number): void {
    this.#expectRoom(1)
    this.bytes[this.#at++] = value
  }

  flag(value: boolean): void {
    this.byte(value ? 1 : 0)
  }

  word(value: number): void {
    this.#expectRoom(4)
    const { bytes } = this
    bytes[this.#at++] = value >>> 24
    bytes[this.#at++] = value >>> 16
    bytes[this.#at++] = value >>> 8
    bytes[this.#at++] = value
  }

  /** A whole number below 2^53 in eight bytes, big end first. */
  number(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`expected a whole number, received ${value}`)
    this.word(Math.floor(value / 0x1_0000_0000))
    this.word(value % 0x1_0000_0000)
  }

  text(value: string): void {
    const start = this.#at + 2
    let at = 0
    // Ids and addresses are short and ASCII: byte by byte they are written in a tenth of the time.
    if (value.length <= shortMax && start + value.length <= this.bytes.length) {
      for (; at < value.length; at++) {
        const code = value.charCodeAt(at)
        if (code > 0x7f) break
        this.bytes[start + at] = code
      }
      if (at === value.length) {
        this.#length(at)
        this.#at += at
        return
      }
    }
    const { written } = encoder.encodeInto(value, this.bytes.subarray(this.#at + 2))
    if (written > 0xffff) throw new RangeError(`expected a text of at most 65535 bytes, received ${written}`)
    this.#length(written)
    this.#at += written
  }

  #length(value: number): void {
    this.#expectRoom(2)
    this.bytes[this.#at++] = value >>> 8
    this.bytes[this.#at++] = value
  }

  #expectRoom(length: number): void {
    if (this.#at + length > this.bytes.length) {
      throw new RangeError(`expected to write ${this.bytes.length} bytes, and there are more`)
    }
  }

  raw(value: Uint8Array): void {
    this.bytes.set(value, this.#at)
    this.#at += value.length
  }

  /** The bytes, all of them written. */
  done(): Uint8Array {
    if (this.#at !== this.bytes.length)
      throw new RangeError(`expected to write ${this.bytes.length} bytes, wrote ${this.#at}`)
    return this.bytes
  }
}

export class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  byte(what: string): number {
    return this.#bytes[this.#take(1, what)] as number
  }

  flag(what: string): boolean {
    const value = this.byte(what)
    if (value > 1) throw new Malformed(`${what}: expected 0 or 1, received ${value}`)
    return value === 1
  }

  word(what: string): number {
    return this.#word(this.#take(4, what))
  }

  number(what: string): number {
    const at = this.#take(8, what)
    const value = this.#word(at) * 0x1_0000_0000 + this.#word(at + 4)
    if (!Number.isSafeInteger(value)) throw new Malformed(`${what}: expected a number below 2^53, received ${value}`)
    return value
  }

  text(what: string): string {
    const lengthAt = this.#take(2, what)
    const length = ((this.#bytes[lengthAt] as number) << 8) | (this.#bytes[lengthAt + 1] as number)
    const at = this.#take(length, what)
    if (length <= shortMax) {
      let text = ''
      let end = at
      for (; end < at + length; end++) {
        const code = this.#bytes[end] as number
        if (code > 0x7f) break
        text += String.fromCharCode(code)
      }
      if (end === at + length) return text
    }
    try {
      return decoder.decode(this.#bytes.subarray(at, at + length))
    } catch (cause) {
      throw new Malformed(`${what}: expected UTF-8`, { cause })
    }
  }

  /** A view, not a copy: these bytes must not change afterwards. */
  raw(length: number, what: string): Uint8Array {
    const at = this.#take(length, what)
    return this.#bytes.subarray(at, at + length)
  }

  /** How many items follow, each at least `sizeMin` bytes; a count that cannot be true is refused before anything is made. */
  count(sizeMin: number, what: string): number {
    const count = this.word(what)
    if (count * sizeMin > this.left) {
      throw new Malformed(`${what}: ${count} of them need at least ${count * sizeMin} bytes, ${this.left} are left`)
    }
    return count
  }

  /** Nothing may follow. */
  end(what: string): void {
    if (this.left > 0) throw new Malformed(`${what}: ${this.left} bytes too many`)
  }

  #word(at: number): number {
    const bytes = this.#bytes as { [at: number]: number }
    return (
      (((bytes[at] as number) << 24) |
        ((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number)) >>>
      0
    )
  }

  #take(length: number, what: string): number {
    if (length > this.left) throw new Malformed(`${what}: expected ${length} bytes, ${this.left} are left`)
    const at = this.#at
    this.#at += length
    return at
  }
}
