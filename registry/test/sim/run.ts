/**
 * One seed: a cluster under faults while clients write and read, watched by the checkers; then everything heals, and the
 * cluster has to agree and serve again within ten seconds.
 */
import { Busy, LeadershipLost, NotLeader, Stopped } from '../../src/errors.ts'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { History, Violation } from './checkers.ts'
import { Cluster, keyOf, type List } from './cluster.ts'
import { drawPlan, Nemesis, type Plan } from './faults.ts'
import { World } from './world.ts'

export interface RunOptions {
  /** Of faults. */
  duration?: Millis
  logging?: boolean
  /** Disks say that they synced and did not: nothing can be promised then, and the checkers must see it. */
  lies?: boolean
}

export interface RunResult {
  seed: number
  failure: Error | undefined
  plan: Plan
  lines: readonly string[]
  writes: number
  reads: number
  leaseReads: number
  terms: number
  /** Servers that lost their log or what was in it, and came back under another id. */
  repairs: number
  /** How much time passed. */
  simulated: Millis
  /** From the end of the faults until all agreed. */
  convergence: Millis
}

const patience: Millis = 10_000

export async function run(
  seed: number,
  { duration = 8000, logging = false, lies = false }: RunOptions = {},
): Promise<RunResult> {
  const world = new World(seed, { logging })
  const random = new Random(world.random.word())
  const history = new History()
  const plan = drawPlan(random)
  const size = random.pick([1, 3, 3, 3, 5])!
  const cluster = new Cluster(world, history, {
    snapshotEntries: random.pick([20, 100, 100_000])!,
    trailingEntries: random.pick([0, 5, 50])!,
    wal: { segmentBytes: random.pick([2_000, 20_000, 1_000_000])!, zeroBytes: random.pick([0, 512, 4096])! },
  })
  let failure: Error | undefined
  world.onHalt = (node, reason) => {
    const code = 'code' in reason ? reason.code : undefined
    if (code !== 'EIO' && code !== 'ENOSPC') failure ??= new Violation(`${node} halted: ${reason.stack}`)
    cluster.member(node).replica = undefined
  }
  const names = ['a', 'b', 'c', 'd', 'e'].slice(0, size)
  const spare = plan.changes ? ['x', 'y'] : []
  for (const name of [...names, ...spare]) {
    cluster.add(name)
    world.nodes.get(name)!.disk.lies = lies
    cluster.start(name)
  }
  let convergence = 0
  try {
    if (!(await world.runWhile(() => cluster.running().length < cluster.members.size, 1000))) {
      throw new Violation('the nodes do not start')
    }
    const servers = names.map((name) => ({ id: name, address: cluster.member(name).address, voter: true }))
    const bootstrapped = cluster.member('a').replica!.bootstrap({ cluster: 'simulated', servers })
    bootstrapped.catch(() => {})
    const clients = new Clients(world, cluster, history, random)
    for (let client = 0; client < random.between(1, 6); client++) clients.begin()
    if (!(await world.runWhile(() => cluster.leader() === undefined, patience)))
      throw new Violation('nobody is elected')
    const nemesis = new Nemesis(world, cluster, random, plan)
    nemesis.begin()
    const end = world.now + duration
    await world.runWhile(() => failure === undefined && world.now < end, duration)
    nemesis.end()
    world.note('all is well again')
    const healed = world.now
    // A write of its own: without one, an older term's entries may rightly stay uncommitted.
    const acknowledged = history.acknowledged.size
    const converged = () =>
      history.acknowledged.size > acknowledged &&
      cluster.broken.size === 0 &&
      agreement(cluster) === undefined &&
      (cluster.isWhole() || plan.changes)
    await world.runWhile(() => failure === undefined && !converged(), patience)
    convergence = world.now - healed
    clients.end()
    if (failure === undefined && !converged()) {
      const reason =
        agreement(cluster) ??
        (cluster.isWhole() || plan.changes ? undefined : 'not all vote') ??
        [...cluster.broken.values()][0]?.message ??
        'no write is acknowledged'
      throw new Violation(`not well ${patience} ms after all healed: ${reason}`)
    }
    const members = cluster.leader()?.replica.status.configuration.servers ?? []
    const ends = () => new Set(members.map(({ id }) => cluster.member(id).list.index))
    if (!(await world.runWhile(() => failure === undefined && ends().size > 1, patience))) {
      throw new Violation(`stores end at different indexes: ${[...ends()].join(', ')}`)
    }
    for (const { id } of members) if (failure === undefined) history.final(id, cluster.member(id).list.writes)
    if (failure === undefined) history.linearizable()
  } catch (error) {
    failure ??= error as Error
  }
  return {
    seed,
    failure,
    plan,
    lines: world.lines,
    writes: history.acknowledged.size,
    reads: history.readsDone,
    leaseReads: history.leaseReadsDone,
    terms: history.terms,
    repairs: cluster.repairs,
    simulated: world.now,
    convergence,
  }
}

/** Why the members do not agree yet; undefined: they do. */
function agreement(cluster: Cluster): string | undefined {
  const leader = cluster.leader()
  if (leader === undefined) return 'there is no leader'
  for (const { id } of leader.replica.status.configuration.servers) {
    const { replica, list } = cluster.member(id)
    if (replica === undefined) return `${id} is not there`
    const { status } = replica
    if (status.leader !== leader.id) return `${id} follows "${status.leader}", not ${leader.id}`
    // Clients go on writing: as far as the slower one is, the checkers have compared them.
    if (leader.list.index - list.index > 50) return `${id} has applied ${list.index}, the leader ${leader.list.index}`
  }
  return undefined
}

class Clients {
  readonly #world: World
  readonly #cluster: Cluster
  readonly #history: History
  readonly #random: Random
  #active = true
  #count = 0
  /** Thrown inside a client; the run ends with it. */

  constructor(world: World, cluster: Cluster, history: History, random: Random) {
    this.#world = world
    this.#cluster = cluster
    this.#history = history
    this.#random = random
  }

  begin(): void {
    const step = () => {
      if (!this.#active) return
      const leader = this.#cluster.leader()
      // Mostly the leader; sometimes whoever else believes to lead, for that is where mistakes would be.
      const target = this.#random.chance(0.7) ? leader : this.#random.pick(this.#cluster.running())
      if (target !== undefined) {
        const { name } = target
        this.#world.nodeAt(name, this.#world.now, () => {
          const choice = this.#random.fraction()
          if (choice < 0.6) this.#write(target.name)
          else if (choice < 0.8) this.#quorumRead(target.name)
          else this.#leaseRead(target.name)
        })
      }
      this.#world.after(this.#random.fraction() * 80, step)
    }
    step()
  }

  end(): void {
    this.#active = false
  }

  #write(name: string): void {
    const { replica } = this.#cluster.member(name)
    if (replica === undefined) return
    const write = `w${++this.#count}`
    this.#history.began(write)
    const input = { type: 'put', key: keyOf(write), value: write } as const
    const call = this.#history.registers.called(name, input, this.#world.now)
    replica.propose(Buffer.from(write)).then(
      ({ index }) => {
        this.#history.acknowledge(write, index)
        call.returned({ type: 'written', done: true, index }, this.#world.now)
      },
      (error) => {
        if (error instanceof NotLeader || error instanceof Busy) {
          this.#history.refuse(write)
          call.refused()
        } else if (!(error instanceof LeadershipLost || error instanceof Stopped)) throw error
      },
    )
  }

  #quorumRead(name: string): void {
    const { replica, list } = this.#cluster.member(name)
    if (replica === undefined) return
    const before = this.#history.shown
    const answer = this.#beginRead(name, list)
    replica
      .readIndex()
      .then((index) => replica.waitApplied(index).then(() => index))
      .then(
        (index) => {
          if (replica.status.applied < index)
            throw new Violation(`${name} answers a read before it has applied ${index}`)
          if (list.index > replica.status.applied) throw new Violation(`${name}: the list is ahead of its replica`)
          this.#history.read(name, before, replica.status.applied, 'quorum')
          answer()
        },
        (error) => {
          if (!(error instanceof NotLeader || error instanceof Stopped)) throw error
        },
      )
      .catch((error) => this.#fail(error))
  }

  #leaseRead(name: string): void {
    const { replica, list } = this.#cluster.member(name)
    const index = replica?.leaseIndex()
    if (replica === undefined || index === undefined) return
    try {
      this.#history.read(name, this.#history.shown, index, 'lease')
    } catch (error) {
      this.#fail(error as Error)
    }
    const answer = this.#beginRead(name, list)
    replica.waitApplied(index).then(answer, (error) => {
      if (!(error instanceof Stopped)) this.#fail(error)
    })
  }

  /** Of some key; what the list says of it when the answer leaves is the answer. */
  #beginRead(name: string, list: List): () => void {
    const key = keyOf(`w${this.#random.between(0, 1000)}`)
    const call = this.#history.registers.called(name, { type: 'get', key }, this.#world.now)
    return () => call.returned({ type: 'read', found: list.registers.get(key) }, this.#world.now)
  }

  #fail(error: Error): void {
    this.#active = false
    this.#world.onHalt('a', error)
  }
}
