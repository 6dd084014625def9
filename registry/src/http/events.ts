/** `/v1/event/…`: user events, fired into the gossip of this datacenter and listed as this agent has them. */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest } from '../errors.ts'
import type { Millis, UserEvent } from '../model.ts'
import { readBody } from './body.ts'
import { type Answer, type Asked, type Endpoint, type HttpOptions, json } from './endpoint.ts'
import { isUint64, localOnly, readOptions, waiting } from './query.ts'

export function eventEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  return [
    { path: '/v1/event/fire/', verbs: { PUT: (asked) => fire(surface, asked) } },
    { path: '/v1/event/list', verbs: { GET: (asked) => list(surface, options, asked) } },
  ]
}

async function fire(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const { name, query, request } = asked
  if (name === '') throw new BadRequest('Missing name')
  localOnly(surface, query.get('dc') ?? '')
  const event = surface.events.fire({
    name,
    payload: await readBody(request),
    nodeFilter: query.get('node') ?? '',
    serviceFilter: query.get('service') ?? '',
    tagFilter: query.get('tag') ?? '',
  })
  // Consul's answer has no time yet: its servers give one.
  return json(asked, eventShape({ ...event, ltime: 0 }))
}

/**
 * The index is that of the last event, and not ordered: whoever waits gets an answer as soon as it is another one. Events
 * that pass the filter `name` alone count. (Consul takes `node`, `service` and `tag` here, too, and does nothing with them.)
 */
async function list(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const { query, request } = asked
  const read = readOptions(asked, options)
  const name = query.get('name') ?? ''
  const known = knownIndex(query.get('index') ?? '')
  const look = () => {
    const events = name === '' ? surface.events.list : surface.events.list.filter((event) => event.name === name)
    return { events, index: indexOf(events) }
  }
  const waits = {
    changed: (_: unknown, wait: Millis, abandoned?: AbortSignal) => surface.events.changed(wait, abandoned),
  }
  const found =
    known === 0n
      ? look()
      : await waiting(waits, options, read.wait, request.signal, [], (over) => {
          const now = look()
          return over || now.index !== known ? now : undefined
        })
  return json(asked, found.events.map(eventShape), { 'X-Consul-Index': String(found.index) })
}

/** 0: answer at once. `readOptions` has refused what is no number; all 64 bits count here. */
function knownIndex(text: string): bigint {
  return isUint64(text) ? BigInt(text) : 0n
}

/** Consul's: the halves of the last event's id, exclusively or-ed; never 0, which would not wait. */
export function indexOf(events: readonly UserEvent[]): bigint {
  const digits = events.at(-1)?.id.replaceAll('-', '') ?? ''
  if (!/^[0-9a-f]{32}$/i.test(digits)) return 1n
  return BigInt(`0x${digits.slice(0, 16)}`) ^ BigInt(`0x${digits.slice(16)}`)
}

function eventShape({ id, name, payload, nodeFilter, serviceFilter, tagFilter, ltime }: UserEvent): unknown {
  return {
    ID: id,
    Name: name,
    Payload: payload.length === 0 ? null : Buffer.from(payload).toString('base64'),
    NodeFilter: nodeFilter,
    ServiceFilter: serviceFilter,
    TagFilter: tagFilter,
    Version: 1,
    LTime: ltime,
  }
}
