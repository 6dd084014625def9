/**
 * A packet in, a packet out. Everything about a question that is ours is done when `respond` returns; it gives a
 * promise only when a recursor has to be asked. Whatever the bytes are, it does not throw.
 */
import type { Random } from '../io/random.ts'
import type { View } from '../store/view.ts'
import { type Answer, answer, withResolved } from './answer.ts'
import { answeredSubnet, decode, decodeQuestions, encode, headerLength } from './codec.ts'
import { fitted } from './fit.ts'
import { type Edns, type Message, opcodes, type Question, rcodes, type Transport } from './message.ts'
import type { DnsSettings } from './options.ts'
import type { Recursors } from './recursors.ts'

/** What a packet holds without EDNS (RFC 1035 §4.2.1). */
const udpSize = 512
/** The largest UDP answer we give, whatever the client says it takes: HAProxy's largest, and no gift to reflection. */
const udpSizeMax = 8192
const tcpSizeMax = 65535
/** As Consul: a larger limit of instances counts as this one. */
const udpAnswersMax = 8

/** Undefined: nothing is to be sent. */
export type Reply = Uint8Array | undefined

export class Responder {
  readonly #view: () => View
  readonly #random: Random
  readonly #settings: DnsSettings
  readonly #recursors: Recursors | undefined
  readonly #answers = new AnswerCache()

  /** @param recursors undefined: names outside our domain are refused */
  constructor(view: () => View, random: Random, settings: DnsSettings, recursors: Recursors | undefined) {
    this.#view = view
    this.#random = random
    this.#settings = settings
    this.#recursors = recursors
  }

  respond(packet: Uint8Array, transport: Transport): Reply | Promise<Reply> {
    const view = this.#view()
    const cached = this.#answers.find(packet, transport, view, this.#random)
    if (cached !== undefined) return cached
    // Without a header there is no id to answer to, and an answer to an answer would go on for ever.
    if (packet.length < headerLength || ((packet[2] as number) & 0x80) !== 0) return undefined
    // UPDATE, NOTIFY and the like: back with the header, as there may be nothing else in them that we can read.
    if ((((packet[2] as number) >> 3) & 15) !== opcodes.QUERY) return refusal(packet, rcodes.NOTIMP)
    const query = decode(packet)
    const [question] = query?.questions ?? []
    const subnet = answeredSubnet(query?.edns)
    if (query === undefined || question === undefined || query.questions.length !== 1 || subnet === 'malformed') {
      return refusal(packet, rcodes.FORMERR)
    }
    const edns = query.edns && { ...query.edns, version: 0, dnssec: false, options: subnet ? [subnet] : [] }
    // RFC 6891 §6.1.3; a client that speaks a later version asks again in ours.
    if (query.edns !== undefined && query.edns.version !== 0) {
      return encode(this.#message(query, edns, rcodes.BADVERS))
    }

    const found = answer(question, view, this.#random, this.#settings)
    if (this.#recursors !== undefined && found.elsewhere) return this.#forward(query, question, edns, transport)
    if (this.#recursors !== undefined && found.chases.length > 0) {
      return this.#chase(found, this.#recursors).then((resolved) => this.#fit(query, edns, resolved, transport))
    }
    const reply = this.#fit(query, edns, found, transport)
    this.#answers.keep(packet, transport, reply, found.answers.length)
    return reply
  }

  async #chase(found: Answer, recursors: Recursors): Promise<Answer> {
    return withResolved(found, await Promise.all(found.chases.map(({ name, type }) => recursors.resolve(name, type))))
  }

  async #forward(query: Message, question: Question, edns: Edns | undefined, transport: Transport): Promise<Reply> {
    const { recursionDesired, checkingDisabled } = query
    const size = roomFor(query.edns, transport)
    const travelling = { question, recursionDesired, checkingDisabled, edns: query.edns && { ...query.edns, size } }
    const reply = await this.#recursors?.forward(travelling, transport)
    const asked = reply && decodeQuestions(reply)
    if (reply === undefined || asked === undefined) {
      return encode({ ...this.#message(query, edns, rcodes.SERVFAIL), authoritative: false })
    }
    // The reply may be shared with others who asked the same in other letters: each gets its own question back.
    const packet = Buffer.concat([
      reply.subarray(0, headerLength),
      encode({ ...query, answers: [], authority: [], additional: [], edns: undefined }, false).subarray(headerLength),
      reply.subarray(asked.end),
    ])
    packet.writeUInt16BE(query.id, 0)
    packet.writeUInt8(packet.readUInt8(3) | 0x80, 3)
    if (packet.length <= size) return packet
    // More than the client takes (and we said so): it may come again over TCP.
    return encode({ ...this.#message(query, edns, rcodes.NOERROR), authoritative: false, truncated: true })
  }

  #fit(query: Message, edns: Edns | undefined, found: Answer, transport: Transport): Uint8Array {
    const { udpAnswerLimit, enableTruncate, disableCompression } = this.#settings
    const message = this.#message(query, edns, found.rcode)
    const size = roomFor(query.edns, transport)
    const limited = found.interchangeable && transport === 'udp' && size === udpSize && udpAnswerLimit > 0
    return fitted(
      {
        ...message,
        authoritative: found.authoritative,
        answers: found.answers,
        authority: found.authority,
        additional: found.additional,
      },
      {
        size,
        answers: limited ? Math.min(udpAnswerLimit, udpAnswersMax) : Number.POSITIVE_INFINITY,
        flagLimit: enableTruncate,
        compress: !disableCompression,
      },
    )
  }

  #message(query: Message, edns: Edns | undefined, rcode: number): Message {
    return {
      id: query.id,
      response: true,
      opcode: opcodes.QUERY,
      authoritative: true,
      truncated: false,
      recursionDesired: query.recursionDesired,
      recursionAvailable: this.#recursors !== undefined,
      authenticData: false,
      checkingDisabled: query.checkingDisabled,
      rcode,
      questions: query.questions,
      answers: [],
      authority: [],
      additional: [],
      edns,
    }
  }
}

/** Octets a reply may have. */
function roomFor(edns: Edns | undefined, transport: Transport): number {
  if (transport === 'tcp') return tcpSizeMax
  return Math.min(Math.max(edns?.size ?? 0, udpSize), udpSizeMax)
}

/** The header alone, with the client's RD, AD and CD as it sent them. */
function refusal(packet: Uint8Array, rcode: number): Uint8Array {
  const reply = Buffer.alloc(headerLength)
  reply.set(packet.subarray(0, 4))
  reply.writeUInt8((reply.readUInt8(2) & 0x79) | 0x80, 2)
  reply.writeUInt8((reply.readUInt8(3) & 0x30) | rcode, 3)
  return reply
}

/**
 * Finished packets by the question's own octets (all but the id, so RD, EDNS and the letters of the name count). They
 * are true as long as the store applied nothing new; the first question after that forgets them all. An answer of
 * several records is kept in several orders, and for a limited number of uses, so that no instance is left out for long.
 */
class AnswerCache {
  readonly #entries = new Map<string, { packets: Uint8Array[]; orders: number; uses: number }>()
  #view: View | undefined
  #index = 0

  /** A copy under the packet's id; undefined when it has to be worked out. */
  find(packet: Uint8Array, transport: Transport, view: View, random: Random): Uint8Array | undefined {
    if (view !== this.#view || view.index !== this.#index) {
      this.#entries.clear()
      this.#view = view
      this.#index = view.index
      return undefined
    }
    const key = keyOf(packet, transport)
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.packets.length < entry.orders) return undefined
    if (--entry.uses === 0) this.#entries.delete(key)
    const reply = Buffer.from(random.pick(entry.packets) as Uint8Array)
    reply.set(packet.subarray(0, 2))
    return reply
  }

  /** @param answers records in the reply; their order matters when there are several */
  keep(packet: Uint8Array, transport: Transport, reply: Uint8Array, answers: number): void {
    if (packet.length > keyLengthMax || reply.length > replyLengthMax) return
    const key = keyOf(packet, transport)
    const entry = this.#entries.get(key)
    if (entry !== undefined) {
      entry.packets.push(reply)
      return
    }
    if (this.#entries.size >= entriesMax) this.#entries.clear()
    const several = answers > 1
    const uses = several ? usesMax : Number.POSITIVE_INFINITY
    this.#entries.set(key, { packets: [reply], orders: several ? orders : 1, uses })
  }
}

/** Questions nobody asks again push nothing useful out: at this many all is forgotten, which costs one working out each. */
const entriesMax = 2000
const keyLengthMax = 128
const replyLengthMax = 2048
/** Orders of the same answers that take turns, and how often in all before new ones are made. */
const orders = 16
const usesMax = 128

function keyOf(packet: Uint8Array, transport: Transport): string {
  return transport + Buffer.from(packet.buffer, packet.byteOffset, packet.length).toString('latin1', 2)
}
