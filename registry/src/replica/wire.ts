/**
 * What replicas send each other on the rpc channel: a message of their Raft cores, or a piece of a snapshot and its
 * acknowledgement. Every frame names whom it is meant for, because an address may come to belong to another server, and
 * where its sender can be reached, because a sender may not be in anybody's configuration yet. And of which cluster it is: a
 * server that comes back from before a recovery, with the history that was given up, must neither lead nor be asked.
 *
 *   1 · kind 1 · part 1 · to text · from text · address text · cluster text (part 2) · the kind's own bytes
 *
 * `part`: 0, of no cluster; 2, of the one named; 1, of one that is not named, as versions before said.
 */
import { Malformed, Reader, textLength, Writer } from '../raft/bytes.ts'
import { decodeMessage, messageLength, writeMessage } from '../raft/codec.ts'
import type { Message, ServerId } from '../raft/message.ts'

/** The first byte of every frame of this room on the rpc channel; the agents' own requests have others. */
export const replicaFrameByte = 1

export interface Header {
  to: ServerId
  from: ServerId
  /** `host:port` of the sender's rpc channel. */
  address: string
  /** The sender's; '' while it is part of none, undefined when it does not say. */
  cluster: string | undefined
}

export type SnapshotMessage = Extract<Message, { type: 'snapshot' }>

export type ReplicaFrame =
  | { kind: 'message'; message: Message }
  /** `transfer` is chosen by chance for each attempt; `message` goes to the receiver's core when all `size` bytes are there. */
  | { kind: 'chunk'; transfer: number; message: SnapshotMessage; size: number; offset: number; bytes: Uint8Array }
  /**
   * All before `offset` is there. `refused`: the receiver does not know this transfer, or, with
   * `offset` at the end, it is whole and does not verify; `done`: whole and verified.
   */
  | { kind: 'chunkReply'; transfer: number; offset: number; state: 'more' | 'done' | 'refused' }

const kinds = ['message', 'chunk', 'chunkReply'] as const
const states = ['more', 'done', 'refused'] as const

export function encodeFrame(header: Header, frame: ReplicaFrame): Uint8Array {
  const { to, from, address, cluster } = header
  const named = cluster === undefined || cluster === '' ? 0 : textLength(cluster)
  const headerLength = 3 + textLength(to) + textLength(from) + textLength(address) + named
  const message = frame.kind === 'chunkReply' ? 0 : messageLength(header.from, frame.message)
  const writer = new Writer(headerLength + fieldsLength(frame) + message)
  writer.byte(replicaFrameByte)
  writer.byte(kinds.indexOf(frame.kind))
  writer.byte(cluster === undefined ? 1 : cluster === '' ? 0 : 2)
  writer.text(to)
  writer.text(from)
  writer.text(address)
  if (named > 0) writer.text(cluster as string)
  switch (frame.kind) {
    case 'message':
      writeMessage(writer, header.from, frame.message)
      break
    case 'chunk':
      writer.word(frame.transfer)
      writer.number(frame.size)
      writer.number(frame.offset)
      writer.word(message)
      writeMessage(writer, header.from, frame.message)
      writer.raw(frame.bytes)
      break
    case 'chunkReply':
      writer.word(frame.transfer)
      writer.number(frame.offset)
      writer.byte(states.indexOf(frame.state))
      break
    default:
      frame satisfies never
  }
  return writer.done()
}

/** Besides the message. */
function fieldsLength(frame: ReplicaFrame): number {
  switch (frame.kind) {
    case 'message':
      return 0
    case 'chunk':
      return 4 + 8 + 8 + 4 + frame.bytes.length
    case 'chunkReply':
      return 4 + 8 + 1
    default:
      return frame satisfies never
  }
}

/** Payloads are not copied: they share the frame's memory. @throws Malformed */
export function decodeFrame(bytes: Uint8Array): { header: Header; frame: ReplicaFrame } {
  const reader = new Reader(bytes)
  const first = reader.byte('frame')
  if (first !== replicaFrameByte) throw new Malformed(`frame: expected ${replicaFrameByte}, received ${first}`)
  const kind = kinds[reader.byte('frame kind')]
  const part = reader.byte('part of a cluster')
  if (part > 2) throw new Malformed(`part of a cluster: expected 0, 1 or 2, received ${part}`)
  const [to, from, address] = [reader.text('to'), reader.text('from'), reader.text('address')]
  const cluster = part === 0 ? '' : part === 1 ? undefined : reader.text('cluster')
  const header: Header = { to, from, address, cluster }
  return { header, frame: readFrame(reader, kind, header.from) }
}

function readFrame(reader: Reader, kind: ReplicaFrame['kind'] | undefined, sender: ServerId): ReplicaFrame {
  const message = (length: number) => {
    const decoded = decodeMessage(reader.raw(length, 'message'))
    if (decoded.from !== sender)
      throw new Malformed(`message: expected it to be from ${sender}, not from ${decoded.from}`)
    return decoded.message
  }
  switch (kind) {
    case 'message':
      return { kind, message: message(reader.left) }
    case 'chunk': {
      const transfer = reader.word('transfer')
      const size = reader.number('size')
      const offset = reader.number('offset')
      const snapshot = message(reader.word('message length'))
      if (snapshot.type !== 'snapshot')
        throw new Malformed(`chunk: expected a snapshot message, received ${snapshot.type}`)
      const bytes = reader.raw(reader.left, 'bytes')
      if (offset + bytes.length > size || bytes.length === 0) {
        throw new Malformed(`chunk: expected bytes within ${size}, received ${bytes.length} at ${offset}`)
      }
      return { kind, transfer, message: snapshot, size, offset, bytes }
    }
    case 'chunkReply': {
      const transfer = reader.word('transfer')
      const offset = reader.number('offset')
      const state = states[reader.byte('state')]
      reader.end('chunk reply')
      if (state === undefined) throw new Malformed('chunk reply: unknown state')
      return { kind, transfer, offset, state }
    }
    case undefined:
      throw new Malformed('frame kind: unknown')
    default:
      return kind satisfies never
  }
}
