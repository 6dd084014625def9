/**
 * One HTTP request to an agent and what can go wrong with it. Does not retry and does not know any endpoint:
 * `client.ts` does the latter, its callers decide about the former.
 */
import type { Millis } from '../model.ts'

/** What we need of a fetch: the platform's will do, and so will a Hono application's `request` in a test. */
export type Fetch = (url: string, init: FetchInit) => FetchAnswer | Promise<FetchAnswer>
export interface FetchInit {
  method: string
  headers: Record<string, string>
  body?: string | Uint8Array<ArrayBuffer>
  signal?: AbortSignal
}
export interface FetchAnswer {
  status: number
  headers: { get(name: string): string | null }
  text(): Promise<string>
  /** For what does not end: logs. */
  readonly body?: AsyncIterable<Uint8Array> | null
}

export interface ClientOptions {
  /** `http://127.0.0.1:8500`, without a path. */
  base: string
  fetch: Fetch
  /** Sent as X-Consul-Token. */
  token?: string
  /** How long a request may take; a blocking query may take its wait, the sixteenth of it that agents add, and this. */
  timeout?: Millis
  /** A signal that fires after so long (in a door: `AbortSignal.timeout`). Without it no request times out. */
  expire?: (after: Millis) => AbortSignal
}

/** No answer: the name does not resolve, nobody listens, the connection broke or the time was over. */
export class Unreachable extends Error {
  override name = 'Unreachable'
}

/** An answer, but not the one asked for: another status than 200, or a body that is no JSON. */
export class UnexpectedAnswer extends Error {
  override name = 'UnexpectedAnswer'
  readonly status: number
  /** The body, where agents say what was wrong. */
  readonly text: string
  constructor(status: number, text: string, options?: ErrorOptions) {
    // The words of Consul's own clients; people search logs for them.
    super(`Unexpected response code: ${status} (${text.trim()})`, options)
    this.status = status
    this.text = text
  }
}

export interface Request {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  /** From `/v1/…`, already escaped. */
  path: string
  query?: Record<string, string | number | boolean | undefined>
  body?: string | Uint8Array<ArrayBuffer>
  /** Allowed beyond the time-out of the client, for blocking queries. */
  extra?: Millis
  /** Gives up; the promise rejects with the signal's own reason. */
  signal?: AbortSignal
}

export interface Response {
  status: number
  /** X-Consul-Index; undefined where the endpoint has none. */
  index: number | undefined
  /** The same with all its digits: of user events it has up to 64 bits. */
  exactIndex: string | undefined
  text: string
}

/** @throws Unreachable, or the reason of `request.signal`. Any status is a response. */
export async function send(options: ClientOptions, request: Request): Promise<Response> {
  request.signal?.throwIfAborted()
  const allowed = options.timeout === undefined ? undefined : options.timeout + (request.extra ?? 0)
  const expiry = allowed === undefined ? undefined : options.expire?.(allowed)
  const signals = [request.signal, expiry].filter((signal) => signal !== undefined)
  const init: FetchInit = { method: request.method, headers: {} }
  if (options.token !== undefined) init.headers['X-Consul-Token'] = options.token
  if (request.body !== undefined) init.body = request.body
  if (signals.length > 0) init.signal = signals.length === 1 ? signals[0]! : AbortSignal.any(signals)
  const transport = options.fetch
  try {
    const answer = await transport(options.base.replace(/\/+$/, '') + request.path + queryText(request.query), init)
    const text = await answer.text()
    const exactIndex = answer.headers.get('X-Consul-Index') ?? undefined
    const index = Number(exactIndex ?? Number.NaN)
    return { status: answer.status, index: Number.isSafeInteger(index) ? index : undefined, exactIndex, text }
  } catch (error) {
    request.signal?.throwIfAborted()
    if (expiry?.aborted) {
      throw new Unreachable(`${options.base} did not answer within ${allowed} ms`, { cause: error })
    }
    throw new Unreachable(`${options.base} cannot be reached: ${reasonOf(error)}`, { cause: error })
  }
}

/**
 * What comes for as long as it comes, without a time-out. @throws Unreachable; UnexpectedAnswer; the reason of `request.signal`,
 * also while the answer is read
 */
export async function* follow(options: ClientOptions, request: Request): AsyncGenerator<Uint8Array, void> {
  const { method, path, query, signal } = request
  const init: FetchInit = { method, headers: {} }
  if (options.token !== undefined) init.headers['X-Consul-Token'] = options.token
  if (signal !== undefined) init.signal = signal
  signal?.throwIfAborted()
  const transport = options.fetch
  try {
    const answer = await transport(options.base.replace(/\/+$/, '') + path + queryText(query), init)
    if (answer.status !== 200) throw new UnexpectedAnswer(answer.status, await answer.text())
    for await (const bytes of answer.body ?? []) yield bytes
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof UnexpectedAnswer) throw error
    throw new Unreachable(`${options.base} cannot be reached: ${reasonOf(error)}`, { cause: error })
  }
}

/** Parameters that are true stand alone (`?recurse`); undefined and false ones are left out. */
function queryText(query: Request['query'] = {}): string {
  const parts: string[] = []
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === false) continue
    parts.push(value === true ? name : `${name}=${encodeURIComponent(value)}`)
  }
  return parts.length === 0 ? '' : `?${parts.join('&')}`
}

/** fetch says only "fetch failed"; what happened is in its cause, or for a name with several addresses in the causes. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof AggregateError && error.errors.length > 0) {
    return [...new Set(error.errors.map(reasonOf))].join('; ')
  }
  return error.cause instanceof Error ? reasonOf(error.cause) : error.message
}
