/** Durations as Go writes them (`time.ParseDuration`, `Duration.String`): what Consul's clients send and expect. */
import { BadRequest } from '../errors.ts'
import type { Millis } from '../model.ts'

const nanosecondsIn: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}

/** What fits in the 64 bits Go keeps a duration in: about 292 years. */
const nanosecondsMax = 2 ** 63

/**
 * `"10s"`, `"1m30s"`, `"1.5h"`, `"500ms"`, `"100us"`, `"-1s"`, `"0"`. Milliseconds, with a fraction where the text has one.
 * @throws BadRequest with Go's words, which Consul's answers carry.
 */
export function parseDuration(text: string): Millis {
  const invalid = () => new BadRequest(`time: invalid duration ${JSON.stringify(text)}`)
  const negative = text.startsWith('-')
  const unsigned = negative || text.startsWith('+') ? text.slice(1) : text
  if (unsigned === '0') return 0
  if (unsigned === '') throw invalid()
  const part = /([0-9]*)(\.[0-9]*)?([^0-9.]*)/y
  let nanoseconds = 0
  while (part.lastIndex < unsigned.length) {
    const [, whole = '', fraction = '', unit = ''] = part.exec(unsigned) ?? []
    if (whole === '' && fraction.length < 2) throw invalid()
    if (unit === '') throw new BadRequest(`time: missing unit in duration ${JSON.stringify(text)}`)
    const size = Object.hasOwn(nanosecondsIn, unit) ? nanosecondsIn[unit] : undefined
    if (size === undefined) {
      throw new BadRequest(`time: unknown unit ${JSON.stringify(unit)} in duration ${JSON.stringify(text)}`)
    }
    nanoseconds += Number(`${whole === '' ? '0' : whole}${fraction}`) * size
    if (nanoseconds >= nanosecondsMax) throw invalid()
  }
  const milliseconds = Math.round(nanoseconds) / 1e6
  return negative && milliseconds !== 0 ? -milliseconds : milliseconds
}

/** `1m30s`, `1h0m0s`, `1.5s`, `500ms`, `100µs`, `0s`: whole nanoseconds, no zeros at the end of a fraction. */
export function formatDuration(duration: Millis): string {
  const nanoseconds = Math.round(Math.abs(duration) * 1e6)
  const sign = duration < 0 && nanoseconds > 0 ? '-' : ''
  if (nanoseconds === 0) return '0s'
  if (nanoseconds < 1e3) return `${sign}${nanoseconds}ns`
  if (nanoseconds < 1e6) return `${sign}${decimal(nanoseconds, 1e3)}µs`
  if (nanoseconds < 1e9) return `${sign}${decimal(nanoseconds, 1e6)}ms`
  const hours = Math.floor(nanoseconds / 3600e9)
  const minutes = Math.floor((nanoseconds % 3600e9) / 60e9)
  const seconds = `${decimal(nanoseconds % 60e9, 1e9)}s`
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`
}

/** `count / unit` with all its digits and no more; `unit` is a power of ten. */
function decimal(count: number, unit: number): string {
  const whole = Math.floor(count / unit)
  const digits = String(unit).length - 1
  const fraction = String(count % unit)
    .padStart(digits, '0')
    .replace(/0+$/, '')
  return fraction === '' ? String(whole) : `${whole}.${fraction}`
}
