/** Requests over HTTP that nobody should send, and how to read what comes back. The same for the same seed. */
import { endpointsOf } from '../../src/http/app.ts'
import type { Endpoint } from '../../src/http/endpoint.ts'
import type { Random } from '../../src/io/random.ts'
import type { SingleNode } from './surface.ts'

export interface Soup {
  bytes: Buffer
  /** How many answers may come at most, and which of them have no body whatever their headers say. */
  heads: boolean[]
  /** Each request is one that a parser understands. */
  sound: boolean
}

const names = [
  'golden',
  'consul',
  'web',
  'a',
  'n1',
  'any',
  'critical',
  'serfHealth',
  '__proto__',
  'constructor',
  '..',
  '',
]
const texts = ['', '0', '1', '-1', '1s', '10', 'true', 'false', '99999999999999999999', '18446744073709551615', 'x==1']
const parameters =
  'acquire release cas flags recurse keys separator raw stale consistent max_stale cached dc near filter node-meta tag passing pretty enable reason note wan segment hash format token name limit node service prune replace-existing-checks relay-factor local-only stale id address __proto__'.split(
    ' ',
  )
const fields =
  'Name ID Node Address Port Tags Meta Check Checks Service TTL Interval HTTP Weights Coord Vec Error Height TaggedAddresses Status Output ServiceID CheckID Definition NodeMeta Datacenter LockDelay Behavior Session Template Type Regexp OnlyPassing Near Failover KV Verb Key Value Index Token Key Payload __proto__'.split(
    ' ',
  )
const values: unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  '',
  '10s',
  '1x',
  'passing',
  '10.0.0.1',
  'web',
  'n1',
  'set',
  'eA==',
]
const headers = [
  'Accept-Encoding: gzip',
  'Accept-Encoding: gzip;q=0, *',
  'X-Consul-Token: abc',
  'Authorization: Basic eDp5',
  'Cache-Control: max-age=x',
  'Cache-Control: max-age=0, must-revalidate, stale-if-error=1',
  'Content-Type: application/x-www-form-urlencoded',
  'Accept: text/plain',
  'Expect: 100-continue',
  'If-None-Match: "1"',
  'Range: bytes=0-1',
  'Upgrade: websocket',
  'Cookie: a=b',
  `X-Long: ${'v'.repeat(3000)}`,
  'X-Twice: 1\r\nX-Twice: 2',
  'Origin: http://elsewhere',
]
const broken = [
  'no colon',
  ' folded: yes',
  'Content-Length: 1\r\nContent-Length: 2',
  'Content-Length: x',
  'Transfer-Encoding: chunked\r\nContent-Length: 3',
  'Transfer-Encoding: gzip',
  'X-\u0000: 1',
  'Expect: miracles',
  `X-Huge: ${'v'.repeat(70_000)}`,
]

export class HttpSoup {
  readonly #random: Random
  readonly #endpoints: readonly Endpoint[]

  constructor(random: Random, { surface, options }: SingleNode) {
    this.#random = random
    // Of the many that say one thing, one is enough.
    this.#endpoints = endpointsOf(surface, options).filter(({ path }) => !/^\/v1\/acl\/(?!token$)/.test(path))
  }

  /** One to four requests on one connection. */
  next(): Soup {
    const parts: Buffer[] = []
    const heads: boolean[] = []
    let sound = true
    for (let more = this.#random.between(1, 4); more > 0; more--) {
      const request = this.#request(more === 1)
      parts.push(request.bytes)
      heads.push(request.method === 'HEAD')
      sound &&= request.sound
    }
    let bytes: Buffer = Buffer.concat(parts)
    if (this.#random.chance(0.05)) {
      sound = false
      bytes = this.#spoiled(bytes)
    }
    return { bytes, heads, sound }
  }

  #request(last: boolean): { bytes: Buffer; method: string; sound: boolean } {
    const random = this.#random
    const endpoint = this.#one(this.#endpoints)
    const method = random.chance(0.8)
      ? this.#one(Object.keys(endpoint.verbs))
      : this.#one(['GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'TRACE', 'SEARCH'])
    const lines = [`${method} ${this.#target(endpoint)} HTTP/1.${random.chance(0.1) ? 0 : 1}`, 'Host: x']
    let sound = true
    for (let more = random.between(0, 2); more > 0; more--) lines.push(this.#one(headers))
    if (random.chance(0.03)) {
      sound = false
      lines.push(this.#one(broken))
    }
    const http10 = lines[0]?.endsWith('1.0')
    if (last) lines.push('Connection: close')
    else if (http10) lines.push('Connection: keep-alive')
    const body = random.chance(0.6) ? Buffer.from(this.#body()) : Buffer.alloc(0)
    // A form without a length is a chunked one; HTTP/1.0 knows no chunks.
    if (body.length > 0 && !http10 && random.chance(0.2)) {
      lines.push('Transfer-Encoding: chunked')
      const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
      return { bytes: Buffer.concat([head, chunked(body)]), method, sound }
    }
    if (body.length > 0 || random.chance(0.5)) lines.push(`Content-Length: ${body.length}`)
    return { bytes: Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]), method, sound }
  }

  #target({ path }: Endpoint): string {
    const random = this.#random
    let target = path
    if (path.endsWith('/') || random.chance(0.05)) target += this.#word()
    if (random.chance(0.1)) target += `/${this.#word()}`
    if (random.chance(0.02)) target = `//${target}/../.`
    const query: string[] = []
    for (let more = random.between(0, 3); more > 0; more--) {
      const name = this.#one(parameters)
      query.push(random.chance(0.3) ? name : `${name}=${random.chance(0.5) ? this.#one(texts) : this.#word()}`)
    }
    return query.length > 0 ? `${target}?${query.join('&')}` : target
  }

  /** A name, or octets that are none. */
  #word(): string {
    const random = this.#random
    if (random.chance(0.7)) return this.#one(names)
    const octets = Array.from({ length: random.between(1, 6) }, () => random.between(0, 255))
    if (random.chance(0.2)) return String.fromCharCode(...octets.map((octet) => 0x21 + (octet % 0x5e)))
    return octets.map((octet) => `%${octet.toString(16).padStart(2, '0')}`).join('')
  }

  #body(): string {
    const random = this.#random
    if (random.chance(0.01)) return 'x'.repeat(this.#one([524_288, 524_289, 600_000]))
    if (random.chance(0.1)) return this.#word().repeat(random.between(1, 500))
    let text = JSON.stringify(this.#value(0))
    if (random.chance(0.2)) text = text.slice(0, random.between(0, text.length))
    return random.chance(0.05) ? '['.repeat(random.between(1, 20_000)) : text
  }

  #value(depth: number): unknown {
    const random = this.#random
    const shape = depth > 3 ? 0 : random.between(0, 4)
    if (shape === 0) return this.#one(values)
    const many = Array.from({ length: random.between(0, 3) })
    if (shape === 1) return many.map(() => this.#value(depth + 1))
    return Object.fromEntries(many.map(() => [this.#one(fields), this.#value(depth + 1)]))
  }

  /** Cut off, or with octets changed. */
  #spoiled(bytes: Buffer): Buffer {
    const random = this.#random
    if (random.chance(0.5)) return bytes.subarray(0, random.between(0, bytes.length))
    const changed = Buffer.from(bytes)
    for (let more = random.between(1, 5); more > 0; more--)
      changed[random.between(0, changed.length - 1)] = random.between(0, 255)
    return changed
  }

  #one<T>(list: readonly T[]): T {
    return list[this.#random.between(0, list.length - 1)] as T
  }
}

function chunked(body: Buffer): Buffer {
  const half = Math.ceil(body.length / 2)
  const parts = [body.subarray(0, half), body.subarray(half)].filter(({ length }) => length > 0)
  const framed = parts.flatMap((part) => [Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')])
  return Buffer.concat([...framed, Buffer.from('0\r\n\r\n')])
}

export interface Reply {
  status: number
  headers: Record<string, string>
  body: Buffer
}

/** @throws Error when the octets are not whole answers, one after the other */
export function replies(bytes: Buffer, heads: readonly boolean[]): Reply[] {
  const found: Reply[] = []
  let rest = bytes
  while (rest.length > 0) {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) throw new Error(`an answer without an end of its headers: ${rest.toString('latin1').slice(0, 200)}`)
    const [first = '', ...lines] = rest.subarray(0, end).toString('latin1').split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
    if (!(status >= 100)) throw new Error(`no status line: ${first}`)
    rest = rest.subarray(end + 4)
    if (status === 100) continue
    const fields = Object.fromEntries(
      lines.map((line) => [line.split(':', 1)[0]?.toLowerCase(), line.replace(/^.*?: /, '')]),
    )
    // What was refused before it was understood was no HEAD.
    const bare = heads[found.length] && (rest.length === 0 || rest.subarray(0, 9).toString() === 'HTTP/1.1 ')
    const length = bare ? 0 : Number(fields['content-length'])
    if (!(length <= rest.length))
      throw new Error(
        `expected ${fields['content-length']} octets of body, received ${rest.length} after ${first} ${JSON.stringify(fields)}`,
      )
    found.push({ status, headers: fields, body: rest.subarray(0, length) })
    rest = rest.subarray(length)
  }
  return found
}
