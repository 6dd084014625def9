/** The words of `dig`: its arguments as a query, records as it prints them. */
import { type Message, type Name, type ResourceRecord, type Transport, types } from '../../src/dns/message.ts'

/** What `dig +noedns ARGUMENTS` sends. */
export function digQuery(line: string): { query: Message; transport: Transport; ignoreTruncation: boolean } {
  const words = line.replaceAll('\\ ', '\0').split(' ')
  const has = (word: string) => words.includes(word)
  const value = (flag: string) => words.find((word) => word.startsWith(`${flag}=`))?.slice(flag.length + 1)
  const typeWord = words.slice(1).find((word) => word in types || word === 'MX')
  const reverse = words[0] === '-x' ? (words[1] as string) : undefined
  const type = reverse ? types.PTR : typeWord === 'MX' ? 15 : types[(typeWord ?? 'A') as keyof typeof types]
  const name = reverse ? reverseName(reverse) : nameOf(words[0] as string)
  const opcode = { update: 5, notify: 4 }[value('+opcode') ?? ''] ?? 0
  const edns = words.some((word) => word.startsWith('+edns'))
  const subnet = value('+subnet')
  const options = [
    ...(subnet === undefined ? [] : [{ code: 8, octets: subnetOctets(subnet) }]),
    ...(has('+cookie') ? [{ code: 10, octets: 'abcdefgh' }] : []),
  ]
  return {
    // dig asks for ANY over TCP.
    transport: has('+tcp') || type === types.ANY ? 'tcp' : 'udp',
    ignoreTruncation: has('+ignore'),
    query: {
      id: 54321,
      response: false,
      opcode,
      authoritative: false,
      truncated: false,
      recursionDesired: !has('+norec') && opcode !== 4,
      recursionAvailable: false,
      authenticData: true,
      checkingDisabled: false,
      rcode: 0,
      questions: [{ name, type, class: has('CH') ? 3 : 1 }],
      answers: [],
      authority: [],
      additional: [],
      edns: edns
        ? {
            size: Number(value('+bufsize') ?? 1232),
            version: Number(value('+edns') ?? 0),
            dnssec: has('+dnssec'),
            options,
          }
        : undefined,
    },
  }
}

function nameOf(text: string): Name {
  return text
    .split('.')
    .filter((label) => label !== '')
    .map((label) => label.replaceAll('\0', ' '))
}

function reverseName(address: string): Name {
  if (!address.includes(':')) return [...address.split('.').reverse(), 'in-addr', 'arpa']
  const [head = '', tail = ''] = address.split('::')
  const groups = (text: string) =>
    text
      .split(':')
      .filter((group) => group !== '')
      .map((group) => group.padStart(4, '0'))
  const zeros = '0000'.repeat(8 - groups(head).length - groups(tail).length)
  const nibbles = groups(head).join('') + zeros + groups(tail).join('')
  return [...[...nibbles].reverse(), 'ip6', 'arpa']
}

/** IPv4 only: family 1, prefix, scope 0, the prefix's octets. */
function subnetOctets(text: string): string {
  const [address = '', prefix = ''] = text.split('/')
  const octets = address
    .split('.')
    .slice(0, Math.ceil(Number(prefix) / 8))
    .map(Number)
  return String.fromCharCode(0, 1, Number(prefix), 0, ...octets)
}

/** `web.service.consul. 0 IN A 10.0.0.1` */
export function recordText(record: ResourceRecord): string {
  const { data } = record
  return `${nameText(record.name)} ${record.ttl} IN ${data.type} ${dataText(data)}`
}

function dataText(data: ResourceRecord['data']): string {
  switch (data.type) {
    case 'A':
    case 'AAAA':
      return data.address
    case 'CNAME':
    case 'NS':
    case 'PTR':
      return nameText(data.target)
    case 'SRV':
      return `${data.priority} ${data.weight} ${data.port} ${nameText(data.target)}`
    case 'TXT':
      return data.texts.map((text) => `"${text}"`).join(' ')
    case 'SOA': {
      const numbers = [data.serial, data.refresh, data.retry, data.expire, data.minimum]
      return [nameText(data.nameServer), nameText(data.mailbox), ...numbers].join(' ')
    }
    case 'other':
      return `TYPE${data.code}`
    default:
      return data satisfies never
  }
}

function nameText(name: Name): string {
  return `${name.map((label) => label.replaceAll(' ', '\\032')).join('.')}.`
}
