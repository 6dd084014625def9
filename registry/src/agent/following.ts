/**
 * How this node's store moves: a server has a replica, any other agent is an observer of one. Reads, writes and faces see
 * only this.
 */
import type { Address, Index, Millis, NodeId } from '../model.ts'

export interface Following {
  /** Last index this node's store holds. */
  readonly applied: Index
  readonly leading: boolean
  /** '' while none is known. */
  readonly leader: NodeId | ''
  /** Where to forward to; undefined while no leader is known. */
  readonly leaderAddress: Address | undefined
  /** `host:port` of every voter. */
  readonly peers: string[]
  /** UUID of the cluster, '' while this node belongs to none. */
  readonly cluster: string
  /** How long ago this node heard from the leader; infinite when it never has. */
  readonly lastContact: Millis
  /** Resolves once the store holds `index`. */
  waitApplied(index: Index): Promise<void>
  /** Called when any of the above changed. */
  subscribe(onChange: () => void): () => void
}
