/**
 * What people and programs do to a cluster, at any agent, over HTTP and DNS: keys and values in all freshness modes,
 * services with TTL checks that are kept up or not, long polls. Each tells the checkers what it was told.
 */
import { textOf } from '../../src/dns/name.ts'
import type { Random } from '../../src/io/random.ts'
import type { Index, Millis, ServiceId } from '../../src/model.ts'
import type { View } from '../../src/store/view.ts'
import type { Ledger } from './agent-checkers.ts'
import { Violation } from './agent-checkers.ts'
import type { Agents, Answered, Station } from './agents.ts'
import type { World } from './world.ts'

const sharedKeys = ['a', 'b', 'c/1', 'c/2']
const serviceNames = ['web', 'db']
const ttl: Millis = 6_000

/** A service that a client takes care of at one agent: what the agent may hold under its id, as far as clients know. */
interface Cared {
  id: ServiceId
  name: string
  agent: string
  /** Ports it may have now, each given out once; undefined: not registered. One only: certain. */
  possible: Set<number | undefined>
  /** Of requests that were not answered in time though the agent lives on: they may be acted upon at any later time. */
  late: { life: unknown; ports: Set<number | undefined> }
  /** Its client says "passing" every so often; or it answers its HTTP check. */
  keptUp: boolean
  check: 'ttl' | 'http'
}

/** A node outside the cluster that somebody registered through the catalog. */
interface Outsider {
  name: string
  /** Where it is according to the last registration that was acknowledged; undefined: nowhere. */
  acknowledged: string | undefined
  /** What registrations of unknown outcome may have made of it. */
  possible: Set<string | undefined>
}

export interface ClientsOptions {
  world: World
  agents: Agents
  ledger: Ledger
  random: Random
  fail: (error: Error) => void
}

export class Clients {
  readonly #options: ClientsOptions
  readonly #cared: Cared[] = []
  readonly #outsiders: Outsider[] = []
  readonly #watches: Watch[] = []
  #active = true
  #count = 0
  #nextPort = 10_000
  #busy = 0
  dnsAnswers = 0

  constructor(options: ClientsOptions) {
    this.#options = options
  }

  begin(): void {
    const { random, agents, world } = this.#options
    world.probe = (node, request) => {
      const id = request.kind === 'http' ? request.url.split('/').at(-1) : ''
      const up = this.#cared.some((service) => service.agent === node && service.id === id && service.keptUp)
      return { status: up ? 'passing' : 'critical', output: up ? 'HTTP GET: 200' : 'HTTP GET: 503' }
    }
    const users = random.between(2, 4)
    for (let user = 0; user < users; user++) this.#loop(400, () => this.#useKeys())
    for (const { name } of agents.stations.values()) {
      for (let each = 0; each < 2; each++) {
        const service: Cared = {
          id: `s${each}`,
          name: serviceNames[each]!,
          agent: name,
          possible: new Set([undefined]),
          late: { life: undefined, ports: new Set() },
          keptUp: true,
          check: each === 0 ? 'ttl' : 'http',
        }
        this.#cared.push(service)
        this.#loop(6000, () => this.#careFor(service))
        this.#keepUp(service)
      }
      const watch = new Watch(this.#options, name, serviceNames[0]!)
      this.#watches.push(watch)
      void watch.run()
    }
    for (const name of ['printer', 'router']) {
      const outsider: Outsider = { name, acknowledged: undefined, possible: new Set() }
      this.#outsiders.push(outsider)
      this.#loop(8000, () => this.#useOutsider(outsider))
    }
    this.#loop(300, async () => this.#askDns())
    this.#loop(100, () => this.#useRivals())
  }

  /** No new changes; services that are kept up stay so, and long polls go on. */
  end(): void {
    this.#active = false
  }

  /** Nobody waits for an answer any more. */
  get idle(): boolean {
    return this.#busy === 0
  }

  /** The node's disk is empty again. */
  wiped(agent: string): void {
    for (const service of this.#cared) if (service.agent === agent) service.possible = new Set([undefined])
  }

  /** Whether an agent that is up, or starts again, holds what it said it would. */
  checkLocal({ name, life }: Station): void {
    if (life === undefined) return
    const held = new Map(life.agent.local.services().map(({ definition }) => [definition.id, definition.port]))
    for (const { id, agent, possible } of this.#cared) {
      if (agent !== name || possible.has(held.get(id))) continue
      const expected = [...possible].map(String).join(' or ')
      throw new Violation(`${name} holds service ${id} on port ${held.get(id)}, expected ${expected}`)
    }
  }

  /** At the very end: what was registered from outside is there, and every long poll has seen how it ended. */
  checkEnd(): string | undefined {
    const { ledger } = this.#options
    for (const { name, acknowledged, possible } of this.#outsiders) {
      const address = ledger.model.node(name).value?.node.address
      if (address === acknowledged || possible.has(address)) continue
      const expected = [acknowledged, ...possible].map(String).join(' or ')
      throw new Violation(`the catalog has ${name} at ${address}, expected ${expected}`)
    }
    for (const watch of this.#watches) {
      const behind = watch.behind()
      if (behind !== undefined) return behind
    }
    return undefined
  }

  #loop(pause: Millis, act: () => Promise<void>): void {
    const { world, random, fail } = this.#options
    const step = () => {
      if (!this.#active) return
      this.#busy++
      act().then(
        () => {
          this.#busy--
          world.after(random.fraction() * pause, step)
        },
        (error) => fail(error),
      )
    }
    world.after(random.fraction() * pause, step)
  }

  /** Often one that believes to lead: that is where mistakes would be. */
  #anyone(): string | undefined {
    const { agents, random } = this.#options
    const running = agents.running()
    const leaders = running.filter((station) => agents.leads(station))
    return random.pick(leaders.length > 0 && random.chance(0.4) ? leaders : running)?.name
  }

  // --- keys

  async #useKeys(): Promise<void> {
    const { random } = this.#options
    const at = this.#anyone()
    if (at === undefined) return
    const choice = random.fraction()
    if (choice < 0.2) return this.#put(at, `u/${this.#count}`)
    const key = random.pick(sharedKeys)!
    if (choice < 0.35) return this.#put(at, key)
    if (choice < 0.4) return this.#remove(at, key)
    const found = await this.#get(at, key)
    if (choice < 0.65 && found !== undefined) return this.#put(this.#anyone() ?? at, key, found.index)
  }

  /** When two believe to lead, what one of them acknowledges must not be unknown to an answer of the other. */
  async #useRivals(): Promise<void> {
    const { agents, random } = this.#options
    const rivals = agents.servers().filter((station) => agents.leads(station))
    const newest = agents.leader()
    if (newest === undefined || rivals.length < 2) return
    await this.#put(newest.name, random.pick(sharedKeys)!)
    const reads = rivals.filter(({ name }) => name !== newest.name)
    await Promise.all(reads.map(({ name }) => this.#get(name, sharedKeys[0]!)))
  }

  async #put(at: string, key: string, cas?: Index): Promise<void> {
    const { agents, ledger, world } = this.#options
    const value = `v${this.#count++}`
    const before = ledger.shown
    const answer = await agents.request(at, 'PUT', `/v1/kv/${key}${cas === undefined ? '' : `?cas=${cas}`}`, value)
    world.note(`put ${key}=${value}${cas === undefined ? '' : ` if ${cas}`} at ${at}: ${brief(answer)}`)
    if (answer?.status === 200) ledger.acknowledge(value, before, JSON.parse(answer.text))
    else if (isCertainlyNot(answer)) ledger.refuse(value)
    else expectHonest(answer, `put ${key} at ${at}`)
  }

  async #remove(at: string, key: string): Promise<void> {
    const { agents, world } = this.#options
    const answer = await agents.request(at, 'DELETE', `/v1/kv/${key}`)
    world.note(`delete ${key} at ${at}: ${brief(answer)}`)
    if (answer?.status !== 200) expectHonest(answer, `delete ${key} at ${at}`)
  }

  /** Resolves to what a check-and-set needs; undefined when the read failed. */
  async #get(at: string, key: string): Promise<{ index: Index } | undefined> {
    const { agents, ledger, random, world } = this.#options
    const mode = random.pick(['stale', '', '', 'consistent'])!
    const before = mode === 'stale' ? 'stale' : ledger.shown
    const answer = await agents.request(at, 'GET', `/v1/kv/${key}${mode === '' ? '' : `?${mode}`}`)
    if (answer?.status !== 200 && answer?.status !== 404) {
      world.note(`get ${key} ${mode} at ${at}: ${brief(answer)}`)
      expectHonest(answer, `get ${key} at ${at}`)
      return undefined
    }
    const [pair] = answer.status === 200 ? JSON.parse(answer.text) : []
    const found = pair && { value: Buffer.from(pair.Value, 'base64').toString(), index: pair.ModifyIndex as Index }
    ledger.read(`${at} (${mode || 'default'})`, key, found, before)
    if (before !== 'stale') ledger.answeredFrom(`${at} (${mode || 'default'})`, answer.storeIndex, before)
    return { index: found?.index ?? 0 }
  }

  // --- services

  async #careFor(service: Cared): Promise<void> {
    const { agents, random, world } = this.#options
    const { id, name, agent } = service
    if (!agents.running().some((running) => running.name === agent)) return
    if (random.chance(0.3)) service.keptUp = !service.keptUp
    const goes = random.chance(0.3)
    const port = goes ? undefined : this.#nextPort++
    service.possible.add(port)
    const { possible } = service
    const { life } = agents.station(agent)
    if (service.late.life !== life) service.late = { life, ports: new Set() }
    const how = service.check === 'ttl' ? { TTL: `${ttl}ms` } : { HTTP: `http://service/${id}`, Interval: '2s' }
    const check = { ...how, Status: random.chance(0.5) ? 'passing' : undefined }
    const tags = random.chance(0.3) ? ['blue'] : []
    const answer = goes
      ? await agents.request(agent, 'PUT', `/v1/agent/service/deregister/${id}`)
      : await agents.request(
          agent,
          'PUT',
          '/v1/agent/service/register',
          JSON.stringify({ ID: id, Name: name, Port: port, Tags: tags, Check: check }),
        )
    world.note(`${goes ? 'deregister' : 'register'} ${id}:${port} at ${agent}: ${brief(answer)}`)
    // The disk may have been wiped meanwhile.
    if (possible !== service.possible) return
    const { late } = service
    if (answer?.status === 200 || (goes && answer?.status === 404)) {
      possible.clear()
      possible.add(port)
      if (late.life === agents.station(agent).life) for (const each of late.ports) possible.add(each)
    } else {
      expectHonest(answer, `registering at ${agent}`)
      if (answer === undefined) late.ports.add(port)
    }
  }

  #keepUp(service: Cared): void {
    const { world, random, agents } = this.#options
    const step = () => {
      world.after(ttl / 3, step)
      if (service.check !== 'ttl' || !service.keptUp || !agents.running().some(({ name }) => name === service.agent))
        return
      void agents.request(service.agent, 'PUT', `/v1/agent/check/pass/service:${service.id}`)
    }
    world.after((random.fraction() * ttl) / 3, step)
  }

  async #useOutsider(outsider: Outsider): Promise<void> {
    const { agents, random, world } = this.#options
    const at = this.#anyone()
    if (at === undefined) return
    const { name, possible } = outsider
    const goes = random.chance(0.2)
    const address = goes ? undefined : `10.9.${random.between(0, 255)}.${random.between(1, 255)}`
    const body = { Node: name, ...(goes ? {} : { Address: address, Service: { Service: 'legacy', Port: 80 } }) }
    const verb = goes ? 'deregister' : 'register'
    const answer = await agents.request(at, 'PUT', `/v1/catalog/${verb}`, JSON.stringify(body))
    world.note(`${verb} ${name} ${address} at ${at}: ${brief(answer)}`)
    if (answer?.status === 200) outsider.acknowledged = address
    else if (!isCertainlyNot(answer)) {
      expectHonest(answer, `catalog at ${at}`)
      // It may come to be at any time, also after one that is acknowledged later.
      possible.add(address)
    }
  }

  // --- dns

  #askDns(): void {
    const { agents, random } = this.#options
    const at = this.#anyone()
    const life = at === undefined ? undefined : agents.station(at).life
    if (at === undefined || life === undefined) return
    const name = random.pick(serviceNames)!
    const reply = agents.ask(at, `${name}.service.consul.`, 'SRV')
    if (reply === undefined) throw new Violation(`${at} does not answer DNS`)
    this.dnsAnswers++
    const named = reply.answers.flatMap(({ data }) =>
      data.type === 'SRV' ? [{ port: data.port, target: textOf(data.target) }] : [],
    )
    const expected = instancesIn(life.store, name)
    const texts = named.map(({ port, target }) => `${target.split('.')[0]}:${port}`).sort()
    if (texts.join() !== expected.join()) {
      throw new Violation(`DNS of ${at} names ${texts.join(' ')} for ${name}, its store holds ${expected.join(' ')}`)
    }
    for (const { port } of named) {
      const known = this.#cared.some((service) => service.name === name) && port < this.#nextPort
      if (!known) throw new Violation(`DNS of ${at} names port ${port}, which nobody ever registered`)
    }
  }
}

/** `node:port` of every instance that DNS may name. */
export function instancesIn(view: View, name: string): string[] {
  return view
    .instances(name)
    .value.filter(({ checks }) => checks.every(({ status }) => status !== 'critical'))
    .map(({ node, service }) => `${node.name}:${service.port}`)
    .sort()
}

/** The answer says that nothing was proposed. */
function isCertainlyNot(answer: Answered | undefined): boolean {
  return answer?.status === 500 && answer.text === 'No cluster leader'
}

/** Failures have names; anything else is a bug. */
function expectHonest(answer: Answered | undefined, what: string): void {
  if (answer === undefined || answer.status === 503 || isCertainlyNot(answer)) return
  if (answer.status === 500 && honest.some((pattern) => pattern.test(answer.text))) return
  throw new Violation(`${what} was answered ${brief(answer)}`)
}

const honest = [
  /may or may not have happened/,
  /outcome (of this write )?is unknown/,
  /could not reach \d+ within/,
  // What is registered at an agent has to be on its disk.
  /^EIO/,
]

function brief(answer: Answered | undefined): string {
  return answer === undefined ? 'no answer' : `${answer.status} ${answer.text.slice(0, 80)}`
}

/** Asks an agent again and again to say when something changes, as watchers do. */
class Watch {
  readonly #options: ClientsOptions
  readonly #agent: string
  readonly #service: string
  #seen: string | undefined

  constructor(options: ClientsOptions, agent: string, service: string) {
    this.#options = options
    this.#agent = agent
    this.#service = service
  }

  async run(): Promise<void> {
    const { agents, world } = this.#options
    let index = 0
    for (;;) {
      const { life } = agents.station(this.#agent)
      const path = `/v1/health/service/${this.#service}?stale&wait=10m&index=${index}`
      const asked = life && agents.request(this.#agent, 'GET', path, '', 700_000)
      const waiting = { for: life }
      const answer = await Promise.race([asked, this.#ended(waiting)])
      waiting.for = undefined
      if (answer?.status === 200) {
        this.#seen = answer.text
        const next = Number(answer.headers.get('X-Consul-Index'))
        index = next < index ? 0 : next
      } else {
        this.#seen = undefined
        index = 0
        await world.sleep(500)
      }
    }
  }

  /** What it should have been told by now, and was not: that wakes it only once, and it asks for ten minutes. */
  behind(): string | undefined {
    const station = this.#options.agents.station(this.#agent)
    if (station.life === undefined) return undefined
    const instance = (node: string, port: number, statuses: string[]) => `${node}:${port} ${statuses.sort().join('+')}`
    const seen = (JSON.parse(this.#seen ?? '[]') as Seen[])
      .map(({ Node, Service, Checks }) =>
        instance(
          Node.Node,
          Service.Port,
          Checks.map(({ Status }) => Status),
        ),
      )
      .join()
    const held = station.life.store
      .instances(this.#service)
      .value.map(({ node, service, checks }) =>
        instance(
          node.name,
          service.port,
          checks.map(({ status }) => status),
        ),
      )
      .join()
    if (this.#seen !== undefined && seen === held) return undefined
    return `the watcher of ${this.#service} at ${this.#agent} has seen "${seen}", the store holds "${held}"`
  }

  /** Resolves when that life of the agent is over, or nobody waits for its end any more. */
  async #ended(waiting: { for: Station['life'] }): Promise<undefined> {
    const { agents, world } = this.#options
    while (waiting.for !== undefined && agents.station(this.#agent).life === waiting.for) await world.sleep(1000)
  }
}

interface Seen {
  Node: { Node: string }
  Service: { Port: number }
  Checks: { Status: string }[]
}
