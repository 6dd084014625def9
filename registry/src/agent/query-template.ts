/**
 * Templates: a query whose texts hold `${…}`, filled in from the name that was asked for. Of the language that Consul takes
 * there (HIL) this reads variables, texts, whole numbers and `match(N)`; it refuses arithmetic. Error texts are Consul's.
 */
import { Refused } from '../errors.ts'
import type { PreparedQueryDefinition, PreparedQueryService } from '../model.ts'
import { BadPattern, type Captures, compileCaptures, PatternTooCostly } from '../pattern.ts'

/** A text in parts; of one without `${…}` there is one. */
type Text = readonly (string | Expression)[]
type Expression =
  | { type: 'text'; text: Text }
  | { type: 'number'; value: number }
  | { type: 'variable'; name: string; at: number }
  | { type: 'call'; name: string; arguments: Expression[]; at: number }

/** Nesting deeper than this is no template that somebody wrote. */
const depthMax = 50

export class Template<Query extends PreparedQueryDefinition> {
  readonly #query: Query
  readonly #texts = new Map<string, Text>()
  readonly #pattern: Captures | undefined

  /** Reads all texts and fills them in once, with the template's own name. @throws Refused */
  constructor(query: Query) {
    this.#query = query
    const { type, regexp } = query.template
    if (type !== 'name_prefix_match') throw new Refused(`Bad Template.Type '${type}'`)
    mapTexts(query.service, (text, path) => {
      const parsed = parse(text)
      if (parsed === undefined) throw new Refused(`Bad format '${text}' in Service${path}: parse error: syntax error`)
      this.#texts.set(path, parsed)
      return text
    })
    if (regexp !== '') {
      try {
        this.#pattern = compileCaptures(regexp)
      } catch (error) {
        if (error instanceof BadPattern) throw new Refused(`Bad Regexp: ${error.message}`, { cause: error })
        throw error
      }
    }
    this.render(query.name)
  }

  /** @param name what was asked for, which begins with the template's own. @throws Refused */
  render(name: string): Query {
    const variables: Record<string, string> = {
      'name.full': name,
      'name.prefix': this.#query.name,
      // Whoever asks in other letters than the template's gets all of the name, as in Consul.
      'name.suffix': name.startsWith(this.#query.name) ? name.slice(this.#query.name.length) : name,
      // Segments are for the Enterprise version.
      'agent.segment': '',
    }
    const scope = { variables, groups: this.#groups(name) }
    const service = mapTexts(this.#query.service, (text, path) => {
      const parsed = this.#texts.get(path) as Text
      try {
        return parsed.map((part) => (typeof part === 'string' ? part : evaluated(part, scope))).join('')
      } catch (error) {
        if (!(error instanceof Refused)) throw error
        throw new Refused(`Bad evaluation for '${text}' in Service${path}: ${error.message}`, { cause: error })
      }
    })
    if (this.#query.template.removeEmptyTags) service.tags = (service.tags ?? []).filter((tag) => tag !== '')
    return { ...this.#query, service }
  }

  #groups(name: string): readonly string[] {
    try {
      return this.#pattern?.find(name) ?? []
    } catch (error) {
      if (error instanceof PatternTooCostly) throw new Refused(`Bad Regexp: ${error.message}`, { cause: error })
      throw error
    }
  }
}

/** The same with every text replaced; keys of maps are no texts. `path` is Consul's name for the place. */
function mapTexts(service: PreparedQueryService, replaced: (text: string, path: string) => string) {
  const list = (texts: string[] | null, path: string) =>
    texts?.map((text, place) => replaced(text, `${path}[${place}]`)) ?? null
  const map = (texts: Record<string, string> | null, path: string) =>
    texts && Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, replaced(text, `${path}[${key}]`)]))
  const { failover } = service
  return {
    ...service,
    service: replaced(service.service, '.Service'),
    failover: { ...failover, datacenters: list(failover.datacenters, '.Failover.Datacenters') },
    ignoreCheckIds: list(service.ignoreCheckIds, '.IgnoreCheckIDs'),
    near: replaced(service.near, '.Near'),
    tags: list(service.tags, '.Tags'),
    nodeMeta: map(service.nodeMeta, '.NodeMeta'),
    serviceMeta: map(service.serviceMeta, '.ServiceMeta'),
  }
}

interface Scope {
  variables: Readonly<Record<string, string>>
  groups: readonly string[]
}

/** @throws Refused */
function evaluated(expression: Expression, scope: Scope): string {
  switch (expression.type) {
    case 'text':
      return expression.text.map((part) => (typeof part === 'string' ? part : evaluated(part, scope))).join('')
    case 'number':
      return String(expression.value)
    case 'variable': {
      const { name, at } = expression
      if (!Object.hasOwn(scope.variables, name)) throw new Refused(`1:${at}: unknown variable accessed: ${name}`)
      return scope.variables[name] as string
    }
    case 'call': {
      const { name, arguments: given, at } = expression
      if (name !== 'match') throw new Refused(`1:${at}: unknown function called: ${name}`)
      const [argument] = given
      if (argument === undefined || given.length > 1) {
        throw new Refused(`1:${at}: match: expected 1 arguments, got ${given.length}`)
      }
      const text = evaluated(argument, scope)
      // A text of digits is as good as a number; Consul 1.8 breaks down over it when it is executed.
      if (!/^[-+]?\d+(\.\d*)?$/.test(text)) {
        throw new Refused(`__builtin_StringToInt: strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`)
      }
      return scope.groups[Math.trunc(Number(text))] ?? ''
    }
    default:
      return expression satisfies never
  }
}

/** Undefined when it cannot be read. */
function parse(text: string): Text | undefined {
  const reader = new Reader(text)
  const parts = reader.text(false)
  return reader.failed ? undefined : parts
}

class Reader {
  readonly #source: string
  #at = 0
  #depth = 0
  failed = false

  constructor(source: string) {
    this.#source = source
  }

  /** Up to the end or, `quoted`, behind the quotation mark. */
  text(quoted: boolean): Text {
    const parts: (string | Expression)[] = []
    let plain = ''
    while (!this.failed) {
      const character = this.#source[this.#at]
      if (character === undefined) {
        if (quoted) this.#fail()
        break
      }
      if (quoted && character === '"') {
        this.#at++
        break
      }
      if (this.#source.startsWith('$${', this.#at)) {
        plain += '${'
        this.#at += 3
      } else if (this.#source.startsWith('${', this.#at)) {
        this.#at += 2
        if (plain !== '') parts.push(plain)
        plain = ''
        parts.push(this.#inside())
      } else if (quoted && character === '\\') {
        plain += this.#escaped()
      } else {
        plain += character
        this.#at++
      }
    }
    if (plain !== '' || parts.length === 0) parts.push(plain)
    return parts
  }

  /** Behind `${`, up to behind its brace. */
  #inside(): Expression {
    const expression = this.#expression()
    this.#space()
    this.#expect('}')
    return expression
  }

  #expression(): Expression {
    if (++this.#depth > depthMax) return this.#fail()
    this.#space()
    const expression = this.#one()
    this.#depth--
    return expression
  }

  #one(): Expression {
    if (this.#source[this.#at] === '"') {
      this.#at++
      return { type: 'text', text: this.text(true) }
    }
    if (this.#source[this.#at] === '(') {
      this.#at++
      const inner = this.#expression()
      this.#space()
      this.#expect(')')
      return inner
    }
    const number = this.#take(/-?\d+(?:\.\d+)?/y)
    if (number !== undefined) return { type: 'number', value: Number(number) }
    const at = this.#at + 1
    const name = this.#take(/[A-Za-z_][\w.*-]*/y)
    if (name === undefined) return this.#fail()
    this.#space()
    if (this.#source[this.#at] !== '(') return { type: 'variable', name, at }
    this.#at++
    return { type: 'call', name, arguments: this.#arguments(), at }
  }

  #arguments(): Expression[] {
    const given: Expression[] = []
    this.#space()
    if (this.#source[this.#at] !== ')') {
      do {
        given.push(this.#expression())
        this.#space()
      } while (!this.failed && this.#source[this.#at] === ',' && this.#at++ >= 0)
    }
    this.#expect(')')
    return given
  }

  #escaped(): string {
    const character = this.#source[this.#at + 1]
    this.#at += 2
    if (character === 'n') return '\n'
    if (character === '"' || character === '\\') return character
    this.#fail()
    return ''
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#source)?.[0]
    this.#at += found?.length ?? 0
    return found
  }

  #space(): void {
    this.#take(/\s*/y)
  }

  #expect(character: string): void {
    if (this.#source[this.#at] === character) this.#at++
    else this.#fail()
  }

  #fail(): Expression {
    this.failed = true
    return { type: 'number', value: 0 }
  }
}
