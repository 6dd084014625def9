/**
 * A small typed client of an agent's HTTP API, as plain calls. Takes a fetch and knows no time-out but those its
 * options give, so it works in the simulator as in a process. Every failure is `Unreachable` or `UnexpectedAnswer`;
 * nothing is retried here. Reads answer `{ index, value }`; hand the index back for a blocking query.
 */
import type { Index, Millis } from '../model.ts'
import { type ClientOptions, follow, type Request, type Response, send, UnexpectedAnswer } from './request.ts'
import type {
  AgentServiceShape,
  AutopilotShape,
  CatalogServiceShape,
  CheckRegistration,
  CheckShape,
  DatacenterCoordinatesShape,
  EventShape,
  KeyringShape,
  KvOperation,
  KvPairShape,
  MemberShape,
  NodeCoordinateShape,
  NodeShape,
  PreparedQueryRequest,
  PreparedQueryShape,
  QueryExecutionShape,
  RaftConfigurationShape,
  SelfShape,
  ServiceEntryShape,
  ServiceRegistration,
  SessionRequest,
  SessionShape,
  TxnAnswer,
} from './shapes.ts'

export { type ClientOptions, type Fetch, UnexpectedAnswer, Unreachable } from './request.ts'
export * from './shapes.ts'

/** An answer and the index it is true at; 0 where the endpoint has none (`/v1/agent/…`, `/v1/status/…`). */
export interface Answer<T> {
  index: Index
  value: T
}

export interface ReadOptions {
  /** Answer only when the index is beyond this one, or after `wait`. */
  index?: Index
  wait?: Millis
  /** Any agent may answer from what it has. */
  stale?: boolean
  consistent?: boolean
  datacenter?: string
  filter?: string
  signal?: AbortSignal
}

export interface KvPutOptions {
  /** Decimal, up to 64 bits. */
  flags?: string
  cas?: Index
  acquire?: string
  release?: string
  datacenter?: string
}

/**
 * The index to ask with next. An index that went back means a registry that started afresh: ask again from the
 * beginning, as Consul's documentation of blocking queries demands.
 */
export function nextIndex(asked: Index, answered: Index): Index {
  return answered < asked ? 0 : answered
}

export class Client {
  readonly #options: ClientOptions

  constructor(options: ClientOptions) {
    this.#options = options
  }

  readonly kv = {
    /** Undefined: there is no such key. */
    get: async (key: string, options: ReadOptions = {}): Promise<Answer<KvPairShape | undefined>> => {
      const { index, value } = await this.#readOrNone<KvPairShape[]>(kvPath(key), {}, options)
      return { index, value: value?.[0] }
    },
    /** Every pair whose key begins with the prefix, in key order; empty when there are none. */
    list: async (prefix: string, options: ReadOptions = {}): Promise<Answer<KvPairShape[]>> => {
      const { index, value } = await this.#readOrNone<KvPairShape[]>(kvPath(prefix), { recurse: true }, options)
      return { index, value: value ?? [] }
    },
    /** Keys only; with a separator, up to and including its first occurrence after the prefix. */
    keys: async (prefix: string, separator = '', options: ReadOptions = {}): Promise<Answer<string[]>> => {
      const query = { keys: true, separator: separator === '' ? undefined : separator }
      const { index, value } = await this.#readOrNone<string[]>(kvPath(prefix), query, options)
      return { index, value: value ?? [] }
    },
    /** False: a check-and-set, or a lock, that did not succeed. */
    put: async (key: string, value: string | Uint8Array<ArrayBuffer>, options: KvPutOptions = {}): Promise<boolean> => {
      const { flags, cas, acquire, release, datacenter } = options
      const query = { flags, cas, acquire, release, dc: datacenter }
      return this.#json(await this.#ok({ method: 'PUT', path: kvPath(key), query, body: value }))
    },
    delete: async (
      key: string,
      options: { cas?: Index; recurse?: boolean; datacenter?: string } = {},
    ): Promise<boolean> => {
      const query = { cas: options.cas, recurse: options.recurse, dc: options.datacenter }
      return this.#json(await this.#ok({ method: 'DELETE', path: kvPath(key), query }))
    },
    /** Up to 64 operations: all of them, at one index, or none. */
    transact: async (
      operations: readonly KvOperation[],
      options: Pick<ReadOptions, 'stale' | 'consistent' | 'datacenter' | 'signal'> = {},
    ): Promise<TxnAnswer> => {
      const { stale, consistent, datacenter, signal } = options
      const body = JSON.stringify(
        operations.map((each) => ({ KV: each })),
        writeFlags,
      )
      const query = { stale, consistent, dc: datacenter }
      const request: Request = { method: 'PUT', path: '/v1/txn', query, body }
      if (signal !== undefined) request.signal = signal
      const response = await send(this.#options, request)
      // 409 is an answer: an operation that could not be.
      if (response.status !== 200 && response.status !== 409) {
        throw new UnexpectedAnswer(response.status, response.text)
      }
      const { Results, Errors } = this.#json<{
        Results: { KV: KvPairShape }[] | null
        Errors: { OpIndex: number; What: string }[] | null
      }>(response)
      return response.status === 200 ? { results: Results ?? [] } : { errors: Errors ?? [] }
    },
  }

  readonly session = {
    /** Resolves to its id. */
    create: async (session: SessionRequest = {}, options: Pick<ReadOptions, 'datacenter'> = {}): Promise<string> => {
      const query = { dc: options.datacenter }
      const request = { method: 'PUT', path: '/v1/session/create', query, body: JSON.stringify(session) } as const
      return this.#json<{ ID: string }>(await this.#ok(request)).ID
    },
    /** Its keys are let go, or deleted, as it was begun to. One that is over already is fine. */
    destroy: (id: string): Promise<void> => this.#put(`/v1/session/destroy/${encodeURIComponent(id)}`),
    /** Undefined: it is over, and what it held may be somebody else's. */
    renew: async (id: string): Promise<SessionShape | undefined> => {
      const response = await send(this.#options, {
        method: 'PUT',
        path: `/v1/session/renew/${encodeURIComponent(id)}`,
        query: {},
      })
      if (response.status === 404) return undefined
      if (response.status !== 200) throw new UnexpectedAnswer(response.status, response.text)
      return this.#json<SessionShape[]>(response)[0]
    },
    /** Undefined: there is none of that id. */
    info: async (id: string, options: ReadOptions = {}): Promise<Answer<SessionShape | undefined>> => {
      const path = `/v1/session/info/${encodeURIComponent(id)}`
      const { index, value } = await this.#read<SessionShape[]>(path, {}, options)
      return { index, value: value[0] }
    },
    list: (options: ReadOptions = {}): Promise<Answer<SessionShape[]>> => this.#read('/v1/session/list', {}, options),
  }

  readonly agent = {
    self: (): Promise<Answer<SelfShape>> => this.#read('/v1/agent/self'),
    /** There are no segments: any but `_all` is an error. */
    members: (pool: 'lan' | 'wan' = 'lan', segment?: string): Promise<Answer<MemberShape[]>> =>
      this.#read('/v1/agent/members', { segment, wan: pool === 'wan' ? 1 : undefined }),
    join: (address: string, pool: 'lan' | 'wan' = 'lan'): Promise<void> =>
      this.#put(`/v1/agent/join/${encodeURIComponent(address)}`, { wan: pool === 'wan' ? 1 : undefined }),
    leave: (): Promise<void> => this.#put('/v1/agent/leave'),
    /** Reads its options again. */
    reload: (): Promise<void> => this.#put('/v1/agent/reload'),
    /** What the agent logs from now on, as it comes; in pieces that need not end with a line. */
    monitor: (options: { level?: string; json?: boolean; signal?: AbortSignal } = {}): AsyncIterable<Uint8Array> => {
      const query = { loglevel: options.level, logjson: options.json }
      const request: Request = { method: 'GET', path: '/v1/agent/monitor', query }
      if (options.signal !== undefined) request.signal = options.signal
      return follow(this.#options, request)
    },
    forceLeave: (node: string, prune = false): Promise<void> =>
      this.#put(`/v1/agent/force-leave/${encodeURIComponent(node)}`, { prune }),
    /** What is registered at this agent, by id. */
    services: (options: ReadOptions = {}): Promise<Answer<Record<string, AgentServiceShape>>> =>
      this.#read('/v1/agent/services', {}, options),
    checks: (options: ReadOptions = {}): Promise<Answer<Record<string, CheckShape>>> =>
      this.#read('/v1/agent/checks', {}, options),
    /** `replaceChecks`: checks of the service that the registration does not name go. */
    registerService: (
      service: ServiceRegistration,
      options: { replaceChecks?: boolean; signal?: AbortSignal } = {},
    ): Promise<void> =>
      this.#put(
        '/v1/agent/service/register',
        { 'replace-existing-checks': options.replaceChecks },
        JSON.stringify(service),
        options.signal,
      ),
    /** An id that is not registered is no error to Consul. */
    deregisterService: (id: string, options: { signal?: AbortSignal } = {}): Promise<void> =>
      this.#put(`/v1/agent/service/deregister/${encodeURIComponent(id)}`, {}, undefined, options.signal),
    registerCheck: (check: CheckRegistration): Promise<void> =>
      this.#put('/v1/agent/check/register', {}, JSON.stringify(check)),
    deregisterCheck: (id: string): Promise<void> => this.#put(`/v1/agent/check/deregister/${encodeURIComponent(id)}`),
    /** The TTL check of a service registered with one check is `service:ID`. */
    pass: (checkId: string, note?: string, signal?: AbortSignal): Promise<void> =>
      this.#put(`/v1/agent/check/pass/${encodeURIComponent(checkId)}`, { note }, undefined, signal),
    warn: (checkId: string, note?: string): Promise<void> =>
      this.#put(`/v1/agent/check/warn/${encodeURIComponent(checkId)}`, { note }),
    fail: (checkId: string, note?: string): Promise<void> =>
      this.#put(`/v1/agent/check/fail/${encodeURIComponent(checkId)}`, { note }),
  }

  readonly catalog = {
    datacenters: (): Promise<Answer<string[]>> => this.#read('/v1/catalog/datacenters'),
    nodes: (options: ReadOptions = {}): Promise<Answer<NodeShape[]>> => this.#read('/v1/catalog/nodes', {}, options),
    /** Names with their tags. */
    services: (options: ReadOptions = {}): Promise<Answer<Record<string, string[]>>> =>
      this.#read('/v1/catalog/services', {}, options),
    /** Healthy or not; empty for a name nobody registered. */
    service: (name: string, options: ReadOptions & { tag?: string } = {}): Promise<Answer<CatalogServiceShape[]>> =>
      this.#read(`/v1/catalog/service/${encodeURIComponent(name)}`, { tag: options.tag }, options),
  }

  readonly health = {
    service: (
      name: string,
      options: ReadOptions & { tag?: string; passing?: boolean } = {},
    ): Promise<Answer<ServiceEntryShape[]>> =>
      this.#read(
        `/v1/health/service/${encodeURIComponent(name)}`,
        { tag: options.tag, passing: options.passing },
        options,
      ),
    node: (name: string, options: ReadOptions = {}): Promise<Answer<CheckShape[]>> =>
      this.#read(`/v1/health/node/${encodeURIComponent(name)}`, {}, options),
  }

  /** Gossip encryption, on all members; servers answer. */
  readonly keyring = {
    list: async (options: { localOnly?: boolean; relayFactor?: number } = {}): Promise<KeyringShape[]> => {
      const { localOnly, relayFactor } = options
      const query = { 'local-only': localOnly === true ? 'true' : undefined, 'relay-factor': relayFactor || undefined }
      return (await this.#read<KeyringShape[]>(keyringPath, query)).value
    },
    install: (key: string, options: { relayFactor?: number } = {}): Promise<void> =>
      this.#changeKeys('POST', key, options),
    use: (key: string, options: { relayFactor?: number } = {}): Promise<void> => this.#changeKeys('PUT', key, options),
    remove: (key: string, options: { relayFactor?: number } = {}): Promise<void> =>
      this.#changeKeys('DELETE', key, options),
  }

  /** The servers, and how they are taken in and let go. */
  readonly operator = {
    raftConfiguration: (options: ReadOptions = {}): Promise<Answer<RaftConfigurationShape>> =>
      this.#read('/v1/operator/raft/configuration', {}, options),
    /** Takes a server out of the Raft configuration. */
    removePeer: async (
      which: { id: string } | { address: string },
      options: Pick<ReadOptions, 'datacenter'> = {},
    ): Promise<void> => {
      const query = { ...which, dc: options.datacenter }
      await this.#ok({ method: 'DELETE', path: '/v1/operator/raft/peer', query })
    },
    autopilot: (options: ReadOptions = {}): Promise<Answer<AutopilotShape>> =>
      this.#read('/v1/operator/autopilot/configuration', {}, options),
    /** False: with `cas`, it was set since. */
    setAutopilot: async (
      autopilot: Partial<AutopilotShape>,
      options: { cas?: Index; datacenter?: string } = {},
    ): Promise<boolean> => {
      const query = { cas: options.cas, dc: options.datacenter }
      const path = '/v1/operator/autopilot/configuration'
      return this.#json(await this.#ok({ method: 'PUT', path, query, body: JSON.stringify(autopilot) }))
    },
  }

  readonly event = {
    /** Filters are regular expressions over the names of nodes, services and tags; a tag needs a service. */
    fire: async (
      name: string,
      payload: string | Uint8Array<ArrayBuffer> = '',
      options: { node?: string; service?: string; tag?: string; datacenter?: string } = {},
    ): Promise<EventShape> => {
      const { node, service, tag, datacenter } = options
      const query = { node: node || undefined, service: service || undefined, tag: tag || undefined, dc: datacenter }
      return this.#json(
        await this.#ok({ method: 'PUT', path: `/v1/event/fire/${encodeURIComponent(name)}`, query, body: payload }),
      )
    },
    /**
     * What the agent has, oldest first. The index has up to 64 bits and no order: hand it back as it is, and there is an
     * answer when it is another one, or after `wait`.
     */
    list: async (
      options: { name?: string; index?: string; wait?: Millis; signal?: AbortSignal } = {},
    ): Promise<{ index: string; value: EventShape[] }> => {
      const { name, index, wait, signal } = options
      const request = readRequest(
        '/v1/event/list',
        { name, index },
        {
          ...(wait === undefined ? {} : { wait }),
          ...(signal === undefined ? {} : { signal }),
        },
      )
      if (wait !== undefined) request.extra = wait + Math.ceil(wait / 16)
      const response = await this.#ok(request)
      return { index: response.exactIndex ?? '0', value: this.#json(response) }
    },
  }

  readonly coordinate = {
    /** Where the servers of all datacenters are. */
    datacenters: (): Promise<Answer<DatacenterCoordinatesShape[]>> => this.#read('/v1/coordinate/datacenters'),
    /** Where the nodes of one datacenter are, in name order. */
    nodes: (options: ReadOptions = {}): Promise<Answer<NodeCoordinateShape[]>> =>
      this.#read('/v1/coordinate/nodes', {}, options),
    /** Undefined: nobody knows where it is. */
    node: async (name: string, options: ReadOptions = {}): Promise<NodeCoordinateShape[] | undefined> => {
      const response = await send(
        this.#options,
        readRequest(`/v1/coordinate/node/${encodeURIComponent(name)}`, {}, options),
      )
      if (response.status === 404) return undefined
      if (response.status !== 200) throw new UnexpectedAnswer(response.status, response.text)
      return this.#json<NodeCoordinateShape[]>(response)
    },
    /** Says where a node is that runs no agent. */
    update: (update: NodeCoordinateShape): Promise<void> =>
      this.#put('/v1/coordinate/update', {}, JSON.stringify(update)),
  }

  /** Prepared queries. */
  readonly query = {
    /** Resolves to its id. */
    create: async (query: PreparedQueryRequest): Promise<string> => {
      const request = { method: 'POST', path: '/v1/query', query: {}, body: JSON.stringify(query) } as const
      return this.#json<{ ID: string }>(await this.#ok(request)).ID
    },
    update: (id: string, query: PreparedQueryRequest): Promise<void> =>
      this.#put(`/v1/query/${encodeURIComponent(id)}`, {}, JSON.stringify(query)),
    delete: async (id: string): Promise<void> => {
      await this.#ok({ method: 'DELETE', path: `/v1/query/${encodeURIComponent(id)}`, query: {} })
    },
    list: (options: ReadOptions = {}): Promise<Answer<PreparedQueryShape[]>> => this.#read('/v1/query', {}, options),
    /** By name or id. @throws UnexpectedAnswer 404: there is no such query */
    execute: async (
      name: string,
      options: ReadOptions & { near?: string; limit?: number } = {},
    ): Promise<QueryExecutionShape> => {
      const { near, limit } = options
      const path = `/v1/query/${encodeURIComponent(name)}/execute`
      return (await this.#read<QueryExecutionShape>(path, { near, limit }, options)).value
    },
  }

  readonly status = {
    /** `host:port` of the leader, '' while none is known. */
    leader: (): Promise<Answer<string>> => this.#read('/v1/status/leader'),
    peers: (): Promise<Answer<string[]>> => this.#read('/v1/status/peers'),
  }

  async #read<T>(path: string, query: Request['query'] = {}, options: ReadOptions = {}): Promise<Answer<T>> {
    const response = await this.#ok(readRequest(path, query, options))
    return { index: response.index ?? 0, value: this.#json<T>(response) }
  }

  /** Where 404 is an answer: a key, or keys, that do not exist. A 404 without an index is not from a registry. */
  async #readOrNone<T>(path: string, query: Request['query'], options: ReadOptions): Promise<Answer<T | undefined>> {
    const response = await send(this.#options, readRequest(path, query, options))
    if (response.status === 404 && response.index !== undefined) return { index: response.index, value: undefined }
    if (response.status !== 200) throw new UnexpectedAnswer(response.status, response.text)
    return { index: response.index ?? 0, value: this.#json<T>(response) }
  }

  async #put(path: string, query: Request['query'] = {}, body?: string, signal?: AbortSignal): Promise<void> {
    const request: Request = { method: 'PUT', path, query }
    if (body !== undefined) request.body = body
    if (signal !== undefined) request.signal = signal
    await this.#ok(request)
  }

  async #changeKeys(method: 'POST' | 'PUT' | 'DELETE', key: string, { relayFactor }: { relayFactor?: number }) {
    const query = { 'relay-factor': relayFactor || undefined }
    await this.#ok({ method, path: keyringPath, query, body: JSON.stringify({ Key: key }) })
  }

  async #ok(request: Request): Promise<Response> {
    const response = await send(this.#options, request)
    if (response.status !== 200) throw new UnexpectedAnswer(response.status, response.text)
    return response
  }

  #json<T>(response: Response): T {
    try {
      return JSON.parse(response.text, keepFlags as (key: string, value: unknown) => unknown)
    } catch (error) {
      throw new UnexpectedAnswer(response.status, response.text.slice(0, 200), { cause: error })
    }
  }
}

const keyringPath = '/v1/operator/keyring'

/** Slashes are escaped too: a URL parser would change a raw `a/../b`. (Consul's router cleans such keys all the same.) */
function kvPath(key: string): string {
  return `/v1/kv/${encodeURIComponent(key)}`
}

function readRequest(path: string, query: Request['query'], options: ReadOptions): Request {
  const { index, wait, stale, consistent, datacenter, filter, signal } = options
  const request: Request = {
    method: 'GET',
    path,
    query: {
      ...query,
      index,
      wait: wait === undefined ? undefined : `${wait}ms`,
      stale,
      consistent,
      dc: datacenter,
      filter,
    },
  }
  // Agents add up to a sixteenth of the wait, so that not all who wait come back at once.
  if (index !== undefined && wait !== undefined) request.extra = wait + Math.ceil(wait / 16)
  if (signal !== undefined) request.signal = signal
  return request
}

/** Flags are numbers up to 2^64 in JSON: take the digits as written, which the reviver's context has. */
function keepFlags(key: string, value: unknown, context: { source?: string }): unknown {
  return key === 'Flags' && typeof value === 'number' ? (context.source ?? String(value)) : value
}

/** The other way round: as a number, with the digits as they are. */
function writeFlags(key: string, value: unknown): unknown {
  if (key !== 'Flags' || typeof value !== 'string') return value
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(value)
}
