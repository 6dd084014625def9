/**
 * `npm run bench`: this agent beside the real Consul 1.8.7, one server each, durable, on loopback. Every case runs on both
 * in turn, several rounds; what is printed is the median of each and their ratio (above 1: we are faster). Absolute
 * figures move with the machine and with this load generator, which shares its cores; ratios of one run are what to read.
 *
 *   node scripts/bench.ts [rounds] [requests per round]
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import dnsPacket from 'dns-packet'

const [rounds = 5, requests = 4000] = process.argv.slice(2).map(Number)
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = mkdtempSync(join(tmpdir(), 'rollcall-bench-'))
const connections = 64

interface Server {
  name: string
  host: string
  process: ChildProcess
}

function start(name: string, command: string, host: string): Server {
  const words = ['agent', '-server', '-bootstrap', `-node=${name}`, `-data-dir=${join(folder, name)}`]
  const addresses = [`-bind=${host}`, `-client=${host}`, `-advertise=${host}`]
  return { name, host, process: spawn(command, [...words, ...addresses], { stdio: 'ignore' }) }
}

function send(
  agent: Agent,
  host: string,
  method: string,
  path: string,
  body?: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ agent, host, port: 8500, method, path }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        text += part
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Requests a second over the given number of concurrent workers. */
async function rate(one: (at: number) => Promise<void>, workers: number): Promise<number> {
  let next = 0
  const begun = performance.now()
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (next < requests) await one(next++)
    }),
  )
  return (requests / (performance.now() - begun)) * 1000
}

type Case = { name: string; run(server: Server): Promise<number> }

function httpCase(name: string, method: string, path: (at: number) => string, body?: string): Case {
  return {
    name,
    async run({ host }) {
      const agent = new Agent({ keepAlive: true, maxSockets: connections })
      const measured = await rate(async (at) => {
        const { status, text } = await send(agent, host, method, path(at), body)
        if (status !== 200) throw new Error(`${method} ${path(at)}: ${status} ${text}`)
      }, connections)
      agent.destroy()
      return measured
    },
  }
}

function dnsCase(name: string, question: string, type: 'A' | 'SRV'): Case {
  return {
    name,
    async run({ host }) {
      const socket = createSocket('udp4')
      const waiting = new Map<number, () => void>()
      socket.on('message', (bytes) => {
        const id = bytes.readUInt16BE(0)
        waiting.get(id)?.()
        waiting.delete(id)
      })
      const query = dnsPacket.encode({ type: 'query', questions: [{ type, name: question }] })
      const measured = await rate(
        (at) =>
          new Promise((resolve) => {
            const packet = Buffer.from(query)
            packet.writeUInt16BE(at & 0xffff, 0)
            // A lost datagram counts as answered late.
            const late = setTimeout(resolve, 1000)
            waiting.set(at & 0xffff, () => {
              clearTimeout(late)
              resolve()
            })
            socket.send(packet, 8600, host)
          }),
        8,
      )
      socket.close()
      return measured
    },
  }
}

const cases: Case[] = [
  httpCase('PUT /v1/kv, 100 bytes, 1,000 keys', 'PUT', (at) => `/v1/kv/bench/${at % 1000}`, 'x'.repeat(100)),
  httpCase('GET /v1/kv', 'GET', () => '/v1/kv/bench/1'),
  httpCase('GET /v1/kv?stale', 'GET', () => '/v1/kv/bench/1?stale'),
  httpCase('GET /v1/health/service?passing, 10 instances', 'GET', () => '/v1/health/service/web?passing'),
  httpCase('GET /v1/catalog/service, 10 instances', 'GET', () => '/v1/catalog/service/web'),
  dnsCase('DNS A, 10 instances', 'web.service.consul', 'A'),
  dnsCase('DNS SRV, 10 instances', 'web.service.consul', 'SRV'),
  dnsCase('DNS A, unknown name', 'nothing.service.consul', 'A'),
]

async function prepare({ host, name }: Server): Promise<void> {
  const agent = new Agent()
  for (let attempt = 0; ; attempt++) {
    const leader = await send(agent, host, 'GET', '/v1/status/leader').catch(() => ({ text: '""' }))
    if (leader.text !== '""') break
    if (attempt > 300) throw new Error(`${name} elected no leader`)
    await new Promise((again) => setTimeout(again, 100))
  }
  for (let at = 0; at < 10; at++) {
    const body = JSON.stringify({
      Node: `node${at}`,
      Address: `10.1.0.${at + 1}`,
      Service: { Service: 'web', ID: `web${at}`, Port: 8000 + at },
      Check: { CheckID: 'up', Name: 'up', Status: 'passing', ServiceID: `web${at}` },
    })
    const { status, text } = await send(agent, host, 'PUT', '/v1/catalog/register', body)
    if (status !== 200) throw new Error(`${name}: ${text}`)
  }
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

const consul = execFileSync(join(root, 'scripts/peer-consul.sh'), { encoding: 'utf8' }).trim().split('\n').at(-1) ?? ''
const servers = [
  start('ours', join(root, 'registry/bin/registry'), '127.0.79.1'),
  start('consul', consul, '127.0.79.2'),
]
try {
  for (const server of servers) await prepare(server)
  console.log(`| case (${rounds} rounds of ${requests}) | Rollcall /s | Consul 1.8.7 /s | ratio |\n|---|---|---|---|`)
  for (const { name, run } of cases) {
    const measured: number[][] = [[], []]
    for (let round = 0; round < rounds; round++) {
      for (const [at, server] of servers.entries()) measured[at]?.push(await run(server))
    }
    const [ours, theirs] = measured.map(median) as [number, number]
    console.log(`| ${name} | ${Math.round(ours)} | ${Math.round(theirs)} | ${(ours / theirs).toFixed(2)} |`)
  }
} finally {
  for (const server of servers) server.process.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
