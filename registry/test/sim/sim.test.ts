import assert from 'node:assert/strict'
import { run } from './run.ts'

// SEEDS=1000 runs more of them, SEED=813 one alone; a failing run prints how to run it again. Two simulated hours at least.
const one = process.env.SEED === undefined ? undefined : Number(process.env.SEED)
const seeds = one === undefined ? Number(process.env.SEEDS ?? 240) : 1
const first = one ?? 1

describe('a cluster under faults', function () {
  this.timeout(60_000 + seeds * 2_000)

  it(`keeps its promises in ${seeds === 1 ? `seed ${first}` : `seeds ${first} to ${first + seeds - 1}`}`, async () => {
    let writes = 0
    let reads = 0
    let simulated = 0
    let undecided = 0
    for (let seed = first; seed < first + seeds; seed++) {
      const result = await run(seed)
      if (result.failure !== undefined) {
        const { lines } = await run(seed, { logging: true })
        assert.fail(
          [
            `seed ${seed}: ${result.failure.message}`,
            `faults: ${JSON.stringify(result.plan)}`,
            ...lines.slice(-40),
            `again, with everything it says: npm run sim -- --seeds 1 --from ${seed}`,
          ].join('\n'),
        )
      }
      writes += result.writes
      reads += result.reads + result.leaseReads
      simulated += result.simulated
      undecided += result.undecided
    }
    // A cluster that does nothing keeps every promise.
    assert.ok(writes > seeds * 20 && reads > seeds * 10, `${writes} writes and ${reads} reads in ${seeds} seeds`)
    assert.ok(simulated >= seeds * 30_000)
    assert.ok(undecided <= seeds / 100, `${undecided} histories of ${seeds} were not decided`)
  })

  it('does not keep them on disks that only say that they sync, and that is seen', async () => {
    let seed = 1
    while (seed <= 50 && (await run(seed, { lies: true })).failure === undefined) seed++
    assert.ok(seed <= 50, `50 seeds on disks that lie, and nothing was lost`)
  })

  it('runs the same way every time', async () => {
    for (const seed of [3, 7]) {
      const [once, again] = [await run(seed, { logging: true }), await run(seed, { logging: true })]
      assert.deepEqual(once.lines, again.lines)
      // Nor does it matter whether anybody writes it down.
      assert.equal((await run(seed)).fingerprint, once.fingerprint)
      assert.ok(once.lines.length > 20)
    }
  })
})
