/**
 * Runs on a host and says, a line of JSON at a time, what its agent does: writes through it without a pause, reads what all
 * hosts wrote, and looks at the agent itself. Times are CLOCK_MONOTONIC in ms, which all processes of the machine share, so
 * the lines of several hosts can be put in order. Ends when its standard input does.
 *
 *     node witness.ts host1 host1,host2,host3 http://127.0.0.1:8500
 */

/** Acknowledged (`done`), or of unknown outcome, which includes refused: then `n` may be there or not. */
export interface Write {
  type: 'write'
  host: string
  n: number
  done: boolean
  from: number
  to: number
}

/** What the agent of `host` said, unasked for staleness, is the last number written through the agent of `of`. */
export interface Read {
  type: 'read'
  host: string
  mode: 'default' | 'consistent'
  of: string
  n: number
  from: number
  to: number
}

export interface State {
  type: 'state'
  host: string
  /** Leader, Follower or Candidate. */
  role: string
  term: number
  commit: number
  applied: number
  /** `address:port`, '' for none. */
  leader: string
  /** Names, sorted. */
  alive: string[]
  failed: string[]
  from: number
  to: number
}

export type Seen = Write | Read | State

const clock = () => Number(process.hrtime.bigint() / 1000n) / 1000
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function witness(host: string, hosts: string[], agent: string): Promise<void> {
  const say = (seen: Seen) => process.stdout.write(`${JSON.stringify(seen)}\n`)
  const ask = (path: string, timeout: number, options: RequestInit = {}) =>
    fetch(agent + path, { ...options, signal: AbortSignal.timeout(timeout) })
  let ending = false
  process.stdin.resume().once('end', () => {
    ending = true
  })
  const repeat = async (every: number, act: () => Promise<void>) => {
    while (!ending) {
      await act().catch(() => undefined)
      await pause(every)
    }
  }

  let n = 0
  const write = async () => {
    n++
    const from = clock()
    const set = (key: string) => ({ KV: { Verb: 'set', Key: key, Value: Buffer.from(String(n)).toString('base64') } })
    const body = JSON.stringify([set(`cuts/${host}/${n}`), set(`cuts/last/${host}`)])
    const answer = await ask('/v1/txn', 12_000, { method: 'PUT', body }).catch(() => undefined)
    await answer?.arrayBuffer().catch(() => undefined)
    say({ type: 'write', host, n, done: answer?.status === 200, from, to: clock() })
  }

  let turn = 0
  const read = async () => {
    const mode = turn % 2 === 0 ? 'default' : 'consistent'
    const of = hosts[Math.floor(turn++ / 2) % hosts.length] as string
    const from = clock()
    const answer = await ask(`/v1/kv/cuts/last/${of}?raw${mode === 'consistent' ? '&consistent' : ''}`, 3_000)
    const text = await answer.text()
    if (answer.status === 200) say({ type: 'read', host, mode, of, n: Number(text), from, to: clock() })
    if (answer.status === 404) say({ type: 'read', host, mode, of, n: 0, from, to: clock() })
  }

  const look = async () => {
    const from = clock()
    const get = async (path: string) => (await ask(path, 2_000)).json()
    const [self, members, leader] = await Promise.all([
      get('/v1/agent/self') as Promise<{ Stats: { raft: Record<string, string> } }>,
      get('/v1/agent/members') as Promise<{ Name: string; Status: number }[]>,
      get('/v1/status/leader') as Promise<string>,
    ])
    const { raft } = self.Stats
    const named = (status: number) => members.filter(({ Status }) => Status === status).map(({ Name }) => Name)
    say({
      type: 'state',
      host,
      role: raft.state ?? '',
      term: Number(raft.term),
      commit: Number(raft.commit_index),
      applied: Number(raft.applied_index),
      leader,
      alive: named(1).sort(),
      failed: named(4).sort(),
      from,
      to: clock(),
    })
  }
  await Promise.all([repeat(20, write), repeat(40, read), repeat(100, look)])
}

if (import.meta.main) {
  const [host = '', hosts = '', agent = ''] = process.argv.slice(2)
  await witness(host, hosts.split(','), agent)
}
