import assert from 'node:assert/strict'
import { BadRequest, Refused } from '../errors.ts'
import type { AgentConfig, Configured } from './config.ts'
import { logger } from './log.ts'
import { Reload } from './reload.ts'

const config = { logLevel: 'info', nodeName: 'n1', dns: { onlyPassing: false }, warnings: [] } as unknown as AgentConfig

function reloading(configured: Configured) {
  const lines: string[] = []
  const logs = logger({ level: 'info', json: false, wall: () => 0, write: (line) => lines.push(line) })
  logs.open()
  return { logs, lines, reload: new Reload({ configure: () => configured, config, logs }) }
}

describe('reading the options again', () => {
  it('changes how much the log says', async () => {
    const { logs, lines, reload } = reloading({ config: { ...config, logLevel: 'debug' } })
    logs.log('debug', 'agent', 'before')
    await reload.run()
    logs.log('debug', 'agent', 'after')
    assert.deepEqual(
      lines.map((line) => line.replace(/^.*?\] /, '')),
      ['agent: Reloading configuration...', 'agent: after'],
    )
  })

  it('names what counts at the next start only, each time until then', async () => {
    const dns = { onlyPassing: true } as AgentConfig['dns']
    const { lines, reload } = reloading({ config: { ...config, dns, nodeName: 'n2' } })
    for (let time = 1; time <= 2; time++) {
      await reload.run()
      assert.match(lines.at(-1) ?? '', /\[WARN\] agent: these options have changed .*next start only: node_name, dns$/)
    }
  })

  it('with mistakes changes nothing, and says all of them', async () => {
    const { logs, lines, reload } = reloading({ mistakes: ['one', 'two'] })
    await assert.rejects(() => reload.run(), new Refused('one\ntwo'))
    logs.log('debug', 'agent', 'not at this level')
    assert.match(lines.at(-1) ?? '', /\[ERR\] agent: Failed to reload configs: one \| two$/)
  })

  it('hands on the services and checks that files define, and says what is wrong with them', async () => {
    const definitions = { services: [], checks: [] }
    const { logs, lines, reload } = reloading({ config: { ...config, logLevel: 'debug', definitions } })
    const applied: unknown[] = []
    reload.apply(async (given) => void applied.push(given))
    await reload.run()
    assert.deepEqual(applied, [definitions])
    assert.deepEqual(lines.length, 1, 'they are no change that waits for the next start')
    reload.apply(() => Promise.reject(new BadRequest('no such service')))
    await assert.rejects(reload.run(), new Refused('no such service'))
    logs.log('debug', 'agent', 'end')
    assert.match(lines.at(-2) ?? '', /\[ERR\] agent: Failed to reload configs: no such service$/)
  })
})
