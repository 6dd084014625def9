/** `monitor`: what the agent logs, until somebody interrupts or the agent ends. [door] */
import type { Call, Command } from './command.ts'

export const monitor: Command = {
  name: 'monitor',
  usage: 'monitor [options]',
  summary: 'Shows what the agent logs, as it does',
  failing: 'Error starting monitor',
  flags: [
    { name: 'log-level', takes: 'value', value: 'level', help: 'trace, debug, info, warn or err. Default: info.' },
    { name: 'log-json', takes: 'nothing', help: 'Lines of JSON.' },
  ],
  async run({ client, given, out, raw }: Call) {
    const interrupted = new AbortController()
    const interrupt = () => interrupted.abort()
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupt)
    const lines = client.agent.monitor({
      level: given.get('log-level') ?? 'INFO',
      json: given.get('log-json') === 'true',
      signal: interrupted.signal,
    })
    let began = false
    try {
      for await (const bytes of lines) {
        began = true
        raw(bytes)
      }
    } catch (error) {
      if (interrupted.signal.aborted) return 0
      // It was killed, or the network was.
      if (!began) throw error
    }
    out('\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.')
    return 1
  },
}
