/** `host:port` texts and addresses. IPv6 hosts stand in brackets in the text and without them in the value. */
import { BadRequest } from '../errors.ts'
import type { Address } from '../model.ts'

/** `10.0.0.1:8300`, `[fe80::1]:8300`. */
export function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/**
 * `host`, `host:port`, `[v6]`, `[v6]:port`, or a bare IPv6 address. @throws BadRequest when it is none of them, or has no
 * port and no default is given.
 */
export function parseAddress(text: string, portDefault?: number): Address {
  const match =
    /^\[(?<bracketed>[0-9a-fA-F:.%\w]+)\](?::(?<port>\d{1,5}))?$/.exec(text) ??
    /^(?<host>[^:[\]\s]+)(?::(?<port>\d{1,5}))?$/.exec(text) ??
    /^(?<bare>[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$/.exec(text)
  const groups = match?.groups
  const host = groups?.bracketed ?? groups?.host ?? groups?.bare
  const port = groups?.port === undefined ? portDefault : Number(groups.port)
  if (host === undefined || port === undefined || port > 65535) {
    throw new BadRequest(`expected an address as host:port, received "${text}"`)
  }
  return { host, port }
}
