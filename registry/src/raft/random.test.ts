/**
 *   SEED=17 npx mocha …/random.test.ts      that one world          SEEDS=5000 …      that many, from 1, or from SEED
 */
import assert from 'node:assert/strict'
import { runCores } from '../../test/sim/cores.ts'

describe('random worlds', () => {
  const { SEED, SEEDS } = process.env
  const first = Number(SEED ?? 1)
  const count = Number(SEEDS ?? (SEED === undefined ? 200 : 1))

  it(`keep every promise of Raft and recover, ${count} of them`, function () {
    this.timeout(0)
    const totals = { entries: 0, elections: 0, simulated: 0 }
    for (let seed = first; seed < first + count; seed++) {
      const { failure, entries, elections, simulated } = runCores(seed)
      if (failure !== undefined) {
        throw new Error(`seed ${seed} (again with SEED=${seed}): ${failure.message}`, { cause: failure })
      }
      totals.entries += entries
      totals.elections += elections
      totals.simulated += simulated
    }
    // A world in which nothing happens would keep every promise too; a single one may have been unlucky.
    if (count === 1) return
    assert(totals.entries >= count * 10, `only ${totals.entries} entries were committed in ${count} worlds`)
    assert(totals.elections >= count, `only ${totals.elections} leaders were elected in ${count} worlds`)
    if (SEEDS !== undefined)
      process.stdout.write(
        `${count} worlds, ${totals.entries} entries, ${totals.elections} leaders, ${(totals.simulated / 3_600_000).toFixed(1)} simulated hours\n`,
      )
  })
})
