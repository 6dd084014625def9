/** `members`, `join`, `leave`, `force-leave`, `reload`, `info`: the agent and its company. */
import type { MemberShape } from '../client/shapes.ts'
import { BadPattern, compilePattern, type Pattern } from '../pattern.ts'
import { type Call, type Command, columns } from './command.ts'

const statusNames = ['none', 'alive', 'leaving', 'left', 'failed']

export const members: Command = {
  name: 'members',
  usage: 'members [options]',
  summary: 'Lists the members of the cluster',
  failing: 'Error retrieving members',
  flags: [
    { name: 'detailed', takes: 'nothing', help: 'Everything a member says of itself.' },
    {
      name: 'status',
      takes: 'value',
      value: 'pattern',
      help: 'Only members whose status matches this regular expression.',
    },
    { name: 'wan', takes: 'nothing', help: 'The pool of servers of all datacenters.' },
    { name: 'segment', takes: 'value', help: 'There are no segments: any but the default is an error.' },
    {
      name: 'format',
      takes: 'value',
      value: 'pretty|json',
      help: 'A table, or what the HTTP API answers. Default: pretty.',
    },
  ],
  async run({ client, given, out, err }: Call) {
    let pattern: Pattern
    try {
      pattern = compilePattern(given.get('status') ?? '.*')
    } catch (error) {
      if (!(error instanceof BadPattern)) throw error
      err(`Failed to compile status regexp: ${error.message}`)
      return 1
    }
    const format = given.get('format') ?? 'pretty'
    if (format !== 'pretty' && format !== 'json') {
      err(`Unknown format: ${format}`)
      return 1
    }
    const pool = given.get('wan') === 'true' ? 'wan' : 'lan'
    const answer = await client.agent.members(pool, given.get('segment') || '_all')
    const shown = answer.value.filter(({ Status }) => pattern.matches(statusNames[Status] ?? 'none'))
    shown.sort((a, b) => rank(a) - rank(b) || (a.Name < b.Name ? -1 : 1))
    if (format === 'json') out(JSON.stringify(shown, null, 4))
    else if (shown.length > 0) {
      for (const line of columns(given.get('detailed') === 'true' ? detailed(shown) : plain(shown))) out(line)
    }
    return shown.length === 0 ? 2 : 0
  },
}

/** Servers first, as Consul does. */
const rank = (member: MemberShape) => (member.Tags.role === 'consul' ? 0 : 1)

function plain(members: MemberShape[]): string[][] {
  return [
    ['Node', 'Address', 'Status', 'Type', 'Build', 'Protocol', 'DC', 'Segment'],
    ...members.map(({ Name, Addr, Port, Status, Tags, ProtocolCur }) => {
      const server = Tags.role === 'consul'
      return [
        Name,
        address(Addr, Port),
        statusNames[Status] ?? 'none',
        server ? 'server' : 'client',
        (Tags.build ?? '').replace(/:.*$/, ''),
        String(ProtocolCur),
        Tags.dc ?? '',
        segment(Tags),
      ]
    }),
  ]
}

function detailed(members: MemberShape[]): string[][] {
  return [
    ['Node', 'Address', 'Status', 'Tags'],
    ...members.map(({ Name, Addr, Port, Status, Tags }) => [
      Name,
      address(Addr, Port),
      statusNames[Status] ?? 'none',
      Object.entries({ ...Tags, segment: segment(Tags) })
        .map(([key, value]) => `${key}=${value}`)
        .sort()
        .join(','),
    ]),
  ]
}

/** Consul's words for what there is without segments. */
const segment = (tags: MemberShape['Tags']) => (tags.role === 'consul' ? '<all>' : '<default>')
const address = (host: string, port: number) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)

export const join: Command = {
  name: 'join',
  usage: 'join [options] address ...',
  summary: 'Makes the agent join a cluster',
  flags: [{ name: 'wan', takes: 'nothing', help: 'Join servers of another datacenter.' }],
  async run({ client, given, rest, out, err }: Call) {
    if (rest.length === 0) {
      err('At least one address to join must be specified.')
      return 1
    }
    let joined = 0
    for (const target of rest) {
      try {
        await client.agent.join(target, given.get('wan') === 'true' ? 'wan' : 'lan')
        joined++
      } catch (error) {
        err(`Error joining address '${target}': ${(error as Error).message}`)
      }
    }
    if (joined === 0) {
      err('Failed to join any nodes.')
      return 1
    }
    out(`Successfully joined cluster by contacting ${joined} nodes.`)
    return 0
  },
}

export const leave: Command = {
  name: 'leave',
  usage: 'leave [options]',
  summary: 'Makes the agent leave the cluster and end',
  failing: 'Error leaving',
  flags: [],
  async run({ client, rest, out, err }: Call) {
    // Whoever names a node means that node, and not this agent.
    if (rest.length > 0) {
      err(`Error found unexpected args: [${rest.join(' ')}]`)
      return 1
    }
    await client.agent.leave()
    out('Graceful leave complete')
    return 0
  },
}

export const forceLeave: Command = {
  name: 'force-leave',
  usage: 'force-leave [options] name',
  summary: 'Makes a failed member count as left',
  failing: 'Error force leaving',
  flags: [{ name: 'prune', takes: 'nothing', help: 'Forget the member altogether.' }],
  async run({ client, given, rest, err }: Call) {
    const [name] = rest
    if (name === undefined || rest.length > 1) {
      err('A single node name must be specified to force leave.')
      return 1
    }
    await client.agent.forceLeave(name, given.get('prune') === 'true')
    return 0
  },
}

export const reload: Command = {
  name: 'reload',
  usage: 'reload [options]',
  summary: 'Makes the agent read its options again',
  failing: 'Error reloading',
  flags: [],
  async run({ client, out }: Call) {
    await client.agent.reload()
    out('Configuration reload triggered')
    return 0
  },
}

export const info: Command = {
  name: 'info',
  usage: 'info [options]',
  summary: 'Shows what the agent says of itself',
  failing: 'Error querying agent',
  flags: [],
  async run({ client, out }: Call) {
    const { value } = await client.agent.self()
    for (const [group, facts] of Object.entries(value.Stats).sort()) {
      out(`${group}:`)
      for (const [key, text] of Object.entries(facts).sort()) out(`\t${key} = ${text}`)
    }
    return 0
  },
}
