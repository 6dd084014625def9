/**
 * Runs seeds of the simulator:
 *
 *   npm run sim -- --seeds N [--from S] [--profile NAME] [--faults MILLISECONDS]
 *
 * Profiles: `log`, replicas with their logs and snapshots (the default); `agents`, whole nodes with gossip, HTTP and DNS;
 * `agents5`, five of those, all servers.
 * Every seed is run, whatever became of the ones before; one that fails prints what it violated and the command that runs
 * it again. With `--seeds 1` everything that happened in it is printed. The last line is
 *
 *   N seeds, H simulated hours, V violations
 *
 * and the exit code is 1 when V is above 0, 2 when the arguments make no sense.
 */
import { execFileSync } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runAgents } from '../registry/test/sim/agent-run.ts'
import { run } from '../registry/test/sim/run.ts'

interface Outcome {
  failure: Error | undefined
  plan: object
  lines: readonly string[]
  /** How much time passed in there, milliseconds. */
  simulated: number
}

interface Profile {
  /** Milliseconds of faults in a seed, unless told otherwise. */
  faults: number
  run(seed: number, options: { duration: number; logging: boolean }): Promise<Outcome & object>
  /** What is counted over all seeds, to see that something did happen. */
  counts: string[]
}

const agentCounts = [
  'operations',
  'acknowledged',
  'transactions',
  'reads',
  'woken',
  'dnsAnswers',
  'entries',
  'terms',
  'snapshots',
  'faults',
]

const profiles: Record<string, Profile> = {
  log: { faults: 8000, run, counts: ['writes', 'reads', 'leaseReads', 'terms', 'repairs'] },
  agents: { faults: 40_000, run: runAgents, counts: agentCounts },
  agents5: {
    faults: 40_000,
    run: (seed, options) => runAgents(seed, { ...options, servers: 5 }),
    counts: agentCounts,
  },
}

const usage = 'usage: npm run sim -- --seeds N [--from S] [--profile log|agents|agents5] [--faults MILLISECONDS]'

function refuse(mistake: string): never {
  console.error(`${mistake}\n${usage}`)
  process.exit(2)
}

function parse() {
  const text = { type: 'string' } as const
  try {
    const options = { seeds: text, from: text, profile: text, faults: text }
    const { values } = parseArgs({ args: process.argv.slice(2), options })
    const profile = profiles[values.profile ?? 'log']
    if (profile === undefined) {
      refuse(`expected --profile to be one of ${Object.keys(profiles).join(', ')}, received "${values.profile}"`)
    }
    const number = (name: 'seeds' | 'from' | 'faults', otherwise: number, least: number) => {
      const given = values[name]
      if (given === undefined) return otherwise
      if (!/^\d+$/.test(given) || Number(given) < least) {
        refuse(`expected --${name} to be a number of at least ${least}, received "${given}"`)
      }
      return Number(given)
    }
    return {
      name: values.profile ?? 'log',
      profile,
      seeds: number('seeds', 1000, 1),
      from: number('from', 1, 0),
      duration: number('faults', profile.faults, 1),
    }
  } catch (error) {
    return refuse((error as Error).message)
  }
}

function commit(): string {
  const git = (...words: string[]) =>
    execFileSync('git', words, {
      cwd: dirname(fileURLToPath(import.meta.url)),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  try {
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') === '' ? '' : ', with changes'}`
  } catch {
    return 'unknown'
  }
}

const { name, profile, seeds, from, duration } = parse()
const faults = duration === profile.faults ? '' : ` --faults ${duration}`
const started = performance.now()
const sums = new Map(profile.counts.map((count) => [count, 0]))
let simulated = 0
let violations = 0
for (let seed = from; seed < from + seeds; seed++) {
  const logging = seeds === 1
  const result = await profile.run(seed, { duration, logging })
  simulated += result.simulated
  for (const count of profile.counts) sums.set(count, sums.get(count)! + Number((result as never)[count] ?? 0))
  if (logging) {
    for (const line of result.lines) console.log(line)
    console.log(`faults: ${JSON.stringify(result.plan)}`)
  }
  if (result.failure !== undefined) {
    violations++
    console.log(`seed ${seed} of profile ${name} at commit ${commit()}: ${result.failure.stack}`)
    console.log(`again, with all that happens: npm run sim -- --seeds 1 --from ${seed} --profile ${name}${faults}`)
  }
  const done = seed - from + 1
  if (done % 500 === 0) console.log(`seeds ${from} to ${seed}: ${violations} violations`)
}
const seconds = (performance.now() - started) / 1000
console.log(
  `${[...sums].map(([count, sum]) => `${count} ${sum}`).join(', ')}; ${seconds.toFixed(1)} s, ` +
    `${Math.round(simulated / 1000 / seconds)} simulated seconds a second`,
)
console.log(`${seeds} seeds, ${(simulated / 3_600_000).toFixed(2)} simulated hours, ${violations} violations`)
process.exitCode = violations > 0 ? 1 : 0
