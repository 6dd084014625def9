/** `operator raft …` and `operator autopilot …`: the servers, and how they are taken in and let go. */
import type { AutopilotShape } from '../client/shapes.ts'
import { parseDuration } from '../health/duration.ts'
import { type Call, type Command, columns } from './command.ts'
import type { Flag } from './flags.ts'

const datacenter: Flag = {
  name: 'datacenter',
  takes: 'value',
  value: 'name',
  help: "Datacenter to ask. Default: the agent's.",
}
const reading: readonly Flag[] = [
  datacenter,
  { name: 'stale', takes: 'nothing', help: 'Any server may answer, from what it knows.' },
]

const options = (given: ReadonlyMap<string, string>) => {
  const dc = given.get('datacenter') ?? ''
  return { ...(given.get('stale') === 'true' ? { stale: true } : {}), ...(dc === '' ? {} : { datacenter: dc }) }
}

export const listPeers: Command = {
  name: 'operator raft list-peers',
  usage: 'operator raft list-peers [options]',
  summary: 'Lists the servers of the Raft configuration',
  failing: 'Error getting peers: Failed to retrieve raft configuration',
  flags: reading,
  async run({ client, given, out }: Call) {
    const { value } = await client.operator.raftConfiguration(options(given))
    const rows = value.Servers.map(({ ID, Node, Address, Leader, Voter, ProtocolVersion }) => [
      Node,
      ID,
      Address,
      Leader ? 'leader' : 'follower',
      String(Voter),
      ProtocolVersion,
    ])
    for (const line of columns([['Node', 'ID', 'Address', 'State', 'Voter', 'RaftProtocol'], ...rows])) out(line)
    return 0
  },
}

export const removePeer: Command = {
  name: 'operator raft remove-peer',
  usage: 'operator raft remove-peer (-address ADDRESS | -id ID) [options]',
  summary: 'Takes a server out of the Raft configuration; prefer force-leave for one that is still a member',
  failing: 'Error removing peer',
  flags: [
    datacenter,
    { name: 'address', takes: 'value', value: 'host:port', help: 'Of its server port, as list-peers shows it.' },
    { name: 'id', takes: 'value', value: 'id', help: 'Its node id.' },
  ],
  async run({ client, given, out }: Call) {
    const address = given.get('address') ?? ''
    const id = given.get('id') ?? ''
    if (address === '' && id === '') throw new Error('an address or id is required for the peer to remove')
    if (address !== '' && id !== '') throw new Error('cannot give both an address and id')
    await client.operator.removePeer(id === '' ? { address } : { id }, options(given))
    out(`Removed peer with ${id === '' ? `address "${address}"` : `id "${id}"`}`)
    return 0
  },
}

export const getAutopilot: Command = {
  name: 'operator autopilot get-config',
  usage: 'operator autopilot get-config [options]',
  summary: 'Shows how autopilot behaves',
  failing: 'Error querying Autopilot configuration',
  flags: reading,
  async run({ client, given, out }: Call) {
    const { value } = await client.operator.autopilot(options(given))
    for (const line of lines(value)) out(line)
    return 0
  },
}

const lines = (config: AutopilotShape): string[] => [
  `CleanupDeadServers = ${config.CleanupDeadServers}`,
  `LastContactThreshold = ${config.LastContactThreshold}`,
  `MaxTrailingLogs = ${config.MaxTrailingLogs}`,
  `MinQuorum = ${config.MinQuorum}`,
  `ServerStabilizationTime = ${config.ServerStabilizationTime}`,
  `RedundancyZoneTag = ${JSON.stringify(config.RedundancyZoneTag)}`,
  `DisableUpgradeMigration = ${config.DisableUpgradeMigration}`,
  `UpgradeVersionTag = ${JSON.stringify(config.UpgradeVersionTag)}`,
]

type Setting = { flag: Flag; field: keyof AutopilotShape; read: (text: string) => boolean | number | string }

const settings: readonly Setting[] = [
  setting('cleanup-dead-servers', 'CleanupDeadServers', '', 'Let dead servers go. True or false.', isTrue),
  setting('disable-upgrade-migration', 'DisableUpgradeMigration', '', 'Kept, and without effect here.', isTrue),
  setting(
    'last-contact-threshold',
    'LastContactThreshold',
    '200ms',
    'Who has not answered the leader for longer is not healthy.',
    duration,
  ),
  setting(
    'max-trailing-logs',
    'MaxTrailingLogs',
    'number',
    "Who lacks more of the leader's last entries is not healthy.",
    whole,
  ),
  setting('min-quorum', 'MinQuorum', 'number', 'Let nobody go when fewer voters than this would be left.', whole),
  setting('redundancy-zone-tag', 'RedundancyZoneTag', 'tag', 'Kept, and without effect here.', String),
  setting(
    'server-stabilization-time',
    'ServerStabilizationTime',
    '10s',
    'For so long a new server must have been healthy before it votes.',
    duration,
  ),
  setting('upgrade-version-tag', 'UpgradeVersionTag', 'tag', 'Kept, and without effect here.', String),
]

function setting(
  name: string,
  field: keyof AutopilotShape,
  value: string,
  help: string,
  read: Setting['read'],
): Setting {
  const flag: Flag = value === '' ? { name, takes: 'nothing', help } : { name, takes: 'value', value, help }
  return { flag, field, read }
}

function isTrue(text: string): boolean {
  return text === 'true'
}

function duration(text: string): string {
  parseDuration(text)
  return text
}

function whole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new Error(`strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`)
  return Number(text)
}

export const setAutopilot: Command = {
  name: 'operator autopilot set-config',
  usage: 'operator autopilot set-config [options]',
  summary: 'Changes how autopilot behaves: what is not given stays as it is',
  failing: 'Error setting Autopilot configuration',
  flags: [datacenter, ...settings.map(({ flag }) => flag)],
  async run({ client, given, out, err }: Call) {
    const changes: [string, boolean | number | string][] = []
    for (const { flag, field, read } of settings) {
      const text = given.get(flag.name)
      if (text === undefined) continue
      try {
        changes.push([field, read(text)])
      } catch (error) {
        err(`invalid value ${JSON.stringify(text)} for flag -${flag.name}: ${(error as Error).message}`)
        return 1
      }
    }
    const { value } = await client.operator.autopilot(options(given))
    const cas = value.ModifyIndex
    const changed = { ...value, ...Object.fromEntries(changes) }
    if (!(await client.operator.setAutopilot(changed, { ...options(given), cas }))) {
      out('Configuration could not be atomically updated, please try again')
      return 1
    }
    out('Configuration updated!')
    return 0
  },
}
