/** One node, put together: gossip tells who lives, the log holds the truth, this node's store answers. */
import { BadRequest, Busy, NoLeader, NotFound, NotLeader, Stopped } from '../errors.ts'
import { Gossip, type GossipConfig, type GossipEvent, lanConfig, wanConfig } from '../gossip/gossip.ts'
import { addressText, parseAddress } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type { Address, Member, Millis, NodeDefinition, NodeId, NodeName, Session, SessionId } from '../model.ts'
import type { ServerChange } from '../raft/message.ts'
import type { Replica } from '../replica/replica.ts'
import { type Command, encodeCommand } from '../store/command.ts'
import { Store } from '../store/store.ts'
import type { Topic, View } from '../store/view.ts'
import { Absences, serverAbsenceMax } from './absences.ts'
import { Bootstrap, BootstrapPromise, type Candidate, serverOf } from './bootstrap.ts'
import { openReplica } from './damaged-log.ts'
import { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import { Forward } from './forward.ts'
import { Leader, Tombstones } from './leader.ts'
import { Local } from './local.ts'
import { Membership } from './membership.ts'
import { expectWhole, type NodeFile, openNodeFile } from './node-file.ts'
import { Observer } from './observer.ts'
import { frameKind, Peers } from './peers.ts'
import { Reconciler } from './reconciler.ts'
import { serve } from './serving.ts'
import { type RenewReply, Sessions } from './sessions.ts'
import { SettledLocal } from './settled.ts'
import { statistics } from './statistics.ts'
import { askStatuses } from './statuses.ts'
import type { AgentSurface, Fresh, Freshness, Identity, LocalSurface, Pool, Written } from './surface.ts'
import { consulServiceId, Sync } from './sync.ts'
import { Voter } from './voter.ts'

export interface AgentOptions {
  name: NodeName
  datacenter: string
  domain: string
  server: boolean
  /** Begin a cluster of one, at once. */
  bootstrap: boolean
  /** Begin a cluster when this many servers know each other; 0: wait to be taken in. */
  bootstrapExpect: number
  /** Where others reach this node, per channel. */
  advertise: { rpc: Address; lan: Address; wan: Address }
  nodeMeta: Record<string, string>
  /** UUID to use instead of the one kept in the data directory. */
  nodeId: NodeId | undefined
  raft: { electionTimeoutMin: Millis; electionTimeoutMax: Millis; heartbeatInterval: Millis }
  gossip?: { lan?: Partial<GossipConfig>; wan?: Partial<GossipConfig> }
  rpcHold: Millis
  checkUpdateInterval: Millis
  /** The version whose API we speak; clients look at it. */
  version: string
  /** What `GET /v1/agent/self` shows of how this agent was started. */
  configuration: Record<string, unknown>
}

/** Full comparison at least this often (Consul's anti-entropy: 1 minute), and of the members by the leader. */
const fullSyncInterval: Millis = 60_000
const leaderInterval: Millis = 60_000
const bootstrapInterval: Millis = 1_000
/** Writing one keeps the disk from the log, and many writes a second reach its number of entries in no time. */
const snapshotInterval: Millis = 10_000
/** When somebody took this node out of the catalog: not at once, for whoever did so may have more to say. */
const lostRowsPause: Millis = 1_000
const promoteInterval: Millis = 500
const leavingLasts: Millis = 30_000
const transferWait: Millis = 3_000
const letGoPause: Millis = 100
/** A registration that the catalog does not have by then is answered all the same. */
const settleWait: Millis = 1_000
const membersKept = 64
const rejoinInterval: Millis = 5_000

export class Agent implements AgentSurface {
  readonly #io: Io
  readonly #options: AgentOptions
  readonly #store: Store
  readonly #deadlines = new Deadlines()
  readonly #peers: Peers
  readonly #nodeFile: NodeFile
  readonly #lan: Membership
  readonly #wan: Membership | undefined
  readonly #replica: Replica | undefined
  readonly #observer: Observer | undefined
  readonly #following: Following
  readonly #forward: Forward
  readonly #sync: Reconciler
  readonly #leader: Reconciler | undefined
  readonly #bootstrap: Reconciler | undefined
  readonly #sessions: Sessions | undefined
  readonly #tombstones = new Tombstones()
  readonly #absences = new Absences()
  readonly #serverAbsences = new Absences(serverAbsenceMax)
  readonly #leaving = new Map<NodeId, Millis>()
  readonly #local: Local
  readonly local: LocalSurface
  /** Resolves when this agent has left its pools; the process ends then. */
  readonly departed: Promise<void>
  #departed = () => {}
  #wasLeading = false
  #lastLeader: NodeId | '' = ''
  #awaitsConsul = () => false
  #syncsBegun = 0
  readonly #awaitingSync = new Set<{ run: number; resolve(): void }>()
  /** The log of this server was there when it started. */
  readonly #hadLog: boolean
  #mayBootstrap = false
  #lookingAgain = false
  #rowsLost = false
  #stopped = false
  #left = false

  /** Reads the data directory, takes up the log and the pools. @throws Corrupt, and whatever the disk says */
  static async open(io: Io, options: AgentOptions): Promise<Agent> {
    await io.disk.lock()
    const nodeFile = await openNodeFile(io, options.nodeId)
    let wake = () => {}
    const local = await Local.open(io, () => wake(), options.server ? consulServiceId : undefined)
    const store = new Store()
    const replica = options.server
      ? await openReplica(io, store, nodeFile, {
          address: addressText(options.advertise.rpc),
          snapshotInterval,
          ...options.raft,
        })
      : undefined
    if (replica !== undefined) expectWhole(nodeFile, replica.status)
    await nodeFile.begin()
    const agent = new Agent(io, options, { nodeFile, local, store, replica })
    wake = () => agent.#sync.wake()
    agent.#begin()
    return agent
  }

  private constructor(
    io: Io,
    options: AgentOptions,
    parts: { nodeFile: NodeFile; local: Local; store: Store; replica: Replica | undefined },
  ) {
    this.#io = io
    this.#options = options
    this.departed = new Promise((resolve) => {
      this.#departed = resolve
    })
    this.#nodeFile = parts.nodeFile
    this.#local = parts.local
    this.local = new SettledLocal(parts.local, () => this.#synced())
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
            servers: () => this.#servers().map(({ rpc }) => rpc),
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
    this.#lan = new Membership(io, 'lan', this.#gossip('lan'), (event) => this.#onLan(event))
    this.#wan = options.server
      ? new Membership(io, 'wan', this.#gossip('wan'), (event) => this.#onWan(event))
      : undefined
    this.#sync = this.#syncReconciler()
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
        onLeave: (id) => this.#letGo(id),
      })
      this.#leader = this.#leaderReconciler(parts.replica)
      this.#bootstrap = this.#bootstrapReconciler(parts.replica, promise)
    }
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

  datacenters(): string[] {
    const others = this.members('wan').flatMap(({ tags, status }) => (status === 'left' ? [] : [tags.dc ?? '']))
    return [...new Set([this.#options.datacenter, ...others.filter((dc) => dc !== '')])].sort()
  }

  members(pool: Pool): Member[] {
    return (pool === 'lan' ? this.#lan : this.#wan)?.members() ?? []
  }

  async join(addresses: readonly string[], pool: Pool): Promise<number> {
    this.#expectRunning()
    const membership = pool === 'lan' ? this.#lan : this.#wan
    if (membership === undefined) throw new BadRequest('only servers have a WAN pool; join one of them instead')
    const port = this.#options.advertise[pool].port
    const targets = addresses.map((text) => parseAddress(text, port))
    const outcomes = await Promise.allSettled(targets.map((target) => membership.join(target)))
    const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as Error] : []))
    const joined = outcomes.length - failures.length
    if (joined === 0 && failures.length > 0) {
      const count = failures.length === 1 ? '1 error' : `${failures.length} errors`
      const list = failures.map(({ message }) => `\t* ${message}\n`).join('')
      throw new AggregateError(failures, `${count} occurred:\n${list}\n`)
    }
    return joined
  }

  async leave(): Promise<void> {
    if (this.#left) return
    this.#left = true
    this.#io.log('info', 'consul', this.#replica === undefined ? 'client starting leave' : 'server starting leave')
    if (this.#replica?.status.role === 'leader' && this.#following.peers.length > 1) {
      await this.#untilOr(this.#replica.transferLeadership(), transferWait)
    }
    await Promise.all([this.#wan?.leave(), this.#lan.leave()])
    const { leaderAddress, leading } = this.#following
    if (this.#replica !== undefined && leaderAddress !== undefined && !leading) {
      await this.#peers.ask(leaderAddress, 'leave', { id: this.#nodeFile.id }, transferWait).catch((error: Error) => {
        this.#io.log('warn', 'consul', `the leader did not confirm that this server may go: ${error.message}`)
      })
    }
    await this.#nodeFile.keepMembers([])
    this.#departed()
  }

  async forceLeave(name: NodeName, prune: boolean): Promise<void> {
    const known = this.#lan.forceLeave(name, prune)
    this.#wan?.forceLeave(`${name}.${this.#options.datacenter}`, prune)
    if (!known) throw new NotFound(`agent: No node found with name '${name}'`)
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
      lan: this.#lan,
      wan: this.#wan,
      datacenters: this.datacenters().length,
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
    this.#lan.tick()
    this.#wan?.tick()
    this.#deadlines.tick(now)
    this.#local.tick(now)
    this.#sync.tick(now)
    this.#bootstrap?.tick(now)
    this.#sessions?.tick(now)
    if (this.#following.leading) {
      this.#leader?.tick(now)
      this.#reap(now)
    }
    for (const [id, until] of this.#leaving) if (now >= until) this.#leaving.delete(id)
  }

  /** How many members this agent knew before it was stopped; 0 for a fresh one. */
  get knownBefore(): number {
    return this.#nodeFile.members.length
  }

  /** Asks the members of former times for their company until one answers, or somebody else was found. */
  async rejoin(): Promise<void> {
    const known = this.#nodeFile.members
    while (known.length > 0 && !this.#stopped && !this.#left) {
      const joined = await this.join(known, 'lan').catch(() => 0)
      if (joined > 0 || this.#others().length > 0) {
        this.#io.log('info', 'serf', `Re-joined to previously known nodes: ${joined} of ${known.length} answered`)
        return
      }
      await this.#deadlines.until(this.#io.clock.now() + rejoinInterval)
    }
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
    const stopping = [this.#sync.stop(), this.#leader?.stop(), this.#bootstrap?.stop(), this.#replica?.stop()]
    this.#deadlines.stop()
    await Promise.all(stopping)
    await this.#nodeFile.flush()
  }

  #begin(): void {
    this.#following.subscribe(() => this.#onFollowing())
    this.#store.watch({ kind: 'node', node: this.#options.name }, () => this.#onOwnRows())
    this.#lan.start()
    this.#wan?.start()
    if (this.#observer !== undefined) void this.#observer.run()
  }

  #gossip(pool: Pool): Gossip {
    const { name, datacenter, advertise, gossip } = this.#options
    return new Gossip(
      {
        name: pool === 'lan' ? name : `${name}.${datacenter}`,
        address: advertise[pool],
        tags: this.#tags(pool),
        config: { ...(pool === 'lan' ? lanConfig : wanConfig), ...gossip?.[pool] },
        random: this.#io.random,
        allow: (_name, tags) =>
          pool === 'wan' || tags.dc === datacenter
            ? undefined
            : `it is of datacenter "${tags.dc}" and this pool of "${datacenter}"`,
      },
      this.#io.clock.now(),
    )
  }

  #tags(pool: Pool): Record<string, string> {
    const { server, datacenter, bootstrap, bootstrapExpect, advertise, version } = this.#options
    const common = { dc: datacenter, id: this.#nodeFile.id, build: `${version}:`, vsn: '2', vsn_min: '2', vsn_max: '3' }
    if (!server) return { ...common, role: 'node', segment: '' }
    return {
      ...common,
      role: 'consul',
      segment: '',
      acls: '0',
      raft_vsn: '3',
      port: String(advertise.rpc.port),
      ...(pool === 'lan' ? { wan_join_port: String(advertise.wan.port) } : {}),
      ...(bootstrap ? { bootstrap: '1' } : {}),
      ...(bootstrapExpect > 0 ? { expect: String(bootstrapExpect) } : {}),
    }
  }

  /** Alive servers of this datacenter, in name order. */
  #servers(): Candidate[] {
    return this.members('lan').flatMap((member) => {
      const server = serverOf(member, this.#options.datacenter)
      return server !== undefined && (member.status === 'alive' || member.status === 'suspect') ? [server] : []
    })
  }

  /** Alive members besides ourselves. */
  #others(): Member[] {
    return this.members('lan').filter(
      ({ name, status }) => name !== this.#options.name && (status === 'alive' || status === 'suspect'),
    )
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

  #onLan(event: GossipEvent): void {
    const { log } = this.#io
    if ('member' in event) {
      const { member } = event
      const words = { join: 'Join', leave: 'Leave', failed: 'Failed', update: 'Update', reap: 'Reap' }[
        event.type as 'join'
      ]
      log('info', 'serf', `EventMember${words}: ${member.name} ${member.address.host}`)
      const server = serverOf(member, this.#options.datacenter)
      if (server !== undefined && event.type !== 'update') {
        const where = `${member.name} (Addr: ${addressText(server.rpc)}) (DC: ${this.#options.datacenter})`
        log('info', 'consul', `${event.type === 'join' ? 'adding' : 'removing'} LAN server ${where}`)
      }
      if (server !== undefined && (event.type === 'join' || event.type === 'update'))
        this.#replica?.reachedAt(server.id, addressText(server.rpc))
      // It left and came back: what it asked for in its former life is over.
      if (event.type === 'join' && server !== undefined) this.#leaving.delete(server.id)
      if (event.type === 'reap') {
        this.#absences.reaped(member.name)
        if (server !== undefined) this.#leaving.set(server.id, this.#io.clock.now() + leavingLasts)
      }
      this.#leader?.wake()
      this.#bootstrap?.wake()
      this.#keepMembers()
    } else this.#onOther(event)
  }

  #onWan(event: GossipEvent): void {
    if ('member' in event) {
      const { member } = event
      const words = { join: 'Join', leave: 'Leave', failed: 'Failed', update: 'Update', reap: 'Reap' }[
        event.type as 'join'
      ]
      this.#io.log('info', 'serf', `EventMember${words}: ${member.name} ${member.address.host}`)
    } else this.#onOther(event)
  }

  #onOther(event: GossipEvent): void {
    const { log } = this.#io
    if (event.type === 'warning') log('warn', 'serf', event.reason)
    else if (event.type === 'suspect') log('info', 'serf', `Suspect ${event.name} has failed, no acks received`)
    else if (event.type === 'refuted') log('info', 'serf', `${event.name} refutes the suspicion`)
    else if (event.type === 'conflict') {
      const { name, ours, other } = event
      log(
        'warn',
        'serf',
        `Conflicting address for ${name}: ${addressText(ours.address)} and ${addressText(other.address)}`,
      )
    }
  }

  #keepMembers(): void {
    if (this.#left) return
    const others = this.#others()
    // Everybody silent is how being cut off looks: then what we knew before is worth more.
    if (others.length === 0) return
    void this.#nodeFile.keepMembers(others.slice(0, membersKept).map(({ address }) => addressText(address)))
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
      if (leading) {
        this.#tombstones.reset()
        this.#absences.reset()
        this.#serverAbsences.reset()
      }
    }
    if (leader === this.#lastLeader) return
    this.#lastLeader = leader
    this.#leader?.wake()
    this.#bootstrap?.wake()
    this.#sync.wake()
    if (leader === '') return
    const name = this.members('lan').find(({ tags }) => tags.id === leader)?.name ?? leader
    this.#io.log('info', 'consul', `New leader elected: ${name}`)
  }

  /** Resolves when a comparison that began after this call has ended, at once without a leader, and after a moment. */
  #synced(): Promise<void> {
    if (this.#following.leader === '' || this.#stopped) return Promise.resolve()
    const run = this.#syncsBegun + 1
    const now = this.#io.clock.now()
    const ended = new Promise<void>((resolve) => this.#awaitingSync.add({ run, resolve }))
    this.#sync.wake()
    this.#sync.tick(now)
    return Promise.race([ended, this.#deadlines.until(now + settleWait)])
  }

  #syncEnded(run: number): void {
    for (const waiting of [...this.#awaitingSync]) {
      if (waiting.run > run) continue
      this.#awaitingSync.delete(waiting)
      waiting.resolve()
    }
  }

  /**
   * Old news that this agent had left or failed, or a wrong word to the catalog, takes what is registered here away from
   * everybody: that shall not last until the next full comparison. Rows that only differ can wait for it, or two who
   * disagree would write for ever.
   */
  #onOwnRows(): void {
    if (this.#rowsLost || this.#left || this.#stopped) return
    const known = this.#store.node(this.#options.name).value
    const held = new Set(known?.services.map(({ id }) => id))
    if (this.#awaitsConsul() && held.has(consulServiceId)) this.#sync.wake()
    if (known !== undefined && this.local.services().every(({ definition }) => held.has(definition.id))) return
    this.#rowsLost = true
    this.#deadlines.at(this.#io.clock.now() + lostRowsPause, () => {
      this.#rowsLost = false
      this.#sync.wake()
    })
  }

  #syncReconciler(): Reconciler {
    const sync = new Sync({
      node: () => this.#node(),
      server: this.#options.server,
      local: this.#local,
      view: async () => {
        if (this.#following.leader === '') throw new NoLeader()
        return (await this.read('default')).view
      },
      write: (command) => this.write(command),
      now: () => this.#io.clock.now(),
      log: this.#io.log,
      outputInterval: this.#options.checkUpdateInterval,
    })
    this.#awaitsConsul = () => sync.awaitsConsul
    return new Reconciler({
      work: async () => {
        const run = ++this.#syncsBegun
        try {
          await sync.run()
        } finally {
          // One that failed will be run again; nobody who registered should wait for that.
          this.#syncEnded(run)
        }
      },
      every: fullSyncInterval,
      backOffMin: 1_000,
      backOffMax: 15_000,
      random: this.#io.random,
      onFailure: () => {},
    })
  }

  #leaderReconciler(replica: Replica): Reconciler {
    const duties = new Leader({
      io: this.#io,
      situation: async () => {
        await this.read('consistent')
        const statuses = await askStatuses(this.#peers, this.#servers(), replica.status.configuration)
        const members = this.members('lan')
        const names = new Set(members.map(({ name }) => name.toLowerCase()))
        const nodes = this.#store.nodes().value.map(({ name }) => name)
        const now = this.#io.clock.now()
        const { configuration } = replica.status
        const ids = configuration.servers.map(({ id }) => id)
        const known = new Set(members.map(({ tags }) => tags.id ?? ''))
        const unheardOf = this.#serverAbsences.look(ids, known, now)
        if (ids.some((id) => !known.has(id) && !unheardOf(id))) {
          this.#deadlines.at(now + serverAbsenceMax, () => this.#leader?.wake())
        }
        return {
          datacenter: this.#options.datacenter,
          self: this.#nodeFile.id,
          members,
          view: this.#store,
          configuration,
          leaving: new Set(this.#leaving.keys()),
          statuses,
          commit: replica.status.commit,
          gone: this.#absences.look(nodes, names, now),
          unheardOf,
        }
      },
      write: (command) => this.#forward.lead(encodeCommand(command)),
      change: (change: ServerChange) => replica.changeServers(change),
    })
    return new Reconciler({
      work: async () => {
        if (!this.#following.leading) return
        const changed = await duties.run()
        if (changed) this.#leader?.wake()
        else if (this.#mayVoteSoon(replica)) this.#lookAgainSoon()
      },
      every: leaderInterval,
      backOffMin: 200,
      backOffMax: 5_000,
      random: this.#io.random,
      onFailure: (error) => {
        if (error instanceof NotLeader) return
        this.#io.log('warn', 'consul', `the leader's duties wait: ${(error as Error).message}`)
      },
    })
  }

  /** A living server that does not vote: it catches up, or did not say whose it is yet, or has left a moment ago. */
  #mayVoteSoon(replica: Replica): boolean {
    const voters = new Set(replica.status.configuration.servers.flatMap(({ id, voter }) => (voter ? [id] : [])))
    return this.#servers().some(({ id }) => !voters.has(id))
  }

  #lookAgainSoon(): void {
    if (this.#lookingAgain) return
    this.#lookingAgain = true
    this.#deadlines.at(this.#io.clock.now() + promoteInterval, () => {
      this.#lookingAgain = false
      this.#leader?.wake()
    })
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
      servers: () => this.#servers(),
      begin: (configuration) => replica.bootstrap(configuration),
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

  async #letGo(id: NodeId): Promise<void> {
    const replica = this.#replica
    if (replica === undefined || !this.#following.leading) throw new NotLeader()
    this.#leaving.set(id, this.#io.clock.now() + leavingLasts)
    const listed = () => replica.status.configuration.servers.some((server) => server.id === id)
    while (listed() && this.#leaving.has(id)) {
      try {
        await replica.changeServers({ type: 'remove', id })
      } catch (error) {
        // One change at a time: the one under way may well be this.
        if (!(error instanceof Busy) || this.#stopped) throw error
        await this.#deadlines.until(this.#io.clock.now() + letGoPause)
      }
    }
    // It may be back already.
    this.#leader?.wake()
  }

  #reap(now: Millis): void {
    const upTo = this.#tombstones.due(now, this.#following.applied)
    if (upTo === undefined) return
    this.#forward.lead(encodeCommand({ type: 'tombstones.reap', upTo })).then(
      ({ index }) => this.#tombstones.reaped(index),
      (error: Error) => this.#io.log('debug', 'consul', `forgetting deletions: ${error.message}`),
    )
  }

  async #untilOr(act: Promise<unknown>, wait: Millis): Promise<void> {
    await Promise.race([act.catch(() => undefined), this.#deadlines.until(this.#io.clock.now() + wait)])
  }

  #expectRunning(): void {
    if (this.#stopped) throw new Stopped()
  }
}
