/** One node, put together: gossip tells who lives, the log holds the truth, this node's store answers. */
import { NotFound, Stopped } from '../errors.ts'
import type { GossipEvent } from '../gossip/gossip.ts'
import { addressText } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import {
  autopilotDefault,
  type Member,
  type Millis,
  type NodeDefinition,
  type NodeId,
  type NodeName,
  type Session,
  type SessionId,
} from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import type { Command } from '../store/command.ts'
import { Store } from '../store/store.ts'
import type { Topic, View } from '../store/view.ts'
import { AntiEntropy } from './anti-entropy.ts'
import { Bootstrap, BootstrapPromise, serverOf } from './bootstrap.ts'
import { Coordinates } from './coordinates.ts'
import { openReplica } from './damaged-log.ts'
import { Deadlines } from './deadlines.ts'
import type { Definitions } from './definitions.ts'
import { Events } from './events.ts'
import type { Following } from './following.ts'
import { withoutFormerNames } from './former-names.ts'
import { Forward } from './forward.ts'
import { type Keyrings, openKeyrings } from './keyring-file.ts'
import { type Keys, openKeys } from './keys.ts'
import { Leading } from './leading.ts'
import { beLetGo } from './leaving.ts'
import { Local } from './local.ts'
import { expectWhole, type NodeFile, openNodeFile } from './node-file.ts'
import { Observer } from './observer.ts'
import { Operator } from './operator.ts'
import type { AgentOptions } from './options.ts'
import { frameKind, Peers } from './peers.ts'
import { followPeersFile, writePeersInfo } from './peers-file.ts'
import { Pools } from './pools.ts'
import { Queries } from './queries.ts'
import { Reconciler } from './reconciler.ts'
import { Remote } from './remote.ts'
import { serve } from './serving.ts'
import { type RenewReply, Sessions } from './sessions.ts'
import { SettledLocal } from './settled.ts'
import { statistics } from './statistics.ts'
import type { AgentSurface, Fresh, Freshness, Identity, LocalSurface, Pool, Written } from './surface.ts'
import { consulServiceId } from './sync.ts'
import { Voter } from './voter.ts'

export type { AgentOptions } from './options.ts'

const bootstrapInterval: Millis = 1_000
/** Writing one keeps the disk from the log, and many writes a second reach its number of entries in no time. */
const snapshotInterval: Millis = 10_000
const transferWait: Millis = 3_000

export class Agent implements AgentSurface {
  readonly #io: Io
  readonly #options: AgentOptions
  readonly #store: Store
  readonly #deadlines = new Deadlines()
  readonly #peers: Peers
  readonly #nodeFile: NodeFile
  readonly #pools: Pools
  readonly #replica: Replica | undefined
  readonly #observer: Observer | undefined
  readonly #following: Following
  readonly #forward: Forward
  readonly #antiEntropy: AntiEntropy
  readonly #leading: Leading | undefined
  readonly #bootstrap: Reconciler | undefined
  readonly #sessions: Sessions | undefined
  readonly #local: Local
  readonly local: LocalSurface
  readonly keys: Keys
  readonly operator: Operator
  readonly events: Events
  readonly remote: Remote
  readonly coordinates: Coordinates
  readonly queries: Queries
  /** Resolves when this agent has left its pools; the process ends then. */
  readonly departed: Promise<void>
  #departed = () => {}
  #wasLeading = false
  #lastLeader: NodeId | '' = ''
  /** The log of this server was there when it started. */
  readonly #hadLog: boolean
  #mayBootstrap = false
  #stopped = false
  #left = false

  /** Reads the data directory, takes up the log and the pools. @throws Corrupt, and whatever the disk says */
  static async open(io: Io, options: AgentOptions): Promise<Agent> {
    await io.disk.lock()
    const nodeFile = await openNodeFile(io, options.nodeId, options.rejoinAfterLeave)
    let wake = () => {}
    const store = new Store()
    const local = await Local.open(io, () => wake(), {
      ...options,
      reserved: options.server ? consulServiceId : undefined,
      node: options.name,
      catalog: (node) => store.node(node).value,
    })
    const keyrings = await openKeyrings(io, options)
    if (options.server) await followPeersFile(io, nodeFile, new Store())
    const replica = options.server
      ? await openReplica(io, store, nodeFile, {
          address: addressText(options.advertise.rpc),
          snapshotInterval,
          ...options.raft,
        })
      : undefined
    if (replica !== undefined) {
      expectWhole(nodeFile, replica.status)
      await writePeersInfo(io)
    }
    await nodeFile.begin()
    const agent = new Agent(io, options, { nodeFile, local, keyrings, store, replica })
    wake = () => agent.#antiEntropy.wake()
    agent.#begin()
    return agent
  }

  private constructor(
    io: Io,
    options: AgentOptions,
    parts: { nodeFile: NodeFile; local: Local; keyrings: Keyrings; store: Store; replica: Replica | undefined },
  ) {
    this.#io = io
    this.#options = options
    this.departed = new Promise((resolve) => {
      this.#departed = resolve
    })
    this.#nodeFile = parts.nodeFile
    this.#local = parts.local
    this.local = new SettledLocal(parts.local, () => this.#antiEntropy.settled())
    this.#store = parts.store
    this.#replica = parts.replica
    this.#hadLog = parts.replica?.status.hasState === true
    this.#peers = new Peers(io, this.#deadlines)
    io.network.onFrame('rpc', (bytes, reply) => {
      if (bytes[0] === frameKind.raft) this.#replica?.receive(bytes, reply)
      else this.#peers.receive(bytes, reply)
    })
    this.#observer =
      parts.replica === undefined
        ? new Observer({
            io,
            deadlines: this.#deadlines,
            peers: this.#peers,
            servers: () => this.#pools.servers().map(({ rpc }) => rpc),
            apply: (index, data) => this.#store.apply(index, data),
            restoring: () => this.#store.restoring(),
          })
        : undefined
    this.#following = this.#observer ?? new Voter(parts.replica as Replica)
    this.#forward = new Forward({
      io,
      deadlines: this.#deadlines,
      peers: this.#peers,
      following: this.#following,
      replica: parts.replica,
      hold: options.rpcHold,
    })
    this.#pools = new Pools({
      io,
      deadlines: this.#deadlines,
      nodeFile: parts.nodeFile,
      keyrings: parts.keyrings,
      agent: options,
      onEvent: (pool, event) => this.#onEvent(pool, event),
    })
    this.keys = openKeys({
      io,
      deadlines: this.#deadlines,
      agent: options,
      pools: this.#pools,
      keyrings: parts.keyrings,
    })
    this.remote = new Remote({
      io,
      deadlines: this.#deadlines,
      peers: this.#peers,
      datacenter: options.datacenter,
      server: options.server,
      view: parts.store,
      wan: () => this.#pools.members('wan'),
      servers: () => this.#pools.servers().map(({ rpc }) => rpc),
      hold: options.rpcHold,
      queries: () => this.queries,
      distance: (datacenter) => this.coordinates.distanceTo(datacenter),
    })
    this.queries = new Queries({ io, view: () => parts.store, datacenter: options.datacenter, remote: this.remote })
    this.coordinates = new Coordinates({
      io,
      deadlines: this.#deadlines,
      peers: this.#peers,
      forward: this.#forward,
      following: this.#following,
      view: parts.store,
      node: options.name,
      datacenter: options.datacenter,
      lan: this.#pools.lan.gossip,
      wan: this.#pools.wan?.gossip,
      servers: () => this.#pools.servers().map(({ rpc }) => rpc),
      understood: () => {
        const heardOf = new Set(this.members('lan').map(({ tags }) => tags.id))
        return parts.replica?.status.configuration.servers.every(({ id }) => heardOf.has(id)) === true
      },
    })
    this.events = new Events({
      io,
      deadlines: this.#deadlines,
      node: options.name,
      services: () => parts.local.services(),
      gossip: (fire) => this.#pools.lan.fire(fire),
    })
    this.#antiEntropy = new AntiEntropy({
      io,
      deadlines: this.#deadlines,
      following: this.#following,
      local: parts.local,
      view: parts.store,
      node: this.#node(),
      server: options.server,
      outputInterval: options.checkUpdateInterval,
      read: (freshness) => this.read(freshness),
      write: (command) => this.write(command),
    })
    if (parts.replica !== undefined) {
      const promise = new BootstrapPromise()
      this.#sessions = new Sessions({ io, store: parts.store, forward: this.#forward, replica: parts.replica })
      serve({
        io,
        self: parts.nodeFile.id,
        lost: () => (parts.nodeFile.former === '' ? undefined : parts.nodeFile),
        deadlines: this.#deadlines,
        peers: this.#peers,
        replica: parts.replica,
        following: this.#following,
        forward: this.#forward,
        sessions: this.#sessions,
        promise,
        onLeave: async (id) => this.#leading?.letGo(id),
      })
      this.#leading = new Leading({
        io,
        deadlines: this.#deadlines,
        peers: this.#peers,
        pools: this.#pools,
        replica: parts.replica,
        forward: this.#forward,
        view: parts.store,
        self: parts.nodeFile.id,
        datacenter: options.datacenter,
        heartbeatInterval: options.raft.heartbeatInterval,
        autopilot: options.autopilot ?? autopilotDefault,
        read: (freshness) => this.read(freshness),
      })
      this.#bootstrap = this.#bootstrapReconciler(parts.replica, promise)
    }
    this.operator = new Operator({
      forward: this.#forward,
      following: this.#following,
      peers: this.#peers,
      pools: this.#pools,
      datacenter: options.datacenter,
      replica: parts.replica,
      leading: this.#leading,
    })
  }

  get identity(): Identity {
    const { name, datacenter, domain, server, version, advertise } = this.#options
    const { id } = this.#nodeFile
    return {
      id,
      name,
      datacenter,
      address: advertise.lan.host,
      server,
      domain,
      version,
      cluster: this.#following.cluster,
    }
  }

  get view(): View {
    return this.#store
  }

  write(command: Command): Promise<Written> {
    if (this.#stopped) return Promise.reject(new Stopped('this agent is stopping'))
    return this.#forward.write(command)
  }

  async renewSession(id: SessionId): Promise<Session | undefined> {
    this.#expectRunning()
    const request = { cluster: this.#following.cluster, id }
    const lead = async (): Promise<RenewReply> => ({ session: (await this.#sessions?.renew(id)) ?? null })
    return ((await this.#forward.ask('renew', request, lead)) as RenewReply).session ?? undefined
  }

  async read(freshness: Freshness): Promise<Fresh> {
    this.#expectRunning()
    if (freshness === 'stale') {
      const { leader, leading, lastContact } = this.#following
      return { view: this.#store, knownLeader: leader !== '', lastContact: leading ? 0 : Math.max(0, lastContact) }
    }
    await this.#forward.fresh(freshness === 'consistent')
    return { view: this.#store, knownLeader: true, lastContact: 0 }
  }

  changed(topics: readonly Topic[], wait: Millis, abandoned?: AbortSignal): Promise<void> {
    // Who looks and waits again and again must come to an end.
    if (this.#stopped) return Promise.reject(new Stopped())
    return new Promise((resolve) => {
      const done = () => {
        cancel()
        for (const unwatch of unwatches) unwatch()
        abandoned?.removeEventListener('abort', done)
        resolve()
      }
      const cancel = this.#deadlines.at(this.#io.clock.now() + wait, done)
      const unwatches = topics.map((topic) => this.#store.watch(topic, done))
      abandoned?.addEventListener('abort', done)
      if (abandoned?.aborted === true) done()
    })
  }

  members(pool: Pool): Member[] {
    return this.#pools.members(pool)
  }

  async join(addresses: readonly string[], pool: Pool): Promise<number> {
    this.#expectRunning()
    return this.#pools.join(addresses, pool)
  }

  async leave(): Promise<void> {
    if (this.#left) return
    this.#left = true
    this.#antiEntropy.leave()
    this.#io.log('info', 'consul', this.#replica === undefined ? 'client starting leave' : 'server starting leave')
    if (this.#replica?.status.role === 'leader' && this.#following.peers.length > 1) {
      await this.#untilOr(this.#replica.transferLeadership(), transferWait)
    }
    await this.#pools.leave()
    if (this.#replica !== undefined) {
      await beLetGo({
        io: this.#io,
        self: this.#nodeFile.id,
        deadlines: this.#deadlines,
        peers: this.#peers,
        following: this.#following,
      })
    }
    await this.#nodeFile.keepLeft()
    this.#departed()
  }

  async forceLeave(name: NodeName, prune: boolean): Promise<void> {
    this.#io.log('info', 'agent', `Force leaving node: ${name}`)
    const known = this.#pools.forceLeave(name, prune)
    if (!known) throw new NotFound(`agent: No node found with name '${name}'`)
  }

  /** What the configuration defines from now on. @throws BadRequest; then nothing has changed */
  define(definitions: Definitions): Promise<void> {
    return this.#local.configure(definitions)
  }

  leader(): string {
    const { leaderAddress } = this.#following
    return leaderAddress === undefined ? '' : addressText(leaderAddress)
  }

  peers(): string[] {
    return this.#following.peers
  }

  statistics(): Record<string, Record<string, string>> {
    return statistics({
      options: this.#options,
      local: this.#local,
      following: this.#following,
      replica: this.#replica,
      lan: this.#pools.lan,
      wan: this.#pools.wan,
      channels: this.#pools.channels,
      datacenters: this.#pools.datacenters().length,
    })
  }

  configuration(): Record<string, unknown> {
    return this.#options.configuration
  }

  /** Moves everything on. Called every 100 ms or so. */
  tick(): void {
    if (this.#stopped) return
    const now = this.#io.clock.now()
    this.#replica?.tick()
    this.#pools.tick()
    this.#peers.tick(now)
    this.#deadlines.tick(now)
    this.#local.tick(now)
    this.#antiEntropy.tick(now)
    this.#bootstrap?.tick(now)
    this.#sessions?.tick(now)
    this.#leading?.tick(now)
    this.coordinates.tick(now)
  }

  /** Gossip is, with a key that was given or kept. */
  get encrypted(): boolean {
    return this.#pools.channels.lan.keyring !== undefined
  }

  /** How many members this agent knew before it was stopped; 0 for a fresh one. */
  get knownBefore(): number {
    return this.#pools.knownBefore
  }

  /** Asks the members of former times for their company until one answers, or somebody else was found. */
  rejoin(): Promise<void> {
    return this.#pools.rejoin()
  }

  /** The first attempt to join is over, whatever came of it: from now on this node may begin a cluster if told to. */
  joined(): void {
    this.#mayBootstrap = true
    this.#bootstrap?.wake()
  }

  /** Nothing is unflushed when this resolves. Does not leave. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#peers.stop()
    this.#observer?.stop()
    this.#pools.stop()
    this.keys.stop()
    this.events.stop()
    this.coordinates.stop()
    const stopping = [this.#antiEntropy.stop(), this.#leading?.stop(), this.#bootstrap?.stop(), this.#replica?.stop()]
    this.#deadlines.stop()
    await Promise.all(stopping)
    await Promise.all([this.#nodeFile.flush(), this.#local.flush()])
  }

  #begin(): void {
    this.#following.subscribe(() => this.#onFollowing())
    this.#antiEntropy.begin()
    this.#pools.start()
    if (this.#observer !== undefined) void this.#observer.run()
  }

  #node(): NodeDefinition {
    const { name, datacenter, advertise, nodeMeta } = this.#options
    const lan = advertise.lan.host
    const wan = advertise.wan.host
    const family = (host: string) => (host.includes(':') ? 'ipv6' : 'ipv4')
    return {
      id: this.#nodeFile.id,
      name,
      address: lan,
      datacenter,
      taggedAddresses: { lan, [`lan_${family(lan)}`]: lan, wan, [`wan_${family(wan)}`]: wan },
      meta: { 'consul-network-segment': '', ...nodeMeta },
    }
  }

  #onEvent(pool: Pool, event: GossipEvent): void {
    if (pool === 'lan' && event.type === 'userEvent') this.events.receive(event.event)
    if (pool !== 'lan' || !('member' in event)) return
    const server = serverOf(event.member, this.#options.datacenter)
    if (server !== undefined && (event.type === 'join' || event.type === 'update')) {
      this.#replica?.reachedAt(server.id, addressText(server.rpc))
    }
    this.#leading?.onMember(event)
    this.#bootstrap?.wake()
  }

  #onFollowing(): void {
    const { leading, leader, cluster, peers } = this.#following
    // Not before the log has it: a crash in between would look as if the log had been taken away.
    if (cluster !== '' && (this.#hadLog || (this.#replica?.status.walSyncs ?? 0) > 0)) {
      void this.#nodeFile.keepCluster(cluster, peers.length)
    }
    if (leading !== this.#wasLeading) {
      this.#wasLeading = leading
      this.#io.log('info', 'consul', leading ? 'cluster leadership acquired' : 'cluster leadership lost')
      if (leading) this.#leading?.begin()
    }
    if (leader === this.#lastLeader) return
    this.#lastLeader = leader
    this.#leading?.wake()
    this.#bootstrap?.wake()
    this.#antiEntropy.wake()
    if (leader === '') return
    const name = withoutFormerNames(this.members('lan')).find(({ tags }) => tags.id === leader)?.name ?? leader
    this.#io.log('info', 'consul', `New leader elected: ${name}`)
  }

  #bootstrapReconciler(replica: Replica, promise: BootstrapPromise): Reconciler | undefined {
    const { bootstrapExpect, bootstrap: alone } = this.#options
    if (bootstrapExpect === 0 && !alone) return undefined
    const bootstrap = new Bootstrap({
      io: this.#io,
      peers: this.#peers,
      self: this.#nodeFile.id,
      expect: bootstrapExpect,
      alone,
      promise,
      servers: () => this.#pools.servers(),
      begin: async (configuration) => {
        this.#leading?.founded()
        await replica.bootstrap(configuration)
      },
    })
    return new Reconciler({
      work: async () => {
        // A server that lost its log waits for those who have theirs.
        if (this.#mayBootstrap && !replica.status.hasState && this.#nodeFile.former === '') await bootstrap.run()
      },
      every: bootstrapInterval,
      backOffMin: bootstrapInterval,
      backOffMax: bootstrapInterval,
      random: this.#io.random,
      onFailure: (error) => this.#io.log('warn', 'consul', `bootstrap: ${(error as Error).message}`),
    })
  }

  async #untilOr(act: Promise<unknown>, wait: Millis): Promise<void> {
    await Promise.race([act.catch(() => undefined), this.#deadlines.until(this.#io.clock.now() + wait)])
  }

  #expectRunning(): void {
    if (this.#stopped) throw new Stopped()
  }
}
