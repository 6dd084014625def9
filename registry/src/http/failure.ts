/** Errors as answers: the only place that knows which status each has. */
import {
  BadRequest,
  Busy,
  DatacenterLost,
  LeadershipLost,
  NoLeader,
  NoPath,
  NotFound,
  Refused,
  Stopped,
  TooLarge,
} from '../errors.ts'
import { Abandoned, type Answer, empty, type HttpOptions, text } from './endpoint.ts'
import { FailedRead } from './query.ts'

/** Consul's catalog and health reads say so even when they fail, and its Go client parses them first. */
const failedRead = { 'X-Consul-Index': '1', 'X-Consul-Knownleader': 'false', 'X-Consul-Lastcontact': '0' }

/** @param request verb and path, for the log when nobody expected this error */
export function failure(error: Error, request: string, options: HttpOptions): Answer {
  if (error instanceof FailedRead && error.cause instanceof Error) {
    const { status, headers, body } = failure(error.cause, request, options)
    return { status, headers: { ...headers, ...failedRead }, body }
  }
  if (error instanceof BadRequest) return text(400, error.message)
  if (error instanceof NotFound) return text(404, error.message)
  // The rest of the body is not worth reading: the connection closes.
  if (error instanceof TooLarge) return text(413, error.message, { Connection: 'close' })
  if (error instanceof Refused || error instanceof NoLeader) return text(500, error.message)
  if (error instanceof LeadershipLost) return text(500, error.message)
  if (error instanceof NoPath || error instanceof DatacenterLost) return text(500, error.message)
  if (error instanceof Busy || error instanceof Stopped) return text(503, error.message)
  // Nobody is there to read this.
  if (error instanceof Abandoned) return empty(499)
  options.log('error', 'http', `Request error: ${error.message}`, { request, stack: error.stack })
  return text(500, error.message)
}
