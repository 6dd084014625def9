/** JSON as Go's encoder writes it, byte for byte where clients can see it: `<`, `>`, `&` escaped, 64-bit numbers exact. */

const special = /[<>&\u2028\u2029]/g

/** Compact JSON on one line. Map keys come in the order given: sort them first (`sorted`). */
export function encode(value: unknown): string {
  if (typeof value === 'boolean') return String(value)
  return JSON.stringify(value).replace(
    special,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** A number of any size from its decimal digits, for `encode`. */
export function exact(decimal: string): unknown {
  // Fifteen digits are always below 2^53.
  if (decimal.length <= 15) return Number(decimal)
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(decimal)
}

/** A copy with its keys in the order of their UTF-16 code units, which is Go's for ASCII keys. */
export function sorted<T>(map: Readonly<Record<string, T>>): Record<string, T> {
  // fromEntries defines every key as the map's own, `__proto__` too.
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
}

/** Compact JSON spread over lines, four spaces a level; `{}` and `[]` stay as they are. Works on the text, so that no digit is lost. */
export function indented(json: string): string {
  let out = ''
  let depth = 0
  let from = 0
  let inText = false
  const line = () => `\n${'    '.repeat(depth)}`
  for (let at = 0; at < json.length; at++) {
    const character = json[at]
    if (inText) {
      if (character === '\\') at++
      else if (character === '"') inText = false
      continue
    }
    switch (character) {
      case '"':
        inText = true
        break
      case '{':
      case '[': {
        const next = json[at + 1]
        if (next === '}' || next === ']') {
          at++
          break
        }
        depth++
        out += json.slice(from, at + 1) + line()
        from = at + 1
        break
      }
      case '}':
      case ']':
        depth--
        out += json.slice(from, at) + line()
        from = at
        break
      case ',':
        out += json.slice(from, at + 1) + line()
        from = at + 1
        break
      case ':':
        out += `${json.slice(from, at)}: `
        from = at + 1
        break
    }
  }
  return out + json.slice(from)
}
