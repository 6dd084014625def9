/**
 * Questions about prepared queries. What this node's store knows is answered at once; only a query that finds nothing here
 * and looks elsewhere, or one of another datacenter, takes time.
 */
import type { Executed, QueriesSurface, QueryAsked } from '../agent/queries.ts'
import type { Log } from '../io/io.ts'
import type { NodeName } from '../model.ts'
import { formatAddress } from './address.ts'
import type { Prepared } from './answer.ts'
import { type Elsewhere, elsewhereWithin } from './elsewhere.ts'

/** `unknown`: there is no such query; undefined: it could not be executed. */
export type Outcome = Executed | 'unknown' | undefined

export class PreparedQueries {
  readonly #queries: QueriesSurface
  readonly #agent: NodeName
  readonly #elsewhere: Elsewhere | undefined
  readonly #log: Log

  /** @param elsewhere undefined: there is no other datacenter */
  constructor(queries: QueriesSurface, agent: NodeName, elsewhere: Elsewhere | undefined, log: Log) {
    this.#queries = queries
    this.#agent = agent
    this.#elsewhere = elsewhere
    this.#log = log
  }

  /** @param ip of the client, or of the network it is in; '' when it is not known */
  execute({ name, datacenter }: Prepared, ip: string): Outcome | Promise<Outcome> {
    const asked: QueryAsked = { near: '', ip, agent: this.#agent, limit: 0, connect: false }
    const elsewhere = this.#elsewhere
    if (datacenter !== undefined) {
      return elsewhere?.knows(datacenter) === true ? elsewhere.query(datacenter, name, asked) : 'unknown'
    }
    try {
      const query = this.#queries.resolve(name)
      if (query === undefined) return 'unknown'
      const here = this.#queries.here(query, asked)
      if (here.instances.length > 0 || elsewhere === undefined || !this.#queries.failsOver(query)) return here
      // Who else asks for the same instances waits for the same answer.
      const key = JSON.stringify(['failover', query.service])
      return elsewhere
        .once(key, () => this.#queries.elsewhere(query, asked, here, elsewhereWithin))
        .then(
          // The query that was asked for first may be another one of the same instances.
          (found) => found && { ...found, ttl: here.ttl },
        )
    } catch (error) {
      this.#log('debug', 'dns', 'a prepared query cannot be executed', { name, error: (error as Error).message })
      return undefined
    }
  }
}

/** The address in an EDNS option of a client's subnet (RFC 7871), with zeros for what it leaves out; undefined: in none. */
export function subnetAddress(option: { octets: string } | undefined): string | undefined {
  if (option === undefined) return undefined
  const octets = [...option.octets].map((octet) => octet.charCodeAt(0))
  const length = octets[1] === 1 ? 4 : 16
  const address = octets.slice(4, 4 + length)
  while (address.length < length) address.push(0)
  return formatAddress(address)
}
