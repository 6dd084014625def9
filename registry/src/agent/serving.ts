/** What this server answers to other agents on its rpc channel. */
import { BadRequest, NoLeader, Stopped } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Millis, NodeId } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import type { Store } from '../store/store.ts'
import type { BootstrapPromise, BootstrapRequest } from './bootstrap.ts'
import type { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import type { Forward, ReadReply, ReadRequest, WriteReply, WriteRequest } from './forward.ts'
import type { ServerStatus } from './leader.ts'
import type { FollowReply, FollowRequest, StateReply, StateRequest } from './observer.ts'
import type { Peers } from './peers.ts'

export interface LeaveRequest {
  id: NodeId
}
export type StatusReply = ServerStatus

export interface ServingOptions {
  io: Io
  deadlines: Deadlines
  peers: Peers
  replica: Replica
  store: Store
  following: Following
  forward: Forward
  promise: BootstrapPromise
  /** A server asks to be let go. */
  onLeave: (id: NodeId) => Promise<void>
}

const followBytesMax = 1024 * 1024
const followWaitMax: Millis = 10_000
/** A transfer whose observer has stopped asking. */
const transferLasts: Millis = 60_000
const transfersMax = 16

export function serve(options: ServingOptions): void {
  const { io, peers, replica, store, following, forward, promise } = options
  peers.answer('write', async (body): Promise<WriteReply> => {
    const { cluster, data } = fields<WriteRequest>(body, { cluster: 'string', data: 'object' })
    if (!(data instanceof Uint8Array)) throw new BadRequest('expected the command as bytes')
    forward.expectCluster(cluster)
    return forward.lead(data)
  })
  peers.answer('read', async (body): Promise<ReadReply> => {
    const { cluster, consistent } = fields<ReadRequest>(body, { cluster: 'string', consistent: 'boolean' })
    forward.expectCluster(cluster)
    return { index: await forward.leadRead(consistent) }
  })
  peers.answer('bootstrap', (body) => {
    const request = fields<BootstrapRequest>(body, { by: 'string' })
    return promise.answer(request, replica.status.hasState, io.clock.now())
  })
  peers.answer('status', (): StatusReply => ({ applied: replica.status.applied, cluster: following.cluster }))
  peers.answer('leave', async (body) => {
    await options.onLeave(fields<LeaveRequest>(body, { id: 'string' }).id)
    return true
  })
  peers.answer('follow', (body) => follow(options, body))
  const transfers = new Map<number, { chunks: Iterator<Uint8Array>; at: Pick<StateReply, 'index' | 'term'> }>()
  peers.answer('state', (body): StateReply => {
    let { token } = fields<StateRequest>(body, { token: 'number' })
    const { cluster } = following
    if (token === 0) {
      if (transfers.size >= transfersMax) throw new BadRequest('too many observers take the whole state at once')
      do token = io.random.word()
      while (token === 0 || transfers.has(token))
      const index = replica.status.applied
      const at = { index, term: replica.termAt(index) ?? 0 }
      const mine = token
      transfers.set(mine, { chunks: store.snapshot()[Symbol.iterator](), at })
      options.deadlines.at(io.clock.now() + transferLasts, () => transfers.delete(mine))
    }
    const transfer = transfers.get(token)
    if (transfer === undefined) throw new BadRequest('this transfer of the state is not known any more; begin again')
    const { value: chunk, done } = transfer.chunks.next()
    if (done === true) transfers.delete(token)
    return { token, ...transfer.at, cluster, chunk: done === true ? undefined : chunk }
  })
}

async function follow({ io, deadlines, replica, following }: ServingOptions, body: unknown): Promise<FollowReply> {
  const { cluster, index, term, wait } = fields<FollowRequest>(body, {
    cluster: 'string',
    index: 'number',
    term: 'number',
    wait: 'number',
  })
  if (!replica.status.hasState) throw new NoLeader('this server is not part of a cluster yet')
  const reply = (entries: FollowReply['entries']): FollowReply => ({
    cluster: following.cluster,
    leader: following.leader,
    leaderAddress: replica.status.leaderAddress,
    peers: following.peers,
    lastContact: following.lastContact,
    entries,
  })
  if (cluster !== '' && cluster !== following.cluster) return reply(undefined)
  const leader = following.leader
  const until = io.clock.now() + Math.min(wait, followWaitMax)
  for (;;) {
    if (deadlines.stopped) throw new Stopped('this agent is stopping')
    const found = replica.committedAfter(index, term, followBytesMax)
    if (found === undefined) return reply(undefined)
    const news = found.entries.length > 0 || following.leader !== leader
    if (news || io.clock.now() >= until) {
      return reply(
        found.entries.map((entry) => ({
          index: entry.index,
          term: entry.term,
          data: entry.kind === 'command' ? entry.data : undefined,
        })),
      )
    }
    await changed(following, deadlines, until)
  }
}

function changed(following: Following, deadlines: Deadlines, until: Millis): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      cancel()
      unsubscribe()
      resolve()
    }
    const cancel = deadlines.at(until, done)
    const unsubscribe = following.subscribe(done)
  })
}

/** A body from the wire is what it claims to be. @throws BadRequest */
function fields<T>(body: unknown, expected: Record<keyof T, 'string' | 'number' | 'boolean' | 'object'>): T {
  if (body === null || typeof body !== 'object') throw new BadRequest('expected a request with fields')
  for (const [name, type] of Object.entries(expected)) {
    const received = typeof (body as Record<string, unknown>)[name]
    if (received !== type) throw new BadRequest(`expected "${name}" to be a ${type as string}, received ${received}`)
  }
  return body as T
}
