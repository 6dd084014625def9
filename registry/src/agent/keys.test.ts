import assert from 'node:assert/strict'
import { type WiredStation, Wires } from '../../test/gossip/wires.ts'
import { Refused } from '../errors.ts'
import type { Member } from '../model.ts'
import { Deadlines } from './deadlines.ts'
import { Keyring } from './keyring.ts'
import type { KeptKeyring } from './keyring-file.ts'
import { type KeyReport, Keys } from './keys.ts'
import { frameKind, Peers } from './peers.ts'
import { SealedChannel } from './sealed.ts'

const [first, second, third] = [1, 2, 3].map((fill) => Buffer.alloc(32, fill).toString('base64')) as [
  string,
  string,
  string,
]
const list = { type: 'list', localOnly: false } as const

interface Node {
  name: string
  keys: Keys
  kept: KeptKeyring | undefined
  station: WiredStation
  channel: SealedChannel
  /** Of a server in the WAN pool. */
  far: WiredStation | undefined
  /** Of the disk, from now on. */
  failure: Error | undefined
}

/** Members of a LAN pool in each datacenter, of which the first is a server; the servers are a WAN pool. */
function datacenters(layout: Record<string, readonly (readonly string[] | undefined)[]>) {
  const wires = new Wires()
  const deadlines = new Deadlines()
  const lans = new Map<string, Member[]>()
  const servers: Member[] = []
  const rules = { verifyIncoming: true, verifyOutgoing: true }
  const nodes: Node[] = []
  const node = (datacenter: string, place: number, at: number, texts: readonly string[] | undefined) => {
    const lan = lans.get(datacenter) as Member[]
    const name = `${datacenter === 'dc1' ? 'n' : `${datacenter}-n`}${at + 1}`
    const member = (suffix: string, host: string): Member => {
      return {
        name: name + suffix,
        address: { host, port: 8301 },
        status: 'alive',
        tags: { dc: datacenter },
        incarnation: 1,
      }
    }
    const made = { failure: undefined as Error | undefined }
    const pool = (kind: 'lan' | 'wan', own: Member, members: Member[]) => {
      members.push(own)
      const station = wires.station(own.address.host, kind)
      const keyring = texts === undefined ? undefined : new Keyring(texts)
      const change: KeptKeyring['change'] = async (...given) => {
        if (made.failure !== undefined) throw made.failure
        keyring?.become(keyring.after(...given), wires.now)
      }
      const channel = new SealedChannel(station.io, kind, keyring, rules)
      return {
        station,
        pool: { name: own.name, members: () => members, channel, kept: keyring && { keyring, change } },
      }
    }
    const near = pool('lan', member('', `10.${place}.0.${at + 1}`), lan)
    const far = at === 0 ? pool('wan', member(`.${datacenter}`, `10.10${place}.0.1`), servers) : undefined
    const { io } = near.station
    const keys = new Keys({ io, deadlines, datacenter, lan: near.pool, wan: far?.pool })
    const { kept, channel } = near.pool
    nodes.push(Object.assign(made, { name, keys, kept, station: near.station, far: far?.station, channel }))
  }
  for (const [place, [datacenter, keyrings]] of Object.entries(layout).entries()) {
    lans.set(datacenter, [])
    for (const [at, texts] of keyrings.entries()) node(datacenter, place, at, texts)
  }
  const server = nodes[0] as Node
  /** Whoever does not answer is waited for to the end. */
  const operate = async (operation: Parameters<Keys['operate']>[0]) => {
    let outcome: KeyReport[] | Error | undefined
    server.keys.operate(operation).then(
      (pools) => {
        outcome = pools
      },
      (error: Error) => {
        outcome = error
      },
    )
    for (let turns = 0; turns < 10 && outcome === undefined; turns++) {
      await wires.settle()
      wires.now += 5_000
      deadlines.tick(wires.now)
    }
    if (outcome instanceof Error) throw outcome
    return (outcome ?? []).map(({ wan, datacenter, error, failures, keys, primaryKeys, members: size }) => ({
      pool: wan ? 'wan' : datacenter === 'dc1' ? 'lan' : datacenter,
      size,
      keys,
      primary: primaryKeys,
      problems: error === '' ? [] : [error, ...failures.map(({ name, reason }) => `${name}: ${reason}`)],
    }))
  }
  const texts = () => nodes.map(({ kept }) => kept?.keyring.texts)
  return { wires, members: lans.get('dc1') as Member[], servers, nodes, server, operate, texts }
}

/** One datacenter. */
const pool = (keyrings: readonly (readonly string[] | undefined)[]) => datacenters({ dc1: keyrings })

const problems = (pools: { problems: string[] }[]) => pools.flatMap(({ problems }) => problems)

describe('the keys of a pool', () => {
  it('are listed with how many members have each, the WAN first', async () => {
    const { operate } = pool([[first, second], [first], [second, first]])
    assert.deepEqual(await operate(list), [
      { pool: 'wan', size: 1, keys: { [first]: 1, [second]: 1 }, primary: { [first]: 1 }, problems: [] },
      {
        pool: 'lan',
        size: 3,
        keys: { [first]: 3, [second]: 2 },
        primary: { [first]: 2, [second]: 1 },
        problems: [],
      },
    ])
    assert.deepEqual(
      (await operate({ type: 'list', localOnly: true })).map((one) => one.pool),
      ['lan'],
    )
  })

  it('are changed from one to another while all hear all', async () => {
    const { operate, texts, nodes } = pool([[first], [first], [first], [first], [first]])
    assert.deepEqual(problems(await operate({ type: 'install', key: second })), [])
    assert.deepEqual(texts(), Array(5).fill([first, second]))
    assert.deepEqual(problems(await operate({ type: 'use', key: second })), [])
    assert.deepEqual(texts(), Array(5).fill([second, first]))
    assert.deepEqual(problems(await operate({ type: 'remove', key: first })), [])
    assert.deepEqual(texts(), Array(5).fill([second]))
    assert.deepEqual(
      nodes.map(({ channel }) => channel.dropped),
      [0, 0, 0, 0, 0],
    )
    assert.match((nodes[3] as Node).station.logged.join('\n'), /Received use-key query/)
  })

  it('are not used before all have them: who has not is named, and nobody is changed', async () => {
    const { operate, texts } = pool([[first, second], [first, second], [first]])
    const before = texts()
    assert.deepEqual(problems(await operate({ type: 'use', key: second })), [
      '1/3 nodes reported failure',
      'n3: Requested key is not in the keyring',
    ])
    assert.deepEqual(texts(), before)
  })

  it('are not removed while somebody seals with them, and nobody is changed', async () => {
    const { operate, texts } = pool([
      [second, first],
      [second, first],
      [first, second],
    ])
    const before = texts()
    assert.deepEqual(problems(await operate({ type: 'remove', key: first })), [
      '1/3 nodes reported failure',
      'n3: Removing the primary key is not allowed',
    ])
    assert.deepEqual(texts(), before)
  })

  it('are installed where they can be, and who missed it is named', async () => {
    const { operate, texts, nodes } = pool([[first], [first], [first]])
    const [, deaf, full] = nodes as [Node, Node, Node]
    deaf.station.deaf = true
    full.failure = new Error('ENOSPC: no space left on device, write')
    assert.deepEqual(problems(await operate({ type: 'install', key: second })), [
      '2/3 nodes reported failure',
      'n2: no answer from 10.0.0.2:8301 within 5000 ms to "keys"',
      'n3: the keyring could not be written: ENOSPC: no space left on device, write',
    ])
    assert.deepEqual(texts(), [[first, second], [first], [first]])
    deaf.station.deaf = false
    full.failure = undefined
    assert.deepEqual(problems(await operate({ type: 'install', key: second })), [])
    assert.deepEqual(texts(), Array(3).fill([first, second]))
  })

  it('cannot be asked of one that is silent, gone, or not encrypted', async () => {
    const { operate, nodes, members } = pool([[first], [first], undefined])
    ;(nodes[1] as Node).station.deaf = true
    assert.deepEqual(problems(await operate(list)), [
      '1/3 nodes reported success',
      'n2: no answer from 10.0.0.2:8301 within 5000 ms to "keys"',
      'n3: 10.0.0.3:8301: Encryption is configured but remote state is not encrypted: that agent has no key; start it with -encrypt and the key of this one, or this one without',
    ])
    members[1] = { ...(members[1] as Member), address: { host: '10.9.9.9', port: 8301 } }
    members[2] = { ...(members[2] as Member), status: 'left' }
    assert.deepEqual(problems(await operate(list)), [
      '1/2 nodes reported success',
      'n2: 10.9.9.9:8301: nobody is there',
    ])
  })

  it('without encryption are none, in Consul’s words', async () => {
    const { operate } = pool([undefined, undefined])
    for (const operation of [list, { type: 'install', key: second }, { type: 'remove', key: second }] as const) {
      assert.deepEqual(problems(await operate(operation)), [
        '1/1 nodes reported failure',
        'n1.dc1: Keyring is empty (encryption not enabled)',
        '2/2 nodes reported failure',
        'n1: Keyring is empty (encryption not enabled)',
        'n2: Keyring is empty (encryption not enabled)',
      ])
    }
  })

  it('that are none are refused as Consul does', async () => {
    const { operate } = pool([[first]])
    assert.deepEqual(problems(await operate({ type: 'install', key: 'abc' })), [
      'illegal base64 data at input byte 0',
      'illegal base64 data at input byte 0',
    ])
    assert.deepEqual(problems(await operate({ type: 'install', key: 'AAAA' })), [
      '1/1 nodes reported failure',
      'n1.dc1: key size must be 16, 24 or 32 bytes',
      '1/1 nodes reported failure',
      'n1: key size must be 16, 24 or 32 bytes',
    ])
    assert.match(problems(await operate({ type: 'use', key: 'AAAA' })).join(), /Requested key is not in the keyring/)
    assert.deepEqual(problems(await operate({ type: 'remove', key: third })), [])
  })

  it('are changed through servers only', async () => {
    const { nodes } = pool([[first], [first]])
    await assert.rejects(
      (nodes[1] as Node).keys.operate(list),
      new Refused('keyring operations must run against a server node'),
    )
  })

  it('of members that have failed are not asked for, and a change says that they may be cut off', async () => {
    const { operate, members, server } = pool([[first], [first]])
    members[1] = { ...(members[1] as Member), status: 'failed' }
    assert.deepEqual(problems(await operate({ type: 'install', key: second })), [])
    assert.match(server.station.logged.join('\n'), /failed members are not asked to install the key .*: n2/)
  })

  it('are not changed by a recording played again, nor by a request for somebody else', async () => {
    const { operate, wires, nodes } = pool([[first], [first]])
    const victim = nodes[1] as Node
    await operate({ type: 'install', key: second })
    const recorded = wires.sent.filter(({ kind }) => kind === 'frame').map(({ bytes }) => bytes)
    await operate({ type: 'remove', key: second })
    assert.deepEqual(victim.kept?.keyring.texts, [first])
    for (const bytes of recorded) victim.station.frame(bytes)
    await wires.settle()
    assert.deepEqual(victim.kept?.keyring.texts, [first])
    const answers: Uint8Array[] = []
    const stranger = wires.station('10.0.0.66')
    const channel = new SealedChannel(stranger.io, 'lan', new Keyring([first]), {
      verifyIncoming: true,
      verifyOutgoing: true,
    })
    const peers = new Peers({ ...stranger.io, network: channel.requests }, new Deadlines(), 'lan')
    channel.requests.onFrame((bytes, reply) => {
      answers.push(bytes)
      peers.receive(bytes, reply)
    })
    const asked = peers.ask(victim.station.address, 'keys', { target: 'n7' }, 1000)
    asked.catch(() => {})
    await wires.settle()
    await assert.rejects(asked, /this is n2, and not n7/)
    assert.equal(answers[0]?.[0], frameKind.reply)
  })

  it('whatever a member with a key asks, it gets an answer and nothing breaks', async () => {
    const { wires, nodes } = pool([[first], [first]])
    const victim = nodes[1] as Node
    const bodies: unknown[] = [
      null,
      undefined,
      1,
      'x',
      [],
      {},
      { target: 1 },
      { target: 'n2', change: 'burn' },
      { target: 'n2', change: 'use', key: 7 },
      { target: 'n2', change: 'use', key: 'x'.repeat(1000) },
      { target: 'n2', change: 'use', key: second },
      { target: 'n2', change: 'toString', token: {} },
      { target: 'n2', change: 'remove', key: first, token: 'guessed' },
      { target: '__proto__' },
    ]
    const stranger = wires.station('10.0.0.66')
    const channel = new SealedChannel(stranger.io, 'lan', new Keyring([first]), {
      verifyIncoming: true,
      verifyOutgoing: true,
    })
    const peers = new Peers({ ...stranger.io, network: channel.requests }, new Deadlines(), 'lan')
    channel.requests.onFrame((bytes, reply) => peers.receive(bytes, reply))
    for (const body of bodies) {
      const asked = peers.ask(victim.station.address, 'keys', body, 1000).then(
        () => 'answered',
        (error: Error) => error.name,
      )
      await wires.settle()
      assert.match(await asked, /^(BadRequest|Refused)$/, JSON.stringify(body))
    }
    assert.deepEqual(victim.kept?.keyring.texts, [first])
  })
})

describe('the keys of several datacenters', () => {
  it('are listed one LAN after the other, and changed together', async () => {
    const { operate, texts } = datacenters({ dc1: [[first], [first]], dc2: [[first], [first]], dc3: [[first]] })
    assert.deepEqual(
      (await operate(list)).map(({ pool: name, size, keys }) => [name, size, keys[first]]),
      [
        ['wan', 3, 3],
        ['lan', 2, 2],
        ['dc2', 2, 2],
        ['dc3', 1, 1],
      ],
    )
    for (const operation of [
      { type: 'install', key: second },
      { type: 'use', key: second },
      { type: 'remove', key: first },
    ] as const) {
      assert.deepEqual(problems(await operate(operation)), [])
    }
    assert.deepEqual(texts(), Array(5).fill([second]))
  })

  it('are not used when a member there has not got them: it is named, and nobody is changed anywhere', async () => {
    const { operate, texts } = datacenters({ dc1: [[first, second]], dc2: [[first, second], [first]] })
    const before = texts()
    assert.deepEqual(problems(await operate({ type: 'use', key: second })), [
      '1/2 nodes reported failure',
      'dc2-n2: Requested key is not in the keyring',
    ])
    assert.deepEqual(texts(), before)
  })

  it('are not used when a datacenter cannot be asked, and installed in the others all the same', async () => {
    const { operate, texts, nodes, servers } = datacenters({ dc1: [[first]], dc2: [[first]] })
    const there = nodes[1]?.far as WiredStation
    there.deaf = true
    const lost = /^dc2-n1\.dc2: no answer from 10\.101\.0\.1:8301 within 8000 ms/
    assert.match(problems(await operate({ type: 'install', key: second })).at(-1) ?? '', lost)
    assert.deepEqual(texts(), [[first, second], [first]])
    there.deaf = false
    servers[1] = { ...(servers[1] as Member), status: 'failed' }
    assert.deepEqual(problems(await operate({ type: 'use', key: second })), [
      'all its servers have failed; have those that will not come back leave (force-leave)',
    ])
    servers[1] = { ...(servers[1] as Member), status: 'left' }
    assert.deepEqual(problems(await operate({ type: 'use', key: second })), [])
  })

  it('are never sent in the clear', async () => {
    const { operate, wires } = datacenters({ dc1: [[first], [first]], dc2: [[first]] })
    await operate(list)
    await operate({ type: 'install', key: second })
    assert.ok(wires.sent.length > 10)
    for (const { bytes } of wires.sent) assert.doesNotMatch(Buffer.from(bytes).toString('latin1'), /AQEBAQ|AgICAg/)
  })

  it('are changed by nobody who plays a recording again, nor by nonsense', async () => {
    const { operate, wires, nodes, texts } = datacenters({ dc1: [[first]], dc2: [[first]] })
    await operate({ type: 'install', key: second })
    const recorded = wires.sent.filter(({ kind }) => kind === 'frame').map(({ bytes }) => bytes)
    await operate({ type: 'remove', key: second })
    for (const bytes of recorded) nodes[1]?.far?.frame(bytes)
    await wires.settle()
    assert.deepEqual(texts(), [[first], [first]])
    const stranger = wires.station('10.200.0.1', 'wan')
    const rules = { verifyIncoming: true, verifyOutgoing: true }
    const channel = new SealedChannel(stranger.io, 'wan', new Keyring([first]), rules)
    const peers = new Peers({ ...stranger.io, network: channel.requests }, new Deadlines(), 'wan')
    channel.requests.onFrame((bytes, reply) => peers.receive(bytes, reply))
    const target = 'dc2-n1.dc2'
    const bodies: unknown[] = [
      null,
      { target },
      { target, type: 'burn', key: '' },
      { target, type: 'use', key: {} },
      { target, token: 'guessed' },
      { target: 'dc2-n1', type: 'list', key: '' },
    ]
    for (const body of bodies) {
      const asked = peers.ask((nodes[1] as Node).far!.address, 'keys.lan', body, 1000).then(
        () => 'answered',
        (error: Error) => error.name,
      )
      await wires.settle()
      assert.match(await asked, /^(BadRequest|Refused)$/, JSON.stringify(body))
    }
  })
})
