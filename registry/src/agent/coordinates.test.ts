import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { coordinate, node as nodeDefinition } from '../../test/store/samples.ts'
import { BadRequest, Busy, DatacenterLost, NotLeader, Unanswered } from '../errors.ts'
import { Random } from '../io/random.ts'
import type { Coordinate, Member, Millis, NodeCoordinate } from '../model.ts'
import type { Command } from '../store/command.ts'
import { decodeCommand, encodeCommand, Store } from '../store/store.ts'
import { Coordinates } from './coordinates.ts'
import { Deadlines } from './deadlines.ts'
import type { Answer } from './peers.ts'

/** A pool as this agent sees it. */
class Seen {
  coordinate: Coordinate
  readonly others = new Map<string, Coordinate | undefined>()
  readonly gone = new Set<string>()
  readonly name: string

  constructor(name: string, own = coordinate(0)) {
    this.name = name
    this.coordinate = own
  }

  coordinateOf(name: string): Coordinate | undefined {
    return name === this.name ? this.coordinate : this.others.get(name)
  }

  members(): Member[] {
    return [this.name, ...this.others.keys()].map((name) => ({
      name,
      address: { host: '10.0.0.1', port: 8301 },
      status: this.gone.has(name) ? 'left' : 'alive',
      tags: { dc: name.split('.')[1] ?? 'dc1' },
      incarnation: 1,
    }))
  }
}

/** One agent, its leader's log, and the others as it sees them. */
class World {
  now: Millis = 0
  readonly deadlines = new Deadlines()
  readonly store = new Store()
  readonly lan = new Seen('n1')
  readonly wan: Seen | undefined
  readonly answers = new Map<string, Answer>()
  /** What is written, in order. */
  readonly written: NodeCoordinate[][] = []
  following = { leading: true, leader: 'n1-id', cluster: 'c' }
  understood = true
  /** What a write throws. */
  failure: Error | undefined
  /** What this agent asks others. */
  asked: (to: string, method: string) => unknown = () => {
    throw new Unanswered('nobody is there')
  }
  readonly coordinates: Coordinates
  #index = 1

  constructor({ server = true }: { server?: boolean } = {}) {
    this.wan = server ? new Seen('n1.dc1') : undefined
    this.coordinates = new Coordinates({
      io: { clock: { now: () => this.now, wall: () => 0 }, random: new Random(1), log: () => {} },
      deadlines: this.deadlines,
      peers: {
        answer: (method, answer) => this.answers.set(method, answer),
        ask: async (to, method) => this.asked(to.host, method),
      },
      forward: {
        ask: async (_method, _request, lead) => {
          if (!this.following.leading) throw new NotLeader()
          return lead()
        },
        lead: async (data) => {
          if (this.failure !== undefined) throw this.failure
          const command = decodeCommand(data)
          assert.ok(command.type === 'coordinates.update')
          this.written.push(command.updates)
          return { index: this.#index + 1, result: this.store.apply(++this.#index, data) }
        },
        expectCluster: (cluster) => {
          if (cluster !== 'c') throw new BadRequest('another cluster')
        },
      },
      following: new Proxy({} as never, { get: (_, name) => Reflect.get(this.following, name) }),
      view: this.store,
      node: 'n1',
      datacenter: 'dc1',
      lan: this.lan,
      wan: this.wan,
      servers: () => ['s1', 's2'].map((host) => ({ host, port: 8300 })),
      understood: () => this.understood,
    })
  }

  apply(command: Command): void {
    this.store.apply(++this.#index, encodeCommand(command))
  }

  register(...names: string[]): void {
    for (const name of names) this.apply({ type: 'catalog.register', node: nodeDefinition(name), checks: [] })
  }

  /** In ticks. */
  async run(span: Millis): Promise<void> {
    for (const until = this.now + span; this.now < until; ) {
      this.now += 100
      this.deadlines.tick(this.now)
      this.coordinates.tick(this.now)
      await turn()
    }
  }

  get told(): number[] {
    return this.written.map((updates) => updates.find(({ node }) => node === 'n1')?.coordinate.vector[0] ?? Number.NaN)
  }
}

/** Of somebody who has measured for long. */
const sure = (first: number): Coordinate => ({ ...coordinate(first), error: 0.1 })

describe('telling our coordinate', () => {
  it('happens within half a minute, and is in the catalog 5 s later', async () => {
    const world = new World()
    world.register('n1')
    world.lan.coordinate = sure(0.01)
    await world.run(15_000)
    assert.deepEqual(world.written, [])
    await world.run(20_100)
    assert.deepEqual(world.told, [0.01])
    assert.deepEqual(world.store.nodeCoordinates('n1').value[0]?.coordinate, sure(0.01))
  })

  it('does not happen again while nothing changes, in hours', async () => {
    const world = new World()
    world.register('n1', 'n2')
    world.lan.others.set('n2', coordinate(0.02))
    world.apply({ type: 'coordinates.update', updates: [{ node: 'n2', segment: '', coordinate: coordinate(0.02) }] })
    await world.run(3_600_000)
    assert.equal(world.written.length, 1)
  })

  it('does not happen for a drift of all together, nor for less than half a millisecond, nor for a little of much', async () => {
    const world = new World()
    world.register('n1', 'n2')
    world.apply({ type: 'coordinates.update', updates: [{ node: 'n2', segment: '', coordinate: coordinate(0.02) }] })
    const places: [own: number, other: number][] = [
      [0, 0.02],
      [5, 5.02],
      [5, 5.0204],
      [5, 5.0255],
    ]
    for (const [own, other] of places) {
      world.lan.coordinate = sure(own)
      world.lan.others.set('n2', coordinate(other))
      await world.run(60_000)
    }
    assert.equal(world.written.length, 1)
  })

  it('happens when the round trips in the catalog are wrong', async () => {
    const world = new World()
    world.register('n1', 'n2')
    world.lan.others.set('n2', coordinate(0.02))
    world.apply({ type: 'coordinates.update', updates: [{ node: 'n2', segment: '', coordinate: coordinate(0.02) }] })
    world.lan.coordinate = sure(0)
    await world.run(60_000)
    world.lan.coordinate = sure(0.01)
    await world.run(300_000)
    assert.deepEqual(world.told, [0, 0.01])
  })

  it('does not happen for what we are not sure of ourselves', async () => {
    const world = new World()
    world.register('n1', 'n2')
    world.lan.others.set('n2', coordinate(0.1))
    world.apply({ type: 'coordinates.update', updates: [{ node: 'n2', segment: '', coordinate: coordinate(0.1) }] })
    world.lan.coordinate = { ...sure(0), error: 0.9 }
    await world.run(60_000)
    world.lan.coordinate = { ...sure(0.045), error: 0.9 }
    await world.run(1_200_000)
    assert.deepEqual(world.told, [0])
    world.lan.coordinate = { ...sure(0.05), error: 0.9 }
    await world.run(60_000)
    assert.deepEqual(world.told, [0, 0.05])
  })

  it('happens soon when they are very wrong, and within minutes when they are a little', async () => {
    const world = new World()
    world.register('n1', 'n2')
    world.lan.others.set('n2', coordinate(0.1))
    world.apply({ type: 'coordinates.update', updates: [{ node: 'n2', segment: '', coordinate: coordinate(0.1) }] })
    world.lan.coordinate = sure(0)
    await world.run(60_000)
    world.lan.coordinate = sure(0.03)
    await world.run(60_000)
    assert.deepEqual(world.told, [0], 'a third nearer than the catalog says')
    await world.run(240_000)
    assert.deepEqual(world.told, [0, 0.03])
    world.lan.coordinate = sure(0.095)
    await world.run(120_000)
    assert.deepEqual(world.told, [0, 0.03, 0.095], 'a fourteenth of what it says')
  })

  it('happens when we have become much surer', async () => {
    const world = new World()
    world.register('n1')
    for (const error of [1.5, 0.8, 0.7, 0.36, 0.3]) {
      world.lan.coordinate = { ...coordinate(0), error }
      await world.run(60_000)
    }
    const errors = world.written.map(([update]) => update?.coordinate.error)
    assert.deepEqual(errors, [1.5, 0.7, 0.3])
  })

  it('happens again when the catalog has lost it: the node was taken out and came back', async () => {
    const world = new World()
    world.register('n1')
    await world.run(60_000)
    world.apply({ type: 'catalog.deregister', node: 'n1' })
    await world.run(120_000)
    assert.equal(world.written.length, 1, 'nothing is written about a node that is not there')
    world.register('n1')
    await world.run(60_000)
    assert.equal(world.written.length, 2)
  })

  it('is tried again when there was no leader, when it failed, and when the leader changed before it was written', async () => {
    const world = new World()
    world.register('n1')
    world.following = { leading: false, leader: '', cluster: 'c' }
    await world.run(60_000)
    world.following = { leading: true, leader: 'n1-id', cluster: 'c' }
    world.failure = new NotLeader()
    await world.run(60_000)
    world.failure = undefined
    const { update } = world.coordinates
    await update.call(world.coordinates, { node: 'n1', segment: '', coordinate: coordinate(7) })
    world.following = { leading: false, leader: 'n2-id', cluster: 'c' }
    await world.run(6_000)
    assert.deepEqual(world.written, [])
    world.following = { leading: true, leader: 'n1-id', cluster: 'c' }
    await world.run(60_000)
    assert.deepEqual(world.told, [0])
  })
})

describe('coordinates that a leader is told', () => {
  it('go into one entry after 5 s, of each node the last, and only of nodes that are there', async () => {
    const world = new World()
    world.register('n2', 'n3')
    for (const [name, place] of [
      ['n2', 0.1],
      ['n3', 0.2],
      ['N2', 0.3],
      ['stranger', 0.4],
    ] as const) {
      await world.coordinates.update({ node: name, segment: '', coordinate: coordinate(place) })
    }
    await world.run(4_900)
    assert.deepEqual(world.written, [])
    await world.run(200)
    const [first] = world.written as NodeCoordinate[][]
    const updates = first?.map(({ node, coordinate: { vector } }) => [node, vector[0]])
    assert.deepEqual(updates, [
      ['N2', 0.3],
      ['n3', 0.2],
    ])
    assert.equal(world.written.length, 1)
  })

  it('go into entries of 128, and beyond five of them the leader is busy', async () => {
    const world = new World()
    const names = Array.from({ length: 640 }, (_, at) => `m${at}`)
    world.register(...names)
    for (const name of names) await world.coordinates.update({ node: name, segment: '', coordinate: coordinate(0) })
    const one = { node: 'another', segment: '', coordinate: coordinate(0) }
    await assert.rejects(world.coordinates.update(one), Busy)
    await world.coordinates.update({ node: 'm5', segment: '', coordinate: coordinate(1) })
    await world.run(5_100)
    assert.deepEqual(
      world.written.map(({ length }) => length),
      [128, 128, 128, 128, 128],
    )
    await world.coordinates.update(one)
  })

  it('are not written while a server may not know what they are', async () => {
    const world = new World()
    world.register('n2')
    world.understood = false
    await world.coordinates.update({ node: 'n2', segment: '', coordinate: coordinate(0.1) })
    await world.run(6_000)
    assert.deepEqual(world.written, [])
    world.understood = true
    await world.coordinates.update({ node: 'n2', segment: '', coordinate: coordinate(0.1) })
    await world.run(6_000)
    assert.equal(world.written.length, 1)
  })

  it('by another agent have to be what they should, and meant for this cluster', async () => {
    const world = new World()
    world.register('n2')
    const take = world.answers.get('coordinate') as Answer
    const update = { node: 'n2', segment: '', coordinate: coordinate(0.5) }
    for (const body of [
      undefined,
      {},
      { cluster: 'c' },
      { cluster: 'other', update },
      { cluster: 'c', update: { ...update, node: 5 } },
      { cluster: 'c', update: { ...update, coordinate: { ...coordinate(0), vector: [1] } } },
      { cluster: 'c', update: { ...update, coordinate: { ...coordinate(0), error: Number.NaN } } },
    ]) {
      await assert.rejects(async () => take(body), BadRequest)
    }
    assert.equal(await take({ cluster: 'c', update }), true)
    await world.run(5_100)
    assert.deepEqual(world.written, [[update]])
    world.following.leading = false
    await assert.rejects(async () => take({ cluster: 'c', update }), NotLeader)
  })
})

describe('datacenters by their servers', () => {
  it('lists the servers whose places are known, by datacenter and name', async () => {
    const world = new World()
    world.wan?.others.set('n2.dc1', coordinate(0.2))
    world.wan?.others.set('far.dc2', coordinate(0.3))
    world.wan?.others.set('lost.dc2', undefined)
    world.wan?.others.set('nobody.dc3', undefined)
    world.wan?.others.set('went.dc4', coordinate(0.4))
    world.wan?.gone.add('went.dc4')
    assert.deepEqual(
      (await world.coordinates.datacenters()).map(({ datacenter, coordinates }) => [
        datacenter,
        ...coordinates.map(({ node, coordinate: { vector } }) => `${node} ${vector[0]}`),
      ]),
      [['dc1', 'n1 0', 'n2 0.2'], ['dc2', 'far 0.3'], ['dc3']],
    )
  })

  it('says how far a datacenter is: the middle of its servers, of those that are unknown the end', () => {
    const world = new World()
    const wan = world.wan as Seen
    for (const [name, place] of [
      ['a.dc2', 0.3],
      ['b.dc2', 0.1],
      ['c.dc2', 0.2],
      ['a.dc3', 0.5],
    ] as const) {
      wan.others.set(name, coordinate(place))
    }
    wan.others.set('b.dc3', undefined)
    assert.equal(Math.round(world.coordinates.distanceTo('dc2') ?? 0), 200)
    assert.equal(world.coordinates.distanceTo('dc3'), undefined)
    assert.equal(world.coordinates.distanceTo('dc9'), undefined)
  })

  it('is asked of the servers by an agent that is none, one after the other', async () => {
    const world = new World({ server: false })
    const known = [{ datacenter: 'dc1', coordinates: [] }]
    const asked: string[] = []
    world.asked = (to, method) => {
      asked.push(`${method} ${to}`)
      if (asked.length === 1) throw new Unanswered('silence')
      return known
    }
    assert.equal(await world.coordinates.datacenters(), known)
    assert.deepEqual(asked.sort(), ['coordinates s1', 'coordinates s2'])
    world.asked = () => {
      throw new Unanswered('silence')
    }
    await assert.rejects(world.coordinates.datacenters(), DatacenterLost)
    assert.equal(world.coordinates.distanceTo('dc1'), undefined)
  })
})
