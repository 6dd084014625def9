import assert from 'node:assert/strict'
import { randomFillSync } from 'node:crypto'
import { BadRequest, Refused } from '../errors.ts'
import { aesGcm } from '../io/node-cipher.ts'
import { Keyring, keyOf } from './keyring.ts'

const cipher = aesGcm((bytes) => randomFillSync(bytes))
const context = new Uint8Array([1])
const said = Buffer.from('said')
const [first, second, third] = [1, 2, 3].map((fill) => Buffer.alloc(32, fill).toString('base64')) as [
  string,
  string,
  string,
]
const seal = (ring: Keyring) => ring.seal(cipher, said, context)
const opens = (ring: Keyring, sealed: Uint8Array, now = 0) => ring.open(cipher, sealed, context, now) !== undefined

describe('a key', () => {
  // As Go's base64.StdEncoding says it; the first two were seen on Consul 1.8.7.
  const wrong: [string, string][] = [
    ['abc', 'illegal base64 data at input byte 0'],
    ['not base64!!', 'illegal base64 data at input byte 3'],
    ['AAAAA', 'illegal base64 data at input byte 4'],
    ['AAAA=', 'illegal base64 data at input byte 4'],
    ['AA=A', 'illegal base64 data at input byte 2'],
    ['AA=', 'illegal base64 data at input byte 3'],
    ['AA==AAAA', 'illegal base64 data at input byte 4'],
    ['-_-_', 'illegal base64 data at input byte 0'],
    ['AAAA', 'key size must be 16, 24 or 32 bytes'],
    ['', 'key size must be 16, 24 or 32 bytes'],
    [Buffer.alloc(33).toString('base64'), 'key size must be 16, 24 or 32 bytes'],
  ]
  for (const [text, reason] of wrong) {
    it(`${JSON.stringify(text)} is none: ${reason}`, () => {
      assert.throws(() => keyOf(text), new BadRequest(reason))
    })
  }

  it('has 16, 24 or 32 bytes, and line ends do not matter', () => {
    for (const length of [16, 24, 32]) {
      const bytes = Buffer.alloc(length, 7)
      const text = bytes.toString('base64')
      assert.deepEqual(keyOf(text), { text, bytes })
      assert.equal(keyOf(`${text}\n`).text, text)
      assert.equal(keyOf(`${text.slice(0, 6)}\r\n${text.slice(6)}`).text, text)
    }
  })
})

describe('a keyring', () => {
  it('seals with the first key and opens with any', () => {
    const ring = new Keyring([first, second])
    assert.ok(opens(new Keyring([first]), seal(ring)))
    assert.ok(!opens(new Keyring([second]), seal(ring)))
    assert.ok(opens(ring, seal(new Keyring([second]))))
    assert.ok(!opens(ring, seal(new Keyring([third]))))
  })

  it('is changed in Consul’s words', () => {
    const ring = new Keyring([first, second])
    assert.deepEqual(ring.after('install', third), [first, second, third])
    assert.deepEqual(ring.after('install', second), [first, second])
    assert.deepEqual(ring.after('use', second), [second, first])
    assert.deepEqual(ring.after('remove', second), [first])
    assert.deepEqual(ring.after('remove', third), [first, second])
    assert.throws(() => ring.after('use', third), new Refused('Requested key is not in the keyring'))
    assert.throws(() => ring.after('use', ''), new Refused('Requested key is not in the keyring'))
    assert.throws(() => ring.after('remove', first), new Refused('Removing the primary key is not allowed'))
    assert.throws(() => ring.after('install', 'AAAA'), new Refused('key size must be 16, 24 or 32 bytes'))
    assert.deepEqual(ring.texts, [first, second], 'asking changed nothing')
  })

  it('takes no more keys than it can be asked to try', () => {
    const many = Array.from({ length: 16 }, (_, at) => Buffer.alloc(16, at).toString('base64'))
    assert.throws(() => new Keyring(many).after('install', first), /16 keys installed already; remove/)
    assert.deepEqual(new Keyring(many).after('install', many[3] as string), many)
  })

  it('opens what is under way when its key is removed, and later does not', () => {
    const ring = new Keyring([first])
    const sealed = seal(ring)
    ring.become([first, second], 0)
    ring.become([second, first], 0)
    ring.become([second], 1000)
    assert.deepEqual(ring.texts, [second])
    assert.ok(opens(ring, sealed, 5999))
    assert.ok(!opens(ring, sealed, 6000))
    // Whatever changes in between.
    ring.become([second, third], 2000)
    assert.ok(opens(ring, sealed, 5999))
    assert.ok(!opens(ring, sealed, 6000))
  })
})
