/**
 * The gate that every change of the servers passes: a cluster may shrink or grow only into one whose majority the leader
 * has heard lately. Raft itself allows any change by one; but a configuration whose majority is dead, or was never there,
 * commits nothing any more, and nobody can be elected in it, though the servers that are there were enough before.
 *
 * To take out who is silent always passes: the leader hears a majority of those that vote now, and so more than enough of
 * one fewer. Refused is taking out, or taking the vote from, one who is needed; and giving a vote to one who is not heard
 * where that makes the rest too few. Who is new cannot have been heard: whoever adds one as a voter at once wants that.
 */
import { MajorityUnheard, Refused } from '../errors.ts'
import type { Millis } from '../model.ts'
import { changed } from '../raft/configurations.ts'
import type { Configuration, ServerChange, ServerId } from '../raft/message.ts'
import { majority, voters } from '../raft/quorum.ts'

/** Servers that would vote after the change and were not heard, when the others are no majority; undefined: it may be done. */
export function unheardMajority(
  configuration: Configuration,
  change: ServerChange,
  heard: (id: ServerId) => boolean,
): { voting: ServerId[]; silent: ServerId[] } | undefined {
  const voting = voters(changed(configuration, change))
  if (change.type === 'add' && !configuration.servers.some(({ id }) => id === change.id)) return undefined
  const before = new Set(voters(configuration))
  if (voting.length === before.size && voting.every((id) => before.has(id))) return undefined
  const silent = voting.filter((id) => !heard(id))
  return voting.length - silent.length >= majority(voting.length) ? undefined : { voting, silent }
}

/** It may be done; one that makes no sense may, too, and is refused where it is. */
export function isHeardMajority(
  configuration: Configuration,
  change: ServerChange,
  heard: (id: ServerId) => boolean,
): boolean {
  try {
    return unheardMajority(configuration, change, heard) === undefined
  } catch (error) {
    if (error instanceof Refused) return true
    throw error
  }
}

/** @throws MajorityUnheard, naming who is silent; Refused when the change makes no sense */
export function expectHeardMajority(
  configuration: Configuration,
  change: ServerChange,
  heard: (id: ServerId) => boolean,
  within: Millis,
): void {
  const found = unheardMajority(configuration, change, heard)
  if (found === undefined) return
  const { voting, silent } = found
  const address = (id: ServerId) => configuration.servers.find((server) => server.id === id)?.address ?? id
  throw new MajorityUnheard(
    `cannot ${change.type} server ${address(change.id)}: ${silent.map(address).join(', ')} did not answer within ` +
      `${within} ms, so only ${voting.length - silent.length} of the ${voting.length} that would vote then are there, and ` +
      `${majority(voting.length)} are needed; nothing was changed`,
  )
}
