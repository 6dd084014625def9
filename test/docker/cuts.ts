/**
 * Cuts one of three hosts off and heals it, again and again, while every host writes, reads and is watched: the three agree
 * again, nobody leads falsely, no acknowledged write is lost.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { addresses, type HostName, type Hosts, names, root } from './hosts.ts'
import type { Read, Seen, State, Write } from './witness.ts'

/** Seconds within which three hosts agree after a cable was plugged in again. */
const agreeWithin = 10
/**
 * A leader's lease is shorter than half the shortest election time-out, 500 ms; who was cut off longer ago than this
 * answers no default and no consistent read.
 */
const leaseOver = 1_000
const clock = () => Number(process.hrtime.bigint() / 1000n) / 1000

interface Cut {
  host: HostName
  /** It led when it was cut off. */
  led: boolean
  from: number
  to: number
}

export interface Round extends Cut {
  /** Seconds: how long it was cut off, until two hosts had a leader again, and from the healing until all agreed. */
  lasted: number
  leaderless: number
  agreed: number
  /** The last default or consistent read that the host answered, in ms after it was cut off; 0: none. */
  lastRead: number
}

export interface Figures {
  rounds: Round[]
  acknowledged: number
  reads: number
  terms: number
}

/** @throws AssertionError in the first round that breaks a promise */
export async function cutAndHeal(
  hosts: Hosts,
  count: number,
  say: (line: string) => void = () => {},
): Promise<Figures> {
  const witnesses = new Witnesses(hosts)
  const rounds: Round[] = []
  try {
    await witnesses.agreed(60, 0)
    for (let round = 0; round < count; round++) {
      rounds.push(await witnesses.round(round))
      say(roundLine(round, rounds.at(-1) as Round))
    }
    await witnesses.end()
    witnesses.expectFresh()
    const acknowledged = witnesses.expectAllWritten()
    return { rounds, acknowledged, reads: witnesses.reads, terms: witnesses.terms }
  } finally {
    await witnesses.end()
  }
}

function roundLine(round: number, { host, led, lasted, leaderless, agreed, lastRead }: Round): string {
  const who = `${host}, ${led ? 'the leader' : 'a follower'},`
  const reads = lastRead === 0 ? 'answered no read' : `answered its last read ${Math.round(lastRead)} ms after`
  const elected = led ? `; the others had a leader after ${leaderless.toFixed(2)} s` : ''
  return (
    `round ${round + 1}: ${who} cut off for ${lasted.toFixed(1)} s and ${reads}${elected}; ` +
    `all agreed ${agreed.toFixed(2)} s after it was healed`
  )
}

class Witnesses {
  readonly #hosts: Hosts
  readonly #children: ChildProcess[] = []
  readonly #ended: Promise<unknown>[] = []
  readonly #latest = new Map<HostName, State>()
  readonly #writes = new Map<HostName, Write[]>(names.map((name) => [name, []]))
  readonly #leaders = new Map<number, HostName>()
  readonly #cuts: Cut[] = []
  readonly #reads: Read[] = []
  #lastRead = new Map<HostName, number>()
  #broken: string | undefined
  #stderr = ''

  constructor(hosts: Hosts) {
    this.#hosts = hosts
    for (const name of names) {
      const words = [
        process.execPath,
        join(root, 'test/docker/witness.ts'),
        name,
        names.join(),
        'http://127.0.0.1:8500',
      ]
      const child = spawn(join(root, 'scripts/hosts.sh'), ['run', name, '--', ...words], {
        env: { ...process.env, ROLLCALL_HOSTS: hosts.set },
        stdio: ['pipe', 'pipe', 'pipe'],
      })
      child.stderr.on('data', (bytes) => {
        this.#stderr += bytes
      })
      createInterface(child.stdout).on('line', (line) => this.#see(JSON.parse(line) as Seen))
      this.#children.push(child)
      this.#ended.push(once(child, 'close'))
    }
  }

  get terms(): number {
    return this.#leaders.size
  }

  get reads(): number {
    return this.#reads.length
  }

  async round(round: number): Promise<Round> {
    const [state] = this.#latest.values()
    const leader = names.find((name) => state?.leader === `${addresses[name]}:8300`)
    assert.ok(leader !== undefined, 'somebody leads between two rounds')
    const followers = names.filter((name) => name !== leader)
    const led = round % 2 === 0
    const host = led ? leader : (followers[Math.floor(round / 2) % 2] as HostName)
    const others = names.filter((name) => name !== host)
    this.#lastRead.delete(host)
    this.#hosts.hosts('cut', host)
    const cut: Cut = { host, led, from: clock(), to: Number.POSITIVE_INFINITY }
    this.#cuts.push(cut)
    const states = () => others.map((name) => this.#latest.get(name) as State)
    await this.#until(30, `${others} have a leader without ${host}`, () =>
      states().every((each) => each.from > cut.from && others.some((o) => each.leader === `${addresses[o]}:8300`)),
    )
    const leaderless = led ? (Math.max(...states().map(({ to }) => to)) - cut.from) / 1000 : 0
    await this.#until(5, 'long enough to be noticed', () => clock() - cut.from > 1_500)
    // Three lengths: over before anybody is declared dead; long enough for that; longer than the dead are gossiped to.
    if (round % 5 !== 2) {
      await this.#until(60, `${others} hold ${host} for failed, and it holds them`, () => {
        const alone = this.#latest.get(host) as State
        return states().every(({ failed }) => failed.includes(host)) && others.every((o) => alone.failed.includes(o))
      })
    }
    if (round % 10 === 4) await this.#until(60, 'forty seconds more', () => clock() - cut.from > 45_000)
    this.#hosts.hosts('heal', host)
    cut.to = clock()
    const agreed = (await this.agreed(agreeWithin, cut.to)) / 1000
    const lasted = (cut.to - cut.from) / 1000
    return { ...cut, lasted, leaderless, agreed, lastRead: Math.max(0, (this.#lastRead.get(host) ?? 0) - cut.from) }
  }

  /** Resolves to how long after `since` all three had said: three alive, one leader, and applied what was committed. */
  async agreed(within: number, since: number): Promise<number> {
    let wanted = 0
    let at = 0
    await this.#until(within, 'the three agree', () => {
      const states = names.flatMap((name) => this.#latest.get(name) ?? [])
      if (states.length < names.length || states.some(({ from }) => from < since)) return false
      // What was committed when all had spoken for the first time.
      if (wanted === 0) wanted = Math.max(...states.map(({ commit }) => commit))
      at = Math.max(...states.map(({ to }) => to)) - since
      const [first] = states as [State]
      return states.every(
        ({ alive, leader, term, applied }) =>
          alive.join() === names.join() &&
          leader !== '' &&
          leader === first.leader &&
          term === first.term &&
          applied >= wanted,
      )
    })
    return at
  }

  /** Every write that was acknowledged is there, in the store of every host. Returns how many there were. */
  expectAllWritten(): number {
    let count = 0
    for (const [host, writes] of this.#writes) {
      const done = writes.filter((write) => write.done)
      assert.ok(done.length > 0, `nothing was written through ${host}`)
      for (const asked of names) {
        const keys = new Set(this.#hosts.get<string[]>(asked, `/v1/kv/cuts/${host}/?keys&consistent`))
        const lost = done.filter(({ n }) => !keys.has(`cuts/${host}/${n}`)).map(({ n }) => n)
        assert.deepEqual(lost, [], `writes through ${host} that were acknowledged and are not on ${asked}`)
      }
      count += done.length
    }
    return count
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.stdin?.end()
    await Promise.all(this.#ended)
  }

  #see(seen: Seen): void {
    if (seen.type === 'write') this.#writes.get(seen.host as HostName)?.push(seen)
    else if (seen.type === 'read') this.#judgeRead(seen)
    else {
      this.#latest.set(seen.host as HostName, seen)
      if (seen.role !== 'Leader') return
      const other = this.#leaders.get(seen.term)
      if (other !== undefined && other !== seen.host) {
        this.#broken ??= `${other} and ${seen.host} both led in term ${seen.term}`
      }
      this.#leaders.set(seen.term, seen.host as HostName)
    }
  }

  /** No read says less than was acknowledged before it was asked. Only once every line is in: hosts' lines come in any order. */
  expectFresh(): void {
    for (const { host, mode, of, n, from } of this.#reads) {
      const newest = this.#writes.get(of as HostName)?.findLast((write) => write.done && write.to < from)?.n ?? 0
      assert.ok(n >= newest, `a ${mode} read on ${host} of what ${of} wrote said ${n} after ${newest} was written`)
    }
  }

  #judgeRead(read: Read): void {
    this.#reads.push(read)
    const { host, mode, from, to } = read
    const cut = this.#cuts.at(-1)
    if (cut === undefined || cut.host !== host || to < cut.from || to > cut.to) return
    this.#lastRead.set(host as HostName, Math.max(this.#lastRead.get(host as HostName) ?? 0, to))
    if (from > cut.from + leaseOver) {
      this.#broken ??= `${host} answered a ${mode} read ${Math.round(from - cut.from)} ms after it was cut off`
    }
  }

  async #until(seconds: number, what: string, condition: () => boolean): Promise<void> {
    const deadline = clock() + seconds * 1000
    for (;;) {
      if (this.#broken !== undefined) assert.fail(this.#broken)
      if (condition()) return
      if (clock() > deadline) {
        const states = names.map((name) => JSON.stringify(this.#latest.get(name))).join('\n')
        assert.fail(`not so within ${seconds} s: ${what}\n${states}\n${this.#stderr}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
