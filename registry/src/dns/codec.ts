/**
 * DNS messages between values and bytes (RFC 1035 §4). Relies on nothing but the packet: every read is checked, and
 * compression pointers only lead backwards and are few, so decoding ends soon whatever the bytes are. Decoding
 * answers undefined instead of throwing; encoding trusts its caller for names that fit (`name.ts` makes them).
 */
import { formatAddress, parseAddress } from './address.ts'
import {
  classes,
  type Edns,
  type EdnsOption,
  type Message,
  type Name,
  type Question,
  type RecordData,
  type ResourceRecord,
  types,
} from './message.ts'

/** A packet shorter than its header has not even an id to answer to. */
export const headerLength = 12
/** A name with its length octets and the root's (RFC 1035 §2.3.4). */
const nameLengthMax = 255
/** Every pointer of a name that is worth its two octets stands for a label at least, and no name has more labels. */
const pointersMax = 126

/** Thrown inside this file only. */
class Malformed extends Error {}

/**
 * The whole packet, or undefined when it is not a DNS message. Octets after the last record are ignored, as most
 * servers do; a second OPT, or one that is not of the root, is malformed (RFC 6891 §6.1.1).
 */
export function decode(packet: Uint8Array): Message | undefined {
  try {
    return new Reader(packet).message()
  } catch (error) {
    if (error instanceof Malformed) return undefined
    throw error
  }
}

/** The questions alone, and where they end; undefined when the packet does not hold what its header says. */
export function decodeQuestions(packet: Uint8Array): { questions: Question[]; end: number } | undefined {
  try {
    const reader = new Reader(packet)
    const questions = reader.questions()
    return { questions, end: reader.at }
  } catch (error) {
    if (error instanceof Malformed) return undefined
    throw error
  }
}

class Reader {
  readonly #packet: Buffer
  at = headerLength
  #edns: Edns | undefined
  #extendedRcode = 0

  constructor(packet: Uint8Array) {
    if (packet.length < headerLength) throw new Malformed('no header')
    this.#packet = Buffer.from(packet.buffer, packet.byteOffset, packet.length)
  }

  message(): Message {
    const id = this.#packet.readUInt16BE(0)
    const flags = this.#packet.readUInt16BE(2)
    const questions = this.questions()
    const answers = this.#records(this.#packet.readUInt16BE(6))
    const authority = this.#records(this.#packet.readUInt16BE(8))
    if (this.#hasEdns()) throw new Malformed('OPT outside the additional section')
    const additional = this.#records(this.#packet.readUInt16BE(10))
    return {
      id,
      response: (flags & 0x8000) !== 0,
      opcode: (flags >> 11) & 15,
      authoritative: (flags & 0x0400) !== 0,
      truncated: (flags & 0x0200) !== 0,
      recursionDesired: (flags & 0x0100) !== 0,
      recursionAvailable: (flags & 0x0080) !== 0,
      authenticData: (flags & 0x0020) !== 0,
      checkingDisabled: (flags & 0x0010) !== 0,
      rcode: (flags & 15) | (this.#extendedRcode << 4),
      questions,
      answers,
      authority,
      additional,
      edns: this.#edns,
    }
  }

  /** Behind a call, because the compiler takes the field for unchanged between two looks. */
  #hasEdns(): boolean {
    return this.#edns !== undefined
  }

  questions(): Question[] {
    const questions: Question[] = []
    for (let left = this.#packet.readUInt16BE(4); left > 0; left--) {
      questions.push({ name: this.#name(), type: this.#uint16(), class: this.#uint16() })
    }
    return questions
  }

  #records(count: number): ResourceRecord[] {
    const records: ResourceRecord[] = []
    for (let left = count; left > 0; left--) {
      const name = this.#name()
      const type = this.#uint16()
      const recordClass = this.#uint16()
      const ttl = this.#uint32()
      const end = this.#uint16() + this.at
      if (end > this.#packet.length) throw new Malformed('data past the end')
      if (type === types.OPT) {
        if (this.#edns !== undefined || name.length > 0) throw new Malformed('more than one OPT, or not of the root')
        const options = this.#options(end)
        this.#edns = { size: recordClass, version: (ttl >> 16) & 255, dnssec: (ttl & 0x8000) !== 0, options }
        this.#extendedRcode = ttl >>> 24
      } else {
        records.push({ name, class: recordClass, ttl, data: this.#data(type, end) })
      }
      if (this.at !== end) throw new Malformed('data of another length')
    }
    return records
  }

  #data(type: number, end: number): RecordData {
    switch (type) {
      case types.A:
        if (end - this.at !== 4) throw new Malformed('A of another length')
        return { type: 'A', address: formatAddress([...this.#take(4)]) }
      case types.AAAA:
        if (end - this.at !== 16) throw new Malformed('AAAA of another length')
        return { type: 'AAAA', address: formatAddress([...this.#take(16)]) }
      case types.CNAME:
        return { type: 'CNAME', target: this.#name() }
      case types.NS:
        return { type: 'NS', target: this.#name() }
      case types.PTR:
        return { type: 'PTR', target: this.#name() }
      case types.SRV:
        return {
          type: 'SRV',
          priority: this.#uint16(),
          weight: this.#uint16(),
          port: this.#uint16(),
          target: this.#name(),
        }
      case types.TXT: {
        const texts: string[] = []
        while (this.at < end) texts.push(this.#octets(this.#uint8()))
        return { type: 'TXT', texts }
      }
      case types.SOA:
        return {
          type: 'SOA',
          nameServer: this.#name(),
          mailbox: this.#name(),
          serial: this.#uint32(),
          refresh: this.#uint32(),
          retry: this.#uint32(),
          expire: this.#uint32(),
          minimum: this.#uint32(),
        }
      default:
        return { type: 'other', code: type, octets: this.#octets(end - this.at) }
    }
  }

  #options(end: number): EdnsOption[] {
    const options: EdnsOption[] = []
    while (this.at < end) {
      const code = this.#uint16()
      options.push({ code, octets: this.#octets(this.#uint16()) })
    }
    return options
  }

  #name(): Name {
    const labels: string[] = []
    let length = 1
    let at = this.at
    // Where a pointer may lead: before every octet of this name read so far.
    let before = at
    let after: number | undefined
    let pointers = 0
    for (;;) {
      const size = this.#packet[at]
      if (size === undefined) throw new Malformed('name past the end')
      if (size === 0) break
      if (size >= 0xc0) {
        const low = this.#packet[at + 1]
        if (low === undefined) throw new Malformed('pointer past the end')
        const target = ((size & 0x3f) << 8) | low
        if (target >= before) throw new Malformed('pointer that does not lead backwards')
        if (++pointers > pointersMax) throw new Malformed('too many pointers')
        after ??= at + 2
        before = target
        at = target
        continue
      }
      // 0x40 and 0x80 were never given a lasting meaning (RFC 6891 §5).
      if (size > 63 || at + 1 + size > this.#packet.length) throw new Malformed('label past the end')
      length += size + 1
      if (length > nameLengthMax) throw new Malformed('name too long')
      labels.push(this.#packet.toString('latin1', at + 1, at + 1 + size))
      at += 1 + size
    }
    this.at = after ?? at + 1
    return labels
  }

  #take(length: number): Buffer {
    const from = this.at
    if (from + length > this.#packet.length) throw new Malformed('past the end')
    this.at += length
    return this.#packet.subarray(from, this.at)
  }

  #octets(length: number): string {
    return this.#take(length).toString('latin1')
  }

  #uint8(): number {
    return this.#take(1).readUInt8()
  }

  #uint16(): number {
    return this.#take(2).readUInt16BE()
  }

  #uint32(): number {
    return this.#take(4).readUInt32BE()
  }
}

/**
 * The packet. Names are compressed where RFC 1035 allows it, but never the target of SRV (RFC 2782), which later
 * names may still point into.
 * @param compress false writes every name in full (`disable_compression`)
 */
export function encode(message: Message, compress = true): Uint8Array {
  return new Writer(compress).message(message)
}

class Writer {
  #bytes = Buffer.allocUnsafe(1024)
  #length = headerLength
  /** Offset of each name written, by its labels behind their length octets; undefined: no compression. */
  readonly #offsets: Map<string, number> | undefined

  constructor(compress: boolean) {
    this.#offsets = compress ? new Map() : undefined
  }

  message(message: Message): Uint8Array {
    for (const question of message.questions) {
      this.#name(question.name)
      this.#uint16(question.type)
      this.#uint16(question.class)
    }
    for (const answer of message.answers) this.#record(answer)
    for (const authority of message.authority) this.#record(authority)
    for (const additional of message.additional) this.#record(additional)
    if (message.edns !== undefined) this.#edns(message.edns, message.rcode)
    const flags =
      (message.response ? 0x8000 : 0) |
      (message.opcode << 11) |
      (message.authoritative ? 0x0400 : 0) |
      (message.truncated ? 0x0200 : 0) |
      (message.recursionDesired ? 0x0100 : 0) |
      (message.recursionAvailable ? 0x0080 : 0) |
      (message.authenticData ? 0x0020 : 0) |
      (message.checkingDisabled ? 0x0010 : 0) |
      (message.rcode & 15)
    this.#bytes.writeUInt16BE(message.id, 0)
    this.#bytes.writeUInt16BE(flags, 2)
    this.#bytes.writeUInt16BE(message.questions.length, 4)
    this.#bytes.writeUInt16BE(message.answers.length, 6)
    this.#bytes.writeUInt16BE(message.authority.length, 8)
    this.#bytes.writeUInt16BE(message.additional.length + (message.edns === undefined ? 0 : 1), 10)
    return this.#bytes.subarray(0, this.#length)
  }

  #record(record: ResourceRecord): void {
    const { data } = record
    this.#name(record.name)
    this.#uint16(data.type === 'other' ? data.code : types[data.type])
    this.#uint16(record.class)
    this.#uint32(record.ttl)
    const lengthAt = this.#length
    this.#uint16(0)
    this.#data(data)
    this.#bytes.writeUInt16BE(this.#length - lengthAt - 2, lengthAt)
  }

  #data(data: RecordData): void {
    switch (data.type) {
      case 'A':
      case 'AAAA': {
        const octets = parseAddress(data.address) ?? []
        // An IPv4 address in an AAAA record has only its mapped form.
        if (data.type === 'AAAA' && octets.length === 4) octets.unshift(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255)
        for (const octet of octets) this.#uint8(octet)
        break
      }
      case 'CNAME':
      case 'NS':
      case 'PTR':
        this.#name(data.target)
        break
      case 'SRV':
        this.#uint16(data.priority)
        this.#uint16(data.weight)
        this.#uint16(data.port)
        this.#name(data.target, false)
        break
      case 'TXT':
        for (const text of data.texts) {
          this.#uint8(text.length)
          this.#octets(text)
        }
        break
      case 'SOA':
        this.#name(data.nameServer)
        this.#name(data.mailbox)
        this.#uint32(data.serial)
        this.#uint32(data.refresh)
        this.#uint32(data.retry)
        this.#uint32(data.expire)
        this.#uint32(data.minimum)
        break
      case 'other':
        this.#octets(data.octets)
        break
      default:
        data satisfies never
    }
  }

  #edns(edns: Edns, rcode: number): void {
    this.#uint8(0)
    this.#uint16(types.OPT)
    this.#uint16(edns.size)
    this.#uint32((((rcode >> 4) << 24) | (edns.version << 16) | (edns.dnssec ? 0x8000 : 0)) >>> 0)
    this.#uint16(edns.options.reduce((length, option) => length + 4 + option.octets.length, 0))
    for (const option of edns.options) {
      this.#uint16(option.code)
      this.#uint16(option.octets.length)
      this.#octets(option.octets)
    }
  }

  #name(name: Name, compressible = true): void {
    for (let at = 0; at < name.length; at++) {
      if (this.#offsets !== undefined) {
        // Case counts: a resolver that varies the letters of its question must find them in the answer.
        const rest = suffixKey(name, at)
        const offset = this.#offsets.get(rest)
        if (offset === undefined) {
          if (this.#length < 0x4000) this.#offsets.set(rest, this.#length)
        } else if (compressible) {
          this.#uint16(0xc000 | offset)
          return
        }
      }
      const label = name[at] as string
      this.#uint8(label.length)
      this.#octets(label)
    }
    this.#uint8(0)
  }

  #reserve(length: number): number {
    const from = this.#length
    this.#length += length
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length))
      this.#bytes.copy(larger, 0, 0, from)
      this.#bytes = larger
    }
    return from
  }

  #octets(octets: string): void {
    const from = this.#reserve(octets.length)
    this.#bytes.write(octets, from, 'latin1')
  }

  #uint8(value: number): void {
    const from = this.#reserve(1)
    this.#bytes.writeUInt8(value, from)
  }

  #uint16(value: number): void {
    const from = this.#reserve(2)
    this.#bytes.writeUInt16BE(value, from)
  }

  #uint32(value: number): void {
    const from = this.#reserve(4)
    this.#bytes.writeUInt32BE(value, from)
  }
}

/** The labels from one on, each behind its length as on the wire, so that no two different names look alike. */
function suffixKey(name: Name, from: number): string {
  let key = ''
  for (let at = from; at < name.length; at++) {
    const label = name[at] as string
    key += String.fromCharCode(label.length) + label
  }
  return key
}

/** EDNS client subnet (RFC 7871 §6). */
export const clientSubnetCode = 8

/**
 * The client subnet of a question as it stands in an answer that is the same for everyone: scope 0. Undefined when
 * there is none, 'malformed' when its length and its family do not belong together (RFC 7871 §7.1.2: FORMERR).
 */
export function answeredSubnet(edns: Edns | undefined): EdnsOption | 'malformed' | undefined {
  const option = edns?.options.find(({ code }) => code === clientSubnetCode)
  if (option === undefined) return undefined
  const { octets } = option
  if (octets.length < 4) return 'malformed'
  const family = (octets.charCodeAt(0) << 8) | octets.charCodeAt(1)
  const prefix = octets.charCodeAt(2)
  const bits = family === 1 ? 32 : family === 2 ? 128 : 0
  if (prefix > bits || octets.length !== 4 + Math.ceil(prefix / 8)) return 'malformed'
  return { code: option.code, octets: `${octets.slice(0, 3)}\0${octets.slice(4)}` }
}

/** Whether a class is one this server speaks for. */
export function isInternet(recordClass: number): boolean {
  return recordClass === classes.IN || recordClass === classes.ANY
}
