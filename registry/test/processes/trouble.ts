/** What is done to real agents: signals to their processes, and to the network between them by the proxy. */
import type { Random } from '../../src/io/random.ts'
import { type Cluster, type Host, until } from './cluster.ts'
import type { FaultProxy } from './proxy.ts'

const pause = (milliseconds: number) => new Promise((over) => setTimeout(over, milliseconds))

/** Somebody in a running cluster, chosen when it comes to it. */
type Victim = 'leader' | 'follower'

/** Clients who act when it matters most: each of these is a question for every key, at that host, at once. */
export interface Bystanders {
  read(host: Host): void
  write(host: Host): void
}

export class Trouble {
  readonly #cluster: Cluster
  readonly #proxy: FaultProxy
  readonly #random: Random
  readonly #clients: Bystanders
  /** What was done, for the message of a failing test. */
  readonly story: string[] = []
  readonly #began = performance.now()

  constructor(cluster: Cluster, proxy: FaultProxy, random: Random, clients: Bystanders) {
    this.#clients = clients
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
    this.#resume(host)
  }

  /**
   * The leader stands still and is cut off, so that it hears of its successor as late as can be: what it finds first when
   * it goes on are questions that came when others had written already.
   */
  async supersede(): Promise<void> {
    const host = await this.#find('leader')
    this.#say(`${host.name} (leader) stands still and is cut off until others write`)
    this.#proxy.isolate(host)
    host.process?.child.kill('SIGSTOP')
    const others = this.#cluster.hosts.filter((other) => other !== host && other.runs)
    await until('a successor', async () => {
      const [one, ...rest] = await Promise.all(others.map((other) => other.leader().catch(() => '')))
      return one !== '' && one !== `${host.advertised}:8300` && rest.every((each) => each === one)
    }).catch(() => {})
    await pause(1000)
    this.#resume(host)
    await pause(700)
    this.#proxy.heal()
  }

  async isolate(victim: Victim, time: number): Promise<void> {
    const host = await this.#find(victim)
    this.#say(`${host.name} (${victim}) is cut off for ${time} ms`)
    this.#proxy.isolate(host)
    await this.#writeAcross(host, time)
    this.#proxy.heal()
  }

  /** What it sends does not arrive. */
  async mute(victim: Victim, time: number): Promise<void> {
    const host = await this.#find(victim)
    this.#say(`${host.name} (${victim}) is not heard for ${time} ms`)
    this.#proxy.set([host], this.#cluster.hosts, { cut: true })
    await this.#writeAcross(host, time)
    this.#proxy.heal()
  }

  /** What is sent to it does not arrive. */
  async deafen(victim: Victim, time: number): Promise<void> {
    const host = await this.#find(victim)
    this.#say(`${host.name} (${victim}) hears nothing for ${time} ms`)
    this.#proxy.set(this.#cluster.hosts, [host], { cut: true })
    await this.#writeAcross(host, time)
    this.#proxy.heal()
  }

  /** Everything is slow, a third of the datagrams is lost, and connections break again and again. */
  async storm(time: number): Promise<void> {
    this.#say(`the network is bad for ${time} ms`)
    const { hosts } = this.#cluster
    this.#proxy.set(hosts, hosts, { delayMin: 5, delayMax: 60, loss: 0.3 })
    // Whoever does not lead learns late what is committed; many ask one of them, some while others wait already.
    const asked = await this.#find('follower')
    const turns = 40
    for (let turn = 1; turn <= turns; turn++) {
      await pause(time / turns)
      if (turn % 4 === 1) this.#clients.read(asked)
      if (turn % (turns / 4) === 0) this.#proxy.reset()
    }
    this.#proxy.heal()
  }

  /** Something of all that, for a while. */
  async anything(): Promise<void> {
    const random = this.#random
    const victim: Victim = random.chance(0.7) ? 'leader' : 'follower'
    const time = random.between(200, 5000)
    const acts = [
      () => this.kill(victim, time),
      () => this.kill(victim, Math.round(time / 10)),
      () => this.killAll(Math.round(time / 4)),
      () => this.freeze(victim, time),
      () => this.supersede(),
      () => this.isolate(victim, time),
      () => this.mute(victim, time),
      () => this.deafen(victim, time),
      () => this.storm(time),
    ]
    await random.pick(acts)!()
    // Not always: the next may come while the cluster still limps.
    if (random.chance(0.5)) await this.well()
    else await pause(random.between(0, 1500))
  }

  /** All run, and one leader is known to all of them. */
  async well(): Promise<void> {
    await this.#cluster.settled()
  }

  /** Writes that are under way when something is cut are those whose fate is hard to tell. */
  async #writeAcross(host: Host, time: number): Promise<void> {
    this.#clients.write(host)
    await pause(Math.min(time, 300))
    this.#clients.write(host)
    await pause(Math.max(0, time - 300))
  }

  #resume(host: Host): void {
    // What was asked is in its sockets when it wakes.
    this.#clients.read(host)
    setTimeout(() => host.process?.child.kill('SIGCONT'), 50)
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
