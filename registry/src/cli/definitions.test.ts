import assert from 'node:assert/strict'
import { readDefinitions } from './definitions.ts'

const off = { files: false, remote: false }

function read(given: Record<string, unknown>, rules = off) {
  const mistakes: string[] = []
  const entries = Object.entries(given).map(([key, value]) => ({ path: '/c/web.json', key, value }))
  return { ...readDefinitions(entries, rules, mistakes), mistakes }
}

describe('services and checks in configuration files', () => {
  it('are read in snake_case and in CamelCase, alone and as lists', () => {
    const snake = {
      id: 'web1',
      name: 'web',
      tags: ['a'],
      meta: { k: 'v' },
      port: 80,
      address: '10.0.0.1',
      tagged_addresses: { my_lan: { address: '10.0.0.2', port: 81 } },
      enable_tag_override: true,
      weights: { passing: 5, warning: 2 },
      token: 't',
      checks: [{ http: 'http://x', interval: '10s', deregister_critical_service_after: '2m', tls_skip_verify: true }],
    }
    const camel = {
      ID: 'web1',
      Name: 'web',
      Tags: ['a'],
      Meta: { k: 'v' },
      Port: 80,
      Address: '10.0.0.1',
      TaggedAddresses: { my_lan: { Address: '10.0.0.2', Port: 81 } },
      EnableTagOverride: true,
      Weights: { Passing: 5, Warning: 2 },
      Token: 't',
      Checks: [{ HTTP: 'http://x', Interval: '10s', DeregisterCriticalServiceAfter: '2m', TLSSkipVerify: true }],
    }
    const one = read({ service: snake })
    assert.deepEqual(one.mistakes, [])
    assert.deepEqual(read({ service: camel }), one)
    assert.deepEqual(read({ services: [snake] }), one)
    const [{ service, checks } = assert.fail()] = one.services
    assert.deepEqual([service.id, service.port, service.weights], ['web1', 80, { passing: 5, warning: 2 }])
    assert.deepEqual(service.taggedAddresses?.my_lan, { address: '10.0.0.2', port: 81 })
    assert.partialDeepStrictEqual(checks[0], { id: 'service:web1', serviceId: 'web1', deregisterServiceAfter: 120_000 })
    const both = read({
      check: { name: 'a', ttl: '1s', notes: null },
      checks: [{ id: 'b', name: 'b', tcp: 'h:1', interval: '1s', service_id: 's' }],
    })
    assert.deepEqual(both.mistakes, [])
    assert.deepEqual(
      both.checks.map(({ id, serviceId }) => [id, serviceId]),
      [
        ['a', ''],
        ['b', 's'],
      ],
    )
  })

  it('with programs are refused unless those of files are allowed', () => {
    const given = { check: { name: 'a', args: ['true'], interval: '1s' } }
    assert.deepEqual(read(given).mistakes, [
      'failed to parse /c/web.json: check ("a"): Scripts are disabled on this agent; to enable, configure ' +
        "'enable_script_checks' or 'enable_local_script_checks' to true",
    ])
    assert.equal(read(given, { files: true, remote: false }).checks[0]?.how.type, 'script')
  })

  const wrong: [given: Record<string, unknown>, mistakes: string[]][] = [
    [{ service: 5 }, ['service: expected an object, received 5']],
    [
      { service: { name: 'w', port: '80', taggs: [], tags: 'a', weights: { passing: true } } },
      [
        'service.port: expected a whole number, received "80"',
        'invalid config key service.taggs',
        'service.tags: expected a list of texts, received "a"',
        'service.weights.passing: expected a whole number, received true',
      ],
    ],
    [
      { services: [{ name: 'a' }, { name: 'b', check: { ttl: 10 }, checks: {} }] },
      [
        'services[1].check.ttl: expected a duration such as "10s", received 10',
        'services[1].checks: expected a list of objects, received {}',
      ],
    ],
    [
      { services: [{ name: 'b', Checks: [{ ttl: '1s' }, { header: { a: 'b' } }] }] },
      ['services[0].Checks[1].header: expected an object of lists of texts, received {"a":"b"}'],
    ],
    [{ service: { port: 1 } }, ['service: Missing service name']],
    [
      { checks: [{ name: 'c', http: 'x' }] },
      ['checks[0] ("c"): Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks'],
    ],
    [
      { service: { name: 'w', connect: { sidecar_service: {} } } },
      ['service.connect: the service mesh is not supported by this version, received {"sidecar_service":{}}'],
    ],
    [
      { service: { name: 'w', tagged_addresses: { lan: { prt: 1 } } } },
      ['invalid config key service.tagged_addresses.lan.prt'],
    ],
  ]
  for (const [given, mistakes] of wrong) {
    it(`says what is wrong with ${JSON.stringify(given)}`, () => {
      assert.deepEqual(
        read(given).mistakes,
        mistakes.map((mistake) => `failed to parse /c/web.json: ${mistake}`),
      )
    })
  }
})
