/**
 * Names: between texts and labels, and what a name under our domain asks for. Knows the forms of Consul 1.8 and
 * nothing of what is in the catalog.
 */
import { parseAddress, parseHexLabel, parseReverse } from './address.ts'
import type { Name } from './message.ts'

/** Octets with their length octets, without the root's. */
const nameOctetsMax = 254
const labelOctetsMax = 63

/**
 * The labels of a dotted text, with or without the dot at its end; '' and '.' are the root. Undefined when the text
 * cannot be a name on the wire: an empty label, one above 63 octets, or more than 254 together.
 */
export function nameFrom(text: string): Name | undefined {
  const dotted = text.endsWith('.') ? text.slice(0, -1) : text
  if (dotted === '') return []
  const labels = toOctets(dotted).split('.')
  let length = 0
  for (const label of labels) {
    if (label.length === 0 || label.length > labelOctetsMax) return undefined
    length += label.length + 1
  }
  return length > nameOctetsMax ? undefined : labels
}

/** The text of a name with the dot at its end, for logs and for comparing with texts of the catalog. */
export function textOf(name: Name): string {
  return name.length === 0 ? '.' : `${fromOctets(name.join('.'))}.`
}

/** The octets of a text in UTF-8. */
export function toOctets(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant, and is its own octets.
  if (/^[\x00-\x7f]*$/.test(text)) return text
  return Buffer.from(text, 'utf8').toString('latin1')
}

function fromOctets(octets: string): string {
  return Buffer.from(octets, 'latin1').toString('utf8')
}

/** Whether two names are the same name: ASCII letters without regard to case (RFC 4343). */
export function sameName(one: Name, other: Name): boolean {
  return one.length === other.length && one.every((label, at) => foldCase(label) === foldCase(other[at] as string))
}

/** ASCII only: the other octets are parts of characters. */
function foldCase(octets: string): string {
  return octets.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

/** Whether `name` is `parent` or lies below it. */
export function isUnder(name: Name, parent: Name): boolean {
  return name.length >= parent.length && sameName(name.slice(name.length - parent.length), parent)
}

/** What a question is about. Texts are in lower case. */
export type Subject =
  | { kind: 'service'; service: string; tag: string | undefined; datacenter?: string }
  /** `datacenter`: one that is not ours, whether or not there is such a one; likewise of a service. */
  | { kind: 'node'; node: string; datacenter?: string }
  /** A prepared query or its template; the name may have dots. `datacenter`: likewise. */
  | { kind: 'query'; query: string; datacenter?: string }
  /** `0a000001.addr.consul`; undefined: its digits are too few or too many for an address. */
  | { kind: 'address'; octets: number[] | undefined }
  /** A full name under in-addr.arpa or ip6.arpa. */
  | { kind: 'reverse'; octets: number[] }
  /** Below our domain, and there is nothing of that form. */
  | { kind: 'nothing' }
  /** Not below our domain. */
  | { kind: 'elsewhere' }

export interface NameOptions {
  /** `consul`, and the second one when `alt_domain` is set. */
  domains: readonly Name[]
  datacenter: string
  /** SRV questions may leave out the `service` label: `_web._tcp.consul`. */
  srv: boolean
}

/**
 * Reads a name as Consul 1.8 does: the rightmost of its kind labels decides, what stands right of it is at most one
 * datacenter, what stands left of it is for the kind. Connect and ingress do not exist here.
 */
export function subjectOf(name: Name, options: NameOptions): Subject {
  const reverse = parseReverse(name)
  if (reverse !== undefined) return { kind: 'reverse', octets: reverse }
  const zone = zoneOf(name, options.domains)
  if (zone === undefined) return { kind: 'elsewhere' }
  const labels = name.slice(0, name.length - zone.length).map((label) => fromOctets(foldCase(label)).toLowerCase())

  const split = findKind(labels, options.srv)
  if (split === undefined) return { kind: 'nothing' }
  const { kind, parts, suffixes } = split
  // Consul does not look at the datacenter of an address, and a target given for another one still resolves.
  if (kind === 'addr') return addressSubject(parts)
  if (suffixes.length > 1 || parts.length === 0) return { kind: 'nothing' }
  const [datacenter] = suffixes
  const there = datacenter === undefined || datacenter === options.datacenter.toLowerCase() ? {} : { datacenter }
  switch (kind) {
    case 'service':
      return { ...serviceSubject(parts), ...there }
    case 'node':
      // A node's name may have dots.
      return { kind: 'node', node: parts.join('.'), ...there }
    case 'query':
      return { kind: 'query', query: parts.join('.'), ...there }
    default:
      return { kind: 'nothing' }
  }
}

/** The domain a name lies in, the longest when one of ours lies in another. */
export function zoneOf(name: Name, domains: readonly Name[]): Name | undefined {
  let best: Name | undefined
  for (const domain of domains) {
    if (isUnder(name, domain) && (best === undefined || domain.length > best.length)) best = domain
  }
  return best
}

const kinds = new Set(['service', 'node', 'addr', 'query', 'connect', 'ingress'])

function findKind(labels: readonly string[], srv: boolean) {
  for (let at = labels.length - 1; at >= 0; at--) {
    const label = labels[at] as string
    if (kinds.has(label)) return { kind: label, parts: labels.slice(0, at), suffixes: labels.slice(at + 1) }
    if (srv && label.startsWith('_')) {
      return { kind: 'service', parts: labels.slice(0, at + 1), suffixes: labels.slice(at + 1) }
    }
  }
  return undefined
}

function serviceSubject(parts: readonly string[]): Subject & { kind: 'service' } {
  const [first, second] = parts as [string, string?]
  if (parts.length === 2 && first.startsWith('_') && second?.startsWith('_')) {
    // RFC 2782 asks for the protocol here; Consul reads a tag, and `_tcp` as none.
    return { kind: 'service', service: first.slice(1), tag: second === '_tcp' ? undefined : second.slice(1) }
  }
  const tag = parts.length === 1 ? undefined : parts.slice(0, -1).join('.')
  return { kind: 'service', service: parts.at(-1) as string, tag }
}

function addressSubject(parts: readonly string[]): Subject {
  const [label] = parts
  if (parts.length !== 1 || label === undefined) return { kind: 'nothing' }
  const digits = label.length === 8 || label.length === 32
  const octets = parseHexLabel(label)
  return digits && octets === undefined ? { kind: 'nothing' } : { kind: 'address', octets }
}

/** Whether two texts are the same IP address, however they are written. */
export function isAddress(text: string, octets: readonly number[]): boolean {
  const parsed = parseAddress(text)
  return parsed !== undefined && parsed.length === octets.length && parsed.every((octet, at) => octet === octets[at])
}
