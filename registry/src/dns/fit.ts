/** As much of an answer as the packet holds: which records go first, and when TC says that some are missing. */
import { encode } from './codec.ts'
import type { Message, Name, ResourceRecord } from './message.ts'

export interface Room {
  /** Octets of the whole message. */
  size: number
  /** Records in the answer section; Infinity for no limit of number. */
  answers: number
  /** Set TC when the limit of number left something out. */
  flagLimit: boolean
  compress: boolean
}

/**
 * The packet. When records must go:
 * - over the limit of number: the last answers. The rest is a whole answer, so TC only as the operator says (Consul's
 *   `enable_truncate`). What was additional to them goes, and so do texts about nodes, as in Consul.
 * - over the size: first texts about nodes, for nobody asked for them (RFC 2181 §9: TC is not for these); then as
 *   many answers as need be, each with its additional addresses, and TC, so that the resolver comes again over TCP.
 */
export function fitted(message: Message, room: Room): Uint8Array {
  const fits = (packet: Uint8Array) => packet.length <= room.size
  const pack = (part: Message) => encode(part, room.compress)
  let whole = message
  if (message.answers.length > room.answers) {
    whole = { ...first(message, room.answers), truncated: message.truncated || room.flagLimit }
  }
  const packet = pack(whole)
  if (fits(packet)) return packet

  const plain = pack(first(whole, whole.answers.length))
  if (fits(plain)) return plain

  // The most answers that fit: more answers never make a smaller packet.
  let best: Uint8Array | undefined
  let low = 1
  let high = whole.answers.length - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    const part = pack({ ...first(whole, middle), truncated: true })
    if (fits(part)) {
      best = part
      low = middle + 1
    } else high = middle - 1
  }
  if (best !== undefined) return best
  // Not even one with what belongs to it: one alone, or none.
  const alone = { ...whole, answers: whole.answers.slice(0, 1), additional: [], truncated: true }
  for (const part of [alone, { ...alone, answers: [] }]) {
    const small = pack(part)
    if (fits(small)) return small
  }
  return pack({ ...alone, answers: [], authority: [] })
}

/** The message with its first answers, and of the additional records only those their targets lead to. */
function first(message: Message, count: number): Message {
  const answers = message.answers.slice(0, count)
  const targets = new Set<string>()
  const additional: ResourceRecord[] = []
  const isTarget = (name: Name) => targets.has(keyOf(name))
  for (const { data } of answers) if (data.type === 'SRV' || data.type === 'NS') targets.add(keyOf(data.target))
  for (const record of message.additional) {
    if (record.data.type === 'TXT' || !isTarget(record.name)) continue
    additional.push(record)
    // An alias comes before what it leads to.
    if (record.data.type === 'CNAME') targets.add(keyOf(record.data.target))
  }
  return { ...message, answers, additional }
}

function keyOf(name: Name): string {
  return name.join('.').toLowerCase()
}
