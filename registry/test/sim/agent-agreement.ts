/** What agents have to agree about when all is well: leader, voters, members, a catalog that says what they know, DNS. */
import { serfHealthId } from '../../src/model.ts'
import type { Ledger } from './agent-checkers.ts'
import { instancesIn } from './agent-services.ts'
import { type Agents, type Life, type Station, votersOf } from './agents.ts'

/** Who leads, in which term, and how many entries there are that do not say where nodes are: that changes by itself. */
export function standing(agents: Agents, ledger: Ledger): string {
  const leader = agents.leader()
  const { term, last_log_index: last } = leader?.life.agent.statistics().raft ?? {}
  return `${leader?.name} ${term} ${Number(last) - ledger.measured}`
}

/** The leader has an entry that it has not applied. */
export function writing(agents: Agents): boolean {
  const raft = agents.leader()?.life.agent.statistics().raft
  return raft?.last_log_index !== raft?.applied_index
}

type Up = Station & { life: Life }

/** What the agents do not agree about yet; undefined: all is as it should be. */
export function disagreement(agents: Agents, ledger: Ledger): string | undefined {
  const stations = [...agents.stations.values()]
  const expected = stations.filter(({ gone }) => gone === undefined)
  const up = agents.running()
  for (const { name } of expected) if (!up.some((each) => each.name === name)) return `${name} is not up`
  const leader = agents.leader()
  if (leader === undefined) return 'nobody leads'
  const rival = up.find((each) => each.name !== leader.name && agents.leads(each))
  if (rival !== undefined) return `${rival.name} leads beside ${leader.name}`
  const voters = votersOf(leader.life)
  for (const { name, server, id, life } of up) {
    const { agent } = life
    if (agent.leader() !== leader.life.agent.leader()) return `${name} follows "${agent.leader()}", not ${leader.name}`
    if (server && !voters.includes(id)) return `${name} does not vote`
    if (agent.identity.cluster !== ledger.cluster) return `${name} is in cluster "${agent.identity.cluster}"`
    if (server && votersOf(life).sort().join() !== voters.slice().sort().join()) return `${name} knows other voters`
  }
  const former = new Set(stations.flatMap((each) => (fateOf(each, stations) === 'left' ? [] : [each.id])))
  const stranger = voters.find((id) => !former.has(id))
  if (stranger !== undefined) return `${stranger} still votes`
  for (const each of up) {
    const missing = membersMissing(each, stations) ?? catalogMissing(each, stations)
    if (missing !== undefined) return missing
  }
  return undefined
}

/**
 * What becomes of an agent that does not come back: one that died is known as that, but a server among an even number is let
 * go by autopilot, as if it had left, for a majority gets smaller by it.
 */
function fateOf({ gone, server }: Station, stations: readonly Station[]): Station['gone'] {
  const servers = stations.filter((each) => each.server).length
  return gone === 'dead' && server && servers > 2 && servers % 2 === 0 ? 'left' : gone
}

/** Whether gossip at one agent says of everybody what is true. */
function membersMissing({ name, life }: Up, stations: readonly Station[]): string | undefined {
  const members = new Map(life.agent.members('lan').map((member) => [member.name, member]))
  for (const station of stations) {
    const { name: other, id, host } = station
    const gone = fateOf(station, stations)
    const member = members.get(other)
    const status = member?.status
    const right =
      gone === undefined
        ? status === 'alive'
        : gone === 'dead'
          ? status === 'failed'
          : status === 'left' || status === undefined
    if (!right) return `${name} believes ${other} to be ${status}${gone === undefined ? '' : `, it is ${gone}`}`
    if (gone !== undefined) continue
    if (member?.tags.id !== id) return `${name} knows ${other} by a former id`
    if (member.address.host !== host) return `${name} knows ${other} at ${member.address.host}, it is at ${host}`
  }
  return undefined
}

/** Whether the catalog in one agent's store says of everybody what that agent itself knows. */
function catalogMissing({ name, life }: Up, stations: readonly Station[]): string | undefined {
  for (const station of stations) {
    const known = life.store.node(station.name).value
    const about = `the catalog at ${name} says of ${station.name}`
    if (fateOf(station, stations) === 'left') {
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
    if (known.node.address !== station.host) return `${about} address ${known.node.address}, it is ${station.host}`
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
export function dnsDisagreement(agents: Agents): string | undefined {
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
