import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Cluster, type Host, until } from './cluster.ts'

describe('a data directory of which a part is gone', function () {
  this.timeout(120_000)
  const cluster = new Cluster(1)
  after(() => cluster.end())

  it('is refused with the way out, and never a cluster without its data or a second vote', async () => {
    const [host] = cluster.hosts as [Host]
    host.start('-server', '-bootstrap')
    await until('a leader', async () => (await host.leader()) !== '')
    await host.put('color', 'blue')
    const id = await host.nodeId()
    await host.process?.signal('SIGTERM')

    const nodeFile = readFileSync(join(host.dataDir, 'node.json'))
    const other = '11111111-2222-3333-4444-555555555555'
    const strange = host.start('-server', '-bootstrap', `-node-id=${other}`)
    assert.equal((await strange.ended).code, 1)
    assert.match(strange.output, /-node-id/)
    for (const each of [id, other]) assert.ok(strange.output.includes(each), strange.output)
    assert.deepEqual(readFileSync(join(host.dataDir, 'node.json')), nodeFile)

    rmSync(join(host.dataDir, 'node.json'))
    // Twice: the first refusal must not make the next start look right.
    for (let attempt = 1; attempt <= 2; attempt++) {
      const withoutId = host.start('-server', '-bootstrap')
      assert.equal((await withoutId.ended).code, 1)
      assert.match(withoutId.output, /node\.json is missing/)
      assert.ok(withoutId.output.includes(id), withoutId.output)
    }
    const misnamed = host.start('-server', '-bootstrap', `-node-id=${other}`)
    assert.equal((await misnamed.ended).code, 1)
    for (const each of [id, other]) assert.ok(misnamed.output.includes(each), misnamed.output)
    const named = host.start('-server', '-bootstrap', `-node-id=${id}`)
    await until('a leader', async () => (await host.leader()) !== '')
    assert.equal(await host.get('color'), 'blue')
    await named.signal('SIGTERM')

    rmSync(join(host.dataDir, 'raft'), { recursive: true })
    const withoutLog = host.start('-server', '-bootstrap')
    assert.equal((await withoutLog.ended).code, 1)
    assert.match(withoutLog.output, /the log in the data directory \(raft\/\) is gone/)
  })
})
