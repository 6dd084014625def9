/**
 * Three agents as processes, with real disks, and a proxy between them; clients read and write at all of them while they
 * are killed, stopped, cut off. Then the history has to be linearizable. `DURATION=600 SEED=7` makes it a soak of ten
 * minutes with faults by chance: the seed chooses the faults, the rest is this machine's.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Random } from '../../src/io/random.ts'
import { complaint } from '../linearizability/check.ts'
import { checkHistory, KvRecorder } from '../linearizability/kv.ts'
import { checkLocks, LockRecorder } from '../linearizability/locks.ts'
import { Client, type Counts, Keys } from './clients.ts'
import { Cluster, type Host, until } from './cluster.ts'
import { LockClient, type LockCounts, LockGroups } from './lock-clients.ts'
import { FaultProxy } from './proxy.ts'
import { Trouble } from './trouble.ts'

const duration = process.env.DURATION === undefined ? undefined : Number(process.env.DURATION)
const seed = Number(process.env.SEED ?? process.pid)

/** Who gives up soon asks a stopped leader often; who waits hears that a write was refused. */
const people = [
  { patience: 400, reads: 1 },
  { patience: 1500, reads: 0.4 },
  { patience: 10_000, reads: 0.4 },
]

describe('three agents as processes with faults between them', function () {
  this.timeout((duration ?? 60) * 1000 + 120_000)
  const cluster = new Cluster(3, { proxied: true })
  const proxy = new FaultProxy(cluster.hosts, seed)
  const recorder = new KvRecorder()
  const keys = new Keys()
  const counts: Counts = { reads: 0, written: 0, refused: 0, open: 0, reasons: new Map() }
  const locks = new LockRecorder()
  const groups = new LockGroups()
  const lockCounts: LockCounts = { acquired: 0, refused: 0, sessions: 0, late: 0 }
  const client = (name: string, host: Host, patience: number, reads: number, at = 0) =>
    new Client({ name, host, keys, recorder, counts, patience, reads, seed: seed + at })
  /** An answer that no request may get. */
  let strange: Error | undefined
  const note = (error: Error) => {
    strange ??= error
  }
  const asked: Promise<unknown>[] = []
  const forAll = (act: (one: Client, key: string) => Promise<unknown>) => (host: Host) => {
    for (const key of keys.inUse) {
      const one = client(`by.${asked.length}`, host, 5000, 1)
      const close = () => one.close()
      asked.push(act(one, key).catch(note).finally(close))
    }
  }
  const trouble = new Trouble(cluster, proxy, new Random(seed), {
    read: forAll((one, key) => one.read(key, false)),
    write: forAll((one, key) => one.put(key)),
  })
  after(async function () {
    if (this.test?.parent?.tests.some(({ state }) => state === 'failed')) {
      console.log(trouble.story.join('\n'))
      for (const { name, process } of cluster.hosts) console.log(`--- ${name}\n${process?.output.slice(-4000)}`)
    }
    await cluster.end()
    await proxy.close()
  })

  it('show every client one history, whatever happens to them', async () => {
    const options = join(cluster.folder, 'options.json')
    // Who waits for a leader hears soon that there is none.
    writeFileSync(options, '{"performance":{"rpc_hold_timeout":"700ms"},"session_ttl_min":"1s"}')
    for (const host of cluster.hosts) host.words = [`-config-file=${options}`]
    await proxy.open()
    await cluster.begin()

    let over = false
    const ended = () => over || strange !== undefined
    const clients = cluster.hosts.flatMap((host, at) =>
      people.map(({ patience, reads }, each) => {
        const own = client(`${'abc'[at]}${each + 1}`, host, patience, reads, 10 * at + each)
        return own.run(ended).catch(note)
      }),
    )
    const lockers = cluster.hosts.map((host, at) => {
      const name = `l${at + 1}`
      const options = { host, groups, recorder: locks, counts: lockCounts, patience: 2500, seed: seed + 100 + at }
      return new LockClient({ name, ...options }).run(ended).catch(note)
    })
    try {
      if (duration === undefined) await theUsual(trouble)
      else {
        const end = performance.now() + duration * 1000
        while (performance.now() < end && !ended()) await trouble.anything()
      }
      proxy.heal()
      await trouble.well()
      const { written } = counts
      await until('writes after all', () => ended() || counts.written > written + 50)
    } finally {
      over = true
      await Promise.all([...clients, ...lockers, ...asked])
    }
    assert.ifError(strange)
    // What was acknowledged is there at the end, at every agent, in either way of asking.
    for (const host of cluster.hosts) {
      const last = client(`end.${host.name}`, host, 10_000, 1)
      for (const key of keys.all) {
        for (const consistent of [false, true]) await until(key, () => last.read(key, consistent))
      }
      last.close()
    }

    const { operations } = recorder
    const complaints = complaint(checkHistory(operations))
    const numbers =
      `${operations.length} operations on ${keys.all.length} keys: ${counts.reads} reads, ${counts.written} writes, ` +
      `${counts.refused} refused, ${counts.open} open; ${trouble.story.length} faults, seed ${seed}; ` +
      `${proxy.carried} connections through the proxy, ${proxy.unknown} of unknown origin`
    if (duration !== undefined) console.log(`${numbers}\n${reasons(counts)}`)
    if (complaints !== undefined) {
      const file = join(tmpdir(), `rollcall-history-${process.pid}.json`)
      writeFileSync(file, JSON.stringify(operations))
      assert.fail([complaints, numbers, reasons(counts), `the history: ${file}`].join('\n'))
    }
    const lockComplaints = complaint(checkLocks(locks.operations))
    const lockNumbers =
      `${locks.operations.length} operations on locks: ${lockCounts.acquired} got, ${lockCounts.refused} refused; ` +
      `${lockCounts.sessions} sessions, ${lockCounts.late} of them gone for want of renewal`
    if (duration !== undefined) console.log(lockNumbers)
    if (lockComplaints !== undefined) {
      const file = join(tmpdir(), `rollcall-locks-${process.pid}.json`)
      writeFileSync(file, JSON.stringify(locks.operations))
      assert.fail([lockComplaints, lockNumbers, `the history: ${file}`].join('\n'))
    }
    assert.ok(proxy.carried > 10, `the agents do not talk through the proxy: ${numbers}`)
    // Who does nothing keeps every promise.
    assert.ok(counts.written > 200 && counts.reads > 200, `too little happened: ${numbers}`)
    assert.ok(lockCounts.acquired > 20 && lockCounts.refused > 20, `too little happened: ${lockNumbers}`)
  })
})

async function theUsual(trouble: Trouble): Promise<void> {
  await trouble.kill('leader', 1000)
  await trouble.well()
  await trouble.isolate('leader', 4000)
  await trouble.well()
  await trouble.freeze('leader', 2500)
  await trouble.well()
  await trouble.supersede()
  await trouble.well()
  await trouble.mute('leader', 3000)
  await trouble.deafen('leader', 3000)
  await trouble.well()
  await trouble.freeze('follower', 500)
  await trouble.storm(3000)
  await trouble.well()
  await trouble.killAll(500)
}

function reasons({ reasons }: Counts): string {
  return [...reasons].map(([reason, times]) => `${String(times).padStart(7)}  ${reason}`).join('\n')
}
