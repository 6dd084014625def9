/** The command line of the client: what may be said, what it means, and every mistake at once. */
import { parseArgs } from 'node:util'
import type { Millis } from 'registry/model'

export interface Options {
  registry: string
  /** `host:port` or `[v6]:port` to ask instead of the system's servers. */
  dns: string | undefined
  service: string
  interval: Millis
  once: boolean
  json: boolean
  help: boolean
}

export const usage = `Usage: distributed_client [options]

Reports which instances of a service the registry knows and what DNS answers for it.

  --registry URL     the registry's HTTP address (REGISTRY_URL; http://consul.service.consul:8500)
  --dns HOST[:PORT]  ask this DNS server (DNS_SERVER; the servers of /etc/resolv.conf)
  --service NAME     the service to look for (distributed_app)
  --interval TIME    from report to report: 1, 0.5, 500ms, 2s, 1m (1s)
  --once             one report; exit 1 when the registry could not be reached
  --json             one JSON object per report instead of sentences
  --help
`

const known = {
  registry: { type: 'string' },
  dns: { type: 'string' },
  service: { type: 'string' },
  interval: { type: 'string' },
  once: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const

/** The mistakes are sentences, in the order of the command line. */
export function parseOptions(
  args: string[],
  env: Record<string, string | undefined>,
): { options: Options } | { mistakes: string[] } {
  const mistakes: string[] = []
  const texts: Record<string, string> = {}
  const switches = new Set<string>()
  const { tokens } = parseArgs({ args, options: known, strict: false, tokens: true, allowPositionals: true })
  for (const token of tokens) {
    if (token.kind === 'positional') mistakes.push(`unexpected argument "${token.value}"`)
    if (token.kind !== 'option') continue
    const option = Object.hasOwn(known, token.name) ? known[token.name as keyof typeof known] : undefined
    if (option === undefined) mistakes.push(`unknown option ${token.rawName}`)
    else if (option.type === 'boolean') {
      if (token.value === undefined) switches.add(token.name)
      else mistakes.push(`${token.rawName} takes no value, got "${token.value}"`)
    } else if (token.value === undefined || token.value === '') mistakes.push(`${token.rawName} needs a value`)
    else texts[token.name] = token.value
  }
  const registry = texts.registry ?? env.REGISTRY_URL ?? 'http://consul.service.consul:8500'
  if (!isHttpUrl(registry)) mistakes.push(`the registry must be a URL like http://127.0.0.1:8500, got "${registry}"`)
  const dns = texts.dns ?? env.DNS_SERVER
  const server = dns === undefined ? undefined : dnsServer(dns)
  if (dns !== undefined && server === undefined) {
    mistakes.push(`the DNS server must be an IP address with or without a port, got "${dns}"`)
  }
  const interval = millisOf(texts.interval ?? '1s')
  if (interval === undefined) {
    mistakes.push(`--interval must be a time above zero like 1, 0.5, 500ms or 2s, got "${texts.interval}"`)
  }
  if (mistakes.length > 0) return { mistakes }
  return {
    options: {
      registry,
      dns: server,
      service: texts.service ?? 'distributed_app',
      interval: interval!,
      once: switches.has('once'),
      json: switches.has('json'),
      help: switches.has('help'),
    },
  }
}

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && (url.protocol === 'http:' || url.protocol === 'https:') && url.hostname !== ''
}

/** As `Resolver.setServers` wants it; undefined when it is no address. */
function dnsServer(text: string): string | undefined {
  const bare = text.includes(':') && !text.includes('.') && !text.startsWith('[') ? `[${text}]` : text
  const url = URL.parse(`dns://${bare}`)
  const host = url?.hostname ?? ''
  const isAddress = /^\d{1,3}(\.\d{1,3}){3}$/.test(host) || /^\[[0-9a-f:.]+\]$/i.test(host)
  if (url === null || !isAddress || url.pathname !== '') return undefined
  return `${host}:${url.port === '' ? 53 : url.port}`
}

/** Seconds when no unit is given. */
function millisOf(text: string): Millis | undefined {
  const match = /^(\d+(?:\.\d+)?|\.\d+)(ms|s|m)?$/.exec(text)
  if (match === null) return undefined
  const millis = Math.round(Number(match[1]) * { ms: 1, s: 1000, m: 60_000 }[match[2] ?? 's']!)
  return millis > 0 ? millis : undefined
}
