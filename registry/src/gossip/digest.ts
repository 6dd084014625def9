/**
 * What a whole table comes to, in 64 bits: by comparing these, two members see that they know the same. Against chance, not
 * against an enemy, who could as well say what we say.
 */
export type Hash = readonly [number, number]

/** Of a table with nothing in it. */
export const nothing: Hash = [0, 0]

/** Of one row. Two walks in FNV-1a's way with different primes, each ended as murmur ends. */
export function hashOf(fields: readonly (string | number)[]): Hash {
  let low = 0x811c9dc5
  let high = 0x9747b28c
  for (const field of fields) {
    const text = String(field)
    low = Math.imul(low ^ text.length, 0x01000193)
    high = Math.imul(high ^ text.length, 0x5bd1e995) + 0x85ebca6b
    for (let place = 0; place < text.length; place++) {
      const code = text.charCodeAt(place)
      low = Math.imul(low ^ code, 0x01000193)
      high = Math.imul(high ^ code, 0x5bd1e995) + 0x85ebca6b
    }
  }
  return [mixed(low), mixed(high)]
}

/** Puts a row into a table's digest, whatever came before; or takes it out again. */
export function combined(digest: Hash, row: Hash): Hash {
  return [(digest[0] ^ row[0]) >>> 0, (digest[1] ^ row[1]) >>> 0]
}

function mixed(hash: number): number {
  let rest = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  rest = Math.imul(rest ^ (rest >>> 13), 0xc2b2ae35)
  return (rest ^ (rest >>> 16)) >>> 0
}
