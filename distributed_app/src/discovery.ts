/** Finds the instances of a service through DNS: SRV for names and ports, then the addresses of the names. */
import type { Address } from 'registry/model'

export interface SrvRecord {
  name: string
  port: number
  priority: number
  weight: number
}

/** Both answer with nothing for a name that does not exist, and reject when no server answered. */
export interface Dns {
  srv(name: string): Promise<SrvRecord[]>
  addresses(name: string): Promise<string[]>
}

/** Lowest priority value first (RFC 2782), then by address and port: in the same order for everybody who asks. */
export async function findInstances(dns: Dns, name: string): Promise<Address[]> {
  const records = await dns.srv(name)
  const found = await Promise.all(
    records.map(async ({ name: target, port, priority }) => {
      const hosts = await dns.addresses(target)
      return hosts.map((host) => ({ host, port, priority }))
    }),
  )
  return found
    .flat()
    .sort(
      (one, other) =>
        one.priority - other.priority ||
        (one.host < other.host ? -1 : Number(one.host > other.host)) ||
        one.port - other.port,
    )
    .map(({ host, port }) => ({ host, port }))
}
