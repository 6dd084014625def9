/** What this node knows of itself before anybody tells it: its id, and where members were when last seen. */
import { Corrupt } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { NodeId } from '../model.ts'
import { loadJson, saveJson } from './files.ts'

const file = 'node.json'
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export interface NodeFile {
  readonly id: NodeId
  /** `host:port` of LAN members. */
  readonly members: string[]
  /** Resolves when it, or something newer, is durable. A disk error is logged: the list is a convenience. */
  keepMembers(members: string[]): Promise<void>
  flush(): Promise<void>
}

/** Makes an id at the first start. @throws Corrupt */
export async function openNodeFile(io: Io, given: NodeId | undefined): Promise<NodeFile> {
  const loaded = (await loadJson(io.disk, file)) as { id?: unknown; members?: unknown } | undefined
  if (loaded !== undefined && (typeof loaded.id !== 'string' || !uuid.test(loaded.id))) {
    throw new Corrupt(`${file} in the data directory holds no node id; restore it, or remove it to be a new node`)
  }
  const id = given ?? (loaded?.id as NodeId | undefined) ?? io.random.uuid()
  let members = Array.isArray(loaded?.members) ? loaded.members.filter((member) => typeof member === 'string') : []
  if (loaded?.id !== id) await saveJson(io.disk, file, { id, members })
  let saving: Promise<void> = Promise.resolve()
  let stale = false
  return {
    id,
    get members() {
      return members
    },
    keepMembers(wanted) {
      if (JSON.stringify(wanted) === JSON.stringify(members)) return saving
      members = wanted
      if (stale) return saving
      stale = true
      saving = saving.then(async () => {
        stale = false
        await saveJson(io.disk, file, { id, members })
      })
      saving = saving.catch((error: Error) => io.log('warn', 'agent', `${file} could not be written: ${error.message}`))
      return saving
    },
    flush: () => saving,
  }
}
