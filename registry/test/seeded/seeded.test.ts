/** `node scripts/seeded.ts` is the whole table; here are those that are found within a second or two. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { bugs, notYet } from './bugs.ts'
import { exploreWith, hunt, noBug } from './hunt.ts'
import { apply, Patches } from './patched.ts'

const quick = new Map([
  [1, 'cores'],
  [3, 'cores'],
  [4, 'cores'],
  [5, 'cores'],
  [8, 'cores'],
  [11, 'cores'],
  [12, 'cores'],
  [13, 'scenarios'],
  [14, 'scenarios'],
  [17, 'replicas'],
  [22, 'sessions'],
] as const)
const explored = [2, 4, 5]

describe('seeded bugs', function () {
  this.timeout(60_000)
  const patches = new Patches()
  after(() => patches.end())

  it('are the twenty-four of the list, each once', () => {
    const numbers = [...bugs, ...notYet].map(({ number }) => number)
    assert.deepEqual(
      numbers.sort((one, other) => one - other),
      Array.from({ length: 24 }, (_, at) => at + 1),
    )
  })

  for (const bug of bugs) {
    it(`${bug.name}: can be put into the code as it is now`, () => {
      for (const edit of bug.edits) {
        apply(readFileSync(new URL(`../../src/${edit.file}`, import.meta.url), 'utf8'), edit)
      }
    })
    const hunter = quick.get(bug.number as never)
    if (hunter !== undefined) {
      it(`${bug.name}: the ${hunter} find it`, async () => {
        const { message } = await hunt(patches, bug, hunter, { first: 1, seedsMax: 1000 })
        assert.notEqual(message, undefined)
      })
    }
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
