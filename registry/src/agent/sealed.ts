/**
 * A gossip channel behind its keys: what its members say leaves sealed, what comes is opened, and what may not come in is
 * dropped, with the reason in the log on both sides. To the pool it is a network like any other.
 *
 *     sealed:   0xE1 | nonce (12) | ciphertext | tag (16); authenticated with it: that byte, the channel, datagram or frame
 *     notice:   0xE0 | why (1) | CRC-32 and length (4 + 4) of a frame that was not taken; not sealed
 *
 * The notice answers a frame, on its connection, that its receiver cannot open: whoever joins with another key or without
 * one learns so at once, and not by waiting. It says nothing that a sealed packet does not show; what it can do, should
 * somebody forge one, is make a frame count as lost. Nothing is ever answered to a datagram, nor to a notice.
 *
 * Requests between agents (`peers.ts`) take the same channel for what concerns the keys, and those are always sealed: they
 * hold keys.
 */
import { crc32 } from 'node:zlib'
import { Refused } from '../errors.ts'
import { addressText } from '../io/address.ts'
import type { Channel, Io, Network, Reply, Seemingly } from '../io/io.ts'
import { Repeats } from '../io/repeats.ts'
import type { Address, Millis } from '../model.ts'
import type { Keyring } from './keyring.ts'
import { frameKind } from './peers.ts'

/** For bringing encryption into a pool that lives: keys first, then sealing, then insisting. */
export interface SealingRules {
  /** What is not sealed is dropped. */
  verifyIncoming: boolean
  /** What we send is sealed. */
  verifyOutgoing: boolean
}

type FrameReceiver = (bytes: Uint8Array, reply: Reply, from?: Seemingly) => void
type DatagramReceiver = (bytes: Uint8Array, from?: Seemingly) => void

const sealedByte = 0xe1
const noticeByte = 0xe0
const noticeLength = 10

/** What a frame was not taken for, as it is in a notice: a position in this list. Consul's words, then what to do. */
const refusals = [
  // Said by us of what we got, and by the other side of what it got from us.
  {
    ours: 'Remote state is encrypted and encryption is not configured; if this agent belongs to that pool, start it with -encrypt and the key of the pool',
    theirs:
      'Encryption is configured but remote state is not encrypted: that agent has no key; start it with -encrypt and the key of this one, or this one without',
  },
  {
    ours: 'Encryption is configured but remote state is not encrypted: received an unencrypted packet, and encrypt_verify_incoming is on',
    theirs:
      'Remote state is encrypted and encryption is not configured; start this agent with -encrypt and the key of the pool',
  },
  {
    ours: 'No installed keys could decrypt the message; another pool, or an agent with another key',
    theirs:
      'No installed keys could decrypt the message; that agent has other keys than this one: compare "keyring -list" there with -encrypt here, and with the keyring file if there is one',
  },
] as const
const [notConfigured, notSealed, notOurKey] = [0, 1, 2] as const
type Refusal = 0 | 1 | 2

/** A frame may be refused this long after it was sent, and so many are remembered. */
const refusableFor: Millis = 15_000
const refusableMax = 1_024

interface Sent {
  to: string
  until: Millis
  fail: (reason: Error) => void
}

export class SealedChannel implements Network {
  readonly #io: Io
  readonly #channel: 'lan' | 'wan'
  readonly #rules: SealingRules
  readonly #contexts: Record<'datagram' | 'frame', Uint8Array>
  readonly #sent = new Map<string, Sent>()
  readonly #repeats: Repeats
  #onFrame: FrameReceiver = () => {}
  #onDatagram: DatagramReceiver = () => {}
  #onRequest: (bytes: Uint8Array, reply: Reply) => void = () => {}
  /** Undefined: nothing is sealed here, and nothing sealed is understood. */
  readonly keyring: Keyring | undefined
  /** Packets and frames that were not taken. */
  dropped = 0

  constructor(io: Io, channel: 'lan' | 'wan', keyring: Keyring | undefined, rules: SealingRules) {
    this.#io = io
    this.#channel = channel
    this.keyring = keyring
    this.#rules = rules
    this.#repeats = new Repeats(io.log)
    const context = (kind: string) => new TextEncoder().encode(`${String.fromCharCode(sealedByte)} ${channel} ${kind}`)
    this.#contexts = { datagram: context('datagram'), frame: context('frame') }
    io.network.onDatagram(channel, (bytes, from) => this.#datagramCame(bytes, from))
    io.network.onFrame(channel, (bytes, reply, from) => this.#frameCame(bytes, reply, from))
  }

  datagram(_channel: Channel, to: Address, bytes: Uint8Array): void {
    this.#io.network.datagram(this.#channel, to, this.#leaving('datagram', bytes, this.#rules.verifyOutgoing))
  }

  /** `onFailed` also when the other side says that it did not take the frame: a Refused with the reason. */
  frame(_channel: Channel, to: Address, bytes: Uint8Array, onFailed?: (reason: Error) => void): void {
    this.#send(to, this.#leaving('frame', bytes, this.#rules.verifyOutgoing), onFailed)
  }

  onDatagram(_channel: Channel, receive: DatagramReceiver): void {
    this.#onDatagram = receive
  }

  onFrame(_channel: Channel, receive: FrameReceiver): void {
    this.#onFrame = receive
  }

  onLost(_channel: Channel, lost: (to: Address, reason: Error) => void): void {
    this.#io.network.onLost(this.#channel, lost)
  }

  /** What was held back from the log is said in the end. */
  tick(): void {
    this.#repeats.tick(this.#io.clock.now())
  }

  /** Frames for `Peers`: sealed whenever there is a key, and taken only so. */
  readonly requests: Pick<Network, 'frame' | 'onLost'> & {
    onFrame(receive: (bytes: Uint8Array, reply: Reply) => void): void
  } = {
    frame: (_channel, to, bytes, onFailed) => this.#send(to, this.#leaving('frame', bytes, true), onFailed),
    onFrame: (receive) => {
      this.#onRequest = receive
    },
    onLost: (channel, lost) => this.onLost(channel, lost),
  }

  #datagramCame(bytes: Uint8Array, from: Seemingly): void {
    const opened = this.#opened('datagram', bytes)
    if (typeof opened === 'number') this.#drop(refusals[opened].ours, from)
    else if (isRequest(opened.plain)) this.#drop('a request, which never is a datagram', from)
    else this.#onDatagram(opened.plain, from)
  }

  #frameCame(bytes: Uint8Array, reply: Reply, from: Seemingly): void {
    if (bytes[0] === noticeByte) {
      this.#noticed(bytes, from)
      return
    }
    const opened = this.#opened('frame', bytes)
    if (typeof opened === 'number') {
      this.#drop(refusals[opened].ours, from)
      reply(notice(opened, bytes))
      this.#notUnderstood(refusals[opened].ours, from)
      return
    }
    const { plain, sealed } = opened
    const request = isRequest(plain)
    const seal = request || sealed || this.#rules.verifyOutgoing
    const answer: Reply = (answered) => reply(this.#leaving('frame', answered, seal))
    if (request) this.#onRequest(plain, answer)
    else this.#onFrame(plain, answer, from)
  }

  /** What came, opened; or why it is not taken. */
  #opened(kind: 'datagram' | 'frame', bytes: Uint8Array): { plain: Uint8Array; sealed: boolean } | Refusal {
    const { keyring } = this
    if (bytes[0] !== sealedByte) {
      // A request in the clear may hold nothing that matters, and its answer would.
      const insist = keyring !== undefined && (this.#rules.verifyIncoming || isRequest(bytes))
      return insist ? notSealed : { plain: bytes, sealed: false }
    }
    if (keyring === undefined) return notConfigured
    const now = this.#io.clock.now()
    const plain = keyring.open(this.#io.cipher, bytes.subarray(1), this.#contexts[kind], now)
    return plain === undefined ? notOurKey : { plain, sealed: true }
  }

  #leaving(kind: 'datagram' | 'frame', plain: Uint8Array, seal: boolean): Uint8Array {
    if (this.keyring === undefined || !seal) return plain
    const sealed = this.keyring.seal(this.#io.cipher, plain, this.#contexts[kind])
    const bytes = new Uint8Array(1 + sealed.length)
    bytes[0] = sealedByte
    bytes.set(sealed, 1)
    return bytes
  }

  #send(to: Address, bytes: Uint8Array, onFailed: ((reason: Error) => void) | undefined): void {
    if (onFailed === undefined) {
      this.#io.network.frame(this.#channel, to, bytes)
      return
    }
    const mark = markOf(crc32(bytes), bytes.length)
    const now = this.#io.clock.now()
    for (const [old, { until }] of this.#sent) {
      if (until > now && this.#sent.size < refusableMax) break
      this.#sent.delete(old)
    }
    let failed = false
    const fail = (reason: Error) => {
      // Refused, and then its connection breaks: that is one failure.
      if (failed) return
      failed = true
      this.#sent.delete(mark)
      onFailed(reason)
    }
    this.#sent.set(mark, { to: addressText(to), until: now + refusableFor, fail })
    this.#io.network.frame(this.#channel, to, bytes, fail)
  }

  /** The other side did not take a frame of ours. */
  #noticed(bytes: Uint8Array, from: Seemingly): void {
    if (bytes.length < noticeLength) return
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    const sent = this.#sent.get(markOf(view.getUint32(2), view.getUint32(6)))
    if (sent === undefined || this.#io.clock.now() >= sent.until) return
    const reason = this.#refusedBecause(bytes[1] as number)
    this.#say(`refused ${bytes[1]}`, `not taken by the other side: ${reason}`, from)
    sent.fail(new Refused(reason))
  }

  /**
   * An answer that we cannot open, on a connection of ours: the other side took what we said, for it still has our key, and
   * uses another. What was sent there lately gets no answer that we could read, and need not be waited for.
   */
  #notUnderstood(reason: string, from: Seemingly): void {
    const now = this.#io.clock.now()
    for (const { to, until, fail } of [...this.#sent.values()]) {
      if (to === from && now < until) fail(new Refused(`its answer cannot be read: ${reason}`))
    }
  }

  #refusedBecause(refusal: number): string {
    if (refusal === notSealed && this.keyring !== undefined) {
      return 'that agent takes only what is encrypted, and encrypt_verify_outgoing is off here'
    }
    const known: readonly { theirs: string }[] = refusals
    return known[refusal]?.theirs ?? 'that agent does not take what this one says; is it newer?'
  }

  #drop(reason: string, from: Seemingly): void {
    this.dropped++
    this.#say(reason, `dropped what came in: ${reason}`, from)
  }

  /** Once a minute about each host, however much comes. */
  #say(kind: string, text: string, from: Seemingly): void {
    const host = from?.replace(/:\d+$/, '') ?? ''
    const fields = from === undefined ? undefined : { from }
    this.#repeats.warn(`${kind} ${host}`, this.#io.clock.now(), 'serf', `${this.#channel}: ${text}`, fields)
  }
}

function isRequest(bytes: Uint8Array): boolean {
  return bytes[0] === frameKind.request || bytes[0] === frameKind.reply
}

/** Of a frame, among those sent lately. */
function markOf(checksum: number, length: number): string {
  return `${checksum} ${length}`
}

function notice(refusal: Refusal, refused: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(noticeLength)
  bytes[0] = noticeByte
  bytes[1] = refusal
  const view = new DataView(bytes.buffer)
  view.setUint32(2, crc32(refused))
  view.setUint32(6, refused.length)
  return bytes
}
