/**
 * A million keys: one server of ours, then the real Consul 1.8.7, each with its production options and a data directory of
 * its own. Keys with values of 100 bytes are set through `/v1/txn`, 64 a transaction, over 16 kept connections; then how
 * long that took, how much memory and disk it takes; then SIGKILL, a new start, and the time to the first correct read of
 * the last key. Ours is then written to until it has taken a snapshot of all of them, and says how long its event loop was
 * held meanwhile (`stalls.ts`) and whether the leader changed.
 *
 *   node scripts/million.ts [--keys N] [--only ours|consul] [--ours COMMAND]
 *
 * COMMAND: another build of ours than the one of this directory.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, watch } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Stall } from './stalls.ts'

const { values: asked } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000' },
    only: { type: 'string', default: '' },
    ours: { type: 'string', default: '' },
  },
})
const keys = Number(asked.keys)
const perTransaction = 64
const connections = 16
const valueBytes = 100
const root = join(dirname(fileURLToPath(import.meta.url)), '..')

interface Server {
  name: string
  command: string
  host: string
  folder: string
  process: ChildProcess
}

function start(server: Omit<Server, 'process'>): Server {
  const { name, command, host, folder } = server
  const words = ['agent', '-server', '-bootstrap', `-node=${name}`, `-data-dir=${join(folder, 'data')}`]
  const addresses = [`-bind=${host}`, `-client=${host}`, `-advertise=${host}`]
  // Consul has no use for these.
  const env = {
    ...process.env,
    STALLS: join(folder, 'stalls'),
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import ${join(root, 'scripts/stalls.ts')}`,
  }
  const out = join(folder, 'log')
  const started = spawn(command, [...words, ...addresses], { stdio: ['ignore', 'pipe', 'pipe'], env })
  for (const stream of [started.stdout, started.stderr]) {
    stream?.on('data', (bytes: Buffer) => appendFileSync(out, bytes))
  }
  return { ...server, process: started }
}

function send(
  agent: Agent | undefined,
  host: string,
  { method = 'GET', path, body }: { method?: string; path: string; body?: string },
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ ...(agent && { agent }), host, port: 8500, method, path }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Seconds until it is so. */
async function until(what: string, probe: () => Promise<boolean>): Promise<number> {
  const begun = performance.now()
  while (!(await probe().catch(() => false))) {
    if (performance.now() - begun > 180_000) throw new Error(`not within 180 s: ${what}`)
    await new Promise((again) => setTimeout(again, 5))
  }
  return (performance.now() - begun) / 1000
}

const keyOf = (at: number) => `million/${String(at).padStart(7, '0')}`
/** Of 100 bytes, and another for every key. */
const textOf = (at: number, round: string) => `${round}${at} `.padEnd(valueBytes, 'v')

function transaction(from: number, round: string): string {
  const operations: string[] = []
  for (let at = from; at < Math.min(from + perTransaction, keys); at++) {
    const value = Buffer.from(textOf(at, round)).toString('base64')
    operations.push(`{"KV":{"Verb":"set","Key":"${keyOf(at)}","Value":"${value}"}}`)
  }
  return `[${operations.join(',')}]`
}

/** Sets keys over all connections, until there are no more or it is enough. @returns seconds */
async function load(host: string, round: string, enough: () => boolean = () => false): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const begun = performance.now()
  let next = 0
  const worker = async () => {
    while (next < keys && !enough()) {
      const from = next
      next += perTransaction
      const { status, text } = await send(agent, host, {
        method: 'PUT',
        path: '/v1/txn',
        body: transaction(from, round),
      })
      if (status !== 200) throw new Error(`PUT /v1/txn: ${status} ${text.slice(0, 500)}`)
    }
  }
  await Promise.all(Array.from({ length: connections }, worker))
  agent.destroy()
  return (performance.now() - begun) / 1000
}

function resident({ process: { pid } }: Server): { now: number; most: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const megabytes = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1000
  return { now: megabytes('VmRSS'), most: megabytes('VmHWM') }
}

/** Seconds on a core so far, all threads (proc(5), stat: utime and stime in hundredths). */
function processorSeconds({ process: { pid } }: Server): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function bytesUnder(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0)
}

async function kill({ process: server }: Server): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const ended = new Promise((resolve) => server.once('exit', resolve))
  server.kill('SIGKILL')
  await ended
}

async function leads(host: string): Promise<boolean> {
  const { text } = await send(undefined, host, { path: '/v1/status/leader' })
  return text.startsWith('"') && text !== '""'
}

async function holds(host: string, at: number, round: string): Promise<boolean> {
  const { status, text } = await send(undefined, host, { path: `/v1/kv/${keyOf(at)}?raw` })
  return status === 200 && text === textOf(at, round)
}

interface Measured {
  /** When loading began, in milliseconds since 1970. */
  begun: number
  load: number
  processor: number
  resident: number
  residentMost: number
  disk: number
  restart: number
}

async function measure(server: Server): Promise<{ measured: Measured; restarted: Server }> {
  const { host, folder } = server
  await until('there is a leader', () => leads(host))
  const begun = Date.now()
  const before = processorSeconds(server)
  const took = await load(host, 'a')
  const processor = processorSeconds(server) - before
  const { now, most } = resident(server)
  const disk = bytesUnder(join(folder, 'data')) / 1e6
  await kill(server)
  const restarted = start(server)
  const restart = await until('the last key is read', () => holds(host, keys - 1, 'a'))
  return { measured: { begun, load: took, processor, resident: now, residentMost: most, disk, restart }, restarted }
}

function stallsOf({ folder }: Server, from: number, to: number): Stall[] {
  return readFileSync(join(folder, 'stalls'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Stall)
    .filter(({ at, millis }) => at >= from && at - millis <= to)
}

function sayStalls(what: string, stalls: readonly Stall[]): void {
  const most = (kind: Stall['kind'], size: (stall: Stall) => number) =>
    Math.max(0, ...stalls.filter((stall) => stall.kind === kind).map(size)).toFixed(0)
  console.log(
    `longest stall of the event loop ${what}: ${most('loop', ({ millis }) => millis)} ms; ` +
      `without waiting for a core: ${most('loop', ({ millis, waited }) => millis - waited)} ms; ` +
      `longest pause of the garbage collector: ${most('gc', ({ millis }) => millis)} ms`,
  )
}

async function termOf(host: string): Promise<string> {
  const { text } = await send(undefined, host, { path: '/v1/agent/self' })
  const { raft } = (JSON.parse(text) as { Stats: { raft: { term: string; state: string } } }).Stats
  return `${raft.state} of term ${raft.term}`
}

/** Writes until a snapshot that was begun meanwhile is there. */
async function snapshotUnderLoad(server: Server): Promise<void> {
  const { host, folder } = server
  const before = await termOf(host)
  const snapshots = join(folder, 'data/raft/snapshots')
  mkdirSync(snapshots, { recursive: true })
  let begun = 0
  let ended = 0
  const watching = watch(snapshots, (_event, name) => {
    if (begun === 0 && name?.endsWith('.part')) begun = Date.now()
    if (begun > 0 && ended === 0 && name?.endsWith('.snapshot')) ended = Date.now()
  })
  for (let round = 0; ended === 0 && round < 20; round++) await load(host, `b${round}`, () => ended > 0)
  watching.close()
  // Lines are written twice a second.
  await new Promise((resolve) => setTimeout(resolve, 1500))
  if (ended === 0) throw new Error('no snapshot was taken under all that load')
  sayStalls(`in the ${((ended - begun) / 1000).toFixed(1)} s of a snapshot under load`, stallsOf(server, begun, ended))
  const after = await termOf(host)
  console.log(`leader: ${before === after ? 'no change' : 'CHANGED'} (${before} before, ${after} after)`)
}

const folder = mkdtempSync(join(tmpdir(), 'rollcall-million-'))
const consul = () =>
  execFileSync(join(root, 'scripts/peer-consul.sh'), { encoding: 'utf8' }).trim().split('\n').at(-1) ?? ''
const contenders = [
  { name: 'ours', host: '127.0.93.1', command: () => asked.ours || join(root, 'registry/bin/registry') },
  { name: 'consul', host: '127.0.93.2', command: consul },
].filter(({ name }) => asked.only === '' || asked.only === name)
const results = new Map<string, Measured>()
let running: Server | undefined
try {
  for (const { name, host, command } of contenders) {
    const own = join(folder, name)
    mkdirSync(join(own, 'data'), { recursive: true })
    running = start({ name, host, folder: own, command: command() })
    const { measured, restarted } = await measure(running)
    running = restarted
    results.set(name, measured)
    if (name === 'ours') {
      const { begun, load: seconds } = measured
      sayStalls('while loading', stallsOf(running, begun, begun + seconds * 1000))
      await snapshotUnderLoad(running)
    }
    await kill(running)
  }
  const [ours, theirs] = [results.get('ours'), results.get('consul')]
  const row = (
    what: string,
    value: (of: Measured) => number,
    decimals: number,
    ratio: (a: number, b: number) => number,
  ) => {
    const shown = (of: Measured | undefined) => (of === undefined ? '' : value(of).toFixed(decimals))
    const share = ours && theirs ? ratio(value(ours), value(theirs)).toFixed(2) : ''
    console.log(`| ${what} | ${shown(ours)} | ${shown(theirs)} | ${share} |`)
  }
  console.log(`\n| ${keys} keys of ${valueBytes} bytes | Rollcall | Consul 1.8.7 | ratio |\n|---|---|---|---|`)
  const share = (a: number, b: number) => a / b
  row('written in, s', ({ load }) => load, 1, share)
  row('keys a second', ({ load }) => keys / load, 0, share)
  row('processor seconds meanwhile', ({ processor }) => processor, 1, share)
  row('resident afterwards, MB', ({ resident }) => resident, 0, share)
  row('resident at most, MB', ({ residentMost }) => residentMost, 0, share)
  row('on disk, MB', ({ disk }) => disk, 0, share)
  row('SIGKILL to the last key read, s', ({ restart }) => restart, 2, share)
} catch (error) {
  for (const { name } of contenders) {
    try {
      console.error(
        readFileSync(join(folder, name, 'log'), 'utf8')
          .split('\n')
          .slice(-20)
          .join('\n'),
      )
    } catch {}
  }
  throw error
} finally {
  if (running !== undefined) await kill(running)
  rmSync(folder, { recursive: true, force: true })
}
