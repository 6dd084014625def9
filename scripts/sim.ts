/**
 * Runs seeds of the simulator: `node scripts/sim.ts [SEEDS] [FIRST] [MILLISECONDS OF FAULTS]`. Ends with code 1 at the first
 * seed that fails and prints what happened in it; `node scripts/sim.ts 1 SEED` prints that of any seed.
 */
import { run } from '../registry/test/sim/run.ts'

const [seeds, first, duration] = [process.argv[2] ?? '1000', process.argv[3] ?? '1', process.argv[4] ?? '8000'].map(
  Number,
)
if (
  seeds === undefined ||
  first === undefined ||
  duration === undefined ||
  !(seeds > 0 && first >= 0 && duration > 0)
) {
  console.error('usage: node scripts/sim.ts [SEEDS] [FIRST] [MILLISECONDS OF FAULTS]')
  process.exit(2)
}

const started = performance.now()
const sum = { writes: 0, reads: 0, leaseReads: 0, terms: 0 }
let slowest = 0
for (let seed = first; seed < first + seeds; seed++) {
  const result = await run(seed, { duration })
  if (result.failure !== undefined || seeds === 1) {
    const { lines, plan, failure } = await run(seed, { duration, logging: true })
    console.log(lines.join('\n'))
    console.log(`faults: ${JSON.stringify(plan)}`)
    console.log(failure === undefined ? `seed ${seed} is well` : `seed ${seed} fails: ${failure.stack}`)
    if (failure === undefined && result.failure !== undefined)
      console.log(`without a log it failed: ${result.failure.stack}`)
    process.exit(result.failure === undefined ? 0 : 1)
  }
  sum.writes += result.writes
  sum.reads += result.reads
  sum.leaseReads += result.leaseReads
  sum.terms += result.terms
  slowest = Math.max(slowest, result.convergence)
  if ((seed - first + 1) % 500 === 0) console.log(`seeds ${first} to ${seed}: well`)
}
const seconds = (performance.now() - started) / 1000
console.log(
  `${seeds} seeds well: ${sum.writes} writes, ${sum.reads} quorum reads, ${sum.leaseReads} lease reads, ${sum.terms} terms; ` +
    `slowest agreement ${Math.round(slowest)} ms after the faults; ${seconds.toFixed(1)} s`,
)
