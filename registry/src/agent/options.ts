/** How one agent is started: everything that its command line and configuration decide. */
import type { GossipConfig } from '../gossip/gossip.ts'
import type { Address, AutopilotConfiguration, Millis, NodeId, NodeName } from '../model.ts'
import type { Definitions, ScriptRules } from './definitions.ts'
import type { SealingRules } from './sealed.ts'

export interface AgentOptions {
  name: NodeName
  datacenter: string
  domain: string
  server: boolean
  /** Begin a cluster of one, at once. */
  bootstrap: boolean
  /** Begin a cluster when this many servers know each other; 0: wait to be taken in. */
  bootstrapExpect: number
  /** Where others reach this node, per channel. */
  advertise: { rpc: Address; lan: Address; wan: Address }
  nodeMeta: Record<string, string>
  /** UUID to use instead of the one kept in the data directory. */
  nodeId: NodeId | undefined
  raft: { electionTimeoutMin: Millis; electionTimeoutMax: Millis; heartbeatInterval: Millis }
  gossip?: { lan?: Partial<GossipConfig>; wan?: Partial<GossipConfig> }
  /** Encryption of gossip; absent: none, unless a keyring was kept. */
  encrypt?: Partial<SealingRules> & {
    /** Base64 of 16, 24 or 32 bytes, for the first start; afterwards the keyring that was kept counts. */
    key?: string | undefined
    /** Default: true. */
    keepFile?: boolean
  }
  /** After an explicit leave, too, the members of former times are looked for. */
  rejoinAfterLeave?: boolean
  /** All addresses of a host's name; rejects with the system's error. Without it, names are left to the network. */
  resolve?: (host: string) => Promise<string[]>
  rpcHold: Millis
  /** How autopilot behaves until somebody sets it; Consul's defaults. */
  autopilot?: AutopilotConfiguration
  checkUpdateInterval: Millis
  /** Services and checks that the configuration defines; what may run programs. Default: none, nothing. */
  definitions?: Definitions
  scripts?: ScriptRules
  /** The version whose API we speak; clients look at it. */
  version: string
  /** What `GET /v1/agent/self` shows of how this agent was started. */
  configuration: Record<string, unknown>
}
