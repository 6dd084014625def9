/** Looks for a seeded bug: runs seeds of a simulation with it until one fails. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Millis } from '../../src/model.ts'
import type { Exploration } from '../explore/explore.ts'
import type { Hunter, SeededBug } from './bugs.ts'
import type { Patches } from './patched.ts'

export interface Hunted {
  /** How many seeds it took, or were tried in vain. */
  seeds: number
  /** All of them together. */
  simulated: Millis
  /** What was seen of the bug, in one line; undefined: nothing. */
  message: string | undefined
}

export interface HuntOptions {
  /** The first seed. */
  first: number
  seedsMax: number
  /** By the process's clock: seeds begin before this only. */
  until?: number
}

/** What hunters see when there is no bug: nothing, one should think. */
export const noBug: SeededBug = { number: 0, name: 'none', edits: [], hunters: [] }

export async function hunt(patches: Patches, bug: SeededBug, hunter: Hunter, options: HuntOptions): Promise<Hunted> {
  const { first, seedsMax, until = Number.POSITIVE_INFINITY } = options
  const run = await runnerOf(patches, bug, hunter)
  let simulated = 0
  for (let seeds = 1; seeds <= seedsMax; seeds++) {
    const outcome = await run(first + seeds - 1)
    simulated += outcome.simulated
    const message = outcome.failure?.message.split('\n')[0]
    if (message !== undefined) return { seeds, simulated, message }
    if (performance.now() >= until) return { seeds, simulated, message: undefined }
  }
  return { seeds: seedsMax, simulated, message: undefined }
}

interface Outcome {
  failure: Error | undefined
  simulated: Millis
}

type Runner = (seed: number) => Outcome | Promise<Outcome>

async function runnerOf(patches: Patches, { name, edits }: SeededBug, hunter: Hunter): Promise<Runner> {
  const load = <T>(file: string) => patches.load<T>(name, edits, file)
  switch (hunter) {
    case 'cores':
      return (await load<typeof import('../sim/cores.ts')>('test/sim/cores.ts')).runCores
    case 'replicas': {
      const { run } = await load<typeof import('../sim/run.ts')>('test/sim/run.ts')
      return (seed) => run(seed)
    }
    case 'agents': {
      const { runAgents } = await load<typeof import('../sim/agent-run.ts')>('test/sim/agent-run.ts')
      return (seed) => runAgents(seed)
    }
    case 'sessions':
      return (await load<typeof import('../sim/session-run.ts')>('test/sim/session-run.ts')).runSessions
    case 'gossip':
      return (await load<typeof import('../gossip/trouble.ts')>('test/gossip/trouble.ts')).runPool
    case 'scenarios': {
      const { play } = await load<typeof import('../scenarios/scenario.ts')>('test/scenarios/scenario.ts')
      return () => ({ failure: otherTranscript(play), simulated: 0 })
    }
    default:
      return hunter satisfies never
  }
}

function otherTranscript(play: (text: string) => string): Error | undefined {
  const folder = join(import.meta.dirname, '../scenarios/raft')
  for (const file of readdirSync(folder)) {
    const text = readFileSync(join(folder, file), 'utf8')
    try {
      if (play(text) !== text) return new Error(`${file} reads differently`)
    } catch (error) {
      return error as Error
    }
  }
  return undefined
}

/** The shortest way to it. */
export async function exploreWith(
  patches: Patches,
  { name, edits, bounds = {}, tails }: SeededBug,
  statesMax: number,
): Promise<Exploration> {
  const { explore } = await patches.load<typeof import('../explore/explore.ts')>(
    `${name}-explored`,
    edits,
    'test/explore/explore.ts',
    'raft/',
  )
  return explore(bounds, { statesMax, ...(tails === undefined ? {} : { tails, apart: true }) })
}
