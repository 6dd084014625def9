/** Which clients may change things over HTTP: networks as `http_config.allow_write_http_from` names them. */
import { BlockList, isIP } from 'node:net'

/**
 * Whether an address is in one of the networks (`10.0.0.0/8`, `::1/128`); IPv4 addresses in IPv6 notation count as what
 * they are. Undefined: no networks were given, everyone may. What is no network goes to `mistakes`.
 */
export function writersFrom(
  networks: readonly string[],
  mistakes: string[] = [],
): ((address: string) => boolean) | undefined {
  if (networks.length === 0) return undefined
  const allowed = new BlockList()
  for (const network of networks) {
    const [, address = '', bits = ''] = /^([^/]*)\/(\d{1,3})$/.exec(network) ?? []
    const family = isIP(address)
    if (family === 0 || Number(bits) > (family === 4 ? 32 : 128)) {
      mistakes.push(
        `http_config.allow_write_http_from: expected a network such as "10.0.0.0/8", received ${JSON.stringify(network)}`,
      )
    } else allowed.addSubnet(address, Number(bits), family === 4 ? 'ipv4' : 'ipv6')
  }
  return (address) => {
    const [bare = ''] = address.split('%')
    return allowed.check(bare, isIP(bare) === 6 ? 'ipv6' : 'ipv4')
  }
}
