/** `npm run sim` as a command: its shares, its ends and its exit codes. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(new URL('../../../scripts/sim.ts', import.meta.url))

function sim(...words: string[]): { status: number | null; lines: string[]; errors: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...words], { encoding: 'utf8' })
  return { status, lines: stdout.trim().split('\n'), errors: stderr }
}

describe('the command that runs the simulator', function () {
  this.timeout(120_000)

  it('ends after so many simulated hours, says where to go on, and finds the same whoever shares the seeds', () => {
    const words = ['--from', '40', '--faults', '1000']
    const alone = sim(...words, '--hours', '0.003')
    assert.equal(alone.status, 0, alone.errors)
    const [, seeds = ''] = /^(\d+) seeds, 0\.\d\d simulated hours, 0 violations$/.exec(alone.lines.at(-1)!) ?? []
    assert.ok(alone.lines.includes(`to go on: --from ${40 + Number(seeds)}`), alone.lines.join('\n'))
    assert.match(alone.lines.at(-2)!, /^fingerprint [0-9a-f]{8}$/)
    const shared = sim(...words, '--seeds', seeds, '--jobs', '2')
    assert.deepEqual(shared.lines.slice(-2), alone.lines.slice(-2))
  })

  it('tells with one seed all that happened in it', () => {
    const { status, lines } = sim('--seeds', '1', '--from', '41', '--faults', '1000')
    assert.equal(status, 0)
    assert.ok(lines.some((line) => /^ +\d+\.\d a \[info\] raft: /.test(line)))
    assert.ok(lines.some((line) => line.startsWith('faults: {')))
  })

  it('refuses arguments that make no sense with code 2', () => {
    const { status, errors } = sim('--jobs', 'two')
    assert.equal(status, 2)
    assert.match(errors, /^expected --jobs to be a number of at least 1, received "two"\nusage: npm run sim/)
  })
})
