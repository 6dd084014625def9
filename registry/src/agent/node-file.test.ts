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
    await Promise.all([first.keepMembers(['10.0.0.2:8301']), first.keepCluster('c')])
    await first.flush()
    const second = await openNodeFile(io, undefined)
    assert.deepEqual(
      [second.id, second.members, second.cluster, second.fresh],
      [first.id, ['10.0.0.2:8301'], 'c', false],
    )
  })

  it('a damaged file is no new node', async () => {
    for (const text of ['null', '[]', '{"id":"x"}', '{']) {
      await assert.rejects(openNodeFile(world(new Map([['node.json', text]])).io, undefined), Corrupt, text)
    }
  })

  it('an id without its log, or a log without its id, is nothing to begin with', () => {
    expectWhole({ fresh: true, cluster: '' }, none)
    expectWhole({ fresh: false, cluster: '' }, none)
    expectWhole({ fresh: false, cluster: 'c' }, some)
    assert.throws(() => expectWhole({ fresh: false, cluster: 'c' }, none), /the log in the data directory .* is gone/)
    assert.throws(() => expectWhole({ fresh: true, cluster: '' }, some), /node\.json is missing.*i at a:1.*-node-id/s)
  })
})
