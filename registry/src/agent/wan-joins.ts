/**
 * What keeps the WAN pool of servers together without anybody's doing: the servers of one datacenter bring each other into
 * it ("flooding", as Consul), and a server that was restarted looks for the datacenters it knew.
 */
import { addressText } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type { Address, Member, Millis } from '../model.ts'
import { serverOf } from './bootstrap.ts'
import type { Deadlines } from './deadlines.ts'
import type { Membership } from './membership.ts'
import { isLive } from './pools.ts'

/** A server of another datacenter, or of ours, as it was last seen in the WAN pool. */
export interface WanAddress {
  datacenter: string
  /** `host:port` of its wan channel. */
  address: string
}

export interface WanJoinsOptions {
  io: Pick<Io, 'clock' | 'log'>
  deadlines: Deadlines
  datacenter: string
  self: string
  wan: Membership
  /** Members of our datacenter. */
  lan(): Member[]
  join(address: string): Promise<unknown>
  /** Servers of other datacenters that were known when this agent was last running. */
  knownBefore: readonly WanAddress[]
  /** Writes down whom to look for after the next start. */
  keep(known: WanAddress[]): void
}

const floodPause: Millis = 500
const floodAgain: Millis = 10_000
const rejoinMin: Millis = 1_000
const rejoinMax: Millis = 60_000
const keptMax = 64
/** A server may come into the WAN pool before it is in the LAN pool. */
const strangerPause: Millis = 30_000

export class WanJoins {
  readonly #options: WanJoinsOptions
  #flooding = false
  #looking = false
  /** Servers that were complained of. */
  readonly #strangers = new Set<string>()
  #stopped = false

  constructor(options: WanJoinsOptions) {
    this.#options = options
  }

  stop(): void {
    this.#stopped = true
  }

  /** Something changed in either pool. */
  wake(): void {
    if (this.#flooding || this.#stopped || this.#missing().length === 0) return
    this.#flooding = true
    void this.#flood()
  }

  /** Someone came into the WAN pool, left it or failed in it. */
  onWanChange(): void {
    if (!this.#stopped) this.#options.keep(this.#kept())
    this.wake()
    this.#lookForStrangers()
  }

  /** Sites that were both left at the default, or given one name by mistake, do not reach each other, and nothing else tells. */
  #lookForStrangers(): void {
    const { io, deadlines, datacenter } = this.#options
    if (this.#looking || this.#strangersNow().length === 0) return
    this.#looking = true
    deadlines.at(io.clock.now() + strangerPause, () => {
      this.#looking = false
      if (this.#stopped || deadlines.stopped) return
      for (const name of this.#strangersNow()) {
        this.#strangers.add(name)
        const what = `${name} in the WAN pool says it is of datacenter "${datacenter}", as this server is, and is not in its LAN pool`
        io.log('warn', 'consul', `${what}: are these two datacenters of one name? Give one another with -datacenter`)
      }
    })
  }

  /** Living servers of the WAN pool under our datacenter's name that our LAN pool never heard of, not complained of yet. */
  #strangersNow(): string[] {
    const { datacenter, self, lan, wan } = this.#options
    const known = new Set([self, ...lan().map(({ name }) => name)].map((name) => `${name}.${datacenter}`))
    return wan
      .members()
      .filter((member) => member.tags.dc === datacenter && isLive(member))
      .flatMap(({ name }) => (known.has(name) || this.#strangers.has(name) ? [] : [name]))
  }

  /** Looks for the datacenters of former times until somebody of each is there. */
  async rejoin(): Promise<void> {
    const { io, deadlines, join, knownBefore } = this.#options
    let pause = rejoinMin
    for (let attempt = 1; !this.#stopped && !deadlines.stopped; attempt++) {
      const missing = knownBefore.filter(({ datacenter }) => !this.#isThere(datacenter))
      if (missing.length === 0) return
      const names = [...new Set(missing.map(({ datacenter }) => datacenter))].join(', ')
      if (attempt === 1) io.log('info', 'serf', `Attempting re-join to previously known datacenters: ${names}`)
      await Promise.all(missing.map(({ address }) => join(address).catch(() => 0)))
      await deadlines.until(io.clock.now() + pause)
      pause = Math.min(pause * 2, rejoinMax)
    }
  }

  async #flood(): Promise<void> {
    const { io, deadlines, join } = this.#options
    let pause = floodPause
    while (!this.#stopped && !deadlines.stopped) {
      const missing = this.#missing()
      if (missing.length === 0) break
      for (const { name, address } of missing) {
        try {
          await join(addressText(address))
          io.log('debug', 'consul', `Successfully performed flood-join for server ${name}`)
        } catch (error) {
          io.log('debug', 'consul', `Failed to flood-join server ${name}: ${(error as Error).message}`)
        }
      }
      await deadlines.until(io.clock.now() + pause)
      pause = Math.min(pause * 2, floodAgain)
    }
    this.#flooding = false
  }

  /** Living servers of our datacenter that the WAN pool does not have, where their tags say they are. */
  #missing(): { name: string; address: Address }[] {
    const { datacenter, self, lan, wan } = this.#options
    return lan().flatMap((member) => {
      const port = Number(member.tags.wan_join_port ?? 0)
      const here = member.name === self || !isLive(member) || serverOf(member, datacenter) === undefined
      if (here || !(port > 0 && port < 65_536)) return []
      const known = wan.gossip.get(`${member.name}.${datacenter}`)
      return known !== undefined && isLive(known)
        ? []
        : [{ name: member.name, address: { host: member.address.host, port } }]
    })
  }

  #isThere(datacenter: string): boolean {
    return this.#options.wan.members().some((member) => member.tags.dc === datacenter && isLive(member))
  }

  /**
   * Whoever is there; of a datacenter that is silent, whoever was, for it may come back; and of one that we have not found
   * again yet, whom we knew.
   */
  #kept(): WanAddress[] {
    const { wan, datacenter, knownBefore } = this.#options
    const members = wan.members().filter(({ tags }) => tags.dc !== undefined && tags.dc !== datacenter)
    const known = (member: Member) => ({ datacenter: member.tags.dc ?? '', address: addressText(member.address) })
    const live = members.filter(isLive)
    const silent = members.filter(({ status }) => status === 'failed')
    const heardOf = new Set(members.map(({ tags }) => tags.dc))
    const before = knownBefore.filter((each) => !heardOf.has(each.datacenter))
    return [...live.map(known), ...silent.map(known), ...before].slice(0, keptMax)
  }
}
