/**
 * One seed: three servers and one or two other agents come together by gossip and are used while things go wrong, watched
 * by the checkers. Then everything heals, and within a minute they have to agree about everything: leader, voters,
 * members, stores, and a catalog that says what the agents know. Then they have to be quiet.
 */
import { createHash } from 'node:crypto'
import { Random } from '../../src/io/random.ts'
import { type Millis, serfHealthId } from '../../src/model.ts'
import { Ledger, Violation } from './agent-checkers.ts'
import { Clients, instancesIn } from './agent-clients.ts'
import { AgentNemesis, type AgentPlan, drawAgentPlan, healWithin } from './agent-faults.ts'
import { Agents, type Life, type Station, votersOf } from './agents.ts'
import { World } from './world.ts'

export interface AgentRunOptions {
  /** Of faults. */
  duration?: Millis
  logging?: boolean
}

export interface AgentRunResult {
  seed: number
  failure: Error | undefined
  plan: AgentPlan
  lines: readonly string[]
  /** Stands for everything that happened; of all lines when they are kept. */
  trace: string
  acknowledged: number
  reads: number
  dnsAnswers: number
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

export async function runAgents(seed: number, options: AgentRunOptions = {}): Promise<AgentRunResult> {
  const { duration = 40_000, logging = false } = options
  const world = new World(seed, { logging })
  const random = new Random(world.random.word())
  const plan = drawAgentPlan(random)
  const ledger = new Ledger()
  let failure: Error | undefined
  const fail = (error: Error) => {
    failure ??= error
  }
  const agents = new Agents({
    world,
    ledger,
    random: new Random(random.word()),
    replica: { snapshotEntries: random.pick([30, 200, 8192])!, trailingEntries: random.pick([0, 10, 1000])! },
    fail,
  })
  const everyoneExpects = random.chance(0.3)
  for (const name of ['s1', 's2', 's3'])
    agents.add(name, { server: true, expect: everyoneExpects || name === 's1' ? 3 : 0 })
  for (const name of ['c1', 'c2'].slice(0, random.between(1, 2))) agents.add(name, { server: false, expect: 0 })
  const clients = new Clients({ world, agents, ledger, random: new Random(random.word()), fail })
  const nemesis = new AgentNemesis({
    world,
    agents,
    random: new Random(random.word()),
    plan,
    onWipe: (name) => clients.wiped(name),
    missing: () => disagreement(agents, ledger),
  })
  agents.onStart = (station) => clients.checkLocal(station)
  world.onHalt = (name, reason) => {
    agents.station(name).life = undefined
    if ('code' in reason && reason.code === 'EIO') return
    fail(new Violation(`${name} halted: ${reason.stack}`))
  }
  const during = (condition: () => boolean, limit: Millis, step: Millis) =>
    world.runWhile(() => failure === undefined && condition(), limit, step)
  let convergence = 0
  try {
    nemesis.prepare()
    for (const { name } of agents.stations.values()) world.after(random.fraction() * 3000, () => agents.start(name))
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
    const stateBefore = standing(agents)
    await during(() => true, quiet, quiet)
    expectNone(failure, missing() ?? dnsDisagreement(agents), `after ${quiet} quiet ms`)
    if (standing(agents) !== stateBefore) {
      throw new Violation(
        `nobody changes anything, yet within ${quiet} ms leader, term, last index went from ${stateBefore} to ` +
          `${standing(agents)}, the last command from ${before} to ${ledger.last}`,
      )
    }
    expectNone(failure, clients.checkEnd(), 'at the end')
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
    trace: createHash('md5')
      .update([...facts, ...world.lines].join('\n'))
      .digest('hex'),
    acknowledged: ledger.acknowledged,
    reads: ledger.reads,
    dnsAnswers: clients.dnsAnswers,
    entries: ledger.entries,
    terms: ledger.terms,
    simulated: world.now,
    convergence,
  }
}

function expectNone(failure: Error | undefined, missing: string | undefined, when: string): void {
  if (failure !== undefined) throw failure
  if (missing !== undefined) throw new Violation(`${when}: ${missing}`)
}

function standing(agents: Agents): string {
  const leader = agents.leader()
  const { term, last_log_index: last } = leader?.life.agent.statistics().raft ?? {}
  return `${leader?.name} ${term} ${last}`
}

type Up = Station & { life: Life }

/** What the agents do not agree about yet; undefined: all is as it should be. */
function disagreement(agents: Agents, ledger: Ledger): string | undefined {
  const stations = [...agents.stations.values()]
  const expected = stations.filter(({ gone }) => gone === undefined)
  const up = agents.running()
  for (const { name } of expected) if (!up.some((each) => each.name === name)) return `${name} is not up`
  const leader = agents.leader()
  if (leader === undefined) return 'nobody leads'
  const voters = votersOf(leader.life)
  for (const { name, server, id, life } of up) {
    const { agent } = life
    if (agent.leader() !== leader.life.agent.leader()) return `${name} follows "${agent.leader()}", not ${leader.name}`
    if (server && !voters.includes(id)) return `${name} does not vote`
    if (agent.identity.cluster !== ledger.cluster) return `${name} is in cluster "${agent.identity.cluster}"`
    if (server && votersOf(life).sort().join() !== voters.slice().sort().join()) return `${name} knows other voters`
  }
  const former = new Set(stations.flatMap(({ id, gone }) => (gone === 'left' ? [] : [id])))
  const stranger = voters.find((id) => !former.has(id))
  if (stranger !== undefined) return `${stranger} still votes`
  for (const each of up) {
    const missing = membersMissing(each, stations) ?? catalogMissing(each, stations)
    if (missing !== undefined) return missing
  }
  return undefined
}

/** Whether gossip at one agent says of everybody what is true. */
function membersMissing({ name, life }: Up, stations: readonly Station[]): string | undefined {
  const members = new Map(life.agent.members('lan').map((member) => [member.name, member]))
  for (const { name: other, gone, id } of stations) {
    const member = members.get(other)
    const status = member?.status
    const right =
      gone === undefined
        ? status === 'alive'
        : gone === 'dead'
          ? status === 'failed'
          : status === 'left' || status === undefined
    if (!right) return `${name} believes ${other} to be ${status}${gone === undefined ? '' : `, it is ${gone}`}`
    if (gone === undefined && member?.tags.id !== id) return `${name} knows ${other} by a former id`
  }
  return undefined
}

/** Whether the catalog in one agent's store says of everybody what that agent itself knows. */
function catalogMissing({ name, life }: Up, stations: readonly Station[]): string | undefined {
  for (const station of stations) {
    const known = life.store.node(station.name).value
    const about = `the catalog at ${name} says of ${station.name}`
    if (station.gone === 'left') {
      if (known !== undefined) return `${about} that it is there, but it left`
      continue
    }
    if (known === undefined) return `${about} nothing`
    const health = known.checks.find(({ id }) => id === serfHealthId)?.status
    const expected = station.gone === undefined ? 'passing' : 'critical'
    if (health !== expected) return `${about} serfHealth ${health}, expected ${expected}`
    const isServer = known.services.some(({ id }) => id === 'consul')
    if (isServer !== station.server) return `${about} that it is ${isServer ? 'a' : 'no'} server`
    if (station.life === undefined) continue
    if (known.node.id !== station.id) return `${about} another id`
    const { local } = station.life.agent
    const services = local.services().map(({ definition: { id, port, tags } }) => `${id}:${port} ${tags.join()}`)
    const listed = known.services.flatMap(({ id, port, tags }) =>
      id === 'consul' ? [] : [`${id}:${port} ${tags.join()}`],
    )
    if (services.sort().join() !== listed.sort().join()) return `${about} services ${listed}, it has ${services}`
    const checks = local.checks().map(({ result: { id, status, serviceId } }) => `${id} ${serviceId} ${status}`)
    const held = known.checks.flatMap(({ id, status, serviceId }) =>
      id === serfHealthId ? [] : [`${id} ${serviceId} ${status}`],
    )
    if (checks.sort().join() !== held.sort().join()) return `${about} checks ${held}, it has ${checks}`
  }
  return undefined
}

/** Whether DNS names the same everywhere: what is passing. */
function dnsDisagreement(agents: Agents): string | undefined {
  const [first, ...others] = agents.running()
  if (first === undefined) return 'nobody is up'
  for (const service of ['web', 'db']) {
    const expected = instancesIn(first.life.store, service).join(' ')
    for (const { name } of [first, ...others]) {
      const answers = agents.ask(name, `${service}.service.consul.`, 'SRV')?.answers ?? []
      const named = answers.flatMap(({ data }) => (data.type === 'SRV' ? [`${data.target[0]}:${data.port}`] : []))
      if (named.sort().join(' ') !== expected)
        return `DNS of ${name} names ${named} for ${service}, expected ${expected}`
    }
  }
  return undefined
}
