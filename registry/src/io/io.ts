/**
 * The doors as interfaces: everything the program cannot compute for itself. `io/node.ts` is the real world,
 * the simulator's `world.ts` the other one.
 */
import type { Address, Millis } from '../model.ts'
import type { Random } from './random.ts'

export interface Io {
  clock: Clock
  random: Random
  disk: Disk
  network: Network
  cipher: Cipher
  probe: Probe
  log: Log
  /** Resolves when what arrived meanwhile was taken in: work that would hold the loop waits for it between its pieces. */
  turn(): Promise<void>
  /** This node must not continue (a failed fsync, a broken invariant). Logs and ends the process. */
  halt(reason: Error): void
}

export interface Clock {
  /** Monotonic, for every decision. */
  now(): Millis
  /** Milliseconds since 1970, only for logs and stamps; never compared. */
  wall(): number
}

/**
 * Enough to build a segmented log on, and to simulate every way it fails. Paths are relative to the data
 * directory. A missing file reads as undefined. Errors reject with the system's error (`code` EIO, ENOSPC …).
 */
export interface Disk {
  list(folder: string): Promise<string[]>
  read(file: string, from?: number, length?: number): Promise<Uint8Array | undefined>
  /** In the page cache; creates the file (and its folders) when missing. */
  write(file: string, at: number, chunks: Uint8Array[]): Promise<void>
  /** Durable. */
  sync(file: string): Promise<void>
  syncFolder(folder: string): Promise<void>
  truncate(file: string, length: number): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** A missing file is not an error. */
  remove(file: string): Promise<void>
  /** Takes the lock of the data directory or throws an error that names the holder. */
  lock(): Promise<void>
}

/** rpc 8300 (tcp), lan 8301 (tcp and udp), wan 8302 (tcp and udp). */
export type Channel = 'rpc' | 'lan' | 'wan'

/** Answers on the connection a frame came in on, so that agents behind published ports or without a listener are reached. */
export type Reply = (bytes: Uint8Array) => void

/**
 * Where bytes seem to come from, for log lines and reasons of failures: members live behind published ports, so it says
 * nothing of who that is. On a connection of ours it is what we have connected to.
 */
export type Seemingly = string | undefined

/**
 * Moves bytes one way; anything cleverer (request ids, retries, time-outs) lives where the simulator sees it.
 * Frames are at most `frameLengthMax` bytes (`io/frames.ts`).
 */
export interface Network {
  /** May be lost, repeated, reordered. At most 1,400 bytes by convention. */
  datagram(channel: Channel, to: Address, bytes: Uint8Array): void
  /**
   * In order while the connection lives; connects when there is none. `onFailed` is called at most once when this
   * frame certainly or possibly did not arrive because the connection could not be made or was lost before it left; on
   * the gossip channels also when whoever listens there never says a word that an agent would.
   */
  frame(channel: Channel, to: Address, bytes: Uint8Array, onFailed?: (reason: Error) => void): void
  /** One receiver per channel; a second call replaces the first. Replies to our frames arrive here as well. */
  onDatagram(channel: Channel, receive: (bytes: Uint8Array, from?: Seemingly) => void): void
  onFrame(channel: Channel, receive: (bytes: Uint8Array, reply: Reply, from?: Seemingly) => void): void
  /**
   * A connection that was made to that address is gone: no reply to what was sent on it will come any more. Not everybody who
   * goes says so; silence has to be noticed as well. One receiver per channel.
   */
  onLost(channel: Channel, lost: (to: Address, reason: Error) => void): void
}

/**
 * AES-GCM (NIST SP 800-38D) with keys of 16, 24 or 32 bytes. Each sealing takes a new random nonce of 96 bits, so whoever
 * shares a key need not know of each other: after n sealings under one key by everybody together, the chance that a nonce
 * was ever used twice is about n² / 2^97 (one in 15 million after 10^11).
 */
export interface Cipher {
  /**
   * Nonce, ciphertext, tag: 28 bytes more than `plain`. What opens it must give the same `context`, which is not in it.
   * Nobody changes the bytes of a key that was used.
   */
  seal(key: Uint8Array, plain: Uint8Array, context: Uint8Array): Uint8Array
  /** Undefined: not sealed with this key and context, or damaged. Never throws, whatever the bytes. */
  open(key: Uint8Array, sealed: Uint8Array, context: Uint8Array): Uint8Array | undefined
}

export type ProbeRequest =
  | {
      kind: 'http'
      url: string
      method: string
      headers: Record<string, string[]>
      body: string
      tlsSkipVerify: boolean
      timeout: Millis
      outputMax: number
      disableRedirects?: boolean
    }
  | { kind: 'tcp' | 'udp'; target: string; timeout: Millis }
  | { kind: 'grpc'; target: string; tls: boolean; tlsSkipVerify: boolean; timeout: Millis }
  | { kind: 'script'; args: string[]; timeout: Millis; outputMax: number }
  | { kind: 'docker'; container: string; args: string[]; timeout: Millis; outputMax: number }
  | { kind: 'os_service'; service: string; timeout: Millis }

export interface ProbeOutcome {
  status: 'passing' | 'warning' | 'critical'
  output: string
}

/** Runs one check once. Never rejects: a failure is a critical outcome with the reason as its output. */
export type Probe = (request: ProbeRequest) => Promise<ProbeOutcome>

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/** `log('info', 'raft', 'entering follower state', { leader: '' })`. Areas are rooms: raft, serf, consul, agent, dns, http. */
export type Log = (level: LogLevel, area: string, message: string, fields?: Record<string, unknown>) => void
