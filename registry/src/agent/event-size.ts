/**
 * How long Consul's encoding of a user event is: Serf takes 512 bytes of it, and what fits there fits here. Two layers of
 * MessagePack, measured at Consul 1.8.7 byte for byte: Consul's own around what its user gave, in which texts of up to 255
 * bytes have a head of two, and Serf's around that, which does not know such texts.
 */
import type { UserEvent } from '../model.ts'

/** Serf's UserEventSizeLimit. */
const limit = 512
const prefix = 'consul:event:'

/** Why Consul would refuse it, in its words; undefined: it would not. */
export function tooLongFor(event: UserEvent): string | undefined {
  const name = bytesOf(prefix + event.name)
  const payload = innerLength(event)
  if (name + payload > limit) return `user event exceeds configured limit of ${limit} bytes before encoding`
  const fields = [
    ['LTime', numberLength(event.ltime)],
    ['Name', outerHead(name) + name],
    ['Payload', outerHead(payload) + payload],
    ['CC', 1],
  ] as const
  // A byte for the kind of message, and one for the map.
  const encoded = fields.reduce((length, [key, value]) => length + 1 + key.length + value, 2)
  return encoded > limit ? `encoded user event exceeds configured limit of ${limit} bytes after encoding` : undefined
}

/** Consul's: a map of its id, name and version, and of what else is not empty. */
function innerLength({ id, name, payload, nodeFilter, serviceFilter, tagFilter }: UserEvent): number {
  const text = (key: string, length: number) => 1 + key.length + innerHead(length) + length
  const optional = (key: string, length: number) => (length === 0 ? 0 : text(key, length))
  const version = 1 + 'v'.length + 1
  return (
    1 +
    text('ID', id.length) +
    text('n', bytesOf(name)) +
    optional('p', payload.length) +
    optional('nf', bytesOf(nodeFilter)) +
    optional('sf', bytesOf(serviceFilter)) +
    optional('tf', bytesOf(tagFilter)) +
    version
  )
}

const innerHead = (length: number) => (length < 32 ? 1 : length < 256 ? 2 : 3)
const outerHead = (length: number) => (length < 32 ? 1 : 3)
const bytesOf = (text: string) => Buffer.byteLength(text)

function numberLength(value: number): number {
  if (value < 2 ** 7) return 1
  if (value < 2 ** 8) return 2
  if (value < 2 ** 16) return 3
  return value < 2 ** 32 ? 5 : 9
}
