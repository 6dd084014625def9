/**
 * Those who take care of services at one agent each, with TTL checks that are kept up or not and HTTP checks that answer
 * or not; those who register nodes in the catalog from outside; and those who ask DNS.
 */
import { textOf } from '../../src/dns/name.ts'
import type { Millis, ServiceId } from '../../src/model.ts'
import type { View } from '../../src/store/view.ts'
import { anyone, brief, type ClientsOptions, expectHonest, isCertainlyNot } from './agent-answers.ts'
import { Violation } from './agent-checkers.ts'
import type { Station } from './agents.ts'

export const serviceNames = ['web', 'db'] as const
const ttl: Millis = 6_000

/** A service that a client takes care of at one agent: what the agent may hold under its id, as far as clients know. */
export interface Cared {
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
export interface Outsider {
  name: string
  /** Where it is according to the last registration that was acknowledged; undefined: nowhere. */
  acknowledged: string | undefined
  /** What registrations of unknown outcome may have made of it. */
  possible: Set<string | undefined>
}

export class ServiceUsers {
  readonly #options: ClientsOptions
  readonly cared: Cared[] = []
  readonly outsiders: Outsider[] = ['printer', 'router'].map((name) => ({
    name,
    acknowledged: undefined,
    possible: new Set(),
  }))
  #nextPort = 10_000
  dnsAnswers = 0

  constructor(options: ClientsOptions) {
    this.#options = options
    const { agents, world } = options
    world.probe = (node, request) => {
      const id = request.kind === 'http' ? request.url.split('/').at(-1) : ''
      const up = this.cared.some((service) => service.agent === node && service.id === id && service.keptUp)
      return { status: up ? 'passing' : 'critical', output: up ? 'HTTP GET: 200' : 'HTTP GET: 503' }
    }
    for (const { name: agent } of agents.stations.values()) {
      for (const [place, name] of serviceNames.entries()) {
        this.cared.push({
          id: `s${place}`,
          name,
          agent,
          possible: new Set([undefined]),
          late: { life: undefined, ports: new Set() },
          keptUp: true,
          check: place === 0 ? 'ttl' : 'http',
        })
      }
    }
  }

  /** The node's disk is empty again. */
  wiped(agent: string): void {
    for (const service of this.cared) if (service.agent === agent) service.possible = new Set([undefined])
  }

  /** Whether an agent that is up, or starts again, holds what it said it would. */
  checkLocal({ name, life }: Station): void {
    if (life === undefined) return
    const held = new Map(life.agent.local.services().map(({ definition }) => [definition.id, definition.port]))
    for (const { id, agent, possible } of this.cared) {
      if (agent !== name || possible.has(held.get(id))) continue
      const expected = [...possible].map(String).join(' or ')
      throw new Violation(`${name} holds service ${id} on port ${held.get(id)}, expected ${expected}`)
    }
  }

  /** At the very end: what was registered from outside is there. */
  checkOutsiders(): void {
    const { ledger } = this.#options
    for (const { name, acknowledged, possible } of this.outsiders) {
      const address = ledger.model.node(name).value?.node.address
      if (address === acknowledged || possible.has(address)) continue
      const expected = [acknowledged, ...possible].map(String).join(' or ')
      throw new Violation(`the catalog has ${name} at ${address}, expected ${expected}`)
    }
  }

  /** Registers it anew, or takes it out. */
  async careFor(service: Cared): Promise<void> {
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

  /** From now on; only while it is wanted up. */
  keepUp(service: Cared): void {
    const { world, random, agents } = this.#options
    const step = () => {
      world.after(ttl / 3, step)
      if (service.check !== 'ttl' || !service.keptUp || !agents.running().some(({ name }) => name === service.agent))
        return
      void agents.request(service.agent, 'PUT', `/v1/agent/check/pass/service:${service.id}`)
    }
    world.after((random.fraction() * ttl) / 3, step)
  }

  async useOutsider(outsider: Outsider): Promise<void> {
    const { agents, random, world } = this.#options
    const at = anyone(this.#options)
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

  /** DNS says what its agent's store holds, at once. */
  askDns(): void {
    const { agents, random } = this.#options
    const at = anyone(this.#options)
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
      const known = this.cared.some((service) => service.name === name) && port < this.#nextPort
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
