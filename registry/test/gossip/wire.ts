/** One process alone with the wire, for tests that play the others by hand. */

import { Gossip, type GossipEvent, type GossipOptions, lanConfig } from '../../src/gossip/gossip.ts'
import { decodePacket, encodeMessage, type Message, packet, type StateRecord } from '../../src/gossip/message.ts'
import { Random } from '../../src/io/random.ts'
import type { Address, Millis } from '../../src/model.ts'

export interface Sent {
  via: 'datagram' | 'frame' | 'reply'
  to: Address | undefined
  messages: Message[]
}

export const addressOf = (name: string): Address => ({ host: `${name}.example`, port: 8301 })

export class Wire {
  readonly gossip: Gossip
  now: Millis = 5_000
  readonly events: GossipEvent[] = []

  constructor(options: Partial<GossipOptions> = {}) {
    this.gossip = new Gossip(
      {
        name: 'me',
        address: addressOf('me'),
        tags: { id: 'me-1' },
        config: lanConfig,
        random: new Random(1),
        ...options,
      },
      this.now,
    )
    this.sent()
  }

  /** What was sent since the last look; events go to `events`. */
  sent(): Sent[] {
    const { datagrams, frames, events } = this.gossip.ready()
    this.events.push(...events)
    return [
      ...datagrams.map(({ to, bytes }): Sent => ({ via: 'datagram', to, messages: decodePacket(bytes) })),
      ...frames.map(({ to, bytes }): Sent => {
        return { via: to === undefined ? 'reply' : 'frame', to, messages: decodePacket(bytes) }
      }),
    ]
  }

  hear(...messages: Message[]): void {
    this.gossip.receive(packet(messages.map(encodeMessage)), this.now)
  }

  hearFrame(...messages: Message[]): void {
    this.gossip.receive(packet(messages.map(encodeMessage)), this.now, 'connection')
  }

  /** These members are alive. */
  meet(...names: string[]): void {
    for (const name of names) this.hear(alive(name, 1))
  }

  /** Passes time in ticks, and returns all that was sent. */
  run(span: Millis): Sent[] {
    const sent = this.sent()
    for (const until = this.now + span; this.now < until; ) {
      this.now += Math.min(100, until - this.now)
      this.gossip.tick(this.now)
      sent.push(...this.sent())
    }
    return sent
  }

  /** Runs until a message of that kind goes out, at most 60 s; returns it and where it went. */
  runUntil<Type extends Message['type']>(type: Type): Sent & { message: Message & { type: Type } } {
    const until = this.now + 60_000
    while (this.now < until) {
      for (const sent of this.run(100)) {
        for (const message of sent.messages) {
          if (message.type === type) return { ...sent, message: message as Message & { type: Type } }
        }
      }
    }
    throw new Error(`no ${type} was sent within a minute`)
  }

  /** Events as short texts: `join b`, `suspect b`, `left`. */
  get story(): string[] {
    this.sent()
    return this.events.map((event) => {
      const about = 'member' in event ? event.member.name : 'name' in event ? event.name : ''
      return `${event.type} ${about}`.trim()
    })
  }
}

export function alive(
  name: string,
  incarnation: number,
  change: { address?: Address; tags?: Record<string, string> } = {},
) {
  const { address = addressOf(name), tags = { id: `${name}-1` } } = change
  return { type: 'alive', name, incarnation, address, tags } as const
}

export function record(name: string, incarnation: number, standing: StateRecord['standing'], age = 0): StateRecord {
  return { name, incarnation, standing, age, from: '', address: addressOf(name), tags: { id: `${name}-1` } }
}

export function all<Type extends Message['type']>(sent: Sent[], type: Type): (Message & { type: Type })[] {
  return sent.flatMap(({ messages }) => {
    return messages.filter((message): message is Message & { type: Type } => message.type === type)
  })
}
