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
import type { Address, Coordinate, Millis } from '../model.ts'
import { dimensions } from './coordinate.ts'

/** Fits an Ethernet frame with room for tunnels (memberlist's UDPBufferSize). */
export const datagramLengthMax = 1_400
/** One member's name, address and tags, encoded: must ride on a ping. Serf allows 512 bytes of tags. */
export const recordLengthMax = 1_100
const textLengthMax = 512
const nameLengthMax = 255
const tagsMax = 64
const dimensionsMax = 64
const recordsMax = 100_000
const incarnationMax = 2 ** 48
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
  /** Everything `from` knows, itself first; in frames only. With `more`, another part follows. */
  | { type: 'state'; sequence: number; reply: boolean; more: boolean; from: string; records: StateRecord[] }
  /** The answer to a state from somebody who may not be in this pool. */
  | { type: 'refusal'; sequence: number; reason: string }

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
] as const satisfies Message['type'][]
const standings = ['alive', 'suspect', 'failed', 'left', 'pruned'] as const satisfies Standing[]

/** The bytes are not a packet of ours; the message says what was wrong and where. */
export class Malformed extends Error {
  override name = 'Malformed'
}

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
  const out = new Writer()
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
      break
    case 'refusal':
      out.number(message.sequence).text(message.reason)
      break
    default:
      message satisfies never
  }
  const fields = out.bytes()
  return new Writer(fields.length + 6).byte(kinds.indexOf(message.type)).number(fields.length).append(fields).bytes()
}

function writeRecords(records: readonly StateRecord[], out: Writer): void {
  const one = new Writer()
  for (const record of records) {
    one.clear()
    one
      .byte(standings.indexOf(record.standing))
      .number(Math.floor(record.age / 1000))
      .text(record.from)
    one.number(record.incarnation).text(record.name).address(record.address).tags(record.tags)
    const fields = one.bytes()
    out.number(fields.length).append(fields)
  }
}

/** All messages of a packet that are of a kind we know; when one of them is wrong, none. @throws Malformed */
export function decodePacket(bytes: Uint8Array): Message[] {
  if (bytes.length < headerLength)
    throw new Malformed(`expected at least ${headerLength} bytes, received ${bytes.length}`)
  if (bytes[0] !== 0x52 || bytes[1] !== 0x47) throw new Malformed('not a gossip packet')
  if (bytes[2] !== version) throw new Malformed(`expected packet version ${version}, received ${bytes[2]}`)
  const body = bytes.subarray(headerLength)
  const sum = new DataView(bytes.buffer, bytes.byteOffset).getUint32(3)
  if (sum !== crc32(body)) throw new Malformed('checksum does not match')
  const reader = new Reader(body)
  const messages: Message[] = []
  while (!reader.done) {
    const type = kinds[reader.byte()]
    const fields = reader.part()
    if (type !== undefined) messages.push(readMessage(type, fields))
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
      const incarnation = reader.incarnation()
      const news: News = { type, incarnation, name: reader.name(), address: reader.address(), tags: reader.tags() }
      reader.boundRecord(begin)
      return news
    }
    case 'suspect':
    case 'failed':
    case 'left':
    case 'pruned':
      return { type, incarnation: reader.incarnation(), name: reader.name(), from: reader.name() }
    case 'state': {
      const sequence = reader.number()
      const flags = reader.byte()
      const from = reader.name()
      const count = reader.number(recordsMax)
      const records: StateRecord[] = []
      for (let read = 0; read < count; read++) records.push(readRecord(reader.part()))
      return { type, sequence, reply: (flags & 1) !== 0, more: (flags & 2) !== 0, from, records }
    }
    case 'refusal':
      return { type, sequence: reader.number(), reason: reader.text(textLengthMax) }
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
  const incarnation = reader.incarnation()
  const record = {
    standing,
    age,
    from,
    incarnation,
    name: reader.name(),
    address: reader.address(),
    tags: reader.tags(),
  }
  reader.boundRecord(begin)
  return record
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Appends fields to bytes that grow as needed. */
class Writer {
  #bytes: Uint8Array
  #length = 0

  constructor(room = 256) {
    this.#bytes = new Uint8Array(room)
  }

  clear(): void {
    this.#length = 0
  }

  /** A copy of what was written. */
  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  byte(value: number): this {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
    return this
  }

  /** A whole number from 0 to 2^53 - 1, seven bits a byte, low ones first. */
  number(value: number): this {
    this.#reserve(8)
    let rest = value
    while (rest >= 128) {
      this.#bytes[this.#length++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.#bytes[this.#length++] = rest
    return this
  }

  text(value: string): this {
    const bytes = encoder.encode(value)
    if (bytes.length > textLengthMax) throw new RangeError(`text of ${bytes.length} bytes, at most ${textLengthMax}`)
    return this.number(bytes.length).append(bytes)
  }

  append(bytes: Uint8Array): this {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
    return this
  }

  address(address: Address): this {
    return this.text(address.host).number(address.port)
  }

  /** How many dimensions (0: there is none), and as many numbers and three more, of eight bytes, big-endian. */
  coordinate({ vector, error, adjustment, height }: Coordinate): this {
    this.number(vector.length).#reserve(8 * (vector.length + 3))
    const bytes = new DataView(this.#bytes.buffer)
    for (const each of vector) this.#float(bytes, each)
    this.#float(bytes, error)
    this.#float(bytes, adjustment)
    this.#float(bytes, height)
    return this
  }

  tags(tags: Record<string, string>): this {
    const entries = Object.entries(tags)
    this.number(entries.length)
    for (const [key, value] of entries) this.text(key).text(value)
    return this
  }

  #float(bytes: DataView, value: number): void {
    bytes.setFloat64(this.#length, value)
    this.#length += 8
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more))
    larger.set(this.#bytes)
    this.#bytes = larger
  }
}

/** Takes fields off bytes that anybody may have sent. */
class Reader {
  readonly #bytes: Uint8Array
  #at: number
  readonly #end: number

  constructor(bytes: Uint8Array, begin = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#at = begin
    this.#end = end
  }

  get done(): boolean {
    return this.#at === this.#end
  }

  get position(): number {
    return this.#at
  }

  /** The fields of the next message or record, which are stepped over here. They may be more than its reader wants. */
  part(): Reader {
    const length = this.number()
    const begin = this.#at
    const end = begin + length
    if (end > this.#end) throw new Malformed(`message or record of ${length} bytes at byte ${begin} is cut off`)
    this.#at = end
    return new Reader(this.#bytes, begin, end)
  }

  byte(): number {
    if (this.#at === this.#end) throw new Malformed(`message or packet ends at byte ${this.#at}, before its fields do`)
    return this.#bytes[this.#at++] as number
  }

  number(max: number = Number.MAX_SAFE_INTEGER): number {
    let value = 0
    let factor = 1
    for (;;) {
      const byte = this.byte()
      value += (byte & 127) * factor
      if (value > max) throw new Malformed(`number before byte ${this.#at} is above ${max}`)
      if (byte < 128) return value
      factor *= 128
      if (factor > Number.MAX_SAFE_INTEGER) throw new Malformed(`number before byte ${this.#at} does not end`)
    }
  }

  text(max: number): string {
    const length = this.number(max)
    const end = this.#at + length
    if (end > this.#end) throw new Malformed(`text of ${length} bytes at byte ${this.#at} is cut off`)
    try {
      const text = decoder.decode(this.#bytes.subarray(this.#at, end))
      this.#at = end
      return text
    } catch (cause) {
      throw new Malformed(`text at byte ${this.#at} is not UTF-8`, { cause })
    }
  }

  /** Of a member or host: goes into logs and tables, so neither empty nor with control characters. */
  name(): string {
    const name = this.text(nameLengthMax)
    if (!isName(name)) throw new Malformed(`name before byte ${this.#at} is empty or has control characters`)
    return name
  }

  incarnation(): number {
    return this.number(incarnationMax)
  }

  address(): Address {
    const host = this.name()
    const port = this.number(65_535)
    if (port === 0) throw new Malformed(`port before byte ${this.#at} is 0`)
    return { host, port }
  }

  /** Undefined: there is none, or one with other dimensions than ours, which says nothing to us. */
  coordinate(): Coordinate | undefined {
    const count = this.number(dimensionsMax)
    if (count === 0) return undefined
    const end = this.#at + 8 * (count + 3)
    if (end > this.#end) throw new Malformed(`coordinate at byte ${this.#at} is cut off`)
    const bytes = new DataView(this.#bytes.buffer, this.#bytes.byteOffset)
    const numbers: number[] = []
    for (; this.#at < end; this.#at += 8) numbers.push(bytes.getFloat64(this.#at))
    if (count !== dimensions) return undefined
    const [error = 0, adjustment = 0, height = 0] = numbers.splice(count)
    return { vector: numbers, error, adjustment, height }
  }

  tags(): Record<string, string> {
    const count = this.number(tagsMax)
    const entries: [string, string][] = []
    for (let read = 0; read < count; read++) entries.push([this.text(textLengthMax), this.text(textLengthMax)])
    return Object.fromEntries(entries)
  }

  /** What is too long to be gossiped on must not get in. */
  boundRecord(begin: number): void {
    const length = this.#at - begin
    if (length > recordLengthMax) throw new Malformed(`member of ${length} bytes, at most ${recordLengthMax}`)
  }
}

function isName(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point
  return text.length > 0 && !/[\u0000-\u001f\u007f]/.test(text)
}

/**
 * Why this name, address and these tags cannot be gossiped, or undefined when they can: what `decodePacket` would
 * refuse on the other side.
 */
export function unfitReason(name: string, address: Address, tags: Record<string, string>): string | undefined {
  if (!isName(name)) return 'the name is empty or has control characters'
  if (encoder.encode(name).length > nameLengthMax) return `the name is longer than ${nameLengthMax} bytes`
  if (!isName(address.host) || encoder.encode(address.host).length > nameLengthMax) {
    return `expected a host to advertise, received ${JSON.stringify(address.host)}`
  }
  if (!Number.isInteger(address.port) || address.port < 1 || address.port > 65_535) {
    return `expected a port to advertise, received ${address.port}`
  }
  const entries = Object.entries(tags)
  if (entries.length > tagsMax) return `${entries.length} tags, at most ${tagsMax}`
  for (const [key, value] of entries) {
    if (encoder.encode(key).length > textLengthMax || encoder.encode(value).length > textLengthMax) {
      return `the tag "${key.slice(0, 40)}" is longer than ${textLengthMax} bytes`
    }
  }
  const length = encodeMessage({ type: 'alive', name, address, tags, incarnation: incarnationMax }).length
  return length > recordLengthMax
    ? `name, address and tags take ${length} bytes, at most ${recordLengthMax}`
    : undefined
}
