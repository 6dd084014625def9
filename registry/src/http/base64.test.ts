import assert from 'node:assert/strict'
import fc from 'fast-check'
import { readBase64 } from './base64.ts'

describe('base64 in JSON', () => {
  it('of any bytes is read as it was written, with line ends anywhere', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.nat(), (bytes, place) => {
        const value = Buffer.from(bytes).toString('base64')
        assert.deepEqual(readBase64(value), { value })
        const at = place % (value.length + 1)
        assert.deepEqual(readBase64(`${value.slice(0, at)}\r\n${value.slice(at)}`), { value })
      }),
    )
  })

  // What Go's encoding/base64 says of the same texts.
  const illegal: [string, number][] = [
    ['!!!', 0],
    ['aGk', 0],
    ['aGkaGk', 4],
    ['a', 0],
    ['aGk=x', 4],
    ['aG=k', 2],
    ['aG=', 3],
    ['a===', 1],
    ['=', 0],
    ['aGk=aGk=', 4],
    ['_-_-', 0],
    ['aGé=', 2],
    ['aG k', 2],
    ['aGk==', 4],
  ]
  for (const [text, place] of illegal) {
    it(`${JSON.stringify(text)} is illegal at ${place}`, () => assert.deepEqual(readBase64(text), { illegal: place }))
  }

  it('bits that say nothing are dropped', () => {
    assert.deepEqual(readBase64('aGl='), { value: 'aGk=' })
  })
})
