/** What this node knows of itself before anybody tells it: its id, its cluster, and where members were when last seen. */
import { Corrupt } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { NodeId } from '../model.ts'
import type { Configuration } from '../raft/message.ts'
import { loadJson, saveJson } from './files.ts'

const file = 'node.json'
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export interface NodeFile {
  readonly id: NodeId
  /** `host:port` of LAN members. */
  readonly members: string[]
  /** The id was made now. */
  readonly fresh: boolean
  /** UUID of the cluster this server has a log of; '' for none. */
  readonly cluster: string
  /** Resolves when the id is durable: before it is told to anybody, and not before `expectWhole`. */
  begin(): Promise<void>
  /** Resolves when it, or something newer, is durable. A disk error is logged: the list is a convenience. */
  keepMembers(members: string[]): Promise<void>
  /** The same for the cluster; a disk that fails will fail the log as well. */
  keepCluster(cluster: string): Promise<void>
  flush(): Promise<void>
}

/** Makes an id at the first start. @throws Corrupt */
export async function openNodeFile(io: Io, given: NodeId | undefined): Promise<NodeFile> {
  const loaded = (await loadJson(io.disk, file)) as Partial<Record<'id' | 'members' | 'cluster', unknown>> | undefined
  if (loaded !== undefined && (typeof loaded?.id !== 'string' || !uuid.test(loaded.id))) {
    throw new Corrupt(`${file} in the data directory holds no node id; restore it, or remove it to be a new node`)
  }
  const id = given ?? (loaded?.id as NodeId | undefined) ?? io.random.uuid()
  let members = Array.isArray(loaded?.members) ? loaded.members.filter((member) => typeof member === 'string') : []
  let cluster = typeof loaded?.cluster === 'string' ? loaded.cluster : ''
  const fresh = loaded === undefined && given === undefined
  let saving: Promise<void> = Promise.resolve()
  let stale = false
  const save = () => {
    if (stale) return saving
    stale = true
    saving = saving
      .then(async () => {
        stale = false
        await saveJson(io.disk, file, { id, members, cluster })
      })
      .catch((error: Error) => io.log('warn', 'agent', `${file} could not be written: ${error.message}`))
    return saving
  }
  return {
    id,
    fresh,
    begin: async () => {
      if (loaded?.id !== id) await saveJson(io.disk, file, { id, members, cluster })
    },
    get members() {
      return members
    },
    get cluster() {
      return cluster
    },
    keepMembers(wanted) {
      if (JSON.stringify(wanted) === JSON.stringify(members)) return saving
      members = wanted
      return save()
    },
    keepCluster(wanted) {
      if (wanted === cluster) return saving
      cluster = wanted
      return save()
    },
    flush: () => saving,
  }
}

/**
 * The id and the log of a server belong together. A log that is gone under the same id would vote again where it has voted;
 * an id that is gone leaves a log nobody may vote with. Both must be put right by somebody who knows what happened.
 * @throws Corrupt
 */
export function expectWhole(
  nodeFile: Pick<NodeFile, 'fresh' | 'cluster'>,
  { hasState, configuration }: { hasState: boolean; configuration: Configuration },
): void {
  if (nodeFile.cluster !== '' && !hasState) {
    throw new Corrupt(
      `the log in the data directory (raft/) is gone, though this server is part of cluster ${nodeFile.cluster}; ` +
        'restore it, or empty the whole data directory to come back as a new server',
    )
  }
  if (nodeFile.fresh && hasState) {
    const servers = configuration.servers.map(({ id, address }) => `${id} at ${address}`).join(', ')
    throw new Corrupt(
      `${file} is missing in the data directory, though there is a log (raft/) of the servers ${servers}; restore it, ` +
        'give the former id with -node-id, or empty the whole data directory to come back as a new server',
    )
  }
}
