/**
 * Many agents that are no servers, each a process on a loopback address of its own: how long until all list all alive, how
 * long until all know that one was killed, what the agents take in memory and, when nothing happens, of the processors.
 *
 *   node scripts/observers.ts [--observers 100] [--servers 3] [--image] [--idle 20]
 *   node scripts/observers.ts --memory [--keys 100000] [--image]
 *   node scripts/observers.ts --loss [--observers 10] [--image]
 *
 * --image: started as in the image (the bundle that `scripts/bundle.ts` makes), not as from the sources. --memory: one server
 * and one observer instead, empty, then with so many keys of 100 bytes and 100 services. --loss: a follower of three servers
 * stands still (SIGSTOP), then one is killed (SIGKILL), while a key is written 50 times a second: for how
 * long nothing new came to the stores of the observers that followed it. Figures on one line each.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { loadavg, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values: asked } = parseArgs({
  options: {
    observers: { type: 'string', default: '100' },
    servers: { type: 'string', default: '3' },
    idle: { type: 'string', default: '20' },
    keys: { type: 'string', default: '100000' },
    memory: { type: 'boolean', default: false },
    loss: { type: 'boolean', default: false },
    image: { type: 'boolean', default: false },
  },
})
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = mkdtempSync(join(tmpdir(), 'rollcall-observers-'))
const valueBytes = 100
const perTransaction = 64

interface Started {
  name: string
  host: string
  child: ChildProcess
  log: string
}

const running: Started[] = []

function start(name: string, host: string, words: readonly string[]): Started {
  const dataDir = join(folder, name)
  mkdirSync(dataDir)
  const own = ['agent', `-node=${name}`, `-bind=${host}`, `-client=${host}`, `-data-dir=${dataDir}`, ...words]
  const [command, ...before] = asked.image
    ? [process.execPath, '--max-semi-space-size=32', '--disable-sigusr1', join(root, 'dist/registry.mjs')]
    : [join(root, 'registry/bin/registry')]
  const child = spawn(command as string, [...before, ...own], { stdio: ['ignore', 'pipe', 'pipe'] })
  const started: Started = { name, host, child, log: '' }
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (bytes: Buffer) => {
      started.log = (started.log + bytes.toString()).slice(-200_000)
    })
  }
  running.push(started)
  return started
}

async function end(): Promise<void> {
  await Promise.all(
    running.map(({ child }) => {
      if (child.exitCode !== null || child.signalCode !== null) return undefined
      const ended = new Promise((resolve) => child.once('close', resolve))
      child.kill('SIGKILL')
      return ended
    }),
  )
  rmSync(folder, { recursive: true, force: true })
}

const kept = new Agent({ keepAlive: true })

function send(host: string, method: string, path: string, body?: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = request({ agent: kept, host, port: 8500, method, path, timeout: 10_000 }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () => {
        const text = Buffer.concat(parts).toString()
        if (response.statusCode !== 200) reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`))
        else resolve(text === '' ? undefined : JSON.parse(text))
      })
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer within 10 s')))
    sent.on('error', reject)
    sent.end(body)
  })
}

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** Seconds until each is so, in order. Who is not yet is looked at again twice a second. */
async function untilAll(what: string, those: readonly Started[], so: (one: Started) => Promise<boolean>) {
  const begun = performance.now()
  const took = new Map<Started, number>()
  while (took.size < those.length) {
    for (const one of those) {
      if (took.has(one)) continue
      if (one.child.exitCode !== null) throw new Error(`${one.name} has ended:\n${one.log}`)
      if (await so(one).catch(() => false)) took.set(one, (performance.now() - begun) / 1000)
    }
    if (took.size === those.length) break
    if (performance.now() - begun > 180_000) {
      const late = those.find((one) => !took.has(one))
      throw new Error(`not within 180 s: ${what}, at ${late?.name}:\n${late?.log}`)
    }
    await pause(500)
  }
  return [...took.values()].toSorted((a, b) => a - b)
}

async function members(host: string): Promise<Map<string, number>> {
  const list = (await send(host, 'GET', '/v1/agent/members')) as { Name: string; Status: number }[]
  return new Map(list.map(({ Name, Status }) => [Name, Status]))
}
const alive = 1
const failed = 4

/** Megabytes: resident, and its share of them when what processes have in common is divided among them. */
function memory({ child }: Started): { resident: number; share: number } {
  const rollup = readFileSync(`/proc/${child.pid}/smaps_rollup`, 'latin1')
  const of = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(rollup)?.[1]) / 1024
  return { resident: of('Rss'), share: of('Pss') }
}

/** Processor time so far, in milliseconds: `stat` counts in hundredths of a second. */
function processor({ child }: Started): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

const middle = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
const say = (what: string, text: string) => console.log(`${what.padEnd(70)} ${text}`)

function sayMemory(what: string, those: readonly Started[]): void {
  const found = those.map(memory)
  const resident = middle(found.map((each) => each.resident))
  const share = middle(found.map((each) => each.share))
  const most = Math.max(...found.map((each) => each.resident))
  const spread = those.length > 1 ? `, the most ${most.toFixed(0)}` : ''
  say(
    what,
    `resident ${resident.toFixed(1)} MB${spread}; its share, with what is in common divided, ${share.toFixed(1)} MB`,
  )
}

function startServers(count: number): Started[] {
  const hosts = Array.from({ length: count }, (_, at) => `127.40.0.${at + 1}`)
  const expect = count === 1 ? '-bootstrap' : `-bootstrap-expect=${count}`
  return hosts.map((host, at) =>
    start(`server${at + 1}`, host, ['-server', expect, `-retry-join=${hosts[0]}`, '-retry-interval=1s']),
  )
}

async function manyObservers(): Promise<void> {
  const count = Number(asked.observers)
  const servers = startServers(Number(asked.servers))
  await untilAll(
    'a leader is known',
    servers,
    async ({ host }) => (await send(host, 'GET', '/v1/status/leader')) !== '',
  )
  const begun = performance.now()
  const joins = servers.map(({ host }) => `-retry-join=${host}`)
  say('other work on the machine: threads that wait for a core or the disk', loadavg()[0]!.toFixed(1))
  const observers = Array.from({ length: count }, (_, at) =>
    start(`observer${at + 1}`, `127.41.${Math.floor(at / 200)}.${(at % 200) + 1}`, [...joins, '-retry-interval=1s']),
  )
  const all = [...servers, ...observers]
  await untilAll('all members are alive', all, async ({ host }) => {
    const statuses = [...(await members(host)).values()]
    return statuses.length === all.length && statuses.every((status) => status === alive)
  })
  say(
    `${count} observers started at once; all ${all.length} list all alive after`,
    `${((performance.now() - begun) / 1000).toFixed(1)} s`,
  )
  const spent = observers.map(processor)
  const asking = process.cpuUsage()
  say('… for which each observer had the processor, median', `${(middle(spent) / 1000).toFixed(2)} s`)
  say('… and this script, which starts and asks them', `${((asking.user + asking.system) / 1e6).toFixed(1)} s`)
  await send(servers[0]!.host, 'PUT', '/v1/kv/began', 'yes')
  await untilAll('the key is there', observers, ({ host }) => send(host, 'GET', '/v1/kv/began?stale').then(() => true))
  await untilAll('all are in the catalog', servers, async ({ host }) => {
    return ((await send(host, 'GET', '/v1/catalog/nodes')) as unknown[]).length === all.length
  })
  say('… and all hold the state, and are in the catalog, after', `${((performance.now() - begun) / 1000).toFixed(1)} s`)

  const idle = Number(asked.idle)
  await pause(10_000)
  const before = all.map(processor)
  await pause(idle * 1000)
  const used = all.map((one, at) => ((processor(one) - before[at]!) / (idle * 1000)) * 100)
  const ofObservers = used.slice(servers.length)
  say(
    'processor of an idle observer, of one core, median and most',
    percent(middle(ofObservers), Math.max(...ofObservers)),
  )
  const ofServers = used.slice(0, servers.length)
  say('processor of a server meanwhile', percent(middle(ofServers), Math.max(...ofServers)))
  sayMemory('an observer', observers)
  sayMemory('a server', servers)

  const killed = observers.at(-1)!
  killed.child.kill('SIGKILL')
  const rest = all.filter((one) => one !== killed)
  const knew = await untilAll('the killed one has failed', rest, async ({ host }) => {
    return (await members(host)).get(killed.name) === failed
  })
  say('one killed: known to half, to all others after', `${middle(knew).toFixed(1)} s, ${knew.at(-1)?.toFixed(1)} s`)
  for (const { name, host } of rest) {
    const wrong = [...(await members(host))].filter(([other, status]) => other !== killed.name && status !== alive)
    if (wrong.length > 0) say(`${name} also holds not alive`, wrong.map(([other]) => other).join(', '))
  }
}

/** The longest time, in milliseconds, that a key that is written all the time stood still in each of the stores. */
async function standstills(those: readonly Started[], writer: Started, act: () => void): Promise<number[]> {
  let writing = true
  const write = async () => {
    for (let at = 0; writing; at++) {
      await send(writer.host, 'PUT', '/v1/kv/beat', String(at)).catch(() => undefined)
      await pause(20)
    }
  }
  const watch = async ({ host }: Started) => {
    let [last, since, longest] = ['', performance.now(), 0]
    while (writing) {
      const found = (await send(host, 'GET', '/v1/kv/beat?stale')) as { Value: string }[]
      const now = performance.now()
      if (found[0]?.Value !== last) {
        longest = Math.max(longest, now - since)
        last = found[0]?.Value ?? ''
        since = now
      }
      await pause(10)
    }
    return longest
  }
  await send(writer.host, 'PUT', '/v1/kv/beat', 'begins')
  await untilAll('the key is there', those, ({ host }) => send(host, 'GET', '/v1/kv/beat?stale').then(() => true))
  const writes = write()
  const watches = Promise.all(those.map(watch))
  await pause(2_000)
  act()
  await pause(6_000)
  writing = false
  await writes
  return watches
}

async function loss(): Promise<void> {
  const count = Number(asked.observers === '100' ? '10' : asked.observers)
  const servers = startServers(3)
  const leading = async () => {
    const address = (await send(servers[0]!.host, 'GET', '/v1/status/leader')) as string
    return servers.find(({ host }) => address === `${host}:8300`)
  }
  await untilAll('a leader is known', servers, async () => (await leading()) !== undefined)
  const words = [...servers.map(({ host }) => `-retry-join=${host}`), '-retry-interval=1s', '-log-level=debug']
  const observers = Array.from({ length: count }, (_, at) => start(`observer${at + 1}`, `127.41.0.${at + 1}`, words))
  await untilAll('the observers follow', observers, async ({ log }) => /following \S+:8300/.test(log))
  const those = (server: Started) =>
    observers.filter(({ log }) => [...log.matchAll(/following (\S+):8300/g)].at(-1)?.[1] === server.host)
  const measured = async (what: string, lost: Started, signal: NodeJS.Signals) => {
    const followers = those(lost)
    const writer = servers.find((server) => server !== lost && server.child.signalCode === null) as Started
    const longest = await standstills(followers, writer, () => lost.child.kill(signal))
    const figures = `${middle(longest).toFixed(0)} ms, the longest ${Math.max(...longest).toFixed(0)} ms`
    say(`${what}: nothing new at its ${followers.length} observers for`, figures)
  }
  const leader = (await leading()) as Started
  const [follower] = servers.filter((server) => server !== leader) as [Started]
  await measured('a follower stands still', follower, 'SIGSTOP')
  follower.child.kill('SIGCONT')
  await pause(3_000)
  // Nobody may follow it any more: those that have just left it go back by and by.
  const killed = servers.find((server) => server !== leader && those(server).length > 0) as Started
  await measured('a follower is killed', killed, 'SIGKILL')
}

const percent = (median: number, most: number) => `${median.toFixed(2)} %, ${most.toFixed(2)} %`

async function oneObserver(): Promise<void> {
  const keys = Number(asked.keys)
  const [server] = startServers(1) as [Started]
  await untilAll(
    'a leader is known',
    [server],
    async ({ host }) => (await send(host, 'GET', '/v1/status/leader')) !== '',
  )
  const join = [`-retry-join=${server.host}`, '-retry-interval=1s']
  const observer = start('observer', '127.41.0.1', join)
  const has = (path: string) => (one: Started) => send(one.host, 'GET', path).then(() => true)
  await send(server.host, 'PUT', '/v1/kv/began', 'yes')
  await untilAll('the observer follows', [observer], has('/v1/kv/began?stale'))
  await pause(15_000)
  sayMemory('an observer with nothing, 15 s after its start', [observer])

  const operations = Array.from({ length: keys }, (_, at) => {
    const value = Buffer.from(`${at} `.padEnd(valueBytes, 'v')).toString('base64')
    return `{"KV":{"Verb":"set","Key":"key/${String(at).padStart(7, '0')}","Value":"${value}"}}`
  })
  for (let at = 0; at < keys; at += perTransaction) {
    await send(server.host, 'PUT', '/v1/txn', `[${operations.slice(at, at + perTransaction).join(',')}]`)
  }
  for (let at = 0; at < 100; at++) {
    const service = { Service: `service${at}`, Port: 1000 + at, Tags: ['a'] }
    const registration = { Node: `node${at}`, Address: `10.0.0.${at}`, Service: service }
    await send(server.host, 'PUT', '/v1/catalog/register', JSON.stringify(registration))
  }
  await untilAll('the observer has all', [observer], async ({ host }) => {
    return ((await send(host, 'GET', '/v1/catalog/service/service99?stale')) as unknown[]).length === 1
  })
  sayMemory(`… that has just followed ${keys} keys`, [observer])
  await pause(30_000)
  sayMemory('… 30 s later', [observer])
  const fresh = start('fresh', '127.41.0.2', join)
  const taken = await untilAll('the state is there', [fresh], async ({ host }) => {
    return ((await send(host, 'GET', '/v1/catalog/service/service99?stale')) as unknown[]).length === 1
  })
  say('a new observer started: has all after', `${taken[0]?.toFixed(1)} s`)
  await pause(15_000)
  sayMemory(`an observer started when there were ${keys} keys, 15 s later`, [fresh])
  sayMemory('the server', [server])
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void end().then(() => process.exit(1)))
if (asked.image) execFileSync(process.execPath, [join(root, 'scripts/bundle.ts'), 'registry'])
try {
  await (asked.memory ? oneObserver() : asked.loss ? loss() : manyObservers())
} finally {
  await end()
}
process.exit()
