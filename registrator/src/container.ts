/**
 * A container as the registrator sees it, and how Docker's inspect answer becomes one. The answer is typed here with
 * all that may be missing in it: engines leave out or null what does not apply (no environment, no published port).
 */

export type Protocol = 'tcp' | 'udp' | 'sctp'

export interface ExposedPort {
  port: number
  protocol: Protocol
}
export interface Binding {
  /** '' for every address of the host. */
  address: string
  port: number
}
export interface PublishedPort extends ExposedPort {
  /** Never empty; IPv4 before IPv6, then by port. */
  bindings: Binding[]
}

export interface Container {
  id: string
  /** Without Docker's leading slash. */
  name: string
  /** What was written after `docker run`: name, tag, digest or id. */
  image: string
  env: string[]
  labels: Record<string, string>
  /** `running` is false between two lives of a container that restarts: its ports are not there then. */
  state: { running: boolean; paused: boolean; exitCode: number }
  exposed: ExposedPort[]
  published: PublishedPort[]
  /** default, bridge, host, none, container:ID, or a network's name or id. */
  networkMode: string
  networks: { name: string; id: string; address: string }[]
}

export interface Inspected {
  Id: string
  Name: string
  State: { Status: string; Running: boolean; Paused?: boolean; Restarting?: boolean; ExitCode: number }
  Config: {
    Image: string
    Env?: string[] | null
    Labels?: Record<string, string> | null
    ExposedPorts?: Record<string, object> | null
  }
  HostConfig: { NetworkMode?: string }
  NetworkSettings: {
    IPAddress?: string
    Ports?: Record<string, { HostIp: string; HostPort: string }[] | null> | null
    Networks?: Record<string, { NetworkID?: string; IPAddress: string } | null> | null
  }
}

export function containerOf(inspected: Inspected): Container {
  const { State, Config, HostConfig, NetworkSettings } = inspected
  return {
    id: inspected.Id,
    name: inspected.Name.replace(/^\//, ''),
    image: Config.Image,
    env: Config.Env ?? [],
    labels: Config.Labels ?? {},
    state: {
      running: State.Running && State.Restarting !== true && State.Status !== 'restarting',
      paused: State.Paused === true || State.Status === 'paused',
      exitCode: State.ExitCode,
    },
    exposed: portsOf(Config.ExposedPorts),
    published: portsOf(NetworkSettings.Ports).flatMap((exposed) => {
      const bindings = bindingsOf(NetworkSettings.Ports?.[`${exposed.port}/${exposed.protocol}`] ?? [])
      return bindings.length === 0 ? [] : [{ ...exposed, bindings }]
    }),
    networkMode: HostConfig.NetworkMode ?? 'default',
    networks: networksOf(NetworkSettings),
  }
}

/** From `53/udp` keys; by port, then protocol. */
function portsOf(keyed: Record<string, unknown> | null | undefined): ExposedPort[] {
  const ports: ExposedPort[] = []
  for (const key of Object.keys(keyed ?? {})) {
    const match = /^(\d+)\/(tcp|udp|sctp)$/.exec(key)
    if (match !== null) ports.push({ port: Number(match[1]), protocol: match[2] as Protocol })
  }
  return ports.sort((one, other) => one.port - other.port || (one.protocol < other.protocol ? -1 : 1))
}

function bindingsOf(listed: { HostIp: string; HostPort: string }[]): Binding[] {
  return listed
    .filter(({ HostPort }) => HostPort !== '' && HostPort !== '0')
    .map(({ HostIp, HostPort }) => ({
      address: HostIp === '0.0.0.0' || HostIp === '::' ? '' : HostIp,
      port: Number(HostPort),
      six: HostIp.includes(':'),
    }))
    .sort((one, other) => Number(one.six) - Number(other.six) || one.port - other.port)
    .map(({ address, port }) => ({ address, port }))
}

function networksOf(settings: Inspected['NetworkSettings']): Container['networks'] {
  const networks = Object.entries(settings.Networks ?? {}).flatMap(([name, network]) =>
    network === null ? [] : [{ name, id: network.NetworkID ?? '', address: network.IPAddress }],
  )
  // Engines before 1.9 had one network and no map.
  if (networks.length === 0 && settings.IPAddress) {
    networks.push({ name: 'bridge', id: '', address: settings.IPAddress })
  }
  return networks.sort((one, other) => (one.name < other.name ? -1 : 1))
}
