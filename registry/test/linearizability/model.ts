/** What a sequential object does: the specification that a concurrent history is compared with. */
import type { Operation } from './history.ts'

export interface Model<State, Input, Output> {
  initial: State
  /**
   * What the operation touches. Histories of keys that no operation connects are checked apart (linearizability is
   * local: Herlihy and Wing 1990, theorem 1).
   */
  keys(input: Input): readonly string[]
  /**
   * The states that the operation may leave behind when it is given `output`; none: it cannot be next. More than one
   * when the answer does not tell. `output` undefined: it took effect, and nobody knows the answer.
   */
  step(state: State, input: Input, output: Output | undefined): readonly State[]
  /** States with the same text have the same future. */
  stateKey(state: State): string
  /** Says more of each operation than its caller knew, from what others saw; leaves out what says nothing. */
  prepare?(operations: readonly Operation<Input, Output>[]): Operation<Input, Output>[]
  /**
   * Of each operation of a part: in every order that fits, those that have a rank stand in its order, as far as they have
   * to be placed.
   */
  ranks?(operations: readonly Operation<Input, Output>[]): (number | undefined)[]
  /** Open operations of the same class do the same, so that the one that was called first may as well come first. */
  openClass?(input: Input): string | undefined
  describe(input: Input, output: Output | undefined): string
  describeState(state: State): string
}
