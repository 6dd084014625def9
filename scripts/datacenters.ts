/**
 * What it costs a datacenter that another one is lost: two datacenters of three servers as processes on loopback, clients that
 * ask the first for its own keys and services, and clients that go on asking it for those of the second. Then all servers of
 * the second are killed (SIGKILL), come back, and are frozen (SIGSTOP: connections stay open and nothing is ever answered).
 *
 *   node scripts/datacenters.ts [seconds of each phase, default 10]
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { Cluster } from '../registry/test/processes/cluster.ts'
import { beginDatacenter, connected, led, Questions } from '../registry/test/processes/datacenters.ts'

const kinds = ['default read', 'stale read', 'DNS'] as const
type Kind = (typeof kinds)[number]
type Latencies = Record<Kind, number[]>

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const keepAlive = new Agent({ keepAlive: true })

/** Status and body; status 0: none within `timeout`. */
function get(url: string, timeout = 10_000): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => {
    const asked = request(url, { agent: keepAlive, timeout }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text) => {
        body += text
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.on('error', (error) => resolve({ status: 0, body: error.message }))
    asked.end()
  })
}

/** Asks the servers of the first datacenter for the second without a pause, until its input ends. Prints how it went. */
async function askForTheOther(hosts: string[]): Promise<void> {
  let ending = false
  process.stdin.resume().once('end', () => {
    ending = true
  })
  const counts: Record<string, number> = {}
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1
  }
  await Promise.all(
    hosts.flatMap((host) => {
      const questions = new Questions(host)
      const http = async () => {
        while (!ending) {
          count(`HTTP ${(await get(`http://${host}:8500/v1/kv/color?dc=dc2`, 15_000)).status}`)
          await pause(20)
        }
      }
      const dns = async () => {
        while (!ending) {
          const [first] = await questions.ask('web.service.dc2.consul')
          count(first === undefined ? 'DNS silence' : /^\d/.test(first) ? 'DNS answers' : `DNS ${first}`)
          await pause(20)
        }
        questions.close()
      }
      return [http(), http(), dns()]
    }),
  )
  console.log(JSON.stringify(counts))
}

/** Latencies in ms of what the first datacenter is asked about itself, on each of its servers. */
async function measure(hosts: string[], seconds: number): Promise<Latencies> {
  const measured: Latencies = { 'default read': [], 'stale read': [], DNS: [] }
  const end = performance.now() + seconds * 1000
  const time = async (kind: Kind, act: () => Promise<boolean>) => {
    const from = performance.now()
    if (!(await act())) throw new Error(`${kind}: not answered as it should be`)
    measured[kind].push(performance.now() - from)
  }
  await Promise.all(
    hosts.map(async (host) => {
      const questions = new Questions(host)
      const ours = async (path: string) => (await get(`http://${host}:8500${path}`)).status === 200
      while (performance.now() < end) {
        await time('default read', () => ours('/v1/kv/color'))
        await time('stale read', () => ours('/v1/kv/color?stale'))
        await time('DNS', async () => (await questions.ask('web.service.consul')).includes(hosts[0] as string))
        await pause(5)
      }
      questions.close()
    }),
  )
  return measured
}

/** The middle one, or the one that so many of a hundred are not above. */
function percentile(values: number[], of = 50): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * of) / 100))] ?? Number.NaN
}

async function main(seconds: number): Promise<void> {
  const cluster = new Cluster(6)
  const [ours, theirs] = [cluster.hosts.slice(0, 3), cluster.hosts.slice(3)]
  const addresses = ours.map(({ address }) => address)
  const rows: Row[] = []
  const processor = () => ours.reduce((sum, { process }) => sum + processorSeconds(process?.child.pid), 0)
  const phase = async (title: string) => {
    const words = [fileURLToPath(import.meta.url), '--ask-for-the-other', ...addresses]
    const asking = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] })
    let counts = ''
    asking.stdout.on('data', (bytes) => {
      counts += bytes
    })
    const before = processor()
    const measured = await measure(addresses, seconds)
    const answered = kinds.reduce((sum, kind) => sum + measured[kind].length, 0)
    const busy = (1000 * (processor() - before)) / answered
    asking.stdin.end()
    await new Promise((resolve) => asking.once('close', resolve))
    const others = Object.entries(JSON.parse(counts) as Record<string, number>).map(([what, n]) => `${what}: ${n}`)
    rows.push({ title, measured, busy, others: others.sort().join(', ') })
  }
  try {
    await beginDatacenter(ours, 'dc1', undefined)
    await beginDatacenter(theirs, 'dc2', ours[0])
    await connected(ours, theirs)
    const questions = new Questions(addresses[0] as string)
    console.log(
      `asked in dc1, web.service.dc2.consul is ${(await questions.ask('web.service.dc2.consul')).sort().join(', ')}`,
    )
    questions.close()
    await measure(addresses, 2)
    await phase('both live')
    for (const host of theirs) host.process?.child.kill('SIGKILL')
    await phase('dc2 killed')
    await phase('dc2 killed, later')
    for (const host of theirs) await host.process?.ended
    for (const host of theirs) host.start()
    await led(theirs)
    await connected(ours, theirs)
    await phase('both live again')
    for (const host of theirs) host.process?.child.kill('SIGSTOP')
    await phase('dc2 frozen')
    await phase('dc2 frozen, later')
    for (const host of theirs) host.process?.child.kill('SIGCONT')
    await connected(ours, theirs)
  } finally {
    for (const host of theirs) host.process?.child.kill('SIGCONT')
    await cluster.end()
  }
  print(rows, seconds)
}

interface Row {
  title: string
  measured: Latencies
  /** Processor time of the first datacenter's servers, ms for each answer measured; what else they were asked is in it. */
  busy: number
  others: string
}

/** Since its start; ticks are 10 ms on every Linux that Node runs on. */
function processorSeconds(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function print(rows: Row[], seconds: number): void {
  console.log(`\nmedian (99 of 100), ms, ${seconds} s a phase; ratio: of the medians, to both living before it\n`)
  console.log(`| | ${kinds.map((kind) => `${kind} | ratio`).join(' | ')} | processor | asked for dc2 meanwhile |`)
  console.log(`|---|${kinds.map(() => '---|---|').join('')}---|---|`)
  let before = rows[0]?.measured
  let worst = 0
  for (const { title, measured, busy, others } of rows) {
    if (title.startsWith('both')) before = measured
    const cells = kinds.map((kind) => {
      const ratio = percentile(measured[kind]) / percentile(before?.[kind] ?? [])
      worst = Math.max(worst, ratio)
      const middle = percentile(measured[kind]).toFixed(2)
      return `${middle} (${percentile(measured[kind], 99).toFixed(1)}) | ${ratio.toFixed(2)}`
    })
    console.log(`| ${title} | ${cells.join(' | ')} | ${busy.toFixed(2)} | ${others} |`)
  }
  console.log(`\nlargest ratio ${worst.toFixed(2)}, ${worst <= 2 ? 'within' : 'NOT within'} 2`)
  if (worst > 2) process.exitCode = 1
}

const [first, ...rest] = process.argv.slice(2)
if (first === '--ask-for-the-other') await askForTheOther(rest)
else await main(Number(first ?? 10))
