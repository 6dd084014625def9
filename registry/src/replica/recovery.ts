/**
 * The way out when a majority of the servers is gone for good: one that is left goes on alone, with all that its log holds,
 * and the others come back empty and are taken in. What only the lost ones had is lost; what they refused may come to be.
 * That is for a person to decide, so a plan is made first, which changes nothing, and is done only when it is given back.
 *
 * Doing it is a snapshot of everything in the log, with a configuration of this server alone. That names another cluster,
 * for its history may differ from what servers and observers of the former one have seen: those are not mixed with it, but
 * begin anew.
 */
import { Refused } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Index, Term } from '../model.ts'
import { decodeConfiguration } from '../raft/codec.ts'
import type { Configuration, Server } from '../raft/message.ts'
import type { StateMachine } from './machine.ts'
import { restoreFromDisk } from './restore.ts'

export interface RecoveryPlan {
  /** Who goes on alone. */
  self: Server
  /** Of the log on this disk: the server to recover from is the one with the highest term here, then the highest index. */
  lastTerm: Term
  lastIndex: Index
  /** Entries up to here are in a snapshot; those after it may or may not have been committed. All are kept. */
  snapshotIndex: Index
  former: Configuration
  next: Configuration
}

const nothing: StateMachine = { apply: () => undefined, snapshot: () => [], restore: () => {} }

/**
 * What would be done with the log in this data directory. The agent must not run: hold the directory's lock.
 * @throws Refused when there is nothing to recover from or no need to; Corrupt, TooNew, or the disk's error
 */
export async function planRecovery(io: Io, self: Omit<Server, 'voter'>): Promise<RecoveryPlan> {
  const { wal, snapshot, entries } = await restoreFromDisk(io, nothing, {})
  await wal.close()
  const configurations = entries.filter(({ kind }) => kind === 'configuration')
  const last = configurations.at(-1)
  const former = last === undefined ? snapshot?.configuration : decodeConfiguration(last.data)
  if (former === undefined || former.servers.length === 0) {
    throw new Refused('there is no log of any cluster in this data directory, so there is nothing to recover from')
  }
  if (!former.servers.some(({ id, voter }) => id === self.id && voter)) {
    throw new Refused(`this server (${self.id}) did not vote in the cluster, so its log may lack what was acknowledged`)
  }
  if (former.servers.every(({ id, voter }) => id === self.id || !voter)) {
    throw new Refused('this server is the only one that votes already: it needs nobody else, start it')
  }
  const voter: Server = { ...self, voter: true }
  return {
    self: voter,
    lastTerm: entries.at(-1)?.term ?? snapshot?.term ?? 0,
    lastIndex: entries.at(-1)?.index ?? snapshot?.index ?? 0,
    snapshotIndex: snapshot?.index ?? 0,
    former,
    next: { cluster: io.random.uuid(), servers: [voter] },
  }
}

/** For people to read before they say yes. */
export function recoveryWords({ self, lastTerm, lastIndex, snapshotIndex, former, next }: RecoveryPlan): string[] {
  const lost = former.servers.filter(({ id }) => id !== self.id)
  return [
    `server ${self.id} at ${self.address} goes on alone, as the cluster ${next.cluster}`,
    `with everything its log holds: up to entry ${lastIndex} of term ${lastTerm}, of which ${lastIndex - snapshotIndex} may never have been acknowledged`,
    ...lost.map(
      ({ id, address }) =>
        `server ${id} at ${address} is not part of it any more: empty its data directory before it starts again`,
    ),
    'compare the last term, then the last entry, with the other servers that are left: recover from the one that has most',
    'whatever only the others had is lost',
  ]
}

/**
 * Durable when this resolves, all of it or nothing; the next start of the agent leads alone.
 * @param machine a new one, to make the snapshot with
 * @throws Refused when the log changed since the plan
 */
export async function recover(io: Io, machine: StateMachine, plan: RecoveryPlan): Promise<void> {
  const { wal, snapshots, entries, snapshot } = await restoreFromDisk(io, machine, {})
  await wal.close()
  const index = entries.at(-1)?.index ?? snapshot?.index ?? 0
  const term = entries.at(-1)?.term ?? snapshot?.term ?? 0
  if (index !== plan.lastIndex || term !== plan.lastTerm) {
    throw new Refused('the log is another than when the plan was made; make a new one')
  }
  for (const { kind, index: at, data } of entries) if (kind === 'command') machine.apply(at, data)
  const mark = { index, term, configuration: plan.next, configurationIndex: index }
  await snapshots.write(mark, machine.snapshot())
}
