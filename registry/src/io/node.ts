/** The real world behind `Io`: this machine's clock, chance, disk and network. */
import { randomBytes, randomFillSync } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Address } from '../model.ts'
import type { Channel, Io, Log } from './io.ts'
import { aesGcm } from './node-cipher.ts'
import { NodeDisk } from './node-disk.ts'
import { type NetworkLimits, NodeNetwork } from './node-network.ts'
import { probe } from './node-probe.ts'
import { Programs } from './node-program.ts'
import { Random } from './random.ts'

export interface IoOptions {
  /** Undefined: a temporary one that `close` removes. */
  dataDir: string | undefined
  /** What is listened on; an absent channel is not. Port 0: any free one. */
  listen: { rpc: Address | undefined; lan: Address | undefined; wan: Address | undefined }
  log: Log
  /** Default: log the reason and end the process with code 1. */
  halt?: (reason: Error) => void
  limits?: Partial<NetworkLimits>
}

export interface NodeIo extends Io {
  /** The ports that are bound. */
  readonly ports: Readonly<Partial<Record<Channel, number>>>
  /** Lets written frames leave, closes every socket and file, gives the data directory back. */
  close(): Promise<void>
}

/** @throws BadRequest when the data directory cannot be used, or an address not be listened on: the message says what to do. */
export async function openIo({ dataDir, listen, log, halt, limits }: IoOptions): Promise<NodeIo> {
  const stop =
    halt ??
    ((reason: Error) => {
      log('error', 'agent', `halting: ${reason.message}`, { error: reason.stack ?? reason.message })
      process.exit(1)
    })
  const temporary = dataDir === undefined ? await mkdtemp(join(tmpdir(), 'rollcall-')) : undefined
  const disk = await NodeDisk.open(dataDir ?? temporary!)
  const close = async () => {
    await disk.close()
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true })
  }
  let network: NodeNetwork
  try {
    network = await NodeNetwork.open(listen, log, stop, limits)
  } catch (error) {
    await close()
    throw error
  }
  const programs = new Programs()
  const seed = randomBytes(16)
  return {
    clock: { now: () => performance.now(), wall: () => Date.now() },
    random: new Random([seed.readUInt32BE(0), seed.readUInt32BE(4), seed.readUInt32BE(8), seed.readUInt32BE(12)]),
    disk,
    network,
    cipher: aesGcm((bytes) => randomFillSync(bytes)),
    probe: (request) => probe(request, programs),
    log,
    turn: () => new Promise((resolve) => setImmediate(resolve)),
    halt: stop,
    ports: network.ports,
    close: async () => {
      programs.close()
      await network.close()
      await close()
    },
  }
}
