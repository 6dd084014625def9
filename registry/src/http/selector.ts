/** What a `?filter` may select in an answer, with which operators, and how one comparison is carried out. */
import { Refused } from '../errors.ts'
import { BadPattern, compilePattern, type Effort, effortMax, type Pattern, PatternTooCostly } from '../pattern.ts'

/** Named as Consul's messages name them; `contains` is `In` the other way round. */
export type Operator = 'Equal' | 'Not Equal' | 'In' | 'Not In' | 'Is Empty' | 'Is Not Empty' | 'Matches' | 'Not Matches'

export type Shape =
  | 'text'
  | 'whole'
  | 'flag'
  /** A list of texts. */
  | 'texts'
  | { fields: Readonly<Record<string, Shape>> }
  | { map: Shape }
  | { list: Shape }

export type Test = (row: unknown) => boolean

/** Consul answers 500 to a bad expression, with this. */
export function badFilter(reason: string): Refused {
  return new Refused(`Failed to create boolean expression evaluator: ${reason}`)
}

/** @throws Refused for a selector that is not there, an operator it does not take, or a value that is not of its type */
export function compileSelector(shape: Shape, path: readonly string[], operator: Operator, value: string): Test {
  const name = path.join('.')
  const leaf = resolve(shape, path)
  if (leaf === undefined) throw badFilter(`Selector ${JSON.stringify(name)} is not valid`)
  if (!operatorsOf(leaf).includes(operator)) {
    throw badFilter(`Invalid match operator "${operator}" for selector ${JSON.stringify(name)}`)
  }
  const compare = comparison(leaf, operator, coerced(leaf, name, operator, value))
  return (row) => evaluate(shape, row, path, 0, operator, compare)
}

function resolve(shape: Shape, path: readonly string[]): Shape | undefined {
  let at: Shape | undefined = shape
  for (const name of path) {
    if (at !== undefined && typeof at === 'object' && 'list' in at) at = at.list
    if (at === undefined || typeof at !== 'object' || 'list' in at) return undefined
    if ('map' in at) at = at.map
    else at = Object.hasOwn(at.fields, name) ? at.fields[name] : undefined
  }
  // A structure itself takes no operator, and Consul does not know it as a selector.
  return typeof at === 'object' && 'fields' in at ? undefined : at
}

function operatorsOf(shape: Shape): readonly Operator[] {
  if (shape === 'text') return ['Equal', 'Not Equal', 'In', 'Not In', 'Matches', 'Not Matches']
  if (shape === 'whole' || shape === 'flag') return ['Equal', 'Not Equal']
  const emptiness: Operator[] = ['Is Empty', 'Is Not Empty']
  return typeof shape === 'object' && 'list' in shape ? emptiness : [...emptiness, 'In', 'Not In']
}

/** The value as the selector's type has it; a pattern for `matches`. */
function coerced(shape: Shape, name: string, operator: Operator, value: string): string | number | boolean | Matcher {
  const refused = (parser: string, why = 'invalid syntax') =>
    badFilter(
      `Failed to coerce value ${JSON.stringify(value)} for selector ${JSON.stringify(name)}: strconv.${parser}: parsing ${JSON.stringify(value)}: ${why}`,
    )
  if (shape === 'whole') {
    if (!/^[-+]?\d+$/.test(value)) throw refused('ParseInt')
    if (!Number.isSafeInteger(Number(value))) throw refused('ParseInt', 'value out of range')
    return Number(value)
  }
  if (shape === 'flag') {
    if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true
    if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false
    throw refused('ParseBool')
  }
  return operator === 'Matches' || operator === 'Not Matches' ? patternOf(value) : value
}

/** A pattern for many rows. */
interface Matcher {
  pattern: Pattern
  effort: Effort
}

/** @throws Refused */
function patternOf(text: string): Matcher {
  try {
    return { pattern: compilePattern(text), effort: { left: effortMax } }
  } catch (error) {
    if (!(error instanceof BadPattern)) throw error
    throw badFilter(`Failed to compile regular expression ${JSON.stringify(text)}: ${error.message}`)
  }
}

/** Each row adds so many steps to what an expression may take: all that ordinary ones need, with texts as long as a check's output. */
const stepsPerRow = 20_000

/** @throws Refused when it takes too long */
function matches({ pattern, effort }: Matcher, text: string): boolean {
  try {
    effort.left = Math.min(effortMax, effort.left + stepsPerRow)
    return pattern.matches(text, effort)
  } catch (error) {
    if (!(error instanceof PatternTooCostly)) throw error
    throw new Refused(error.message, { cause: error })
  }
}

type Compare = (found: unknown) => boolean

function comparison(shape: Shape, operator: Operator, value: string | number | boolean | Matcher): Compare {
  switch (operator) {
    case 'Equal':
      return (found) => found === value
    case 'Not Equal':
      return (found) => found !== value
    case 'In':
      return (found) => holds(shape, found, String(value))
    case 'Not In':
      return (found) => !holds(shape, found, String(value))
    case 'Is Empty':
      return isEmpty
    case 'Is Not Empty':
      return (found) => !isEmpty(found)
    case 'Matches':
      return (found) => matches(value as Matcher, String(found))
    case 'Not Matches':
      return (found) => !matches(value as Matcher, String(found))
  }
}

/** A text holds its parts, a list its members, a map its keys. */
function holds(shape: Shape, found: unknown, value: string): boolean {
  if (found === null || found === undefined) return false
  if (shape === 'text') return String(found).includes(value)
  if (Array.isArray(found)) return found.includes(value)
  return Object.hasOwn(found as object, value)
}

function isEmpty(found: unknown): boolean {
  return found === null || found === undefined || Object.keys(found as object).length === 0
}

/** Follows the path; of a list, any member will do. */
function evaluate(
  shape: Shape,
  row: unknown,
  path: readonly string[],
  depth: number,
  operator: Operator,
  compare: Compare,
): boolean {
  if (depth === path.length) return compare(row)
  if (typeof shape !== 'object') return false
  if ('list' in shape) {
    return Array.isArray(row) && row.some((member) => evaluate(shape.list, member, path, depth, operator, compare))
  }
  const name = path[depth]!
  const inner = 'map' in shape ? shape.map : shape.fields[name]!
  const there = row !== null && row !== undefined && Object.hasOwn(row as object, name)
  if ('map' in shape && !there) {
    // What is not there equals nothing and is in nothing.
    return operator === 'Not Equal' || operator === 'Not In' || operator === 'Not Matches' || operator === 'Is Empty'
  }
  return evaluate(inner, (row as Record<string, unknown> | null)?.[name], path, depth + 1, operator, compare)
}

const texts = { map: 'text' } as const
const address = { map: { fields: { Address: 'text', Port: 'whole' } } } as const
const weights = { fields: { Passing: 'whole', Warning: 'whole' } } as const

/** Rows of catalog/nodes. */
export const nodeShape: Shape = {
  fields: { ID: 'text', Node: 'text', Address: 'text', Datacenter: 'text', TaggedAddresses: texts, Meta: texts },
}

/** Rows of catalog/service. */
export const serviceNodeShape: Shape = {
  fields: {
    ID: 'text',
    Node: 'text',
    Address: 'text',
    Datacenter: 'text',
    TaggedAddresses: texts,
    NodeMeta: texts,
    ServiceKind: 'text',
    ServiceID: 'text',
    ServiceName: 'text',
    ServiceTags: 'texts',
    ServiceAddress: 'text',
    ServiceTaggedAddresses: address,
    ServiceWeights: weights,
    ServiceMeta: texts,
    ServicePort: 'whole',
    ServiceEnableTagOverride: 'flag',
  },
}

/** Services of catalog/node and agent/services. */
export const serviceShape: Shape = {
  fields: {
    ID: 'text',
    Service: 'text',
    Kind: 'text',
    Tags: 'texts',
    Address: 'text',
    TaggedAddresses: address,
    Meta: texts,
    Port: 'whole',
    Weights: weights,
    EnableTagOverride: 'flag',
  },
}

/** Checks of health/node, health/checks, health/state and agent/checks. */
export const checkShape: Shape = {
  fields: {
    Node: 'text',
    CheckID: 'text',
    Name: 'text',
    Status: 'text',
    Notes: 'text',
    Output: 'text',
    ServiceID: 'text',
    ServiceName: 'text',
    ServiceTags: 'texts',
    Type: 'text',
  },
}

/** Rows of health/service. */
export const checkServiceNodeShape: Shape = {
  fields: { Node: nodeShape, Service: serviceShape, Checks: { list: checkShape } },
}
