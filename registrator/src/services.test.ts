import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { CheckRegistration } from 'registry/client'
import { containerOf, type Inspected } from './container.ts'
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
})
