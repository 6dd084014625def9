import assert from 'node:assert/strict'
import { randomBytes, randomFillSync } from 'node:crypto'
import fc from 'fast-check'
import { aesGcm } from './node-cipher.ts'

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
const nothing = new Uint8Array(0)
const real = aesGcm((bytes) => randomFillSync(bytes))

/** McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 4, 10 and 16: 128, 192 and 256 bits. */
const plain = hex(
  `d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
   1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39`,
)
const context = hex('feedfacedeadbeeffeedfacedeadbeefabaddad2')
const nonce = hex('cafebabefacedbaddecaf888')
const vectors = [
  {
    key: 'feffe9928665731c6d6a8f9467308308',
    sealed: `42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091
             5bc94fbc3221a5db94fae95ae7121a47`,
  },
  {
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c',
    sealed: `3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c
             7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710
             2519498e80f1478f37ba55bd6d27618c`,
  },
  {
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308',
    sealed: `522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
             76fc6ece0f4e1768cddf8853bb2d551b`,
  },
]

describe('the cipher', () => {
  for (const { key, sealed } of vectors) {
    it(`seals as published, with a key of ${key.length / 2} bytes`, () => {
      const cipher = aesGcm((bytes) => bytes.set(nonce))
      const bytes = cipher.seal(hex(key), plain, context)
      assert.equal(Buffer.from(bytes).toString('hex'), Buffer.concat([nonce, hex(sealed)]).toString('hex'))
      assert.deepEqual(Buffer.from(cipher.open(hex(key), bytes, context) ?? nothing), Buffer.from(plain))
    })
  }

  it('opens what it sealed, and 28 bytes are all it adds', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 3000 }),
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom(16, 24, 32),
        (bytes, about, length) => {
          const key = randomBytes(length)
          const sealed = real.seal(key, bytes, about)
          assert.equal(sealed.length, bytes.length + 28)
          assert.deepEqual(Buffer.from(real.open(key, sealed, about) ?? [1]), Buffer.from(bytes))
        },
      ),
    )
  })

  it('opens nothing that was changed, cut, sealed with another key or for another purpose', () => {
    const key = randomBytes(32)
    const sealed = real.seal(key, plain, context)
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Uint8Array.from(sealed)
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      assert.equal(real.open(key, changed, context), undefined, `bit ${bit}`)
    }
    for (let length = 0; length < sealed.length; length++) {
      assert.equal(real.open(key, sealed.subarray(0, length), context), undefined, `${length} bytes`)
    }
    assert.equal(real.open(randomBytes(32), sealed, context), undefined)
    assert.equal(real.open(key, sealed, nothing), undefined)
  })

  it('never takes a nonce twice', () => {
    const key = randomBytes(16)
    const seen = new Set<string>()
    for (let sealed = 0; sealed < 5_000; sealed++) {
      seen.add(Buffer.from(real.seal(key, nothing, nothing).subarray(0, 12)).toString('hex'))
    }
    assert.equal(seen.size, 5_000)
  })

  it('whatever the bytes, opening does not throw', () => {
    const key = randomBytes(24)
    for (let run = 0; run < 5_000; run++) {
      assert.equal(real.open(key, randomBytes(run % 200), context), undefined)
    }
  })
})
