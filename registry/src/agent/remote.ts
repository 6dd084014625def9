/**
 * Other datacenters, as one agent reaches them. A server knows the servers there from the WAN pool and asks one of them on
 * its rpc channel; any other agent has a server of its own datacenter do that. Whoever is asked from elsewhere answers
 * itself and never asks on, so nothing goes in circles.
 *
 * A datacenter that is lost costs those who ask first a moment, and nobody else anything: a server that did not answer is
 * left out until it does, which is asked apart from anybody's request; one that gossip holds for failed is not asked at
 * all; and no more than `requestsMax` wait for one datacenter.
 */
import {
  BadRequest,
  Busy,
  DatacenterLost,
  LeadershipLost,
  NoPath,
  Stopped,
  Unanswered,
  Unreachable,
} from '../errors.ts'
import { addressText } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type { Address, Member, Millis } from '../model.ts'
import type { View } from '../store/view.ts'
import type { Deadlines } from './deadlines.ts'
import type { ElsewhereSurface, Found, Sought, TravelAnswer, Travelled, Travelling } from './elsewhere.ts'
import { LongRequests } from './long-requests.ts'
import type { Peers } from './peers.ts'
import { isLive } from './pools.ts'
import type { Executed, Queries, QueryErrand } from './queries.ts'
import { answerQuery, executedFrom } from './query-errands.ts'
import { fields } from './serving.ts'
import { soughtIn } from './sought.ts'

export interface RemoteOptions {
  io: Pick<Io, 'clock' | 'random' | 'log'>
  deadlines: Deadlines
  peers: Peers
  datacenter: string
  server: boolean
  view: View
  /** The servers of all datacenters, as the WAN pool has them; none on an agent that is no server. */
  wan(): Member[]
  /** Where living servers of our own datacenter are. */
  servers(): Address[]
  /** How long a request is held for want of a leader; there as here. */
  hold: Millis
  /** Prepared queries of ours, for other datacenters. */
  queries(): Queries
  /** To the nearest server there, in whatever unit; undefined: not known. */
  distance?(datacenter: string): number | undefined
}

/** Of one datacenter. */
const requestsMax = 1024
/** A server that did not answer is asked so soon whether it does again, and each time later, up to … */
const trialMin: Millis = 500
const trialMax: Millis = 5_000
const trialTimeout: Millis = 2_500
/** After so long without an answer no further server is tried. */
const tryingMax: Millis = 4_000
/** For so long an agent that is no server believes what one of its servers said of a lost datacenter. */
const lostFor: Millis = 1_000
/** What a request takes besides what it waits for: the way, and a busy server. */
const margin: Millis = 10_000
/** Names as `-datacenter` takes them. */
const grammar = /^[a-z0-9_-]+$/

/** A server that may be asked. */
interface Target {
  name: string
  rpc: Address
}

/** What travels: a request for one datacenter, and whether it may be asked of a second server when the first kept silent. */
interface Errand {
  datacenter: string
  method: 'http' | 'find' | 'query'
  body: unknown
  repeatable: boolean
  within: Millis
}

export class Remote implements ElsewhereSurface {
  readonly #options: RemoteOptions
  readonly #requests: LongRequests
  /** Why servers are left out, by address. */
  readonly #failed = new Map<string, string>()
  readonly #inFlight = new Map<string, number>()
  /** On an agent that is no server: datacenters that were lost a moment ago, and why. */
  readonly #lost = new Map<string, { until: Millis; reason: string }>()
  #answer: TravelAnswer | undefined

  constructor(options: RemoteOptions) {
    this.#options = options
    this.#requests = new LongRequests(options)
    if (!options.server) return
    this.#requests.answer('http', async (body, abandoned) => {
      const { datacenter, request } = fields<{ datacenter: string; request: object }>(body, {
        datacenter: 'string',
        request: 'object',
      })
      this.#expectOurs(datacenter)
      if (this.#answer === undefined) throw new Unreachable('this agent does not answer yet')
      return this.#answer(travelling(request), abandoned)
    })
    this.#requests.answer('find', (body) => {
      const { datacenter, sought } = fields<{ datacenter: string; sought: object }>(body, {
        datacenter: 'string',
        sought: 'object',
      })
      this.#expectOurs(datacenter)
      return soughtIn(options.view, sought as Sought, options.io.random)
    })
    this.#requests.answer('query', (body) => {
      const { datacenter, errand } = fields<{ datacenter: string; errand: object }>(body, {
        datacenter: 'string',
        errand: 'object',
      })
      this.#expectOurs(datacenter)
      return answerQuery(options.queries(), errand)
    })
    this.#requests.answer('datacenters', () => this.#known())
    this.#requests.answer('relay', (body, abandoned) => {
      const errand = fields<Errand>(body, {
        datacenter: 'string',
        method: 'string',
        body: 'object',
        repeatable: 'boolean',
        within: 'number',
      })
      if (!['http', 'find', 'query'].includes(errand.method)) throw new BadRequest('expected an errand')
      return this.#there(errand, abandoned)
    })
  }

  answerWith(answer: TravelAnswer): void {
    this.#answer = answer
  }

  knows(datacenter: string): boolean | undefined {
    if (!grammar.test(datacenter)) return false
    return this.#options.server ? this.#serversOf(datacenter).length > 0 : undefined
  }

  async datacenters(): Promise<string[]> {
    const { server, datacenter } = this.#options
    if (server) return this.#known()
    const known = await this.#asked(this.#ownServers(), datacenter, true, (to) =>
      this.#requests.ask(to, 'datacenters', {}, margin),
    )
    return (known as unknown[]).map(String)
  }

  async http(datacenter: string, request: Travelling, waits: Millis, abandoned?: AbortSignal): Promise<Travelled> {
    const errand: Errand = {
      datacenter,
      method: 'http',
      body: { datacenter, request },
      repeatable: request.method === 'GET',
      within: waits + this.#options.hold + margin,
    }
    return (await this.#send(errand, abandoned)) as Travelled
  }

  async find(datacenter: string, sought: Sought, within: Millis): Promise<Found> {
    const errand: Errand = { datacenter, method: 'find', body: { datacenter, sought }, repeatable: true, within }
    return (await this.#send(errand)) as Found
  }

  async query(datacenter: string, errand: QueryErrand, within: Millis): Promise<Executed | undefined> {
    const body = { datacenter, errand }
    return executedFrom(await this.#send({ datacenter, method: 'query', body, repeatable: true, within }))
  }

  /** Ourselves, or through a server of ours. */
  async #send(errand: Errand, abandoned?: AbortSignal): Promise<unknown> {
    const { server, datacenter } = this.#options
    if (server) return this.#counted(errand.datacenter, () => this.#there(errand, abandoned))
    this.#expectNotLost(errand.datacenter)
    return this.#counted(errand.datacenter, () =>
      this.#asked(this.#ownServers(), datacenter, errand.repeatable, (to) => this.#relayed(to, errand, abandoned)),
    )
  }

  async #relayed(to: Address, errand: Errand, abandoned?: AbortSignal): Promise<unknown> {
    try {
      return await this.#requests.ask(to, 'relay', errand, errand.within + margin, abandoned)
    } catch (error) {
      if (error instanceof DatacenterLost) {
        const until = this.#options.io.clock.now() + lostFor
        this.#lost.set(errand.datacenter, { until, reason: error.message })
      }
      throw error
    }
  }

  /** Clients that ask for a lost datacenter without rest are not worth a server's time. @throws DatacenterLost */
  #expectNotLost(datacenter: string): void {
    const lost = this.#lost.get(datacenter)
    if (lost === undefined) return
    if (this.#options.io.clock.now() < lost.until) throw new DatacenterLost(lost.reason)
    this.#lost.delete(datacenter)
  }

  /** As a server, for ourselves or for an agent of ours that is none. */
  async #there(errand: Errand, abandoned?: AbortSignal): Promise<unknown> {
    const { datacenter, method, body, repeatable, within } = errand
    const servers = this.#serversOf(datacenter)
    if (servers.length === 0 || datacenter === this.#options.datacenter) throw new NoPath()
    const live = servers.filter(isLive)
    if (live.length === 0) {
      const names = servers.map(({ name }) => name).join(', ')
      throw new DatacenterLost(`datacenter ${datacenter} cannot be reached: all its servers have failed (${names})`)
    }
    // Suspects may well be there, but those who are not suspected rather are.
    const random = this.#options.io.random
    const targets = ['alive', 'suspect'].flatMap((status) =>
      random.shuffle(live.filter((member) => member.status === status).map(targetOf)),
    )
    return this.#asked(targets, datacenter, repeatable, (to) => this.#requests.ask(to, method, body, within, abandoned))
  }

  /** Asks one after the other until one answers. */
  async #asked(
    targets: Target[],
    datacenter: string,
    repeatable: boolean,
    ask: (to: Address) => Promise<unknown>,
  ): Promise<unknown> {
    const { clock } = this.#options.io
    const began = clock.now()
    let reason = ''
    for (const { name, rpc } of targets) {
      const where = addressText(rpc)
      const failed = this.#failed.get(where)
      if (failed !== undefined) {
        reason = `${name}: ${failed}`
        continue
      }
      try {
        return await ask(rpc)
      } catch (caught) {
        const error = caught as Error
        const stopping = error instanceof Stopped && !this.#options.deadlines.stopped
        if (!(error instanceof Unreachable || error instanceof Unanswered || stopping)) throw error
        reason = `${name}: ${error.message}`
        this.#leaveOut(rpc, error.message, datacenter)
        // One that stops may have passed it on.
        if (!(error instanceof Unreachable || repeatable)) {
          const words = `the request may or may not have been done: ${reason}`
          throw new LeadershipLost(`${words}; look before you send it again`, { cause: error })
        }
        if (clock.now() - began >= tryingMax) break
      }
    }
    if (targets.length === 0) throw new DatacenterLost('No known Consul servers')
    throw new DatacenterLost(`datacenter ${datacenter} cannot be reached: ${reason}`)
  }

  /** Until it answers again, or is nobody whom one would ask. Of many requests that fail there the first is noted. */
  #leaveOut(rpc: Address, reason: string, datacenter: string): void {
    const { io, deadlines } = this.#options
    const where = addressText(rpc)
    if (this.#failed.has(where)) return
    this.#failed.set(where, reason)
    io.log('warn', 'rpc', `a server of datacenter ${datacenter} does not answer`, { server: where, error: reason })
    const again = async () => {
      for (let pause = trialMin; !deadlines.stopped; pause = Math.min(pause * 2, trialMax)) {
        await deadlines.until(io.clock.now() + pause)
        if (!this.#isCandidate(where) || (await this.#requests.reaches(rpc, trialTimeout))) break
      }
      this.#failed.delete(where)
    }
    void again()
  }

  /** Gossip knows it, and does not hold it for failed: then it is for gossip to say when it is back. */
  #isCandidate(where: string): boolean {
    const { wan, servers } = this.#options
    const known = [
      ...wan()
        .filter(isLive)
        .map((member) => targetOf(member).rpc),
      ...servers(),
    ]
    return known.some((rpc) => addressText(rpc) === where)
  }

  async #counted<T>(datacenter: string, act: () => Promise<T>): Promise<T> {
    const inFlight = this.#inFlight.get(datacenter) ?? 0
    if (inFlight >= requestsMax) throw new Busy(`${requestsMax} requests to datacenter ${datacenter} are under way`)
    this.#inFlight.set(datacenter, inFlight + 1)
    try {
      return await act()
    } finally {
      const now = (this.#inFlight.get(datacenter) ?? 1) - 1
      if (now === 0) this.#inFlight.delete(datacenter)
      else this.#inFlight.set(datacenter, now)
    }
  }

  /** Ours first, then the nearest; those of unknown distance last, and equals by name. */
  #known(): string[] {
    const { datacenter, wan, distance } = this.#options
    const names = new Set<string>()
    for (const { tags, status } of wan()) {
      const { dc = '' } = tags
      if (status !== 'left' && dc !== datacenter && grammar.test(dc)) names.add(dc)
    }
    const far = (name: string) => distance?.(name) ?? Number.POSITIVE_INFINITY
    const others = [...names].map((name) => ({ name, far: far(name) }))
    others.sort((a, b) => (a.far === b.far ? (a.name < b.name ? -1 : 1) : a.far - b.far))
    return [datacenter, ...others.map(({ name }) => name)]
  }

  /** Whoever did not leave; not all of them need be alive. */
  #serversOf(datacenter: string): Member[] {
    return this.#options
      .wan()
      .filter(({ tags, status }) => tags.dc === datacenter && status !== 'left' && /^\d{1,5}$/.test(tags.port ?? ''))
  }

  #ownServers(): Target[] {
    const { io, servers } = this.#options
    return io.random.shuffle(servers()).map((rpc) => ({ name: addressText(rpc), rpc }))
  }

  /** The address may have been another's when the WAN pool last heard of it. */
  #expectOurs(datacenter: string): void {
    const ours = this.#options.datacenter
    if (datacenter !== ours) {
      throw new Unreachable(`this agent is of datacenter ${ours}, the request is for ${datacenter}`)
    }
  }
}

function targetOf({ name, address, tags }: Member): Target {
  return { name, rpc: { host: address.host, port: Number(tags.port) } }
}

/** A request from the wire is what it claims to be. @throws BadRequest */
function travelling(value: unknown): Travelling {
  const request = fields<Travelling>(value, {
    method: 'string',
    path: 'string',
    query: 'string',
    headers: 'object',
    body: 'object',
    pretty: 'boolean',
    node: 'string',
  })
  if (!(request.body instanceof Uint8Array)) throw new BadRequest('expected the body as bytes')
  return request
}
