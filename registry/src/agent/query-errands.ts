/** Prepared queries on their way between datacenters: what is asked is checked, and what was found goes back as bytes, in parts when they are many. */
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import { BadRequest } from '../errors.ts'
import type { Millis, PreparedQueryService } from '../model.ts'
import { preparedQueryService, record } from '../store/fields.ts'
import type { Executed, Queries, QueryAsked } from './queries.ts'
import { fields } from './serving.ts'

/** For a query that finds nothing here and looks in other datacenters in its turn. */
const onwardsWithin: Millis = 5_000

interface Reply {
  /** MessagePack of what was found. */
  body: Uint8Array
}

/** What another datacenter asks of ours. @throws BadRequest, Refused */
export async function answerQuery(queries: Queries, errand: object): Promise<Reply> {
  const found = 'name' in errand ? await byName(queries, errand) : byService(queries, errand)
  return { body: pack(found ?? null) }
}

/** What became of it, as the asker reads it. @throws BadRequest when an agent of another version says something else */
export function executedFrom(reply: unknown): Executed | undefined {
  const { body } = (reply ?? {}) as Partial<Reply>
  const found = body instanceof Uint8Array ? (unpack(body) as Executed | null) : undefined
  if (found === null) return undefined
  if (typeof found?.datacenter !== 'string' || !Array.isArray(found.instances)) {
    throw new BadRequest('expected what a prepared query found')
  }
  return found
}

function byName(queries: Queries, errand: object): Promise<Executed | undefined> {
  const { name, asked } = fields<{ name: string; asked: object }>(errand, { name: 'string', asked: 'object' })
  const whole = fields<QueryAsked>(asked, {
    near: 'string',
    ip: 'string',
    agent: 'string',
    limit: 'number',
    connect: 'boolean',
  })
  return queries.execute(name, whole, onwardsWithin)
}

function byService(queries: Queries, errand: object): Executed {
  const { service, limit, connect } = fields<{ service: object; limit: number; connect: boolean }>(errand, {
    service: 'object',
    limit: 'number',
    connect: 'boolean',
  })
  preparedQueryService(record(service, 'service'))
  return queries.serve(service as PreparedQueryService, limit, connect)
}
