/** The last bytes of an output that may be endless, and how many there were: Consul's circular buffer, and its note. */
export class Kept {
  readonly #max: number
  #chunks: Uint8Array[] = []
  #held = 0
  #total = 0

  constructor(max: number) {
    this.#max = max
  }

  add(bytes: Uint8Array): void {
    this.#chunks.push(bytes)
    this.#held += bytes.length
    this.#total += bytes.length
    if (this.#held > 2 * this.#max + 65_536) this.#trim()
  }

  text(): string {
    this.#trim()
    const text = new TextDecoder().decode(this.#chunks[0])
    return this.#total > this.#max ? `Captured ${this.#max} of ${this.#total} bytes\n...\n${text}` : text
  }

  #trim(): void {
    const all = new Uint8Array(this.#held)
    let at = 0
    for (const chunk of this.#chunks) {
      all.set(chunk, at)
      at += chunk.length
    }
    const kept = all.slice(Math.max(0, all.length - this.#max))
    this.#chunks = [kept]
    this.#held = kept.length
  }
}
