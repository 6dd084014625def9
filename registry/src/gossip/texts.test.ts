import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Texts } from './texts.ts'

const encode = (text: string) => new TextEncoder().encode(text)

describe('texts read before', () => {
  it('are what the bytes say, in whatever company', () => {
    const texts = new Texts(4)
    fc.assert(
      fc.property(fc.string({ maxLength: 80, unit: 'grapheme' }), fc.nat(5), (text, begin) => {
        const bytes = encode('-'.repeat(begin) + text)
        const found = texts.find(bytes, begin, bytes.length)
        const ascii = bytes.every((byte) => byte < 128)
        assert.equal(found, ascii && bytes.length - begin <= 64 ? text : undefined)
      }),
      { seed: 1, numRuns: 2_000 },
    )
  })

  it('that are long or not ASCII are left to others', () => {
    const texts = new Texts()
    assert.equal(texts.find(encode('x'.repeat(65)), 0, 65), undefined)
    assert.equal(texts.find(encode('Zürich'), 0, 7), undefined)
    assert.equal(texts.find(encode(''), 0, 0), '')
  })
})
