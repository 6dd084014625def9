/** Three Docker hosts of scripts/hosts.sh for a test: what is typed on them, and what they answer. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
export type HostName = 'host1' | 'host2' | 'host3'
export const names: HostName[] = ['host1', 'host2', 'host3']
export const addresses: Record<HostName, string> = { host1: '10.0.77.22', host2: '10.0.77.16', host3: '10.0.77.17' }

export interface Ended {
  code: number | null
  /** Standard output and, after all of it, standard error. */
  output: string
  stdout: string
}

export class Hosts {
  /** Name of this set of hosts: another for every copy of the repository, the same for every run in one. */
  readonly set: string
  readonly #environment: NodeJS.ProcessEnv

  /** @param purpose test files that run side by side use different ones */
  constructor(purpose: string) {
    this.set = `${purpose}-${createHash('sha256').update(root).digest('hex').slice(0, 6)}`
    const { DOCKER_HOST: _, ...rest } = process.env
    this.#environment = { ...rest, ROLLCALL_HOSTS: this.set }
  }

  /** A script of this repository, with its output; does not throw. */
  script(words: string[], environment: NodeJS.ProcessEnv = {}): Ended {
    const { status, stdout, stderr, error } = spawnSync(words[0] as string, words.slice(1), {
      cwd: root,
      env: { ...this.#environment, ...environment },
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    })
    if (error !== undefined) throw error
    return { code: status, output: `${stdout}${stderr}`, stdout }
  }

  /** As `script`, and its standard output; a failure is the test's. */
  must(words: string[], environment: NodeJS.ProcessEnv = {}): string {
    const { code, output, stdout } = this.script(words, environment)
    assert.equal(code, 0, `${words.join(' ')}: exit ${code}\n${output}`)
    return stdout
  }

  /** A verb of scripts/hosts.sh. */
  hosts(...words: string[]): string {
    return this.must(['scripts/hosts.sh', ...words])
  }

  /** Words typed in a shell on that host; standard output, trimmed. */
  type(host: HostName, words: string): string {
    const { code, output } = this.try(host, words)
    assert.equal(code, 0, `${host}$ ${words}\nexit ${code}: ${output}`)
    return output
  }

  try(host: HostName, words: string): Ended {
    const { output, ...rest } = this.script(['scripts/hosts.sh', 'run', host, '--', 'bash', '-c', words])
    return { output: output.trim(), ...rest }
  }

  /** An HTTP request to the agent of that host, sent on that host. Status 0: no answer within the time-out. */
  ask(host: HostName, method: string, path: string, body?: string, timeout = 10_000): { status: number; text: string } {
    const program = `
      const [url, method, body] = process.argv.slice(1)
      const options = { method, signal: AbortSignal.timeout(${timeout}), ...(body === '' ? {} : { body }) }
      fetch(url, options).then(async (r) => ({ status: r.status, text: await r.text() }))
        .catch((error) => ({ status: 0, text: String(error.cause ?? error) }))
        .then((answer) => console.log(JSON.stringify(answer)))`
    const url = `http://127.0.0.1:8500${path}`
    const words = ['scripts/hosts.sh', 'run', host, '--', process.execPath, '-e', program, url, method, body ?? '']
    const { code, output } = this.script(words)
    assert.equal(code, 0, `${method} ${url} on ${host}: ${output}`)
    return JSON.parse(output)
  }

  /** The parsed answer of a GET that must succeed. */
  get<T>(host: HostName, path: string): T {
    const { status, text } = this.ask(host, 'GET', path)
    assert.equal(status, 200, `GET ${path} on ${host}: ${status} ${text}`)
    return JSON.parse(text) as T
  }

  /** What `dig +short` says on that host, asked as containers there ask; sorted. */
  dig(host: HostName, name: string, type = 'A'): string[] {
    const { output } = this.try(host, `dig +short +time=2 +tries=1 @172.17.0.1 ${name} ${type} | grep -v '^;'`)
    return output === '' ? [] : output.split('\n').sort()
  }

  /** Name → status ("alive", "failed" …) as the agent of `host` sees it. */
  members(host: HostName): Record<string, string> {
    const states = ['none', 'alive', 'leaving', 'left', 'failed']
    const members = this.get<{ Name: string; Status: number }[]>(host, '/v1/agent/members')
    return Object.fromEntries(members.map(({ Name, Status }) => [Name, states[Status] ?? `${Status}`]))
  }

  /** The name of the host whose agent leads, as `host` knows it. */
  leader(host: HostName): HostName | undefined {
    const text = this.get<string>(host, '/v1/status/leader')
    return names.find((name) => text === `${addresses[name]}:8300`)
  }

  /** Every container and volume of every host. */
  removeContainers(): void {
    for (const host of names) {
      this.type(
        host,
        'ids=$(docker ps -aq); [ -z "$ids" ] || docker rm -fv $ids >/dev/null; docker volume prune -f >/dev/null',
      )
      this.type(
        host,
        'v=$(docker volume ls -q); [ -z "$v" ] || docker volume rm $v >/dev/null; docker network prune -f >/dev/null',
      )
    }
  }

  /** Our images, built in the first engine and copied to the others. */
  images(): void {
    const socket = (host: HostName) => this.hosts('status').match(new RegExp(`^${host} .* (unix:\\S+)$`, 'm'))?.[1]
    const first = socket('host1') as string
    // As on a machine where files are for their owner only: what is in the images is for their user all the same.
    const build = 'umask 077 && rm -rf dist && exec scripts/images.sh --stand-in --redis'
    this.must(['bash', '-c', build], { DOCKER_HOST: first })
    const ours = ['registry', 'registrator', 'distributed_app', 'distributed_client', 'redis']
    const list = ours.map((name) => `rollcall/${name}`).join(' ')
    for (const host of ['host2', 'host3'] as const) {
      this.must(['bash', '-c', `set -o pipefail; docker -H ${first} save ${list} | docker -H ${socket(host)} load -q`])
    }
  }
}

/** Waits until `condition` holds, at most `seconds`; `what` names it in the failure. A throw counts as not yet. */
export async function until(seconds: number, what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + seconds * 1000
  let last: unknown
  for (;;) {
    try {
      if (condition()) return
      last = undefined
    } catch (error) {
      last = error
    }
    if (performance.now() >= deadline) assert.fail(`not so within ${seconds} s: ${what}${last ? `\n${last}` : ''}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** The newest report of the client, two lines an instance; see demo.md's own words in the assertion. */
export function assertReport(log: string): void {
  const lines = log.split('\n').filter((line) => /^(Application|We can also)/.test(line))
  for (const [host, element, port] of [
    ['host1', 'server1', 2001],
    ['host1', 'server2', 2002],
    ['host2', 'server1', 2001],
    ['host2', 'server2', 2002],
  ] as const) {
    const sentence = `Application distributed_app with element ${element} on port ${port} found on node ${host} (${addresses[host]}).`
    const at = lines.lastIndexOf(sentence)
    assert.notEqual(at, -1, `expected "${sentence}" in:\n${log}`)
    assert.match(
      lines[at + 1] ?? '',
      /^We can also resolve DNS - distributed_app resolves to (10\.0\.77\.22 and 10\.0\.77\.16|10\.0\.77\.16 and 10\.0\.77\.22)\.$/,
    )
  }
}
