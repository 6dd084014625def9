import assert from 'node:assert/strict'
import { BadRequest } from '../errors.ts'
import { autopilotDefault } from '../model.ts'
import { type Command, decodeCommand, encodeCommand } from './command.ts'
import { Store } from './store.ts'

type Set = Extract<Command, { type: 'autopilot.set' }>

function set(store: Store, change: Omit<Set, 'type' | 'configuration'> & { maxTrailingLogs?: number } = {}): boolean {
  const { maxTrailingLogs = 250, ...rest } = change
  const configuration = { ...autopilotDefault, maxTrailingLogs }
  const result = store.apply(store.index + 1, encodeCommand({ type: 'autopilot.set', configuration, ...rest }))
  assert.ok('value' in result)
  return result.value
}

describe('how autopilot shall behave', () => {
  it('is absent until it is set, keeps when it was first, and is in snapshots', () => {
    const store = new Store()
    assert.equal(store.autopilot(), undefined)
    assert.equal(set(store), true)
    assert.equal(set(store, { maxTrailingLogs: 7 }), true)
    assert.deepEqual(store.autopilot(), { ...autopilotDefault, maxTrailingLogs: 7, createIndex: 1, modifyIndex: 2 })
    const other = new Store()
    other.restore(store.snapshot())
    assert.deepEqual(other.autopilot(), store.autopilot())
    other.restore(new Store().snapshot())
    assert.equal(other.autopilot(), undefined)
  })

  it('what a leader was started with counts only where nobody has said anything', () => {
    const store = new Store()
    assert.equal(set(store, { initial: true, maxTrailingLogs: 1 }), true)
    assert.equal(set(store, { initial: true, maxTrailingLogs: 2 }), false)
    assert.equal(store.autopilot()?.maxTrailingLogs, 1)
  })

  it('with an index is set only if it was last set there', () => {
    const store = new Store()
    assert.equal(set(store, { cas: 0 }), false)
    assert.equal(set(store), true)
    assert.equal(set(store, { cas: 1 }), false)
    assert.equal(set(store, { cas: 2, maxTrailingLogs: 9 }), true)
    assert.equal(store.autopilot()?.maxTrailingLogs, 9)
  })

  for (const [what, wrong] of [
    ['a switch that is a text', { cleanupDeadServers: 'true' }],
    ['no duration', { lastContactThreshold: Number.NaN }],
    ['fewer than none', { minQuorum: -1 }],
    ['a part of an entry', { maxTrailingLogs: 1.5 }],
  ] as const) {
    it(`${what} is refused`, () => {
      const command = { type: 'autopilot.set', configuration: { ...autopilotDefault, ...wrong } } as unknown as Command
      assert.throws(() => decodeCommand(encodeCommand(command)), BadRequest)
    })
  }
})
