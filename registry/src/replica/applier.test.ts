import assert from 'node:assert/strict'
import { SimulatedDisk } from '../../test/sim/disk.ts'
import { Random } from '../io/random.ts'
import type { Entry } from '../raft/message.ts'
import { Applier } from './applier.ts'
import type { StateMachine } from './machine.ts'
import { Snapshots } from './snapshots.ts'

const entry = (index: number): Entry => ({ index, term: 1, kind: 'command', data: new Uint8Array(1) })
const entries = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => entry(from + at))

/** A machine that takes a millisecond for each entry, and turns of the loop that come when they are let. */
async function applier() {
  let now = 0
  const turns: (() => void)[] = []
  const applied: number[] = []
  const machine: StateMachine = {
    apply: (index) => {
      now++
      return applied.push(index)
    },
    snapshot: () => [],
    restore: () => {
      applied.length = 0
    },
  }
  const failures: unknown[] = []
  let resumed = 0
  const snapshots = await Snapshots.open(new SimulatedDisk(new Random(1)).open(), 'raft/snapshots')
  const one = new Applier(
    { clock: { now: () => now, wall: () => 0 }, turn: () => new Promise((resolve) => turns.push(resolve)) },
    { machine, snapshots, start: undefined },
    {
      read: () => undefined,
      applied: () => {},
      reached: () => {},
      restored: () => {},
      resumed: () => {
        resumed++
      },
      failed: (error) => failures.push(error),
    },
  )
  const turn = async () => {
    turns.shift()?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { one, machine, turns, turn, applied, failures, snapshots, resumed: () => resumed }
}

describe('applying', () => {
  it('is done at once when it is little', async () => {
    const { one, applied, turns } = await applier()
    one.apply(entries(1, 32))
    assert.deepEqual([one.index, applied.length, turns.length, one.idle], [32, 32, 0, true])
  })

  it('lets others have their turn between slices, and keeps the order', async () => {
    const { one, applied, turns, turn, resumed } = await applier()
    one.apply(entries(1, 100))
    one.apply(entries(101, 110))
    assert.deepEqual([one.index, turns.length, one.idle], [32, 1, false])
    await turn()
    assert.equal(one.index, 64)
    one.apply(entries(111, 120))
    assert.deepEqual([one.index, turns.length, resumed()], [64, 1, 1])
    for (let more = 0; more < 10; more++) await turn()
    assert.deepEqual([one.index, one.idle, turns.length], [120, true, 0])
    assert.deepEqual(
      applied,
      entries(1, 120).map(({ index }) => index),
    )
  })

  it('says what the machine throws in a later slice, and applies nothing after a stop', async () => {
    const { one, machine, turn, failures } = await applier()
    const { apply } = machine
    machine.apply = (index, data) => {
      if (index === 50) throw new Error('no')
      return apply(index, data)
    }
    one.apply(entries(1, 100))
    await turn()
    assert.deepEqual(
      failures.map((error) => (error as Error).message),
      ['no'],
    )
    const other = await applier()
    other.one.apply(entries(1, 100))
    other.one.stop()
    await other.turn()
    assert.equal(other.one.index, 32)
  })
})
