/**
 * What servers say of themselves, before the leader takes them in or lets another one go in their favour. Gossip may be
 * old, most of all in a server that was just started: it may name an id that lives nowhere any more, or an address where
 * somebody else lives by now. So the one that answers says who it is, and an answer in another's place is none.
 */
import { addressText } from '../io/address.ts'
import type { Millis, NodeId } from '../model.ts'
import type { Configuration } from '../raft/message.ts'
import type { Candidate } from './bootstrap.ts'
import type { Peers } from './peers.ts'
import type { ServerStatus } from './server-changes.ts'

export interface StatusReply extends ServerStatus {
  id: NodeId
}

/** How long the leader's duties wait for a server that does not answer. */
const statusTimeout: Millis = 1_000

/** Asks the servers that do not vote yet, or not from where gossip knows them. Silent ones and strangers are left out. */
export async function askStatuses(
  peers: Pick<Peers, 'ask'>,
  candidates: readonly Pick<Candidate, 'id' | 'rpc'>[],
  { servers }: Configuration,
): Promise<Map<NodeId, ServerStatus>> {
  const voting = new Map(servers.flatMap(({ id, address, voter }) => (voter ? [[id, address] as const] : [])))
  const statuses = new Map<NodeId, ServerStatus>()
  await Promise.all(
    candidates
      .filter(({ id, rpc }) => voting.get(id) !== addressText(rpc))
      .map(async ({ id, rpc }) => {
        const reply = (await peers.ask(rpc, 'status', null, statusTimeout).catch(() => undefined)) as
          | StatusReply
          | undefined
        if (reply?.id === id) statuses.set(id, reply)
      }),
  )
  return statuses
}
