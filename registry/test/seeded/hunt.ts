/** Looks for a seeded bug: runs seeds of a simulation with it until one fails. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Exploration } from '../explore/explore.ts'
import type { Hunter, SeededBug } from './bugs.ts'
import type { Patches } from './patched.ts'

export interface Found {
  /** How many seeds it took. */
  seeds: number
  message: string
}

/** @returns undefined when `seedsMax` seeds from `first` on, or the time, are not enough. */
export async function hunt(
  patches: Patches,
  { name, edits }: SeededBug,
  hunter: Hunter,
  { first, seedsMax, until = Number.POSITIVE_INFINITY }: { first: number; seedsMax: number; until?: number },
): Promise<Found | undefined> {
  const fails = await runnerOf(patches, name, edits, hunter)
  for (let seeds = 1; seeds <= seedsMax && performance.now() < until; seeds++) {
    const failure = await fails(first + seeds - 1)
    if (failure !== undefined) return { seeds, message: failure.message.split('\n')[0] as string }
  }
  return undefined
}

type Runner = (seed: number) => Promise<Error | undefined>

async function runnerOf(patches: Patches, name: string, edits: SeededBug['edits'], hunter: Hunter): Promise<Runner> {
  switch (hunter) {
    case 'cores': {
      const { runCores } = await patches.load<typeof import('../sim/cores.ts')>(name, edits, 'test/sim/cores.ts')
      return thrown(runCores)
    }
    case 'replicas': {
      const { run } = await patches.load<typeof import('../sim/run.ts')>(name, edits, 'test/sim/run.ts')
      return async (seed) => (await run(seed)).failure
    }
    case 'agents': {
      const { runAgents } = await patches.load<typeof import('../sim/agent-run.ts')>(
        name,
        edits,
        'test/sim/agent-run.ts',
      )
      return async (seed) => (await runAgents(seed)).failure
    }
    case 'gossip': {
      const { runPool } = await patches.load<typeof import('../gossip/trouble.ts')>(
        name,
        edits,
        'test/gossip/trouble.ts',
      )
      return thrown(runPool)
    }
    case 'scenarios': {
      const { play } = await patches.load<typeof import('../scenarios/scenario.ts')>(
        name,
        edits,
        'test/scenarios/scenario.ts',
      )
      const folder = join(import.meta.dirname, '../scenarios/raft')
      return thrown(() => {
        for (const file of readdirSync(folder)) {
          const text = readFileSync(join(folder, file), 'utf8')
          if (play(text) !== text) throw new Error(`${file} reads differently`)
        }
      })
    }
    default:
      return hunter satisfies never
  }
}

function thrown(run: (seed: number) => unknown): Runner {
  return async (seed) => {
    try {
      run(seed)
      return undefined
    } catch (error) {
      return error as Error
    }
  }
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
