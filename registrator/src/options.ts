/**
 * The command line, in the original's manner: `-x v`, `-x=v`, `--x=v`, switches without a value (`-x=false` turns one
 * off), options before the registry's address. One table says what there is; all mistakes are reported at once.
 */
import type { Millis } from 'registry/model'
import { listOf } from './metadata.ts'
import type { ServiceRules } from './services.ts'

export interface Options {
  /** `http://host:port`. */
  registry: string
  rules: Omit<ServiceRules, 'owner' | 'hostname' | 'hostAddress'>
  hostname: string | undefined
  id: string | undefined
  adopt: boolean
  resync: Millis
  ttlRefresh: Millis
  /** Further attempts to reach the registry at the start; -1: for ever. */
  retryAttempts: number
  retryInterval: Millis
  deregisterOnExit: boolean
}

export type Parsed =
  | { kind: 'run'; options: Options }
  | { kind: 'help' | 'version' }
  /** `usage`: not one registry address; the original ends with 2 then, and with 1 on any other mistake. */
  | { kind: 'mistakes'; mistakes: string[]; usage: boolean }

interface Option {
  name: string
  /** What a value is called in the help; undefined: a switch. */
  value?: string
  help: string
}

const table: readonly Option[] = [
  { name: 'ip', value: 'ADDRESS', help: "register published ports at this address (the agent's own)" },
  { name: 'internal', help: "register exposed ports at the container's address" },
  { name: 'explicit', help: 'register only ports that were given a name' },
  { name: 'tags', value: 'A,B', help: 'tags for every service' },
  { name: 'useIpFromLabel', value: 'LABEL', help: 'container label that holds the address to register' },
  {
    name: 'deregister',
    value: 'always|on-success',
    help: 'on-success: containers that failed stay registered (always)',
  },
  { name: 'paused', value: 'deregister|keep', help: 'what happens to the services of a paused container (deregister)' },
  { name: 'resync', value: 'SECONDS', help: 'look at all containers again so often, 0: only when needed (60)' },
  { name: 'ttl', value: 'SECONDS', help: 'give every service a TTL check (0: none); needs -ttl-refresh' },
  { name: 'ttl-refresh', value: 'SECONDS', help: 'keep the TTL checks passing so often; less than -ttl' },
  { name: 'retry-attempts', value: 'N', help: 'attempts to reach the registry at the start, -1: for ever (-1)' },
  { name: 'retry-interval', value: 'MS', help: 'between these attempts (2000)' },
  {
    name: 'hostname',
    value: 'NAME',
    help: "first part of service ids (this host's; in a nameless container the engine's)",
  },
  { name: 'id', value: 'NAME', help: "whose mark registrations carry (the hostname's)" },
  { name: 'adopt', help: 'take over what the original registrator left registered for this hostname' },
  { name: 'deregister-on-exit', help: 'take all services out when stopped (they stay for the next start)' },
  { name: 'cleanup', help: 'accepted and always so: its own services without a container are removed' },
  { name: 'help', help: 'this text' },
  { name: 'version', help: 'the version' },
]

export const usage = `Usage: registrator [options] consul://HOST:PORT

Keeps the containers of this Docker engine registered at the agent. The engine is at DOCKER_HOST, or at
/tmp/docker.sock or /var/run/docker.sock. CONSUL_HTTP_TOKEN is sent as the token.

${table
  .map(({ name, value, help }) => `  -${`${name}${value === undefined ? '' : ` ${value}`}`.padEnd(31)} ${help}`)
  .join('\n')}
`

export function parseOptions(args: readonly string[], env: Record<string, string | undefined>): Parsed {
  const { values, registries, mistakes } = read(args)
  if (values.has('help') || registries.includes('-h')) return { kind: 'help' }
  if (values.has('version') && args.length === 1) return { kind: 'version' }
  const text = (name: string) => values.get(name) || undefined
  const isOn = (name: string) => values.get(name) === 'true'
  const number = (name: string, fallback: number, least: number): number => {
    const given = values.get(name)
    if (given === undefined) return fallback
    if (/^-?\d+$/.test(given) && Number(given) >= least) return Number(given)
    mistakes.push(`-${name} must be a whole number of at least ${least}, got "${given}"`)
    return fallback
  }
  const choice = <T extends string>(name: string, choices: readonly [T, T]): T => {
    const given = values.get(name) ?? choices[0]
    if ((choices as readonly string[]).includes(given)) return given as T
    mistakes.push(`-${name} must be "${choices[0]}" or "${choices[1]}", got "${given}"`)
    return choices[0]
  }
  const ip = text('ip')
  if (ip !== undefined && !isAddress(ip)) mistakes.push(`-ip must be an IP address, got "${ip}"`)
  const ttl = number('ttl', 0, 0)
  const ttlRefresh = number('ttl-refresh', 0, 0)
  if ((ttl === 0) !== (ttlRefresh === 0)) mistakes.push('-ttl and -ttl-refresh must be given together')
  else if (ttl > 0 && ttl <= ttlRefresh) mistakes.push(`-ttl (${ttl}) must be longer than -ttl-refresh (${ttlRefresh})`)
  const options: Options = {
    registry: '',
    rules: {
      ip,
      internal: isOn('internal'),
      explicit: isOn('explicit'),
      tags: listOf(text('tags') ?? ''),
      ipLabel: text('useIpFromLabel'),
      deregister: choice('deregister', ['always', 'on-success']),
      paused: choice('paused', ['deregister', 'keep']),
      ttl: ttl * 1000,
    },
    hostname: text('hostname'),
    id: text('id'),
    adopt: isOn('adopt'),
    resync: number('resync', 60, 0) * 1000,
    ttlRefresh: ttlRefresh * 1000,
    retryAttempts: number('retry-attempts', -1, -1),
    retryInterval: number('retry-interval', 2000, 1),
    deregisterOnExit: isOn('deregister-on-exit'),
  }
  const one = registries.length === 1
  if (!one) {
    const got = registries.length === 0 ? 'got none' : `got ${registries.map((item) => `"${item}"`).join(', ')}`
    mistakes.push(`expected one registry address like consul://127.0.0.1:8500 after the options, ${got}`)
  } else {
    const registry = registryUrl(registries[0] as string, env.CONSUL_HTTP_ADDR)
    if (registry !== undefined) options.registry = registry
    else mistakes.push(`the registry must be consul://HOST:PORT or http://HOST:PORT, got "${registries[0]}"`)
  }
  if (mistakes.length > 0) return { kind: 'mistakes', mistakes, usage: !one }
  return { kind: 'run', options }
}

/** Go's reading of a command line: the first word that is no option ends them. */
function read(args: readonly string[]): { values: Map<string, string>; registries: string[]; mistakes: string[] } {
  const values = new Map<string, string>()
  const mistakes: string[] = []
  let at = 0
  for (; at < args.length; at++) {
    const word = args[at] as string
    const match = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(word)
    if (match === null) break
    const [, name = '', attached] = match
    const option = table.find((candidate) => candidate.name === name)
    if (option === undefined) mistakes.push(`unknown option ${word.split('=')[0]}`)
    else if (option.value === undefined) {
      const given = attached ?? 'true'
      if (!/^(true|false|1|0)$/.test(given)) mistakes.push(`-${name} must be true or false, got "${given}"`)
      values.set(name, given === '1' ? 'true' : given)
    } else if (attached !== undefined) values.set(name, attached)
    else if (at + 1 < args.length) values.set(name, args[++at] as string)
    else mistakes.push(`-${name} needs a value: ${option.value}`)
  }
  if (args[at] === '--') at++
  const registries = args.slice(at)
  for (const late of registries.slice(1)) {
    if (late.startsWith('-')) mistakes.push(`option ${late} must come before the registry address`)
  }
  return { values, registries, mistakes }
}

/** `consul://` alone is the agent the environment names, or the one on this machine; the port is Consul's unless given. */
function registryUrl(text: string, fromEnvironment: string | undefined): string | undefined {
  const match = /^(consul|http|https):\/\/([^/]*)\/?$/.exec(text)
  if (match === null) return undefined
  const scheme = match[1] === 'https' ? 'https' : 'http'
  const authority = match[2] || fromEnvironment?.replace(/^https?:\/\//, '') || '127.0.0.1:8500'
  const url = URL.parse(`${scheme}://${authority}`)
  if (url === null || url.username !== '') return undefined
  // A port that is the scheme's own is dropped by the parser: look at what was written.
  return /:\d+$/.test(authority) ? `${scheme}://${authority}` : `${scheme}://${url.hostname}:8500`
}

function isAddress(text: string): boolean {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return text.split('.').every((part) => Number(part) <= 255)
  return text.includes(':') && URL.parse(`http://[${text}]`) !== null
}
