/**
 * The loop that runs Raft on a disk and a network. Everything that happens (a frame, a tick, a proposal, a finished save)
 * changes the core and asks for a turn; a turn takes what the core has ready:
 *
 *   messages        leave at once, whatever the disk does: heartbeats never wait for it
 *   to be saved     goes to the log; one save is under way at a time, and all that gathers meanwhile is the next
 *   after the save  leaves, and the core learns of it, when the disk said yes
 *   committed       is applied in order, and its proposer answered
 *
 * Proposals that arrive during a save wait for its end and travel together (group commit), unless the disk is slow.
 * Promises: nothing is acknowledged before a majority has it on disk; what cannot be decided is an error that says so; a
 * failed write, a throwing `apply` and a broken invariant halt the node. Does not forward: `agent/` does.
 */
import { Busy, LeadershipLost, NotLeader, Stopped, TooLarge } from '../errors.ts'
import { parseAddress } from '../io/address.ts'
import type { Io, Reply } from '../io/io.ts'
import { Repeats } from '../io/repeats.ts'
import type { Index, Millis, Term } from '../model.ts'
import { Malformed } from '../raft/codec.ts'
import type {
  Configuration,
  Entry,
  Envelope,
  Message,
  RaftEvent,
  ReadId,
  Ready,
  Role,
  ServerChange,
  ServerId,
  SnapshotMark,
} from '../raft/message.ts'
import { Raft, type RaftOptions, raftOptionsDefault } from '../raft/raft.ts'
import { Addresses } from './addresses.ts'
import { Applier, entryOverhead } from './applier.ts'
import { BookmarkKeeper } from './bookmark.ts'
import { Confirming } from './confirming.ts'
import { explained } from './disk-errors.ts'
import type { StateMachine } from './machine.ts'
import { logEvent, logFollower } from './news.ts'
import { type ReplicaOptions, replicaOptionsDefault } from './options.ts'
import type { WalRecord } from './records.ts'
import { restoreFromDisk } from './restore.ts'
import { Snapshotting } from './snapshotting.ts'
import { type ReplicaStatus, type ServerState, statusOf } from './status.ts'
import { Strangers } from './strangers.ts'
import { SnapshotReceiver, SnapshotSender } from './transfer.ts'
import { Arrivals, Proposed, Unsettled, type Waiter } from './waiting.ts'
import type { Wal } from './wal.ts'
import { decodeFrame, encodeFrame, type Header, type ReplicaFrame } from './wire.ts'

export { type ReplicaOptions, replicaOptionsDefault } from './options.ts'
export type { ReplicaStatus, ServerState } from './status.ts'

interface Proposal extends Waiter<{ index: Index; result: unknown }> {
  data: Uint8Array
  read: unknown
}

export class Replica {
  readonly status: ReplicaStatus

  readonly #io: Io
  readonly #machine: StateMachine
  readonly #options: Required<ReplicaOptions>
  readonly #wal: Wal
  readonly #bookmark: BookmarkKeeper
  readonly #raft: Raft
  readonly #sender: SnapshotSender
  readonly #receiver: SnapshotReceiver
  readonly #addresses: Addresses
  readonly #repeats: Repeats
  readonly #subscribers = new Set<() => void>()
  #ledUntil: Millis | undefined
  #told: { role: Role; term: Term; leader: ServerId; commit: Index; lastIndex: Index; applied: Index } | undefined

  #inbox: Proposal[] = []
  #inboxBytes = 0
  readonly #proposed = new Proposed()
  readonly #unsettled = new Unsettled()
  readonly #arrivals = new Arrivals()
  readonly #reads = new Map<ReadId, Waiter<Index>>()
  #nextRead: ReadId = 1
  readonly #confirming: Confirming
  #transferring: { resolve: (done: boolean) => void; deadline: Millis }[] = []

  #toSave: Ready[] = []
  #save: { since: Millis; done: Promise<void> } | undefined
  #savedWaiters: Waiter<void>[] = []
  readonly #applier: Applier
  readonly #snapshotting: Snapshotting
  readonly #strangers: Strangers

  #turnAsked = false
  #offerAsked = false
  #turning = false
  #stopping: Promise<void> | undefined
  #ended: Error | undefined

  /**
   * Brings back what the disk holds: the newest snapshot into the machine, the entries after it into the core.
   * @throws Corrupt when the disk lost what it had acknowledged; the message names the file. TooNew; or the disk's own error.
   */
  static async open(io: Io, machine: StateMachine, options: ReplicaOptions): Promise<Replica> {
    const settings = { ...replicaOptionsDefault, ...options }
    const restored = await restoreFromDisk(io, machine, settings.wal).catch((error) => {
      throw explained(error)
    })
    return new Replica(io, machine, settings, restored)
  }

  private constructor(
    io: Io,
    machine: StateMachine,
    options: Required<ReplicaOptions>,
    restored: Awaited<ReturnType<typeof restoreFromDisk>>,
  ) {
    const { wal, snapshots, snapshot, hardState, entries, bookmark, commit } = restored
    this.#io = io
    this.#repeats = new Repeats(io.log)
    this.#machine = machine
    this.#options = options
    this.#wal = wal
    const raftOptions: RaftOptions = {
      ...raftOptionsDefault,
      id: options.id,
      random: io.random,
      electionTimeoutMin: options.electionTimeoutMin,
      electionTimeoutMax: options.electionTimeoutMax,
      heartbeatInterval: options.heartbeatInterval,
    }
    this.#raft = new Raft(raftOptions, { hardState, snapshot, entries, commit }, io.clock.now())
    this.#addresses = new Addresses({ id: options.id, address: options.address }, io.log)
    this.#addresses.learnAll(this.#raft.configuration)
    const failed = (error: unknown) => this.#halt(error)
    this.#bookmark = new BookmarkKeeper(bookmark, this.#raft, io.clock.now(), failed)
    this.#applier = new Applier(
      io,
      { machine, snapshots, start: snapshot },
      {
        failed,
        read: ({ index, term }) => this.#proposed.readAt(index, term),
        resumed: () => this.#askTurn(),
        applied: ({ index, term }, result) => this.#proposed.applied(index, term, result, () => this.#notLeader()),
        reached: (from, index) => this.#arrivals.reached(from, index),
        restored: (mark) => {
          this.#proposed.covered(mark.index, () => new LeadershipLost('the outcome of this write is unknown'))
          this.#io.log('info', 'raft', 'restored a snapshot of the leader', { index: mark.index })
          this.#askTurn()
        },
      },
    )
    this.#sender = new SnapshotSender({
      snapshots,
      failed,
      send: (to, frame) => this.#send(to, frame),
      ended: (to, ok, snapshot, damaged) => {
        const { mark } = snapshot
        if (damaged) this.#snapshotting.suspect(snapshot)
        this.#io.log(
          ok ? 'info' : 'warn',
          'raft',
          `snapshot ${ok ? 'sent' : 'not sent'} to ${this.#addresses.text(to)}`,
          {
            index: mark.index,
          },
        )
        this.#raft.snapshotSent(to, ok, mark)
        this.#askTurn()
      },
    })
    this.#snapshotting = new Snapshotting({
      io,
      machine,
      raft: this.#raft,
      wal,
      snapshots,
      applier: this.#applier,
      options,
      inUse: () => this.#sender.files,
      ended: () => this.#ended !== undefined,
      failed,
    })
    this.#receiver = new SnapshotReceiver({
      disk: io.disk,
      snapshots,
      failed,
      send: (to, frame) => this.#send(to, frame),
      committed: () => this.#raft.commit,
      arrived: (from, message) => this.#step(from, message),
    })
    this.#confirming = new Confirming({
      raft: this.#raft,
      within: options.electionTimeoutMin,
      now: () => io.clock.now(),
      hears: (id) => this.hears(id),
      beginRound: () => {
        this.readIndex().catch(() => {})
      },
    })
    this.#strangers = new Strangers({
      log: io.log,
      raft: this.#raft,
      address: options.address,
      addressOf: (id) => this.#addresses.text(id),
    })
    this.status = statusOf({
      raft: this.#raft,
      wal,
      now: () => io.clock.now(),
      ledUntil: () => this.#ledUntil,
      applied: () => this.#applier.index,
      waiting: () => this.#proposed.size + this.#inbox.length,
      addressOf: (id) => this.#addresses.text(id),
    })
    logFollower(io.log, options.address)
  }

  // --- what the agent asks for

  /** Names the first members; on one server only. Resolves when that is on disk. @throws Refused when there is any state. */
  async bootstrap(configuration: Configuration): Promise<void> {
    this.#mustRun()
    for (const { address } of configuration.servers) parseAddress(address)
    this.#raft.bootstrap(configuration)
    await new Promise<void>((resolve, reject) => {
      this.#savedWaiters.push({ resolve, reject })
      this.#askTurn()
    })
  }

  /**
   * Through the log. Resolves with what `apply` returned. `data` is kept, so it must not be changed afterwards.
   * @param read what `data` says, if the caller has read it: `apply` need not read it again
   * @throws NotLeader when certainly nothing came of it, LeadershipLost when that is unknown, TooLarge, Busy, Stopped.
   */
  propose(data: Uint8Array, read?: unknown): Promise<{ index: Index; result: unknown }> {
    return new Promise((resolve, reject) => {
      this.#mustRun()
      if (this.#raft.role !== 'leader') throw this.#notLeader()
      if (data.length > entryBytesMax) {
        throw new TooLarge(`expected a log entry of at most ${entryBytesMax} bytes, received ${data.length}`)
      }
      this.#expectRoom(data.length)
      this.#inbox.push({ data, read, resolve, reject })
      this.#inboxBytes += data.length
      this.#askOffer()
    })
  }

  /** @throws Busy */
  #expectRoom(bytes: number): void {
    this.#unsettled.settle(Math.min(this.#raft.commit, this.#raft.savedIndex))
    const waiting = this.#unsettled.count + this.#inbox.length
    const waitingBytes = this.#unsettled.bytes + this.#inboxBytes
    const { proposalsMax, proposalBytesMax } = this.#options
    if (waiting >= proposalsMax || waitingBytes + bytes > proposalBytesMax) {
      throw new Busy(`${waiting} writes (${waitingBytes} bytes) wait for the log already; try again later`)
    }
  }

  /**
   * Resolves with the change's index when it is committed.
   * @throws NotLeader, LeadershipLost, Refused when the change makes no sense, MajorityUnheard when it would leave too few
   * that are there, BadRequest for an address that is none, Busy while another is under way.
   */
  async changeServers(change: ServerChange): Promise<Index> {
    this.#mustRun()
    if (this.#raft.role !== 'leader') throw this.#notLeader()
    if (change.type === 'add') parseAddress(change.address)
    const busy = () => new Busy('another membership change, or a change of leader, is not finished yet')
    if (this.#confirming.busy) throw busy()
    await this.#confirming.majorityAfter(change)
    this.#mustRun()
    if (this.#raft.role !== 'leader') throw this.#notLeader()
    const index = this.#raft.changeServers(change)
    if (index === undefined) throw busy()
    const committed = await new Promise<{ index: Index }>((resolve, reject) => {
      this.#proposed.add(index, this.#raft.term, { resolve, reject })
      this.#askTurn()
    })
    return committed.index
  }

  /** Leader: this server answered lately, for as long as we would go on leading without a majority's answers. */
  hears(id: ServerId): boolean {
    const now = this.#io.clock.now()
    const at = this.#raft.heardAt(id, now)
    return at !== undefined && now - at <= this.#options.electionTimeoutMin
  }

  /** Leader: how each server of the configuration is; in its order. */
  servers(): ServerState[] {
    const now = this.#io.clock.now()
    return this.#raft.configuration.servers.map((server) => {
      const at = this.#raft.heardAt(server.id, now)
      const match = this.#raft.matchOf(server.id) ?? 0
      return {
        ...server,
        contact: at === undefined ? undefined : now - at,
        lastIndex: match,
        lastTerm: this.#raft.termAt(match) ?? 0,
      }
    })
  }

  /** Lets another server lead; without `to`, the one that is furthest. Resolves to whether this one does not any more. */
  transferLeadership(to?: ServerId): Promise<boolean> {
    return new Promise((resolve) => {
      this.#mustRun()
      const now = this.#io.clock.now()
      if (!this.#raft.transferLeadership(to, now)) {
        resolve(false)
        return
      }
      this.#transferring.push({ resolve, deadline: now + this.#options.electionTimeoutMax })
      this.#askTurn()
    })
  }

  /** The commit index, once a majority confirmed that this server still led after the call. @throws NotLeader, Stopped */
  readIndex(): Promise<Index> {
    return new Promise((resolve, reject) => {
      this.#mustRun()
      if (this.#raft.role !== 'leader') throw this.#notLeader()
      const id = this.#nextRead++
      this.#reads.set(id, { resolve, reject })
      this.#raft.requestRead(id, this.#io.clock.now())
      this.#askTurn()
    })
  }

  /** The commit index while this leader's lease holds; look again when the answer leaves. */
  leaseIndex(): Index | undefined {
    return this.#ended === undefined ? this.#raft.leaseIndex(this.#io.clock.now()) : undefined
  }

  /** Resolves when the machine has applied `index`. @throws Stopped */
  waitApplied(index: Index): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#mustRun()
      if (index <= this.#applier.index) resolve()
      else this.#arrivals.add(index, { resolve, reject })
    })
  }

  /**
   * Entries applied here after (`index`, `term`), at least one if there is one; none when that is the last. Undefined when
   * the log does not reach back so far, or has another entry there, or does not go so far: then the whole state is needed.
   */
  committedAfter(index: Index, term: Term, bytesMax: number): { entries: Entry[] } | undefined {
    if (index > this.#applier.index || this.termAt(index) !== term) return undefined
    const entries = this.#raft.entriesFrom(index + 1, bytesMax)
    return entries && { entries: entries.filter((entry) => entry.index <= this.#applier.index) }
  }

  /** The term of the entry at `index`; undefined when it is unknown here. */
  termAt(index: Index): Term | undefined {
    return index === this.#applier.index ? this.#applier.term : this.#raft.termAt(index)
  }

  /** The state as it is now, for those who follow the log from afar. @throws Busy while it is being replaced, Stopped */
  async snapshotBytes(): Promise<{ mark: SnapshotMark; chunks: Iterable<Uint8Array> }> {
    this.#mustRun()
    if (this.#applier.replacing) throw new Busy('the state is being replaced by a snapshot of the leader; try again')
    return { mark: this.#raft.markAt(this.#applier.index), chunks: this.#machine.snapshot() }
  }

  /** Somebody knows, from elsewhere than the log, that this server is reached at `host:port` now. */
  reachedAt(id: ServerId, address: string): void {
    this.#addresses.learn(id, address)
  }

  /** A whole frame of the rpc channel whose first byte is 1. What is malformed or meant for another is dropped. */
  receive(bytes: Uint8Array, _reply: Reply): void {
    if (this.#ended !== undefined || this.#stopping !== undefined) return
    let decoded: { header: Header; frame: ReplicaFrame }
    try {
      decoded = decodeFrame(bytes)
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
      this.#repeats.warn('frame', this.#io.clock.now(), 'raft', 'dropped a malformed frame', { error: error.message })
      return
    }
    const { header, frame } = decoded
    if (header.to !== this.#options.id) {
      this.#io.log('debug', 'raft', 'dropped a frame meant for another server', { to: header.to, from: header.from })
      return
    }
    if (this.#strangers.isForeign(header)) return
    this.#addresses.learn(header.from, header.address)
    this.#guard(() => {
      switch (frame.kind) {
        case 'message':
          this.#strangers.warn(header, frame.message)
          this.#step(header.from, frame.message)
          break
        case 'chunk':
          if (frame.message.term >= this.#raft.term) this.#receiver.receive(header.from, frame)
          break
        case 'chunkReply':
          this.#sender.reply(header.from, frame, this.#io.clock.now())
          break
        default:
          frame satisfies never
      }
    })
  }

  /** To be called about every 100 ms. */
  tick(): void {
    if (this.#ended !== undefined || this.#stopping !== undefined) return
    const now = this.#io.clock.now()
    this.#guard(() => {
      this.#raft.tick(now)
      this.#sender.tick(now)
      const late = this.#transferring.filter(({ deadline }) => now >= deadline)
      this.#transferring = this.#transferring.filter(({ deadline }) => now < deadline)
      for (const { resolve } of late) resolve(false)
      this.#bookmark.tick(now)
      this.#repeats.tick(now)
    })
    this.#turn()
  }

  /** Calls `onChange` after role, leader, configuration, commit or applied changed. Returns how to end it. */
  subscribe(onChange: () => void): () => void {
    this.#subscribers.add(onChange)
    return () => this.#subscribers.delete(onChange)
  }

  /** Takes nothing more, finishes what is being written, and closes the log. Never rejects. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#sender.stop()
    this.#rejectAll(() => new Stopped('this server is stopping'))
    try {
      while (this.#save !== undefined) await this.#save.done
      await this.#snapshotting.idle()
      await this.#receiver.idle()
      await this.#bookmark.idle()
      if (this.#ended === undefined) await this.#wal.close()
      if (this.#ended === undefined) this.#bookmark.keep(this.#io.clock.now())
      await this.#bookmark.idle()
    } catch (error) {
      this.#io.log('error', 'raft', 'the log could not be closed', { error: String(error) })
    }
    this.#applier.stop()
    this.#ended ??= new Stopped('this server has stopped')
  }

  // --- turns

  #step(from: ServerId, message: Message): void {
    this.#raft.step(from, message, this.#io.clock.now())
    this.#askTurn()
  }

  /** Several happenings of one moment share a turn. */
  #askTurn(): void {
    if (this.#turnAsked) return
    this.#turnAsked = true
    queueMicrotask(() => {
      this.#turnAsked = false
      this.#turn()
    })
  }

  /** What is proposed in one turn of the loop travels together; what waits for a save is offered when that ends. */
  #askOffer(): void {
    if (this.#offerAsked || this.#isGathering(this.#io.clock.now())) return
    this.#offerAsked = true
    void this.#io.turn().then(() => {
      this.#offerAsked = false
      this.#turn()
    })
  }

  /**
   * While a save is under way more may come, to be saved and sent together. Not for long: a slow disk here must not keep
   * the others from having it on theirs.
   */
  #isGathering(now: Millis): boolean {
    const { role } = this.#raft
    return this.#save !== undefined && now - this.#save.since < this.#options.gatherMax && role === 'leader'
  }

  #turn(): void {
    if (this.#ended !== undefined || this.#turning) return
    this.#turning = true
    this.#guard(() => {
      const now = this.#io.clock.now()
      this.#offer(now)
      for (let ready = this.#raft.ready(now); ready !== undefined; ready = this.#raft.ready(now)) this.#take(ready, now)
      this.#beginSave(now)
      if (this.#stopping === undefined) this.#snapshotting.look()
      this.#confirming.look(now)
      this.#tell()
    })
    this.#turning = false
  }

  #offer(now: Millis): void {
    if (this.#inbox.length === 0 || this.#isGathering(now)) return
    let taken = true
    // What is left goes along with the next save; nothing is left of what cannot be taken.
    do {
      const { count, bytes } = fitting(this.#inbox, ({ data }) => data.length)
      const proposals = this.#inbox.splice(0, count)
      this.#inboxBytes -= bytes
      const first = this.#raft.propose(proposals.map(({ data }) => data))
      taken = first !== undefined
      for (const [at, proposal] of proposals.entries()) {
        if (first !== undefined) this.#proposed.add(first + at, this.#raft.term, proposal, proposal.read)
        else proposal.reject(this.#notLeader())
      }
      if (first !== undefined) this.#unsettled.add(first + count - 1, bytes + count * entryOverhead)
    } while (!taken && this.#inbox.length > 0)
  }

  #take(ready: Ready, now: Millis): void {
    this.#post(ready.messages, now)
    if (ready.save !== undefined) this.#toSave.push(ready)
    if (ready.snapshot !== undefined) this.#applier.restore(ready.snapshot)
    this.#applier.apply(ready.committed)
    for (const { id, index } of ready.reads) {
      const waiter = this.#reads.get(id)
      this.#reads.delete(id)
      if (index === undefined) waiter?.reject(this.#notLeader())
      else waiter?.resolve(index)
    }
    for (const event of ready.events) this.#onEvent(event)
  }

  #post(envelopes: readonly Envelope[], now: Millis): void {
    for (const { to, message } of envelopes) {
      if (message.type === 'snapshot') this.#sender.start(to, message, this.#io.random.word(), now)
      else this.#send(to, { kind: 'message', message })
    }
  }

  #beginSave(now: Millis): void {
    if (this.#save !== undefined) return
    if (this.#toSave.length === 0) {
      const waiters = this.#savedWaiters
      this.#savedWaiters = []
      for (const { resolve } of waiters) resolve()
      return
    }
    const { count } = fitting(this.#toSave, ({ entries }) => entries.reduce((sum, { data }) => sum + data.length, 0))
    const batch = this.#toSave.splice(0, count)
    const done = this.#wal.save(batch.flatMap(recordsOf)).then(
      () => this.#guard(() => this.#saved(batch)),
      (error) => {
        this.#save = undefined
        this.#halt(error)
      },
    )
    this.#save = { since: now, done }
  }

  #saved(batch: readonly Ready[]): void {
    this.#save = undefined
    if (this.#ended !== undefined) return
    this.#raft.saved(batch.at(-1)!.save!)
    const now = this.#io.clock.now()
    for (const ready of batch) this.#post(ready.afterSave, now)
    this.#turn()
  }

  // --- the others

  #send(to: ServerId, frame: ReplicaFrame): void {
    const address = this.#addresses.of(to)
    if (address === undefined || this.#stopping !== undefined) return
    const header: Header = {
      to,
      from: this.#options.id,
      address: this.#options.address,
      cluster: this.#raft.configuration.cluster,
    }
    this.#io.network.frame('rpc', address, encodeFrame(header, frame))
  }

  #onEvent(event: RaftEvent): void {
    if (event.type === 'configuration') this.#addresses.learnAll(event.configuration)
    if (event.type === 'role' && event.role === 'leader') {
      // What former leaders left weighs as much as what this one adds.
      const settled = Math.min(this.#raft.commit, this.#raft.savedIndex)
      this.#unsettled.begin(settled, this.#raft.lastIndex, this.#raft.bytesAfter(settled))
    }
    if (event.type === 'role' && event.role !== 'leader') {
      if (this.#told?.role === 'leader') this.#ledUntil = this.#io.clock.now()
      this.#sender.stop()
      this.#proposed.rejectAll(
        () => new LeadershipLost('leadership was lost before the write was committed; its outcome is unknown'),
      )
      for (const { resolve } of this.#transferring) resolve(true)
      this.#transferring = []
    }
    logEvent(
      this.#io.log,
      {
        id: this.#options.id,
        address: this.#options.address,
        addressOf: (id) => this.#addresses.text(id),
        configuration: () => this.#raft.configuration,
      },
      event,
    )
  }

  // --- the end

  #mustRun(): void {
    if (this.#ended !== undefined) throw this.#ended
    if (this.#stopping !== undefined) throw new Stopped('this server is stopping')
  }

  #notLeader(): NotLeader {
    const { leader } = this.#raft
    return new NotLeader(leader === '' || leader === this.#options.id ? undefined : this.#addresses.text(leader))
  }

  /** Whatever throws in the loop is a broken invariant: a node that goes on might answer wrongly. */
  #guard(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#halt(error)
    }
  }

  #halt(error: unknown): void {
    if (this.#ended !== undefined) return
    const reason = explained(error)
    this.#applier.stop()
    this.#ended = new Stopped(`this server has halted: ${reason.message}`, { cause: reason })
    this.#sender.stop()
    this.#rejectAll(() => this.#ended as Error)
    this.#io.halt(reason)
  }

  #rejectAll(reason: () => Error): void {
    for (const { reject } of this.#inbox) reject(reason())
    this.#inbox = []
    this.#inboxBytes = 0
    this.#proposed.rejectAll(reason)
    this.#arrivals.rejectAll(reason)
    for (const { reject } of this.#reads.values()) reject(reason())
    this.#reads.clear()
    for (const { reject } of this.#savedWaiters) reject(reason())
    this.#savedWaiters = []
    for (const { resolve } of this.#transferring) resolve(false)
    this.#transferring = []
    this.#confirming.rejectAll(reason)
  }

  // --- what is told

  #tell(): void {
    const { role, term, leader, commit, lastIndex } = this.#raft
    const applied = this.#applier.index
    const told = this.#told
    if (
      told !== undefined &&
      told.applied === applied &&
      told.commit === commit &&
      told.lastIndex === lastIndex &&
      told.term === term &&
      told.role === role &&
      told.leader === leader
    ) {
      return
    }
    this.#told = { role, term, leader, commit, lastIndex, applied }
    for (const onChange of [...this.#subscribers]) onChange()
  }
}

/** What fits in a frame with all that may be around it. */
const entryBytesMax = 4 * 1024 * 1024

/** Written, or given to the core, in one go: more would hold the loop, and make the first wait for the last. */
const batchBytesMax = 2 * 1024 * 1024

/** How many of the first items to take together: at least one. */
function fitting<T>(items: readonly T[], size: (item: T) => number): { count: number; bytes: number } {
  let bytes = 0
  for (const [count, item] of items.entries()) {
    const more = size(item)
    if (count > 0 && bytes + more > batchBytesMax) return { count, bytes }
    bytes += more
  }
  return { count: items.length, bytes }
}

function recordsOf({ hardState, snapshot, entries }: Ready): WalRecord[] {
  const records: WalRecord[] = entries.map((entry) => ({ type: 'entry', entry }))
  if (snapshot !== undefined) records.unshift({ type: 'restart', index: snapshot.index, term: snapshot.term })
  if (hardState !== undefined) records.unshift({ type: 'hardState', hardState })
  return records
}
