/**
 * What becomes of a server whose log or snapshots turn out to be damaged at its start.
 *
 * It has acknowledged entries that it may not have any more, and perhaps voted and does not remember for whom. Under its
 * id it must never vote or count again. So to the cluster it is a server that crashed for good: it puts its files aside and
 * comes back under another id, as one with an empty disk does. The leader removes the former id, brings the new one the
 * state, and lets it vote once it has caught up (`leader.ts`). While a majority is whole nothing acknowledged is lost;
 * when none is, nobody can be elected, and the cluster stands still rather than go on without what it had promised.
 *
 * Such a server never begins a cluster. The only server of one has nobody to be repaired by, and is not started at all.
 */
import { Corrupt } from '../errors.ts'
import type { Io } from '../io/io.ts'
import { setLogAside } from '../replica/damage.ts'
import type { StateMachine } from '../replica/machine.ts'
import { Replica, type ReplicaOptions } from '../replica/replica.ts'
import type { NodeFile } from './node-file.ts'

/** @throws Corrupt when somebody has to decide: the message names file and offset, and what can be done. TooNew. */
export async function openReplica(
  io: Io,
  machine: StateMachine,
  nodeFile: NodeFile,
  options: Omit<ReplicaOptions, 'id'>,
): Promise<Replica> {
  try {
    return await Replica.open(io, machine, { ...options, id: nodeFile.id })
  } catch (error) {
    if (!(error instanceof Corrupt)) throw error
    const { given, voters, id } = nodeFile
    if (voters === 1) {
      throw new Corrupt(
        `the data directory is damaged: ${error.message}. This is the only server of its cluster, so nobody else has its ` +
          'data. Restore the data directory from a copy, if there is one; or keep what is left elsewhere, empty it, and ' +
          'begin anew: agents register their services again by themselves, keys are gone',
        { cause: error },
      )
    }
    if (given) {
      throw new Corrupt(
        `the data directory is damaged: ${error.message}. The other servers have the data, but this one cannot take part ` +
          `under the id ${id} again, for it has forgotten its votes. Start it without -node-id, or with a new one and an ` +
          'empty data directory: it will be brought everything',
        { cause: error },
      )
    }
    // The id first: should the process die before the files are aside, what is left of them can do no harm under another.
    await nodeFile.replace()
    const folder = await setLogAside(io.disk)
    io.log(
      'error',
      'raft',
      `the log on the disk is damaged: ${error.message}. It is kept in ${folder} of the data directory. This server comes ` +
        'back as a new one, gets everything from the leader, and votes when it has caught up; it needs a majority of the ' +
        'other servers, and waits as long as there is none',
      { former: id, id: nodeFile.id },
    )
    return Replica.open(io, machine, { ...options, id: nodeFile.id })
  }
}
