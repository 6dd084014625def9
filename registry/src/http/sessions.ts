/** `/v1/session/`: what locks are held by. Unlike Consul 1.8, field names may be in snake_case, as everywhere else here. */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest, Refused } from '../errors.ts'
import { formatDuration, parseDuration } from '../health/duration.ts'
import { type Millis, type Session, type SessionDefinition, serfHealthId } from '../model.ts'
import { sessionId } from '../store/sessions.ts'
import type { Indexed, View } from '../store/view.ts'
import { readBody } from './body.ts'
import { decodeFailed, Fields, parseJson } from './decode.ts'
import { type Answer, type Asked, type Endpoint, type HttpOptions, json, text } from './endpoint.ts'
import { FailedRead, localOnly, reading, readOptions } from './query.ts'

/** Consul's `session_ttl_min`, where it is not configured. */
const ttlMinDefault: Millis = 10_000
const ttlMax: Millis = 24 * 3_600_000
/** Nanoseconds. */
const lockDelayDefault = 15e9
/** Numbers below this many nanoseconds are seconds: who wrote 15 did not mean nanoseconds (Consul's lockDelayMinThreshold). */
const secondsBelow = 1000
/** The most that a number here and a duration of Go's, of 64 bits, both hold: its client would read no list with more. */
const nanosecondsMost = 2 ** 63 - 2 ** 10

export function sessionEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  const read = (look: (view: View) => Indexed<Session[]>, asked: Asked) => answerRead(surface, options, asked, look)
  return [
    { path: '/v1/session/create', verbs: { PUT: (asked) => create(surface, options, asked) } },
    { path: '/v1/session/destroy/', verbs: { PUT: (asked) => destroy(surface, asked) } },
    { path: '/v1/session/renew/', verbs: { PUT: (asked) => renew(surface, asked) } },
    {
      path: '/v1/session/info/',
      verbs: {
        GET: (asked) => {
          expectName(asked.name)
          return read((view) => one(view, asked.name), asked)
        },
      },
    },
    {
      path: '/v1/session/node/',
      verbs: {
        GET: (asked) => {
          if (asked.name === '') throw new BadRequest('Missing node name')
          return read((view) => view.nodeSessions(asked.name), asked)
        },
      },
    },
    { path: '/v1/session/list', verbs: { GET: (asked) => read((view) => view.sessions(), asked) } },
  ]
}

async function answerRead(
  surface: AgentSurface,
  options: HttpOptions,
  asked: Asked,
  look: (view: View) => Indexed<Session[]>,
): Promise<Answer> {
  const question = { topics: [{ kind: 'sessions' as const }], look }
  const { value, headers } = await reading(surface, options, readOptions(asked, options), asked, question)
  return json(asked, value.map(consulSession), headers)
}

function one(view: View, name: string): Indexed<Session[]> {
  const { index, value } = view.session(named(name, (refused) => new FailedRead('no such id', { cause: refused })))
  return { index, value: value === undefined ? [] : [value] }
}

async function create(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const bytes = await readBody(asked.request)
  const given = bytes.length === 0 ? {} : parseJson(bytes)
  const session = definition(given, asked.request.from ?? surface.identity.name, options)
  localOnly(surface, asked.query.get('dc') ?? '')
  if (session.node === '') throw new Refused('Must provide Node')
  const { behavior, ttl } = session
  if (behavior !== 'release' && behavior !== 'delete') throw new Refused(`Invalid Behavior setting '${behavior}'`)
  const lasts = ttlOf(ttl, options.sessionTtlMin ?? ttlMinDefault)
  await surface.write({ type: 'session.create', session: { ...session, behavior, lasts } })
  return json(asked, { ID: session.id })
}

async function destroy(surface: AgentSurface, asked: Asked): Promise<Answer> {
  expectName(asked.name)
  localOnly(surface, asked.query.get('dc') ?? '')
  const id = named(asked.name)
  // Nobody is of an id that is no UUID, and so has ended already.
  if (!id.includes('-')) return json(asked, true)
  return json(asked, (await surface.write({ type: 'session.destroy', id })).value)
}

async function renew(surface: AgentSurface, asked: Asked): Promise<Answer> {
  expectName(asked.name)
  localOnly(surface, asked.query.get('dc') ?? '')
  const session = await surface.renewSession(named(asked.name))
  if (session === undefined) return text(404, `Session id '${asked.name}' not found`)
  return json(asked, [consulSession(session)])
}

function expectName(name: string): void {
  if (name === '') throw new BadRequest('Missing session')
}

/** @throws Refused, or what is made of it */
function named(name: string, failure: (refused: Refused) => Error = (refused) => refused): string {
  const found = sessionId(name)
  if ('error' in found) throw failure(new Refused(found.error))
  return found.id
}

type Given = Omit<SessionDefinition, 'behavior' | 'lasts'> & { behavior: string }

/** What the body asks for, and the defaults: this node, the health that gossip tells of it, 15 s of lock-delay, release. */
function definition(body: unknown, node: string, { random }: HttpOptions): Given {
  const fields = new Fields(body, '')
  const has = (name: string) => Object.keys(body ?? {}).some((each) => each.toLowerCase() === name.toLowerCase())
  const list = <T>(name: string, read: () => T[], absent: T[] | null) =>
    has(name) ? (fields.has(name) ? read() : null) : absent
  const checks = list('Checks', () => fields.texts('Checks'), [serfHealthId])
  const nodeChecks = list('NodeChecks', () => fields.texts('NodeChecks'), [serfHealthId])
  const serviceChecks = list(
    'ServiceChecks',
    () => fields.list('ServiceChecks').map((each) => new Fields(each, 'structs.ServiceCheck').text('ID')),
    null,
  )
  const behavior = fields.text('Behavior')
  return {
    id: random.uuid(),
    name: fields.text('Name'),
    node: fields.has('Node') ? fields.text('Node') : node,
    lockDelay: lockDelayOf(body),
    behavior: behavior === '' ? 'release' : behavior,
    ttl: fields.text('TTL'),
    ...livesBy(checks ?? [], nodeChecks),
    serviceChecks,
  }
}

/** An empty list in either of the two ways to name checks says: by none (Consul's fixupEmptySessionChecks). */
function livesBy(checks: string[], nodeChecks: string[] | null): Pick<SessionDefinition, 'checks' | 'nodeChecks'> {
  if (checks.length === 0) return { checks: null, nodeChecks: [] }
  // It is what `Checks` is when nobody names it.
  const unnamed = checks.length === 1 && checks[0] === serfHealthId
  return { checks: unnamed || nodeChecks?.length === 0 ? null : checks, nodeChecks }
}

/** @returns whole nanoseconds @throws BadRequest in Go's words */
function lockDelayOf(body: unknown): number {
  const given = Object.entries(body ?? {}).find(([name]) => /^lock_?delay$/i.test(name))?.[1]
  if (given === undefined || given === null) return lockDelayDefault
  let nanoseconds = 0
  if (typeof given === 'number') {
    if (!Number.isFinite(given)) {
      throw decodeFailed('json: cannot unmarshal number into Go struct field .LockDelay of type float64')
    }
    nanoseconds = Math.trunc(given)
  } else if (typeof given === 'string') {
    try {
      nanoseconds = Math.round(parseDuration(given) * 1e6)
    } catch (error) {
      throw decodeFailed((error as BadRequest).message)
    }
  }
  if (nanoseconds < secondsBelow) nanoseconds *= 1e9
  return Math.max(-nanosecondsMost, Math.min(nanosecondsMost, nanoseconds))
}

/** @throws Refused in Consul's words */
function ttlOf(ttl: string, ttlMin: Millis): Millis {
  if (ttl === '') return 0
  let lasts: Millis
  try {
    lasts = parseDuration(ttl)
  } catch (error) {
    throw new Refused(`Session TTL '${ttl}' invalid: ${(error as BadRequest).message}`)
  }
  if (lasts !== 0 && (lasts < ttlMin || lasts > ttlMax)) {
    const range = `[${formatDuration(ttlMin)}=${formatDuration(ttlMax)}]`
    throw new Refused(`Invalid Session TTL '${BigInt(Math.round(lasts * 1e6))}', must be between ${range}`)
  }
  return lasts
}

/** In Consul's order and spelling. */
function consulSession(session: Session) {
  return {
    ID: session.id,
    Name: session.name,
    Node: session.node,
    LockDelay: session.lockDelay,
    Behavior: session.behavior,
    TTL: session.ttl,
    NodeChecks: session.nodeChecks,
    ServiceChecks: session.serviceChecks?.map((id) => ({ ID: id, Namespace: '' })) ?? null,
    ...(session.checks !== null && { Checks: session.checks }),
    CreateIndex: session.createIndex,
    ModifyIndex: session.modifyIndex,
  }
}
