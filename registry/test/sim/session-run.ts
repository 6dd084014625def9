/**
 * One seed: three servers' clocks of sessions alone, with leaders that come and go between them, clocks of other rates,
 * stalls and slow logs, and clients that renew. No session may end before its TTL since it was last renewed is over, and
 * when all is well each ends soon after nobody renews it any more.
 */
import { SessionClock } from '../../src/agent/session-clock.ts'
import { Random } from '../../src/io/random.ts'
import type { Millis, Session, Term } from '../../src/model.ts'
import { session, sessionUuid } from '../store/samples.ts'
import { Violation } from './checkers.ts'

export interface SessionRunResult {
  failure: Error | undefined
  /** Sessions that were ended. */
  ended: number
  renewals: number
  terms: number
  simulated: Millis
}

const ttl: Millis = 10_000
const tick: Millis = 100
const troubled: Millis = 120_000

interface Server {
  clock: SessionClock
  rate: number
  /** It stands still until then. */
  stalled: Millis
  /** In which it believes to lead. */
  term: Term | undefined
}

interface Client {
  id: string
  renewed: Millis
  every: Millis
  /** It renews no more from then on. */
  until: Millis
}

export function runSessions(seed: number): SessionRunResult {
  const random = new Random(seed)
  const servers = Array.from({ length: 3 }, (): Server => {
    return { clock: new SessionClock(), rate: 0.7 + random.fraction() * 0.7, stalled: 0, term: undefined }
  })
  const state = new Map<string, Session>()
  const clients: Client[] = []
  /** Ends on their way through the log: they come to be if who proposed them leads until then. */
  let proposed: { id: string; by: Server; term: Term; at: Millis }[] = []
  const result: SessionRunResult = { failure: undefined, ended: 0, renewals: 0, terms: 0, simulated: 0 }
  const changeOften = random.between(1, 20) * 1000
  let now = 0
  let term = 0
  let leader: Server | undefined

  const changed = () => {
    for (const { clock } of servers) clock.changed()
  }
  const elect = (next: Server | undefined) => {
    for (const server of servers) server.term = undefined
    leader = next
    if (next === undefined) return
    next.term = ++term
    result.terms++
  }
  const begin = () => {
    const id = sessionUuid(clients.length + 1)
    state.set(id, { ...session(0, { id, lasts: ttl }), createIndex: 1, modifyIndex: 1 })
    const until = Math.min(troubled + ttl, now + random.fraction() * 60_000)
    clients.push({ id, renewed: now, every: 500 + random.fraction() * (ttl - 1000), until })
    changed()
  }
  const trouble = () => {
    if (random.chance(tick / changeOften)) elect(random.chance(0.2) ? undefined : random.pick(servers))
    if (leader === undefined && random.chance(0.05)) elect(random.pick(servers))
    if (random.chance(0.002)) random.pick(servers)!.stalled = now + random.fraction() * 2 * ttl
    if (clients.length < 12 && random.chance(0.01)) begin()
  }
  const renew = (client: Client) => {
    if (now >= client.until || now - client.renewed < client.every || !state.has(client.id)) return
    if (leader === undefined || leader.stalled > now) return
    // Not while its end is being written: then the client waits.
    if (proposed.some(({ id, by }) => id === client.id && by === leader)) return
    leader.clock.renewed(client.id)
    client.renewed = now
    result.renewals++
  }
  const commit = () => {
    for (const { id, by, term: inTerm } of proposed.filter(({ at }) => at <= now)) {
      const written = by.term === inTerm
      const client = clients.find((each) => each.id === id)
      if (written && client !== undefined && state.delete(id)) {
        result.ended++
        const since = now - client.renewed
        if (since < ttl)
          throw new Violation(`a session ended ${Math.round(since)} ms after it was renewed, before ${ttl}`)
        changed()
      }
      by.clock.settled(id)
    }
    proposed = proposed.filter(({ at }) => at > now)
  }

  try {
    for (let count = 0; count < 3; count++) begin()
    const end = troubled + 6 * ttl
    for (; now < end; now += tick) {
      if (now < troubled) trouble()
      else if (leader === undefined) elect(servers[0])
      for (const server of servers) {
        if (server.stalled > now && now < troubled) continue
        const rows = () => ({ sessions: [...state.values()], lockDelays: [] })
        const due = server.clock.tick(now * server.rate, server.term, rows)
        for (const id of due.sessions) {
          const at = now + random.fraction() * 400
          proposed.push({ id, by: server, term: server.term!, at })
        }
      }
      commit()
      for (const client of clients) renew(client)
    }
    if (state.size > 0) throw new Violation(`${state.size} sessions are still there, though nobody renews them`)
  } catch (error) {
    result.failure = error as Error
  }
  return { ...result, simulated: now }
}
