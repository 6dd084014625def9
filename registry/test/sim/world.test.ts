import assert from 'node:assert/strict'
import { World } from './world.ts'

function place(name: string): { world: World; at(time: number, what: string): void; seen: string[] } {
  const world = new World(1)
  world.place(name, {})
  world.boot(name)
  const seen: string[] = []
  return { world, seen, at: (time, what) => world.nodeAt(name, time, () => seen.push(`${what} ${world.now}`)) }
}

describe('the simulated world', () => {
  it('lets what comes during a pause happen after it, in the same order', async () => {
    const { world, at, seen } = place('a')
    world.nodes.get('a')!.pausedUntil = 50
    at(10, 'first')
    at(20, 'second')
    at(60, 'third')
    await world.runFor(100)
    assert.deepEqual(seen, ['first 50', 'second 50', 'third 60'])
  })

  it('lets it happen at once when the pause is cut short', async () => {
    const { world, at, seen } = place('a')
    world.nodes.get('a')!.pausedUntil = 10_000
    at(10, 'first')
    await world.runFor(20)
    world.nodes.get('a')!.pausedUntil = world.now
    at(20, 'second')
    await world.runFor(1)
    assert.deepEqual(seen, ['first 20', 'second 20'])
  })

  it('lets clocks change their rates without ever going back', async () => {
    const world = new World(1)
    world.place('a', {})
    const { clock } = world.boot('a')
    const began = clock.now()
    await world.runFor(1000)
    world.nodes.get('a')!.rate = 0.5
    assert.equal(clock.now() - began, 1000)
    await world.runFor(1000)
    assert.equal(clock.now() - began, 1500)
  })
})
