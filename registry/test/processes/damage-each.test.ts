/**
 * Every kind of file of a data directory with a bit flipped, cut off, or empty: the agent refuses it by name and says what
 * can be done, or starts with everything. `PLACES=20 SEED=7` looks at more places of each file, and others.
 */
import assert from 'node:assert/strict'
import { cpSync, existsSync, lstatSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Random } from '../../src/io/random.ts'
import { Cluster, type Host, until } from './cluster.ts'

const places = Number(process.env.PLACES ?? 1)
const seed = Number(process.env.SEED ?? 1)
const alone = ['-server', '-bootstrap', '-dns-port=-1']
const keys = 200
/** Enough for a snapshot. */
const filler = 9000

function filesIn(folder: string, under = ''): string[] {
  return readdirSync(join(folder, under)).flatMap((name) => {
    const file = under === '' ? name : `${under}/${name}`
    const stat = lstatSync(join(folder, file))
    return stat.isDirectory() ? filesIn(folder, file) : stat.isFile() ? [file] : []
  })
}

async function lead(host: Host): Promise<void> {
  await until('a leader', async () => host.runs && (await host.leader()) !== '')
}

async function fill(host: Host): Promise<void> {
  let next = 0
  const writer = async () => {
    while (next < filler) await host.put(`filler/${next++ % 50}`, `${next}`)
  }
  await Promise.all(Array.from({ length: 32 }, writer))
  for (let key = 0; key < keys; key++) await host.put(`kept/${key}`, `value ${key}`)
}

async function register(host: Host): Promise<void> {
  const service = { ID: 'web1', Name: 'web', Port: 8080, Tags: ['a', 'b'], Check: { TTL: '1h', Status: 'passing' } }
  await host.http('PUT', '/v1/agent/service/register', JSON.stringify(service))
  await host.http('PUT', '/v1/agent/check/register', JSON.stringify({ ID: 'own', Name: 'own', TTL: '1h' }))
}

/** What is wrong with what a started agent says; empty: nothing. */
async function missing(host: Host): Promise<string[]> {
  const wrong: string[] = []
  const pairs = await host.json<{ Key: string; Value: string }[]>('/v1/kv/kept/?recurse')
  const values = new Map(pairs.map(({ Key, Value }) => [Key, Buffer.from(Value, 'base64').toString()]))
  for (let key = 0; key < keys; key++) if (values.get(`kept/${key}`) !== `value ${key}`) wrong.push(`kept/${key}`)
  const services = await host.json<Record<string, { Port: number; Tags: string[] }>>('/v1/agent/services')
  if (services.web1?.Port !== 8080 || services.web1.Tags.join() !== 'a,b') wrong.push('the service')
  const checks = await host.json<Record<string, { Name: string }>>('/v1/agent/checks')
  if (checks['service:web1'] === undefined || checks.own?.Name !== 'own') wrong.push('the checks')
  return wrong
}

interface Damage {
  name: string
  make: (bytes: Buffer, random: Random) => Buffer
}

const damages: Damage[] = [
  {
    name: 'a bit flipped',
    make: (bytes, random) => {
      const damaged = Buffer.from(bytes)
      // Segments are mostly zeros that nothing was written over yet.
      const end = damaged.findLastIndex((byte) => byte !== 0) + 1
      damaged[random.between(0, end - 1)]! ^= 1 << random.between(0, 7)
      return damaged
    },
  },
  {
    name: 'cut off',
    make: (bytes, random) => {
      const end = bytes.findLastIndex((byte) => byte !== 0) + 1
      return bytes.subarray(0, random.between(1, end - 2))
    },
  },
  { name: 'emptied', make: () => Buffer.alloc(0) },
]

describe('each file of a data directory, damaged', function () {
  this.timeout(120_000 + 60_000 * places)
  const cluster = new Cluster(1)
  const [host] = cluster.hosts as [Host]
  after(() => cluster.end())

  before(async () => {
    host.start(...alone)
    await lead(host)
    await register(host)
    await fill(host)
    await host.process?.signal('SIGTERM')
  })

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    it(`after ${signal === 'SIGTERM' ? 'a clean stop' : 'a kill'}: it is named with what to do, or everything is there`, async () => {
      const copy = join(cluster.folder, `copy-${signal}`)
      const before = join(cluster.folder, 'copy-SIGTERM')
      if (existsSync(before)) {
        rmSync(host.dataDir, { recursive: true })
        cpSync(before, host.dataDir, { recursive: true })
      }
      host.start(...alone)
      await lead(host)
      for (let key = 0; key < keys; key += 10) await host.put(`kept/${key}`, `value ${key}`)
      await host.put('last', signal)
      await until('a bookmark after the last write', async () => {
        const { Stats } = await host.json<{ Stats: { raft: { commit_index: string } } }>('/v1/agent/self')
        const bytes = readFileSync(join(host.dataDir, 'raft/commit'))
        const kept = Math.max(bytes.readUIntBE(14, 6), bytes.length > 4096 ? bytes.readUIntBE(4096 + 14, 6) : 0)
        return kept === Number(Stats.raft.commit_index)
      })
      await host.process?.signal(signal)
      for (const name of readdirSync(host.dataDir)) if (name.startsWith('lock')) rmSync(join(host.dataDir, name))
      cpSync(host.dataDir, copy, { recursive: true })
      const files = filesIn(copy)
      for (const kind of ['raft/wal/', 'raft/snapshots/', 'raft/commit', 'node.json', 'services/', 'checks/']) {
        assert.ok(
          files.some((file) => file.startsWith(kind)),
          `no ${kind} among ${files}`,
        )
      }
      const outcomes: string[] = []
      // How it ended makes no difference to the others.
      for (const file of signal === 'SIGTERM' || places > 1
        ? files
        : files.filter((each) => each.startsWith('raft/'))) {
        for (const { name, make } of damages) {
          if (name === 'emptied' && places === 1) continue
          const whole = readFileSync(join(copy, file))
          for (let place = 0; place < (name === 'emptied' ? 1 : places); place++) {
            rmSync(host.dataDir, { recursive: true })
            cpSync(copy, host.dataDir, { recursive: true })
            const damaged = make(whole, new Random(seed * 1000 + place))
            writeFileSync(join(host.dataDir, file), damaged)
            const what = `${file} ${name} (${place})`
            outcomes.push(`${what}: ${await outcome(host, file, damaged, what)}`)
          }
        }
      }
      if (places > 1) console.log(outcomes.join('\n'))
    })
  }
})

async function outcome(host: Host, file: string, damaged: Buffer, what: string): Promise<string> {
  const started = host.start(...alone)
  const leads = lead(host).then(() => 'started')
  leads.catch(() => {})
  const end = await Promise.race([leads, started.ended.then(({ code }) => `code ${code}`)])
  if (end === 'started') {
    assert.deepEqual(await missing(host), [], `${what}\n${started.output}`)
    await host.put('after', 'that')
    await started.signal('SIGKILL')
    const said = started.output.split('\n').find((line) => line.includes('damage'))
    return `starts with everything${said === undefined ? '' : `; ${said.trim()}`}`
  }
  const said = started.output.trim().split('\n').at(-1) ?? ''
  assert.equal(end, 'code 1', `${what}: ${started.output}`)
  assert.match(started.output, /restore|remove/i, `${what} does not say what to do: ${started.output}`)
  assert.ok(
    started.output.includes(file) || started.output.includes('raft/'),
    `${what} is not named: ${started.output}`,
  )
  assert.ok(readFileSync(join(host.dataDir, file)).equals(damaged), `${what} was touched`)
  return said
}
