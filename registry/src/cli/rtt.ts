/** `rtt`: the round trip between two nodes, as their coordinates have it. */
import type { Client } from '../client/client.ts'
import type { CoordinateShape, NodeCoordinateShape } from '../client/shapes.ts'
import { roundTrip } from '../gossip/coordinate.ts'
import type { Coordinate } from '../model.ts'
import type { Call, Command } from './command.ts'

export const rtt: Command = {
  name: 'rtt',
  usage: 'rtt [options] node1 [node2]',
  summary: 'Estimates the round trip between two nodes, of which the second is the agent unless named',
  failing: 'Error getting coordinates',
  flags: [
    {
      name: 'wan',
      takes: 'nothing',
      help: 'Between servers of any datacenters, named node.datacenter, by WAN coordinates.',
    },
  ],
  async run({ client, given, rest, out, err }: Call) {
    const [from, second] = rest
    if (from === undefined || rest.length > 2) {
      err('One or two node names must be specified')
      return 1
    }
    const wan = given.get('wan') === 'true'
    const to = second ?? (await agentName(client, wan, err))
    if (to === undefined) return 1
    if (wan && [from, to].some((name) => serverName(name) === undefined)) {
      err('Node names must be specified as <node name>.<datacenter> with -wan')
      return 1
    }
    const places = wan ? await ofServers(client, [from, to]) : await ofNodes(client, [from, to])
    for (const [at, name] of [from, to].entries()) {
      if (places[at]?.size) continue
      err(`Could not find a coordinate for node "${name}"`)
      return 1
    }
    const [a, b] = places as [Map<string, Coordinate>, Map<string, Coordinate>]
    const estimated = roundTrip(a, b)
    if (estimated === undefined) {
      err(`The nodes "${from}" and "${to}" share no network segment`)
      return 1
    }
    out(`Estimated ${from} <-> ${to} rtt: ${estimated.toFixed(3)} ms (using ${wan ? 'WAN' : 'LAN'} coordinates)`)
    return 0
  },
}

async function agentName(client: Client, wan: boolean, err: Call['err']): Promise<string | undefined> {
  try {
    const { NodeName, Datacenter } = (await client.agent.self()).value.Config
    return wan ? `${NodeName}.${Datacenter}` : NodeName
  } catch (error) {
    err(`Unable to look up agent info: ${(error as Error).message}`)
    return undefined
  }
}

/** Names of nodes may have dots, those of datacenters have none. */
function serverName(name: string): { node: string; datacenter: string } | undefined {
  const dot = name.lastIndexOf('.')
  return dot <= 0 || dot === name.length - 1 ? undefined : { node: name.slice(0, dot), datacenter: name.slice(dot + 1) }
}

async function ofNodes(client: Client, names: readonly string[]): Promise<Map<string, Coordinate>[]> {
  const { value } = await client.coordinate.nodes()
  return names.map((name) => bySegment(value, name))
}

async function ofServers(client: Client, names: readonly string[]): Promise<Map<string, Coordinate>[]> {
  const { value } = await client.coordinate.datacenters()
  return names.map((name) => {
    const server = serverName(name)
    const there = value.find(({ Datacenter }) => Datacenter === server?.datacenter)
    return bySegment(there?.Coordinates ?? [], server?.node ?? '')
  })
}

/** Names compare without regard to case. */
function bySegment(rows: readonly NodeCoordinateShape[], name: string): Map<string, Coordinate> {
  const named = rows.filter(({ Node }) => Node.toLowerCase() === name.toLowerCase())
  return new Map(named.map(({ Segment, Coord }) => [Segment, coordinate(Coord)]))
}

function coordinate({ Vec, Error: error, Adjustment, Height }: CoordinateShape): Coordinate {
  return { vector: Vec, error, adjustment: Adjustment, height: Height }
}
