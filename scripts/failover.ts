/**
 * How long writes are held up when the leader is killed: three servers as processes, SIGKILL, and the time to the next
 * write that is acknowledged through another one. The same with the real Consul 1.8.7, both with their own defaults.
 *
 *   node scripts/failover.ts [runs of ours] [runs of Consul]
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const [ourRuns = 20, consulRuns = 5] = process.argv.slice(2).map(Number)
const root = join(dirname(fileURLToPath(import.meta.url)), '..')

async function text(url: string, init: RequestInit = {}): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000), ...init })
  const body = await response.text()
  if (!response.ok) throw new Error(`${response.status} ${body}`)
  return body
}

async function until<T>(probe: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = performance.now() + 90_000
  for (;;) {
    const found = await probe().catch(() => undefined)
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) throw new Error('not so within 90 s')
    await new Promise((again) => setTimeout(again, 5))
  }
}

/** Milliseconds from the kill to the next acknowledged write. */
async function once(command: string, network: string): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-failover-'))
  const hosts = [1, 2, 3].map((at) => `127.0.${network}.${at}`)
  const agents = hosts.map((host, at): ChildProcess => {
    const words = ['agent', '-server', '-bootstrap-expect=3', `-node=n${at}`, `-data-dir=${join(folder, String(at))}`]
    const addresses = [`-bind=${host}`, `-client=${host}`, `-retry-join=${hosts[0]}`, '-retry-interval=1s']
    return spawn(command, [...words, ...addresses], { stdio: 'ignore' })
  })
  try {
    const leader = await until(async () => {
      const said = await Promise.all(hosts.map((host) => text(`http://${host}:8500/v1/status/leader`)))
      return said[0] !== '""' && said.every((each) => each === said[0]) && (JSON.parse(said[0] ?? '') as string)
    })
    const lost = hosts.findIndex((host) => `${host}:8300` === leader)
    const other = hosts[(lost + 1) % 3]
    const put = () => text(`http://${other}:8500/v1/kv/k`, { method: 'PUT', body: 'x' })
    await until(put)
    agents[lost]?.kill('SIGKILL')
    const killed = performance.now()
    await until(put)
    return performance.now() - killed
  } finally {
    for (const agent of agents) agent.kill('SIGKILL')
    await Promise.all(
      agents.map((agent) => agent.exitCode ?? agent.signalCode ?? new Promise((ended) => agent.once('close', ended))),
    )
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(name: string, command: string, network: string, runs: number): Promise<number> {
  const took: number[] = []
  for (let run = 0; run < runs; run++) took.push(await once(command, network))
  const sorted = took.toSorted((a, b) => a - b).map((each) => each / 1000)
  const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  const range = `${sorted[0]?.toFixed(2)} to ${sorted.at(-1)?.toFixed(2)}`
  console.log(`| ${name} | ${median.toFixed(2)} s | ${range} s | ${runs} |`)
  return median
}

const consul = execFileSync(join(root, 'scripts/peer-consul.sh'), { encoding: 'utf8' }).trim().split('\n').at(-1) ?? ''
console.log('| | median | range | runs |\n|---|---|---|---|')
const ours = await measure('Rollcall', join(root, 'registry/bin/registry'), '80', ourRuns)
if (consulRuns > 0) {
  const theirs = await measure('Consul 1.8.7', consul, '81', consulRuns)
  console.log(`\nratio ${(ours / theirs).toFixed(2)}`)
}
