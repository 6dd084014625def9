import assert from 'node:assert/strict'
import { Corrupt, Refused } from '../errors.ts'
import type { Disk, Io } from '../io/io.ts'
import { openKeyrings } from './keyring-file.ts'

const [first, second] = [1, 2].map((fill) => Buffer.alloc(32, fill).toString('base64')) as [string, string]

function world(kept: Record<string, string> = {}) {
  const files = new Map<string, Uint8Array>(Object.entries(kept).map(([name, text]) => [name, Buffer.from(text)]))
  const logged: string[] = []
  const broken = { rename: false }
  const disk: Partial<Disk> = {
    read: async (file) => files.get(file),
    write: async (file, _at, [bytes]) => {
      files.set(file, bytes as Uint8Array)
    },
    sync: async () => {},
    syncFolder: async () => {},
    remove: async (file) => {
      files.delete(file)
    },
    rename: async (from, to) => {
      if (broken.rename) throw new Error('EIO: i/o error, rename')
      files.set(to, files.get(from) as Uint8Array)
      files.delete(from)
    },
  }
  const io = {
    disk,
    clock: { now: () => 0 },
    log: (_level: string, _area: string, message: string) => logged.push(message),
  } as unknown as Io
  const read = (file: string) => {
    const bytes = files.get(file)
    return bytes === undefined ? undefined : (JSON.parse(Buffer.from(bytes).toString()) as string[])
  }
  return { io, files, logged, broken, read }
}

describe('keyring files', () => {
  it('are made from the key that is given: a server has two, another agent one', async () => {
    const server = world()
    const { lan, wan } = await openKeyrings(server.io, { server: true, encrypt: { key: first } })
    assert.deepEqual([lan?.keyring.texts, wan?.keyring.texts], [[first], [first]])
    assert.deepEqual(server.read('serf/local.keyring'), [first])
    assert.deepEqual(server.read('serf/remote.keyring'), [first])
    const observer = world()
    assert.equal((await openKeyrings(observer.io, { server: false, encrypt: { key: first } })).wan, undefined)
    assert.deepEqual([...observer.files.keys()], ['serf/local.keyring'])
  })

  it('are not there without a key', async () => {
    const { io, files } = world()
    assert.deepEqual(await openKeyrings(io, { server: true, encrypt: { key: undefined } }), {
      lan: undefined,
      wan: undefined,
    })
    assert.equal(files.size, 0)
  })

  it('win over another key, with a word about it, and count without one; Consul’s are read as they are', async () => {
    const kept = { 'serf/local.keyring': `["${second}"]`, 'serf/remote.keyring': `[\n  "${second}",\n  "${first}"\n]` }
    const { io, logged } = world(kept)
    const given = await openKeyrings(io, { server: true, encrypt: { key: first } })
    assert.deepEqual([given.lan?.keyring.texts, given.wan?.keyring.texts], [[second], [second, first]])
    assert.deepEqual(logged, [
      'WARNING: LAN keyring exists but -encrypt given, using keyring',
      'WARNING: WAN keyring exists but -encrypt given, using keyring',
    ])
    const same = world(kept)
    await openKeyrings(same.io, { server: true, encrypt: { key: second } })
    assert.deepEqual(same.logged, [], 'nothing was ignored')
    assert.deepEqual((await openKeyrings(io, { server: true })).lan?.keyring.texts, [second])
  })

  it('of the LAN serve for the WAN of an agent that has become a server', async () => {
    const { io, read } = world({ 'serf/local.keyring': `["${second}"]` })
    await openKeyrings(io, { server: true })
    assert.deepEqual(read('serf/remote.keyring'), [second])
  })

  it('are not shown to the log when they are no JSON: whoever reads it may not have the key', async () => {
    const key = Buffer.from('sixteen bytes 16').toString('base64')
    const { io } = world({ 'serf/local.keyring': key })
    await assert.rejects(openKeyrings(io, { server: false }), (error: Error) => {
      assert.ok(error instanceof Corrupt)
      assert.match(error.message, /^serf\/local\.keyring in the data directory is not a JSON list of keys; restore it/)
      assert.equal(error.cause, undefined)
      return true
    })
  })

  it('are neither read nor written when they are disabled', async () => {
    const { io, files } = world({ 'serf/local.keyring': `["${second}"]` })
    const { lan } = await openKeyrings(io, { server: false, encrypt: { key: first, keepFile: false } })
    await lan?.change('install', second)
    assert.deepEqual(lan?.keyring.texts, [first, second])
    assert.equal(Buffer.from(files.get('serf/local.keyring') ?? []).toString(), `["${second}"]`)
  })

  it('are written before a change is in force, one change after the other', async () => {
    const { io, read, broken } = world()
    const { lan } = await openKeyrings(io, { server: false, encrypt: { key: first } })
    await Promise.all([lan?.change('install', second), lan?.change('use', second), lan?.change('remove', first)])
    assert.deepEqual(read('serf/local.keyring'), [second])
    assert.deepEqual(lan?.keyring.texts, [second])
    broken.rename = true
    await assert.rejects(lan?.change('install', first) ?? Promise.resolve(), /EIO/)
    assert.deepEqual(lan?.keyring.texts, [second])
    broken.rename = false
    await assert.rejects(lan?.change('remove', second) ?? Promise.resolve(), Refused)
    await lan?.change('install', first)
    assert.deepEqual(read('serf/local.keyring'), [second, first])
  })

  for (const text of ['', '{}', '[]', '[1]', '["AAAA"]', `["${first}"`, `"${first}"`]) {
    it(`with ${JSON.stringify(text)} in it are refused, and the message says what to do`, async () => {
      const { io } = world({ 'serf/local.keyring': text })
      await assert.rejects(openKeyrings(io, { server: false }), (error: Error) => {
        assert.ok(error instanceof Corrupt)
        assert.match(error.message, /serf\/local\.keyring in the data directory/)
        assert.match(error.message, /restore/)
        return true
      })
    })
  }
})
