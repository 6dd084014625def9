import assert from 'node:assert/strict'
import { Corrupt } from '../errors.ts'
import type { Disk, Io } from '../io/io.ts'
import { Random } from '../io/random.ts'
import { expectWhole, openNodeFile } from './node-file.ts'

function world(files = new Map<string, string>()) {
  const disk: Partial<Disk> = {
    read: async (file) => {
      const text = files.get(file)
      return text === undefined ? undefined : new TextEncoder().encode(text)
    },
    write: async (file, _at, chunks) => {
      files.set(file, new TextDecoder().decode(chunks[0]))
    },
    sync: async () => {},
    syncFolder: async () => {},
    remove: async (file) => {
      files.delete(file)
    },
    rename: async (from, to) => {
      files.set(to, files.get(from) as string)
      files.delete(from)
    },
  }
  return { files, io: { disk, random: new Random(1), log: () => {} } as unknown as Io }
}
const none = { hasState: false, configuration: { cluster: '', servers: [] } }
const some = { hasState: true, configuration: { cluster: 'c', servers: [{ id: 'i', address: 'a:1', voter: true }] } }

describe('what a node knows of itself', () => {
  it('its id, its members and its cluster are there again', async () => {
    const { io } = world()
    const first = await openNodeFile(io, undefined)
    assert.equal(first.fresh, true)
    assert.equal((await openNodeFile(io, undefined)).fresh, true, 'nothing is kept before it may be')
    await first.begin()
    await Promise.all([first.keepMembers(['10.0.0.2:8301']), first.keepCluster('c', 3)])
    await first.flush()
    const second = await openNodeFile(io, undefined)
    assert.deepEqual(
      [second.id, second.members, second.cluster, second.fresh],
      [first.id, ['10.0.0.2:8301'], 'c', false],
    )
  })

  it('who was known is forgotten at the first start after a leave, unless it rejoins', async () => {
    const { io } = world()
    const first = await openNodeFile(io, undefined)
    await first.begin()
    await first.keepMembers(['10.0.0.2:8301'])
    await first.keepWan([{ datacenter: 'dc2', address: '10.2.0.2:8302' }])
    await first.keepLeft()
    const rejoining = await openNodeFile(io, undefined, true)
    assert.deepEqual([rejoining.members, rejoining.wan.length], [['10.0.0.2:8301'], 1])
    const alone = await openNodeFile(io, undefined)
    assert.deepEqual([alone.members, alone.wan], [[], []])
    await alone.begin()
    assert.deepEqual((await openNodeFile(io, undefined, true)).members, [], 'for good')
    // Back in company, and killed: that is no leave.
    await rejoining.begin()
    assert.deepEqual((await openNodeFile(io, undefined)).members, ['10.0.0.2:8301'])
  })

  it('servers of other datacenters are there again, and what is none of them is skipped', async () => {
    const { io, files } = world()
    const first = await openNodeFile(io, undefined)
    await first.begin()
    const wan = [{ datacenter: 'dc2', address: '10.2.0.1:8302' }]
    await first.keepWan(wan)
    assert.deepEqual((await openNodeFile(io, undefined)).wan, wan)
    for (const broken of ['x', {}, null, [null, 7, { datacenter: 'dc2' }, { datacenter: 1, address: 'a' }]]) {
      files.set('node.json', JSON.stringify({ format: 1, id: first.id, wan: broken }))
      assert.deepEqual((await openNodeFile(io, undefined)).wan, [])
    }
  })

  it('a damaged file is no new node', async () => {
    for (const text of ['null', '[]', '{"id":"x"}', '{']) {
      await assert.rejects(openNodeFile(world(new Map([['node.json', text]])).io, undefined), Corrupt, text)
    }
  })

  it('a server that lost its log is another one from then on, until it has a log again', async () => {
    const { io } = world()
    const first = await openNodeFile(io, undefined)
    await first.begin()
    await first.keepCluster('c', 3)
    const { id } = first
    await first.replace()
    assert.notEqual(first.id, id)
    const second = await openNodeFile(io, undefined)
    assert.deepEqual([second.id, second.former, second.cluster, second.voters], [first.id, id, 'c', 3])
    await second.keepCluster('c', 2)
    const third = await openNodeFile(io, undefined)
    assert.deepEqual([third.id, third.former, third.cluster, third.voters], [first.id, '', 'c', 2])
  })

  it('a file of a newer version is refused with both versions', async () => {
    const { io } = world(new Map([['node.json', '{"format":2,"id":"x"}']]))
    await assert.rejects(openNodeFile(io, undefined), /node\.json .* has format 2, .* understands format 1/)
  })

  const kept = { id: 'i', before: 'i', given: false, fresh: false, cluster: '', former: '' } as const

  it('an id without its log, or a log without its id, is nothing to begin with', () => {
    expectWhole({ ...kept, before: '', fresh: true }, none)
    expectWhole(kept, none)
    expectWhole({ ...kept, cluster: 'c' }, some)
    expectWhole({ ...kept, cluster: 'c', former: 'x' }, none)
    assert.throws(() => expectWhole({ ...kept, cluster: 'c' }, none), /the log in the data directory .* is gone/)
    assert.throws(
      () => expectWhole({ ...kept, before: '', fresh: true }, some),
      /node\.json is missing.*i at a:1.*-node-id/s,
    )
  })

  it('a log goes with no other id than the one it was written under', () => {
    const given = { ...kept, given: true, cluster: 'c' }
    expectWhole(given, some)
    expectWhole({ ...given, before: '' }, some)
    // Nothing was promised under the former id.
    expectWhole({ ...given, cluster: '', before: 'x' }, none)
    assert.throws(() => expectWhole({ ...given, before: 'x' }, some), /of server x, and -node-id gives i: .*without/)
    assert.throws(
      () => expectWhole({ ...given, id: 'y', before: '' }, some),
      /-node-id gives y, which is none of .*i at a:1: give the former id/,
    )
    // Without a word of who it was, one that was never told of itself is let in: it is in nobody's way.
    expectWhole({ ...given, before: '' }, { hasState: true, configuration: { cluster: '', servers: [] } })
  })
})
