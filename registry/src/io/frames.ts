/**
 * Length-prefixed frames over a byte stream: four bytes, big endian, say how many bytes follow. An empty frame is the
 * transport's own: "do you still read?", and the answer to it. A length above `frameLengthMax` cannot be skipped, because
 * nothing says where the next frame begins: the connection has to end.
 */

/** The longest body of a frame: a batch of appends, a 512 KiB value and its wrapping many times over. */
export const frameLengthMax = 8 * 1024 * 1024 + 64 * 1024
export const frameHeaderLength = 4

/** The header of a frame with this body. @throws RangeError when the body is too long. */
export function frameHeader(body: Uint8Array): Uint8Array {
  if (body.length > frameLengthMax) {
    throw new RangeError(`expected a frame of at most ${frameLengthMax} bytes, received ${body.length}`)
  }
  const header = Buffer.allocUnsafe(frameHeaderLength)
  header.writeUInt32BE(body.length, 0)
  return header
}

/** One connection's incoming half: bytes in, whole frames out. */
export class FrameJoiner {
  #chunks: Uint8Array[] = []
  #length = 0
  readonly #lengthMax: number

  constructor(lengthMax = frameLengthMax) {
    this.#lengthMax = lengthMax
  }

  /** How many bytes wait for the rest of their frame. */
  get pending(): number {
    return this.#length
  }

  /**
   * The frames completed by `chunk`, in order; they may share memory with it.
   * @throws RangeError on a length that no frame has; the joiner must not be used any more.
   */
  push(chunk: Uint8Array): Uint8Array[] {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    const frames: Uint8Array[] = []
    for (;;) {
      const length = this.#nextLength()
      if (length === undefined || this.#length < frameHeaderLength + length) return frames
      frames.push(this.#take(frameHeaderLength + length).subarray(frameHeaderLength))
    }
  }

  #nextLength(): number | undefined {
    if (this.#length < frameHeaderLength) return undefined
    // The header may lie across chunks: then the first ones are joined, at most four bytes' worth of them and the next.
    while (this.#chunks[0]!.length < frameHeaderLength) {
      this.#chunks.splice(0, 2, Buffer.concat([this.#chunks[0]!, this.#chunks[1]!]))
    }
    const first = this.#chunks[0]!
    const length = ((first[0]! << 24) | (first[1]! << 16) | (first[2]! << 8) | first[3]!) >>> 0
    if (length > this.#lengthMax) {
      throw new RangeError(`expected a frame of at most ${this.#lengthMax} bytes, received a length of ${length}`)
    }
    return length
  }

  #take(length: number): Uint8Array {
    this.#length -= length
    const first = this.#chunks[0]!
    if (first.length >= length) {
      if (first.length === length) this.#chunks.shift()
      else this.#chunks[0] = first.subarray(length)
      return first.subarray(0, length)
    }
    const taken = Buffer.allocUnsafe(length)
    let filled = 0
    let used = 0
    while (filled < length) {
      const chunk = this.#chunks[used]!
      const part = Math.min(chunk.length, length - filled)
      taken.set(chunk.subarray(0, part), filled)
      filled += part
      if (part === chunk.length) used++
      else this.#chunks[used] = chunk.subarray(part)
    }
    this.#chunks.splice(0, used)
    return taken
  }
}
