/**
 * The way out when a majority of the servers is gone for good: those that are left go on, as the configuration that a person
 * names, with what their logs hold, and the others come back empty and are taken in. What only the lost ones had is lost;
 * what they refused may come to be. That is for a person to decide, so a plan is made first, which changes nothing.
 *
 * Doing it is a snapshot of what is known to be committed, with the new configuration, and the rest of the log after it as it
 * is, but that configurations in it say nothing any more. So several who go on do not each take their own log for the
 * truth, as Consul's do: they elect the one with the most, and the others follow it.
 *
 * The configuration names another cluster, for its history may differ from what servers and observers of the former one
 * have seen: those are not listened to (`Replica.receive`), and begin anew. All who go on give it the same name, which
 * follows from the former one and from who they are.
 */
import { Refused } from '../errors.ts'
import { parseAddress } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type { Index, Term } from '../model.ts'
import { decodeConfiguration } from '../raft/codec.ts'
import type { Configuration, Entry, Server, ServerId, SnapshotMark } from '../raft/message.ts'
import { voters } from '../raft/quorum.ts'
import type { StateMachine } from './machine.ts'
import type { WalRecord } from './records.ts'
import { restoreFromDisk } from './restore.ts'

export interface RecoveryPlan {
  self: ServerId
  /** Of the log on this disk: alone goes on the server with the highest term here, then the highest index. */
  lastTerm: Term
  lastIndex: Index
  /** Entries up to here are known to be committed; those after it may or may not have been. All are kept. */
  commit: Index
  former: Configuration
  next: Configuration
}

const nothing: StateMachine = { apply: () => undefined, snapshot: () => [], restore: () => {} }

/**
 * What would be done with the log in this data directory, for this server to go on as one of `servers`. The agent must not
 * run: hold the directory's lock.
 * @throws Refused when there is nothing to recover from, or the servers make no configuration that this one is part of;
 * Corrupt, TooNew, or the disk's error
 */
export async function planRecovery(io: Io, self: ServerId, servers: Server[]): Promise<RecoveryPlan> {
  const { wal, snapshot, entries, commit } = await restoreFromDisk(io, nothing, {})
  await wal.close()
  const former = latestConfiguration(snapshot, entries)
  if (former === undefined || former.servers.length === 0) {
    throw new Refused('there is no log of any cluster in this data directory, so there is nothing to recover from')
  }
  expectSensible(servers, self)
  return {
    self,
    lastTerm: entries.at(-1)?.term ?? snapshot?.term ?? 0,
    lastIndex: entries.at(-1)?.index ?? snapshot?.index ?? 0,
    commit: certain(commit),
    former,
    next: { cluster: successor(former.cluster, servers), servers },
  }
}

/**
 * This very recovery was done on this disk, and cut short before that was noted. That the log names the same servers already
 * says nothing: another who goes on may not have that configuration, and comes to the new cluster.
 * @param cluster what was noted before it
 */
export function isDone({ former, next }: RecoveryPlan, cluster: string): boolean {
  return former.cluster === successor(cluster, next.servers)
}

/**
 * The plan for one server that goes on alone.
 * @param address `host:port` of its rpc channel; '': as the cluster knew it
 * @throws as `planRecovery`; Refused when it did not vote, or needs nobody else
 */
export async function planAlone(io: Io, self: ServerId, address = ''): Promise<RecoveryPlan> {
  const known = await formerConfiguration(io)
  const listed = known.servers.find(({ id }) => id === self)
  if (known.servers.length > 0) {
    if (listed?.voter !== true) {
      throw new Refused(`this server (${self}) did not vote in the cluster, so its log may lack what was acknowledged`)
    }
    if (voters(known).length === 1) {
      throw new Refused('this server is the only one that votes already: it needs nobody else, start it')
    }
  }
  return planRecovery(io, self, [
    { id: self, address: address === '' ? (listed?.address ?? '') : address, voter: true },
  ])
}

/** The last one in the log of this data directory; without servers when there is none. @throws as `planRecovery` */
export async function formerConfiguration(io: Io): Promise<Configuration> {
  const { wal, snapshot, entries } = await restoreFromDisk(io, nothing, {})
  await wal.close()
  return latestConfiguration(snapshot, entries) ?? { cluster: '', servers: [] }
}

/** For people to read before they say yes. */
export function recoveryWords({ lastTerm, lastIndex, commit, former, next }: RecoveryPlan): string[] {
  const kept = new Set(next.servers.map(({ id }) => id))
  const lost = former.servers.filter(({ id }) => !kept.has(id))
  const [only, ...others] = next.servers
  const names = next.servers
    .map(({ id, address, voter }) => `${id} at ${address}${voter ? '' : ' (no vote)'}`)
    .join(', ')
  return [
    only !== undefined && others.length === 0
      ? `server ${only.id} at ${only.address} goes on alone, as the cluster ${next.cluster}`
      : `the servers ${names} go on, as the cluster ${next.cluster}`,
    `with everything this log holds: up to entry ${lastIndex} of term ${lastTerm}, of which ${lastIndex - commit} may never have been acknowledged`,
    ...lost.map(
      ({ id, address }) =>
        `server ${id} at ${address} is not part of it any more: empty its data directory before it starts again`,
    ),
    ...(others.length === 0
      ? [
          'compare the last term, then the last entry, with the other servers that are left: recover from the one that has most',
        ]
      : []),
    'whatever only the others had is lost',
  ]
}

/**
 * Durable when this resolves, and may be done again when it was interrupted: the plan is the same then. The next start of
 * the agent goes on with the new configuration.
 * @param machine a new one, to make the snapshot with
 * @throws Refused when the log changed since the plan
 */
export async function recover(io: Io, machine: StateMachine, plan: RecoveryPlan): Promise<void> {
  const { wal, snapshots, entries, snapshot, hardState, ...known } = await restoreFromDisk(io, machine, {})
  const commit = certain(known.commit)
  const last = entries.at(-1) ?? snapshot
  if (last?.index !== plan.lastIndex || last.term !== plan.lastTerm || commit !== plan.commit) {
    await wal.close()
    throw new Refused('the log is another than when the plan was made; make a new one')
  }
  for (const { kind, index, data } of entries) if (kind === 'command' && index <= commit) machine.apply(index, data)
  const term = entries.find(({ index }) => index === commit)?.term ?? snapshot?.term ?? 0
  const mark: SnapshotMark = { index: commit, term, configuration: plan.next, configurationIndex: commit }
  await snapshots.write(mark, machine.snapshot())
  const rest = entries.filter(({ index }) => index > commit).map(withoutConfiguration)
  const records: WalRecord[] = [
    { type: 'hardState', hardState },
    { type: 'restart', index: commit, term },
    ...rest.map((entry) => ({ type: 'entry' as const, entry })),
  ]
  await wal.save(records)
  await wal.close()
}

/** The first entry founds the cluster, and one server alone writes it: whoever has a log has that. */
const certain = (commit: Index): Index => Math.max(commit, 1)

function latestConfiguration(snapshot: SnapshotMark | undefined, entries: readonly Entry[]): Configuration | undefined {
  const last = entries.findLast(({ kind }) => kind === 'configuration')
  return last === undefined ? snapshot?.configuration : decodeConfiguration(last.data)
}

/** Under the same index and term: what it said is over, and the logs of all who go on stay alike. */
function withoutConfiguration(entry: Entry): Entry {
  return entry.kind === 'configuration' ? { ...entry, kind: 'empty', data: new Uint8Array(0) } : entry
}

function expectSensible(servers: readonly Server[], self: ServerId): void {
  for (const { address } of servers) parseAddress(address)
  for (const field of ['id', 'address'] as const) {
    const values = servers.map((server) => server[field])
    const twice = values.find((value, at) => value === '' || values.indexOf(value) !== at)
    if (twice !== undefined)
      throw new Refused(`expected every server to have an ${field} of its own, received "${twice}"`)
  }
  if (!servers.some(({ voter }) => voter)) throw new Refused('expected a server that votes, and there is none')
  if (!servers.some(({ id }) => id === self)) {
    throw new Refused(`this server, ${self}, is not among those that go on: ${servers.map(({ id }) => id).join(', ')}`)
  }
}

const described = (servers: readonly Server[]) =>
  servers
    .map(({ id, address, voter }) => `${id} ${address} ${voter}`)
    .sort()
    .join('\n')

/** A UUID that all who go on arrive at. */
function successor(cluster: string, servers: readonly Server[]): string {
  const told = `${cluster}\n${described(servers)}`
  const digits = [0, 1].map((half) => fnv1a(`${half}\n${told}`).toString(16).padStart(16, '0')).join('')
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join(
    '-',
  )
}

/** 64 bits. Tells contents apart, protects nothing. */
function fnv1a(text: string): bigint {
  let hash = 0xcbf29ce484222325n
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn
  return hash
}
