/**
 * The world of `cores.ts`: virtual time, a network, disks that take their time, and the loop that a replica would be. What
 * goes wrong in it is decided in `core-faults.ts`, what must not in `core-checkers.ts`.
 */
import assert from 'node:assert/strict'
import type { Random } from '../../src/io/random.ts'
import type { Index, Millis } from '../../src/model.ts'
import { decodeMessage, encodeMessage } from '../../src/raft/codec.ts'
import type { Message, Ready, SavePoint, ServerId } from '../../src/raft/message.ts'
import { Raft, raftOptionsDefault } from '../../src/raft/raft.ts'
import { CoreCheckers } from './core-checkers.ts'
import { digest, type Peer, voters, write } from './core-peer.ts'

export interface WorldPlan {
  servers: readonly ServerId[]
  /** The first members; the others wait to be added. */
  founders: readonly ServerId[]
  /** Half of the longest. */
  electionTimeoutMin: Millis
  /** Of entries in one message; 1: each goes alone. */
  entriesBytesMax: number
}

/** Chances that a message is lost, repeated, or late, and that a save is slow. */
export interface Weather {
  loss: number
  repeat: number
  late: number
  slowSave: number
}

/** What is told to whoever decides what goes wrong. */
export interface Watching {
  /** For the first time in this term. */
  elected(peer: Peer): void
  /** It is the only one to know. */
  commits(peer: Peer): void
  /** Whether it is to get lost. */
  sends(from: Peer, to: ServerId, message: Message): boolean
}

export class CoreWorld {
  readonly random: Random
  readonly peers = new Map<ServerId, Peer>()
  readonly checkers = new CoreCheckers(this.peers)
  weather: Weather = { loss: 0, repeat: 0, late: 0, slowSave: 0 }
  watching: Watching | undefined
  /** Directed links that carry nothing. */
  readonly cut = new Set<string>()
  readonly #events: { at: Millis; order: number; run: () => void }[] = []
  #order = 0
  #at: Millis = 0
  readonly #plan: WorldPlan
  #proposal = 0
  #nextRead = 0

  constructor(random: Random, plan: WorldPlan) {
    this.random = random
    this.#plan = plan
    for (const id of plan.servers) this.#create(id)
    for (const peer of this.peers.values()) this.#scheduleTick(peer)
  }

  get at(): Millis {
    return this.#at
  }

  get ids(): ServerId[] {
    return [...this.peers.keys()]
  }

  peer(id: ServerId): Peer {
    return this.peers.get(id) as Peer
  }

  /** Whoever believes to be one, newest first. */
  leaders(): Peer[] {
    return [...this.peers.values()]
      .filter(({ raft }) => raft.role === 'leader')
      .sort((one, other) => other.raft.term - one.raft.term)
  }

  leader(): Peer | undefined {
    return this.leaders().find(({ up }) => up)
  }

  #create(id: ServerId): void {
    const peer: Peer = {
      id,
      raft: undefined as unknown as Raft,
      disk: { hardState: { term: 0, vote: '' }, snapshot: undefined, entries: [] },
      up: true,
      life: 0,
      stalledUntil: 0,
      inbox: [],
      saving: [],
      state: '',
      applied: 0,
      clockRate: 0.75 + this.random.fraction() * 0.74,
      clockOffset: this.random.between(0, 1_000_000),
    }
    this.peers.set(id, peer)
    this.start(peer)
  }

  start(peer: Peer): void {
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
      electionTimeoutMin: this.#plan.electionTimeoutMin,
      electionTimeoutMax: 2 * this.#plan.electionTimeoutMin,
      entriesBytesMax: this.#plan.entriesBytesMax,
      inflightBytesMax: 600,
    }
    const restored = { hardState: disk.hardState, snapshot: disk.snapshot?.mark, entries: disk.entries.slice() }
    peer.raft = new Raft(options, restored, this.now(peer))
    // Also after a crash that came before the bootstrap was on disk: then nobody has heard of it.
    if (peer.id === this.#plan.founders[0] && disk.hardState.term === 0) {
      const servers = this.#plan.founders.map((id) => ({ id, address: `${id}:8300`, voter: true }))
      peer.raft.bootstrap({ cluster: 'simulated', servers })
    }
  }

  crash(peer: Peer): void {
    if (!peer.up) return
    peer.up = false
    // The write under way may have reached the disk although nobody was told.
    const under = peer.saving[0]
    if (under !== undefined && this.random.chance(0.5)) write(peer.disk, under, this.checkers.stateAt)
    this.checkers.forgets(peer)
  }

  /** The peer's own clock. */
  now(peer: Peer): Millis {
    return peer.clockOffset + this.#at * peer.clockRate
  }

  // --- time

  schedule(delay: Millis, run: () => void): void {
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

  /** Runs when the peer is awake, if it still lives the same life. */
  atPeer(peer: Peer, run: () => void): () => void {
    const { life } = peer
    const alive = () => {
      if (!peer.up || peer.life !== life) return
      run()
      this.turn(peer)
    }
    return () => {
      if (this.#at < peer.stalledUntil && peer.life === life) peer.inbox.push(alive)
      else alive()
    }
  }

  #scheduleTick(peer: Peer): void {
    this.schedule(100 / peer.clockRate + this.random.fraction(), () => {
      if (peer.up && this.#at >= peer.stalledUntil) {
        const waiting = peer.inbox.splice(0)
        // After a stall either may come first.
        if (this.random.chance(0.5)) waiting.unshift(() => peer.raft.tick(this.now(peer)))
        else waiting.push(() => peer.raft.tick(this.now(peer)))
        for (const each of waiting) each()
        this.turn(peer)
      }
      this.#scheduleTick(peer)
    })
  }

  // --- one server's replica

  turn(peer: Peer): void {
    while (peer.up) {
      const { elected, commits } = this.checkers.turned(peer, this.now(peer))
      if (elected) this.watching?.elected(peer)
      if (commits) this.watching?.commits(peer)
      if (!peer.up) return
      const ready = peer.raft.ready(this.now(peer))
      if (ready === undefined) break
      for (const { to, message } of ready.messages) this.#send(peer, to, message)
      if (ready.save !== undefined) {
        peer.saving.push(ready)
        if (peer.saving.length === 1) this.#save(peer)
      } else {
        assert.equal(ready.afterSave.length, 0, 'messages to send after a save that does not exist')
      }
      if (ready.snapshot !== undefined) {
        peer.state = this.checkers.stateAt(ready.snapshot.index)
        peer.applied = ready.snapshot.index
      }
      for (const entry of ready.committed) {
        this.checkers.applies(peer, entry)
        peer.applied = entry.index
        peer.state = digest(peer.state, entry)
      }
      for (const { id, index } of ready.reads) this.checkers.isAnswered(peer, id, index)
    }
  }

  #save(peer: Peer): void {
    const delay = this.random.chance(this.weather.slowSave)
      ? this.random.between(100, 1800)
      : this.random.between(0, 12)
    // Several at once now and then: only the last is reported.
    const count = this.random.chance(0.3) ? peer.saving.length : 1
    this.schedule(
      delay,
      this.atPeer(peer, () => {
        // More may have been handed out since; they are not part of this save.
        const done = peer.saving.splice(0, count)
        for (const ready of done) write(peer.disk, ready, this.checkers.stateAt)
        const last = done.at(-1) as Ready
        peer.raft.saved(last.save as SavePoint)
        for (const { to, message } of done.flatMap(({ afterSave }) => afterSave)) this.#send(peer, to, message)
        if (peer.saving.length > 0) this.#save(peer)
      }),
    )
  }

  #send(from: Peer, to: ServerId, message: Message): void {
    this.checkers.sends(from, to, message)
    const target = this.peers.get(to)
    if (target === undefined) return
    const dropped = this.watching?.sends(from, to, message) === true
    if (message.type === 'snapshot') {
      this.#sendSnapshot(from, target, message, dropped)
      return
    }
    if (dropped) return
    const bytes = encodeMessage(from.id, message)
    const copies = this.random.chance(this.weather.repeat) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (this.cut.has(`${from.id}>${to}`) || this.random.chance(this.weather.loss)) continue
      this.schedule(this.#delay(), () => {
        // A restarted server still receives what was sent to its former life.
        this.atPeer(target, () => {
          const decoded = decodeMessage(bytes)
          target.raft.step(decoded.from, decoded.message, this.now(target))
        })()
      })
    }
  }

  #delay(): Millis {
    return this.random.chance(this.weather.late) ? this.random.between(50, 3000) : this.random.between(1, 15)
  }

  #sendSnapshot(from: Peer, target: Peer, message: Extract<Message, { type: 'snapshot' }>, dropped: boolean): void {
    const { snapshot } = from.disk
    assert(snapshot !== undefined)
    const arrives = !dropped && !this.cut.has(`${from.id}>${target.id}`) && !this.random.chance(this.weather.loss)
    const delay = this.random.between(20, 400)
    const arrived = this.atPeer(target, () => {
      target.raft.step(from.id, { ...message, mark: snapshot.mark }, this.now(target))
    })
    if (arrives) this.schedule(delay, () => arrived())
    this.schedule(
      delay + 10,
      this.atPeer(from, () => from.raft.snapshotSent(target.id, arrives, message.mark)),
    )
  }

  // --- what clients and operators do

  clientsWork(): void {
    for (const peer of this.peers.values()) {
      if (!peer.up || this.#at < peer.stalledUntil) continue
      if (peer.raft.role === 'leader' && this.random.chance(0.7)) this.propose(peer)
      if (this.random.chance(0.3)) this.read(peer)
      this.turn(peer)
    }
  }

  read(peer: Peer): void {
    const id = this.#nextRead++
    this.checkers.asks(peer, id)
    peer.raft.requestRead(id, this.now(peer))
  }

  propose(peer: Peer): Index | undefined {
    const data = Array.from({ length: this.random.between(1, 4) }, () => Buffer.from(`${this.#proposal++}`))
    return peer.raft.propose(data)
  }

  change(leader: Peer): void {
    if (leader.raft.role !== 'leader') return
    const { servers } = leader.raft.configuration
    const id = this.random.pick(this.ids) as ServerId
    const known = servers.find((server) => server.id === id)
    const voting = voters(leader.raft.configuration)
    if (known === undefined)
      leader.raft.changeServers({ type: 'add', id, address: `${id}:8300`, voter: this.random.chance(0.5) })
    else if (!known.voter) leader.raft.changeServers({ type: 'promote', id })
    else if (voting.length > 1) leader.raft.changeServers({ type: 'remove', id })
  }

  snapshot(peer: Peer): void {
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

  /** A leader has committed `index` or more, everybody it leads has the same, and no read waits. */
  agreed(index: Index): boolean {
    const leader = this.leader()
    if (leader === undefined || leader.raft.commit < index || this.checkers.waiting > 0) return false
    return leader.raft.configuration.servers.every(({ id }) => {
      const { applied, state } = this.peer(id)
      return applied === leader.applied && state === leader.state && applied >= index
    })
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

function before(one: { at: Millis; order: number }, other: { at: Millis; order: number }): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order)
}
