/**
 * What a server does for the agents that follow its log: their questions for what comes next wait here together. News wakes
 * all of them once a turn of the loop, however many entries it was, and those that are equally far get the same bytes. Only
 * what is committed is given, and to nobody who is of another history.
 */
import { Busy, NoLeader, Stopped } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Index, Millis, NodeId } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import type { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import type { Forward } from './forward.ts'
import type { FollowReply, FollowRequest } from './observer.ts'
import type { Packed, Peers } from './peers.ts'

export interface FollowersOptions {
  io: Pick<Io, 'clock' | 'turn'>
  self: NodeId
  deadlines: Deadlines
  peers: Pick<Peers, 'packed'>
  replica: Pick<Replica, 'status' | 'committedAfter'>
  following: Following
  forward: Pick<Forward, 'fresh'>
}

/** An answer has so many bytes of entries at most, or one entry: as much waits in memory for each who does not read. */
const answerBytesMax = 256 * 1024
const waitMax: Millis = 10_000
/** Woken in one turn of the loop. */
const wokenMax = 100
/** For so long an answer is true for another who asks the same, and what it says of the last contact is. */
const sharedMax: Millis = 5

export const notYet = 'this server is not part of a cluster yet'

export class Followers {
  readonly #options: FollowersOptions
  readonly #waiting = new Set<() => void>()
  #wakes = false
  #seen: { applied: Index; leader: NodeId | ''; cluster: string } = { applied: 0, leader: '', cluster: '' }
  #shared: { question: string; at: Millis; answer: Packed } | undefined

  constructor(options: FollowersOptions) {
    this.#options = options
    options.following.subscribe(() => this.#look())
  }

  /** How many wait for news. */
  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * A `FollowReply`, packed: at once when there are entries to give or another leader to name, otherwise when there are, or
   * after the time that the question allows. @throws NoLeader, Busy: ask another server; Stopped
   */
  async answer(request: FollowRequest): Promise<Packed> {
    const { io, deadlines, replica, following } = this.#options
    const { cluster, index } = request
    const until = io.clock.now() + Math.min(request.wait, waitMax)
    for (;;) {
      if (deadlines.stopped) throw new Stopped()
      // A server that was just taken in has nothing yet, and must not give that for the state.
      if (following.cluster === '') throw new NoLeader(notYet)
      if (cluster !== '' && cluster !== following.cluster) return this.#packed(undefined)
      const over = io.clock.now() >= until
      if (index > replica.status.applied && cluster === following.cluster) {
        // We are behind somebody who was ahead of us: usually for a moment.
        if (over) {
          await this.#behind()
          if (index > replica.status.applied) return this.#packed(undefined)
          continue
        }
      } else {
        const found = this.#found(request, over)
        if (found !== undefined) return found
      }
      await this.#news(until)
    }
  }

  #found({ index, term, leader }: FollowRequest, over: boolean): Packed | undefined {
    const { io, replica, following } = this.#options
    const question = `${index} ${term} ${replica.status.applied} ${following.leader} ${following.cluster}`
    const now = io.clock.now()
    if (this.#shared?.question === question && now - this.#shared.at <= sharedMax) {
      if (index < replica.status.applied || following.leader !== leader || over) return this.#shared.answer
    }
    const found = replica.committedAfter(index, term, answerBytesMax)
    if (found === undefined) return this.#packed(undefined)
    if (found.entries.length === 0 && following.leader === leader && !over) return undefined
    const answer = this.#packed(
      found.entries.map((entry) => ({
        index: entry.index,
        term: entry.term,
        data: entry.kind === 'command' ? entry.data : undefined,
      })),
    )
    this.#shared = { question, at: now, answer }
    return answer
  }

  #packed(entries: FollowReply['entries']): Packed {
    const { following, replica, peers } = this.#options
    const { cluster, leader, lastContact } = following
    const { leaderAddress } = replica.status
    return peers.packed({ cluster, leader, leaderAddress, peers: following.peers, lastContact, entries })
  }

  /**
   * What was committed is on a majority, so an observer is never ahead of the cluster, only of one server; it is better
   * served by another. Unless this one votes, and has just become as new as a quorum says that the cluster is: if it is behind
   * even so, the log itself has gone back, because somebody restored an old disk, and the observer must follow. To follow a
   * leader is not enough: one that was elected a moment ago does not know yet how much is committed.
   */
  async #behind(): Promise<void> {
    const { self, replica, following, forward } = this.#options
    const votes = replica.status.configuration.servers.some(({ id, voter }) => id === self && voter)
    if (!votes || following.leader === '') throw new Busy('this server has not caught up; ask another one')
    await forward.fresh(true)
  }

  #news(until: Millis): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        cancel()
        this.#waiting.delete(done)
        resolve()
      }
      const cancel = this.#options.deadlines.at(until, done)
      this.#waiting.add(done)
    })
  }

  /** The replica tells more than anybody here waits for. */
  #look(): void {
    const { applied, leader, cluster } = this.#options.following
    const seen = this.#seen
    if (applied === seen.applied && leader === seen.leader && cluster === seen.cluster) return
    this.#seen = { applied, leader, cluster }
    if (this.#wakes || this.#waiting.size === 0) return
    this.#wakes = true
    void this.#wake()
  }

  async #wake(): Promise<void> {
    const { io } = this.#options
    await io.turn()
    // What comes from now on wakes again, also those who were woken in between and wait anew.
    this.#wakes = false
    const woken = [...this.#waiting]
    for (let at = 0; at < woken.length; at += wokenMax) {
      if (at > 0) await io.turn()
      for (const wake of woken.slice(at, at + wokenMax)) wake()
    }
  }
}
