import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { Cluster, type Host, run, until } from './cluster.ts'

describe('when a majority is lost for good', function () {
  this.timeout(120_000)
  const cluster = new Cluster(3)
  after(() => cluster.end())

  it('one server goes on alone after a yes, with everything it has, and the others are taken in again', async () => {
    await cluster.begin()
    const [first, second, third] = cluster.hosts as [Host, Host, Host]
    await first.put('kept', 'x')
    await until('everybody has it', async () => (await third.get('kept', '&stale')) === 'x')
    for (const lost of [first, second]) {
      await lost.process?.signal('SIGKILL')
      rmSync(lost.dataDir, { recursive: true })
    }
    const running = await run(['recover', `-data-dir=${third.dataDir}`, '-yes'])
    assert.equal(running.code, 1)
    assert.match(running.output, /in use|lock|runs/i)
    await third.process?.signal('SIGTERM')

    const unasked = await run(['recover', `-data-dir=${third.dataDir}`])
    assert.equal(unasked.code, 1, unasked.output)
    assert.match(unasked.output, /goes on alone[\s\S]*Nothing was done/)
    const done = await run(['recover', `-data-dir=${third.dataDir}`, '-yes'])
    assert.equal(done.code, 0, done.output)
    for (const lost of [first, second]) assert.ok(done.output.includes(`${lost.address}:8300`), done.output)

    third.start('-server')
    await until('a leader', async () => (await third.leader()) === `${third.address}:8300`)
    assert.equal(await third.get('kept', '&consistent'), 'x')
    await third.put('later', 'y')
    for (const lost of [first, second]) lost.start('-server', `-join=${third.address}`)
    await until('three voters', async () => (await third.json<string[]>('/v1/status/peers')).length === 3, 30_000)
    assert.equal(await first.get('later'), 'y')
  })

  it('a folder that holds no log is refused', async () => {
    for (const [words, reason] of [
      [['recover'], /-data-dir is required/],
      [['recover', `-data-dir=${cluster.folder}/empty`], /not the data directory of any agent/],
    ] as const) {
      const { code, output } = await run(words)
      assert.equal(code, 1)
      assert.match(output, reason)
    }
  })
})
