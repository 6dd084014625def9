import assert from 'node:assert/strict'
import { History } from '../../test/sim/checkers.ts'
import { Cluster } from '../../test/sim/cluster.ts'
import { quickDisk, World } from '../../test/sim/world.ts'
import { explained } from './disk-errors.ts'

describe('a disk that fails', () => {
  it('is explained; other errors are what they are', () => {
    const full = Object.assign(new Error("ENOSPC: no space left on device, writev 'raft/wal/1'"), { code: 'ENOSPC' })
    const { message, code } = explained(full) as NodeJS.ErrnoException
    assert.match(message, /^the disk of the data directory is full\. .*make room.* \(ENOSPC: .*raft\/wal\/1'\)$/)
    assert.equal(code, 'ENOSPC')
    const other = new Error('assertion failed')
    assert.equal(explained(other), other)
  })

  it('halts the server with the reason; with room again it starts with everything it had acknowledged', async () => {
    const world = new World(1)
    const nodes = new Cluster(world, new History(), {})
    const halts: Error[] = []
    world.onHalt = (node, reason) => {
      halts.push(reason)
      nodes.member(node).replica = undefined
    }
    nodes.add('a')
    nodes.start('a')
    await world.runFor(20)
    const servers = [{ id: 'a', address: nodes.member('a').address, voter: true }]
    void nodes.member('a').replica!.bootstrap({ cluster: 'c', servers })
    await world.runWhile(() => nodes.leader() === undefined, 5000)
    let acknowledged = 0
    const write = (text: string) => {
      nodes
        .member('a')
        .replica!.propose(Buffer.from(text))
        .then(
          () => acknowledged++,
          () => {},
        )
      return world.runFor(200)
    }
    await write('w1')
    await write('w2')
    world.nodes.get('a')!.diskFaults = { ...quickDisk, full: true }
    await write('w3')
    assert.equal(acknowledged, 2)
    assert.match(halts[0]!.message, /^the disk of the data directory is full/)

    nodes.start('a')
    await world.runFor(100)
    assert.equal(nodes.member('a').replica, undefined, 'it says the same while there is no room')
    world.nodes.get('a')!.diskFaults = quickDisk
    await world.runWhile(() => nodes.member('a').list.writes.length < 2, 5000)
    assert.deepEqual(nodes.member('a').list.writes.slice(0, 2), ['w1', 'w2'])
    assert.equal(nodes.broken.size, 0)
  })
})
