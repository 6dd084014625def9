/**
 * One class per reason a caller can act on. Only `http/app.ts` turns them into status codes and only
 * `dns/` into rcodes. Messages start lower-case unless Consul's clients match the text.
 */

/** The caller's input is wrong. The message names the value, what was expected and what to do. */
export class BadRequest extends Error {
  override name = 'BadRequest'
}

/** The thing named does not exist. */
export class NotFound extends Error {
  override name = 'NotFound'
}

/** More bytes than the limit allows. */
export class TooLarge extends Error {
  override name = 'TooLarge'
}

/** The command was understood and refused by the state (Consul answers 500 with the reason). */
export class Refused extends Error {
  override name = 'Refused'
}

/**
 * A change of the servers that would leave a majority of voters whom the leader has not heard lately: not now. The same
 * may be right in a moment.
 */
export class MajorityUnheard extends Refused {
  override name = 'MajorityUnheard'
}

/** No leader could be reached in the time we wait for one. The text is Consul's: clients match it. */
export class NoLeader extends Error {
  override name = 'NoLeader'
  constructor(message = 'No cluster leader', options?: ErrorOptions) {
    super(message, options)
  }
}

/** This server is not the leader; nothing was proposed. */
export class NotLeader extends Error {
  override name = 'NotLeader'
  readonly leader: string | undefined
  constructor(leader?: string) {
    super(leader === undefined ? 'not the leader, and no leader is known' : `not the leader; the leader is ${leader}`)
    this.leader = leader
  }
}

/** The outcome is unknown: the write may or may not come to be. Never retried silently. */
export class LeadershipLost extends Error {
  override name = 'LeadershipLost'
}

/** Too much is waiting for the log; nothing was proposed and the caller may retry. */
export class Busy extends Error {
  override name = 'Busy'
}

/** The node is shutting down. */
export class Stopped extends Error {
  override name = 'Stopped'
  constructor(
    message = 'this agent is stopping; ask another one, or this one when it is back',
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** Data on disk that fails its checksum where a torn tail cannot be the cause. */
export class Corrupt extends Error {
  override name = 'Corrupt'
}

/** A file of a format that only a newer version of this program understands. It is sound, and is left as it is. */
export class TooNew extends Error {
  override name = 'TooNew'
  /** Versions are those of the file's format. */
  constructor(file: string, found: number, understood: number) {
    super(
      `${file} has format ${found}, and this version of the program understands format ${understood}: a newer version ` +
        'wrote it. Start that version again; to go back, use a data directory from before it, or an empty one',
    )
  }
}

/** Throws when `condition` is false. It cannot happen; if it does the node halts, for a wrong answer is worse than none. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}

/** The other agent could not be reached: it certainly did not see the request, and asking again is safe. */
export class Unreachable extends Error {
  override name = 'Unreachable'
}

/** The request left and no answer came: the other agent may or may not have acted on it. */
export class Unanswered extends Error {
  override name = 'Unanswered'
}

/** Nobody here has heard of that datacenter. The text is Consul's. */
export class NoPath extends Error {
  override name = 'NoPath'
  constructor(message = 'No path to datacenter', options?: ErrorOptions) {
    super(message, options)
  }
}

/** The datacenter is known, and none of its servers answers; nothing was done there. The message says who was asked. */
export class DatacenterLost extends Error {
  override name = 'DatacenterLost'
}
