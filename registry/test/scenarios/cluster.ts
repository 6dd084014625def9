/**
 * A few Raft cores with everything between them in the hands of a test: which message arrives, which save ends, whose
 * clock ticks. Nothing happens by itself; what was sent waits on the wire until it is delivered, dropped or cut off.
 */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import type { Index, Millis } from '../../src/model.ts'
import { decodeMessage, encodeMessage } from '../../src/raft/codec.ts'
import type {
  Entry,
  HardState,
  Message,
  RaftEvent,
  ReadState,
  Ready,
  SavePoint,
  ServerId,
  SnapshotMark,
} from '../../src/raft/message.ts'
import { Raft, type RaftOptions, raftOptionsDefault } from '../../src/raft/raft.ts'

export interface Sent {
  from: ServerId
  to: ServerId
  message: Message
}

/** One server: a core, a disk, and what its replica would have done. */
export interface Host {
  id: ServerId
  raft: Raft
  up: boolean
  disk: { hardState: HardState; snapshot: SnapshotMark | undefined; entries: Entry[] }
  /** Saves end only when the test says so. */
  slowDisk: boolean
  saving: Ready[]
  /** Commands in the order they were applied. */
  applied: string[]
  reads: ReadState[]
}

export class Cluster {
  now: Millis = 0
  readonly hosts = new Map<ServerId, Host>()
  /** In flight, oldest first. */
  wire: Sent[] = []
  /** Kept back, oldest first. */
  #held: Sent[] = []
  /** What is worth telling since the last `told()`. */
  #transcript: string[] = []
  readonly #cut = new Set<string>()
  readonly #options: Partial<RaftOptions>

  /** @param ids empty servers that know of nobody. */
  constructor(ids: readonly ServerId[], options: Partial<RaftOptions> = {}) {
    this.#options = options
    for (const id of ids) this.add(id)
  }

  /** `voters` of one cluster, the first of which is their leader and has told the others so. */
  static led(
    voters: readonly ServerId[],
    others: readonly ServerId[] = [],
    options: Partial<RaftOptions> = {},
  ): Cluster {
    const cluster = new Cluster([...voters, ...others], options)
    cluster.bootstrap(voters)
    cluster.elect(voters[0] as ServerId)
    cluster.settle(200)
    cluster.told()
    return cluster
  }

  add(id: ServerId): Host {
    const disk = { hardState: { term: 0, vote: '' }, snapshot: undefined, entries: [] }
    const raft = this.#core(id, disk)
    const host: Host = { id, raft, up: true, disk, slowDisk: false, saving: [], applied: [], reads: [] }
    this.hosts.set(id, host)
    return host
  }

  #core(id: ServerId, disk: Host['disk']): Raft {
    // Seeds differ, so that elections do not tie for ever.
    const random = new Random(id.charCodeAt(0))
    const restored = { ...disk, entries: disk.entries.slice() }
    return new Raft({ id, random, ...raftOptionsDefault, ...this.#options }, restored, this.now)
  }

  host(id: ServerId): Host {
    const host = this.hosts.get(id)
    assert(host !== undefined, `there is no server ${id}`)
    return host
  }
  raft(id: ServerId): Raft {
    return this.host(id).raft
  }
  get leaders(): ServerId[] {
    return [...this.hosts.values()].filter(({ up, raft }) => up && raft.role === 'leader').map(({ id }) => id)
  }

  /** The first of `voters` learns who the voters are; the others learn it from the leader. */
  bootstrap(voters: readonly ServerId[]): void {
    const first = voters[0] as ServerId
    const servers = voters.map((id) => ({ id, address: `${id}:8300`, voter: true }))
    this.act(first, (raft) => raft.bootstrap({ cluster: 'test', servers }))
  }

  /** Does something to one core, then lets its replica take what is ready. */
  act<T>(id: ServerId, action: (raft: Raft) => T): T {
    const host = this.host(id)
    assert(host.up, `server ${id} is down`)
    const result = action(host.raft)
    this.#turn(host)
    return result
  }

  #turn(host: Host): void {
    const { raft } = host
    for (let ready = raft.ready(this.now); ready !== undefined; ready = raft.ready(this.now)) {
      for (const event of ready.events) this.#tell(describeEvent(host.id, event))
      this.#post(host.id, ready.messages)
      if (ready.save !== undefined) host.saving.push(ready)
      if (ready.snapshot !== undefined) {
        host.applied = [`(snapshot at ${ready.snapshot.index})`]
        this.#tell(`${host.id} restores the snapshot at ${ready.snapshot.index}`)
      }
      for (const entry of ready.committed) {
        if (entry.kind === 'command') host.applied.push(Buffer.from(entry.data).toString())
      }
      if (ready.committed.length > 0) this.#tell(`${host.id} applies ${describeEntries(ready.committed)}`)
      for (const { id, index } of ready.reads)
        this.#tell(`${host.id} read ${id} ${index === undefined ? 'fails' : `at ${index}`}`)
      host.reads.push(...ready.reads)
      if (!host.slowDisk) this.save(host.id)
    }
  }

  /** Everything that waits for the disk of `id` is on it now. */
  save(id: ServerId): void {
    const host = this.host(id)
    for (let ready = host.saving.shift(); ready !== undefined; ready = host.saving.shift()) {
      write(host.disk, ready)
      host.raft.saved(ready.save as SavePoint)
      this.#post(id, ready.afterSave)
    }
    this.#turn(host)
  }

  #post(from: ServerId, envelopes: readonly { to: ServerId; message: Message }[]): void {
    for (const { to, message } of envelopes) this.wire.push({ from, to, message })
  }

  /** Only the clock and the core of `id` move on, in steps of a tick. */
  tick(id: ServerId, duration: Millis, until: (raft: Raft) => boolean = () => false): void {
    const end = this.now + duration
    while (this.now < end && !until(this.raft(id))) {
      this.now += 100
      this.act(id, (raft) => raft.tick(this.now))
    }
  }

  /** Time passes for all, and what is sent arrives. */
  settle(duration: Millis): void {
    const end = this.now + duration
    for (;;) {
      this.deliver(
        () => true,
        () => {},
      )
      if (this.now >= end) return
      this.now += 100
      for (const { id, up } of this.hosts.values()) if (up) this.act(id, (raft) => raft.tick(this.now))
    }
  }

  /** `id` alone loses patience, and wins. */
  elect(id: ServerId): void {
    // Whoever heard a leader lately must have forgotten it.
    this.tick(id, 10_000, (raft) => raft.role !== 'follower' && raft.role !== 'leader')
    for (let attempt = 0; attempt < 20 && this.raft(id).role !== 'leader'; attempt++) {
      this.deliver()
      if (this.raft(id).role !== 'leader') this.tick(id, 100)
    }
    assert.equal(this.raft(id).role, 'leader', `${id} did not win`)
  }

  /** Brings what is on the wire, and what that leads to, until nothing that may pass is left. */
  deliver(passes: (sent: Sent) => boolean = () => true, heard: (sent: Sent) => void = () => {}): number {
    let count = 0
    for (;;) {
      const at = this.wire.findIndex(passes)
      const [sent] = at < 0 ? [] : this.wire.splice(at, 1)
      if (sent === undefined) return count
      assert(++count < 10_000, 'the servers do not come to rest')
      this.#arrive(sent, heard)
    }
  }

  #arrive(sent: Sent, heard: (sent: Sent) => void): void {
    const { from, to, message } = sent
    const target = this.hosts.get(to)
    if (this.#cut.has(`${from}>${to}`) || target === undefined || !target.up) return
    heard(sent)
    if (message.type === 'snapshot') {
      // The replica brings whatever it has at that time.
      const mark = this.host(from).disk.snapshot as SnapshotMark
      this.act(to, (raft) => raft.step(from, { ...message, mark }, this.now))
      if (this.host(from).up) this.act(from, (raft) => raft.snapshotSent(to, true, message.mark))
      return
    }
    const decoded = decodeMessage(encodeMessage(from, message))
    this.act(to, (raft) => raft.step(decoded.from, decoded.message, this.now))
  }

  /** Loses what is on the wire. */
  drop(lost: (sent: Sent) => boolean = () => true): Sent[] {
    const dropped = this.wire.filter(lost)
    this.wire = this.wire.filter((sent) => !lost(sent))
    return dropped
  }

  /** Takes messages off the wire, to come later than everything else. */
  hold(late: (sent: Sent) => boolean): void {
    this.#held.push(...this.drop(late))
  }

  release(): void {
    this.wire.push(...this.#held)
    this.#held = []
  }

  /** The network brings messages once more than they were sent. */
  repeat(twice: (sent: Sent) => boolean): void {
    this.wire.push(...this.wire.filter(twice))
  }

  /** Nothing arrives on these links, `a>b`, any more. */
  cut(...links: string[]): void {
    for (const link of links) this.#cut.add(link)
  }

  /** Nothing passes between these and all others, in either direction. */
  isolate(...ids: ServerId[]): void {
    for (const one of ids) {
      for (const other of this.hosts.keys()) {
        if (!ids.includes(other)) this.#cut.add(`${one}>${other}`).add(`${other}>${one}`)
      }
    }
  }

  heal(): void {
    this.#cut.clear()
  }

  /** What was not saved is lost, and so is what was on the way to it. */
  crash(id: ServerId): void {
    const host = this.host(id)
    host.up = false
    host.saving = []
    host.applied = []
    this.drop(({ to }) => to === id)
  }

  restart(id: ServerId): void {
    const host = this.host(id)
    if (host.up) this.crash(id)
    host.raft = this.#core(id, host.disk)
    host.up = true
    this.#turn(host)
  }

  propose(id: ServerId, ...commands: string[]): Index | undefined {
    return this.act(id, (raft) => raft.propose(commands.map((command) => new TextEncoder().encode(command))))
  }

  /** A snapshot of what `id` has applied; all but the last `keep` entries are dropped from its log. */
  snapshot(id: ServerId, keep = 0): SnapshotMark {
    const { raft, disk } = this.host(id)
    const mark = raft.markAt(raft.commit)
    disk.entries = disk.entries.filter(({ index }) => index > mark.index)
    disk.snapshot = mark
    raft.compact(mark, keep)
    return mark
  }

  /** What happened since this was last asked. */
  told(): string[] {
    const told = this.#transcript
    this.#transcript = []
    return told
  }

  #tell(line: string): void {
    this.#transcript.push(line)
  }

  say(line: string): void {
    this.#tell(line)
  }

  /** `leader term 3 voted a log 1.1.3 commit 3`: the log as the terms of its entries, `-` for what is compacted away. */
  describe(id: ServerId): string {
    const { raft, disk, up } = this.host(id)
    const terms = Array.from({ length: raft.lastIndex }, (_, at) => raft.termAt(at + 1) ?? '-')
    if (!up) return `${id} down`
    const vote = disk.hardState.vote === '' ? '' : ` voted ${disk.hardState.vote}`
    const leader = raft.role === 'follower' && raft.leader !== '' ? ` of ${raft.leader}` : ''
    return `${id} ${raft.role}${leader} term ${raft.term}${vote} log ${terms.join('.') || 'empty'} commit ${raft.commit}`
  }
}

function write(disk: Host['disk'], ready: Ready): void {
  if (ready.hardState !== undefined) disk.hardState = ready.hardState
  if (ready.snapshot !== undefined) {
    disk.snapshot = ready.snapshot
    disk.entries = []
  }
  const start = disk.snapshot?.index ?? 0
  const entries = ready.entries.filter(({ index }) => index > start)
  if (entries[0] === undefined) return
  disk.entries = [...disk.entries.slice(0, entries[0].index - start - 1), ...entries]
}

/** `4/2` is the entry at index 4 of term 2. */
export function describeEntries(entries: readonly Entry[]): string {
  return entries
    .map(
      ({ index, term, kind, data }) => `${index}/${term} ${kind === 'command' ? Buffer.from(data).toString() : kind}`,
    )
    .join(', ')
}

export function describeMessage({ from, to, message }: Sent): string {
  const way = `${from}->${to}`
  const { term } = message
  switch (message.type) {
    case 'vote': {
      const kind = message.pre ? 'pre-vote' : 'vote'
      const transfer = message.transfer ? ' on transfer' : ''
      return `${way} ${kind} term ${term} last ${message.lastIndex}/${message.lastTerm}${transfer}`
    }
    case 'voteReply': {
      const kind = message.pre ? 'pre-vote' : 'vote'
      const answer = message.granted ? 'granted' : message.heardLeader ? 'refused, heard a leader' : 'refused'
      return `${way} ${kind} ${answer} term ${term}`
    }
    case 'append': {
      const entries = message.entries.length === 0 ? 'nothing' : describeEntries(message.entries)
      const { previousIndex, previousTerm, commit, round } = message
      return `${way} append term ${term} after ${previousIndex}/${previousTerm}: ${entries}; commit ${commit} round ${round}`
    }
    case 'appendReply': {
      const { success, match, refused, hintIndex, hintTerm, round } = message
      const answer = success ? `match ${match}` : `refused ${refused} hint ${hintIndex}/${hintTerm}`
      return `${way} appended term ${term} ${answer} round ${round}`
    }
    case 'snapshot':
      return `${way} snapshot term ${term} at ${message.mark.index}/${message.mark.term}`
    case 'timeoutNow':
      return `${way} stand now term ${term}`
    default:
      return message satisfies never
  }
}

function describeEvent(id: ServerId, event: RaftEvent): string {
  switch (event.type) {
    case 'role':
      return `${id} ${event.role} term ${event.term}${event.role === 'follower' ? ` leader ${event.leader || 'unknown'}` : ''}`
    case 'electionTimeout':
      return `${id} election timeout, last leader ${event.lastLeader || 'unknown'}`
    case 'voteGranted':
      return `${id} has ${event.tally} with the vote of ${event.from}`
    case 'electionWon':
      return `${id} won term ${event.term} with ${event.tally}`
    case 'configuration': {
      const servers = event.configuration.servers.map((server) => `${server.id}${server.voter ? '' : ' (no vote)'}`)
      return `${id} configuration ${event.index}: ${servers.join(' ')}${event.committed ? ', committed' : ''}`
    }
    case 'pipelining':
      return `${id} pipelines to ${event.to}`
    case 'stepDown':
      return `${id} steps down: ${event.reason}`
    case 'lostEntries':
      return `${id} sees that ${event.follower} lost what it acknowledged, ${event.acknowledged}`
    default:
      return event satisfies never
  }
}
