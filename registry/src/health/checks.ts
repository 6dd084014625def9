/**
 * The life of each check registered on this node: when its probe is due, what its results come to, when its TTL runs out.
 * Runs nothing and tells nobody: the owner starts the probes that are due, brings their outcomes, and asks what changed.
 * Rules are Consul 1.8's (`agent/checks`), except where a comment says otherwise.
 */
import { isDeepStrictEqual } from 'node:util'
import type { ProbeOutcome, ProbeRequest } from '../io/io.ts'
import type { Random } from '../io/random.ts'
import type { CheckId, CheckStatus, Millis, ServiceId } from '../model.ts'
import { type CheckDefinition, type CheckKind, runsProgram } from './definition.ts'

/** A probe to start now. `run` goes back with its outcome. */
export interface ProbeDue {
  id: CheckId
  request: ProbeRequest
  run: number
}

export interface CheckState {
  definition: CheckDefinition
  status: CheckStatus
  output: string
}

/** No check runs more often, whatever its definition says. */
export const intervalMin: Millis = 1000
/** A probe without a time limit of its own. */
export const timeoutDefault: Millis = 10_000
/** The same of one that runs a program. */
export const programTimeoutDefault: Millis = 30_000
/** A service is never deregistered for being critical sooner. */
export const deregisterAfterMin: Millis = 60_000
/** Bytes of output kept of a TTL check that does not say. */
export const outputMaxDefault = 4096

interface Life extends CheckState {
  /** When the next probe may start; never for a TTL check. */
  dueAt: Millis
  /** The probe underway. `outdated`: the process stood still meanwhile, so its outcome says nothing. */
  probe: { run: number; outdated: boolean } | undefined
  /** When a TTL check expires unless it is refreshed; never once it has, until then. */
  expiresAt: Millis
  /** What a TTL check last said of itself. */
  lastOutput: string
  /** Results of one kind in a row. Both begin at their thresholds: the first result counts at once. */
  successes: number
  failures: number
  /** Since when results have been critical; a check that only begins as critical has not failed yet. */
  criticalSince: Millis | undefined
}

export class Checks {
  readonly #random: Random
  readonly #lives = new Map<CheckId, Life>()
  readonly #changed = new Set<CheckId>()
  #runs = 0

  constructor(random: Random) {
    this.#random = random
  }

  /**
   * Begins the life of a check, or goes on with it when the definition is the one it has. A changed definition is a new
   * life: what was underway no longer counts.
   * @param restored status and output to begin with instead of the initial ones, as kept on disk.
   */
  set(definition: CheckDefinition, now: Millis, restored?: { status: CheckStatus; output: string }): void {
    const existing = this.#lives.get(definition.id)
    if (existing !== undefined && isDeepStrictEqual(existing.definition, definition)) return
    const { how } = definition
    this.#lives.set(definition.id, {
      definition,
      status: restored?.status ?? definition.initialStatus,
      output: restored?.output ?? definition.initialOutput,
      // Spread out, so that checks registered together do not run together for ever.
      dueAt: isProbed(how) ? now + this.#random.fraction() * intervalOf(how) : Number.POSITIVE_INFINITY,
      probe: undefined,
      expiresAt: how.type === 'ttl' ? now + how.ttl : Number.POSITIVE_INFINITY,
      lastOutput: '',
      successes: definition.successesBeforePassing,
      failures: definition.failuresBeforeCritical,
      criticalSince: undefined,
    })
    this.#changed.add(definition.id)
  }

  /** @returns whether there was one. */
  remove(id: CheckId): boolean {
    this.#changed.delete(id)
    return this.#lives.delete(id)
  }

  /** The owner of a TTL check says how it is, which is true for the TTL from now. Long outputs are cut. */
  ttl(id: CheckId, status: CheckStatus, output: string, now: Millis): 'ok' | 'unknown' | 'notTtl' {
    const life = this.#lives.get(id)
    if (life === undefined) return 'unknown'
    const { how } = life.definition
    if (how.type !== 'ttl') return 'notTtl'
    life.lastOutput = cut(output, how.outputMax ?? outputMaxDefault)
    life.expiresAt = now + how.ttl
    this.#update(life, status, life.lastOutput, now)
    return 'ok'
  }

  /** An alias check is as those are that it stands for; others take no result this way. */
  aliased(id: CheckId, { status, output }: { status: CheckStatus; output: string }, now: Millis): void {
    const life = this.#lives.get(id)
    if (life?.definition.how.type === 'alias') this.#update(life, status, output, now)
  }

  /** The probes to start now. Each of them is underway from here on: its check is not due again until `finished`. */
  due(now: Millis): ProbeDue[] {
    const due: ProbeDue[] = []
    for (const [id, life] of this.#lives) {
      const { how } = life.definition
      if (!isProbed(how) || life.probe !== undefined || now < life.dueAt) continue
      this.#runs++
      life.probe = { run: this.#runs, outdated: false }
      due.push({ id, request: requestOf(how), run: this.#runs })
    }
    return due
  }

  /** The outcome of a probe. That of a check that was removed or replaced meanwhile is ignored. */
  finished(id: CheckId, run: number, outcome: ProbeOutcome, now: Millis): void {
    const life = this.#lives.get(id)
    if (life?.probe?.run !== run || !isProbed(life.definition.how)) return
    const { outdated } = life.probe
    life.probe = undefined
    if (outdated) {
      life.dueAt = now
      return
    }
    life.dueAt = now + intervalOf(life.definition.how)
    // A warning is a success here: only critical results count against a check.
    const failed = outcome.status === 'critical'
    life.successes = failed ? 0 : life.successes + 1
    life.failures = failed ? life.failures + 1 : 0
    const { successesBeforePassing, failuresBeforeCritical } = life.definition
    if (failed ? life.failures >= failuresBeforeCritical : life.successes >= successesBeforePassing) {
      this.#update(life, outcome.status, outcome.output, now)
    }
  }

  /** TTL checks that were not refreshed in time become critical, and keep what they last said. */
  tick(now: Millis): void {
    for (const life of this.#lives.values()) {
      if (now < life.expiresAt) continue
      life.expiresAt = Number.POSITIVE_INFINITY
      const said = life.lastOutput === '' ? '' : ` (last output before timeout follows): ${life.lastOutput}`
      this.#update(life, 'critical', `TTL expired${said}`, now)
    }
  }

  /**
   * The process stood still for `gap`: nobody could refresh a TTL check meanwhile, and a probe that was underway may have
   * failed for that alone. Deadlines move by the gap, such probes run again.
   */
  stall(gap: Millis): void {
    for (const life of this.#lives.values()) {
      life.dueAt += gap
      life.expiresAt += gap
      if (life.criticalSince !== undefined) life.criticalSince += gap
      if (life.probe !== undefined) life.probe.outdated = true
    }
  }

  /**
   * Services of which a check has had critical results for longer than its `deregisterServiceAfter`, each once; named
   * again until their checks are removed. Consul looks every 30 s; we may be asked at any time.
   */
  expired(now: Millis): ServiceId[] {
    const services = new Set<ServiceId>()
    for (const { definition, criticalSince } of this.#lives.values()) {
      const { serviceId, deregisterServiceAfter } = definition
      if (serviceId === '' || deregisterServiceAfter <= 0 || criticalSince === undefined) continue
      if (now - criticalSince > Math.max(deregisterServiceAfter, deregisterAfterMin)) services.add(serviceId)
    }
    return [...services]
  }

  /** The checks whose status or output changed since the last call, new ones among them. */
  changes(): CheckId[] {
    const changed = [...this.#changed]
    this.#changed.clear()
    return changed
  }

  get(id: CheckId): CheckState | undefined {
    const life = this.#lives.get(id)
    return life === undefined ? undefined : stateOf(life)
  }

  /** In the order they were first set. */
  list(): CheckState[] {
    return [...this.#lives.values()].map(stateOf)
  }

  #update(life: Life, status: CheckStatus, output: string, now: Millis): void {
    if (status !== 'critical') life.criticalSince = undefined
    else life.criticalSince ??= now
    if (life.status === status && life.output === output) return
    life.status = status
    life.output = output
    this.#changed.add(life.definition.id)
  }
}

function stateOf({ definition, status, output }: Life): CheckState {
  return { definition, status, output }
}

type Probed = Extract<CheckKind, { interval: Millis }>

function isProbed(how: CheckKind): how is Probed {
  return 'interval' in how
}

function intervalOf(how: Probed): Millis {
  return Math.max(intervalMin, how.interval)
}

function requestOf(how: Probed): ProbeRequest {
  const { type: kind, interval: _, ...rest } = how
  const otherwise = runsProgram(how) ? programTimeoutDefault : timeoutDefault
  return { kind, ...rest, timeout: how.timeout > 0 ? how.timeout : otherwise } as ProbeRequest
}

/** At most `max` bytes of UTF-8, whole characters, and Consul's note of how much there was. */
function cut(output: string, max: number): string {
  const bytes = new TextEncoder().encode(output)
  if (bytes.length <= max) return output
  // As a stream, so that a character cut in two is held back, not replaced.
  const kept = new TextDecoder().decode(bytes.subarray(0, max), { stream: true })
  return `${kept} ... (captured ${max} of ${bytes.length} bytes)`
}
