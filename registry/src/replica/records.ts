/**
 * The bytes of the write-ahead log. A segment is a header and batches; a batch is records and, last, a commit frame:
 *
 *   segment header   magic 8 · life 8 · segment number 6 · number of its first batch 6 · CRC32 4
 *   record           payload length 4 · kind 1 · payload · CRC32 4
 *   commit frame     a record whose payload is: magic 8 · life 8 · batch number 6 · batch length 4 · chain 4
 *
 * The header's layout is the same in every version of the format, so that any version can tell which one a file has.
 *
 * The CRCs of a batch are chained: each record's starts from the one before, the first from the log's life (random, chosen
 * when the log is made) and the batch number, and the commit frame holds the last. So a record counts only in its own batch,
 * log and order, and bytes that an older life of the disk left behind never do. A commit frame can be found and verified
 * alone, by its magic and its own CRC: that is how a torn last batch is told from a damaged one that has successors. No
 * client can forge one in a value, because it does not know the life.
 */
import { crc32 } from 'node:zlib'
import { Corrupt } from '../errors.ts'
import type { Index, Term } from '../model.ts'
import type { Entry, EntryKind, HardState } from '../raft/message.ts'

/** `restart`: the log is empty and goes on after `index`, because a snapshot took its place. */
export type WalRecord =
  | { type: 'hardState'; hardState: HardState }
  | { type: 'entry'; entry: Entry }
  | { type: 'restart'; index: Index; term: Term }

export interface SegmentHeader {
  version: number
  life: Uint8Array
  segment: number
  firstBatch: number
}

export const lifeLength = 8
const magicLength = 8
/** With the format's version, one digit, in place of the 0. */
const segmentMagic = Buffer.from('\x89WALv0\r\n', 'latin1')
const versionAt = 5
export const walVersion = 1
const commitMagic = Buffer.from('\x89COMMIT\n', 'latin1')
export const segmentHeaderLength = magicLength + lifeLength + 6 + 6 + 4
const recordHeaderLength = 5
const crcLength = 4
const commitPayloadLength = magicLength + lifeLength + 6 + 4 + 4
export const commitFrameLength = recordHeaderLength + commitPayloadLength + crcLength

const kinds = { hardState: 1, entry: 2, restart: 3, commit: 4 } as const
const entryKinds: readonly EntryKind[] = ['command', 'configuration', 'empty']

export function encodeSegmentHeader({ version, life, segment, firstBatch }: SegmentHeader): Uint8Array {
  const bytes = Buffer.alloc(segmentHeaderLength)
  segmentMagic.copy(bytes, 0)
  bytes.write(String(version), versionAt, 'latin1')
  bytes.set(life, magicLength)
  bytes.writeUIntBE(segment, magicLength + lifeLength, 6)
  bytes.writeUIntBE(firstBatch, magicLength + lifeLength + 6, 6)
  bytes.writeUInt32BE(crc32(bytes.subarray(0, -crcLength)), segmentHeaderLength - crcLength)
  return bytes
}

/** Undefined when these are not the bytes of a whole header. Its version may be one that we do not know. */
export function decodeSegmentHeader(file: Uint8Array): SegmentHeader | undefined {
  if (file.length < segmentHeaderLength) return undefined
  const bytes = Buffer.from(file.buffer, file.byteOffset, segmentHeaderLength)
  const magic = Buffer.from(bytes.subarray(0, magicLength))
  const version = magic[versionAt]! - 0x30
  magic[versionAt] = segmentMagic[versionAt]!
  if (!magic.equals(segmentMagic) || version < 1 || version > 9) return undefined
  if (crc32(bytes.subarray(0, -crcLength)) !== bytes.readUInt32BE(segmentHeaderLength - crcLength)) return undefined
  return {
    version,
    life: Uint8Array.from(bytes.subarray(magicLength, magicLength + lifeLength)),
    segment: bytes.readUIntBE(magicLength + lifeLength, 6),
    firstBatch: bytes.readUIntBE(magicLength + lifeLength + 6, 6),
  }
}

function chainStart(life: Uint8Array, batch: number): number {
  const number = Buffer.alloc(6)
  number.writeUIntBE(batch, 0, 6)
  return crc32(number, crc32(life))
}

/** A whole batch, commit frame included, in one piece. */
export function encodeBatch(life: Uint8Array, batch: number, records: readonly WalRecord[]): Uint8Array {
  const length = records.reduce((sum, record) => sum + recordHeaderLength + payloadLength(record) + crcLength, 0)
  const bytes = Buffer.allocUnsafe(length + commitFrameLength)
  let chain = chainStart(life, batch)
  let at = 0
  for (const record of records) {
    const start = at
    at = bytes.writeUInt32BE(payloadLength(record), at)
    at = bytes.writeUInt8(kinds[record.type], at)
    at = writePayload(bytes, at, record)
    chain = crc32(bytes.subarray(start, at), chain)
    at = bytes.writeUInt32BE(chain, at)
  }
  const start = at
  at = bytes.writeUInt32BE(commitPayloadLength, at)
  at = bytes.writeUInt8(kinds.commit, at)
  at += commitMagic.copy(bytes, at)
  bytes.set(life, at)
  at = bytes.writeUIntBE(batch, at + lifeLength, 6)
  at = bytes.writeUInt32BE(length, at)
  at = bytes.writeUInt32BE(chain, at)
  bytes.writeUInt32BE(crc32(bytes.subarray(start, at)), at)
  return bytes
}

function payloadLength(record: WalRecord): number {
  switch (record.type) {
    case 'hardState':
      return 6 + Buffer.byteLength(record.hardState.vote)
    case 'entry':
      return 6 + 6 + 1 + record.entry.data.length
    case 'restart':
      return 6 + 6
    default:
      return record satisfies never
  }
}

function writePayload(bytes: Buffer, at: number, record: WalRecord): number {
  switch (record.type) {
    case 'hardState':
      at = bytes.writeUIntBE(record.hardState.term, at, 6)
      return at + bytes.write(record.hardState.vote, at)
    case 'entry':
      at = bytes.writeUIntBE(record.entry.index, at, 6)
      at = bytes.writeUIntBE(record.entry.term, at, 6)
      at = bytes.writeUInt8(entryKinds.indexOf(record.entry.kind), at)
      bytes.set(record.entry.data, at)
      return at + record.entry.data.length
    case 'restart':
      at = bytes.writeUIntBE(record.index, at, 6)
      return bytes.writeUIntBE(record.term, at, 6)
    default:
      return record satisfies never
  }
}

/** The batch of this number at `at`, and where the next would begin; undefined when there is none that verifies. */
export function decodeBatch(
  file: Buffer,
  at: number,
  life: Uint8Array,
  batch: number,
): { records: WalRecord[]; end: number } | undefined {
  const start = at
  const records: WalRecord[] = []
  let chain = chainStart(life, batch)
  while (at + recordHeaderLength + crcLength <= file.length) {
    const length = file.readUInt32BE(at)
    const kind = file[at + 4]!
    const payload = at + recordHeaderLength
    const end = payload + length
    if (end + crcLength > file.length) return undefined
    if (kind === kinds.commit) {
      const commit = decodeCommitFrame(file, at)
      if (commit === undefined || !sameLife(commit.life, life) || commit.batch !== batch) return undefined
      if (commit.length !== at - start || commit.chain !== chain) return undefined
      return { records, end: end + crcLength }
    }
    chain = crc32(file.subarray(at, end), chain)
    if (file.readUInt32BE(end) !== chain) return undefined
    const record = decodeRecord(kind, file.subarray(payload, end))
    if (record === undefined) return undefined
    records.push(record)
    at = end + crcLength
  }
  return undefined
}

function decodeRecord(kind: number, payload: Buffer): WalRecord | undefined {
  if (kind === kinds.hardState && payload.length >= 6) {
    return {
      type: 'hardState',
      hardState: { term: payload.readUIntBE(0, 6), vote: payload.subarray(6).toString('utf8') },
    }
  }
  if (kind === kinds.entry && payload.length >= 13) {
    const entryKind = entryKinds[payload[12]!]
    if (entryKind === undefined) return undefined
    // Copied: an entry must not keep the whole segment in memory.
    const data = Uint8Array.from(payload.subarray(13))
    return {
      type: 'entry',
      entry: { index: payload.readUIntBE(0, 6), term: payload.readUIntBE(6, 6), kind: entryKind, data },
    }
  }
  if (kind === kinds.restart && payload.length === 12) {
    return { type: 'restart', index: payload.readUIntBE(0, 6), term: payload.readUIntBE(6, 6) }
  }
  return undefined
}

interface CommitFrame {
  life: Uint8Array
  batch: number
  length: number
  chain: number
}

function decodeCommitFrame(file: Buffer, at: number): CommitFrame | undefined {
  if (at < 0 || at + commitFrameLength > file.length) return undefined
  const end = at + commitFrameLength - crcLength
  if (file.readUInt32BE(at) !== commitPayloadLength || file[at + 4] !== kinds.commit) return undefined
  if (file.readUInt32BE(end) !== crc32(file.subarray(at, end))) return undefined
  let from = at + recordHeaderLength
  if (!file.subarray(from, from + magicLength).equals(commitMagic)) return undefined
  from += magicLength
  const life = file.subarray(from, from + lifeLength)
  from += lifeLength
  return {
    life,
    batch: file.readUIntBE(from, 6),
    length: file.readUInt32BE(from + 6),
    chain: file.readUInt32BE(from + 10),
  }
}

/**
 * Where, at or after `at`, a commit frame of this life stands whose batch number is above `batch`; undefined: nowhere.
 * Without a life any counts: the header that would tell it is damaged.
 */
export function laterCommit(file: Buffer, at: number, life: Uint8Array | undefined, batch: number): number | undefined {
  for (let found = file.indexOf(commitMagic, at); found !== -1; found = file.indexOf(commitMagic, found + 1)) {
    const commit = decodeCommitFrame(file, found - recordHeaderLength)
    if (commit === undefined || commit.batch <= batch) continue
    if (life === undefined || sameLife(commit.life, life)) return found - recordHeaderLength
  }
  return undefined
}

function sameLife(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0
}

/** What the records say, one after the other: an entry supersedes what stood at its index and after it. */
export class RecordedLog {
  hardState: HardState | undefined
  entries: Entry[] = []
  /** Where the log begins: the entry before its first, as far as records tell. */
  start: { index: Index; term: Term } | undefined

  /** @throws Corrupt on an entry that leaves a gap: every batch was written after the ones before it. */
  add(record: WalRecord, where: string): void {
    switch (record.type) {
      case 'hardState':
        this.hardState = record.hardState
        return
      case 'restart':
        this.entries = []
        this.start = { index: record.index, term: record.term }
        return
      case 'entry': {
        const { index } = record.entry
        const first = this.entries[0]?.index ?? (this.start === undefined ? index : this.start.index + 1)
        const next = first + this.entries.length
        if (index > next || (this.start !== undefined && index <= this.start.index)) {
          throw new Corrupt(`${where}: expected an entry from ${first} to ${next}, found entry ${index}`)
        }
        if (index < first) this.entries = []
        else this.entries.length = index - first
        this.entries.push(record.entry)
        return
      }
      default:
        record satisfies never
    }
  }
}
