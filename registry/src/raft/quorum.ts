/**
 * Majorities. Servers that do not vote are never counted, and neither is anybody twice: votes and acknowledgements are
 * looked up per voter, so a repeated or foreign message cannot weigh anything.
 */
import type { Configuration, ServerId } from './message.ts'

export function voters(configuration: Configuration): ServerId[] {
  return configuration.servers.filter(({ voter }) => voter).map(({ id }) => id)
}

export function votes(configuration: Configuration, id: ServerId): boolean {
  return configuration.servers.some((server) => server.id === id && server.voter)
}

/** How many of `count` voters are a majority. */
export function majority(count: number): number {
  return Math.floor(count / 2) + 1
}

/**
 * The highest value that a majority of the voters has reached: a commit index from match indexes, a confirmed heartbeat
 * round from acknowledged rounds, a time of contact from times. Nobody votes: 0, for then nothing is ever decided.
 */
export function reachedByMajority(configuration: Configuration, reachedBy: (id: ServerId) => number): number {
  const values: number[] = []
  for (const { id, voter } of configuration.servers) if (voter) values.push(reachedBy(id))
  if (values.length === 0) return 0
  values.sort((one, other) => other - one)
  return values[majority(values.length) - 1] as number
}

/** What the votes given so far decide. `pending` until a majority agrees or can no longer agree. */
export function tally(
  configuration: Configuration,
  given: ReadonlyMap<ServerId, boolean>,
): { outcome: 'won' | 'lost' | 'pending'; granted: number } {
  const all = voters(configuration)
  const granted = all.filter((id) => given.get(id) === true).length
  const refused = all.filter((id) => given.get(id) === false).length
  const needed = majority(all.length)
  if (granted >= needed) return { outcome: 'won', granted }
  return { outcome: all.length - refused < needed ? 'lost' : 'pending', granted }
}
