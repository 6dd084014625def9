/** Base64 in JSON as Go's decoder takes it: the standard alphabet, padded, line ends anywhere. */
import type { Base64 } from '../model.ts'

/** The same bytes in canonical form, or the place of the first character that cannot be where it is. */
export function readBase64(text: string): { value: Base64 } | { illegal: number } {
  const value = Buffer.from(text, 'base64').toString('base64')
  // The usual case by far.
  if (value === text) return { value }
  const illegal = illegalAt(text)
  return illegal === undefined ? { value } : { illegal }
}

/** Node's decoder takes more than is standard, and stops silently at what it does not know. */
function illegalAt(text: string): number | undefined {
  /** How many characters of a group of four are there. */
  let inGroup = 0
  for (let at = 0; at < text.length; at++) {
    const character = text[at] as string
    if (character === '\n' || character === '\r') continue
    if (/[A-Za-z0-9+/]/.test(character)) {
      inGroup = (inGroup + 1) % 4
      continue
    }
    if (character !== '=' || inGroup < 2) return at
    return inGroup === 2 ? illegalPadding(text, at + 1) : illegalEnd(text, at + 1)
  }
  return inGroup === 0 ? undefined : text.length - inGroup
}

/** The second of two padding characters is due. */
function illegalPadding(text: string, from: number): number | undefined {
  const at = afterLineEnds(text, from)
  if (at >= text.length) return at
  // Go names the place before.
  return text[at] === '=' ? illegalEnd(text, at + 1) : at - 1
}

function illegalEnd(text: string, from: number): number | undefined {
  const at = afterLineEnds(text, from)
  return at < text.length ? at : undefined
}

function afterLineEnds(text: string, from: number): number {
  let at = from
  while (text[at] === '\n' || text[at] === '\r') at++
  return at
}
