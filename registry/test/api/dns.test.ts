/**
 * Consul 1.8.7's recorded DNS answers against ours: the same catalog in a store, the same questions as packets, every
 * flag, section and size compared. Where we differ on purpose it says so below, with the reason.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { Sought } from '../../src/agent/elsewhere.ts'
import { Queries, type QueriesOptions, type QueryErrand } from '../../src/agent/queries.ts'
import { soughtIn } from '../../src/agent/sought.ts'
import { decode, encode } from '../../src/dns/codec.ts'
import { Elsewhere } from '../../src/dns/elsewhere.ts'
import { type Message, type ResourceRecord, rcodes, type Transport, types } from '../../src/dns/message.ts'
import { type DnsOptions, dnsDefaults, dnsSettings } from '../../src/dns/options.ts'
import { PreparedQueries } from '../../src/dns/prepared.ts'
import { type Exchange, Recursors } from '../../src/dns/recursors.ts'
import { Responder } from '../../src/dns/respond.ts'
import { Random } from '../../src/io/random.ts'
import { encodeCommand, Store } from '../../src/store/store.ts'
import { preparedQuery } from '../store/samples.ts'
import { type Registration, storeOf } from './catalog.ts'
import { digQuery, recordText } from './dig.ts'

interface Recorded {
  id: string
  dig: string
  status?: string
  flags: string[]
  counts: { answer?: number; authority?: number; additional?: number }
  answer: string[]
  authority: string[]
  additional: string[]
  size?: number
  edns?: string
  subnet?: string
  tcpRetry?: boolean
}

interface Profile {
  node: string
  registrations: Registration[]
  /** In the datacenter dc2. */
  elsewhere?: Registration[]
  questions: Recorded[]
}

function golden(profile: string): Profile {
  return JSON.parse(readFileSync(new URL(`../data/golden-dns/${profile}.json`, import.meta.url), 'utf8'))
}

/** The store that the recording's registrations make, with the server itself as its agent registers it. */
function recordedCatalog(profile: string, serverPort: number): Store {
  const { node, registrations } = golden(profile)
  const server: Registration = {
    Node: node,
    Address: '127.0.0.1',
    TaggedAddresses: { lan: '127.0.0.1', lan_ipv4: '127.0.0.1', wan: '127.0.0.1', wan_ipv4: '127.0.0.1' },
    NodeMeta: { 'consul-network-segment': '' },
    Service: { ID: 'consul', Service: 'consul', Port: serverPort },
    Check: { CheckID: 'serfHealth', Name: 'Serf Health Status', Status: 'passing' },
  }
  return storeOf([server, ...registrations])
}

interface Defined {
  name: string
  service?: string
  tags?: string[]
  ttl?: string
  onlyPassing?: boolean
  near?: string
  regexp?: string
  nearest?: number
}

/** Of the service g-web unless it says. */
function define(store: Store, { name, service = 'g-web', ttl = '', near = '', ...more }: Defined): void {
  const query = preparedQuery(name, {
    template: {
      type: more.regexp === undefined ? '' : 'name_prefix_match',
      regexp: more.regexp ?? '',
      removeEmptyTags: false,
    },
    dns: { ttl },
    service: {
      service,
      near,
      tags: more.tags ?? null,
      onlyPassing: more.onlyPassing ?? false,
      failover: { nearest: more.nearest ?? 0, datacenters: null },
    },
  })
  const result = store.apply(store.index + 1, encodeCommand({ type: 'query.set', query, create: true }))
  assert.ok('value' in result)
}

function queriesOf(
  store: Store,
  datacenter: string,
  remote: QueriesOptions['remote'] = { datacenters: async () => [datacenter], query: () => assert.fail('asked') },
): Queries {
  const io = { random: new Random(1), clock: { now: () => 0, wall: () => 0 }, log: () => {} }
  return new Queries({ view: () => store, io, datacenter, remote })
}

/** What a question brought back, in the words of `dig`. */
interface Seen {
  status: string
  flags: string[]
  answer: string[]
  authority: string[]
  additional: string[]
  size: number
  edns: string | undefined
  subnet: string | undefined
}

async function ask(responder: Responder, dig: string): Promise<Seen> {
  const { query, transport, ignoreTruncation } = digQuery(dig)
  const packet = encode(query)
  const once = async (over: Transport) => {
    const reply = await responder.respond(packet, over)
    assert.ok(reply !== undefined, 'no reply')
    const message = decode(reply)
    assert.ok(message !== undefined, 'a reply that cannot be read')
    return { message, size: reply.length }
  }
  let { message, size } = await once(transport)
  if (message.truncated && !ignoreTruncation) ({ message, size } = await once('tcp'))
  assert.equal(message.id, query.id)
  return seen(message, size)
}

function seen(message: Message, size: number): Seen {
  const flag = (name: string, set: boolean) => (set ? [name] : [])
  const lines = (records: readonly ResourceRecord[]) => records.map(recordText)
  const subnet = message.edns?.options.find(({ code }) => code === 8)?.octets
  const numbers = subnet && [...subnet].map((octet) => octet.charCodeAt(0))
  return {
    status: Object.entries(rcodes).find(([, rcode]) => rcode === message.rcode)?.[0] ?? String(message.rcode),
    flags: [
      ...flag('qr', message.response),
      ...flag('aa', message.authoritative),
      ...flag('tc', message.truncated),
      ...flag('rd', message.recursionDesired),
      ...flag('ra', message.recursionAvailable),
      ...flag('ad', message.authenticData),
    ],
    answer: lines(message.answers),
    authority: lines(message.authority),
    additional: lines(message.additional),
    size,
    edns: message.edns && `version: ${message.edns.version}, flags:; udp: ${message.edns.size}`,
    subnet: numbers && `${numbers.slice(4).join('.')}.0/${numbers[2]}/${numbers[3]}`,
  }
}

/** Ours moves with the catalog, Consul's with the clock. */
const withoutSerial = (line: string) => line.replace(/(IN SOA \S+ \S+) \d+/, '$1 SERIAL')
/** Which three of eight equal instances come is chance: their numbers become one. */
const anyOfMany = (line: string) =>
  line
    .replace(/g-dn\d/, 'g-dnN')
    .replace(/10\.2\.0\.\d/, '10.2.0.N')
    .replace(/800\d/, '800N')

function compare(recorded: Recorded, ours: Seen, { sizes }: { sizes: boolean }): void {
  assert.equal(ours.status, recorded.status)
  assert.deepEqual(ours.flags, recorded.flags)
  assert.equal(ours.edns, recorded.edns)
  assert.equal(ours.subnet, recorded.subnet)
  // dig counts OPT as an additional record.
  assert.equal(ours.additional.length + (ours.edns ? 1 : 0), recorded.counts.additional ?? 0)
  const isChance =
    recorded.dig.toLowerCase().includes('g-many') && recorded.answer.length > 1 && recorded.answer.length < 8
  const comparable = (lines: string[]) => lines.map((line) => (isChance ? anyOfMany(line) : withoutSerial(line))).sort()
  for (const section of ['answer', 'authority', 'additional'] as const) {
    assert.deepEqual(comparable(ours[section]), comparable(recorded[section]), section)
  }
  if (isChance) {
    // Whoever is named is named once, and what is additional is about them.
    assert.equal(new Set(ours.answer).size, ours.answer.length)
    for (const line of ours.additional) {
      const target = line.split(' ')[0] as string
      assert.ok(
        ours.answer.some((answer) => answer.endsWith(` ${target}`)),
        `${target} is nobody's target`,
      )
    }
  }
  if (sizes) assert.equal(ours.size, recorded.size)
}

const soa = 'consul. 0 IN SOA ns.consul. hostmaster.consul. SERIAL 3600 600 86400 0'

/** Where we differ, and why. */
const differences: Record<string, { reason: string; status: string; flags: string[]; authority: string[] }> = {
  'many-txt': noData('Consul answers TXT, MX and the like of a service with addresses'),
  'wan-txt': noData('the same'),
  'addr-aaaa-of-v4': noData('Consul answers AAAA of an IPv4 address with an A record'),
  'ptr-none': { ...noSuchName('an address nobody has is no such name; Consul says SERVFAIL and ra'), authority: [soa] },
  'class-ch': refused('the catalog is in class IN; Consul answers CH with a malformed packet'),
  'opcode-notify': {
    reason: 'Consul answers NOTIFY as if it were a question',
    status: 'NOTIMP',
    flags: ['qr', 'ad'],
    authority: [],
  },
  'edns-v1': {
    reason: 'RFC 6891 asks for BADVERS, which resolvers know to react to',
    status: 'BADVERS',
    flags: ['qr', 'aa', 'rd'],
    authority: [],
  },
  axfr: { reason: 'dig prints no flags here', status: 'NOTIMP', flags: ['qr', 'aa', 'rd'], authority: [] },
}

function noData(reason: string) {
  return { reason, status: 'NOERROR', flags: ['qr', 'aa', 'rd'], authority: [soa] }
}
function noSuchName(reason: string) {
  return { reason, status: 'NXDOMAIN', flags: ['qr', 'aa', 'rd'], authority: [soa] }
}
function refused(reason: string) {
  return { reason, status: 'REFUSED', flags: ['qr', 'rd'], authority: [] }
}

/** As it was recorded, or as we differ. */
function isAnswered(recorded: Recorded, responder: Responder): void {
  const difference = differences[recorded.id]
  if (difference === undefined) {
    it(`${recorded.id}: ${recorded.dig}`, async () => {
      compare(recorded, await ask(responder, recorded.dig), { sizes: true })
    })
  } else {
    it(`${recorded.id}: ${recorded.dig} differs: ${difference.reason}`, async () => {
      const ours = await ask(responder, recorded.dig)
      assert.equal(ours.status, difference.status)
      assert.deepEqual(ours.flags, difference.flags)
      assert.deepEqual(ours.answer, [])
      assert.deepEqual(ours.authority.map(withoutSerial), difference.authority)
      assert.deepEqual(ours.additional, [])
    })
  }
}

describe('DNS as Consul 1.8.7 was recorded', () => {
  describe('with its defaults', () => {
    const store = recordedCatalog('default', 18300)
    define(store, { name: 'g-full', tags: ['v1', '!bad'], ttl: '10s', onlyPassing: true, near: '_agent' })
    const regexp = '^g-geo-(.*?)-([^\\-]+?)$'
    define(store, { name: 'g-geo-', service: `g-\${match(1)}`, tags: [`\${match(2)}`], regexp })
    const prepared = new PreparedQueries(queriesOf(store, 'dc1'), 'golden', undefined, () => {})
    const settings = dnsSettings(dnsDefaults)
    const responder = new Responder(() => store, new Random(1), settings, undefined, undefined, prepared)
    for (const recorded of golden('default').questions) isAnswered(recorded, responder)
  })

  describe('with a domain, times to live and a recursor of its own', () => {
    const options: DnsOptions = {
      ...dnsDefaults,
      domain: 'corp.example.',
      alternateDomain: 'alt',
      onlyPassing: true,
      nodeTtl: 30,
      serviceTtl: { '*': 5, 'g-web': 60, 'g-we*': 20 },
      udpAnswerLimit: 5,
      enableTruncate: true,
      disableCompression: true,
      soa: { refresh: 7200, retry: 300, expire: 3600, minttl: 60 },
      nodeMetaTxt: false,
      recursors: ['127.0.0.1:18653'],
      recursorTimeout: 1000,
    }
    const store = recordedCatalog('dns-custom', 19300)
    const settings = dnsSettings(options)
    const recursors = new Recursors({
      servers: settings.recursorAddresses,
      timeout: settings.recursorTimeout,
      exchange: upstream,
      nextId: () => 4711,
      clock: { now: () => 0, wall: () => 0 },
      log: () => {},
    })
    const responder = new Responder(() => store, new Random(1), settings, recursors)
    for (const recorded of golden('dns-custom').questions) {
      it(`${recorded.id}: ${recorded.dig}`, async () => {
        // What a recursor said goes on as it came; Consul writes it anew.
        const isOurs = recorded.flags.includes('aa')
        compare(recorded, await ask(responder, recorded.dig), { sizes: isOurs })
      })
    }
  })

  describe('about another datacenter', () => {
    const { registrations, elsewhere = [], questions } = golden('wan')
    const store = storeOf(registrations)
    const other = storeOf(elsewhere)
    const remote = {
      knows: (datacenter: string) => datacenter === 'dc2',
      find: async (_datacenter: string, sought: Sought) => soughtIn(other, sought, new Random(1)),
      query: async (_datacenter: string, errand: QueryErrand) =>
        'service' in errand
          ? queriesOf(other, 'dc2').serve(errand.service, errand.limit, errand.connect)
          : queriesOf(other, 'dc2').execute(errand.name, errand.asked, 1),
    }
    define(store, { name: 'g-fo', service: 'g-fo', nearest: 1 })
    define(other, { name: 'there', service: 'g-fo', ttl: '5s' })
    const asker = new Elsewhere(remote, () => {})
    const queries = queriesOf(store, 'dc1', { ...remote, datacenters: async () => ['dc1', 'dc2'] })
    const responder = new Responder(
      () => store,
      new Random(1),
      dnsSettings(dnsDefaults),
      undefined,
      asker,
      new PreparedQueries(queries, 'golden', asker, () => {}),
    )
    it('a prepared query of that datacenter is executed there and answered here', async () => {
      const { status, answer } = await ask(responder, 'there.query.dc2.consul')
      assert.deepEqual([status, answer], ['NOERROR', ['there.query.dc2.consul. 5 IN A 10.22.0.9']])
      assert.equal((await ask(responder, 'nobody.query.dc2.consul')).status, 'NXDOMAIN')
      assert.equal((await ask(responder, 'there.query.dc9.consul')).status, 'NXDOMAIN')
    })
    for (const recorded of questions) isAnswered(recorded, responder)
  })

  describe('by a server that never heard of a leader', () => {
    const responder = new Responder(() => new Store(), new Random(1), dnsSettings(dnsDefaults), undefined)
    for (const recorded of golden('noleader').questions) {
      it(`${recorded.id}: ${recorded.dig}, at once instead of after seven seconds`, async () => {
        compare(recorded, await ask(responder, recorded.dig), { sizes: true })
      })
    }
  })
})

/** The recording's upstream: one address for every A, and labels that ask for trouble. */
async function upstream({ packet, isReply }: Parameters<Exchange>[0]): Promise<Uint8Array> {
  const query = decode(packet)
  const [question] = query?.questions ?? []
  assert.ok(query !== undefined && question !== undefined)
  const [first] = question.name
  if (first === 'to') throw new Error('no reply in 1000 ms')
  const trouble = { nx: rcodes.NXDOMAIN, sf: rcodes.SERVFAIL, rf: rcodes.REFUSED }[first as string]
  const isAddress = trouble === undefined && question.type === types.A
  const address = { name: question.name, class: 1, ttl: 77, data: { type: 'A', address: '203.0.113.7' } } as const
  const reply = encode({
    ...query,
    response: true,
    recursionDesired: true,
    recursionAvailable: true,
    rcode: trouble ?? rcodes.NOERROR,
    answers: isAddress ? [address] : [],
    edns: undefined,
  })
  assert.ok(isReply(reply), 'not taken for a reply')
  return reply
}
