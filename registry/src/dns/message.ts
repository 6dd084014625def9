/**
 * The nouns of the DNS wire (RFC 1035, 2782, 3596, 6891, 7871) as plain values. `codec.ts` turns them into bytes.
 *
 * Labels and texts on the wire are octets, not characters: wherever this room says "octets" it means a string with
 * one character (0 to 255) per octet, so that names compare and concatenate cheaply and nothing is lost on the way.
 */

/** Labels from the left, each 1 to 63 octets, together with their length octets at most 254; [] is the root. */
export type Name = readonly string[]

/** The numbers of record types; see `recordType` for the ones with a shape of their own. */
export const types = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const

export const classes = { IN: 1, ANY: 255 } as const

export const opcodes = { QUERY: 0 } as const

/** RFC 1035 §4.1.1 and, for BADVERS, RFC 6891 §9. */
export const rcodes = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const

export interface Question {
  name: Name
  type: number
  class: number
}

/** What a record says. Addresses are texts as the catalog holds them; IPv6 in the form of RFC 5952 when decoded. */
export type RecordData =
  | { type: 'A'; address: string }
  | { type: 'AAAA'; address: string }
  | { type: 'CNAME' | 'NS' | 'PTR'; target: Name }
  | { type: 'SRV'; priority: number; weight: number; port: number; target: Name }
  /** Character strings of at most 255 octets each. */
  | { type: 'TXT'; texts: readonly string[] }
  | {
      type: 'SOA'
      nameServer: Name
      mailbox: Name
      serial: number
      refresh: number
      retry: number
      expire: number
      minimum: number
    }
  /** A type this room has no need to understand. */
  | { type: 'other'; code: number; octets: string }

/** `ttl` in seconds. */
export interface ResourceRecord {
  name: Name
  class: number
  ttl: number
  data: RecordData
}

export interface EdnsOption {
  code: number
  octets: string
}

/** The OPT pseudo-record (RFC 6891): what the sender can take, in octets of UDP payload. */
export interface Edns {
  size: number
  version: number
  dnssec: boolean
  options: readonly EdnsOption[]
}

export interface Message {
  id: number
  response: boolean
  opcode: number
  authoritative: boolean
  truncated: boolean
  recursionDesired: boolean
  recursionAvailable: boolean
  authenticData: boolean
  checkingDisabled: boolean
  /** Twelve bits: the upper eight travel in OPT and are lost without it. */
  rcode: number
  questions: readonly Question[]
  answers: readonly ResourceRecord[]
  authority: readonly ResourceRecord[]
  /** Without OPT, which is `edns`. */
  additional: readonly ResourceRecord[]
  edns: Edns | undefined
}

/** UDP: what the packet holds; TCP: 65,535 octets behind a length. */
export type Transport = 'udp' | 'tcp'

/** A record of the Internet class. */
export function record(name: Name, ttl: number, data: RecordData): ResourceRecord {
  return { name, class: classes.IN, ttl, data }
}
