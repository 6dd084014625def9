/**
 * A server that leaves is taken out of the configuration while it still answers: of two servers the one that is left needs
 * the other for that, and without it has no majority any more.
 */
import type { Io } from '../io/io.ts'
import type { Millis, NodeId } from '../model.ts'
import type { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import type { Peers } from './peers.ts'

export interface LeavingOptions {
  io: Pick<Io, 'clock' | 'log'>
  self: NodeId
  deadlines: Pick<Deadlines, 'until' | 'stopped'>
  peers: Pick<Peers, 'ask'>
  following: Following
}

/** Whoever takes over needs an election and an entry of its own; but nobody waits long for a process to end. */
const wait: Millis = 3_000
const pause: Millis = 50

/**
 * Asks whoever leads to let this server go, and again while nobody is known to lead, as right after this one has handed its
 * leadership over. Resolves when it is let go, or after a while; then the log says so.
 */
export async function beLetGo({ io, self, deadlines, peers, following }: LeavingOptions): Promise<void> {
  // It needs nobody, and nobody needs it.
  if (following.cluster === '' || (following.leading && following.peers.length <= 1)) return
  const until = io.clock.now() + wait
  let reason = 'no leader is known'
  for (;;) {
    const { leaderAddress, leading } = following
    const left = until - io.clock.now()
    if (left <= 0 || deadlines.stopped) break
    if (leading) reason = 'no other server took its leadership over'
    else if (leaderAddress !== undefined) {
      try {
        await peers.ask(leaderAddress, 'leave', { id: self }, left)
        return
      } catch (error) {
        reason = (error as Error).message
      }
    }
    await deadlines.until(io.clock.now() + pause)
  }
  io.log('warn', 'consul', `the leader did not confirm that this server may go: ${reason}`)
}
