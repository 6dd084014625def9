/**
 * Snapshots on their way from a leader's disk to a follower's, in chunks with acknowledgements: at most `window` bytes
 * are under way, so that heartbeats on the same connection never wait long behind them. Frames may be lost with their
 * connection; then the sender goes back to what was acknowledged.
 */
import { Corrupt } from '../errors.ts'
import type { Disk } from '../io/io.ts'
import type { Index, Millis } from '../model.ts'
import type { ServerId } from '../raft/message.ts'
import type { SnapshotFile, Snapshots } from './snapshots.ts'
import type { ReplicaFrame, SnapshotMessage } from './wire.ts'

const chunkBytes = 256 * 1024
const window = 2 * chunkBytes
/** Without an acknowledgement for so long, what is not acknowledged is sent again, and finally given up. */
const resendAfter = 1000
const giveUpAfter = 30_000

type Chunk = Extract<ReplicaFrame, { kind: 'chunk' }>
type ChunkReply = Extract<ReplicaFrame, { kind: 'chunkReply' }>

interface Sending {
  to: ServerId
  transfer: number
  snapshot: SnapshotFile
  message: SnapshotMessage
  acknowledged: number
  sent: number
  progressAt: Millis
  sentAt: Millis
  reading: boolean
}

export interface SenderDoors {
  snapshots: Snapshots
  send(to: ServerId, frame: Chunk): void
  /** The transfer ended: the follower has the snapshot on disk, or not. `damaged`: it had all bytes, and they do not verify. */
  ended(to: ServerId, ok: boolean, snapshot: SnapshotFile, damaged: boolean): void
  /** The disk failed. */
  failed(error: unknown): void
}

/** The leader's side: one transfer to each follower. */
export class SnapshotSender {
  readonly #doors: SenderDoors
  readonly #sending = new Map<ServerId, Sending>()

  constructor(doors: SenderDoors) {
    this.#doors = doors
  }

  /** Files that are being read. */
  get files(): string[] {
    return [...this.#sending.values()].map(({ snapshot }) => snapshot.file)
  }

  /** Sends this node's newest snapshot; `message` says which one is needed at least. One under way that is as good goes on. */
  start(to: ServerId, message: SnapshotMessage, transfer: number, now: Millis): void {
    const current = this.#sending.get(to)
    if (
      current !== undefined &&
      current.message.term === message.term &&
      current.snapshot.mark.index >= message.mark.index
    ) {
      return
    }
    const snapshot = this.#doors.snapshots.newest
    if (snapshot === undefined || snapshot.mark.index < message.mark.index) {
      throw new Error(
        `the core sends a snapshot at ${message.mark.index}, the newest is at ${snapshot?.mark.index ?? 'none'}`,
      )
    }
    const sending: Sending = {
      to,
      transfer,
      snapshot,
      message: { ...message, mark: snapshot.mark },
      acknowledged: 0,
      sent: 0,
      progressAt: now,
      sentAt: now,
      reading: false,
    }
    this.#sending.set(to, sending)
    this.#pump(sending, now)
  }

  reply(from: ServerId, { transfer, offset, state }: ChunkReply, now: Millis): void {
    const sending = this.#sending.get(from)
    if (sending?.transfer !== transfer) return
    if (state !== 'more') {
      this.#end(sending, state === 'done', state === 'refused' && offset === sending.snapshot.size)
    } else if (offset > sending.acknowledged) {
      sending.acknowledged = offset
      sending.sent = Math.max(sending.sent, offset)
      sending.progressAt = now
      sending.sentAt = now
      this.#pump(sending, now)
    }
  }

  tick(now: Millis): void {
    for (const sending of [...this.#sending.values()]) {
      if (now - sending.progressAt > giveUpAfter) {
        this.#end(sending, false)
      } else if (now - sending.sentAt > resendAfter && !sending.reading) {
        sending.sent = sending.acknowledged
        // When all was acknowledged only the verdict is missing: its last chunk asks for it again.
        if (sending.sent === sending.snapshot.size) sending.sent = Math.max(0, sending.snapshot.size - chunkBytes)
        this.#pump(sending, now)
      }
    }
  }

  /** Not the leader any more. */
  stop(): void {
    this.#sending.clear()
  }

  #end(sending: Sending, ok: boolean, damaged = false): void {
    this.#sending.delete(sending.to)
    this.#doors.ended(sending.to, ok, sending.snapshot, damaged)
  }

  #pump(sending: Sending, now: Millis): void {
    sending.sentAt = now
    if (!sending.reading) this.#read(sending).catch((error) => this.#doors.failed(error))
  }

  async #read(sending: Sending): Promise<void> {
    const { snapshot, to, transfer, message } = sending
    sending.reading = true
    try {
      while (
        this.#sending.get(to) === sending &&
        sending.sent < Math.min(snapshot.size, sending.acknowledged + window)
      ) {
        const offset = sending.sent
        const bytes = await this.#doors.snapshots.bytes(snapshot, offset, Math.min(chunkBytes, snapshot.size - offset))
        if (this.#sending.get(to) !== sending) return
        if (bytes === undefined || bytes.length === 0) {
          this.#end(sending, false)
          return
        }
        if (sending.sent !== offset) continue
        sending.sent += bytes.length
        this.#doors.send(to, { kind: 'chunk', transfer, message, size: snapshot.size, offset, bytes })
      }
    } finally {
      sending.reading = false
    }
  }
}

interface Receiving {
  from: ServerId
  transfer: number
  term: number
  file: string
  /** Bytes accepted, and bytes of them written. */
  accepted: number
  written: number
  done: boolean
}

export interface ReceiverDoors {
  disk: Disk
  snapshots: Snapshots
  send(to: ServerId, frame: ChunkReply): void
  /** Everything up to here is committed here: a snapshot of it brings nothing. */
  committed(): Index
  /** Whole, verified, durable: the core may have the message. */
  arrived(from: ServerId, message: SnapshotMessage): void
  failed(error: unknown): void
}

/** The follower's side: one transfer at a time, the newest. */
export class SnapshotReceiver {
  readonly #doors: ReceiverDoors
  #receiving: Receiving | undefined
  #writes: Promise<void> = Promise.resolve()

  constructor(doors: ReceiverDoors) {
    this.#doors = doors
  }

  receive(from: ServerId, chunk: Chunk): void {
    const { transfer, message, offset, bytes, size } = chunk
    let receiving = this.#receiving
    if (message.mark.index <= this.#doors.committed() && receiving?.transfer !== transfer) {
      this.#doors.send(from, { kind: 'chunkReply', transfer, offset: size, state: 'done' })
      this.#doors.arrived(from, message)
      return
    }
    if (receiving === undefined || receiving.transfer !== transfer || receiving.from !== from) {
      if (offset !== 0 || (receiving !== undefined && receiving.term > message.term)) {
        this.#doors.send(from, { kind: 'chunkReply', transfer, offset: 0, state: 'refused' })
        return
      }
      const before = receiving
      if (before !== undefined && !before.done) this.#then(() => this.#doors.snapshots.discard(before.file))
      const file = this.#doors.snapshots.temporaryFile()
      receiving = { from, transfer, term: message.term, file, accepted: 0, written: 0, done: false }
      this.#receiving = receiving
    }
    const mine = receiving
    if (offset === mine.accepted) {
      mine.accepted += bytes.length
      this.#then(() => this.#write(mine, chunk))
    } else {
      this.#acknowledge(mine)
    }
  }

  /** Resolves when nothing is being written. */
  idle(): Promise<void> {
    return this.#writes
  }

  #then(step: () => Promise<void>): void {
    this.#writes = this.#writes.then(step).catch((error) => this.#doors.failed(error))
  }

  async #write(receiving: Receiving, { offset, bytes, size, message }: Chunk): Promise<void> {
    if (this.#receiving !== receiving) return
    await this.#doors.disk.write(receiving.file, offset, [bytes])
    receiving.written = offset + bytes.length
    if (receiving.written < size) {
      this.#acknowledge(receiving)
      return
    }
    try {
      await this.#doors.snapshots.adopt(receiving.file)
    } catch (error) {
      if (!(error instanceof Corrupt)) throw error
      // Damaged on the way or where it came from: nothing of it is used.
      this.#receiving = undefined
      await this.#doors.snapshots.discard(receiving.file)
      this.#doors.send(receiving.from, {
        kind: 'chunkReply',
        transfer: receiving.transfer,
        offset: size,
        state: 'refused',
      })
      return
    }
    receiving.done = true
    this.#acknowledge(receiving)
    this.#doors.arrived(receiving.from, message)
  }

  #acknowledge({ from, transfer, written, done }: Receiving): void {
    this.#doors.send(from, { kind: 'chunkReply', transfer, offset: written, state: done ? 'done' : 'more' })
  }
}
