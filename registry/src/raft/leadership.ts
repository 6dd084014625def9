/**
 * What only a leader has, from its election to its end: the progress of each follower, heartbeat rounds, waiting reads
 * and a transfer under way. Decides what to send; the terms and the commit index are `raft.ts`'s.
 *
 * Nothing is sent when something happens, but once per turn, in `flush`: it looks at what each follower has been told and
 * tells the rest. So many proposals become one append, and a lost message is no special case.
 */
import { assert } from '../errors.ts'
import type { Index, Millis, Term } from '../model.ts'
import { entryLength } from './codec.ts'
import type { Log } from './log.ts'
import type { Configuration, Envelope, Message, ReadId, ReadState, ServerId, SnapshotMark } from './message.ts'
import { Progress } from './progress.ts'
import { reachedByMajority, voters } from './quorum.ts'
import { Rounds } from './rounds.ts'

export interface LeadershipOptions {
  id: ServerId
  electionTimeoutMin: Millis
  electionTimeoutMax: Millis
  entriesBytesMax: number
  inflightBytesMax: number
}

type AppendReply = Extract<Message, { type: 'appendReply' }>

interface Transfer {
  to: ServerId
  deadline: Millis
}

export class Leadership {
  readonly term: Term
  /** Our first entry. Once it is committed we know all that is committed (§5.4.2, §8). */
  readonly startIndex: Index
  readonly rounds: Rounds
  #options: LeadershipOptions
  #log: Log
  #followers = new Map<ServerId, Progress>()
  #transfer: Transfer | undefined
  /** A server was told to stand for election without waiting; that word may arrive at any later time. */
  #askedToStand = false

  constructor(options: LeadershipOptions, log: Log, term: Term, now: Millis) {
    this.#options = options
    this.#log = log
    this.term = term
    this.startIndex = log.lastIndex + 1
    this.rounds = new Rounds(now)
  }

  /** Whom to replicate to. A server that was left out is told of its removal at `index` and then forgotten. */
  follow(configuration: Configuration, index: Index, now: Millis): void {
    for (const { id } of configuration.servers) {
      if (id === this.#options.id) continue
      const known = this.#followers.get(id)
      if (known === undefined) this.#followers.set(id, new Progress(this.#log.lastIndex + 1, now))
      else known.leavingAt = undefined
    }
    for (const [id, progress] of this.#followers) {
      if (!configuration.servers.some((server) => server.id === id)) progress.leavingAt ??= index
    }
  }

  progress(id: ServerId): Progress | undefined {
    return this.#followers.get(id)
  }

  /** The highest index on a majority's disks, our own counted only as far as `saved`. */
  replicated(configuration: Configuration, saved: Index): Index {
    return reachedByMajority(configuration, (id) =>
      id === this.#options.id ? saved : (this.#followers.get(id)?.match ?? 0),
    )
  }

  /** When a majority, ourselves included, was last heard. */
  contactAt(configuration: Configuration, now: Millis): Millis {
    return reachedByMajority(configuration, (id) =>
      id === this.#options.id ? now : (this.#followers.get(id)?.contactAt ?? Number.NEGATIVE_INFINITY),
    )
  }

  /** The newest round that a majority answered. */
  answeredRound(configuration: Configuration): number {
    return reachedByMajority(configuration, (id) =>
      id === this.#options.id ? this.rounds.current : (this.#followers.get(id)?.answeredRound ?? 0),
    )
  }

  /**
   * Until when nobody else can have been elected, by anybody's clock that runs at most twice as fast as another's: a
   * majority answered a round that began then, and refuses votes for `electionTimeoutMin` after hearing us. Void for the
   * rest of the term once we asked somebody to stand, for voters make an exception for that (thesis §6.4.1, §3.10).
   */
  leaseEnd(configuration: Configuration): Millis | undefined {
    if (this.#askedToStand) return undefined
    const at = this.rounds.confirmedAt(this.answeredRound(configuration))
    return at === undefined ? undefined : at + this.#options.electionTimeoutMin / 2
  }

  requestRead(id: ReadId, commit: Index): void {
    this.rounds.request(id, Math.max(commit, this.startIndex))
  }

  /** Reads that nobody will answer any more. */
  abandonReads(): ReadState[] {
    return this.rounds.abandon()
  }

  releaseReads(configuration: Configuration, commit: Index): ReadState[] {
    return this.rounds.release(this.answeredRound(configuration), commit)
  }

  /** Takes a follower's answer. */
  answered(from: ServerId, reply: AppendReply, now: Millis): 'pipelining' | { lost: Index } | undefined {
    const progress = this.#followers.get(from)
    if (progress === undefined) return undefined
    assert(
      reply.round <= this.rounds.current,
      `${from} answers round ${reply.round} of term ${this.term}, but only ${this.rounds.current} have begun`,
    )
    progress.heard(reply.round, now)
    return reply.success ? this.#accepted(from, progress, reply) : this.#refused(progress, reply)
  }

  #accepted(from: ServerId, progress: Progress, { match, hintIndex, round }: AppendReply): 'pipelining' | undefined {
    const verified = Math.max(match, hintIndex)
    assert(
      verified <= this.#log.lastIndex,
      `${from} has entries up to ${verified} in term ${this.term}, but its leader's log ends at ${this.#log.lastIndex}`,
    )
    progress.matched(match, verified, round)
    // Below the start of our log only a snapshot helps; once it is beyond, a snapshot on its way is not waited for.
    if (progress.state === 'replicate' || verified < this.#log.startIndex) return undefined
    progress.replicate(verified)
    return 'pipelining'
  }

  #refused(progress: Progress, reply: AppendReply): { lost: Index } | undefined {
    const { refused, round } = reply
    if (progress.state === 'snapshot') return undefined
    const meeting = this.#log.meetingPoint(reply.hintIndex, reply.hintTerm)
    const next = Math.max(1, Math.min(refused, Math.min(meeting.index, reply.hintIndex) + 1))
    if (refused <= progress.match) {
      if (!progress.lost(refused, round)) return undefined
      const lost = progress.match
      progress.forget(next)
      return { lost }
    }
    // In probe only the answer to the present guess counts.
    if (progress.state === 'probe' && refused !== progress.next - 1) return undefined
    progress.probe(Math.max(progress.match + 1, next))
    return undefined
  }

  /** The replica's report of a transfer that this leadership asked for. */
  snapshotSent(to: ServerId, ok: boolean, mark: SnapshotMark): void {
    const progress = this.#followers.get(to)
    if (progress?.state !== 'snapshot' || progress.snapshotIndex !== mark.index) return
    progress.probe(ok ? Math.max(progress.match, mark.index) + 1 : progress.match + 1)
    // Its answer to the next round ends the pause: so a transfer that fails at once is tried again no faster than heartbeats.
    progress.pause(this.rounds.current, 0)
  }

  get transferring(): boolean {
    return this.#transfer !== undefined
  }

  /** @param to undefined: the voter that is furthest. Returns whether there is somebody to transfer to. */
  transfer(to: ServerId | undefined, configuration: Configuration, now: Millis): boolean {
    const successor = to ?? this.#furthest(configuration, now)
    if (successor === undefined || successor === this.#options.id) return false
    if (!voters(configuration).includes(successor) || !this.#followers.has(successor)) return false
    this.#transfer = { to: successor, deadline: now + this.#options.electionTimeoutMin }
    return true
  }

  #furthest(configuration: Configuration, now: Millis): ServerId | undefined {
    let furthest: { id: ServerId; match: Index } | undefined
    for (const id of voters(configuration)) {
      const progress = this.#followers.get(id)
      if (progress === undefined || !this.#isHeard(progress, now)) continue
      if (furthest === undefined || progress.match > furthest.match) furthest = { id, match: progress.match }
    }
    return furthest?.id
  }

  #isHeard(progress: Progress, now: Millis): boolean {
    return progress.answeredRound > 0 && now - progress.contactAt < this.#options.electionTimeoutMin
  }

  /** Gives up a transfer that took too long; we go on leading. */
  tick(now: Millis): void {
    if (this.#transfer !== undefined && now >= this.#transfer.deadline) this.#transfer = undefined
  }

  /** Asks the furthest voter to stand at once: our last word when we were removed ourselves. */
  succession(configuration: Configuration, now: Millis): Envelope[] {
    const to = this.#furthest(configuration, now)
    return to === undefined ? [] : [{ to, message: { type: 'timeoutNow', term: this.term } }]
  }

  /** All that followers have not been told yet. `heartbeat`: a round is due. */
  flush({
    now,
    heartbeat,
    commit,
    mark,
    configuration,
  }: {
    now: Millis
    heartbeat: boolean
    commit: Index
    mark: SnapshotMark | undefined
    configuration: Configuration
  }): Envelope[] {
    if (heartbeat || this.rounds.readNeedsRound(this.answeredRound(configuration))) this.rounds.begin(now)
    const envelopes: Envelope[] = []
    for (const [to, progress] of this.#followers) {
      const send = (message: Message) => envelopes.push({ to, message })
      this.#flushTo(progress, { now, commit, mark }, send)
      if (this.#isGone(progress, commit, now)) this.#followers.delete(to)
    }
    return envelopes
  }

  #flushTo(
    progress: Progress,
    { now, commit, mark }: { now: Millis; commit: Index; mark: SnapshotMark | undefined },
    send: (message: Message) => void,
  ): void {
    const roundDue = progress.sentRound < this.rounds.current
    // An entry that is compacted away cannot be sent, nor its term be checked.
    if (progress.state === 'snapshot' || progress.next <= this.#log.startIndex) {
      // Position 0 is in every log: this says only that we lead.
      if (roundDue) send(this.#append(progress, 0, commit, 0))
      if (progress.state === 'snapshot' || progress.paused || !this.#isHeard(progress, now)) return
      assert(mark !== undefined, `the log starts after ${this.#log.startIndex}, but there is no snapshot`)
      progress.awaitSnapshot(mark.index)
      send({ type: 'snapshot', term: this.term, mark, round: this.rounds.current })
      return
    }
    // Before the entries and without any, so that the answer does not wait for the follower's disk.
    if (roundDue) send(this.#append(progress, progress.next - 1, commit, 0))
    while (progress.next <= this.#log.lastIndex) {
      if (progress.state === 'probe' ? progress.paused : progress.inflightBytes >= this.#options.inflightBytesMax) break
      send(this.#append(progress, progress.next - 1, commit, this.#options.entriesBytesMax))
    }
    // A commit is told at once, not with the next heartbeat: readers are waiting for it.
    if (progress.state === 'replicate' && progress.sentCommit < commit) {
      send(this.#append(progress, progress.next - 1, commit, 0))
    }
    this.#tellToStand(progress, roundDue, send)
  }

  /** An append after `previousIndex` with as many entries as fit in `bytesMax`; 0: none. */
  #append(progress: Progress, previousIndex: Index, commit: Index, bytesMax: number): Message {
    const entries = bytesMax === 0 ? [] : this.#log.slice(previousIndex + 1, this.#log.lastIndex, bytesMax)
    const previousTerm = previousIndex === 0 ? 0 : this.#log.termAt(previousIndex)
    assert(previousTerm !== undefined, `the term at ${previousIndex} is unknown`)
    progress.sentRound = this.rounds.current
    progress.sentCommit = commit
    if (progress.state === 'probe' && entries.length > 0)
      progress.pause(this.rounds.current, previousIndex + entries.length)
    if (progress.state === 'replicate' && entries.length > 0) {
      const bytes = entries.reduce((sum, entry) => sum + entryLength(entry), 0)
      progress.sent(previousIndex + entries.length, bytes)
    }
    const { term, rounds } = this
    return { type: 'append', term, previousIndex, previousTerm, entries, commit, round: rounds.current }
  }

  /** The chosen successor has everything: let it stand. Repeated with each round, for the word may be lost. */
  #tellToStand(progress: Progress, roundDue: boolean, send: (message: Message) => void): void {
    const transfer = this.#transfer
    if (transfer === undefined || this.#followers.get(transfer.to) !== progress) return
    if (progress.match < this.#log.lastIndex || (this.#askedToStand && !roundDue)) return
    this.#askedToStand = true
    send({ type: 'timeoutNow', term: this.term })
  }

  /** Whether a removed server knows that its removal is committed, or will not be reached. */
  #isGone({ leavingAt, match, sentCommit, contactAt }: Progress, commit: Index, now: Millis): boolean {
    if (leavingAt === undefined || commit < leavingAt) return false
    return (match >= leavingAt && sentCommit >= leavingAt) || now - contactAt > this.#options.electionTimeoutMax
  }
}
