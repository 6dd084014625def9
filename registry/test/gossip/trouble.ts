/**
 * Pools in random trouble. A run has two phases: trouble (members are killed, started again, paused, cut off, leave,
 * change tags, on a bad network), then peace, in which all must come to the same, true view.
 */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { Pool, type Process } from './pool.ts'

/** Watches that what a process knows of a name never goes back. */
class Watch {
  readonly #seen = new Map<Process, Map<string, number>>()

  look(pool: Pool): void {
    for (const process of pool.processes) {
      if (process.state === 'stopped') continue
      const seen = this.#seen.get(process) ?? new Map<string, number>()
      this.#seen.set(process, seen)
      for (const { name, incarnation } of process.gossip.members()) {
        const before = seen.get(name) ?? 0
        assert.ok(incarnation >= before, `${process.name} took ${name} back from ${before} to ${incarnation}`)
        seen.set(name, incarnation)
      }
    }
  }
}

function trouble(pool: Pool, random: Random, watch: Watch): void {
  for (let act = 0; act < 12; act++) {
    const running = pool.running
    const victim = random.pick(running) as Process
    switch (random.between(0, 7)) {
      case 0:
        if (running.length > 2) pool.stop(victim)
        break
      case 1:
      case 2: {
        // Somebody that is gone comes back: at the same or another address, as the same or another process.
        const gone = pool.processes.filter(
          ({ name, state }) =>
            state === 'stopped' && !pool.processes.some((p) => p.name === name && p.state !== 'stopped'),
        )
        const old = random.pick(gone)
        if (old === undefined) break
        const address = random.chance(0.7) ? { address: old.address } : {}
        const tags = random.chance(0.5) ? { tags: old.gossip.self.tags } : {}
        const again = pool.start(old.name, { ...address, ...tags })
        for (const other of random.shuffle(running).slice(0, 2)) pool.join(again, other)
        break
      }
      case 3:
        if (running.length > 2) pool.pause(victim)
        break
      case 4:
        for (const process of pool.processes) if (process.state === 'paused') pool.resume(process)
        break
      case 5: {
        const shuffled = random.shuffle(pool.processes)
        const cut = random.between(1, shuffled.length - 1)
        pool.partition(shuffled.slice(0, cut), shuffled.slice(cut))
        break
      }
      case 6:
        pool.heal()
        pool.act(victim, (gossip) => gossip.setTags({ ...gossip.self.tags, round: String(act) }, pool.now))
        break
      case 7:
        if (running.length < 4) break
        pool.act(victim, (gossip) => gossip.leave(pool.now))
        pool.run(random.between(0, 1_000))
        pool.stop(victim)
        break
    }
    for (let second = random.between(0, 8); second >= 0; second--) {
      pool.run(1_000)
      watch.look(pool)
    }
  }
}

/**
 * Agents do that (retry_join). A process that came back at another address, and joined nobody or only some who died or
 * came back likewise, is on an island: no gossip can find it, for nobody on the mainland knows the address.
 */
function joinIslands(pool: Pool): void {
  const running = pool.running
  const knows = (a: Process, b: Process) => {
    const held = a.gossip.get(b.name)
    return held !== undefined && held.status !== 'left' && held.address.host === b.address.host
  }
  const mainland = new Set(running.slice(0, 1))
  for (const reached of mainland) {
    for (const other of running) if (knows(reached, other) || knows(other, reached)) mainland.add(other)
  }
  for (const process of running) if (!mainland.has(process)) pool.join(process, running[0] as Process)
}

export interface PoolResult {
  /** They did not agree in time, or what is known of a member went back. */
  failure: Error | undefined
  simulated: Millis
}

export function runPool(seed: number): PoolResult {
  const random = new Random(seed)
  const weather = {
    loss: random.pick([0, 0.05, 0.2]) as number,
    repeat: random.pick([0, 0.1]) as number,
    frameLoss: random.pick([0, 0, 0.3]) as number,
    delay: [1, random.pick([3, 30, 200]) as number] as const,
  }
  const pool = new Pool(seed, { weather })
  const began = pool.now
  let failure: Error | undefined
  try {
    live(pool, random)
  } catch (error) {
    failure = error as Error
  }
  return { failure, simulated: pool.now - began }
}

function live(pool: Pool, random: Random): void {
  const { weather } = pool
  const watch = new Watch()
  pool.startJoined(random.pick([3, 3, 4, 5, 5, 8, 13, 30, 50]) as number)
  pool.run(random.between(0, 5_000))
  trouble(pool, random, watch)
  pool.heal()
  // Nobody has to agree for long on a network on which new suspicions arise faster than old ones are settled.
  pool.weather = { ...weather, loss: Math.min(weather.loss, 0.05), frameLoss: 0 }
  for (const process of pool.processes) if (process.state === 'paused') pool.resume(process)
  let nextJoin = pool.now
  const agreed = () => {
    if (pool.now >= nextJoin) {
      nextJoin = pool.now + 5_000
      joinIslands(pool)
    }
    return pool.converged()
  }
  pool.until(agreed, 120_000, 'agreement')
  watch.look(pool)
  expectPeace(pool)
}

/** All have agreed and nothing is lost any more: nobody who runs is taken for dead. What was refuted stays refuted. */
function expectPeace(pool: Pool): void {
  const since = pool.now
  pool.weather = { ...pool.weather, loss: 0 }
  pool.run(20_000)
  const running = new Set(pool.running.map(({ name }) => name))
  for (const { name, state, events } of pool.processes) {
    if (state !== 'running') continue
    for (const { at, event } of events) {
      if (at <= since || event.type !== 'failed') continue
      assert.ok(!running.has(event.member.name), `in peace ${name} takes ${event.member.name} for dead`)
    }
  }
}
