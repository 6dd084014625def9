/** What an endpoint is: a path, the verbs it takes, and how it turns a request into an answer. */
import type { Clock, Log } from '../io/io.ts'
import type { Random } from '../io/random.ts'
import type { Millis } from '../model.ts'
import { encode, indented } from './json.ts'

export interface HttpOptions {
  clock: Clock
  /** Spreads the end of long polls. */
  random: Random
  log: Log
  /** Every answer over several lines, as Consul does under `-dev`; otherwise only with `?pretty`. */
  pretty?: boolean
  /** How long a blocking query waits unless it says: 5 minutes. */
  waitDefault?: Millis
  /** The longest a blocking query may wait: 10 minutes. */
  waitMax?: Millis
}

/** One request, its target read. */
export interface Asked {
  /** What follows the endpoint's path, decoded; '' when the path is exact. */
  name: string
  query: URLSearchParams
  request: Request
  pretty: boolean
}

export type Verb = 'GET' | 'PUT' | 'POST' | 'DELETE'
export type Answerer = (asked: Asked) => Response | Promise<Response>

export interface Endpoint {
  /** Exact, or a prefix when it ends in `/`. */
  path: string
  /** In the order in which `Allow` names them. */
  verbs: Partial<Record<Verb, Answerer>>
}

/** A JSON answer. */
export function json(asked: Asked, value: unknown, headers?: Record<string, string>, status = 200): Response {
  const text = encode(value)
  return new Response(asked.pretty ? `${indented(text)}\n` : text, {
    status,
    headers: headers === undefined ? { 'Content-Type': 'application/json' } : withType('application/json', headers),
  })
}

/** A plain text answer: errors, and a few words for people. */
export function text(status: number, message: string, headers?: Record<string, string>): Response {
  return new Response(message, { status, headers: withType('text/plain; charset=utf-8', headers) })
}

/** An answer without a body and without a type. */
export function empty(status = 200, headers?: Record<string, string>): Response {
  return new Response(null, { status, headers: { 'Content-Length': '0', ...headers } })
}

function withType(type: string, headers?: Record<string, string>): Record<string, string> {
  return { 'Content-Type': type, ...headers }
}
