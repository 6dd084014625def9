#!/usr/bin/env node
/** The process: options, the real engine and clock, one tick, and signals. */
import { hostname } from 'node:os'
import { Client } from 'registry/client'
import { dockerEngine } from './docker.ts'
import { type Options, parseOptions, usage } from './options.ts'
import { Registrator } from './registrator.ts'

const version = '0.1.0'
const parsed = parseOptions(process.argv.slice(2), process.env)
switch (parsed.kind) {
  case 'help':
    console.log(usage)
    break
  case 'version':
    console.log(version)
    break
  case 'mistakes':
    console.error(`registrator: ${parsed.mistakes.join('; ')}${parsed.usage ? `\n\n${usage}` : ''}`)
    process.exitCode = parsed.usage ? 2 : 1
    break
  case 'run':
    await run(parsed.options)
    break
  default:
    parsed satisfies never
}

async function run(options: Options): Promise<void> {
  const log = (line: string) => console.log(`${new Date().toISOString()} ${line}`)
  const token = process.env.CONSUL_HTTP_TOKEN
  const client = new Client({
    base: options.registry,
    fetch,
    timeout: 5000,
    expire: AbortSignal.timeout,
    ...(token === undefined ? {} : { token }),
  })
  let stopping = false
  let registrator: Registrator | undefined
  const stop = async () => {
    if (stopping) return
    stopping = true
    // What hangs must not hold up the end.
    setTimeout(() => process.exit(0), 1500).unref()
    await registrator?.stop({ deregister: options.deregisterOnExit }).catch((error: Error) => log(error.message))
    log('stopped')
    process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop())
  log(`registrator ${version}, registry ${options.registry}`)
  if (!(await reachable(client, options, log))) process.exit(1)
  if (stopping) return
  registrator = new Registrator({
    engine: dockerEngine(process.env.DOCKER_HOST),
    client,
    rules: options.rules,
    hostname: options.hostname ?? chosenHostname(),
    id: options.id,
    adopt: options.adopt,
    lookEvery: 3000,
    resync: options.resync,
    ttlRefresh: options.ttlRefresh,
    random: { fraction: Math.random },
    log,
  })
  setInterval(() => registrator?.tick(performance.now()), 50)
}

/** Asks until the registry answers; false when the attempts are used up. An answer without a leader is one. */
async function reachable(client: Client, options: Options, log: (line: string) => void): Promise<boolean> {
  for (let attempt = 0; ; attempt++) {
    try {
      await client.status.leader()
      return true
    } catch (error) {
      const last = options.retryAttempts >= 0 && attempt >= options.retryAttempts
      log(`${(error as Error).message}${last ? '' : `, trying again in ${options.retryInterval} ms`}`)
      if (last) return false
      await new Promise((elapsed) => setTimeout(elapsed, options.retryInterval))
    }
  }
}

/** A container that was given no name is called by its id, which the next one does not have: then the engine's counts. */
function chosenHostname(): string | undefined {
  const name = hostname()
  return /^[0-9a-f]{12}$/.test(name) ? undefined : name
}
