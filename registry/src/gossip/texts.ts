/**
 * Short texts that were read before. The same names, hosts and tags come in nearly every packet: finding one by its bytes
 * costs less than making it anew, and keeps one copy where there would be thousands. Holds a fixed number of them, each
 * place for the last that fell there, so strangers cannot make it grow.
 */
const lengthMax = 64

export class Texts {
  readonly #places: (string | undefined)[]
  readonly #mask: number

  /** @param places a power of two */
  constructor(places = 2_048) {
    this.#places = new Array<string | undefined>(places).fill(undefined)
    this.#mask = places - 1
  }

  /** The text of these bytes; undefined when it is long or not ASCII, and somebody else has to make it. */
  find(bytes: Uint8Array, begin: number, end: number): string | undefined {
    if (end - begin > lengthMax) return undefined
    // FNV-1a
    let hash = 0x811c9dc5
    for (let at = begin; at < end; at++) {
      const byte = bytes[at] as number
      if (byte >= 128) return undefined
      hash = Math.imul(hash ^ byte, 0x01000193)
    }
    const place = (hash ^ (hash >>> 15)) & this.#mask
    const held = this.#places[place]
    if (held !== undefined && same(held, bytes, begin, end)) return held
    const text = String.fromCharCode(...bytes.subarray(begin, end))
    this.#places[place] = text
    return text
  }
}

function same(text: string, bytes: Uint8Array, begin: number, end: number): boolean {
  if (text.length !== end - begin) return false
  for (let place = 0; place < text.length; place++) {
    if (text.charCodeAt(place) !== bytes[begin + place]) return false
  }
  return true
}
