/**
 * User events of this datacenter, as this agent has them: fires them into the LAN pool, keeps the latest that concern it,
 * and wakes who waits for more. Whether one concerns it is decided here, by the filters it carries: regular expressions
 * over this node's name, and over services registered here and their tags.
 */
import { BadRequest, Refused, Stopped } from '../errors.ts'
import type { Gossip } from '../gossip/gossip.ts'
import type { Io } from '../io/io.ts'
import type { Millis, NodeName, UserEvent } from '../model.ts'
import { BadPattern, compilePattern, effortMax, type Pattern, PatternTooCostly } from '../pattern.ts'
import type { Deadlines } from './deadlines.ts'
import { tooLongFor } from './event-size.ts'
import type { LocalService } from './surface.ts'

/** What its sender decides. */
export type UserEventDraft = Omit<UserEvent, 'id' | 'ltime'>

export interface EventsSurface {
  /**
   * Tells every agent of this datacenter that is in the pool now, this one first, without waiting for any.
   * @throws Refused in Consul's words for a filter that is none and for an event that is too long; BadRequest; Stopped
   */
  fire(draft: UserEventDraft): UserEvent
  /** The latest that concern this node, at most 256, oldest first. */
  readonly list: readonly UserEvent[]
  /** Resolves when there is another one, after `wait`, or when `abandoned` fires. @throws Stopped */
  changed(wait: Millis, abandoned?: AbortSignal): Promise<void>
}

/** Consul's. */
const keptMax = 256
/** Consul's name of its remote execution, which no agent of ours takes part in: such events are not shown by Consul either. */
const remoteExecution = '_rexec'

export interface EventsOptions {
  io: Io
  deadlines: Deadlines
  node: NodeName
  services(): LocalService[]
  /** Gossips it, which brings it back to `receive`. */
  gossip(fire: (gossip: Gossip, now: Millis) => UserEvent): UserEvent
}

export class Events implements EventsSurface {
  readonly #options: EventsOptions
  #kept: readonly UserEvent[] = []
  readonly #waiting = new Set<() => void>()
  #stopped = false

  constructor(options: EventsOptions) {
    this.#options = options
  }

  get list(): readonly UserEvent[] {
    return this.#kept
  }

  fire(draft: UserEventDraft): UserEvent {
    if (this.#stopped) throw new Stopped()
    filtersOf(draft)
    const { io, gossip } = this.#options
    const event = { ...draft, id: io.random.uuid() }
    return gossip((pool, now) => {
      const reason = tooLongFor({ ...event, ltime: pool.eventClock })
      if (reason !== undefined) {
        throw new Refused(`1 error occurred:\n\t* error broadcasting event to segment "": ${reason}\n\n`)
      }
      return pool.fire(event, now)
    })
  }

  changed(wait: Millis, abandoned?: AbortSignal): Promise<void> {
    if (this.#stopped) return Promise.reject(new Stopped())
    return new Promise((resolve) => {
      const done = () => {
        cancel()
        this.#waiting.delete(done)
        abandoned?.removeEventListener('abort', done)
        resolve()
      }
      const { deadlines, io } = this.#options
      const cancel = deadlines.at(io.clock.now() + wait, done)
      this.#waiting.add(done)
      abandoned?.addEventListener('abort', done)
      if (abandoned?.aborted === true) done()
    })
  }

  /** Gossip has it, once. */
  receive(event: UserEvent): void {
    if (event.name === remoteExecution || !this.#concerns(event)) return
    this.#options.io.log('debug', 'agent', 'new event', { event_name: event.name, event_id: event.id })
    this.#kept = [...this.#kept.slice(1 - keptMax), event]
    for (const wake of [...this.#waiting]) wake()
  }

  /** Nobody waits any more. */
  stop(): void {
    this.#stopped = true
    for (const wake of [...this.#waiting]) wake()
  }

  #concerns(event: UserEvent): boolean {
    const { io, node, services } = this.#options
    // For all of it: a sender does not know how much is registered here.
    const effort = { left: effortMax }
    try {
      const filters = filtersOf(event)
      if (filters.node?.matches(node, effort) === false) return false
      const { service, tag } = filters
      if (service === undefined) return true
      return services().some(({ definition: { id, name, tags } }) => {
        // Consul looks at ids alone, and says names; most are the same.
        if (!service.matches(id, effort) && !service.matches(name, effort)) return false
        return tag === undefined || tags.some((each) => tag.matches(each, effort))
      })
    } catch (error) {
      if (!(error instanceof Refused) && !(error instanceof PatternTooCostly)) throw error
      const fields = { event_name: event.name, event_id: event.id }
      io.log('warn', 'agent', `an event is not for us, for its filters cannot be told: ${error.message}`, fields)
      return false
    }
  }
}

interface Filters {
  node: Pattern | undefined
  service: Pattern | undefined
  tag: Pattern | undefined
}

/** @throws Refused in Consul's words */
function filtersOf({ name, nodeFilter, serviceFilter, tagFilter }: UserEventDraft): Filters {
  if (name === '') throw new BadRequest('User event missing name')
  if (tagFilter !== '' && serviceFilter === '') throw new Refused('Cannot provide tag filter without service filter')
  return {
    node: filterOf('node', nodeFilter),
    service: filterOf('service', serviceFilter),
    tag: filterOf('tag', tagFilter),
  }
}

function filterOf(kind: string, text: string): Pattern | undefined {
  if (text === '') return undefined
  try {
    return compilePattern(text)
  } catch (error) {
    if (!(error instanceof BadPattern)) throw error
    throw new Refused(`Invalid ${kind} filter: ${error.message}`, { cause: error })
  }
}
