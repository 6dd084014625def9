/** Two datacenters of three servers: one is lost, in two ways, and the other goes on. What it costs: scripts/datacenters.ts. */
import assert from 'node:assert/strict'
import { Cluster, type Host } from './cluster.ts'
import { beginDatacenter, connected, led, Questions } from './datacenters.ts'

describe('a datacenter of three servers that is lost', function () {
  this.timeout(120_000)
  const cluster = new Cluster(6)
  const [ours, theirs] = [cluster.hosts.slice(0, 3), cluster.hosts.slice(3)]
  before(async () => {
    await beginDatacenter(ours, 'dc1', undefined)
    await beginDatacenter(theirs, 'dc2', ours[0])
    await connected(ours, theirs)
  })
  after(async () => {
    for (const { process } of theirs) process?.child.kill('SIGCONT')
    await cluster.end()
  })

  /** All there is of its own is answered by each server, while the other datacenter is asked for as well. */
  async function goesOn(): Promise<void> {
    const asked = ours.map(async (host) => {
      const questions = [new Questions(host.address), new Questions(host.address)] as const
      const lost = host.get('color', '&dc=dc2').then(
        (text) => text,
        (error: Error) => error.message,
      )
      const lostName = questions[1].ask('web.service.dc2.consul', 30_000)
      for (let round = 0; round < 20; round++) {
        assert.equal(await host.get('color'), 'dc1')
        assert.equal(await host.get('color', '&stale'), 'dc1')
        await host.put('color', 'dc1')
        const found = await questions[0].ask('web.service.consul')
        assert.deepEqual(found.sort(), ours.map(({ address }) => address).sort())
      }
      assert.match((await lost) ?? '', /500 .*dc2/)
      assert.deepEqual(await lostName, ['SERVFAIL'])
      for (const each of questions) each.close()
    })
    await Promise.all(asked)
  }

  it('by SIGKILL is an error for who asks for it and nothing to the other, and it comes back', async () => {
    await Promise.all(theirs.map((host: Host) => host.process?.signal('SIGKILL')))
    await goesOn()
    for (const host of theirs) host.start()
    await led(theirs)
    await connected(ours, theirs)
  })

  it('by SIGSTOP, when connections stay open and nothing is answered: the same', async () => {
    for (const { process } of theirs) process?.child.kill('SIGSTOP')
    await goesOn()
    for (const { process } of theirs) process?.child.kill('SIGCONT')
    await connected(ours, theirs)
  })
})
