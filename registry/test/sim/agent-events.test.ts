/** User events among whole agents: packets are lost, agents die and come back, the network is cut; and each hears each once. */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import type { Millis } from '../../src/model.ts'
import { Ledger } from './agent-checkers.ts'
import { Agents } from './agents.ts'
import type { NetworkFaults } from './network.ts'
import { World } from './world.ts'

const names = ['s1', 's2', 's3', 'c1', 'c2', 'c3']
const lossy: NetworkFaults = { loss: 0.2, duplicate: 0.1, delayMin: 0.2, delayMax: 40, tail: 0.05, tailMax: 150 }

async function pool(seed: number) {
  const random = new Random(seed)
  const world = new World(seed, { settleTurns: 3 })
  let failure: Error | undefined
  const fail = (error: Error) => {
    failure ??= error
  }
  const agents = new Agents({ world, ledger: new Ledger(), random, replica: {}, fail })
  world.onHalt = (_name, reason) => fail(reason)
  for (const name of names) agents.add(name, { server: name[0] === 's', expect: name === 's1' ? 3 : 0 })
  const until = async (what: string, condition: () => boolean, within: Millis = 30_000) => {
    const came = await world.runWhile(() => failure === undefined && !condition(), within, 50)
    if (failure !== undefined) throw failure
    assert.ok(came, `seed ${seed}: waited ${within} ms for: ${what}`)
  }
  const whole = () =>
    names.every((name) => {
      const members = agents.station(name).life?.agent.members('lan') ?? []
      return members.filter(({ status }) => status === 'alive').length === names.length
    })
  const fired: string[] = []
  /** At an agent that is up; when it is told that the event was fired, it was. */
  const fire = async (name: string) => {
    let id: string | undefined
    void agents.request(name, 'PUT', `/v1/event/fire/e${fired.length}`, 'x').then((answer) => {
      if (answer?.status === 200) id = (JSON.parse(answer.text) as { ID: string }).ID
    })
    await until('the answer to a fired event', () => id !== undefined)
    fired.push(id as string)
    return id as string
  }
  const heard = (name: string) => agents.station(name).life?.agent.events.list.map(({ id }) => id) ?? []
  const heardAll = (name: string, wanted: readonly string[]) => {
    const ids = new Set(heard(name))
    return wanted.every((id) => ids.has(id))
  }
  for (const name of names) agents.start(name)
  await until('one pool', whole)
  return { world, agents, random, until, whole, fire, fired, heard, heardAll }
}

describe('user events of whole agents', function () {
  this.timeout(60_000)

  for (const seed of [1, 2, 3]) {
    it(`reach everybody once through losses, a crash and a cut (seed ${seed})`, async () => {
      const { world, agents, random, until, whole, fire, fired, heard, heardAll } = await pool(seed)
      world.network.faults = lossy
      for (let n = 0; n < 10; n++) await fire(random.pick(names) as string)
      await until('the first events', () => names.every((name) => heardAll(name, fired)), 120_000)

      agents.down('c3', false)
      const without = names.filter((name) => name !== 'c3')
      for (let n = 0; n < 10; n++) await fire(random.pick(without) as string)
      const before = fired.length
      agents.start('c3')
      await until('its return', () => whole(), 60_000)
      for (let n = 0; n < 10; n++) await fire(random.pick(names) as string)

      world.network.partition([names.slice(0, 3), names.slice(3)])
      for (let n = 0; n < 10; n++) {
        await fire(random.pick(names) as string)
        await world.runFor(random.between(0, 1_000))
      }
      world.network.heal()
      await until('all events', () => without.every((name) => heardAll(name, fired)), 180_000)
      await until('all since its return', () => heardAll('c3', fired.slice(before)), 180_000)
      await world.runFor(90_000)

      for (const name of without) assert.deepEqual([...heard(name)].sort(), [...fired].sort(), name)
      const again = heard('c3')
      assert.equal(new Set(again).size, again.length, 'none twice')
      assert.deepEqual(
        again.filter((id) => fired.indexOf(id) < 10),
        [],
        'none of its former life, all of which it had heard',
      )
    })
  }

  it('wake who waits for them at any agent', async () => {
    const { world, agents, until, fire } = await pool(4)
    const answers = new Map<string, string>()
    for (const name of names) {
      void agents.request(name, 'GET', '/v1/event/list?index=1&wait=60s', '', 120_000).then((answer) => {
        answers.set(name, `${answer?.status} ${answer?.text ?? ''}`)
      })
    }
    await world.runFor(1_000)
    assert.equal(answers.size, 0)
    await fire('c1')
    await until('six answers', () => answers.size === names.length, 5_000)
    for (const [name, answer] of answers) assert.match(answer, /^200 \[\{"ID":/, name)
  })
})
