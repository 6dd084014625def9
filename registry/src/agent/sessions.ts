/**
 * Sessions as the leader keeps them: their renewals, which are messages and never in the log, and their ends, which are
 * entries of the log that only a leader proposes. A renewal counts when this node certainly leads at that moment, and
 * when the session's end is not being written already.
 */
import type { Io } from '../io/io.ts'
import type { Millis, Session, SessionId } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import { encodeCommand } from '../store/command.ts'
import type { Store } from '../store/store.ts'
import type { Forward } from './forward.ts'
import { SessionClock } from './session-clock.ts'

/** What one agent asks the leader for another. */
export interface RenewRequest {
  cluster: string
  id: SessionId
}
/** Null: there is no such session. */
export interface RenewReply {
  session: Session | null
}

export interface SessionsOptions {
  io: Io
  store: Store
  forward: Forward
  replica: Replica
}

export class Sessions {
  readonly #options: SessionsOptions
  readonly #clock = new SessionClock()
  /** Ends on their way through the log. */
  readonly #ending = new Map<SessionId, Promise<void>>()

  constructor(options: SessionsOptions) {
    this.#options = options
    options.store.watch({ kind: 'sessions' }, () => this.#clock.changed())
  }

  tick(now: Millis): void {
    const { replica, store } = this.#options
    const { role, term } = replica.status
    const due = this.#clock.tick(now, role === 'leader' ? term : undefined, () => ({
      sessions: store.sessions().value,
      lockDelays: store.lockDelays(),
    }))
    for (const id of due.sessions) this.#expire(id)
    if (due.delays.length > 0) this.#endDelays(due.delays)
  }

  /**
   * As the leader, for itself or for another agent.
   * @throws NotLeader
   */
  async renew(id: SessionId): Promise<Session | undefined> {
    const { forward, replica, store } = this.#options
    for (;;) {
      const index = await forward.leadRead(false)
      await replica.waitApplied(index)
      const ending = this.#ending.get(id)
      if (ending !== undefined) {
        await ending
        continue
      }
      const session = store.session(id).value
      if (session !== undefined) this.#clock.renewed(id)
      return session
    }
  }

  #expire(id: SessionId): void {
    const { io, forward } = this.#options
    const end = forward.lead(encodeCommand({ type: 'session.expire', id })).then(
      () => io.log('debug', 'consul', `session ${id} was not renewed in time and has ended`),
      (error: Error) => io.log('warn', 'consul', `ending session ${id}, which was not renewed: ${error.message}`),
    )
    this.#ending.set(
      id,
      end.finally(() => {
        this.#ending.delete(id)
        this.#clock.settled(id)
      }),
    )
  }

  #endDelays(marks: { key: string; index: number }[]): void {
    const { io, forward } = this.#options
    forward.lead(encodeCommand({ type: 'locks.undelay', marks })).then(
      () => {
        // No session came or ended by this, but marks went.
        this.#clock.changed()
      },
      (error: Error) => io.log('debug', 'consul', `ending lock-delays: ${error.message}`),
    )
  }
}
