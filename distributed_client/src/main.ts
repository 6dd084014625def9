#!/usr/bin/env node
/** The process: options, the real fetch and DNS, a report per interval until a signal. */
import { getServers } from 'node:dns'
import DNS from 'dns2'
import { Client } from 'registry/client'
import { look, type Resolve } from './look.ts'
import { type Options, parseOptions, usage } from './options.ts'
import { failureLine, linesOf } from './report.ts'

const rcodes = { noError: 0, noSuchName: 3 }

const parsed = parseOptions(process.argv.slice(2), process.env)
if ('mistakes' in parsed) {
  console.error(`distributed_client: ${parsed.mistakes.join('; ')}\n\n${usage}`)
  process.exit(1)
}
if (parsed.options.help) {
  console.log(usage)
  process.exit(0)
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(0))
// Whoever reads us may stop reading (`| head -4`); that is an end, not an error.
process.stdout.on('error', () => process.exit(0))
await run(parsed.options)

async function run(options: Options): Promise<void> {
  const client = new Client({ base: options.registry, fetch, timeout: 2000, expire: AbortSignal.timeout })
  const resolve = resolverOf(options.dns)
  for (;;) {
    const startedAt = performance.now()
    const reached = await report(options, client, resolve)
    if (options.once) process.exit(reached ? 0 : 1)
    const wait = options.interval - (performance.now() - startedAt)
    await new Promise((elapsed) => setTimeout(elapsed, Math.max(0, wait)))
  }
}

/** Prints one report; false when the registry gave none. */
async function report(options: Options, client: Client, resolve: Resolve): Promise<boolean> {
  try {
    const result = await look(client, resolve, options.service)
    console.log(options.json ? JSON.stringify(result) : linesOf(result).join('\n'))
    return true
  } catch (error) {
    const failure = error as Error
    if (options.json) console.log(JSON.stringify({ service: options.service, registryFailure: failure.message }))
    else console.log(failureLine(failure, { again: !options.once }))
    return false
  }
}

/** Asks the given server, or those of resolv.conf in turn until one answers. No such name is an answer: none. */
function resolverOf(server: string | undefined): Resolve {
  const servers = (server === undefined ? getServers() : [server]).map(serverAddress)
  return async (name) => {
    let failure = new Error('no DNS server is configured')
    for (const { host, port } of servers) {
      const ask = DNS.UDPClient({ dns: host, port, timeout: 1000, socketType: host.includes(':') ? 'udp6' : 'udp4' })
      try {
        const { header, answers } = await ask(name, 'A')
        if (header.rcode === rcodes.noError || header.rcode === rcodes.noSuchName) {
          return answers.flatMap(({ address }) => (address === undefined ? [] : [address]))
        }
        failure = new Error(`DNS server ${host}:${port} answered with code ${header.rcode}`)
      } catch (error) {
        failure = new Error(`DNS server ${host}:${port}: ${(error as Error).message}`, { cause: error })
      }
    }
    throw failure
  }
}

/** `1.2.3.4`, `1.2.3.4:53`, `::1`, `[::1]:53`. */
function serverAddress(text: string): { host: string; port: number } {
  const [, bracketed, plain, port = '53'] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(text) ?? []
  return { host: bracketed ?? plain ?? text, port: Number(port) }
}
