import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../../../test/until.ts'
import { History } from '../../test/sim/checkers.ts'
import { List } from '../../test/sim/cluster.ts'
import { type NodeIo, openIo } from '../io/node.ts'
import { Replica } from './replica.ts'

const timing = { electionTimeoutMin: 300, electionTimeoutMax: 600, heartbeatInterval: 30 }

/** One replica on a real disk and real sockets. */
class Life {
  readonly id: string
  readonly io: NodeIo
  readonly replica: Replica
  readonly list: List
  readonly #ticking: NodeJS.Timeout

  constructor(id: string, io: NodeIo, replica: Replica, list: List) {
    this.id = id
    this.io = io
    this.replica = replica
    this.list = list
    this.#ticking = setInterval(() => replica.tick(), 20)
  }

  static async begin(id: string, dataDir: string, port = 0): Promise<Life> {
    const io = await openIo({
      dataDir,
      listen: { rpc: { host: '127.0.0.1', port }, lan: undefined, wan: undefined },
      log: () => {},
      halt: (reason) => {
        throw reason
      },
    })
    await io.disk.lock()
    const list = new List(id, new History())
    const replica = await Replica.open(io, list, {
      ...timing,
      id,
      address: `127.0.0.1:${io.ports.rpc}`,
      snapshotEntries: 50,
      trailingEntries: 10,
    })
    io.network.onFrame('rpc', (bytes, reply) => replica.receive(bytes, reply))
    return new Life(id, io, replica, list)
  }

  /** Without a word to the log. */
  async die(): Promise<void> {
    clearInterval(this.#ticking)
    await this.io.close()
  }

  async end(): Promise<void> {
    clearInterval(this.#ticking)
    await this.replica.stop()
    await this.io.close()
  }
}

describe('replicas on real disks and sockets', function () {
  this.timeout(60_000)
  let folder: string
  let lives: Life[] = []
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'replicas-'))
  })
  afterEach(async () => {
    await Promise.all(lives.splice(0).map((life) => life.end()))
    await rm(folder, { recursive: true, force: true })
  })
  const leader = () => lives.find(({ replica }) => replica.status.role === 'leader')

  it('lose a leader and go on; it comes back from its disk and catches up', async () => {
    lives = await Promise.all(['a', 'b', 'c'].map((id) => Life.begin(id, join(folder, id))))
    const servers = lives.map(({ id, io }) => ({ id, address: `127.0.0.1:${io.ports.rpc}`, voter: true }))
    await lives[0]!.replica.bootstrap({ cluster: 'real', servers })
    await until('what the replicas agree on', () => leader() !== undefined)
    const write = (text: string) => leader()!.replica.propose(Buffer.from(text))
    await Promise.all(Array.from({ length: 200 }, (_, at) => write(`w${at}`)))

    const dead = leader()!
    const { port } = { port: dead.io.ports.rpc! }
    lives = lives.filter((life) => life !== dead)
    await dead.die()
    await until('what the replicas agree on', () => leader() !== undefined)
    await write('without it')

    lives.push(await Life.begin(dead.id, join(folder, dead.id), port))
    await until('what the replicas agree on', () => lives.every(({ list }) => list.writes.length === 201))
    assert.equal(new Set(lives.map(({ list }) => list.hash)).size, 1)
    assert.ok((await readdir(join(folder, dead.id, 'raft/snapshots'))).length > 0)
  })

  it('all stop and start, and nothing is lost', async () => {
    const one = await Life.begin('a', join(folder, 'a'))
    const { port } = { port: one.io.ports.rpc! }
    lives = [one]
    await one.replica.bootstrap({
      cluster: 'real',
      servers: [{ id: 'a', address: `127.0.0.1:${port}`, voter: true }],
    })
    await until('what the replicas agree on', () => leader() !== undefined)
    for (let at = 0; at < 120; at++) await one.replica.propose(Buffer.from(`w${at}`))
    assert.ok(one.replica.status.snapshotIndex >= 50)
    await one.end()
    lives = [await Life.begin('a', join(folder, 'a'), port)]
    await until('what the replicas agree on', () => lives[0]!.list.writes.length === 120)
  })
})
