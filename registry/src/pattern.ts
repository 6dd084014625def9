/**
 * Regular expressions that users give, in Go's syntax, for any text. All ways to match are followed at the same time
 * (Thompson 1968, Pike), so that each step of the expression is taken at most once per character, and all steps are counted:
 * nobody's expression holds us for longer than we want.
 */
import {
  BadPattern,
  type CharacterSet,
  type Expression,
  isWord,
  type Place,
  parseExpression,
} from './pattern-syntax.ts'

export { BadPattern } from './pattern-syntax.ts'

/** It takes more steps than it may. */
export class PatternTooCostly extends Error {
  override name = 'PatternTooCostly'
}

export interface Pattern {
  /**
   * Whether any part of the text matches.
   * @param effort default: of its own
   * @throws PatternTooCostly
   */
  matches(text: string, effort?: Effort): boolean
}

export interface Captures {
  /**
   * The first part of the text that matches, and what each of its groups matched, '' where one was not needed; Go's choice
   * where there are several. Undefined: none.
   * @throws PatternTooCostly
   */
  find(text: string, effort?: Effort): string[] | undefined
}

/** How many steps may be taken yet; several matches may share it. A million take about 30 ms. */
export interface Effort {
  left: number
}

export const effortMax = 3e6

/** Where a way to match may stand. Next is the following step unless said. */
type Step =
  | { type: 'character'; set: CharacterSet }
  | { type: 'place'; place: Place }
  | { type: 'go'; to: number }
  /** Notes where the text is read. */
  | { type: 'mark'; mark: number }
  /** To both, rather to the first. */
  | { type: 'fork'; to: number; also: number }
  | { type: 'found' }

const stepsMax = 10_000

/** @throws BadPattern */
export function compileCaptures(text: string): Captures {
  const steps: Step[] = []
  const expression: Expression = { type: 'group', inner: parseExpression(text), number: 0 }
  compile(expression, steps, text, true)
  add(steps, { type: 'found' }, text)
  return {
    find(subject, effort = { left: effortMax }) {
      const marks = runMarked(steps, subject, effort)
      if (marks === undefined) return undefined
      const count = 1 + steps.reduce((most, step) => (step.type === 'mark' ? Math.max(most, step.mark >> 1) : most), 0)
      return Array.from({ length: count }, (_, group) =>
        subject.slice(marks[group * 2] ?? 0, marks[group * 2 + 1] ?? 0),
      )
    },
  }
}

/** @throws BadPattern */
export function compilePattern(text: string): Pattern {
  const steps: Step[] = []
  compile(parseExpression(text), steps, text, false)
  add(steps, { type: 'found' }, text)
  return { matches: (subject, effort = { left: effortMax }) => run(steps, subject, effort) }
}

function add(steps: Step[], step: Step, pattern: string): number {
  if (steps.length === stepsMax) {
    throw new BadPattern(`error parsing regexp: expression too large: \`${pattern.slice(0, 100)}\``)
  }
  return steps.push(step) - 1
}

/** @param marked whether groups are noted */
function compile(expression: Expression, steps: Step[], pattern: string, marked: boolean): void {
  switch (expression.type) {
    case 'character':
    case 'place':
      add(steps, expression, pattern)
      return
    case 'group':
      if (marked) add(steps, { type: 'mark', mark: expression.number * 2 }, pattern)
      compile(expression.inner, steps, pattern, marked)
      if (marked) add(steps, { type: 'mark', mark: expression.number * 2 + 1 }, pattern)
      return
    case 'sequence':
      for (const part of expression.parts) compile(part, steps, pattern, marked)
      return
    case 'choice': {
      const ends: number[] = []
      for (const [place, option] of expression.options.entries()) {
        if (place === expression.options.length - 1) {
          compile(option, steps, pattern, marked)
          continue
        }
        const fork = add(steps, { type: 'go', to: 0 }, pattern)
        compile(option, steps, pattern, marked)
        ends.push(add(steps, { type: 'go', to: 0 }, pattern))
        steps[fork] = { type: 'fork', to: fork + 1, also: steps.length }
      }
      for (const end of ends) steps[end] = { type: 'go', to: steps.length }
      return
    }
    case 'repeat': {
      const { inner, min, max, lazy } = expression
      const optional = (inside: number): Step =>
        lazy ? { type: 'fork', to: steps.length, also: inside } : { type: 'fork', to: inside, also: steps.length }
      for (let times = 0; times < min; times++) compile(inner, steps, pattern, marked)
      if (max === Number.POSITIVE_INFINITY) {
        const fork = add(steps, { type: 'go', to: 0 }, pattern)
        compile(inner, steps, pattern, marked)
        add(steps, { type: 'go', to: fork }, pattern)
        steps[fork] = optional(fork + 1)
        return
      }
      const forks: number[] = []
      for (let times = min; times < max; times++) {
        forks.push(add(steps, { type: 'go', to: 0 }, pattern))
        compile(inner, steps, pattern, marked)
      }
      for (const fork of forks) steps[fork] = optional(fork + 1)
      return
    }
    default:
      expression satisfies never
  }
}

function run(steps: readonly Step[], text: string, effort: Effort): boolean {
  /** At which character a step was reached last. */
  const reached = new Int32Array(steps.length).fill(-1)
  let ways: number[] = []
  let before: number | undefined
  for (let at = 0; ; ) {
    const code = text.codePointAt(at)
    const open = [...ways, 0]
    ways = []
    for (let place = open.pop(); place !== undefined; place = open.pop()) {
      if (reached[place] === at) continue
      reached[place] = at
      if (effort.left-- <= 0) {
        throw new PatternTooCostly(`the expression takes too many steps with a text of ${text.length} characters`)
      }
      const step = steps[place] as Step
      switch (step.type) {
        case 'found':
          return true
        case 'go':
          open.push(step.to)
          break
        case 'mark':
          open.push(place + 1)
          break
        case 'fork':
          open.push(step.to, step.also)
          break
        case 'place':
          if (isAt(step.place, before, code)) open.push(place + 1)
          break
        case 'character':
          if (code !== undefined && step.set(code)) ways.push(place + 1)
          break
        default:
          step satisfies never
      }
    }
    if (code === undefined) return false
    before = code
    at += code > 0xffff ? 2 : 1
  }
}

/** Where the text was at each mark on one way to match; shared by the ways that begin alike, and never changed. */
type Marks = readonly (number | undefined)[]

/** As `run`, in the order in which a search that tries one way after the other would come to them. */
function runMarked(steps: readonly Step[], text: string, effort: Effort): Marks | undefined {
  const reached = new Int32Array(steps.length).fill(-1)
  let ways: { place: number; marks: Marks }[] = []
  let before: number | undefined
  let found: Marks | undefined
  for (let at = 0; ; ) {
    const code = text.codePointAt(at)
    // Who begins later does so after all that began before; nobody does once there is a match.
    const from = found === undefined ? [...ways, { place: 0, marks: [] }] : ways
    ways = []
    const open = from.reverse()
    for (let way = open.pop(); way !== undefined; way = open.pop()) {
      const { place, marks } = way
      if (reached[place] === at) continue
      reached[place] = at
      const step = steps[place] as Step
      effort.left -= step.type === 'mark' ? 1 + marks.length : 1
      if (effort.left <= 0) {
        throw new PatternTooCostly(`the expression takes too many steps with a text of ${text.length} characters`)
      }
      if (step.type === 'found') {
        found = marks
        // The ways that are left are worse ones.
        break
      }
      switch (step.type) {
        case 'go':
          open.push({ place: step.to, marks })
          break
        case 'mark': {
          const more = marks.slice()
          more[step.mark] = at
          open.push({ place: place + 1, marks: more })
          break
        }
        case 'fork':
          open.push({ place: step.also, marks }, { place: step.to, marks })
          break
        case 'place':
          if (isAt(step.place, before, code)) open.push({ place: place + 1, marks })
          break
        case 'character':
          if (code !== undefined && step.set(code)) ways.push({ place: place + 1, marks })
          break
        default:
          step satisfies never
      }
    }
    if (code === undefined || (found !== undefined && ways.length === 0)) return found
    before = code
    at += code > 0xffff ? 2 : 1
  }
}

const newLine = 10

/** Undefined: the text begins, or ends. */
function isAt(place: Place, before: number | undefined, after: number | undefined): boolean {
  switch (place) {
    case 'beginText':
      return before === undefined
    case 'endText':
      return after === undefined
    case 'beginLine':
      return before === undefined || before === newLine
    case 'endLine':
      return after === undefined || after === newLine
    default: {
      const boundary = (before !== undefined && isWord(before)) !== (after !== undefined && isWord(after))
      return boundary === (place === 'wordBoundary')
    }
  }
}
