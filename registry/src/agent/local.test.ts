import assert from 'node:assert/strict'
import { BadRequest, Corrupt, NotFound } from '../errors.ts'
import type { CheckDefinition } from '../health/definition.ts'
import type { Disk, Io } from '../io/io.ts'
import { Random } from '../io/random.ts'
import type { ServiceDefinition } from '../model.ts'
import { Local } from './local.ts'

const web: ServiceDefinition = {
  id: 'web1',
  name: 'web',
  tags: ['a'],
  address: '',
  port: 80,
  taggedAddresses: null,
  meta: null,
  weights: { passing: 1, warning: 1 },
  enableTagOverride: false,
}
const ttl: CheckDefinition = {
  id: 'service:web1',
  name: 'web up',
  notes: '',
  serviceId: 'web1',
  initialStatus: 'critical',
  initialOutput: '',
  successesBeforePassing: 0,
  failuresBeforeCritical: 0,
  deregisterServiceAfter: 0,
  how: { type: 'ttl', ttl: 10_000 },
}

/**
 * A node with a disk of its own, on which `fails` makes the writing of a file fail; `lateFailure`: the next operation of
 * that kind fails after it happened.
 */
function node(files = new Map<string, string>(), fails = (_file: string) => false) {
  const refuse = (file: string) => {
    if (fails(file)) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
  }
  let late = ''
  const lateFailure = (operation: 'rename' | 'remove') => {
    late = operation
  }
  const failLate = (operation: 'rename' | 'remove', file: string) => {
    if (late !== operation || file.endsWith('.new')) return
    late = ''
    throw Object.assign(new Error(`i/o error, ${operation}`), { code: 'EIO' })
  }
  const disk: Partial<Disk> = {
    list: async (folder) =>
      [...files.keys()].flatMap((file) => (file.startsWith(`${folder}/`) ? [file.slice(folder.length + 1)] : [])),
    read: async (file) => {
      const text = files.get(file)
      return text === undefined ? undefined : new TextEncoder().encode(text)
    },
    write: async (file, _at, chunks) => {
      refuse(file)
      files.set(file, new TextDecoder().decode(chunks[0]))
    },
    sync: async () => {},
    syncFolder: async () => {},
    rename: async (from, to) => {
      files.set(to, files.get(from) as string)
      files.delete(from)
      failLate('rename', to)
    },
    remove: async (file) => {
      refuse(file)
      files.delete(file)
      failLate('remove', file)
    },
  }
  const clock = { now: 0, wall: 0 }
  const io = {
    disk,
    clock: { now: () => clock.now, wall: () => clock.wall },
    random: new Random(1),
    log: () => {},
  } as unknown as Io
  return { files, clock, lateFailure, open: (reserved?: string) => Local.open(io, () => {}, { reserved }) }
}
const ids = (local: Local) => [
  local.services().map(({ definition }) => definition.id),
  local.checks().map(({ definition }) => definition.id),
]

describe('services and checks of this agent', () => {
  it('are there again after a restart, and gone when they were taken away', async () => {
    const { open } = node()
    const local = await open()
    await local.registerService(web, [ttl], false)
    await local.registerCheck({ ...ttl, id: 'disk', serviceId: '' })
    assert.deepEqual(ids(await open()), [['web1'], ['service:web1', 'disk']])
    await local.deregisterService('web1')
    assert.deepEqual(ids(local), [[], ['disk']])
    assert.deepEqual(ids(await open()), [[], ['disk']])
    await assert.rejects(local.deregisterService('web1'), NotFound)
  })

  it('a check that is registered again goes on with what it knows', async () => {
    const local = await node().open()
    await local.registerService(web, [ttl], false)
    await local.updateTtl('service:web1', 'passing', 'fine')
    await local.registerService(web, [{ ...ttl, how: { type: 'ttl', ttl: 20_000 }, initialStatus: 'warning' }], false)
    const [check] = local.checks()
    assert.deepEqual([check?.result.status, check?.result.output], ['passing', 'fine'])
  })

  it('what is reported right after the process stood still counts from then, and no longer for the pause', async () => {
    const { clock, open } = node()
    const local = await open()
    await local.registerService(web, [{ ...ttl, initialStatus: 'passing' }], false)
    const pass = (now: number) => {
      clock.now = now
      local.tick(now)
      return local.checks()[0]?.result.status
    }
    for (let now = 100; now <= 1_000; now += 100) pass(now)
    clock.now = 61_000
    await local.updateTtl('service:web1', 'passing', 'fine')
    let lapsed = 61_000
    while (pass(lapsed) === 'passing') lapsed += 100
    assert.equal(lapsed, 71_000)
  })

  it('what a TTL check said outlives a restart, for its TTL from when it was said', async () => {
    const { clock, files, open } = node()
    const local = await open()
    const other = { ...ttl, id: 'other', serviceId: '' }
    await local.registerService(web, [ttl], false)
    await local.registerCheck(other)
    await local.updateTtl('service:web1', 'passing', 'fine')
    await local.updateTtl('other', 'warning', 'hot')
    await local.deregisterCheck('other')
    await local.flush()
    const seen = async () => {
      const again = await open()
      await again.registerCheck(other)
      return again.checks().map(({ result }) => [result.status, result.output])
    }
    clock.wall = 9_999
    assert.deepEqual(await seen(), [
      ['passing', 'fine'],
      ['critical', ''],
    ])
    clock.wall = 10_000
    assert.deepEqual((await seen())[0], ['critical', ''])
    clock.wall = -9_999
    assert.deepEqual((await seen())[0], ['passing', 'fine'], 'a clock put back a little')
    clock.wall = -10_000
    assert.deepEqual((await seen())[0], ['critical', ''], 'a clock that knows nothing')
    clock.wall = 0
    files.set('checks/said', (files.get('checks/said') as string).slice(0, -20))
    assert.deepEqual((await seen())[0], ['critical', ''], 'torn by a crash')
  })

  it('what TTL checks say is written together, at most once a second', async () => {
    const { clock, files, open } = node()
    const local = await open()
    await local.registerService(web, [ttl], false)
    const written = new Set<string | undefined>()
    for (let now = 100; now <= 5_000; now += 100) {
      clock.now = now
      await local.updateTtl('service:web1', 'passing', `at ${now}`)
      local.tick(now)
      for (let turn = 0; turn < 20; turn++) await Promise.resolve()
      written.add(files.get('checks/said'))
    }
    assert.ok(written.size >= 5 && written.size <= 6, `${written.size} writes`)
  })

  it('maintenance outlives a restart', async () => {
    const { open } = node()
    await (await open()).registerCheck({ ...ttl, id: '_node_maintenance', serviceId: '', how: { type: 'maintenance' } })
    assert.equal((await open()).checks()[0]?.result.type, 'maintenance')
  })

  it('a process that ends in the middle of a deregistration leaves no service without its checks', async () => {
    let full = false
    const { open, files } = node(new Map(), (file) => full && file.startsWith('checks/'))
    const local = await open()
    await local.registerService(web, [ttl], false)
    full = true
    await assert.rejects(local.deregisterService('web1'), /no space left/)
    full = false
    assert.deepEqual(ids(await open()), [[], []])
    assert.deepEqual([...files.keys()], [])
  })

  it('what could not be kept was not registered', async () => {
    const { open } = node(new Map(), () => true)
    const local = await open()
    await assert.rejects(local.registerService(web, [], false), /no space left/)
    assert.deepEqual(ids(local), [[], []])
  })

  it('a write that failed but happened does not come back after a restart', async () => {
    for (const last of ['deregistered', 'registered as before', 'unknown'] as const) {
      const { open, lateFailure } = node()
      const local = await open()
      if (last === 'registered as before') await local.registerService(web, [], false)
      lateFailure('rename')
      await assert.rejects(local.registerService({ ...web, port: 81 }, [], false), /i\/o error/)
      if (last === 'deregistered') await local.registerService({ ...web, port: 82 }, [], false)
      if (last === 'registered as before') await local.registerService(web, [], false)
      else if (last === 'deregistered') await local.deregisterService('web1')
      else await assert.rejects(local.deregisterService('web1'), NotFound)
      const ports = (await open()).services().map(({ definition }) => definition.port)
      assert.deepEqual(ports, last === 'registered as before' ? [80] : [], last)
    }
  })

  it('what is registered again after a removal that failed but happened is there after a restart', async () => {
    const { open, lateFailure } = node()
    const local = await open()
    await local.registerService(web, [], false)
    lateFailure('remove')
    await assert.rejects(local.deregisterService('web1'), /i\/o error/)
    await local.registerService(web, [], false)
    assert.deepEqual(ids(await open()), [['web1'], []])
  })

  it('a damaged file is named, and nothing is made of it', async () => {
    for (const [file, text] of [
      ['services/1.json', 'null'],
      ['services/2.json', '{}'],
      ['services/3.json', '{"id":'],
      ['checks/1.json', '[]'],
      ['checks/2.json', JSON.stringify({ ...ttl, serviceId: '', how: { type: 'ttl' } })],
    ] as const) {
      const { open } = node(new Map([[file, text]]))
      await assert.rejects(open(), (error: Error) => error instanceof Corrupt && error.message.includes(file), file)
    }
  })

  it('ids that belong to the cluster are refused', async () => {
    const { open } = node()
    const server = await open('consul')
    await assert.rejects(server.registerService({ ...web, id: 'consul' }, [], false), BadRequest)
    await assert.rejects(server.registerCheck({ ...ttl, id: 'serfHealth', serviceId: '' }), BadRequest)
    await assert.rejects(server.registerService(web, [{ ...ttl, id: 'serfHealth' }], false), BadRequest)
    assert.deepEqual(ids(server), [[], []])
    await (await open()).registerService({ ...web, id: 'consul' }, [], false)
  })
})
