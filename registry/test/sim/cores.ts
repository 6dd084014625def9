/**
 * Many Raft cores in a bad world, chosen by a seed: messages are lost, late, repeated and cut off; saves take long and a
 * crash loses them; processes stall; clocks run at different speeds; servers come and go; leaders do not last. Checkers
 * watch from outside, and after the faults end everybody must agree within ten seconds. No replica, no bytes on disks:
 * those are in `run.ts`.
 */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import type { Index, Millis } from '../../src/model.ts'
import { CoreFaults, drawCorePlan } from './core-faults.ts'
import { CoreWorld } from './core-world.ts'

export interface CoreResult {
  /** A promise that was broken, or that it did not recover. */
  failure: Error | undefined
  entries: number
  elections: number
  simulated: Millis
}

/** One world, from its founding to its end. */
export function runCores(seed: number): CoreResult {
  const random = new Random(seed)
  const plan = drawCorePlan(random)
  const world = new CoreWorld(random, plan)
  let failure: Error | undefined
  try {
    live(world, new CoreFaults(world, plan))
  } catch (error) {
    failure = error as Error
  }
  const { committed, elections } = world.checkers
  return { failure, entries: committed.length - 1, elections, simulated: world.at }
}

/** @throws when a promise is broken, or it does not recover. */
function live(world: CoreWorld, faults: CoreFaults): void {
  const { random, checkers } = world
  const faultsEnd = random.between(5, 30) * 1000
  while (world.at < faultsEnd) {
    world.runUntil(world.at + random.between(20, 400))
    world.clientsWork()
    faults.step()
    if (random.chance(0.05)) checkers.checkLogs()
  }
  faults.end()
  const deadline = world.at + 10_000
  let proposed: Index | undefined
  while (proposed === undefined && world.at < deadline) {
    world.runUntil(world.at + 100)
    // An old leader that is not deposed yet would take it and lose it: the newest counts.
    const newest = world.leaders()[0]
    if (newest !== undefined && newest.raft.commit > 0 && world.at > deadline - 6000) proposed = world.propose(newest)
  }
  assert(proposed !== undefined, `no leader 10 s after the faults ended: ${world.describe()}`)
  const index = proposed
  world.runUntil(deadline, () => world.agreed(index))
  assert(world.agreed(index), `no agreement 10 s after the faults ended: ${world.describe()}`)
  checkers.checkLogs()
}
