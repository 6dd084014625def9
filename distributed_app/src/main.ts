#!/usr/bin/env node
/** The process: the master, or started by it with a number in the environment, one of its workers. */
import { Resolver } from 'node:dns/promises'
import { hostname } from 'node:os'
import { createAdaptorServer } from '@hono/node-server'
import { Client } from 'registry/client'
import type { Dns } from './discovery.ts'
import { Master } from './master.ts'
import { type Options, parseOptions, usage } from './options.ts'
import { connectRedis } from './redis.ts'
import { Worker } from './worker.ts'

const workerVariable = 'DISTRIBUTED_APP_WORKER'

const parsed = parseOptions(process.argv.slice(2), process.env, hostname())
if ('mistakes' in parsed) {
  console.error(`distributed_app: ${parsed.mistakes.join('; ')}\n\n${usage}`)
  process.exit(1)
}
if (parsed.options.help) {
  console.log(usage)
  process.exit(0)
}
const number = Number(process.env[workerVariable] ?? 0)
if (number === 0) runMaster()
else runWorker(number, parsed.options)

function runMaster(): void {
  const master = new Master({
    workers: 2,
    variable: workerVariable,
    log: console.log,
    onStopped: () => process.exit(0),
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => master.stop())
  master.start()
}

function runWorker(number: number, options: Options): void {
  const port = options.ports[number - 1] as number
  const log = (line: string) => console.log(line)
  const worker = new Worker({
    client: new Client({ base: options.registry, fetch, timeout: 2000, expire: AbortSignal.timeout }),
    dns: dnsOf(options.dns),
    connect: connectRedis,
    number,
    port,
    address: options.address,
    redis: options.redis,
    random: { fraction: Math.random },
    log,
  })
  const server = createAdaptorServer({ fetch: worker.app.fetch })
  const stop = async () => {
    server.close()
    try {
      await worker.stop(AbortSignal.timeout(1000))
    } catch (error) {
      log(`[consul] service distributed_app (server${number}) could not be deregistered: ${(error as Error).message}`)
    }
    process.exit(0)
  }
  const stopOnce = once(stop)
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stopOnce)
  process.on('disconnect', stopOnce)
  server.on('error', (error) => {
    log(`[worker ${number}] cannot listen on ${options.bind}:${port}: ${error.message}`)
    process.exit(1)
  })
  server.listen(port, options.bind, () => {
    log(`[worker ${number}] process ${process.pid} listening on ${options.bind}:${port}, registry ${options.registry}`)
    // Only who serves is registered.
    setInterval(() => worker.tick(performance.now()), 50)
  })
}

function dnsOf(server: string | undefined): Dns {
  const resolver = new Resolver({ timeout: 1000, tries: 2 })
  if (server !== undefined) resolver.setServers([server])
  return {
    srv: (name) => resolver.resolveSrv(name).catch(noneIfAbsent),
    addresses: (name) => resolver.resolve4(name).catch(noneIfAbsent),
  }
}

function noneIfAbsent(error: NodeJS.ErrnoException): never[] {
  if (error.code === 'ENOTFOUND' || error.code === 'ENODATA') return []
  throw error
}

function once(action: () => Promise<void>): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    void action()
  }
}
