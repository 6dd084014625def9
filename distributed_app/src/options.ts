/** The command line of the application: what may be said, what it means, and every mistake at once. */
import { parseArgs } from 'node:util'

export interface Options {
  registry: string
  /** Registered with the service; '' is the address of the node. */
  address: string
  /** Where the workers listen. */
  bind: string
  /** One per worker. */
  ports: [number, number]
  /** `host:port` to ask instead of the system's servers. */
  dns: string | undefined
  redis: string
  help: boolean
}

export const usage = `Usage: distributed_app [options]

Two workers that register themselves as distributed_app, server1 and server2.

  --registry URL     the agent's HTTP address (REGISTRY_URL; http://HOSTNAME.node.consul:8500)
  --bind ADDRESS     where the workers listen (BIND_ADDRESS; 0.0.0.0)
  --port NUMBER      port of the first worker, the second has the next one (PORT; 2001)
  --address ADDRESS  registered with the service (ADDRESS; the node's)
  --dns HOST[:PORT]  ask this DNS server for Redis (DNS_SERVER; the servers of /etc/resolv.conf)
  --redis NAME       service that keeps the hits (REDIS_SERVICE; redis)
  --help
`

const known = {
  registry: { type: 'string', env: 'REGISTRY_URL' },
  bind: { type: 'string', env: 'BIND_ADDRESS' },
  port: { type: 'string', env: 'PORT' },
  address: { type: 'string', env: 'ADDRESS' },
  dns: { type: 'string', env: 'DNS_SERVER' },
  redis: { type: 'string', env: 'REDIS_SERVICE' },
  help: { type: 'boolean', env: '' },
} as const

/** The mistakes are sentences, in the order of the command line. */
export function parseOptions(
  args: string[],
  env: Record<string, string | undefined>,
  hostname: string,
): { options: Options } | { mistakes: string[] } {
  const mistakes: string[] = []
  const given: Partial<Record<keyof typeof known, string>> = {}
  let help = false
  const { tokens } = parseArgs({ args, options: known, strict: false, tokens: true, allowPositionals: true })
  for (const token of tokens) {
    if (token.kind === 'positional') mistakes.push(`unexpected argument "${token.value}"`)
    if (token.kind !== 'option') continue
    if (!Object.hasOwn(known, token.name)) mistakes.push(`unknown option ${token.rawName}`)
    else if (token.name === 'help') help = true
    else if (token.value === undefined || token.value === '') mistakes.push(`${token.rawName} needs a value`)
    else given[token.name as keyof typeof known] = token.value
  }
  const text = (name: keyof typeof known) => given[name] ?? (env[known[name].env] || undefined)
  const registry = text('registry') ?? `http://${hostname}.node.consul:8500`
  if (!isHttpUrl(registry)) mistakes.push(`the registry must be a URL like http://127.0.0.1:8500, got "${registry}"`)
  const port = Number(text('port') ?? 2001)
  if (!Number.isInteger(port) || port < 1 || port > 65_534) {
    mistakes.push(`--port must be a number from 1 to 65534, got "${text('port')}"`)
  }
  const dns = text('dns')
  const server = dns === undefined ? undefined : dnsServer(dns)
  if (dns !== undefined && server === undefined) {
    mistakes.push(`the DNS server must be an IP address with or without a port, got "${dns}"`)
  }
  if (mistakes.length > 0) return { mistakes }
  return {
    options: {
      registry,
      address: text('address') ?? '',
      bind: text('bind') ?? '0.0.0.0',
      ports: [port, port + 1],
      dns: server,
      redis: text('redis') ?? 'redis',
      help,
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
