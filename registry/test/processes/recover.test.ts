import assert from 'node:assert/strict'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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

describe('raft/peers.json', function () {
  this.timeout(120_000)
  const cluster = new Cluster(3)
  after(() => cluster.end())
  const [first, second, third] = cluster.hosts as [Host, Host, Host]
  const peersFile = ({ dataDir }: Host) => join(dataDir, 'raft/peers.json')
  const write = (host: Host, value: unknown) => writeFileSync(peersFile(host), JSON.stringify(value))
  const voters = (host: Host) => host.json<string[]>('/v1/status/peers')

  it('lets the servers in it go on with what they have, when two of three disks are lost', async () => {
    await cluster.begin()
    await first.put('kept', 'x')
    await until('everybody has it', async () => (await third.get('kept', '&stale')) === 'x')
    const id = await third.nodeId()
    for (const { process } of [third, second, first]) await process?.signal('SIGKILL')
    for (const lost of [first, second]) rmSync(lost.dataDir, { recursive: true })
    assert.match(readFileSync(join(third.dataDir, 'raft/peers.info'), 'utf8'), /"non_voter": false/)

    for (const [value, reason] of [
      [
        [{ id, address: 'nonsense' }],
        /raft\/peers\.json in the data directory: server 1 of 1: expected an address.*"nonsense"/,
      ],
      [
        [{ id: 'somebody', address: `${third.address}:8300` }],
        /this server, \S+, is not among those that go on: somebody/,
      ],
      [['10.9.9.9:8300'], /no server of the cluster was at 10\.9\.9\.9:8300/],
    ] as const) {
      write(third, value)
      const refused = third.start('-server')
      assert.equal((await refused.ended).code, 1)
      assert.match(refused.output, reason)
      assert.ok(existsSync(peersFile(third)), 'it was removed')
    }

    write(third, [{ id, address: `${third.address}:8300`, non_voter: false }])
    third.start('-server')
    await third.process?.shows(/deleted raft\/peers\.json after it was followed/)
    assert.ok(!existsSync(peersFile(third)))
    await until('a leader', async () => (await third.leader()) === `${third.address}:8300`)
    assert.equal(await third.get('kept', '&consistent'), 'x')
    await third.put('later', 'y')
    for (const lost of [first, second]) lost.start('-server', `-join=${third.address}`)
    await until('three voters', async () => (await voters(third)).length === 3, 60_000)
    assert.equal(await first.get('later'), 'y')
  })

  it('of addresses alone, the same on two that are left: they elect one, and the third is not listened to', async () => {
    for (const { process } of cluster.hosts) await process?.signal('SIGTERM')
    const addresses = [second, third].map(({ address }) => `${address}:8300`)
    for (const host of [second, third]) write(host, addresses)
    for (const host of [second, third]) host.start('-server')
    await until('a leader', async () => addresses.includes(await third.leader()))
    assert.equal(await second.get('kept', '&consistent'), 'x')
    assert.deepEqual((await voters(second)).sort(), addresses.sort())
    assert.equal(await second.leader(), await third.leader())
    // It comes back with the history that was given up.
    first.start('-server', `-join=${third.address}`)
    await until('somebody says so', () =>
      /belongs to another cluster|is of cluster/.test((second.process?.output ?? '') + (third.process?.output ?? '')),
    )
    assert.deepEqual((await voters(third)).sort(), addresses)
    await third.put('still', 'z')
    assert.equal(await second.get('still'), 'z')
  })

  it('where there is no log ends the start', async () => {
    const [fresh] = new Cluster(1).hosts as [Host]
    const started = fresh.start('-server', '-bootstrap')
    await started.shows(/cluster leadership acquired/)
    await started.signal('SIGTERM')
    rmSync(join(fresh.dataDir, 'raft/wal'), { recursive: true })
    rmSync(join(fresh.dataDir, 'raft/commit'), { force: true })
    write(fresh, [{ id: 'x', address: '10.0.0.1:8300' }])
    const again = fresh.start('-server', '-bootstrap')
    assert.equal((await again.ended).code, 1)
    assert.match(again.output, /raft\/peers\.json .*no log of any cluster in this data directory/)
    rmSync(fresh.dataDir, { recursive: true })
  })
})
