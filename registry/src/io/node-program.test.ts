import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../../../test/until.ts'
import { Programs } from './node-program.ts'

describe('a script check', () => {
  let programs: Programs
  beforeEach(() => {
    programs = new Programs()
  })
  afterEach(() => programs.close())

  const shell = (line: string, timeout = 10_000, outputMax = 4096) =>
    programs.run({ args: ['/bin/sh', '-c', line], timeout, outputMax })

  it('is passing with exit code 0, a warning with 1, critical with any other and when a signal ends it', async () => {
    assert.deepEqual(await shell('echo out; echo err >&2'), { status: 'passing', output: 'out\nerr\n' })
    assert.deepEqual(await shell('echo so so; exit 1'), { status: 'warning', output: 'so so\n' })
    assert.deepEqual(await shell('exit 2'), { status: 'critical', output: '' })
    assert.deepEqual(await shell('kill -9 $$'), { status: 'critical', output: '' })
  })

  it('is given its words as they are: no shell looks at them', async () => {
    const run = await programs.run({ args: ['printf', '%s|', '$HOME', 'a b', '; id'], timeout: 10_000, outputMax: 100 })
    assert.deepEqual(run, { status: 'passing', output: '$HOME|a b|; id|' })
  })

  it('keeps the last bytes of a long output, and says how many there were', async () => {
    const { status, output } = await shell('head -c 200000 /dev/zero | tr "\\0" a; printf end', 10_000, 10)
    assert.deepEqual([status, output], ['passing', 'Captured 10 of 200003 bytes\n...\naaaaaaaend'])
  })

  it('that cannot be started is critical, in the words of Go', async () => {
    for (const [name, output] of [
      ['no-such-program', 'exec: "no-such-program": executable file not found in $PATH'],
      ['/no/such', 'fork/exec /no/such: no such file or directory'],
      ['/etc/passwd', 'fork/exec /etc/passwd: permission denied'],
    ]) {
      const run = await programs.run({ args: [name as string], timeout: 10_000, outputMax: 100 })
      assert.deepEqual(run, { status: 'critical', output })
    }
  })

  it('whose time is up ends with all that it started', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'program-'))
    try {
      // The child of the child holds the pipe, too.
      const line = `echo before; sleep 600 & echo $! > ${folder}/pid; wait`
      const run = await shell(line, 500)
      assert.deepEqual(run, { status: 'critical', output: 'Timed out (0.5s) running check\n\nbefore\n' })
      const pid = Number(readFileSync(`${folder}/pid`, 'utf8'))
      await until('the child of the child to end', () => !lives(pid))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('that hangs keeps no other from running, however many hang', async () => {
    const hanging = Array.from({ length: 60 }, () => shell('sleep 600', 60_000))
    assert.deepEqual(await shell('echo here'), { status: 'passing', output: 'here\n' })
    programs.close()
    for (const each of await Promise.all(hanging)) assert.equal(each.status, 'critical')
  })
})

/** A zombie, which nobody here can take away, counts as gone. */
function lives(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
