/**
 * An agent that was given another name, or was made anew by Docker under one, is a second member with the same node id: the
 * old name fails, or has left, and stays in gossip for a day or three. Whoever asks by id means the one that is there.
 */
import type { Member, MemberStatus, NodeId } from '../model.ts'
import { isLive } from './pools.ts'

/** Whoever left may be forgotten before one that failed and comes back. */
const weight = (status: MemberStatus) => (isLive({ status }) ? 2 : status === 'failed' ? 1 : 0)

/** Without members whose id is that of another that lives, or, if they left, of one that failed. */
export function withoutFormerNames(members: readonly Member[]): Member[] {
  const best = new Map<NodeId, number>()
  for (const { status, tags } of members) {
    const id = tags.id ?? ''
    best.set(id, Math.max(best.get(id) ?? 0, weight(status)))
  }
  return members.filter(({ status, tags }) => (tags.id ?? '') === '' || weight(status) === best.get(tags.id ?? ''))
}
