/**
 * Every state that can be reached within bounds, each looked at once, breadth first: the first broken promise is found by
 * a shortest way. The table of states is the queue, so nothing is held but one row of numbers for each.
 */
import {
  type Bounds,
  type Choice,
  describeChoice,
  describeState,
  Model,
  type ModelOptions,
  type State,
} from './model.ts'
import { Numbers, States } from './tables.ts'

export interface Exploration {
  states: number
  steps: number
  /** The longest of the shortest ways to a state, in steps. */
  depth: number
  /** Different servers, servers with what was sent to them, and different things that happened to one. */
  hosts: number
  places: number
  reactions: number
  /** All states within the bounds were looked at. */
  completed: boolean
  failure: { error: Error; trace: string[] } | undefined
}

export interface ExploreOptions extends ModelOptions {
  statesMax?: number
  /** Now and then: how many states there are, and how many of them have been left. */
  onProgress?: (states: number, left: number, depth: number) => void
}

export function explore(bounds: Partial<Bounds>, options: ExploreOptions = {}): Exploration {
  const { statesMax = Number.POSITIVE_INFINITY, onProgress = () => {} } = options
  const model = new Model(bounds, options)
  const states = new States()
  /** From where each was first reached. */
  const parents = new Numbers()
  let [steps, depth, levelEnd] = [0, 0, 1]
  const told = (completed: boolean, failure?: Exploration['failure']): Exploration => ({
    states: states.size,
    steps,
    depth,
    hosts: model.hosts.all.length,
    places: model.places.size,
    reactions: model.hosts.reactions,
    completed,
    failure,
  })
  states.add(...model.canonical(model.beginning()))
  parents.push(-1)
  for (let number = 0; number < states.size; number++) {
    if (number === levelEnd) {
      depth++
      levelEnd = states.size
    }
    if (number % 100_000 === 0) onProgress(states.size, number, depth)
    const state = states.at(number)
    for (const choice of model.choices(state)) {
      steps++
      try {
        const next = model.canonical(model.after(state, choice))
        if (states.add(...next) < 0) continue
        parents.push(number)
        model.check(next)
      } catch {
        return told(false, retrace(model, way(states, parents, number)))
      }
      if (states.size >= statesMax) return told(false)
    }
  }
  return told(true)
}

function way(states: States, parents: Numbers, number: number): State[] {
  const way: State[] = []
  for (let at = number; at >= 0; at = parents.at(at)) way.unshift(states.at(at))
  return way
}

/** What happened on the way and then, how the servers stood after each step, and how it ended. */
function retrace(model: Model, way: readonly State[]): { trace: string[]; error: Error } {
  let state = model.beginning()
  let before = describeState(model, state)
  const trace = before.map((line) => `    ${line}`)
  // What is on the way may have been renamed at each step; here everybody keeps the name of the beginning.
  for (const target of way.slice(1)) {
    const choice = model.choices(state).find((each) => same(outcome(model, state, each), target))
    if (choice === undefined) throw new Error('the way cannot be gone again')
    trace.push(describeChoice(model, choice))
    state = model.after(state, choice)
    const now = describeState(model, state)
    for (const [server, line] of now.entries()) if (line !== before[server]) trace.push(`    ${line}`)
    before = now
  }
  for (const choice of model.choices(state)) {
    const error = outcome(model, state, choice)
    if (error instanceof Error) return { trace: [...trace, describeChoice(model, choice)], error }
  }
  throw new Error('what broke cannot be broken again')
}

function outcome(model: Model, state: State, choice: Choice): State | Error {
  try {
    const next = model.after(state, choice)
    model.check(next)
    return model.canonical(next)
  } catch (error) {
    return error as Error
  }
}

function same(one: State | Error, other: State): boolean {
  return !(one instanceof Error) && one.every((value, at) => value === other[at])
}
