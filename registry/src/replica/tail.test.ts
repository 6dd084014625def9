/**
 * The end of the log has one owner (CockroachDB #63302: a cache kept entries that had been cut off). A core that many
 * leaders contradict, and the real write-ahead log behind it: what the core says is on disk is there, and nothing else is.
 */
import assert from 'node:assert/strict'
import { SimulatedDisk } from '../../test/sim/disk.ts'
import { Random } from '../io/random.ts'
import type { Index, Term } from '../model.ts'
import type { Entry, Ready, SavePoint, SnapshotMark } from '../raft/message.ts'
import { Raft, raftOptionsDefault } from '../raft/raft.ts'
import type { WalRecord } from './records.ts'
import { Wal } from './wal.ts'

const folder = 'raft/wal'
const options = { segmentBytes: 2000, zeroBytes: 100 }
const textOf = (index: Index, term: Term) => `${index} of ${term}`
const entryOf = (index: Index, term: Term): Entry => {
  return { index, term, kind: 'command', data: Uint8Array.from(Buffer.from(textOf(index, term))) }
}

/**
 * The log of a leader of `term`: an earlier one's, cut off anywhere behind what is committed, and entries of its own. So
 * two logs that have the same entry have everything before it in common.
 */
function leaderLog(random: Random, earlier: readonly Term[][], committed: readonly Term[], term: Term): Term[] {
  const fit = earlier.filter((log) => committed.every((each, at) => log[at] === each))
  const base = random.pick(fit) ?? committed
  const own = Array.from({ length: random.between(1, 6) }, () => term)
  return [...base.slice(0, random.between(committed.length, base.length)), ...own]
}

/** One follower on one disk; its saves end when the test says so. */
class Follower {
  readonly disk = new SimulatedDisk(new Random(1))
  raft!: Raft
  #wal!: Wal
  #waiting: Ready[] = []
  snapshot: SnapshotMark | undefined

  async start(now: number): Promise<void> {
    const { wal, recovered } = await Wal.open(this.disk.open(), folder, new Random(5), options)
    const end = this.snapshot?.index ?? 0
    this.#wal = wal
    this.#waiting = []
    const hardState = recovered.hardState ?? { term: 0, vote: '' }
    const entries = recovered.entries.filter(({ index }) => index > end)
    this.raft = new Raft(
      { ...raftOptionsDefault, id: 'f', random: new Random(3) },
      { hardState, snapshot: this.snapshot, entries },
      now,
    )
  }

  turn(now: number): void {
    for (let ready = this.raft.ready(now); ready !== undefined; ready = this.raft.ready(now)) {
      if (ready.save !== undefined) this.#waiting.push(ready)
    }
  }

  /** The oldest saves, in one batch; the core is told. */
  async save(count: number): Promise<void> {
    const batch = this.#waiting.splice(0, count)
    if (batch.length === 0) return
    const records = batch.flatMap(({ hardState, snapshot, entries }): WalRecord[] => [
      ...(hardState === undefined ? [] : [{ type: 'hardState' as const, hardState }]),
      ...(snapshot === undefined ? [] : [{ type: 'restart' as const, index: snapshot.index, term: snapshot.term }]),
      ...entries.map((entry) => ({ type: 'entry' as const, entry })),
    ])
    await this.#wal.save(records)
    for (const { snapshot } of batch) if (snapshot !== undefined) this.snapshot = snapshot
    this.raft.saved(batch.at(-1)?.save as SavePoint)
  }

  get idle(): boolean {
    return this.#waiting.length === 0
  }

  /** What a start would find. */
  async written(): Promise<Entry[]> {
    const copy = new SimulatedDisk(new Random(2))
    for (const file of this.disk.files()) copy.poke(file, this.disk.peek(file)!)
    const { recovered } = await Wal.open(copy.open(), folder, new Random(6), options)
    return recovered.entries
  }
}

async function compare(follower: Follower, what: string): Promise<number> {
  const { raft, idle } = follower
  const entries = await follower.written()
  const start = follower.snapshot?.index ?? 0
  const terms = new Map(entries.map(({ index, term }) => [index, term]))
  for (let index = start + 1; index <= raft.savedIndex; index++) {
    assert.equal(terms.get(index), raft.termAt(index), `${what}: entry ${index} on disk and in the core`)
  }
  for (const { index, term, data } of entries) {
    assert.equal(Buffer.from(data).toString(), textOf(index, term), `${what}: what entry ${index} holds`)
  }
  if (idle) {
    assert.equal(Math.max(start, entries.at(-1)?.index ?? 0), raft.lastIndex, `${what}: where the log ends`)
  }
  return raft.savedIndex
}

describe('the end of the log', () => {
  it('is the same in the core and on the disk, however often leaders contradict each other', async () => {
    const seen = { cutOff: 0, snapshots: 0, crashes: 0 }
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Random(seed)
      const follower = new Follower()
      await follower.start(0)
      let now = 0
      let term: Term = 1
      let committed: Term[] = []
      const logs = new Map<Term, Term[]>()
      for (let step = 0; step < 60; step++) {
        now += 10
        const what = `seed ${seed}, step ${step}`
        const before = follower.raft.savedIndex
        if (random.chance(0.3)) term += random.between(1, 3)
        const leader = `l${term}`
        const log = logs.get(term) ?? leaderLog(random, [...logs.values()], committed, term)
        logs.set(term, log)
        const choice = random.fraction()
        if (choice < 0.7) {
          const previousIndex = random.between(0, log.length)
          const through = random.between(previousIndex, log.length)
          const entries = log.slice(previousIndex, through).map((of, at) => entryOf(previousIndex + 1 + at, of))
          const previousTerm = previousIndex === 0 ? 0 : (log[previousIndex - 1] as Term)
          const round = step + 1
          const commit = random.chance(0.2) ? random.between(0, log.length) : 0
          const message = { type: 'append' as const, term, previousIndex, previousTerm, entries, commit, round }
          follower.raft.step(leader, message, now)
          // What it takes for committed is, from now on, in every leader's log.
          if (follower.raft.commit > committed.length) committed = log.slice(0, follower.raft.commit)
        } else if (choice < 0.75 && committed.length > follower.raft.commit) {
          const index = committed.length
          const configuration = { cluster: '', servers: [] }
          const mark = { index, term: committed.at(-1) as Term, configuration, configurationIndex: 0 }
          follower.raft.step(leader, { type: 'snapshot', term, mark, round: step + 1 }, now)
          seen.snapshots++
        } else if (choice < 0.8) {
          follower.disk.crash()
          await follower.start(now)
          seen.crashes++
        }
        follower.turn(now)
        if (follower.raft.savedIndex < before) seen.cutOff++
        if (random.chance(0.6)) {
          await follower.save(random.between(1, 4))
          follower.turn(now)
        }
        await compare(follower, what)
      }
    }
    assert.ok(seen.cutOff > 80 && seen.crashes > 80, JSON.stringify(seen))
  })
})
