import assert from 'node:assert/strict'
import { runAgents } from './agent-run.ts'

// SEEDS=100 runs more of them, SEED=813 one alone; a failing run prints how to run it again.
const one = process.env.SEED === undefined ? undefined : Number(process.env.SEED)
const seeds = one === undefined ? Number(process.env.SEEDS ?? 10) : 1
const first = one ?? 1

describe('whole agents under faults', function () {
  this.timeout(60_000 + seeds * 30_000)

  it(`keep their promises in ${seeds === 1 ? `seed ${first}` : `seeds ${first} to ${first + seeds - 1}`}`, async () => {
    let acknowledged = 0
    let reads = 0
    let dnsAnswers = 0
    for (let seed = first; seed < first + seeds; seed++) {
      const result = await runAgents(seed)
      if (result.failure !== undefined) {
        const { lines } = await runAgents(seed, { logging: true })
        assert.fail(
          [
            `seed ${seed}: ${result.failure.message}`,
            `faults: ${JSON.stringify(result.plan)}`,
            ...lines.slice(-60),
            `again, with everything it says: npm run sim -- --profile agents --seeds 1 --from ${seed}`,
          ].join('\n'),
        )
      }
      acknowledged += result.acknowledged
      reads += result.reads
      dnsAnswers += result.dnsAnswers
    }
    // A cluster that does nothing keeps every promise.
    const facts = `${acknowledged} writes, ${reads} reads and ${dnsAnswers} DNS answers in ${seeds} seeds`
    assert.ok(acknowledged > seeds * 50 && reads > seeds * 50 && dnsAnswers > seeds * 50, facts)
  })

  it('run the same way every time', async () => {
    const options = { logging: true, duration: 8000 }
    const [once, again] = [await runAgents(5, options), await runAgents(5, options)]
    assert.deepEqual(once.lines, again.lines)
    assert.equal(once.fingerprint, again.fingerprint)
    assert.ok(once.lines.length > 100)
    assert.equal(once.fingerprint === (await runAgents(6, options)).fingerprint, false)
  })
})
