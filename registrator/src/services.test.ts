import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { CheckRegistration } from 'registry/client'
import { type Container, containerOf, type Inspected } from './container.ts'
import { listOf } from './metadata.ts'
import { type DesiredService, desiredServices, type ServiceRules } from './services.ts'

const rules: ServiceRules = {
  owner: { id: 'host1', engine: 'ENGINE' },
  hostname: 'host1',
  hostAddress: '10.0.0.5',
  ip: undefined,
  internal: false,
  explicit: false,
  tags: [],
  ipLabel: undefined,
  deregister: 'always',
  paused: 'deregister',
  ttl: 0,
}

interface Recorded {
  title: string
  flags: { ip?: string; internal?: boolean; explicit?: boolean; tags?: string; useIpFromLabel?: string }
  inspect: Inspected
  expected: Expected[] | { ignored: string }
}
interface Expected {
  ID: string
  Name: string
  Port: number
  IP: string
  Tags: string[]
  Attrs: Record<string, string>
  Check: CheckRegistration | null
}

/** Inspect answers of a real engine, with what gliderlabs/registrator makes of them. */
const recordings = JSON.parse(
  readFileSync(new URL('../test/data/containers.json', import.meta.url), 'utf8'),
) as Recorded[]

/** Where the original's registration could not work or its order is chance, and what ours does. */
const ours: Record<string, { why: string; services: Partial<Expected>[] }> = {
  'user-defined network published': {
    why: "the host's port goes with the host's address",
    services: [{ ID: 'host1:usernet:80', IP: '10.0.0.5', Port: 8002 }],
  },
  'network given by id': {
    why: "the host's port goes with the host's address",
    services: [{ ID: 'host1:usernetid:80', IP: '10.0.0.5', Port: 8003 }],
  },
  'tcp+udp same port with SERVICE_ID': {
    why: 'one id is one service: the second port keeps the id it would have without the setting',
    services: [
      { ID: 'dns1', Name: 'node-53', Tags: [] },
      { ID: 'host1:dns:53:udp', Name: 'node-53', Tags: ['udp'] },
    ],
  },
  'network none with --expose': { why: 'nothing can reach it', services: [] },
  'two networks -internal': {
    why: 'the network it was started in, not any',
    services: [{ ID: 'host1:twonets:80', IP: '172.17.0.2', Port: 80 }],
  },
  'port published twice': { why: 'the lowest, not any', services: [{ ID: 'host1:dual:80', Port: 8005 }] },
  'tags order and escaping': {
    why: 'tags in the order they were written',
    services: [{ Tags: ['a', 'b,c', 'd', 'x', 'y'] }],
  },
  'per-port empty IGNORE re-enables': { why: 'a setting of ours is no attribute', services: [{ Attrs: {} }] },
  'script check': {
    why: 'one argument that is a line needs a shell',
    services: [{ Attrs: {}, Check: { Args: ['/bin/sh', '-c', 'nc 192.0.2.9 10000 | grep OK'], Interval: '10s' } }],
  },
  'http wins over tcp; grpc tls': {
    why: 'IPv6 has brackets before a port',
    services: [{ Attrs: {}, Check: { TCP: '[2001:db8::1]:10000', Interval: '10s' } }],
  },
  'exited container inspected late (start handled after die)': { why: 'it does not run', services: [] },
}

function rulesOf(flags: Recorded['flags']): ServiceRules {
  return {
    ...rules,
    ip: flags.ip,
    internal: flags.internal ?? false,
    explicit: flags.explicit ?? false,
    tags: listOf(flags.tags ?? ''),
    ipLabel: flags.useIpFromLabel,
  }
}

/** In the recordings' shape, without the marks of ownership. */
function asRecorded(service: DesiredService): Expected {
  const attributes = Object.entries(service.Meta).filter(([key]) => !key.startsWith('registrator-'))
  const [check] = service.Checks
  const { CheckID: _, ...rest } = check ?? {}
  return {
    ID: service.ID,
    Name: service.Name,
    Port: service.Port ?? 0,
    IP: service.Address ?? '',
    Tags: service.Tags,
    Attrs: Object.fromEntries(attributes),
    Check: check === undefined ? null : (rest as CheckRegistration),
  }
}

/** The original's answer but for what ours does differently everywhere: tags as written, check settings no attributes. */
function withoutHabits({ ID, Name, Port, IP, Tags, Attrs, Check }: Expected): Expected {
  const attributes = Object.entries(Attrs).filter(([key]) => !key.startsWith('check_'))
  return { ID, Name, Port, IP, Tags: Tags.toReversed(), Attrs: Object.fromEntries(attributes), Check }
}

describe('desiredServices', () => {
  describe('on the recordings', () => {
    const containers = recordings.map((recorded) => containerOf(recorded.inspect))
    for (const recorded of recordings) {
      const different = ours[recorded.title]
      it(`${recorded.title}${different === undefined ? '' : `: ${different.why}`}`, () => {
        const container = containerOf(recorded.inspect)
        const holder = containers.find((other) => container.networkMode === `container:${other.id}`)
        const all = holder === undefined ? [container] : [container, holder]
        const desired = desiredServices(all, rulesOf(recorded.flags))
          .services.filter((service) => service.Meta['registrator-container'] === container.id)
          .map(asRecorded)
        const original = (Array.isArray(recorded.expected) ? recorded.expected : []).map(withoutHabits)
        if (different === undefined) {
          assert.deepEqual(desired, original)
        } else {
          assert.equal(desired.length, different.services.length)
          for (const [at, part] of different.services.entries()) {
            assert.deepEqual(desired[at], { ...(original[at] as Expected), ...part })
          }
        }
      })
    }

    it('names no deviation that no recording shows', () => {
      const titles = new Set(recordings.map((recorded) => recorded.title))
      assert.deepEqual(
        Object.keys(ours).filter((title) => !titles.has(title)),
        [],
      )
    })
  })

  const base = containerOf(recordings.find((recorded) => recorded.title === 'single published')!.inspect)
  const published = (port: number, at: number) => ({
    port,
    protocol: 'tcp' as const,
    bindings: [{ address: '', port: at }],
  })
  const named = (name: string, more: Partial<Container> = {}): Container => ({
    ...base,
    id: `id-${name}`,
    name,
    ...more,
  })

  it('marks every service with its owner and its container', () => {
    const [service] = desiredServices([base], rules).services
    assert.deepEqual(service?.Meta, {
      'registrator-id': 'host1',
      'registrator-engine': 'ENGINE',
      'registrator-container': base.id,
    })
  })

  it('a container that restarts, or is paused, is no service', () => {
    const restarting = named('a', { state: { running: false, paused: false, exitCode: 1 } })
    const paused = named('b', { state: { running: true, paused: true, exitCode: 0 } })
    assert.deepEqual(desiredServices([restarting, paused], rules).services, [])
    assert.equal(desiredServices([paused], { ...rules, paused: 'keep' }).services.length, 1)
  })

  it('what lives in the network of another container is reached where that one publishes it', () => {
    const holder = named('pod', { published: [published(80, 8080)] })
    const guest = named('web', {
      networkMode: 'container:id-pod',
      exposed: [
        { port: 80, protocol: 'tcp' },
        { port: 81, protocol: 'tcp' },
      ],
      published: [],
      networks: [],
    })
    const at = (containers: Container[], some: ServiceRules) =>
      desiredServices(containers, some)
        .services.filter((service) => service.ID.includes(':web:'))
        .map((service) => `${service.Address}:${service.Port}`)
    assert.deepEqual(at([guest, holder], rules), ['10.0.0.5:8080', '172.31.99.2:81'])
    assert.deepEqual(at([guest, holder], { ...rules, internal: true }), ['172.31.99.2:80', '172.31.99.2:81'])
    assert.deepEqual(at([guest], rules), [], 'without its holder it has no network')
  })

  it('one SERVICE_ID on two containers is for the first; the other keeps its own id, and it is said', () => {
    const env = ['SERVICE_ID=cache']
    const { services, warnings } = desiredServices([named('b', { env }), named('a', { env })], rules)
    assert.deepEqual(
      services.map((service) => service.ID),
      ['cache', 'host1:b:6379'],
    )
    assert.deepEqual(warnings, ['container b, port 6379/tcp: id cache is taken'])
  })

  it('makes attributes such that the registry takes them, and says what it changed', () => {
    const env = ['SERVICE_a.b=1', 'SERVICE_CONSUL-X=2', `SERVICE_LONG=${'x'.repeat(600)}`]
    const { services, warnings } = desiredServices([named('a', { env })], rules)
    const { a_b, consul_x, long } = services[0]!.Meta
    assert.deepEqual([a_b, consul_x, long?.length], ['1', '2', 512])
    assert.equal(warnings.length, 3)
    const many = Array.from({ length: 80 }, (_, at) => `SERVICE_KEY${at}=${at}`)
    const crowded = desiredServices([named('a', { env: many })], rules)
    assert.equal(Object.keys(crowded.services[0]!.Meta).length, 64)
    assert.equal(crowded.warnings.length, 1)
  })

  it('a label may give an address to what has none', () => {
    const container = named('a', { labels: { address: '10.42.3.7/16' }, networks: [], published: [] })
    const { services } = desiredServices([container], { ...rules, internal: true, ipLabel: 'address' })
    assert.deepEqual(
      services.map(({ Address, Port }) => `${Address}:${Port}`),
      ['10.42.3.7:6379'],
    )
  })

  it('a check of a service at the address of the node is made at that address', () => {
    const env = ['SERVICE_CHECK_HTTP=health']
    const container = named('a', { networkMode: 'host', env })
    const [service] = desiredServices([container], { ...rules, internal: true }).services
    assert.equal(service?.Address, '')
    assert.equal(service?.Checks[0]?.HTTP, 'http://10.0.0.5:6379/health')
  })

  it('with a TTL every service has a heartbeat beside its own check', () => {
    const env = ['SERVICE_CHECK_TCP=true']
    const [service] = desiredServices([named('a', { env })], { ...rules, ttl: 6000 }).services
    assert.deepEqual(
      service?.Checks.map(({ CheckID, TTL, Status }) => ({ CheckID, TTL, Status })),
      [
        { CheckID: 'service:host1:a:6379', TTL: undefined, Status: undefined },
        { CheckID: 'service:host1:a:6379:heartbeat', TTL: '6000ms', Status: 'passing' },
      ],
    )
  })

  it('keeps what failed under on-success: any error but an end by signal', () => {
    const ended = (exitCode: number) => named(`exit${exitCode}`, { state: { running: false, paused: false, exitCode } })
    const containers = [0, 1, 125, 127, 130, 137, 143, 255].map(ended)
    const { kept } = desiredServices(containers, { ...rules, deregister: 'on-success' })
    assert.deepEqual([...kept].sort(), ['id-exit1', 'id-exit125', 'id-exit127', 'id-exit255'])
    assert.equal(desiredServices(containers, rules).kept.size, 0)
  })

  it('names an image by its last part, without tag or digest', () => {
    const table: [string, string][] = [
      ['redis', 'redis'],
      ['localhost:5000/team/api:1.2', 'api'],
      ['nginx@sha256:0123', 'nginx'],
      ['registry.example/web:1@sha256:0123', 'web'],
      ['sha256:1d3b39a0e69f0123456789', '1d3b39a0e69f'],
    ]
    for (const [image, name] of table) {
      assert.equal(desiredServices([named('a', { image })], rules).services[0]?.Name, name)
    }
  })
})
