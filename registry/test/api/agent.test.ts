/** Registrations in every spelling clients use, and what differs from Consul 1.8 on purpose. */
import assert from 'node:assert/strict'
import { SingleNode } from './surface.ts'

const register = '/v1/agent/service/register'

async function definitionOf(body: unknown, path = '/v1/agent/check/register') {
  const node = new SingleNode()
  const answer = await node.ask('PUT', path, JSON.stringify(body))
  assert.equal(answer.status, 200, answer.text)
  return node.surface.local.checks().map(({ definition }) => definition)
}

describe('registering with the agent', () => {
  it('takes the lower-case names, digits for a port and the check of the Ruby client', async () => {
    const node = new SingleNode()
    const body = '{"name":"app","id":"server1","port":"2001","tags":["a"],"check":{"ttl":"15s"}}'
    assert.equal((await node.ask('PUT', register, body)).status, 200)
    const services = (await node.ask('GET', '/v1/agent/services')).json()
    assert.equal(services.server1.Port, 2001)
    assert.equal(services.server1.Service, 'app')
    assert.equal((await node.ask('PUT', '/v1/agent/check/pass/service:server1')).status, 200)
    const [instance] = (await node.ask('GET', '/v1/health/service/app?passing')).json()
    assert.equal(instance.Checks[1].CheckID, 'service:server1')
  })

  it('skips fields that newer clients send and Consul 1.8 refuses', async () => {
    const node = new SingleNode()
    const body = { Name: 'web', Partition: 'default', Namespace: 'default', SocketPath: '', Ports: [], Locality: null }
    assert.equal((await node.ask('PUT', register, JSON.stringify(body))).status, 200)
    const check = { Name: 'c', TTL: '10s', UDP: '', H2PING: '', FailuresBeforeWarning: 1 }
    assert.equal((await node.ask('PUT', '/v1/agent/check/register', JSON.stringify(check))).status, 200)
    const dereg = '{"Node":"nobody","Partition":"default"}'
    assert.equal((await node.ask('PUT', '/v1/catalog/deregister', dereg)).text, 'true')
  })

  it('understands an HTTP check to the last field, durations as texts or nanoseconds', async () => {
    const common = { Name: 'h', HTTP: 'http://x/', Header: { 'X-A': ['b', 'c'] }, Method: 'POST', Body: 'b' }
    for (const times of [
      { Interval: '10s', Timeout: '1500ms', DeregisterCriticalServiceAfter: '90m' },
      { Interval: 10e9, Timeout: 1.5e9, deregister_critical_service_after: 5400e9 },
    ]) {
      const more = { TLSSkipVerify: true, OutputMaxSize: 100, SuccessBeforePassing: 2, failures_before_critical: 3 }
      assert.deepEqual(await definitionOf({ ...common, ...times, ...more, Notes: 'n', Status: 'warning' }), [
        {
          id: 'h',
          name: 'h',
          notes: 'n',
          serviceId: '',
          initialStatus: 'warning',
          initialOutput: '',
          successesBeforePassing: 2,
          failuresBeforeCritical: 3,
          deregisterServiceAfter: 5_400_000,
          how: {
            type: 'http',
            url: 'http://x/',
            method: 'POST',
            headers: { 'X-A': ['b', 'c'] },
            body: 'b',
            tlsSkipVerify: true,
            interval: 10_000,
            timeout: 1500,
            outputMax: 100,
          },
        },
      ])
    }
  })

  it('understands TCP and TTL checks, by ID or CheckID', async () => {
    const [tcp] = await definitionOf({ ID: 'x', Name: 'y', TCP: 'h:1', Interval: '10s' })
    assert.deepEqual([tcp?.id, tcp?.how], ['x', { type: 'tcp', target: 'h:1', interval: 10_000, timeout: 0 }])
    const [ttl] = await definitionOf({ CheckID: 'x', Name: 'y', TTL: '10s' })
    assert.deepEqual([ttl?.id, ttl?.how], ['x', { type: 'ttl', ttl: 10_000, outputMax: 4096 }])
  })

  it('names the checks of a service after it, numbered when there are several', async () => {
    const ids = async (body: unknown) => (await definitionOf(body, register)).map(({ id }) => id)
    const ttl = { TTL: '10s' }
    assert.deepEqual(await ids({ Name: 'w', Check: ttl }), ['service:w'])
    assert.deepEqual(await ids({ Name: 'w', ID: 'w1', Checks: [ttl] }), ['service:w1'])
    assert.deepEqual(await ids({ Name: 'w', Check: ttl, Checks: [ttl, { ...ttl, CheckID: 'own' }] }), [
      'service:w:1',
      'service:w:2',
      'own',
    ])
  })

  it('takes checks of every kind, with programs where they are allowed', async () => {
    const node = new SingleNode({ remoteScripts: true })
    const kinds: [check: object, how: object][] = [
      [{ Args: ['a', 'b'] }, { type: 'script', args: ['a', 'b'], timeout: 0, outputMax: 4096 }],
      [
        { Script: 'a | b', OutputMaxSize: 10 },
        { type: 'script', args: ['/bin/sh', '-c', 'a | b'], outputMax: 10 },
      ],
      [
        { DockerContainerID: 'c', Shell: '/bin/bash', Script: 'a' },
        { type: 'docker', args: ['/bin/bash', '-c', 'a'] },
      ],
      [
        { docker_container_id: 'c', script_args: ['a'], timeout: '5s' },
        { type: 'docker', container: 'c', timeout: 5000 },
      ],
      [
        { GRPC: 'h:1/s', GRPCUseTLS: true },
        { type: 'grpc', target: 'h:1/s', tls: true, tlsSkipVerify: false },
      ],
      [{ UDP: 'h:1' }, { type: 'udp', target: 'h:1' }],
      [{ OSService: 'sshd' }, { type: 'os_service', service: 'sshd' }],
      [
        { HTTP: 'http://h', DisableRedirects: true },
        { type: 'http', disableRedirects: true },
      ],
      [
        { AliasNode: 'n', Interval: undefined },
        { type: 'alias', node: 'n', service: '' },
      ],
      [
        { AliasService: 's', Interval: undefined },
        { type: 'alias', node: '', service: 's' },
      ],
    ]
    for (const [given, how] of kinds) {
      const answer = await node.ask('PUT', register, JSON.stringify({ Name: 'w', Check: { Interval: '7s', ...given } }))
      assert.equal(answer.status, 200, answer.text)
      const [check] = node.surface.local.checks()
      assert.partialDeepStrictEqual(check?.definition.how, how)
      assert.equal(check?.result.type, (how as { type: string }).type)
    }
  })

  const refusals: [path: string, body: unknown, status: number, text: string | RegExp][] = [
    [register, { Name: 'w', Check: { Args: ['x'], Interval: '1s' } }, 500, /^Scripts are disabled on this agent/],
    [
      register,
      { Name: 'w', Check: { DockerContainerID: 'x', Args: ['x'], Interval: '1s' } },
      500,
      "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
    ],
    [register, { Name: 'w', Check: { Script: 'x', Interval: '1s' } }, 500, /^Scripts are disabled on this agent from/],
    [
      register,
      { Name: 'w', Check: { AliasService: 'x', Interval: '1s', TCP: 'x' } },
      400,
      'Invalid check: Interval cannot be set for Alias checks',
    ],
    [
      register,
      { Name: 'w', Check: { AliasNode: 'x', TTL: '1s' } },
      400,
      'Invalid check: TTL must be not be set for Alias checks',
    ],
    [
      register,
      { Name: 'w', Check: { GRPC: 'x' } },
      400,
      'Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks',
    ],
    [
      register,
      { Name: 'w', Check: { H2PING: 'x', Interval: '1s' } },
      400,
      'Invalid check: H2PING checks are not supported by this version',
    ],
    [register, { Name: 'w', Kind: 'connect-proxy' }, 400, 'Kind "connect-proxy" is not supported by this version'],
    [register, { Name: 'w', Connect: { SidecarService: {} } }, 400, 'Connect is not supported by this version'],
    [register, { Name: 'w', Port: 'http' }, 400, /cannot unmarshal string into Go struct field \.Port of type int$/],
    [register, { Name: 'w', Port: 1.5 }, 400, /cannot unmarshal number 1\.5 into Go struct field \.Port of type int$/],
    [register, { Name: 'w', Checks: [{}] }, 400, 'Invalid check: TTL must be > 0 for TTL checks'],
    [register, [], 400, 'Request decode failed: json: cannot unmarshal array into Go value of type struct'],
    [register, null, 400, 'Missing service name'],
    [
      '/v1/catalog/register',
      { Node: 'n', Address: '1.1.1.1', Service: { Service: 'a', Address: '0.0.0.0' } },
      500,
      'Invalid service address',
    ],
    ['/v1/catalog/register', { Node: 'n', Address: '1.1.1.1', Check: { Node: 'm', Name: 'c' } }, 500, /does not match/],
  ]
  for (const [path, body, status, text] of refusals) {
    it(`refuses ${JSON.stringify(body)} with ${status}`, async () => {
      const node = new SingleNode()
      const before = node.index
      const answer = await node.ask('PUT', path, JSON.stringify(body))
      assert.equal(answer.status, status)
      if (typeof text === 'string') assert.equal(answer.text, text)
      else assert.match(answer.text, text)
      assert.equal(node.index, before)
      assert.deepEqual(node.surface.local.services(), [])
    })
  }

  it('takes names that DNS cannot say, and says so in the log', async () => {
    const node = new SingleNode()
    await node.ask('PUT', register, '{"Name":"a_b","Tags":["ok","x y"]}')
    assert.deepEqual(
      node.logged.map(({ level, message }) => `${level} ${message.slice(0, 60)}`),
      [
        'warn Service name "a_b" will not be discoverable via DNS due to i',
        'warn Service tag "x y" will not be discoverable via DNS due to in',
      ],
    )
  })

  it('keeps the status of a check that is registered again', async () => {
    const node = new SingleNode()
    const body = '{"Name":"w","Check":{"TTL":"10s"}}'
    await node.ask('PUT', register, body)
    await node.ask('PUT', '/v1/agent/check/pass/service:w')
    await node.ask('PUT', register, body)
    assert.equal((await node.ask('GET', '/v1/agent/checks')).json()['service:w'].Status, 'passing')
  })
})

describe('the agent', () => {
  it('in maintenance is critical until it is out again, and its check is nobody else’s', async () => {
    const node = new SingleNode()
    await node.ask('PUT', register, '{"Name":"w"}')
    await node.ask('PUT', '/v1/agent/maintenance?enable=true&reason=why')
    assert.deepEqual((await node.ask('GET', '/v1/health/service/w?passing')).json(), [])
    const refused = await node.ask('PUT', '/v1/agent/check/pass/_node_maintenance')
    assert.equal(refused.text, 'CheckID "_node_maintenance" does not have associated TTL')
    await node.ask('PUT', '/v1/agent/maintenance?enable=false')
    assert.equal((await node.ask('GET', '/v1/health/service/w?passing')).json().length, 1)
  })

  it('says of itself what Prometheus, Traefik and the command line read', async () => {
    const self = (await new SingleNode().ask('GET', '/v1/agent/self')).json()
    assert.deepEqual(Object.keys(self), ['Config', 'DebugConfig', 'Coord', 'Member', 'Stats', 'Meta'])
    assert.deepEqual(self.Config, {
      Datacenter: 'dc1',
      NodeName: 'golden',
      NodeID: 'c7ae8d2f-6635-46e7-e511-60dc18502a87',
      Revision: '',
      Server: true,
      Version: '1.8.7',
    })
    assert.equal(self.Member.Name, 'golden')
    assert.equal(self.Stats.raft.state, 'Leader')
  })

  it('joins, leaves and forces others to leave', async () => {
    const node = new SingleNode()
    assert.equal((await node.ask('PUT', '/v1/agent/join/[::1]:8301')).status, 200)
    assert.deepEqual(node.joined, ['[::1]:8301'])
    assert.equal((await node.ask('PUT', '/v1/agent/force-leave/golden?prune')).status, 200)
    assert.equal((await node.ask('PUT', '/v1/agent/leave')).status, 200)
    assert.equal(node.left, true)
  })
})

describe('reads', () => {
  it('that are stale ask the leader after all when they are staler than max_stale or the cache may be', async () => {
    const node = new SingleNode()
    node.lastContact = 5000
    const modes: string[] = []
    const { read } = node.surface
    node.surface.read = (freshness) => {
      modes.push(freshness)
      return read(freshness)
    }
    const asked = async (query: string, headers = {}) => {
      modes.length = 0
      const answer = await node.ask('GET', `/v1/catalog/nodes?${query}`, undefined, headers)
      assert.equal(answer.status, 200, answer.text)
      return [...modes, answer.headers.get('X-Consul-Effective-Consistency')].join(' ')
    }
    assert.equal(await asked('stale'), 'stale stale')
    assert.equal(await asked('max_stale=10s'), 'stale stale')
    assert.equal(await asked('max_stale=1s'), 'stale default stale')
    node.lastContact = Number.POSITIVE_INFINITY
    assert.equal(await asked('max_stale=87600h'), 'stale default stale')
    const { headers } = await node.ask('GET', '/v1/catalog/nodes?stale')
    assert.equal(
      headers.get('X-Consul-Lastcontact'),
      '9223372036854',
      'as Consul says it, for clients that read a number',
    )
    node.lastContact = 5000
    assert.equal(await asked('consistent'), 'consistent consistent')
    assert.equal(await asked(''), 'default leader')
    assert.equal(await asked('cached'), 'stale leader')
    assert.equal(await asked('cached', { 'Cache-Control': 'max-age=1' }), 'stale default leader')
    assert.equal(await asked('cached', { 'Cache-Control': 'must-revalidate' }), 'stale default leader')
  })

  it('never say index 0', async () => {
    const node = new SingleNode()
    for (const path of ['/v1/kv/x', '/v1/kv/?keys', '/v1/health/service/x', '/v1/health/state/critical']) {
      const index = Number((await node.ask('GET', path)).headers.get('X-Consul-Index'))
      assert.ok(index >= 1, `${path}: ${index}`)
    }
  })

  it('without a leader fail as Consul says, stale ones answer', async () => {
    const node = new SingleNode()
    node.leading = false
    assert.equal((await node.ask('GET', '/v1/kv/x')).text, 'No cluster leader')
    const nodes = await node.ask('GET', '/v1/catalog/nodes')
    assert.deepEqual([nodes.status, nodes.headers.get('X-Consul-Index')], [500, '1'])
    const stale = await node.ask('GET', '/v1/catalog/nodes?stale')
    assert.deepEqual([stale.status, stale.headers.get('X-Consul-Knownleader')], [200, 'false'])
    assert.equal((await node.ask('GET', '/v1/status/leader')).text, '""')
    assert.equal((await node.ask('PUT', '/v1/kv/x', 'v')).status, 500)
  })
})
