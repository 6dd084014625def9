/** A server's store moves by its replica. */
import { parseAddress } from '../io/address.ts'
import type { Address, Index, Millis, NodeId } from '../model.ts'
import type { Replica } from '../replica/replica.ts'
import type { Following } from './following.ts'

export class Voter implements Following {
  readonly #replica: Replica
  #leader: { text: string; address: Address | undefined } = { text: '', address: undefined }

  constructor(replica: Replica) {
    this.#replica = replica
  }

  get applied(): Index {
    return this.#replica.status.applied
  }
  get leading(): boolean {
    return this.#replica.status.role === 'leader'
  }
  get leader(): NodeId | '' {
    return this.#replica.status.leader
  }
  get leaderAddress(): Address | undefined {
    const { leaderAddress } = this.#replica.status
    if (leaderAddress === '') return undefined
    // Asked for by every write that is forwarded, and it seldom changes.
    if (this.#leader.text !== leaderAddress)
      this.#leader = { text: leaderAddress, address: parseAddress(leaderAddress) }
    return this.#leader.address
  }
  get peers(): string[] {
    return this.#replica.status.configuration.servers.filter(({ voter }) => voter).map(({ address }) => address)
  }
  get cluster(): string {
    return this.#replica.status.configuration.cluster
  }
  get lastContact(): Millis {
    return this.#replica.status.lastContact
  }
  waitApplied(index: Index): Promise<void> {
    return this.#replica.waitApplied(index)
  }
  subscribe(onChange: () => void): () => void {
    return this.#replica.subscribe(onChange)
  }
}
