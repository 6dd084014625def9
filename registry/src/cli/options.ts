/**
 * The one table of the agent's options: flag, key in a configuration file, kind, default, help. `config.ts` reads
 * by it and `docs/options.md` is made from it (`scripts/options.ts`).
 */
import type { Flag } from './flags.ts'

export type Kind = 'boolean' | 'text' | 'number' | 'port' | 'duration' | 'list' | 'map'

export interface Option {
  /** Path in a configuration file, with dots: `ports.dns`. */
  key: string
  flag?: string
  kind: Kind
  /** In the words of a configuration file. Absent: none, or it depends. */
  default?: boolean | string | number
  help: string
  /** Shown in the help instead of `value`. */
  value?: string
}

export const options = [
  { key: 'server', flag: 'server', kind: 'boolean', default: false, help: 'Run as a server: keep the log and vote.' },
  {
    key: 'bootstrap',
    flag: 'bootstrap',
    kind: 'boolean',
    default: false,
    help: 'Begin a cluster of this one server. Never give it to two servers.',
  },
  {
    key: 'bootstrap_expect',
    flag: 'bootstrap-expect',
    kind: 'number',
    default: 0,
    help: 'Begin the cluster once this many servers know each other. Never begins one beside a living cluster.',
  },
  {
    key: 'node_name',
    flag: 'node',
    kind: 'text',
    help: 'Name of this node, unique in the datacenter. Default: the host name.',
  },
  {
    key: 'node_id',
    flag: 'node-id',
    kind: 'text',
    help: 'UUID of this node. Default: made at the first start and kept.',
  },
  {
    key: 'node_meta',
    flag: 'node-meta',
    kind: 'map',
    value: 'key:value',
    help: 'Metadata of this node. May be repeated.',
  },
  { key: 'datacenter', flag: 'datacenter', kind: 'text', default: 'dc1', help: 'Datacenter of this agent.' },
  { key: 'domain', flag: 'domain', kind: 'text', default: 'consul.', help: 'Domain that DNS answers for.' },
  {
    key: 'data_dir',
    flag: 'data-dir',
    kind: 'text',
    help: 'Folder where the state is kept. Required unless -dev.',
  },
  {
    key: 'bind_addr',
    flag: 'bind',
    kind: 'text',
    default: '0.0.0.0',
    help: 'Address that the cluster ports listen on: an IP address or a template such as {{ GetPrivateIP }}.',
  },
  {
    key: 'advertise_addr',
    flag: 'advertise',
    kind: 'text',
    help: 'Address that others reach this agent at. Default: the bind address, or the private address of this host.',
  },
  {
    key: 'advertise_addr_wan',
    flag: 'advertise-wan',
    kind: 'text',
    help: 'The same for other datacenters. Default: -advertise.',
  },
  {
    key: 'client_addr',
    flag: 'client',
    kind: 'text',
    default: '127.0.0.1',
    help: 'Addresses, separated by spaces, that HTTP, DNS and the command line port listen on.',
  },
  {
    key: 'encrypt',
    flag: 'encrypt',
    kind: 'text',
    value: 'key',
    help: 'Encrypt gossip with this key, base64 of 16, 24 or 32 bytes (registry keygen); afterwards the kept keyring counts.',
  },
  {
    key: 'encrypt_verify_incoming',
    kind: 'boolean',
    default: true,
    help: 'With a key: drop gossip that is not encrypted.',
  },
  {
    key: 'encrypt_verify_outgoing',
    kind: 'boolean',
    default: true,
    help: 'With a key: encrypt what is sent. Both false, then this true, then the other: encryption for a pool that lives.',
  },
  {
    key: 'disable_keyring_file',
    flag: 'disable-keyring-file',
    kind: 'boolean',
    default: false,
    help: 'Keep no keyring in the data directory: -encrypt counts at every start, and key changes last until the next.',
  },
  {
    key: 'start_join',
    flag: 'join',
    kind: 'list',
    value: 'address',
    help: 'Agent to join at the start; a fresh agent that reaches none of them ends. May be repeated.',
  },
  {
    key: 'start_join_wan',
    flag: 'join-wan',
    kind: 'list',
    value: 'address',
    help: 'Server of another datacenter to join. May be repeated.',
  },
  {
    key: 'retry_join',
    flag: 'retry-join',
    kind: 'list',
    value: 'address',
    help: 'Agent to join at the start, tried again until one answers. May be repeated.',
  },
  {
    key: 'retry_interval',
    flag: 'retry-interval',
    kind: 'duration',
    default: '30s',
    help: 'Time between attempts of -retry-join; the first ones come sooner.',
  },
  {
    key: 'retry_max',
    flag: 'retry-max',
    kind: 'number',
    default: 0,
    help: 'Attempts of -retry-join before giving up; 0 is for ever.',
  },
  {
    key: 'rejoin_after_leave',
    flag: 'rejoin',
    kind: 'boolean',
    default: false,
    help: 'Look for the members known before also after an explicit leave. An agent that did not leave always does.',
  },
  {
    key: 'retry_join_wan',
    flag: 'retry-join-wan',
    kind: 'list',
    value: 'address',
    help: 'Server of another datacenter to join, tried again until one answers. May be repeated.',
  },
  {
    key: 'retry_interval_wan',
    flag: 'retry-interval-wan',
    kind: 'duration',
    default: '30s',
    help: 'Time between attempts of -retry-join-wan; the first ones come sooner.',
  },
  {
    key: 'retry_max_wan',
    flag: 'retry-max-wan',
    kind: 'number',
    default: 0,
    help: 'Attempts of -retry-join-wan before giving up; 0 is for ever.',
  },
  {
    key: 'recursors',
    flag: 'recursor',
    kind: 'list',
    value: 'address',
    help: 'DNS server asked for names outside the domain. May be repeated.',
  },
  { key: 'ports.dns', flag: 'dns-port', kind: 'port', default: 8600, help: 'DNS, UDP and TCP; -1 is off.' },
  { key: 'ports.http', flag: 'http-port', kind: 'port', default: 8500, help: 'HTTP API; -1 is off.' },
  {
    key: 'ports.rpc',
    flag: 'rpc-port',
    kind: 'port',
    help: 'The HTTP API once more, for the command line; -1 is off. Default: 8400 as registry, off as consul.',
  },
  { key: 'ports.server', flag: 'server-port', kind: 'port', default: 8300, help: 'What agents ask of servers, TCP.' },
  {
    key: 'ports.serf_lan',
    flag: 'serf-lan-port',
    kind: 'port',
    default: 8301,
    help: 'Gossip in the datacenter, TCP and UDP.',
  },
  {
    key: 'ports.serf_wan',
    flag: 'serf-wan-port',
    kind: 'port',
    default: 8302,
    help: 'Gossip between datacenters, TCP and UDP; servers only.',
  },
  { key: 'ports.https', flag: 'https-port', kind: 'port', default: -1, help: 'Not supported; only -1 is accepted.' },
  { key: 'ports.grpc', flag: 'grpc-port', kind: 'port', default: -1, help: 'Not supported; only -1 is accepted.' },
  {
    key: 'ui',
    flag: 'ui',
    kind: 'boolean',
    default: false,
    help: "Accepted for Consul's users; there is no web page yet.",
  },
  { key: 'log_level', flag: 'log-level', kind: 'text', default: 'INFO', help: 'TRACE, DEBUG, INFO, WARN or ERR.' },
  { key: 'log_json', flag: 'log-json', kind: 'boolean', default: false, help: 'Log lines as JSON.' },
  { key: 'pid_file', flag: 'pid-file', kind: 'text', help: 'File that gets the process id while the agent runs.' },
  {
    key: 'leave_on_terminate',
    kind: 'boolean',
    help: 'Leave the cluster on SIGTERM. Default: true, but false for a server.',
  },
  {
    key: 'skip_leave_on_interrupt',
    kind: 'boolean',
    help: 'Do not leave the cluster on SIGINT. Default: false, but true for a server.',
  },
  {
    key: 'enable_script_checks',
    flag: 'enable-script-checks',
    kind: 'boolean',
    default: false,
    help: 'Checks may run programs here, in Docker containers too, whoever registers them: who reaches HTTP runs what it likes.',
  },
  {
    key: 'enable_local_script_checks',
    flag: 'enable-local-script-checks',
    kind: 'boolean',
    default: false,
    help: 'The same for checks in configuration files only.',
  },
  {
    key: 'check_update_interval',
    kind: 'duration',
    default: '5m',
    help: "How long a change of a check's output alone may wait.",
  },
  {
    key: 'session_ttl_min',
    kind: 'duration',
    default: '10s',
    help: 'The shortest TTL that a session created here may have.',
  },
  {
    key: 'http_config.response_headers',
    kind: 'map',
    help: 'Headers that go with every answer of an endpoint: names and values.',
  },
  {
    key: 'http_config.block_endpoints',
    kind: 'list',
    help: 'Beginnings of paths that are answered with 403, such as `/v1/kv/`.',
  },
  {
    key: 'http_config.allow_write_http_from',
    kind: 'list',
    help: 'Networks such as `10.0.0.0/8` whose clients may change things over HTTP. Default: all.',
  },
  {
    key: 'http_config.use_cache',
    kind: 'boolean',
    default: true,
    help: "Whether `?cached` may be answered from this agent's own store.",
  },
  {
    key: 'limits.http_max_conns_per_client',
    kind: 'number',
    default: 200,
    help: 'How many connections one address may have to the HTTP ports; what is more is closed. 0: no limit.',
  },
  {
    key: 'performance.raft_multiplier',
    kind: 'number',
    default: 1,
    help: 'Stretches the election time-outs, 1 to 10.',
  },
  {
    key: 'performance.rpc_hold_timeout',
    kind: 'duration',
    default: '7s',
    help: 'How long a request waits for a leader.',
  },
  {
    key: 'gossip_lan.gossip_interval',
    kind: 'duration',
    help: 'How often news in the datacenter is told, 200ms unless given, with -dev 100ms; at least 100ms.',
  },
  { key: 'gossip_lan.gossip_nodes', kind: 'number', help: 'To how many members each time; 3 unless given.' },
  {
    key: 'gossip_lan.probe_interval',
    kind: 'duration',
    help: 'How often a member in the datacenter is probed; 1s unless given, at least 100ms.',
  },
  {
    key: 'gossip_lan.probe_timeout',
    kind: 'duration',
    help: 'How long its answer is waited for before others are asked; 500ms unless given, with -dev 200ms.',
  },
  {
    key: 'gossip_lan.retransmit_mult',
    kind: 'number',
    help: 'News is told this many times log10(members); 4 unless given.',
  },
  {
    key: 'gossip_lan.suspicion_mult',
    kind: 'number',
    help: 'A suspect has this many times log10(members) probe intervals to speak up; 4 unless given, with -dev 3.',
  },
  {
    key: 'gossip_wan.gossip_interval',
    kind: 'duration',
    help: 'How often news between datacenters is told, 500ms unless given, with -dev 100ms; at least 100ms.',
  },
  { key: 'gossip_wan.gossip_nodes', kind: 'number', help: 'To how many members each time; 3 unless given.' },
  {
    key: 'gossip_wan.probe_interval',
    kind: 'duration',
    help: 'How often a member between datacenters is probed; 5s unless given, at least 100ms.',
  },
  {
    key: 'gossip_wan.probe_timeout',
    kind: 'duration',
    help: 'How long its answer is waited for before others are asked; 3s unless given, with -dev 200ms.',
  },
  {
    key: 'gossip_wan.retransmit_mult',
    kind: 'number',
    help: 'News is told this many times log10(members); 4 unless given.',
  },
  {
    key: 'gossip_wan.suspicion_mult',
    kind: 'number',
    help: 'A suspect has this many times log10(members) probe intervals to speak up; 6 unless given, with -dev 3.',
  },
  {
    key: 'reconnect_timeout',
    kind: 'duration',
    help: 'A failed member of the datacenter is forgotten after this; 72h unless given, better not below 8h.',
  },
  {
    key: 'reconnect_timeout_wan',
    kind: 'duration',
    help: 'A failed server of another datacenter is forgotten after this; 72h unless given, better not below 8h.',
  },
  {
    key: 'autopilot.cleanup_dead_servers',
    kind: 'boolean',
    default: true,
    help: 'Let servers go that failed, once a majority gets smaller by it or another takes their place. This and the other autopilot keys count where the cluster has none yet; operator autopilot changes them.',
  },
  {
    key: 'autopilot.last_contact_threshold',
    kind: 'duration',
    default: '200ms',
    help: 'A server that has not answered the leader for longer is not healthy; at least three heartbeats.',
  },
  {
    key: 'autopilot.max_trailing_logs',
    kind: 'number',
    default: 250,
    help: "A server that lacks more of the leader's last entries is not healthy.",
  },
  {
    key: 'autopilot.min_quorum',
    kind: 'number',
    default: 0,
    help: 'Let no failed server go when fewer voters would be left.',
  },
  {
    key: 'autopilot.server_stabilization_time',
    kind: 'duration',
    default: '10s',
    help: 'For so long a new server must have been healthy before it votes; not in the first minute of a cluster.',
  },
  {
    key: 'autopilot.redundancy_zone_tag',
    kind: 'text',
    help: "Kept for Consul's users, and without effect.",
  },
  {
    key: 'autopilot.disable_upgrade_migration',
    kind: 'boolean',
    default: false,
    help: "Kept for Consul's users, and without effect.",
  },
  {
    key: 'autopilot.upgrade_version_tag',
    kind: 'text',
    help: "Kept for Consul's users, and without effect.",
  },
  { key: 'dns_config.only_passing', kind: 'boolean', default: false, help: 'Leave out instances with a warning, too.' },
  { key: 'dns_config.node_ttl', kind: 'duration', default: '0s', help: 'TTL of node answers.' },
  { key: 'dns_config.service_ttl', kind: 'map', help: 'TTL of service answers by name; * is any.' },
  { key: 'dns_config.udp_answer_limit', kind: 'number', default: 3, help: 'Most A records in a UDP answer.' },
  {
    key: 'dns_config.a_record_limit',
    kind: 'number',
    default: 0,
    help: 'Most A records in any answer; 0 is no limit.',
  },
  { key: 'dns_config.enable_truncate', kind: 'boolean', default: false, help: 'Set TC when records were left out.' },
  { key: 'dns_config.recursor_timeout', kind: 'duration', default: '2s', help: 'How long a recursor may take.' },
] as const satisfies readonly Option[]

export type Key = (typeof options)[number]['key']

/** Read before any option: where the files are, and flags that only choose among options. */
export const specialFlags: readonly Flag[] = [
  { name: 'config-file', takes: 'value', value: 'path', help: 'JSON file with options. May be repeated; later wins.' },
  {
    name: 'config-dir',
    takes: 'value',
    value: 'path',
    help: 'Folder whose *.json files are read in name order. May be repeated.',
  },
  {
    name: 'dev',
    takes: 'nothing',
    help: 'A server of its own for trying things: on loopback, nothing kept, log level DEBUG.',
  },
]

/** Words of older Consuls that wrappers still pass; accepted, with a warning. */
export const retiredFlags: readonly Flag[] = [
  { name: 'dc', takes: 'value', help: 'Former name of -datacenter.' },
  { name: 'ui-dir', takes: 'value', help: 'Ignored.' },
  { name: 'atlas', takes: 'value', help: 'Ignored.' },
  { name: 'atlas-token', takes: 'value', help: 'Ignored.' },
  { name: 'atlas-endpoint', takes: 'value', help: 'Ignored.' },
  { name: 'atlas-join', takes: 'nothing', help: 'Ignored.' },
  { name: 'protocol', takes: 'value', help: 'Ignored: there is one protocol.' },
  { name: 'raft-protocol', takes: 'value', help: 'Ignored: there is one protocol.' },
  { name: 'disable-host-node-id', takes: 'nothing', help: 'Ignored: ids are never taken from the host.' },
]
