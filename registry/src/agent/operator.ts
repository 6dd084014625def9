/**
 * What operators ask of the servers: who is in the Raft configuration, how well each is, and to take one out. The leader
 * answers, wherever it is asked; who is in the configuration is told by any server when that may be old.
 */
import { BadRequest, NoLeader, NotLeader, Refused } from '../errors.ts'
import { addressText } from '../io/address.ts'
import type { Millis, NodeId } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import type { HealthReport } from './autopilot.ts'
import { serverOf } from './bootstrap.ts'
import type { Following } from './following.ts'
import { withoutFormerNames } from './former-names.ts'
import type { Forward } from './forward.ts'
import type { Leading } from './leading.ts'
import type { Peers } from './peers.ts'
import type { Pools } from './pools.ts'

/** A server of the Raft configuration. */
export interface RaftServer {
  id: NodeId
  /** '' when gossip knows no member of this id. */
  name: string
  /** `host:port` of its rpc channel. */
  address: string
  leader: boolean
  voter: boolean
}

export interface OperatorSurface {
  /** `stale`: as any server knows it. @throws NoLeader */
  servers(stale: boolean): Promise<RaftServer[]>
  /**
   * Takes a server out of the Raft configuration. One that is alive is taken in again by and by, as a learner.
   * @throws Refused when there is none such, MajorityUnheard when those left would be too few that are there, NoLeader
   */
  removeServer(which: { id: NodeId } | { address: string }): Promise<void>
  /** @throws NoLeader */
  health(): Promise<HealthReport>
}

/** What one agent asks another. */
interface ServersRequest {
  cluster: string
  stale: boolean
}
interface RemoveRequest {
  cluster: string
  id: NodeId
}
interface HealthRequest {
  cluster: string
}

export interface OperatorOptions {
  forward: Forward
  following: Following
  peers: Peers
  pools: Pools
  datacenter: string
  /** Of servers. */
  replica: Replica | undefined
  leading: Leading | undefined
}

const staleTimeout: Millis = 1_000

export class Operator implements OperatorSurface {
  readonly #options: OperatorOptions

  constructor(options: OperatorOptions) {
    this.#options = options
    if (options.replica !== undefined) this.#serve(options.peers)
  }

  async servers(stale: boolean): Promise<RaftServer[]> {
    const { forward, following, peers, pools, replica } = this.#options
    const { cluster } = following
    if (stale && replica !== undefined && cluster !== '') return this.#known(replica)
    const request: ServersRequest = { cluster, stale }
    if (stale) {
      for (const { rpc } of pools.servers()) {
        const reply = await peers.ask(rpc, 'servers', request, staleTimeout).catch(() => undefined)
        if (reply !== undefined) return reply as RaftServer[]
      }
    }
    const lead = () => this.#lead((leader) => this.#known(leader))
    return (await forward.ask('servers', { ...request, stale: false }, lead)) as RaftServer[]
  }

  async removeServer(which: { id: NodeId } | { address: string }): Promise<void> {
    const { forward, following } = this.#options
    const servers = await this.servers(false)
    const found = servers.find((server) => ('id' in which ? server.id === which.id : server.address === which.address))
    if (found === undefined) {
      const words = 'id' in which ? `id ${JSON.stringify(which.id)}` : `address ${JSON.stringify(which.address)}`
      throw new Refused(`${words} was not found in the Raft configuration`)
    }
    const request: RemoveRequest = { cluster: following.cluster, id: found.id }
    await forward.ask('removeServer', request, () => this.#remove(found.id))
  }

  async health(): Promise<HealthReport> {
    const { forward, following } = this.#options
    const request: HealthRequest = { cluster: following.cluster }
    return (await forward.ask('health', request, () => this.#health())) as HealthReport
  }

  #serve(peers: Peers): void {
    const { forward, following, replica } = this.#options
    const meant = <T extends { cluster: string }>(body: unknown): T => {
      const request = body as T
      if (typeof request?.cluster !== 'string') throw new BadRequest('expected a request that names its cluster')
      forward.expectCluster(request.cluster)
      return request
    }
    peers.answer('servers', async (body) => {
      const { stale } = meant<ServersRequest>(body)
      if (!stale) return this.#lead((leader) => this.#known(leader))
      if (following.cluster === '' || replica === undefined) throw new NoLeader()
      return this.#known(replica)
    })
    peers.answer('removeServer', async (body) => {
      const { id } = meant<RemoveRequest>(body)
      if (typeof id !== 'string') throw new BadRequest('expected the id of a server')
      await this.#remove(id)
      return true
    })
    peers.answer('health', (body) => {
      meant<HealthRequest>(body)
      return this.#health()
    })
  }

  #known({ status: { configuration, leader } }: Replica): RaftServer[] {
    const { pools, datacenter } = this.#options
    const names = new Map(
      withoutFormerNames(pools.members('lan')).flatMap((member) => {
        const server = serverOf(member, datacenter)
        return server === undefined ? [] : [[addressText(server.rpc), member.name] as const]
      }),
    )
    return configuration.servers.map(({ id, address, voter }) => ({
      id,
      name: names.get(address) ?? '',
      address,
      leader: id === leader,
      voter,
    }))
  }

  async #remove(id: NodeId): Promise<void> {
    await this.#lead(() => this.#options.leading?.remove(id))
  }

  async #health(): Promise<HealthReport> {
    return this.#lead(() => this.#options.leading?.health() as HealthReport)
  }

  /** When it is certain that this server leads. @throws NotLeader */
  async #lead<T>(act: (replica: Replica) => T): Promise<Awaited<T>> {
    const { forward, replica } = this.#options
    await forward.leadRead(false)
    if (replica === undefined) throw new NotLeader()
    return await act(replica)
  }
}
