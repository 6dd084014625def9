/** What this node knows of itself before anybody tells it: its id, its cluster, and where members were when last seen. */
import { Corrupt, TooNew } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { NodeId } from '../model.ts'
import type { Configuration } from '../raft/message.ts'
import { loadJson, saveJson } from './files.ts'
import type { WanAddress } from './wan-joins.ts'

const file = 'node.json'
/** Of this file; written into it. */
const formatVersion = 1
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

type Field = 'format' | 'id' | 'members' | 'wan' | 'left' | 'cluster' | 'voters' | 'former'

export interface NodeFile {
  readonly id: NodeId
  /** `host:port` of LAN members, our own last. */
  readonly members: string[]
  /** Servers of other datacenters. */
  readonly wan: WanAddress[]
  /** The id was made now. */
  readonly fresh: boolean
  /** The id is not ours to change: it was given at the start. */
  readonly given: boolean
  /** The id this data directory was used under before; '' when there was none, or it is not known. */
  readonly before: NodeId | ''
  /** UUID of the cluster this server has a log of, or had before that was damaged; '' for none. */
  readonly cluster: string
  /** How many servers voted there when last seen; 0: not known. */
  readonly voters: number
  /** The id under which this server's log was damaged; '' once it has one again, or when it never was. */
  readonly former: NodeId | ''
  /** Resolves when the id is durable: before it is told to anybody, and not before `expectWhole`. */
  begin(): Promise<void>
  /** Resolves when it, or something newer, is durable. A disk error is logged: the list is a convenience. */
  keepMembers(members: string[]): Promise<void>
  /** The same for servers of other datacenters. */
  keepWan(wan: WanAddress[]): Promise<void>
  /** This agent has left: the next start does not look for those it knew, unless it is told to rejoin. */
  keepLeft(): Promise<void>
  /** The same for the cluster; a disk that fails will fail the log as well. There is a log of it: `former` is over. */
  keepCluster(cluster: string, voters: number): Promise<void>
  /** Another id from now on, durable when this resolves: this server has lost what it promised under the one it had. */
  replace(): Promise<void>
  flush(): Promise<void>
}

/**
 * Makes an id at the first start.
 * @param rejoin those known before are looked for also after an explicit leave (`rejoin_after_leave`)
 * @throws Corrupt, TooNew
 */
export async function openNodeFile(io: Io, given: NodeId | undefined, rejoin = false): Promise<NodeFile> {
  const loaded = (await loadJson(io.disk, file)) as Partial<Record<Field, unknown>> | undefined
  if (typeof loaded?.format === 'number' && loaded.format > formatVersion) {
    throw new TooNew(`${file} in the data directory`, loaded.format, formatVersion)
  }
  if (loaded !== undefined && (typeof loaded?.id !== 'string' || !uuid.test(loaded.id))) {
    throw new Corrupt(`${file} in the data directory holds no node id; restore it, or remove it to be a new node`)
  }
  let id = given ?? (loaded?.id as NodeId | undefined) ?? io.random.uuid()
  // Serf, too, forgets them at the first start that does not rejoin, and not when it leaves.
  const forgotten = loaded?.left === true && !rejoin
  let left = false
  let members: string[] = []
  if (!forgotten && Array.isArray(loaded?.members)) members = loaded.members.filter((each) => typeof each === 'string')
  let wan = forgotten ? [] : wanAddresses(loaded?.wan)
  let cluster = typeof loaded?.cluster === 'string' ? loaded.cluster : ''
  let voters = typeof loaded?.voters === 'number' ? loaded.voters : 0
  let former = typeof loaded?.former === 'string' ? (loaded.former as NodeId | '') : ''
  const fresh = loaded === undefined && given === undefined
  const write = () =>
    saveJson(io.disk, file, { format: formatVersion, id, members, wan, left, cluster, voters, former })
  let saving: Promise<void> = Promise.resolve()
  let stale = false
  const save = () => {
    if (stale) return saving
    stale = true
    saving = saving
      .then(async () => {
        stale = false
        await write()
      })
      .catch((error: Error) => io.log('warn', 'agent', `${file} could not be written: ${error.message}`))
    return saving
  }
  return {
    get id() {
      return id
    },
    fresh,
    given: given !== undefined,
    before: (loaded?.id as NodeId | undefined) ?? '',
    begin: async () => {
      if (loaded?.id !== id || loaded.left === true) await write()
    },
    get members() {
      return members
    },
    get wan() {
      return wan
    },
    get cluster() {
      return cluster
    },
    get voters() {
      return voters
    },
    get former() {
      return former
    },
    keepMembers(wanted) {
      if (JSON.stringify(wanted) === JSON.stringify(members)) return saving
      members = wanted
      return save()
    },
    keepWan(wanted) {
      if (JSON.stringify(wanted) === JSON.stringify(wan)) return saving
      wan = wanted
      return save()
    },
    keepLeft() {
      left = true
      return save()
    },
    keepCluster(wanted, votersNow) {
      if (wanted === cluster && votersNow === voters && former === '') return saving
      cluster = wanted
      voters = votersNow
      former = ''
      return save()
    },
    replace() {
      former = id
      id = io.random.uuid()
      return write()
    },
    flush: () => saving,
  }
}

/** What is none is skipped: the list is a convenience. */
function wanAddresses(loaded: unknown): WanAddress[] {
  if (!Array.isArray(loaded)) return []
  return loaded.flatMap((each: Partial<WanAddress> | null) => {
    const { datacenter, address } = each ?? {}
    return typeof datacenter === 'string' && typeof address === 'string' ? [{ datacenter, address }] : []
  })
}

/**
 * The id and the log of a server belong together. A log that is gone under the same id would vote again where it has voted;
 * an id that is gone leaves a log nobody may vote with. Both must be put right by somebody who knows what happened.
 * @throws Corrupt
 */
export function expectWhole(
  nodeFile: Pick<NodeFile, 'id' | 'before' | 'given' | 'fresh' | 'cluster' | 'former'>,
  { hasState, configuration }: { hasState: boolean; configuration: Configuration },
): void {
  const servers = configuration.servers.map(({ id, address }) => `${id} at ${address}`).join(', ')
  const { id, before, given } = nodeFile
  if (given && hasState && before !== '' && before !== id) {
    throw new Corrupt(
      `the log in the data directory (raft/) is that of server ${before}, and -node-id gives ${id}: start it without ` +
        '-node-id, or with that id; or empty the whole data directory to come back as a new server',
    )
  }
  if (given && hasState && before === '' && servers !== '' && !configuration.servers.some((each) => each.id === id)) {
    throw new Corrupt(
      `${file} is missing in the data directory, and -node-id gives ${id}, which is none of the servers in its log ` +
        `(raft/), ${servers}: give the former id, restore ${file}, or empty the whole data directory to come back as a ` +
        'new server',
    )
  }
  if (nodeFile.cluster !== '' && nodeFile.former === '' && !hasState) {
    throw new Corrupt(
      `the log in the data directory (raft/) is gone, though this server is part of cluster ${nodeFile.cluster}; ` +
        'restore it, or empty the whole data directory to come back as a new server',
    )
  }
  if (nodeFile.fresh && hasState) {
    throw new Corrupt(
      `${file} is missing in the data directory, though there is a log (raft/) of the servers ${servers}; restore it, ` +
        'give the former id with -node-id, or empty the whole data directory to come back as a new server',
    )
  }
}
