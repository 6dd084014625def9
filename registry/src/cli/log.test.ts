import assert from 'node:assert/strict'
import { logger } from './log.ts'

const wall = () => Date.UTC(2026, 10, 25, 9, 3, 30, 5)

describe('log', () => {
  it('keeps its lines until it is opened, then writes in the old words', () => {
    const lines: string[] = []
    const { log, open } = logger({ level: 'info', json: false, wall, write: (line) => lines.push(line) })
    log('error', 'agent', 'failed to sync remote state: No cluster leader')
    assert.deepEqual(lines, [])
    open()
    log('info', 'raft', 'x', { a: 1, b: 'two words' })
    log('debug', 'raft', 'not at this level')
    assert.deepEqual(lines, [
      '    2026/11/25 09:03:30 [ERR] agent: failed to sync remote state: No cluster leader',
      '    2026/11/25 09:03:30 [INFO] raft: x a=1 b="two words"',
    ])
  })

  it('a message from elsewhere cannot begin a line of its own', () => {
    const lines: string[] = []
    const { log, open } = logger({ level: 'info', json: false, wall, write: (line) => lines.push(line) })
    open()
    log('info', 'http', 'bad\n2026/01/01 [ERR] forged')
    assert.equal(lines.join('').includes('\n'), false)
  })

  it('JSON lines parse', () => {
    const lines: string[] = []
    const { log, open } = logger({ level: 'info', json: true, wall, write: (line) => lines.push(line) })
    open()
    log('warn', 'dns', 'odd "name"', { name: 'x' })
    assert.deepEqual(JSON.parse(lines[0] ?? ''), {
      '@level': 'warn',
      '@message': 'odd "name"',
      '@module': 'dns',
      '@timestamp': '2026-11-25T09:03:30.005Z',
      name: 'x',
    })
  })
})
