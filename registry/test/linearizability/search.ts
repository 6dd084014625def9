/**
 * Looks for an order of the operations that a sequential object explains: the search of Wing and Gong (1993) with Lowe's
 * memory of configurations (2017), as Porcupine has it. Entries (calls and returns) are a linked list in order of time;
 * the next operation of the order is one whose call stands before the first return. A configuration is the set of
 * operations placed so far and the state they leave: one that was there before leads nowhere new.
 *
 * Open operations are apart from the list, are tried after those that must be placed, and need not be placed at all.
 * Deterministic: its budget is steps, not time.
 */
import type { Operation } from './history.ts'
import type { Model } from './model.ts'

const head = 0

interface Frame {
  operation: number
  state: number
  choice: number
  node: number
  open: number
}

export class Search<State, Input, Output> {
  steps = 0
  /** The longest order that was found, as operations and the state after each. */
  longest: { operation: Operation<Input, Output>; state: State }[] = []

  readonly #model: Model<State, Input, Output>
  readonly #operations: readonly Operation<Input, Output>[]

  // The list: node 0 is the head; each operation that must be placed has a node for its call and one for its return.
  readonly #next: Int32Array
  readonly #previous: Int32Array
  readonly #nodeOperation: Int32Array
  readonly #nodeTime: Float64Array
  readonly #callNode: Int32Array
  /** 0 for the calls' own nodes. */
  readonly #returnNode: Int32Array
  readonly #isReturn: Uint8Array

  /** In order of their calls. */
  readonly #open: number[]
  /** The open operation of the same class that was called just before; -1: none. */
  readonly #openBefore: Int32Array

  /** Of each operation: the place of its rank among all ranks; -1: it has none. */
  readonly #rank: Int32Array
  /** Of each rank: how many operations are not placed yet. */
  readonly #rankLeft: Int32Array
  /** The lowest rank of which some are left. */
  #rankNow = 0

  readonly #states: State[] = []
  readonly #stateIds = new Map<string, number>()
  readonly #transitions = new Map<number, readonly number[]>()
  readonly #visited: Configurations

  // Where the search stands.
  readonly #stack: Frame[] = []
  #state: number
  #left: number
  #node: number
  #openAt = 0
  #choice = 0

  constructor(model: Model<State, Input, Output>, operations: readonly Operation<Input, Output>[]) {
    this.#model = model
    this.#operations = operations
    const { length } = operations
    const nodes: { operation: number; time: number; isReturn: boolean }[] = []
    const open: number[] = []
    for (const [at, { call, return: end }] of operations.entries()) {
      if (end === undefined) open.push(at)
      else nodes.push({ operation: at, time: call, isReturn: false }, { operation: at, time: end, isReturn: true })
    }
    // A call at the moment of another's return is concurrent with it.
    nodes.sort((one, other) => one.time - other.time || Number(one.isReturn) - Number(other.isReturn))
    this.#left = length - open.length
    const size = nodes.length + 1
    this.#next = new Int32Array(size)
    this.#previous = new Int32Array(size)
    this.#nodeOperation = new Int32Array(size)
    this.#nodeTime = new Float64Array(size)
    this.#isReturn = new Uint8Array(size)
    this.#callNode = new Int32Array(length)
    this.#returnNode = new Int32Array(length)
    for (const [at, { operation, time, isReturn }] of nodes.entries()) {
      const node = at + 1
      this.#previous[node] = at
      this.#next[at] = node
      this.#nodeOperation[node] = operation
      this.#nodeTime[node] = time
      this.#isReturn[node] = isReturn ? 1 : 0
      if (isReturn) this.#returnNode[operation] = node
      else this.#callNode[operation] = node
    }
    this.#open = open.sort((one, other) => operations[one]!.call - operations[other]!.call)
    this.#openBefore = new Int32Array(length).fill(-1)
    const classes = new Map<string, number>()
    for (const operation of this.#open) {
      const name = model.openClass?.(operations[operation]!.input)
      if (name === undefined) continue
      this.#openBefore[operation] = classes.get(name) ?? -1
      classes.set(name, operation)
    }
    const given = model.ranks?.(operations)
    const ranks = operations.map(({ return: end }, at) => (end === undefined ? undefined : given?.[at]))
    const inOrder = [...new Set(ranks.filter((rank) => rank !== undefined))].sort((one, other) => one - other)
    const places = new Map(inOrder.map((rank, at) => [rank, at]))
    this.#rank = Int32Array.from(ranks, (rank) => (rank === undefined ? -1 : places.get(rank)!))
    this.#rankLeft = new Int32Array(inOrder.length)
    for (const rank of this.#rank) if (rank >= 0) this.#rankLeft[rank]!++
    this.#visited = new Configurations(length)
    this.#state = this.#intern(model.initial)
    this.#node = this.#next[head]!
  }

  /** True: there is an order. False: there is none. Undefined: not known after so many more steps; may be called again. */
  run(budget: number): boolean | undefined {
    const end = this.steps + budget
    for (;;) {
      if (this.#left === 0) return true
      if (this.steps >= end) return undefined
      const operation = this.#candidate()
      if (operation < 0) {
        if (!this.#backtrack()) return false
        continue
      }
      const state = this.#rank[operation]! > this.#rankNow ? undefined : this.#following(operation)[this.#choice]
      if (state === undefined) {
        this.#pass()
        continue
      }
      this.steps++
      const idle = state === this.#state && this.#operations[operation]!.return === undefined
      if (idle || !this.#visited.add(operation, state)) {
        this.#choice++
        continue
      }
      this.#place(operation, state)
    }
  }

  /** What might have come next after the longest order, and did not fit. */
  stuck(): Operation<Input, Output>[] {
    const placed = new Set(this.longest.map(({ operation }) => operation))
    const rest = this.#operations.filter((operation) => !placed.has(operation))
    const limit = Math.min(...rest.map((operation) => operation.return ?? Number.POSITIVE_INFINITY))
    return rest.filter(({ call }) => call <= limit)
  }

  /** The operation the search stands at; -1: there is none any more. */
  #candidate(): number {
    if (this.#isReturn[this.#node] === 0) return this.#nodeOperation[this.#node]!
    const limit = this.#nodeTime[this.#node]!
    for (; this.#openAt < this.#open.length; this.#openAt++) {
      const operation = this.#open[this.#openAt]!
      if (this.#operations[operation]!.call > limit) return -1
      if (this.#visited.placed(operation)) continue
      const before = this.#openBefore[operation]!
      if (before < 0 || this.#visited.placed(before)) return operation
    }
    return -1
  }

  #pass(): void {
    this.#choice = 0
    if (this.#isReturn[this.#node] === 0) this.#node = this.#next[this.#node]!
    else this.#openAt++
  }

  #place(operation: number, state: number): void {
    this.#stack.push({
      operation,
      state: this.#state,
      choice: this.#choice,
      node: this.#node,
      open: this.#openAt,
    })
    this.#visited.place(operation)
    if (this.#operations[operation]!.return !== undefined) {
      this.#lift(this.#callNode[operation]!)
      this.#lift(this.#returnNode[operation]!)
      this.#left--
      this.#count(this.#rank[operation]!, -1)
    }
    this.#state = state
    this.#node = this.#next[head]!
    this.#openAt = 0
    this.#choice = 0
  }

  #backtrack(): boolean {
    if (this.#stack.length > this.longest.length) this.#keepLongest()
    const frame = this.#stack.pop()
    if (frame === undefined) return false
    const { operation } = frame
    this.#visited.place(operation)
    if (this.#operations[operation]!.return !== undefined) {
      this.#unlift(this.#returnNode[operation]!)
      this.#unlift(this.#callNode[operation]!)
      this.#left++
      this.#count(this.#rank[operation]!, 1)
    }
    this.#state = frame.state
    this.#node = frame.node
    this.#openAt = frame.open
    this.#choice = frame.choice + 1
    return true
  }

  #count(rank: number, change: 1 | -1): void {
    if (rank < 0) return
    this.#rankLeft[rank]! += change
    if (change > 0) this.#rankNow = Math.min(this.#rankNow, rank)
    else while (this.#rankLeft[this.#rankNow] === 0) this.#rankNow++
  }

  #keepLongest(): void {
    this.longest = this.#stack.map(({ operation }, at) => ({
      operation: this.#operations[operation]!,
      state: this.#states[this.#stack[at + 1]?.state ?? this.#state]!,
    }))
  }

  #lift(node: number): void {
    const [previous, next] = [this.#previous[node]!, this.#next[node]!]
    this.#next[previous] = next
    if (next !== head) this.#previous[next] = previous
  }

  #unlift(node: number): void {
    const [previous, next] = [this.#previous[node]!, this.#next[node]!]
    this.#next[previous] = node
    if (next !== head) this.#previous[next] = node
  }

  #following(operation: number): readonly number[] {
    const key = this.#state * this.#operations.length + operation
    const known = this.#transitions.get(key)
    if (known !== undefined) return known
    const { input, output } = this.#operations[operation]!
    const states = this.#model.step(this.#states[this.#state]!, input, output).map((state) => this.#intern(state))
    this.#transitions.set(key, states)
    return states
  }

  #intern(state: State): number {
    const key = this.#model.stateKey(state)
    const known = this.#stateIds.get(key)
    if (known !== undefined) return known
    const id = this.#states.push(state) - 1
    this.#stateIds.set(key, id)
    return id
  }
}

/** The operations that are placed, and every configuration that was seen: an open-addressed table over one array. */
class Configurations {
  readonly #words: number
  readonly #placed: Uint32Array
  /** A random word for each operation; the exclusive or of those placed is the hash of their set (Zobrist 1970). */
  readonly #marks: Uint32Array
  #hash = 0
  /** Configurations, one after the other: the set's words, then the state. */
  #arena: Uint32Array
  #count = 0
  #table: Int32Array

  constructor(operations: number) {
    this.#words = Math.max(1, Math.ceil(operations / 32))
    this.#placed = new Uint32Array(this.#words)
    this.#marks = new Uint32Array(operations)
    let seed = 0x9e3779b9
    for (let at = 0; at < operations; at++) {
      seed = (seed + 0x9e3779b9) >>> 0
      this.#marks[at] = mix(seed)
    }
    this.#table = new Int32Array(1024)
    this.#arena = new Uint32Array(512 * (this.#words + 1))
  }

  placed(operation: number): boolean {
    return (this.#placed[operation >>> 5]! & (1 << (operation & 31))) !== 0
  }

  /** Puts it into the set, or takes it out. */
  place(operation: number): void {
    this.#placed[operation >>> 5]! ^= 1 << (operation & 31)
    this.#hash = (this.#hash ^ this.#marks[operation]!) >>> 0
  }

  /** Whether the set with `operation` in it, and that state, is new. */
  add(operation: number, state: number): boolean {
    this.place(operation)
    const isNew = this.#add(state)
    this.place(operation)
    return isNew
  }

  #add(state: number): boolean {
    const size = this.#words + 1
    const mask = this.#table.length - 1
    let slot = mix(this.#hash ^ Math.imul(state + 1, 0x85ebca6b)) & mask
    for (let found = this.#table[slot]!; found !== 0; found = this.#table[slot]!) {
      if (this.#same((found - 1) * size, state)) return false
      slot = (slot + 1) & mask
    }
    if ((this.#count + 1) * size > this.#arena.length) {
      const larger = new Uint32Array(this.#arena.length * 2)
      larger.set(this.#arena)
      this.#arena = larger
    }
    this.#arena.set(this.#placed, this.#count * size)
    this.#arena[this.#count * size + this.#words] = state
    this.#table[slot] = ++this.#count
    if (this.#count * 2 > this.#table.length) this.#grow()
    return true
  }

  #same(at: number, state: number): boolean {
    if (this.#arena[at + this.#words] !== state) return false
    for (let word = 0; word < this.#words; word++) if (this.#arena[at + word] !== this.#placed[word]) return false
    return true
  }

  #grow(): void {
    const table = new Int32Array(this.#table.length * 4)
    const mask = table.length - 1
    const size = this.#words + 1
    for (let each = 0; each < this.#count; each++) {
      let hash = 0
      for (let word = 0; word < this.#words; word++) {
        for (let bits = this.#arena[each * size + word]!; bits !== 0; bits &= bits - 1) {
          hash ^= this.#marks[word * 32 + (31 - Math.clz32(bits & -bits))]!
        }
      }
      const state = this.#arena[each * size + this.#words]!
      let slot = mix((hash >>> 0) ^ Math.imul(state + 1, 0x85ebca6b)) & mask
      while (table[slot] !== 0) slot = (slot + 1) & mask
      table[slot] = each + 1
    }
    this.#table = table
  }
}

function mix(word: number): number {
  let mixed = word
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
