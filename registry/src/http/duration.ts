/** Durations as Go writes them: `1h2m3.5s`, `-10ms`, `0`. */
import type { Millis } from '../model.ts'

const millisOf: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** @returns milliseconds, or the sentence in which Go's time.ParseDuration complains */
export function parseDuration(text: string): { millis: Millis } | { complaint: string } {
  const invalid = { complaint: `time: invalid duration ${JSON.stringify(text)}` }
  const sign = /^[-+]/.test(text) ? text[0] : ''
  let rest = text.slice(sign?.length)
  if (rest === '0') return { millis: 0 }
  if (rest === '') return invalid
  let millis = 0
  while (rest !== '') {
    const number = /^(?:\d+(?:\.\d*)?|\.\d+)/.exec(rest)?.[0]
    if (number === undefined) return invalid
    rest = rest.slice(number.length)
    const unit = /^[^\d.]*/.exec(rest)?.[0] ?? ''
    if (unit === '') return { complaint: `time: missing unit in duration ${JSON.stringify(text)}` }
    const scale = Object.hasOwn(millisOf, unit) ? millisOf[unit] : undefined
    if (scale === undefined) {
      return { complaint: `time: unknown unit ${JSON.stringify(unit)} in duration ${JSON.stringify(text)}` }
    }
    millis += Number(number) * scale
    rest = rest.slice(unit.length)
  }
  // Beyond 2^63 nanoseconds Go's number is full.
  if (millis > 9.223372036854775e12) return invalid
  return { millis: sign === '-' ? -millis : millis }
}
