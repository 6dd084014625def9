/**
 * The member table and the one precedence rule: which news about a member replaces what is known. Everything that
 * arrives, by gossip or by state exchange, is judged by `verdict` and by nothing else; what the order of arrival hides
 * from one member (an obituary before the introduction) the next state exchange mends. Our own entry is here too, but
 * only `Gossip` changes it.
 */
import type { Random } from '../io/random.ts'
import type { Address, Member, MemberStatus, Millis } from '../model.ts'
import { combined, type Hash, hashOf, nothing } from './digest.ts'
import { isNewer } from './incarnation.ts'
import type { News, Standing } from './message.ts'

/** A member as the table keeps it. Entries and the members in them are replaced, never changed. */
export interface Entry {
  readonly member: Member
  readonly standing: Standing
  /** Since when it has been in this standing. */
  readonly since: Millis
  /** Its row in the digest of the table. */
  readonly hash: Hash
}

/**
 * take: it is newer than what we know. stale: it is not. confirm: another voice for a suspicion we hold at that
 * incarnation. conflict: a second live process claims the name.
 */
export type Verdict = 'take' | 'stale' | 'confirm' | 'conflict'

/** At the same incarnation the later standing wins: a member overrules what others say of it only by a higher one. */
const rank: Record<Standing, number> = { alive: 0, suspect: 1, failed: 2, left: 3, pruned: 4 }

/**
 * The precedence rule (SWIM §4.2, with Serf's leaving and memberlist's dead reclaim).
 *
 * - A higher incarnation wins; at the same one, alive < suspect < failed < left < pruned.
 * - Nobody is introduced by a suspicion or by an obituary in the gossip: they carry no address.
 * - A suspicion never brings back who has failed or left: only alive does.
 * - A name stays with its address while the member is alive or suspect. Alive news from another address waits until
 *   the old one has failed or left; then a higher incarnation takes the name over, whatever its id. Another id at the
 *   same address replaces at once: two processes cannot listen there, so the older one is gone.
 */
export function verdict(known: Entry | undefined, news: News): Verdict {
  if (known === undefined) return news.type === 'alive' ? 'take' : 'stale'
  const { member, standing } = known
  const live = standing === 'alive' || standing === 'suspect'
  if (news.type === 'alive' && live && !sameAddress(member.address, news.address)) {
    // An old echo of the same process, from before it moved, is no second process.
    const echo = isNewer(member.incarnation, news.incarnation) && member.tags.id === news.tags.id
    return echo ? 'stale' : 'conflict'
  }
  if (news.incarnation === member.incarnation) {
    if (rank[news.type] > rank[standing]) return 'take'
    return news.type === 'suspect' && standing === 'suspect' ? 'confirm' : 'stale'
  }
  if (!isNewer(news.incarnation, member.incarnation)) return 'stale'
  return news.type === 'suspect' && !live ? 'stale' : 'take'
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.host === b.host && a.port === b.port
}

export function sameTags(a: Record<string, string>, b: Record<string, string>): boolean {
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key])
}

const statusOf: Record<Standing, MemberStatus> = {
  alive: 'alive',
  suspect: 'suspect',
  failed: 'failed',
  left: 'left',
  pruned: 'left',
}

/** In pools smaller than this everybody is looked at. */
const guessingMin = 16

export class Members {
  readonly #entries = new Map<string, Entry>()
  /** Every name in `#entries`, for picking at random. */
  readonly #names: string[] = []
  readonly #counts: Record<Standing, number> = { alive: 0, suspect: 0, failed: 0, left: 0, pruned: 0 }
  #sorted: Member[] | undefined
  #digest: Hash = nothing

  /** Members that take part: alive or suspect, ourselves included. What time-outs and retransmits scale with. */
  get live(): number {
    return this.#counts.alive + this.#counts.suspect
  }

  /** Equal for tables that say the same, whatever the order in which they learned it. */
  get digest(): Hash {
    return this.#digest
  }

  count(standing: Standing): number {
    return this.#counts[standing]
  }

  get size(): number {
    return this.#names.length
  }

  /** Pruned ones too: their entry is the memory that they are not to come back. */
  entry(name: string): Entry | undefined {
    return this.#entries.get(name)
  }

  entries(): IterableIterator<Entry> {
    return this.#entries.values()
  }

  /** All that are not pruned, in name order (by UTF-16 units). */
  list(): readonly Member[] {
    this.#sorted ??= [...this.#entries.values()]
      .filter((entry) => entry.standing !== 'pruned')
      .map((entry) => entry.member)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
    return this.#sorted
  }

  /** Puts the member there, in place of what was; its status follows from the standing unless given. */
  set(
    member: Omit<Member, 'status'>,
    standing: Standing,
    since: Millis,
    status: MemberStatus = statusOf[standing],
  ): Entry {
    const { name, address, tags, incarnation } = member
    const hash = rowHash(member, standing)
    const entry: Entry = { member: { name, address, status, tags, incarnation }, standing, since, hash }
    this.put(entry)
    return entry
  }

  put(entry: Entry): void {
    const { name } = entry.member
    const known = this.#entries.get(name)
    if (known === undefined) this.#names.push(name)
    else this.#forget(known)
    this.#entries.set(name, entry)
    this.#counts[entry.standing]++
    this.#digest = combined(this.#digest, entry.hash)
    this.#sorted = undefined
  }

  /** Up to `count` different members that are as wanted, each with the same chance. Quick while most are. */
  pick(count: number, wanted: (entry: Entry) => boolean, random: Random): Member[] {
    const picked: Member[] = []
    const look = (name: string) => {
      const entry = this.#entries.get(name) as Entry
      if (wanted(entry) && !picked.includes(entry.member)) picked.push(entry.member)
    }
    if (this.#names.length >= guessingMin) {
      for (let guess = 0; guess < 4 * count && picked.length < count; guess++) look(random.pick(this.#names) as string)
    }
    if (picked.length === count) return picked
    for (const name of random.shuffle(this.#names)) {
      if (picked.length === count) break
      look(name)
    }
    return picked
  }

  remove(name: string): void {
    const known = this.#entries.get(name)
    if (known === undefined) return
    this.#forget(known)
    this.#entries.delete(name)
    this.#names[this.#names.indexOf(name)] = this.#names.at(-1) as string
    this.#names.pop()
    this.#sorted = undefined
  }

  #forget(known: Entry): void {
    this.#counts[known.standing]--
    this.#digest = combined(this.#digest, known.hash)
  }
}

/** Alive or suspect: it is probed, gossiped to, and asked for state. */
export function isLive(entry: Entry): boolean {
  return entry.standing === 'alive' || entry.standing === 'suspect'
}

/** What must be the same for two tables to say the same of a member. */
function rowHash({ name, address, tags, incarnation }: Omit<Member, 'status'>, standing: Standing): Hash {
  // Who is gone left with whatever was last known of it, which may not be the same everywhere.
  if (standing !== 'alive' && standing !== 'suspect') return hashOf([standing, incarnation, name])
  const sorted = Object.keys(tags).sort()
  // A suspicion passes within a minute, and is news of its own.
  return hashOf([
    'alive',
    incarnation,
    name,
    address.host,
    address.port,
    ...sorted.flatMap((key) => [key, tags[key] ?? '']),
  ])
}
