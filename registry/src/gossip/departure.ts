/** Our leaving: who was told over a connection, and whether enough of them have said that they know. */
import type { Address, Member, Millis } from '../model.ts'
import { sameAddress } from './members.ts'

export class Departure {
  readonly #soon: Millis
  readonly #until: Millis
  readonly #awaited = new Map<number, Member>()
  #told = 0
  #acknowledged = 0

  /**
   * @param soon until then we wait for everybody we told,
   * @param until until then for anybody at all
   */
  constructor(soon: Millis, until: Millis) {
    this.#soon = soon
    this.#until = until
  }

  told(sequence: number, witness: Member): void {
    this.#told++
    this.#awaited.set(sequence, witness)
  }

  /** False: this was no answer to us. */
  acknowledged(sequence: number): boolean {
    if (!this.#awaited.delete(sequence)) return false
    this.#acknowledged++
    return true
  }

  unreachable(address: Address): void {
    for (const [sequence, witness] of this.#awaited) {
      if (sameAddress(witness.address, address)) this.#awaited.delete(sequence)
    }
  }

  /** One who knows is enough, for it passes the news on; but while the others may answer soon we wait for them. */
  over(now: Millis): boolean {
    if (this.#told === 0 || now >= this.#until) return true
    return this.#acknowledged > 0 && (this.#awaited.size === 0 || now >= this.#soon)
  }
}
