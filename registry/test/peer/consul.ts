/** A real Consul 1.8.7 as a peer to compare with: one server on loopback, its data in a folder of its own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from '../../../test/until.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/**
 * Where its binary is; undefined: it was never brought here (`scripts/peer-consul.sh` does), which is no mistake on a
 * user's machine. Where CI is set it is brought now.
 * @throws Error there, when it cannot be
 */
export function consulBinary(): string | undefined {
  const kept = join(process.env.ROLLCALL_PEERS ?? join(root, '.peers'), 'consul-1.8.7/usr/bin/consul')
  if (existsSync(kept)) return kept
  if (process.env.CI === undefined) return undefined
  return execFileSync(join(root, 'scripts/peer-consul.sh'), { encoding: 'utf8' }).trim().split('\n').at(-1)
}

export class PeerConsul {
  readonly #folder = mkdtempSync(join(tmpdir(), 'rollcall-peer-'))
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  readonly #port: number
  #output = ''

  private constructor(binary: string, ports: readonly number[], node: string, more: readonly string[]) {
    const [http, server, lan, wan] = ports
    this.#port = http!
    const words = [
      'agent',
      '-server',
      '-bootstrap-expect=1',
      '-bind=127.0.0.1',
      `-data-dir=${this.#folder}`,
      `-node=${node}`,
      `-http-port=${http}`,
      `-server-port=${server}`,
      `-serf-lan-port=${lan}`,
      `-serf-wan-port=${wan}`,
      '-dns-port=-1',
      '-grpc-port=-1',
      '-hcl=performance { raft_multiplier = 1 }',
      ...more,
    ]
    this.#child = spawn(binary, words, { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        this.#output += bytes.toString()
      })
    }
    this.#ended = new Promise((resolve) => this.#child.once('close', resolve))
  }

  /** Leads, and has registered itself, when this resolves. */
  static async start(binary: string, node: string, more: readonly string[] = []): Promise<PeerConsul> {
    const peer = new PeerConsul(binary, await freePorts(4), node, more)
    try {
      await until('the peer to be ready', async () => {
        const answer = await peer.ask('GET', `/v1/health/node/${node}`).catch(() => undefined)
        return answer?.status === 200 && answer.text.includes('serfHealth')
      })
    } catch (error) {
      const output = peer.#output
      await peer.stop()
      throw new Error(`${(error as Error).message}; it says:\n${output}`)
    }
    return peer
  }

  async ask(method: string, path: string, body?: string) {
    const response = await fetch(`http://127.0.0.1:${this.#port}${path}`, {
      method,
      signal: AbortSignal.timeout(10_000),
      ...(body !== undefined && { body }),
    })
    return { status: response.status, headers: response.headers, text: await response.text() }
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
    rmSync(this.#folder, { recursive: true })
  }
}

/** Below what the system gives to clients, and nobody listens on them now. */
async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  const first = 20_000 + (process.pid % 1000) * 10
  for (let port = first; ports.length < count; port++) if (await isFree(port)) ports.push(port)
  return ports
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
