/**
 * Puts each seeded bug into the product and counts how many seeds it takes to find it:
 *
 *   node scripts/seeded.ts [--bug N] [--starts K] [--seeds N] [--seconds S] [--hunter NAME] [--explore]
 *
 * Each of K starts (5) begins 10,000 seeds after the one before; at most N seeds (2,000) and S seconds (60) each. With
 * `--explore` the explorer looks for those it can find, and prints the shortest way to each. Ends with code 1 when a bug
 * was not found.
 */
import { parseArgs } from 'node:util'
import { bugs, type Hunter, notYet } from '../registry/test/seeded/bugs.ts'
import { exploreWith, hunt } from '../registry/test/seeded/hunt.ts'
import { Patches } from '../registry/test/seeded/patched.ts'

const { values } = parseArgs({
  options: {
    bug: { type: 'string' },
    starts: { type: 'string', default: '5' },
    seeds: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '60' },
    hunter: { type: 'string' },
    explore: { type: 'boolean', default: false },
  },
})
const patches = new Patches()
const chosen = bugs.filter(({ number }) => values.bug === undefined || number === Number(values.bug))
let missed = 0

for (const bug of chosen) {
  const title = `${String(bug.number).padStart(2)} ${bug.name.padEnd(44)}`
  if (values.explore) {
    if (bug.bounds === undefined) continue
    const { failure, states } = await exploreWith(patches, bug, 5_000_000)
    if (failure === undefined) missed++
    console.log(`${title} ${failure === undefined ? 'not found' : `found after ${states} states`}`)
    if (failure !== undefined) console.log(`${failure.trace.join('\n')}\n=> ${failure.error.message}\n`)
    continue
  }
  const hunters = values.hunter === undefined ? bug.hunters.slice(0, 1) : [values.hunter as Hunter]
  for (const hunter of hunters) {
    const started = performance.now()
    const taken: number[] = []
    let message = ''
    for (let start = 0; start < Number(values.starts); start++) {
      const found = await hunt(patches, bug, hunter, {
        first: 1 + start * 10_000,
        seedsMax: Number(values.seeds),
        until: performance.now() + Number(values.seconds) * 1000,
      })
      if (found !== undefined) message = found.message
      taken.push(found?.seeds ?? Number.POSITIVE_INFINITY)
    }
    taken.sort((one, other) => one - other)
    const median = taken[Math.floor((taken.length - 1) / 2)] as number
    if (taken.includes(Number.POSITIVE_INFINITY)) missed++
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    const range = `${taken[0]}-${taken.at(-1)}`
    console.log(`${title} ${hunter.padEnd(9)} median ${median} of ${range}, ${seconds} s: ${message}`)
  }
}
if (values.bug === undefined) {
  for (const { number, name, reason } of notYet) console.log(`${String(number).padStart(2)} ${name}: ${reason}`)
}
patches.end()
process.exitCode = missed > 0 ? 1 : 0
