/**
 * What faces see of this agent's registrations: as `Local`, and a registration is answered once the catalog has it, as
 * with Consul, so that whoever registers and then looks finds it. When there is no leader, or the log is slow, the answer
 * does not wait long: the registration is safe on this node's disk and anti-entropy carries it on.
 */
import type { CheckDefinition } from '../health/definition.ts'
import type { CheckId, CheckStatus, ServiceDefinition, ServiceId } from '../model.ts'
import type { LocalCheck, LocalService, LocalSurface } from './surface.ts'

export class SettledLocal implements LocalSurface {
  readonly #local: LocalSurface
  readonly #settle: () => Promise<void>

  /** @param settle resolves when the catalog has what is registered here, or after a moment; never rejects. */
  constructor(local: LocalSurface, settle: () => Promise<void>) {
    this.#local = local
    this.#settle = settle
  }

  services(): LocalService[] {
    return this.#local.services()
  }
  checks(): LocalCheck[] {
    return this.#local.checks()
  }
  registerService(service: ServiceDefinition, checks: CheckDefinition[], replaceChecks: boolean): Promise<void> {
    return this.#then(this.#local.registerService(service, checks, replaceChecks))
  }
  deregisterService(id: ServiceId): Promise<void> {
    return this.#then(this.#local.deregisterService(id))
  }
  registerCheck(check: CheckDefinition): Promise<void> {
    return this.#then(this.#local.registerCheck(check))
  }
  deregisterCheck(id: CheckId): Promise<void> {
    return this.#then(this.#local.deregisterCheck(id))
  }
  updateTtl(id: CheckId, status: CheckStatus, output: string): Promise<void> {
    return this.#local.updateTtl(id, status, output)
  }

  async #then(done: Promise<void>): Promise<void> {
    await done
    await this.#settle()
  }
}
