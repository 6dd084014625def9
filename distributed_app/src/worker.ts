/**
 * One worker put together: what it answers, its registration, its settings and its Redis, each kept true by a
 * reconciler that `tick` drives. A registry that cannot be reached stops none of it from serving.
 */
import type { Hono } from 'hono'
import type { Client, ServiceRegistration } from 'registry/client'
import type { Address, Millis } from 'registry/model'
import { Reconciler, type ReconcilerOptions } from 'registry/reconciler'
import { createApp } from './app.ts'
import { type Dns, findInstances } from './discovery.ts'
import { type Counter, Hits } from './hits.ts'
import { Registration } from './registration.ts'
import { Settings } from './settings.ts'

export interface WorkerOptions {
  client: Client
  dns: Dns
  connect: (address: Address) => Counter
  /** 1 or 2: the service's id is `server1` or `server2`. */
  number: number
  port: number
  /** '' is the address of the node. */
  address: string
  /** The name of the service Redis is registered as. */
  redis: string
  random: ReconcilerOptions['random']
  log: (line: string) => void
}

const ttl: Millis = 10_000
const settingsWait: Millis = 55_000
const redisLookEvery: Millis = 1000

export class Worker {
  readonly app: Hono
  readonly #registration: Registration
  readonly #hits: Hits
  readonly #reconcilers: Reconciler[]
  readonly #stopping = new AbortController()

  constructor(options: WorkerOptions) {
    const { client, dns, connect, random, log } = options
    const { signal } = this.#stopping
    const settings = new Settings({
      client,
      prefix: 'distributed_app/config/',
      wait: settingsWait,
      onChange: (values) => log(`[config] ${JSON.stringify(Object.fromEntries(values))}`),
    })
    this.#registration = new Registration({ client, service: registrationOf(options), log })
    this.#hits = new Hits({ find: () => findInstances(dns, `${options.redis}.service.consul`), connect, log })
    this.app = createApp({
      greeting: () => settings.get('greeting', 'Hello World!'),
      count: () => this.#hits.count(),
    })
    const keep = (area: string, failing: string, every: Millis, work: () => Promise<void>) =>
      reconcilerThatSpeaksOnce({ area, failing, every, work, random, log, signal })
    this.#reconcilers = [
      keep('consul', 'the service cannot be kept registered', ttl / 3, () => this.#registration.keep(signal)),
      // A blocking query after the other; the wait is in the query.
      keep('config', 'the configuration cannot be read', 0, () => settings.follow(signal)),
      keep('redis', 'the registry cannot be asked for Redis', redisLookEvery, () => this.#hits.look()),
    ]
  }

  tick(now: Millis): void {
    for (const reconciler of this.#reconcilers) reconciler.tick(now)
  }

  /**
   * Takes the service out of the registry and lets go of Redis. What is under way is given up.
   * @throws when the registry did not take the deregistration before `deadline` fired; the TTL ends it then.
   */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort(new Error('the worker is stopping'))
    this.#hits.close()
    await this.#reconcilers[0]?.stop()
    await this.#registration.withdraw(deadline)
  }
}

function registrationOf({ number, port, address }: WorkerOptions): ServiceRegistration & { ID: string } {
  return {
    ID: `server${number}`,
    Name: 'distributed_app',
    Port: port,
    ...(address === '' ? {} : { Address: address }),
    Check: { TTL: `${ttl / 1000}s`, Status: 'passing' },
  }
}

/** A failure is logged when it is new, not at every attempt; so is the end of it. */
function reconcilerThatSpeaksOnce(options: {
  area: string
  failing: string
  every: Millis
  work: () => Promise<void>
  random: ReconcilerOptions['random']
  log: (line: string) => void
  signal: AbortSignal
}): Reconciler {
  const { area, failing, every, work, random, log, signal } = options
  let said: string | undefined
  return new Reconciler({
    every,
    random,
    backOffMin: 250,
    backOffMax: 4000,
    work: async () => {
      await work()
      if (said !== undefined) log(`[${area}] the registry answers again`)
      said = undefined
    },
    onFailure: (error) => {
      const { message } = error as Error
      if (signal.aborted || message === said) return
      said = message
      log(`[${area}] ${failing}, trying again: ${message}`)
    },
  })
}
