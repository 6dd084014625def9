import assert from 'node:assert/strict'
import { check, coordinate, Log, node, preparedQuery, service } from '../../test/store/samples.ts'
import { DatacenterLost } from '../errors.ts'
import { Random } from '../io/random.ts'
import type { Millis, PreparedQueryService } from '../model.ts'
import { type Executed, Queries, type QueryAsked, type QueryErrand } from './queries.ts'

type Ask = (datacenter: string, errand: QueryErrand, within: Millis) => Promise<Executed | undefined>

const asked: QueryAsked = { near: '', ip: '', agent: 'n1', limit: 0, connect: false }

function world({ datacenters = ['dc1'], ask = (() => assert.fail('asked')) as Ask, seed = 1 } = {}) {
  const log = new Log()
  const clock = { at: 0, now: () => clock.at, wall: () => 0 }
  const warned: string[] = []
  const queries = new Queries({
    view: () => log.store,
    io: { random: new Random(seed), clock, log: (_level, _area, message) => warned.push(message) },
    datacenter: 'dc1',
    remote: { datacenters: async () => datacenters, query: ask },
  })
  const define = (wanted: Partial<PreparedQueryService>, name = 'q') => {
    const result = log.apply({ type: 'query.set', query: preparedQuery(name, { service: wanted }), create: true })
    assert.ok('value' in result, JSON.stringify(result))
  }
  const names = (more: Partial<QueryAsked> = {}, name = 'q') => {
    const query = queries.resolve(name)
    assert.ok(query !== undefined)
    return queries.here(query, { ...asked, ...more }).instances.map((instance) => instance.node.name)
  }
  return { log, clock, warned, queries, define, names }
}

/** Three instances of web: n1 of v1 and prod in rack r1, n2 without tags, n3 of v2. */
function three(options: Parameters<typeof world>[0] = {}) {
  const made = world(options)
  const { log } = made
  const web = (tags: string[], meta: Record<string, string> | null = null) => service('web', { tags, meta })
  log.register(node('n1', { address: '10.0.0.1', meta: { rack: 'r1' } }), web(['v1', 'Prod'], { ver: '1' }))
  log.register(node('n2', { address: '10.0.0.2' }), web([]))
  log.register(node('n3', { address: '10.0.0.3' }), web(['v2']))
  return made
}

describe('a prepared query, executed here', () => {
  const found = (wanted: Partial<PreparedQueryService>) => {
    const { define, names } = three()
    define(wanted)
    return names().sort()
  }

  it('finds instances with all of its tags and none of those it does not want, whatever their case', () => {
    assert.deepEqual(found({ tags: ['pRod', 'v1'] }), ['n1'])
    assert.deepEqual(found({ tags: ['!V1'] }), ['n2', 'n3'])
    assert.deepEqual(found({ tags: ['v2', '!v1'] }), ['n3'])
    assert.deepEqual(found({ tags: [''] }), [])
    assert.deepEqual(found({ tags: ['!'] }), ['n1', 'n2', 'n3'])
  })

  it('finds those whose node and service have what it asks for', () => {
    assert.deepEqual(found({ nodeMeta: { rack: 'r1' } }), ['n1'])
    assert.deepEqual(found({ nodeMeta: { rack: 'r2' } }), [])
    assert.deepEqual(found({ serviceMeta: { ver: '1' } }), ['n1'])
    assert.deepEqual(found({ serviceMeta: { toString: '1' } }), [])
  })

  it('finds none for a service mesh', () => {
    assert.deepEqual(found({ connect: true }), [])
    const { define, names } = three()
    define({})
    assert.deepEqual(names({ connect: true }), [])
  })

  it('leaves out what is critical, and warnings when it is told to, but for checks that count for nothing', () => {
    const { log, define, names } = three()
    log.register(node('n1'), undefined, check('disk', { status: 'critical' }))
    log.register(node('n2'), undefined, check('load', { status: 'warning', serviceId: 'web' }))
    define({}, 'any')
    define({ onlyPassing: true }, 'passing')
    define({ onlyPassing: true, ignoreCheckIds: ['disk', 'load'] }, 'ignoring')
    assert.deepEqual(names({}, 'any').sort(), ['n2', 'n3'])
    assert.deepEqual(names({}, 'passing').sort(), ['n3'])
    assert.deepEqual(names({}, 'ignoring').sort(), ['n1', 'n2', 'n3'])
  })

  it('gives every order, and as many as are wanted', () => {
    const orders = new Set<string>()
    for (let seed = 0; seed < 100; seed++) {
      const { define, names } = three({ seed })
      define({})
      orders.add(names().join())
      assert.equal(names({ limit: 2 }).length, 2)
      assert.equal(names({ limit: 9 }).length, 3)
    }
    assert.equal(orders.size, 6)
  })

  it('puts the node first that is to be near, without any coordinates: its own, or the one that is asked for', () => {
    const { define, names } = three()
    define({ near: 'n2' })
    for (let times = 0; times < 10; times++) {
      assert.equal(names()[0], 'n2')
      assert.equal(names({ near: 'n3' })[0], 'n3')
      assert.equal(names({ near: '_agent', limit: 1 })[0], 'n1')
      assert.equal(names({ near: '_ip', ip: '10.0.0.3' })[0], 'n3')
    }
    assert.equal(names({ near: '_ip', ip: '10.0.0.9' }).length, 3)
    assert.equal(names({ near: 'nobody' }).length, 3)
  })

  it('sorts by the round trip where that is known', () => {
    const { log, define, names } = three()
    const at = (name: string, far: number) => ({ node: name, segment: '', coordinate: coordinate(far) })
    log.apply({ type: 'coordinates.update', updates: [at('n1', 0), at('n2', 0.2), at('n3', 0.1)] })
    define({ near: '_agent' })
    for (let times = 0; times < 10; times++) assert.deepEqual(names(), ['n1', 'n3', 'n2'])
    assert.deepEqual(names({ near: 'n2' }), ['n2', 'n3', 'n1'])
  })

  it('is found by its name in any case, by its id, and not at all by an empty one', () => {
    const { queries, define } = three()
    define({}, 'Plain')
    const { id } = preparedQuery('Plain')
    for (const name of ['plain', 'PLAIN', id, id.toUpperCase()])
      assert.equal(queries.resolve(name)?.name, 'Plain', name)
    assert.equal(queries.resolve('pla'), undefined)
    assert.equal(queries.resolve('11111111-2222-3333-4444-555555555555'), undefined)
    assert.throws(() => queries.resolve(''), { name: 'Refused' })
  })

  it('made from a template is the one with the longest name, and is not found by its id', () => {
    const { log, queries } = three()
    const template = { type: 'name_prefix_match', regexp: '', removeEmptyTags: false }
    for (const name of ['', 'g', 'geo-', 'geo-db-']) {
      const query = preparedQuery(name, { template, service: { service: `${name}|\${name.suffix}` } })
      log.apply({ type: 'query.set', query, create: true })
    }
    log.apply({
      type: 'query.set',
      query: preparedQuery('geo-db-exact', { service: { service: 'exact' } }),
      create: true,
    })
    const meant = (name: string) => queries.resolve(name)?.service.service
    assert.equal(meant('geo-db-1'), 'geo-db-|1')
    assert.equal(meant('geo-db-exact'), 'exact')
    assert.equal(meant('geo-dz'), 'geo-|dz')
    assert.equal(meant('geo'), 'g|eo')
    assert.equal(meant('GEO-x'), 'geo-|GEO-x')
    assert.equal(meant('zebra'), '|zebra')
    assert.throws(() => queries.resolve(preparedQuery('geo-', {}).id), {
      message: 'prepared query templates can only be resolved up by name, not by ID',
    })
  })
})

describe('a prepared query that finds nothing here', () => {
  const there = (datacenter: string, instances: Executed['instances'] = []): Executed => ({
    service: 'web',
    instances,
    ttl: '',
    datacenter,
    failovers: 0,
    ordered: false,
  })
  const one = () => three().log.store.instances('web').value.slice(0, 1)

  it('looks in the nearest datacenters, then in those it names and that are known, until one has something', async () => {
    const order: string[] = []
    const { queries, define } = world({
      datacenters: ['dc1', 'dc4', 'dc2', 'dc3', 'dc5'],
      ask: async (datacenter) => {
        order.push(datacenter)
        return there(datacenter, datacenter === 'dc3' ? one() : [])
      },
    })
    define({ failover: { nearest: 2, datacenters: ['dc9', 'dc1', 'dc2', 'dc3', 'dc5'] } })
    const found = await queries.execute('q', asked, 1_000)
    assert.deepEqual(order, ['dc4', 'dc2', 'dc3'])
    assert.deepEqual([found?.datacenter, found?.failovers, found?.instances.length], ['dc3', 3, 1])
  })

  it('asks nobody when it does not say so, and goes on when one does not answer', async () => {
    const { queries, define, warned } = world({
      datacenters: ['dc1', 'dc2', 'dc3'],
      ask: async (datacenter) => {
        if (datacenter === 'dc2') throw new DatacenterLost('gone')
        return there(datacenter)
      },
    })
    define({}, 'here')
    define({ failover: { nearest: 5, datacenters: null } })
    assert.equal((await queries.execute('here', asked, 1_000))?.failovers, 0)
    const found = await queries.execute('q', asked, 1_000)
    assert.deepEqual([found?.datacenter, found?.failovers, found?.instances], ['dc3', 2, []])
    assert.deepEqual(warned, ['Failed querying for service in datacenter'])
  })

  it('leaves each but the last half of the time that is left, and stops when there is none', async () => {
    const times: Millis[] = []
    const { queries, define, clock } = world({
      datacenters: ['dc1', 'dc2', 'dc3', 'dc4'],
      ask: async (datacenter, _errand, within) => {
        times.push(within)
        clock.at += datacenter === 'dc3' ? 2_000 : within
        return there(datacenter)
      },
    })
    define({ failover: { nearest: 3, datacenters: null } })
    const found = await queries.execute('q', asked, 2_000)
    assert.deepEqual(times, [1_000, 500])
    assert.equal(found?.failovers, 2)
  })

  it('passes on what is meant, with the limit, and there nothing beyond is asked', async () => {
    const other = three()
    const { queries, define } = world({
      datacenters: ['dc1', 'dc2'],
      ask: async (_datacenter, errand) => {
        assert.ok('service' in errand)
        return { ...other.queries.serve(errand.service, errand.limit, errand.connect), datacenter: 'dc2' }
      },
    })
    define({ tags: ['!v1'], failover: { nearest: 1, datacenters: null } })
    assert.equal((await queries.execute('q', asked, 1_000))?.instances.length, 2)
    assert.equal((await queries.execute('q', { ...asked, limit: 1 }, 1_000))?.instances.length, 1)
    assert.equal((await queries.execute('q', { ...asked, connect: true }, 1_000))?.instances.length, 0)
  })
})
