/**
 * A packet in, a packet out. Everything about a question that is ours is done when `respond` returns; it gives a
 * promise only when a recursor or another datacenter has to be asked. Whatever the bytes are, it does not throw.
 */
import type { Random } from '../io/random.ts'
import type { View } from '../store/view.ts'
import { type Across, type Answer, answer, answerAcross, answerPrepared, empty, withResolved } from './answer.ts'
import { answeredSubnet, decode, decodeQuestions, encode, headerLength } from './codec.ts'
import type { Elsewhere } from './elsewhere.ts'
import { fitted } from './fit.ts'
import { type Edns, type EdnsOption, type Message, opcodes, type Question, rcodes, type Transport } from './message.ts'
import type { DnsSettings } from './options.ts'
import { type Outcome, type PreparedQueries, subnetAddress } from './prepared.ts'
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
  readonly #elsewhere: Elsewhere | undefined
  readonly #prepared: PreparedQueries | undefined
  readonly #cache = new Cache()

  /**
   * @param recursors undefined: names outside our domain are refused
   * @param elsewhere undefined: there is no other datacenter
   * @param prepared undefined: there are no prepared queries
   */
  constructor(
    view: () => View,
    random: Random,
    settings: DnsSettings,
    recursors: Recursors | undefined,
    elsewhere?: Elsewhere,
    prepared?: PreparedQueries,
  ) {
    this.#view = view
    this.#random = random
    this.#settings = settings
    this.#recursors = recursors
    this.#elsewhere = elsewhere
    this.#prepared = prepared
  }

  /** @param from the client's IP address; '' when it is not known */
  respond(packet: Uint8Array, transport: Transport, from = ''): Reply | Promise<Reply> {
    const view = this.#view()
    const known = this.#cache.find(packet, transport, view)
    if (known !== undefined) return this.#again(known, packet, transport)
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
    if (found.across !== undefined) {
      // Never kept: what other datacenters there are does not move with the store.
      if (this.#elsewhere?.knows(found.across.datacenter) !== true) return this.#fit(query, edns, found, transport)
      const answering = this.#across(question, found, found.across, this.#elsewhere)
      return answering.then((answered) => this.#fit(query, edns, answered, transport))
    }
    if (found.prepared !== undefined && this.#prepared !== undefined) {
      // Whom it is near to may depend on the client's network: the answer is for that alone (RFC 7871 §7.2.1), as Consul says.
      const own = edns && subnet ? { ...edns, options: [scoped(subnet)] } : edns
      const outcome = this.#prepared.execute(found.prepared, subnetAddress(subnet) ?? from)
      if (outcome instanceof Promise) {
        const answering = outcome.then((late) => this.#resolved(this.#executed(question, found, late)))
        return answering.then((answered) => this.#fit(query, own, answered, transport))
      }
      const answered = this.#executed(question, found, outcome)
      if (this.#recursors !== undefined && answered.chases.length > 0) {
        return this.#chase(answered, this.#recursors).then((resolved) => this.#fit(query, own, resolved, transport))
      }
      const isKept = typeof outcome === 'object' && !outcome.ordered
      if (isKept) this.#cache.keep(packet, transport, { query, edns: own, found: answered, packet: undefined })
      return this.#fit(query, own, answered, transport)
    }
    if (this.#recursors !== undefined && found.elsewhere) return this.#forward(query, question, edns, transport)
    if (this.#recursors !== undefined && found.chases.length > 0) {
      return this.#chase(found, this.#recursors).then((resolved) => this.#fit(query, edns, resolved, transport))
    }
    const reply = this.#fit(query, edns, found, transport)
    const isFixed = !found.interchangeable || found.answers.length < 2
    this.#cache.keep(packet, transport, { query, edns, found, packet: isFixed ? reply : undefined })
    return reply
  }

  /** The same question once more: the same answer, and of several instances others, or in another order. */
  #again({ query, edns, found, packet: fixed }: Known, packet: Uint8Array, transport: Transport): Uint8Array {
    const reply =
      fixed === undefined
        ? this.#fit(query, edns, { ...found, answers: this.#random.shuffle(found.answers) }, transport)
        : Buffer.from(fixed)
    reply.set(packet.subarray(0, 2))
    return reply
  }

  async #across(question: Question, unknown: Answer, across: Across, elsewhere: Elsewhere): Promise<Answer> {
    const found = await elsewhere.find(across)
    if (found === 'unknown') return unknown
    return this.#resolved(answerAcross(question, { ...across, found }, this.#view(), this.#random, this.#settings))
  }

  /** What a prepared query found, as an answer. */
  #executed(question: Question, unknown: Answer, outcome: Outcome): Answer {
    if (outcome === 'unknown') return unknown
    if (outcome === undefined) return empty(rcodes.SERVFAIL)
    return answerPrepared(question, outcome, this.#view(), this.#random, this.#settings)
  }

  async #resolved(found: Answer): Promise<Answer> {
    if (this.#recursors === undefined || found.chases.length === 0) return found
    return this.#chase(found, this.#recursors)
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

/** A client's subnet whose answer is for no larger network. */
function scoped({ code, octets }: EdnsOption): EdnsOption {
  return { code, octets: `${octets.slice(0, 3)}${octets[2]}${octets.slice(4)}` }
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

/** A question read, and what the catalog has to say to it. */
interface Known {
  query: Message
  /** As it goes back. */
  edns: Edns | undefined
  found: Answer
  /** The packet, when it is the same every time but for the id. */
  packet: Uint8Array | undefined
}

/**
 * What is known about questions, by their own octets (all but the id, so RD, EDNS and the letters of the name count).
 * It is true as long as the store applied nothing new; the first question after that forgets it all.
 */
class Cache {
  readonly #known = new Map<string, Known>()
  #view: View | undefined
  #index = 0

  find(packet: Uint8Array, transport: Transport, view: View): Known | undefined {
    if (view !== this.#view || view.index !== this.#index) {
      this.#known.clear()
      this.#view = view
      this.#index = view.index
      return undefined
    }
    return this.#known.get(keyOf(packet, transport))
  }

  keep(packet: Uint8Array, transport: Transport, known: Known): void {
    if (packet.length > packetMax || known.found.answers.length > answersMax) return
    if (this.#known.size >= questionsMax) this.#known.clear()
    this.#known.set(keyOf(packet, transport), known)
  }
}

/** Questions nobody asks again push nothing useful out: at this many all is forgotten, which costs one look-up each. */
const questionsMax = 2000
const packetMax = 128
const answersMax = 1000

function keyOf(packet: Uint8Array, transport: Transport): string {
  return transport + Buffer.from(packet.buffer, packet.byteOffset, packet.length).toString('latin1', 2)
}
