/** Agents' rpc channels on wires in memory, with a clock that the test moves: what `Peers` and all above it need, and no more. */
import { setImmediate as turn } from 'node:timers/promises'
import { Deadlines } from '../../src/agent/deadlines.ts'
import { Peers } from '../../src/agent/peers.ts'
import { addressText } from '../../src/io/address.ts'
import type { Io, LogLevel, Reply } from '../../src/io/io.ts'
import { Random } from '../../src/io/random.ts'
import type { Address, Millis } from '../../src/model.ts'

export interface End {
  address: Address
  io: Io
  deadlines: Deadlines
  peers: Peers
  logged: { level: LogLevel; message: string }[]
}

export class Wires {
  now: Millis = 0
  readonly #ends = new Map<string, End>()
  /** Nobody listens there: a connection is refused. */
  readonly down = new Set<string>()
  /** What is sent there, or comes from there, is lost without a word. */
  readonly silent = new Set<string>()

  end(address: Address): End {
    const logged: End['logged'] = []
    const io = {
      clock: { now: () => this.now, wall: () => 0 },
      random: new Random(this.#ends.size + 1),
      log: (level: LogLevel, _area: string, message: string) => logged.push({ level, message }),
      network: {
        frame: (_channel: string, to: Address, bytes: Uint8Array, onFailed: (reason: Error) => void) =>
          this.#frame(address, to, bytes, onFailed),
      },
    } as unknown as Io
    const deadlines = new Deadlines()
    const end: End = { address, io, deadlines, peers: new Peers(io, deadlines), logged }
    this.#ends.set(addressText(address), end)
    return end
  }

  /** Moves the clock in steps of a tick and lets everything settle after each. */
  async pass(time: Millis): Promise<void> {
    await settle()
    for (const until = this.now + time; this.now < until; ) {
      this.now += Math.min(100, until - this.now)
      for (const { deadlines } of this.#ends.values()) deadlines.tick(this.now)
      await settle()
    }
  }

  /** Moves the clock until `end` has settled; resolves to how long that took. */
  async passUntil(end: Promise<unknown>, limit: Millis = 60_000): Promise<Millis> {
    const began = this.now
    let over = false
    const done = () => {
      over = true
    }
    end.then(done, done)
    for (await settle(); !over && this.now - began < limit; ) await this.pass(100)
    return this.now - began
  }

  #frame(from: Address, to: Address, bytes: Uint8Array, onFailed: (reason: Error) => void): void {
    const [here, there] = [addressText(from), addressText(to)]
    const target = this.#ends.get(there)
    queueMicrotask(() => {
      if (this.#isLost(here, there)) return
      if (target === undefined || this.down.has(there)) {
        onFailed(Object.assign(new Error(`connect ECONNREFUSED ${there}`), { code: 'ECONNREFUSED' }))
        return
      }
      const reply: Reply = (answer) => {
        if (this.#isLost(here, there) || this.down.has(there)) return
        queueMicrotask(() => this.#ends.get(here)?.peers.receive(answer, () => {}))
      }
      target.peers.receive(bytes, reply)
    })
  }

  #isLost(here: string, there: string): boolean {
    return this.silent.has(here) || this.silent.has(there)
  }
}

export async function settle(): Promise<void> {
  for (let turns = 0; turns < 3; turns++) await turn()
}
