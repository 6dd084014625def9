/**
 * `raft/peers.json`, the way out that Consul's users know when a majority of the servers is lost for good: with all servers
 * stopped, somebody writes into each data directory that is left who shall be in the configuration, and starts them. It is
 * read at the start, done (`replica/recovery.ts`), and removed. `raft/peers.info` beside it says how it is written.
 */
import { BadRequest, Corrupt, Refused } from '../errors.ts'
import { addressText, parseAddress } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type { Configuration, Server } from '../raft/message.ts'
import type { StateMachine } from '../replica/machine.ts'
import { formerConfiguration, isDone, planRecovery, recover, recoveryWords } from '../replica/recovery.ts'
import { replaceFile } from './files.ts'
import type { NodeFile } from './node-file.ts'

const file = 'raft/peers.json'
const infoFile = 'raft/peers.info'

const info = `A file peers.json in this folder gives the servers of the cluster by hand. It is the way out when a majority of them
is lost for good, and is not there otherwise.

Stop all servers that are left. Write the same peers.json into this folder of each, a list of the servers that shall go on:

[
  { "id": "adf4238a-882b-9ddc-4a9d-5b6758e4159e", "address": "10.1.0.1:8300", "non_voter": false },
  { "id": "8b6dda82-3103-11e7-93ae-92361f002671", "address": "10.1.0.2:8300", "non_voter": false }
]

"id" is the node id, "id" in node.json of the data directory; "address" is host and server port. "non_voter" may be left
out. A list of addresses, [ "10.1.0.1:8300", "10.1.0.2:8300" ], will do for servers that were in the cluster at these.

Then start them. Each reads the file, goes on with what its log holds, and removes it; a mistake in it ends the start, with
its reason, and changes nothing. Servers that are not in the list have to come back with an empty data directory: they are
of the history that was given up, and not listened to.

For one server that goes on alone "registry recover" does the same, and shows before what it will do.
`

/**
 * Does what the file says, if there is one. Durable when it resolves, and done again from the start when it was cut short.
 * @param machine a new one, to make a snapshot with
 * @throws Refused, Corrupt naming the file and what is wrong in it: nothing was changed
 */
export async function followPeersFile(io: Io, nodeFile: NodeFile, machine: StateMachine): Promise<void> {
  const bytes = await io.disk.read(file)
  if (bytes === undefined) return
  let done: Configuration
  try {
    const listed = parsePeers(bytes)
    const former = await formerConfiguration(io)
    const servers = listed.map((server): Server => {
      const id = server.id ?? former.servers.find(({ address }) => address === server.address)?.id
      if (id !== undefined) return { ...server, id }
      throw new Refused(
        `no server of the cluster was at ${server.address}, so its id is not known; give "id" and "address" of each server`,
      )
    })
    const plan = await planRecovery(io, nodeFile.id, servers)
    if (isDone(plan, nodeFile.cluster)) {
      done = plan.former
      io.log('info', 'raft', `${file} was followed before this start, which was cut short`)
    } else {
      io.log('warn', 'raft', `recovery: found ${file}, recovering the Raft configuration`)
      for (const line of recoveryWords(plan)) io.log('warn', 'raft', `recovery: ${line}`)
      await recover(io, machine, plan)
      done = plan.next
    }
  } catch (error) {
    const words = (error as Error).message
    if (error instanceof Refused || error instanceof BadRequest) {
      throw new Refused(`${file} in the data directory: ${words}; correct the file, or remove it`, { cause: error })
    }
    if (error instanceof Corrupt) {
      throw new Corrupt(`${file} cannot be followed, the log is damaged: ${words}`, { cause: error })
    }
    throw error
  }
  await io.disk.remove(file)
  await io.disk.syncFolder('raft')
  // Not before the file is gone: as long as it is there, the former cluster tells whether it was followed.
  await nodeFile.keepCluster(done.cluster, done.servers.filter(({ voter }) => voter).length)
  await nodeFile.flush()
  io.log('info', 'raft', `deleted ${file} after it was followed`)
}

/** For who looks into the folder in need. It is only a help: that it cannot be written is no reason not to start. */
export async function writePeersInfo({ disk, log }: Io): Promise<void> {
  try {
    const known = await disk.read(infoFile)
    if (known !== undefined && new TextDecoder().decode(known) === info) return
    await replaceFile(disk, infoFile, info)
  } catch (error) {
    log('warn', 'raft', `${infoFile} could not be written: ${(error as Error).message}`)
  }
}

type Listed = Omit<Server, 'id'> & { id: string | undefined }

/** Servers, or addresses of servers alone. @throws Refused with what is wrong, and where */
export function parsePeers(bytes: Uint8Array): Listed[] {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new Refused(`it is not JSON: ${(error as Error).message.replaceAll(/\s+/g, ' ')}`, { cause: error })
  }
  if (!Array.isArray(value) || value.length === 0) {
    throw new Refused(`expected a list of servers, each with "id" and "address", received ${shown(value)}`)
  }
  return value.map((each: unknown, at) => {
    const where = `server ${at + 1} of ${value.length}`
    if (typeof each === 'string') return { id: undefined, address: address(each, where), voter: true }
    if (each === null || typeof each !== 'object' || Array.isArray(each)) {
      throw new Refused(`${where}: expected an object with "id" and "address", or an address, received ${shown(each)}`)
    }
    const { id, address: given, non_voter: mute = false, ...rest } = each as Record<string, unknown>
    const [unknown] = Object.keys(rest)
    if (unknown !== undefined)
      throw new Refused(`${where}: expected "id", "address" and "non_voter", received "${unknown}"`)
    if (typeof id !== 'string' || id === '')
      throw new Refused(`${where}: expected "id" to be a node id, received ${shown(id)}`)
    if (typeof given !== 'string')
      throw new Refused(`${where}: expected "address" to be host:port, received ${shown(given)}`)
    if (typeof mute !== 'boolean') {
      throw new Refused(`${where}: expected "non_voter" to be true or false, received ${shown(mute)}`)
    }
    return { id: id.toLowerCase(), address: address(given, where), voter: !mute }
  })
}

function address(text: string, where: string): string {
  try {
    const parsed = parseAddress(text)
    if (parsed.port === 0) throw new BadRequest(`expected a port from 1 on, received "${text}"`)
    return addressText(parsed)
  } catch (error) {
    throw new Refused(`${where}: ${(error as Error).message}`, { cause: error })
  }
}

const shown = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 100))
