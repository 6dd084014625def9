/**
 * The Raft core of one server (Ongaro and Ousterhout 2014, §5-§8; Ongaro's thesis for pre-vote §9.6, membership change §4,
 * reads §6.4, leadership transfer §3.10). Inputs are calls, the output is `ready`; no clock, no disk, no network. The
 * replica saves, sends and applies what a Ready holds, then reports with `saved`.
 *
 * Promises, whatever is lost, late, repeated or crashes: one leader per term; a committed entry is in the log of every
 * later leader; `committed` hands out each index once, in order; a vote or an acknowledgement leaves only after what it
 * rests on is on disk. The heartbeat answer that leaves at once claims no more than what already is.
 *
 * Who may be asked, and by whom: a vote is given by log and term alone, never by membership. The voter's configuration
 * may be behind the candidate's, who was added or promoted by an entry the voter has not got; were it refused, two of
 * three new servers could be needed and unable to elect (thesis §4.2.2). So a server that knows no configuration at all
 * and one that does not vote both answer. It is safe because the *candidate* counts only voters of its own
 * configuration. A removed server that asks for votes is stopped by pre-vote: those who hear a leader refuse.
 */
import { assert, Refused } from '../errors.ts'
import type { Random } from '../io/random.ts'
import type { Index, Millis, Term } from '../model.ts'
import { encodeConfiguration } from './codec.ts'
import { changed, checkFounding } from './configurations.ts'
import { Leadership } from './leadership.ts'
import type {
  Configuration,
  Entry,
  EntryKind,
  HardState,
  Message,
  ReadId,
  Ready,
  Role,
  SavePoint,
  ServerChange,
  ServerId,
  SnapshotMark,
} from './message.ts'
import { Outbox } from './outbox.ts'
import { tally, voters, votes } from './quorum.ts'
import { ReplicatedLog, type Restored } from './replicated-log.ts'

export type { Restored } from './replicated-log.ts'

export interface RaftOptions {
  id: ServerId
  random: Random
  /** A server that heard a leader so lately refuses votes; a leader that heard no majority for so long steps down. */
  electionTimeoutMin: Millis
  /** A follower stands for election after a silence of Min to Max, chosen anew each time. */
  electionTimeoutMax: Millis
  heartbeatInterval: Millis
  /** Bytes of entries in one append, and committed in one Ready; one entry may be larger. */
  entriesBytesMax: number
  /** Bytes sent to one follower and not yet acknowledged. */
  inflightBytesMax: number
}

export const raftOptionsDefault: Omit<RaftOptions, 'id' | 'random'> = {
  electionTimeoutMin: 1000,
  electionTimeoutMax: 2000,
  heartbeatInterval: 100,
  entriesBytesMax: 1024 * 1024,
  inflightBytesMax: 8 * 1024 * 1024,
}

type Of<T extends Message['type']> = Extract<Message, { type: T }>

export class Raft {
  readonly id: ServerId
  readonly #options: RaftOptions
  readonly #log: ReplicatedLog
  readonly #outbox = new Outbox()
  #term: Term
  #vote: ServerId
  #role: Role = 'follower'
  #leader: ServerId | '' = ''
  #leadership: Leadership | undefined
  /** As follower: the newest round we answered in this term, and how far we then said to match. */
  #answered = { term: 0, round: 0, match: 0 }
  /** As (pre-)candidate: who has answered what. */
  #votes = new Map<ServerId, boolean>()
  #leaderHeardAt: Millis | undefined
  /** A vote before this would break a promise given to a leader. */
  #votesFrom: Millis
  #electionDeadline: Millis
  #tickedAt: Millis
  /** The latest time we were told. */
  #now: Millis
  /** After a stall of this process: nothing expires before this, so that what waits in the inbox is heard first. */
  #expireFrom: Millis
  #heartbeatDue = false

  /** The configurations last told of. */
  #told: { latest: Configuration; committed: Configuration }

  constructor(options: RaftOptions, restored: Restored, now: Millis) {
    assert(
      options.heartbeatInterval < options.electionTimeoutMin &&
        options.electionTimeoutMin <= options.electionTimeoutMax,
      `expected heartbeat < election timeout min <= max, received ${options.heartbeatInterval}, ${options.electionTimeoutMin}, ${options.electionTimeoutMax}`,
    )
    const { hardState, snapshot } = restored
    this.id = options.id
    this.#options = options
    this.#term = hardState.term
    this.#vote = hardState.vote
    this.#log = new ReplicatedLog(restored)
    const { latest, committed } = this.#log.configurations
    this.#told = { latest, committed }
    // A snapshot can reach the disk before the hard state of its last term. A vote in that term would have been saved
    // before it was given, so there was none.
    if (snapshot !== undefined && snapshot.term > this.#term) {
      this.#term = snapshot.term
      this.#vote = ''
    }
    const { lastTerm } = this.#log.entries
    assert(lastTerm <= this.#term, `the log on disk is of term ${lastTerm}, beyond the term on disk, ${this.#term}`)
    this.#tickedAt = now
    this.#now = now
    this.#expireFrom = now
    this.#electionDeadline = now + this.#electionTimeout()
    // A former life may have answered a leader's heartbeat a moment ago; the leader's lease rests on that answer.
    this.#votesFrom = this.#term === 0 ? now : now + options.electionTimeoutMin
  }

  get role(): Role {
    return this.#role
  }
  get term(): Term {
    return this.#term
  }
  /** '' when unknown. */
  get leader(): ServerId | '' {
    return this.#leader
  }
  get commit(): Index {
    return this.#log.commit
  }
  get lastIndex(): Index {
    return this.#log.entries.lastIndex
  }
  /** The latest in the log: the one that counts. */
  get configuration(): Configuration {
    return this.#log.configurations.latest
  }
  get committedConfiguration(): Configuration {
    return this.#log.configurations.committed
  }
  get snapshotMark(): SnapshotMark | undefined {
    return this.#log.snapshotMark
  }
  /** Entries up to here are on this server's disk. */
  get savedIndex(): Index {
    return this.#log.saves.savedIndex
  }

  /** What all entries after `index` weigh on the wire; it looks at each of them. */
  bytesAfter(index: Index): number {
    return this.#log.entries.bytesAfter(index)
  }

  /** Leader: since a majority was last heard. Others: since a leader was. Infinite: never. */
  quorumContact(now: Millis): Millis {
    if (this.#leadership !== undefined) return now - this.#leadership.contactAt(this.configuration, now)
    return this.#leaderHeardAt === undefined ? Number.POSITIVE_INFINITY : now - this.#leaderHeardAt
  }

  /** When a server last answered us in this term, `now` for ourselves; undefined: never, or we do not lead. */
  heardAt(id: ServerId, now: Millis): Millis | undefined {
    if (this.#leadership === undefined) return undefined
    if (id === this.id) return now
    const progress = this.#leadership.progress(id)
    return progress === undefined || progress.answeredRound === 0 ? undefined : progress.contactAt
  }

  /** The newest round of heartbeats that this leader has begun. */
  get round(): number {
    return this.#leadership?.rounds.current ?? 0
  }

  /** The newest round that a server has answered; ourselves, we answer all. */
  answeredRoundOf(id: ServerId): number {
    if (id === this.id) return Number.POSITIVE_INFINITY
    return this.#leadership?.progress(id)?.answeredRound ?? 0
  }

  /** How far a server's disk is known to equal this log; undefined: not known here. */
  matchOf(id: ServerId): Index | undefined {
    return id === this.id ? this.#log.saves.savedIndex : this.#leadership?.progress(id)?.match
  }

  /** The term of the entry at `index`; undefined when it is not in the log (any more). */
  termAt(index: Index): Term | undefined {
    return this.#log.entries.termAt(index)
  }

  /** The mark of a snapshot that holds everything up to `index`, the last entry applied. */
  markAt(index: Index): SnapshotMark {
    return this.#log.markAt(index)
  }

  /** Committed entries from `index` on, at least one if there is one; undefined: compacted away, a snapshot is needed. */
  entriesFrom(index: Index, bytesMax: number): Entry[] | undefined {
    return index <= this.#log.entries.startIndex
      ? undefined
      : this.#log.entries.slice(index, this.#log.commit, bytesMax)
  }

  /** Call it about every `heartbeatInterval`. Only here does waiting end. */
  tick(now: Millis): void {
    if (now - this.#tickedAt > this.#options.electionTimeoutMin / 2)
      this.#expireFrom = now + this.#options.heartbeatInterval
    this.#tickedAt = now
    this.#now = now
    const leadership = this.#leadership
    if (leadership !== undefined) {
      // Rather a little early than, because a timer was, a whole tick late.
      this.#heartbeatDue ||= now - leadership.rounds.lastAt >= 0.9 * this.#options.heartbeatInterval
      leadership.tick(now)
      // Check-quorum: a leader that is cut off says so, rather than keeping its clients waiting (thesis §6.2).
      if (now >= this.#expireFrom && this.quorumContact(now) >= this.#options.electionTimeoutMin) {
        this.#stepDown(`no majority was heard for ${this.quorumContact(now)} ms`, now)
      }
    } else if (this.#isAlone() || (now >= this.#electionDeadline && now >= this.#expireFrom)) {
      this.#electionTimedOut(now)
    }
  }

  /** Takes a message. Any may be late, repeated, or from a server we do not know. */
  step(from: ServerId, message: Message, now: Millis): void {
    if (from === this.id) return
    this.#now = now
    if (message.type === 'vote' && !message.transfer && message.term >= this.#term && this.#hearsLeader(now)) {
      // Not even its term is taken: a server that cannot hear the leader must not unseat it (thesis §4.2.3).
      this.#refuseVote(from, message, true)
      return
    }
    if (message.term > this.#term) this.#meetHigherTerm(from, message, now)
    else if (message.term < this.#term && !this.#answerLowerTerm(from, message)) return
    switch (message.type) {
      case 'vote':
        this.#onVote(from, message, now)
        break
      case 'voteReply':
        this.#onVoteReply(from, message, now)
        break
      case 'append':
        this.#onAppend(from, message, now)
        break
      case 'appendReply':
        this.#onAppendReply(from, message, now)
        break
      case 'snapshot':
        this.#onSnapshot(from, message, now)
        break
      case 'timeoutNow':
        this.#onTimeoutNow(now)
        break
      default:
        message satisfies never
    }
  }

  /** That Ready, and all before it, are on disk. */
  saved(point: SavePoint): void {
    this.#log.saves.complete(point)
    if (this.#leadership !== undefined) this.#advanceCommit()
    // Our own vote counts when it could not be given again after a crash.
    else if (this.#role === 'candidate' && this.#log.saves.isSaved({ term: this.#term, vote: this.id })) {
      this.#countVote(this.id, true, this.#now)
    }
  }

  /**
   * Appends commands to the log, to be committed or lost with this leadership.
   * @returns the index of the first; undefined: not the leader, or about to hand over; nothing was appended.
   */
  propose(data: Uint8Array[]): Index | undefined {
    assert(data.length > 0, 'expected at least one command to propose')
    if (this.#leadership === undefined || this.#leadership.transferring || this.#removed) return undefined
    const first = this.#log.entries.lastIndex + 1
    for (const each of data) this.#append('command', each)
    return first
  }

  /**
   * Appends a configuration with one change.
   * @returns its index; undefined: not the leader, or not now: one is not committed yet, or nothing of this term is. The
   * latter matters: without it two leaders could take turns in changing by one, and two changes apart are two majorities
   * that need not meet (Ongaro, "bug in single-server membership changes", raft-dev 2015).
   * @throws Refused when the change makes no sense
   */
  changeServers(change: ServerChange): Index | undefined {
    const leadership = this.#leadership
    if (leadership === undefined || leadership.transferring) return undefined
    const { commit, configurations } = this.#log
    if (commit < leadership.startIndex || configurations.latestIndex > commit) return undefined
    const configuration = changed(this.configuration, change)
    const entry = this.#append('configuration', encodeConfiguration(configuration))
    leadership.follow(configuration, entry.index, this.#now)
    // Fewer voters may need fewer copies.
    this.#advanceCommit()
    return entry.index
  }

  /**
   * Makes this server the one that names the first members. On one server only; the others start empty and learn.
   * @throws Refused when there is any state here, or the configuration is not one to start with
   */
  bootstrap(configuration: Configuration): void {
    if (this.#term > 0 || this.#log.entries.lastIndex > 0 || this.configuration.servers.length > 0) {
      throw new Refused(
        `cannot bootstrap: this server has state (term ${this.#term}, last index ${this.#log.entries.lastIndex})`,
      )
    }
    checkFounding(configuration, this.id)
    this.#term = 1
    this.#append('configuration', encodeConfiguration(configuration))
    // Nobody else can be standing: nobody else knows the members.
    this.#electionDeadline = Number.NEGATIVE_INFINITY
  }

  /**
   * Lets another server lead, `undefined`: the one that is furthest. Proposals are refused until it does, or an election
   * timeout has passed. Returns whether it was begun.
   */
  transferLeadership(to: ServerId | undefined, now: Millis): boolean {
    return this.#leadership?.transfer(to, this.configuration, now) ?? false
  }

  /** Answered in `Ready.reads`, once no other leader can have committed anything before the request that we do not know. */
  requestRead(id: ReadId, _now: Millis): void {
    if (this.#leadership === undefined) this.#outbox.reads.push({ id, index: undefined })
    else this.#leadership.requestRead(id, this.#log.commit)
  }

  /** The commit index while our lease holds: nobody else can have committed more. Look again when the answer leaves. */
  leaseIndex(now: Millis): Index | undefined {
    const leadership = this.#leadership
    if (leadership === undefined || this.#log.commit < leadership.startIndex) return undefined
    const end = leadership.leaseEnd(this.configuration)
    return end !== undefined && now < end ? this.#log.commit : undefined
  }

  /** The replica has brought the snapshot at `mark` to a follower, or has failed to. */
  snapshotSent(to: ServerId, ok: boolean, mark: SnapshotMark): void {
    this.#leadership?.snapshotSent(to, ok, mark)
  }

  /** A snapshot at `mark` is durable here; all but the last `keep` entries it holds are forgotten. */
  compact(mark: SnapshotMark, keep: number): void {
    this.#log.compact(mark, keep)
  }

  /** What to save, send and apply now; undefined: nothing. Handed out once. */
  ready(now: Millis): Ready | undefined {
    this.#now = now
    this.#lead(now)
    this.#tellConfigurations()
    const { saves, restoring: snapshot } = this.#log
    const hardState = this.#hardState()
    const hardStateNew = !saves.wasHanded(hardState)
    // After a snapshot the log on disk starts anew: what follows it, and what rests on it, is the next Ready's.
    const alone = snapshot !== undefined
    const entries = alone ? [] : this.#log.unsaved()
    let save: SavePoint | undefined
    if (hardStateNew || alone || entries.length > 0) {
      const index = snapshot?.index ?? this.#log.entries.lastIndex
      save = { term: this.#log.entries.termAt(index) as Term, index, ready: saves.hand(hardState, index) }
    }
    this.#log.restoring = undefined
    const taken = this.#outbox.take({ saves: save !== undefined && !alone, idle: saves.idle })
    const committed = alone ? [] : this.#log.handCommitted(this.#options.entriesBytesMax)
    const { messages, reads, events } = taken
    if (save === undefined && messages.length + committed.length + reads.length + events.length === 0) return undefined
    return { save, hardState: hardStateNew ? hardState : undefined, entries, snapshot, committed, ...taken }
  }

  /** The leader's share of a turn. */
  #lead(now: Millis): void {
    const leadership = this.#leadership
    if (leadership === undefined) return
    const { configuration } = this
    const mark = this.#log.snapshotMark
    const heartbeat = this.#heartbeatDue
    this.#heartbeatDue = false
    this.#outbox.send(...leadership.flush({ now, heartbeat, commit: this.#log.commit, mark, configuration }))
    this.#outbox.reads.push(...leadership.releaseReads(configuration, this.#log.commit))
    if (!this.#removed) return
    // Followers know the commit by now, and one of them is asked to stand, so that nobody waits for a timeout.
    this.#outbox.send(...leadership.succession(configuration, now))
    this.#stepDown('this server is no voter any more', now)
  }

  #hardState(): HardState {
    return { term: this.#term, vote: this.#vote }
  }

  // --- terms and roles

  #meetHigherTerm(from: ServerId, message: Message, now: Millis): void {
    switch (message.type) {
      case 'vote':
        // A pre-vote asks about a term nobody is in yet.
        if (!message.pre) this.#becomeFollower(message.term, '', now)
        break
      case 'voteReply':
        // A granted pre-vote echoes the term that we asked about.
        if (!(message.pre && message.granted)) this.#becomeFollower(message.term, '', now)
        break
      case 'append':
      case 'snapshot':
        this.#becomeFollower(message.term, from, now)
        break
      case 'appendReply':
      case 'timeoutNow':
        this.#becomeFollower(message.term, '', now)
        break
      default:
        message satisfies never
    }
  }

  /** Lets the sender know the term if it needs to. Returns whether the message still means something. */
  #answerLowerTerm(from: ServerId, message: Message): boolean {
    switch (message.type) {
      case 'vote':
        this.#refuseVote(from, message, false)
        return false
      case 'append':
      case 'snapshot':
        // Of no round: the sender may lead again in our term, and must not take this for an answer to a round of that.
        this.#outbox.sendAfterSave(from, this.#refusal(0, 0))
        return false
      case 'voteReply':
        // A refused pre-vote comes from a voter of any term.
        return message.pre && !message.granted
      case 'appendReply':
      case 'timeoutNow':
        return false
      default:
        return message satisfies never
    }
  }

  #becomeFollower(term: Term, leader: ServerId | '', now: Millis): void {
    const before = { role: this.#role, term: this.#term, leader: this.#leader }
    if (term > this.#term) {
      this.#term = term
      this.#vote = ''
      this.#outbox.dropAcknowledgements()
    }
    if (this.#leadership !== undefined) {
      this.#outbox.reads.push(
        ...this.#leadership.releaseReads(this.configuration, this.#log.commit),
        ...this.#leadership.abandonReads(),
      )
      this.#leadership = undefined
      if (before.term < term)
        this.#outbox.events.push({ type: 'stepDown', reason: `term ${term} has begun`, term: before.term })
    }
    // Only hearing a leader or giving a vote puts an election off: a hopeless candidate must not keep others from standing.
    if (before.role === 'leader') this.#electionDeadline = now + this.#electionTimeout()
    this.#role = 'follower'
    this.#leader = leader
    this.#votes.clear()
    if (before.role !== 'follower' || before.leader !== leader) this.#tellRole()
  }

  #stepDown(reason: string, now: Millis): void {
    this.#outbox.events.push({ type: 'stepDown', reason, term: this.#term })
    this.#becomeFollower(this.#term, '', now)
  }

  #tellRole(): void {
    this.#outbox.events.push({ type: 'role', role: this.#role, term: this.#term, leader: this.#leader })
  }

  #becomeLeader(now: Millis, granted: number): void {
    this.#outbox.events.push({ type: 'electionWon', term: this.#term, tally: granted })
    this.#role = 'leader'
    this.#leader = this.id
    this.#leadership = new Leadership(this.#options, this.#log.entries, this.#term, now)
    this.#leadership.follow(this.configuration, this.#log.configurations.latestIndex, now)
    this.#tellRole()
    // An entry of our own term, so that what older leaders left can be committed (§5.4.2, §8).
    this.#append('empty', new Uint8Array(0))
    this.#heartbeatDue = true
  }

  #electionTimeout(): Millis {
    return this.#options.random.between(this.#options.electionTimeoutMin, this.#options.electionTimeoutMax)
  }

  // --- elections

  /** A majority heard us, or we heard a leader, so lately that nobody else needs to lead. */
  #hearsLeader(now: Millis): boolean {
    return this.#leadership === undefined
      ? now < this.#votesFrom
      : this.quorumContact(now) < this.#options.electionTimeoutMin
  }

  /**
   * A voter of the latest configuration, or of an earlier one while the latest is not known to be committed: it may be
   * that only we have the entry that removes us, and that nobody can be elected without us (thesis §4.2.2, figure 4.6).
   */
  #mayStand(): boolean {
    if (this.#log.restoring !== undefined) return false
    return this.#log.configurations.possible.some((configuration) => votes(configuration, this.id))
  }

  /** Nobody else can be leading or standing: there is nobody to wait for. */
  #isAlone(): boolean {
    if (this.#role !== 'follower' || !votes(this.configuration, this.id)) return false
    const { possible } = this.#log.configurations
    return possible.every((configuration) => voters(configuration).every((id) => id === this.id))
  }

  #electionTimedOut(now: Millis): void {
    this.#electionDeadline = now + this.#electionTimeout()
    if (this.#leader !== '' || this.#mayStand())
      this.#outbox.events.push({ type: 'electionTimeout', lastLeader: this.#leader })
    if (this.#mayStand()) {
      this.#standPre(now)
    } else if (this.#leader !== '') {
      this.#leader = ''
      this.#tellRole()
    }
  }

  /** Asks whether an election could be won, without disturbing anybody (thesis §9.6). */
  #standPre(now: Millis): void {
    const changes = this.#role !== 'preCandidate'
    this.#role = 'preCandidate'
    this.#leader = ''
    this.#votes.clear()
    if (changes) this.#tellRole()
    this.#askForVotes({ pre: true, transfer: false })
    this.#countVote(this.id, true, now)
  }

  #stand(now: Millis, transfer: boolean): void {
    this.#term++
    this.#vote = this.id
    this.#role = 'candidate'
    this.#leader = ''
    this.#votes.clear()
    this.#votesFrom = now
    this.#electionDeadline = now + this.#electionTimeout()
    this.#tellRole()
    this.#askForVotes({ pre: false, transfer })
  }

  #askForVotes({ pre, transfer }: { pre: boolean; transfer: boolean }): void {
    const term = pre ? this.#term + 1 : this.#term
    const { lastIndex, lastTerm } = this.#log.entries
    for (const to of voters(this.configuration)) {
      if (to === this.id) continue
      const message: Message = { type: 'vote', term, pre, lastIndex, lastTerm, transfer }
      // After the save: a request that outlives our memory of it could get two votes out of us.
      if (pre) this.#outbox.send({ to, message })
      else this.#outbox.sendAfterSave(to, message)
    }
  }

  #onVote(from: ServerId, message: Of<'vote'>, now: Millis): void {
    const { lastIndex, lastTerm } = this.#log.entries
    const upToDate = message.lastTerm > lastTerm || (message.lastTerm === lastTerm && message.lastIndex >= lastIndex)
    const free = message.term > this.#term || this.#vote === from || (this.#vote === '' && this.#leader === '')
    if (!upToDate || !free) {
      this.#refuseVote(from, message, false)
      return
    }
    const { pre, term } = message
    const reply: Message = { type: 'voteReply', term, pre, granted: true, heardLeader: false }
    if (pre) {
      this.#outbox.send({ to: from, message: reply })
      return
    }
    this.#becomeFollower(term, '', now)
    this.#vote = from
    this.#electionDeadline = now + this.#electionTimeout()
    this.#outbox.sendAfterSave(from, reply)
  }

  #refuseVote(to: ServerId, { pre }: Of<'vote'>, heardLeader: boolean): void {
    const message: Message = { type: 'voteReply', term: this.#term, pre, granted: false, heardLeader }
    this.#outbox.sendAfterSave(to, message)
  }

  #onVoteReply(from: ServerId, message: Of<'voteReply'>, now: Millis): void {
    if (message.pre) {
      if (this.#role !== 'preCandidate') return
      // A grant of an older round of asking in this term is as good; one of another term is not.
      if (message.granted && message.term !== this.#term + 1) return
      if (message.heardLeader && this.quorumContact(now) < 2 * this.#options.electionTimeoutMax) {
        // It heard the leader that we just lost a message's way later: its patience is about to end too, so ask again
        // soon. If it goes on hearing one, that is somebody else's, and asking at leisure is enough.
        const soon = now + this.#options.heartbeatInterval * this.#options.random.between(1, 3)
        this.#electionDeadline = Math.min(this.#electionDeadline, soon)
      }
    } else if (this.#role !== 'candidate') {
      return
    }
    if (message.granted) this.#countVote(from, true, now)
    else if (!this.#votes.has(from)) this.#countVote(from, false, now)
  }

  #countVote(from: ServerId, granted: boolean, now: Millis): void {
    if (this.#votes.get(from) === granted) return
    this.#votes.set(from, granted)
    const { outcome, granted: count } = tally(this.configuration, this.#votes)
    if (granted && this.#role === 'candidate') {
      this.#outbox.events.push({ type: 'voteGranted', from, term: this.#term, tally: count })
    }
    if (outcome === 'won') {
      if (this.#role === 'preCandidate') this.#stand(now, false)
      else this.#becomeLeader(now, count)
    } else if (outcome === 'lost') {
      this.#becomeFollower(this.#term, '', now)
    }
  }

  #onTimeoutNow(now: Millis): void {
    if (this.#leadership !== undefined || !votes(this.configuration, this.id) || !this.#mayStand()) return
    // No pre-vote: the leader itself wants it, and the voters are told so.
    this.#stand(now, true)
  }

  // --- the log, as a follower

  #onAppend(from: ServerId, message: Of<'append'>, now: Millis): void {
    this.#hearLeader(from, now)
    const { round, previousIndex, previousTerm, entries } = message
    const verified = this.#log.merge(previousIndex, previousTerm, entries)
    if (verified === undefined) {
      this.#outbox.sendAfterSave(from, this.#refusal(round, previousIndex, previousTerm))
      return
    }
    // Only what this very message showed to be the leader's: our log may go on differently (§5.3, figure 2).
    this.#log.advanceCommit(Math.min(message.commit, verified))
    this.#acknowledge(from, message, verified)
  }

  #hearLeader(from: ServerId, now: Millis): void {
    assert(this.#role !== 'leader', `${from} claims to lead in term ${this.#term}, and so do we`)
    assert(
      this.#leader === '' || this.#leader === from,
      `${from} claims to lead in term ${this.#term}, and so does ${this.#leader}`,
    )
    if (this.#role !== 'follower' || this.#leader !== from) this.#becomeFollower(this.#term, from, now)
    this.#leaderHeardAt = now
    this.#votesFrom = now + this.#options.electionTimeoutMin
    this.#electionDeadline = now + this.#electionTimeout()
  }

  #acknowledge(to: ServerId, { round, entries }: { round: number; entries: readonly Entry[] }, verified: Index): void {
    const saved = Math.min(verified, this.#log.saves.savedIndex)
    if (this.#log.saves.isSaved(this.#hardState()) && (saved === verified || entries.length === 0)) {
      // It only told us of a commit: an answer would say nothing new.
      const { term, round: before, match } = this.#answered
      if (entries.length === 0 && term === this.#term && round <= before && saved <= match) return
      this.#answered = { term: this.#term, round, match: saved }
      // Rests on what is on disk already: it need not wait, and a slow disk does not look like a dead server.
      this.#outbox.send({ to, message: this.#acceptance(round, saved, verified) })
      return
    }
    this.#answered = { term: this.#term, round, match: verified }
    this.#outbox.acknowledgeAfterSave(to, this.#acceptance(round, verified, verified))
  }

  #acceptance(round: number, match: Index, verified: Index): Of<'appendReply'> {
    const term = this.#term
    return { type: 'appendReply', term, success: true, round, match, refused: 0, hintIndex: verified, hintTerm: 0 }
  }

  #refusal(round: number, refused: Index, refusedTerm: Term = 0): Message {
    const hint = this.#log.entries.meetingPoint(refused, refusedTerm)
    return {
      type: 'appendReply',
      term: this.#term,
      success: false,
      round,
      match: 0,
      refused,
      hintIndex: hint.index,
      hintTerm: hint.term,
    }
  }

  #onSnapshot(from: ServerId, { mark, round }: Of<'snapshot'>, now: Millis): void {
    this.#hearLeader(from, now)
    if (mark.index <= this.#log.commit) {
      this.#acknowledge(from, { round, entries: [] }, this.#log.commit)
    } else if (this.#log.install(mark)) {
      this.#acknowledge(from, { round, entries: [] }, mark.index)
    } else {
      // Not before the save, even if the disk is idle now: the Ready that brings the snapshot is still to come.
      this.#outbox.sendAfterSave(from, this.#acceptance(round, mark.index, mark.index))
    }
  }

  // --- the log, as the leader

  #onAppendReply(from: ServerId, message: Of<'appendReply'>, now: Millis): void {
    const outcome = this.#leadership?.answered(from, message, now)
    if (outcome === 'pipelining') this.#outbox.events.push({ type: 'pipelining', to: from })
    else if (outcome !== undefined)
      this.#outbox.events.push({ type: 'lostEntries', follower: from, acknowledged: outcome.lost })
    this.#advanceCommit()
  }

  #append(kind: EntryKind, data: Uint8Array): Entry {
    const entry: Entry = { index: this.lastIndex + 1, term: this.#term, kind, data }
    this.#log.append(entry)
    return entry
  }

  #advanceCommit(): void {
    const leadership = this.#leadership
    if (leadership === undefined) return
    const { entries, saves } = this.#log
    const replicated = leadership.replicated(this.configuration, saves.savedIndex)
    // Raft §5.4.2: an older term's entry may be on a majority and still be replaced (figure 8); it is committed only by
    // committing one of our own term after it.
    if (entries.termAt(replicated) === this.#term) this.#log.advanceCommit(replicated)
  }

  /** Our own removal, or the loss of our vote, is committed. */
  get #removed(): boolean {
    const { committed, committedIndex, latestIndex } = this.#log.configurations
    return this.#leadership !== undefined && committedIndex === latestIndex && !votes(committed, this.id)
  }

  /** Tells of the configurations in force and committed, when they are others than before. */
  #tellConfigurations(): void {
    const { latest, latestIndex, committed, committedIndex } = this.#log.configurations
    const tell = (configuration: Configuration, index: Index, isCommitted: boolean) =>
      this.#outbox.events.push({ type: 'configuration', configuration, index, committed: isCommitted })
    if (latest !== this.#told.latest && latest !== committed) tell(latest, latestIndex, false)
    if (committed !== this.#told.committed) tell(committed, committedIndex, true)
    this.#told = { latest, committed }
  }
}
