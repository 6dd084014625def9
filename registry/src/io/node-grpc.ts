/**
 * gRPC checks: one call of `grpc.health.v1.Health/Check`
 * (https://github.com/grpc/grpc/blob/master/doc/health-checking.md) over HTTP/2, its two small messages by hand.
 * Failures are worded as grpc-go words them, because Consul shows those.
 */
import { connect, constants, type IncomingHttpHeaders } from 'node:http2'
import type { ProbeOutcome, ProbeRequest } from './io.ts'

type GrpcRequest = Extract<ProbeRequest, { kind: 'grpc' }>

const serving = 1
/** An answer is a few bytes; whoever sends more is no health service. */
const answerMax = 4096

/** The codes of https://grpc.github.io/grpc/core/md_doc_statuscodes.html by number. */
const codes = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
]

/** @param words an error of the connection in Go's words */
export function grpc(request: GrpcRequest, words: (error: unknown, url: string) => string): Promise<ProbeOutcome> {
  const { target, tls, tlsSkipVerify, timeout } = request
  const slash = target.indexOf('/')
  const host = slash < 0 ? target : target.slice(0, slash)
  const service = slash < 0 ? '' : target.slice(slash + 1)
  const url = `${tls ? 'https' : 'http'}://${host}`
  return new Promise((resolve) => {
    const session = connect(url, { rejectUnauthorized: !tlsSkipVerify })
    let over = false
    const done = (status: ProbeOutcome['status'], output: string) => {
      if (over) return
      over = true
      clearTimeout(timer)
      session.destroy()
      resolve({ status, output })
    }
    const failed = (code: string, reason: string) => done('critical', `rpc error: code = ${code} desc = ${reason}`)
    const timer = setTimeout(() => failed('DeadlineExceeded', 'context deadline exceeded'), timeout)
    // The call fails because the connection did; that is what is worth saying.
    const broken = (error: Error) =>
      failed(
        'Unavailable',
        `connection error: desc = "transport: Error while dialing ${words(error.cause ?? error, url)}"`,
      )
    session.on('error', broken)
    const call = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': 'Consul Health Check',
    })
    let body = Buffer.alloc(0)
    let status: IncomingHttpHeaders = {}
    call.on('error', broken)
    call.on('response', (headers) => {
      status = { ...status, ...headers }
    })
    call.on('trailers', (trailers) => {
      status = { ...status, ...trailers }
    })
    call.on('data', (bytes: Buffer) => {
      body = Buffer.concat([body, bytes])
      if (body.length > answerMax) failed('ResourceExhausted', 'the answer is longer than a health service gives')
    })
    call.on('end', () => {
      const http = status[constants.HTTP2_HEADER_STATUS] as unknown as number
      const code = status['grpc-status']
      if (code === undefined) {
        failed('Unknown', http === 200 ? 'the answer has no grpc-status' : `unexpected HTTP status code ${http}`)
      } else if (code !== '0') {
        failed(codes[Number(code)] ?? `Code(${code})`, unescaped(String(status['grpc-message'] ?? '')))
      } else if (servingStatus(body) === serving) done('passing', `gRPC check ${target}: success`)
      else done('critical', "gRPC application didn't report service healthy")
    })
    call.end(framed(healthCheckRequest(service)))
  })
}

/** Uncompressed, and its length. */
function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

/** `message HealthCheckRequest { string service = 1; }` */
function healthCheckRequest(service: string): Buffer {
  const text = Buffer.from(service)
  if (text.length === 0) return text
  const length: number[] = []
  for (let rest = text.length; ; rest >>>= 7) {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest)
    if (rest <= 0x7f) break
  }
  return Buffer.concat([Buffer.from([0x0a, ...length]), text])
}

/** `message HealthCheckResponse { ServingStatus status = 1; }`: 0 unknown, 1 serving. Undefined: it is no such message. */
function servingStatus(body: Buffer): number | undefined {
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) return undefined
  if (body.length === 5) return 0
  return body.length === 7 && body[5] === 0x08 ? body[6] : undefined
}

/** grpc-message is percent-encoded; what is not, is shown as it came. */
function unescaped(message: string): string {
  try {
    return decodeURIComponent(message)
  } catch {
    return message
  }
}
