/** Whole agents in a simulated world: each as its process would drive it, with its HTTP and DNS faces called in process. */
import { Agent, type AgentOptions } from '../../src/agent/agent.ts'
import { decode } from '../../src/dns/codec.ts'
import { Elsewhere } from '../../src/dns/elsewhere.ts'
import { type Message, types } from '../../src/dns/message.ts'
import { dnsDefaults, dnsSettings } from '../../src/dns/options.ts'
import { Responder } from '../../src/dns/respond.ts'
import { httpApp, travelAnswer } from '../../src/http/app.ts'
import { type Direct, directAnswers } from '../../src/http/direct.ts'
import type { HttpOptions } from '../../src/http/endpoint.ts'
import type { Io } from '../../src/io/io.ts'
import { Random } from '../../src/io/random.ts'
import type { Address, Millis, NodeId } from '../../src/model.ts'
import type { StateMachine } from '../../src/replica/machine.ts'
import type { Store } from '../../src/store/store.ts'
import { question } from '../api/question.ts'
import type { Ledger } from './agent-checkers.ts'
import { type Answered, answerOf } from './agent-requests.ts'
import { tickInterval } from './cluster.ts'
import type { NodePlace, World } from './world.ts'

/** What runs while a node is up. */
export interface Life {
  agent: Agent
  /** The agent's own store. */
  store: Store
  app: ReturnType<typeof httpApp>
  direct: Direct
  dns: Responder
}

export interface Station {
  readonly name: string
  readonly server: boolean
  readonly expect: number
  /** Where it listens; another one when it has moved. */
  host: string
  /** The last one it had; '' until it has run. */
  id: NodeId
  /** When it last read a frame or a datagram from anybody. */
  heardAt: Millis
  /** Undefined while it is down or starting. */
  life: Life | undefined
  /** Shall not come back before the end. */
  gone: 'dead' | 'left' | undefined
}

/** How long a client waits for an HTTP answer. */
const patienceDefault: Millis = 12_000
/** What the process gives a stop and a leaving before it ends all the same. */
const stopWithin: Millis = 2_000
const leaveWithin: Millis = 1_500
const retryInterval: Millis = 30_000
/** What the system says of a disk that fails. */
export const diskFailures: ReadonlySet<unknown> = new Set(['EIO', 'ENOSPC'])

export interface AgentsOptions {
  world: World
  ledger: Ledger
  random: Random
  /** How often a server takes a snapshot, and such: beyond what an agent can be told. */
  replica: Record<string, unknown>
  /** Of gossip, as each is started. Default: none. */
  encrypt?: (name: string) => AgentOptions['encrypt']
  fail: (error: Error) => void
  /** Default: the only one there is. */
  place?: Place
}

/** One of several datacenters of a world. */
export interface Place {
  datacenter: string
  /** The first two numbers of its addresses. */
  network: string
  /** Servers of others that its servers join, again and again until one answers. */
  wan: readonly string[]
}

export class Agents {
  readonly stations = new Map<string, Station>()
  /** Called when an agent has read its disk. */
  onStart: (station: Station) => void = () => {}
  readonly #options: AgentsOptions
  readonly #world: World
  readonly #place: Place
  #moves = 0
  /** Over HTTP. */
  requests = 0
  snapshots = 0

  constructor(options: AgentsOptions) {
    this.#options = options
    this.#world = options.world
    this.#place = options.place ?? { datacenter: 'dc1', network: '10.0', wan: [] }
  }

  /** `expect`: how many servers it waits for before it may begin a cluster; 0: it never does. */
  add(name: string, { server, expect }: Pick<Station, 'server' | 'expect'>): void {
    const host = `${this.#place.network}.0.${this.stations.size + 1}`
    this.#world.place(name, addressesOf(host, server))
    this.stations.set(name, { name, server, expect, host, id: '', heardAt: 0, life: undefined, gone: undefined })
  }

  /** It comes back on another address, with the disk it had. Only while it is down. */
  move(name: string): void {
    const station = this.station(name)
    station.host = `${this.#place.network}.1.${++this.#moves}`
    this.#world.nodes.get(name)!.addresses = addressesOf(station.host, station.server)
  }

  station(name: string): Station {
    const station = this.stations.get(name)
    if (station === undefined) throw new Error(`no agent is called ${name}`)
    return station
  }

  isUp(name: string): boolean {
    return this.#world.nodes.get(name)?.alive === true
  }

  running(): (Station & { life: Life })[] {
    return [...this.stations.values()].filter(
      (station): station is Station & { life: Life } => station.life !== undefined && this.isUp(station.name),
    )
  }

  servers(): Station[] {
    return [...this.stations.values()].filter(({ server }) => server)
  }

  /** Whoever leads, in the highest term if several believe it. */
  leader(): (Station & { life: Life }) | undefined {
    return this.running()
      .filter((station) => this.leads(station))
      .sort((one, other) => termOf(other.life) - termOf(one.life))[0]
  }

  /** It believes so. */
  leads({ host, life }: Station): boolean {
    return life?.agent.leader() === `${host}:8300`
  }

  start(name: string): void {
    const world = this.#world
    const station = this.station(name)
    const io = this.#io(station)
    const current = this.#current(name)
    station.gone = undefined
    Agent.open(io, this.#agentOptions(station)).then(
      (agent) => {
        if (!current()) return
        const options: HttpOptions = { clock: io.clock, random: io.random, log: io.log, sessionTtlMin: 1000 }
        const life: Life = {
          agent,
          store: this.#watched(name, agent),
          app: httpApp(agent, options),
          direct: directAnswers(agent, options),
          dns: new Responder(
            () => agent.view,
            new Random(this.#options.random.word()),
            dnsSettings({ ...dnsDefaults, datacenter: this.#place.datacenter }),
            undefined,
            new Elsewhere(agent.remote, io.log),
          ),
        }
        agent.remote.answerWith(travelAnswer(agent, options))
        station.id = agent.identity.id
        station.life = life
        this.#try(() => this.onStart(station))
        world.every(name, tickInterval, () => {
          agent.tick()
          // Before somebody leads it is not on any disk for sure.
          if (agent.leader() !== '') this.#try(() => this.#options.ledger.belongs(name, agent.identity.cluster))
        })
        void agent.rejoin()
        void this.#join(name, agent)
        if (station.server) void this.#joinWan(name, agent)
        agent.departed.then(() => {
          if (current()) void this.stop(name)
        })
      },
      (error) => {
        if (!current()) return
        world.note(`${name} does not start: ${error.message}`)
        if (!diskFailures.has(error.code)) this.#options.fail(error)
        this.down(name, true)
        this.#world.after(500, () => !this.isUp(name) && station.gone === undefined && this.start(name))
      },
    )
  }

  /** The process is gone at once. */
  down(name: string, keepCache: boolean): void {
    this.#world.crash(name, keepCache)
    this.station(name).life = undefined
  }

  /** Ends as the process does on a signal: what is open is closed, but not for ever. */
  async stop(name: string): Promise<void> {
    const { life } = this.station(name)
    const current = this.#current(name)
    if (life === undefined || !current()) return
    this.#world.note(`${name} stops`)
    this.station(name).life = undefined
    await Promise.race([life.agent.stop(), this.#world.sleep(stopWithin)])
    if (current()) this.down(name, true)
  }

  /** Leaves the cluster first, as on an interrupt. */
  async leave(name: string): Promise<void> {
    const { life } = this.station(name)
    const current = this.#current(name)
    if (life === undefined || !current()) return
    this.#world.note(`${name} leaves`)
    await Promise.race([life.agent.leave(), this.#world.sleep(leaveWithin)])
    if (current()) await this.stop(name)
  }

  /**
   * One HTTP request at an agent, a moment later. Undefined: no answer in time, or the agent died; it may have been acted
   * upon all the same.
   */
  request(
    name: string,
    method: string,
    path: string,
    body = '',
    patience: Millis = patienceDefault,
  ): Promise<Answered | undefined> {
    const world = this.#world
    this.requests++
    return new Promise((resolve) => {
      const abandoned = new AbortController()
      let answered = false
      world.after(patience, () => {
        if (answered) return
        resolve(undefined)
        abandoned.abort()
      })
      world.nodeAt(name, world.now + this.#options.random.fraction(), () => {
        const { life } = this.station(name)
        if (life === undefined) return
        const bytes = new TextEncoder().encode(body)
        const answer = async () => {
          const answer = await answerOf(life, method, path, bytes, abandoned.signal)
          answered = true
          resolve(answer)
        }
        answer().catch(this.#options.fail)
      })
    })
  }

  /** One DNS question at an agent, over TCP so that the answer is whole. It is answered at once, whatever happens. */
  ask(name: string, question: string, type: keyof typeof types): Message | undefined {
    const reply = this.station(name).life?.dns.respond(this.#query(question, type), 'tcp')
    return reply instanceof Uint8Array ? decode(reply) : undefined
  }

  /** The same of a name that another datacenter may have to be asked for. */
  async askAcross(name: string, question: string, type: keyof typeof types): Promise<Message | undefined> {
    const reply = await this.station(name).life?.dns.respond(this.#query(question, type), 'tcp')
    return reply === undefined ? undefined : decode(reply)
  }

  #query(name: string, type: keyof typeof types): Uint8Array {
    return question(name, this.#options.random.between(0, 65535), types[type])
  }

  #io(station: Station): Io {
    const world = this.#world
    const io = world.boot(station.name)
    const current = this.#current(station.name)
    const { network } = io
    return {
      ...io,
      network: {
        ...network,
        onDatagram: (channel, receive) =>
          network.onDatagram(channel, (bytes) => {
            station.heardAt = world.now
            receive(bytes)
          }),
        onFrame: (channel, receive) =>
          network.onFrame(channel, (bytes, reply) => {
            station.heardAt = world.now
            receive(bytes, reply)
          }),
      },
      log: (level, area, message, fields) => {
        io.log(level, area, message, fields)
        if (area === 'raft' && /^Snapshot to \d+ complete/.test(message)) this.snapshots++
        if (current() && area === 'raft' && message.endsWith('entering Leader state')) this.#led(station)
      },
    }
  }

  #led({ name, life }: Station): void {
    if (life === undefined) return
    const { state } = life.agent.statistics().raft ?? {}
    if (state === 'Leader') this.#try(() => this.#options.ledger.led(name, termOf(life)))
  }

  /** The ledger sees what the store of this agent is made of. */
  #watched(name: string, agent: Agent): Store {
    const { ledger } = this.#options
    const store = agent.view as Store
    const apply = store.apply.bind(store)
    const restore = store.restore.bind(store)
    store.apply = (index, data) => {
      this.#try(() => ledger.applies(name, index, data))
      return apply(index, data)
    }
    store.restore = (chunks) => {
      restore(chunks)
      this.#try(() => ledger.restored(name, store))
    }
    const machine: StateMachine = store
    const restoring = machine.restoring?.bind(machine)
    if (restoring !== undefined) {
      machine.restoring = () => {
        const state = restoring()
        const finish = () => {
          state.finish()
          this.#try(() => ledger.restored(name, store))
        }
        return { add: (chunk) => state.add(chunk), finish }
      }
    }
    this.#try(() => ledger.restored(name, store))
    return store
  }

  /** -retry-join: the first attempts come soon after one another. */
  async #join(name: string, agent: Agent): Promise<void> {
    const world = this.#world
    const others = this.servers().flatMap((server) => (server.name === name ? [] : [`${server.host}:8301`]))
    for (let attempt = 0; ; attempt++) {
      const joined = await agent.join(others, 'lan').catch(() => 0)
      agent.joined()
      if (joined > 0) return
      const wait = Math.min(retryInterval, 1000 * 2 ** Math.min(attempt, 10))
      await new Promise<void>((resolve) => world.nodeAt(name, world.now + wait, resolve))
    }
  }

  /** -retry-join-wan. */
  async #joinWan(name: string, agent: Agent): Promise<void> {
    const { wan } = this.#place
    const current = this.#current(name)
    for (let attempt = 0; wan.length > 0 && current(); attempt++) {
      if ((await agent.join(wan, 'wan').catch(() => 0)) > 0) return
      const wait = Math.min(retryInterval, 1000 * 2 ** Math.min(attempt, 10))
      await new Promise<void>((resolve) => this.#world.nodeAt(name, this.#world.now + wait, resolve))
    }
  }

  #agentOptions({ name, server, expect, host }: Station): AgentOptions {
    const at = (port: number): Address => ({ host, port })
    return {
      name,
      datacenter: this.#place.datacenter,
      domain: 'consul',
      server,
      bootstrap: false,
      bootstrapExpect: expect,
      advertise: { rpc: at(8300), lan: at(8301), wan: at(8302) },
      nodeMeta: {},
      nodeId: undefined,
      raft: {
        electionTimeoutMin: 1000,
        electionTimeoutMax: 2000,
        heartbeatInterval: 100,
        ...this.#options.replica,
      },
      encrypt: this.#options.encrypt?.(name) ?? {},
      rpcHold: 7000,
      checkUpdateInterval: 300_000,
      version: '1.8.0',
      configuration: {},
    }
  }

  /** Says later whether it is still the same life of the node. */
  #current(name: string): () => boolean {
    const place = this.#world.nodes.get(name)!
    const { life } = place
    return () => place.alive && place.life === life
  }

  #try(check: () => void): void {
    try {
      check()
    } catch (error) {
      this.#options.fail(error as Error)
    }
  }
}

function addressesOf(host: string, server: boolean): NodePlace['addresses'] {
  const at = (port: number): Address => ({ host, port })
  return server ? { rpc: at(8300), lan: at(8301), wan: at(8302) } : { lan: at(8301) }
}

export function termOf({ agent }: Life): number {
  return Number(agent.statistics().raft?.term ?? 0)
}

/** Ids of the servers that vote, as this server has it. */
export function votersOf({ agent }: Life): NodeId[] {
  const text = agent.statistics().raft?.latest_configuration ?? ''
  return [...text.matchAll(/Suffrage:Voter ID:(\S+)/g)].map(([, id]) => id!)
}
