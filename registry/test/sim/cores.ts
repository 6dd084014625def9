/**
 * Many Raft cores in a bad world, chosen by a seed: messages are lost, late, repeated and cut off; saves take long and a
 * crash loses them; processes stall; clocks run at different speeds; servers come and go. Checkers watch from outside, and
 * after the faults end everybody must agree within ten seconds. No replica, no bytes on disks: those are in `run.ts`.
 */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import type { Index, Millis, Term } from '../../src/model.ts'
import { decodeMessage, encodeMessage } from '../../src/raft/codec.ts'
import type {
  Configuration,
  Entry,
  HardState,
  Message,
  Ready,
  SavePoint,
  ServerId,
  SnapshotMark,
} from '../../src/raft/message.ts'
import { Raft, raftOptionsDefault } from '../../src/raft/raft.ts'

/** What a crash leaves: a log whose batches are whole or absent, and the newest snapshot. */
interface Disk {
  hardState: HardState
  snapshot: { mark: SnapshotMark; state: string } | undefined
  entries: Entry[]
}

interface Peer {
  id: ServerId
  raft: Raft
  disk: Disk
  up: boolean
  /** Counts lives; what was scheduled for an older one is void. */
  life: number
  stalledUntil: Millis
  inbox: (() => void)[]
  saving: Ready[]
  /** A digest of all commands applied. */
  state: string
  applied: Index
  clockRate: number
  clockOffset: Millis
}

interface Faults {
  loss: number
  repeat: number
  late: number
  slowSave: number
}

class World {
  readonly random: Random
  readonly peers = new Map<ServerId, Peer>()
  readonly #events: { at: Millis; order: number; run: () => void }[] = []
  #order = 0
  #at: Millis = 0
  /** Directed links that carry nothing. */
  readonly #cut = new Set<string>()
  readonly #founders: ServerId[]
  #faults: Faults
  #healed = false
  readonly #entriesBytesMax: number
  /** Somebody asks every new leader at once to change the configuration. */
  readonly #eager: boolean
  /** Whoever is elected often comes to nothing before its first entry is committed (Raft figure 8). */
  readonly #harsh: boolean
  #proposal = 0
  #nextRead = 0

  /** What the checkers know. */
  readonly committed: Entry[] = []
  /** The term of the server that first knew. */
  readonly #committedIn: Term[] = []
  readonly #leaders = new Map<Term, ServerId>()
  readonly #votes = new Map<string, ServerId>()
  readonly #reads = new Map<string, Index>()
  #committedMax: Index = 0
  /** The highest term that anybody ever stood in. */
  #stoodIn: Term = 1
  elections = 0

  constructor(seed: number) {
    this.random = new Random(seed)
    const calm = this.random.chance(0.2)
    const upTo = (most: number) => (calm ? 0 : this.random.fraction() * most)
    this.#faults = { loss: upTo(0.25), repeat: upTo(0.2), late: upTo(0.1), slowSave: upTo(0.1) }
    this.#entriesBytesMax = this.random.pick([1, 200, 200, 2000]) as number
    this.#eager = this.random.chance(0.3)
    this.#harsh = this.random.chance(0.3)
    const ids = ['a', 'b', 'c', 'd', 'e'].slice(0, this.random.between(3, 5))
    this.#founders = ids.slice(0, this.random.pick([1, 2, 3, 3, 4, 4, 5]) as number)
    for (const id of ids) this.#create(id)
    for (const peer of this.peers.values()) this.#scheduleTick(peer)
  }

  #peer(id: ServerId): Peer {
    return this.peers.get(id) as Peer
  }

  #create(id: ServerId): void {
    const disk: Disk = { hardState: { term: 0, vote: '' }, snapshot: undefined, entries: [] }
    const clockRate = 0.75 + this.random.fraction() * 0.74
    const clockOffset = this.random.between(0, 1_000_000)
    const raft = undefined as unknown as Raft
    const peer: Peer = {
      id,
      raft,
      disk,
      up: true,
      life: 0,
      stalledUntil: 0,
      inbox: [],
      saving: [],
      state: '',
      applied: 0,
      clockRate,
      clockOffset,
    }
    this.peers.set(id, peer)
    this.#start(peer)
  }

  #start(peer: Peer): void {
    const { disk } = peer
    peer.life++
    peer.up = true
    peer.stalledUntil = 0
    peer.inbox = []
    peer.saving = []
    peer.state = disk.snapshot?.state ?? ''
    peer.applied = disk.snapshot?.mark.index ?? 0
    const options = {
      ...raftOptionsDefault,
      id: peer.id,
      random: this.random,
      entriesBytesMax: this.#entriesBytesMax,
      inflightBytesMax: 600,
    }
    const restored = { hardState: disk.hardState, snapshot: disk.snapshot?.mark, entries: disk.entries.slice() }
    peer.raft = new Raft(options, restored, this.#now(peer))
    // Also after a crash that came before the bootstrap was on disk: then nobody has heard of it.
    if (peer.id === 'a' && disk.hardState.term === 0) {
      const servers = this.#founders.map((id) => ({ id, address: `${id}:8300`, voter: true }))
      peer.raft.bootstrap({ cluster: 'simulated', servers })
    }
  }

  /** The peer's own clock. */
  #now(peer: Peer): Millis {
    return peer.clockOffset + this.#at * peer.clockRate
  }

  // --- time

  #schedule(delay: Millis, run: () => void): void {
    const event = { at: this.#at + delay, order: this.#order++, run }
    const heap = this.#events
    let child = heap.push(event) - 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!before(event, heap[parent] as typeof event)) break
      heap[child] = heap[parent] as typeof event
      child = parent
    }
    heap[child] = event
  }

  #next(): { at: Millis; run: () => void } | undefined {
    const heap = this.#events
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let parent = 0
    for (;;) {
      let child = 2 * parent + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as typeof last, heap[child] as typeof last)) child++
      if (!before(heap[child] as typeof last, last)) break
      heap[parent] = heap[child] as typeof last
      parent = child
    }
    heap[parent] = last
    return first
  }

  runUntil(end: Millis, done: () => boolean = () => false): void {
    while (this.#at < end && !done()) {
      const event = this.#next()
      assert(event !== undefined)
      this.#at = event.at
      event.run()
    }
  }

  get at(): Millis {
    return this.#at
  }

  /** Runs when the peer is awake, if it still lives the same life. */
  #atPeer(peer: Peer, run: () => void): () => void {
    const { life } = peer
    const alive = () => {
      if (!peer.up || peer.life !== life) return
      run()
      this.#turn(peer)
    }
    return () => {
      if (this.#at < peer.stalledUntil && peer.life === life) peer.inbox.push(alive)
      else alive()
    }
  }

  #scheduleTick(peer: Peer): void {
    this.#schedule(100 / peer.clockRate + this.random.fraction(), () => {
      if (peer.up && this.#at >= peer.stalledUntil) {
        const waiting = peer.inbox.splice(0)
        // After a stall either may come first.
        if (this.random.chance(0.5)) waiting.unshift(() => peer.raft.tick(this.#now(peer)))
        else waiting.push(() => peer.raft.tick(this.#now(peer)))
        for (const each of waiting) each()
        this.#turn(peer)
      }
      this.#scheduleTick(peer)
    })
  }

  // --- one server's replica

  #turn(peer: Peer): void {
    if (!peer.up) return
    for (;;) {
      this.#checkPeer(peer)
      if (!peer.up) return
      const ready = peer.raft.ready(this.#now(peer))
      if (ready === undefined) break
      for (const { to, message } of ready.messages) this.#send(peer, to, message)
      if (ready.save !== undefined) {
        peer.saving.push(ready)
        if (peer.saving.length === 1) this.#save(peer)
      } else {
        assert.equal(ready.afterSave.length, 0, 'messages to send after a save that does not exist')
      }
      if (ready.snapshot !== undefined) {
        const state = this.#stateAt(ready.snapshot.index)
        peer.state = state
        peer.applied = ready.snapshot.index
      }
      for (const entry of ready.committed) this.#apply(peer, entry)
      for (const { id, index } of ready.reads) this.#checkRead(peer, id, index)
    }
  }

  #save(peer: Peer): void {
    const delay = this.random.chance(this.#faults.slowSave)
      ? this.random.between(100, 1800)
      : this.random.between(0, 12)
    // Several at once now and then: only the last is reported.
    const count = this.random.chance(0.3) ? peer.saving.length : 1
    this.#schedule(
      delay,
      this.#atPeer(peer, () => {
        // More may have been handed out since; they are not part of this save.
        const done = peer.saving.splice(0, count)
        for (const ready of done) write(peer.disk, ready, this.#stateAt)
        const last = done.at(-1) as Ready
        peer.raft.saved(last.save as SavePoint)
        for (const { to, message } of done.flatMap(({ afterSave }) => afterSave)) this.#send(peer, to, message)
        if (peer.saving.length > 0) this.#save(peer)
      }),
    )
  }

  #apply(peer: Peer, entry: Entry): void {
    assert.equal(entry.index, peer.applied + 1, `${peer.id} applies out of order`)
    const known = this.committed[entry.index]
    if (known === undefined) {
      this.committed[entry.index] = entry
      this.#committedIn[entry.index] = peer.raft.term
    }
    assert(same(entry, known ?? entry), `${peer.id} applies another entry at ${entry.index}`)
    peer.applied = entry.index
    peer.state = digest(peer.state, entry)
    this.#committedMax = Math.max(this.#committedMax, entry.index)
  }

  readonly #states: string[] = ['']
  /** The state that the committed entries up to `index` make; checks that all of them are known. */
  readonly #stateAt = (index: Index): string => {
    for (let at = this.#states.length; at <= index; at++) {
      this.#states.push(digest(this.#states[at - 1] as string, this.committed[at] as Entry))
    }
    return this.#states[index] as string
  }

  #send(from: Peer, to: ServerId, message: Message): void {
    this.#checkPromises(from, to, message)
    const target = this.peers.get(to)
    if (target === undefined) return
    if (message.type === 'snapshot') {
      this.#sendSnapshot(from, target, message)
      return
    }
    const bytes = encodeMessage(from.id, message)
    const copies = this.random.chance(this.#faults.repeat) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (this.#cut.has(`${from.id}>${to}`) || this.random.chance(this.#faults.loss)) continue
      this.#schedule(this.#delay(), () => {
        // A restarted server still receives what was sent to its former life.
        this.#atPeer(target, () => {
          const decoded = decodeMessage(bytes)
          target.raft.step(decoded.from, decoded.message, this.#now(target))
        })()
      })
    }
  }

  #delay(): Millis {
    return this.random.chance(this.#faults.late) ? this.random.between(50, 3000) : this.random.between(1, 15)
  }

  #sendSnapshot(from: Peer, target: Peer, message: Extract<Message, { type: 'snapshot' }>): void {
    const { snapshot } = from.disk
    assert(snapshot !== undefined && snapshot.mark.index >= message.mark.index, 'a snapshot that is not on disk')
    const arrives = !this.#cut.has(`${from.id}>${target.id}`) && !this.random.chance(this.#faults.loss)
    const delay = this.random.between(20, 400)
    const arrived = this.#atPeer(target, () => {
      target.raft.step(from.id, { ...message, mark: snapshot.mark }, this.#now(target))
    })
    if (arrives) this.#schedule(delay, () => arrived())
    this.#schedule(
      delay + 10,
      this.#atPeer(from, () => from.raft.snapshotSent(target.id, arrives, message.mark)),
    )
  }

  // --- checkers

  #checkPeer(peer: Peer): void {
    const { raft } = peer
    if (raft.role === 'candidate' || raft.role === 'leader') this.#stoodIn = Math.max(this.#stoodIn, raft.term)
    // Whoever only asks whether it could win disturbs nobody (thesis §9.6).
    assert(raft.term <= this.#stoodIn, `${peer.id} is in term ${raft.term}, but nobody stood after ${this.#stoodIn}`)
    if (raft.role !== 'leader') return
    const leader = this.#leaders.get(raft.term)
    if (leader === undefined) {
      this.#leaders.set(raft.term, peer.id)
      this.elections++
      if (this.#eager) {
        const ask = this.#atPeer(peer, () => this.#change(peer))
        this.#schedule(this.random.between(1, 20), ask)
      }
      if (this.#harsh && this.random.chance(0.6)) this.#strike(peer)
      // Leader completeness: all that was committed in earlier terms is in its log (a late winner may know less than that).
      for (let index = (raft.snapshotMark?.index ?? 0) + 1; index < this.committed.length; index++) {
        if ((this.#committedIn[index] as Term) > raft.term) break
        assert.equal(
          raft.termAt(index),
          this.committed[index]?.term,
          `leader ${peer.id} lacks committed entry ${index}`,
        )
      }
    } else {
      assert.equal(leader, peer.id, `two leaders in term ${raft.term}`)
    }
    if (raft.commit > this.#committedMax) {
      for (const entry of raft.entriesFrom(this.#committedMax + 1, Number.POSITIVE_INFINITY) ?? []) {
        this.committed[entry.index] = entry
        this.#committedIn[entry.index] = raft.term
      }
      this.#committedMax = raft.commit
      // Only it knows.
      if (this.#harsh && !this.#healed && this.random.chance(0.05)) this.#crash(peer)
      const copies = voters(raft.configuration).filter((id) =>
        this.#isOnDisk(this.#peer(id), raft.commit, raft.termAt(raft.commit)),
      )
      assert(
        isMajority(copies, voters(raft.configuration)),
        `${peer.id} committed ${raft.commit}, which is on the disks of ${copies.join(' ')} only`,
      )
    }
    const lease = raft.leaseIndex(this.#now(peer))
    assert(
      lease === undefined || lease >= this.#committedMax,
      `${peer.id} has a lease, but elsewhere ${this.#committedMax} is committed`,
    )
  }

  #isOnDisk(peer: Peer, index: Index, term: Term | undefined): boolean {
    const { snapshot, entries } = peer.disk
    if ((snapshot?.mark.index ?? 0) >= index) return true
    return entries[index - (snapshot?.mark.index ?? 0) - 1]?.term === term
  }

  /** What leaves a server must rest on its disk. */
  #checkPromises(peer: Peer, to: ServerId, message: Message): void {
    const { hardState, snapshot, entries } = peer.disk
    if (message.type === 'voteReply' && message.granted && !message.pre) {
      assert(
        hardState.term > message.term || (hardState.term === message.term && hardState.vote === to),
        `${peer.id} votes before the disk knows`,
      )
      const key = `${peer.id} in ${message.term}`
      assert.equal(this.#votes.get(key) ?? to, to, `${key} votes twice`)
      this.#votes.set(key, to)
    }
    if (message.type === 'vote' && !message.pre) {
      assert(
        hardState.term > message.term || (hardState.term === message.term && hardState.vote === peer.id),
        `${peer.id} stands before the disk knows`,
      )
    }
    if (message.type === 'appendReply' && message.success) {
      assert(hardState.term >= message.term, `${peer.id} acknowledges in term ${message.term} before the disk knows`)
      // When one save holds a later term too, that may already have cut off what an older leader is told of.
      const last = (snapshot?.mark.index ?? 0) + entries.length
      const holds = message.match <= last || hardState.term > message.term
      assert(holds, `${peer.id} acknowledges ${message.match}, but its disk ends at ${last}`)
    }
  }

  #checkRead(peer: Peer, id: number, index: Index | undefined): void {
    const key = `${peer.id}/${peer.life}/${id}`
    const atLeast = this.#reads.get(key)
    assert(atLeast !== undefined, `read ${key} is answered twice or was never asked`)
    this.#reads.delete(key)
    assert(
      index === undefined || index >= atLeast,
      `a read at ${peer.id} goes back to ${index}; ${atLeast} was committed before it began`,
    )
  }

  /** Log matching: where two logs have the same term, they are the same up to there. */
  checkLogs(): void {
    const all = [...this.peers.values()]
    for (const [position, one] of all.entries()) {
      for (const other of all.slice(position + 1)) this.#checkMatch(one, other)
    }
  }

  #checkMatch(one: Peer, other: Peer): void {
    let same = false
    for (let index = Math.min(one.raft.lastIndex, other.raft.lastIndex); index > 0; index--) {
      const terms = [one.raft.termAt(index), other.raft.termAt(index)]
      if (terms.includes(undefined)) return
      same ||= terms[0] === terms[1]
      if (same) assert.equal(terms[0], terms[1], `${one.id} and ${other.id} have one log later but differ at ${index}`)
    }
  }

  // --- what happens to the world

  misfortune(): void {
    const { random } = this
    const ids = [...this.peers.keys()]
    // A leader is the most interesting victim.
    const leader = this.#leader()
    const peer = leader !== undefined && random.chance(0.4) ? leader : this.#peer(random.pick(ids) as ServerId)
    const what = random.between(0, 99)
    if (what < 12) this.#crash(peer)
    else if (what < 20) this.#stall(peer)
    else if (what < 34) this.#partition(random.shuffle(ids))
    else if (what < 42) this.#cut.add(`${peer.id}>${random.pick(ids)}`)
    else if (what < 52) this.#cut.clear()
    else if (what < 62) this.#changeSomeone()
    else if (what < 67)
      this.#leader()?.raft.transferLeadership(random.chance(0.5) ? undefined : random.pick(ids), this.#now(peer))
    else if (what < 80) this.#snapshot(peer)
    for (const each of this.peers.values()) {
      if (!each.up && random.chance(0.3)) this.#start(each)
      this.#turn(each)
    }
  }

  clientsWork(): void {
    for (const peer of this.peers.values()) {
      if (!peer.up || this.#at < peer.stalledUntil) continue
      if (peer.raft.role === 'leader' && this.random.chance(0.7)) this.propose(peer)
      if (this.random.chance(0.3)) this.#read(peer)
      this.#turn(peer)
    }
  }

  #read(peer: Peer): void {
    const id = this.#nextRead++
    this.#reads.set(`${peer.id}/${peer.life}/${id}`, this.#committedMax)
    peer.raft.requestRead(id, this.#now(peer))
  }

  propose(peer: Peer): Index | undefined {
    const data = Array.from({ length: this.random.between(1, 4) }, () => Buffer.from(`${this.#proposal++}`))
    return peer.raft.propose(data)
  }

  #leader(): Peer | undefined {
    return [...this.peers.values()].find(({ up, raft }) => up && raft.role === 'leader')
  }

  #crash(peer: Peer): void {
    if (!peer.up) return
    peer.up = false
    // The write under way may have reached the disk although nobody was told.
    const under = peer.saving[0]
    if (under !== undefined && this.random.chance(0.5)) write(peer.disk, under, this.#stateAt)
    for (const key of this.#reads.keys()) if (key.startsWith(`${peer.id}/`)) this.#reads.delete(key)
  }

  /** A new leader dies, or is cut off from some, soon or at once. */
  #strike(peer: Peer): void {
    const crashes = this.random.chance(0.5)
    const happen = () => {
      if (this.#healed) return
      if (crashes) this.#crash(peer)
      else this.#partition(this.random.shuffle([...this.peers.keys()]))
    }
    if (this.random.chance(0.5)) this.#schedule(0, happen)
    else this.#schedule(this.random.between(1, 60), this.#atPeer(peer, happen))
  }

  #partition(ids: ServerId[]): void {
    const size = this.random.between(1, ids.length - 1)
    for (const one of ids.slice(0, size)) {
      for (const other of ids.slice(size)) this.#cut.add(`${one}>${other}`).add(`${other}>${one}`)
    }
  }

  /** Whoever waits is the first to be heard afterwards: it may have been deposed meanwhile and not know. */
  #stall(peer: Peer): void {
    peer.stalledUntil = this.#at + this.random.between(300, 3000)
    this.#schedule(
      peer.stalledUntil - this.#at,
      this.#atPeer(peer, () => this.#read(peer)),
    )
  }

  /** Several changes in a row, at any server that believes to lead. */
  #changeSomeone(): void {
    const leader = this.random.pick(this.leaders().filter(({ up }) => up))
    if (leader === undefined) return
    for (let count = this.random.pick([1, 1, 3]) as number; count > 0; count--) this.#change(leader)
  }

  #change(leader: Peer): void {
    if (leader.raft.role !== 'leader') return
    const { servers } = leader.raft.configuration
    const id = this.random.pick([...this.peers.keys()]) as ServerId
    const known = servers.find((server) => server.id === id)
    const voting = voters(leader.raft.configuration)
    if (known === undefined)
      leader.raft.changeServers({ type: 'add', id, address: `${id}:8300`, voter: this.random.chance(0.5) })
    else if (!known.voter) leader.raft.changeServers({ type: 'promote', id })
    else if (voting.length > 1) leader.raft.changeServers({ type: 'remove', id })
  }

  #snapshot(peer: Peer): void {
    if (!peer.up || peer.applied <= (peer.raft.snapshotMark?.index ?? 0)) return
    // A snapshot that is being installed must reach the disk first.
    if (peer.saving.some(({ snapshot }) => snapshot !== undefined)) return
    const mark = peer.raft.markAt(peer.applied)
    const { disk } = peer
    // The log on disk may still lack what was applied: the snapshot then takes its place.
    disk.entries = disk.entries.slice(Math.max(0, mark.index - (disk.snapshot?.mark.index ?? 0)))
    disk.snapshot = { mark, state: peer.state }
    peer.raft.compact(mark, this.random.between(0, 15))
  }

  /** All faults end. */
  heal(): void {
    this.#healed = true
    this.#faults = { loss: 0, repeat: 0, late: 0, slowSave: 0 }
    this.#cut.clear()
    for (const peer of this.peers.values()) {
      peer.stalledUntil = 0
      if (!peer.up) this.#start(peer)
    }
  }

  /** A leader has committed `index` or more, everybody it leads has the same, and no read waits. */
  agreed(index: Index): boolean {
    const leader = this.#leader()
    if (leader === undefined || leader.raft.commit < index || this.#reads.size > 0) return false
    return leader.raft.configuration.servers.every(({ id }) => {
      const { applied, state } = this.#peer(id)
      return applied === leader.applied && state === leader.state && applied >= index
    })
  }

  leaders(): Peer[] {
    return [...this.peers.values()].filter(({ raft }) => raft.role === 'leader')
  }

  get longest(): Index {
    return this.committed.length - 1
  }

  describe(): string {
    return [...this.peers.values()]
      .map(
        ({ id, up, raft, applied }) =>
          `${id}${up ? '' : ' down'} ${raft.role} term ${raft.term} last ${raft.lastIndex} commit ${raft.commit} applied ${applied}`,
      )
      .join('; ')
  }
}

/** Not the core's own: who checks must not make the mistakes of who is checked. */
function voters({ servers }: Configuration): ServerId[] {
  return servers.flatMap(({ id, voter }) => (voter ? [id] : []))
}

function isMajority(some: readonly ServerId[], all: readonly ServerId[]): boolean {
  return 2 * some.length > all.length
}

function before(one: { at: Millis; order: number }, other: { at: Millis; order: number }): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order)
}

function same(one: Entry, other: Entry): boolean {
  return one.term === other.term && one.kind === other.kind && Buffer.compare(one.data, other.data) === 0
}

function digest(state: string, entry: Entry): string {
  let hash = state === '' ? 7 : Number(state)
  for (const byte of entry.data) hash = (Math.imul(hash, 31) + byte) >>> 0
  return String((Math.imul(hash, 31) + entry.index) >>> 0)
}

/** One Ready reaches the disk, whole. */
function write(disk: Disk, ready: Ready, stateAt: (index: Index) => string): void {
  if (ready.hardState !== undefined) disk.hardState = ready.hardState
  if (ready.snapshot !== undefined) {
    disk.snapshot = { mark: ready.snapshot, state: stateAt(ready.snapshot.index) }
    disk.entries = []
  }
  const start = disk.snapshot?.mark.index ?? 0
  const entries = ready.entries.filter(({ index }) => index > start)
  const first = entries[0]
  if (first === undefined) return
  assert(first.index <= start + disk.entries.length + 1, `entries from ${first.index} leave a gap on disk`)
  disk.entries.length = first.index - start - 1
  disk.entries.push(...entries)
}

/** One world, from its founding to its end. @throws when a promise is broken, or it does not recover. */
export function runCores(seed: number): { entries: number; elections: number; simulated: Millis } {
  const world = new World(seed)
  const faultsEnd = world.random.between(5, 30) * 1000
  while (world.at < faultsEnd) {
    world.runUntil(world.at + world.random.between(20, 400))
    world.clientsWork()
    if (world.random.chance(0.35)) world.misfortune()
    if (world.random.chance(0.05)) world.checkLogs()
  }
  world.heal()
  const deadline = world.at + 10_000
  let proposed: Index | undefined
  while (proposed === undefined && world.at < deadline) {
    world.runUntil(world.at + 100)
    // An old leader that is not deposed yet would take it and lose it: the newest counts.
    const newest = world.leaders().sort((one, other) => other.raft.term - one.raft.term)[0]
    if (newest !== undefined && newest.raft.commit > 0 && world.at > deadline - 6000) proposed = world.propose(newest)
  }
  assert(proposed !== undefined, `no leader 10 s after the faults ended: ${world.describe()}`)
  const index = proposed
  world.runUntil(deadline, () => world.agreed(index))
  assert(world.agreed(index), `no agreement 10 s after the faults ended: ${world.describe()}`)
  world.checkLogs()
  return { entries: world.longest, elections: world.elections, simulated: world.at }
}
