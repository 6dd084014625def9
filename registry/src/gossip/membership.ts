/**
 * What we hold of everybody: hears news, judges it by the precedence rule, keeps the table and the suspicions, passes on
 * what was new and reports what changed. Says of ourselves only what is true, and overrules whoever says otherwise.
 */
import { addressText } from '../io/address.ts'
import type { Random } from '../io/random.ts'
import type { Address, Member, Millis } from '../model.ts'
import type { Awareness } from './awareness.ts'
import { Broadcasts } from './broadcasts.ts'
import { type GossipConfig, suspicionTimeout, transmitLimit } from './config.ts'
import type { Events } from './events.ts'
import { isNewer, overruling } from './incarnation.ts'
import { type Entry, isLive, Members, sameAddress, sameTags, verdict } from './members.ts'
import { encodeMessage, type News, type Standing, type StateRecord } from './message.ts'
import type { Repeats } from './repeats.ts'
import { Suspicion } from './suspicion.ts'

/** What news did to a member: it takes part for the first time or after it left, or again after it had failed. */
export type Arrival = 'joined' | 'returned'

/** A claim on a name that somebody else still holds is good for this long after it was heard. */
const claimLasts: Millis = 60_000

type AliveNews = News & { type: 'alive' }
type BadNews = Exclude<News, { type: 'alive' }>

export class Membership {
  readonly members = new Members()
  readonly #broadcasts = new Broadcasts()
  readonly #suspicions = new Map<string, Suspicion>()
  /** Nothing is to be done about any suspicion before this. */
  #nextDeadline: Millis = Number.POSITIVE_INFINITY
  /** Who wants a name that is taken, for the case that its holder turns out to be dead. */
  readonly #claims = new Map<string, { news: AliveNews; until: Millis }>()
  readonly #name: string
  readonly #config: GossipConfig
  readonly #awareness: Awareness
  readonly #events: Events
  readonly #random: Random
  readonly #repeats: Repeats
  readonly #allow: (name: string, tags: Record<string, string>) => string | undefined
  #leaving = false

  constructor(
    self: { name: string; address: Address; tags: Record<string, string>; incarnation: number },
    options: {
      config: GossipConfig
      awareness: Awareness
      events: Events
      random: Random
      repeats: Repeats
      allow: (name: string, tags: Record<string, string>) => string | undefined
    },
    now: Millis,
  ) {
    this.#name = self.name
    this.#config = options.config
    this.#awareness = options.awareness
    this.#events = options.events
    this.#random = options.random
    this.#repeats = options.repeats
    this.#allow = options.allow
    const { member } = this.members.set({ ...self, tags: { ...self.tags } }, 'alive', now)
    this.#events.push({ type: 'join', member })
    this.#broadcastSelf()
  }

  get own(): Entry {
    return this.members.entry(this.#name) as Entry
  }

  /** Up to `count` others at random that are as wanted. */
  pick(count: number, wanted: (entry: Entry) => boolean): Member[] {
    return this.members.pick(count, (entry) => wanted(entry) && entry.member.name !== this.#name, this.#random)
  }

  /** Who first suspected the member, '' when nobody does. */
  accuser(name: string): string {
    return this.#suspicions.get(name)?.from ?? ''
  }

  /** How many pieces of news wait to be spread. */
  get queued(): number {
    return this.#broadcasts.size
  }

  /** Encoded news of at most `room` bytes, counted as sent once. */
  takeNews(room: number): Uint8Array[] {
    return this.#broadcasts.take(room, transmitLimit(this.#config.retransmitMult, this.members.live))
  }

  /** Lifeguard's buddy system: whoever we talk to hears first what we think of it, if that is not good. */
  badNews(name: string): Uint8Array[] {
    const entry = this.members.entry(name)
    if (entry === undefined || entry.standing === 'alive' || name === this.#name) return []
    const from = this.#suspicions.get(name)?.from ?? this.#name
    return [encodeMessage({ type: entry.standing, name, incarnation: entry.member.incarnation, from })]
  }

  setTags(tags: Record<string, string>): void {
    const { member, since } = this.own
    const incarnation = overruling(member.incarnation, member.incarnation) as number
    const own = this.members.set({ ...member, tags: { ...tags }, incarnation }, 'alive', since)
    this.#events.push({ type: 'update', member: own.member })
    this.#broadcastSelf()
  }

  /** Says that we go, and from now on no longer that we are alive. Returns what to tell. */
  leave(now: Millis): News {
    const { member } = this.own
    this.#leaving = true
    const left = this.members.set(member, 'left', now, 'leaving')
    this.#events.push({ type: 'leave', member: left.member })
    const news: News = { type: 'left', name: this.#name, incarnation: member.incarnation, from: this.#name }
    this.#broadcast(news)
    return news
  }

  left(): void {
    this.members.set(this.own.member, 'left', this.own.since)
    this.#events.push({ type: 'left' })
  }

  /**
   * Whoever was suspected for long enough has failed. `joined`: those whose place somebody else took at once. `ask`: whoever
   * is about to fail, and is to be asked whether it does.
   */
  tick(now: Millis): { joined: string[]; ask: Member[] } {
    const joined: string[] = []
    const ask: Member[] = []
    if (now < this.#nextDeadline) return { joined, ask }
    this.#nextDeadline = Number.POSITIVE_INFINITY
    for (const [name, suspicion] of this.#suspicions) {
      const { member } = this.members.entry(name) as Entry
      const due = suspicion.due(now)
      if (due === 'over') {
        const { incarnation } = member
        if (this.hear({ type: 'failed', name, incarnation, from: this.#name }, now) !== undefined) joined.push(name)
        continue
      }
      if (due === 'ask') ask.push(member)
      this.#nextDeadline = Math.min(this.#nextDeadline, suspicion.next)
    }
    return { joined, ask }
  }

  /** Forgets those that failed or left long ago. */
  reap(now: Millis): void {
    for (const [name, { until }] of this.#claims) if (now >= until) this.#claims.delete(name)
    for (const { member, standing, since } of [...this.members.entries()]) {
      if (standing === 'alive' || standing === 'suspect' || member.name === this.#name) continue
      if (now - since < this.#reapTimeout(standing)) continue
      this.members.remove(member.name)
      this.#repeats.forget()
      if (standing !== 'pruned') this.#events.push({ type: 'reap', member })
    }
  }

  /** One piece of news, from anywhere. */
  hear(news: News, now: Millis): Arrival | undefined {
    if (news.name === this.#name) {
      this.#hearOfSelf(news, now)
      return undefined
    }
    if (news.type === 'alive') {
      const reason = this.#allow(news.name, news.tags)
      if (reason !== undefined) {
        this.#events.warn(`ignored ${news.name} at ${addressText(news.address)}: ${reason}`, now)
        return undefined
      }
    }
    const known = this.members.entry(news.name)
    switch (verdict(known, news)) {
      case 'stale':
        // Next time it may be no longer.
        if (known === undefined || isNewer(news.incarnation, known.member.incarnation)) this.#repeats.forget()
        if (known !== undefined) this.#contradict(known, news)
        return undefined
      case 'conflict':
        this.#repeats.forget()
        if (news.type === 'alive' && known !== undefined) {
          this.#claims.set(news.name, { news, until: now + claimLasts })
          this.#conflict(known.member, news, now)
        }
        return undefined
      case 'confirm':
        if (news.type === 'suspect') this.#confirm(news)
        return undefined
      case 'take':
        if (known === undefined && this.#full(now)) return undefined
        if (news.type === 'alive') return this.#takeAlive(known, news, now)
        this.#takeDown(known as Entry, news, now)
        return news.type === 'suspect' ? undefined : this.#giveUpName(news.name, now)
    }
  }

  /** One record of `from`'s table, as news. Returns what `hear` does. */
  merge(record: StateRecord, from: string, now: Millis): Arrival | undefined {
    const { standing, name, incarnation, address, tags } = record
    const known = this.members.entry(name)
    const alive: News = { type: 'alive', name, incarnation, address, tags }
    if (standing === 'alive') return this.hear(alive, now)
    if (standing === 'suspect') {
      const joined = this.hear(alive, now)
      this.hear({ type: 'suspect', name, incarnation, from: record.from === '' ? from : record.from }, now)
      return joined
    }
    if (known === undefined && name !== this.#name) {
      this.#learnGone(record, now)
    } else if (standing === 'failed' && known !== undefined && isLive(known) && name !== this.#name) {
      // memberlist: an obituary that we did not hear when it was news is only a suspicion to us; a member that is
      // alive after all thus gets the time to say so.
      this.hear(alive, now)
      this.hear({ type: 'suspect', name, incarnation, from }, now)
    } else {
      return this.hear({ type: standing, name, incarnation, from }, now)
    }
    return undefined
  }

  /**
   * A member that was gone before we came. The failed we must know, to try them again and because the catalog may hold
   * them; those that left, so that nobody who missed their leaving makes us believe that they failed. But who is about to
   * be forgotten elsewhere must not be kept by us, hence not in the last tenth of its time.
   */
  #learnGone(record: StateRecord, now: Millis): void {
    if (record.age >= 0.9 * this.#reapTimeout(record.standing) || this.#full(now)) return
    if (this.#allow(record.name, record.tags) !== undefined) return
    const { member } = this.members.set(record, record.standing, now - record.age)
    if (record.standing === 'failed') this.#events.push({ type: 'failed', member })
  }

  #full(now: Millis): boolean {
    const { membersMax } = this.#config
    if (this.members.size < membersMax) return false
    this.#repeats.forget()
    this.#events.warn(`there are ${membersMax} members already; whoever else comes is not taken in`, now)
    return true
  }

  #takeAlive(known: Entry | undefined, news: AliveNews, now: Millis): Arrival | undefined {
    const { name, address, tags, incarnation } = news
    const since = known?.standing === 'alive' ? known.since : now
    const { member } = this.members.set({ name, address, tags, incarnation }, 'alive', since)
    this.#suspicions.delete(name)
    this.#broadcast(news)
    if (known === undefined || !isLive(known)) {
      this.#events.push({ type: 'join', member })
      return known?.standing === 'failed' ? 'returned' : 'joined'
    }
    if (known.standing === 'suspect') this.#events.push({ type: 'refuted', name, incarnation })
    if (!sameTags(known.member.tags, tags) || !sameAddress(known.member.address, address)) {
      this.#events.push({ type: 'update', member })
    }
    return undefined
  }

  /** The name is free: whoever claimed it lately, most likely the same process at a new address, need not say so again. */
  #giveUpName(name: string, now: Millis): Arrival | undefined {
    const claim = this.#claims.get(name)
    this.#claims.delete(name)
    return claim !== undefined && now < claim.until ? this.hear(claim.news, now) : undefined
  }

  /** Who has not heard that a member left may believe for long that it failed: our news has gone round before it was heard. */
  #contradict(known: Entry, news: News): void {
    const { member, standing } = known
    const { name, address, incarnation, tags } = member
    if (isLive(known) && news.type === 'alive' && news.tags.id !== tags.id && !this.#broadcasts.has(name)) {
      // A new process in the old one's place that got on with less than we know of the old one: told, it overrules us.
      this.#broadcast({ type: 'alive', name, incarnation, address, tags })
    }
    if ((standing !== 'left' && standing !== 'pruned') || news.type === 'left' || news.type === 'pruned') return
    if (isNewer(news.incarnation, incarnation) || this.#broadcasts.has(name)) return
    this.#broadcast({ type: standing, name, incarnation, from: this.#name })
  }

  #takeDown(known: Entry, news: BadNews, now: Millis): void {
    const again = known.standing === news.type
    const updated = { ...known.member, incarnation: news.incarnation }
    const { member } = this.members.set(updated, news.type, again ? known.since : now)
    this.#suspicions.delete(news.name)
    this.#broadcast(news)
    if (news.type === 'suspect') {
      this.#suspect(news, now)
      if (!again) this.#events.push({ type: 'suspect', name: news.name, from: news.from })
    } else if (news.type === 'failed') {
      if (!again) this.#events.push({ type: 'failed', member })
    } else {
      const gone = known.standing === 'left' || known.standing === 'pruned'
      if (!gone) this.#events.push({ type: 'leave', member })
      if (news.type === 'pruned' && !again) this.#events.push({ type: 'reap', member })
    }
  }

  #suspect(news: BadNews, now: Millis): void {
    const live = this.members.live
    const min = suspicionTimeout(this.#config, live)
    const max = min * this.#config.suspicionMaxTimeoutMult
    // Only others than the suspect and its accuser can confirm; where there are not enough of them, there is nothing
    // to wait for (memberlist).
    const wanted = this.#config.suspicionMult - 2
    const { probeInterval, probeTimeout } = this.#config
    const ask = { before: Math.min(3 * probeInterval, min), every: probeTimeout, atLeast: probeInterval }
    const options = { from: news.from, wanted: live - 2 >= wanted ? wanted : 0, min, max, ask }
    const suspicion = new Suspicion(options, now)
    this.#suspicions.set(news.name, suspicion)
    this.#nextDeadline = Math.min(this.#nextDeadline, suspicion.next)
  }

  #confirm(news: BadNews): void {
    const suspicion = this.#suspicions.get(news.name)
    if (suspicion === undefined || !suspicion.confirm(news.from)) return
    this.#nextDeadline = Math.min(this.#nextDeadline, suspicion.next)
    this.#broadcast(news)
  }

  /** Nobody but we can say how we are: what is not true is overruled by a higher incarnation (SWIM §4.2). */
  #hearOfSelf(news: News, now: Millis): void {
    if (this.#leaving) return
    const { member } = this.own
    const incarnation = overruling(member.incarnation, news.incarnation)
    if (news.type === 'alive') {
      const elsewhere = !sameAddress(news.address, member.address)
      if (elsewhere && news.tags.id !== member.tags.id) {
        this.#conflict(member, news, now)
      } else if (
        incarnation !== undefined &&
        (news.incarnation !== member.incarnation || elsewhere || !sameTags(news.tags, member.tags))
      ) {
        // Our former life, which got further than we have, or as far but said something else.
        this.#speakUp(incarnation)
      }
    } else if (incarnation !== undefined) {
      // That others could not reach us may well be our own slowness (Lifeguard).
      if (news.type === 'suspect' || news.type === 'failed') this.#awareness.change(1)
      this.#speakUp(incarnation)
      this.#events.push({ type: 'refuted', name: this.#name, incarnation })
    } else if (!this.#broadcasts.has(this.#name)) {
      // Whoever says so has not heard of us as we are now, and our own news may have gone round before it could be
      // accepted (while our former life at another address was not yet known to be over).
      this.#broadcastSelf()
    }
  }

  #speakUp(incarnation: number): void {
    this.members.set({ ...this.own.member, incarnation }, 'alive', this.own.since)
    this.#broadcastSelf()
  }

  #reapTimeout(standing: Standing): Millis {
    return standing === 'failed' ? this.#config.failedReapTimeout : this.#config.leftReapTimeout
  }

  #conflict(member: Member, news: AliveNews, now: Millis): void {
    const ours = { address: member.address, id: member.tags.id ?? '' }
    const other = { address: news.address, id: news.tags.id ?? '' }
    const key = `conflict ${member.name} ${other.address.host} ${other.address.port} ${other.id}`
    this.#events.pushOnce(key, { type: 'conflict', name: member.name, ours, other }, now)
  }

  #broadcast(news: News): void {
    this.#broadcasts.queue(news.name, encodeMessage(news))
  }

  #broadcastSelf(): void {
    const { name, address, tags, incarnation } = this.own.member
    this.#broadcast({ type: 'alive', name, address, tags, incarnation })
  }
}
