/**
 * The registrator: looks at the engine's containers and at the agent's services, and brings the agent's to what the
 * containers mean, as far as they are its own. Level-triggered: an event only says where to look again. After losing
 * the engine, or at the agent after losing its state, everything is looked at anew; losing either removes nothing.
 *
 * It remembers containers (so that one event costs one inspect) but nothing of what it registered: that is asked.
 */
import type { Client } from 'registry/client'
import type { Millis } from 'registry/model'
import { Reconciler, type ReconcilerOptions } from 'registry/reconciler'
import type { Container } from './container.ts'
import type { Engine, Subscription } from './engine.ts'
import type { Owner } from './owner.ts'
import { plan, type Step } from './plan.ts'
import { type Desired, desiredServices, heartbeatId, type ServiceRules } from './services.ts'

export interface RegistratorOptions {
  engine: Engine
  client: Client
  /** What is known from the command line; the rest is asked of the engine and the agent. */
  rules: Omit<ServiceRules, 'owner' | 'hostname' | 'hostAddress'>
  /** Undefined: the engine's host name. */
  hostname: string | undefined
  /** Undefined: the hostname. */
  id: string | undefined
  adopt: boolean
  /** From looking at the agent to looking again when nothing happened. */
  lookEvery: Millis
  /** From looking at all containers to looking again when nothing happened; 0: only after a connection was lost. */
  resync: Millis
  ttlRefresh: Millis
  random: ReconcilerOptions['random']
  log: (line: string) => void
}

/** Inspects under way at once: engines answer each in milliseconds, and hundreds at once make them slow for others. */
const inspectsMax = 8

interface Identity {
  owner: Owner
  hostname: string
}

export class Registrator {
  readonly #options: RegistratorOptions
  readonly #reconciler: Reconciler
  readonly #heartbeat: Reconciler
  #subscription: Subscription | undefined
  #identity: Identity | undefined
  #containers: Map<string, Container> | undefined
  #lookAtAll = true
  #dirty = new Set<string>()
  #resyncAt: Millis | undefined
  #desired: Desired | undefined
  #agentAddress: string | undefined
  #said: readonly string[] = []
  #failure: string | undefined

  constructor(options: RegistratorOptions) {
    this.#options = options
    const { random } = options
    this.#reconciler = new Reconciler({
      work: () => this.#reconcile(),
      every: options.lookEvery,
      backOffMin: 200,
      backOffMax: 3000,
      random,
      onFailure: (error) => {
        // The agent may come back as another.
        this.#agentAddress = undefined
        this.#sayFailure((error as Error).message)
      },
    })
    this.#heartbeat = new Reconciler({
      work: () => this.#beat(),
      every: options.rules.ttl > 0 ? options.ttlRefresh : Number.POSITIVE_INFINITY,
      backOffMin: 200,
      backOffMax: 2000,
      random,
      // The reconciler says what is wrong with the agent, and registers again what it has forgotten.
      onFailure: () => this.#reconciler.wake(),
    })
  }

  tick(now: Millis): void {
    const { resync, rules } = this.#options
    this.#resyncAt ??= now + resync
    if (resync > 0 && now >= this.#resyncAt) {
      this.#resyncAt = now + resync
      this.#lookAtAll = true
      this.#agentAddress = undefined
      this.#reconciler.wake()
    }
    this.#reconciler.tick(now)
    if (rules.ttl > 0) this.#heartbeat.tick(now)
  }

  /** @param deregister takes what it registered out of the registry; else the services stay for the next registrator */
  async stop({ deregister }: { deregister: boolean }): Promise<void> {
    this.#subscription?.close()
    await Promise.all([this.#reconciler.stop(), this.#heartbeat.stop()])
    if (!deregister || this.#identity === undefined) return
    await this.#bring({ services: [], kept: new Set(), warnings: [] }, this.#identity)
  }

  async #reconcile(): Promise<void> {
    let lost: Error | undefined
    try {
      await this.#look()
    } catch (error) {
      lost = error as Error
    }
    // Without the engine, what was last known of it is still what the agent should have.
    if (this.#containers !== undefined && this.#identity !== undefined) {
      const { owner, hostname } = this.#identity
      const rules = { ...this.#options.rules, owner, hostname, hostAddress: await this.#hostAddress() }
      this.#desired = desiredServices([...this.#containers.values()], rules)
      await this.#bring(this.#desired, this.#identity)
    }
    if (lost !== undefined) throw new Error(`Docker: ${lost.message}`, { cause: lost })
    if (this.#failure !== undefined) this.#options.log('all is well again')
    this.#failure = undefined
  }

  /** Brings `#containers` up to date. Subscribes before it lists, so that nothing falls between. */
  async #look(): Promise<void> {
    const { engine, log } = this.#options
    if (this.#subscription === undefined) {
      this.#subscription = await engine.subscribe(
        (id) => {
          this.#dirty.add(id)
          this.#reconciler.wake()
        },
        (reason) => {
          log(`lost Docker: ${reason.message}`)
          this.#subscription = undefined
          this.#reconciler.wake()
        },
      )
      this.#lookAtAll = true
      this.#identity = this.#identityOf(await engine.identity())
      if (this.#containers !== undefined) log('watching Docker again')
    }
    const all = this.#lookAtAll || this.#containers === undefined
    const dirty = this.#dirty
    this.#dirty = new Set()
    this.#lookAtAll = false
    try {
      // Also tells that the engine answers: a connection may be dead without an end.
      const ids = await engine.list()
      const known = this.#containers ?? new Map<string, Container>()
      const wanted = all ? ids : ids.filter((id) => dirty.has(id) || !known.has(id))
      const inspected = await inspectEach(engine, wanted)
      this.#containers = new Map(
        ids.flatMap((id) => {
          const container = inspected.has(id) ? inspected.get(id) : known.get(id)
          return container === undefined ? [] : [[id, container] as const]
        }),
      )
    } catch (error) {
      // Nothing of this look counts; the next starts from a fresh stream.
      this.#lookAtAll = true
      this.#subscription?.close()
      this.#subscription = undefined
      throw error
    }
  }

  #identityOf(engine: { id: string; name: string }): Identity {
    const { log } = this.#options
    const hostname = this.#options.hostname ?? engine.name
    const owner = { id: this.#options.id ?? hostname, engine: engine.id }
    const known = this.#identity?.owner
    if (known?.engine !== owner.engine) log(`watching engine ${engine.id} of ${engine.name} as ${owner.id}`)
    return { owner, hostname }
  }

  /** What the agent says its own address is; the registrator runs beside it. */
  async #hostAddress(): Promise<string> {
    const { client, rules } = this.#options
    this.#agentAddress ??= rules.ip ?? (await client.agent.self()).value.Member.Addr
    return this.#agentAddress
  }

  /** @throws one error that names everything that could not be done; the rest is done. */
  async #bring(desired: Desired, identity: Identity): Promise<void> {
    const { client, adopt } = this.#options
    const [services, checks] = await Promise.all([client.agent.services(), client.agent.checks()])
    const options = { owner: identity.owner, adopt: adopt ? { hostname: identity.hostname } : undefined }
    const { steps, taken } = plan(desired, services.value, checks.value, options)
    const foreign = taken.map((id) => `id ${id} is registered by somebody else and left alone`)
    this.#sayWarnings([...desired.warnings, ...foreign])
    const failures: string[] = []
    for (const step of steps) {
      try {
        await this.#do(step)
      } catch (error) {
        failures.push(
          `${step.kind} ${step.kind === 'register' ? step.service.ID : step.id}: ${(error as Error).message}`,
        )
      }
    }
    if (failures.length > 0) throw new Error(failures.join('; '))
  }

  async #do(step: Step): Promise<void> {
    const { client, log } = this.#options
    if (step.kind === 'deregister') {
      await client.agent.deregisterService(step.id)
      log(`removed ${step.id} (${step.name}): ${step.reason}`)
      return
    }
    const { service } = step
    await client.agent.registerService(service, { replaceChecks: true })
    log(`added ${service.ID} as ${service.Name} at ${service.Address || 'the node'}:${service.Port}: ${step.reason}`)
  }

  async #beat(): Promise<void> {
    for (const service of this.#desired?.services ?? []) {
      await this.#options.client.agent.pass(heartbeatId(service.ID))
    }
  }

  /** Each warning once for as long as it holds. */
  #sayWarnings(warnings: readonly string[]): void {
    for (const warning of warnings) {
      if (!this.#said.includes(warning)) this.#options.log(`warning: ${warning}`)
    }
    this.#said = warnings
  }

  #sayFailure(message: string): void {
    if (message === this.#failure) return
    this.#failure = message
    this.#options.log(`trying again: ${message}`)
  }
}

async function inspectEach(engine: Engine, ids: readonly string[]): Promise<Map<string, Container | undefined>> {
  const inspected = new Map<string, Container | undefined>()
  const waiting = ids.slice()
  const inspectNext = async () => {
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) inspected.set(id, await engine.inspect(id))
  }
  await Promise.all(Array.from({ length: inspectsMax }, inspectNext))
  return inspected
}
