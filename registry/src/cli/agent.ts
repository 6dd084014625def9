/** `registry agent`: options, the real world, the node, its faces; and all of it down again in reverse. [door] */
import { rmSync, writeFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { Agent, type AgentOptions } from '../agent/agent.ts'
import { isLive } from '../agent/pools.ts'
import { dnsDefaults } from '../dns/options.ts'
import { dnsServer } from '../dns/server.ts'
import { Refused } from '../errors.ts'
import { httpApp, travelAnswer } from '../http/app.ts'
import { Connections } from '../http/connections.ts'
import { directAnswers } from '../http/direct.ts'
import { serve } from '../http/server.ts'
import type { Log } from '../io/io.ts'
import { type NodeIo, openIo } from '../io/node.ts'
import { gzipped } from '../io/node-gzip.ts'
import type { Millis } from '../model.ts'
import { writersFrom } from './client-limits.ts'
import { type AgentConfig, configure } from './config.ts'
import { type Logger, logger } from './log.ts'
import { machine, resolveHost } from './machine.ts'
import { Reload } from './reload.ts'
import { consulVersion } from './version.ts'

const tickInterval: Millis = 100
/** What a stop may take before the process ends all the same: everything acknowledged is on disk already. */
const stopWithin: Millis = 2_000
/** What closing may take of it at least, whatever the leaving took. */
const closeWithin: Millis = 500

/** Resolves to the exit code when the agent has ended. */
export async function runAgent(words: readonly string[], asConsul: boolean): Promise<number> {
  const configured = configure(words, machine, asConsul)
  if ('help' in configured) {
    console.log(configured.help)
    return 0
  }
  if ('mistakes' in configured) {
    for (const mistake of configured.mistakes) console.error(`==> ${mistake}`)
    return 1
  }
  const { config } = configured
  const say = (line: string) => process.stdout.write(`${line}\n`)
  const logs = logger({ level: config.logLevel, json: config.logJson, wall: () => Date.now(), write: say })
  const { log, open } = logs
  const banner = config.logJson ? () => {} : say
  // Who reads the log may go away (a restarted journal); the agent goes on without.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  const closers: (() => Promise<unknown>)[] = []
  const reload = new Reload({ configure: () => configure(words, machine, asConsul), config, logs })
  const signals = new Signals(config, log, reload)
  try {
    return await run(config, { logs, log, open, banner, closers, signals, reload })
  } catch (error) {
    open()
    console.error(`==> ${(error as Error).message}`)
    return 1
  } finally {
    await within(signals.left, closeAll(closers, log), () =>
      log('warn', 'agent', 'not everything could be closed in time'),
    )
  }
}

async function closeAll(closers: (() => Promise<unknown>)[], log: Log): Promise<void> {
  for (const close of closers.reverse()) await close().catch((error: Error) => log('warn', 'agent', error.message))
}

async function within(limit: Millis, act: Promise<unknown>, late: () => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      late()
      resolve()
    }, limit)
  })
  await Promise.race([act, expired])
  clearTimeout(timer)
}

interface Running {
  logs: Logger
  log: Log
  /** Lets the log lines out. */
  open(): void
  banner: (line: string) => void
  /** What has to be closed, in the order it was opened. */
  closers: (() => Promise<unknown>)[]
  signals: Signals
  reload: Reload
}

async function run(
  config: AgentConfig,
  { logs, log, open, banner, closers, signals, reload }: Running,
): Promise<number> {
  if (config.bootstrap) banner('==> WARNING: Bootstrap mode enabled! Do not enable unless necessary')
  if (config.bootstrapExpect > 0) {
    banner(`==> WARNING: Expect Mode enabled, expecting ${config.bootstrapExpect} servers`)
  }
  banner('==> Starting Consul agent...')
  const listen = (port: number) => ({ host: config.bind, port })
  const io = await openIo({
    dataDir: config.dataDir,
    listen: {
      rpc: config.server ? listen(config.ports.server) : undefined,
      lan: listen(config.ports.serfLan),
      wan: config.server ? listen(config.ports.serfWan) : undefined,
    },
    log,
  })
  closers.push(() => io.close())
  const agent = await Agent.open(io, agentOptions(config, io))
  reload.apply((definitions) => agent.define(definitions))
  closers.push(() => agent.stop())
  const ticking = setInterval(() => agent.tick(), tickInterval)
  closers.push(async () => clearInterval(ticking))

  const ports = await openFaces(config, agent, io, { logs, log, banner, closers, reload })
  if (config.pidFile !== undefined) {
    const { pidFile } = config
    try {
      writeFileSync(pidFile, `${process.pid}\n`)
    } catch (error) {
      throw new Error(`could not write the pid file: ${(error as Error).message}; choose another with -pid-file`)
    }
    closers.push(async () => rmSync(pidFile, { force: true }))
  }
  const stopped = signals.listen(agent)
  // Else only an orderly end would write it; without a cache this does nothing.
  flushCompileCache()

  const joining = joinAtStart(config, agent, { log, banner })
  const early = await Promise.race([stopped, joining])
  if (early !== undefined) {
    // Why is in the log, too.
    open()
    return early
  }
  banner('==> Consul agent running!')
  for (const line of table(config, ports, agent)) banner(line)
  banner('')
  banner('==> Log data will now stream in as it occurs:')
  banner('')
  open()
  for (const warning of config.warnings) log('warn', 'agent', warning)
  for (const note of config.notes) log('info', 'agent', note)
  const retrying = retries(config).map((retry) => retryJoin(retry, agent, log))
  const given = await Promise.race([stopped, ...retrying, agentLeft(agent)])
  return given
}

/** Resolved by `PUT /v1/agent/leave`. */
async function agentLeft(agent: Agent): Promise<number> {
  await agent.departed
  return 0
}

function agentOptions(config: AgentConfig, io: NodeIo): AgentOptions {
  const { ports } = io
  const multiplier = config.raftMultiplier
  return {
    name: config.nodeName,
    datacenter: config.datacenter,
    domain: config.domain,
    server: config.server,
    bootstrap: config.bootstrap,
    bootstrapExpect: config.bootstrapExpect,
    advertise: {
      rpc: { host: config.advertise, port: ports.rpc ?? config.ports.server },
      lan: { host: config.advertise, port: ports.lan ?? config.ports.serfLan },
      wan: { host: config.advertiseWan, port: ports.wan ?? config.ports.serfWan },
    },
    nodeMeta: config.nodeMeta,
    nodeId: config.nodeId,
    raft: {
      electionTimeoutMin: 1_000 * multiplier,
      electionTimeoutMax: 2_000 * multiplier,
      heartbeatInterval: 100 * multiplier,
    },
    gossip: config.gossip,
    encrypt: config.encrypt,
    rejoinAfterLeave: config.rejoinAfterLeave,
    resolve: resolveHost,
    rpcHold: config.rpcHold,
    autopilot: config.autopilot,
    checkUpdateInterval: config.checkUpdateInterval,
    version: consulVersion,
    definitions: config.definitions,
    scripts: config.scripts,
    // Whoever may ask for this may not have the key, nor what checks show to those they ask.
    configuration: {
      ...config,
      definitions: undefined,
      encrypt: { ...config.encrypt, key: config.encrypt.key && 'hidden' },
    },
  }
}

interface Ports {
  http: number
  dns: number
  rpc: number
}

async function openFaces(
  config: AgentConfig,
  agent: Agent,
  io: NodeIo,
  { logs, log, banner, closers, reload }: Pick<Running, 'logs' | 'log' | 'banner' | 'closers' | 'reload'>,
): Promise<Ports> {
  const http = {
    clock: io.clock,
    random: io.random,
    log,
    logs,
    reload: () => reload.run(),
    remoteScripts: config.scripts.remote,
    pretty: config.dev,
    sessionTtlMin: config.sessionTtlMin,
    gzip: gzipped,
    responseHeaders: config.http.responseHeaders,
    blockEndpoints: config.http.blockEndpoints,
    mayWrite: writersFrom(config.http.writers),
    useCache: config.http.useCache,
  }
  const app = httpApp(agent, http)
  const direct = directAnswers(agent, http)
  agent.remote.answerWith(travelAnswer(agent, http))
  const ports: Ports = { http: -1, dns: -1, rpc: -1 }
  const connections = new Connections(config.http.connectionsPerClient, log)
  for (const host of config.ports.http < 0 ? [] : config.clients) {
    const listening = await serve(app, { host, port: config.ports.http, flag: '-http-port', log, direct, connections })
    closers.push(() => listening.close())
    ports.http = listening.port
  }
  if (config.ports.rpc >= 0) {
    banner('==> Starting Consul agent RPC...')
    for (const host of config.clients) {
      try {
        const listening = await serve(app, {
          host,
          port: config.ports.rpc,
          flag: '-rpc-port',
          log,
          direct,
          connections,
        })
        closers.push(() => listening.close())
        ports.rpc = listening.port
      } catch (error) {
        if (config.rpcAsked) throw error
        log('warn', 'agent', `the command line is served on the HTTP port only: ${(error as Error).message}`)
      }
    }
  }
  // Before the listeners close: who follows the log is told that it ends.
  closers.push(async () => logs.end())
  if (config.ports.dns >= 0) {
    const seconds = (millis: Millis) => Math.floor(millis / 1000)
    const dns = await dnsServer(
      agent,
      { hosts: config.clients, port: config.ports.dns },
      {
        ...dnsDefaults,
        domain: config.domain,
        datacenter: config.datacenter,
        onlyPassing: config.dns.onlyPassing,
        nodeTtl: seconds(config.dns.nodeTtl),
        serviceTtl: Object.fromEntries(
          Object.entries(config.dns.serviceTtl).map(([name, ttl]) => [name, seconds(ttl)]),
        ),
        udpAnswerLimit: config.dns.udpAnswerLimit,
        aRecordLimit: config.dns.aRecordLimit,
        enableTruncate: config.dns.enableTruncate,
        recursors: config.recursors,
        recursorTimeout: config.dns.recursorTimeout,
      },
      io,
    )
    closers.push(() => dns.close())
    ports.dns = config.ports.dns
  }
  return ports
}

function table(config: AgentConfig, ports: Ports, { encrypted }: Agent): string[] {
  const { server, bootstrap, clients, advertise } = config
  const { serfLan, serfWan } = config.ports
  return [
    `         Node name: '${config.nodeName}'`,
    `        Datacenter: '${config.datacenter}'`,
    `            Server: ${server} (bootstrap: ${bootstrap})`,
    `       Client Addr: ${clients.join(' ')} (HTTP: ${ports.http}, HTTPS: -1, DNS: ${ports.dns}, RPC: ${ports.rpc})`,
    `      Cluster Addr: ${advertise} (LAN: ${serfLan}, WAN: ${serfWan})`,
    `    Gossip encrypt: ${encrypted}, RPC-TLS: false, TLS-Incoming: false`,
  ]
}

/** Resolves to 1 when nobody answered and this agent knows nobody else, so it must end. */
async function joinAtStart(
  config: AgentConfig,
  agent: Agent,
  { log, banner }: Pick<Running, 'log' | 'banner'>,
): Promise<1 | undefined> {
  const known = agent.knownBefore
  void agent.rejoin()
  if (config.join.length > 0) {
    banner('==> Joining cluster...')
    try {
      const joined = await agent.join(config.join, 'lan')
      banner(`    Join completed. Synced with ${joined} initial agents`)
    } catch (error) {
      const reason = (error as Error).message.trimEnd()
      if (known === 0) {
        console.error(`==> ${reason}`)
        console.error(
          '==> no agent of -join took this one in, and it knows no other: it ends; -retry-join goes on trying',
        )
        return 1
      }
      log('warn', 'agent', `join failed, going on with the ${known} members known from before: ${reason}`)
    }
  }
  if (config.joinWan.length > 0) {
    banner('==> Joining -wan cluster...')
    try {
      const joined = await agent.join(config.joinWan, 'wan')
      banner(`    Join -wan completed. Synced with ${joined} initial agents`)
    } catch (error) {
      const reason = (error as Error).message.trimEnd()
      if (known === 0) {
        console.error(`==> ${reason}`)
        console.error('==> no server of -join-wan answered; is one running there, and reachable at its WAN port?')
        return 1
      }
      log('warn', 'agent', `join -wan failed; this server knows others from before and goes on: ${reason}`)
    }
  }
  if (config.retryJoin.length === 0) agent.joined()
  return undefined
}

/** What is asked again and again, for one pool. */
interface Retry {
  pool: 'lan' | 'wan'
  addresses: string[]
  interval: Millis
  /** 0 is for ever. */
  max: number
}

function retries(config: AgentConfig): Retry[] {
  const { retryJoin, retryInterval, retryMax, retryJoinWan, retryIntervalWan, retryMaxWan } = config
  return [
    { pool: 'lan', addresses: retryJoin, interval: retryInterval, max: retryMax },
    { pool: 'wan', addresses: retryJoinWan, interval: retryIntervalWan, max: retryMaxWan },
  ]
}

/** Resolves only when it gives up. */
async function retryJoin({ pool, addresses, interval, max }: Retry, agent: Agent, log: Log): Promise<number> {
  const cluster = pool === 'lan' ? 'cluster' : 'WAN cluster'
  const attempted = () => {
    if (pool === 'lan') agent.joined()
  }
  let alone = false
  for (let attempt = 1; addresses.length > 0; attempt++) {
    try {
      if (attempt === 1) log('info', 'agent', `Joining ${cluster}...`)
      const joined = await agent.join(addresses, pool)
      attempted()
      const words = `Join ${pool === 'lan' ? '' : '-wan '}completed. Synced with ${joined} initial agents`
      // The same list is often given to every host, and then this one always answers itself.
      const others = agent.members(pool).filter(isLive).length > 1
      if (others || !alone)
        log('info', 'agent', others ? words : `${words}, only this one; asking on until another is there`)
      if (others || (max > 0 && attempt >= max)) break
      alone = true
      await pause(interval)
    } catch (error) {
      attempted()
      const reason = (error as Error).message.trimEnd()
      if (max > 0 && attempt >= max) {
        log('error', 'agent', `max join retry exhausted, exiting: ${reason}`)
        return 1
      }
      // Hosts are often started together: the first attempts come soon after one another.
      const wait = Math.min(interval, 1000 * 2 ** Math.min(attempt - 1, 20))
      log('warn', 'agent', `Join ${pool === 'lan' ? '' : '-wan '}failed: ${reason}, retrying in ${wait / 1000}s`)
      await pause(wait)
    }
  }
  return new Promise(() => {})
}

const pause = (wait: Millis) => new Promise((resolve) => setTimeout(resolve, wait).unref())

/** SIGINT and SIGTERM, from the very start on: the first process of a container gets no signal that it does not handle. */
class Signals {
  readonly #config: AgentConfig
  readonly #log: Log
  #agent: Agent | undefined
  #resolve = (_code: number) => {}
  #caughtAt: Millis | undefined

  constructor(config: AgentConfig, log: Log, reload: Reload) {
    this.#config = config
    this.#log = log
    process.on('SIGINT', () => this.#stop('SIGINT'))
    process.on('SIGTERM', () => this.#stop('SIGTERM'))
    // Consul writes its metrics; the default would be to end.
    for (const name of ['SIGUSR1', 'SIGUSR2'] as const) {
      process.on(name, () => log('info', 'agent', `Caught signal: ${name}; there is nothing to show yet`))
    }
    process.on('SIGHUP', () => {
      log('info', 'agent', 'Caught signal: hangup')
      reload.run().catch((error: Error) => {
        // A refusal was said.
        if (!(error instanceof Refused)) log('error', 'agent', `Failed to reload configs: ${error.message}`)
      })
    })
  }

  /** What is left of the time that a stop may take. */
  get left(): Millis {
    const gone = this.#caughtAt === undefined ? 0 : performance.now() - this.#caughtAt
    return Math.max(closeWithin, stopWithin - gone)
  }

  /** Resolves to the exit code once a signal came and what it asks for was done. */
  listen(agent: Agent): Promise<number> {
    this.#agent = agent
    return new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  #stop(name: 'SIGINT' | 'SIGTERM'): void {
    // A second signal does not wait for anything; nor is there anything to end before the agent runs.
    if (this.#caughtAt !== undefined) process.exit(1)
    if (this.#agent === undefined) process.exit(0)
    this.#caughtAt = performance.now()
    this.#log('info', 'agent', `Caught signal: ${name === 'SIGINT' ? 'interrupt' : 'terminated'}`)
    const { skipLeaveOnInterrupt, leaveOnTerminate } = this.#config
    const leaves = name === 'SIGINT' ? !skipLeaveOnInterrupt : leaveOnTerminate
    if (!leaves) {
      this.#resolve(0)
      return
    }
    this.#log('info', 'agent', 'Gracefully shutting down agent...')
    const late = () => this.#log('warn', 'agent', 'leaving takes too long; the others will find out')
    void within(
      stopWithin - closeWithin,
      this.#agent.leave().catch(() => undefined),
      late,
    ).then(() => this.#resolve(0))
  }
}
