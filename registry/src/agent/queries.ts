/**
 * Executing prepared queries: what a name means, which instances that are now, and where else to look when there are none
 * here. What this node's store knows is found at once; only a look into other datacenters takes time. A query that is
 * executed for another datacenter never asks on, so nothing goes in circles. Rules are those of Consul 1.8.
 */
import { Refused } from '../errors.ts'
import type { Clock, Log } from '../io/io.ts'
import type { Random } from '../io/random.ts'
import type {
  Instance,
  Millis,
  NodeName,
  PreparedQuery,
  PreparedQueryDefinition,
  PreparedQueryService,
} from '../model.ts'
import { isTemplate, queryId } from '../store/queries.ts'
import type { View } from '../store/view.ts'
import type { ElsewhereSurface } from './elsewhere.ts'
import { byRoundTrip } from './nearest.ts'
import { Template } from './query-template.ts'

/** Who asks, and for how much. */
export interface QueryAsked {
  /** A node, `_agent`, `_ip`; '': as the query says. */
  near: string
  /** The client's address; '' when it is not known. */
  ip: string
  /** The name of the agent that was asked. */
  agent: NodeName
  /** So many instances at most; 0 for all. */
  limit: number
  /** Only instances that take part in a service mesh, of which there are none here. */
  connect: boolean
}

export interface Executed {
  service: string
  instances: Instance[]
  /** Of the query: Go's duration, '' when it says nothing. */
  ttl: string
  /** Where the instances are. */
  datacenter: string
  /** How many other datacenters were asked. */
  failovers: number
  /** The order of the instances is for this client alone. */
  ordered: boolean
}

/** What travels: a query of the other datacenter by its name, or one of ours for the instances there. */
export type QueryErrand =
  | { name: string; asked: QueryAsked }
  | { service: PreparedQueryService; limit: number; connect: boolean }

export interface QueriesSurface {
  /**
   * The query or template of that name, or the query of that id; a template is filled in.
   * @throws Refused in Consul's words
   */
  resolve(name: string): PreparedQuery | undefined
  /** Those in this node's store. */
  here(query: PreparedQuery, asked: QueryAsked): Executed
  /** Where it looks next when there are none here. */
  failsOver(query: PreparedQuery): boolean
  /** Looks in other datacenters, one after the other, for at most `within` altogether. Never rejects. */
  elsewhere(query: PreparedQuery, asked: QueryAsked, here: Executed, within: Millis): Promise<Executed>
  /** All of it; undefined: there is no such query. @throws Refused */
  execute(name: string, asked: QueryAsked, within: Millis): Promise<Executed | undefined>
}

export interface QueriesOptions {
  view(): View
  io: { random: Random; clock: Clock; log: Log }
  datacenter: string
  remote: Pick<ElsewhereSurface, 'datacenters' | 'query'>
}

/** More instances than anybody can use are not worth their way to another datacenter. */
const travellingMax = 2000

export class Queries implements QueriesSurface {
  readonly #options: QueriesOptions
  /** Of rows, which are never changed but replaced. */
  readonly #templates = new WeakMap<PreparedQuery, Template<PreparedQuery>>()

  constructor(options: QueriesOptions) {
    this.#options = options
  }

  resolve(name: string): PreparedQuery | undefined {
    const view = this.#options.view()
    if (name === '') throw new Refused('Missing Query ID')
    const id = queryId(name)
    const byId = id === undefined ? undefined : view.query(id).value
    if (byId !== undefined) {
      if (!isTemplate(byId)) return byId
      throw new Refused('prepared query templates can only be resolved up by name, not by ID')
    }
    const query = view.queryNamed(name)
    if (query === undefined || !isTemplate(query)) return query
    let template = this.#templates.get(query)
    if (template === undefined) {
      template = new Template(query)
      this.#templates.set(query, template)
    }
    return template.render(name)
  }

  here({ service, dns }: PreparedQuery, asked: QueryAsked): Executed {
    const view = this.#options.view()
    const near = asked.near || service.near
    const chosen = this.#options.io.random.shuffle(instancesOf(view, service, asked.connect))
    const self = nearWhom(view, near, asked)
    const sorted = self === '' ? chosen : nodeFirst(self, byRoundTrip(view, self, chosen, nodeOf))
    return {
      service: service.service,
      instances: limited(sorted, asked.limit),
      ttl: dns.ttl,
      datacenter: this.#options.datacenter,
      failovers: 0,
      ordered: near !== '',
    }
  }

  failsOver({ service: { failover } }: PreparedQuery): boolean {
    return failover.nearest > 0 || (failover.datacenters ?? []).length > 0
  }

  async elsewhere(query: PreparedQuery, asked: QueryAsked, here: Executed, within: Millis): Promise<Executed> {
    const { clock, log } = this.#options.io
    const deadline = clock.now() + within
    const { service } = query
    const errand = { service, limit: asked.limit, connect: asked.connect }
    const executed = { ...here }
    const candidates = await this.#candidates(service)
    for (const [place, datacenter] of candidates.entries()) {
      const left = deadline - clock.now()
      if (left <= 0) break
      executed.failovers++
      try {
        // One that keeps silent leaves time for the next.
        const last = place === candidates.length - 1
        const found = await this.#options.remote.query(datacenter, errand, last ? left : left / 2)
        if (found === undefined) continue
        executed.instances = found.instances
        executed.datacenter = found.datacenter
        if (found.instances.length > 0) break
      } catch (error) {
        const fields = { datacenter, service: service.service, error: (error as Error).message }
        log('warn', 'prepared_query', 'Failed querying for service in datacenter', fields)
      }
    }
    return executed
  }

  async execute(name: string, asked: QueryAsked, within: Millis): Promise<Executed | undefined> {
    const query = this.resolve(name)
    if (query === undefined) return undefined
    const here = this.here(query, asked)
    if (here.instances.length > 0 || !this.failsOver(query)) return here
    return this.elsewhere(query, asked, here, within)
  }

  /** For another datacenter, which has the query and no instances: what is here, in any order, and nothing beyond. */
  serve(service: PreparedQueryService, limit: number, connect: boolean): Executed {
    const { io, view, datacenter } = this.#options
    const chosen = io.random.shuffle(instancesOf(view(), service, connect))
    const most = limit > 0 ? Math.min(limit, travellingMax) : travellingMax
    return {
      service: service.service,
      instances: limited(chosen, most),
      ttl: '',
      datacenter,
      failovers: 0,
      ordered: false,
    }
  }

  /** The nearest ones, then those that are named and known. Nobody is known to an agent that reaches no server of its own. */
  async #candidates({ failover }: PreparedQueryService): Promise<string[]> {
    const { remote, datacenter, io } = this.#options
    const known = await remote.datacenters().catch((error: Error) => {
      io.log('warn', 'prepared_query', 'other datacenters are not known', { error: error.message })
      return []
    })
    const others = known.filter((name) => name !== datacenter)
    const nearest = others.slice(0, Math.max(0, failover.nearest))
    const named = (failover.datacenters ?? []).filter((name) => others.includes(name) && !nearest.includes(name))
    return [...nearest, ...named]
  }
}

/**
 * Whether a query is sound by itself, in Consul's order of looking; its name and session are the state's to judge.
 * @throws Refused
 */
export function expectTemplate(query: PreparedQueryDefinition): void {
  if (!isTemplate(query)) return
  try {
    new Template(query)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    throw new Refused(`failed compiling template: ${error.message}`, { cause: error })
  }
}

const nodeOf = ({ node }: Instance): NodeName => node.name

/** Those that may be used, in the catalog's order. */
function instancesOf(view: View, wanted: PreparedQueryService, connect: boolean): Instance[] {
  if (connect || wanted.connect) return []
  const tags = (wanted.tags ?? []).map((tag) => tag.toLowerCase())
  const must = tags.filter((tag) => !tag.startsWith('!'))
  const never = tags.filter((tag) => tag.startsWith('!')).map((tag) => tag.slice(1))
  const ignored = new Set(wanted.ignoreCheckIds)
  return view.instances(wanted.service).value.filter(({ node, service, checks }) => {
    for (const { id, status } of checks) {
      if (ignored.has(id)) continue
      if (status === 'critical' || (wanted.onlyPassing && status !== 'passing')) return false
    }
    if (!has(node.meta, wanted.nodeMeta) || !has(service.meta, wanted.serviceMeta)) return false
    if (tags.length === 0) return true
    const own = new Set(service.tags.map((tag) => tag.toLowerCase()))
    return must.every((tag) => own.has(tag)) && !never.some((tag) => own.has(tag))
  })
}

function has(meta: Readonly<Record<string, string>> | null, wanted: Readonly<Record<string, string>> | null): boolean {
  const entries = Object.entries(wanted ?? {})
  return entries.every(([key, value]) => meta !== null && Object.hasOwn(meta, key) && meta[key] === value)
}

/** The node to be near to; '' for none. */
function nearWhom(view: View, near: string, { agent, ip }: QueryAsked): NodeName {
  if (near === '_agent') return agent
  if (near !== '_ip') return near
  return ip === '' ? '' : (view.nodes().value.find(({ address }) => address === ip)?.name ?? '')
}

/** Also when nobody knows how far anything is. */
function nodeFirst(self: NodeName, instances: Instance[]): Instance[] {
  const own = instances.findIndex(({ node }) => node.name === self)
  if (own <= 0) return instances
  const [first] = instances.splice(own, 1)
  return [first as Instance, ...instances]
}

function limited(instances: Instance[], limit: number): Instance[] {
  return limit > 0 ? instances.slice(0, limit) : instances
}
