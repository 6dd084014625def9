import assert from 'node:assert/strict'
import { Pool, type Process } from '../../test/gossip/pool.ts'

const serfEvents = (process: Process) =>
  process.events.flatMap(({ event }) => ('member' in event ? [`${event.type} ${event.member.name}`] : []))

describe('a gossip pool', () => {
  it('knows everybody soon after everybody joined one', () => {
    const pool = new Pool(1)
    const [first] = pool.startJoined(5)
    pool.until(() => pool.converged(), 2_000)
    assert.deepEqual(serfEvents(first!).sort(), ['join m1', 'join m2', 'join m3', 'join m4', 'join m5'])
  })

  it('finds out who was killed', () => {
    const pool = new Pool(2)
    const [a, b, c] = pool.startJoined(3)
    pool.until(() => pool.converged(), 2_000)
    pool.stop(c!)
    const took = pool.until(() => pool.converged(), 12_000)
    assert.ok(took < 9_000, `${took}`)
    assert.equal(a!.gossip.get('m3')?.status, 'failed')
    assert.deepEqual(serfEvents(b!).at(-1), 'failed m3')
  })

  it('tells leaving from failing', () => {
    const pool = new Pool(3)
    const [a, b, c] = pool.startJoined(3)
    pool.until(() => pool.converged(), 2_000)
    pool.act(c!, (gossip) => gossip.leave(pool.now))
    const took = pool.until(() => c!.events.some(({ event }) => event.type === 'left'), 1_000)
    assert.ok(took < 200, `${took}`)
    pool.stop(c!)
    pool.run(20_000)
    for (const process of [a!, b!]) {
      assert.equal(process.gossip.get('m3')?.status, 'left')
      assert.equal(serfEvents(process).at(-1), 'leave m3')
    }
  })

  it('takes back a member that was killed and started again', () => {
    const pool = new Pool(4)
    const [a, b, c] = pool.startJoined(3)
    pool.until(() => pool.converged(), 2_000)
    pool.stop(c!)
    pool.until(() => pool.converged(), 12_000)
    const again = pool.start('m3')
    pool.join(again, a!)
    pool.until(() => pool.converged(), 2_000)
    assert.equal(serfEvents(b!).at(-1), 'join m3')
  })
})
