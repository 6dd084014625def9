/** The real disk: a data directory, its files by relative path, and its lock. */
import { randomUUID } from 'node:crypto'
import { constants, fdatasync, writevSync } from 'node:fs'
import {
  access,
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { hostname } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { BadRequest } from '../errors.ts'
import type { Disk } from './io.ts'

const handlesMax = 32
/** Linux takes at most so many pieces in one writev. */
const piecesMax = 1024
/** So little goes to the page cache at once: the way through the pool of threads would cost more than the copying. */
const smallWriteMax = 256 * 1024
/** How long a holder of the lock may take to say who it is. */
const introductionWait = 1000
const attemptsMax = 20

interface Opened {
  handle: FileHandle
  /** Written since the last sync: a failed writeback must be reported to this handle, so it stays open. */
  dirty: boolean
}

export class NodeDisk implements Disk {
  readonly #root: string
  readonly #opened = new Map<string, Opened>()
  /** The last operation on each file: operations on one file happen one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()
  #lock: { release(): Promise<void> } | undefined

  private constructor(root: string) {
    this.#root = root
  }

  /** @throws BadRequest when the directory cannot be made, read or written. */
  static async open(folder: string): Promise<NodeDisk> {
    const root = resolve(folder)
    try {
      await makeFolders(root)
      await access(root, constants.R_OK | constants.W_OK | constants.X_OK)
      await readdir(root)
    } catch (error) {
      throw new BadRequest(
        `expected the data directory ${root} to be readable and writable by this user: ${reasonOf(error)}`,
        { cause: error },
      )
    }
    return new NodeDisk(root)
  }

  async list(folder: string): Promise<string[]> {
    try {
      return (await readdir(this.#path(folder))).sort()
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  }

  read(file: string, from = 0, length?: number): Promise<Uint8Array | undefined> {
    return this.#turn(file, async () => {
      let handle: FileHandle
      try {
        handle = await open(this.#path(file), 'r')
      } catch (error) {
        if (isMissing(error)) return undefined
        throw error
      }
      try {
        const { size } = await handle.stat()
        const wanted = Math.max(0, Math.min(length ?? size, size - from))
        const bytes = Buffer.allocUnsafeSlow(wanted)
        let filled = 0
        while (filled < wanted) {
          const { bytesRead } = await handle.read(bytes, filled, wanted - filled, from + filled)
          if (bytesRead === 0) break
          filled += bytesRead
        }
        return bytes.subarray(0, filled)
      } finally {
        await handle.close()
      }
    })
  }

  write(file: string, at: number, chunks: Uint8Array[]): Promise<void> {
    const opened = this.#opened.get(file)
    // Only while nothing else is written: where much is, the kernel makes whoever writes wait for the disk.
    if (opened !== undefined && this.#turns.size === 0 && isSmall(chunks)) {
      opened.dirty = true
      return writtenAtOnce(file, opened.handle.fd, at, chunks)
    }
    return this.#turn(file, async () => {
      const opened = await this.#open(file)
      opened.dirty = true
      let pieces = chunks.length > piecesMax ? [Buffer.concat(chunks)] : chunks.filter((chunk) => chunk.length > 0)
      let position = at
      while (pieces.length > 0) {
        const { bytesWritten } = await opened.handle.writev(pieces, position)
        position += bytesWritten
        pieces = after(pieces, bytesWritten)
      }
    })
  }

  sync(file: string): Promise<void> {
    return this.#turn(file, async () => {
      const opened = await this.#open(file)
      await synced(opened.handle.fd)
      opened.dirty = false
      await this.#closeOldest()
    })
  }

  syncFolder(folder: string): Promise<void> {
    return syncFolder(this.#path(folder))
  }

  truncate(file: string, length: number): Promise<void> {
    return this.#turn(file, async () => {
      const opened = await this.#open(file)
      opened.dirty = true
      await opened.handle.truncate(length)
    })
  }

  rename(from: string, to: string): Promise<void> {
    return this.#turn([from, to], async () => {
      await this.#close(from)
      await this.#close(to)
      await makeFolders(dirname(this.#path(to)))
      await rename(this.#path(from), this.#path(to))
    })
  }

  remove(file: string): Promise<void> {
    return this.#turn(file, async () => {
      await this.#close(file)
      try {
        await unlink(this.#path(file))
      } catch (error) {
        if (!isMissing(error)) throw error
      }
    })
  }

  /**
   * Held until `close` or the end of the process, however it ends: a listening socket in the directory, which the kernel
   * closes with its process. Whether its holder lives is asked by connecting, so neither a reused pid nor a container in
   * which every pid is 1 deceives it, and containers that share the volume see each other.
   * @throws BadRequest naming the holder.
   */
  async lock(): Promise<void> {
    this.#lock ??= await lockFolder(this.#root)
  }

  /** Waits for what is under way, closes all files and gives the lock back. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#turns.values())
    for (const file of [...this.#opened.keys()]) await this.#close(file)
    await this.#lock?.release()
    this.#lock = undefined
  }

  #path(file: string): string {
    return join(this.#root, file)
  }

  /** Begins when all that was asked before of these files is done. */
  #turn<T>(files: string | readonly string[], operation: () => Promise<T>): Promise<T> {
    const names = typeof files === 'string' ? [files] : files
    const before = names.map((file) => this.#turns.get(file)).filter((turn) => turn !== undefined)
    const begun = before.length === 0 ? operation() : Promise.allSettled(before).then(operation)
    const mine = begun.catch((error) => {
      throw named(error, names[0] as string)
    })
    for (const file of names) this.#turns.set(file, mine)
    const done = () => {
      for (const file of names) if (this.#turns.get(file) === mine) this.#turns.delete(file)
    }
    mine.then(done, done)
    return mine
  }

  async #open(file: string): Promise<Opened> {
    const known = this.#opened.get(file)
    if (known !== undefined) {
      // Again the newest: a Map keeps the order of insertion.
      this.#opened.delete(file)
      this.#opened.set(file, known)
      return known
    }
    const path = this.#path(file)
    const flags = constants.O_RDWR | constants.O_CREAT
    let handle: FileHandle
    try {
      handle = await open(path, flags, 0o600)
    } catch (error) {
      if (!isMissing(error)) throw error
      await makeFolders(dirname(path))
      handle = await open(path, flags, 0o600)
    }
    const opened = { handle, dirty: false }
    this.#opened.set(file, opened)
    return opened
  }

  async #close(file: string): Promise<void> {
    const opened = this.#opened.get(file)
    this.#opened.delete(file)
    await opened?.handle.close()
  }

  async #closeOldest(): Promise<void> {
    if (this.#opened.size <= handlesMax) return
    for (const [file, { dirty }] of this.#opened) {
      if (!dirty && !this.#turns.has(file)) return this.#close(file)
    }
  }
}

function isSmall(chunks: readonly Uint8Array[]): boolean {
  let bytes = 0
  for (const { length } of chunks) bytes += length
  return bytes <= smallWriteMax && chunks.length <= piecesMax
}

function writtenAtOnce(file: string, descriptor: number, at: number, chunks: Uint8Array[]): Promise<void> {
  try {
    let pieces = chunks.filter((chunk) => chunk.length > 0)
    let position = at
    while (pieces.length > 0) {
      const written = writevSync(descriptor, pieces, position)
      position += written
      pieces = after(pieces, written)
    }
    return Promise.resolve()
  } catch (error) {
    return Promise.reject(named(error, file))
  }
}

function synced(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(descriptor, (error) => (error === null ? resolve() : reject(error)))
  })
}

function after(pieces: Uint8Array[], written: number): Uint8Array[] {
  let at = 0
  while (at < pieces.length && written >= pieces[at]!.length) written -= pieces[at++]!.length
  const rest = pieces.slice(at)
  if (written > 0) rest[0] = rest[0]!.subarray(written)
  return rest
}

/**
 * Makes the folders that are missing, and their names durable. One after the other: Node's own recursive mkdir never
 * ends where the file system knows the parent and still says ENOENT, as /proc does.
 */
async function makeFolders(path: string): Promise<void> {
  const missing: string[] = []
  for (let folder = path; !(await isFolder(folder)); folder = dirname(folder)) missing.push(folder)
  for (const folder of missing.reverse()) {
    try {
      await mkdir(folder, { mode: 0o755 })
    } catch (error) {
      // Another file of the same new folder may have been quicker.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !(await isFolder(folder))) throw error
    }
    await syncFolder(dirname(folder))
  }
}

/** False: there is nothing of that name. @throws when there is, and it is no folder */
async function isFolder(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
  throw new Error(`ENOTDIR: ${path} is no directory`)
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Each contender first listens at a name of its own, then looks at all the others, and gives up if any of them lives. Of two
 * the later one to listen certainly sees the other, so never do both win. Both may lose; then each tries again after a time
 * of its own. Names are never used twice, so what a dead process left can be removed without harm to anybody.
 */
async function lockFolder(root: string): Promise<{ release(): Promise<void> }> {
  // A socket's path may have 107 bytes; the directory's may be longer, but its descriptor's name is short.
  const directory = await open(root, 'r')
  const short = (name: string) => `/proc/self/fd/${directory.fd}/${name}`
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const name = `lock.${randomUUID()}`
      const introduction = { state: 'starting' }
      const server = await listenAt(short(name), introduction)
      if (typeof server === 'string') {
        // Some shared folders of virtual machines have no sockets.
        const release = await lockByProcess(root)
        await directory.close()
        return { release }
      }
      const others = await livingLocks(root, name, short)
      // Somebody who asked in the moment between our bind and our listen took us for dead.
      const seen = (await readdir(root)).includes(name)
      if (others.length === 0 && seen) {
        introduction.state = 'held'
        return {
          release: async () => {
            await closed(server)
            await directory.close()
          },
        }
      }
      await closed(server)
      const holder = others.find((other) => !other.startsWith('starting '))
      if (holder !== undefined) throw heldBy(root, holder.replace(/^held /, ''))
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20 * (attempt + 1)))
    }
    throw heldBy(root, 'processes that start at the same time')
  } catch (error) {
    await directory.close().catch(() => {})
    throw error
  }
}

/** What the others say of themselves; the names of the dead are removed. */
async function livingLocks(root: string, mine: string, short: (name: string) => string): Promise<string[]> {
  const living: string[] = []
  for (const name of await readdir(root)) {
    if (name === mine || !/^lock\.[0-9a-f-]{36}$/.test(name)) continue
    const holder = await holderOf(short(name))
    if (holder !== undefined) living.push(holder)
    else await unlink(join(root, name)).catch(() => {})
  }
  return living
}

/** Closing also removes the socket's name. */
function closed(server: Server): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve))
}

function heldBy(root: string, holder: string): BadRequest {
  return new BadRequest(
    `the data directory ${root} is in use by ${holder}; stop it first, or use another with -data-dir`,
  )
}

function listenAt(path: string, introduction: { state: string }): Promise<Server | string> {
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(`${introduction.state} pid ${process.pid} on ${hostname()}`)
    })
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen(path, () => {
      server.unref()
      resolve(server)
    })
  })
}

/** Who listens at the socket; undefined when nobody does any more. */
function holderOf(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let name = ''
    const socket = connect(path)
    socket.setTimeout(introductionWait, () => socket.destroy())
    socket.on('data', (bytes) => {
      name += bytes.toString('utf8')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT' || error.code === 'ENOTSOCK') resolve(undefined)
    })
    socket.on('close', () => resolve(name === '' ? 'held another process' : name))
  })
}

/** The weaker lock: a file that names a process of this machine's current boot by its number and its start. */
async function lockByProcess(root: string): Promise<() => Promise<void>> {
  const file = join(root, 'lock.json')
  const mine = JSON.stringify({
    pid: process.pid,
    host: hostname(),
    start: await processStart(process.pid),
    boot: await boot(),
  })
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      await writeFile(file, mine, { flag: 'wx' })
      return () => unlink(file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const text = await readFile(file, 'utf8')
    const holder = JSON.parse(text || '{}') as { pid?: number; host?: string; start?: string; boot?: string }
    const here = holder.host === hostname() && holder.boot === (await boot())
    if (here && holder.pid !== undefined && holder.start === (await processStart(holder.pid))) {
      throw heldBy(root, `pid ${holder.pid} on ${holder.host}`)
    }
    await unlink(file)
  }
  throw heldBy(root, 'processes that start at the same time')
}

/** When the process started, in clock ticks since boot (proc(5), stat, field 22); '' when there is none. */
async function processStart(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

function boot(): Promise<string> {
  return readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
}

/** What fails on an open file does not say on which. */
function named(error: unknown, file: string): unknown {
  if (error instanceof Error && (error as NodeJS.ErrnoException).path === undefined) error.message += ` '${file}'`
  return error
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
