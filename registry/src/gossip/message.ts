/**
 * What members of a pool say to each other, and its bytes. A packet, be it a datagram or a frame, is a header and one
 * or more messages back to back, so news rides on pings and acks without a wrapper:
 *
 *     'R' 'G' version=2 | CRC-32 of the rest, big-endian | message | message | …
 *     message: kind byte, length of its fields, fields
 *     record of a state: length of its fields, fields
 *     fields: whole numbers as LEB128 varints (lengths too), texts as length + UTF-8
 *
 * A promise, for members of different releases live together while they are upgraded one by one: this version's packets
 * may grow, but what is in them now stays. A later release may add kinds, and fields at the end of a message or of a
 * record; whoever does not know them skips them. So nothing may depend on an added kind being understood, an added
 * field has a meaning for its absence, and since news is passed on as far as it is understood, a field added to news
 * gets as far as members know it. A change that breaks this takes a new version number.
 *
 * The checksum keeps strangers' and damaged packets out (UDP's own is weak and not always there); it is no protection
 * against an enemy. Every length is bounded before anything is allocated for it.
 */
import { crc32 } from 'node:zlib'
import type { Address, Coordinate, Millis, UserEvent } from '../model.ts'
import type { Hash } from './digest.ts'
import { byteLength, isName, Malformed, nameLengthMax, Reader, tagsMax, textLengthMax, Writer } from './fields.ts'
import { incarnations } from './incarnation.ts'
import type { Texts } from './texts.ts'
import { readUserEvent, readUserEvents, type UserEventState, writeUserEvent, writeUserEvents } from './user-event.ts'

export { Malformed } from './fields.ts'

/** Fits an Ethernet frame with room for tunnels (memberlist's UDPBufferSize). */
export const datagramLengthMax = 1_400
/** One member's name, address and tags, encoded: must ride on a ping. Serf allows 512 bytes of tags. */
export const recordLengthMax = 1_100
const recordsMax = 100_000
const incarnationMax = incarnations - 1
const hashMax = 0xffff_ffff
const ageSecondsMax = 2 ** 40
const headerLength = 7
const version = 2
/** Encryption puts a packet into an envelope: its version, a nonce of 12 bytes, a tag of 16, and three to spare. */
const sealLength = 32

/** The states news can put a member in; later ones win at the same incarnation (see `members.ts`). */
export type Standing = 'alive' | 'suspect' | 'failed' | 'left' | 'pruned'

/** One fact about one member, spread by gossip. `from` is who says so. */
export type News =
  | { type: 'alive'; name: string; incarnation: number; address: Address; tags: Record<string, string> }
  | { type: 'suspect' | 'failed' | 'left' | 'pruned'; name: string; incarnation: number; from: string }

/** All that a member knows of another, for state exchanges. */
export interface StateRecord {
  standing: Standing
  name: string
  incarnation: number
  address: Address
  tags: Record<string, string>
  /** Who first suspected it, '' when nobody does. */
  from: string
  /** For how long it has been in this standing; in whole seconds on the wire. */
  age: Millis
}

export type Message =
  /** Are you `target`? Answer to `address`: never to where the packet seems to come from. */
  | { type: 'ping'; sequence: number; target: string; from: string; address: Address }
  /** Ping `target` for me, and tell me whether it answered (SWIM's ping-req). */
  | {
      type: 'pingRequest'
      sequence: number
      target: string
      targetAddress: Address
      from: string
      address: Address
    }
  /**
   * `from` is the member that was to be reached, also when a third one passes its answer on. `coordinate`: where it is, in
   * answers that go straight to a member that asked by datagram; what it says is not checked here.
   */
  | { type: 'ack'; sequence: number; from: string; coordinate?: Coordinate }
  /** I am here, `from`, but the member you asked me to ping did not answer (Lifeguard). */
  | { type: 'nack'; sequence: number; from: string }
  | News
  /** What the table of `from` comes to: whether it says the same as ours. In frames only. */
  | { type: 'digest'; sequence: number; reply: boolean; from: string; digest: Hash }
  /** Everything `from` knows, itself first; in frames only. With `more`, another part follows. The first has user events. */
  | {
      type: 'state'
      sequence: number
      reply: boolean
      more: boolean
      from: string
      records: StateRecord[]
      userEvents?: UserEventState
    }
  /** The answer to a state from somebody who may not be in this pool. */
  | { type: 'refusal'; sequence: number; reason: string }
  | { type: 'userEvent'; event: UserEvent }

const kinds = [
  'ping',
  'pingRequest',
  'ack',
  'nack',
  'alive',
  'suspect',
  'failed',
  'left',
  'pruned',
  'state',
  'refusal',
  'userEvent',
  'digest',
] as const satisfies Message['type'][]
const isNews = (type: Message['type']) => (standings as readonly string[]).includes(type)
const standings = ['alive', 'suspect', 'failed', 'left', 'pruned'] as const satisfies Standing[]

/** Puts encoded messages into one packet. */
export function packet(messages: readonly Uint8Array[]): Uint8Array {
  let length = headerLength
  for (const message of messages) length += message.length
  const bytes = new Uint8Array(length)
  bytes.set([0x52, 0x47, version])
  let at = headerLength
  for (const message of messages) {
    bytes.set(message, at)
    at += message.length
  }
  new DataView(bytes.buffer).setUint32(3, crc32(bytes.subarray(headerLength)))
  return bytes
}

/** How many bytes of messages a datagram has room for, encrypted or not. */
export const datagramRoom = datagramLengthMax - sealLength - headerLength

/** @throws RangeError for a text that no member may have; members' own names and tags are checked when they start. */
export function encodeMessage(message: Message): Uint8Array {
  const out = new Writer().byte(kinds.indexOf(message.type))
  const begin = out.open()
  switch (message.type) {
    case 'ping':
      out.number(message.sequence).text(message.target).text(message.from).address(message.address)
      break
    case 'pingRequest':
      out.number(message.sequence).text(message.target).address(message.targetAddress)
      out.text(message.from).address(message.address)
      break
    case 'ack':
      out.number(message.sequence).text(message.from)
      if (message.coordinate === undefined) out.number(0)
      else out.coordinate(message.coordinate)
      break
    case 'nack':
      out.number(message.sequence).text(message.from)
      break
    case 'alive':
      out.number(message.incarnation).text(message.name).address(message.address).tags(message.tags)
      break
    case 'suspect':
    case 'failed':
    case 'left':
    case 'pruned':
      out.number(message.incarnation).text(message.name).text(message.from)
      break
    case 'state':
      out.number(message.sequence).byte((message.reply ? 1 : 0) | (message.more ? 2 : 0))
      out.text(message.from).number(message.records.length)
      writeRecords(message.records, out)
      writeUserEvents(message.userEvents, out)
      break
    case 'digest':
      out
        .number(message.sequence)
        .byte(message.reply ? 1 : 0)
        .text(message.from)
      out.number(message.digest[0]).number(message.digest[1])
      break
    case 'refusal':
      out.number(message.sequence).text(message.reason)
      break
    case 'userEvent':
      writeUserEvent(message.event, out)
      break
    default:
      message satisfies never
  }
  return out.close(begin).bytes()
}

function writeRecords(records: readonly StateRecord[], out: Writer): void {
  for (const record of records) {
    const begin = out.open()
    out
      .byte(standings.indexOf(record.standing))
      .number(Math.floor(record.age / 1000))
      .text(record.from)
    out.number(record.incarnation).text(record.name).address(record.address).tags(record.tags).close(begin)
  }
}

/** What a receiver remembers of former packets. */
export interface Memory {
  /** Where to look for names before making them anew. */
  texts: Texts
  /** True: this news was heard a moment ago, and need not be read again. */
  repeated(body: Uint8Array, begin: number, end: number): boolean
}

/**
 * All messages of a packet that are of a kind we know; when one of them is wrong, none.
 * @throws Malformed
 */
export function decodePacket(bytes: Uint8Array, memory?: Memory): Message[] {
  if (bytes.length < headerLength)
    throw new Malformed(`expected at least ${headerLength} bytes, received ${bytes.length}`)
  if (bytes[0] !== 0x52 || bytes[1] !== 0x47) throw new Malformed('not a gossip packet')
  if (bytes[2] !== version) throw new Malformed(`expected packet version ${version}, received ${bytes[2]}`)
  const body = bytes.subarray(headerLength)
  const sum = new DataView(bytes.buffer, bytes.byteOffset).getUint32(3)
  if (sum !== crc32(body)) throw new Malformed('checksum does not match')
  const reader = new Reader(body, memory?.texts)
  const messages: Message[] = []
  while (!reader.done) {
    const begin = reader.position
    const type = kinds[reader.byte()]
    const fields = reader.part()
    if (type === undefined) continue
    if (isNews(type) && memory?.repeated(body, begin, reader.position)) continue
    messages.push(readMessage(type, fields))
  }
  return messages
}

function readMessage(type: Message['type'], reader: Reader): Message {
  switch (type) {
    case 'ping':
      return {
        type,
        sequence: reader.number(),
        target: reader.name(),
        from: reader.name(),
        address: reader.address(),
      }
    case 'pingRequest':
      return {
        type,
        sequence: reader.number(),
        target: reader.name(),
        targetAddress: reader.address(),
        from: reader.name(),
        address: reader.address(),
      }
    case 'ack': {
      const ack: Message = { type, sequence: reader.number(), from: reader.name() }
      const coordinate = reader.done ? undefined : reader.coordinate()
      if (coordinate !== undefined) ack.coordinate = coordinate
      return ack
    }
    case 'nack':
      return { type, sequence: reader.number(), from: reader.name() }
    case 'alive': {
      const begin = reader.position
      const incarnation = reader.number(incarnationMax)
      const news: News = { type, incarnation, name: reader.name(), address: reader.address(), tags: reader.tags() }
      boundRecord(begin, reader)
      return news
    }
    case 'suspect':
    case 'failed':
    case 'left':
    case 'pruned':
      return { type, incarnation: reader.number(incarnationMax), name: reader.name(), from: reader.name() }
    case 'state': {
      const sequence = reader.number()
      const flags = reader.byte()
      const from = reader.name()
      const count = reader.number(recordsMax)
      const records: StateRecord[] = []
      for (let read = 0; read < count; read++) records.push(readRecord(reader.part()))
      const userEvents = readUserEvents(reader)
      const state = { type, sequence, reply: (flags & 1) !== 0, more: (flags & 2) !== 0, from, records }
      return userEvents === undefined ? state : { ...state, userEvents }
    }
    case 'digest': {
      const sequence = reader.number()
      const reply = (reader.byte() & 1) !== 0
      const from = reader.name()
      return { type, sequence, reply, from, digest: [reader.number(hashMax), reader.number(hashMax)] }
    }
    case 'refusal':
      return { type, sequence: reader.number(), reason: reader.text(textLengthMax) }
    case 'userEvent':
      return { type, event: readUserEvent(reader) }
    default:
      return type satisfies never
  }
}

function readRecord(reader: Reader): StateRecord {
  const standing = standings[reader.byte()]
  if (standing === undefined) throw new Malformed(`unknown standing before byte ${reader.position}`)
  const age = reader.number(ageSecondsMax) * 1000
  const from = reader.text(nameLengthMax)
  const begin = reader.position
  const incarnation = reader.number(incarnationMax)
  const record = {
    standing,
    age,
    from,
    incarnation,
    name: reader.name(),
    address: reader.address(),
    tags: reader.tags(),
  }
  boundRecord(begin, reader)
  return record
}

/** What is too long to be gossiped on must not get in. */
function boundRecord(begin: number, reader: Reader): void {
  const length = reader.position - begin
  if (length > recordLengthMax) throw new Malformed(`member of ${length} bytes, at most ${recordLengthMax}`)
}

/**
 * Why this name, address and these tags cannot be gossiped, or undefined when they can: what `decodePacket` would
 * refuse on the other side.
 */
export function unfitReason(name: string, address: Address, tags: Record<string, string>): string | undefined {
  if (!isName(name)) return 'the name is empty or has control characters'
  if (byteLength(name) > nameLengthMax) return `the name is longer than ${nameLengthMax} bytes`
  if (!isName(address.host) || byteLength(address.host) > nameLengthMax) {
    return `expected a host to advertise, received ${JSON.stringify(address.host)}`
  }
  if (!Number.isInteger(address.port) || address.port < 1 || address.port > 65_535) {
    return `expected a port to advertise, received ${address.port}`
  }
  const entries = Object.entries(tags)
  if (entries.length > tagsMax) return `${entries.length} tags, at most ${tagsMax}`
  for (const [key, value] of entries) {
    if (byteLength(key) > textLengthMax || byteLength(value) > textLengthMax) {
      return `the tag "${key.slice(0, 40)}" is longer than ${textLengthMax} bytes`
    }
  }
  const length = encodeMessage({ type: 'alive', name, address, tags, incarnation: incarnationMax }).length
  return length > recordLengthMax
    ? `name, address and tags take ${length} bytes, at most ${recordLengthMax}`
    : undefined
}
