/** What an endpoint is: a path, the verbs it takes, and how it turns a request into an answer. */
import type { Clock, Log, LogLevel } from '../io/io.ts'
import type { Random } from '../io/random.ts'
import type { Millis, NodeName } from '../model.ts'
import { encode, indented } from './json.ts'

export interface HttpOptions {
  clock: Clock
  /** Spreads the end of long polls. */
  random: Random
  log: Log
  /** Reads the options again, for `PUT /v1/agent/reload`. @throws Refused */
  reload?: () => Promise<void>
  /** Registrations may name programs to run (`enable_script_checks`). */
  remoteScripts?: boolean
  /** What is logged, for `GET /v1/agent/monitor`. */
  logs?: LogFeed
  /** Every answer over several lines, as Consul does under `-dev`; otherwise only with `?pretty`. */
  pretty?: boolean
  /** How long a blocking query waits unless it says: 5 minutes. */
  waitDefault?: Millis
  /** The shortest TTL a session may have: 10 seconds. */
  sessionTtlMin?: Millis
  /** The longest a blocking query may wait: 10 minutes. */
  waitMax?: Millis
  /** Compresses a body, for clients that ask for it; without it nothing is compressed. */
  gzip?: (body: string | Uint8Array) => Promise<Uint8Array>
  /** `http_config.response_headers`: with every answer of an endpoint. */
  responseHeaders?: Readonly<Record<string, string>>
  /** `http_config.block_endpoints`: beginnings of paths that are answered with 403. */
  blockEndpoints?: readonly string[]
  /** `http_config.allow_write_http_from`: whether a client at that address may change things. Absent: all may. */
  mayWrite?: ((address: string) => boolean) | undefined
  /** `http_config.use_cache`: false, and `?cached` says nothing. */
  useCache?: boolean
}

export interface LogEntry {
  level: LogLevel
  area: string
  message: string
  fields: Record<string, unknown>
  /** RFC 3339 in UTC, with milliseconds. */
  at: string
}

export interface Follower {
  level: LogLevel
  /** Must not log, and must not keep what is in `fields`. */
  receive(entry: LogEntry): void
  /** No more will come. */
  ended(): void
}

export interface LogFeed {
  /** From now on, entries of at least that level, whatever the log itself leaves out. Returns what ends it. */
  follow(follower: Follower): () => void
}

/** What came with a request besides its target. */
export interface Sent {
  /** By its name in lower case; null when there is none. */
  header(name: string): string | null
  /** Fires when the client is gone. */
  readonly signal: AbortSignal
  /** The client's IP address; undefined when there is no connection. */
  readonly address?: string | undefined
  /** The body, whole. @throws Overlong once more than `bytesMax` bytes have come; Abandoned when the client broke off */
  content(bytesMax: number): Promise<Uint8Array>
  /** The name of the agent that was asked, when that is one of another datacenter. */
  readonly from?: NodeName
}

/** A body goes on beyond what was asked for. */
export class Overlong extends Error {
  override name = 'Overlong'
  /** How many bytes have come so far. */
  readonly bytes: number

  constructor(bytes: number) {
    super(`${bytes} bytes have come, and there are more`)
    this.bytes = bytes
  }
}

/** The client went away: there is nobody to answer. */
export class Abandoned extends Error {
  override name = 'Abandoned'
}

/** One request, its target read. Nobody changes `query`. */
export interface Asked {
  /** What follows the endpoint's path, decoded; '' when the path is exact. */
  name: string
  query: URLSearchParams
  request: Sent
  pretty: boolean
}

/** What goes back. Nobody changes one that was given away: it may be shared. */
export interface Answer {
  readonly status: number
  /** Without Content-Length, which follows from the body. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
  /** Instead of the body: goes out as it comes, for as long as it comes. Not for what is hot or travels. */
  readonly stream?: ReadableStream<Uint8Array>
}

export type Verb = 'GET' | 'PUT' | 'POST' | 'DELETE'
export type Answerer = (asked: Asked) => Answer | Promise<Answer>

export interface Endpoint {
  /** Exact, or a prefix when it ends in `/`. */
  path: string
  /** Asked so often that the listener answers it itself (`direct.ts`). */
  hot?: true
  /** In the order in which `Allow` names them. */
  verbs: Partial<Record<Verb, Answerer>>
}

const jsonType = { 'Content-Type': 'application/json' }

/** A JSON answer. */
export function json(asked: Asked, value: unknown, headers?: Record<string, string>, status = 200): Answer {
  const text = encode(value)
  return {
    status,
    headers: headers === undefined ? jsonType : { ...jsonType, ...headers },
    body: asked.pretty ? `${indented(text)}\n` : text,
  }
}

/** A plain text answer: errors, and a few words for people. */
export function text(status: number, message: string, headers?: Record<string, string>): Answer {
  return { status, headers: { 'Content-Type': 'text/plain; charset=utf-8', ...headers }, body: message }
}

/** An answer without a body and without a type. */
export function empty(status = 200, headers: Record<string, string> = {}): Answer {
  return { status, headers, body: '' }
}
