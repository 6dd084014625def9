/**
 * Load for `bench.ts`: by wrk and dnsperf where they are installed, as Debian packages them; else by this process, which
 * is slower than what it measures, so that differences come out smaller than they are.
 */
import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import dnsPacket from 'dns-packet'

const connections = 64
const dnsClients = 8
const keys = 1000
const valueBytes = 100

/** `p99` in milliseconds. */
export interface Measured {
  rate: number
  p99: number
}

const run = promisify(execFile)

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

const wrk = isInstalled('wrk')
const dnsperf = isInstalled('dnsperf')

export const generators = `HTTP by ${wrk ? 'wrk' : 'Node'}, DNS by ${dnsperf ? 'dnsperf' : 'Node'}`

/** PUTs of new values to 1,000 keys in turn, over 64 connections. */
export async function puts(host: string, seconds: number): Promise<Measured> {
  if (wrk) return byWrk(host, '', seconds, ['PUT', String(keys), String(valueBytes)])
  return byNode(host, seconds, (at) => ({
    method: 'PUT',
    path: `/v1/kv/bench/${at % keys}`,
    body: String(at).padStart(valueBytes, '0'),
  }))
}

/** GETs of one path over 64 connections. */
export function gets(host: string, path: string, seconds: number): Promise<Measured> {
  return wrk ? byWrk(host, path, seconds, []) : byNode(host, seconds, () => ({ method: 'GET', path }))
}

async function byWrk(host: string, path: string, seconds: number, words: string[]): Promise<Measured> {
  const script = join(import.meta.dirname, 'bench.lua')
  const options = [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '-s',
    script,
    `http://${host}:8500${path}`,
    '--',
    ...words,
  ]
  const { stdout } = await run('wrk', options)
  const found = /requests (\d+) micros (\d+) p99 (\d+) failed (\d+)/.exec(stdout)
  if (found === null) throw new Error(`expected a line of results from wrk, received ${stdout}`)
  const [requests, micros, p99, failed] = found.slice(1).map(Number) as [number, number, number, number]
  if (failed > 0) throw new Error(`${failed} of ${requests} requests to ${host}${path} failed`)
  return { rate: (requests / micros) * 1e6, p99: p99 / 1000 }
}

type Sent = { method: string; path: string; body?: string }

async function byNode(host: string, seconds: number, sent: (at: number) => Sent): Promise<Measured> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const measured = await closedLoop(connections, seconds, async (at) => {
    const each = sent(at)
    const { status, text } = await send(agent, host, each.method, each.path, each.body)
    if (status !== 200) throw new Error(`${each.method} ${each.path}: ${status} ${text}`)
  })
  agent.destroy()
  return measured
}

async function closedLoop(clients: number, seconds: number, one: (at: number) => Promise<void>): Promise<Measured> {
  const took: number[] = []
  const begun = performance.now()
  const end = begun + seconds * 1000
  let next = 0
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let at = performance.now(); at < end; ) {
        await one(next++)
        const now = performance.now()
        took.push(now - at)
        at = now
      }
    }),
  )
  took.sort((a, b) => a - b)
  return {
    rate: (took.length / (performance.now() - begun)) * 1000,
    p99: took[Math.floor(took.length * 0.99)] ?? Number.NaN,
  }
}

export function send(
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

export type DnsType = 'A' | 'SRV'

/** The same question from 8 clients. */
export function questions(host: string, name: string, type: DnsType, seconds: number): Promise<Measured> {
  return dnsperf ? byDnsperf(host, name, type, seconds) : byDatagrams(host, name, type, seconds)
}

async function byDnsperf(host: string, name: string, type: DnsType, seconds: number): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-dnsperf-'))
  try {
    writeFileSync(join(folder, 'questions'), `${name} ${type}\n`)
    const words = ['-s', host, '-p', '8600', '-d', join(folder, 'questions'), '-c', String(dnsClients)]
    const { stdout } = await run('dnsperf', [...words, '-l', String(seconds)])
    const rate = Number(/Queries per second:\s+([\d.]+)/.exec(stdout)?.[1])
    const lost = Number(/Queries lost:\s+(\d+)/.exec(stdout)?.[1])
    if (!(rate > 0) || !(lost < rate * seconds * 0.01)) throw new Error(`expected answers, received ${stdout}`)
    // It tells no percentiles.
    return { rate, p99: Number.NaN }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function byDatagrams(host: string, name: string, type: DnsType, seconds: number): Promise<Measured> {
  const socket = createSocket('udp4')
  const waiting = new Map<number, () => void>()
  socket.on('message', (bytes) => {
    const id = bytes.readUInt16BE(0)
    waiting.get(id)?.()
    waiting.delete(id)
  })
  const query = dnsPacket.encode({ type: 'query', questions: [{ type, name }] })
  const measured = await closedLoop(
    dnsClients,
    seconds,
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
  )
  socket.close()
  return measured
}
