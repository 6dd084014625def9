/**
 * Every state that can be reached within bounds, each looked at once. Breadth first finds the shortest way to a broken
 * promise and holds all states of a depth in memory; depth first needs memory only for the names of states.
 */
import { Hosts } from './host.ts'
import { type Bounds, describeChoice, describeState, Model, nameOf, noBounds, type State, type Tails } from './model.ts'
import { Names } from './names.ts'

export interface Exploration {
  states: number
  steps: number
  /** The longest way, in steps. */
  depth: number
  /** Different servers, and different things that happened to one. */
  hosts: number
  reactions: number
  /** All states within the bounds were looked at. */
  completed: boolean
  failure: { error: Error; trace: string[] } | undefined
}

export interface ExploreOptions {
  order?: 'breadth' | 'depth'
  statesMax?: number
  tails?: Tails
  /** Each entry travels in a message of its own. */
  apart?: boolean
  onProgress?: (states: number, depth: number) => void
}

interface Node {
  state: State
  /** Number of the state it was reached from, and by which of that one's choices. */
  number: number
  depth: number
}

export function explore(bounds: Partial<Bounds>, options: ExploreOptions = {}): Exploration {
  const { order = 'breadth', statesMax = Number.POSITIVE_INFINITY, onProgress = () => {} } = options
  const hosts = new Hosts(options.apart === true ? 1 : 1_000_000)
  const model = new Model(hosts, { ...noBounds, ...bounds }, options.tails)
  const names = new Names()
  const origin = new Origins()
  const result: Exploration = {
    states: 1,
    steps: 0,
    depth: 0,
    hosts: 0,
    reactions: 0,
    completed: false,
    failure: undefined,
  }
  const first = model.beginning()
  names.add(nameOf(first))
  origin.add(-1, 0)
  let open: Node[] = [{ state: first, number: 0, depth: 0 }]
  let nextOpen: Node[] = []
  for (;;) {
    if (open.length === 0) {
      if (nextOpen.length === 0) break
      open = nextOpen.reverse()
      nextOpen = []
    }
    const { state, number, depth } = open.pop() as Node
    const all = model.choices(state)
    for (const [at, choice] of all.entries()) {
      result.steps++
      let next: State | undefined
      try {
        next = model.after(state, choice)
      } catch (error) {
        const trace = [...retrace(model, origin.way(number)), describeChoice(state, choice)]
        return { ...result, ...hosts.counts, failure: { error: error as Error, trace } }
      }
      if (next === undefined || !names.add(nameOf(next))) continue
      result.states++
      result.depth = Math.max(result.depth, depth + 1)
      origin.add(number, at)
      const node = { state: next, number: result.states - 1, depth: depth + 1 }
      if (order === 'breadth') nextOpen.push(node)
      else open.push(node)
      if (result.states % 100_000 === 0) onProgress(result.states, depth)
      if (result.states >= statesMax) return { ...result, ...hosts.counts }
    }
  }
  return { ...result, ...hosts.counts, completed: true }
}

/** How each state was first reached. */
class Origins {
  #parents = new Int32Array(1 << 16)
  #choices = new Uint16Array(1 << 16)
  #count = 0

  add(parent: number, choice: number): void {
    if (this.#count === this.#parents.length) {
      const parents = new Int32Array(this.#count * 2)
      parents.set(this.#parents)
      this.#parents = parents
      const taken = new Uint16Array(this.#count * 2)
      taken.set(this.#choices)
      this.#choices = taken
    }
    this.#parents[this.#count] = parent
    this.#choices[this.#count] = choice
    this.#count++
  }

  /** The choices that lead to a state. */
  way(number: number): number[] {
    const way: number[] = []
    for (let at = number; at > 0; at = this.#parents[at] as number) way.unshift(this.#choices[at] as number)
    return way
  }
}

/** What happened on the way, and how the servers stood after each step. */
function retrace(model: Model, way: readonly number[]): string[] {
  const lines: string[] = []
  let state = model.beginning()
  let before = describeState(state)
  lines.push(...before.map((line) => `    ${line}`))
  for (const at of way) {
    const choice = model.choices(state)[at]
    if (choice === undefined) throw new Error('the way cannot be gone again')
    lines.push(describeChoice(state, choice))
    state = model.after(state, choice) as State
    const now = describeState(state)
    for (const [server, line] of now.entries()) if (line !== before[server]) lines.push(`    ${line}`)
    before = now
  }
  return lines
}
