/** `/v1/kv/`: keys and values, and locks on them: `?acquire=` and `?release=` name a session. */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest } from '../errors.ts'
import type { Base64, KvPair } from '../model.ts'
import type { Command } from '../store/command.ts'
import { readBody } from './body.ts'
import { type Answer, type Asked, type Endpoint, empty, type HttpOptions, json } from './endpoint.ts'
import { exact } from './json.ts'
import { FailedRead, localOnly, parseUint64, reading, readOptions } from './query.ts'

export function kvEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  return [
    {
      path: '/v1/kv/',
      hot: true,
      verbs: {
        GET: (asked) => get(surface, options, asked),
        PUT: (asked) => put(surface, asked),
        DELETE: (asked) => remove(surface, asked),
      },
    },
  ]
}

async function get(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const read = readOptions(asked, options)
  const { query, name: key } = asked
  const keys = query.has('keys')
  const recurse = query.has('recurse')
  try {
    // Consul's precedence: keys before recurse before raw.
    if (keys) {
      const separator = query.get('separator') ?? ''
      const { value, headers } = await reading(surface, options, read, asked, {
        topics: [{ kind: 'prefix', prefix: key }],
        look: (view) => view.kvKeys(key, separator === '' ? undefined : separator),
      })
      return value.length === 0 && key !== '' ? empty(404, headers) : json(asked, value, headers)
    }
    if (recurse) {
      const { value, headers } = await reading(surface, options, read, asked, {
        topics: [{ kind: 'prefix', prefix: key }],
        look: (view) => view.kvUnder(key),
      })
      return value.length === 0 ? empty(404, headers) : json(asked, value.map(consulPair), headers)
    }
    requireKey(key)
    const { value, headers } = await reading(surface, options, read, asked, {
      topics: [{ kind: 'key', key }],
      look: (view) => view.kv(key),
    })
    if (value === undefined) return empty(404, headers)
    return query.has('raw') ? raw(value, headers) : json(asked, [consulPair(value)], headers)
  } catch (error) {
    // Unlike the catalog's, failed reads of KV carry no index.
    throw error instanceof FailedRead ? error.cause : error
  }
}

async function put(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const { query, name: key } = asked
  requireKey(key)
  refuseConflict(query, ['cas', 'acquire', 'release'])
  const flags = query.has('flags') ? parseUint64(query.get('flags') ?? '') : '0'
  const cas = casOf(query)
  localOnly(surface, query.get('dc') ?? '')
  const bytes = await readBody(asked.request)
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
  const command = putCommand(query, { key, value, flags }, cas)
  return json(asked, (await surface.write(command)).value)
}

function putCommand(
  query: URLSearchParams,
  pair: { key: string; value: Base64; flags: string },
  cas: number | undefined,
): Command {
  const acquire = query.get('acquire')
  if (acquire !== null) return { type: 'kv.lock', ...pair, session: acquire }
  const release = query.get('release')
  if (release !== null) return { type: 'kv.unlock', ...pair, session: release }
  return { type: 'kv.set', ...pair, ...(cas !== undefined && { cas }) }
}

async function remove(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const { query, name: key } = asked
  const recurse = query.has('recurse')
  if (!recurse) requireKey(key)
  refuseConflict(query, ['recurse', 'cas'])
  const cas = casOf(query)
  localOnly(surface, query.get('dc') ?? '')
  // Consul: cas=0 on a delete never matches, there is nothing to create.
  if (cas === 0) return json(asked, false)
  const command: Command = { type: 'kv.delete', key, ...(cas !== undefined && { cas }), ...(recurse && { recurse }) }
  return json(asked, (await surface.write(command)).value)
}

function requireKey(key: string): void {
  if (key === '') throw new BadRequest('Missing key name')
}

/** At most one of them. */
function refuseConflict(query: URLSearchParams, names: readonly string[]): void {
  if (query.size < 2 || names.filter((name) => query.has(name)).length < 2) return
  const all = new URLSearchParams(query)
  all.sort()
  throw new BadRequest(`Conflicting flags: ${all}`)
}

/** An index above 2^53 is none this cluster ever gave: as a number it matches nothing, which is the answer. */
function casOf(query: URLSearchParams): number | undefined {
  return query.has('cas') ? Number(parseUint64(query.get('cas') ?? '')) : undefined
}

/** In Consul's order and spelling; an empty value is null. */
export function consulPair(pair: KvPair) {
  return {
    LockIndex: pair.lockIndex,
    Key: pair.key,
    Flags: exact(pair.flags),
    Value: pair.value === '' ? null : pair.value,
    ...(pair.session !== undefined && { Session: pair.session }),
    CreateIndex: pair.createIndex,
    ModifyIndex: pair.modifyIndex,
  }
}

function raw(pair: KvPair, headers: Record<string, string>): Answer {
  return {
    status: 200,
    headers: {
      'Content-Type': 'text/plain',
      // Whatever was stored, a browser shall neither guess its type nor run it.
      'X-Content-Type-Options': 'nosniff',
      'Content-Security-Policy': 'sandbox',
      ...headers,
    },
    body: Buffer.from(pair.value, 'base64'),
  }
}
