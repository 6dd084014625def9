/**
 * Regular expressions that users give, in the syntax of Go (RE2), which Consul's users know. Go's run in time linear in the
 * text, JavaScript's may not. So a group that repeats must not repeat or choose inside, which leaves the length of the text
 * to the power of the number of repetitions, and that is bounded. What Go does not know (back references, look-around) or
 * spells otherwise (named classes) is refused.
 */

/** The message is Go's where Go refuses the expression, too: `error parsing regexp: …`. */
export class BadPattern extends Error {
  override name = 'BadPattern'
}

/** This text with this expression could keep us busy for too long. */
export class PatternTooCostly extends Error {
  override name = 'PatternTooCostly'
}

export interface Pattern {
  /** Whether any part of the text matches. @throws PatternTooCostly */
  matches(text: string): boolean
}

/** Steps that one match may take at worst: a few milliseconds. */
const matchStepsMax = 2e7

/** @throws BadPattern */
export function compilePattern(pattern: string): Pattern {
  const refused = (why: string) => new BadPattern(`error parsing regexp: ${why}`)
  if (/\\[1-9k]/.test(pattern)) throw refused('invalid escape sequence')
  const perl = /\(\?(?!:|i\)).?/.exec(pattern)
  if (perl !== null || pattern.includes('[[:')) {
    throw refused(`invalid or unsupported Perl syntax: \`${perl?.[0] ?? '[[:'}\``)
  }
  const outline = pattern.replace(/\\[\s\S]|\[\^?\]?(?:\\[\s\S]|[^\]\\])*\]/g, 'x').replaceAll('(?', '(')
  if (outline.includes('[')) throw refused(`missing closing ]: \`${pattern.slice(pattern.lastIndexOf('['))}\``)
  let open = 0
  for (const character of outline) {
    open += character === '(' ? 1 : character === ')' ? -1 : 0
    if (open < 0) throw refused(`unexpected ): \`${pattern}\``)
  }
  if (open > 0) throw refused(`missing closing ): \`${pattern}\``)
  if (/\([^()]*[*+{|?][^()]*\)[*+{?]|\)[^()]*\)[*+{?]/.test(outline)) {
    throw refused('repetition of a group that repeats or chooses is not supported by this version')
  }
  const insensitive = pattern.startsWith('(?i)')
  const repetitions = outline.match(/[*+?{]/g)?.length ?? 0
  try {
    const expression = new RegExp(insensitive ? pattern.slice(4) : pattern, insensitive ? 'i' : '')
    return { matches: (text) => matches(expression, repetitions, text) }
  } catch (error) {
    throw refused(error instanceof Error ? error.message : String(error))
  }
}

function matches(expression: RegExp, repetitions: number, text: string): boolean {
  if (text.length ** (repetitions + 1) > matchStepsMax && repetitions > 0) {
    throw new PatternTooCostly(
      `a text of ${text.length} characters is too long for an expression with ${repetitions} repetitions`,
    )
  }
  return expression.test(text)
}
