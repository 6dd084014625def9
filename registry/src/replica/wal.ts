/**
 * The write-ahead log: hard state and entries, durable before anything that depends on them leaves the node.
 *
 * Segments `raft/wal/NNNNNNNNNN.wal` hold batches (`records.ts`). One batch is one write and one sync. Ahead of the batches
 * a segment is filled with zeros, so that most syncs have no change of the file's size to make durable as well. Nothing
 * written is changed again: an entry with a lower index supersedes what follows it, and whole segments go once a snapshot
 * makes them unnecessary. Every segment begins with the hard state, so that the older ones may go.
 *
 * Recovery trusts nothing it cannot verify. The last batch may be torn, for nobody was told that it is durable: it is
 * wiped. Anything else that fails its checksum is damage to data that others rely on, and an error.
 *
 * A failed write or sync is final: Linux marks the pages clean, so that a second sync succeeds without the data being on
 * disk (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020). The log then refuses everything.
 */
import { assert, Corrupt, TooNew } from '../errors.ts'
import type { Disk } from '../io/io.ts'
import type { Random } from '../io/random.ts'
import type { Index, Term } from '../model.ts'
import type { Entry, HardState } from '../raft/message.ts'
import {
  decodeBatch,
  decodeSegmentHeader,
  encodeBatch,
  encodeSegmentHeader,
  laterCommit,
  lifeLength,
  RecordedLog,
  segmentHeaderLength,
  type WalRecord,
  walVersion,
} from './records.ts'

export interface WalOptions {
  /** A new segment begins where a batch would end past this many bytes. */
  segmentBytes: number
  /** How far zeros are written ahead at a time. */
  zeroBytes: number
}

export const walOptionsDefault: WalOptions = { segmentBytes: 16 * 1024 * 1024, zeroBytes: 1024 * 1024 }

export interface Recovered {
  hardState: HardState | undefined
  /** Without gaps; the first may have any index. */
  entries: Entry[]
  /** The log once began anew after this entry, behind a snapshot. */
  start: { index: Index; term: Term } | undefined
  /** Bytes of a torn last batch that were wiped; 0 after a clean stop. */
  tornBytes: number
  /** Segments that are damaged, or older than a damaged one, and hold nothing that `covered` does not. Not used any more. */
  damage: { reason: string; superfluous: string[] } | undefined
}

export interface OpenOptions {
  /** A snapshot on this disk holds everything up to here. */
  covered: Index
  /** Throws when this cannot be all of the log. Asked before anything on the disk is changed. */
  expect?: (entries: readonly Entry[], start: Recovered['start']) => void
}

interface Segment {
  number: number
  file: string
}

/** Entries that lie in one segment and are not superseded. */
interface Run {
  segment: number
  first: Index
  last: Index
}

export class Wal {
  /** How many times a batch was made durable. */
  syncs = 0
  bytesWritten = 0

  readonly #disk: Disk
  readonly #folder: string
  readonly #options: WalOptions
  readonly #life: Uint8Array
  readonly #segments: Segment[]
  readonly #runs: Run[] = []
  #hardState: HardState | undefined
  #batch: number
  /** Where the next batch begins in the last segment, and where its zeros end. */
  #end: number
  #zeroEnd: number
  #saving = false
  #failed: Error | undefined

  private constructor(disk: Disk, folder: string, options: WalOptions, state: WalState) {
    this.#disk = disk
    this.#folder = folder
    this.#options = options
    this.#life = state.life
    this.#segments = state.segments
    this.#batch = state.nextBatch
    this.#end = state.end
    this.#zeroEnd = state.zeroEnd
    this.#hardState = state.log.hardState
    for (const { segment, records } of state.batches) for (const record of records) this.#note(record, segment)
  }

  /** @throws Corrupt naming file and offset, TooNew; or the disk's error. */
  static async open(
    disk: Disk,
    folder: string,
    random: Random,
    options: Partial<WalOptions & OpenOptions> = {},
  ): Promise<{ wal: Wal; recovered: Recovered }> {
    const settings = { ...walOptionsDefault, covered: 0, ...options }
    const state = await recover(disk, folder, random, settings)
    settings.expect?.(state.log.entries, state.log.start)
    await state.repair()
    const wal = new Wal(disk, folder, settings, state)
    return {
      wal,
      recovered: {
        hardState: state.log.hardState,
        entries: state.log.entries,
        start: state.log.start,
        tornBytes: state.tornBytes,
        damage: state.damage,
      },
    }
  }

  get segments(): number {
    return this.#segments.length
  }

  /**
   * Makes the records durable, all or none of them. One call at a time. Rejects with the disk's error, and with the same
   * one ever after: the caller must halt.
   */
  async save(records: readonly WalRecord[]): Promise<void> {
    if (this.#failed !== undefined) throw this.#failed
    assert(!this.#saving, 'a batch is written while another is')
    this.#saving = true
    try {
      await this.#save(records)
    } catch (error) {
      this.#failed = error instanceof Error ? error : new Error(String(error))
      throw error
    } finally {
      this.#saving = false
    }
  }

  async #save(records: readonly WalRecord[]): Promise<void> {
    let bytes = encodeBatch(this.#life, this.#batch, records)
    if (
      this.#segments.length === 0 ||
      (this.#end > segmentHeaderLength && this.#end + bytes.length > this.#options.segmentBytes)
    ) {
      await this.#beginSegment()
    }
    // Also in a segment that was begun before a crash and has no batch yet: when the older ones go, so does what they say.
    if (this.#end === segmentHeaderLength && this.#hardState !== undefined) {
      bytes = encodeBatch(this.#life, this.#batch, [{ type: 'hardState', hardState: this.#hardState }, ...records])
    }
    const segment = this.#segments.at(-1)!
    const end = this.#end + bytes.length
    const chunks = [bytes]
    if (end > this.#zeroEnd) {
      this.#zeroEnd = end + this.#options.zeroBytes
      chunks.push(new Uint8Array(this.#options.zeroBytes))
    }
    await this.#disk.write(segment.file, this.#end, chunks)
    await this.#disk.sync(segment.file)
    this.syncs++
    this.bytesWritten += bytes.length
    this.#end = end
    this.#batch++
    for (const record of records) this.#note(record, segment.number)
  }

  /** The header is durable, and so is the file's name, before the first batch is written after it. */
  async #beginSegment(): Promise<void> {
    const number = (this.#segments.at(-1)?.number ?? 0) + 1
    const file = segmentFile(this.#folder, number)
    const header = encodeSegmentHeader({
      version: walVersion,
      life: this.#life,
      segment: number,
      firstBatch: this.#batch,
    })
    await this.#disk.write(file, 0, [header])
    await this.#disk.sync(file)
    await this.#disk.syncFolder(this.#folder)
    this.#segments.push({ number, file })
    this.#end = segmentHeaderLength
    this.#zeroEnd = segmentHeaderLength
  }

  #note(record: WalRecord, segment: number): void {
    if (record.type === 'hardState') {
      this.#hardState = record.hardState
    } else if (record.type === 'restart') {
      this.#runs.length = 0
    } else {
      const { index } = record.entry
      while (this.#runs.length > 0 && this.#runs.at(-1)!.first >= index) this.#runs.pop()
      const run = this.#runs.at(-1)
      if (run !== undefined) run.last = Math.min(run.last, index - 1)
      if (run?.segment === segment) run.last = index
      else this.#runs.push({ segment, first: index, last: index })
    }
  }

  /** Removes the segments without an entry at or after `keepFrom`. May run beside a save. */
  async compact(keepFrom: Index): Promise<void> {
    for (;;) {
      const [oldest, next] = this.#segments
      if (oldest === undefined || next === undefined) return
      if (this.#runs.some(({ segment, last }) => segment === oldest.number && last >= keepFrom)) return
      // The newest segment holds the hard state only once its first batch is durable.
      if (this.#segments.length === 2 && this.#end === segmentHeaderLength) return
      this.#segments.shift()
      while (this.#runs[0] !== undefined && this.#runs[0].segment === oldest.number) this.#runs.shift()
      await this.#disk.remove(oldest.file)
      // One by one: were a newer one's removal to survive a crash and an older one's not, a gap would look like damage.
      await this.#disk.syncFolder(this.#folder)
    }
  }

  /**
   * Ends with an empty batch. It says that everything before it was durable, so that after a clean stop damage to the last
   * batch cannot pass for a torn write.
   */
  async close(): Promise<void> {
    if (this.#failed === undefined && this.#segments.length > 0 && this.#end > segmentHeaderLength) await this.save([])
  }
}

interface WalState {
  life: Uint8Array
  segments: Segment[]
  batches: { segment: number; records: WalRecord[] }[]
  nextBatch: number
  end: number
  zeroEnd: number
  log: RecordedLog
  tornBytes: number
  damage: Recovered['damage']
  /** What has to be done to the disk before anything is written after it. */
  repair: () => Promise<void>
}

function isZero(bytes: Buffer): boolean {
  const zeros = Buffer.alloc(Math.min(bytes.length, 64 * 1024))
  for (let at = 0; at < bytes.length; at += zeros.length) {
    const part = bytes.subarray(at, at + zeros.length)
    if (!part.equals(zeros.subarray(0, part.length))) return false
  }
  return true
}

function segmentFile(folder: string, number: number): string {
  return `${folder}/${String(number).padStart(10, '0')}.wal`
}

/**
 * What the segments say. Damage before a place from which on the log is whole, and before which a snapshot has everything,
 * is no loss: those segments are `superfluous`.
 */
async function recover(disk: Disk, folder: string, random: Random, options: OpenOptions): Promise<WalState> {
  const numbers = (await disk.list(folder))
    .map((name) => /^(\d{10})\.wal$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((one, other) => one - other)
  try {
    return await recoverFrom(disk, folder, random, numbers)
  } catch (error) {
    if (!(error instanceof Corrupt)) throw error
    const whole = await wholeFrom(disk, folder, random, { numbers, covered: options.covered })
    if (whole === undefined) throw error
    const superfluous = numbers.slice(0, numbers.indexOf(whole.segments[0]!.number))
    return {
      ...whole,
      damage: { reason: error.message, superfluous: superfluous.map((number) => segmentFile(folder, number)) },
    }
  }
}

/** The log from the first segment on from which it is whole, if what is missing before it is covered by a snapshot. */
async function wholeFrom(
  disk: Disk,
  folder: string,
  random: Random,
  { numbers, covered }: { numbers: number[]; covered: Index },
): Promise<WalState | undefined> {
  for (let from = 1; from < numbers.length; from++) {
    try {
      const state = await recoverFrom(disk, folder, random, numbers.slice(from))
      const { start, entries, hardState } = state.log
      const begins = start?.index ?? (entries[0] === undefined ? undefined : entries[0].index - 1)
      // Every segment begins with the hard state; without entries it does not say where the ones before it ended.
      if (begins !== undefined && begins <= covered && hardState !== undefined) return state
    } catch (error) {
      if (!(error instanceof Corrupt)) throw error
    }
  }
  return undefined
}

async function recoverFrom(disk: Disk, folder: string, random: Random, numbers: number[]): Promise<WalState> {
  let life: Uint8Array | undefined
  let nextBatch: number | undefined
  const repairs: (() => Promise<void>)[] = []
  const state: Omit<WalState, 'life' | 'nextBatch'> = {
    segments: [],
    batches: [],
    end: 0,
    zeroEnd: 0,
    log: new RecordedLog(),
    tornBytes: 0,
    damage: undefined,
    repair: async () => {
      for (const step of repairs) await step()
    },
  }
  for (const [at, number] of numbers.entries()) {
    const file = segmentFile(folder, number)
    const last = at === numbers.length - 1
    if (at > 0 && number !== numbers[at - 1]! + 1) {
      throw new Corrupt(`${file}: expected segment ${numbers[at - 1]! + 1} before it, found it missing`)
    }
    const bytes = Buffer.from((await disk.read(file)) ?? new Uint8Array(0))
    const header = decodeSegmentHeader(bytes)
    if (header === undefined) {
      // Its header is durable before its first batch is written: without any batch, the crash came before that.
      const commit = laterCommit(bytes, 0, undefined, -1)
      if (!last || commit !== undefined || (at === 0 && number > 1)) {
        throw new Corrupt(`${file}: expected a segment header at offset 0, found other bytes`)
      }
      repairs.push(async () => {
        await disk.remove(file)
        await disk.syncFolder(folder)
      })
      state.tornBytes += bytes.length
      break
    }
    if (header.version > walVersion) throw new TooNew(file, header.version, walVersion)
    if (
      header.segment !== number ||
      (life !== undefined && Buffer.compare(header.life, life) !== 0) ||
      (nextBatch !== undefined && header.firstBatch !== nextBatch)
    ) {
      throw new Corrupt(`${file}: expected segment ${number} to begin with batch ${nextBatch ?? 'of this log'}`)
    }
    life = header.life
    nextBatch = header.firstBatch
    let offset = segmentHeaderLength
    let lastBatchAt = 0
    for (;;) {
      const batch = decodeBatch(bytes, offset, life, nextBatch)
      if (batch === undefined) break
      for (const record of batch.records) state.log.add(record, `${file} before offset ${batch.end}`)
      state.batches.push({ segment: number, records: batch.records })
      lastBatchAt = offset
      offset = batch.end
      nextBatch++
    }
    const rest = bytes.subarray(offset)
    const later = laterCommit(bytes, offset, life, nextBatch)
    if (later !== undefined) {
      throw new Corrupt(
        `${file}: batch ${nextBatch} at offset ${offset} fails its checksum, and ${later} holds a later one`,
      )
    }
    const torn = !isZero(rest)
    // A next segment is begun only after everything in this one is durable; its own header says how far that went.
    if (torn && !last) {
      const successor = decodeSegmentHeader((await disk.read(segmentFile(folder, number + 1))) ?? new Uint8Array(0))
      if (successor === undefined || successor.firstBatch !== nextBatch) {
        throw new Corrupt(
          `${file}: batch ${nextBatch} at offset ${offset} fails its checksum, and a later segment follows`,
        )
      }
    }
    state.segments.push({ number, file })
    state.end = offset
    state.zeroEnd = bytes.length
    if (torn) state.tornBytes += rest.length
    if (last) {
      // What was read may be in the page cache only: the process died and the machine did not, or a sync failed and its
      // pages pass for clean since. A batch that we go on from must be as durable as if we had just written it, so we do.
      // And what was torn is wiped before anything is written there, so that no later batch is followed by remains of it.
      const again = [bytes.subarray(lastBatchAt, offset), new Uint8Array(torn ? rest.length : 0)]
      const from = lastBatchAt
      repairs.push(async () => {
        await disk.write(file, from, again)
        await disk.sync(file)
      })
    }
  }
  if (state.segments.length > 0) repairs.push(() => disk.syncFolder(folder))
  if (life === undefined) {
    const words = Buffer.alloc(lifeLength)
    words.writeUInt32BE(random.word(), 0)
    words.writeUInt32BE(random.word(), 4)
    life = words
  }
  return { ...state, life, nextBatch: nextBatch ?? 1 }
}
