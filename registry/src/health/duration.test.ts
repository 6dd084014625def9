import assert from 'node:assert/strict'
import fc from 'fast-check'
import { BadRequest } from '../errors.ts'
import { formatDuration, parseDuration } from './duration.ts'

describe('durations', () => {
  const written: [string, number][] = [
    ['0', 0],
    ['-0', 0],
    ['10s', 10_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['500ms', 500],
    ['100us', 0.1],
    ['100µs', 0.1],
    ['100μs', 0.1],
    ['1ns', 0.000001],
    ['+5s', 5_000],
    ['-1.5s', -1_500],
    ['.5s', 500],
    ['1.s', 1_000],
    ['1.001s', 1_001],
    ['1h2m3.5s', 3_723_500],
    ['24h', 86_400_000],
  ]
  for (const [text, milliseconds] of written) {
    it(`${text} is ${milliseconds} ms`, () => assert.equal(parseDuration(text), milliseconds))
  }

  const refused: [string, string][] = [
    ['', 'time: invalid duration ""'],
    ['abc', 'time: invalid duration "abc"'],
    ['-', 'time: invalid duration "-"'],
    ['.s', 'time: invalid duration ".s"'],
    ['1s.', 'time: invalid duration "1s."'],
    ['10', 'time: missing unit in duration "10"'],
    ['1m10', 'time: missing unit in duration "1m10"'],
    ['1x', 'time: unknown unit "x" in duration "1x"'],
    ['1constructor', 'time: unknown unit "constructor" in duration "1constructor"'],
    ['1d', 'time: unknown unit "d" in duration "1d"'],
    ['9999999999h', 'time: invalid duration "9999999999h"'],
  ]
  for (const [text, message] of refused) {
    it(`${JSON.stringify(text)} is refused in Go's words`, () => {
      assert.throws(() => parseDuration(text), new BadRequest(message))
    })
  }

  const printed: [number, string][] = [
    [0, '0s'],
    [0.000001, '1ns'],
    [0.1, '100µs'],
    [1.5, '1.5ms'],
    [500, '500ms'],
    [1_000, '1s'],
    [1_500, '1.5s'],
    [90_000, '1m30s'],
    [3_600_000, '1h0m0s'],
    [5_400_000, '1h30m0s'],
    [86_400_000, '24h0m0s'],
    [-1_500, '-1.5s'],
  ]
  for (const [milliseconds, text] of printed) {
    it(`${milliseconds} ms is written ${text}`, () => assert.equal(formatDuration(milliseconds), text))
  }

  it('what is written reads back the same', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(10 ** 15), max: 10 ** 15 }), (microseconds) => {
        const milliseconds = microseconds / 1000
        assert.ok(Math.abs(parseDuration(formatDuration(milliseconds)) - milliseconds) < 1e-3)
      }),
    )
  })

  it('any text is read or refused, and nothing else happens', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[-+]?([0-9.]{0,3}(h|m|s|x)?){0,3}$/)), (text) => {
        try {
          assert.ok(Number.isFinite(parseDuration(text)))
        } catch (error) {
          assert.ok(error instanceof BadRequest)
        }
      }),
    )
  })
})
