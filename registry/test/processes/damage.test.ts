/** What agents say and keep when the disk below them fills up, is read-only, rots, or was written by a newer version. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { Cluster, type Host, until } from './cluster.ts'

const alone = ['-server', '-bootstrap', '-dns-port=-1']
const firstSegment = ({ dataDir }: Host) => join(dataDir, 'raft/wal/0000000001.wal')

async function lead(host: Host): Promise<void> {
  await until('a leader', async () => (await host.leader()) !== '')
}

/** Whether this user may mount: tests of file systems need it. */
function mounts(path: string, ...words: string[]): boolean {
  mkdirSync(path, { recursive: true })
  try {
    execFileSync('mount', [...words, path], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

describe('a data directory that is in trouble', function () {
  this.timeout(60_000)
  let cluster: Cluster
  let mounted: string | undefined
  afterEach(async () => {
    await cluster.end()
  })
  const unmounting = async () => {
    for (const host of cluster.hosts) if (host.runs) await host.process?.signal('SIGKILL')
    if (mounted !== undefined) execFileSync('umount', [mounted])
    mounted = undefined
  }

  it('full: the agent says so and ends; with room again everything acknowledged is there', async function () {
    cluster = new Cluster(1)
    const [host] = cluster.hosts as [Host]
    if (!mounts(host.dataDir, '-t', 'tmpfs', '-o', 'size=4m', 'none')) return this.skip()
    mounted = host.dataDir
    try {
      host.start(...alone)
      await lead(host)
      const value = 'x'.repeat(50_000)
      let written = 0
      for (; written < 200; written++) {
        try {
          await host.put(`key${written}`, value)
        } catch {
          break
        }
      }
      const { code } = await host.process!.ended
      assert.equal(code, 1)
      assert.match(host.process!.output, /halting: the disk of the data directory is full\. .*make room.*ENOSPC/)
      assert.ok(written > 10 && written < 200, `${written} written`)

      execFileSync('mount', ['-o', 'remount,size=64m', host.dataDir])
      host.start(...alone)
      await lead(host)
      for (let key = 0; key < written; key++) assert.equal(await host.get(`key${key}`), value, `key${key}`)
      await host.put('after', 'that')
    } finally {
      await unmounting()
    }
  })

  it('read-only: refused at the start with the reason', async function () {
    cluster = new Cluster(1)
    const [host] = cluster.hosts as [Host]
    if (!mounts(host.dataDir, '-t', 'tmpfs', '-o', 'ro', 'none')) return this.skip()
    mounted = host.dataDir
    try {
      const process = host.start(...alone)
      assert.equal((await process.ended).code, 1)
      assert.match(process.output, /expected the data directory \S+ to be readable and writable by this user: .*EROFS/)
    } finally {
      await unmounting()
    }
  })

  it('damaged, and nobody else has the data: refused with file, offset and what can be done; nothing is touched', async () => {
    cluster = new Cluster(1)
    const [host] = cluster.hosts as [Host]
    host.start(...alone)
    await lead(host)
    await host.put('color', 'blue')
    await host.process?.signal('SIGTERM')
    const bytes = readFileSync(firstSegment(host))
    bytes[60]! ^= 1
    writeFileSync(firstSegment(host), bytes)
    for (let attempt = 1; attempt <= 2; attempt++) {
      const damaged = host.start(...alone)
      assert.equal((await damaged.ended).code, 1)
      assert.match(damaged.output, /data directory is damaged: raft\/wal\/0000000001\.wal: batch 1 at offset 32 fails/)
      assert.match(damaged.output, /only server of its cluster.*Restore the data directory/)
    }
    assert.deepEqual(readFileSync(firstSegment(host)), bytes)
  })

  it('of a newer version: refused with both versions; nothing is touched', async () => {
    cluster = new Cluster(1)
    const [host] = cluster.hosts as [Host]
    host.start(...alone)
    await lead(host)
    await host.process?.signal('SIGTERM')
    const bytes = readFileSync(firstSegment(host))
    bytes[5] = '7'.charCodeAt(0)
    bytes.writeUInt32BE(crc32(bytes.subarray(0, 28)), 28)
    writeFileSync(firstSegment(host), bytes)
    const newer = host.start(...alone)
    assert.equal((await newer.ended).code, 1)
    assert.match(
      newer.output,
      /raft\/wal\/0000000001\.wal has format 7, and this version .* understands format 1: a newer/,
    )
    assert.deepEqual(readFileSync(firstSegment(host)), bytes)
  })

  it('its log cut off on one of three, at a place where it looks whole: it comes back as a new server, with everything', async () => {
    cluster = new Cluster(3)
    await cluster.begin()
    const leader = await cluster.settled()
    const victim = cluster.hosts.find((host) => host !== leader)!
    const id = await until('its id', () => victim.nodeId())
    for (let key = 0; key < 20; key++) await leader.put(`early${key}`, 'x')
    const then = readFileSync(firstSegment(victim))
    for (let key = 0; key < 20; key++) await leader.put(`late${key}`, 'y')
    await until('the last key', async () => (await victim.get('late19', '&stale')) === 'y')
    await victim.process?.signal('SIGTERM')
    writeFileSync(firstSegment(victim), then)
    victim.start('-server', `-join=${leader.advertised}`)
    await victim.process!.shows(
      /the log on the disk is damaged: raft\/wal: expected entry \d+ of term \d+.*the log ends at/,
    )
    assert.notEqual(await until('its new id', () => victim.nodeId()), id)
    for (const key of ['early0', 'early19', 'late0', 'late19']) {
      const value = await until(key, async () => victim.get(key, '&stale').catch(() => undefined), 40_000)
      assert.equal(value, key.startsWith('early') ? 'x' : 'y')
    }
  })

  it('damaged on one of three: it comes back as a new server, with everything, and keeps the files', async () => {
    cluster = new Cluster(3)
    await cluster.begin()
    const leader = await cluster.settled()
    await leader.put('color', 'blue')
    const victim = cluster.hosts.find((host) => host !== leader)!
    const id = await victim.nodeId()
    await victim.process?.signal('SIGKILL')
    const bytes = readFileSync(firstSegment(victim))
    bytes[60]! ^= 1
    writeFileSync(firstSegment(victim), bytes)
    victim.start('-server', `-join=${leader.advertised}`)
    await victim.process!.shows(/the log on the disk is damaged: raft\/wal\/0000000001\.wal: batch 1 at offset 32/)
    const voters = async () => {
      const { Stats } = await leader.json<{ Stats: Record<string, Record<string, string>> }>('/v1/agent/self')
      return [...(Stats.raft?.latest_configuration ?? '').matchAll(/Suffrage:Voter ID:(\S+)/g)].map(([, each]) => each)
    }
    const now = await until('its new id', () => victim.nodeId())
    assert.notEqual(now, id)
    await until('its vote', async () => (await voters()).includes(now) && !(await voters()).includes(id), 40_000)
    assert.equal(await until('the key', () => victim.get('color', '&stale')), 'blue')
    const kept = join(victim.dataDir, 'raft/damaged/1')
    assert.deepEqual(readdirSync(kept), ['0000000001.wal'])
    assert.deepEqual(readFileSync(join(kept, '0000000001.wal')), bytes)
    assert.ok(existsSync(firstSegment(victim)))
  })
})
