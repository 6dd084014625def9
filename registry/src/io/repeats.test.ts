import assert from 'node:assert/strict'
import type { Log } from './io.ts'
import { Repeats } from './repeats.ts'

describe('repeated warnings', () => {
  const build = () => {
    const lines: string[] = []
    const log: Log = (level, area, message, fields) => {
      lines.push(`${level} ${area} ${message}${fields === undefined ? '' : ` ${JSON.stringify(fields)}`}`)
    }
    return { repeats: new Repeats(log), lines }
  }

  it('are said once and then counted, and the count is said after a minute', () => {
    const { repeats, lines } = build()
    for (let at = 0; at < 1000; at++) repeats.warn('noise', at, 'network', 'noise', { from: at })
    assert.deepEqual(lines, ['warn network noise {"from":0}'])
    repeats.tick(59_999)
    assert.equal(lines.length, 1)
    repeats.tick(60_000)
    assert.deepEqual(lines.slice(1), ['warn network noise: 999 more within 60 s'])
    repeats.tick(600_000)
    assert.equal(lines.length, 2)
    repeats.warn('noise', 600_000, 'network', 'noise')
    assert.equal(lines.length, 3)
  })

  it('that go on are one line a minute', () => {
    const { repeats, lines } = build()
    for (let at = 0; at <= 300_000; at += 100) repeats.warn('noise', at, 'network', 'noise')
    assert.equal(lines.length, 6)
    assert.equal(lines.at(-1), 'warn network noise: 600 more within 60 s')
  })

  it('of different kinds are said apart, up to a hundred kinds', () => {
    const { repeats, lines } = build()
    for (let kind = 0; kind < 5_000; kind++) repeats.warn(`from ${kind}`, 0, 'network', `noise from ${kind}`)
    assert.equal(lines.length, 101)
    repeats.tick(60_000)
    assert.equal(lines.length, 102)
    assert.match(lines.at(-1) ?? '', /4899 more within 60 s/)
  })
})
