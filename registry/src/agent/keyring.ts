/**
 * The keys of one gossip pool: the first, the primary, seals what we send; any of them opens what comes. So keys are changed
 * one member after the other while everybody goes on hearing everybody: install the new one everywhere, use it everywhere,
 * remove the old one. What was sealed with a key just removed may still be under way, so it opens for a moment longer.
 */
import { BadRequest, Refused } from '../errors.ts'
import type { Cipher } from '../io/io.ts'
import type { Millis } from '../model.ts'

/** A change of one member's keys, in Consul's words. */
export type KeyChange = 'install' | 'use' | 'remove'

interface Key {
  /** Base64, as it is shown and kept. */
  readonly text: string
  readonly bytes: Uint8Array
}

/** Everything that cannot be opened is tried with each key. */
const keysMax = 16
/** Longer than a packet lives: frames may wait in a connection for as long as a peer may be silent. */
const removedOpensFor: Millis = 5_000

export class Keyring {
  #keys: readonly Key[]
  #removed: readonly (Key & { until: Millis })[] = []

  /** @param texts base64, the primary first. @throws BadRequest naming what is wrong with a key */
  constructor(texts: readonly string[]) {
    if (texts.length === 0) throw new BadRequest('expected at least one key')
    this.#keys = texts.map(keyOf)
  }

  /** Base64, the primary first. */
  get texts(): string[] {
    return this.#keys.map(({ text }) => text)
  }

  seal(cipher: Cipher, plain: Uint8Array, context: Uint8Array): Uint8Array {
    return cipher.seal((this.#keys[0] as Key).bytes, plain, context)
  }

  /** Undefined: none of our keys opens it. */
  open(cipher: Cipher, sealed: Uint8Array, context: Uint8Array, now: Millis): Uint8Array | undefined {
    for (const { bytes } of this.#keys) {
      const plain = cipher.open(bytes, sealed, context)
      if (plain !== undefined) return plain
    }
    for (const { bytes, until } of this.#removed) {
      const plain = now < until ? cipher.open(bytes, sealed, context) : undefined
      if (plain !== undefined) return plain
    }
    return undefined
  }

  /**
   * The keys as they would be, the primary first; changes nothing. Installing what is there and removing what is not are no
   * errors. @throws Refused in Consul's words
   */
  after(change: KeyChange, text: string): string[] {
    const texts = this.texts
    const canonical = canonicalOf(text)
    const known = canonical !== undefined && texts.includes(canonical)
    switch (change) {
      case 'install':
        if (canonical === undefined) throw new Refused(keySizes)
        if (known) return texts
        if (texts.length === keysMax) {
          throw new Refused(`there are ${keysMax} keys installed already; remove those that are not used any more`)
        }
        return [...texts, canonical]
      case 'use':
        if (!known) throw new Refused('Requested key is not in the keyring')
        return [canonical, ...texts.filter((other) => other !== canonical)]
      case 'remove':
        if (texts[0] === canonical) throw new Refused('Removing the primary key is not allowed')
        return texts.filter((other) => other !== canonical)
      default:
        return change satisfies never
    }
  }

  /** @throws BadRequest as the constructor does */
  become(texts: readonly string[], now: Millis): void {
    const keys = texts.map(keyOf)
    const gone = this.#keys.filter(({ text }) => !texts.includes(text))
    const lately = this.#removed.filter(({ text, until }) => now < until && !texts.includes(text))
    this.#removed = [...lately, ...gone.map((key) => ({ ...key, until: now + removedOpensFor }))]
    this.#keys = keys
  }
}

const keySizes = 'key size must be 16, 24 or 32 bytes'

/** @throws BadRequest in Consul's words */
export function keyOf(text: string): Key {
  const bytes = base64(text)
  if (typeof bytes === 'number') throw new BadRequest(`illegal base64 data at input byte ${bytes}`)
  if (bytes.length !== 16 && bytes.length !== 24 && bytes.length !== 32) throw new BadRequest(keySizes)
  return { text: bytes.toString('base64'), bytes }
}

function canonicalOf(text: string): string | undefined {
  try {
    return keyOf(text).text
  } catch {
    return undefined
  }
}

const alphabet = /^[A-Za-z0-9+/]$/

/** The bytes, or where Go's base64.StdEncoding says that it is wrong: four characters at a time, line ends skipped. */
function base64(text: string): Buffer | number {
  let at = 0
  const skipLineEnds = () => {
    while (text[at] === '\n' || text[at] === '\r') at++
  }
  for (;;) {
    let taken = 0
    while (taken < 4) {
      skipLineEnds()
      const character = text[at]
      if (character === undefined) {
        if (taken === 0) return Buffer.from(text, 'base64')
        return at - taken
      }
      at++
      if (alphabet.test(character)) {
        taken++
        continue
      }
      if (character !== '=' || taken < 2) return at - 1
      if (taken === 2) {
        skipLineEnds()
        if (at === text.length) return text.length
        if (text[at] !== '=') return at - 1
        at++
      }
      skipLineEnds()
      return at < text.length ? at : Buffer.from(text, 'base64')
    }
  }
}
