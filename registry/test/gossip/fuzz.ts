/**
 * Bytes that nobody should send, for a gossiping process: chance itself, chance behind a right checksum, and real packets
 * cut short, damaged and put together anew, their checksums right again, so that what is behind them is reached.
 */
import { Gossip, lanConfig } from '../../src/gossip/gossip.ts'
import { packet } from '../../src/gossip/message.ts'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { Pool, type Process } from './pool.ts'
import { addressOf } from './wire.ts'

const headerLength = 7
const lengthMax = 1_400
/** Numbers at which lengths and counts begin to mean something else. */
const edges = [0, 1, 2, 63, 64, 127, 128, 129, 200, 254, 255]

/** What is said in a small pool in which everything happens that there are messages for: whole messages, by kind. */
export function realMessages(seed: number): Map<number, Uint8Array[]> {
  const pool = new Pool(seed, { weather: { loss: 0.2, delay: [1, 30] } })
  const messages = new Map<number, Uint8Array[]>()
  pool.onPacket = (bytes) => {
    for (const message of split(bytes.subarray(headerLength))) {
      const kind = message[0] as number
      messages.set(kind, [...(messages.get(kind) ?? []), message])
    }
  }
  const tags = (name: string) => ({ id: `${name}-1`, dc: 'dc1' })
  const allow = (_: string, { dc }: Record<string, string>) => (dc === 'dc1' ? undefined : `it is of ${dc}`)
  const started = ['m1', 'm2', 'm3', 'm4', 'm5', 'm6'].map((name) => pool.start(name, { tags: tags(name), allow }))
  const [first, second, third, fourth] = started as [Process, Process, Process, Process]
  for (const process of started.slice(1)) pool.join(process, first)
  pool.join(pool.start('stranger', { tags: { dc: 'dc2' } }), first)
  pool.run(20_000)
  pool.act(first, (gossip) => gossip.setTags({ ...gossip.self.tags, role: 'consul' }, pool.now))
  const event = { id: 'e-1', name: 'deploy', nodeFilter: 'm.', serviceFilter: '', tagFilter: '' }
  pool.act(second, (gossip) => gossip.fire({ ...event, payload: Uint8Array.of(1, 2, 3) }, pool.now))
  pool.stop(third)
  pool.run(30_000)
  pool.act(fourth, (gossip) => gossip.leave(pool.now))
  pool.act(first, (gossip) => gossip.forceLeave(third.name, true, pool.now))
  pool.run(60_000)
  return messages
}

function split(body: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = []
  for (let begin = 0; begin < body.length; ) {
    let at = begin + 1
    let length = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = body[at++] as number
      length += (byte & 127) * factor
      if (byte < 128) break
    }
    messages.push(body.slice(begin, at + length))
    begin = at + length
  }
  return messages
}

export class Fuzz {
  readonly #random: Random
  readonly #messages: Map<number, Uint8Array[]>
  readonly #kinds: number[]

  constructor(seed: number) {
    this.#random = new Random(seed)
    this.#messages = realMessages(seed)
    this.#kinds = [...this.#messages.keys()]
  }

  /** One input. */
  next(): Uint8Array {
    const random = this.#random
    switch (random.between(0, 9)) {
      case 0:
        return this.#noise(random.between(0, lengthMax))
      case 1:
        return packet([this.#noise(random.between(0, 200))])
      case 2: {
        const message = this.#message()
        return packet([this.#message(), message.subarray(0, random.between(0, message.length))])
      }
      case 3: {
        const [one, other] = [this.#message(), this.#message()]
        const cut = one.subarray(0, random.between(0, one.length))
        return packet([cut, other.subarray(random.between(0, other.length))])
      }
      case 4:
        return packet([this.#message(), this.#message(), this.#message()])
      default:
        return packet([this.#message(), this.#damaged(this.#message())])
    }
  }

  #message(): Uint8Array {
    const kind = this.#random.pick(this.#kinds) as number
    return this.#random.pick(this.#messages.get(kind) as Uint8Array[]) as Uint8Array
  }

  #noise(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let place = 0; place < length; place++) bytes[place] = this.#random.word() & 255
    return bytes
  }

  #damaged(message: Uint8Array): Uint8Array {
    const random = this.#random
    const bytes = message.slice()
    for (let change = random.between(1, 3); change > 0 && bytes.length > 0; change--) {
      const place = random.between(0, bytes.length - 1)
      const length = random.between(1, Math.min(20, bytes.length - place))
      switch (random.between(0, 3)) {
        case 0:
          bytes[place] = random.pick(edges) as number
          break
        case 1:
          bytes[place] = (bytes[place] as number) ^ (1 << random.between(0, 7))
          break
        case 2:
          bytes[place] = random.word() & 255
          break
        default:
          // What stands there comes a second time, over what follows it.
          bytes.copyWithin(Math.min(place + length, bytes.length - 1), place, place + length)
      }
    }
    return bytes
  }
}

export interface Fuzzed {
  inputs: number
  /** Of the process that received them all. */
  members: number
  sent: number
  warnings: number
}

/**
 * Gives a living process so many inputs, as datagrams and as frames, while it ticks. Throws what it throws.
 * @param onSome called every 100,000 inputs
 */
export function fuzzGossip(seed: number, inputs: number, onSome: (done: number) => void = () => {}): Fuzzed {
  const fuzz = new Fuzz(seed)
  const random = new Random(seed + 1)
  let now: Millis = 1_000_000
  const minute = 60_000
  // Small and forgetful, so that the same pool lives through all that happens in days.
  const config = { ...lanConfig, membersMax: 200, failedReapTimeout: 5 * minute, leftReapTimeout: 5 * minute }
  const address = addressOf('m1')
  const gossip = new Gossip({ name: 'm1', address, tags: { id: 'm1-1' }, config, random }, now)
  let sent = 0
  let warnings = 0
  for (let done = 1; done <= inputs; done++) {
    gossip.receive(fuzz.next(), now, random.chance(0.3) ? 'connection' : undefined)
    if (done % 20 === 0) {
      now += 100
      gossip.tick(now)
    }
    const { datagrams, frames, events } = gossip.ready()
    for (const { bytes } of datagrams) {
      if (bytes.length > lengthMax - 32) throw new Error(`a datagram of ${bytes.length} bytes`)
    }
    sent += datagrams.length + frames.length
    for (const { type } of events) if (type === 'warning') warnings++
    if (done % 100_000 === 0) onSome(done)
  }
  return { inputs, members: gossip.members().length, sent, warnings }
}
