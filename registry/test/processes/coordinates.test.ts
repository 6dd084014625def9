/** Round trips between real agents, through a proxy that makes some of them far, and without one. */
import assert from 'node:assert/strict'
import { Cluster, type Host, run, until } from './cluster.ts'
import { FaultProxy } from './proxy.ts'

interface Placed {
  Node: string
  Coord: { Vec: number[]; Error: number; Height: number }
}

describe('coordinates of real agents', function () {
  this.timeout(180_000)
  const cluster = new Cluster(3, { proxied: true })
  const proxy = new FaultProxy(cluster.hosts)
  const [one, two, far] = cluster.hosts as [Host, Host, Host]

  before(async () => {
    proxy.set([one, two], [far], { delayMin: 40, delayMax: 42 })
    proxy.set([far], [one, two], { delayMin: 40, delayMax: 42 })
    await proxy.open()
    await cluster.begin()
  })
  after(async () => {
    await cluster.end()
    await proxy.close()
  })

  const placed = (host: Host) => host.json<Placed[]>('/v1/coordinate/nodes?stale')
  const near = async (host: Host, from: string) =>
    (await host.json<{ Node: string }[]>(`/v1/catalog/nodes?near=${from}`)).map(({ Node }) => Node)
  const rtt = async (host: Host, ...names: string[]) => {
    const { code, output } = await run(['rtt', `-http-addr=${host.address}:8500`, ...names])
    assert.equal(code, 0, output)
    const found = /^Estimated (\S+) <-> (\S+) rtt: (\d+\.\d{3}) ms \(using LAN coordinates\)\n$/.exec(output)
    assert.deepEqual(found?.slice(1, 3), [names[0], names[1] ?? host.name], output)
    return Number(found?.[3])
  }

  it('a name that nobody has, or none, is an error of the command line', async () => {
    const http = `-http-addr=${one.address}:8500`
    const cases: [words: string[], output: RegExp][] = [
      [['rtt', http, 'nope'], /^Could not find a coordinate for node "nope"\n$/],
      [['rtt', http], /^One or two node names must be specified\n/],
      [['rtt', http, 'a', 'b', 'c'], /^One or two node names must be specified\n/],
      [
        ['rtt', http, '-wan', 'host1', 'host2.dc1'],
        /^Node names must be specified as <node name>.<datacenter> with -wan\n$/,
      ],
      [['rtt', http, '-wan', 'host9.dc1'], /^Could not find a coordinate for node "host9.dc1"\n$/],
      [['rtt', '-http-addr=127.0.0.1:1', 'a', 'b'], /^Error getting coordinates: .*\n/],
      [['rtt', '-http-addr=127.0.0.1:1', 'a'], /^Unable to look up agent info: .*\n/],
    ]
    for (const [words, output] of cases) {
      const ended = await run(words)
      assert.equal(ended.code, 1, words.join(' '))
      assert.match(ended.output, output, words.join(' '))
    }
  })

  it('a server knows its own place among those of all datacenters', async () => {
    const { output } = await run(['rtt', '-wan', `-http-addr=${one.address}:8500`, 'HOST1.dc1'])
    assert.match(output, /^Estimated HOST1.dc1 <-> host1.dc1 rtt: \d+\.\d{3} ms \(using WAN coordinates\)\n$/)
  })

  it('every agent tells its own, and the far one is far for all of them', async () => {
    await until('three coordinates', async () => (await placed(two)).length === 3, 60_000)
    await until(
      'the right order everywhere, and estimates that are about right',
      async () => {
        for (const host of cluster.hosts) {
          if ((await near(host, 'host1')).join() !== 'host1,host2,host3') return undefined
          if ((await near(host, 'host2')).join() !== 'host2,host1,host3') return undefined
          if ((await near(host, 'host3'))[0] !== 'host3') return undefined
        }
        const [short, long] = [await rtt(one, 'host2'), await rtt(one, 'host1', 'host3')]
        return long > 60 && 2 * short < long
      },
      120_000,
    )
    assert.deepEqual(await near(far, '_agent'), await near(one, 'host3'))
  })

  it('coordinates are kept over a restart of all', async () => {
    const before = await placed(one)
    await Promise.all(cluster.hosts.map(({ process }) => process?.signal('SIGTERM')))
    for (const host of cluster.hosts) host.start('-server', `-join=${one.advertised}`)
    await cluster.settled()
    assert.deepEqual(
      (await one.json<Placed[]>('/v1/coordinate/nodes')).map(({ Node }) => Node),
      before.map(({ Node }) => Node),
    )
  })
})
