/**
 * Puts each seeded bug into the product and counts how many seeds it takes to find it:
 *
 *   node scripts/seeded.ts [--bug N] [--starts K] [--seeds N] [--seconds S] [--hunter NAME] [--explore]
 *
 * Each of K starts (5) begins 10,000 seeds after the one before; at most N seeds (2,000) and S seconds (120) each. The seed
 * that finds a bug must find nothing when the bug is not there. With `--explore` the explorer looks for those it can find,
 * and prints the shortest way to each. Ends with code 1 when a start did not find its bug, or something else was found.
 */
import { parseArgs } from 'node:util'
import { bugs, type Hunter } from '../registry/test/seeded/bugs.ts'
import { exploreWith, type Hunted, hunt, noBug } from '../registry/test/seeded/hunt.ts'
import { Patches } from '../registry/test/seeded/patched.ts'

const { values } = parseArgs({
  options: {
    bug: { type: 'string' },
    starts: { type: 'string', default: '5' },
    seeds: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '120' },
    hunter: { type: 'string' },
    explore: { type: 'boolean', default: false },
  },
})
const patches = new Patches()
const wanted = values.bug?.split(',').map(Number)
const chosen = bugs.filter(({ number }) => wanted?.includes(number) ?? true)
const starts = Array.from({ length: Number(values.starts) }, (_, start) => 1 + start * 10_000)
let missed = 0
let falseAlarms = 0
let seedsMost = 0

for (const bug of chosen) {
  const title = `${String(bug.number).padStart(2)} ${bug.name.padEnd(42)}`
  if (values.explore) {
    if (bug.bounds === undefined) continue
    const { failure, states } = await exploreWith(patches, bug, 5_000_000)
    if (failure === undefined) missed++
    console.log(`${title} ${failure === undefined ? 'not found' : `found after ${states} states`}`)
    if (failure !== undefined) console.log(`${failure.trace.join('\n')}\n=> ${failure.error.message}\n`)
    continue
  }
  const hunter = (values.hunter as Hunter | undefined) ?? (bug.hunters[0] as Hunter)
  const began = performance.now()
  const found: Hunted[] = []
  for (const first of starts) {
    const until = performance.now() + Number(values.seconds) * 1000
    const hunted = await hunt(patches, bug, hunter, { first, seedsMax: Number(values.seeds), until })
    found.push(hunted)
    if (hunted.message === undefined) {
      missed++
      continue
    }
    seedsMost = Math.max(seedsMost, hunted.seeds)
    const { message } = await hunt(patches, noBug, hunter, { first: first + hunted.seeds - 1, seedsMax: 1 })
    if (message !== undefined) {
      falseAlarms++
      console.log(`${title} seed ${first + hunted.seeds - 1} finds something without it, too: ${message}`)
    }
  }
  const caught = found.filter(({ message }) => message !== undefined)
  const seeds = found.flatMap(({ seeds, message }, at) =>
    message === undefined ? [] : [(starts[at] as number) + seeds - 1],
  )
  const all = found.map(({ seeds, message }) => (message === undefined ? Number.POSITIVE_INFINITY : seeds))
  const minutes = found.map(({ simulated }) => simulated / 60_000)
  const seconds = (performance.now() - began) / 1000
  console.log(
    `${title} ${hunter.padEnd(9)} ${caught.length} of ${found.length}, ` +
      `seeds: median ${median(all)}, most ${Math.max(...all)}; ` +
      `simulated minutes: median ${median(minutes).toFixed(1)}, most ${Math.max(...minutes).toFixed(1)}; ` +
      `${seconds.toFixed(1)} s; by seeds ${seeds.join(' ')}: ${caught[0]?.message?.slice(0, 100) ?? ''}`,
  )
}
if (!values.explore) {
  console.log(
    `${chosen.length} bugs, ${chosen.length * starts.length} starts, ${missed} without a catch, ` +
      `${falseAlarms} false alarms, at most ${seedsMost} seeds`,
  )
}
patches.end()
process.exitCode = missed + falseAlarms > 0 ? 1 : 0

function median(numbers: readonly number[]): number {
  return numbers.toSorted((one, other) => one - other)[Math.floor((numbers.length - 1) / 2)] as number
}
