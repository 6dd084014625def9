/** What this server answers to other agents on its rpc channel. */
import { BadRequest, Busy, NoLeader, Stopped } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Millis, NodeId } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import type { BootstrapPromise, BootstrapRequest } from './bootstrap.ts'
import type { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import type { Forward, ReadReply, ReadRequest, WriteReply, WriteRequest } from './forward.ts'
import type { FollowReply, FollowRequest, StateReply, StateRequest } from './observer.ts'
import type { Peers } from './peers.ts'
import type { RenewReply, RenewRequest, Sessions } from './sessions.ts'
import type { StatusReply } from './statuses.ts'

export interface LeaveRequest {
  id: NodeId
}

export interface ServingOptions {
  io: Io
  self: NodeId
  /** This server lost its log and has none again yet; of that cluster, '' when it is not known which. */
  lost: () => { cluster: string } | undefined
  deadlines: Deadlines
  peers: Peers
  replica: Replica
  following: Following
  forward: Forward
  sessions: Sessions
  promise: BootstrapPromise
  /** A server asks to be let go. */
  onLeave: (id: NodeId) => Promise<void>
}

const followBytesMax = 1024 * 1024
const followWaitMax: Millis = 10_000
/** A transfer whose observer has stopped asking. */
const transferLasts: Millis = 60_000
const transfersMax = 16
const stateBytes = 128 * 1024

export function serve(options: ServingOptions): void {
  const { io, peers, replica, following, forward, promise } = options
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
  peers.answer('renew', async (body): Promise<RenewReply> => {
    const { cluster, id } = fields<RenewRequest>(body, { cluster: 'string', id: 'string' })
    forward.expectCluster(cluster)
    return { session: (await options.sessions.renew(id)) ?? null }
  })
  peers.answer('bootstrap', (body) => {
    const request = fields<BootstrapRequest>(body, { by: 'string' })
    return promise.answer(request, replica.status.hasState || options.lost() !== undefined, io.clock.now())
  })
  // The leader of another cluster must not take in one that lost the log of its own.
  const cluster = () => (following.cluster === '' ? (options.lost()?.cluster ?? '') : following.cluster)
  peers.answer('status', (): StatusReply => ({ id: options.self, applied: replica.status.applied, cluster: cluster() }))
  peers.answer('leave', async (body) => {
    await options.onLeave(fields<LeaveRequest>(body, { id: 'string' }).id)
    return true
  })
  peers.answer('follow', (body) => follow(options, body))
  serveState(options)
}

interface Transfer {
  chunks: Iterator<Uint8Array>
  mark: Pick<StateReply, 'index' | 'term' | 'cluster'>
  /** Calls off its end. */
  cancel: () => void
}

/** The whole state, a chunk for each question, as long as the observer goes on asking. */
function serveState({ io, deadlines, peers, replica }: ServingOptions): void {
  const transfers = new Map<number, Transfer>()
  const begin = async (): Promise<number> => {
    if (transfers.size >= transfersMax) throw new Busy('too many observers take the whole state at once')
    const { mark, chunks } = await replica.snapshotBytes()
    const { cluster } = mark.configuration
    if (cluster === '') throw new NoLeader(notYet)
    let token = io.random.word()
    while (token === 0 || transfers.has(token)) token = io.random.word()
    const { index, term } = mark
    transfers.set(token, { chunks: chunks[Symbol.iterator](), mark: { index, term, cluster }, cancel: () => {} })
    return token
  }
  peers.answer('state', async (body): Promise<StateReply> => {
    const { token: asked } = fields<StateRequest>(body, { token: 'number' })
    const token = asked === 0 ? await begin() : asked
    const transfer = transfers.get(token)
    if (transfer === undefined) throw new BadRequest('this transfer of the state is not known any more; begin again')
    transfer.cancel()
    const chunk = gathered(transfer.chunks)
    if (chunk === undefined) transfers.delete(token)
    else transfer.cancel = deadlines.at(io.clock.now() + transferLasts, () => transfers.delete(token))
    return { token, ...transfer.mark, chunk }
  })
}

/** Chunks are as small as it pleases the store; an answer should be worth its way. Undefined: there is nothing more. */
function gathered(chunks: Iterator<Uint8Array>): Uint8Array | undefined {
  const parts: Uint8Array[] = []
  let bytes = 0
  while (bytes < stateBytes) {
    const { value, done } = chunks.next()
    if (done === true) break
    parts.push(value)
    bytes += value.length
  }
  return bytes === 0 ? undefined : Buffer.concat(parts)
}

const notYet = 'this server is not part of a cluster yet'

async function follow(options: ServingOptions, body: unknown): Promise<FollowReply> {
  const { io, deadlines, replica, following } = options
  const request = fields<FollowRequest>(body, {
    cluster: 'string',
    index: 'number',
    term: 'number',
    leader: 'string',
    wait: 'number',
  })
  const { cluster, index, term } = request
  const reply = (entries: FollowReply['entries']): FollowReply => ({
    cluster: following.cluster,
    leader: following.leader,
    leaderAddress: replica.status.leaderAddress,
    peers: following.peers,
    lastContact: following.lastContact,
    entries,
  })
  const until = io.clock.now() + Math.min(request.wait, followWaitMax)
  for (;;) {
    if (deadlines.stopped) throw new Stopped()
    // A server that was just taken in has nothing yet, and must not give that for the state.
    if (following.cluster === '') throw new NoLeader(notYet)
    if (cluster !== '' && cluster !== following.cluster) return reply(undefined)
    const over = io.clock.now() >= until
    if (index > replica.status.applied && cluster === following.cluster) {
      // We are behind somebody who was ahead of us: usually for a moment.
      if (over) {
        await behind(options)
        if (index > replica.status.applied) return reply(undefined)
        continue
      }
    } else {
      const found = replica.committedAfter(index, term, followBytesMax)
      if (found === undefined) return reply(undefined)
      if (found.entries.length > 0 || following.leader !== request.leader || over) {
        return reply(
          found.entries.map((entry) => ({
            index: entry.index,
            term: entry.term,
            data: entry.kind === 'command' ? entry.data : undefined,
          })),
        )
      }
    }
    await changed(following, deadlines, until)
  }
}

/**
 * What was committed is on a majority, so an observer is never ahead of the cluster, only of one server; it is better
 * served by another. Unless this one votes, and has just become as new as a quorum says that the cluster is: if it is behind
 * even so, the log itself has gone back, because somebody restored an old disk, and the observer must follow. To follow a
 * leader is not enough: one that was elected a moment ago does not know yet how much is committed.
 */
async function behind({ self, replica, following, forward }: ServingOptions): Promise<void> {
  const votes = replica.status.configuration.servers.some(({ id, voter }) => id === self && voter)
  if (!votes || following.leader === '') throw new Busy('this server has not caught up; ask another one')
  await forward.fresh(true)
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
export function fields<T>(body: unknown, expected: Record<keyof T, 'string' | 'number' | 'boolean' | 'object'>): T {
  if (body === null || typeof body !== 'object') throw new BadRequest('expected a request with fields')
  for (const [name, type] of Object.entries(expected)) {
    const value = (body as Record<string, unknown>)[name]
    if (typeof value !== type || (typeof value === 'number' && !(value >= 0 && value < Number.POSITIVE_INFINITY))) {
      const received = typeof value === 'number' ? String(value) : typeof value
      throw new BadRequest(`expected "${name}" to be a ${type as string}, received ${received}`)
    }
  }
  return body as T
}
