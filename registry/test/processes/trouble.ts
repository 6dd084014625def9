/** What is done to real agents: signals to their processes, and to the network between them by the proxy. */
import type { Random } from '../../src/io/random.ts'
import { type Cluster, type Host, until } from './cluster.ts'
import type { FaultProxy } from './proxy.ts'

const pause = (milliseconds: number) => new Promise((over) => setTimeout(over, milliseconds))

/** Somebody in a running cluster, chosen when it comes to it. */
type Victim = 'leader' | 'follower'

export class Trouble {
  readonly #cluster: Cluster
  readonly #proxy: FaultProxy
  readonly #random: Random
  /** What was done, for the message of a failing test. */
  readonly story: string[] = []
  readonly #began = performance.now()

  constructor(cluster: Cluster, proxy: FaultProxy, random: Random) {
    this.#cluster = cluster
    this.#proxy = proxy
    this.#random = random
  }

  async kill(victim: Victim, away: number): Promise<void> {
    const host = await this.#find(victim)
    this.#say(`${host.name} (${victim}) is killed for ${away} ms`)
    await host.process?.signal('SIGKILL')
    await pause(away)
    host.start('-server')
  }

  async killAll(away: number): Promise<void> {
    this.#say(`all are killed for ${away} ms`)
    await Promise.all(this.#cluster.hosts.map(({ process }) => process?.signal('SIGKILL')))
    await pause(away)
    for (const host of this.#cluster.hosts) host.start('-server')
  }

  /** It stands still, and then goes on as if nothing had happened. */
  async freeze(victim: Victim, time: number): Promise<void> {
    const host = await this.#find(victim)
    this.#say(`${host.name} (${victim}) stands still for ${time} ms`)
    host.process?.child.kill('SIGSTOP')
    await pause(time)
    host.process?.child.kill('SIGCONT')
  }

  async isolate(victim: Victim, time: number): Promise<void> {
    const host = await this.#find(victim)
    this.#say(`${host.name} (${victim}) is cut off for ${time} ms`)
    this.#proxy.isolate(host)
    await pause(time)
    this.#proxy.heal()
  }

  /** What it sends does not arrive. */
  async mute(victim: Victim, time: number): Promise<void> {
    const host = await this.#find(victim)
    this.#say(`${host.name} (${victim}) is not heard for ${time} ms`)
    this.#proxy.set([host], this.#cluster.hosts, { cut: true })
    await pause(time)
    this.#proxy.heal()
  }

  /** What is sent to it does not arrive. */
  async deafen(victim: Victim, time: number): Promise<void> {
    const host = await this.#find(victim)
    this.#say(`${host.name} (${victim}) hears nothing for ${time} ms`)
    this.#proxy.set(this.#cluster.hosts, [host], { cut: true })
    await pause(time)
    this.#proxy.heal()
  }

  /** Everything is slow, a third of the datagrams is lost, and connections break again and again. */
  async storm(time: number): Promise<void> {
    this.#say(`the network is bad for ${time} ms`)
    const { hosts } = this.#cluster
    this.#proxy.set(hosts, hosts, { delayMin: 5, delayMax: 60, loss: 0.3 })
    for (let turn = 0; turn < 4; turn++) {
      await pause(time / 4)
      this.#proxy.reset()
    }
    this.#proxy.heal()
  }

  /** Something of all that, for a while. */
  async anything(): Promise<void> {
    const random = this.#random
    const victim: Victim = random.chance(0.7) ? 'leader' : 'follower'
    const time = random.between(200, 5000)
    const kinds = [
      'kill',
      'kill',
      'freeze',
      'freeze',
      'isolate',
      'isolate',
      'mute',
      'deafen',
      'storm',
      'killAll',
    ] as const
    const kind = random.pick(kinds)!
    if (kind === 'storm' || kind === 'killAll') await this[kind](kind === 'storm' ? time : time / 4)
    else await this[kind](victim, time)
    // Not always: the next may come while the cluster still limps.
    if (random.chance(0.5)) await this.well()
    else await pause(random.between(0, 1500))
  }

  /** All run, and one leader is known to all of them. */
  async well(): Promise<void> {
    await this.#cluster.settled()
  }

  async #find(victim: Victim): Promise<Host> {
    const find = async () => {
      for (const asked of this.#cluster.hosts) {
        if (!asked.runs) continue
        const leader = await asked.leader().catch(() => '')
        const found = this.#cluster.hosts.find(
          ({ advertised, runs }) => runs && (`${advertised}:8300` === leader) === (victim === 'leader'),
        )
        if (leader !== '' && found !== undefined) return found
      }
      return undefined
    }
    return until(`a ${victim}`, find, 20_000)
  }

  #say(what: string): void {
    this.story.push(`${((performance.now() - this.#began) / 1000).toFixed(1).padStart(7)} s  ${what}`)
  }
}
