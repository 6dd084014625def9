/**
 * Asks other servers what we do not know. Decides whom to ask, in which order, and which reply to believe; the
 * sockets are `server.ts`'s, behind `Exchange`.
 *
 * A question that is already on its way is not asked again: everyone who asks it waits for the same reply. That
 * spares the recursors a herd, and it is why a loop (a recursor that, directly or through others, is ourselves) sends
 * one packet per recursor and ends with SERVFAIL at the time-out, instead of multiplying.
 */
import type { Clock, Log } from '../io/io.ts'
import type { Address, Millis } from '../model.ts'
import { isLocation } from './answer.ts'
import { clientSubnetCode, decode, decodeQuestions, encode } from './codec.ts'
import {
  classes,
  type EdnsOption,
  type Message,
  type Name,
  opcodes,
  type Question,
  type ResourceRecord,
  rcodes,
  type Transport,
} from './message.ts'
import { sameName, textOf } from './name.ts'

/**
 * Sends one packet from a fresh port and resolves with the first reply that `isReply` accepts; others are ignored.
 * Rejects after `timeout`, or when the server cannot be reached.
 */
export type Exchange = (request: {
  transport: Transport
  server: Address
  packet: Uint8Array
  timeout: Millis
  isReply: (packet: Uint8Array) => boolean
}) => Promise<Uint8Array>

export interface RecursorsOptions {
  servers: readonly Address[]
  /** For each server. */
  timeout: Millis
  exchange: Exchange
  /** 0 to 65535, not to be guessed from earlier ones: together with the port it is all that proves a reply. */
  nextId: () => number
  clock: Clock
  log: Log
}

/** Questions under way at the same time, a socket each, and those who wait for them. More are answered SERVFAIL at once. */
export const pendingMax = 1000
export const waitingMax = 10_000

/** A server that kept silent is asked after the others for this long. */
export const silenceAside: Millis = 10_000

/** What travels on to a recursor. */
export interface Forwarded {
  question: Question
  recursionDesired: boolean
  checkingDisabled: boolean
  /** What the client takes: its reply goes to it as it is. Undefined: no EDNS, 512 octets. */
  edns: { size: number; dnssec: boolean; options: readonly EdnsOption[] } | undefined
}

export class Recursors {
  readonly #options: RecursorsOptions
  readonly #pending = new Map<string, Promise<Uint8Array | undefined>>()
  #waiting = 0
  readonly #silentSince = new Map<Address, Millis>()

  constructor(options: RecursorsOptions) {
    this.#options = options
  }

  /**
   * A recursor's reply as it came, under an id of ours, or undefined when none gave a usable one. As Consul: servers
   * in their order, NOERROR and NXDOMAIN are answers, anything else is a reason to ask the next.
   */
  async forward(forwarded: Forwarded, transport: Transport): Promise<Uint8Array | undefined> {
    if (this.#waiting >= waitingMax) return undefined
    this.#waiting++
    try {
      return await this.#shared(travelling(forwarded), transport)
    } finally {
      this.#waiting--
    }
  }

  #shared(forwarded: Forwarded, transport: Transport): Promise<Uint8Array | undefined> {
    const { question, ...rest } = forwarded
    const name = textOf(question.name).toLowerCase()
    const key = JSON.stringify([transport, name, question.type, question.class, rest])
    const pending = this.#pending.get(key)
    if (pending !== undefined) return pending
    if (this.#pending.size >= pendingMax) return Promise.resolve(undefined)
    // Not before it is noted as pending.
    const asking = Promise.resolve()
      .then(() => this.#ask(forwarded, transport))
      .finally(() => this.#pending.delete(key))
    this.#pending.set(key, asking)
    return asking
  }

  /** Where a name leads: its CNAME, A and AAAA records, and those of the names these lead to; [] when nobody knows. */
  async resolve(name: Name, type: number): Promise<ResourceRecord[]> {
    const question = { name, type, class: classes.IN }
    const forwarded = { question, recursionDesired: true, checkingDisabled: false, edns: undefined }
    let reply = await this.#decoded(forwarded, 'udp')
    if (reply?.truncated) reply = (await this.#decoded(forwarded, 'tcp')) ?? reply
    const names: Name[] = [name]
    const found: ResourceRecord[] = []
    for (const record of reply?.answers ?? []) {
      // Only the chain from the name we asked for; a reply may say more than its server knows (RFC 2181 §5.4.1).
      if (!isLocation(record.data) || !names.some((known) => sameName(known, record.name))) continue
      found.push(record)
      if (record.data.type === 'CNAME') names.push(record.data.target)
    }
    return found
  }

  async #decoded(forwarded: Forwarded, transport: Transport): Promise<Message | undefined> {
    const packet = await this.forward(forwarded, transport)
    return packet === undefined ? undefined : decode(packet)
  }

  async #ask(forwarded: Forwarded, transport: Transport): Promise<Uint8Array | undefined> {
    const { timeout, exchange, nextId, clock, log } = this.#options
    const name = textOf(forwarded.question.name)
    for (const server of this.#inOrder(clock.now())) {
      const id = nextId()
      const packet = encode(queryFor(forwarded, id))
      const isReply = (reply: Uint8Array) => answersTo(reply, id, forwarded.question)
      const recursor = `${server.host}:${server.port}`
      try {
        const reply = await exchange({ transport, server, packet, timeout, isReply })
        this.#silentSince.delete(server)
        const rcode = (reply[3] as number) & 15
        if (rcode === rcodes.NOERROR || rcode === rcodes.NXDOMAIN) return reply
        log('debug', 'dns', 'recursor gave no answer', { name, recursor, rcode })
      } catch (error) {
        // Said once, and not for every question while it lasts.
        const level = this.#isAside(server, clock.now()) ? 'debug' : 'warn'
        this.#silentSince.set(server, clock.now())
        log(level, 'dns', 'recursor failed', { name, recursor, error: (error as Error).message })
      }
    }
    log('debug', 'dns', 'all recursors failed', { name })
    return undefined
  }

  /** As configured, except that a server which lately kept silent does not make everyone wait for it first. */
  #inOrder(now: Millis): Address[] {
    const { servers } = this.#options
    const isAside = (server: Address) => this.#isAside(server, now)
    return [...servers.filter((server) => !isAside(server)), ...servers.filter(isAside)]
  }

  #isAside(server: Address, now: Millis): boolean {
    return now - (this.#silentSince.get(server) ?? Number.NEGATIVE_INFINITY) < silenceAside
  }
}

/** Without the options that are between two neighbours (RFC 6891 §6.2.6): EDNS client subnet travels, cookies do not. */
function travelling(forwarded: Forwarded): Forwarded {
  const { edns } = forwarded
  if (edns === undefined) return forwarded
  const { size, dnssec } = edns
  return { ...forwarded, edns: { size, dnssec, options: edns.options.filter(({ code }) => code === clientSubnetCode) } }
}

function queryFor({ question, recursionDesired, checkingDisabled, edns }: Forwarded, id: number): Message {
  return {
    id,
    response: false,
    opcode: opcodes.QUERY,
    authoritative: false,
    truncated: false,
    recursionDesired,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled,
    rcode: rcodes.NOERROR,
    questions: [question],
    answers: [],
    authority: [],
    additional: [],
    edns: edns && { ...edns, version: 0 },
  }
}

/** A response with our id to our question. */
function answersTo(packet: Uint8Array, id: number, question: Question): boolean {
  const questions = decodeQuestions(packet)?.questions
  const [asked] = questions ?? []
  if (asked === undefined || questions?.length !== 1) return false
  const bytes = Buffer.from(packet.buffer, packet.byteOffset, packet.length)
  return (
    bytes.readUInt16BE(0) === id &&
    (bytes.readUInt8(2) & 0x80) !== 0 &&
    asked.type === question.type &&
    asked.class === question.class &&
    sameName(asked.name, question.name)
  )
}
