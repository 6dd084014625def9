/**
 * What every read understands in its query string, and how it waits: `index`, `wait`, `stale`, `consistent`, `max_stale`,
 * `cached`, `dc`, `node-meta`. What `near` does is in `near.ts`.
 */
import type { AgentSurface, Fresh, Freshness } from '../agent/surface.ts'
import { BadRequest, NoLeader, NoPath, Refused } from '../errors.ts'
import { parseDuration } from '../health/duration.ts'
import type { Index, Millis, Node } from '../model.ts'
import type { Indexed, Topic, View } from '../store/view.ts'
import { Abandoned, type Asked, type HttpOptions } from './endpoint.ts'

export interface ReadOptions {
  /** Answer once the index is above this; 0: at once. */
  index: Index
  wait: Millis
  freshness: Freshness
  /** A stale answer older than this is asked again of the leader. */
  maxStale: Millis
  /** `?cached`: this node's store is the cache, kept current by the log. */
  cached: boolean
  dc: string
}

/** A read that failed after its options were understood; Consul's catalog and health answers then carry index 1. */
export class FailedRead extends Error {
  override name = 'FailedRead'
}

const waitDefault = 300_000
const waitMax = 600_000

/** @throws BadRequest in Consul's words */
export function readOptions(asked: Asked, options: HttpOptions): ReadOptions {
  const { query } = asked
  const longest = options.waitMax ?? waitMax
  const read: ReadOptions = {
    index: 0,
    wait: options.waitDefault ?? waitDefault,
    freshness: 'default',
    maxStale: Number.POSITIVE_INFINITY,
    cached: false,
    dc: '',
  }
  if (query.size === 0) return read
  const wait = query.get('wait')
  if (wait) {
    const duration = durationOr(wait, 'Invalid wait time')
    if (duration > 0) read.wait = Math.min(duration, longest)
  }
  const index = query.get('index')
  if (index) {
    if (!isUint64(index)) throw new BadRequest('Invalid index')
    read.index = Number(index)
  }
  if (query.has('stale')) read.freshness = 'stale'
  const maxStale = query.get('max_stale')
  if (maxStale) {
    const duration = durationOr(maxStale, `Invalid max_stale value ${JSON.stringify(maxStale)}`)
    if (duration > 0) {
      read.freshness = 'stale'
      read.maxStale = duration
    }
  }
  if (query.has('consistent')) {
    if (read.freshness === 'stale') {
      throw new BadRequest('Cannot specify ?stale with ?consistent, conflicting semantics.')
    }
    read.freshness = 'consistent'
  }
  if (query.has('cached')) {
    const { maxStale } = read
    useCache(read, asked.request.header('cache-control'))
    // As in Consul, what was asked for must make sense all the same.
    if (options.useCache === false) Object.assign(read, { cached: false, maxStale })
  }
  read.dc = query.get('dc') ?? ''
  return read
}

function durationOr(text: string, complaint: string): Millis {
  try {
    return parseDuration(text)
  } catch {
    throw new BadRequest(complaint)
  }
}

/** RFC 9111 directives that Consul's agent cache honours. */
function useCache(read: ReadOptions, control: string | null): void {
  for (const directive of (control ?? '').split(',')) {
    const [name, value] = directive.trim().split('=', 2)
    switch (name) {
      case 'max-age':
      case 'stale-if-error':
        if (!/^\d{1,9}$/.test(value ?? '')) throw new BadRequest('Invalid Cache-Control header.')
        if (name === 'max-age') read.maxStale = Math.min(read.maxStale, Number(value) * 1000)
        break
      case 'must-revalidate':
        read.maxStale = 0
    }
  }
  if (read.freshness === 'consistent') {
    throw new BadRequest('Cannot specify ?cached with ?consistent, conflicting semantics.')
  }
  read.cached = true
}

/** @throws NoPath unless `dc` is ours or not given: what is for another datacenter that we know does not come here (`elsewhere.ts`) */
export function localOnly(surface: AgentSurface, dc: string): void {
  if (dc !== '' && dc !== surface.identity.datacenter) throw new NoPath()
}

/** What one read found. */
export interface Reading<T> {
  value: T
  index: Index
  /** X-Consul-Index, -Knownleader and -Lastcontact (Go's spelling of them, as on Consul's wire), X-Cache and Age. */
  headers: Record<string, string>
}

export interface Question<T> {
  /** What wakes a waiting question. */
  topics: Topic[]
  look: (view: View) => Indexed<T>
}

/**
 * Answers a read at once or, with `?index`, when the answer's index is above it, or when the wait (plus up to a
 * sixteenth of it, so that herds disperse) is over: then with what there is, which is not an error.
 *
 * Freshness is settled once, before waiting: what the local store says later is only newer.
 * An index that this store has not reached although the read is as fresh as the leader belongs to another life of the
 * cluster: answered at once, so that the client starts over. A stale read waits, its store may only be behind. Whoever
 * waits while the store is put back from another life is answered at once, too.
 *
 * @throws FailedRead with the reason as its cause; Abandoned when the client is gone
 */
export async function reading<T>(
  surface: AgentSurface,
  options: HttpOptions,
  read: ReadOptions,
  asked: Asked,
  question: Question<T>,
): Promise<Reading<T>> {
  try {
    localOnly(surface, read.dc)
    const fresh = await freshEnough(surface, read)
    if (read.index === 0) {
      const found = question.look(fresh.view)
      return { ...found, headers: headersOf(found.index, fresh, read) }
    }
    const found = await blocking(surface, options, read, asked.request.signal, question)
    const now = await surface.read('stale')
    return { ...found, headers: headersOf(found.index, now, read) }
  } catch (error) {
    if (error instanceof Abandoned) throw error
    throw new FailedRead('the read failed', { cause: error })
  }
}

/** A view as fresh as the read asks for. @throws NoLeader */
export async function freshEnough(surface: AgentSurface, read: ReadOptions): Promise<Fresh> {
  const fresh = await surface.read(read.cached ? 'stale' : read.freshness)
  // As in Consul: who never was part of a cluster has no state, not even a stale one.
  if (!fresh.knownLeader && fresh.view.index === 0) throw new NoLeader()
  return fresh.lastContact > read.maxStale ? surface.read('default') : fresh
}

function blocking<T>(
  surface: AgentSurface,
  options: HttpOptions,
  read: ReadOptions,
  client: AbortSignal,
  question: Question<T>,
): Promise<Indexed<T>> {
  const { cluster } = surface.identity
  return waiting(surface, options, read.wait, client, question.topics, (over) => {
    const found = question.look(surface.view)
    if (over || found.index > read.index) return found
    // The store was put back from another history, which happens when a cluster is made anew from what is left of it: what
    // the client knows at its index may never have been. A store that only goes back does so within its history, when it
    // follows a server that is behind: there is nothing to say until it has caught up.
    // An agent that was just started learns which cluster it is in: that is no other one.
    if (cluster !== '' && surface.identity.cluster !== cluster) return found
    // An empty state is answered with index 1.
    return read.freshness !== 'stale' && Math.max(1, surface.view.index) < read.index ? found : undefined
  })
}

/**
 * Looks until there is something to answer: at once, after every change of the topics, and a last time when the wait (and
 * up to a sixteenth of it) is `over`, when `look` must answer.
 * @throws Abandoned when the client is gone; what `look` throws
 */
export async function waiting<T>(
  surface: Pick<AgentSurface, 'changed'>,
  options: HttpOptions,
  wait: Millis,
  client: AbortSignal,
  topics: Topic[],
  look: (over: boolean) => T | undefined,
): Promise<T> {
  const deadline = options.clock.now() + wait + (options.random.fraction() * wait) / 16
  const settled = new AbortController()
  // Nobody reads why; without a reason each would be an error with its own stack.
  const abandon = () => settled.abort(null)
  client.addEventListener('abort', abandon)
  try {
    for (;;) {
      if (client.aborted) throw new Abandoned('the client broke off while waiting')
      const left = deadline - options.clock.now()
      // Registered before looking, so that no change falls between.
      const changed = surface.changed(topics, Math.max(0, left), settled.signal)
      changed.catch(() => {})
      const found = look(left <= 0)
      if (found !== undefined) return found
      await changed
    }
  } finally {
    client.removeEventListener('abort', abandon)
    settled.abort(null)
  }
}

/** The longest time Go has, in whole milliseconds: what Consul says when it never heard a leader. */
const contactMax: Millis = 9_223_372_036_854

/** When a leader was last heard, as it can be said. */
export function told({ lastContact }: Fresh): Millis {
  return Math.min(lastContact, contactMax)
}

export function headersOf(index: Index, fresh: Fresh, read: ReadOptions): Record<string, string> {
  const headers: Record<string, string> = {
    // Never 0: a client that got 0 back would not wait.
    'X-Consul-Index': String(Math.max(1, index)),
    'X-Consul-Knownleader': String(fresh.knownLeader),
    'X-Consul-Lastcontact': String(Math.round(told(fresh))),
  }
  if (read.cached) {
    headers['X-Cache'] = 'HIT'
    headers.Age = String(Math.floor(told(fresh) / 1000))
  }
  return headers
}

/** X-Consul-Effective-Consistency. */
export function consistency({ freshness }: ReadOptions): string {
  return freshness === 'default' ? 'leader' : freshness
}

/** `node-meta=key:value`, repeatable: a node must carry all of them. Undefined when none is asked for. */
export function nodeMeta(query: URLSearchParams): ((node: Node) => boolean) | undefined {
  const wanted = query.getAll('node-meta').map((pair) => {
    const colon = pair.indexOf(':')
    return colon < 0 ? { key: pair, value: '' } : { key: pair.slice(0, colon), value: pair.slice(colon + 1) }
  })
  if (wanted.length === 0) return undefined
  return ({ meta }) =>
    wanted.every(({ key, value }) => meta !== null && Object.hasOwn(meta, key) && meta[key] === value)
}

/** An unsigned 64-bit number in decimal, as Go's strconv.ParseUint takes it. */
export function isUint64(text: string): boolean {
  return /^\d+$/.test(text) && (text.length < 20 || BigInt(text) <= 0xffff_ffff_ffff_ffffn)
}

/**
 * @returns the number without leading zeros
 * @throws Refused in the words of Go's strconv.ParseUint: Consul answers 500 to these
 */
export function parseUint64(text: string): string {
  if (!/^\d+$/.test(text)) throw new Refused(`strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`)
  if (!isUint64(text)) throw new Refused(`strconv.ParseUint: parsing ${JSON.stringify(text)}: value out of range`)
  return text.replace(/^0+(?=\d)/, '')
}
