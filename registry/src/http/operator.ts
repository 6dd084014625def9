/** `/v1/operator/raft/` and `/v1/operator/autopilot/`: the servers, and how they are taken in and let go. */
import type { ServerHealth } from '../agent/autopilot.ts'
import type { RaftServer } from '../agent/operator.ts'
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest } from '../errors.ts'
import { formatDuration, parseDuration } from '../health/duration.ts'
import { type AutopilotConfiguration, autopilotDefault, type Index, type Millis } from '../model.ts'
import type { Command } from '../store/command.ts'
import { readBody } from './body.ts'
import { Fields, parseJsonExactly } from './decode.ts'
import { type Answer, type Asked, type Endpoint, empty, json } from './endpoint.ts'
import { localOnly, parseUint64 } from './query.ts'
import { momentText } from './time.ts'

export function operatorEndpoints(surface: AgentSurface): Endpoint[] {
  const local = (answer: (asked: Asked) => Promise<Answer>) => (asked: Asked) => {
    localOnly(surface, asked.query.get('dc') ?? '')
    return answer(asked)
  }
  return [
    {
      path: '/v1/operator/raft/configuration',
      verbs: { GET: local(async (asked) => json(asked, await raftConfiguration(surface, asked))) },
    },
    { path: '/v1/operator/raft/peer', verbs: { DELETE: local((asked) => removePeer(surface, asked)) } },
    {
      path: '/v1/operator/autopilot/configuration',
      verbs: {
        GET: local(async (asked) => json(asked, await autopilotConfiguration(surface, asked))),
        PUT: local((asked) => setAutopilot(surface, asked)),
      },
    },
    {
      path: '/v1/operator/autopilot/health',
      verbs: {
        GET: local(async (asked) => {
          const { healthy, failureTolerance, servers } = await surface.operator.health()
          const shape = { Healthy: healthy, FailureTolerance: failureTolerance, Servers: servers.map(healthShape) }
          return json(asked, shape, undefined, healthy ? 200 : 429)
        }),
      },
    },
  ]
}

async function raftConfiguration(surface: AgentSurface, { query }: Asked): Promise<unknown> {
  const servers = await surface.operator.servers(query.has('stale'))
  // Consul 1.8 answers 0 whatever the index is.
  return { Servers: servers.map(serverShape), Index: 0 }
}

function serverShape({ id, name, address, leader, voter }: RaftServer): unknown {
  const known = name !== ''
  return {
    ID: id,
    Node: known ? name : '(unknown)',
    Address: address,
    Leader: leader,
    ProtocolVersion: known ? '3' : 'unknown',
    Voter: voter,
  }
}

async function removePeer(surface: AgentSurface, { query }: Asked): Promise<Answer> {
  const id = query.get('id')
  const address = query.get('address')
  if (id === null && address === null) {
    throw new BadRequest(
      "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
    )
  }
  if (id !== null && address !== null) throw new BadRequest('Bad request: Must specify only one of ?id or ?address')
  await surface.operator.removeServer(id === null ? { address: address ?? '' } : { id })
  return empty()
}

async function autopilotConfiguration(surface: AgentSurface, { query }: Asked): Promise<unknown> {
  const { view } = await surface.read(query.has('stale') ? 'stale' : 'default')
  const row = view.autopilot()
  const stamps = { CreateIndex: row?.createIndex ?? 0, ModifyIndex: row?.modifyIndex ?? 0 }
  return { ...configurationShape(row ?? autopilotDefault), ...stamps }
}

function configurationShape(configuration: AutopilotConfiguration): unknown & object {
  return {
    CleanupDeadServers: configuration.cleanupDeadServers,
    LastContactThreshold: formatDuration(configuration.lastContactThreshold),
    MaxTrailingLogs: configuration.maxTrailingLogs,
    MinQuorum: configuration.minQuorum,
    ServerStabilizationTime: formatDuration(configuration.serverStabilizationTime),
    RedundancyZoneTag: configuration.redundancyZoneTag,
    DisableUpgradeMigration: configuration.disableUpgradeMigration,
    UpgradeVersionTag: configuration.upgradeVersionTag,
  }
}

/** What a body leaves out is 0, or false, as in Consul: it is the whole configuration. */
async function setAutopilot(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const configuration = await readConfiguration(asked)
  const command: Command = { type: 'autopilot.set', configuration }
  const cas = asked.query.get('cas')
  if (cas !== null) command.cas = casIndex(cas)
  return json(asked, (await surface.write(command)).value)
}

function casIndex(text: string): Index {
  try {
    return Number(parseUint64(text))
  } catch (error) {
    throw new BadRequest(`Bad request: Error parsing cas value: ${(error as Error).message}`)
  }
}

async function readConfiguration({ request }: Asked): Promise<AutopilotConfiguration> {
  const bytes = await readBody(request)
  try {
    const fields = new Fields(parseJsonExactly(bytes), 'AutopilotConfiguration', 'api.AutopilotConfiguration')
    return {
      cleanupDeadServers: fields.boolean('CleanupDeadServers'),
      lastContactThreshold: readable(fields, 'LastContactThreshold'),
      maxTrailingLogs: safe(fields.unsigned('MaxTrailingLogs')),
      minQuorum: safe(fields.unsigned('MinQuorum', 'uint')),
      serverStabilizationTime: readable(fields, 'ServerStabilizationTime'),
      redundancyZoneTag: fields.text('RedundancyZoneTag'),
      disableUpgradeMigration: fields.boolean('DisableUpgradeMigration'),
      upgradeVersionTag: fields.text('UpgradeVersionTag'),
    }
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error
    const reason = error.message.replace(/^Request decode failed: /, '')
    throw new BadRequest(`Bad request: Error parsing autopilot config: ${reason}`)
  }
}

/** More than anybody has, and read back as it was written: an answer must be one that can be sent again. */
const safe = (value: number | bigint): number => Math.min(Number(value), Number.MAX_SAFE_INTEGER)

/** What fits in the 64 bits that Go keeps a duration in, as nanoseconds, whatever they were rounded to. */
const durationMax: Millis = 9_223_372_036_854

/** Consul's api.ReadableDuration: Go's syntax in quotes, or nanoseconds. */
function readable(fields: Fields, name: string): Millis {
  const value = fields.any(name)
  if (value === undefined) return 0
  if (typeof value === 'string') return parseDuration(value)
  if (typeof value === 'number' || typeof value === 'bigint') {
    const duration = Number(value) / 1e6
    // What no duration of Go's can be would be told to its clients, and to our own, in words they do not read.
    if (Math.abs(duration) < durationMax) return duration
    throw new BadRequest(`time: invalid duration ${JSON.stringify(String(value))}`)
  }
  throw new BadRequest(`strconv.ParseFloat: parsing ${JSON.stringify(JSON.stringify(value))}: invalid syntax`)
}

function healthShape(server: ServerHealth): unknown {
  return {
    ID: server.id,
    Name: server.name,
    Address: server.address,
    SerfStatus: server.serfStatus === 'suspect' ? 'alive' : server.serfStatus,
    Version: server.version,
    Leader: server.leader,
    LastContact: formatDuration(server.lastContact ?? 0),
    LastTerm: server.lastTerm,
    LastIndex: server.lastIndex,
    Healthy: server.healthy,
    Voter: server.voter,
    StableSince: momentText(server.stableSince),
  }
}
