/**
 * All states of three shipped cores within bounds, whatever the network does (`places.ts`): some one by one
 * (`explore.ts`), many taken together (`joined.ts`). EXPLORE=whole goes through the large configurations (minutes, and a
 * gigabyte), EXPLORE='{"terms":2,"entries":2,"candidacies":2}' through that one alone. Both say how far they are.
 *
 * The counts are those of the core as it is. When one changes while all promises hold, the core has come to behave in
 * another way, or to remember other things: look whether that was meant, and write down the new ones.
 */
import assert from 'node:assert/strict'
import { bugs } from '../seeded/bugs.ts'
import { Patches } from '../seeded/patched.ts'
import type { Proof } from './joined.ts'
import type { Bounds } from './model.ts'

interface Counted {
  bounds: Partial<Bounds>
  /** Of states, or of sets of them. */
  count: number
  steps: number
}

/** Entries: what a leader begins its term with, and what it is given. */
const oneByOne: Counted[] = [
  { bounds: { terms: 1, entries: 1, timeouts: 1 }, count: 388, steps: 1156 },
  { bounds: { terms: 1, entries: 1, candidacies: 2 }, count: 889, steps: 2929 },
  { bounds: { terms: 1, entries: 1, candidacies: 1, crashes: 1 }, count: 2524, steps: 10_101 },
  { bounds: { terms: 2, entries: 2, candidacies: 2 }, count: 13_129, steps: 77_357 },
]

const together: Counted[] = [
  { bounds: { terms: 1, entries: 2, candidacies: 1, proposals: 1 }, count: 2776, steps: 32_627 },
  { bounds: { terms: 2, entries: 2, candidacies: 2 }, count: 2864, steps: 14_917 },
  { bounds: { terms: 1, entries: 2, candidacies: 1, proposals: 1, crashes: 1 }, count: 12_981, steps: 165_023 },
  { bounds: { terms: 2, entries: 2, candidacies: 2, crashes: 1 }, count: 19_109, steps: 119_824 },
]

const whole: Partial<Bounds>[] = [
  { terms: 1, entries: 1, candidacies: 1, reads: 1 },
  { terms: 1, entries: 1, candidacies: 1, heartbeats: 1 },
  { terms: 2, entries: 3, candidacies: 2, proposals: 1 },
  { terms: 2, entries: 3, candidacies: 2, proposals: 1, crashes: 1 },
]

const { EXPLORE } = process.env

describe('every state of three cores', function () {
  this.timeout(EXPLORE === undefined ? 120_000 : 0)
  const patches = new Patches()
  let prove: typeof import('./joined.ts').prove
  let explore: typeof import('./explore.ts').explore

  before(async () => {
    const load = <T>(file: string) => patches.load<T>('explored', [], `test/explore/${file}`, 'raft/')
    ;({ prove } = await load<typeof import('./joined.ts')>('joined.ts'))
    ;({ explore } = await load<typeof import('./explore.ts')>('explore.ts'))
  })
  after(() => patches.end())

  function holds({ failure }: Pick<Proof, 'failure'>): void {
    assert.equal(failure, undefined, `${failure?.where.join('\n')}\n${failure?.error.message}`)
  }

  if (EXPLORE !== undefined) {
    for (const bounds of EXPLORE === 'whole' ? whole : [JSON.parse(EXPLORE) as Partial<Bounds>]) {
      it(`all keep the promises of Raft within ${JSON.stringify(bounds)}`, () => {
        const started = performance.now()
        const minutes = () => ((performance.now() - started) / 60_000).toFixed(1)
        const onProgress = (turns: number, sets: number, open: number) => {
          if (turns % 50_000 === 0)
            console.log(`${sets} sets of states, ${open} of them to be looked at again, ${minutes()} minutes`)
        }
        const { failure, ...counts } = prove(bounds, { onProgress })
        console.log(`${JSON.stringify(bounds)}: ${JSON.stringify(counts)}, ${minutes()} minutes`)
        holds({ failure })
        assert.ok(counts.completed)
      })
    }
    return
  }

  for (const { bounds, ...counts } of oneByOne) {
    it(`each keeps the promises of Raft within ${JSON.stringify(bounds)}`, () => {
      const { failure, completed, states: count, steps } = explore(bounds)
      assert.equal(failure, undefined, `${failure?.trace.join('\n')}\n${failure?.error.message}`)
      assert.ok(completed)
      assert.deepEqual({ count, steps }, counts, howToUpdate)
    })
  }

  for (const { bounds, ...counts } of together) {
    it(`all keep the promises of Raft within ${JSON.stringify(bounds)}`, () => {
      const { failure, completed, sets: count, steps } = prove(bounds)
      holds({ failure })
      assert.ok(completed)
      assert.deepEqual({ count, steps }, counts, howToUpdate)
    })
  }

  // What is held together must not hide what is found one by one, nor break where nothing does.
  for (const { number, name, edits, bounds = {}, tails } of bugs.filter((bug) => [2, 4, 5].includes(bug.number))) {
    it(`${name}: the proof goes through without it, and not with it`, async () => {
      const options = tails === undefined ? {} : { tails, apart: true }
      const file = 'test/explore/joined.ts'
      const broken = await patches.load<typeof import('./joined.ts')>(`proof-${number}`, edits, file, 'raft/')
      assert.ok(broken.prove(bounds, options).failure !== undefined)
      holds(prove(bounds, options))
    })
  }
})

const howToUpdate =
  'the core behaves or remembers otherwise than when these were counted; if that was meant, write the new counts here'
