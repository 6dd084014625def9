/** Pools in random trouble. A failure names its seed; `SEED=n` runs only that one, `SEEDS=n` so many. */
import { env } from 'node:process'
import { runPool } from '../../test/gossip/trouble.ts'

const count = Number(env.SEEDS ?? 60)
const seeds = env.SEED === undefined ? Array.from({ length: count }, (_, seed) => seed + 1) : [Number(env.SEED)]

describe('random gossip', () => {
  // A few runs per test, for their time limits.
  for (let first = 0; first < seeds.length; first += 10) {
    const some = seeds.slice(first, first + 10)
    it(`members agree again after any trouble (seeds ${some[0]} to ${some.at(-1)})`, () => {
      for (const seed of some) {
        const { failure } = runPool(seed)
        if (failure !== undefined) throw new Error(`SEED=${seed}: ${failure.message}`, { cause: failure })
      }
    })
  }
})
