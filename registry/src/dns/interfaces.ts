/**
 * This machine's own addresses from what Linux says of itself. Node's `networkInterfaces` leaves out interfaces
 * without a carrier, and that is what `docker0` is until its first container runs, which then asks us at once.
 */
import { formatAddress, parseAddress, parseHexLabel } from './address.ts'

/** The IPv4 addresses in `/proc/net/fib_trie`: entries of 32 bits that are local. */
export function ipv4Addresses(fibTrie: string): string[] {
  const found = new Set<string>()
  let candidate = ''
  for (const line of fibTrie.split('\n')) {
    const [mark, text = '', ...rest] = line.trim().split(/\s+/)
    if (mark === '|--') candidate = text
    else if (mark === '/32' && rest[0] === 'LOCAL' && parseAddress(candidate)?.length === 4) found.add(candidate)
  }
  return [...found]
}

/** The IPv6 addresses in `/proc/net/if_inet6`, without link-local ones: these mean something on one link only. */
export function ipv6Addresses(ifInet6: string): string[] {
  const found = new Set<string>()
  for (const line of ifInet6.split('\n')) {
    const octets = parseHexLabel(line.split(' ')[0] as string)
    const text = octets?.length === 16 ? formatAddress(octets) : undefined
    if (text !== undefined && !isLinkLocal(text)) found.add(text)
  }
  return [...found]
}

/** fe80::/10 */
export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address)
}
