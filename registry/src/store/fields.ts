/** What the parts of a command must be, whoever sent the bytes it came in. @throws BadRequest, all of them */
import { BadRequest } from '../errors.ts'

export type Fields = Record<string, unknown>

export function node(fields: Fields): void {
  for (const field of ['id', 'name', 'address', 'datacenter']) text(fields[field], `node.${field}`)
  texts(fields.taggedAddresses, 'node.taggedAddresses')
  texts(fields.meta, 'node.meta')
}

export function service(fields: Fields): void {
  for (const field of ['id', 'name', 'address']) text(fields[field], `service.${field}`)
  for (const tag of list(fields.tags, 'service.tags')) text(tag, 'tag')
  number(fields.port, 'service.port')
  if (fields.taggedAddresses !== null) {
    for (const each of Object.values(record(fields.taggedAddresses, 'service.taggedAddresses'))) {
      const address = record(each, 'service.taggedAddresses')
      text(address.address, 'service.taggedAddresses.address')
      number(address.port, 'service.taggedAddresses.port')
    }
  }
  texts(fields.meta, 'service.meta')
  const weights = record(fields.weights, 'service.weights')
  number(weights.passing, 'service.weights.passing')
  number(weights.warning, 'service.weights.warning')
  yesOrNo(fields.enableTagOverride, 'service.enableTagOverride')
}

export function check(fields: Fields): void {
  for (const field of ['id', 'name', 'status', 'notes', 'output', 'serviceId', 'type']) {
    text(fields[field], `check.${field}`)
  }
  json(record(fields.definition, 'check.definition'), 'check.definition', 0)
}

export function session(fields: Fields): void {
  sessionIdentity(fields.id)
  for (const field of ['name', 'node', 'ttl']) text(fields[field], `session.${field}`)
  if (!Number.isInteger(fields.lockDelay)) throw wrong('session.lockDelay', 'whole nanoseconds', fields.lockDelay)
  if (!Number.isFinite(fields.lasts) || (fields.lasts as number) < 0) {
    throw wrong('session.lasts', 'a duration', fields.lasts)
  }
  if (fields.behavior !== 'release' && fields.behavior !== 'delete') {
    throw wrong('session.behavior', 'release or delete', fields.behavior)
  }
  for (const field of ['nodeChecks', 'serviceChecks', 'checks']) {
    if (fields[field] === null) continue
    for (const each of list(fields[field], `session.${field}`)) text(each, `session.${field}`)
  }
}

export function autopilot(fields: Fields): void {
  for (const field of ['cleanupDeadServers', 'disableUpgradeMigration']) yesOrNo(fields[field], `autopilot.${field}`)
  for (const field of ['redundancyZoneTag', 'upgradeVersionTag']) text(fields[field], `autopilot.${field}`)
  for (const field of ['lastContactThreshold', 'serverStabilizationTime']) {
    if (!Number.isFinite(fields[field])) throw wrong(`autopilot.${field}`, 'a duration', fields[field])
  }
  for (const field of ['maxTrailingLogs', 'minQuorum']) {
    if (!Number.isInteger(fields[field]) || (fields[field] as number) < 0) {
      throw wrong(`autopilot.${field}`, 'a whole number from 0', fields[field])
    }
  }
}

/** Where a node is. */
export function nodeCoordinate(fields: Fields): void {
  text(fields.node, 'node')
  text(fields.segment, 'segment')
  coordinate(record(fields.coordinate, 'coordinate'))
}

/** Eight dimensions and nothing that is no number: everybody computes distances to it. */
function coordinate(fields: Fields): void {
  const vector = list(fields.vector, 'coordinate.vector')
  if (vector.length !== 8) throw wrong('coordinate.vector', 'of 8 dimensions', vector)
  const numbers = [...vector, fields.error, fields.adjustment, fields.height]
  for (const each of numbers) if (!Number.isFinite(each)) throw wrong('coordinate', 'finite numbers', each)
}

export function preparedQuery(fields: Fields): void {
  sessionIdentity(fields.id)
  for (const field of ['name', 'session', 'token']) text(fields[field], `query.${field}`)
  const template = record(fields.template, 'query.template')
  for (const field of ['type', 'regexp']) text(template[field], `query.template.${field}`)
  yesOrNo(template.removeEmptyTags, 'query.template.removeEmptyTags')
  preparedQueryService(record(fields.service, 'query.service'))
  text(record(fields.dns, 'query.dns').ttl, 'query.dns.ttl')
}

export function preparedQueryService(fields: Fields): void {
  for (const field of ['service', 'near']) text(fields[field], `query.service.${field}`)
  for (const field of ['onlyPassing', 'connect']) yesOrNo(fields[field], `query.service.${field}`)
  const failover = record(fields.failover, 'query.service.failover')
  number(failover.nearest, 'query.service.failover.nearest')
  const lists: [unknown, string][] = [
    [failover.datacenters, 'failover.datacenters'],
    [fields.ignoreCheckIds, 'ignoreCheckIds'],
    [fields.tags, 'tags'],
  ]
  for (const [value, field] of lists) {
    if (value === null) continue
    for (const each of list(value, `query.service.${field}`)) text(each, `query.service.${field}`)
  }
  texts(fields.nodeMeta, 'query.service.nodeMeta')
  texts(fields.serviceMeta, 'query.service.serviceMeta')
}

/** As sessions and prepared queries are kept under: a UUID in lower case. */
export function sessionIdentity(id: unknown): void {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text(id, 'id'))) throw wrong('id', 'a UUID', id)
}

export function record(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) {
    throw wrong(what, 'a record', value)
  }
  return value as Fields
}

export function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw wrong(what, 'a list', value)
  return value
}

export function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw wrong(what, 'a text', value)
  return value
}

/** A record of texts, or null. */
function texts(value: unknown, what: string): void {
  if (value !== null) for (const each of Object.values(record(value, what))) text(each, what)
}

function number(value: unknown, what: string): void {
  if (!Number.isSafeInteger(value)) throw wrong(what, 'a whole number', value)
}

export function index(value: unknown, what: string): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw wrong(what, 'an index', value)
}

export function yesOrNo(value: unknown, what: string): void {
  if (typeof value !== 'boolean') throw wrong(what, 'true or false', value)
}

/** Plain values all the way down; the depth is bounded because the bytes may come from anywhere. */
function json(value: unknown, what: string, depth: number): void {
  if (depth > 32) throw new BadRequest(`malformed command: ${what} is nested too deeply`)
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) return
  const parts = Array.isArray(value) ? value : Object.values(record(value, what))
  for (const part of parts) json(part, what, depth + 1)
}

export function wrong(what: string, expected: string, received: unknown): BadRequest {
  return new BadRequest(`malformed command: expected ${what} to be ${expected}, received ${show(received)}`)
}

export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value)
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'a record'
  return String(value)
}
