/** Agents as real processes on loopback addresses of their own, as a user would start them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from '../../../test/until.ts'

export { until }

export const program = join(dirname(fileURLToPath(import.meta.url)), '../../bin/registry')

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
}

export class Process {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  output = ''

  constructor(words: readonly string[], command = program, environment: Record<string, string> = {}) {
    const env = { ...process.env, ...environment }
    this.child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], env })
    const collect = (bytes: Buffer) => {
      this.output += bytes.toString()
    }
    this.child.stdout?.on('data', collect)
    this.child.stderr?.on('data', collect)
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve({ code, signal })))
  }

  signal(name: NodeJS.Signals): Promise<Ended> {
    this.child.kill(name)
    return this.ended
  }

  shows(pattern: RegExp, within?: number): Promise<RegExpExecArray> {
    return until(`${pattern}`, () => pattern.exec(this.output), within).catch((error: Error) => {
      throw new Error(`${error.message}; the output:\n${this.output}`)
    })
  }
}

/** Runs a command to its end. */
export async function run(words: readonly string[], command = program, environment: Record<string, string> = {}) {
  const process = new Process(words, command, environment)
  const { code } = await process.ended
  return { code, output: process.output }
}

export class Host {
  readonly name: string
  /** What it listens on, and clients ask. */
  readonly address: string
  /** Where the others find it: something else when a proxy stands between. */
  readonly advertised: string
  readonly dataDir: string
  /** Given at every start. */
  words: readonly string[] = []
  process: Process | undefined

  constructor(name: string, address: string, folder: string, advertised = address) {
    this.name = name
    this.address = address
    this.advertised = advertised
    this.dataDir = join(folder, name)
  }

  /** There is a process, stopped (SIGSTOP) or not. */
  get runs(): boolean {
    const child = this.process?.child
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  start(...words: string[]): Process {
    const own = [`-node=${this.name}`, `-bind=${this.address}`, `-client=${this.address}`, `-data-dir=${this.dataDir}`]
    if (this.advertised !== this.address) own.push(`-advertise=${this.advertised}`)
    this.process = new Process(['agent', ...own, ...this.words, ...words])
    return this.process
  }

  /** @throws what fetch says, or an error with status and body when the status is not 200 */
  async http(method: string, path: string, body?: string): Promise<Response> {
    const response = await fetch(`http://${this.address}:8500${path}`, {
      method,
      signal: AbortSignal.timeout(10_000),
      ...(body === undefined ? {} : { body }),
    })
    if (!response.ok) throw new Error(`${method} ${path} on ${this.name}: ${response.status} ${await response.text()}`)
    return response
  }

  async json<T>(path: string): Promise<T> {
    return (await (await this.http('GET', path)).json()) as T
  }

  put(key: string, value: string): Promise<Response> {
    return this.http('PUT', `/v1/kv/${key}`, value)
  }

  /** Undefined: no such key. */
  async get(key: string, query = ''): Promise<string | undefined> {
    const response = await fetch(`http://${this.address}:8500/v1/kv/${key}?raw${query}`, {
      signal: AbortSignal.timeout(10_000),
    })
    if (response.status === 404) return undefined
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
    return response.text()
  }

  leader(): Promise<string> {
    return this.json<string>('/v1/status/leader')
  }

  /** Names of members with that status: 1 alive, 3 left, 4 failed. */
  async members(status = 1): Promise<string[]> {
    const members = await this.json<{ Name: string; Status: number }[]>('/v1/agent/members')
    return members.filter(({ Status }) => Status === status).map(({ Name }) => Name)
  }

  async nodeId(): Promise<string> {
    return (await this.json<{ Config: { NodeID: string } }>('/v1/agent/self')).Config.NodeID
  }
}

/** So many clusters are made by one run that each needs addresses of its own. */
const networks = { next: 0 }

export class Cluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'rollcall-test-'))
  readonly hosts: Host[]

  /** `proxied`: every host advertises an address beside its own, where nobody listens yet. */
  constructor(size: number, { proxied = false }: { proxied?: boolean } = {}) {
    const run = process.pid % 60_000
    const network = `127.${1 + (run % 120)}.${Math.floor(run / 120) % 250}`
    const first = 2 + networks.next
    networks.next += proxied ? 2 * size : size
    this.hosts = Array.from(
      { length: size },
      (_, at) =>
        new Host(
          `host${at + 1}`,
          `${network}.${first + at}`,
          this.folder,
          `${network}.${first + at + (proxied ? size : 0)}`,
        ),
    )
  }

  host(number: number): Host {
    const host = this.hosts[number - 1]
    if (host === undefined) throw new Error(`there is no host ${number}`)
    return host
  }

  /** As the book does it: the first waits for three, the others join it. */
  async begin(): Promise<void> {
    const [first, ...others] = this.hosts
    first?.start('-server', `-bootstrap-expect=${this.hosts.length}`, '-dns-port=8600')
    await first?.process?.shows(/Log data will now stream/)
    for (const host of others) host.start('-server', `-join=${first?.advertised}`)
    await this.settled()
  }

  /** Every host that runs knows the same leader and has it answer. */
  async settled(): Promise<Host> {
    const running = this.hosts.filter(({ runs }) => runs)
    return until('one leader known to all', async () => {
      const leaders = await Promise.all(running.map((host) => host.leader()))
      if (leaders[0] === '' || leaders.some((leader) => leader !== leaders[0])) return undefined
      await running[0]?.get('settled', '&consistent')
      return this.hosts.find(({ advertised }) => `${advertised}:8300` === leaders[0])
    })
  }

  async end(): Promise<void> {
    await Promise.all(
      this.hosts.map(async ({ runs, process }) => {
        if (runs) await process?.signal('SIGKILL')
      }),
    )
    rmSync(this.folder, { recursive: true, force: true })
  }
}
