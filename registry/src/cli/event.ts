/** `event`: tells something to the agents of a datacenter. */
import { BadPattern, compilePattern } from '../pattern.ts'
import type { Call, Command } from './command.ts'

const usage = 'event [options] [payload]'

export const event: Command = {
  name: 'event',
  usage,
  summary: 'Fires a user event',
  failing: 'Error firing event',
  flags: [
    { name: 'name', takes: 'value', value: 'string', help: 'Name of the event.' },
    { name: 'node', takes: 'value', value: 'pattern', help: 'Only for nodes whose name matches.' },
    {
      name: 'service',
      takes: 'value',
      value: 'pattern',
      help: 'Only for agents where a service is registered whose id or name matches.',
    },
    {
      name: 'tag',
      takes: 'value',
      value: 'pattern',
      help: 'Only for those where such a service has a tag that matches; with -service.',
    },
    { name: 'datacenter', takes: 'value', value: 'name', help: "Default: the agent's." },
  ],
  async run({ client, given, rest, out, err }: Call) {
    const value = (flag: string) => given.get(flag) ?? ''
    if (value('name') === '') {
      err(`Event name must be specified\n\nUsage: ${usage}`)
      return 1
    }
    if (rest.length > 1) {
      err(`Too many command line arguments.\n\nUsage: ${usage}`)
      return 1
    }
    for (const flag of ['node', 'service', 'tag']) {
      const mistake = mistakeIn(value(flag))
      if (mistake === undefined) continue
      err(`Failed to compile ${flag} filter regexp: ${mistake}`)
      return 1
    }
    if (value('tag') !== '' && value('service') === '') {
      err('Cannot provide tag filter without service filter.')
      return 1
    }
    const [payload = ''] = rest
    const options = { node: value('node'), service: value('service'), tag: value('tag') }
    const datacenter = value('datacenter')
    const fired = await client.event.fire(value('name'), payload, {
      ...options,
      ...(datacenter === '' ? {} : { datacenter }),
    })
    out(`Event ID: ${fired.ID}`)
    return 0
  },
}

function mistakeIn(pattern: string): string | undefined {
  try {
    compilePattern(pattern)
    return undefined
  } catch (error) {
    if (!(error instanceof BadPattern)) throw error
    return error.message
  }
}
