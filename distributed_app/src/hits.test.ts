import assert from 'node:assert/strict'
import RedisMock from 'ioredis-mock'
import type { Address } from 'registry/model'
import { type Counter, Hits } from './hits.ts'
import { counterIn } from './redis.ts'

class Bench {
  found: Address[] | Error = []
  readonly lines: string[] = []
  readonly connected: string[] = []
  readonly closed: string[] = []
  readonly hits = new Hits({
    find: async () => {
      if (this.found instanceof Error) throw this.found
      return this.found
    },
    connect: (address) => this.#connect(address),
    log: (line) => this.lines.push(line),
  })

  #connect({ host, port }: Address): Counter {
    const where = `${host}:${port}`
    this.connected.push(where)
    const counter = counterIn(new RedisMock({ host, port }))
    return {
      increment: () => counter.increment(),
      close: () => {
        this.closed.push(where)
        counter.close()
      },
    }
  }
}

const a = { host: '10.0.77.16', port: 10_000 }
const b = { host: '10.0.77.17', port: 10_000 }

describe('Hits', () => {
  beforeEach(async () => {
    // The mock keeps one store per host and port for the whole process.
    for (const address of [a, b]) await new RedisMock(address).flushall()
  })

  it('says that Redis has not been looked for, then that there is none', async () => {
    const { hits } = new Bench()
    assert.deepEqual(await hits.count(), { reason: 'Redis has not been looked for yet' })
    await hits.look()
    assert.deepEqual(await hits.count(), { reason: 'no Redis is registered in Consul' })
  })

  it('counts in the Redis that appears, over one connection', async () => {
    const bench = new Bench()
    await bench.hits.look()
    bench.found = [a]
    await bench.hits.look()
    await bench.hits.look()
    assert.deepEqual(await bench.hits.count(), { hits: 1, redis: '10.0.77.16:10000' })
    assert.deepEqual(await bench.hits.count(), { hits: 2, redis: '10.0.77.16:10000' })
    assert.deepEqual(bench.connected, ['10.0.77.16:10000'])
    assert.deepEqual(bench.lines, ['[redis] found at 10.0.77.16:10000'])
  })

  it('follows Redis when it moves', async () => {
    const bench = new Bench()
    bench.found = [a]
    await bench.hits.look()
    bench.found = [b]
    await bench.hits.look()
    assert.deepEqual(await bench.hits.count(), { hits: 1, redis: '10.0.77.17:10000' })
    assert.deepEqual(bench.closed, ['10.0.77.16:10000'])
  })

  it('lets go of a Redis that is no longer registered', async () => {
    const bench = new Bench()
    bench.found = [a]
    await bench.hits.look()
    bench.found = []
    await bench.hits.look()
    assert.deepEqual(await bench.hits.count(), { reason: 'no Redis is registered in Consul' })
    assert.deepEqual(bench.closed, bench.connected)
  })

  it('keeps its connection while DNS cannot be asked: silence is no news', async () => {
    const bench = new Bench()
    bench.found = [a]
    await bench.hits.look()
    bench.found = new Error('querySrv ETIMEOUT')
    await assert.rejects(bench.hits.look())
    assert.deepEqual(await bench.hits.count(), { hits: 1, redis: '10.0.77.16:10000' })
  })

  it('says that DNS could not be asked when that is why nothing is counted', async () => {
    const bench = new Bench()
    bench.found = new Error('querySrv ETIMEOUT')
    await assert.rejects(bench.hits.look())
    assert.deepEqual(await bench.hits.count(), {
      reason: 'the registry could not be asked for Redis (querySrv ETIMEOUT)',
    })
    bench.found = []
    await bench.hits.look()
    assert.deepEqual(await bench.hits.count(), { reason: 'no Redis is registered in Consul' })
  })

  it('says that Redis does not answer, and counts on when it does', async () => {
    let works = false
    const hits = new Hits({
      find: async () => [a],
      connect: () => ({
        increment: async () => {
          if (!works) throw new Error('connect ECONNREFUSED')
          return 7
        },
        close: () => {},
      }),
      log: () => {},
    })
    await hits.look()
    assert.deepEqual(await hits.count(), { reason: 'Redis at 10.0.77.16:10000 does not answer (connect ECONNREFUSED)' })
    works = true
    assert.deepEqual(await hits.count(), { hits: 7, redis: '10.0.77.16:10000' })
  })
})
