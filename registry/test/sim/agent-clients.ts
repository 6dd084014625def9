/** What people and programs do to a cluster, at any agent, over HTTP and DNS, until all is quiet. */
import type { Millis } from '../../src/model.ts'
import type { ClientsOptions } from './agent-answers.ts'
import { KeyUsers } from './agent-keys.ts'
import { LockUsers } from './agent-locks.ts'
import { ServiceUsers } from './agent-services.ts'
import { questions, Watch } from './agent-watches.ts'
import type { Station } from './agents.ts'

/** Besides one at every agent. */
const roamingWatches = 4

export class Clients {
  readonly #options: ClientsOptions
  readonly #keys: KeyUsers
  readonly #locks: LockUsers
  readonly #services: ServiceUsers
  readonly #watches: Watch[] = []
  #active = true
  #busy = 0

  constructor(options: ClientsOptions) {
    this.#options = options
    this.#keys = new KeyUsers(options)
    this.#locks = new LockUsers(options)
    this.#services = new ServiceUsers(options)
  }

  begin(): void {
    const { random, agents } = this.#options
    const users = random.between(2, 4)
    for (let user = 0; user < users; user++) this.#loop(400, () => this.#keys.use(`user ${user}`))
    this.#loop(100, () => this.#keys.useRivals())
    const lockers = this.#locks.names.slice(0, random.between(0, 3))
    for (const user of lockers) this.#loop(1000, () => this.#locks.use(user))
    if (lockers.length > 0) this.#loop(this.#locks.renewEvery, () => this.#locks.keepUp())
    for (const service of this.#services.cared) {
      this.#loop(6000, () => this.#services.careFor(service))
      this.#services.keepUp(service)
    }
    for (const outsider of this.#services.outsiders) this.#loop(8000, () => this.#services.useOutsider(outsider))
    this.#loop(300, async () => this.#services.askDns())
    const names = [...agents.stations.keys()]
    for (const agent of names) this.#watch({ question: '/v1/health/service/web', agent, stale: true, roams: false })
    for (let each = 0; each < roamingWatches; each++) {
      const question = random.pick(questions)!
      this.#watch({ question, agent: random.pick(names)!, stale: random.chance(0.3), roams: random.chance(0.7) })
    }
  }

  /** No new changes; services that are kept up stay so, and long polls go on. */
  end(): void {
    this.#active = false
  }

  /** Nobody waits for an answer any more. */
  get idle(): boolean {
    return this.#busy === 0
  }

  get dnsAnswers(): number {
    return this.#services.dnsAnswers
  }

  get transactions(): number {
    return this.#keys.transactions
  }

  /** Locks that somebody got, and sessions that the leader ended. */
  get locks(): { acquired: number; expired: number } {
    return this.#locks
  }

  get woken(): number {
    return this.#watches.reduce((sum, { answers }) => sum + answers, 0)
  }

  /** The node's disk is empty again. */
  wiped(agent: string): void {
    this.#services.wiped(agent)
  }

  /** Whether an agent that is up, or starts again, holds what it said it would. */
  checkLocal(station: Station): void {
    this.#services.checkLocal(station)
  }

  /** At the very end: what was done is there, and every long poll has seen how it ended. */
  async checkEnd(): Promise<string | undefined> {
    this.#services.checkOutsiders()
    this.#keys.checkHistory()
    this.#locks.checkHistory()
    const behind = await Promise.all(this.#watches.map((watch) => watch.behind()))
    return behind.find((each) => each !== undefined)
  }

  #watch(options: ConstructorParameters<typeof Watch>[1]): void {
    const watch = new Watch(this.#options, options)
    this.#watches.push(watch)
    void watch.run()
  }

  #loop(pause: Millis, act: () => Promise<void>): void {
    const { world, random, fail } = this.#options
    const step = () => {
      if (!this.#active) return
      this.#busy++
      act().then(
        () => {
          this.#busy--
          world.after(random.fraction() * pause, step)
        },
        (error) => fail(error),
      )
    }
    world.after(random.fraction() * pause, step)
  }
}
