/** What clients of simulated agents share: where they act, and how they read what they are told. */
import type { Random } from '../../src/io/random.ts'
import type { Ledger } from './agent-checkers.ts'
import { Violation } from './agent-checkers.ts'
import type { Answered } from './agent-requests.ts'
import type { Agents } from './agents.ts'
import type { World } from './world.ts'

export interface ClientsOptions {
  world: World
  agents: Agents
  ledger: Ledger
  random: Random
  fail: (error: Error) => void
}

/** Often one that believes to lead: that is where mistakes would be. Undefined: nobody is up. */
export function anyone({ agents, random }: ClientsOptions): string | undefined {
  const running = agents.running()
  const leaders = running.filter((station) => agents.leads(station))
  return random.pick(leaders.length > 0 && random.chance(0.4) ? leaders : running)?.name
}

/** The answer says that nothing was proposed. */
export function isCertainlyNot(answer: Answered | undefined): boolean {
  return answer?.status === 500 && answer.text === 'No cluster leader'
}

/** Failures have names; anything else is a bug. */
export function expectHonest(answer: Answered | undefined, what: string): void {
  if (answer === undefined || answer.status === 503 || isCertainlyNot(answer)) return
  if (answer.status === 500 && honest.some((pattern) => pattern.test(answer.text))) return
  throw new Violation(`${what} was answered ${brief(answer)}`)
}

const honest = [
  /may or may not have happened/,
  /outcome (of this write )?is unknown/,
  /could not reach \d+ within/,
  // What is registered at an agent has to be on its disk.
  /^(EIO|ENOSPC)/,
]

export function brief(answer: Answered | undefined): string {
  return answer === undefined ? 'no answer' : `${answer.status} ${answer.text.slice(0, 80)}`
}

export function indexOf({ headers }: Answered): number {
  return Number(headers.get('X-Consul-Index'))
}
