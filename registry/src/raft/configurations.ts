/**
 * The configurations the log holds, from the one that is in force at the last snapshot on. The latest counts from the moment it is
 * appended (thesis §4.1), and stops counting when its entry is cut off.
 */
import { assert, Refused } from '../errors.ts'
import type { Index } from '../model.ts'
import { decodeConfiguration } from './codec.ts'
import type { Configuration, Entry, Server, ServerChange, ServerId } from './message.ts'
import { voters } from './quorum.ts'

export interface Dated {
  index: Index
  configuration: Configuration
}

export const noConfiguration: Configuration = { cluster: '', servers: [] }

export class Configurations {
  /** In log order. */
  #history: Dated[]
  /** Where in it the last one known to be committed is; the "no cluster yet" of an empty log counts as committed. */
  #committed = 0

  constructor(configuration: Configuration, index: Index) {
    this.#history = [{ index, configuration }]
  }

  get latest(): Configuration {
    return (this.#history.at(-1) as Dated).configuration
  }
  get latestIndex(): Index {
    return (this.#history.at(-1) as Dated).index
  }
  get committed(): Configuration {
    return (this.#history[this.#committed] as Dated).configuration
  }
  get committedIndex(): Index {
    return (this.#history[this.#committed] as Dated).index
  }
  /** All that may be in force, here or elsewhere: the committed one and those after it. */
  get possible(): Configuration[] {
    return this.#history.slice(this.#committed).map(({ configuration }) => configuration)
  }

  /** The one that was the latest when the log ended at `index`. */
  at(index: Index): Dated {
    const dated = this.#history.findLast((each) => each.index <= index)
    assert(dated !== undefined, `the configuration at ${index} is not known any more`)
    return dated
  }

  append(entry: Entry): void {
    const configuration = decodeConfiguration(entry.data)
    const { cluster } = this.latest
    assert(
      cluster === '' || cluster === configuration.cluster,
      `entry ${entry.index} is of cluster ${configuration.cluster}, but this server belongs to cluster ${cluster}`,
    )
    this.#history.push({ index: entry.index, configuration })
  }

  truncate(from: Index): void {
    const kept = this.#history.filter(({ index }) => index < from)
    assert(
      kept.length > this.#committed,
      `the committed configuration at ${this.committedIndex} was cut off from ${from}`,
    )
    this.#history = kept
  }

  /** Entries up to here are committed. */
  commit(through: Index): void {
    this.#committed = this.#history.findLastIndex(({ index }) => index <= through)
  }

  /** A snapshot at `index` was taken; earlier ones will not be asked for. */
  compact(index: Index): void {
    const first = this.#history.indexOf(this.at(index))
    this.#history = this.#history.slice(first)
    this.#committed -= first
  }

  restart(configuration: Configuration, index: Index): void {
    this.#history = [{ index, configuration }]
    this.#committed = 0
  }
}

/** @throws Refused when a cluster cannot be founded by `id` with this configuration, with the reason. */
export function checkFounding({ cluster, servers }: Configuration, id: ServerId): void {
  if (cluster === '') throw new Refused('cannot bootstrap without a cluster id')
  if (!servers.some((server) => server.id === id && server.voter)) {
    throw new Refused(`cannot bootstrap: this server, ${id}, is not among the voters`)
  }
  const ids = servers.map((server) => server.id)
  if (new Set(ids).size < ids.length || ids.includes('')) {
    throw new Refused(`cannot bootstrap: expected each server once, received ${ids.join(', ')}`)
  }
}

/**
 * The configuration after one change. At most one server gains or loses its vote, so that any majority of the old meets
 * any majority of the new (thesis §4.1). `add` of a known server changes its address or whether it votes.
 * @throws Refused when the change makes no sense, with the reason.
 */
export function changed(configuration: Configuration, change: ServerChange): Configuration {
  const servers = changedServers(configuration.servers, change)
  const after = { cluster: configuration.cluster, servers }
  if (voters(after).length === 0) throw new Refused(`cannot ${change.type} server ${change.id}: no voter would be left`)
  return after
}

function changedServers(servers: Server[], change: ServerChange): Server[] {
  const { id } = change
  const known = servers.find((server) => server.id === id)
  switch (change.type) {
    case 'add': {
      const server = { id, address: change.address, voter: change.voter }
      if (id === '' || change.address === '') throw new Refused('cannot add a server without an id and an address')
      if (known !== undefined && known.address === server.address && known.voter === server.voter) {
        throw new Refused(`server ${id} is already a ${server.voter ? 'voter' : 'non-voter'} at ${server.address}`)
      }
      const other = servers.find((each) => each.id !== id && each.address === server.address)
      if (other !== undefined) {
        throw new Refused(
          `cannot add server ${id}: ${server.address} belongs to server ${other.id}; remove that one first`,
        )
      }
      return known === undefined ? [...servers, server] : servers.map((each) => (each.id === id ? server : each))
    }
    case 'promote':
      if (known === undefined) throw new Refused(`cannot promote server ${id}: it is not in the configuration`)
      if (known.voter) throw new Refused(`server ${id} is already a voter`)
      return servers.map((each) => (each.id === id ? { ...each, voter: true } : each))
    case 'remove':
      if (known === undefined) throw new Refused(`cannot remove server ${id}: it is not in the configuration`)
      return servers.filter((each) => each.id !== id)
    default:
      return change satisfies never
  }
}
