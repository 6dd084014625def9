/** From what is written for a join to addresses: a name stands for all of its addresses, and each of them is joined. */
import { parseAddress } from '../io/address.ts'
import type { Address } from '../model.ts'

/** Resolves to the addresses of a host; rejects with the system's error. */
export type Resolve = (host: string) => Promise<string[]>

const isAddress = (host: string) => /^[\d.]+$/.test(host) || host.includes(':')

/**
 * @param texts `host`, `host:port`, `[v6]:port`
 * @param port when none is written
 * @throws BadRequest for what is no address. Names that are not known are among `failures`.
 */
export async function joinTargets(
  texts: readonly string[],
  port: number,
  resolve: Resolve = async (host) => [host],
): Promise<{ targets: Address[]; failures: Error[] }> {
  const written = texts.map((text) => ({ text, ...parseAddress(text, port) }))
  const failures: Error[] = []
  const found = await Promise.all(
    written.map(async ({ text, host, port: at }) => {
      if (isAddress(host)) return [{ host, port: at }]
      try {
        return (await resolve(host)).map((address) => ({ host: address, port: at }))
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        const why = code === 'ENOTFOUND' ? 'no such host' : (error as Error).message
        failures.push(new Error(`Failed to join ${text}: lookup ${host}: ${why}`, { cause: error }))
        return []
      }
    }),
  )
  const targets = new Map(found.flat().map((address) => [`${address.host} ${address.port}`, address]))
  return { targets: [...targets.values()], failures }
}
