import assert from 'node:assert/strict'
import fc from 'fast-check'
import { momentText } from './time.ts'

describe('moments', () => {
  it('are written as Go does, to the second', () => {
    assert.equal(momentText(0), '1970-01-01T00:00:00Z')
    assert.equal(momentText(1_763_805_939_999), '2025-11-22T10:05:39Z')
    assert.equal(momentText(951_782_400_000), '2000-02-29T00:00:00Z')
  })

  it('are those of the calendar, whenever', () => {
    fc.assert(
      fc.property(fc.integer({ min: -2_000_000_000_000, max: 250_000_000_000_000 }), (wall) => {
        assert.equal(momentText(wall), new Date(wall).toISOString().replace(/\.\d+Z$/, 'Z'))
      }),
    )
  })
})
