/**
 * A disk in memory that fails as disks do. What is written is in the page cache until `sync`; what a crash leaves of
 * unsynced bytes is chosen sector by sector: the old bytes, the new ones, a part of them, or garbage. Only bytes that a
 * write changes are at risk (SQLite calls it "powersafe overwrite"; file systems with a journal rely on it too). Names
 * behave the same way: a file that was created, renamed or removed may be as it was before unless its folder was synced.
 */
import type { Disk } from '../../src/io/io.ts'
import type { Random } from '../../src/io/random.ts'
import { decodeBatch, decodeSegmentHeader, segmentHeaderLength } from '../../src/replica/records.ts'

const sectorBytes = 512

interface Sector {
  /** As on the disk. */
  old: Buffer
  /** The range written since. */
  from: number
  to: number
}

interface Inode {
  content: Buffer
  size: number
  durableSize: number
  dirty: Map<number, Sector>
  /** Their sync failed: the page cache calls them clean, the disk has the old bytes (Rebello et al., ATC 2020). */
  forgotten: Map<number, Sector>
}

interface NameChange {
  folder: string
  undo(): void
}

export type DiskOperation =
  | 'list'
  | 'read'
  | 'write'
  | 'sync'
  | 'syncFolder'
  | 'truncate'
  | 'rename'
  | 'remove'
  | 'lock'

/** What the world decides about one operation: it may wait, and it may throw the system's error. */
export type Turn = (operation: DiskOperation, file: string) => Promise<void>

export class SimulatedDisk {
  readonly #random: Random
  #files = new Map<string, Inode>()
  #nameChanges: NameChange[] = []
  #life = 0
  /** Sectors may come out of a crash as garbage, not only as old or new. */
  garbage = true
  /** It says that it synced, and did not: everything else here is built on the promise that it does. */
  lies = false

  constructor(random: Random) {
    this.#random = random
  }

  /** The disk as one life of a node sees it: after `crash` its calls neither do anything nor come back. */
  open(turn: Turn = async () => {}): Disk {
    const life = this.#life
    const never = new Promise<never>(() => {})
    const step = async <T>(operation: DiskOperation, file: string, before: () => void, after: () => T): Promise<T> => {
      if (life !== this.#life) return never
      before()
      try {
        await turn(operation, file)
      } catch (error) {
        if (operation === 'sync' && life === this.#life) this.#failSync(file)
        throw error
      }
      if (life !== this.#life) return never
      return after()
    }
    const nothing = () => {}
    return {
      list: (folder) => step('list', folder, nothing, () => this.#list(folder)),
      read: (file, from = 0, length) => step('read', file, nothing, () => this.#read(file, from, length)),
      // In the cache at once, durable when the sync has returned: a crash between finds it torn.
      write: (file, at, chunks) => step('write', file, () => this.#write(file, at, chunks), nothing),
      sync: (file) => step('sync', file, nothing, () => this.#sync(file)),
      syncFolder: (folder) => step('syncFolder', folder, nothing, () => this.#syncFolder(folder)),
      truncate: (file, length) => step('truncate', file, () => this.#truncate(file, length), nothing),
      rename: (from, to) => step('rename', from, () => this.#rename(from, to), nothing),
      remove: (file) => step('remove', file, () => this.#remove(file), nothing),
      lock: () => step('lock', '', nothing, nothing),
    }
  }

  /** Power is lost: unsynced bytes and names survive by chance. `keep`: the process died, the machine did not. */
  crash(keep = false): void {
    this.#life++
    if (!keep) {
      // A journal keeps the order: some first name changes survive, the later ones do not.
      const kept = this.#random.between(0, this.#nameChanges.length)
      for (const change of this.#nameChanges.slice(kept).reverse()) change.undo()
      for (const inode of this.#files.values()) this.#tear(inode)
    }
    if (!keep) this.#nameChanges = []
  }

  /** Everything written is durable now, whatever became of its syncs. */
  settle(): void {
    for (const inode of this.#files.values()) {
      inode.dirty.clear()
      inode.forgotten.clear()
      inode.durableSize = inode.size
    }
    this.#nameChanges = []
  }

  /** Everything is lost. */
  wipe(): void {
    this.#life++
    this.#files = new Map()
    this.#nameChanges = []
  }

  files(): string[] {
    return [...this.#files.keys()].sort()
  }

  /** A file's bytes as a reader would see them now; for tests. */
  peek(file: string): Buffer | undefined {
    const inode = this.#files.get(file)
    return inode && Buffer.from(inode.content.subarray(0, inode.size))
  }

  /** Puts bytes on the disk, durable; for tests and for damage. */
  poke(file: string, bytes: Uint8Array): void {
    const content = Buffer.from(bytes)
    this.#files.set(file, {
      content,
      size: content.length,
      durableSize: content.length,
      dirty: new Map(),
      forgotten: new Map(),
    })
  }

  /**
   * A bit is another from now on, or (`sector`) one sector holds what was meant for elsewhere: in a file of the log or a
   * snapshot, where the damage can be told from a write that was never finished. Call it while nothing runs on this disk.
   * Returns where; undefined: there is no such place.
   */
  rot(extent: 'bit' | 'sector' = 'bit'): { file: string; offset: number } | undefined {
    const random = this.#random
    const files = this.files().filter((file) => file.startsWith('raft/') && /\.(wal|snapshot)$/.test(file))
    const segments = files.filter(
      (file) => file.endsWith('.wal') && decodeSegmentHeader(this.peek(file)!) !== undefined,
    )
    const last = segments.at(-1)
    const places = files.flatMap((file) => {
      if (file.startsWith('raft/damaged/')) return []
      if (file.endsWith('.snapshot') || (segments.includes(file) && file !== last))
        return [{ file, end: this.peek(file)!.length }]
      return file === last ? [{ file, end: beforeLastBatch(this.peek(file)!) }] : []
    })
    const place = random.pick(places.filter(({ end }) => end > 0))
    if (place === undefined) return undefined
    const { content } = this.#files.get(place.file)!
    const offset = random.between(0, place.end - 1)
    if (extent === 'bit') content[offset]! ^= 1 << random.between(0, 7)
    else {
      const start = offset - (offset % sectorBytes)
      const stray = Buffer.from(Array.from({ length: sectorBytes }, () => random.word() & 0xff))
      stray.copy(content, start, 0, Math.min(sectorBytes, place.end - start))
    }
    return { file: place.file, offset }
  }

  #list(folder: string): string[] {
    const prefix = `${folder}/`
    const names = new Set<string>()
    for (const file of this.#files.keys()) {
      if (file.startsWith(prefix)) names.add(file.slice(prefix.length).split('/')[0]!)
    }
    return [...names].sort()
  }

  #read(file: string, from: number, length: number | undefined): Uint8Array | undefined {
    const inode = this.#files.get(file)
    if (inode === undefined) return undefined
    const end = length === undefined ? inode.size : Math.min(inode.size, from + length)
    return new Uint8Array(inode.content.subarray(Math.min(from, end), end))
  }

  #write(file: string, at: number, chunks: readonly Uint8Array[]): void {
    let inode = this.#files.get(file)
    if (inode === undefined) {
      inode = { content: Buffer.alloc(0), size: 0, durableSize: 0, dirty: new Map(), forgotten: new Map() }
      this.#files.set(file, inode)
      this.#nameChanges.push({ folder: folderOf(file), undo: () => this.#files.delete(file) })
    }
    for (const chunk of chunks) {
      this.#change(inode, at, chunk)
      at += chunk.length
    }
  }

  #change(inode: Inode, at: number, bytes: Uint8Array): void {
    const end = at + bytes.length
    this.#grow(inode, end)
    for (let sector = Math.floor(at / sectorBytes); sector * sectorBytes < end; sector++) {
      const start = sector * sectorBytes
      const from = Math.max(at, start) - start
      const to = Math.min(end, start + sectorBytes) - start
      const dirty = inode.dirty.get(sector)
      if (dirty === undefined) {
        // Beyond the end of the file there is nothing to remember: only what a write changes is at risk.
        const old = Buffer.allocUnsafe(sectorBytes)
        inode.content.copy(old, 0, start, start + sectorBytes)
        inode.dirty.set(sector, { old, from, to })
      } else {
        dirty.from = Math.min(dirty.from, from)
        dirty.to = Math.max(dirty.to, to)
      }
    }
    inode.content.set(bytes, at)
    inode.size = Math.max(inode.size, end)
  }

  #grow(inode: Inode, length: number): void {
    if (inode.content.length >= length) return
    const content = Buffer.alloc(Math.max(length, inode.content.length * 2, 4096))
    inode.content.copy(content)
    inode.content = content
  }

  #sync(file: string): void {
    const inode = this.#files.get(file)
    if (inode === undefined) throw Object.assign(new Error(`ENOENT: ${file}`), { code: 'ENOENT' })
    if (this.lies) return
    for (const sector of inode.dirty.keys()) inode.forgotten.delete(sector)
    inode.dirty.clear()
    inode.durableSize = inode.size
  }

  #failSync(file: string): void {
    const inode = this.#files.get(file)
    if (inode === undefined) return
    for (const [sector, dirty] of inode.dirty) if (!inode.forgotten.has(sector)) inode.forgotten.set(sector, dirty)
    inode.dirty.clear()
  }

  #syncFolder(folder: string): void {
    this.#nameChanges = this.#nameChanges.filter((change) => change.folder !== folder)
  }

  #truncate(file: string, length: number): void {
    const inode = this.#files.get(file)
    if (inode === undefined) throw Object.assign(new Error(`ENOENT: ${file}`), { code: 'ENOENT' })
    if (length < inode.size) this.#change(inode, length, new Uint8Array(inode.size - length))
    this.#grow(inode, length)
    inode.size = length
  }

  #rename(from: string, to: string): void {
    const inode = this.#files.get(from)
    if (inode === undefined) throw Object.assign(new Error(`ENOENT: ${from}`), { code: 'ENOENT' })
    const replaced = this.#files.get(to)
    this.#files.set(to, inode)
    this.#files.delete(from)
    this.#nameChanges.push({
      folder: folderOf(to),
      undo: () => {
        this.#files.set(from, inode)
        if (replaced === undefined) this.#files.delete(to)
        else this.#files.set(to, replaced)
      },
    })
  }

  #remove(file: string): void {
    const inode = this.#files.get(file)
    if (inode === undefined) return
    this.#files.delete(file)
    this.#nameChanges.push({ folder: folderOf(file), undo: () => this.#files.set(file, inode) })
  }

  #tear(inode: Inode): void {
    const random = this.#random
    for (const [sector, { old }] of inode.forgotten) {
      if (!inode.dirty.has(sector)) old.copy(inode.content, sector * sectorBytes)
    }
    inode.forgotten.clear()
    for (const [sector, { old, from, to }] of inode.dirty) {
      const start = sector * sectorBytes
      const choice = random.fraction()
      if (choice < 0.4) continue
      const cut = choice < 0.8 ? from : random.between(from, to)
      for (let at = cut; at < to; at++) {
        if (inode.content[start + at] === old[at]) continue
        inode.content[start + at] = choice < 0.9 || !this.garbage ? old[at]! : random.word() & 0xff
      }
    }
    if (inode.size !== inode.durableSize && random.chance(0.5)) {
      inode.size = random.between(Math.min(inode.size, inode.durableSize), Math.max(inode.size, inode.durableSize))
    }
    inode.content.fill(0, inode.size)
    inode.dirty.clear()
    inode.durableSize = inode.size
  }
}

/** Where the last batch that verifies begins: what is damaged before it has a successor. */
function beforeLastBatch(segment: Buffer): number {
  const { life, firstBatch } = decodeSegmentHeader(segment)!
  let start = 0
  for (let at = segmentHeaderLength, number = firstBatch; ; number++) {
    const batch = decodeBatch(segment, at, life, number)
    if (batch === undefined) return start
    start = at
    at = batch.end
  }
}

function folderOf(file: string): string {
  return file.slice(0, Math.max(0, file.lastIndexOf('/')))
}
