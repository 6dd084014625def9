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

/** As Go prints it: `1h0m0s`, `1m30s`, `1.5s`, `10ms`, `0s`. */
export function formatDuration(millis: Millis): string {
  if (millis === 0) return '0s'
  const sign = millis < 0 ? '-' : ''
  const size = Math.abs(millis)
  if (size < 1000) {
    const [scale, unit] = size >= 1 ? [1, 'ms'] : size >= 1e-3 ? [1e3, 'µs'] : [1e6, 'ns']
    return `${sign}${Number((size * scale).toPrecision(9))}${unit}`
  }
  const hours = Math.floor(size / 3_600_000)
  const minutes = Math.floor((size % 3_600_000) / 60_000)
  const seconds = Number(((size % 60_000) / 1000).toFixed(9))
  return `${sign}${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`
}
