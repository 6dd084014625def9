/**
 * Prepared queries: found by id, by name, or as the template with the longest name that a name begins with. Names compare
 * without regard to case, as in Consul. One that is bound to a session goes with it. What a query means is found out when
 * it is executed (`agent/queries.ts`); here it is only kept. Error texts are those of Consul 1.8.
 */
import type { Index, PreparedQuery, PreparedQueryDefinition, SessionId } from '../model.ts'
import type { Result } from './command.ts'
import { idMeant, type Sessions, sessionId } from './sessions.ts'
import { folded, orderKey, separator, Table } from './table.ts'
import type { Watchers } from './watch.ts'

export interface QueriesState {
  /** The last time one came, changed or went. */
  changed: Index
  queries: Table<PreparedQuery>
}

export class Queries {
  readonly #watchers: Watchers
  #changed: Index
  /** By id. */
  #queries: Table<PreparedQuery>
  /** Those that have a name, by it. */
  #byName = new Table<PreparedQuery>()
  /** Templates, by name, which may be empty. */
  #templates = new Table<PreparedQuery>()
  /** By session, then id. */
  #bySession = new Table<PreparedQuery>()

  constructor(watchers: Watchers, state: QueriesState = { changed: 0, queries: new Table() }) {
    this.#watchers = watchers
    this.#changed = state.changed
    this.#queries = state.queries
    for (const query of state.queries.rows()) this.#list(query)
  }

  /** Copy-on-write clones. */
  state(): QueriesState {
    return { changed: this.#changed, queries: this.#queries.clone() }
  }

  /** @returns what makes everything as it is now. */
  savepoint(): () => void {
    const { changed, queries } = this.state()
    const byName = this.#byName.clone()
    const templates = this.#templates.clone()
    const bySession = this.#bySession.clone()
    return () => {
      this.#changed = changed
      this.#queries = queries
      this.#byName = byName
      this.#templates = templates
      this.#bySession = bySession
    }
  }

  /** Refused when its name is another one's, or its session is not there. Whether a template makes sense is not looked at. */
  set(
    index: Index,
    { query, create }: { query: PreparedQueryDefinition; create: boolean },
    sessions: Pick<Sessions, 'get'>,
  ): Result {
    const known = this.#queries.get(query.id)
    if (create && known !== undefined) return { error: `prepared query ${query.id} exists already` }
    if (!create && known === undefined) return { error: missingQuery(query.id) }
    const error = conflict(this, query) ?? sessionMissing(query.session, (id) => sessions.get(id))
    if (error !== undefined) return { error }
    if (known !== undefined) this.#unlist(known)
    const row = queryRow(query, known?.createIndex ?? index, index)
    this.#queries.set(row.id, row)
    this.#list(row)
    this.#queriesChanged(index)
    return { value: true }
  }

  delete(index: Index, id: string): Result {
    const query = this.#queries.get(id)
    if (query === undefined) return { error: missingQuery(id) }
    this.#remove(index, query)
    return { value: true }
  }

  sessionEnded(index: Index, session: SessionId): void {
    if (this.#queries.size === 0) return
    for (const query of this.#bySession.under(session + separator)) this.#remove(index, query)
  }

  get(id: string): PreparedQuery | undefined {
    return this.#queries.get(id)
  }

  ofName(name: string): PreparedQuery | undefined {
    return name === '' ? undefined : this.#byName.get(nameKey(name))
  }

  templateOf(name: string): PreparedQuery | undefined {
    return this.#templates.get(nameKey(name))
  }

  /** A query or template of exactly this name, else the template with the longest name that it begins with. */
  named(name: string): PreparedQuery | undefined {
    const exact = this.ofName(name)
    if (exact !== undefined || this.#templates.size === 0) return exact
    const wanted = nameKey(name)
    for (let prefix = wanted; ; ) {
      // Whatever is a beginning of the name comes at or before it, and so does every longer one.
      const found = this.#templates.atOrBefore(prefix)
      if (found === undefined) return undefined
      if (wanted.startsWith(found.key)) return found.row
      // All that is left begins as these two do, or is shorter.
      prefix = prefix.slice(0, commonLength(prefix, found.key))
    }
  }

  /** In id order. */
  all(): PreparedQuery[] {
    return [...this.#queries.rows()]
  }

  /** That of every answer about prepared queries. */
  get changed(): Index {
    return Math.max(1, this.#changed)
  }

  #remove(index: Index, query: PreparedQuery): void {
    this.#queries.delete(query.id)
    this.#unlist(query)
    this.#queriesChanged(index)
  }

  #list(query: PreparedQuery): void {
    const { id, name, session } = query
    if (name !== '') this.#byName.set(nameKey(name), query)
    if (isTemplate(query)) this.#templates.set(nameKey(name), query)
    if (session !== '') this.#bySession.set(idMeant(session) + separator + id, query)
  }

  #unlist(query: PreparedQuery): void {
    const { id, name, session } = query
    if (name !== '') this.#byName.delete(nameKey(name))
    if (isTemplate(query)) this.#templates.delete(nameKey(name))
    if (session !== '') this.#bySession.delete(idMeant(session) + separator + id)
  }

  #queriesChanged(index: Index): void {
    this.#changed = index
    this.#watchers.changed({ kind: 'queries' })
  }
}

export function isTemplate({ template }: PreparedQueryDefinition): boolean {
  return template.type !== ''
}

/** What a change of a query that is not there is refused with; `id` as the client wrote it. */
export function missingQuery(id: string): string {
  return `Cannot modify non-existent prepared query: '${id}'`
}

/** Which other query stands in the way of this one. */
function conflict(known: Queries, query: PreparedQueryDefinition): string | undefined {
  const { id, name } = query
  if (name === '') {
    const other = isTemplate(query) ? known.templateOf('') : undefined
    return other !== undefined && other.id !== id ? 'a query template with an empty name already exists' : undefined
  }
  const other = known.ofName(name)
  if (other !== undefined && other.id !== id) return `name '${name}' aliases an existing query name`
  // Otherwise it would be found in its place.
  if (queryId(name) !== undefined && known.get(idMeant(name)) !== undefined) {
    return `name '${name}' aliases an existing query ID`
  }
  return undefined
}

/** Why the query cannot be bound to this session, as a client wrote its id. */
function sessionMissing(session: string, find: (id: SessionId) => unknown): string | undefined {
  if (session === '') return undefined
  const named = sessionId(session)
  if ('error' in named) return named.error.replace(/^failed session lookup/, 'invalid session')
  return find(named.id) === undefined ? `invalid session ${JSON.stringify(session)}` : undefined
}

/** The id that a text is, as it is kept, when it has an id's form. */
export function queryId(text: string): string | undefined {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? idMeant(text) : undefined
}

function nameKey(name: string): string {
  return orderKey(folded(name))
}

function commonLength(one: string, other: string): number {
  const most = Math.min(one.length, other.length)
  for (let at = 0; at < most; at++) if (one[at] !== other[at]) return at
  return most
}

/** Field by field and always in this order: snapshots are compared byte by byte. */
function queryRow(query: PreparedQueryDefinition, createIndex: Index, modifyIndex: Index): PreparedQuery {
  const { id, name, session, token, template, service, dns } = query
  const { type, regexp, removeEmptyTags } = template
  const { failover, onlyPassing, ignoreCheckIds, near, tags, nodeMeta, serviceMeta, connect } = service
  return {
    id,
    name,
    session,
    token,
    template: { type, regexp, removeEmptyTags },
    service: {
      service: service.service,
      failover: { nearest: failover.nearest, datacenters: failover.datacenters },
      onlyPassing,
      ignoreCheckIds,
      near,
      tags,
      nodeMeta,
      serviceMeta,
      connect,
    },
    dns: { ttl: dns.ttl },
    createIndex,
    modifyIndex,
  }
}
