/** What an operator may say about DNS, with Consul's defaults, and the same checked and ready for use. */
import { BadRequest } from '../errors.ts'
import type { Address, Millis } from '../model.ts'
import { parseAddress } from './address.ts'
import type { Name } from './message.ts'
import { nameFrom } from './name.ts'

/** Times to live and the numbers of SOA are seconds, as they are on the wire. */
export interface DnsOptions {
  /** The domain we answer for, with or without the dot at its end. */
  domain: string
  /** A second one; '' for none. Targets in answers are under `domain` all the same. */
  alternateDomain: string
  datacenter: string
  /** Leave out instances with a warning as well as critical ones. */
  onlyPassing: boolean
  nodeTtl: number
  /** One for all, or by service: the exact name, else the longest `prefix*`. Nothing fits: 0. */
  serviceTtl: number | Readonly<Record<string, number>>
  /** Instances in a UDP answer of 512 octets, at most 8; 0 for as many as fit. */
  udpAnswerLimit: number
  /** Addresses in any answer about a service; 0 for no limit. */
  aRecordLimit: number
  /** Set TC also when `udpAnswerLimit` left instances out, so that resolvers come again over TCP. */
  enableTruncate: boolean
  disableCompression: boolean
  soa: { refresh: number; retry: number; expire: number; minttl: number }
  /** Put a node's meta as TXT beside answers that nobody asked it for. */
  nodeMetaTxt: boolean
  /** Who is asked for names outside our domain, in this order: `1.2.3.4`, `1.2.3.4:53`, `::1`, `[::1]:53`. */
  recursors: readonly string[]
  recursorTimeout: Millis
}

/** Consul's defaults; `domain` and `datacenter` are for the caller to replace. */
export const dnsDefaults: DnsOptions = {
  domain: 'consul',
  alternateDomain: '',
  datacenter: 'dc1',
  onlyPassing: false,
  nodeTtl: 0,
  serviceTtl: 0,
  udpAnswerLimit: 3,
  aRecordLimit: 0,
  enableTruncate: false,
  disableCompression: false,
  soa: { refresh: 3600, retry: 600, expire: 86400, minttl: 0 },
  nodeMetaTxt: true,
  recursors: [],
  recursorTimeout: 2000,
}

/** The options with their texts read. */
export interface DnsSettings extends DnsOptions {
  domainName: Name
  /** The domain and, when there is one, the alternate domain. */
  domains: readonly Name[]
  recursorAddresses: readonly Address[]
}

/** @throws BadRequest naming the option, the value and what was expected */
export function dnsSettings(options: DnsOptions): DnsSettings {
  const domainName = readDomain('domain', options.domain)
  const domains = [domainName]
  if (options.alternateDomain !== '') domains.push(readDomain('alt_domain', options.alternateDomain))
  return { ...options, domainName, domains, recursorAddresses: options.recursors.map(parseRecursor) }
}

function readDomain(key: string, text: string): Name {
  const name = nameFrom(text.toLowerCase())
  if (name === undefined || name.length === 0) {
    throw new BadRequest(`expected ${key} to be a domain like "consul", received "${text}"`)
  }
  return name
}

/**
 * Names are not taken: whom would we ask for them?
 * @throws BadRequest
 */
export function parseRecursor(text: string): Address {
  if (parseAddress(text) !== undefined) return { host: text, port: 53 }
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*))(?::([0-9]+))?$/.exec(text) ?? []
  const host = bracketed ?? plain ?? ''
  const port = digits === undefined ? 53 : Number(digits)
  if (
    parseAddress(host) === undefined ||
    host.includes(':') !== (bracketed !== undefined) ||
    port < 1 ||
    port > 65535
  ) {
    throw new BadRequest(`expected a recursor to be an IP address or address:port, received "${text}"`)
  }
  return { host, port }
}

/** Seconds that an answer about the service may be kept: its own, the longest prefix's, or that of `*`. */
export function serviceTtlOf(service: string, ttl: DnsOptions['serviceTtl']): number {
  if (typeof ttl === 'number') return ttl
  const name = service.toLowerCase()
  let found = 0
  let length = -1
  for (const [pattern, seconds] of Object.entries(ttl)) {
    const lower = pattern.toLowerCase()
    if (lower === name) return seconds
    if (lower.endsWith('*') && lower.length > length && name.startsWith(lower.slice(0, -1))) {
      found = seconds
      length = lower.length
    }
  }
  return found
}
