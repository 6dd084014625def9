/**
 * A proof for bounds whose states are too many to look at one by one. States with the same servers that remember the same
 * are taken together: to them belongs every message that was sent on any way there. As more messages never make less
 * possible (`places.ts`), whatever can happen in one of the states can happen then, and maybe more; so where nothing
 * breaks here, nothing breaks in any state. Where something does, it may be that no single way leads there: `explore`
 * knows.
 *
 * It ends because there are finitely many messages. What it ends with does not depend on the order of the steps: it is the
 * smallest set that holds the beginning and what follows from what it holds. That it does is looked at once more at the
 * end, in a pass that adds nothing, and the steps counted are those of this pass.
 */
import { type Bounds, describeChoice, describeState, Model, type ModelOptions, type State } from './model.ts'
import { States } from './tables.ts'

export interface Proof {
  /** Sets of states: servers, what happened before as far as promises speak of it, what is left of the bounds. */
  sets: number
  /** Steps from all of these. */
  steps: number
  hosts: number
  messages: number
  reactions: number
  /** How often a set was looked at. */
  turns: number
  completed: boolean
  failure: { error: Error; where: string[] } | undefined
}

export interface ProofOptions extends ModelOptions {
  turnsMax?: number
  /** Now and then: how many sets there are, and how many of them must be looked at (again). */
  onProgress?: (turns: number, sets: number, open: number) => void
}

export function prove(bounds: Partial<Bounds>, options: ProofOptions = {}): Proof {
  const { turnsMax = Number.POSITIVE_INFINITY, onProgress = () => {} } = options
  const model = new Model(bounds, options)
  const { places } = model
  /** Numbers of servers; and for each three of these, where they are. */
  const keys = new States()
  const sets: State[] = []
  const waiting: boolean[] = []
  let [open, nextOpen]: [number[], number[]] = [[], []]
  let turns = 0

  /** Returns whether anything is new. */
  const take = (state: State): boolean => {
    let isNew = false
    for (const [one, two, three, rest] of model.canonicalServers(state)) {
      const number = keys.add(places.hostAt(one).number, places.hostAt(two).number, places.hostAt(three).number, rest)
      if (number >= 0) {
        sets.push([one, two, three, rest])
        model.check([one, two, three, rest])
        nextOpen.push(number)
        waiting.push(true)
        isNew = true
        continue
      }
      const held = sets[~number] as State
      const joined: State = [
        places.joined(held[0], one),
        places.joined(held[1], two),
        places.joined(held[2], three),
        rest,
      ]
      if (joined[0] === held[0] && joined[1] === held[1] && joined[2] === held[2]) continue
      sets[~number] = joined
      isNew = true
      if (waiting[~number]) continue
      waiting[~number] = true
      nextOpen.push(~number)
    }
    return isNew
  }

  let steps = 0
  const told = (completed: boolean, failure?: Proof['failure']): Proof => ({
    sets: sets.length,
    steps,
    hosts: model.hosts.all.length,
    messages: model.hosts.messages.length,
    reactions: model.hosts.reactions,
    turns,
    completed,
    failure,
  })
  /** Returns what breaks. */
  const turn = (number: number): Proof['failure'] => {
    const state = sets[number] as State
    for (const choice of model.choices(state)) {
      steps++
      try {
        take(model.after(state, choice))
      } catch (error) {
        return { error: error as Error, where: [...describeState(model, state), describeChoice(model, choice)] }
      }
    }
    return undefined
  }

  take(model.beginning())
  while (nextOpen.length > 0) {
    ;[open, nextOpen] = [nextOpen, []]
    for (const number of open) {
      waiting[number] = false
      if (turns % 10_000 === 0) onProgress(turns, sets.length, nextOpen.length)
      if (turns++ >= turnsMax) return told(false)
      const failure = turn(number)
      if (failure !== undefined) return told(false, failure)
    }
  }
  steps = 0
  for (let number = 0; number < sets.length; number++) {
    const failure = turn(number)
    if (failure !== undefined) return told(false, failure)
  }
  return told(nextOpen.length === 0)
}
