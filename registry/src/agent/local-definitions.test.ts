import assert from 'node:assert/strict'
import { BadRequest } from '../errors.ts'
import type { CheckDefinition } from '../health/definition.ts'
import type { Disk, Io, ProbeRequest } from '../io/io.ts'
import { Random } from '../io/random.ts'
import type { ServiceDefinition } from '../model.ts'
import { type Definitions, noDefinitions } from './definitions.ts'
import { Local, type LocalOptions } from './local.ts'

const service = (id: string, port = 80): ServiceDefinition => ({
  id,
  name: 'web',
  tags: [],
  address: '',
  port,
  taggedAddresses: null,
  meta: null,
  weights: { passing: 1, warning: 1 },
  enableTagOverride: false,
})
const check = (
  id: string,
  serviceId = '',
  how: CheckDefinition['how'] = { type: 'ttl', ttl: 1e6 },
): CheckDefinition => ({
  id,
  name: `name of ${id}`,
  notes: '',
  serviceId,
  initialStatus: 'critical',
  initialOutput: '',
  successesBeforePassing: 0,
  failuresBeforeCritical: 0,
  deregisterServiceAfter: 0,
  how,
})
const script: CheckDefinition['how'] = { type: 'script', args: ['true'], interval: 1_000, timeout: 0, outputMax: 4096 }

/** One node and its disk; `open` is a start of its agent. */
function node() {
  const files = new Map<string, string>()
  const disk: Partial<Disk> = {
    list: async (folder) =>
      [...files.keys()].flatMap((file) => (file.startsWith(`${folder}/`) ? [file.slice(folder.length + 1)] : [])),
    read: async (file) => {
      const text = files.get(file)
      return text === undefined ? undefined : new TextEncoder().encode(text)
    },
    write: async (file, _at, chunks) => void files.set(file, new TextDecoder().decode(chunks[0])),
    sync: async () => {},
    syncFolder: async () => {},
    rename: async (from, to) => {
      files.set(to, files.get(from) as string)
      files.delete(from)
    },
    remove: async (file) => void files.delete(file),
  }
  const clock = { now: 0 }
  const probed: ProbeRequest[] = []
  const io = {
    disk,
    clock: { now: () => clock.now, wall: () => clock.now },
    random: new Random(1),
    log: () => {},
    probe: async (request: ProbeRequest) => {
      probed.push(request)
      return { status: 'passing', output: 'ran' }
    },
  } as unknown as Io
  let changes = 0
  const open = (definitions: Definitions = noDefinitions, more: LocalOptions = {}) =>
    Local.open(io, () => changes++, { definitions, ...more })
  const pass = async (local: Local, seconds: number) => {
    for (let tick = 0; tick < seconds * 10; tick++) {
      clock.now += 100
      local.tick(clock.now)
      await Promise.resolve()
      await Promise.resolve()
    }
  }
  return { files, probed, open, pass, changes: () => changes }
}

const seen = (local: Local) => [
  local.services().map(({ definition }) => `${definition.id}:${definition.port}`),
  local.checks().map(({ definition, result }) => `${definition.id} ${result.status}`),
]

describe('services and checks of the configuration', () => {
  const web: Definitions = {
    services: [{ service: service('web1'), checks: [check('w', 'web1')] }],
    checks: [check('disk')],
  }

  it('are there from the start, are not kept on disk, and are gone when the configuration is without them', async () => {
    const { files, open } = node()
    assert.deepEqual(seen(await open(web)), [['web1:80'], ['w critical', 'disk critical']])
    assert.deepEqual([...files.keys()], [])
    assert.deepEqual(seen(await open()), [[], []])
  })

  it('take the place of what was kept under the same id', async () => {
    const { files, open } = node()
    const first = await open()
    await first.registerService(service('web1', 81), [check('w', 'web1'), check('own', 'web1')], false)
    await first.registerService(service('other', 82), [], false)
    const second = await open(web)
    assert.deepEqual(seen(second), [
      ['other:82', 'web1:80'],
      ['own critical', 'w critical', 'disk critical'],
    ])
    assert.equal(files.size, 2, 'the other service, and the check that is not defined')
    // The service it was for is not defined any more, and nobody registered it since.
    assert.deepEqual(seen(await open()), [['other:82'], []])
  })

  it('change, come and go when the configuration is read again, and what came over HTTP stays as it is', async () => {
    const { open, changes } = node()
    const local = await open(web)
    await local.registerService(service('http1', 90), [check('h', 'http1')], false)
    await local.registerCheck(check('mem'))
    for (const id of ['w', 'disk', 'h', 'mem']) await local.updateTtl(id, 'passing', '')
    const before = changes()
    await local.configure({
      services: [
        { service: service('web1', 8080), checks: [check('w', 'web1', { type: 'ttl', ttl: 2e6 })] },
        { service: service('web2'), checks: [] },
      ],
      checks: [check('of http1', 'http1')],
    })
    assert.ok(changes() > before)
    const [services, checks] = seen(local)
    assert.deepEqual(services?.sort(), ['http1:90', 'web1:8080', 'web2:80'])
    assert.deepEqual(checks?.sort(), ['h passing', 'mem passing', 'of http1 critical', 'w passing'])
    await local.configure(noDefinitions)
    assert.deepEqual(seen(local), [['http1:90'], ['h passing', 'mem passing']])
  })

  it('registered over HTTP again, one is kept as it was registered last, until a configuration defines it anew', async () => {
    const { open } = node()
    const local = await open(web)
    await local.registerService(service('web1', 81), [], false)
    await local.configure(noDefinitions)
    assert.deepEqual(seen(local)[0], ['web1:81'])
    assert.deepEqual(seen(await open(web))[0], ['web1:80'])
  })

  it('with a mistake in them nothing changes', async () => {
    const { open } = node()
    const local = await open(web, { reserved: 'consul' })
    const before = seen(local)
    for (const [definitions, reason] of [
      [{ services: [], checks: [check('a'), check('b', 'nobody')] }, /check "b": ServiceID "nobody" does not exist/],
      [{ services: [{ service: service('consul'), checks: [] }], checks: [] }, /service id "consul"/],
      [{ services: [], checks: [check('serfHealth')] }, /check id "serfHealth"/],
      [{ services: [], checks: [check('b', 'web1')] }, /check "b": ServiceID "web1" does not exist/],
    ] as const) {
      await assert.rejects(
        local.configure(definitions as unknown as Definitions),
        (error: Error) => error instanceof BadRequest && reason.test(error.message),
      )
      assert.deepEqual(seen(local), before)
    }
  })
})

describe('programs of checks', () => {
  it('run only where that is allowed: of files, or over HTTP as well', async () => {
    const definitions = { services: [], checks: [check('file', '', script)] }
    for (const [scripts, ran] of [
      [{ files: false, remote: false }, []],
      [{ files: true, remote: false }, ['file']],
      [{ files: true, remote: true }, ['file', 'http']],
    ] as const) {
      const { open, pass, probed } = node()
      // It was registered while that was allowed, and kept.
      await (await open()).registerCheck(check('http', '', { ...script, timeout: 7 }))
      const local = await open(definitions, { scripts })
      await pass(local, 3)
      const names = new Set(probed.map(({ timeout }) => (timeout === 7 ? 'http' : 'file')))
      assert.deepEqual([...names].sort(), ran)
      for (const { definition, result } of local.checks()) {
        if ((ran as readonly string[]).includes(definition.id)) assert.equal(result.output, 'ran')
        else {
          assert.equal(result.status, 'critical')
          assert.match(
            result.output,
            /^Scripts are disabled on this agent; to enable, configure 'enable_script_checks'/,
          )
        }
      }
    }
  })
})

describe('alias checks', () => {
  it('follow the checks of a service of this agent as soon as they change, aliases of aliases, too', async () => {
    const local = await node().open()
    await local.registerService(service('db'), [check('db up', 'db')], false)
    await local.registerService(service('web'), [check('w', 'web', { type: 'alias', node: '', service: 'db' })], false)
    await local.registerService(service('top'), [check('t', 'top', { type: 'alias', node: '', service: 'web' })], false)
    const outputs = () => local.checks().map(({ result }) => result.output)
    local.tick(100)
    const failing = (name: string, output: string) => `Aliased check "name of ${name}" failing: ${output}`
    assert.deepEqual(outputs(), ['', failing('db up', ''), failing('w', failing('db up', ''))])
    await local.updateTtl('db up', 'passing', 'fine')
    assert.deepEqual(outputs(), ['fine', 'All checks passing.', 'All checks passing.'])
    await local.updateTtl('db up', 'warning', 'hot')
    assert.deepEqual(outputs().slice(1), [failing('db up', 'hot'), failing('w', failing('db up', 'hot'))])
    await local.registerCheck({ ...check('disk'), initialStatus: 'critical' })
    local.tick(200)
    assert.equal(local.checks()[1]?.result.status, 'critical', 'a check of the node counts')
    await local.deregisterCheck('disk')
    await local.deregisterService('db')
    local.tick(300)
    const gone = 'Service db could not be found on node '
    assert.deepEqual(outputs(), [gone, failing('w', gone)])
  })

  it('follow a node, and a service of it, by what the catalog has of it', async () => {
    const { open, pass } = node()
    const rows = [
      { id: 'serfHealth', name: 'Serf Health Status', status: 'passing', output: '', serviceId: '' },
      { id: 'w', name: 'w', status: 'warning', output: 'hot', serviceId: 'web' },
    ]
    const catalog = (name: string) => (name === 'n2' ? { services: [{ id: 'web' }], checks: rows } : undefined)
    const local = await open(noDefinitions, { node: 'n1', catalog })
    await local.registerCheck(check('n', '', { type: 'alias', node: 'n2', service: '' }))
    await local.registerCheck(check('s', '', { type: 'alias', node: 'n2', service: 'web' }))
    await local.registerCheck(check('u', '', { type: 'alias', node: 'n3', service: 'web' }))
    await local.registerCheck(check('d', '', { type: 'alias', node: 'n2', service: 'db' }))
    await pass(local, 1.2)
    const statuses = () => local.checks().map(({ result }) => `${result.status} ${result.output}`)
    assert.deepEqual(statuses(), [
      'passing All checks passing.',
      'warning Aliased check "w" failing: hot',
      'critical Node n3 could not be found',
      'critical Service db could not be found on node n2',
    ])
    rows[0]!.status = 'critical'
    await pass(local, 1.2)
    assert.deepEqual(statuses().slice(0, 2), [
      'critical Aliased check "Serf Health Status" failing: ',
      'critical Aliased check "Serf Health Status" failing: ',
    ])
  })
})
