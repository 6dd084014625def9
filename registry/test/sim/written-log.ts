/**
 * What one server's disk holds of its log and its vote, followed write by write from outside: the product's own word for
 * it is not asked. A batch counts when its sync has returned, a snapshot when its folder's has.
 *
 * A second reading of the log's format (`replica/records.ts`); no checksums, for these bytes come from the writer.
 */
import type { Disk } from '../../src/io/io.ts'
import type { Index, Term } from '../../src/model.ts'
import type { HardState } from '../../src/raft/message.ts'
import { segmentHeaderLength } from '../../src/replica/records.ts'
import type { SimulatedDisk } from './disk.ts'

interface Written {
  kind: number
  payload: Buffer
}

const kinds = { hardState: 1, entry: 2, restart: 3, commit: 4 }

/** An entry that is durable, and the term of the one before it; undefined: that is not in the log. */
export type OnEntry = (entry: { index: Index; term: Term; previousTerm: Term | undefined; payload: Buffer }) => void

export class WrittenLog {
  hardState: HardState = { term: 0, vote: '' }
  /** Everything up to here is in a durable snapshot. */
  snapshot: Index = 0
  lastIndex: Index = 0
  readonly #terms = new Map<Index, Term>()
  readonly #pending = new Map<string, Written[]>()
  /** A start is reading the disk: what it writes there again is read with the rest when it is done. */
  #starting = false
  #named: { folder: string; index: Index }[] = []
  readonly #onEntry: OnEntry

  constructor(onEntry: OnEntry) {
    this.#onEntry = onEntry
  }

  /** The entry at `index` of that term, or a snapshot that holds it. */
  has(index: Index, term: Term): boolean {
    return this.snapshot >= index || this.#terms.get(index) === term
  }

  termAt(index: Index): Term | undefined {
    return this.#terms.get(index)
  }

  /** The same disk, watched, for a life that begins: what the one before did not finish counts no more. */
  watch(disk: Disk): Disk {
    this.#starting = true
    this.#pending.clear()
    this.#named = []
    return {
      ...disk,
      write: (file, at, chunks) => {
        if (file.endsWith('.wal')) this.#wrote(file, at, chunks[0])
        return disk.write(file, at, chunks)
      },
      sync: async (file) => {
        const batch = this.#pending.get(file)
        await disk.sync(file)
        if (batch === undefined) return
        this.#pending.delete(file)
        for (const record of batch) this.#add(record)
      },
      rename: (from, to) => {
        const index = /^(raft\/snapshots)\/0*(\d+)-\d+\.snapshot$/.exec(to)
        if (index !== null) this.#named.push({ folder: index[1]!, index: Number(index[2]) })
        return disk.rename(from, to)
      },
      syncFolder: async (folder) => {
        const named = this.#named.filter((each) => each.folder === folder)
        await disk.syncFolder(folder)
        if (named.length === 0) return
        this.#named = this.#named.filter((each) => !named.includes(each))
        for (const { index } of named) this.snapshot = Math.max(this.snapshot, index)
      },
    }
  }

  /**
   * After a start: what the log now says, all of which the start has made durable again. `lost`: it ended there, and now it
   * ends earlier, though nothing newer took the place of its end.
   */
  reread(disk: SimulatedDisk, snapshot: Index): { lost: Index | undefined } {
    this.#starting = false
    const before = { lastIndex: this.lastIndex, terms: new Map(this.#terms) }
    this.#terms.clear()
    this.hardState = { term: 0, vote: '' }
    this.snapshot = snapshot
    this.lastIndex = snapshot
    for (const file of disk.files()) {
      if (!file.startsWith('raft/wal/')) continue
      const bytes = disk.peek(file)!
      let batch: Written[] = []
      for (const record of recordsIn(bytes, segmentHeaderLength)) {
        if (record.kind !== kinds.commit) batch.push(record)
        else {
          for (const each of batch) this.#add(each)
          batch = []
        }
      }
    }
    this.lastIndex = Math.max(this.lastIndex, snapshot)
    // What was being written at the end may have reached the disk, and cut off what stood there.
    const cut = this.#terms.get(this.lastIndex) !== before.terms.get(this.lastIndex)
    return { lost: this.lastIndex < before.lastIndex && !cut ? before.lastIndex : undefined }
  }

  #wrote(file: string, at: number, chunk: Uint8Array | undefined): void {
    // Where a segment begins there is its header.
    if (at === 0 || chunk === undefined || this.#starting) return
    this.#pending.set(file, recordsIn(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length), 0))
  }

  #add({ kind, payload }: Written): void {
    if (kind === kinds.hardState) {
      this.hardState = { term: payload.readUIntBE(0, 6), vote: payload.toString('utf8', 6) }
    } else if (kind === kinds.restart) {
      this.#terms.clear()
      this.lastIndex = payload.readUIntBE(0, 6)
      this.#terms.set(this.lastIndex, payload.readUIntBE(6, 6))
    } else if (kind === kinds.entry) {
      const index = payload.readUIntBE(0, 6)
      const term = payload.readUIntBE(6, 6)
      for (let cut = index + 1; cut <= this.lastIndex; cut++) this.#terms.delete(cut)
      this.lastIndex = index
      this.#terms.set(index, term)
      this.#onEntry({ index, term, previousTerm: this.#terms.get(index - 1), payload })
    }
  }
}

function recordsIn(bytes: Buffer, from: number): Written[] {
  const records: Written[] = []
  let at = from
  while (at + 9 <= bytes.length) {
    const length = bytes.readUInt32BE(at)
    const kind = bytes[at + 4]!
    const end = at + 5 + length
    if (kind === 0 || kind > kinds.commit || end + 4 > bytes.length) break
    records.push({ kind, payload: bytes.subarray(at + 5, end) })
    at = end + 4
  }
  return records
}
