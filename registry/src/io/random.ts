/**
 * Seeded chance. xoshiro128** (Blackman and Vigna) seeded through splitmix32: 128 bits of state, the same
 * sequence for the same seed on every machine. Not for keys: ciphers take theirs from `Io`.
 */
export class Random {
  #a: number
  #b: number
  #c: number
  #d: number

  /** @param seed four 32-bit words, or one number that is stretched to four. */
  constructor(seed: number | readonly [number, number, number, number]) {
    if (typeof seed === 'number') {
      let state = seed >>> 0
      const next = () => {
        state = (state + 0x9e3779b9) >>> 0
        let mixed = state
        mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
        mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
        return (mixed ^ (mixed >>> 16)) >>> 0
      }
      this.#a = next()
      this.#b = next()
      this.#c = next()
      this.#d = next()
    } else {
      ;[this.#a, this.#b, this.#c, this.#d] = seed
      // All zeros is the one state that never leaves itself.
      if ((this.#a | this.#b | this.#c | this.#d) === 0) this.#a = 1
    }
  }

  /** An unsigned 32-bit word. */
  word(): number {
    const scrambled = Math.imul(this.#b, 5)
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0
    const shifted = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= shifted
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result
  }

  /** In [0, 1). */
  fraction(): number {
    return this.word() / 0x1_0000_0000
  }

  /** A whole number from `from` to `to`, both included. */
  between(from: number, to: number): number {
    return from + Math.floor(this.fraction() * (to - from + 1))
  }

  /** True with the given chance, 0 to 1. */
  chance(probability: number): boolean {
    return this.fraction() < probability
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[this.between(0, items.length - 1)]
  }

  /** A new array in random order. */
  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = items.slice()
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = this.between(0, last)
      const kept = shuffled[last] as T
      shuffled[last] = shuffled[other] as T
      shuffled[other] = kept
    }
    return shuffled
  }

  /** RFC 4122 version 4. */
  uuid(): string {
    const words = [this.word(), this.word(), this.word(), this.word()]
    words[1] = ((words[1] as number) & 0xffff0fff) | 0x4000
    words[2] = ((words[2] as number) & 0x3fffffff) | 0x80000000
    const hex = words.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }
}
