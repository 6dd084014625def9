/**
 * What the leader owes the others: the catalog says who is a member and whether it lives, and the Raft configuration
 * follows the servers that come and go. Level-triggered: `duties` compares everything with everything, `Leader.run` does
 * one after the other, and running again is always right.
 */
import { LeadershipLost, NotLeader, Stopped } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { AutopilotConfiguration, NodeName } from '../model.ts'
import type { ServerChange } from '../raft/message.ts'
import type { Command, Result } from '../store/command.ts'
import { type CatalogSituation, catalogDuties } from './catalog-duties.ts'
import { type ServerSituation, serverDuty, strangers } from './server-changes.ts'

export type Duty = { log: string } & ({ command: Command } | { change: ServerChange } | { forceLeave: NodeName })

export interface Situation extends CatalogSituation, ServerSituation {
  /** What this server was started with; it counts while the state has nothing. */
  initial: AutopilotConfiguration
}

/** What is to be done, in the order to do it. Configuration changes go one at a time: only the first is listed. */
export function duties(situation: Situation): Duty[] {
  const change = serverDuty(situation).duty
  const first: Duty[] = situation.view.autopilot() === undefined ? [firstAutopilot(situation.initial)] : []
  return [...first, ...(change === undefined ? [] : [change]), ...catalogDuties(situation)]
}

function firstAutopilot(configuration: AutopilotConfiguration): Duty {
  return {
    log: 'autopilot is set to what this server was started with',
    command: { type: 'autopilot.set', configuration, initial: true },
  }
}

export interface LeaderOptions {
  io: Io
  situation: () => Promise<Situation>
  write: (command: Command) => Promise<{ result: Result }>
  change: (change: ServerChange) => Promise<unknown>
  /** Makes everybody take a failed member for one that left. */
  forceLeave: (name: NodeName) => void
}

export class Leader {
  readonly #options: LeaderOptions
  /** What was said is not said again, for every run finds it again. */
  readonly #warned = new Set<string>()

  constructor(options: LeaderOptions) {
    this.#options = options
  }

  /**
   * Does what is due, the rest also when one of it fails: a server that cannot be added must not keep the health of the
   * others from being told. Resolves to whether a configuration change was among it, so that the next may follow.
   * @throws the first failure
   */
  async run(): Promise<boolean> {
    const { io, situation, write, change, forceLeave } = this.#options
    const failures: unknown[] = []
    let changed = false
    const now = await situation()
    for (const warning of [...strangers(now), ...serverDuty(now).waiting]) this.#warnOnce(warning)
    for (const duty of duties(now)) {
      try {
        if ('change' in duty) {
          io.log('info', 'consul', duty.log)
          await change(duty.change)
          changed = true
          continue
        }
        if ('forceLeave' in duty) {
          io.log('info', 'autopilot', duty.log)
          forceLeave(duty.forceLeave)
          continue
        }
        const { result } = await write(duty.command)
        if ('error' in result) this.#warnOnce(`the catalog refused: ${duty.log}: ${result.error}`)
        else io.log('info', 'consul', duty.log)
      } catch (error) {
        if (error instanceof NotLeader || error instanceof LeadershipLost || error instanceof Stopped) throw error
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
    return changed
  }

  #warnOnce(message: string): void {
    if (this.#warned.size > 1000) this.#warned.clear()
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#options.io.log('warn', 'consul', message)
  }
}
