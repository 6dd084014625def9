import assert from 'node:assert/strict'
import type { Io } from '../io/io.ts'
import { Random } from '../io/random.ts'
import type { Address } from '../model.ts'
import { Deadlines } from './deadlines.ts'
import { type FollowReply, type FollowRequest, Observer, type StateReply } from './observer.ts'
import type { Peers } from './peers.ts'

type Answer = (method: string, body: FollowRequest) => FollowReply | StateReply | Error | undefined

const reply = (changes: Partial<FollowReply> = {}): FollowReply => ({
  cluster: 'c',
  leader: 's1',
  leaderAddress: '10.0.0.1:8300',
  peers: ['10.0.0.1:8300'],
  lastContact: 0,
  entries: [],
  ...changes,
})
const entries = (...indexes: number[]) => indexes.map((index) => ({ index, term: 1, data: new Uint8Array([index]) }))
const behind = new Error('this server has not caught up')

/** An observer of servers that answer by host; undefined is no answer for now. */
function trial(answers: Record<string, Answer>) {
  const deadlines = new Deadlines()
  const asked: [host: string, method: string, body: FollowRequest][] = []
  const applied: number[] = []
  const restored: number[] = []
  const halted: Error[] = []
  let now = 0
  const peers = {
    ask: (to: Address, method: string, body: FollowRequest) => {
      asked.push([to.host, method, body])
      const answer = answers[to.host]?.(method, body)
      if (answer instanceof Error) return Promise.reject(answer)
      return answer === undefined ? new Promise(() => {}) : Promise.resolve(answer)
    },
  }
  const io = {
    clock: { now: () => now, wall: () => 0 },
    random: new Random(7),
    log: () => {},
    halt: (reason: Error) => halted.push(reason),
  }
  const observer = new Observer({
    io: io as unknown as Io,
    deadlines,
    peers: peers as unknown as Peers,
    servers: () => Object.keys(answers).map((host) => ({ host, port: 8300 })),
    apply: (_index, data) => {
      if (data[0] === 66) throw new Error('what is this?')
      applied.push(data[0] as number)
    },
    restoring: () => {
      let chunks = 0
      return { add: () => chunks++, finish: () => restored.push(chunks) }
    },
  })
  const running = observer.run()
  const pass = async (millis: number) => {
    for (let end = now + millis; now < end; ) {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve()
      now += 100
      deadlines.tick(now)
    }
    for (let turn = 0; turn < 50; turn++) await Promise.resolve()
  }
  const stop = async () => {
    observer.stop()
    deadlines.stop()
    await pass(100)
    await Promise.race([running, Promise.resolve()])
  }
  return { observer, answers, asked, applied, restored, halted, pass, stop }
}

describe('an observer', () => {
  it('applies what was committed, in order, and knows the leader', async () => {
    let first = true
    const { observer, applied, pass, stop } = trial({
      a: () => {
        if (!first) return undefined
        first = false
        return reply({ entries: entries(1, 2, 3) })
      },
    })
    await pass(100)
    assert.deepEqual(applied, [1, 2, 3])
    assert.equal(observer.applied, 3)
    assert.deepEqual(observer.leaderAddress, { host: '10.0.0.1', port: 8300 })
    await observer.waitApplied(3)
    await stop()
  })

  it('leaves a server that knows no leader: it may be cut off, and another one not', async () => {
    const { observer, pass, asked, stop } = trial({
      a: () => reply({ leader: '', leaderAddress: '' }),
      b: (_method, { leader }) => (leader === 's1' ? undefined : reply()),
    })
    for (let turn = 0; turn < 30; turn++) await pass(100)
    assert.equal(observer.leader, 's1')
    assert.equal(asked.at(-1)?.[0], 'b')
    await stop()
  })

  it('does not take the state of another cluster while one of its own may answer', async () => {
    let ours = true
    const state: StateReply = { token: 1, index: 9, term: 4, cluster: 'other', chunk: undefined }
    const { observer, restored, pass, stop } = trial({
      a: () => (ours ? reply({ entries: entries(1) }) : behind),
      b: (method) => (method === 'state' ? state : reply({ cluster: 'other', entries: undefined })),
    })
    observer.cluster = 'c'
    await pass(50)
    ours = false
    await pass(10_000)
    assert.deepEqual(restored, [], 'the one of its own is silent, not gone')
    assert.equal(observer.cluster, 'c')
    await stop()
  })

  it('follows when every server is of another cluster: its own was made anew', async () => {
    const state: StateReply = { token: 1, index: 9, term: 4, cluster: 'other', chunk: undefined }
    const anew: Answer = (method, { index }) => {
      if (method === 'state') return state
      return index === 9 ? undefined : reply({ cluster: 'other', entries: undefined })
    }
    const { observer, restored, pass, stop } = trial({ a: anew, b: anew })
    observer.cluster = 'c'
    observer.applied = 50
    await pass(3_000)
    assert.deepEqual(restored, [0])
    assert.equal(observer.cluster, 'other')
    assert.equal(observer.applied, 9)
    await stop()
  })

  it('asks another server when one fails', async () => {
    const { asked, pass, stop } = trial({ a: () => behind, b: () => behind })
    await pass(3_000)
    const hosts = asked.map(([host]) => host)
    assert.ok(hosts.length >= 4)
    for (const [at, host] of hosts.entries()) if (at > 0) assert.notEqual(host, hosts[at - 1])
    await stop()
  })

  it('halts on an entry that its state does not understand, as a server does', async () => {
    const { halted, pass, stop } = trial({ a: () => reply({ entries: entries(66).map((e) => ({ ...e, index: 1 })) }) })
    await pass(100)
    assert.equal(halted[0]?.message, 'what is this?')
    await stop()
  })
})
