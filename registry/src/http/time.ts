/** Moments as Go writes them in JSON. */
import type { Millis } from '../model.ts'

const dayLasts: Millis = 86_400_000

/** `2026-11-22T10:05:39Z`: a moment of the wall clock (milliseconds since 1970), to the second, in UTC. */
export function momentText(wall: Millis): string {
  const day = Math.floor(wall / dayLasts)
  const seconds = Math.floor((wall - day * dayLasts) / 1000)
  const two = (number: number) => String(number).padStart(2, '0')
  const clock = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map((part) => two(Math.floor(part))).join(':')
  return `${dateText(day)}T${clock}Z`
}

/** Of a day counted from 1970-01-01, by eras of 400 years that begin in March (Hinnant, "chrono-compatible low-level date algorithms"). */
function dateText(day: number): string {
  const shifted = day + 719_468
  const era = Math.floor(shifted / 146_097)
  const ofEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  )
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const fromMarch = Math.floor((5 * ofYear + 2) / 153)
  const dayOfMonth = ofYear - Math.floor((153 * fromMarch + 2) / 5) + 1
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  return [String(year).padStart(4, '0'), String(month).padStart(2, '0'), String(dayOfMonth).padStart(2, '0')].join('-')
}
