/**
 * Services and checks in configuration files: `service`, `services`, `check`, `checks`, in snake_case or CamelCase. Each
 * key is checked by name and kind before the rules of registrations over HTTP are applied, so that a mistake is named with
 * its file, its key, what stands there and what was expected.
 */
import type { Definitions, ScriptRules } from '../agent/definitions.ts'
import type { CheckDefinition } from '../health/definition.ts'
import { parseDuration } from '../health/duration.ts'
import { checkRegistration, type Scripts, type ServiceRegistration, serviceRegistration } from '../http/registration.ts'

/** What a file says under one of the four keys. */
export interface GivenDefinition {
  path: string
  key: string
  value: unknown
}

type Shape = 'text' | 'number' | 'boolean' | 'duration' | 'texts' | 'map' | 'headers' | Fields
type Fields = { readonly [name: string]: Shape | readonly [Fields] }

const expected = {
  text: 'a text',
  number: 'a whole number',
  boolean: 'true or false',
  duration: 'a duration such as "10s"',
  texts: 'a list of texts',
  map: 'an object of texts',
  headers: 'an object of lists of texts',
} as const

/** Names without underscores and capitals, as both spellings come to. */
const checkFields: Fields = {
  id: 'text',
  checkid: 'text',
  name: 'text',
  notes: 'text',
  serviceid: 'text',
  status: 'text',
  token: 'text',
  script: 'text',
  args: 'texts',
  scriptargs: 'texts',
  http: 'text',
  header: 'headers',
  method: 'text',
  body: 'text',
  disableredirects: 'boolean',
  tcp: 'text',
  udp: 'text',
  h2ping: 'text',
  grpc: 'text',
  grpcusetls: 'boolean',
  osservice: 'text',
  dockercontainerid: 'text',
  shell: 'text',
  aliasnode: 'text',
  aliasservice: 'text',
  ttl: 'duration',
  interval: 'duration',
  timeout: 'duration',
  tlsskipverify: 'boolean',
  outputmaxsize: 'number',
  successbeforepassing: 'number',
  failuresbeforecritical: 'number',
  deregistercriticalserviceafter: 'duration',
}

const serviceFields: Fields = {
  id: 'text',
  name: 'text',
  kind: 'text',
  tags: 'texts',
  meta: 'map',
  port: 'number',
  address: 'text',
  token: 'text',
  enabletagoverride: 'boolean',
  weights: { passing: 'number', warning: 'number' },
  check: checkFields,
  checks: [checkFields],
}

export function isDefinitionKey(key: string): boolean {
  return key === 'service' || key === 'services' || key === 'check' || key === 'checks'
}

/** What is wrong goes to `mistakes`, and the definition it is in is left out. */
export function readDefinitions(
  given: readonly GivenDefinition[],
  rules: ScriptRules,
  mistakes: string[],
): Definitions {
  const scripts: Scripts = rules.files
    ? 'allowed'
    : {
        refusal:
          "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true",
      }
  const services: ServiceRegistration[] = []
  const checks: CheckDefinition[] = []
  for (const { path, key, value } of given) {
    const many = Array.isArray(value)
    for (const [nth, each] of (many ? value : [value]).entries()) {
      const where = many ? `${key}[${nth}]` : key
      const say = (what: string) => mistakes.push(`failed to parse ${path}: ${what}`)
      const isService = key.startsWith('service')
      if (!fits(each, isService ? serviceFields : checkFields, where, say)) continue
      try {
        if (isService) services.push(serviceRegistration(each, scripts))
        else checks.push(checkRegistration(each, scripts))
      } catch (error) {
        say(`${where}${nameOf(each)}: ${(error as Error).message}`)
      }
    }
  }
  return { services, checks }
}

function nameOf(value: unknown): string {
  const { name, Name = name } = value as { name?: unknown; Name?: unknown }
  return typeof Name === 'string' && Name !== '' ? ` ("${Name}")` : ''
}

/** Whether all that is there is of its kind; says everything that is not. */
function fits(value: unknown, fields: Fields, where: string, say: (what: string) => void): boolean {
  if (!isRecord(value)) {
    say(`${where}: expected an object, received ${JSON.stringify(value)}`)
    return false
  }
  let fine = true
  for (const [name, member] of Object.entries(value)) {
    const at = `${where}.${name}`
    const shape = shapeOf(fields, name, member)
    if (shape === 'absent' || shape === 'unknown') {
      fine = false
      say(
        shape === 'absent'
          ? `${at}: the service mesh is not supported by this version, received ${JSON.stringify(member)}`
          : `invalid config key ${at}`,
      )
    } else if (member === null) continue
    else if (typeof shape === 'string') {
      if (isOf(shape, member)) continue
      fine = false
      say(`${at}: expected ${expected[shape]}, received ${JSON.stringify(member)}`)
    } else if (!Array.isArray(shape)) fine = fits(member, shape as Fields, at, say) && fine
    else if (!Array.isArray(member)) {
      fine = false
      say(`${at}: expected a list of objects, received ${JSON.stringify(member)}`)
    } else for (const [nth, item] of member.entries()) fine = fits(item, shape[0], `${at}[${nth}]`, say) && fine
  }
  return fine
}

function shapeOf(fields: Fields, name: string, member: unknown): Fields[string] | 'absent' | 'unknown' {
  const plain = plainly(name)
  if (fields === serviceFields) {
    // Tags of addresses are whatever the operator calls them.
    if (plain === 'taggedaddresses' && isRecord(member)) {
      return Object.fromEntries(Object.keys(member).map((tag) => [plainly(tag), addressFields]))
    }
    if (plain === 'connect' || plain === 'proxy') return 'absent'
  }
  return Object.hasOwn(fields, plain) ? fields[plain]! : 'unknown'
}

const addressFields: Fields = { address: 'text', port: 'number' }
const plainly = (name: string) => name.toLowerCase().replaceAll('_', '')

function isOf(shape: keyof typeof expected, value: unknown): boolean {
  switch (shape) {
    case 'number':
      return Number.isSafeInteger(value)
    case 'boolean':
      return typeof value === 'boolean'
    case 'duration':
      return isDuration(value)
    case 'texts':
      return isTexts(value)
    case 'map':
      return isRecord(value) && Object.values(value).every((member) => typeof member === 'string')
    case 'headers':
      return isRecord(value) && Object.values(value).every(isTexts)
    default:
      return typeof value === 'string'
  }
}

function isDuration(value: unknown): boolean {
  if (typeof value !== 'string') return false
  try {
    parseDuration(value)
    return true
  } catch {
    return false
  }
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
