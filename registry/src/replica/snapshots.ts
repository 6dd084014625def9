/**
 * Snapshots on disk, in `raft/snapshots`. A file comes into being under a temporary name, is made durable, and only then
 * gets its name, so a name stands for a whole file. The newest two are kept: should the newest be damaged, the one before
 * and the log after it still give the state.
 *
 *   magic 8 · mark length 4 · mark · CRC32 4
 *   chunk: length 4 · bytes · CRC32 4      (any number; lengths are above 0)
 *   trailer: 0 4 · number of chunks 4 · CRC32 4
 *
 * The header's layout is the same in every version of the format, so that any version can tell which one a file has.
 * CRCs are chained from the first byte to the last, so a chunk of another file or another place never verifies.
 * The same bytes go from the leader to a follower.
 */
import { crc32 } from 'node:zlib'
import { Corrupt, TooNew } from '../errors.ts'
import type { Disk } from '../io/io.ts'
import type { Index } from '../model.ts'
import { decodeSnapshotMark, encodeSnapshotMark } from '../raft/codec.ts'
import type { SnapshotMark } from '../raft/message.ts'
import { setAside } from './damage.ts'
import type { StateMachine } from './machine.ts'

/** With the format's version, one digit, in place of the 0. */
const magic = Buffer.from('\x89SNAPv0\n', 'latin1')
const versionAt = 6
export const snapshotVersion = 1
const chunkMax = 256 * 1024 * 1024
const kept = 2
/** Written at a time: a state of small slices does not become as many writes. */
const writeBytes = 256 * 1024
/** Read at a time, and all that is done with it without a pause. */
const readBytes = 256 * 1024

export interface SnapshotFile {
  file: string
  mark: SnapshotMark
  size: number
}

export class Snapshots {
  readonly #disk: Disk
  readonly #folder: string
  /** Newest first; each was whole when it was opened or written. */
  #files: SnapshotFile[] = []
  /** Files that did not verify, with the reason, and the index that the name tells. */
  readonly damaged: { file: string; index: Index; reason: string }[] = []
  #temporary = 0

  private constructor(disk: Disk, folder: string) {
    this.#disk = disk
    this.#folder = folder
  }

  /** Removes what was never finished. Damaged files stay where they are until somebody puts them aside. */
  static async open(disk: Disk, folder: string): Promise<Snapshots> {
    const snapshots = new Snapshots(disk, folder)
    for (const name of await disk.list(folder)) {
      const file = `${folder}/${name}`
      if (name.endsWith('.part')) {
        await disk.remove(file)
      } else if (name.endsWith('.snapshot')) {
        try {
          snapshots.#files.push(await snapshots.#verify(file))
        } catch (error) {
          if (!(error instanceof Corrupt)) throw error
          snapshots.damaged.push({ file, index: Number.parseInt(name, 10) || 0, reason: error.message })
        }
      }
    }
    snapshots.#files.sort((one, other) => other.mark.index - one.mark.index)
    // A name that a dead process gave may be in memory only.
    if (snapshots.#files.length > 0) await disk.syncFolder(folder)
    return snapshots
  }

  get newest(): SnapshotFile | undefined {
    return this.#files[0]
  }
  find({ index, term }: SnapshotMark): SnapshotFile | undefined {
    return this.#files.find(({ mark }) => mark.index === index && mark.term === term)
  }
  /** Up to here two of them hold everything, so that one may be damaged; 0: there are no two. */
  get heldTwice(): Index {
    return this.#files[kept - 1]?.mark.index ?? 0
  }

  /** Durable when this resolves. Asks for a chunk, writes, and asks for the next, so the state may be cut as it is read. */
  async write(mark: SnapshotMark, chunks: Iterable<Uint8Array>): Promise<SnapshotFile> {
    const temporary = this.temporaryFile()
    let at = 0
    let pieces: Uint8Array[] = []
    let waiting = 0
    const flush = async () => {
      await this.#disk.write(temporary, at, pieces)
      at += waiting
      pieces = []
      waiting = 0
    }
    const add = (bytes: Uint8Array) => {
      pieces.push(bytes)
      waiting += bytes.length
    }
    try {
      const head = header(mark)
      let chain = crc32(head)
      add(head)
      add(word(chain))
      let count = 0
      for (const chunk of chunks) {
        if (chunk.length === 0) continue
        const length = word(chunk.length)
        chain = crc32(chunk, crc32(length, chain))
        add(length)
        add(chunk)
        add(word(chain))
        count++
        if (waiting >= writeBytes) await flush()
      }
      const trailer = Buffer.concat([word(0), word(count)])
      add(trailer)
      add(word(crc32(trailer, chain)))
      await flush()
      return await this.#keep({ file: temporary, mark, size: at })
    } catch (error) {
      await this.#disk.remove(temporary).catch(() => {})
      throw error
    }
  }

  /** Reads one that somebody could not verify. Puts it aside when it is damaged; it is not used any more then. */
  async recheck(one: SnapshotFile): Promise<{ reason: string; kept: string } | undefined> {
    if (!this.#files.includes(one)) return undefined
    try {
      await this.#verify(one.file)
      return undefined
    } catch (error) {
      if (!(error instanceof Corrupt)) throw error
      this.#files = this.#files.filter((other) => other !== one)
      return { reason: error.message, kept: await setAside(this.#disk, [one.file]) }
    }
  }

  /** A name for a file whose bytes come from elsewhere; `adopt` or `discard` it. */
  temporaryFile(): string {
    return `${this.#folder}/${++this.#temporary}.part`
  }

  /** Verifies a temporary file and makes it a durable snapshot. @throws Corrupt */
  async adopt(temporary: string): Promise<SnapshotFile> {
    return this.#keep(await this.#verify(temporary))
  }

  discard(temporary: string): Promise<void> {
    return this.#disk.remove(temporary)
  }

  /** The chunks as they were written, every one verified before the first is returned. @throws Corrupt */
  async chunks({ file }: SnapshotFile): Promise<Uint8Array[]> {
    const chunks: Uint8Array[] = []
    await this.#verify(file, (chunk) => chunks.push(chunk))
    return chunks
  }

  /**
   * Puts the state of the machine back, reading as it goes: the loop is held for a piece at a time, and the machine changes
   * only when every byte has verified. `stopped`: not wanted any more.
   * @returns whether it was put back. @throws Corrupt about the file, or what the machine says about the state
   */
  async restore({ file }: SnapshotFile, machine: StateMachine, stopped: () => boolean = () => false): Promise<boolean> {
    const chunks: Uint8Array[] = []
    const restoring = machine.restoring?.() ?? {
      add: (chunk: Uint8Array) => chunks.push(chunk),
      finish: () => machine.restore(chunks),
    }
    let refused: Error | undefined
    await this.#verify(file, (chunk) => {
      try {
        if (refused === undefined && !stopped()) restoring.add(chunk)
      } catch (error) {
        refused = error as Error
      }
    })
    if (stopped()) return false
    try {
      if (refused !== undefined) throw refused
      restoring.finish()
    } catch (error) {
      // Every byte is as it was written: another copy would be no better.
      if (error instanceof TooNew) throw error
      throw new Error(`${file} is whole, but not a state that can be restored: ${(error as Error).message}`, {
        cause: error,
      })
    }
    return true
  }

  /** Bytes of the file, for sending it. Undefined when it is not there any more. */
  bytes({ file }: SnapshotFile, from: number, length: number): Promise<Uint8Array | undefined> {
    return this.#disk.read(file, from, length)
  }

  /** Removes all but the newest two, save `except`, which are being sent. */
  async prune(except: readonly string[] = []): Promise<void> {
    const superfluous = this.#files.slice(kept).filter(({ file }) => !except.includes(file))
    if (superfluous.length === 0) return
    this.#files = this.#files.filter((one) => !superfluous.includes(one))
    for (const { file } of superfluous) await this.#disk.remove(file)
    await this.#disk.syncFolder(this.#folder)
  }

  async #keep({ file: temporary, mark, size }: SnapshotFile): Promise<SnapshotFile> {
    const name = `${String(mark.index).padStart(16, '0')}-${mark.term}.snapshot`
    const file = `${this.#folder}/${name}`
    await this.#disk.sync(temporary)
    await this.#disk.rename(temporary, file)
    await this.#disk.syncFolder(this.#folder)
    const one = { file, mark, size }
    this.#files = [one, ...this.#files.filter((other) => other.file !== file)]
    this.#files.sort((a, b) => b.mark.index - a.mark.index)
    return one
  }

  /** Reads the whole file, piece by piece. @throws Corrupt naming the file and the offset. */
  async #verify(file: string, onChunk: (chunk: Uint8Array) => void = () => {}): Promise<SnapshotFile> {
    let at = 0
    let chain = 0
    let window: Buffer = Buffer.alloc(0)
    let windowAt = 0
    const take = async (length: number, what: string): Promise<Buffer> => {
      if (at + length > windowAt + window.length) {
        const read = (await this.#disk.read(file, at, Math.max(length, readBytes))) ?? new Uint8Array(0)
        window = Buffer.from(read.buffer, read.byteOffset, read.length)
        windowAt = at
        if (window.length < length) throw new Corrupt(`${file}: ends at offset ${at + window.length} inside ${what}`)
      }
      const bytes = window.subarray(at - windowAt, at - windowAt + length)
      at += length
      chain = crc32(bytes, chain)
      return bytes
    }
    const check = async (what: string) => {
      const expected = chain
      const from = at
      const given = (await take(4, what)).readUInt32BE(0)
      chain = expected
      if (given !== expected) throw new Corrupt(`${file}: ${what} before offset ${from} fails its checksum`)
    }
    const start = await take(magic.length + 4, 'its header')
    const given = Buffer.from(start.subarray(0, magic.length))
    const version = given[versionAt]! - 0x30
    given[versionAt] = magic[versionAt]!
    if (!given.equals(magic) || version < 1 || version > 9) {
      throw new Corrupt(`${file}: expected a snapshot at offset 0`)
    }
    const markLength = start.readUInt32BE(magic.length)
    if (markLength > 1024 * 1024) throw new Corrupt(`${file}: its header at offset 0 fails its checksum`)
    const markBytes = await take(markLength, 'its header')
    await check('its header')
    if (version > snapshotVersion) throw new TooNew(file, version, snapshotVersion)
    const mark = decodeSnapshotMark(markBytes)
    for (let count = 0; ; count++) {
      const length = (await take(4, `chunk ${count}`)).readUInt32BE(0)
      if (length > chunkMax) throw new Corrupt(`${file}: the length before offset ${at} fails its checksum`)
      if (length === 0) {
        const given = (await take(4, 'its trailer')).readUInt32BE(0)
        await check('its trailer')
        if (given !== count) throw new Corrupt(`${file}: expected ${given} chunks, found ${count}`)
        return { file, mark, size: at }
      }
      const chunk = await take(length, `chunk ${count}`)
      await check(`chunk ${count}`)
      onChunk(chunk)
    }
  }
}

function header(mark: SnapshotMark): Uint8Array {
  const bytes = encodeSnapshotMark(mark)
  const start = Buffer.from(magic)
  start.write(String(snapshotVersion), versionAt, 'latin1')
  return Buffer.concat([start, word(bytes.length), bytes])
}

function word(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value, 0)
  return bytes
}
