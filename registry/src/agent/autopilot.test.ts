import assert from 'node:assert/strict'
import { autopilotDefault } from '../model.ts'
import type { ServerState } from '../replica/status.ts'
import { deadServers, type Heard, type Look, ServerHealths } from './autopilot.ts'

const server = (id: string, changes: Partial<ServerState> = {}): ServerState => ({
  id,
  address: `10.0.0.${id}:8300`,
  voter: true,
  contact: id === 'a' ? 0 : 50,
  lastIndex: 1000,
  lastTerm: 3,
  ...changes,
})
const heard = (name: string, status: Heard['status'] = 'alive'): [string, Heard] => [
  name,
  { name: `host-${name}`, status, version: '1.8.7' },
]
const look = (servers: ServerState[], changes: Partial<Look> = {}): Look => ({
  servers,
  self: 'a',
  lastIndex: 1000,
  lastTerm: 3,
  heard: new Map(servers.map(({ id }) => heard(id))),
  configuration: autopilotDefault,
  heartbeatInterval: 50,
  now: 0,
  wall: 0,
  ...changes,
})

describe('the health of servers', () => {
  it('is what gossip, the last answer, the term and the log say; so many voters may be lost', () => {
    const report = new ServerHealths().look(look([server('a'), server('b'), server('c')], { wall: 7 }))
    assert.equal(report.healthy, true)
    assert.equal(report.failureTolerance, 1)
    assert.deepEqual(report.servers[1], {
      id: 'b',
      name: 'host-b',
      address: '10.0.0.b:8300',
      serfStatus: 'alive',
      version: '1.8.7',
      leader: false,
      lastContact: 50,
      lastTerm: 3,
      lastIndex: 1000,
      healthy: true,
      voter: true,
      stableSince: 7,
    })
  })

  for (const [what, changes, status] of [
    ['that failed', {}, 'failed'],
    ['that never answered', { contact: undefined }, 'alive'],
    ['that has not answered for longer than the threshold', { contact: 201 }, 'alive'],
    ['whose log ends in another term', { lastTerm: 2 }, 'alive'],
    ['that is more entries behind than may trail', { lastIndex: 749 }, 'alive'],
  ] as const) {
    it(`one ${what} is not well, and cannot be lost again`, () => {
      const servers = [server('a'), server('b', changes), server('c')]
      const members = new Map([heard('a'), heard('b', status), heard('c')])
      const report = new ServerHealths().look(look(servers, { heard: members }))
      assert.deepEqual(
        report.servers.map(({ healthy }) => healthy),
        [true, false, true],
      )
      assert.equal(report.healthy, false)
      assert.equal(report.failureTolerance, 0)
    })
  }

  it('a suspect, and one at the limits, is well still', () => {
    const servers = [server('a'), server('b', { contact: 200, lastIndex: 750 })]
    const members = new Map([heard('a'), heard('b', 'suspect')])
    assert.equal(new ServerHealths().look(look(servers, { heard: members })).healthy, true)
  })

  it('a threshold below three heartbeats counts as three', () => {
    const servers = [server('a'), server('b', { contact: 290 })]
    assert.equal(new ServerHealths().look(look(servers, { heartbeatInterval: 100 })).healthy, true)
    assert.equal(new ServerHealths().look(look(servers)).healthy, false)
  })

  it('stable is who was well at every look for long enough', () => {
    const healths = new ServerHealths()
    const at = (now: number, contact: number) =>
      healths.look(look([server('a'), server('b', { contact, voter: false })], { now, wall: 5000 + now }))
    at(0, 900)
    assert.equal(healths.isStable('b', 0, 0), false)
    at(1000, 10)
    assert.equal(healths.isStable('b', 0, 1000), true)
    assert.equal(healths.isStable('b', 10_000, 10_999), false)
    assert.equal(at(11_000, 10).servers[1]?.stableSince, 6000)
    assert.equal(healths.isStable('b', 10_000, 11_000), true)
    assert.equal(at(12_000, 900).servers[1]?.stableSince, 17_000)
    assert.equal(healths.isStable('b', 0, 12_000), false)
    assert.equal(healths.isStable('nobody', 0, 12_000), false)
    at(13_000, 10)
    healths.reset()
    assert.equal(healths.isStable('b', 0, 13_000), false)
  })
})

describe('dead servers', () => {
  /** `a b† c?`: b is dead, c does not vote. */
  const gone = (names: string, changes: Partial<typeof autopilotDefault> = {}, ready = '') => {
    const each = names.split(' ')
    const servers = each.map((name) => ({ id: name[0] as string, address: name, voter: !name.includes('?') }))
    const dead = (id: string) => each.some((name) => name[0] === id && name.includes('†'))
    const autopilot = { ...autopilotDefault, ...changes }
    return deadServers({ cluster: 'x', servers }, autopilot, dead, (id) => ready.includes(id))
      .map(({ id }) => id)
      .join('')
  }

  it('go when a majority gets smaller by it', () => {
    assert.equal(gone('a b c d†'), 'd')
    assert.equal(gone('a b c d† e†'), 'de')
    assert.equal(gone('a b c d e f†'), 'f')
  })

  it('stay when those that are left need no fewer: when they come back they count', () => {
    assert.equal(gone('a b c†'), '')
    assert.equal(gone('a b c d e†'), '')
  })

  it('go when another is ready to take their place, but not before', () => {
    assert.equal(gone('a b c† d?'), '')
    assert.equal(gone('a b c† d?', {}, 'd'), 'c')
    assert.equal(gone('a b c† d?†', {}, 'd'), 'd')
  })

  it('stay when they are more than a minority, or fewer than min_quorum would be left', () => {
    assert.equal(gone('a b† c†', {}, ''), '')
    assert.equal(gone('a b†'), '')
    assert.equal(gone('a b c† d†'), '')
    assert.equal(gone('a b c d†', { minQuorum: 3 }), 'd')
    assert.equal(gone('a b c d†', { minQuorum: 4 }), '')
  })

  it('that do not vote go in any case, and nobody does when that is switched off', () => {
    assert.equal(gone('a b c?†'), 'c')
    assert.equal(gone('a b† c?†'), 'c')
    assert.equal(gone('a b c d† e?†', { cleanupDeadServers: false }), '')
  })
})
