/**
 * A set of pairs of 32-bit words, eight bytes each: tens of millions of them fit in memory. States are told apart by 64
 * bits; that two of ten million share them has a chance of less than one in a hundred thousand.
 */
export class Names {
  #words = new Uint32Array(2 << 16)
  #count = 0

  get size(): number {
    return this.#count
  }

  /** Whether it was new. */
  add([one, other]: readonly [number, number]): boolean {
    if (this.#count * 8 > this.#words.length * 3) this.#grow()
    // 0, 0 is an empty place.
    if (!insert(this.#words, one, one === 0 && other === 0 ? 1 : other)) return false
    this.#count++
    return true
  }

  #grow(): void {
    const words = new Uint32Array(this.#words.length * 2)
    for (let at = 0; at < this.#words.length; at += 2) {
      const [one, other] = [this.#words[at] as number, this.#words[at + 1] as number]
      if (one !== 0 || other !== 0) insert(words, one, other)
    }
    this.#words = words
  }
}

function insert(words: Uint32Array, one: number, other: number): boolean {
  const places = words.length / 2
  let place = one & (places - 1)
  for (;;) {
    const [heldOne, heldOther] = [words[2 * place] as number, words[2 * place + 1] as number]
    if (heldOne === 0 && heldOther === 0) {
      words[2 * place] = one
      words[2 * place + 1] = other
      return true
    }
    if (heldOne === one && heldOther === other) return false
    place = (place + 1) & (places - 1)
  }
}
