/**
 * How far the log is known to be committed, in `raft/commit` beside it, so that a server that starts applies up to there at
 * once and need not wait for a leader to say so; and so that it notices when the log has become shorter than that, which a
 * log cut off between two batches would not show by itself. Nothing is acknowledged because of it: it is written now and
 * then, after the entries it speaks of are durable, and may be old, or not there at all.
 *
 * Two slots, each in a sector of its own, written in turn, so that a torn write leaves the one before:
 *
 *   magic 8 · count 6 · index 6 · term 6 · CRC32 4      at 0 and at 4096
 */
import { crc32 } from 'node:zlib'
import { TooNew } from '../errors.ts'
import type { Disk } from '../io/io.ts'
import type { Index, Millis, Term } from '../model.ts'
import type { Raft } from '../raft/raft.ts'

export const bookmarkFile = 'raft/commit'
/** With the format's version, one digit, in place of the 0. */
const magic = Buffer.from('\x89MARKv0\n', 'latin1')
const versionAt = 6
export const bookmarkVersion = 1
const slotLength = 8 + 6 + 6 + 6 + 4
const slotAt = [0, 4096] as const

interface Slot {
  count: number
  index: Index
  term: Term
}

export class Bookmark {
  /** Everything up to here is committed, and was durable here; 0: nothing is known. */
  index: Index
  term: Term
  /** There was something in the file, and none of it can be relied on. */
  readonly damaged: boolean
  readonly #disk: Disk
  #count: number
  #exists: boolean

  private constructor(disk: Disk, last: Slot, exists: boolean) {
    this.#disk = disk
    this.index = last.index
    this.term = last.term
    this.#count = last.count
    this.#exists = exists
    this.damaged = exists && last.count === 0
  }

  /** @throws TooNew, or the disk's error. Damage is no error: the file only repeats what the log and the others know. */
  static async open(disk: Disk): Promise<Bookmark> {
    const bytes = await disk.read(bookmarkFile)
    const file = Buffer.from(bytes ?? new Uint8Array(0))
    let last: Slot = { count: 0, index: 0, term: 0 }
    for (const at of slotAt) {
      const slot = decode(file.subarray(at, at + slotLength))
      if (slot !== undefined && slot.count > last.count) last = slot
    }
    return new Bookmark(disk, last, bytes !== undefined)
  }

  /** Durable when it resolves. One call at a time; entries up to `index`, of that term, are committed and durable here. */
  async keep(index: Index, term: Term): Promise<void> {
    const count = this.#count + 1
    const slot = encode({ count, index, term })
    if (this.#exists) {
      await this.#disk.write(bookmarkFile, slotAt[(count % 2) as 0 | 1], [slot])
      await this.#disk.sync(bookmarkFile)
    } else {
      // All of it from the start: later writes need no more room, not even on a full disk.
      const file = Buffer.alloc(slotAt[1] + slotLength)
      file.set(slot, slotAt[(count % 2) as 0 | 1])
      await this.#disk.write(bookmarkFile, 0, [file])
      await this.#disk.sync(bookmarkFile)
      await this.#disk.syncFolder(bookmarkFile.slice(0, bookmarkFile.lastIndexOf('/')))
      this.#exists = true
    }
    this.#count = count
    this.index = index
    this.term = term
  }
}

/** The bookmark is at most so old while the log grows. */
const bookmarkInterval: Millis = 1000

/** Keeps the bookmark up with the log, one write at a time. */
export class BookmarkKeeper {
  readonly #bookmark: Bookmark
  readonly #raft: Raft
  readonly #failed: (error: unknown) => void
  #due: Millis
  #underWay: Promise<void> | undefined

  constructor(bookmark: Bookmark, raft: Raft, now: Millis, failed: (error: unknown) => void) {
    this.#bookmark = bookmark
    this.#raft = raft
    this.#failed = failed
    this.#due = now + bookmarkInterval
  }

  /** Not when something is committed: nobody waits for it, and a disk has better to do. */
  tick(now: Millis): void {
    if (now >= this.#due) this.keep(now)
  }

  /** Begins to write unless there is nothing new, or a write is under way. */
  keep(now: Millis): void {
    // What is committed may still be on its way to this disk.
    const index = Math.min(this.#raft.commit, this.#raft.savedIndex)
    const term = this.#raft.termAt(index)
    if (index <= this.#bookmark.index || term === undefined || this.#underWay !== undefined) return
    this.#due = now + bookmarkInterval
    this.#underWay = this.#bookmark.keep(index, term).then(
      () => {
        this.#underWay = undefined
      },
      (error) => {
        this.#underWay = undefined
        this.#failed(error)
      },
    )
  }

  /** Resolves when nothing is being written. */
  async idle(): Promise<void> {
    await this.#underWay
  }
}

function encode({ count, index, term }: Slot): Uint8Array {
  const bytes = Buffer.alloc(slotLength)
  magic.copy(bytes)
  bytes.write(String(bookmarkVersion), versionAt, 'latin1')
  bytes.writeUIntBE(count, 8, 6)
  bytes.writeUIntBE(index, 14, 6)
  bytes.writeUIntBE(term, 20, 6)
  bytes.writeUInt32BE(crc32(bytes.subarray(0, -4)), slotLength - 4)
  return bytes
}

/** Undefined: never written, torn or damaged. @throws TooNew */
function decode(bytes: Buffer): Slot | undefined {
  if (bytes.length < slotLength || crc32(bytes.subarray(0, -4)) !== bytes.readUInt32BE(slotLength - 4)) return undefined
  const version = bytes[versionAt]! - 0x30
  const given = Buffer.from(bytes.subarray(0, magic.length))
  given[versionAt] = magic[versionAt]!
  if (!given.equals(magic)) return undefined
  if (version > bookmarkVersion) throw new TooNew(bookmarkFile, version, bookmarkVersion)
  return { count: bytes.readUIntBE(8, 6), index: bytes.readUIntBE(14, 6), term: bytes.readUIntBE(20, 6) }
}
