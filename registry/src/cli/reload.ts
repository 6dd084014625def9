/**
 * Reading the options again while the agent runs, for SIGHUP and `PUT /v1/agent/reload`. What can change without a restart
 * is how much the log says; whatever else is different by then is named, and counts at the next start.
 */
import { Refused } from '../errors.ts'
import type { AgentConfig, Configured } from './config.ts'
import type { Logger } from './log.ts'

export interface ReloadOptions {
  /** As at the start: the same words, the files as they are now. */
  configure(): Configured
  config: AgentConfig
  logs: Pick<Logger, 'log' | 'setLevel'>
}

/** What is found out at each reading, or is no option. */
const notOptions = new Set(['warnings', 'logLevel'])

export class Reload {
  readonly #options: ReloadOptions
  #current: AgentConfig

  constructor(options: ReloadOptions) {
    this.#options = options
    this.#current = options.config
  }

  /** @throws Refused with every mistake; then nothing has changed */
  run(): void {
    const { configure, logs } = this.#options
    logs.log('info', 'agent', 'Reloading configuration...')
    const configured = configure()
    if ('mistakes' in configured) {
      const reason = configured.mistakes.join('\n')
      logs.log('error', 'agent', `Failed to reload configs: ${reason}`)
      throw new Refused(reason)
    }
    if (!('config' in configured)) return
    const { config } = configured
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
}
