/** What this server answers to other agents on its rpc channel. */
import { BadRequest, Busy, NoLeader } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Millis, NodeId } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import type { BootstrapPromise, BootstrapRequest } from './bootstrap.ts'
import type { Deadlines } from './deadlines.ts'
import { Followers, notYet } from './followers.ts'
import type { Following } from './following.ts'
import type { Forward, ReadReply, ReadRequest, WriteReply, WriteRequest } from './forward.ts'
import type { FollowRequest, StateReply, StateRequest } from './observer.ts'
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

/** A transfer whose observer has stopped asking: longer than it waits for an answer, and not much, for others wait. */
const transferLasts: Millis = 10_000
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
  const followers = new Followers(options)
  peers.answer('follow', (body) =>
    followers.answer(
      fields<FollowRequest>(body, {
        cluster: 'string',
        index: 'number',
        term: 'number',
        leader: 'string',
        wait: 'number',
      }),
    ),
  )
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
  /** Those that have their place and no state yet: many ask in the same moment. */
  let beginning = 0
  const begin = async (): Promise<number> => {
    if (transfers.size + beginning >= transfersMax) throw new Busy('too many observers take the whole state at once')
    beginning++
    const { mark, chunks } = await replica.snapshotBytes().finally(() => beginning--)
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
