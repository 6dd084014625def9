/**
 * One gossip pool on one channel: carries what the pure room wants sent, brings in what arrives, and tells the agent what
 * happened. The LAN pool knows members by node name, the WAN pool by `node.datacenter`.
 */
import { Refused } from '../errors.ts'
import type { Gossip, GossipEvent } from '../gossip/gossip.ts'
import { addressText } from '../io/address.ts'
import type { Io, Reply } from '../io/io.ts'
import type { Address, Member, Millis, UserEvent } from '../model.ts'

export class Membership {
  readonly gossip: Gossip
  readonly #io: Io
  readonly #channel: 'lan' | 'wan'
  readonly #onEvent: (event: GossipEvent) => void
  readonly #attempts = new Map<number, { resolve(members: number): void; reject(reason: Error): void }>()
  #attempt = 0
  #left: (() => void) | undefined

  constructor(io: Io, channel: 'lan' | 'wan', gossip: Gossip, onEvent: (event: GossipEvent) => void) {
    this.#io = io
    this.#channel = channel
    this.gossip = gossip
    this.#onEvent = onEvent
    io.network.onDatagram(channel, (bytes) => this.#receive(bytes, undefined))
    io.network.onFrame(channel, (bytes, reply) => this.#receive(bytes, reply))
  }

  members(): Member[] {
    return this.gossip.members()
  }

  /** Says what has to be said at the start: the events of our own joining. */
  start(): void {
    this.#flush()
  }

  tick(): void {
    this.gossip.tick(this.#io.clock.now())
    this.#flush()
  }

  /** Resolves to the number of members learned from there. @throws Refused with the reason. */
  join(address: Address): Promise<number> {
    const attempt = ++this.#attempt
    return new Promise((resolve, reject) => {
      this.#attempts.set(attempt, { resolve, reject })
      this.gossip.join(attempt, address, this.#io.clock.now())
      this.#flush()
    })
  }

  /** Resolves when our leaving was told to others. */
  leave(): Promise<void> {
    return new Promise((resolve) => {
      this.#left = resolve
      this.gossip.leave(this.#io.clock.now())
      this.#flush()
    })
  }

  /** False: no such member. */
  forceLeave(name: string, prune: boolean): boolean {
    const known = this.gossip.forceLeave(name, prune, this.#io.clock.now())
    this.#flush()
    return known
  }

  /** A user event, told to this agent before this returns. @throws whatever `act` does */
  fire(act: (gossip: Gossip, now: Millis) => UserEvent): UserEvent {
    const fired = act(this.gossip, this.#io.clock.now())
    this.#flush()
    return fired
  }

  #receive(bytes: Uint8Array, reply: Reply | undefined): void {
    try {
      this.gossip.receive(bytes, this.#io.clock.now(), reply)
    } catch (error) {
      this.#io.log('warn', 'serf', `dropped a malformed ${this.#channel} packet: ${(error as Error).message}`)
    }
    this.#flush()
  }

  #flush(): void {
    const { datagrams, frames, events } = this.gossip.ready()
    for (const { to, bytes, ping } of datagrams) {
      this.#io.network.datagram(this.#channel, to, bytes)
      if (ping !== undefined) this.gossip.sent(ping, this.#io.clock.now())
    }
    for (const frame of frames) {
      const { to, bytes } = frame
      if (frame.replyTo !== undefined) (frame.replyTo as Reply)(bytes)
      else if (to !== undefined) {
        this.#io.network.frame(this.#channel, to, bytes, (reason) => {
          this.gossip.frameFailed(to, this.#io.clock.now(), dialError(reason, to, this.#channel))
          this.#flush()
        })
      }
    }
    for (const event of events) {
      if (event.type === 'joined') this.#settle(event.attempt, (attempt) => attempt.resolve(event.members))
      else if (event.type === 'joinFailed') {
        this.#settle(event.attempt, (attempt) =>
          attempt.reject(new Refused(`Failed to join ${addressText(event.address)}: ${event.reason}`)),
        )
      } else if (event.type === 'left') this.#left?.()
      this.#onEvent(event)
    }
  }

  #settle(attempt: number, act: (attempt: { resolve(members: number): void; reject(reason: Error): void }) => void) {
    const waiting = this.#attempts.get(attempt)
    this.#attempts.delete(attempt)
    if (waiting !== undefined) act(waiting)
  }
}

/** What to do about somebody who is there and is no agent. */
const gossipPort = {
  lan: 'expected the gossip port of an agent there, 8301 unless its -serf-lan-port says otherwise',
  wan: 'expected the WAN gossip port of a server there, 8302 unless its -serf-wan-port says otherwise',
}

/** In the words of Go's net package, which Consul's users know. */
function dialError(reason: Error, to: Address, channel: 'lan' | 'wan'): string {
  // The other side has said what it is.
  if (reason instanceof Refused) return reason.message
  const where = `dial tcp ${addressText(to)}`
  switch ((reason as NodeJS.ErrnoException).code) {
    case 'ECONNREFUSED':
      return `${where}: connect: connection refused`
    case 'EHOSTUNREACH':
      return `${where}: connect: no route to host`
    case 'ENETUNREACH':
      return `${where}: connect: network is unreachable`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `dial tcp: lookup ${to.host}: no such host`
    case 'ENOAGENT':
      return `${reason.message}; ${gossipPort[channel]}`
    default:
      return `${where}: ${reason.message}`
  }
}
