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
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at)
const behind = new Error('this server has not caught up')

/** An observer of servers that answer by host; undefined is silence. */
function trial(answers: Record<string, Answer>, { cluster = '', seed = 7 } = {}) {
  const deadlines = new Deadlines()
  const asked: [host: string, method: string, body: FollowRequest][] = []
  const applied: number[] = []
  const restored: number[] = []
  const halted: Error[] = []
  let now = 0
  let turns = 0
  /** Milliseconds that applying one entry takes. */
  let slowness = 0
  const peers = {
    ask: (to: Address, method: string, body: FollowRequest, timeout: number) => {
      asked.push([to.host, method, body])
      const answer = answers[to.host]?.(method, body)
      if (answer instanceof Error) return Promise.reject(answer)
      // As a server does, which waits for news.
      const news =
        answer === undefined || 'token' in answer || answer.entries?.length !== 0 || answer.leader !== body.leader
      if (!news) return new Promise((resolve) => deadlines.at(now + body.wait, () => resolve(answer)))
      if (answer !== undefined) return Promise.resolve(answer)
      return new Promise((_resolve, reject) => deadlines.at(now + timeout, () => reject(new Error('no answer'))))
    },
  }
  const io = {
    clock: { now: () => now, wall: () => 0 },
    random: new Random(seed),
    log: () => {},
    turn: async () => {
      turns++
    },
    halt: (reason: Error) => halted.push(reason),
  }
  const observer = new Observer({
    io: io as unknown as Io,
    deadlines,
    peers: peers as unknown as Peers,
    servers: () => Object.keys(answers).map((host) => ({ host, port: 8300 })),
    apply: (_index, data) => {
      if (data[0] === 255) throw new Error('what is this?')
      applied.push(data[0] as number)
      now += slowness
    },
    restoring: () => {
      let chunks = 0
      return { add: () => chunks++, finish: () => restored.push(chunks) }
    },
  })
  observer.cluster = cluster
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
  return {
    ...{ observer, answers, asked, applied, restored, halted, pass, stop },
    turns: () => turns,
    slow: (millis: number) => {
      slowness = millis
    },
  }
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
    const { observer, restored, pass, stop } = trial(
      {
        a: () => (ours ? reply({ entries: entries(1) }) : behind),
        b: (method) => (method === 'state' ? state : reply({ cluster: 'other', entries: undefined })),
      },
      { cluster: 'c' },
    )
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
    const { observer, restored, pass, stop } = trial({ a: anew, b: anew }, { cluster: 'c' })
    observer.applied = 50
    const waited = observer.waitApplied(51)
    await pass(3_000)
    await waited
    assert.deepEqual(restored, [0])
    assert.equal(observer.cluster, 'other')
    assert.equal(observer.applied, 9)
    await stop()
  })

  it('asks all servers, each once, before it rests because all fail', async () => {
    const { asked, pass, stop } = trial({ a: () => behind, b: () => behind, c: () => behind })
    await pass(3_000)
    const hosts = asked.map(([host]) => host)
    assert.ok(hosts.length >= 9 && hosts.length <= 39, `${hosts.length} questions`)
    for (let at = 0; at + 3 <= hosts.length; at += 3) {
      assert.deepEqual(hosts.slice(at, at + 3).sort(), ['a', 'b', 'c'])
    }
    await stop()
  })

  it('follows another server within a second when the one it follows falls silent', async () => {
    let silent = ''
    let last = 0
    const answer = (host: string): Answer => {
      return (_method, { index }) =>
        host === silent ? undefined : reply({ entries: index < last ? entries(last) : [] })
    }
    const { observer, asked, pass, stop } = trial({ a: answer('a'), b: answer('b'), c: answer('c') })
    last = 1
    await pass(100)
    for (let round = 2; round < 20; round++) {
      silent = asked.at(-1)?.[0] ?? ''
      last = round
      await pass(900)
      assert.equal(observer.applied, round, `in round ${round}`)
      assert.equal(observer.leader, 's1', 'the leader did not become unknown meanwhile')
    }
    await stop()
  })

  it('asks the next one at once when a server cannot be asked any more', async () => {
    let up = true
    const { observer, pass, stop } = trial({
      a: () => (up ? reply() : new Error('the connection was lost')),
      b: () => (up ? behind : reply({ entries: observer.applied === 0 ? entries(1) : [] })),
    })
    await pass(100)
    up = false
    await pass(400)
    assert.equal(observer.applied, 1)
    await stop()
  })

  it('still takes a late answer when nobody else answers', async () => {
    const { observer, answers, asked, pass, stop } = trial({ a: () => undefined })
    await pass(1_200)
    assert.equal(asked.length, 1, 'it is asked once, and waited for')
    answers.a = () => reply({ entries: observer.applied === 0 ? entries(1) : [] })
    await pass(2_000)
    assert.equal(observer.applied, 1)
    await stop()
  })

  it('knows no leader when nobody answers any more, and says how long ago it heard of one', async () => {
    let up = true
    const { observer, pass, stop } = trial({ a: () => (up ? reply({ lastContact: 50 }) : undefined) })
    await pass(1_000)
    assert.equal(observer.leader, 's1')
    assert.ok(observer.lastContact >= 50 && observer.lastContact <= 250, `${observer.lastContact} ms`)
    up = false
    await pass(2_500)
    assert.equal(observer.leader, '')
    assert.equal(observer.leaderAddress, undefined)
    const before = observer.lastContact
    assert.ok(before >= 2_000)
    await pass(5_000)
    assert.equal(observer.lastContact, before + 5_000)
    up = true
    await pass(7_000)
    assert.equal(observer.leader, 's1')
    assert.ok(observer.lastContact <= 250)
    await stop()
  })

  it('waits longer for a part of the state after each time that one did not come: the way there may be slow', async () => {
    const { asked, pass, stop } = trial({
      a: (method) => (method === 'state' ? undefined : reply({ entries: undefined })),
    })
    await pass(30_000)
    const states = asked.filter(([, method]) => method === 'state').length
    assert.ok(states >= 4 && states <= 7, `${states} transfers begun`)
    await stop()
  })

  it('that has the state of a server without a leader does not say that it is new', async () => {
    let contact = Number.POSITIVE_INFINITY
    const { observer, pass, stop } = trial({
      a: () =>
        reply({ leader: '', leaderAddress: '', lastContact: contact, entries: observer.applied ? [] : entries(1) }),
    })
    assert.equal(observer.lastContact, Number.POSITIVE_INFINITY)
    await pass(2_000)
    assert.equal(observer.applied, 1)
    assert.equal(observer.lastContact, Number.POSITIVE_INFINITY)
    contact = 60_000
    await pass(2_000)
    assert.ok(observer.lastContact >= 60_000 && observer.lastContact < 62_000, `${observer.lastContact} ms`)
    await stop()
  })

  it('does not get older by following a server that heard of the leader longer ago, but by its state', async () => {
    let up = true
    const { observer, answers, pass, stop } = trial({ a: () => (up ? reply({ lastContact: 50 }) : undefined) })
    await pass(2_000)
    up = false
    answers.b = () => reply({ leader: '', leaderAddress: '', lastContact: 90_000 })
    await pass(5_000)
    assert.ok(observer.lastContact < 9_000, `${observer.lastContact} ms`)
    // Of another cluster, and the only one there is.
    const other = { cluster: 'd', leader: '', leaderAddress: '', lastContact: 90_000 }
    answers.a = answers.b = (method) =>
      method === 'state'
        ? { token: 1, index: 1, term: 1, cluster: 'd', chunk: undefined }
        : reply({ ...other, ...(observer.cluster === 'd' ? {} : { entries: undefined }) })
    await pass(5_000)
    assert.equal(observer.cluster, 'd')
    assert.ok(observer.lastContact >= 90_000, `${observer.lastContact} ms`)
    await stop()
  })

  it('chooses anew now and then, so that a server that came back gets its share', async () => {
    const { asked, pass, stop } = trial({ a: () => reply(), b: () => reply(), c: () => reply() })
    await pass(60_000)
    assert.equal(new Set(asked.map(([host]) => host)).size, 1, 'it stays for a while')
    await pass(30 * 60_000)
    assert.equal(new Set(asked.map(([host]) => host)).size, 3)
    await stop()
  })

  it('applies many entries in slices, and lets who waits for one of the first go on between them', async () => {
    const { observer, applied, pass, stop, turns, slow } = trial({
      a: (_method, { index }) => (index === 0 ? reply({ entries: entries(...range(1, 200)) }) : undefined),
    })
    slow(1)
    const first = observer.waitApplied(10).then(() => applied.length)
    await pass(300)
    assert.equal(applied.length, 200)
    assert.equal(turns(), 6, 'a pause after 32, 64, 96 …')
    assert.ok((await first) < 200)
    await stop()
  })

  it('takes writes without end in batches, unless somebody waits for one', async () => {
    const { observer, asked, pass, stop } = trial({ a: (_method, { index }) => reply({ entries: entries(index + 1) }) })
    await pass(100)
    asked.length = 0
    await pass(10_000)
    const calm = asked.length
    assert.ok(calm >= 90 && calm <= 160, `${calm} questions in 10 s`)
    await Promise.all([observer.waitApplied(observer.applied + 50), pass(100)])
    assert.ok(asked.length - calm >= 50, 'at once')
    await stop()
  })

  it('keeps what it has when a state does not come to its end, and asks another server for it', async () => {
    const state = (chunk: Uint8Array | undefined): StateReply => ({ token: 3, index: 9, term: 4, cluster: 'c', chunk })
    let chunks = 0
    const { observer, restored, asked, pass, stop } = trial({
      a: (method) => {
        if (method === 'state') return chunks++ === 0 ? state(new Uint8Array(1)) : undefined
        return reply({ entries: observer.applied === 9 ? [] : undefined })
      },
      b: (method) => {
        if (method === 'state') return chunks++ < 5 ? state(new Uint8Array(1)) : state(undefined)
        return chunks === 0 ? behind : reply({ entries: observer.applied === 9 ? [] : undefined })
      },
    })
    await pass(1_000)
    assert.deepEqual(restored, [])
    assert.equal(observer.applied, 0)
    for (let at = 0; at < 20 && restored.length === 0; at++) await pass(1_000)
    assert.equal(restored.length, 1)
    assert.equal(observer.applied, 9)
    assert.equal(asked.filter(([host, method]) => host === 'b' && method === 'state').length > 1, true)
    await stop()
  })

  it('does not ask without rest for a state from which nobody can go on', async () => {
    const state: StateReply = { token: 1, index: 9, term: 4, cluster: 'c', chunk: undefined }
    const { asked, pass, stop } = trial({ a: (method) => (method === 'state' ? state : reply({ entries: undefined })) })
    await pass(1_000)
    assert.ok(asked.length <= 22, `${asked.length} questions in a second`)
    await stop()
  })

  it('halts on an entry that its state does not understand, as a server does', async () => {
    const { halted, pass, stop } = trial({ a: () => reply({ entries: entries(255).map((e) => ({ ...e, index: 1 })) }) })
    await pass(100)
    assert.equal(halted[0]?.message, 'what is this?')
    await stop()
  })
})
