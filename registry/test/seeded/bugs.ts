/**
 * Mistakes that others made, to be made on purpose: each must be found by what watches over the cluster, within 2,000 seeds.
 * The numbers stay with them: docs and reports name bugs by number.
 */
import type { Bounds, Tails } from '../explore/model.ts'
import type { Edit } from './patched.ts'

/** Who looks for it: worlds of cores, of replicas, of whole agents, of clocks of sessions, of gossip members; the transcripts. */
export type Hunter = 'cores' | 'replicas' | 'agents' | 'sessions' | 'gossip' | 'scenarios'

export interface SeededBug {
  number: number
  /** Letters and hyphens. */
  name: string
  edits: readonly Edit[]
  /** The quickest first. */
  hunters: readonly Hunter[]
  /** Within these the explorer finds it too. */
  bounds?: Partial<Bounds>
  tails?: Tails
}

export const bugs: readonly SeededBug[] = [
  {
    number: 1,
    name: 'votes-counted-not-voters',
    hunters: ['cores'],
    edits: [
      {
        file: 'raft/raft.ts',
        find: 'if (this.#votes.get(from) === granted) return\n    this.#votes.set(from, granted)',
        replace: 'this.#votes.set(from === this.id ? from : from + this.#votes.size, granted)',
      },
      {
        file: 'raft/quorum.ts',
        find: 'const granted = all.filter((id) => given.get(id) === true).length',
        replace: 'const granted = [...given.values()].filter((yes) => yes).length',
      },
    ],
  },
  {
    number: 2,
    name: 'old-term-committed-by-counting',
    hunters: ['cores', 'scenarios'],
    // Raft figure 8, from (b) on.
    bounds: { terms: 2, entries: 3, candidacies: 2 },
    tails: { a: [2], b: [], c: [3] },
    edits: [
      {
        file: 'raft/raft.ts',
        find: 'if (entries.termAt(replicated) === this.#term) this.#log.advanceCommit(replicated)',
        replace: 'this.#log.advanceCommit(replicated)',
      },
    ],
  },
  {
    number: 3,
    name: 'append-reply-of-an-older-term-counted',
    hunters: ['cores', 'replicas'],
    edits: [
      {
        file: 'raft/raft.ts',
        find: "      case 'appendReply':\n      case 'timeoutNow':\n        return false",
        replace: "      case 'appendReply':\n        return true\n      case 'timeoutNow':\n        return false",
      },
    ],
  },
  {
    number: 4,
    name: 'acknowledged-before-the-save',
    hunters: ['cores', 'replicas'],
    bounds: { terms: 1, entries: 1, timeouts: 1 },
    edits: [
      {
        file: 'raft/raft.ts',
        find: 'this.#outbox.acknowledgeAfterSave(to, this.#acceptance(round, verified, verified))',
        replace: 'this.#outbox.send({ to, message: this.#acceptance(round, verified, verified) })',
      },
    ],
  },
  {
    number: 5,
    name: 'vote-given-before-the-save',
    hunters: ['cores', 'replicas'],
    bounds: { terms: 1, entries: 1, timeouts: 1 },
    edits: [
      {
        file: 'raft/raft.ts',
        find: 'this.#outbox.sendAfterSave(from, reply)',
        replace: 'this.#outbox.send({ to: from, message: reply })',
      },
    ],
  },
  {
    number: 6,
    name: 'damage-taken-for-a-torn-tail',
    hunters: ['replicas'],
    edits: [{ file: 'replica/wal.ts', find: 'if (later !== undefined) {', replace: 'if (later === Number.NaN) {' }],
  },
  {
    number: 7,
    name: 'folder-not-synced-after-a-rename',
    hunters: ['replicas'],
    edits: [
      {
        file: 'replica/snapshots.ts',
        find: 'await this.#disk.rename(temporary, file)\n    await this.#disk.syncFolder(this.#folder)',
        replace: 'await this.#disk.rename(temporary, file)',
      },
    ],
  },
  {
    number: 8,
    name: 'reads-before-the-first-entry-of-the-term',
    hunters: ['cores', 'replicas'],
    bounds: { terms: 2, entries: 3, candidacies: 2, reads: 1 },
    edits: [
      { file: 'raft/leadership.ts', find: 'Math.max(commit, this.startIndex)', replace: 'commit' },
      {
        file: 'raft/raft.ts',
        find: 'leadership === undefined || this.#log.commit < leadership.startIndex',
        replace: 'leadership === undefined',
      },
    ],
  },
  {
    number: 9,
    name: 'read-answered-by-an-older-round',
    hunters: ['cores', 'replicas'],
    edits: [
      {
        file: 'raft/rounds.ts',
        find: 'this.#waiting.push({ id, index, round: undefined })',
        replace: 'this.#waiting.push({ id, index, round: this.current })',
      },
    ],
  },
  {
    number: 10,
    name: 'lease-from-when-answers-came',
    hunters: ['cores', 'replicas'],
    edits: [
      {
        file: 'raft/leadership.ts',
        find: 'return at === undefined ? undefined : at + this.#options.electionTimeoutMin / 2',
        replace:
          'return at === undefined ? undefined : this.contactAt(configuration, Number.POSITIVE_INFINITY) + this.#options.electionTimeoutMin / 2',
      },
    ],
  },
  {
    number: 11,
    name: 'pre-vote-begins-a-term',
    hunters: ['cores'],
    edits: [
      {
        file: 'raft/raft.ts',
        find: "const changes = this.#role !== 'preCandidate'",
        replace: "const changes = this.#role !== 'preCandidate'\n    this.#term++\n    this.#vote = ''",
      },
    ],
  },
  {
    number: 12,
    name: 'learner-counted',
    hunters: ['cores'],
    edits: [
      {
        file: 'raft/quorum.ts',
        find: 'if (voter) values.push(reachedBy(id))',
        replace: 'if (id !== undefined || voter) values.push(reachedBy(id))',
      },
    ],
  },
  {
    number: 13,
    name: 'two-changes-under-way',
    hunters: ['cores'],
    edits: [
      {
        file: 'raft/raft.ts',
        find: 'if (commit < leadership.startIndex || configurations.latestIndex > commit) return undefined',
        replace: 'if (commit < leadership.startIndex) return undefined',
      },
    ],
  },
  {
    number: 14,
    name: 'change-before-the-first-entry-of-the-term',
    hunters: ['cores', 'scenarios'],
    edits: [
      {
        file: 'raft/raft.ts',
        find: 'if (commit < leadership.startIndex || configurations.latestIndex > commit) return undefined',
        replace: 'if (configurations.latestIndex > commit) return undefined',
      },
    ],
  },
  {
    number: 15,
    name: 'snapshot-without-configuration',
    hunters: ['cores', 'replicas'],
    edits: [
      {
        file: 'raft/replicated-log.ts',
        find: 'return { index, term, configuration, configurationIndex }',
        replace: 'return { index, term, configuration: configuration && noConfiguration, configurationIndex }',
      },
    ],
  },
  {
    number: 16,
    name: 'log-pruned-before-the-snapshot-is-durable',
    hunters: ['replicas'],
    edits: [
      {
        file: 'replica/snapshotting.ts',
        find: 'await snapshots.write(mark, machine.snapshot())\n',
        replace: 'await wal.compact(mark.index + 1)\n    await snapshots.write(mark, machine.snapshot())\n',
      },
    ],
  },
  {
    number: 17,
    name: 'snapshot-index-off-by-one',
    hunters: ['replicas'],
    edits: [
      {
        file: 'replica/snapshotting.ts',
        find: 'const mark = raft.markAt(applier.index)',
        replace: 'const mark = raft.markAt(applier.index - 1)',
      },
    ],
  },
  {
    number: 18,
    name: 'chunk-of-an-older-stream-taken',
    hunters: ['replicas'],
    edits: [
      // With the usual size, the snapshots of these clusters are one chunk.
      { file: 'replica/transfer.ts', find: 'const chunkBytes = 256 * 1024', replace: 'const chunkBytes = 150' },
      {
        file: 'replica/transfer.ts',
        find: 'if (receiving === undefined || receiving.transfer !== transfer || receiving.from !== from) {',
        replace: 'if (receiving === undefined || receiving.done) {',
      },
    ],
  },
  {
    number: 19,
    name: 'requests-not-in-the-snapshot',
    hunters: ['agents'],
    edits: [{ file: 'store/store.ts', find: 'origins: this.#origins.rows(),', replace: 'origins: [],' }],
  },
  {
    number: 20,
    name: 'watcher-registered-after-the-read',
    hunters: ['agents'],
    edits: [
      {
        file: 'agent/agent.ts',
        find: 'const unwatches = topics.map((topic) => this.#store.watch(topic, done))',
        replace:
          'const unwatches: (() => void)[] = []\n      this.#deadlines.at(this.#io.clock.now() + 500, () => unwatches.push(...topics.map((topic) => this.#store.watch(topic, done))))',
      },
    ],
  },
  {
    number: 21,
    name: 'index-not-raised-by-a-deletion',
    hunters: ['agents'],
    edits: [
      {
        file: 'store/catalog.ts',
        find: 'if (this.rows.hasInstances(name)) this.marks.serviceChanged(index, node, name)',
        replace: 'if (this.rows.hasInstances(name)) return',
      },
      // Its checks go with an instance.
      {
        file: 'store/catalog.ts',
        find: 'this.marks.checkChanged(index, check, undefined)\n    this.#healthChanged(index, check)\n',
        replace: 'this.marks.checkChanged(index, check, undefined)\n',
      },
    ],
  },
  {
    number: 22,
    name: 'session-timers-not-begun-anew',
    hunters: ['sessions', 'agents'],
    edits: [
      {
        file: 'agent/session-clock.ts',
        find: 'if (term !== this.#term) this.#begin(term)',
        replace: 'this.#term = term',
      },
    ],
  },
  {
    number: 23,
    name: 'refutation-without-a-higher-incarnation',
    hunters: ['gossip', 'agents'],
    edits: [
      {
        file: 'gossip/membership.ts',
        find: "{ ...this.own.member, incarnation }, 'alive', this.own.since",
        replace: "{ ...this.own.member, incarnation: incarnation - 1 }, 'alive', this.own.since",
      },
    ],
  },
  {
    number: 24,
    name: 'suspicion-outlives-its-refutation',
    hunters: ['gossip', 'agents'],
    edits: [{ file: 'gossip/membership.ts', find: '    this.#suspicions.delete(name)\n', replace: '' }],
  },
  {
    number: 25,
    name: 'servers-changed-whoever-is-silent',
    hunters: ['agents', 'replicas'],
    edits: [
      {
        file: 'replica/majority.ts',
        find: 'return voting.length - silent.length >= majority(voting.length) ? undefined : { voting, silent }',
        replace: 'return voting.length > 0 || silent.length === 0 ? undefined : { voting, silent }',
      },
    ],
  },
]
