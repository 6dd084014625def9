/**
 * All states of the shipped core within bounds. EXPLORE=whole goes through the large configurations too (minutes, and
 * gigabytes of names), EXPLORE='{"terms":1,"timeouts":1}' through that one alone; both print how far they are.
 */
import assert from 'node:assert/strict'
import { Patches } from '../seeded/patched.ts'
import type { Bounds } from './model.ts'

type Explorer = typeof import('./explore.ts')

/** Entries: what a leader begins its term with, and what it is given. */
const small: Partial<Bounds>[] = [
  { terms: 1, entries: 2, timeouts: 1, proposals: 1, heartbeats: 1 },
  { terms: 1, entries: 2, timeouts: 1, proposals: 1, crashes: 1 },
  { terms: 1, entries: 2, timeouts: 1, proposals: 1, faults: 1 },
  { terms: 1, entries: 2, timeouts: 1, proposals: 1, slowSaves: 1 },
  { terms: 2, entries: 2, candidacies: 2 },
]

const whole: Partial<Bounds>[] = [
  { terms: 2, entries: 2, timeouts: 1, candidacies: 1, slowSaves: 1 },
  { terms: 2, entries: 3, timeouts: 2 },
  { terms: 2, entries: 3, candidacies: 2, proposals: 1 },
  { terms: 2, entries: 3, candidacies: 2, slowSaves: 1, crashes: 1 },
  { terms: 2, entries: 3, candidacies: 2, faults: 1 },
  { terms: 2, entries: 3, candidacies: 2, reads: 1 },
  { terms: 2, entries: 3, candidacies: 2, proposals: 1, crashes: 1, faults: 1 },
]

const { EXPLORE } = process.env
const chosen = EXPLORE === undefined ? small : EXPLORE === 'whole' ? whole : [JSON.parse(EXPLORE) as Partial<Bounds>]

describe('every state of three cores', function () {
  this.timeout(EXPLORE === undefined ? 60_000 : 0)
  const patches = new Patches()
  let explorer: Explorer

  before(async () => {
    explorer = await patches.load<Explorer>('explored', [], 'test/explore/explore.ts', 'raft/')
  })
  after(() => patches.end())

  for (const bounds of chosen) {
    it(`keeps the promises of Raft within ${JSON.stringify(bounds)}`, () => {
      const started = performance.now()
      const minutes = () => ((performance.now() - started) / 60_000).toFixed(1)
      const onProgress = (states: number) => {
        if (EXPLORE !== undefined && states % 1_000_000 === 0) console.log(`${states} states, ${minutes()} minutes`)
      }
      const { failure, ...counts } = explorer.explore(bounds, { order: 'depth', onProgress })
      assert.equal(failure, undefined, `${failure?.trace.join('\n')}\n${failure?.error.message}`)
      assert.ok(counts.completed && counts.states > 1000, `only ${counts.states} states`)
      if (EXPLORE !== undefined)
        console.log(`${JSON.stringify(bounds)}: ${JSON.stringify(counts)}, ${minutes()} minutes`)
    })
  }
})
