/**
 * Runs seeds of the simulator:
 *
 *   npm run sim -- --seeds N [--from S] [--profile NAME] [--faults MILLISECONDS] [--hours H] [--jobs J]
 *
 * Profiles: `log`, replicas with their logs, snapshots and stores (the default); `agents`, whole nodes with gossip, HTTP
 * and DNS; `agents5`, five of those, all servers. Every seed is run, whatever became of the ones before; one that fails
 * prints what it violated and the command that runs it again. With `--seeds 1` everything that happened in it is printed.
 * `--hours` ends when so many hours of simulated time were run; `--jobs` shares the seeds among so many processes. Ended
 * early (Ctrl-C), it says what was run and where to go on. The last line is
 *
 *   N seeds, H simulated hours, V violations
 *
 * and the exit code is 1 when V is above 0, 2 when the arguments make no sense.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runAgents } from '../registry/test/sim/agent-run.ts'
import { faultsDefault, run } from '../registry/test/sim/run.ts'

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
  'acquired',
  'expired',
  'reads',
  'woken',
  'dnsAnswers',
  'entries',
  'terms',
  'snapshots',
  'faults',
]

const logCounts = [
  'operations',
  'writes',
  'reads',
  'leaseReads',
  'faults',
  'elections',
  'snapshots',
  'restarts',
  'repairs',
  'undecided',
]

const profiles: Record<string, Profile> = {
  log: { faults: faultsDefault, run, counts: logCounts },
  agents: { faults: 40_000, run: runAgents, counts: agentCounts },
  agents5: {
    faults: 40_000,
    run: (seed, options) => runAgents(seed, { ...options, servers: 5 }),
    counts: agentCounts,
  },
}

/** What is left of one seed. */
interface Report {
  counts: number[]
  simulated: number
  /** Of this process, in milliseconds. */
  cpu: number
  failure: string | undefined
  fingerprint: string
}

/** Seeds are run one after the other, here or in another process. */
interface Runner {
  run(seed: number): Promise<Report>
  end(): void
}

const usage =
  'usage: npm run sim -- --seeds N [--from S] [--profile log|agents|agents5] [--faults MILLISECONDS] [--hours H] [--jobs J]'

function refuse(mistake: string): never {
  console.error(`${mistake}\n${usage}`)
  process.exit(2)
}

function parse() {
  const text = { type: 'string' } as const
  try {
    const options = { seeds: text, from: text, profile: text, faults: text, hours: text, jobs: text }
    const { values } = parseArgs({ args: process.argv.slice(2), options })
    const profile = profiles[values.profile ?? 'log']
    if (profile === undefined) {
      refuse(`expected --profile to be one of ${Object.keys(profiles).join(', ')}, received "${values.profile}"`)
    }
    const number = (name: 'seeds' | 'from' | 'faults' | 'hours' | 'jobs', otherwise: number, least: number) => {
      const given = values[name]
      if (given === undefined) return otherwise
      const shape = name === 'hours' ? /^\d+(\.\d+)?$/ : /^\d+$/
      if (!shape.test(given) || Number(given) < least) {
        refuse(`expected --${name} to be a number of at least ${least}, received "${given}"`)
      }
      return Number(given)
    }
    const hours = number('hours', Number.POSITIVE_INFINITY, 0)
    return {
      name: values.profile ?? 'log',
      profile,
      seeds: number('seeds', hours === Number.POSITIVE_INFINITY ? 1000 : Number.POSITIVE_INFINITY, 1),
      from: number('from', 1, 0),
      duration: number('faults', profile.faults, 1),
      hours,
      jobs: number('jobs', 1, 1),
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

function runnerHere({ run, counts }: Profile, duration: number, logging: boolean): Runner {
  return {
    run: async (seed) => {
      const used = process.cpuUsage()
      let result = await run(seed, { duration, logging })
      if (result.failure !== undefined && !logging) {
        // Once more, for all that can be said of it.
        const again = await run(seed, { duration, logging: true })
        if (again.failure !== undefined) result = again
        else {
          const { failure } = result
          failure.stack = `${failure.message}\n  (not when run again: it depends on something besides the seed)`
        }
      }
      if (logging) {
        for (const line of result.lines) console.log(line)
        console.log(`faults: ${JSON.stringify(result.plan)}`)
      }
      const { user, system } = process.cpuUsage(used)
      return {
        counts: counts.map((count) => Number((result as never)[count] ?? 0)),
        simulated: result.simulated,
        cpu: (user + system) / 1000,
        failure: result.failure?.stack,
        fingerprint: String((result as { fingerprint?: string }).fingerprint ?? ''),
      }
    },
    end: () => {},
  }
}

/** A process of its own, which runs what it is sent the number of. */
function runnerElsewhere(): Runner {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), process.argv.slice(2), {
    env: { ...process.env, [childMark]: '1' },
    // Nearly all of the garbage is young: with room for it little is ever copied.
    execArgv: [...process.execArgv, '--max-semi-space-size=64'],
  })
  return {
    run: (seed) =>
      new Promise((resolve, reject) => {
        const gone = (code: number | null) => reject(new Error(`the process that ran seed ${seed} ended with ${code}`))
        child.once('exit', gone)
        child.once('message', (report) => {
          child.off('exit', gone)
          resolve(report as Report)
        })
        child.send(seed)
      }),
    end: () => child.disconnect(),
  }
}

const childMark = 'ROLLCALL_SIM_CHILD'
const { name, profile, seeds, from, duration, hours, jobs } = parse()

if (process.env[childMark] === '1') {
  const runner = runnerHere(profile, duration, false)
  // The parent decides when to end.
  process.on('SIGINT', () => {})
  process.on('message', (seed: number) => {
    runner.run(seed).then((report) => process.send?.(report))
  })
} else await main()

async function main(): Promise<void> {
  const faults = duration === profile.faults ? '' : ` --faults ${duration}`
  const started = performance.now()
  const reports = new Map<number, Report>()
  let simulated = 0
  let violations = 0
  let seed = from
  let stopped = false
  process.once('SIGINT', () => {
    stopped = true
  })
  const next = () => (stopped || seed >= from + seeds || simulated >= hours * 3_600_000 ? undefined : seed++)
  const logging = seeds === 1
  const runners = Array.from({ length: jobs }, () =>
    logging ? runnerHere(profile, duration, logging) : runnerElsewhere(),
  )
  await Promise.all(
    runners.map(async (runner) => {
      for (let mine = next(); mine !== undefined; mine = next()) {
        const report = await runner.run(mine)
        reports.set(mine, report)
        simulated += report.simulated
        if (report.failure !== undefined) {
          violations++
          console.log(`seed ${mine} of profile ${name} at commit ${commit()}: ${report.failure}`)
          console.log(
            `again, with all that happens: npm run sim -- --seeds 1 --from ${mine} --profile ${name}${faults}`,
          )
        }
        if (reports.size % 500 === 0) console.log(`seeds ${from} to ${mine}: ${violations} violations`)
      }
      runner.end()
    }),
  )
  const all = [...reports.values()]
  const sums = profile.counts.map((count, at) => `${count} ${all.reduce((sum, { counts }) => sum + counts[at]!, 0)}`)
  const seconds = (performance.now() - started) / 1000
  const cpuSeconds = all.reduce((sum, { cpu }) => sum + cpu, 0) / 1000
  console.log(
    `${sums.join(', ')}; ${seconds.toFixed(1)} s, ${Math.round(simulated / 1000 / seconds)} simulated seconds a second, ` +
      `${Math.round(simulated / 1000 / cpuSeconds)} a second of processor time`,
  )
  if (stopped || seeds === Number.POSITIVE_INFINITY) console.log(`to go on: --from ${seed}`)
  console.log(`fingerprint ${fingerprintOf(reports)}`)
  console.log(`${reports.size} seeds, ${(simulated / 3_600_000).toFixed(2)} simulated hours, ${violations} violations`)
  process.exitCode = violations > 0 ? 1 : 0
}

/** The same for the same seeds, in whatever order they were run. */
function fingerprintOf(reports: ReadonlyMap<number, Report>): string {
  let sum = 0
  for (const [seed, { fingerprint }] of reports) {
    let hash = seed
    for (const letter of fingerprint) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193)
    sum = (sum + (hash >>> 0)) >>> 0
  }
  return sum.toString(16).padStart(8, '0')
}
