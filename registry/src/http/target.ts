/**
 * The request target as Consul's router reads it: the path percent-decoded once, unprintable characters refused,
 * `//`, `/./` and `/../` answered with a redirect to the clean path. The WHATWG URL parser would fold dot segments
 * silently, so the text of the request line is used wherever the server has it.
 */

/** What the listener passes as bindings; absent when the application is called in-process. */
export interface Bindings {
  incoming?: { url?: string | undefined; socket?: { remoteAddress?: string | undefined } }
  /** Fires when the client is gone. */
  gone?: () => AbortSignal
}

/** Path and query of the request, as they were sent. */
export function rawTarget(request: Request, bindings: Bindings | undefined): { path: string; query: string } {
  const sent = bindings?.incoming?.url
  let target: string
  if (sent?.startsWith('/')) target = sent
  else {
    const url = request.url
    const start = url.indexOf('/', url.indexOf('//') + 2)
    const end = url.indexOf('#', start)
    target = start < 0 ? '/' : url.slice(start, end < 0 ? undefined : end)
  }
  const mark = target.indexOf('?')
  return mark < 0 ? { path: target, query: '' } : { path: target.slice(0, mark), query: target.slice(mark + 1) }
}

export type ReadPath =
  | { kind: 'path'; path: string }
  /** The same path without empty and dot segments. */
  | { kind: 'moved'; path: string }
  | { kind: 'refused'; reason: string }

const ordinary = /^(?:\/(?!\.{0,2}(?:\/|$))[!-$&-.0-~]*)+\/?$|^\/$/
// What Go's unicode.IsPrint calls unprintable: anything but letters, marks, numbers, punctuation, symbols and the space.
const unprintable = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @param raw the path as sent; ASCII, for the HTTP parser refuses anything else. */
export function readPath(raw: string): ReadPath {
  if (ordinary.test(raw)) return { kind: 'path', path: raw }
  const decoded = percentDecoded(raw)
  if (decoded === undefined) return { kind: 'refused', reason: '400 Bad Request' }
  let path: string
  try {
    path = utf8.decode(decoded)
  } catch {
    return { kind: 'refused', reason: 'Invalid request path: expected UTF-8' }
  }
  const bad = unprintable.exec(path)?.[0]
  if (bad !== undefined) {
    const code = (bad.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
    return { kind: 'refused', reason: `Invalid request path: contains the unprintable character U+${code}` }
  }
  const clean = cleaned(path)
  return clean === path ? { kind: 'path', path } : { kind: 'moved', path: clean }
}

/** A path as it stands in a Location header. */
export function encodedPath(path: string): string {
  return encodeURI(path).replace(/[?#]/g, encodeURIComponent)
}

/** Query parameters; a missing `=` is an empty value, `+` is a space. */
export function readQuery(raw: string): URLSearchParams {
  return new URLSearchParams(raw)
}

/** Undefined when a `%` is not followed by two hexadecimal digits. */
function percentDecoded(raw: string): Uint8Array | undefined {
  const bytes = Buffer.from(raw, 'latin1')
  let length = 0
  for (let at = 0; at < bytes.length; at++) {
    let byte = bytes[at]!
    if (byte === 0x25) {
      const digits = raw.slice(at + 1, at + 3)
      if (!/^[0-9a-fA-F]{2}$/.test(digits)) return undefined
      byte = Number.parseInt(digits, 16)
      at += 2
    }
    bytes[length++] = byte
  }
  return bytes.subarray(0, length)
}

function cleaned(path: string): string {
  const kept: string[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') kept.pop()
    else kept.push(part)
  }
  return `/${kept.join('/')}${path.endsWith('/') && kept.length > 0 ? '/' : ''}`
}
