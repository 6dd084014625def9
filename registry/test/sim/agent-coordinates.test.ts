/** Whole agents on a network with distances: what their catalog says of who is near, and what saying it costs. */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { Ledger } from './agent-checkers.ts'
import { Agents } from './agents.ts'
import { World } from './world.ts'

/** Three sites: a and b 4 ms apart one way, c 20 ms from a and 17 ms from b; half a millisecond within each. */
const sites: Readonly<Record<string, string>> = { s1: 'a', s2: 'b', s3: 'c', c1: 'a', c2: 'b', c3: 'c', c4: 'a' }
const ways: Readonly<Record<string, Millis>> = { ab: 4, ac: 20, bc: 17 }
const way = (from: string, to: string): Millis =>
  ways[[sites[from], sites[to]].sort().join('')] ?? (from === to ? 0 : 0.5)

async function cluster(seed: number) {
  const world = new World(seed, { settleTurns: 3 })
  const ledger = new Ledger()
  let failure: Error | undefined
  const fail = (error: Error) => {
    failure ??= error
  }
  const agents = new Agents({ world, ledger, random: new Random(seed), replica: {}, fail })
  world.onHalt = (_name, reason) => fail(reason)
  world.network.way = way
  for (const name of Object.keys(sites)) {
    const server = name.startsWith('s')
    agents.add(name, { server, expect: server ? 3 : 0 })
    agents.start(name)
  }
  const run = async (span: Millis) => {
    await world.runWhile(() => failure === undefined, span, 100)
    if (failure !== undefined) throw failure
  }
  const near = async (asked: string, path: string) => {
    let rows: { Node: string }[] | undefined
    agents.request(asked, 'GET', path).then((answer) => {
      rows = JSON.parse(answer?.text ?? '[]')
    }, fail)
    await world.runWhile(() => rows === undefined, 15_000, 10)
    if (failure !== undefined) throw failure
    return rows?.map(({ Node }) => Node) ?? []
  }
  return { world, agents, ledger, run, near }
}

describe('whole agents and distances', function () {
  this.timeout(60_000)

  for (const seed of [1, 2]) {
    it(`every agent knows after minutes who is near, through a change of leader, and then there is peace; seed ${seed}`, async () => {
      const { agents, ledger, run, near } = await cluster(seed)
      await run(5 * 60_000)
      const expectNear = async () => {
        for (const asked of Object.keys(sites)) {
          for (const from of ['_agent', 's3', 'c2']) {
            const nodes = await near(asked, `/v1/catalog/nodes?near=${from}`)
            assert.equal(nodes.length, Object.keys(sites).length)
            const node = from === '_agent' ? asked : from
            const distances = nodes.map((other) => way(node, other))
            assert.deepEqual(
              distances,
              distances.toSorted((a, b) => a - b),
              `near ${from} at ${asked}: ${nodes.join()}`,
            )
          }
        }
      }
      await expectNear()

      const former = agents.leader()?.name ?? ''
      agents.down(former, true)
      await run(60_000)
      agents.start(former)
      await run(60_000)
      await expectNear()

      const before = ledger.measured
      await run(10 * 60_000)
      // Consul writes 40 entries and more.
      const entries = ledger.measured - before
      assert.ok(entries <= 6, `${entries} entries in 10 minutes in which nothing happens`)
      await expectNear()
    })
  }

  it('a node that moves to another site is found there, and one that left nowhere', async () => {
    const { world, agents, run, near } = await cluster(4)
    await run(4 * 60_000)
    assert.deepEqual((await near('s1', '/v1/catalog/nodes?near=c3')).slice(0, 2).sort(), ['c3', 's3'])
    const places: Readonly<Record<string, string>> = { ...sites, c3: 'a' }
    world.network.way = (from, to) => ways[[places[from], places[to]].sort().join('')] ?? (from === to ? 0 : 0.5)
    await run(6 * 60_000)
    assert.deepEqual((await near('s1', '/v1/catalog/nodes?near=c3')).slice(0, 4).sort(), ['c1', 'c3', 'c4', 's1'])
    void agents.leave('c4')
    await run(60_000)
    assert.ok(!(await near('s1', '/v1/coordinate/nodes')).includes('c4'))
  })

  it('datacenters are listed by their distance, at each from where it is', async () => {
    const world = new World(5, { settleTurns: 3 })
    let failure: Error | undefined
    const fail = (error: Error) => {
      failure ??= error
    }
    world.onHalt = (_name, reason) => fail(reason)
    // On a line, in milliseconds one way.
    const at: Readonly<Record<string, Millis>> = { dc1: 0, dc2: 90, dc3: 10, dc4: 40 }
    const place = (node: string) => at[`dc${node[1]}`] ?? 0
    world.network.way = (from, to) => Math.abs(place(from) - place(to))
    const datacenters = Object.keys(at).map((datacenter, n) => {
      const wan = n === 0 ? [] : ['10.1.0.1:8302']
      const agents = new Agents({
        world,
        ledger: new Ledger(),
        random: new Random(world.random.word()),
        replica: {},
        fail,
        place: { datacenter, network: `10.${n + 1}`, wan },
      })
      agents.add(`s${n + 1}`, { server: true, expect: 1 })
      agents.add(`c${n + 1}`, { server: false, expect: 0 })
      for (const name of agents.stations.keys()) agents.start(name)
      return agents
    })
    await world.runWhile(() => failure === undefined, 6 * 60_000, 1000)
    assert.ifError(failure)
    const expected = ['dc1 dc3 dc4 dc2', 'dc2 dc4 dc3 dc1', 'dc3 dc1 dc4 dc2', 'dc4 dc3 dc1 dc2']
    for (const [n, agents] of datacenters.entries()) {
      for (const name of [`s${n + 1}`, `c${n + 1}`]) {
        const answers: string[] = []
        for (const path of ['/v1/catalog/datacenters', '/v1/coordinate/datacenters']) {
          agents.request(name, 'GET', path).then((answer) => answers.push(answer?.text ?? 'none'), fail)
        }
        await world.runWhile(() => failure === undefined && answers.length < 2, 15_000, 10)
        assert.ifError(failure)
        const [ordered, listed] = answers.sort().map((text) => JSON.parse(text)) as [
          string[],
          { Datacenter: string; AreaID: string; Coordinates: { Node: string }[] }[],
        ]
        assert.equal(ordered.join(' '), expected[n], name)
        const servers = listed.map(({ Datacenter, AreaID, Coordinates }) =>
          [Datacenter, AreaID, ...Coordinates.map(({ Node }) => Node)].join(' '),
        )
        assert.deepEqual(servers, ['dc1 wan s1', 'dc2 wan s2', 'dc3 wan s3', 'dc4 wan s4'], name)
      }
    }
  })
})
