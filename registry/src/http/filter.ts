/**
 * `?filter=`: Consul's boolean expressions (go-bexpr 0.1, as in Consul 1.8) over the rows of an answer in Consul's
 * spelling. Grammar and messages are those of its generated parser, so the parser is written the same way: ordered
 * choices that remember how far any of them came and what would have gone on there.
 *
 *     expression := and { "or" and }        and := not { "and" not }       not := "not" not | "(" expression ")" | match
 *     match := selector ("==" | "!=" | ["not"] "contains" | ["not"] "matches") value
 *            | selector "is" ["not"] "empty" | value ["not"] "in" selector
 */
import { badFilter, compileSelector, type Operator, type Shape, type Test } from './selector.ts'

export type Filter = Test

const lengthMax = 4096
const depthMax = 64

/**
 * Undefined when nothing is to be filtered.
 * @throws Refused with Consul's text: it answers 500 to a bad expression
 */
export function filterOf(query: URLSearchParams, shape: Shape): Filter | undefined {
  const expression = query.get('filter')
  if (!expression) return undefined
  return parseFilter(expression, shape)
}

/** @throws Refused */
export function parseFilter(expression: string, shape: Shape): Filter {
  const parser = new Parser(expression, shape)
  return parser.parse()
}

class Parser {
  readonly #text: string
  readonly #shape: Shape
  #at = 0
  #depth = 0
  #furthest = 0
  #expected = new Set<string>()
  #complaint: string | undefined

  constructor(text: string, shape: Shape) {
    this.#text = text
    this.#shape = shape
  }

  parse(): Filter {
    if (this.#text.length > lengthMax) throw badFilter(`expected at most ${lengthMax} characters`)
    this.#space()
    const parsed = this.#or()
    if (parsed !== undefined) {
      this.#space()
      if (this.#at === this.#text.length) return parsed()
      this.#expect('!.')
    }
    throw badFilter(this.#complaint ?? `${this.#place(this.#furthest)}: no match found, expected: ${this.#wanted()}`)
  }

  // Each rule returns what makes the test, or undefined and the position as it was. Tests are made only after the whole
  // text was understood: what is wrong with the grammar is said before what is wrong with a selector.

  #or(): (() => Filter) | undefined {
    return this.#attempt(() => {
      if (++this.#depth > depthMax) throw badFilter(`expected at most ${depthMax} levels of nesting`)
      const left = this.#and()
      this.#depth--
      if (left === undefined) return undefined
      const right = this.#attempt(() =>
        this.#blank() && this.#literal('or') && this.#blank() ? this.#or() : undefined,
      )
      return right === undefined ? left : () => either(left(), right())
    })
  }

  #and(): (() => Filter) | undefined {
    return this.#attempt(() => {
      const left = this.#not()
      if (left === undefined) return undefined
      const right = this.#attempt(() =>
        this.#blank() && this.#literal('and') && this.#blank() ? this.#and() : undefined,
      )
      return right === undefined ? left : () => both(left(), right())
    })
  }

  #not(): (() => Filter) | undefined {
    if (++this.#depth > depthMax) throw badFilter(`expected at most ${depthMax} levels of nesting`)
    const inner = this.#attempt(() => (this.#literal('not') && this.#blank() ? this.#not() : undefined))
    const parsed = inner === undefined ? this.#parenthesized() : () => negated(inner())
    this.#depth--
    return parsed
  }

  #parenthesized(): (() => Filter) | undefined {
    const grouped = this.#attempt(() => {
      if (!this.#literal('(')) return undefined
      this.#space()
      const inner = this.#or()
      if (inner === undefined) return undefined
      this.#space()
      if (this.#literal(')')) return inner
      this.#complain('grouping', 'Unmatched parentheses')
      return undefined
    })
    return grouped ?? this.#match()
  }

  #match(): (() => Filter) | undefined {
    return (
      this.#attempt(() => {
        const selector = this.#selector()
        const operator = selector && this.#comparison()
        const value = operator && this.#value()
        return value === undefined ? undefined : this.#test(selector!, operator!, value)
      }) ??
      this.#attempt(() => {
        const selector = this.#selector()
        const operator = selector && this.#emptiness()
        return operator === undefined ? undefined : this.#test(selector!, operator)
      }) ??
      this.#attempt(() => {
        const value = this.#value()
        const operator = value === undefined ? undefined : this.#membership()
        const selector = operator && this.#selector()
        return selector === undefined ? undefined : this.#test(selector, operator!, value)
      })
    )
  }

  #test(selector: string[], operator: Operator, value = ''): () => Test {
    return () => compileSelector(this.#shape, selector, operator, value)
  }

  #comparison(): Operator | undefined {
    return (
      this.#sign('Equal', '==') ??
      this.#sign('Not Equal', '!=') ??
      this.#words('In', 'contains') ??
      this.#words('Not In', 'not', 'contains') ??
      this.#words('Matches', 'matches') ??
      this.#words('Not Matches', 'not', 'matches')
    )
  }

  /** A sign, blanks around it or not. */
  #sign(operator: Operator, sign: string): Operator | undefined {
    return this.#attempt(() => {
      this.#space()
      if (!this.#literal(sign)) return undefined
      this.#space()
      return operator
    })
  }

  #emptiness(): Operator | undefined {
    const words = (operator: Operator, ...all: string[]) =>
      this.#attempt(() => (all.every((word) => this.#blank() && this.#literal(word)) ? operator : undefined))
    return words('Is Empty', 'is', 'empty') ?? words('Is Not Empty', 'is', 'not', 'empty')
  }

  #membership(): Operator | undefined {
    return this.#words('In', 'in') ?? this.#words('Not In', 'not', 'in')
  }

  /** Words, each with blanks around it. */
  #words(operator: Operator, ...all: string[]): Operator | undefined {
    return this.#attempt(() =>
      all.every((word) => this.#blank() && this.#literal(word)) && this.#blank() ? operator : undefined,
    )
  }

  #selector(): string[] | undefined {
    return this.#attempt(() => {
      const first = this.#identifier()
      if (first === undefined) return undefined
      const path = [first]
      for (;;) {
        const next =
          this.#attempt(() => (this.#literal('.') ? this.#identifier() : undefined)) ??
          this.#attempt(() => this.#index())
        if (next === undefined) return path
        path.push(next)
      }
    })
  }

  #index(): string | undefined {
    if (!this.#literal('[')) return undefined
    this.#space()
    const name = this.#string()
    if (name === undefined) {
      this.#complain('index', 'Invalid index')
      return undefined
    }
    this.#space()
    if (this.#literal(']')) return name
    this.#complain('index', 'Unclosed index expression')
    return undefined
  }

  #identifier(): string | undefined {
    const from = this.#at
    if (!this.#class('[a-zA-Z]', /[a-zA-Z]/)) return undefined
    while (this.#class('[a-zA-Z0-9_]', /[a-zA-Z0-9_]/));
    return this.#text.slice(from, this.#at)
  }

  #value(): string | undefined {
    return this.#selector()?.join('.') ?? this.#number() ?? this.#string()
  }

  #number(): string | undefined {
    return this.#attempt(() => {
      const from = this.#at
      this.#literal('-')
      if (!this.#literal('0')) {
        if (!this.#class('[1-9]', /[1-9]/)) return undefined
        while (this.#class('[0-9]', /[0-9]/));
      }
      this.#attempt(() => {
        if (!this.#literal('.')) return undefined
        if (!this.#class('[0-9]', /[0-9]/)) return undefined
        while (this.#class('[0-9]', /[0-9]/));
        return true
      })
      const after = this.#text[this.#at]
      if (after === undefined || ' \t\r\n)'.includes(after)) return this.#text.slice(from, this.#at)
      this.#complain('number', 'Invalid number literal')
      return undefined
    })
  }

  #string(): string | undefined {
    return this.#attempt(() => {
      if (this.#literal('`')) {
        const end = this.#text.indexOf('`', this.#at)
        if (end >= 0) {
          const value = this.#text.slice(this.#at, end)
          this.#at = end + 1
          return value
        }
      } else if (this.#literal('"')) {
        const body = /^(?:[^"\\]|\\[\s\S])*"/.exec(this.#text.slice(this.#at))?.[0]
        if (body !== undefined) {
          this.#at += body.length
          return unquoted(body.slice(0, -1))
        }
      } else return undefined
      this.#at = this.#text.length
      this.#complain('string', 'Unterminated string literal')
      return undefined
    })
  }

  /** What `rule` finds, or the position restored. */
  #attempt<T>(rule: () => T | undefined): T | undefined {
    const from = this.#at
    const found = rule()
    if (found === undefined) this.#at = from
    return found
  }

  #literal(text: string): boolean {
    if (this.#text.startsWith(text, this.#at)) {
      this.#at += text.length
      return true
    }
    this.#expect(JSON.stringify(text))
    return false
  }

  #class(name: string, characters: RegExp): boolean {
    const character = this.#text[this.#at]
    if (character !== undefined && characters.test(character)) {
      this.#at++
      return true
    }
    this.#expect(name)
    return false
  }

  /** One blank or more. */
  #blank(): boolean {
    const from = this.#at
    this.#space()
    return this.#at > from
  }

  /** Any number of blanks. */
  #space(): void {
    while (this.#class('[ \\t\\r\\n]', /[ \t\r\n]/));
  }

  #expect(what: string): void {
    if (this.#at < this.#furthest) return
    if (this.#at > this.#furthest) {
      this.#furthest = this.#at
      this.#expected = new Set()
    }
    this.#expected.add(what)
  }

  #complain(rule: string, what: string): void {
    this.#complaint ??= `${this.#place(this.#at)}: rule "${rule}": ${what}`
  }

  /** Line, column and offset. */
  #place(at: number): string {
    const before = this.#text.slice(0, at).split('\n')
    return `${before.length}:${(before.at(-1) ?? '').length + 1} (${at})`
  }

  #wanted(): string {
    const all = [...this.#expected].filter((what) => what !== '!.').sort()
    if (this.#expected.has('!.')) all.push('EOF')
    const last = all.pop() ?? ''
    return all.length === 0 ? last : `${all.join(', ')} or ${last}`
  }
}

/** A double-quoted Go string, its usual escapes undone. */
function unquoted(body: string): string {
  try {
    return JSON.parse(`"${body}"`)
  } catch {
    throw badFilter(`invalid syntax in ${JSON.stringify(body)}`)
  }
}

function either(left: Filter, right: Filter): Filter {
  return (row) => left(row) || right(row)
}

function both(left: Filter, right: Filter): Filter {
  return (row) => left(row) && right(row)
}

function negated(inner: Filter): Filter {
  return (row) => !inner(row)
}
