/**
 * The first configuration of a cluster. Dangerous once, never needed again: two bootstraps would be two clusters under
 * one name. So it happens only when every server this node knows of says that it is part of none, and promises this
 * node alone not to begin one itself; and only at the server with the smallest id when several would.
 */

import { addressText } from '../io/address.ts'
import type { Io } from '../io/io.ts'
import type { Address, Member, Millis, NodeId } from '../model.ts'
import type { Configuration } from '../raft/message.ts'
import type { Peers } from './peers.ts'

/** `bootstrap`: may `by` begin a cluster with you in it? */
export interface BootstrapRequest {
  by: NodeId
}
export interface BootstrapReply {
  granted: boolean
  reason: string
  /** This server is part of a cluster already: the one who asks must never begin another. */
  hasState: boolean
}

/** Long enough for the bootstrap's first entries to arrive. */
const promiseLasts: Millis = 30_000
const askTimeout: Millis = 2_000

/** The server's side: at most one promise at a time. */
export class BootstrapPromise {
  #to: NodeId | '' = ''
  #until: Millis = 0

  answer({ by }: BootstrapRequest, hasState: boolean, now: Millis): BootstrapReply {
    if (hasState) return { granted: false, reason: 'it is part of a cluster', hasState }
    if (this.#to !== '' && this.#to !== by && now < this.#until) {
      return { granted: false, reason: `it waits for ${this.#to} to begin the cluster`, hasState }
    }
    this.#to = by
    this.#until = now + promiseLasts
    return { granted: true, reason: '', hasState }
  }
}

export interface Candidate {
  id: NodeId
  name: string
  rpc: Address
  /** From its tags: 0 when it was not told how many to expect. */
  expect: number
  bootstrap: boolean
}

/** A LAN member as a server, undefined when it is none of this datacenter. */
export function serverOf(member: Member, datacenter: string): Candidate | undefined {
  const { role, dc, id, port, expect, bootstrap } = member.tags
  if (role !== 'consul' || dc !== datacenter || id === undefined || !/^\d+$/.test(port ?? '')) return undefined
  return {
    id,
    name: member.name,
    rpc: { host: member.address.host, port: Number(port) },
    expect: Number(expect ?? 0),
    bootstrap: bootstrap === '1',
  }
}

export interface BootstrapOptions {
  io: Io
  peers: Peers
  self: NodeId
  expect: number
  /** -bootstrap: a cluster of this one server. */
  alone: boolean
  promise: BootstrapPromise
  /** Alive servers of this datacenter, ourselves among them. */
  servers: () => Candidate[]
  begin: (configuration: Configuration) => Promise<void>
}

export class Bootstrap {
  readonly #options: BootstrapOptions
  /** Said once a state, not once a second. */
  #lastReason = ''
  #done = false

  constructor(options: BootstrapOptions) {
    this.#options = options
  }

  /** Looks whether the cluster can begin and begins it. Safe to call again at any time; true: no need to. */
  async run(): Promise<boolean> {
    if (this.#done) return true
    const { io, self, expect, alone, promise, servers, begin } = this.#options
    const known = servers()
    const other = known.find((server) => server.bootstrap && server.id !== self)
    if (other !== undefined) return this.#not(`member ${other.name} runs with -bootstrap; only one server may`)
    if (!alone) {
      const conflict = known.find((server) => server.expect !== 0 && server.expect !== expect)
      if (conflict !== undefined) {
        return this.#not(`member ${conflict.name} expects ${conflict.expect} servers and this one ${expect}`)
      }
      if (known.length < expect) return false
      const first = known.filter((server) => server.expect !== 0).sort((a, b) => (a.id < b.id ? -1 : 1))[0]
      if (first?.id !== self) return this.#not(`${first?.name ?? 'another server'} begins the cluster`)
    }
    const begun = io.clock.now()
    const own = promise.answer({ by: self }, false, begun)
    if (!own.granted) return this.#not(own.reason)
    for (const server of known) {
      if (server.id === self) continue
      const reply = await this.#ask(server)
      if (reply === undefined) return false
      if (reply.hasState) {
        io.log('info', 'consul', `Existing Raft peers reported by ${server.name}, disabling bootstrap mode`)
        this.#done = true
        return true
      }
      if (!reply.granted) return this.#not(`${server.name}: ${reply.reason}`)
    }
    // A process that stood still meanwhile holds promises that may have ended, and been given to another.
    if (io.clock.now() - begun > promiseLasts / 2) return this.#not('asking the others took too long')
    const founders = alone ? known.filter(({ id }) => id === self) : known
    const addresses = founders.map(({ rpc }) => addressText(rpc))
    if (!alone) io.log('info', 'consul', `Attempting bootstrap with nodes: [${addresses.join(' ')}]`)
    this.#done = true
    await begin({
      cluster: io.random.uuid(),
      servers: founders.map(({ id, rpc }) => ({ id, address: addressText(rpc), voter: true })),
    })
    return true
  }

  async #ask(server: Candidate): Promise<BootstrapReply | undefined> {
    const { peers, self } = this.#options
    try {
      const request: BootstrapRequest = { by: self }
      return (await peers.ask(server.rpc, 'bootstrap', request, askTimeout)) as BootstrapReply
    } catch (error) {
      this.#not(`${server.name} does not answer: ${(error as Error).message}`)
      return undefined
    }
  }

  #not(reason: string): false {
    if (reason !== this.#lastReason) this.#options.io.log('info', 'consul', `not bootstrapping yet: ${reason}`)
    this.#lastReason = reason
    return false
  }
}
