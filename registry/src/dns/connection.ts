/**
 * One client's TCP connection (RFC 7766): messages behind two octets of length, answered as they are ready, so a
 * question to a recursor holds up none of our own. Knows the stream's bytes; socket and timer are `server.ts`'s.
 */

/** What a connection does with its socket. */
export interface Stream {
  readonly destroyed: boolean
  /** More is written than the other side has taken for now. */
  readonly writableNeedDrain: boolean
  write(bytes: Uint8Array): void
  pause(): void
  resume(): void
  /** Sends what is written and then says that there is no more. */
  end(): void
  destroy(): void
}

/** Calls back once with the reply; undefined: there is none. */
export type Respond = (packet: Uint8Array, done: (reply: Uint8Array | undefined) => void) => void

/** Questions of one connection under way; further ones wait in its socket. */
const pendingMax = 100

export class Connection {
  readonly #stream: Stream
  readonly #respond: Respond
  readonly #onMessage: () => void
  #received: Buffer = Buffer.alloc(0)
  #pending = 0
  #ended = false
  #busy = false

  /** @param onMessage a whole message came or went: the client is alive */
  constructor(stream: Stream, respond: Respond, onMessage: () => void) {
    this.#stream = stream
    this.#respond = respond
    this.#onMessage = onMessage
  }

  /** The client sent bytes. */
  data(bytes: Buffer): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes])
    this.continue()
  }

  /** The client will send no more. It still gets its answers. */
  ended(): void {
    this.#ended = true
    this.continue()
  }

  /** Answers what has come, as far as there is room; to be called also when written bytes have left. */
  continue(): void {
    // A question may be answered at once, within this loop, which then goes on by itself.
    if (this.#busy) return
    this.#busy = true
    while (this.#isReady()) {
      const packet = takeMessage(this.#received)
      if (packet === undefined) break
      this.#received = this.#received.subarray(2 + packet.length)
      this.#onMessage()
      this.#pending++
      this.#respond(packet, (reply) => this.#done(reply))
    }
    this.#busy = false
    if (this.#stream.destroyed) return
    if (this.#isReady()) this.#stream.resume()
    else this.#stream.pause()
    if (this.#ended && this.#pending === 0 && takeMessage(this.#received) === undefined) this.#stream.end()
  }

  /** A client that does not read its answers, or asks more than we can send on, is read no further for now. */
  #isReady(): boolean {
    return this.#pending < pendingMax && !this.#stream.writableNeedDrain && !this.#stream.destroyed
  }

  #done(reply: Uint8Array | undefined): void {
    this.#pending--
    // What cannot be answered over UDP is dropped; here it means that we no longer understand each other.
    if (reply === undefined) this.#stream.destroy()
    if (reply === undefined || this.#stream.destroyed) return
    this.#stream.write(framed(reply))
    this.#onMessage()
    this.continue()
  }
}

/** The first message of a stream, or undefined while it is not all there. */
export function takeMessage(received: Buffer): Buffer | undefined {
  if (received.length < 2) return undefined
  const length = received.readUInt16BE(0)
  return received.length < 2 + length ? undefined : received.subarray(2, 2 + length)
}

/** The message behind its length. */
export function framed(packet: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(2 + packet.length)
  bytes.writeUInt16BE(packet.length, 0)
  bytes.set(packet, 2)
  return bytes
}
