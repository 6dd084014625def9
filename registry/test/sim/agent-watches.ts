/**
 * Watchers: long polls on keys, prefixes, services and their health. What they are told moves their index, and none is
 * left behind: when nothing changes any more, each has seen what a fresh read sees.
 */
import type { Index } from '../../src/model.ts'
import { brief, type ClientsOptions, expectHonest, indexOf } from './agent-answers.ts'
import { Violation } from './agent-checkers.ts'
import type { Answered } from './agent-requests.ts'
import type { Life } from './agents.ts'

export const questions = [
  '/v1/kv/a',
  '/v1/kv/c/?recurse',
  '/v1/kv/c/?keys',
  '/v1/catalog/service/web',
  '/v1/catalog/services',
  '/v1/catalog/nodes',
  '/v1/health/service/db',
  '/v1/health/service/web?passing',
  '/v1/health/state/critical',
  '/v1/session/list',
] as const

export interface WatchOptions {
  question: string
  /** Where it asks. */
  agent: string
  stale: boolean
  /** Asks another agent when this one does not answer, with the index it has. */
  roams: boolean
}

/** Longer than a seed: nothing answers because the wait is over. */
const wait = '10m'
const patience = 700_000

export class Watch {
  readonly #options: ClientsOptions
  readonly #watch: WatchOptions
  #agent: string
  /** What it was told last, and by whom; undefined: it knows that it knows nothing. */
  #seen: { status: number; text: string; index: Index } | undefined
  answers = 0

  constructor(options: ClientsOptions, watch: WatchOptions) {
    this.#options = options
    this.#watch = watch
    this.#agent = watch.agent
  }

  async run(): Promise<void> {
    const { agents, world, random, fail } = this.#options
    let index: Index = 0
    for (;;) {
      const agent = this.#agent
      const { life } = agents.station(agent)
      const asked = life && agents.request(agent, 'GET', this.#path(index), '', patience)
      const waiting = { for: life }
      const answer = await Promise.race([asked, this.#ended(agent, waiting)])
      waiting.for = undefined
      if (answer?.status === 200 || answer?.status === 404) {
        try {
          index = this.#told(agent, index, answer)
        } catch (error) {
          fail(error as Error)
        }
        continue
      }
      try {
        if (answer !== undefined) expectHonest(answer, `${this.#watch.question} at ${agent}`)
      } catch (error) {
        fail(error as Error)
      }
      if (random.chance(0.3)) {
        index = 0
        this.#seen = undefined
      }
      await world.sleep(500)
      if (this.#watch.roams) this.#agent = random.pick(agents.running())?.name ?? agent
    }
  }

  /** What it should have been told by now, and was not: that wakes it only once, and it asks for ten minutes. */
  async behind(): Promise<string | undefined> {
    const { agents } = this.#options
    const agent = this.#agent
    if (agents.station(agent).life === undefined) return undefined
    const fresh = await agents.request(agent, 'GET', this.#path(0))
    const seen = this.#seen
    if (fresh !== undefined && seen?.status === fresh.status && seen.text === fresh.text) return undefined
    const what = seen === undefined ? 'nothing' : `${seen.status} ${seen.text} (${seen.index})`
    const now = fresh === undefined ? 'nothing' : `${fresh.status} ${fresh.text} (${indexOf(fresh)})`
    return `the watcher of ${this.#watch.question} at ${agent} has seen ${what}, a fresh read finds ${now}`
  }

  #path(index: Index): string {
    const { question, stale } = this.#watch
    const query = `${stale ? 'stale&' : ''}wait=${wait}&index=${index}`
    return `${question}${question.includes('?') ? '&' : '?'}${query}`
  }

  /** @returns the index to ask with next */
  #told(agent: string, asked: Index, answer: Answered): Index {
    const { world } = this.#options
    this.answers++
    const { status, text, storeIndex } = answer
    const index = indexOf(answer)
    const what = `${this.#watch.question} at ${agent}, asked with ${asked}`
    world.note(`watch ${what}: ${index} ${brief(answer)}`)
    if (!(index > 0)) throw new Violation(`${what}, was answered index ${answer.headers.get('X-Consul-Index')}`)
    if (index > Math.max(1, storeIndex))
      throw new Violation(`${what}, was answered ${index} by a store at ${storeIndex}`)
    if (index <= asked) throw new Violation(`${what}, was answered index ${index} by a store at ${storeIndex}`)
    this.#seen = { status, text, index }
    return index
  }

  /** Resolves when that life of the agent is over, or nobody waits for its end any more. */
  async #ended(agent: string, waiting: { for: Life | undefined }): Promise<undefined> {
    const { agents, world } = this.#options
    while (waiting.for !== undefined && agents.station(agent).life === waiting.for) await world.sleep(1000)
  }
}
