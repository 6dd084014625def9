/** Keys of gossip are changed, and encryption is brought in, on agents that are at work: nobody may notice. */
import assert from 'node:assert/strict'
import type { AgentOptions } from '../../src/agent/agent.ts'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { Ledger } from './agent-checkers.ts'
import { Agents } from './agents.ts'
import type { NetworkFaults } from './network.ts'
import { World } from './world.ts'

type Encrypt = NonNullable<AgentOptions['encrypt']>

const names = ['s1', 's2', 's3', 'c1', 'c2']
const keys = [1, 2, 3, 4].map((fill) => Buffer.alloc(32, fill).toString('base64'))
/** Datagrams overtake each other, and probes are answered in time all the same. */
const lively: NetworkFaults = { loss: 0, duplicate: 0.05, delayMin: 0.2, delayMax: 20, tail: 0.05, tailMax: 150 }

/** Three servers and two other agents, a write every 50 ms. */
async function pool(seed: number, encrypt: (name: string) => Encrypt) {
  const world = new World(seed, { settleTurns: 3, logging: true })
  const encryption = new Map<string, Encrypt>()
  let failure: Error | undefined
  const fail = (error: Error) => {
    failure ??= error
  }
  const agents = new Agents({
    world,
    ledger: new Ledger(),
    random: new Random(seed),
    replica: {},
    encrypt: (name) => encryption.get(name) ?? encrypt(name),
    fail,
  })
  world.onHalt = (_name, reason) => fail(reason)
  for (const name of names) agents.add(name, { server: name[0] === 's', expect: name === 's1' ? 3 : 0 })
  const until = async (what: string, condition: () => boolean, within: Millis = 15_000) => {
    const came = await world.runWhile(() => failure === undefined && !condition(), within, 50)
    if (failure !== undefined) throw failure
    assert.ok(came, `waited ${within} ms for: ${what}\n${world.lines.slice(-30).join('\n')}`)
  }
  const alive = (name: string) =>
    agents
      .station(name)
      .life?.agent.members('lan')
      .filter(({ status }) => status === 'alive').length
  const whole = () => names.every((name) => alive(name) === names.length)
  const writes = { begun: 0, acknowledged: 0, failed: 0 }
  const write = () => {
    const value = String(writes.begun++)
    const at = names[writes.begun % names.length] as string
    void agents.request(at, 'PUT', `/v1/kv/${value}`, value).then((answer) => {
      if (answer?.status === 200) writes.acknowledged++
      else writes.failed++
      world.after(50, write)
    })
  }
  /** One operation, through the server. */
  const keyring = async (method: string, key: string, at = 's1') => {
    let answer: { status: number; text: string } | undefined
    const body = JSON.stringify({ Key: key })
    void agents.request(at, method, '/v1/operator/keyring', body).then((given) => {
      answer = given as typeof answer
    })
    await until(`${method} of a key`, () => answer !== undefined)
    return answer as { status: number; text: string }
  }
  const begin = async () => {
    for (const name of agents.stations.keys()) agents.start(name)
    await until('a cluster', () => whole() && agents.running().every(({ life }) => life.agent.leader() !== ''))
    write()
    await world.runFor(2000)
    world.lines.length = 0
  }
  const restart = async (name: string, changed: Encrypt) => {
    encryption.set(name, changed)
    await Promise.all([agents.stop(name), world.runWhile(() => agents.isUp(name), 3000)])
    agents.start(name)
    await until(`${name} is back`, whole)
  }
  return { world, agents, encryption, until, whole, writes, keyring, begin, restart, alive }
}

/** What an operator must not see. */
const troubles = (lines: readonly string[]) =>
  lines.filter((line) => /dropped what came|not taken by|Suspect|MemberFailed|malformed|refutes/.test(line))

describe('gossip keys of whole agents', function () {
  this.timeout(60_000)

  for (const seed of [1, 2, 3]) {
    it(`are changed three times under writes, and nobody is suspected, no packet dropped: seed ${seed}`, async () => {
      const { world, agents, writes, keyring, begin, whole } = await pool(seed, () => ({ key: keys[0] }))
      world.network.faults = lively
      await begin()
      const before = writes.acknowledged
      for (const [at, key] of keys.slice(1).entries()) {
        const through = names[at % 3] as string
        const steps: [string, string][] = [
          ['POST', key],
          ['PUT', key],
          ['DELETE', keys[at] as string],
        ]
        for (const [method, changed] of steps) {
          assert.equal((await keyring(method, changed, through)).status, 200)
        }
        await world.runFor(at * 2000)
      }
      await world.runFor(10_000)
      assert.deepEqual(troubles(world.lines), [])
      assert.ok(whole())
      assert.equal(writes.failed, 0)
      assert.ok(writes.acknowledged > before + 50, `${writes.acknowledged - before} writes`)
      for (const { life } of agents.running()) {
        assert.equal(life.agent.statistics().serf_lan?.encrypted, 'true')
      }
    })
  }

  it('are changed without a loss when packets sealed with the old one arrive after its end', async () => {
    const { world, keyring, begin } = await pool(4, () => ({ key: keys[0] }))
    await begin()
    // What the server that is asked needs goes its way at once.
    for (const from of ['s2', 's3', 'c1', 'c2']) {
      for (const to of ['s2', 's3', 'c1', 'c2']) if (from !== to) world.network.clog(from, to, world.now + 3000)
    }
    await world.runFor(1500)
    const begun = world.now
    assert.equal((await keyring('POST', keys[1] as string)).status, 200)
    assert.equal((await keyring('PUT', keys[1] as string)).status, 200)
    assert.equal((await keyring('DELETE', keys[0] as string)).status, 200)
    assert.ok(world.now < begun + 1000, 'the old key is gone while they are under way')
    await world.runFor(10_000)
    assert.deepEqual(
      world.lines.filter((line) => /dropped what came/.test(line)),
      [],
    )
  })

  it('are brought to a pool that has none in three steps, one agent after the other', async () => {
    const { world, writes, begin, restart, whole } = await pool(5, () => ({}))
    await begin()
    const steps: Encrypt[] = [
      { key: keys[0], verifyIncoming: false, verifyOutgoing: false },
      { key: keys[0], verifyIncoming: false, verifyOutgoing: true },
      { key: keys[0], verifyIncoming: true, verifyOutgoing: true },
    ]
    for (const step of steps) for (const name of names) await restart(name, step)
    const before = writes.acknowledged
    await world.runFor(10_000)
    assert.ok(whole())
    // Who is restarted does not answer for a moment.
    assert.deepEqual(
      troubles(world.lines).filter((line) => !/Suspect|refutes/.test(line)),
      [],
    )
    assert.ok(writes.acknowledged > before + 50)
  })

  it('keep out who has none or another one, and its log and ours say why', async () => {
    const { world, agents, encryption, begin, alive, until } = await pool(6, () => ({ key: keys[0] }))
    await begin()
    const strangers: [string, Encrypt][] = [
      ['x1', {}],
      ['x2', { key: keys[1] }],
    ]
    for (const [name, encrypt] of strangers) {
      agents.add(name, { server: false, expect: 0 })
      encryption.set(name, encrypt)
      agents.start(name)
      await until(`${name} was refused`, () => world.lines.some((line) => line.includes(` ${name} [warn] serf`)))
      await world.runFor(5000)
      assert.equal(alive(name), 1)
      assert.equal(alive('s1'), names.length)
    }
    const said = (pattern: RegExp) => assert.match(world.lines.join('\n'), pattern)
    said(/ x1 \[warn\] serf: lan: not taken by the other side: Remote state is encrypted and encryption is not config/)
    said(/ s\d \[warn\] serf: lan: dropped what came in: .*received an unencrypted packet/)
    said(/ x2 \[warn\] serf: lan: not taken by the other side: No installed keys could decrypt the message/)
    said(/ s\d \[warn\] serf: lan: dropped what came in: No installed keys could decrypt the message/)
  })
})
