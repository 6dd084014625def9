/**
 * One seed: servers and other agents come together by gossip and are used while things go wrong, watched by the checkers.
 * Then everything heals, and within a minute they have to agree about everything: leader, voters, members, stores, and a
 * catalog that says what the agents know. Then they have to be quiet.
 */
import { createHash } from 'node:crypto'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { disagreement, dnsDisagreement, standing, writing } from './agent-agreement.ts'
import { Ledger, Violation } from './agent-checkers.ts'
import { Clients } from './agent-clients.ts'
import { AgentNemesis, healWithin } from './agent-faults.ts'
import { type AgentPlan, drawAgentPlan } from './agent-plan.ts'
import { Agents, diskFailures } from './agents.ts'
import { World } from './world.ts'

export interface AgentRunOptions {
  /** Of faults. */
  duration?: Millis
  logging?: boolean
  /** So many servers and nobody else, instead of what the seed draws. */
  servers?: number
}

export interface AgentRunResult {
  seed: number
  failure: Error | undefined
  plan: AgentPlan
  lines: readonly string[]
  /** Stands for everything that happened; of all lines when they are kept. */
  fingerprint: string
  acknowledged: number
  reads: number
  dnsAnswers: number
  transactions: number
  /** Locks that somebody got. */
  acquired: number
  /** Sessions that the leader ended. */
  expired: number
  /** Answers to long polls. */
  woken: number
  /** Requests of all kinds, over HTTP and DNS. */
  operations: number
  faults: number
  snapshots: number
  entries: number
  terms: number
  /** How much time passed. */
  simulated: Millis
  /** From the end of the faults until all agreed. */
  convergence: Millis
}

/** After the last change: checks that nobody keeps up lapse. */
const lapse: Millis = 15_000
/** Longer than any reconciler's interval, on the slowest clock. */
const quiet: Millis = 85_000

const gossipKey = Buffer.alloc(16, 'gossip').toString('base64')

export async function runAgents(seed: number, options: AgentRunOptions = {}): Promise<AgentRunResult> {
  const { duration = 40_000, logging = false } = options
  const world = new World(seed, { logging })
  const random = new Random(world.random.word())
  const drawn = drawAgentPlan(random)
  const plan = options.servers === undefined ? drawn : { ...drawn, servers: options.servers, later: 0, observers: 0 }
  const ledger = new Ledger()
  let failure: Error | undefined
  const fail = (error: Error) => {
    failure ??= error
  }
  const agents = new Agents({
    world,
    ledger,
    random: new Random(random.word()),
    replica: {
      snapshotEntries: random.pick([30, 200, 8192])!,
      snapshotInterval: random.pick([0, 0, 10_000])!,
      trailingEntries: random.pick([0, 10, 1000])!,
    },
    // A third of all runs, without chance: with or without is the same run otherwise.
    ...(seed % 3 === 0 ? { encrypt: () => ({ key: gossipKey }) } : {}),
    fail,
  })
  const servers = numbered('s', plan.servers + plan.later)
  const later = servers.slice(plan.servers)
  for (const [place, name] of servers.entries()) {
    const expects = place === 0 || (plan.allExpect && !later.includes(name))
    agents.add(name, { server: true, expect: expects ? plan.servers : 0 })
  }
  for (const name of numbered('c', plan.observers)) agents.add(name, { server: false, expect: 0 })
  const clients = new Clients({ world, agents, ledger, random: new Random(random.word()), fail })
  const nemesis = new AgentNemesis({
    world,
    agents,
    random: new Random(random.word()),
    plan,
    later,
    duration,
    onWipe: (name) => clients.wiped(name),
    missing: () => disagreement(agents, ledger),
  })
  agents.onStart = (station) => clients.checkLocal(station)
  world.onHalt = (name, reason) => {
    agents.station(name).life = undefined
    if ('code' in reason && diskFailures.has(reason.code)) return
    fail(new Violation(`${name} halted: ${reason.stack}`))
  }
  const during = (condition: () => boolean, limit: Millis, step: Millis) =>
    world.runWhile(() => failure === undefined && condition(), limit, step)
  let convergence = 0
  try {
    nemesis.prepare()
    for (const { name } of agents.stations.values()) {
      if (!later.includes(name)) world.after(random.fraction() * 3000, () => agents.start(name))
    }
    clients.begin()
    if (!plan.early && !(await during(() => agents.leader() === undefined, healWithin, 100))) {
      throw new Violation(`there is no cluster after ${healWithin} ms`)
    }
    nemesis.begin()
    const end = world.now + duration
    await during(() => world.now < end, duration, 100)
    world.note('all is well again')
    const healed = world.now
    await nemesis.end()
    const missing = () => disagreement(agents, ledger)
    await during(() => missing() !== undefined, healWithin, 250)
    convergence = world.now - healed
    expectNone(failure, missing(), `${Math.round(convergence)} ms after all healed`)

    clients.end()
    await during(() => !clients.idle, 20_000, 250)
    await during(() => missing() !== undefined, healWithin, 250)
    await during(() => true, lapse, lapse)
    expectNone(failure, missing() ?? dnsDisagreement(agents), 'when no client changes anything any more')
    const before = ledger.last
    await during(() => writing(agents), healWithin, 10)
    const stateBefore = standing(agents, ledger)
    await during(() => true, quiet, quiet)
    await during(() => writing(agents), healWithin, 10)
    expectNone(failure, missing() ?? dnsDisagreement(agents), `after ${quiet} quiet ms`)
    if (standing(agents, ledger) !== stateBefore) {
      throw new Violation(
        `nobody changes anything, yet within ${quiet} ms leader, term, entries went from ${stateBefore} to ` +
          `${standing(agents, ledger)}, the last command from ${before} to ${ledger.last}`,
      )
    }
    let behind: string | undefined
    let looked = false
    clients.checkEnd().then((found) => {
      behind = found
      looked = true
    }, fail)
    await during(() => !looked, 20_000, 10)
    expectNone(failure, looked ? behind : 'a read at rest was not answered', 'at the end')
    for (const station of agents.running()) {
      clients.checkLocal(station)
      ledger.final(station.name, station.life.store)
    }
  } catch (error) {
    failure ??= error as Error
  }
  const facts = [world.now, world.random.word(), world.network.delivered, world.network.lost, ledger.last, ledger.shown]
  return {
    seed,
    failure,
    plan,
    lines: world.lines,
    fingerprint: createHash('md5')
      .update([...facts, ...world.lines].join('\n'))
      .digest('hex'),
    acknowledged: ledger.acknowledged,
    reads: ledger.reads,
    dnsAnswers: clients.dnsAnswers,
    transactions: clients.transactions,
    acquired: clients.locks.acquired,
    expired: clients.locks.expired,
    woken: clients.woken,
    operations: agents.requests + clients.dnsAnswers,
    faults: nemesis.faults,
    snapshots: agents.snapshots,
    entries: ledger.entries,
    terms: ledger.terms,
    simulated: world.now,
    convergence,
  }
}

function numbered(letter: string, count: number): string[] {
  return Array.from({ length: count }, (_, place) => `${letter}${place + 1}`)
}

function expectNone(failure: Error | undefined, missing: string | undefined, when: string): void {
  if (failure !== undefined) throw failure
  if (missing !== undefined) throw new Violation(`${when}: ${missing}`)
}
