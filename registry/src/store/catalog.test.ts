import assert from 'node:assert/strict'
import fc from 'fast-check'
import { CatalogModel } from '../../test/store/catalog-model.ts'
import { catalogCommand, check, Log, node, service } from '../../test/store/samples.ts'

const alive = check('serfHealth', { status: 'passing' })
const dead = check('serfHealth', { status: 'critical' })

describe('the catalog', () => {
  let log: Log
  beforeEach(() => {
    log = new Log()
  })

  const names = () => log.store.nodes().value.map((each) => each.name)

  describe('nodes', () => {
    it('are in name order, whatever the case, and found by any spelling', () => {
      for (const name of ['host2', 'Host1', 'host10']) log.register(node(name))
      assert.deepEqual(names(), ['Host1', 'host10', 'host2'])
      assert.equal(log.store.node('HOST1').value?.node.name, 'Host1')
    })

    it('registered again in the same words keep their index; null and {} are different words', () => {
      log.register(node('n', { meta: { a: '1', b: '2' } }))
      log.register(node('n', { meta: { b: '2', a: '1' } }))
      assert.equal(log.store.nodes().index, 2)
      log.register(node('n', { meta: null }))
      log.register(node('n', { meta: {} }))
      assert.deepEqual(
        log.store.nodes().value.map((each) => [each.createIndex, each.modifyIndex]),
        [[2, 5]],
      )
    })

    it('of an id under another name are renamed: created when they were, without services or checks', () => {
      log.register(node('old', { id: 'id-1' }), service('web'), check('c', { serviceId: 'web' }))
      log.register(node('new', { id: 'id-1' }))
      assert.deepEqual(names(), ['new'])
      assert.equal(log.store.node('old').value, undefined)
      assert.equal(log.store.node('new').value?.node.createIndex, 2)
      assert.deepEqual(log.store.node('new').value?.services, [])
      assert.deepEqual(log.store.instances('web'), { index: 3, value: [] })
      assert.equal(log.store.nodeById('id-1')?.name, 'new')
    })

    it('of an id under another spelling are renamed too', () => {
      log.register(node('host', { id: 'id-1' }), service('web'))
      log.register(node('Host', { id: 'id-1' }))
      assert.deepEqual(names(), ['Host'])
      assert.deepEqual(log.store.node('host').value?.services, [])
    })

    it('that are alive keep their name against another id', () => {
      log.register(node('fin', { id: 'id-1', address: '127.0.0.77' }), undefined, alive)
      const before = log.store.nodes()
      assert.deepEqual(log.register(node('FIN', { id: 'id-2' }), service('web')), {
        error:
          'failed inserting node: Error while renaming Node ID: "id-2": ' +
          'Node name FIN is reserved by node id-1 with name fin (127.0.0.77)',
      })
      assert.deepEqual(log.store.nodes(), before)
      assert.deepEqual(log.store.services().value, new Map())
    })

    it('that are dead, or have no serfHealth, give their name to another id and keep their services', () => {
      for (const checks of [[dead], []]) {
        log = new Log()
        log.register(node('n', { id: 'id-1' }), service('web'), ...checks)
        assert.deepEqual(log.register(node('n', { id: 'id-2' })), { value: true })
        assert.equal(log.store.node('n').value?.node.id, 'id-2')
        assert.equal(log.store.node('n').value?.node.createIndex, 2)
        assert.equal(log.store.node('n').value?.services.length, 1)
        assert.equal(log.store.nodeById('id-1'), undefined)
      }
    })

    it('without an id are taken over by the agent of their name, but not by one that changes its name', () => {
      log.register(node('n'), undefined, alive)
      assert.deepEqual(log.register(node('n', { id: 'id-1' })), { value: true })
      log.register(node('m'), undefined, alive)
      assert.deepEqual(log.register(node('m', { id: 'id-1', address: '10.0.0.9' })), {
        error:
          'failed inserting node: Error while renaming Node ID: "id-1" (10.0.0.9): ' +
          'Node name m is reserved by node  with name m (10.0.0.1)',
      })
      assert.equal(log.store.nodeById('id-1')?.name, 'n')
    })

    it('keep their id when registered without one', () => {
      log.register(node('n', { id: 'id-1' }))
      log.register(node('N', { address: '10.0.0.9' }), service('web'))
      const { node: row, services } = log.store.node('n').value ?? assert.fail()
      assert.deepEqual([row.id, row.name, row.address], ['id-1', 'n', '10.0.0.9'])
      assert.deepEqual(services[0]?.node, 'n')
    })

    it('are only made, never changed, by a guest that says so', () => {
      const guest = { type: 'catalog.register' as const, service: service('web'), checks: [], skipNodeUpdate: true }
      log.apply({ ...guest, node: node('n', { address: '10.0.0.1' }) })
      log.apply({ ...guest, node: node('N', { id: 'id-9', address: '10.9.9.9' }) })
      const { node: row } = log.store.node('n').value ?? assert.fail()
      assert.deepEqual([row.id, row.name, row.address, row.modifyIndex], ['', 'n', '10.0.0.1', 2])
    })

    it('take everything along when they go', () => {
      log.register(node('n'), service('web'), check('c', { serviceId: 'web' }), alive)
      log.register(node('m'), service('web'))
      log.deregister('N')
      assert.deepEqual(names(), ['m'])
      assert.deepEqual(
        log.store.instances('web').value.map((each) => each.node.name),
        ['m'],
      )
      assert.deepEqual(log.store.checksInState('any'), { index: 4, value: [] })
      assert.deepEqual(log.store.node('n'), { index: 4, value: undefined })
    })
  })

  describe('services', () => {
    it('are instances by node, then id, with the checks of the node before their own', () => {
      const own = (id: string) => check(id, { serviceId: 'web' })
      log.register(node('n2'), service('web'), own('b'), own('a'), check('z'), alive)
      log.register(node('n1'), service('web', { id: 'web2' }))
      log.register(node('n1'), service('Web', { id: 'web1' }), check('d'))
      const { value } = log.store.instances('WEB')
      assert.deepEqual(
        value.map((each) => [each.node.name, each.service.id, each.checks.map((one) => one.id)]),
        [
          ['n1', 'web1', ['d']],
          ['n1', 'web2', ['d']],
          ['n2', 'web', ['serfHealth', 'z', 'a', 'b']],
        ],
      )
    })

    it('are asked for by tags, all of them, whatever the case', () => {
      log.register(node('n'), service('web', { id: '1', tags: ['v1', 'Prod'] }))
      log.register(node('n'), service('web', { id: '2', tags: ['v1'] }))
      const ids = (...tags: string[]) => log.store.instances('web', tags).value.map((each) => each.service.id)
      assert.deepEqual(ids('V1'), ['1', '2'])
      assert.deepEqual(ids('v1', 'prod'), ['1'])
      assert.deepEqual(ids('v1', 'none'), [])
      assert.deepEqual(ids(''), [])
    })

    it('are listed by name with the union of their tags', () => {
      log.register(node('n'), service('g-bs', { tags: ['b', 'a'] }))
      log.register(node('n'), service('g-Web'))
      log.register(node('m'), service('g-bs', { tags: ['c', 'a'] }))
      assert.deepEqual(
        [...log.store.services().value],
        [
          ['g-Web', []],
          ['g-bs', ['c', 'a', 'b']],
        ],
      )
    })

    it('of two ids that differ only in case are two', () => {
      log.register(node('n'), service('web', { id: 'Web' }))
      log.register(node('n'), service('web', { id: 'web' }))
      assert.deepEqual(
        log.store.node('n').value?.services.map((each) => each.id),
        ['Web', 'web'],
      )
    })

    it('give their name and tags to their checks, when checks come and when services change', () => {
      log.register(node('n'), service('web', { tags: ['a'] }), check('c', { serviceId: 'web' }))
      const first = () => log.store.serviceChecks('web').value[0]
      assert.deepEqual([first()?.serviceName, first()?.serviceTags], ['web', ['a']])
      log.register(node('n'), service('web', { tags: ['b'] }))
      assert.deepEqual([first()?.serviceTags, first()?.createIndex, first()?.modifyIndex], [['b'], 2, 3])
      log.register(node('n'), service('web', { tags: ['b'], port: 81 }))
      assert.equal(first()?.modifyIndex, 3)
    })

    it('of an id that changes its name leave the old name', () => {
      log.register(node('n'), service('old', { id: 's' }), check('c', { serviceId: 's' }))
      log.register(node('n'), service('new', { id: 's' }))
      assert.deepEqual(log.store.instances('old'), { index: 3, value: [] })
      assert.deepEqual(log.store.serviceChecks('old'), { index: 3, value: [] })
      assert.equal(log.store.serviceChecks('new').value[0]?.serviceName, 'new')
    })

    it('take their checks along when they go', () => {
      log.register(node('n'), service('web'), check('own', { serviceId: 'web' }), check('other'))
      log.deregister('n', { serviceId: 'web' })
      assert.deepEqual(
        log.store.node('n').value?.checks.map((each) => each.id),
        ['other'],
      )
    })

    it('that do not exist answer the index at which a service last lost its last instance', () => {
      log.register(node('n'), service('web', { id: '1' }))
      log.register(node('n'), service('web', { id: '2' }))
      log.deregister('n', { serviceId: '1' })
      assert.equal(log.store.instances('none').index, 1)
      log.deregister('n', { serviceId: '2' })
      assert.equal(log.store.instances('none').index, 5)
      assert.equal(log.store.instances('web').index, 5)
    })
  })

  describe('checks', () => {
    it('without a status are critical, and any text is a status', () => {
      log.register(node('n'), undefined, check('a', { status: '' }), check('b', { status: 'bogus' }))
      assert.deepEqual(
        log.store.nodeChecks('n').value.map((each) => each.status),
        ['critical', 'bogus'],
      )
      assert.equal(log.store.checksInState('bogus').value.length, 1)
    })

    it('may move from one service to another', () => {
      log.register(node('n'), service('web'), check('c', { serviceId: 'web' }))
      log.register(node('n'), service('db'), check('c', { serviceId: 'db' }))
      assert.deepEqual(log.store.instances('web').value[0]?.checks, [])
      assert.equal(log.store.instances('db').value[0]?.checks[0]?.serviceName, 'db')
    })

    it('of a node are checks of every service on it, until they go', () => {
      log.register(node('n'), service('web'))
      const statuses = () => log.store.instances('web').value[0]?.checks.map((each) => each.status)
      assert.deepEqual(statuses(), [])
      log.register(node('n'), undefined, alive)
      assert.deepEqual(statuses(), ['passing'])
      log.register(node('n'), undefined, dead)
      assert.deepEqual(statuses(), ['critical'])
      log.deregister('n', { checkId: 'serfHealth' })
      assert.deepEqual(statuses(), [])
      assert.equal(log.store.instances('web').index, 5)
    })
  })

  describe('refusals', () => {
    const refused: [string, Parameters<Log['register']>, string][] = [
      [
        'a check of a service that is not registered',
        [node('g-x'), undefined, check('c', { serviceId: 'unknown' })],
        'failed inserting check: Missing service registration on node "g-x"',
      ],
      [
        'a check without an id',
        [node('g-x'), undefined, check('')],
        'failed inserting check: failed inserting check: object missing primary index on node "g-x"',
      ],
      [
        'a service without a name',
        [node('g-x'), service('', { id: 'foo' })],
        'failed inserting service: failed inserting service: object missing primary index',
      ],
      ['a node without a name', [node('')], 'failed inserting node: object missing primary index'],
      ['a name with NUL in it', [node('a\0b')], 'names and ids must not hold the character NUL'],
      ['an id with NUL in it', [node('a'), service('b\0', {})], 'names and ids must not hold the character NUL'],
    ]
    for (const [what, [on, it_, ...checks], error] of refused) {
      it(`${what} is refused in Consul's words, and nothing is registered`, () => {
        assert.deepEqual(log.register(on, it_, ...checks), { error })
        assert.deepEqual(log.store.nodes(), { index: 1, value: [] })
      })
    }

    it('a check of a service that went with the renaming is refused, and the node keeps its name', () => {
      log.register(node('host', { id: 'id-1' }), service('web'))
      const result = log.register(node('Host', { id: 'id-1' }), undefined, check('c', { serviceId: 'web' }))
      assert.ok('error' in result)
      assert.deepEqual(names(), ['host'])
    })

    it('to deregister what is not there is none', () => {
      log.register(node('n'), service('web'), check('c'))
      for (const what of [{ serviceId: 'none' }, { checkId: 'none' }, { serviceId: '' }, { checkId: '' }]) {
        assert.deepEqual(log.deregister('n', what), { value: true })
      }
      assert.deepEqual(log.deregister('none'), { value: true })
      assert.equal(log.store.node('n').index, 2)
    })
  })

  describe('indexes and wakes, as recorded from Consul 1.8.7', () => {
    /** What one mutation does to a waiting question: whether it is woken to a new index. */
    function waits(question: string, mutation: () => void): boolean {
      const [kind = '', name = ''] = question.split(' ')
      const asks: Record<string, () => number> = {
        health: () => log.store.instances(name).index,
        catalog: () => log.store.locations(name).index,
        services: () => log.store.services().index,
        nodes: () => log.store.nodes().index,
        node: () => log.store.node(name).index,
        'node-health': () => log.store.nodeChecks(name).index,
        state: () => log.store.checksInState(name).index,
      }
      const topics = {
        health: { kind: 'service' as const, service: name },
        catalog: { kind: 'locations' as const, service: name },
        services: { kind: 'services' as const },
        nodes: { kind: 'nodes' as const },
        node: { kind: 'node' as const, node: name },
        'node-health': { kind: 'node' as const, node: name },
        state: { kind: 'checks' as const, state: name },
      }
      let woken = false
      const from = asks[kind]!()
      const end = log.store.watch(topics[kind as keyof typeof topics], () => {
        woken = true
      })
      mutation()
      end()
      return woken && asks[kind]!() > from
    }

    beforeEach(() => {
      log.register(node('b1'), service('bs'), check('nk', { status: 'passing' }))
      log.register(node('b2'))
    })
    const cases: [question: string, what: string, mutation: () => void, wakes: boolean][] = [
      ['health bs', 'another service', () => log.register(node('b2'), service('bs3')), false],
      ['health bs', 'the same again', () => log.register(node('b1'), service('bs')), false],
      ['health bs', 'another port', () => log.register(node('b1'), service('bs', { port: 2 })), true],
      ['health bs', 'a check of it', () => log.register(node('b1'), undefined, check('k', { serviceId: 'bs' })), true],
      ['health bs', 'a check of its node', () => log.register(node('b1'), undefined, check('k')), true],
      ['health bs', 'another output', () => log.register(node('b1'), undefined, check('nk', { output: 'z' })), true],
      ['health bs', 'a check of another node', () => log.register(node('b2'), undefined, check('nk')), false],
      ['health bs', 'the address of its node', () => log.register(node('b1', { address: '10.9.9.9' })), true],
      ['health bs', 'its last instance going', () => log.deregister('b1', { serviceId: 'bs' }), true],
      ['health bs', 'its node going', () => log.deregister('b1'), true],
      ['health bs', 'a check going', () => log.deregister('b1', { checkId: 'nk' }), true],
      ['health ms', 'another service', () => log.register(node('b2'), service('bs4')), false],
      ['health ms', 'its first instance', () => log.register(node('b2'), service('ms')), true],
      [
        'catalog bs',
        'a check of its node',
        () => log.register(node('b1'), undefined, check('nk', { status: 'critical' })),
        false,
      ],
      ['catalog bs', 'the address of its node', () => log.register(node('b1', { address: '10.9.9.9' })), true],
      ['catalog bs', 'another instance', () => log.register(node('b2'), service('bs')), true],
      ['services', 'a new service', () => log.register(node('b2'), service('bs5')), true],
      ['services', 'another port', () => log.register(node('b1'), service('bs', { port: 9 })), true],
      ['services', 'a new node', () => log.register(node('b3')), false],
      ['services', 'a check', () => log.register(node('b1'), undefined, check('k')), false],
      ['nodes', 'a service', () => log.register(node('b2'), service('bs6')), false],
      ['nodes', 'a key', () => log.set('unrelated', ''), false],
      ['nodes', 'a new node', () => log.register(node('b4')), true],
      ['node b1', 'a service on it', () => log.register(node('b1'), service('bs7')), true],
      ['node b1', 'a service elsewhere', () => log.register(node('b2'), service('bs8')), false],
      ['node b9', 'it being registered', () => log.register(node('b9')), true],
      ['node-health b1', 'a check of another node', () => log.register(node('b2'), undefined, check('c2')), false],
      ['node-health b1', 'a service on it', () => log.register(node('b1'), service('bs7')), false],
      ['node-health b1', 'a check of it', () => log.register(node('b1'), undefined, check('c2')), true],
      ['state critical', 'a passing check', () => log.register(node('b2'), undefined, check('c3')), false],
      [
        'state critical',
        'a critical check',
        () => log.register(node('b2'), undefined, check('c3', { status: '' })),
        true,
      ],
      [
        'state passing',
        'a check that no longer is',
        () => log.register(node('b1'), undefined, check('nk', { status: 'warning' })),
        true,
      ],
      ['state any', 'a passing check', () => log.register(node('b2'), undefined, check('c3')), true],
    ]
    for (const [question, what, mutation, wakes] of cases) {
      it(`${question} ${wakes ? 'is' : 'is not'} woken by ${what}`, () => {
        assert.equal(waits(question, mutation), wakes)
      })
    }
  })

  it('nothing is left of a catalog that was emptied', () => {
    fc.assert(
      fc.property(fc.array(catalogCommand, { maxLength: 30 }), (commands) => {
        const log = new Log()
        for (const command of commands) log.apply(command)
        for (const { name } of log.store.nodes().value) log.deregister(name)
        // The head and the end, a length and a body each, and no rows between.
        assert.equal([...log.store.snapshot()].length, 4)
      }),
    )
  })

  it('answers as plain maps do, whatever the commands', () => {
    fc.assert(
      fc.property(fc.array(catalogCommand, { maxLength: 40 }), (commands) => {
        const log = new Log()
        const model = new CatalogModel()
        for (const command of commands) {
          const accepted = !('error' in log.apply(command))
          assert.equal(accepted, model.apply(log.last, command), JSON.stringify(command))
          assert.deepEqual(log.store.nodes().value, model.nodes())
          assert.deepEqual(log.store.services().value, model.services())
          for (const name of ['n1', 'n2']) assert.deepEqual(log.store.node(name).value, model.node(name))
          for (const name of ['web', 'db']) {
            assert.deepEqual(log.store.instances(name).value, model.instances(name))
            assert.deepEqual(log.store.locations(name).value, model.instances(name))
            assert.deepEqual(log.store.serviceChecks(name).value, model.serviceChecks(name))
          }
          for (const state of ['any', 'passing', 'critical']) {
            assert.deepEqual(log.store.checksInState(state).value, model.checksInState(state))
          }
          for (const id of ['id-1', 'id-2']) {
            assert.deepEqual(
              log.store.nodeById(id),
              model.nodes().find((each) => each.id === id),
            )
          }
        }
      }),
      { numRuns: 200 },
    )
  })
})
