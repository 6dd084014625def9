/**
 * Registrations with an agent, from JSON in all of Consul's spellings to our definitions, with Consul's defaults and its
 * sentences when something is wrong. Whoever reads definitions from elsewhere (configuration files) can use these too.
 */
import { BadRequest, Refused } from '../errors.ts'
import { outputMaxDefault } from '../health/checks.ts'
import { type CheckDefinition, type CheckKind, runsProgram } from '../health/definition.ts'
import type { CheckStatus, Millis, ServiceAddress, ServiceDefinition } from '../model.ts'
import { Fields } from './decode.ts'

export interface ServiceRegistration {
  service: ServiceDefinition
  checks: CheckDefinition[]
}

/** Whether a definition may name a program to run, by where it came from; if not, the sentence to refuse it with. */
export type Scripts = 'allowed' | { refusal: string }

export const remoteScriptsOff: Scripts = {
  refusal: "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
}

/** `PUT /v1/agent/service/register`. @throws BadRequest, Refused */
export function serviceRegistration(body: unknown, scripts: Scripts = remoteScriptsOff): ServiceRegistration {
  const fields = new Fields(body, '')
  const service = serviceOf(fields)
  const given = [
    ...(fields.object('Check').isEmpty ? [] : [fields.object('Check', '')]),
    ...fields.list('Checks').map((check) => new Fields(check, '')),
  ].map(checkFields)
  refuseConnect(fields)
  if (service.name === '') throw new BadRequest('Missing service name')
  if (isAnyAddress(service.address)) throw new BadRequest('Invalid service address')
  validateWeights(service)
  validateMeta(service.meta ?? {})
  for (const check of given) validateCheck(check)
  for (const { status } of given) {
    if (!isStatus(status)) throw new BadRequest("Status for checks must 'passing', 'warning', 'critical'")
  }
  const checks = given.map((check, nth) => {
    // Consul: service:ID for the only check, service:ID:1 and on for several.
    const id = check.id || `service:${service.id}${given.length > 1 ? `:${nth + 1}` : ''}`
    return checkDefinition(check, id, check.name || `Service '${service.name}' check`, service.id)
  })
  for (const check of checks) refuseScripts(check, scripts)
  return { service: withTaggedAddresses(service), checks }
}

/** `PUT /v1/agent/check/register`. @throws BadRequest, Refused */
export function checkRegistration(body: unknown, scripts: Scripts = remoteScriptsOff): CheckDefinition {
  const fields = new Fields(body, '')
  const check = checkFields(fields)
  if (check.name === '') throw new BadRequest('Missing check name')
  if (!isStatus(check.status)) throw new BadRequest('Bad check status')
  validateCheck(check)
  const definition = checkDefinition(check, check.id || check.name, check.name, fields.text('ServiceID'))
  refuseScripts(definition, scripts)
  return definition
}

/** What in a registration keeps a name out of DNS; Consul logs the same and accepts it. */
export function dnsWarnings({ name, tags }: ServiceDefinition): string[] {
  const warnings: string[] = []
  const look = (what: string, label: string) => {
    const problem = /[^A-Za-z0-9-]/.test(label)
      ? 'due to invalid characters. Valid characters include all alpha-numerics and dashes.'
      : label.length > 63
        ? 'due to it being too long. Valid lengths are between 1 and 63 bytes.'
        : undefined
    if (problem) warnings.push(`${what} ${JSON.stringify(label)} will not be discoverable via DNS ${problem}`)
  }
  look('Service name', name)
  for (const tag of tags) look('Service tag', tag)
  return warnings
}

function serviceOf(fields: Fields): ServiceDefinition {
  const name = fields.text('Name')
  return {
    id: fields.text('ID') || name,
    name,
    tags: fields.texts('Tags'),
    address: fields.text('Address'),
    port: fields.integer('Port', 'digits'),
    taggedAddresses: serviceAddresses(fields),
    meta: fields.textMap('Meta'),
    weights: weightsOf(fields),
    enableTagOverride: fields.boolean('EnableTagOverride'),
  }
}

/** `TaggedAddresses` of a service: tag to address and port. */
export function serviceAddresses(fields: Fields): Record<string, ServiceAddress> | null {
  return fields.map('TaggedAddresses', (value) => {
    const address = new Fields(value, 'ServiceAddress')
    return { address: address.text('Address'), port: address.integer('Port') }
  })
}

/** Consul's default is 1 and 1. */
export function weightsOf(fields: Fields): { passing: number; warning: number } {
  if (!fields.has('Weights')) return { passing: 1, warning: 1 }
  const weights = fields.object('Weights', 'Weights')
  return { passing: weights.integer('Passing'), warning: weights.integer('Warning') }
}

/** Addresses that mean "any" cannot be connected to. */
export function isAnyAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::' || address === '[::]'
}

function validateWeights({ weights }: ServiceDefinition): void {
  const { passing, warning } = weights
  if (passing < 1) throw new BadRequest('Invalid Weights: Passing must be greater than 0')
  if (warning < 0) throw new BadRequest('Invalid Weights: Warning must be greater or equal than 0')
  if (passing > 65_535 || warning > 65_535) {
    throw new BadRequest('Invalid Weights: DNS Weight must be between 0 and 65535')
  }
}

function validateMeta(meta: Readonly<Record<string, string>>): void {
  const entries = Object.entries(meta)
  if (entries.length > 64) {
    throw new BadRequest('Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs')
  }
  for (const [key, value] of entries) {
    const problem = metaProblem(key, value, false)
    if (problem === undefined) continue
    throw new BadRequest(`Invalid Service Meta: Couldn't load metadata pair ('${key}', '${value}'): ${problem}`)
  }
}

/** What is wrong with a pair of metadata. @param reserved whether the keys of Consul itself may be used */
export function metaProblem(key: string, value: string, reserved: boolean): string | undefined {
  if (key === '') return 'Key cannot be blank'
  if (!/^[a-zA-Z0-9_-]+$/.test(key)) return 'Key contains invalid characters'
  if (key.length > 128) return 'Key is too long (limit: 128 characters)'
  if (!reserved && key.startsWith('consul-')) return "Key prefix 'consul-' is reserved for internal use"
  return Buffer.byteLength(value) > 512 ? 'Value is too long (limit: 512 characters)' : undefined
}

/** Service-mesh registrations would be half understood: better refused than wrong. */
function refuseConnect(fields: Fields): void {
  const kind = fields.text('Kind')
  if (['connect-proxy', 'mesh-gateway', 'terminating-gateway', 'ingress-gateway'].includes(kind)) {
    throw new BadRequest(`Kind ${JSON.stringify(kind)} is not supported by this version`)
  }
  const connect = fields.object('Connect')
  if (connect.boolean('Native') || connect.has('SidecarService')) {
    throw new BadRequest('Connect is not supported by this version')
  }
}

/** As Consul's agent does: an IP address is also the service's address in both networks unless others are given. */
function withTaggedAddresses(service: ServiceDefinition): ServiceDefinition {
  const family = /^\d{1,3}(\.\d{1,3}){3}$/.test(service.address)
    ? 'ipv4'
    : /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(service.address)
      ? 'ipv6'
      : undefined
  if (family === undefined) return service
  const own = { address: service.address, port: service.port }
  const taggedAddresses = { [`lan_${family}`]: own, [`wan_${family}`]: own, ...service.taggedAddresses }
  return { ...service, taggedAddresses }
}

/** A check as it was written, before its kind is decided. */
interface GivenCheck {
  id: string
  name: string
  notes: string
  status: string
  /** What to run, with its arguments; none: no script. */
  args: string[]
  http: string
  tcp: string
  udp: string
  grpc: string
  grpcUseTls: boolean
  docker: string
  osService: string
  h2ping: string
  aliasNode: string
  aliasService: string
  disableRedirects: boolean
  method: string
  header: Record<string, string[]>
  body: string
  ttl: Millis
  interval: Millis
  timeout: Millis
  tlsSkipVerify: boolean
  outputMaxSize: number
  successBeforePassing: number
  failuresBeforeCritical: number
  deregisterAfter: Millis
}

function checkFields(fields: Fields): GivenCheck {
  return {
    id: fields.text('CheckID') || fields.text('ID'),
    name: fields.text('Name'),
    notes: fields.text('Notes'),
    status: fields.text('Status'),
    args: argsOf(fields),
    http: fields.text('HTTP'),
    tcp: fields.text('TCP'),
    udp: fields.text('UDP'),
    grpc: fields.text('GRPC'),
    grpcUseTls: fields.boolean('GRPCUseTLS'),
    docker: fields.text('DockerContainerID'),
    osService: fields.text('OSService'),
    h2ping: fields.text('H2PING'),
    aliasNode: fields.text('AliasNode'),
    aliasService: fields.text('AliasService'),
    disableRedirects: fields.boolean('DisableRedirects'),
    method: fields.text('Method'),
    header: fields.map('Header', (value, key) => new Fields({ [key]: value }, 'Header').texts(key)) ?? {},
    body: fields.text('Body'),
    ttl: fields.duration('TTL'),
    interval: fields.duration('Interval'),
    timeout: fields.duration('Timeout'),
    tlsSkipVerify: fields.boolean('TLSSkipVerify'),
    outputMaxSize: fields.integer('OutputMaxSize'),
    successBeforePassing: fields.integer('SuccessBeforePassing'),
    failuresBeforeCritical: fields.integer('FailuresBeforeCritical'),
    deregisterAfter: fields.duration('DeregisterCriticalServiceAfter'),
  }
}

/** `Script`, of Consul up to 0.9, is a line for a shell: the one given for the container, else `/bin/sh`. */
function argsOf(fields: Fields): string[] {
  const args = [...fields.texts('ScriptArgs'), ...fields.texts('Args')]
  const script = fields.text('Script')
  if (args.length > 0 || script === '') return args
  return [fields.text('Shell') || '/bin/sh', '-c', script]
}

/** Consul's rules in Consul's order, then what this version cannot run. */
function validateCheck(check: GivenCheck): void {
  const invalid = (reason: string) => new BadRequest(`Invalid check: ${reason}`)
  const { args, http, tcp, udp, grpc, osService } = check
  const periodic = args.length > 0 || [http, tcp, udp, grpc, osService].some((target) => target !== '')
  const alias = check.aliasNode !== '' || check.aliasService !== ''
  if (check.interval > 0 && check.ttl > 0) throw invalid('Interval and TTL cannot both be specified')
  if (periodic && check.interval <= 0) throw invalid('Interval must be > 0 for Script, HTTP, or TCP checks')
  if (periodic && alias) throw invalid('Interval cannot be set for Alias checks')
  if (alias && check.ttl > 0) throw invalid('TTL must be not be set for Alias checks')
  if (check.h2ping !== '') throw invalid('H2PING checks are not supported by this version')
  if (!periodic && !alias && check.ttl <= 0) throw invalid('TTL must be > 0 for TTL checks')
  if (check.outputMaxSize < 0) throw invalid('MaxOutputMaxSize must be positive')
}

function refuseScripts({ how }: CheckDefinition, scripts: Scripts): void {
  if (scripts !== 'allowed' && runsProgram(how)) throw new Refused(scripts.refusal)
}

function checkDefinition(check: GivenCheck, id: string, name: string, serviceId: string): CheckDefinition {
  return {
    id,
    name,
    notes: check.notes,
    serviceId,
    initialStatus: check.status === '' ? 'critical' : (check.status as CheckStatus),
    initialOutput: '',
    successesBeforePassing: Math.max(0, check.successBeforePassing),
    failuresBeforeCritical: Math.max(0, check.failuresBeforeCritical),
    deregisterServiceAfter: Math.max(0, check.deregisterAfter),
    how: kindOf(check),
  }
}

/** Where several kinds are named, the one counts that Consul's order finds first. */
function kindOf(check: GivenCheck): CheckKind {
  const { interval, tlsSkipVerify } = check
  const timeout = Math.max(0, check.timeout)
  const outputMax = check.outputMaxSize || outputMaxDefault
  if (check.grpc !== '') {
    return { type: 'grpc', target: check.grpc, tls: check.grpcUseTls, tlsSkipVerify, interval, timeout }
  }
  if (check.http !== '') {
    return {
      type: 'http',
      url: check.http,
      method: check.method || 'GET',
      headers: check.header,
      body: check.body,
      tlsSkipVerify,
      interval,
      timeout,
      outputMax,
      ...(check.disableRedirects ? { disableRedirects: true } : {}),
    }
  }
  if (check.ttl > 0) return { type: 'ttl', ttl: check.ttl, outputMax }
  if (check.tcp !== '') return { type: 'tcp', target: check.tcp, interval, timeout }
  if (check.aliasNode !== '' || check.aliasService !== '') {
    return { type: 'alias', node: check.aliasNode, service: check.aliasService }
  }
  const { args, docker: container } = check
  if (args.length > 0 && container !== '') return { type: 'docker', container, args, interval, timeout, outputMax }
  if (args.length > 0) return { type: 'script', args, interval, timeout, outputMax }
  if (check.udp !== '') return { type: 'udp', target: check.udp, interval, timeout }
  return { type: 'os_service', service: check.osService, interval, timeout }
}

/** '' is "not given". */
function isStatus(status: string): boolean {
  return status === '' || status === 'passing' || status === 'warning' || status === 'critical'
}
