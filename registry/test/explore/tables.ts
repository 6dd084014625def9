/**
 * Tables of whole numbers, as dense as they can be: a hundred million states fit in a few gigabytes. Nothing is a
 * fingerprint: what is held is the key itself, so two different keys are never taken for one.
 */

const chunkBits = 20
const chunkMask = (1 << chunkBits) - 1

/** A list of numbers of 32 bits that grows without being copied. */
export class Numbers {
  readonly #chunks: Int32Array[] = []
  length = 0

  push(value: number): void {
    if ((this.length & chunkMask) === 0) this.#chunks.push(new Int32Array(1 << chunkBits))
    ;(this.#chunks[this.length >>> chunkBits] as Int32Array)[this.length & chunkMask] = value
    this.length++
  }

  at(index: number): number {
    return (this.#chunks[index >>> chunkBits] as Int32Array)[index & chunkMask] as number
  }
}

function mixed(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return value ^ (value >>> 16)
}

/** Quadruples, each with a number: the order in which they came. */
export class States {
  readonly one = new Numbers()
  readonly two = new Numbers()
  readonly three = new Numbers()
  readonly rest = new Numbers()
  #slots = new Int32Array(1 << 16).fill(-1)

  get size(): number {
    return this.one.length
  }

  at(number: number): readonly [number, number, number, number] {
    return [this.one.at(number), this.two.at(number), this.three.at(number), this.rest.at(number)]
  }

  /** Its number, and whether it is new, as one value: the complement when it was known. */
  add(one: number, two: number, three: number, rest: number): number {
    if (this.size * 10 > this.#slots.length * 7) this.#grow()
    const mask = this.#slots.length - 1
    let slot = hashOf(one, two, three, rest) & mask
    for (;;) {
      const held = this.#slots[slot] as number
      if (held < 0) break
      if (
        this.one.at(held) === one &&
        this.two.at(held) === two &&
        this.three.at(held) === three &&
        this.rest.at(held) === rest
      )
        return ~held
      slot = (slot + 1) & mask
    }
    const number = this.size
    this.#slots[slot] = number
    this.one.push(one)
    this.two.push(two)
    this.three.push(three)
    this.rest.push(rest)
    return number
  }

  #grow(): void {
    const slots = new Int32Array(this.#slots.length * 2).fill(-1)
    const mask = slots.length - 1
    for (let at = 0; at < this.size; at++) {
      let slot = hashOf(this.one.at(at), this.two.at(at), this.three.at(at), this.rest.at(at)) & mask
      while ((slots[slot] as number) >= 0) slot = (slot + 1) & mask
      slots[slot] = at
    }
    this.#slots = slots
  }
}

function hashOf(one: number, two: number, three: number, rest: number): number {
  return mixed(mixed(mixed(mixed(one + 0x9e3779b9) + two) + three) + rest)
}

/** What is known of pairs of numbers; -1: nothing yet. */
export class Pairs {
  #keys = new Int32Array(2 << 12)
  #values = new Int32Array(1 << 12).fill(-1)
  #count = 0

  get(one: number, two: number): number {
    const mask = this.#values.length - 1
    let slot = mixed(mixed(one) + two) & mask
    for (;;) {
      const value = this.#values[slot] as number
      if (value < 0 || (this.#keys[2 * slot] === one && this.#keys[2 * slot + 1] === two)) return value
      slot = (slot + 1) & mask
    }
  }

  /** A pair that is not there, and a value that is not negative. */
  set(one: number, two: number, value: number): void {
    if (this.#count * 2 > this.#values.length) this.#grow()
    this.#count++
    this.#insert(one, two, value)
  }

  #insert(one: number, two: number, value: number): void {
    const mask = this.#values.length - 1
    let slot = mixed(mixed(one) + two) & mask
    while ((this.#values[slot] as number) >= 0) slot = (slot + 1) & mask
    this.#keys[2 * slot] = one
    this.#keys[2 * slot + 1] = two
    this.#values[slot] = value
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values]
    this.#keys = new Int32Array(keys.length * 2)
    this.#values = new Int32Array(values.length * 2).fill(-1)
    for (const [at, value] of values.entries())
      if (value >= 0) this.#insert(keys[2 * at] as number, keys[2 * at + 1] as number, value)
  }
}
