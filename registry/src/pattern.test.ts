import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { BadPattern, compileCaptures, compilePattern, PatternTooCostly } from './pattern.ts'

interface Golden {
  texts: string[]
  /** Which texts match, by place; or what was wrong. */
  patterns: { pattern: string; matches?: number[]; error?: string }[]
}

const { texts, patterns }: Golden = JSON.parse(
  readFileSync(new URL('../test/data/golden-patterns.json', import.meta.url), 'utf8'),
)

describe('patterns', () => {
  it(`${patterns.length} of them match the same of ${texts.length} texts, or are refused in the same words, as in Consul 1.8.7`, () => {
    for (const { pattern, matches, error } of patterns) {
      if (error !== undefined) {
        assert.throws(() => compilePattern(pattern), { name: 'BadPattern', message: error }, pattern)
        continue
      }
      const compiled = compilePattern(pattern)
      const found = texts.filter((text) => compiled.matches(text))
      const expected = matches?.map((place) => texts[place])
      assert.deepEqual(found, expected, pattern)
    }
  })

  it('match what JavaScript finds where both mean the same', () => {
    const piece = fc.constantFrom(
      'a',
      'b',
      'c',
      '.',
      '[ab]',
      '[^a]',
      '(a|b)',
      '(ab|c)',
      '(?:b|)',
      '^',
      '$',
      '\\b',
      '\\w',
    )
    const count = fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,3}')
    const atom = fc.tuple(piece, count).map(([what, often]) => (/^(\^|\$|\\b)$/.test(what) ? what : what + often))
    const sequence = fc.array(atom, { maxLength: 6 }).map((parts) => parts.join(''))
    const pattern = fc.array(sequence, { minLength: 1, maxLength: 3 }).map((options) => options.join('|'))
    const subject = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' ', 'é'), maxLength: 12 })
    fc.assert(
      fc.property(pattern, subject, (source, text) => {
        assert.equal(compilePattern(source).matches(text), new RegExp(source, 'u').test(text))
      }),
      { seed: 1, numRuns: 5_000 },
    )
  })

  it('are read or refused, whatever they are', () => {
    const piece = fc.constantFrom(...'()[]{}*+?|^$.\\-,:=!<>Ppimsaz019xQE ', '[:', ':]', '(?', '\\x{', '\\p{', '😀')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), fc.string({ maxLength: 20 }), (pieces, text) => {
        try {
          compilePattern(pieces.join('')).matches(text)
        } catch (error) {
          assert.ok(error instanceof BadPattern, String(error))
        }
      }),
      { seed: 1, numRuns: 20_000 },
    )
  })

  it('that take other engines for ever take a step for each of theirs and each character', () => {
    const text = `${'a'.repeat(10_000)}!`
    for (const pattern of ['^(a+)+$', '^((a|aa)*)*$', '^([^!]*)*$', '(x+x+)+y', '(a?){50}a{50}$']) {
      assert.equal(compilePattern(pattern).matches(text), false, pattern)
    }
  })

  it('are refused when they are too long, too deep, or repeat too often', () => {
    for (const pattern of ['(a{1000}){1000}', '((){1000}){1000}', 'a{1000}'.repeat(11), '('.repeat(500)]) {
      assert.throws(() => compilePattern(pattern), BadPattern, pattern)
    }
  })

  it('find the part that JavaScript finds, and what is in their groups', () => {
    const piece = fc.constantFrom(
      'a',
      'b',
      'c',
      '.',
      '[ab]',
      '(a|ab)',
      '(?:b|c)',
      '(a)',
      '(b*)',
      '(a(c)?)',
      '^',
      '$',
      '\\b',
    )
    const count = fc.constantFrom('', '', '?', '??', '{2}', '{1,3}', '{1,3}?')
    // A group that is repeated without end keeps what it matched last; with something empty in it engines differ in what that is.
    const many = fc.constantFrom('a*', 'b+?', '[ab]*?', '(a)+', '(ab|c)*', '(a|b)+?')
    const counted = fc
      .tuple(piece, count)
      .map(([what, often]) => (/^(\^|\$|\\b|\(b\*\)|\(a\(c\)\?\))$/.test(what) ? what : what + often))
    const pattern = fc.array(fc.oneof(counted, many), { maxLength: 6 }).map((parts) => parts.join(''))
    const subject = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' ', 'é'), maxLength: 12 })
    fc.assert(
      fc.property(pattern, subject, (source, text) => {
        const expected = new RegExp(source, 'u').exec(text)
        assert.deepEqual(
          compileCaptures(source).find(text),
          expected?.map((part) => part ?? ''),
        )
      }),
      { seed: 1, numRuns: 5_000 },
    )
  })

  it('find in as many steps as they have, whatever the text', () => {
    assert.equal(compileCaptures('^(a+)+$').find(`${'a'.repeat(5_000)}!`), undefined)
    assert.deepEqual(compileCaptures('(?U)(a+)(b*)').find('aabb'), ['a', 'a', ''])
    assert.deepEqual(compileCaptures('^geo-(?P<what>.*?)-([^\\-]+?)$').find('geo-db-x-1'), ['geo-db-x-1', 'db-x', '1'])
    assert.throws(() => compileCaptures('(a|b|c){500}d').find('ab'.repeat(10_000)), PatternTooCostly)
  })

  it('are given up when they take too many steps', () => {
    const pattern = compilePattern('(a|b){500}c')
    assert.equal(pattern.matches(`${'a'.repeat(500)}c`), true)
    assert.throws(() => pattern.matches('a'.repeat(10_000)), PatternTooCostly)
  })

  it('take from one effort what they need, several of them', () => {
    const pattern = compilePattern('^web-[0-9]+$')
    const effort = { left: 100 }
    let matches = 0
    assert.throws(() => {
      for (;;) if (pattern.matches('web-17', effort)) matches++
    }, PatternTooCostly)
    assert.ok(matches >= 3 && matches < 20, String(matches))
  })
})
