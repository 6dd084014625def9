import assert from 'node:assert/strict'
import { type KeyNode, keyPools } from '../../test/gossip/key-pools.ts'
import type { WiredStation, Wires } from '../../test/gossip/wires.ts'
import { Refused } from '../errors.ts'
import { Random } from '../io/random.ts'
import type { Address, Member } from '../model.ts'
import { Deadlines } from './deadlines.ts'
import { Keyring } from './keyring.ts'
import { Peers } from './peers.ts'
import { SealedChannel } from './sealed.ts'

const [first, second, third] = [1, 2, 3].map((fill) => Buffer.alloc(32, fill).toString('base64')) as [
  string,
  string,
  string,
]
const list = { type: 'list', localOnly: false } as const

/** One datacenter. */
const pool = (keyrings: readonly (readonly string[] | undefined)[]) => keyPools({ dc1: keyrings })

/** Somebody who has the keys and asks what it likes. */
function stranger(wires: Wires, channel: 'lan' | 'wan') {
  const { io } = wires.station('10.200.0.1', channel)
  const sealed = new SealedChannel(io, channel, new Keyring([first, second]), {
    verifyIncoming: true,
    verifyOutgoing: true,
  })
  const peers = new Peers({ ...io, network: sealed.requests }, new Deadlines(), channel)
  sealed.requests.onFrame((bytes, reply) => peers.receive(bytes, reply))
  const ask = async (to: Address, method: string, body: unknown) => {
    const asked = peers.ask(to, method, body, 1000)
    asked.catch(() => {})
    await wires.settle()
    return asked
  }
  return { ask }
}

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
    assert.match((nodes[3] as KeyNode).station.logged.join('\n'), /Received use-key query/)
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
    const [, deaf, full] = nodes as [KeyNode, KeyNode, KeyNode]
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
    ;(nodes[1] as KeyNode).station.deaf = true
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
      (nodes[1] as KeyNode).keys.operate(list),
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
    const victim = nodes[1] as KeyNode
    await operate({ type: 'install', key: second })
    const recorded = wires.sent.filter(({ kind }) => kind === 'frame').map(({ bytes }) => bytes)
    await operate({ type: 'remove', key: second })
    assert.deepEqual(victim.kept?.keyring.texts, [first])
    for (const bytes of recorded) victim.station.frame(bytes)
    await wires.settle()
    assert.deepEqual(victim.kept?.keyring.texts, [first])
    const asked = stranger(wires, 'lan').ask(victim.station.address, 'keys', {
      target: 'n7',
      type: 'list',
      key: '',
      token: '',
    })
    await assert.rejects(asked, /this is n2, and not n7/)
  })

  it('are changed only on what was seen last, once, and soon', async () => {
    const { wires, nodes } = pool([[first], [first, second]])
    const member = nodes[1] as KeyNode
    const { ask } = stranger(wires, 'lan')
    const request = (type: string, token = '') =>
      ask(member.station.address, 'keys', { target: 'n2', type, key: second, token }) as Promise<{ token: string }>
    const late = /another change of keys was begun meanwhile, or this one took too long/
    const { token: older } = await request('look')
    const { token } = await request('look')
    assert.equal((await request('list')).token, '', 'who only lists is in nobody’s way')
    await assert.rejects(request('use', older), late)
    await request('use', token)
    await assert.rejects(request('use', token), late)
    assert.deepEqual(member.kept?.keyring.texts, [second, first])
    const { token: slow } = await request('look')
    wires.now += 30_000
    await assert.rejects(request('use', slow), late)
  })

  it('whatever a member with a key asks, it gets an answer and nothing breaks', async () => {
    const { wires, nodes } = pool([[first], [first]])
    const victim = nodes[1] as KeyNode
    const bodies: unknown[] = [
      null,
      undefined,
      1,
      'x',
      [],
      {},
      { target: 1, type: 'list', key: '', token: '' },
      { target: 'n2' },
      { target: 'n2', type: 'burn', key: '', token: '' },
      { target: 'n2', type: 'toString', key: '', token: '' },
      { target: 'n2', type: {}, key: '', token: '' },
      { target: 'n2', type: 'use', key: 7, token: '' },
      { target: 'n2', type: 'use', key: 'x'.repeat(1000), token: '' },
      { target: 'n2', type: 'use', key: second, token: '' },
      { target: 'n2', type: 'remove', key: first, token: 'guessed' },
      { target: 'n2', type: 'remove', key: first, token: {} },
      { target: '__proto__', type: 'list', key: '', token: '' },
    ]
    const { ask } = stranger(wires, 'lan')
    for (const body of bodies) {
      await assert.rejects(ask(victim.station.address, 'keys', body), /^(BadRequest|Refused):/, JSON.stringify(body))
    }
    assert.deepEqual(victim.kept?.keyring.texts, [first])
  })
})

describe('the keys of several datacenters', () => {
  it('are listed one LAN after the other, and changed together', async () => {
    const { operate, texts } = keyPools({ dc1: [[first], [first]], dc2: [[first], [first]], dc3: [[first]] })
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
    const { operate, texts } = keyPools({ dc1: [[first, second]], dc2: [[first, second], [first]] })
    const before = texts()
    assert.deepEqual(problems(await operate({ type: 'use', key: second })), [
      '1/2 nodes reported failure',
      'dc2-n2: Requested key is not in the keyring',
    ])
    assert.deepEqual(texts(), before)
  })

  it('are not used when a datacenter cannot be asked, and installed in the others all the same', async () => {
    const { operate, texts, nodes, servers } = keyPools({ dc1: [[first]], dc2: [[first]] })
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
    const { operate, wires } = keyPools({ dc1: [[first], [first]], dc2: [[first]] })
    await operate(list)
    await operate({ type: 'install', key: second })
    assert.ok(wires.sent.length > 10)
    for (const { bytes } of wires.sent) assert.doesNotMatch(Buffer.from(bytes).toString('latin1'), /AQEBAQ|AgICAg/)
  })

  it('are changed by nobody who plays a recording again, nor by nonsense', async () => {
    const { operate, wires, nodes, texts } = keyPools({ dc1: [[first]], dc2: [[first]] })
    await operate({ type: 'install', key: second })
    const recorded = wires.sent.filter(({ kind }) => kind === 'frame').map(({ bytes }) => bytes)
    await operate({ type: 'remove', key: second })
    for (const bytes of recorded) nodes[1]?.far?.frame(bytes)
    await wires.settle()
    assert.deepEqual(texts(), [[first], [first]])
    const { ask } = stranger(wires, 'wan')
    const target = 'dc2-n1.dc2'
    const bodies: unknown[] = [
      null,
      { target },
      { target, type: 'burn', key: '' },
      { target, type: 'use', key: {} },
      { target, token: 'guessed' },
      { target: 'dc2-n1', type: 'list', key: '' },
    ]
    const { address } = (nodes[1] as KeyNode).far as WiredStation
    for (const body of bodies) {
      await assert.rejects(ask(address, 'keys.lan', body), /^(BadRequest|Refused):/, JSON.stringify(body))
    }
  })
})

describe('changes of keys among members that do not always hear, in random worlds', () => {
  const seeds = Number(process.env.SEEDS ?? 40)

  it('leave everybody able to hear everybody, whatever is lost, late or asked for at the same time', async function () {
    this.timeout(20_000 + seeds * 200)
    let done = 0
    for (let seed = 1; seed <= seeds; seed++) {
      const random = new Random(seed)
      const some = [first, second]
      const world = keyPools({ dc1: [some, some, some, some], ...(random.chance(0.3) && { dc2: [some, some] }) }, 2)
      const { wires, nodes, deadlines } = world
      const servers = nodes.filter(({ far }) => far !== undefined)
      const faults = { loss: random.pick([0, 0, 0.02, 0.2]) as number, late: random.pick([0, 0.05, 0.2]) as number }
      const trouble = random.chance(0.5)
      const rings = ({ kept, farKept, datacenter, name }: KeyNode) => [
        { pool: datacenter, name, texts: kept?.keyring.texts ?? [] },
        ...(farKept === undefined ? [] : [{ pool: 'wan', name, texts: farKept.keyring.texts }]),
      ]
      const expectHearing = (when: string) => {
        const all = nodes.flatMap(rings)
        for (const one of all) {
          for (const other of all) {
            const hears = one.pool !== other.pool || other.texts.includes(one.texts[0] as string)
            assert.ok(hears, `seed ${seed}, ${when}: ${other.name} cannot open what ${one.name} seals in ${one.pool}`)
          }
        }
      }
      let under = 0
      const begin = (type: 'install' | 'use' | 'remove', key: string) => {
        under++
        void (random.pick(servers) as KeyNode).keys.operate({ type, key }).then((reports) => {
          under--
          if (reports.every(({ error }) => error === '')) done++
        })
      }
      for (let step = 0; step < 400; step++) {
        const any = random.pick(nodes) as KeyNode
        const luck = random.fraction()
        if (luck < 0.02) {
          // What contradicts each other, at the same time: who is fast may be done before the other has looked.
          const key = random.pick([first, second, third]) as string
          for (const type of random.shuffle(['use', 'remove', 'install'] as const).slice(0, 2)) begin(type, key)
        } else if (luck < 0.03) {
          begin(random.pick(['install', 'use', 'remove'] as const) as 'use', random.pick([first, second]) as string)
        } else if (luck < 0.035) any.station.deaf = trouble && !any.station.deaf
        else if (luck < 0.04) any.failure = trouble && any.failure === undefined ? new Error('ENOSPC') : undefined
        else if (luck < 0.06) {
          wires.now += random.between(100, 3_000)
          deadlines.tick(wires.now)
        } else {
          wires.deliverAny(random, faults)
          await Promise.resolve()
        }
        if (step % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
        expectHearing(`step ${step}`)
      }
      for (const node of nodes) {
        node.station.deaf = false
        node.failure = undefined
      }
      wires.release()
      while (under > 0) {
        await wires.settle()
        wires.now += 1_000
        deadlines.tick(wires.now)
      }
      expectHearing('in the end')
      for (const type of ['install', 'use'] as const) {
        for (const each of type === 'install' ? [first, second, third] : [third]) {
          assert.deepEqual(problems(await world.operate({ type, key: each })), [], `seed ${seed}, ${type}`)
        }
      }
      for (const key of [first, second]) {
        assert.deepEqual(problems(await world.operate({ type: 'remove', key })), [], `seed ${seed}, remove`)
      }
      assert.deepEqual(
        world.texts(),
        nodes.map(() => [third]),
        `seed ${seed}`,
      )
    }
    assert.ok(done > seeds, `${done} operations without an error`)
  })
})
