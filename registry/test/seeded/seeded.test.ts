/** `node scripts/seeded.ts` is the whole table; here each is found once, from a seed on where that does not take long. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { bugs, type Hunter } from './bugs.ts'
import { exploreWith, hunt, noBug } from './hunt.ts'
import { apply, Patches } from './patched.ts'

/** By number, where each is found soon. After other changes it may take some seeds more. */
const firstSeed: Readonly<Record<number, number>> = {
  1: 20,
  2: 18,
  3: 10_003,
  6: 20_025,
  9: 10_002,
  10: 20_008,
  12: 40_009,
  13: 89,
  14: 11,
  15: 30_007,
  16: 20_003,
  17: 10_001,
  18: 30_006,
  19: 10_001,
  24: 10_001,
  25: 19,
}
/** Seeds of each that take some ten seconds at the most. */
const seedsMax = { cores: 1000, replicas: 200, agents: 5, sessions: 100, gossip: 50, scenarios: 1 } as const
const explored = [2, 4, 5]

describe('seeded bugs', function () {
  this.timeout(60_000)
  const patches = new Patches()
  after(() => patches.end())

  it('are the twenty-five of the list, each once', () => {
    const numbers = bugs.map(({ number }) => number)
    assert.deepEqual(
      numbers.sort((one, other) => one - other),
      Array.from({ length: 25 }, (_, at) => at + 1),
    )
  })

  for (const bug of bugs) {
    it(`${bug.name}: can be put into the code as it is now`, () => {
      for (const edit of bug.edits) {
        apply(readFileSync(new URL(`../../src/${edit.file}`, import.meta.url), 'utf8'), edit)
      }
    })
    const [hunter] = bug.hunters as [Hunter]
    it(`${bug.name}: the ${hunter} find it, and nothing in that seed without it`, async () => {
      const first = firstSeed[bug.number] ?? 1
      const { message, seeds } = await hunt(patches, bug, hunter, { first, seedsMax: seedsMax[hunter] })
      assert.notEqual(message, undefined)
      const control = await hunt(patches, noBug, hunter, { first: first + seeds - 1, seedsMax: 1 })
      assert.equal(control.message, undefined)
    })
    if (explored.includes(bug.number)) {
      it(`${bug.name}: the explorer finds it, and says how it comes to be`, async () => {
        const { failure } = await exploreWith(patches, bug, 200_000)
        assert.ok(failure !== undefined && failure.trace.length > 4)
      })
    }
  }

  it('without any, neither the explorer nor the transcripts find anything where they look for them', async () => {
    const { bounds, tails } = bugs.find(({ number }) => number === 2) ?? {}
    assert.ok(bounds !== undefined && tails !== undefined)
    const { failure } = await exploreWith(patches, { ...noBug, bounds, tails }, 30_000)
    assert.equal(failure, undefined)
    const { message } = await hunt(patches, noBug, 'scenarios', { first: 1, seedsMax: 1 })
    assert.equal(message, undefined)
  })
})
