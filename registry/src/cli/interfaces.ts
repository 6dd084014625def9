/** Which addresses an agent takes: what is written for -bind, -advertise and -client, and what this host has. */
import { isIP } from 'node:net'
import type { Machine } from './config.ts'

const privateAddress = /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.)/
/** Unique local addresses (RFC 4193): IPv6's private ones. */
const privateAddress6 = /^f[cd]/i
const linkLocal = /^(fe[89ab]|169\.254\.)/i
const wildcards = ['0.0.0.0', '::']

const isPrivate = (address: string) => privateAddress.test(address) || privateAddress6.test(address)
const isLoopback = (address: string) => address.startsWith('127.') || address === '::1'
const isWide = (address: string) => address.includes(':')

interface HostAddress {
  interface: string
  address: string
}

/** The go-sockaddr templates that Consul's users write, by name: what they choose among this host's addresses. */
const templates = new Map<string, (at: HostAddress, argument: string) => boolean>([
  ['GetPrivateIP', ({ address }) => isPrivate(address)],
  ['GetPublicIP', ({ address }) => !isPrivate(address)],
  ['GetInterfaceIP', ({ interface: name }, argument) => name === argument],
])
const templateNames = '{{ GetPrivateIP }}, {{ GetPublicIP }} or {{ GetInterfaceIP "eth0" }}'

/** One IP address, or a template that finds one. Adds to `mistakes` what is wrong, with what there would be. */
export function oneAddress(key: string, given: string, machine: Machine, mistakes: string[]): string {
  const bare = given.replace(/^\[(.*)\]$/, '$1')
  if (isIP(bare) !== 0) return bare
  const words = given.trim().split(/\s+/)
  const template = /^\{\{\s*(?<name>\w+)(?:\s+"(?<argument>[^"]*)")?\s*\}\}$/.exec(given.trim())?.groups
  if (template === undefined) {
    const several = words.length > 1 && words.every((word) => isIP(word) !== 0)
    mistakes.push(
      several
        ? `${key} cannot contain multiple addresses, received "${given}"; choose one of them`
        : `${key}: expected an IP address or one of ${templateNames}, received "${given}"`,
    )
    return given
  }
  const { name = '', argument = '' } = template
  const chooses = templates.get(name)
  if (chooses === undefined) {
    mistakes.push(`${key}: expected one of ${templateNames}, received "${given}"`)
    return given
  }
  const all = machine.addresses().filter(({ address }) => !linkLocal.test(address))
  // IPv4 first: what others reach most likely.
  const found = all
    .filter((at) => chooses(at, argument))
    .sort((a, b) => Number(isWide(a.address)) - Number(isWide(b.address)))
  const first = found[0]
  if (first !== undefined) return first.address
  mistakes.push(`${key}: ${given} names no address of this host, which has ${listed(all)}`)
  return given
}

/** What others are told: as given, or the address bound, or the one private address of this host. */
export function advertiseAddress(given: string, bind: string, machine: Machine, mistakes: string[]): string {
  if (given !== '') {
    const address = oneAddress('advertise_addr', given, machine, mistakes)
    unspecified('advertise_addr', address, mistakes)
    return address
  }
  if (!wildcards.includes(bind)) return bind
  const candidates = machine.addresses().filter(({ address }) => privateAddress.test(address))
  if (candidates.length > 1) {
    mistakes.push(
      "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'. " +
        `Found: ${listed(candidates)}`,
    )
  }
  if (candidates.length === 0) {
    mistakes.push("No private IPv4 address found. Please configure one with 'bind' and/or 'advertise'.")
  }
  return candidates[0]?.address ?? ''
}

/** Nobody can be told to come to "anywhere". */
export function unspecified(key: string, address: string, mistakes: string[]): void {
  if (wildcards.includes(address)) {
    mistakes.push(
      `Advertise address cannot be 0.0.0.0, :: or [::] (${key} is ${address}); give the one that others reach this host at`,
    )
  }
}

/**
 * What may be wrong with an address that others are told, or may be meant so: a host behind published ports or a NAT does
 * not have its own public address.
 */
export function advertiseNews(given: {
  bind: string
  advertise: string
  machine: Machine
  warnings: string[]
  notes: string[]
}): void {
  const { bind, advertise, machine, warnings, notes } = given
  if (isIP(advertise) === 0 || isIP(bind) === 0) return
  if (isLoopback(advertise) && !isLoopback(bind)) {
    warnings.push(
      `the advertised address ${advertise} is a loopback address: only agents on this host reach this one there; ` +
        'choose another with -advertise',
    )
  }
  // Bound to ::, both kinds arrive.
  if (bind !== '::' && isWide(bind) !== isWide(advertise)) {
    warnings.push(
      `the advertised address ${advertise} is of another kind than ${bind}, which this agent listens on: nobody reaches it ` +
        'there unless something between translates; give -bind and -advertise the same kind',
    )
  }
  const own = machine.addresses().some(({ address }) => address === advertise)
  if (!own && !isLoopback(advertise)) {
    notes.push(
      `no interface of this host has the advertised address ${advertise}: others must reach this agent there through ` +
        'published ports or a NAT',
    )
  }
}

function listed(addresses: readonly HostAddress[]): string {
  if (addresses.length === 0) return 'none but loopback'
  return addresses.map(({ interface: name, address }) => `${address} on ${name}`).join(', ')
}
