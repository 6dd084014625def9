/** Replicas in a simulated world, replicating a list: what is replicated does not matter here, its order does. */
import { createHash } from 'node:crypto'
import { Corrupt } from '../../src/errors.ts'
import type { Index, Millis } from '../../src/model.ts'
import type { ServerChange } from '../../src/raft/message.ts'
import { setLogAside } from '../../src/replica/damage.ts'
import type { StateMachine } from '../../src/replica/machine.ts'
import { Replica, type ReplicaOptions } from '../../src/replica/replica.ts'
import type { History } from './checkers.ts'
import type { World } from './world.ts'

/** Everything that was ever applied, in order, and a hash of it. */
export class List implements StateMachine {
  index: Index = 0
  hash = ''
  writes: string[] = []
  /** The last write of each key, a register for those who read. */
  registers = new Map<string, { value: string; modifyIndex: Index }>()
  readonly #node: string
  readonly #history: History

  constructor(node: string, history: History) {
    this.#node = node
    this.#history = history
  }

  apply(index: Index, data: Uint8Array): number {
    const write = Buffer.from(data).toString('utf8')
    this.writes.push(write)
    this.registers.set(keyOf(write), { value: write, modifyIndex: index })
    this.index = index
    this.hash = createHash('md5').update(`${this.hash} ${index} ${write}`).digest('base64')
    this.#history.applied(this.#node, index, this.hash)
    return this.writes.length
  }

  *snapshot(): Iterable<Uint8Array> {
    const { index, hash } = this
    const writes = this.writes.slice()
    yield Buffer.from(JSON.stringify({ index, hash, length: writes.length, registers: [...this.registers] }))
    for (let at = 0; at < writes.length; at += 50) yield Buffer.from(JSON.stringify(writes.slice(at, at + 50)))
  }

  restore(chunks: Iterable<Uint8Array>): void {
    const [head, ...slices] = [...chunks].map((chunk) => JSON.parse(Buffer.from(chunk).toString('utf8')))
    this.index = head.index
    this.hash = head.hash
    this.writes = slices.flat()
    this.registers = new Map(head.registers)
    if (this.index > 0) this.#history.applied(this.#node, this.index, this.hash)
  }
}

/** So many that no key gets more operations than the checker can put in order. */
const keys = 16

/** The key that a write belongs to: writes are called w1, w2, … */
export function keyOf(write: string): string {
  return `k${Number(write.slice(1)) % keys}`
}

export interface Member {
  name: string
  /** Its name, and a number behind it once it has lost its log and is another server (docs/decisions/0011). */
  id: string
  address: string
  list: List
  /** Undefined while it is down or starting. */
  replica: Replica | undefined
}

export type Running = Member & { replica: Replica }

export const tickInterval: Millis = 100

export class Cluster {
  readonly members = new Map<string, Member>()
  readonly #world: World
  readonly #history: History
  readonly #options: Partial<ReplicaOptions>
  /** Why nodes could not start. */
  readonly broken = new Map<string, Error>()
  /** How often a server became another one. */
  repairs = 0
  /** Servers that became others, until they vote again. */
  readonly #replaced = new Set<string>()

  /** Disks are damaged on purpose: a server that says so comes back as another one. */
  damageExpected = false

  constructor(world: World, history: History, options: Partial<ReplicaOptions>) {
    this.#world = world
    this.#history = history
    this.#options = options
  }

  add(name: string): void {
    const host = `10.0.0.${this.members.size + 1}`
    this.#world.place(name, { rpc: { host, port: 8300 } })
    const list = new List(name, this.#history)
    this.members.set(name, { name, id: name, address: `${host}:8300`, list, replica: undefined })
  }

  /** By its name, or any id it has or had. */
  member(name: string): Member {
    const member = this.members.get(name.split('.')[0]!)
    if (member === undefined) throw new Error(`no member is called ${name}`)
    return member
  }

  isUp(name: string): boolean {
    return this.#world.nodes.get(name)?.alive === true
  }

  /** Starts the node; it is there some time later, or `broken` says why not. */
  start(name: string): void {
    const member = this.member(name)
    const io = this.#world.boot(name)
    const { life } = this.#world.nodes.get(name)!
    const current = () => this.isUp(name) && this.#world.nodes.get(name)!.life === life
    member.list = new List(name, this.#history)
    const { list, address } = member
    Replica.open(io, list, { ...this.#options, id: member.id, address }).then(
      (replica) => {
        if (!current()) return
        member.replica = replica
        const observe = () => {
          if (current() && replica.status.role === 'leader') this.#history.led(name, replica.status.term)
        }
        replica.subscribe(observe)
        io.network.onFrame('rpc', (bytes, reply) => replica.receive(bytes, reply))
        this.#world.every(name, tickInterval, () => replica.tick())
      },
      (error) => {
        if (!current()) return
        this.#world.note(`${name} does not start: ${error.message}`)
        if (this.damageExpected && error instanceof Corrupt) {
          // As the agent does it: the id first. Dying in between, it would vote again under the one that has voted.
          this.replace(name)
          setLogAside(io.disk).then(
            () => {
              if (!current()) return
              this.down(name, true)
              this.start(name)
            },
            // Its disk is full, too.
            () => current() && this.#startLater(name),
          )
          return
        }
        if (error.code !== 'EIO' && error.code !== 'ENOSPC') this.broken.set(name, error)
        // Whoever watches over the process starts it again.
        else this.#startLater(name)
      },
    )
  }

  #startLater(name: string): void {
    if (this.isUp(name)) this.down(name, true)
    this.#world.after(500, () => {
      if (!this.isUp(name)) this.start(name)
    })
  }

  /** It has lost what it promised: from now on it is another server. */
  replace(name: string): void {
    const member = this.member(name)
    this.repairs++
    this.#replaced.add(name)
    member.id = `${name}.${this.repairs}`
    this.#world.note(`${name} is ${member.id} now`)
  }

  /** What an agent's leader does for servers that are others now, one change at a time; false: all of them vote. */
  repair(): boolean {
    const leader = this.leader()
    if (this.#replaced.size === 0 || leader === undefined) return this.#replaced.size > 0
    const { configuration, commit } = leader.replica.status
    const former = configuration.servers.find(({ id }) => this.member(id).id !== id)
    const change = (wanted: ServerChange) => {
      this.#world.note(`repair: ${wanted.type} ${wanted.id}`)
      leader.replica.changeServers(wanted).catch(() => {})
    }
    if (former !== undefined) change({ type: 'remove', id: former.id })
    else {
      for (const name of this.#replaced) {
        const { id, address, replica } = this.member(name)
        const listed = configuration.servers.find((server) => server.id === id)
        if (listed === undefined) {
          change({ type: 'add', id, address, voter: false })
          break
        }
        // Known to all: as long as only some have the change, it may be lost with them.
        const known = this.running().every((member) => {
          return member.replica.status.configuration.servers.some((server) => server.id === id && server.voter)
        })
        if (listed.voter && known) this.#replaced.delete(name)
        else if (listed.voter) continue
        else if (replica !== undefined && replica.status.applied + 20 >= commit) {
          change({ type: 'promote', id })
          break
        }
      }
    }
    return this.#replaced.size > 0
  }

  /** All members of the configuration that the leader has are up, vote, and have what was committed. */
  isWhole(): boolean {
    const leader = this.leader()
    if (leader === undefined || this.#replaced.size > 0 || this.broken.size > 0) return false
    const { servers } = leader.replica.status.configuration
    const voters = JSON.stringify(servers)
    // One that is starting may be about to find out that its log is damaged; and what only the leader knows of a change
    // of the configuration may be lost with it.
    const there = (id: string) =>
      this.running().some((member) => {
        return member.id === id && JSON.stringify(member.replica.status.configuration.servers) === voters
      })
    return servers.every(({ id, voter }) => voter && there(id))
  }

  down(name: string, keepCache: boolean): void {
    this.#world.crash(name, keepCache)
    this.member(name).replica = undefined
  }

  /** Ends in order: everything is flushed. */
  async stop(name: string): Promise<void> {
    await this.member(name).replica?.stop()
    if (this.isUp(name)) this.down(name, true)
  }

  running(): Running[] {
    const running: Running[] = []
    for (const member of this.members.values()) {
      if (member.replica !== undefined && this.isUp(member.name)) running.push(member as Running)
    }
    return running
  }

  /** Of those who believe to lead, the one in the latest term. */
  leader(): Running | undefined {
    let leader: Running | undefined
    for (const member of this.members.values()) {
      const { replica } = member
      if (replica === undefined || replica.status.role !== 'leader' || !this.isUp(member.name)) continue
      if (leader === undefined || replica.status.term > leader.replica.status.term) leader = member as Running
    }
    return leader
  }
}
