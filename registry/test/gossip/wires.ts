/** Stations on a network that loses nothing and delivers when told to: enough to see what goes over it. */
import { randomFillSync } from 'node:crypto'
import { addressText } from '../../src/io/address.ts'
import type { Channel, Io, Network, Reply } from '../../src/io/io.ts'
import { aesGcm } from '../../src/io/node-cipher.ts'
import { Random } from '../../src/io/random.ts'
import type { Address, Millis } from '../../src/model.ts'

export interface WiredStation {
  io: Io
  address: Address
  /** Warnings and information, with the fields behind. */
  logged: string[]
  /** Takes in what somebody else sent. */
  datagram(bytes: Uint8Array): void
  frame(bytes: Uint8Array, reply?: Reply, from?: string): void
  /** Hears nothing any more. */
  deaf: boolean
}

export class Wires {
  now: Millis = 0
  /** Everything that was sent. */
  readonly sent: { channel: Channel; kind: 'datagram' | 'frame' | 'reply'; bytes: Uint8Array }[] = []
  readonly #stations = new Map<string, WiredStation>()
  #under: (() => void)[] = []
  readonly #late: (() => void)[] = []

  station(host: string, channel: 'lan' | 'wan' = 'lan'): WiredStation {
    const address = { host, port: 8301 }
    const logged: string[] = []
    let onFrame: (bytes: Uint8Array, reply: Reply, from?: string) => void = () => {}
    let onDatagram: (bytes: Uint8Array, from?: string) => void = () => {}
    const network: Network = {
      datagram: (_channel, to, bytes) => {
        this.sent.push({ channel, kind: 'datagram', bytes })
        this.#later(() => this.#stations.get(addressText(to))?.datagram(bytes))
      },
      frame: (_channel, to, bytes, onFailed) => {
        this.sent.push({ channel, kind: 'frame', bytes })
        this.#later(() => {
          const there = this.#stations.get(addressText(to))
          if (there === undefined) onFailed?.(Object.assign(new Error('nobody is there'), { code: 'ECONNREFUSED' }))
          else {
            there.frame(bytes, (answer) => {
              this.sent.push({ channel, kind: 'reply', bytes: answer })
              this.#later(() => station.frame(answer, () => {}))
            })
          }
        })
      },
      onDatagram: (_channel, receive) => {
        onDatagram = receive
      },
      onFrame: (_channel, receive) => {
        onFrame = receive
      },
      onLost: () => {},
    }
    const io = {
      clock: { now: () => this.now, wall: () => 0 },
      random: new Random(this.#stations.size + 1),
      cipher: aesGcm((bytes) => randomFillSync(bytes)),
      network,
      log: (level: string, _area: string, message: string, fields = {}) =>
        logged.push(`[${level}] ${message}${Object.entries(fields).map(([key, value]) => ` ${key}=${value}`)}`),
    } as unknown as Io
    const station: WiredStation = {
      io,
      address,
      logged,
      datagram: (bytes) => station.deaf || onDatagram(bytes, 'somewhere:1'),
      frame: (bytes, reply = () => {}, from = 'somewhere:1') => station.deaf || onFrame(bytes, reply, from),
      deaf: false,
    }
    this.#stations.set(addressText(address), station)
    return station
  }

  /** Delivers until nothing is under way. */
  deliver(): void {
    while (this.#under.length > 0) this.#under.shift()?.()
  }

  /** Any one of all that is under way, or none: with these chances it is lost, or held back until `release`. */
  deliverAny(random: Random, { loss, late }: { loss: number; late: number }): void {
    const [run] = this.#under.splice(random.between(0, Math.max(0, this.#under.length - 1)), 1)
    if (run === undefined || random.chance(loss)) return
    if (random.chance(late)) this.#late.push(run)
    else run()
  }

  release(): void {
    this.#under.push(...this.#late.splice(0))
  }

  /** The same, letting promises go on in between. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      if (this.#under.length > 0) quiet = 0
      this.deliver()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  #later(run: () => void): void {
    this.#under.push(run)
  }
}
