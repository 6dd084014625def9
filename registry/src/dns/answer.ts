/**
 * A question and the catalog become records and an rcode, as Consul 1.8 answers. Pure and immediate: what this node's
 * store holds now is the answer, also during an election or behind a partition. What only a recursor can know (where
 * a name outside our domain leads) is named in `chases` and filled in by `withResolved`.
 */
import type { Found, Sought } from '../agent/elsewhere.ts'
import type { Executed } from '../agent/queries.ts'
import { isHealthy } from '../agent/sought.ts'
import { parseDuration } from '../health/duration.ts'
import type { Random } from '../io/random.ts'
import type { Instance, Node } from '../model.ts'
import type { View } from '../store/view.ts'
import { formatAddress, hexLabel, parseAddress } from './address.ts'
import { isInternet } from './codec.ts'
import { type Name, type Question, type RecordData, type ResourceRecord, rcodes, record, types } from './message.ts'
import { isAddress, nameFrom, sameName, subjectOf, toOctets, zoneOf } from './name.ts'
import { type DnsSettings, serviceTtlOf } from './options.ts'

/** A name outside our domain whose addresses belong into the answer. */
export interface Chase {
  name: Name
  /** A or AAAA. */
  type: number
  /** Overrides the recursor's time to live, in seconds; undefined keeps it. */
  ttl: number | undefined
  section: 'answers' | 'additional'
}

export interface Answer {
  rcode: number
  authoritative: boolean
  answers: ResourceRecord[]
  authority: ResourceRecord[]
  additional: ResourceRecord[]
  /** The answers are instances of which any few will do. */
  interchangeable: boolean
  /** A recursor, if there is one, knows better. */
  elsewhere: boolean
  chases: Chase[]
  /** It is about another datacenter: what is known there decides, if there is such a one. */
  across?: Across
  /** It is about a prepared query: what that finds decides, if there is such a one. */
  prepared?: Prepared
}

/** A prepared query's name, and where it is when that is not here. */
export interface Prepared {
  name: string
  datacenter: string | undefined
}

/** What to look up, and where. */
export interface Across {
  datacenter: string
  sought: Sought
}

/** What of a store is looked at. */
type Catalog = Pick<View, 'index' | 'node' | 'nodes' | 'services' | 'instances'>

/** How often a name of ours may lead to another name of ours before we stop following. */
const followMax = 3

/** As Consul: no more name servers in one answer. */
const nameServersMax = 3

export function answer(question: Question, view: View, random: Random, settings: DnsSettings): Answer {
  return new Lookup(question, view, random, settings, followMax).answer()
}

/**
 * The answer to a question about another datacenter, from what was found there (undefined: nobody there answered) and in
 * our own words: domain, times to live and limits are this agent's. `view` is our own store.
 */
export function answerAcross(
  question: Question,
  { datacenter, found }: { datacenter: string; found: Found | undefined },
  view: View,
  random: Random,
  settings: DnsSettings,
): Answer {
  if (found === undefined || found.index === 0) return empty(rcodes.SERVFAIL)
  const there = elsewhereCatalog(Math.max(1, view.index), found.node, found.instances)
  // Names that an instance leads to are not followed: what was found there says nothing of them.
  return new Lookup(question, there, random, { ...settings, datacenter }, 0).answer()
}

/** The answer to a question about a prepared query, from what that found; `view` is our own store. */
export function answerPrepared(
  question: Question,
  executed: Executed,
  view: View,
  random: Random,
  settings: DnsSettings,
): Answer {
  const { datacenter } = executed
  if (datacenter === settings.datacenter) {
    return new Lookup(question, view, random, settings, followMax).prepared(executed)
  }
  const there = elsewhereCatalog(Math.max(1, view.index), undefined, executed.instances)
  return new Lookup(question, there, random, { ...settings, datacenter }, 0).prepared(executed)
}

/** What was found in another datacenter, and no more. */
function elsewhereCatalog(index: number, node: Node | undefined, instances: Instance[]): Catalog {
  return {
    index,
    node: () => ({ index, value: node && { node, services: [], checks: [] } }),
    instances: () => ({ index, value: instances }),
    nodes: () => ({ index, value: [] }),
    services: () => ({ index, value: new Map() }),
  }
}

/** The answer with what recursors said of its chases; `found` is in their order, [] where nobody answered. */
export function withResolved(answer: Answer, found: readonly (readonly ResourceRecord[])[]): Answer {
  const answers = answer.answers.slice()
  const additional = answer.additional.slice()
  for (const [at, chase] of answer.chases.entries()) {
    const section = chase.section === 'answers' ? answers : additional
    for (const resolved of found[at] ?? []) {
      pushNew(section, chase.ttl === undefined ? resolved : { ...resolved, ttl: chase.ttl })
    }
  }
  return { ...answer, answers, additional, chases: [] }
}

/** No answer, with this rcode and nothing besides. */
export function empty(rcode: number): Answer {
  return {
    rcode,
    authoritative: true,
    answers: [],
    authority: [],
    additional: [],
    interchangeable: false,
    elsewhere: false,
    chases: [],
  }
}

/** Where an instance or a node is found: by address, or under another name. */
type Whereabouts = { kind: 'address'; octets: number[] } | { kind: 'name'; name: Name }

class Lookup {
  readonly #question: Question
  readonly #view: Catalog
  readonly #random: Random
  readonly #settings: DnsSettings
  readonly #follow: number

  constructor(question: Question, view: Catalog, random: Random, settings: DnsSettings, follow: number) {
    this.#question = question
    this.#view = view
    this.#random = random
    this.#settings = settings
    this.#follow = follow
  }

  answer(): Answer {
    const { name, type } = this.#question
    if (!isInternet(this.#question.class)) return { ...empty(rcodes.REFUSED), authoritative: false }
    if (type === types.AXFR || type === types.IXFR) return empty(rcodes.NOTIMP)
    const zone = zoneOf(name, this.#settings.domains)
    // Consul answers these two for every name below the domain with the records of the domain itself.
    if (zone !== undefined && type === types.SOA) return this.#startOfAuthority(zone)
    if (zone !== undefined && type === types.NS) return this.#nameServers(zone)

    const { domains, datacenter } = this.#settings
    const subject = subjectOf(name, { domains, datacenter, srv: type === types.SRV })
    switch (subject.kind) {
      case 'elsewhere':
        return this.#elsewhere()
      case 'reverse':
        return type === types.PTR || type === types.ANY ? this.#pointer(subject.octets) : this.#elsewhere()
      case 'nothing':
        return this.#nothing()
      case 'address':
        return subject.octets === undefined ? empty(rcodes.NOERROR) : this.#address(subject.octets)
      case 'node':
        if (subject.datacenter !== undefined) return this.#across(subject.datacenter, { node: subject.node })
        return this.#uninformed() ?? this.#node(subject.node)
      case 'service': {
        const { service, tag } = subject
        const { onlyPassing } = this.#settings
        if (subject.datacenter !== undefined) return this.#across(subject.datacenter, { service, tag, onlyPassing })
        return this.#uninformed() ?? this.#service(service, tag)
      }
      case 'query':
        if (subject.datacenter === undefined && this.#view.index === 0) return empty(rcodes.SERVFAIL)
        return { ...this.#nothing(), prepared: { name: subject.query, datacenter: subject.datacenter } }
      default:
        return subject satisfies never
    }
  }

  /** The instances in their order. */
  prepared({ service, instances, ttl: given }: Executed): Answer {
    if (instances.length === 0) return this.#nothing()
    const ttl =
      given === '' ? serviceTtlOf(service, this.#settings.serviceTtl) : Math.floor(parseDuration(given) / 1000)
    const result = this.#question.type === types.SRV ? this.#locate(instances, ttl) : this.#addresses(instances, ttl)
    return result.answers.length === 0 ? this.#noData() : result
  }

  #elsewhere(): Answer {
    return { ...empty(rcodes.REFUSED), authoritative: false, elsewhere: true }
  }

  /** There is no such name. */
  #nothing(): Answer {
    return { ...empty(rcodes.NXDOMAIN), authority: [this.#soa()] }
  }

  /** No such name, unless that datacenter knows better. */
  #across(datacenter: string, sought: Sought): Answer {
    return { ...this.#nothing(), across: { datacenter, sought } }
  }

  /** There is such a name, and no record of this type. */
  #noData(): Answer {
    return { ...empty(rcodes.NOERROR), authority: [this.#soa()] }
  }

  /** A store that never heard of a leader does not know that a name does not exist; the client may ask another server. */
  #uninformed(): Answer | undefined {
    return this.#view.index === 0 ? empty(rcodes.SERVFAIL) : undefined
  }

  #startOfAuthority(zone: Name): Answer {
    const { answers, additional } = this.#nameServers(zone)
    return { ...empty(rcodes.NOERROR), answers: [this.#soa()], authority: answers, additional }
  }

  #soa(): ResourceRecord {
    const { domainName, domains, soa } = this.#settings
    const zone = zoneOf(this.#question.name, domains) ?? domainName
    return record(zone, soa.minttl, {
      type: 'SOA',
      nameServer: ['ns', ...zone],
      mailbox: ['hostmaster', ...zone],
      // Moves exactly when the catalog may have; Consul gives the time of day. Serials are 32 bits (RFC 1982).
      serial: this.#view.index % 2 ** 32,
      refresh: soa.refresh,
      retry: soa.retry,
      expire: soa.expire,
      minimum: soa.minttl,
    })
  }

  /** The servers of this datacenter: the nodes of the healthy instances of the service `consul`. */
  #nameServers(zone: Name): Answer {
    const result = empty(rcodes.NOERROR)
    for (const { node } of this.#healthy('consul', undefined)) {
      if (result.answers.length === nameServersMax) break
      // Like Consul: a name server whose name is no host name would be of no use to a resolver.
      const target = /^[A-Za-z0-9-]+$/.test(node.name) ? this.#nodeName(node.name.toLowerCase()) : undefined
      if (target === undefined) continue
      result.answers.push(record(zone, this.#settings.nodeTtl, { type: 'NS', target }))
      const where = whereabouts(node.address, node.taggedAddresses ?? {}, types.ANY)
      if (where?.kind === 'address') {
        result.additional.push(record(target, this.#settings.nodeTtl, addressData(where.octets)))
      }
    }
    return result
  }

  #address(octets: number[]): Answer {
    const type = octets.length === 4 ? types.A : types.AAAA
    if (this.#question.type !== type && this.#question.type !== types.ANY) return this.#noData()
    const data = addressData(octets)
    return { ...empty(rcodes.NOERROR), answers: [record(this.#question.name, this.#settings.nodeTtl, data)] }
  }

  /** A node with this address, else a service with it as its own. Someone else may know of other addresses. */
  #pointer(octets: readonly number[]): Answer {
    const target = this.#nodeAt(octets) ?? this.#serviceAt(octets)
    if (target === undefined) return { ...this.#nothing(), elsewhere: true }
    return { ...empty(rcodes.NOERROR), answers: [record(this.#question.name, 0, { type: 'PTR', target })] }
  }

  #nodeAt(octets: readonly number[]): Name | undefined {
    const node = this.#view.nodes().value.find(({ address }) => isAddress(address, octets))
    return node === undefined ? undefined : this.#nodeName(node.name)
  }

  #serviceAt(octets: readonly number[]): Name | undefined {
    for (const service of this.#view.services().value.keys()) {
      const instances = this.#view.instances(service).value
      if (instances.some((instance) => isAddress(instance.service.address, octets))) {
        return this.#below(`${service}.service`)
      }
    }
    return undefined
  }

  #node(nodeName: string): Answer {
    const { name, type } = this.#question
    const ttl = this.#settings.nodeTtl
    const node = this.#view.node(nodeName).value?.node
    if (node === undefined) return this.#nothing()
    // No SOA here, as Consul: a node without a record of the type is an empty answer.
    const result = empty(rcodes.NOERROR)
    if (type === types.A || type === types.AAAA || type === types.ANY) {
      const where = whereabouts(node.address, node.taggedAddresses ?? {}, type)
      if (where?.kind === 'address') result.answers.push(record(name, ttl, addressData(where.octets)))
      else if (where?.kind === 'name') this.#alias(result, where.name, ttl, undefined)
      if (type !== types.ANY && this.#settings.nodeMetaTxt) result.additional.push(...metaRecords(name, node, ttl))
    }
    if (type === types.TXT || type === types.ANY) result.answers.push(...metaRecords(name, node, ttl))
    return result
  }

  /** Instances that may be named in an answer, in random order. */
  #healthy(service: string, tag: string | undefined): Instance[] {
    const instances = this.#view.instances(service, tag === undefined ? [] : [tag]).value
    return this.#random.shuffle(instances.filter((instance) => isHealthy(instance, this.#settings.onlyPassing)))
  }

  #service(service: string, tag: string | undefined): Answer {
    const instances = this.#healthy(service, tag)
    // Also when all instances are critical: nothing to name is no such name, as Consul has it.
    if (instances.length === 0) return this.#nothing()
    const ttl = serviceTtlOf(service, this.#settings.serviceTtl)
    const result = this.#question.type === types.SRV ? this.#locate(instances, ttl) : this.#addresses(instances, ttl)
    return result.answers.length === 0 ? this.#noData() : result
  }

  #addresses(instances: readonly Instance[], ttl: number): Answer {
    const { name, type } = this.#question
    const result = { ...empty(rcodes.NOERROR), interchangeable: true }
    const wanted = type === types.A || type === types.AAAA || type === types.ANY
    const limit = this.#settings.aRecordLimit > 0 ? this.#settings.aRecordLimit : Number.POSITIVE_INFINITY
    const named = new Set<string>()
    let other: Name | undefined
    for (const instance of instances) {
      if (result.answers.length >= limit) break
      const where = this.#whereaboutsOf(instance)
      if (where?.kind === 'name') other ??= where.name
      if (where?.kind !== 'address' || !wanted) continue
      // The same address often serves on several ports; it counts once, and before any limit.
      const address = where.octets.join('.')
      if (named.has(address)) continue
      named.add(address)
      result.answers.push(record(name, ttl, addressData(where.octets)))
    }
    // A name with a CNAME has nothing else (RFC 1034 §3.6.2): addresses win, and only one alias can be given.
    if (result.answers.length === 0 && other !== undefined) this.#alias(result, other, ttl, ttl)
    return result
  }

  #whereaboutsOf({ node, service }: Instance): Whereabouts | undefined {
    const { name, type } = this.#question
    const ofNode = whereabouts(node.address, node.taggedAddresses ?? {}, type)
    if (service.address === '') return ofNode
    const tagged = Object.entries(service.taggedAddresses ?? {}).map(([key, { address }]) => [key, address])
    const own = whereabouts(service.address, Object.fromEntries(tagged), type)
    // A service whose address is the very name that was asked for is at its node.
    return own?.kind === 'name' && sameName(own.name, name) ? ofNode : own
  }

  #locate(instances: readonly Instance[], ttl: number): Answer {
    const result = { ...empty(rcodes.NOERROR), interchangeable: true }
    const named = new Set<string>()
    /** Says whether something is new, so that no record comes twice (RFC 2181 §5). */
    const isNew = (key: string) => !named.has(key) && named.add(key) !== undefined
    for (const instance of instances) {
      const { node } = instance
      const where = this.#whereaboutsOf(instance)
      if (where === undefined) continue
      const target = this.#targetOf(instance, where)
      if (target === undefined) continue
      const port = portOf(instance)
      if (!isNew(`SRV ${port} ${target.join('.')}`)) continue
      const data = { type: 'SRV', priority: 1, weight: weightOf(instance), port, target } as const
      result.answers.push(record(this.#question.name, ttl, data))
      if (where.kind === 'name') this.#follows(result, 'additional', where.name, ttl)
      else if (isNew(`A ${target.join('.')}`)) result.additional.push(record(target, ttl, addressData(where.octets)))
      const nodeName = this.#nodeName(node.name)
      if (this.#settings.nodeMetaTxt && nodeName !== undefined && isNew(`TXT ${node.name}`)) {
        result.additional.push(...metaRecords(nodeName, node, ttl))
      }
    }
    return result
  }

  /** The node's name when the instance is at the node's own address, else a name made of the address, or the name it has. */
  #targetOf({ node, service }: Instance, where: Whereabouts): Name | undefined {
    if (where.kind === 'name') return where.name
    const ofNode = service.address === '' ? this.#nodeName(node.name) : undefined
    return ofNode ?? this.#below(`${hexLabel(where.octets)}.addr`)
  }

  #nodeName(node: string): Name | undefined {
    return this.#below(`${node}.node`)
  }

  /** Undefined when no such name can exist. */
  #below(text: string): Name | undefined {
    return nameFrom(`${text}.${this.#settings.datacenter}.${this.#settings.domain}`)
  }

  /** @param targetTtl what the time to live of the target's own records is replaced with; undefined keeps it */
  #alias(result: Answer, target: Name, ttl: number, targetTtl: number | undefined): void {
    result.answers.push(record(this.#question.name, ttl, { type: 'CNAME', target }))
    const { type } = this.#question
    if (type === types.A || type === types.AAAA || type === types.ANY) {
      this.#follows(result, 'answers', target, targetTtl)
    }
  }

  /** Adds what the target's own addresses are: at once for a name of ours, later for others. */
  #follows(result: Answer, section: Chase['section'], target: Name, ttl: number | undefined): void {
    const asked = this.#question.type
    if (zoneOf(target, this.#settings.domains) === undefined) {
      const type = asked === types.AAAA ? types.AAAA : types.A
      if (!result.chases.some((chase) => sameName(chase.name, target))) {
        result.chases.push({ name: target, type, ttl, section })
      }
      return
    }
    if (this.#follow === 0) return
    const question = { ...this.#question, name: target, type: asked === types.SRV ? types.ANY : asked }
    const next = new Lookup(question, this.#view, this.#random, this.#settings, this.#follow - 1).answer()
    for (const found of next.answers) {
      if (isLocation(found.data)) pushNew(result[section], ttl === undefined ? found : { ...found, ttl })
    }
    for (const chase of next.chases) result.chases.push({ ...chase, ttl: ttl ?? chase.ttl, section })
  }
}

/**
 * Where an address leads for a question of this type. Of a service or node in both families, `lan_ipv4` and
 * `lan_ipv6` say the address for A and AAAA; without them the one address counts if it is of the family.
 */
function whereabouts(address: string, tagged: Readonly<Record<string, string>>, type: number): Whereabouts | undefined {
  const family = type === types.A ? 4 : type === types.AAAA ? 16 : undefined
  const preferred = family === undefined ? undefined : tagged[family === 4 ? 'lan_ipv4' : 'lan_ipv6']
  for (const candidate of [preferred, address]) {
    const octets = candidate === undefined ? undefined : parseAddress(candidate)
    if (octets !== undefined && (family === undefined || octets.length === family)) {
      return { kind: 'address', octets }
    }
  }
  if (parseAddress(address) !== undefined) return undefined
  const name = nameFrom(address)
  return name === undefined || name.length === 0 ? undefined : { kind: 'name', name }
}

function addressData(octets: readonly number[]): RecordData {
  return { type: octets.length === 4 ? 'A' : 'AAAA', address: formatAddress(octets) }
}

/** Whether a record says where a name is. */
export function isLocation(data: RecordData): boolean {
  return data.type === 'A' || data.type === 'AAAA' || data.type === 'CNAME'
}

/** Adds a record unless the section has it. For the few records of followed names; it compares them all. */
function pushNew(section: ResourceRecord[], added: ResourceRecord): void {
  const key = JSON.stringify(added)
  if (!section.some((there) => JSON.stringify(there) === key)) section.push(added)
}

/** Of 16 bits on the wire. A status that is neither passing nor a warning weighs 1, as in Consul. */
/** The catalog takes any number as a port. What the record cannot hold loses its upper bits, as in Consul. */
function portOf({ service }: Instance): number {
  return service.port & 0xffff
}

function weightOf({ service, checks }: Instance): number {
  const warning = checks.some(({ status }) => status === 'warning')
  const known = checks.every(({ status }) => status === 'warning' || status === 'passing')
  const weight = warning ? service.weights.warning : known ? service.weights.passing : 1
  return Math.min(Math.max(weight, 0), 65535)
}

/** A character string holds this many octets (RFC 1035 §3.3). */
const textMax = 255
/** Octets of TXT data, length octets included. */
const textDataMax = 65535

/** One TXT per entry of the node's meta: `key=value` as RFC 1464 writes it, or only the value of `rfc1035-…` keys. */
function metaRecords(name: Name, node: Node, ttl: number): ResourceRecord[] {
  const records: ResourceRecord[] = []
  for (const [key, value] of Object.entries(node.meta ?? {})) {
    const text = toOctets(key.toLowerCase().startsWith('rfc1035-') ? value : attribute(key, value))
    const texts: string[] = []
    for (let from = 0; from === 0 || from < text.length; from += textMax) texts.push(text.slice(from, from + textMax))
    if (text.length + texts.length <= textDataMax) records.push(record(name, ttl, { type: 'TXT', texts }))
  }
  return records
}

/** RFC 1464: a grave accent quotes `=`, itself, and blanks at the ends of the key. */
function attribute(key: string, value: string): string {
  const quoted = key
    .replace(/[`=]/g, (character) => `\`${character}`)
    .replace(/^ +| +$/g, (blanks) => '` '.repeat(blanks.length))
  return `${quoted}=${value.replaceAll('`', '``')}`
}
