/** AES-GCM by OpenSSL: the real cipher, in the simulator too. [door] */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import type { Cipher } from './io.ts'

const nonceLength = 12
const tagLength = 16
/** Chance comes in such pieces: asking for twelve bytes takes as long as asking for all of them. */
const nonceBytes = nonceLength * 512
const algorithms = new Map([
  [16, 'aes-128-gcm' as const],
  [24, 'aes-192-gcm' as const],
  [32, 'aes-256-gcm' as const],
])

/** @param fillRandom fills the bytes with what nobody can foretell; a simulation gives its own chance */
export function aesGcm(fillRandom: (bytes: Uint8Array) => void): Cipher {
  const chance = Buffer.alloc(nonceBytes)
  let used = nonceBytes
  const nonce = () => {
    if (used === nonceBytes) {
      fillRandom(chance)
      used = 0
    }
    used += nonceLength
    return chance.subarray(used - nonceLength, used)
  }
  // OpenSSL takes longer over new key bytes than over a packet, and who seals has few keys that never change.
  const prepared = new WeakMap<Uint8Array, KeyObject>()
  const keyOf = (bytes: Uint8Array) => {
    let key = prepared.get(bytes)
    if (key === undefined) {
      key = createSecretKey(bytes)
      prepared.set(bytes, key)
    }
    return key
  }
  return {
    seal(key, plain, context) {
      const iv = nonce()
      const cipher = createCipheriv(algorithmOf(key), keyOf(key), iv, { authTagLength: tagLength })
      cipher.setAAD(context)
      return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
    },
    open(key, sealed, context) {
      const end = sealed.length - tagLength
      if (end < nonceLength) return undefined
      const iv = sealed.subarray(0, nonceLength)
      const decipher = createDecipheriv(algorithmOf(key), keyOf(key), iv, { authTagLength: tagLength })
      decipher.setAAD(context)
      decipher.setAuthTag(sealed.subarray(end))
      const plain = decipher.update(sealed.subarray(nonceLength, end))
      try {
        // Says whether all of it is as it was sealed; in this mode it adds no bytes.
        decipher.final()
      } catch {
        return undefined
      }
      return plain
    },
  }
}

/** @throws RangeError for a key of another length: keys are checked where they come in */
function algorithmOf(key: Uint8Array) {
  const algorithm = algorithms.get(key.length)
  if (algorithm === undefined) throw new RangeError(`expected a key of 16, 24 or 32 bytes, received ${key.length}`)
  return algorithm
}
