import assert from 'node:assert/strict'
import { Random } from '../io/random.ts'
import type { Coordinate, Millis } from '../model.ts'
import { distance, origin } from './coordinate.ts'
import { Vivaldi } from './vivaldi.ts'

type RoundTrip = (a: number, b: number) => Millis

/** Members who probe each other in shuffled rounds, as gossip does, and measure what the network has between them. */
class Simulated {
  readonly members: Vivaldi[]
  readonly random: Random
  readonly roundTrip: RoundTrip
  readonly measured: RoundTrip
  /** What a member says in place of the truth. */
  readonly lies = new Map<number, () => Coordinate>()

  constructor(size: number, roundTrip: RoundTrip, seed: number, measured: RoundTrip = roundTrip) {
    this.random = new Random(seed)
    this.members = Array.from({ length: size }, () => new Vivaldi(this.random))
    this.roundTrip = roundTrip
    this.measured = measured
  }

  /** In each, every member probes every other one once. */
  rounds(count: number): void {
    const size = this.members.length
    for (let round = 0; round < count; round++) {
      const orders = this.members.map((_, self) =>
        this.random.shuffle(Array.from({ length: size }, (_, other) => other).filter((other) => other !== self)),
      )
      for (let step = 0; step < size - 1; step++) {
        for (const [self, member] of this.members.entries()) {
          const other = orders[self]?.[step] as number
          const there = this.lies.get(other)?.() ?? (this.members[other] as Vivaldi).own
          member.observe(String(other), there, this.measured(self, other))
        }
      }
    }
  }

  /** |estimated - true| / true, of every pair among `of`, in rising order. */
  errors(of: readonly number[] = this.members.map((_, index) => index)): number[] {
    const errors: number[] = []
    for (const a of of) {
      for (const b of of) {
        if (a >= b) continue
        const estimated = distance((this.members[a] as Vivaldi).own, (this.members[b] as Vivaldi).own)
        errors.push(Math.abs(estimated - this.roundTrip(a, b)) / this.roundTrip(a, b))
      }
    }
    return errors.sort((a, b) => a - b)
  }
}

const median = (sorted: number[]) => sorted[Math.floor(sorted.length / 2)] as number
const percentile90 = (sorted: number[]) => sorted[Math.floor(sorted.length * 0.9)] as number

/** Members all over a square of 100 ms, each a few milliseconds from the network. */
function planar(size: number, seed: number): RoundTrip {
  const random = new Random(seed)
  const places = Array.from({ length: size }, () => [100 * random.fraction(), 100 * random.fraction()] as const)
  const access = places.map(() => 1 + 4 * random.fraction())
  return (a, b) => {
    const [from, to] = [places[a] as readonly [number, number], places[b] as readonly [number, number]]
    return Math.hypot(from[0] - to[0], from[1] - to[1]) + (access[a] as number) + (access[b] as number)
  }
}

/** Three sites: 0.4 ms within each, 20, 35 and 50 ms between them. */
const clustered: RoundTrip = (a, b) => {
  const sites = [a % 3, b % 3].sort().join('')
  return { '01': 20, '02': 35, '12': 50 }[sites] ?? 0.4
}

/** As a network does it: a tenth more or less, and now and then one that was held up for long. */
function withNoise(roundTrip: RoundTrip, random: Random): RoundTrip {
  return (a, b) => roundTrip(a, b) * (0.9 + 0.2 * random.fraction()) + (random.chance(0.02) ? 200 : 0)
}

describe('vivaldi', () => {
  it('is nowhere until something was measured', () => {
    const vivaldi = new Vivaldi(new Random(1))
    assert.deepEqual(vivaldi.own, origin())
    assert.equal(vivaldi.of('b'), undefined)
  })

  it('finds the round trip between two', () => {
    for (const roundTrip of [0.05, 1, 80, 9_000]) {
      const pair = new Simulated(2, () => roundTrip, 3)
      pair.rounds(200)
      const [error] = pair.errors()
      assert.ok((error as number) < 0.01, `${roundTrip} ms: off by ${error}`)
    }
  })

  for (const seed of [1, 2, 3]) {
    it(`puts 40 members who are all over a plane where they belong, seed ${seed}`, () => {
      const pool = new Simulated(40, planar(40, seed), seed)
      pool.rounds(20)
      const errors = pool.errors()
      assert.ok(median(errors) < 0.05, `median off by ${median(errors)}`)
      assert.ok(percentile90(errors) < 0.15, `one in ten off by ${percentile90(errors)}`)
    })

    it(`tells sites from each other, and the near from the far, in spite of noise, seed ${seed}`, () => {
      const pool = new Simulated(30, clustered, seed, withNoise(clustered, new Random(seed + 100)))
      pool.rounds(20)
      assert.ok(median(pool.errors()) < 0.15, `median off by ${median(pool.errors())}`)
      const own = (member: number) => (pool.members[member] as Vivaldi).own
      for (let a = 0; a < 30; a++) {
        const order = Array.from({ length: 30 }, (_, b) => b).filter((b) => b !== a)
        order.sort((b, c) => distance(own(a), own(b)) - distance(own(a), own(c)))
        const sites = order.map((b) => clustered(a, b))
        assert.deepEqual(
          sites,
          sites.toSorted((b, c) => b - c),
          `the order that ${a} sees`,
        )
      }
    })
  }

  it('knows where others were when they answered, until it forgets them', () => {
    const vivaldi = new Vivaldi(new Random(1))
    const there = { ...origin(), vector: [0.01, 0, 0, 0, 0, 0, 0, 0] }
    assert.equal(vivaldi.observe('b', there, 12), true)
    assert.equal(vivaldi.of('b'), there)
    vivaldi.forget((member) => member === 'b')
    assert.equal(vivaldi.of('b'), undefined)
  })

  it('takes no part in a round trip that cannot be', () => {
    const vivaldi = new Vivaldi(new Random(1))
    for (const roundTrip of [-1, Number.NaN, 10_001, Number.POSITIVE_INFINITY]) {
      assert.equal(vivaldi.observe('b', origin(), roundTrip), false)
    }
    assert.deepEqual(vivaldi.own, origin())
    assert.equal(vivaldi.of('b'), undefined)
    assert.equal(vivaldi.observe('b', origin(), 0), true, 'a clock may be coarse')
  })

  it('is not moved by a liar whose places cannot be, whatever else it hears', () => {
    const lies: Coordinate[] = [
      { ...origin(), vector: [Number.NaN, 0, 0, 0, 0, 0, 0, 0] },
      { ...origin(), vector: [1e308, 1e308, 0, 0, 0, 0, 0, 0] },
      { ...origin(), vector: [0, 0] },
      { ...origin(), error: -1.5 },
      { ...origin(), height: Number.POSITIVE_INFINITY },
      { ...origin(), adjustment: -1e9 },
    ]
    const honest = Array.from({ length: 20 }, (_, member) => member)
    const pool = new Simulated(21, planar(21, 5), 5)
    pool.lies.set(20, () => pool.random.pick(lies) as Coordinate)
    pool.rounds(30)
    assert.ok(median(pool.errors(honest)) < 0.05, `median off by ${median(pool.errors(honest))}`)
    assert.ok(honest.every((member) => pool.members[member]?.of('20') === undefined))
  })

  it('suffers from one liar whose places could be, and recovers when it is gone', () => {
    const honest = Array.from({ length: 20 }, (_, member) => member)
    const pool = new Simulated(21, planar(21, 6), 6)
    pool.rounds(20)
    pool.lies.set(20, () => ({ ...origin(), vector: [7, 0, 0, 0, 0, 0, 0, 0], error: 0.01 }))
    pool.rounds(5)
    pool.lies.delete(20)
    pool.rounds(40)
    const errors = pool.errors(honest)
    assert.ok(median(errors) < 0.1, `median off by ${median(errors)}`)
    for (const { own } of pool.members) assert.ok([...own.vector, own.height, own.error].every(Number.isFinite))
  })

  it('does not drift away with the others', () => {
    const pool = new Simulated(10, planar(10, 7), 7)
    pool.rounds(2_000)
    const middle = origin().vector.map(
      (_, axis) => pool.members.reduce((sum, { own }) => sum + (own.vector[axis] as number), 0) / 10,
    )
    assert.ok(Math.hypot(...middle) < 0.3, `the middle is ${Math.hypot(...middle)} s from the origin`)
  })

  it('comes to the same place from the same measurements and the same chance', () => {
    const run = () => {
      const pool = new Simulated(8, planar(8, 9), 9)
      pool.rounds(10)
      return pool.members.map(({ own }) => own)
    }
    assert.deepEqual(run(), run())
  })
})
