/** Sets of whole numbers, each set with a number of its own. */
import { Pairs } from './tables.ts'

export class Sets {
  readonly #all: (readonly number[])[] = []
  readonly #numbers = new Map<string, number>()
  readonly #added = new Pairs()
  readonly #joined = new Pairs()

  /** @param members in ascending order, each once. */
  number(members: readonly number[]): number {
    const key = members.join()
    let number = this.#numbers.get(key)
    if (number === undefined) {
      number = this.#all.length
      this.#numbers.set(key, number)
      this.#all.push(members)
    }
    return number
  }

  at(number: number): readonly number[] {
    return this.#all[number] as readonly number[]
  }

  /** The set with this one more. */
  add(number: number, member: number): number {
    let after = this.#added.get(number, member)
    if (after < 0) {
      const members = this.at(number)
      after = members.includes(member) ? number : this.number(sorted([...members, member]))
      this.#added.set(number, member, after)
    }
    return after
  }

  joined(one: number, other: number): number {
    if (one === other) return one
    let both = this.#joined.get(one, other)
    if (both < 0) {
      both = this.number(sorted([...new Set([...this.at(one), ...this.at(other)])]))
      this.#joined.set(one, other, both)
    }
    return both
  }

  /** The set of what each member becomes; -1: it is left out. */
  mapped(number: number, becomes: (member: number) => number): number {
    const members = this.at(number)
    let same = true
    const mapped: number[] = []
    for (const member of members) {
      const after = becomes(member)
      if (after !== member) same = false
      if (after >= 0) mapped.push(after)
    }
    return same ? number : this.number(sorted([...new Set(mapped)]))
  }
}

function sorted(members: number[]): number[] {
  return members.sort((one, other) => one - other)
}
