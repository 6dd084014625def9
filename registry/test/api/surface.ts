/**
 * One node without a cluster: the real store and the real checks with an agent's surface around them, on a clock that
 * the test moves. Writes apply at once; what is registered here is in the catalog at once.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { Aliases } from '../../src/agent/aliases.ts'
import { Deadlines } from '../../src/agent/deadlines.ts'
import type { ElsewhereSurface } from '../../src/agent/elsewhere.ts'
import { Events } from '../../src/agent/events.ts'
import { type KeyChange, Keyring } from '../../src/agent/keyring.ts'
import { Keys } from '../../src/agent/keys.ts'
import type { OperatorSurface } from '../../src/agent/operator.ts'
import { Queries } from '../../src/agent/queries.ts'
import { SealedChannel } from '../../src/agent/sealed.ts'
import type { AgentSurface, Fresh, LocalSurface, Written } from '../../src/agent/surface.ts'
import { BadRequest, NoLeader, NoPath, NotFound, Refused } from '../../src/errors.ts'
import { origin } from '../../src/gossip/coordinate.ts'
import { Gossip, lanConfig } from '../../src/gossip/gossip.ts'
import { Checks } from '../../src/health/checks.ts'
import { httpApp } from '../../src/http/app.ts'
import { type Direct, directAnswers } from '../../src/http/direct.ts'
import type { HttpOptions } from '../../src/http/endpoint.ts'
import type { Io, LogLevel } from '../../src/io/io.ts'
import { aesGcm } from '../../src/io/node-cipher.ts'
import { gzipped } from '../../src/io/node-gzip.ts'
import { Random } from '../../src/io/random.ts'
import type { CheckResult, Index, Member, Millis, NodeDefinition, ServiceDefinition } from '../../src/model.ts'
import { type Command, encodeCommand } from '../../src/store/command.ts'
import { Store } from '../../src/store/store.ts'

const nodeId = 'c7ae8d2f-6635-46e7-e511-60dc18502a87'
const tags = {
  acls: '0',
  bootstrap: '1',
  build: '1.8.7:',
  dc: 'dc1',
  ft_fs: '1',
  id: nodeId,
  port: '18300',
  raft_vsn: '3',
  role: 'consul',
  segment: '',
  vsn: '2',
  vsn_max: '3',
  vsn_min: '2',
}

/** Where a node is. */
interface Place {
  id: string
  name: string
  datacenter: string
  host: string
  /** Of its rpc channel. */
  port: number
}

const golden: Place = { id: nodeId, name: 'golden', datacenter: 'dc1', host: '127.0.0.1', port: 18300 }

/** What a single node is made with, besides what its HTTP face is told. */
interface SingleNodeOptions extends Partial<HttpOptions> {
  /** false: a server that never had a leader, and so has nothing in its store */
  leading?: boolean
  /** Of gossip encryption; none: there is none. */
  key?: string
  place?: Place
  /** How it reaches other datacenters; without it there is none. */
  remote?: Partial<ElsewhereSurface>
}

/** The node of the recordings, its own service and check registered as a leader does. */
export class SingleNode {
  now: Millis = 1000
  store = new Store()
  leading: boolean
  /** What `read` and `write` say of the leader. */
  lastContact: Millis = 0
  readonly logged: { level: LogLevel; message: string; fields?: Record<string, unknown> | undefined }[] = []
  readonly joined: string[] = []
  left = false
  /** What autopilot says of the one server. */
  healthy = true
  cluster = 'e3c1a9d0-5b1f-4d3c-9a52-0c9f8a7b6d11'
  /** How many long polls are parked. */
  parked = 0
  readonly node: NodeDefinition
  readonly #place: Place
  #index: Index = 4
  readonly #key: string | undefined
  #timers: { at: Millis; fire: () => void }[] = []
  readonly events: Events
  readonly surface: AgentSurface
  /** As other datacenters ask for them, too. */
  readonly queries: Queries
  readonly options: HttpOptions
  readonly app: ReturnType<typeof httpApp>
  /** What the listener asks before the application. */
  readonly direct: Direct

  constructor({ leading = true, key, place = golden, remote = {}, ...options }: SingleNodeOptions = {}) {
    this.leading = leading
    this.#place = place
    const { id, name, datacenter, host } = place
    this.node = {
      id,
      name,
      address: host,
      datacenter,
      taggedAddresses: { lan: host, lan_ipv4: host, wan: host, wan_ipv4: host },
      meta: { 'consul-network-segment': '' },
    }
    this.#key = key
    this.options = {
      clock: { now: () => this.now, wall: () => 0 },
      random: new Random(1),
      gzip: gzipped,
      log: (level, _area, message, fields) => this.logged.push({ level, message, fields }),
      ...options,
    }
    this.events = this.#userEvents()
    const elsewhere: ElsewhereSurface = {
      knows: () => false,
      datacenters: async () => [datacenter],
      http: () => Promise.reject(new NoPath()),
      find: () => Promise.reject(new NoPath()),
      query: () => Promise.reject(new NoPath()),
      answerWith: () => {},
      ...remote,
    }
    this.queries = new Queries({ view: () => this.store, io: this.options, datacenter, remote: elsewhere })
    this.surface = this.#surface(elsewhere)
    this.app = httpApp(this.surface, this.options)
    this.direct = directAnswers(this.surface, this.options)
    if (leading)
      this.apply({ type: 'catalog.register', node: this.node, service: consulService(), checks: [serfHealth()] })
  }

  apply(command: Command): Written {
    const result = this.store.apply(++this.#index, encodeCommand(command))
    if ('error' in result) throw new Refused(result.error)
    return { ...result, index: this.#index }
  }

  /** Uses up an index without changing anything. */
  get index(): Index {
    return this.#index
  }

  /** Moves the clock, wakes what was due, and lets promises settle. */
  async advance(by: Millis): Promise<void> {
    this.now += by
    const due = this.#timers.filter(({ at }) => at <= this.now)
    this.#timers = this.#timers.filter(({ at }) => at > this.now)
    for (const { fire } of due) fire()
    await settle()
  }

  /** @param from the client's address */
  async ask(
    method: string,
    path: string,
    body?: string | Uint8Array,
    headers: Record<string, string> = {},
    from = '127.0.0.1',
  ) {
    const sent = method === 'GET' ? undefined : body
    // An empty Content-Length: chunked.
    const { 'Content-Length': announced, ...rest } = headers
    const init = {
      method,
      headers:
        sent === undefined || announced === '' ? rest : { 'Content-Length': String(Buffer.byteLength(sent)), ...rest },
      ...(sent !== undefined && { body: sent as string }),
    }
    const response = await this.app.request(path, init, { incoming: { socket: { remoteAddress: from } } })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) }
  }

  /** In a pool of one, whose news come back at once. */
  #userEvents(): Events {
    const { clock, random, log } = this.options
    const deadlines = new Deadlines()
    deadlines.at = (when, fire) => {
      const timer = { at: when, fire }
      this.#timers.push(timer)
      return () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      }
    }
    const self = { name: 'golden', address: { host: '127.0.0.1', port: 18301 }, tags: {} }
    const gossip = new Gossip({ ...self, config: lanConfig, random }, this.now)
    const events: Events = new Events({
      io: { clock, random, log } as unknown as Io,
      deadlines,
      node: self.name,
      services: () => this.surface.local.services(),
      gossip: (fire) => {
        const fired = fire(gossip, this.now)
        for (const news of gossip.ready().events) if (news.type === 'userEvent') events.receive(news.event)
        return fired
      },
    })
    return events
  }

  #surface(remote: ElsewhereSurface): AgentSurface {
    const self = this
    const { id, name, datacenter, host, port } = this.#place
    const rpc = `${host}:${port}`
    const member = (name: string, port: number, own: Record<string, string>): Member => ({
      name,
      address: { host: '127.0.0.1', port },
      status: 'alive',
      tags: own,
      incarnation: 1,
    })
    return {
      queries: this.queries,
      identity: {
        id,
        name,
        datacenter,
        address: host,
        server: true,
        domain: 'consul',
        version: '1.8.7',
        get cluster() {
          return self.cluster
        },
      },
      get view() {
        return self.store
      },
      local: this.#local(),
      events: this.events,
      keys: this.#keys(member('golden', 18301, tags), member('golden.dc1', 18302, tags)),
      operator: self.#operator(),
      async write(command) {
        if (!self.leading) throw new NoLeader()
        return self.apply(command)
      },
      async renewSession(id) {
        if (!self.leading) throw new NoLeader()
        return self.store.session(id).value
      },
      async read(freshness): Promise<Fresh> {
        if (!self.leading && freshness !== 'stale') throw new NoLeader()
        return { view: self.store, knownLeader: self.leading, lastContact: self.lastContact }
      },
      changed(topics, wait, abandoned) {
        return new Promise((resolve) => {
          self.parked++
          let ended = false
          const watches = topics.map((topic) => self.store.watch(topic, () => end()))
          const timer = { at: self.now + wait, fire: () => end() }
          self.#timers.push(timer)
          const end = () => {
            if (ended) return
            ended = true
            self.parked--
            self.#timers = self.#timers.filter((other) => other !== timer)
            for (const stop of watches) stop()
            resolve()
          }
          if (abandoned?.aborted) end()
          abandoned?.addEventListener('abort', end)
        })
      },
      coordinates: {
        own: origin(),
        datacenters: async () => [
          { datacenter: 'dc1', coordinates: [{ node: 'golden', segment: '', coordinate: origin() }] },
        ],
        async update(update) {
          if (!self.leading) throw new NoLeader()
          self.apply({ type: 'coordinates.update', updates: [update] })
        },
      },
      remote,
      members: (pool) =>
        pool === 'lan'
          ? [member('golden', 18301, { ...tags, wan_join_port: '18302' })]
          : [member('golden.dc1', 18302, tags)],
      async join(addresses) {
        if (addresses[0]?.startsWith('127.0.0.1:1'))
          throw new Error('dial tcp 127.0.0.1:1: connect: connection refused')
        self.joined.push(...addresses)
        return addresses.length
      },
      async leave() {
        self.left = true
      },
      async forceLeave(name) {
        if (name !== 'golden') throw new NotFound(`no member ${name}`)
      },
      leader: () => (self.leading ? rpc : ''),
      peers: () => (self.leading ? [rpc] : []),
      statistics: () => ({ raft: { state: 'Leader', term: '2' }, consul: { leader: 'true' } }),
      configuration: () => ({ Datacenter: 'dc1' }),
    }
  }

  #operator(): OperatorSurface {
    const own = { id: nodeId, name: 'golden', address: '127.0.0.1:18300', leader: true, voter: true }
    return {
      servers: async () => {
        if (!this.leading) throw new NoLeader()
        return [own]
      },
      removeServer: async (which) => {
        if ('id' in which ? which.id === own.id : which.address === own.address) return
        const words = 'id' in which ? `id "${which.id}"` : `address "${which.address}"`
        throw new Refused(`${words} was not found in the Raft configuration`)
      },
      health: async () => ({
        healthy: this.healthy,
        failureTolerance: 0,
        servers: [
          {
            ...own,
            serfStatus: 'alive',
            version: '1.8.7',
            lastContact: 0,
            lastTerm: 2,
            lastIndex: 133,
            healthy: this.healthy,
            stableSince: 1_795_341_939_000,
          },
        ],
      }),
    }
  }

  /** As on a server that is alone in both pools. */
  #keys(lan: Member, wan: Member): Keys {
    const { random } = this.options
    const network = { datagram() {}, frame() {}, onDatagram() {}, onFrame() {}, onLost() {} }
    const io = { clock: this.options.clock, random, network, cipher: aesGcm(() => {}), log() {} } as unknown as Io
    const pool = (name: 'lan' | 'wan', member: Member) => {
      const keyring = this.#key === undefined ? undefined : new Keyring([this.#key])
      return {
        name: member.name,
        members: () => [member],
        channel: new SealedChannel(io, name, keyring, { verifyIncoming: true, verifyOutgoing: true }),
        kept: keyring && {
          keyring,
          change: async (change: KeyChange, key: string) => keyring.become(keyring.after(change, key), this.now),
        },
      }
    }
    return new Keys({ io, deadlines: new Deadlines(), datacenter: 'dc1', lan: pool('lan', lan), wan: pool('wan', wan) })
  }

  #local(): LocalSurface {
    const self = this
    const services = new Map<string, ServiceDefinition>()
    const checks = new Checks(new Random(2))
    const results = () =>
      checks.list().map(({ definition, status, output }) => ({
        definition,
        result: {
          id: definition.id,
          name: definition.name,
          status,
          notes: definition.notes,
          output,
          serviceId: definition.serviceId,
          type: definition.how.type,
          definition: {},
        } satisfies CheckResult,
      }))
    const aliases = new Aliases(checks, self.node.name, {
      hasService: (id) => services.has(id),
      node: (node) => self.store.node(node).value,
    })
    const sync = () => {
      aliases.look(self.now, true)
      if (!self.leading) return
      for (const service of services.values()) {
        self.apply({ type: 'catalog.register', node: self.node, service, checks: [] })
      }
      self.apply({ type: 'catalog.register', node: self.node, checks: results().map(({ result }) => result) })
    }
    return {
      services: () => [...services.values()].map((definition) => ({ definition })),
      checks: results,
      async registerService(service, given, replaceChecks) {
        services.set(service.id, service)
        const stays = new Set(given.map(({ id }) => id))
        for (const { definition } of replaceChecks ? checks.list() : []) {
          if (definition.serviceId === service.id && !stays.has(definition.id)) checks.remove(definition.id)
        }
        for (const check of given) checks.set(check, self.now)
        sync()
      },
      async deregisterService(id) {
        if (!services.delete(id)) throw new NotFound(`unknown service ${id}`)
        for (const { definition } of checks.list()) if (definition.serviceId === id) checks.remove(definition.id)
        if (self.leading) self.apply({ type: 'catalog.deregister', node: self.node.name, serviceId: id })
      },
      async registerCheck(check) {
        checks.set(check, self.now)
        sync()
      },
      async deregisterCheck(id) {
        if (!checks.remove(id)) throw new NotFound(`unknown check ${id}`)
        self.apply({ type: 'catalog.deregister', node: self.node.name, checkId: id })
      },
      async updateTtl(id, status, output) {
        const done = checks.ttl(id, status, output, self.now)
        if (done === 'unknown') throw new NotFound(`unknown check ${id}`)
        if (done === 'notTtl') throw new BadRequest(`${id} is not a TTL check`)
        sync()
      },
    }
  }
}

/** Lets everything that can happen now happen. */
export async function settle(): Promise<void> {
  for (let turns = 0; turns < 4; turns++) await turn()
}

function consulService(): ServiceDefinition {
  return {
    id: 'consul',
    name: 'consul',
    tags: [],
    address: '',
    port: 18300,
    taggedAddresses: null,
    meta: {
      non_voter: 'false',
      raft_version: '3',
      serf_protocol_current: '2',
      serf_protocol_max: '5',
      serf_protocol_min: '1',
      version: '1.8.7',
    },
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
  }
}

function serfHealth(): CheckResult {
  return {
    id: 'serfHealth',
    name: 'Serf Health Status',
    status: 'passing',
    notes: '',
    output: 'Agent alive and reachable',
    serviceId: '',
    type: '',
    definition: {},
  }
}
