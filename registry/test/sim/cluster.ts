/** Replicas in a simulated world, replicating a list unless told otherwise. */
import { createHash } from 'node:crypto'
import { Corrupt } from '../../src/errors.ts'
import type { Disk } from '../../src/io/io.ts'
import type { Index, Millis } from '../../src/model.ts'
import type { ServerChange } from '../../src/raft/message.ts'
import { setLogAside } from '../../src/replica/damage.ts'
import type { StateMachine } from '../../src/replica/machine.ts'
import { Replica, type ReplicaOptions } from '../../src/replica/replica.ts'
import type { History } from './checkers.ts'
import type { SimulatedDisk } from './disk.ts'
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

/** What a cluster replicates, and who looks on. */
export interface Observer<Machine extends StateMachine> {
  machine(name: string): Machine
  /** The disk of a life that begins, as that life is to see it. */
  disk?(id: string, disk: Disk): Disk
  /** It has started from what the disk holds. */
  started?(id: string, replica: Replica, disk: SimulatedDisk): void
  /** Something about it is different. */
  changed?(id: string, replica: Replica): void
}

export interface Member<Machine extends StateMachine = List> {
  name: string
  /** Its name, and a number behind it once it has lost its log and is another server (docs/decisions/0011). */
  id: string
  address: string
  list: Machine
  /** Undefined while it is down or starting. */
  replica: Replica | undefined
}

export type Running<Machine extends StateMachine = List> = Member<Machine> & { replica: Replica }

export const tickInterval: Millis = 100

export class Cluster<Machine extends StateMachine = List> {
  readonly members = new Map<string, Member<Machine>>()
  readonly #world: World
  readonly #options: Partial<ReplicaOptions>
  readonly #observer: Observer<Machine>
  /** Why nodes could not start. */
  readonly broken = new Map<string, Error>()
  /** How often a server became another one. */
  repairs = 0
  /** How often a node began a life. */
  starts = 0
  /** Servers that became others, until they vote again. */
  readonly #replaced = new Set<string>()

  /** Disks are damaged on purpose: a server that says so comes back as another one. */
  damageExpected = false

  constructor(world: World, history: History, options: Partial<ReplicaOptions>, observer?: Observer<Machine>) {
    this.#world = world
    this.#options = options
    this.#observer = observer ?? (lists(history) as unknown as Observer<Machine>)
  }

  add(name: string): void {
    const host = `10.0.0.${this.members.size + 1}`
    this.#world.place(name, { rpc: { host, port: 8300 } })
    const list = this.#observer.machine(name)
    this.members.set(name, { name, id: name, address: `${host}:8300`, list, replica: undefined })
  }

  /** By its name, or any id it has or had. */
  member(name: string): Member<Machine> {
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
    const observer = this.#observer
    const io = this.#world.boot(name)
    const place = this.#world.nodes.get(name)!
    const { life } = place
    const { id, address } = member
    const current = () => this.isUp(name) && place.life === life
    member.list = observer.machine(name)
    this.starts++
    if (observer.disk !== undefined) io.disk = observer.disk(id, io.disk)
    const started = Replica.open(io, member.list, { ...this.#options, id, address }).then(
      (replica) => {
        if (!current()) return
        member.replica = replica
        observer.started?.(id, replica, place.disk)
        if (observer.changed !== undefined) {
          const changed = observer.changed.bind(observer)
          replica.subscribe(() => {
            if (current()) changed(id, replica)
          })
        }
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
    started.catch((error) => this.#world.onHalt(name, error))
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

  running(): Running<Machine>[] {
    const running: Running<Machine>[] = []
    for (const member of this.members.values()) {
      if (member.replica !== undefined && this.isUp(member.name)) running.push(member as Running<Machine>)
    }
    return running
  }

  /** Of those who believe to lead, the one in the latest term. */
  leader(): Running<Machine> | undefined {
    let leader: Running<Machine> | undefined
    for (const member of this.members.values()) {
      const { replica } = member
      if (replica === undefined || replica.status.role !== 'leader' || !this.isUp(member.name)) continue
      if (leader === undefined || replica.status.term > leader.replica.status.term) leader = member as Running<Machine>
    }
    return leader
  }
}

/** Lists that are compared in `history`, and a look at who leads. */
function lists(history: History): Observer<List> {
  return {
    machine: (name) => new List(name, history),
    changed: (id, { status }) => {
      if (status.role === 'leader') history.led(id, status.term)
    },
  }
}
