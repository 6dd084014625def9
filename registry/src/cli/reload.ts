/**
 * Reading the options again while the agent runs, for SIGHUP and `PUT /v1/agent/reload`. What can change without a restart
 * is how much the log says, and the services and checks that files define; whatever else is different by then is named, and
 * counts at the next start.
 */
import type { Definitions } from '../agent/definitions.ts'
import { BadRequest, Refused } from '../errors.ts'
import type { AgentConfig, Configured } from './config.ts'
import type { Logger } from './log.ts'

export interface ReloadOptions {
  /** As at the start: the same words, the files as they are now. */
  configure(): Configured
  config: AgentConfig
  logs: Pick<Logger, 'log' | 'setLevel'>
}

/** What is found out at each reading, or is no option. */
const notOptions = new Set(['warnings', 'logLevel', 'definitions'])

export class Reload {
  readonly #options: ReloadOptions
  #current: AgentConfig
  #apply: (definitions: Definitions) => Promise<void> = async () => {}

  constructor(options: ReloadOptions) {
    this.#options = options
    this.#current = options.config
  }

  /** The agent runs, and takes what files define. @param apply rejects with BadRequest, and changes nothing then */
  apply(apply: (definitions: Definitions) => Promise<void>): void {
    this.#apply = apply
  }

  /** @throws Refused with every mistake; then nothing has changed */
  async run(): Promise<void> {
    const { configure, logs } = this.#options
    logs.log('info', 'agent', 'Reloading configuration...')
    const configured = configure()
    if ('mistakes' in configured) {
      throw this.#refused(configured.mistakes.join('\n'))
    }
    if (!('config' in configured)) return
    const { config } = configured
    try {
      await this.#apply(config.definitions)
    } catch (error) {
      throw error instanceof BadRequest ? this.#refused(error.message) : error
    }
    for (const warning of config.warnings) logs.log('warn', 'agent', warning)
    const names = Object.keys(config) as (keyof AgentConfig)[]
    const changed = names.filter((name) => {
      return !notOptions.has(name) && JSON.stringify(config[name]) !== JSON.stringify(this.#current[name])
    })
    if (changed.length > 0) {
      const list = changed.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)).join(', ')
      logs.log('warn', 'agent', `these options have changed and count at the next start only: ${list}`)
    }
    logs.setLevel(config.logLevel)
    this.#current = { ...this.#current, logLevel: config.logLevel }
  }

  #refused(reason: string): Refused {
    this.#options.logs.log('error', 'agent', `Failed to reload configs: ${reason}`)
    return new Refused(reason)
  }
}
