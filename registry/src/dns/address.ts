/** IP addresses between texts, octets and the names they have in DNS. Texts with a zone (`fe80::1%eth0`) are no addresses here. */

/**
 * Four or sixteen numbers from 0 to 255, or undefined when the text is not an IP address. An IPv4 address written as
 * IPv6 (`::ffff:10.0.0.1`) is an IPv4 address, as it is for Consul.
 */
export function parseAddress(text: string): number[] | undefined {
  if (!text.includes(':')) return parseIpv4(text)
  const octets = parseIpv6(text)
  const mapped = octets?.every((octet, at) => at >= 12 || octet === (at < 10 ? 0 : 255))
  return mapped ? octets?.slice(12) : octets
}

function parseIpv4(text: string): number[] | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  const octets: number[] = []
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part)) return undefined
    const octet = Number(part)
    if (octet > 255) return undefined
    octets.push(octet)
  }
  return octets
}

function parseIpv6(text: string): number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map((half, at) => parseGroups(half, at === halves.length - 1))
  if (head === undefined) return undefined
  if (halves.length === 1) return head.length === 16 ? head : undefined
  if (tail === undefined) return undefined
  const missing = 16 - head.length - tail.length
  // `::` stands for at least one group (RFC 4291 §2.2).
  if (missing < 2) return undefined
  return [...head, ...new Array<number>(missing).fill(0), ...tail]
}

/** Octets of colon-separated groups; the last of the whole address may be a dotted IPv4 address. '' is no groups. */
function parseGroups(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return []
  const octets: number[] = []
  const groups = text.split(':')
  for (const [at, group] of groups.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16)
      octets.push(value >> 8, value & 255)
      continue
    }
    const dotted = isEnd && at === groups.length - 1 ? parseIpv4(group) : undefined
    if (dotted === undefined) return undefined
    octets.push(...dotted)
  }
  return octets
}

/** The text of 4 octets, or of 16 in the form of RFC 5952. */
export function formatAddress(octets: readonly number[]): string {
  if (octets.length === 4) return octets.join('.')
  const groups: number[] = []
  for (let at = 0; at < 16; at += 2) groups.push(((octets[at] as number) << 8) | (octets[at + 1] as number))
  const zeros = longestZeros(groups)
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':')
  if (zeros.length < 2) return hex(0, 8)
  return `${hex(0, zeros.from)}::${hex(zeros.from + zeros.length, 8)}`
}

/** The first of the longest runs of zero groups. */
function longestZeros(groups: readonly number[]): { from: number; length: number } {
  let best = { from: 0, length: 0 }
  let from = 0
  for (const [at, group] of groups.entries()) {
    if (group !== 0) from = at + 1
    else if (at + 1 - from > best.length) best = { from, length: at + 1 - from }
  }
  return best
}

/** The label of Consul's `.addr` names: 8 or 32 hexadecimal digits. */
export function hexLabel(octets: readonly number[]): string {
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join('')
}

/** The octets of such a label; undefined when it is neither 8 nor 32 hexadecimal digits. */
export function parseHexLabel(label: string): number[] | undefined {
  if (!/^([0-9a-f]{8}|[0-9a-f]{32})$/i.test(label)) return undefined
  const octets: number[] = []
  for (let at = 0; at < label.length; at += 2) octets.push(Number.parseInt(label.slice(at, at + 2), 16))
  return octets
}

/**
 * The address that a reverse name stands for (RFC 1035 §3.5, RFC 3596 §2.5): `1.0.2.10.in-addr.arpa`, 32 nibbles
 * under `ip6.arpa`. Undefined for every other name, a shorter one of the same trees among them.
 */
export function parseReverse(labels: readonly string[]): number[] | undefined {
  const lower = labels.map((label) => label.toLowerCase())
  if (lower.at(-1) !== 'arpa') return undefined
  const reversed = lower.slice(0, -2).reverse()
  if (lower.at(-2) === 'in-addr') return parseIpv4(reversed.join('.'))
  if (lower.at(-2) !== 'ip6' || reversed.some((nibble) => nibble.length !== 1)) return undefined
  return reversed.length === 32 ? parseHexLabel(reversed.join('')) : undefined
}
