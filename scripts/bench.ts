/**
 * `npm run bench`: this agent beside the real Consul 1.8.7, durable, on loopback: one server of each, and three. Every case
 * runs on both in turn, several rounds; what is printed is the median of each and the ratio of the rates (above 1: we are
 * faster). Absolute figures move with the machine, and the load shares its cores; ratios of one run are what to read.
 *
 *   node scripts/bench.ts [--rounds 5] [--seconds 3] [--servers 1,3] [--only WORD]
 *
 * `--only`: cases whose name holds the word. `--peers no`: without Consul, for comparing two commits.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type DnsType, generators, gets, type Measured, puts, questions, send } from './bench-load.ts'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    servers: { type: 'string', default: '1,3' },
    only: { type: 'string', default: '' },
    peers: { type: 'string', default: 'yes' },
  },
})
const rounds = Number(options.rounds)
const seconds = Number(options.seconds)
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = mkdtempSync(join(tmpdir(), 'rollcall-bench-'))
const agent = new Agent({ keepAlive: true })

/** Servers of one program that form a cluster; `follower` is the leader where there is but one. */
interface Cluster {
  name: string
  hosts: string[]
  processes: ChildProcess[]
  leader: string
  follower: string
}

interface Case {
  name: string
  run(cluster: Cluster): Promise<Measured>
}

const put = (name: string, host: (cluster: Cluster) => string): Case => ({
  name,
  run: (cluster) => puts(host(cluster), seconds),
})
const get = (name: string, path: string, host = ({ leader }: Cluster) => leader): Case => ({
  name,
  run: (cluster) => gets(host(cluster), path, seconds),
})
const ask = (name: string, question: string, type: DnsType): Case => ({
  name,
  run: ({ leader }) => questions(leader, question, type, seconds),
})

const cases: Record<number, Case[]> = {
  1: [
    put('PUT /v1/kv, 100 bytes, 1,000 keys', ({ leader }) => leader),
    get('GET /v1/kv', '/v1/kv/bench/1'),
    get('GET /v1/kv?stale', '/v1/kv/bench/1?stale'),
    get('GET /v1/health/service?passing, 10 instances', '/v1/health/service/web?passing'),
    get('GET /v1/catalog/service, 10 instances', '/v1/catalog/service/web'),
    ask('DNS A, 10 instances', 'web.service.consul', 'A'),
    ask('DNS SRV, 10 instances', 'web.service.consul', 'SRV'),
    ask('DNS A, unknown name', 'nothing.service.consul', 'A'),
  ],
  3: [
    put('PUT /v1/kv to the leader', ({ leader }) => leader),
    put('PUT /v1/kv to a follower', ({ follower }) => follower),
    get('GET /v1/kv from the leader', '/v1/kv/bench/1'),
    get('GET /v1/kv from a follower', '/v1/kv/bench/1', ({ follower }) => follower),
    get('GET /v1/kv?stale from a follower', '/v1/kv/bench/1?stale', ({ follower }) => follower),
  ],
}

async function start(name: string, command: string, hosts: string[]): Promise<Cluster> {
  const processes = hosts.map((host) => {
    const words = ['agent', '-server', `-node=${name}-${host}`, `-data-dir=${join(folder, `${name}-${host}`)}`]
    const addresses = [`-bind=${host}`, `-client=${host}`, `-advertise=${host}`]
    const company =
      hosts.length === 1
        ? ['-bootstrap']
        : [`-bootstrap-expect=${hosts.length}`, ...hosts.map((other) => `-retry-join=${other}`)]
    return spawn(command, [...words, ...addresses, ...company], { stdio: 'ignore' })
  })
  const cluster = { name, hosts, processes, leader: '', follower: '' }
  running.push(cluster)
  await prepare(cluster)
  return cluster
}

/** Waits until everybody knows the leader, and registers ten instances of a service. */
async function prepare(cluster: Cluster): Promise<void> {
  const { hosts, name } = cluster
  for (let attempt = 0; ; attempt++) {
    const told = await Promise.all(
      hosts.map((host) => send(agent, host, 'GET', '/v1/status/leader').catch(() => ({ text: '""' }))),
    )
    const leaders = new Set(told.map(({ text }) => text.replace(/^"(.*):\d+"$/, '$1')))
    const [leader = ''] = leaders
    if (leaders.size === 1 && hosts.includes(leader)) {
      cluster.leader = leader
      cluster.follower = hosts.find((host) => host !== leader) ?? leader
      break
    }
    if (attempt > 600) throw new Error(`${name} elected no leader`)
    await new Promise((again) => setTimeout(again, 100))
  }
  for (let at = 0; at < 10; at++) {
    const body = JSON.stringify({
      Node: `node${at}`,
      Address: `10.1.0.${at + 1}`,
      Service: { Service: 'web', ID: `web${at}`, Port: 8000 + at },
      Check: { CheckID: 'up', Name: 'up', Status: 'passing', ServiceID: `web${at}` },
    })
    const { status, text } = await send(agent, cluster.leader, 'PUT', '/v1/catalog/register', body)
    if (status !== 200) throw new Error(`${name}: ${text}`)
  }
  // Warm, and every key that is asked for is there.
  await puts(cluster.leader, 1)
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

async function compare({ name, run }: Case, clusters: readonly Cluster[]): Promise<string> {
  const measured: Measured[][] = clusters.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (const [at, cluster] of clusters.entries()) measured[at]?.push(await run(cluster))
  }
  const rates = measured.map((each) => median(each.map(({ rate }) => rate)))
  const [ours = Number.NaN, theirs = Number.NaN] = rates
  const late = measured.map((each) => median(each.map(({ p99 }) => p99)))
  const cells = [
    ...rates.map((rate) => String(Math.round(rate))),
    ...(clusters.length > 1 ? [(ours / theirs).toFixed(2)] : []),
    ...late.map((p99) => (Number.isNaN(p99) ? '' : p99.toFixed(1))),
  ]
  return `| ${name} | ${cells.join(' | ')} |`
}

const running: Cluster[] = []
function end(): void {
  for (const { processes } of running.splice(0)) for (const process of processes) process.kill('SIGKILL')
}

const beside = options.peers !== 'no'
const consul = beside
  ? (execFileSync(join(root, 'scripts/peer-consul.sh'), { encoding: 'utf8' }).trim().split('\n').at(-1) ?? '')
  : ''
console.log(`${rounds} rounds of ${seconds} s, 64 connections; ${generators}`)
try {
  for (const count of options.servers.split(',').map(Number)) {
    const chosen = (cases[count] ?? []).filter(({ name }) => name.includes(options.only))
    if (chosen.length === 0) continue
    const hosts = (first: number) => Array.from({ length: count }, (_, at) => `127.0.79.${first + at}`)
    const clusters = [await start('ours', join(root, 'registry/bin/registry'), hosts(1))]
    if (beside) clusters.push(await start('consul', consul, hosts(11)))
    const columns = beside ? ['Rollcall /s', 'Consul 1.8.7 /s', 'ratio', 'p99 ms', 'Consul p99 ms'] : ['/s', 'p99 ms']
    const servers = count === 1 ? 'one server' : `${count} servers`
    console.log(`\n| ${servers} | ${columns.join(' | ')} |\n|${'---|'.repeat(columns.length + 1)}`)
    for (const each of chosen) console.log(await compare(each, clusters))
    end()
  }
} finally {
  end()
  agent.destroy()
  rmSync(folder, { recursive: true, force: true })
}
