/** Whether a JSON document of the data directory is a registration: a service, or a check of a kind there is. */
import { type CheckDefinition, runsProgram } from '../health/definition.ts'
import type { ServiceDefinition } from '../model.ts'

type Fields = Record<string, unknown>
const isRecord = (value: unknown): value is Fields =>
  value !== null && typeof value === 'object' && !Array.isArray(value)

/** What everything else relies on; the rest of a registration is only handed on. */
export function isService(value: unknown): value is ServiceDefinition {
  if (!isRecord(value) || !isRecord(value.weights)) return false
  const texts = [value.id, value.name, value.address, ...(Array.isArray(value.tags) ? value.tags : [undefined])]
  return texts.every((text) => typeof text === 'string') && Number.isSafeInteger(value.port) && value.id !== ''
}

export function isCheck(value: unknown): value is CheckDefinition {
  if (!isRecord(value) || !isRecord(value.how) || value.id === '') return false
  const texts = [value.id, value.name, value.notes, value.serviceId, value.initialStatus, value.initialOutput]
  return texts.every((text) => typeof text === 'string') && isKind(value.how)
}

const probed: ReadonlySet<unknown> = new Set(['http', 'tcp', 'udp', 'grpc', 'script', 'docker', 'os_service'])

function isKind(how: Fields): boolean {
  if (how.type === 'maintenance') return true
  if (how.type === 'ttl') return typeof how.ttl === 'number'
  if (how.type === 'alias') return typeof how.node === 'string' && typeof how.service === 'string'
  if (runsProgram(how as { type: CheckDefinition['how']['type'] } as CheckDefinition['how'])) {
    if (!Array.isArray(how.args) || !how.args.every((word) => typeof word === 'string')) return false
  }
  return probed.has(how.type) && typeof how.interval === 'number'
}
