/**
 * Sessions, and what their end does. A session lives on a node and by its checks: when the node goes, or a check of it
 * goes or turns critical, it ends, and lets go of its keys or deletes them. That a session's time is over is found by the
 * leader, and reaches the state as a command like any other. Semantics and error texts are those of Consul 1.8.
 */
import type { CheckId, Index, NodeName, Session, SessionDefinition, SessionId } from '../model.ts'
import type { Result } from './command.ts'
import type { Kv } from './kv.ts'
import type { Queries } from './queries.ts'
import type { CatalogRows } from './rows.ts'
import { folded, orderKey, separator, Table } from './table.ts'
import type { Watchers } from './watch.ts'

/** The longest lock-delay that counts, in nanoseconds: a minute (Consul's MaxLockDelay). */
export const lockDelayMax = 60e9

export const missingSession = 'missing session'

export interface SessionsState {
  /** The last time a session came or ended. */
  changed: Index
  sessions: Table<Session>
}

export class Sessions {
  readonly #watchers: Watchers
  readonly #kv: Kv
  readonly #queries: Pick<Queries, 'sessionEnded'>
  #changed: Index
  /** By id. */
  #sessions: Table<Session>
  /** By node, then id. */
  #byNode = new Table<Session>()
  /** By node, check, then session id. */
  #byCheck = new Table<Session>()

  constructor(
    watchers: Watchers,
    kv: Kv,
    queries: Pick<Queries, 'sessionEnded'>,
    state: SessionsState = { changed: 0, sessions: new Table() },
  ) {
    this.#watchers = watchers
    this.#kv = kv
    this.#queries = queries
    this.#changed = state.changed
    this.#sessions = state.sessions
    for (const session of state.sessions.rows()) this.#list(session)
  }

  /** Copy-on-write clones. */
  state(): SessionsState {
    return { changed: this.#changed, sessions: this.#sessions.clone() }
  }

  /** @returns what makes everything as it is now; the keys' savepoint is apart. */
  savepoint(): () => void {
    const { changed, sessions } = this.state()
    const byNode = this.#byNode.clone()
    const byCheck = this.#byCheck.clone()
    return () => {
      this.#changed = changed
      this.#sessions = sessions
      this.#byNode = byNode
      this.#byCheck = byCheck
    }
  }

  /** Refused unless its node and its checks are registered, and none of these is critical. */
  create(index: Index, definition: SessionDefinition, rows: CatalogRows): Result {
    if (this.#sessions.get(definition.id) !== undefined) return { error: `session ${definition.id} exists already` }
    if (rows.node(definition.node) === undefined) return { error: 'Missing node registration' }
    for (const id of checksOf(definition)) {
      const check = rows.check(definition.node, id)
      if (check === undefined) return { error: `Missing check '${id}' registration` }
      if (check.status === 'critical') return { error: `Check '${id}' is in critical state` }
    }
    const session = sessionRow(definition, index)
    this.#sessions.set(session.id, session)
    this.#list(session)
    this.#sessionsChanged(index)
    return { value: true }
  }

  /** One that is not there has ended already, which is fine. */
  destroy(index: Index, id: SessionId): Result {
    const session = this.#sessions.get(id)
    if (session !== undefined) this.#end(index, session)
    return { value: true }
  }

  nodeGone(index: Index, node: NodeName): void {
    if (this.#sessions.size === 0) return
    for (const session of this.#byNode.under(placeOf(node, ''))) this.#end(index, session)
  }

  /** The check went, or is critical. */
  checkLost(index: Index, node: NodeName, id: CheckId): void {
    if (this.#sessions.size === 0) return
    for (const session of this.#byCheck.under(placeOf(node, id, ''))) this.#end(index, session)
  }

  get(id: SessionId): Session | undefined {
    return this.#sessions.get(id)
  }

  /** The session that a client means to lock with, or why there is none, in Consul's words. */
  holderNamed(text: string): { id: SessionId } | { error: string } {
    if (text === '') return { error: missingSession }
    const named = sessionId(text)
    if ('error' in named || this.#sessions.get(named.id) !== undefined) return named
    return { error: `invalid session ${JSON.stringify(text)}` }
  }

  /** In id order. */
  all(): Session[] {
    return [...this.#sessions.rows()]
  }

  /** In id order. */
  ofNode(node: NodeName): Session[] {
    return this.#byNode.under(placeOf(node, ''))
  }

  /** That of every answer about sessions. */
  get changed(): Index {
    return Math.max(1, this.#changed)
  }

  #end(index: Index, session: Session): void {
    this.#sessions.delete(session.id)
    this.#byNode.delete(placeOf(session.node, session.id))
    for (const check of checksOf(session)) this.#byCheck.delete(placeOf(session.node, check, session.id))
    this.#kv.sessionEnded(index, session.id, session.behavior, Math.min(session.lockDelay, lockDelayMax))
    this.#queries.sessionEnded(index, session.id)
    this.#sessionsChanged(index)
  }

  #list(session: Session): void {
    this.#byNode.set(placeOf(session.node, session.id), session)
    for (const check of checksOf(session)) this.#byCheck.set(placeOf(session.node, check, session.id), session)
  }

  #sessionsChanged(index: Index): void {
    this.#changed = index
    this.#watchers.changed({ kind: 'sessions' })
  }
}

/**
 * The id of a session as it is kept, from how a client wrote it; or why there can be none of that id, in the words of
 * Consul's index.
 */
export function sessionId(text: string): { id: SessionId } | { error: string } {
  const wrong = (why: string) => ({ error: `failed session lookup: index error: ${why}` })
  if (Buffer.byteLength(text) !== 36) return wrong('UUID must be 36 characters')
  const digits = text.replaceAll('-', '')
  const hyphens = text.length - digits.length
  if (hyphens > 4) return wrong(`UUID should have maximum of 4 "-"; got ${hyphens}`)
  if (Buffer.byteLength(digits) % 2 !== 0) return wrong('Input (without hyphens) must be even length')
  const stranger = /[^0-9a-fA-F]/u.exec(digits)?.[0]
  if (stranger !== undefined) {
    const code = (Buffer.from(stranger)[0] as number).toString(16).toUpperCase().padStart(4, '0')
    return wrong(
      `Invalid UUID: encoding/hex: invalid byte: U+${code} ${goCharacter(Buffer.from(stranger)[0] as number)}`,
    )
  }
  const hex = digits.toLowerCase()
  if (hex.length !== 32) return { id: hex }
  return { id: [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-') }
}

/** The id a client means, however it is spelled; nobody needs to live by it. As it stands when there can be none of it. */
export function idMeant(text: string): SessionId {
  const named = sessionId(text)
  return 'error' in named ? text : named.id
}

/** A byte as Go's %#U shows it. */
function goCharacter(byte: number): string {
  return `'${String.fromCharCode(byte)}'`
}

/** All it lives by, in Consul's order. */
function checksOf({ checks, nodeChecks, serviceChecks }: SessionDefinition): CheckId[] {
  return [...(checks ?? []), ...(nodeChecks ?? []), ...(serviceChecks ?? [])]
}

/** Ids are exact here, as in the catalog; names of nodes compare without regard to case. */
function placeOf(node: NodeName, ...parts: string[]): string {
  return orderKey([folded(node), ...parts].join(separator))
}

/** Field by field and always in this order: snapshots are compared byte by byte. */
function sessionRow(definition: SessionDefinition, index: Index): Session {
  const { id, name, node, lockDelay, behavior, ttl, lasts, nodeChecks, serviceChecks, checks } = definition
  return {
    id,
    name,
    node,
    lockDelay,
    behavior,
    ttl,
    lasts,
    nodeChecks,
    serviceChecks,
    checks,
    createIndex: index,
    modifyIndex: index,
  }
}
