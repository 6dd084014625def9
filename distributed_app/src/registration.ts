/**
 * Keeps one service registered at its agent: registers it, keeps its TTL check passing, and registers it again when
 * the agent has forgotten it (restarted with an empty disk, or somebody deregistered it).
 */
import { type Client, type ServiceRegistration, UnexpectedAnswer } from 'registry/client'

export interface RegistrationOptions {
  client: Client
  /** With one TTL check, whose id is then `service:ID`. */
  service: ServiceRegistration & { ID: string }
  log: (line: string) => void
}

export class Registration {
  readonly #options: RegistrationOptions
  #registered = false
  #said = false

  constructor(options: RegistrationOptions) {
    this.#options = options
  }

  /**
   * Call several times per TTL. Idempotent.
   * @throws Unreachable, UnexpectedAnswer, or the reason of the signal
   */
  async keep(signal: AbortSignal): Promise<void> {
    const { client, service } = this.#options
    const checkId = `service:${service.ID}`
    if (this.#registered) {
      try {
        await client.agent.pass(checkId, undefined, signal)
        return
      } catch (error) {
        // An agent that does not know the check (500 in Consul 1.8, 404 in later ones) has forgotten the service.
        if (!(error instanceof UnexpectedAnswer)) throw error
        this.#registered = false
        this.#options.log(`[consul] service ${service.Name} (${service.ID}) is not known any more: ${error.message}`)
      }
    }
    await client.agent.registerService(service, { signal })
    // A check the agent still had keeps its status over a registration, and that may be critical.
    await client.agent.pass(checkId, undefined, signal)
    this.#registered = true
    const again = this.#said ? ' again' : ''
    this.#said = true
    this.#options.log(`[consul] service ${service.Name} registered successfully${again}`)
  }

  /** Takes the service out of the registry. @throws as `keep` */
  async withdraw(signal: AbortSignal): Promise<void> {
    this.#registered = false
    await this.#options.client.agent.deregisterService(this.#options.service.ID, { signal })
  }
}
