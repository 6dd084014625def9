/**
 * Runs seeds of whole agents in the simulator: `node scripts/sim-agents.ts [SEEDS] [FIRST] [MILLISECONDS OF FAULTS]`. Ends
 * with code 1 at the first seed that fails and prints what happened in it; `node scripts/sim-agents.ts 1 SEED` prints that
 * of any seed.
 */
import { runAgents } from '../registry/test/sim/agent-run.ts'

const [seeds, first, duration] = [process.argv[2] ?? '100', process.argv[3] ?? '1', process.argv[4] ?? '40000'].map(
  Number,
)
if (
  seeds === undefined ||
  first === undefined ||
  duration === undefined ||
  !(seeds > 0 && first >= 0 && duration > 0)
) {
  console.error('usage: node scripts/sim-agents.ts [SEEDS] [FIRST] [MILLISECONDS OF FAULTS]')
  process.exit(2)
}

const started = performance.now()
const sum = { acknowledged: 0, reads: 0, dnsAnswers: 0, entries: 0, terms: 0 }
let slowest = 0
for (let seed = first; seed < first + seeds; seed++) {
  const result = await runAgents(seed, { duration })
  if (result.failure !== undefined || seeds === 1) {
    const { lines, plan, failure } = await runAgents(seed, { duration, logging: true })
    console.log(lines.join('\n'))
    console.log(`faults: ${JSON.stringify(plan)}`)
    console.log(failure === undefined ? `seed ${seed} is well` : `seed ${seed} fails: ${failure.stack}`)
    if (failure === undefined && result.failure !== undefined)
      console.log(`without a log it failed: ${result.failure.stack}`)
    process.exit(result.failure === undefined ? 0 : 1)
  }
  for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += result[key]
  slowest = Math.max(slowest, result.convergence)
  if ((seed - first + 1) % 25 === 0) console.log(`seeds ${first} to ${seed}: well`)
}
const seconds = (performance.now() - started) / 1000
console.log(
  `${seeds} seeds well: ${sum.acknowledged} writes acknowledged, ${sum.reads} reads, ${sum.dnsAnswers} DNS answers, ` +
    `${sum.entries} entries, ${sum.terms} terms; slowest agreement ${Math.round(slowest)} ms after the faults; ${seconds.toFixed(1)} s`,
)
