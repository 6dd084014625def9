/**
 * One seed: a cluster under faults while clients write and read, watched by the checkers; then everything heals, and the
 * cluster has to agree and serve again within ten seconds.
 */
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { History, Violation } from './checkers.ts'
import { Clients } from './clients.ts'
import { Cluster } from './cluster.ts'
import { drawPlan, Nemesis, type Plan } from './faults.ts'
import { Invariants } from './invariants.ts'
import { Keys, Reference } from './keys.ts'
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
  /** What clients asked, and what of it was done. */
  operations: number
  writes: number
  reads: number
  leaseReads: number
  faults: number
  elections: number
  snapshots: number
  /** Lives of nodes after their first. */
  restarts: number
  /** Servers that lost their log or what was in it, and came back under another id. */
  repairs: number
  /** 1: the search for an order of all operations did not come to an end. */
  undecided: number
  /** How often each kind of fault came. */
  faultsByKind: Readonly<Record<string, number>>
  /** How much time passed. */
  simulated: Millis
  /** From the end of the faults until all agreed. */
  convergence: Millis
  /** Of everything that happened: the same seed gives the same. */
  fingerprint: string
}

const patience: Millis = 10_000

/** No run has so much under way at once, unless something grows without end. */
const pendingMax = 50_000

export const faultsDefault: Millis = 30_000

export async function run(seed: number, options: RunOptions = {}): Promise<RunResult> {
  const { stackTraceLimit } = Error
  // Most errors here are answers, and their stacks cost more than they do. Whoever wants to know more asks for the log.
  if (options.logging !== true) Error.stackTraceLimit = 0
  try {
    return await runSeed(seed, options)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

async function runSeed(
  seed: number,
  { duration = faultsDefault, logging = false, lies = false }: RunOptions,
): Promise<RunResult> {
  const world = new World(seed, { logging })
  const random = new Random(world.random.word())
  const history = new History()
  const reference = new Reference()
  const plan = drawPlan(random)
  const size = random.pick([1, 3, 3, 3, 5])!
  const proposalsMax = random.pick([8, 100, 8192])!
  const invariants = new Invariants(history, proposalsMax)
  const cluster = new Cluster<Keys>(
    world,
    history,
    {
      snapshotEntries: random.pick([5, 20, 100, 100_000])!,
      trailingEntries: random.pick([0, 5, 50])!,
      wal: { segmentBytes: random.pick([2_000, 20_000, 1_000_000])!, zeroBytes: random.pick([0, 512, 4096])! },
      proposalsMax,
    },
    {
      machine: (name) => new Keys(name, reference),
      disk: (id, disk) => invariants.disk(id, disk),
      started: (id, replica, disk) => invariants.started(id, replica, disk),
      changed: (id, replica) => invariants.changed(id, replica),
    },
  )
  let failure: Error | undefined
  world.onHalt = (node, reason) => {
    const code = 'code' in reason ? reason.code : undefined
    const known = code === 'EIO' || code === 'ENOSPC'
    if (!known) failure ??= reason instanceof Violation ? reason : new Violation(`${node} halted: ${reason.stack}`)
    cluster.member(node).replica = undefined
  }
  world.network.onFrameSent = (bytes) => invariants.sent(bytes)
  const names = ['a', 'b', 'c', 'd', 'e'].slice(0, size)
  const spare = plan.changes ? ['x', 'y'] : []
  for (const name of [...names, ...spare]) {
    cluster.add(name)
    world.nodes.get(name)!.disk.lies = lies
    cluster.start(name)
  }
  const clients = new Clients(
    { world, cluster, reference, random },
    {
      // From one operation in several seconds to dozens in one.
      pause: 60 * 100 ** random.fraction(),
      keys: random.pick([4, 16, 16])!,
      valueLength: random.pick([1, 1, 1, 1, 1, 1, 200, 5_000])!,
      repeats: random.chance(0.4),
    },
    (error) => {
      failure ??= error
    },
  )
  const nemesis = new Nemesis(world, cluster, random, plan, lies ? noDisks : invariants)
  let convergence = 0
  let undecided = 0
  const passes = (condition: () => boolean, limit: Millis, step?: Millis) =>
    world.runWhile(() => failure === undefined && condition(), limit, step)
  try {
    if (!(await passes(() => cluster.running().length < cluster.members.size, 1000))) {
      throw new Violation('the nodes do not start')
    }
    const servers = names.map((name) => ({ id: name, address: cluster.member(name).address, voter: true }))
    const bootstrapped = cluster.member('a').replica!.bootstrap({ cluster: 'simulated', servers })
    bootstrapped.catch(() => {})
    for (let client = 0; client < random.between(1, 6); client++) clients.begin()
    if (!(await passes(() => cluster.leader() === undefined, patience))) throw new Violation('nobody is elected')
    nemesis.begin()
    const end = world.now + duration
    await passes(
      () => {
        if (world.pending > pendingMax) failure ??= new Violation(`${world.pending} things are under way at once`)
        return world.now < end
      },
      duration,
      100,
    )
    nemesis.end()
    world.note('all is well again')
    const healed = world.now
    // A write of its own: without one, an older term's entries may rightly stay uncommitted.
    const acknowledged = clients.acknowledged
    clients.begin(100, 1)
    const converged = () =>
      clients.acknowledged > acknowledged &&
      cluster.broken.size === 0 &&
      agreement(cluster) === undefined &&
      (cluster.isWhole() || plan.changes)
    await passes(() => !converged(), patience)
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
    if (!(await passes(() => ends().size > 1, patience))) {
      throw new Violation(`stores end at different indexes: ${[...ends()].join(', ')}`)
    }
    if (failure === undefined && !clients.finish()) undecided = 1
  } catch (error) {
    failure ??= error as Error
  }
  const faultsByKind = Object.fromEntries(nemesis.counts)
  return {
    seed,
    failure,
    plan,
    lines: world.lines,
    operations: clients.operations,
    writes: clients.acknowledged,
    reads: clients.quorumReads,
    leaseReads: clients.leaseReads,
    faults: [...nemesis.counts.values()].reduce((sum, count) => sum + count, 0),
    elections: invariants.elections,
    snapshots: reference.snapshots,
    restarts: cluster.starts - cluster.members.size,
    repairs: cluster.repairs,
    undecided,
    faultsByKind,
    simulated: world.now,
    convergence,
    fingerprint: `${world.fingerprint >>> 0} ${world.random.word()} ${reference.index} ${clients.operations}`,
  }
}

/** When every disk lies nobody can say what is lost. */
const noDisks = { allLie: true, durable: () => 0, forgive: () => {} }

/** Why the members do not agree yet; undefined: they do. */
function agreement(cluster: Cluster<Keys>): string | undefined {
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
