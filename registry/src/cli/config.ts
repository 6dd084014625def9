/**
 * From flags and files to one checked configuration. Defaults, then files in order, then flags; lists add up. Every
 * mistake is found before any is reported, so that one run of the command shows them all.
 */
import type { Definitions, ScriptRules } from '../agent/definitions.ts'
import { keyOf } from '../agent/keyring.ts'
import type { BadRequest } from '../errors.ts'
import { parseDuration } from '../health/duration.ts'
import { parseAddress } from '../io/address.ts'
import type { AutopilotConfiguration, Millis } from '../model.ts'
import { writersFrom } from './client-limits.ts'
import { type GivenDefinition, isDefinitionKey, readDefinitions } from './definitions.ts'
import { type Flag, flagsHelp, parseFlags, truthOf } from './flags.ts'
import { advertiseAddress, advertiseNews, oneAddress, unspecified } from './interfaces.ts'
import { type Key, type Option, options, retiredFlags, specialFlags } from './options.ts'
import { type PoolSettings, poolSettings } from './pools.ts'

/** What the process asks the machine for; given as plain functions so that tests can answer. */
export interface Machine {
  hostname(): string
  /** Throws the system's error. */
  readFile(path: string): string
  /** Names in the folder; throws the system's error. */
  readFolder(path: string): string[]
  /** IP addresses of this host that are up, loopback left out. */
  addresses(): { interface: string; address: string }[]
}

export interface AgentConfig {
  server: boolean
  bootstrap: boolean
  bootstrapExpect: number
  nodeName: string
  nodeId: string | undefined
  nodeMeta: Record<string, string>
  datacenter: string
  domain: string
  /** Undefined with -dev: nothing is kept. */
  dataDir: string | undefined
  bind: string
  advertise: string
  advertiseWan: string
  clients: string[]
  /** `key` undefined: none was given. */
  encrypt: { key: string | undefined; verifyIncoming: boolean; verifyOutgoing: boolean; keepFile: boolean }
  join: string[]
  joinWan: string[]
  retryJoin: string[]
  retryInterval: Millis
  retryMax: number
  retryJoinWan: string[]
  retryIntervalWan: Millis
  retryMaxWan: number
  rejoinAfterLeave: boolean
  recursors: string[]
  ports: { dns: number; http: number; rpc: number; server: number; serfLan: number; serfWan: number }
  /** Whether -rpc-port was given: a port not asked for that is taken is only worth a warning. */
  rpcAsked: boolean
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error'
  logJson: boolean
  pidFile: string | undefined
  leaveOnTerminate: boolean
  skipLeaveOnInterrupt: boolean
  checkUpdateInterval: Millis
  sessionTtlMin: Millis
  http: {
    responseHeaders: Record<string, string>
    blockEndpoints: string[]
    /** Networks; none: all clients may write. */
    writers: string[]
    useCache: boolean
    /** 0: no limit. */
    connectionsPerClient: number
  }
  raftMultiplier: number
  rpcHold: Millis
  gossip: PoolSettings
  autopilot: AutopilotConfiguration
  dns: {
    onlyPassing: boolean
    nodeTtl: Millis
    serviceTtl: Record<string, Millis>
    udpAnswerLimit: number
    aRecordLimit: number
    enableTruncate: boolean
    recursorTimeout: Millis
  }
  /** Services and checks of configuration files. */
  definitions: Definitions
  /** Whose checks may run programs. */
  scripts: ScriptRules
  dev: boolean
  warnings: string[]
  /** Worth knowing, and in most cases meant so. */
  notes: string[]
}

export type Configured = { config: AgentConfig } | { mistakes: string[] } | { help: string }

type Value = boolean | number | string | string[] | Record<string, string>
type Values = Map<string, Value>

/** What files say: options, and services and checks. */
interface Files {
  values: Values
  given: GivenDefinition[]
}

const table: readonly Option[] = options

export const agentFlags: readonly Flag[] = [
  ...table.flatMap(({ flag, kind, help, value }) =>
    flag === undefined
      ? []
      : [
          {
            name: flag,
            takes: kind === 'boolean' ? 'nothing' : 'value',
            help,
            ...(value === undefined ? {} : { value }),
          } as Flag,
        ],
  ),
  ...specialFlags,
]

export function agentHelp(): string {
  return `Usage: registry agent [options]

  Runs the agent until it is stopped by a signal or told to leave.

Options

${flagsHelp(agentFlags)}`
}

/** @param asConsul started under the name \`consul\`: the port for the command line is off unless asked for. */
export function configure(words: readonly string[], machine: Machine, asConsul: boolean): Configured {
  const retired = new Map(retiredFlags.map((flag) => [flag.name, flag]))
  const help: Flag = { name: 'help', takes: 'nothing', help: 'Show this.' }
  const parsed = parseFlags(words, [...agentFlags, ...retiredFlags, help, { ...help, name: 'h' }])
  const mistakes = [...parsed.mistakes]
  if (parsed.given.some(({ name }) => name === 'help' || name === 'h')) return { help: agentHelp() }
  if (parsed.rest.length > 0) mistakes.push(`Unexpected extra arguments: [${parsed.rest.join(' ')}]`)
  const warnings: string[] = []
  const values: Values = new Map()
  for (const { key, default: value } of table) if (value !== undefined) values.set(key, value)
  const dev = parsed.given.some(({ name, value }) => name === 'dev' && value === 'true')
  if (dev) for (const [key, value] of devDefaults) values.set(key, value)
  const files: Files = { values, given: [] }
  for (const { name, value } of parsed.given) {
    if (name === 'config-file') readFileInto(files, value, machine, mistakes)
    else if (name === 'config-dir') readFolderInto(files, value, machine, mistakes)
  }
  const fromFlags: Values = new Map()
  for (const { name, value } of parsed.given) {
    const flag = name === 'dc' ? 'datacenter' : name
    if (retired.has(name)) warnings.push(`-${name} is of a former Consul: ${retired.get(name)?.help}`)
    const option = table.find((candidate) => candidate.flag === flag)
    if (option !== undefined) setFromFlag(fromFlags, option, value, mistakes)
  }
  const rpcAsked = values.has('ports.rpc') || fromFlags.has('ports.rpc')
  for (const [key, value] of fromFlags) values.set(key, merged(value, values.get(key)))
  const scripts = scriptRules(values)
  const definitions = readDefinitions(files.given, scripts, mistakes)
  const config = check(values, { definitions, scripts, machine, mistakes, warnings, dev, rpcAsked, asConsul })
  return mistakes.length > 0 ? { mistakes } : { config }
}

function scriptRules(values: Values): ScriptRules {
  const remote = values.get('enable_script_checks') === true
  return { remote, files: remote || values.get('enable_local_script_checks') === true }
}

const devDefaults: [Key, Value][] = [
  ['server', true],
  ['bootstrap', true],
  ['bind_addr', '127.0.0.1'],
  ['log_level', 'DEBUG'],
]

/** Lists of flags stand before those of files, as Consul does. */
function merged(later: Value, earlier: Value | undefined): Value {
  if (Array.isArray(later) && Array.isArray(earlier)) return [...later, ...earlier]
  if (isMap(later) && isMap(earlier)) return { ...earlier, ...later }
  return later
}
const isMap = (value: unknown): value is Record<string, string> =>
  value !== null && typeof value === 'object' && !Array.isArray(value)

function setFromFlag(values: Values, option: Option, text: string, mistakes: string[]): void {
  const before = values.get(option.key)
  switch (option.kind) {
    case 'list':
      values.set(option.key, [...((before as string[] | undefined) ?? []), text])
      return
    case 'map': {
      const colon = text.indexOf(':')
      if (colon < 1) mistakes.push(`-${option.flag}: expected key:value, received "${text}"`)
      else {
        const pair = { [text.slice(0, colon)]: text.slice(colon + 1) }
        values.set(option.key, { ...((before as Record<string, string> | undefined) ?? {}), ...pair })
      }
      return
    }
    case 'boolean':
      values.set(option.key, truthOf(text) === true)
      return
    case 'number':
    case 'port':
      if (/^-?\d+$/.test(text)) values.set(option.key, Number(text))
      else mistakes.push(`-${option.flag}: expected a whole number, received "${text}"`)
      return
    default:
      values.set(option.key, text)
  }
}

function readFolderInto(files: Files, path: string, machine: Machine, mistakes: string[]): void {
  let names: string[]
  try {
    names = machine.readFolder(path)
  } catch (error) {
    mistakes.push(`-config-dir ${path} could not be read: ${(error as Error).message}`)
    return
  }
  const json = names.filter((name) => name.endsWith('.json')).sort()
  for (const name of json) readFileInto(files, `${path.replace(/\/+$/, '')}/${name}`, machine, mistakes)
  for (const name of names.filter((other) => other.endsWith('.hcl'))) {
    mistakes.push(`${path}/${name}: HCL is not supported; write it as JSON`)
  }
}

function readFileInto(files: Files, path: string, machine: Machine, mistakes: string[]): void {
  const { values, given } = files
  let parsed: unknown
  try {
    parsed = JSON.parse(machine.readFile(path))
  } catch (error) {
    mistakes.push(`failed to read ${path}: ${(error as Error).message}`)
    return
  }
  if (!isMap(parsed)) {
    mistakes.push(`failed to parse ${path}: expected one JSON object`)
    return
  }
  for (const [key, value] of leaves(parsed, '')) {
    if (isDefinitionKey(key)) {
      given.push({ path, key, value })
      continue
    }
    const option = table.find((candidate) => candidate.key === key)
    if (option === undefined) {
      mistakes.push(`failed to parse ${path}: invalid config key ${key}`)
      continue
    }
    const read = fromFile(option, value)
    if (read === undefined) {
      mistakes.push(
        `failed to parse ${path}: ${key}: expected ${expected[option.kind]}, received ${JSON.stringify(value)}`,
      )
    } else values.set(key, merged(read, values.get(key)))
  }
}

const expected: Record<Option['kind'], string> = {
  boolean: 'true or false',
  text: 'a text',
  number: 'a whole number',
  port: 'a port number',
  duration: 'a duration such as "30s"',
  list: 'a list of texts',
  map: 'an object of texts',
}

/** Objects are opened down to the keys of the table. */
function* leaves(value: Record<string, unknown>, prefix: string): Generator<[string, unknown]> {
  for (const [name, inner] of Object.entries(value)) {
    const key = prefix + name
    const known = isDefinitionKey(key) || table.some((option) => option.key === key)
    if (!known && isMap(inner)) yield* leaves(inner, `${key}.`)
    else yield [key, inner]
  }
}

function fromFile({ kind }: Option, value: unknown): Value | undefined {
  switch (kind) {
    case 'boolean':
      return typeof value === 'boolean' ? value : undefined
    case 'number':
    case 'port':
      return Number.isSafeInteger(value) ? (value as number) : undefined
    case 'list':
      if (typeof value === 'string') return [value]
      return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined
    case 'map':
      return isMap(value) && Object.values(value).every((item) => typeof item === 'string') ? value : undefined
    default:
      return typeof value === 'string' ? value : undefined
  }
}

interface Checking {
  definitions: Definitions
  scripts: ScriptRules
  machine: Machine
  mistakes: string[]
  warnings: string[]
  dev: boolean
  rpcAsked: boolean
  asConsul: boolean
}

function check(values: Values, checking: Checking): AgentConfig {
  const { definitions, scripts, machine, mistakes, warnings, dev, rpcAsked, asConsul } = checking
  const text = (key: Key) => (values.get(key) as string | undefined) ?? ''
  const truth = (key: Key) => values.get(key) === true
  const number = (key: Key) => (values.get(key) as number | undefined) ?? 0
  const list = (key: Key) => (values.get(key) as string[] | undefined) ?? []
  const map = (key: Key) => (values.get(key) as Record<string, string> | undefined) ?? {}
  const duration = (key: string, given: string, least: Millis = 0) => {
    try {
      const parsed = parseDuration(given)
      if (parsed < least) mistakes.push(`${key} cannot be ${given}. Must be at least ${least}ms`)
      return parsed
    } catch (error) {
      mistakes.push(`${key}: ${(error as Error).message}`)
      return 0
    }
  }
  const durationGiven = (key: Key, least: Millis) => (text(key) === '' ? undefined : duration(key, text(key), least))
  const countGiven = (key: Key, least: number) => {
    const count = values.get(key) as number | undefined
    if (count !== undefined && count < least) mistakes.push(`${key} cannot be ${count}. Must be at least ${least}`)
    return count
  }
  const server = truth('server')
  const bootstrap = truth('bootstrap')
  const bootstrapExpect = number('bootstrap_expect')
  if (bootstrap && !server) mistakes.push("'bootstrap = true' requires 'server = true'")
  if (bootstrapExpect < 0) {
    mistakes.push(`bootstrap_expect cannot be ${bootstrapExpect}. Must be greater than or equal to zero`)
  }
  if (bootstrapExpect > 0 && !server) mistakes.push("'bootstrap_expect > 0' requires 'server = true'")
  if (bootstrapExpect > 0 && bootstrap) {
    mistakes.push("'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive")
  }
  if (bootstrapExpect === 2) {
    warnings.push('bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance')
  } else if (bootstrapExpect > 0 && bootstrapExpect % 2 === 0) {
    warnings.push(
      'bootstrap_expect is even number: A cluster with an even number of servers does not achieve optimum fault tolerance',
    )
  }
  const datacenter = text('datacenter').toLowerCase()
  if (!/^[a-z0-9_-]+$/.test(datacenter)) {
    mistakes.push(`datacenter cannot be "${datacenter}". Please use only [a-z0-9-_]`)
  }
  const nodeName = text('node_name') || machine.hostname()
  if (nodeName.trim() === '') mistakes.push('node_name cannot be empty')
  if (!/^[a-zA-Z0-9-]+$/.test(nodeName)) {
    warnings.push(
      `Node name "${nodeName}" will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and dashes.`,
    )
  }
  const nodeId = text('node_id').toLowerCase()
  if (nodeId !== '' && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(nodeId)) {
    mistakes.push(`node_id: expected a UUID, received "${nodeId}"`)
  }
  const dataDir = text('data_dir')
  if (dataDir === '' && !dev) mistakes.push('data_dir cannot be empty')
  const bind = oneAddress('bind_addr', text('bind_addr'), machine, mistakes)
  const advertise = advertiseAddress(text('advertise_addr'), bind, machine, mistakes)
  const advertiseWan =
    text('advertise_addr_wan') === ''
      ? advertise
      : oneAddress('advertise_addr_wan', text('advertise_addr_wan'), machine, mistakes)
  unspecified('advertise_addr_wan', advertiseWan, mistakes)
  const notes: string[] = []
  advertiseNews({ bind, advertise, machine, warnings, notes })
  const clients = text('client_addr')
    .split(/\s+(?![^{]*\}\})/)
    .filter((client) => client !== '')
    .map((client) => oneAddress('client_addr', client, machine, mistakes))
  if (clients.length === 0) mistakes.push('client_addr cannot be empty')
  const ports = {
    dns: number('ports.dns'),
    http: number('ports.http'),
    rpc: rpcAsked ? number('ports.rpc') : asConsul ? -1 : 8400,
    server: number('ports.server'),
    serfLan: number('ports.serf_lan'),
    serfWan: number('ports.serf_wan'),
  }
  checkPorts(values, ports, mistakes)
  const level = levels.get(text('log_level').toUpperCase())
  if (level === undefined) {
    mistakes.push(`Invalid log level: ${text('log_level')}. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]`)
  }
  const multiplier = number('performance.raft_multiplier')
  if (multiplier < 1 || multiplier > 10) {
    mistakes.push(`performance.raft_multiplier cannot be ${multiplier}. Must be between 1 and 10`)
  }
  for (const key of [
    'dns_config.udp_answer_limit',
    'dns_config.a_record_limit',
    'autopilot.max_trailing_logs',
    'autopilot.min_quorum',
    'retry_max',
    'retry_max_wan',
    'limits.http_max_conns_per_client',
  ] as const) {
    if (number(key) < 0) mistakes.push(`${key} cannot be ${number(key)}. Must be greater than or equal to zero`)
  }
  for (const [key, given] of [
    ['start_join', list('start_join')],
    ['start_join_wan', list('start_join_wan')],
    ['retry_join', list('retry_join')],
    ['retry_join_wan', list('retry_join_wan')],
    ['recursors', list('recursors')],
  ] as const) {
    for (const address of given) checkAddress(key, address, mistakes)
  }
  for (const key of ['start_join_wan', 'retry_join_wan'] as const) {
    if (!server && list(key).length > 0) mistakes.push(`'${key}' requires 'server = true'`)
  }
  writersFrom(list('http_config.allow_write_http_from'), mistakes)
  checkHeaders(map('http_config.response_headers'), mistakes)
  if (scripts.remote && list('http_config.allow_write_http_from').length === 0) {
    warnings.push(
      'enable_script_checks: whoever reaches the HTTP API runs programs on this host; enable_local_script_checks allows it to files only, http_config.allow_write_http_from says who may write',
    )
  }
  if (truth('ui')) warnings.push('-ui: there is no web page yet; the flag is accepted and ignored')
  return {
    server,
    bootstrap,
    bootstrapExpect,
    nodeName,
    nodeId: nodeId === '' ? undefined : nodeId,
    nodeMeta: map('node_meta'),
    datacenter,
    domain: text('domain').replace(/\.+$/, '').toLowerCase(),
    dataDir: dev ? undefined : dataDir,
    bind,
    advertise,
    advertiseWan,
    clients,
    encrypt: {
      key: encryptKey(text('encrypt'), mistakes),
      verifyIncoming: truth('encrypt_verify_incoming'),
      verifyOutgoing: truth('encrypt_verify_outgoing'),
      keepFile: !truth('disable_keyring_file'),
    },
    join: list('start_join'),
    joinWan: list('start_join_wan'),
    retryJoin: list('retry_join'),
    retryInterval: duration('retry_interval', text('retry_interval'), 1),
    retryMax: number('retry_max'),
    retryJoinWan: list('retry_join_wan'),
    retryIntervalWan: duration('retry_interval_wan', text('retry_interval_wan'), 1),
    retryMaxWan: number('retry_max_wan'),
    rejoinAfterLeave: truth('rejoin_after_leave'),
    recursors: list('recursors'),
    ports,
    rpcAsked,
    logLevel: level ?? 'info',
    logJson: truth('log_json'),
    pidFile: text('pid_file') === '' ? undefined : text('pid_file'),
    leaveOnTerminate: (values.get('leave_on_terminate') as boolean | undefined) ?? !server,
    skipLeaveOnInterrupt: (values.get('skip_leave_on_interrupt') as boolean | undefined) ?? server,
    checkUpdateInterval: duration('check_update_interval', text('check_update_interval')),
    sessionTtlMin: duration('session_ttl_min', text('session_ttl_min'), 1),
    http: {
      responseHeaders: map('http_config.response_headers'),
      blockEndpoints: list('http_config.block_endpoints'),
      writers: list('http_config.allow_write_http_from'),
      useCache: truth('http_config.use_cache'),
      connectionsPerClient: number('limits.http_max_conns_per_client'),
    },
    raftMultiplier: multiplier,
    rpcHold: duration('performance.rpc_hold_timeout', text('performance.rpc_hold_timeout'), 1),
    gossip: poolSettings({ duration: durationGiven, count: countGiven }, dev, warnings),
    autopilot: {
      cleanupDeadServers: truth('autopilot.cleanup_dead_servers'),
      lastContactThreshold: duration('autopilot.last_contact_threshold', text('autopilot.last_contact_threshold')),
      maxTrailingLogs: number('autopilot.max_trailing_logs'),
      minQuorum: number('autopilot.min_quorum'),
      serverStabilizationTime: duration(
        'autopilot.server_stabilization_time',
        text('autopilot.server_stabilization_time'),
      ),
      redundancyZoneTag: text('autopilot.redundancy_zone_tag'),
      disableUpgradeMigration: truth('autopilot.disable_upgrade_migration'),
      upgradeVersionTag: text('autopilot.upgrade_version_tag'),
    },
    dns: {
      onlyPassing: truth('dns_config.only_passing'),
      nodeTtl: duration('dns_config.node_ttl', text('dns_config.node_ttl')),
      serviceTtl: Object.fromEntries(
        Object.entries(map('dns_config.service_ttl')).map(([name, ttl]) => [
          name,
          duration(`dns_config.service_ttl.${name}`, ttl),
        ]),
      ),
      udpAnswerLimit: number('dns_config.udp_answer_limit'),
      aRecordLimit: number('dns_config.a_record_limit'),
      enableTruncate: truth('dns_config.enable_truncate'),
      recursorTimeout: duration('dns_config.recursor_timeout', text('dns_config.recursor_timeout'), 1),
    },
    definitions,
    scripts,
    dev,
    warnings,
    notes,
  }
}

const levels = new Map<string, AgentConfig['logLevel']>([
  ['TRACE', 'trace'],
  ['DEBUG', 'debug'],
  ['INFO', 'info'],
  ['WARN', 'warn'],
  ['ERR', 'error'],
  ['ERROR', 'error'],
])

/** One that is none would fail every answer. */
function checkHeaders(headers: Record<string, string>, mistakes: string[]): void {
  for (const [name, value] of Object.entries(headers)) {
    const sound = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
    if (!sound) mistakes.push(`http_config.response_headers: "${name}: ${value}" is no header`)
    else if (/^(connection|content-(length|encoding)|transfer-encoding|trailer)$/i.test(name)) {
      mistakes.push(`http_config.response_headers: ${name} follows from the answer and cannot be set`)
    }
  }
}

function encryptKey(given: string, mistakes: string[]): string | undefined {
  if (given === '') return undefined
  try {
    return keyOf(given).text
  } catch (error) {
    mistakes.push(`encrypt has invalid key: ${(error as BadRequest).message}; "registry keygen" makes one`)
    return undefined
  }
}

function checkAddress(key: string, address: string, mistakes: string[]): void {
  try {
    parseAddress(address, 1)
  } catch (error) {
    mistakes.push(`${key}: ${(error as BadRequest).message}`)
  }
}

function checkPorts(values: Values, ports: AgentConfig['ports'], mistakes: string[]): void {
  const named: [string, number][] = [
    ['ports.dns', ports.dns],
    ['ports.http', ports.http],
    ['ports.rpc', ports.rpc],
    ['ports.server', ports.server],
    ['ports.serf_lan', ports.serfLan],
    ['ports.serf_wan', ports.serfWan],
  ]
  for (const [key, port] of named) {
    if (port > 65535) mistakes.push(`${key}: expected a port up to 65535, received ${port}`)
  }
  for (const key of ['ports.server', 'ports.serf_lan', 'ports.serf_wan']) {
    const port = values.get(key) as number
    if (port < 0) mistakes.push(`${key} cannot be turned off, received ${port}`)
  }
  for (const key of ['ports.https', 'ports.grpc']) {
    const port = values.get(key) as number
    if (port > 0) mistakes.push(`${key} is not supported by this version, received ${port}; leave it at -1`)
  }
  // DNS may share a number with the others: it is the only one on both protocols at the client address.
  const taken = new Map<number, string>()
  for (const [key, port] of named) {
    if (port <= 0) continue
    const other = taken.get(port)
    if (other !== undefined) mistakes.push(`${key} and ${other} are both ${port}; give each its own port`)
    else taken.set(port, key)
  }
}
