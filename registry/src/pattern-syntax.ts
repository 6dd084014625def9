/**
 * Regular expressions in the syntax of Go's regexp package (RE2 with Perl's classes and flags), read into a tree. What Go
 * refuses is refused in Go's words.
 */

/** The message is Go's: `error parsing regexp: missing closing ): ...`. */
export class BadPattern extends Error {
  override name = 'BadPattern'
}

/** Whether a code point is one of them. */
export type CharacterSet = (code: number) => boolean

export type Place = 'beginText' | 'endText' | 'beginLine' | 'endLine' | 'wordBoundary' | 'noWordBoundary'

export type Expression =
  | { type: 'character'; set: CharacterSet }
  | { type: 'place'; place: Place }
  | { type: 'sequence'; parts: Expression[] }
  | { type: 'choice'; options: Expression[] }
  /** `max` may be infinite. */
  | { type: 'repeat'; inner: Expression; min: number; max: number; lazy: boolean }
  /** A part that is asked for by its number, from 1 in the order of their parentheses. */
  | { type: 'group'; inner: Expression; number: number }

interface Flags {
  /** i */
  fold: boolean
  /** m: ^ and $ are lines' */
  lines: boolean
  /** s: a dot is a line break, too */
  dotBreaks: boolean
  /** U: `*` is what `*?` is otherwise, and the other way round */
  lazy: boolean
}

/** Go's. */
const repeatMax = 1_000
const depthMax = 200

/** @throws BadPattern */
export function parseExpression(text: string): Expression {
  return new Parser(text).parse()
}

class Parser {
  readonly #text: string
  #at = 0
  #depth = 0
  #flags: Flags = { fold: false, lines: false, dotBreaks: false, lazy: false }
  #groups = 0
  /** How many times the most repeated part of an expression is there, by its counts; 1 for those that are not in it. */
  readonly #copies = new Map<Expression, number>()

  constructor(text: string) {
    this.#text = text
  }

  parse(): Expression {
    const whole = this.#choice()
    if (this.#at < this.#text.length) throw this.#bad('unexpected )', this.#text)
    return whole
  }

  /** Up to a closing parenthesis or the end. */
  #choice(): Expression {
    if (++this.#depth > depthMax) throw this.#bad('expression nests too deeply', this.#text)
    const options = [this.#sequence()]
    while (this.#peek() === '|') {
      this.#at++
      options.push(this.#sequence())
    }
    this.#depth--
    return this.#together(options, { type: 'choice', options })
  }

  #together(parts: Expression[], whole: Expression): Expression {
    if (parts.length === 1) return parts[0] as Expression
    this.#copies.set(whole, Math.max(1, ...parts.map((part) => this.#copiesIn(part))))
    return whole
  }

  #copiesIn(expression: Expression): number {
    return this.#copies.get(expression) ?? 1
  }

  #sequence(): Expression {
    const parts: Expression[] = []
    /** Where the repetition before began, when there is nothing between. */
    let repeated: number | undefined
    for (;;) {
      const character = this.#peek()
      if (character === '' || character === '|' || character === ')') break
      const from = this.#at
      const range = this.#repetition()
      if (range === undefined) {
        repeated = undefined
        this.#one(parts)
        continue
      }
      const reluctant = this.#peek() === '?'
      if (reluctant) this.#at++
      if (repeated !== undefined) {
        throw this.#bad('invalid nested repetition operator', this.#text.slice(repeated, this.#at))
      }
      const inner = parts.pop()
      if (inner === undefined) {
        throw this.#bad('missing argument to repetition operator', this.#text.slice(from, this.#at))
      }
      const { min, max, counted } = range
      const lazy = reluctant !== this.#flags.lazy
      const whole: Expression = { type: 'repeat', inner, min, max, lazy }
      const copies = this.#copiesIn(inner) * (counted ? Math.max(1, Number.isFinite(max) ? max : min) : 1)
      if (counted && copies > repeatMax && max > 1) {
        throw this.#bad('invalid repeat count', this.#text.slice(from, this.#at))
      }
      this.#copies.set(whole, max === 0 ? 1 : copies)
      parts.push(whole)
      repeated = from
    }
    return this.#together(parts, { type: 'sequence', parts })
  }

  /** Undefined: none is here; a brace that counts nothing is a character. */
  #repetition(): { min: number; max: number; counted: boolean } | undefined {
    const operator = this.#peek()
    if (operator === '*' || operator === '+' || operator === '?') {
      this.#at++
      return { min: operator === '+' ? 1 : 0, max: operator === '?' ? 1 : Number.POSITIVE_INFINITY, counted: false }
    }
    const counted = /^\{(0|[1-9]\d*)(?:(,)(0|[1-9]\d*)?)?\}/.exec(this.#rest())
    if (counted === null) return undefined
    const [whole, least = '', comma, most] = counted
    const min = Number(least)
    const max = comma === undefined ? min : most === undefined ? Number.POSITIVE_INFINITY : Number(most)
    if (min > repeatMax || (max > repeatMax && most !== undefined) || min > max) {
      throw this.#bad('invalid repeat count', whole)
    }
    this.#at += whole.length
    return { min, max, counted: true }
  }

  #one(parts: Expression[]): void {
    switch (this.#peek()) {
      case '(':
        this.#group(parts)
        return
      case '[':
        parts.push({ type: 'character', set: this.#class() })
        return
      case '.': {
        this.#at++
        const { dotBreaks } = this.#flags
        parts.push({ type: 'character', set: (code) => dotBreaks || code !== newLine })
        return
      }
      case '^':
        this.#at++
        parts.push({ type: 'place', place: this.#flags.lines ? 'beginLine' : 'beginText' })
        return
      case '$':
        this.#at++
        parts.push({ type: 'place', place: this.#flags.lines ? 'endLine' : 'endText' })
        return
      case '\\':
        this.#escape(parts)
        return
      default:
        parts.push(this.#literal(this.#next()))
    }
  }

  #group(parts: Expression[]): void {
    const flags = this.#flags
    const captures = !this.#text.startsWith('(?', this.#at) || this.#text.startsWith('(?P<', this.#at)
    if (this.#text.startsWith('(?', this.#at)) {
      if (!this.#opens()) return
    } else this.#at++
    const number = captures ? ++this.#groups : 0
    const inner = this.#choice()
    if (this.#peek() !== ')') throw this.#bad('missing closing )', this.#text)
    this.#at++
    this.#flags = flags
    if (!captures) {
      parts.push(inner)
      return
    }
    const group: Expression = { type: 'group', inner, number }
    this.#copies.set(group, this.#copiesIn(inner))
    parts.push(group)
  }

  /** Behind `(?`: true when a group begins, false when flags were set for what follows in this one. */
  #opens(): boolean {
    const from = this.#at
    const rest = this.#rest()
    if (rest.startsWith('(?P<') && rest.length > 4) {
      const name = /^\(\?P<([^>]*)>/.exec(rest)
      if (name === null) throw this.#bad('invalid named capture', rest)
      if (!/^\w+$/.test(name[1] as string)) throw this.#bad('invalid named capture', name[0])
      this.#at += name[0].length
      return true
    }
    this.#at += 2
    const flags = { ...this.#flags }
    let on = true
    let any = false
    while (this.#at < this.#text.length) {
      const letter = String.fromCodePoint(this.#next())
      if (letter === 'i') flags.fold = on
      else if (letter === 'm') flags.lines = on
      else if (letter === 's') flags.dotBreaks = on
      else if (letter === 'U') flags.lazy = on
      else if (letter === '-' && on) on = false
      else if ((letter === ':' || letter === ')') && (on || any)) {
        this.#flags = flags
        return letter === ':'
      } else break
      any = letter !== '-'
    }
    throw this.#bad('invalid or unsupported Perl syntax', this.#text.slice(from, this.#at))
  }

  #escape(parts: Expression[]): void {
    const place = places[this.#text[this.#at + 1] ?? '']
    if (place !== undefined) {
      this.#at += 2
      parts.push({ type: 'place', place })
    } else if (this.#text.startsWith('\\Q', this.#at)) {
      const end = this.#text.indexOf('\\E', this.#at)
      const literals = this.#text.slice(this.#at + 2, end < 0 ? undefined : end)
      this.#at = end < 0 ? this.#text.length : end + 2
      for (const character of literals) parts.push(this.#literal(character.codePointAt(0) as number))
    } else {
      const set = this.#escapedSet()
      parts.push(set === undefined ? this.#literal(this.#escapedCharacter()) : { type: 'character', set })
    }
  }

  /** \d and its like, \p{Greek} and its like; undefined: something else is here. */
  #escapedSet(): CharacterSet | undefined {
    const letter = this.#text[this.#at + 1] ?? ''
    const perl = perlSets[letter.toLowerCase()]
    if (perl !== undefined) {
      this.#at += 2
      const set = this.#named(perl)
      return letter === letter.toLowerCase() ? set : not(set)
    }
    if (letter !== 'p' && letter !== 'P') return undefined
    const named = /^\\[pP](?:\{(\^?)([^}]*)\}|([^{]))/u.exec(this.#rest())
    const property = named === null ? undefined : propertyOf(named[2] ?? named[3] ?? '')
    if (named === null || property === undefined) {
      throw this.#bad('invalid character class range', named?.[0] ?? this.#rest())
    }
    this.#at += named[0].length
    const set = this.#named(property)
    return (letter === 'P') !== (named[1] === '^') ? not(set) : set
  }

  /** One character behind a backslash, which is here. */
  #escapedCharacter(): number {
    const from = this.#at++
    if (this.#at === this.#text.length) throw this.#bad('trailing backslash at end of expression', '')
    const rest = this.#rest()
    const octal = /^(?:0[0-7]{0,2}|[1-7][0-7]{1,2})/.exec(rest)?.[0]
    if (octal !== undefined) {
      this.#at += octal.length
      return Number.parseInt(octal, 8)
    }
    if (rest.startsWith('x')) return this.#hexadecimal(from)
    const code = this.#next()
    const control = controls[String.fromCodePoint(code)]
    if (control !== undefined) return control
    // Punctuation stands for itself.
    if (code < 128 && !isAlphanumeric(code)) return code
    throw this.#bad('invalid escape sequence', this.#text.slice(from, this.#at))
  }

  /** Of \x, from where Go stops reading when it is none. */
  #hexadecimal(from: number): number {
    const digits = /^x(?:\{([0-9a-fA-F]*)(\}?)|([0-9a-fA-F]{2}))/.exec(this.#rest())
    if (digits?.[3] !== undefined) {
      this.#at += 3
      return Number.parseInt(digits[3], 16)
    }
    const [, braced = '', closed = ''] = digits ?? []
    const code = braced === '' ? Number.POSITIVE_INFINITY : Number.parseInt(braced, 16)
    if (closed !== '' && code <= codeMax) {
      this.#at += braced.length + 3
      return code
    }
    // With a brace up to the first character that does not belong there, without one two characters.
    let read = digits === null ? 3 : braced.length + 3
    for (let length = braced.length; length > 0; length--) {
      if (Number.parseInt(braced.slice(0, length), 16) > codeMax) read = length + 2
    }
    throw this.#bad('invalid escape sequence', this.#text.slice(from, this.#at + read))
  }

  #class(): CharacterSet {
    const whole = this.#rest()
    this.#at++
    const negative = this.#peek() === '^'
    if (negative) this.#at++
    const sets: CharacterSet[] = []
    for (let first = true; first || this.#peek() !== ']'; first = false) {
      if (this.#peek() === '') throw this.#bad('missing closing ]', whole)
      sets.push(this.#namedSet() ?? (this.#peek() === '\\' ? this.#escapedSet() : undefined) ?? this.#range(whole))
    }
    this.#at++
    const set = (code: number) => sets.some((each) => each(code))
    return negative ? not(set) : set
  }

  /** [:alpha:] and its like. */
  #namedSet(): CharacterSet | undefined {
    const named = /^\[:(\^?)(.*?):\]/s.exec(this.#rest())
    if (named === null) return undefined
    const source = posixSets[named[2] ?? '']
    if (source === undefined) throw this.#bad('invalid character class range', named[0])
    this.#at += named[0].length
    const set = this.#named(source)
    return named[1] === '^' ? not(set) : set
  }

  #range(whole: string): CharacterSet {
    const from = this.#at
    const low = this.#classCharacter(whole)
    let high = low
    if (this.#peek() === '-' && this.#at + 1 < this.#text.length && this.#text[this.#at + 1] !== ']') {
      this.#at++
      high = this.#classCharacter(whole)
      if (high < low) throw this.#bad('invalid character class range', this.#text.slice(from, this.#at))
    }
    return this.#between(low, high)
  }

  #classCharacter(whole: string): number {
    if (this.#peek() === '') throw this.#bad('missing closing ]', whole)
    return this.#peek() === '\\' ? this.#escapedCharacter() : this.#next()
  }

  #literal(code: number): Expression {
    return { type: 'character', set: this.#between(code, code) }
  }

  #between(low: number, high: number): CharacterSet {
    if (!this.#flags.fold) return (code) => code >= low && code <= high
    return this.#named(`\\u{${low.toString(16)}}-\\u{${high.toString(16)}}`)
  }

  /** @param source what stands between the brackets of a class in JavaScript; its folding of cases is Go's, too */
  #named(source: string): CharacterSet {
    const expression = new RegExp(`^[${source}]$`, this.#flags.fold ? 'iu' : 'u')
    /** Of ASCII: 0 not looked at yet, 1 no, 2 yes. */
    const known = new Uint8Array(128)
    return (code) => {
      if (code >= 128) return expression.test(String.fromCodePoint(code))
      if (known[code] === 0) known[code] = expression.test(String.fromCharCode(code)) ? 2 : 1
      return known[code] === 2
    }
  }

  #peek(): string {
    return this.#text[this.#at] ?? ''
  }

  #next(): number {
    const code = this.#text.codePointAt(this.#at) as number
    this.#at += code > 0xffff ? 2 : 1
    return code
  }

  #rest(): string {
    return this.#text.slice(this.#at)
  }

  #bad(what: string, where: string): BadPattern {
    return new BadPattern(`error parsing regexp: ${what}: \`${where}\``)
  }
}

const newLine = 10
const codeMax = 0x10ffff
const places: Readonly<Record<string, Place>> = {
  A: 'beginText',
  z: 'endText',
  b: 'wordBoundary',
  B: 'noWordBoundary',
}
const controls: Readonly<Record<string, number>> = { a: 7, f: 12, n: newLine, r: 13, t: 9, v: 11 }

const not = (set: CharacterSet) => (code: number) => !set(code)

function isAlphanumeric(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122)
}

/** Of \b: ASCII alone, as in Go. */
export function isWord(code: number): boolean {
  return isAlphanumeric(code) || code === 95
}

const perlSets: Readonly<Record<string, string>> = { d: '0-9', w: '0-9A-Za-z_', s: '\\t\\n\\f\\r\\x20' }
const posixSets: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: '\\t\\x20',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '\\x21-\\x7e',
  lower: 'a-z',
  print: '\\x20-\\x7e',
  punct: '\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e',
  space: '\\t\\n\\v\\f\\r\\x20',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
}

const categories = /^(?:C[cfos]?|L[lmotu]?|M[cen]?|N[dlo]?|P[cdefios]?|S[ckmo]?|Z[lps]?)$/

/** A general category or a script, as Go names them, for a class of JavaScript. */
function propertyOf(name: string): string | undefined {
  if (name === 'Any') return '\\p{Any}'
  if (!/^[A-Z][A-Za-z_]*$/.test(name)) return undefined
  const property = categories.test(name) ? `\\p{${name}}` : `\\p{Script=${name}}`
  try {
    new RegExp(property, 'u')
    return property
  } catch {
    return undefined
  }
}
