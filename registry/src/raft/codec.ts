/**
 * Raft's values as bytes: fixed headers, opaque payloads. Numbers are big-endian, indexes and terms take eight bytes,
 * texts are UTF-8 behind a two-byte length. Message payloads are not copied when read: they share the frame's memory.
 *
 *   message          version 1 · kind 1 · sender text · term 8 · fields of the kind
 *   entry            index 8 · term 8 · kind 1 · length 4 · data
 *   hard state       term 8 · vote text
 *   configuration    cluster text · servers 4 × (id text · address text · voter 1)
 *   snapshot mark    index 8 · term 8 · configuration index 8 · configuration
 *
 * Integrity is the carrier's business (TCP's checksum, the log's CRC); here bytes that cannot be right are `Malformed`.
 */
import type { Index, Term } from '../model.ts'
import { Malformed, Reader, textLength, Writer } from './bytes.ts'
import type { Configuration, Entry, EntryKind, Message, Server, ServerId, SnapshotMark } from './message.ts'

export { Malformed } from './bytes.ts'

const version = 1
const messageKinds = ['vote', 'voteReply', 'append', 'appendReply', 'snapshot', 'timeoutNow'] as const
const entryKinds: readonly EntryKind[] = ['command', 'configuration', 'empty']
const entryHeaderLength = 8 + 8 + 1 + 4
const serverLengthMin = 2 + 2 + 1

/** What one server says to another, with the sender's id. */
export function encodeMessage(from: ServerId, message: Message): Uint8Array {
  const writer = new Writer(messageLength(from, message))
  writeMessage(writer, from, message)
  return writer.done()
}

/** How many bytes `writeMessage` writes. */
export function messageLength(from: ServerId, message: Message): number {
  return 2 + textLength(from) + 8 + fieldsLength(message)
}

export function writeMessage(writer: Writer, from: ServerId, message: Message): void {
  writer.byte(version)
  writer.byte(messageKinds.indexOf(message.type))
  writer.text(from)
  writer.number(message.term)
  switch (message.type) {
    case 'vote':
      writer.flag(message.pre)
      writer.number(message.lastIndex)
      writer.number(message.lastTerm)
      writer.flag(message.transfer)
      break
    case 'voteReply':
      writer.flag(message.pre)
      writer.flag(message.granted)
      writer.flag(message.heardLeader)
      break
    case 'append':
      writer.number(message.previousIndex)
      writer.number(message.previousTerm)
      writer.number(message.commit)
      writer.number(message.round)
      writer.word(message.entries.length)
      for (const entry of message.entries) writeEntry(writer, entry)
      break
    case 'appendReply':
      writer.flag(message.success)
      writer.number(message.round)
      writer.number(message.match)
      writer.number(message.refused)
      writer.number(message.hintIndex)
      writer.number(message.hintTerm)
      break
    case 'snapshot':
      writer.number(message.round)
      writeMark(writer, message.mark)
      break
    case 'timeoutNow':
      break
    default:
      message satisfies never
  }
}

function fieldsLength(message: Message): number {
  switch (message.type) {
    case 'vote':
      return 1 + 8 + 8 + 1
    case 'voteReply':
      return 3
    case 'append':
      return 8 * 4 + 4 + message.entries.reduce((sum, entry) => sum + entryLength(entry), 0)
    case 'appendReply':
      return 1 + 8 * 5
    case 'snapshot':
      return 8 + markLength(message.mark)
    case 'timeoutNow':
      return 0
    default:
      return message satisfies never
  }
}

/** @throws Malformed when the bytes are not one whole message with entries that follow each other. */
export function decodeMessage(bytes: Uint8Array): { from: ServerId; message: Message } {
  const reader = new Reader(bytes)
  const given = reader.byte('version')
  if (given !== version) throw new Malformed(`version: expected ${version}, received ${given}`)
  const kind = reader.byte('message kind')
  const from = reader.text('sender')
  const term = reader.number('term')
  const type = messageKinds[kind]
  if (type === undefined)
    throw new Malformed(`message kind: expected less than ${messageKinds.length}, received ${kind}`)
  const message = readFields(reader, type, term)
  reader.end(`${type} message`)
  return { from, message }
}

function readFields(reader: Reader, type: Message['type'], term: Term): Message {
  switch (type) {
    case 'vote':
      return {
        type,
        term,
        pre: reader.flag('pre'),
        lastIndex: reader.number('last index'),
        lastTerm: reader.number('last term'),
        transfer: reader.flag('transfer'),
      }
    case 'voteReply':
      return {
        type,
        term,
        pre: reader.flag('pre'),
        granted: reader.flag('granted'),
        heardLeader: reader.flag('heard leader'),
      }
    case 'append': {
      const previousIndex = reader.number('previous index')
      const previousTerm = reader.number('previous term')
      const commit = reader.number('commit')
      const round = reader.number('round')
      const entries = readEntries(reader, { previousIndex, previousTerm, term })
      return { type, term, previousIndex, previousTerm, entries, commit, round }
    }
    case 'appendReply':
      return {
        type,
        term,
        success: reader.flag('success'),
        round: reader.number('round'),
        match: reader.number('match'),
        refused: reader.number('refused'),
        hintIndex: reader.number('hint index'),
        hintTerm: reader.number('hint term'),
      }
    case 'snapshot': {
      const round = reader.number('round')
      return { type, term, round, mark: readMark(reader) }
    }
    case 'timeoutNow':
      return { type, term }
    default:
      return type satisfies never
  }
}

/** Entries of one append: each follows the one before, and terms never fall (Raft §5.3). */
function readEntries(
  reader: Reader,
  { previousIndex, previousTerm, term }: { previousIndex: Index; previousTerm: Term; term: Term },
): Entry[] {
  const count = reader.count(entryHeaderLength, 'entries')
  const entries: Entry[] = []
  let before = previousTerm
  for (let offset = 1; offset <= count; offset++) {
    const entry = readEntry(reader)
    if (entry.index !== previousIndex + offset) {
      throw new Malformed(`entry: expected index ${previousIndex + offset}, received ${entry.index}`)
    }
    if (entry.term < before || entry.term > term) {
      throw new Malformed(`entry ${entry.index}: expected a term from ${before} to ${term}, received ${entry.term}`)
    }
    before = entry.term
    entries.push(entry)
  }
  return entries
}

/** How many bytes it takes in an append. */
export function entryLength(entry: Entry): number {
  return entryHeaderLength + entry.data.length
}

function writeEntry(writer: Writer, entry: Entry): void {
  writer.number(entry.index)
  writer.number(entry.term)
  writer.byte(entryKinds.indexOf(entry.kind))
  writer.word(entry.data.length)
  writer.raw(entry.data)
}

function readEntry(reader: Reader): Entry {
  const index = reader.number('entry index')
  const term = reader.number('entry term')
  const kindNumber = reader.byte('entry kind')
  const kind = entryKinds[kindNumber]
  if (kind === undefined)
    throw new Malformed(`entry kind: expected less than ${entryKinds.length}, received ${kindNumber}`)
  const data = reader.raw(reader.word('entry length'), 'entry data')
  if (kind === 'configuration') decodeConfiguration(data)
  return { index, term, kind, data }
}

function configurationLength(configuration: Configuration): number {
  return configuration.servers.reduce(
    (sum, server) => sum + textLength(server.id) + textLength(server.address) + 1,
    textLength(configuration.cluster) + 4,
  )
}

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const writer = new Writer(configurationLength(configuration))
  writeConfiguration(writer, configuration)
  return writer.done()
}

function writeConfiguration(writer: Writer, configuration: Configuration): void {
  writer.text(configuration.cluster)
  writer.word(configuration.servers.length)
  for (const server of configuration.servers) {
    writer.text(server.id)
    writer.text(server.address)
    writer.flag(server.voter)
  }
}

/** @throws Malformed, also when a server is named twice. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const reader = new Reader(bytes)
  const configuration = readConfiguration(reader)
  reader.end('configuration')
  return configuration
}

function readConfiguration(reader: Reader): Configuration {
  const cluster = reader.text('cluster')
  const count = reader.count(serverLengthMin, 'servers')
  const servers: Server[] = []
  const seen = new Set<ServerId>()
  for (let read = 0; read < count; read++) {
    const id = reader.text('server id')
    if (id === '' || seen.has(id)) throw new Malformed(`server id: expected each once and not empty, received "${id}"`)
    seen.add(id)
    servers.push({ id, address: reader.text('server address'), voter: reader.flag('voter') })
  }
  return { cluster, servers }
}

function markLength(mark: SnapshotMark): number {
  return 8 * 3 + configurationLength(mark.configuration)
}

export function encodeSnapshotMark(mark: SnapshotMark): Uint8Array {
  const writer = new Writer(markLength(mark))
  writeMark(writer, mark)
  return writer.done()
}

function writeMark(writer: Writer, mark: SnapshotMark): void {
  writer.number(mark.index)
  writer.number(mark.term)
  writer.number(mark.configurationIndex)
  writeConfiguration(writer, mark.configuration)
}

/** @throws Malformed */
export function decodeSnapshotMark(bytes: Uint8Array): SnapshotMark {
  const reader = new Reader(bytes)
  const mark = readMark(reader)
  reader.end('snapshot mark')
  return mark
}

function readMark(reader: Reader): SnapshotMark {
  const index = reader.number('snapshot index')
  const term = reader.number('snapshot term')
  const configurationIndex = reader.number('configuration index')
  if (configurationIndex > index) {
    throw new Malformed(`configuration index: expected at most ${index}, received ${configurationIndex}`)
  }
  return { index, term, configurationIndex, configuration: readConfiguration(reader) }
}
