/** How a command reaches its agent: flags, then environment, then loopback. */
import { Client } from '../client/client.ts'
import type { Flag } from './flags.ts'

export const connectionFlags: readonly Flag[] = [
  {
    name: 'http-addr',
    takes: 'value',
    value: 'address',
    help: 'Address and port of the agent. Also CONSUL_HTTP_ADDR. Default: http://127.0.0.1:8500.',
  },
  {
    name: 'rpc-addr',
    takes: 'value',
    value: 'address',
    help: 'The same for the command line port, 8400, as former Consuls have it. Also CONSUL_RPC_ADDR.',
  },
  {
    name: 'token',
    takes: 'value',
    help: "Accepted for Consul's users; there are no tokens yet. Also CONSUL_HTTP_TOKEN.",
  },
]

export type Environment = Readonly<Record<string, string | undefined>>

/** What was asked for most explicitly wins: a flag over the environment, HTTP over the command line port. */
export function agentUrl(given: ReadonlyMap<string, string>, environment: Environment): string {
  const address =
    given.get('http-addr') ||
    given.get('rpc-addr') ||
    environment.CONSUL_HTTP_ADDR ||
    environment.CONSUL_RPC_ADDR ||
    '127.0.0.1:8500'
  return /^[a-z]+:\/\//.test(address) ? address : `http://${address}`
}

export function connect(given: ReadonlyMap<string, string>, environment: Environment): Client {
  const token = given.get('token') ?? environment.CONSUL_HTTP_TOKEN
  return new Client({
    base: agentUrl(given, environment),
    fetch: (url, init) => fetch(url, init),
    timeout: 30_000,
    expire: (after) => AbortSignal.timeout(after),
    ...(token === undefined ? {} : { token }),
  })
}
