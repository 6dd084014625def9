/**
 * The gossip pools of one agent: everybody of its datacenter in `lan`, the servers of all datacenters in `wan`. Says who is
 * there, joins and leaves, writes down whom to ask after a restart, and logs what happens in Serf's words.
 */
import { Refused } from '../errors.ts'
import { Gossip, type GossipEvent, lanConfig, wanConfig } from '../gossip/gossip.ts'
import { addressText } from '../io/address.ts'
import type { Io, Network } from '../io/io.ts'
import { Repeats } from '../io/repeats.ts'
import type { Member, Millis, NodeName } from '../model.ts'
import { type Candidate, serverOf } from './bootstrap.ts'
import type { Deadlines } from './deadlines.ts'
import { joinTargets } from './join-targets.ts'
import type { Keyrings } from './keyring-file.ts'
import { Membership } from './membership.ts'
import type { NodeFile } from './node-file.ts'
import type { AgentOptions } from './options.ts'
import { unreachable } from './reach.ts'
import { SealedChannel } from './sealed.ts'
import type { Pool } from './surface.ts'
import { WanJoins } from './wan-joins.ts'

export interface PoolsOptions {
  io: Io
  deadlines: Deadlines
  nodeFile: NodeFile
  keyrings: Keyrings
  agent: AgentOptions
  /** After it was logged. */
  onEvent(pool: Pool, event: GossipEvent): void
}

const membersKept = 64
/** When a hundred come at once, the disk is not written for each. */
const keepPause: Millis = 5_000
/** Gossip is sure of the death of somebody by then, also where few are left to confirm it. */
const refusedMax: Millis = 120_000
const rejoinInterval: Millis = 5_000

export class Pools {
  readonly #options: PoolsOptions
  readonly #repeats: Repeats
  readonly lan: Membership
  /** Servers only. */
  readonly wan: Membership | undefined
  /** What the pools talk through. */
  readonly channels: { readonly lan: SealedChannel; readonly wan: SealedChannel | undefined }
  readonly #wanJoins: WanJoins | undefined
  #left = false
  #stopped = false
  #keepsSoon = false

  constructor(options: PoolsOptions) {
    this.#options = options
    this.#repeats = new Repeats(options.io.log)
    const { verifyIncoming = true, verifyOutgoing = true } = options.agent.encrypt ?? {}
    const channel = (pool: Pool) =>
      new SealedChannel(options.io, pool, options.keyrings[pool]?.keyring, { verifyIncoming, verifyOutgoing })
    this.channels = { lan: channel('lan'), wan: options.agent.server ? channel('wan') : undefined }
    const open = (pool: Pool, network: Network) =>
      new Membership({ ...options.io, network }, pool, this.#gossip(pool), (event) => {
        this.#log(pool, event)
        if (pool === 'lan' && 'member' in event) this.#keepMembers()
        if ('member' in event && pool === 'wan') this.#wanJoins?.onWanChange()
        else if ('member' in event) this.#wanJoins?.wake()
        options.onEvent(pool, event)
      })
    this.lan = open('lan', this.channels.lan)
    this.wan = this.channels.wan && open('wan', this.channels.wan)
    const { io, deadlines, nodeFile, agent } = options
    this.#wanJoins =
      this.wan &&
      new WanJoins({
        io,
        deadlines,
        datacenter: agent.datacenter,
        self: agent.name,
        wan: this.wan,
        lan: () => this.members('lan'),
        join: (address) => this.join([address], 'wan'),
        knownBefore: nodeFile.wan,
        keep: (known) => {
          if (!this.#left) void nodeFile.keepWan(known)
        },
      })
  }

  /** Says what has to be said at the start: the events of our own joining. */
  start(): void {
    this.lan.start()
    this.wan?.start()
  }

  tick(): void {
    this.#repeats.tick(this.#options.io.clock.now())
    this.channels.lan.tick()
    this.channels.wan?.tick()
    this.lan.tick()
    this.wan?.tick()
  }

  members(pool: Pool): Member[] {
    return (pool === 'lan' ? this.lan : this.wan)?.members() ?? []
  }

  /** Alive servers of this datacenter, in name order. */
  servers(): Candidate[] {
    return this.members('lan').flatMap((member) => {
      const server = serverOf(member, this.#options.agent.datacenter)
      return server !== undefined && isLive(member) ? [server] : []
    })
  }

  /** Alive members of this datacenter besides ourselves. */
  others(): Member[] {
    return this.members('lan').filter((member) => member.name !== this.#options.agent.name && isLive(member))
  }

  /** Known datacenters in name order, our own among them. */
  datacenters(): string[] {
    const others = this.members('wan').flatMap(({ tags, status }) => (status === 'left' ? [] : [tags.dc ?? '']))
    return [...new Set([this.#options.agent.datacenter, ...others.filter((dc) => dc !== '')])].sort()
  }

  /** `host`, `host:port` or `[v6]:port`. Resolves to how many answered. @throws AggregateError when none did */
  async join(addresses: readonly string[], pool: Pool): Promise<number> {
    const membership = pool === 'lan' ? this.lan : this.wan
    if (membership === undefined) throw new Refused('Must be a server to join WAN cluster')
    const port = this.#options.agent.advertise[pool].port
    const { targets, failures: unknown } = await joinTargets(addresses, port, this.#options.agent.resolve)
    const outcomes = await Promise.allSettled(targets.map((target) => membership.join(target)))
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as Error] : []))
    const failures = [...unknown, ...refused]
    const joined = outcomes.length - refused.length
    if (joined === 0 && failures.length > 0) {
      const count = failures.length === 1 ? '1 error' : `${failures.length} errors`
      const list = failures.map(({ message }) => `\t* ${message}\n`).join('')
      throw new AggregateError(failures, `${count} occurred:\n${list}\n`)
    }
    return joined
  }

  /** How many members this agent knew before it was stopped; 0 for a fresh one. */
  get knownBefore(): number {
    return this.#addressesBefore().length
  }

  /**
   * Asks the members of former times for their company. Not only until somebody was found: who believes that we live where
   * we were refuses us until it is sure that we do not, and may know nobody else who would look for it.
   */
  async rejoin(): Promise<void> {
    void this.#wanJoins?.rejoin()
    const { io, deadlines } = this.#options
    const known = this.#addressesBefore()
    const until = io.clock.now() + refusedMax
    let missing = known
    let said = false
    while (missing.length > 0 && !this.#stopped && !this.#left) {
      const joined = await this.join(missing, 'lan').catch(() => 0)
      const found = new Set(this.others().map(({ address }) => addressText(address)))
      missing = missing.filter((address) => !found.has(address))
      if (joined > 0 || found.size > 0) {
        if (!said) io.log('info', 'serf', `Re-joined to previously known nodes: ${joined} of ${known.length} answered`)
        said = true
        if (io.clock.now() >= until) return
      }
      await deadlines.until(io.clock.now() + rejoinInterval)
    }
  }

  /** From now on nobody is written down for a return. Resolves when our leaving was told to others. */
  async leave(): Promise<void> {
    this.#left = true
    this.#wanJoins?.stop()
    await Promise.all([this.wan?.leave(), this.lan.leave()])
  }

  /** False: no such member. */
  forceLeave(name: NodeName, prune: boolean): boolean {
    const known = this.lan.forceLeave(name, prune)
    this.wan?.forceLeave(`${name}.${this.#options.agent.datacenter}`, prune)
    // The name of a server elsewhere has its datacenter in it.
    return this.wan?.forceLeave(name, prune) === true || known
  }

  stop(): void {
    this.#stopped = true
    this.#wanJoins?.stop()
  }

  #gossip(pool: Pool): Gossip {
    const { name, datacenter, advertise, gossip } = this.#options.agent
    const { io } = this.#options
    return new Gossip(
      {
        name: pool === 'lan' ? name : `${name}.${datacenter}`,
        address: advertise[pool],
        tags: this.#tags(pool),
        config: { ...(pool === 'lan' ? lanConfig : wanConfig), ...gossip?.[pool] },
        random: io.random,
        allow: (member, tags) => stranger(pool, datacenter, member, tags),
      },
      io.clock.now(),
    )
  }

  #tags(pool: Pool): Record<string, string> {
    const { server, datacenter, bootstrap, bootstrapExpect, advertise, version } = this.#options.agent
    const { id } = this.#options.nodeFile
    const common = { dc: datacenter, id, build: `${version}:`, vsn: '2', vsn_min: '2', vsn_max: '3' }
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

  /** Where somebody else may be. An agent that has come to the address of another would find itself there, and be content. */
  #addressesBefore(): string[] {
    const { nodeFile, agent } = this.#options
    return nodeFile.members.filter((address) => address !== addressText(agent.advertise.lan))
  }

  /** The first ones at once, what changes later a little later, and when the agent stops. */
  #keepMembers(): void {
    const { io, deadlines, nodeFile } = this.#options
    if (nodeFile.members.length === 0) this.#keepMembersNow()
    else if (!this.#keepsSoon) {
      this.#keepsSoon = true
      deadlines.at(io.clock.now() + keepPause, () => {
        this.#keepsSoon = false
        this.#keepMembersNow()
      })
    }
  }

  #keepMembersNow(): void {
    if (this.#left) return
    const others = this.others()
    // Everybody silent is how being cut off looks: then what we knew before is worth more.
    if (others.length === 0) return
    // Servers first: they stay longest.
    const rank = (member: Member) => Number(serverOf(member, this.#options.agent.datacenter) === undefined)
    const kept = others.sort((a, b) => rank(a) - rank(b)).slice(0, membersKept)
    // Our own, too: when all have come to other addresses, another may be where we were.
    const addresses = [...kept.map(({ address }) => address), this.#options.agent.advertise.lan]
    void this.#options.nodeFile.keepMembers(addresses.map(addressText))
  }

  #logRefuted(pool: Pool, name: string): void {
    const { io, agent } = this.#options
    if (name !== (pool === 'lan' ? agent.name : `${agent.name}.${agent.datacenter}`)) {
      io.log('info', 'serf', `${name} refutes the suspicion`)
      return
    }
    const words =
      `Refuting a suspicion: others got no answer from this agent at ${addressText(agent.advertise[pool])}; ` +
      'if this goes on, see that UDP and TCP get through to it, or choose another -advertise'
    this.#repeats.warn(words, io.clock.now(), 'serf', words)
  }

  #log(pool: Pool, event: GossipEvent): void {
    const { log } = this.#options.io
    if ('member' in event) {
      const { member } = event
      log('info', 'serf', `EventMember${memberWords[event.type]}: ${member.name} ${member.address.host}`)
      const { datacenter, advertise, name } = this.#options.agent
      const own = member.name === name || member.name === `${name}.${datacenter}`
      const doubt = own || event.type !== 'join' ? undefined : unreachable(advertise[pool], member.address, member.name)
      if (doubt !== undefined) this.#repeats.warn(doubt, this.#options.io.clock.now(), 'serf', doubt)
      const theirs = pool === 'lan' ? datacenter : (member.tags.dc ?? '')
      const server = serverOf(member, theirs)
      if (server !== undefined && event.type !== 'update') {
        const where = `${member.name} (Addr: ${addressText(server.rpc)}) (DC: ${theirs})`
        log('info', 'consul', `${event.type === 'join' ? 'adding' : 'removing'} ${pool.toUpperCase()} server ${where}`)
      }
    } else if (event.type === 'warning') log('warn', 'serf', event.reason)
    else if (event.type === 'suspect') log('info', 'serf', `Suspect ${event.name} has failed, no acks received`)
    else if (event.type === 'refuted') this.#logRefuted(pool, event.name)
    else if (event.type === 'conflict') {
      const { name, ours, other } = event
      const addresses = `${addressText(ours.address)} and ${addressText(other.address)}`
      log('warn', 'serf', `Conflicting address for ${name}: ${addresses}`)
    }
  }
}

/** Why that member does not belong into the pool; undefined: it does. Both sides hear it. */
function stranger(pool: Pool, datacenter: string, name: string, tags: Record<string, string>): string | undefined {
  // Servers say in the LAN pool where their WAN port is, and only there.
  const ofLan = tags.role !== 'consul' || tags.wan_join_port !== undefined
  if (pool === 'wan') {
    if (!ofLan) return undefined
    return `"${name}" is of a LAN pool and this is a WAN port: join a gossip port (8301), or from a server with -wan`
  }
  if (!ofLan) return `"${name}" is of the WAN pool and this is a LAN port: join the WAN port of a server (8302)`
  if (tags.dc === datacenter) return undefined
  return `it is of datacenter "${tags.dc}" and this pool of "${datacenter}": start it with -datacenter=${datacenter}, or join servers with -join-wan`
}

const memberWords = { join: 'Join', leave: 'Leave', failed: 'Failed', update: 'Update', reap: 'Reap' } as const

export const isLive = ({ status }: Pick<Member, 'status'>) => status === 'alive' || status === 'suspect'
