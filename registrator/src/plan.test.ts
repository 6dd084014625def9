import assert from 'node:assert/strict'
import type { AgentServiceShape, CheckShape } from 'registry/client'
import { ownerMeta } from './owner.ts'
import { plan } from './plan.ts'
import type { DesiredService } from './services.ts'

const owner = { id: 'host1', engine: 'ENGINE' }
const options = { owner, adopt: undefined }

function desired(id: string, more: Partial<DesiredService> = {}): DesiredService {
  return {
    ID: id,
    Name: 'web',
    Address: '10.0.77.22',
    Port: 8000,
    Tags: ['a', 'b'],
    Meta: ownerMeta(owner, 'c1'),
    EnableTagOverride: false,
    Checks: [],
    ...more,
  }
}

/** What an agent says of a service after it was registered. */
function actual({ ID, Name, Address, Port, Tags, Meta, EnableTagOverride }: DesiredService): AgentServiceShape {
  return {
    ID,
    Service: Name,
    Tags,
    Meta,
    Port: Port ?? 0,
    Address: Address ?? '',
    Weights: { Passing: 1, Warning: 1 },
    EnableTagOverride: EnableTagOverride ?? false,
  }
}

function check(id: string, serviceId: string): CheckShape {
  return {
    Node: 'host1',
    CheckID: id,
    Name: '',
    Status: 'passing',
    Notes: '',
    Output: '',
    ServiceID: serviceId,
    ServiceName: 'web',
    Type: 'tcp',
  }
}

const wanted = (services: DesiredService[], kept: string[] = []) => ({ services, kept: new Set(kept) })

describe('plan', () => {
  it('is empty when the agent has what is desired, in whatever order the tags are', () => {
    const service = desired('s')
    const { steps } = plan(wanted([service]), { s: { ...actual(service), Tags: ['b', 'a'] } }, {}, options)
    assert.deepEqual(steps, [])
  })

  it('registers again what differs in anything a registration says', () => {
    const service = desired('s', { Checks: [{ CheckID: 'service:s', TCP: '10.0.77.22:8000', Interval: '10s' }] })
    const checks = { 'service:s': check('service:s', 's') }
    assert.deepEqual(plan(wanted([service]), { s: actual(service) }, checks, options).steps, [])
    const differing: [Partial<AgentServiceShape>, string][] = [
      [{ Service: 'other' }, 'its name is other'],
      [{ Port: 1 }, 'its port is 1'],
      [{ Address: '' }, 'its address is '],
      [{ Tags: ['a'] }, 'its tags differ'],
      [{ Tags: null }, 'its tags differ'],
      [{ EnableTagOverride: true }, 'its tag override differs'],
      [{ Meta: { ...service.Meta, region: 'eu' } }, 'its attributes differ'],
      [{ Meta: ownerMeta(owner, 'c2') }, 'its attributes differ'],
    ]
    for (const [difference, reason] of differing) {
      const { steps } = plan(wanted([service]), { s: { ...actual(service), ...difference } }, checks, options)
      assert.deepEqual(steps, [{ kind: 'register', service, reason }])
    }
    assert.equal(plan(wanted([service]), { s: actual(service) }, {}, options).steps.length, 1, 'its check is gone')
  })

  it('checks that others attached are none of its business', () => {
    const service = desired('s')
    const checks = { extra: check('extra', 's'), _service_maintenance: check('_service_maintenance:s', 's') }
    assert.deepEqual(plan(wanted([service]), { s: actual(service) }, checks, options).steps, [])
  })

  it('tags that may be overridden are not compared', () => {
    const service = desired('s', { EnableTagOverride: true })
    assert.deepEqual(plan(wanted([service]), { s: { ...actual(service), Tags: ['edited'] } }, {}, options).steps, [])
  })

  it('removes its own that nobody wants, but not those of a kept container', () => {
    const gone = desired('gone')
    const kept = desired('kept', { Meta: ownerMeta(owner, 'c9') })
    const services = { gone: actual(gone), kept: actual(kept) }
    assert.deepEqual(plan(wanted([], ['c9']), services, {}, options).steps, [
      { kind: 'deregister', id: 'gone', name: 'web', reason: 'no container has it' },
    ])
  })

  it('registers before it removes', () => {
    const { steps } = plan(wanted([desired('new')]), { old: actual(desired('old')) }, {}, options)
    assert.deepEqual(
      steps.map((step) => step.kind),
      ['register', 'deregister'],
    )
  })

  it("an id of somebody else's is named and left", () => {
    const foreign = { ...actual(desired('s')), Meta: { 'registrator-id': 'host2' } }
    assert.deepEqual(plan(wanted([desired('s')]), { s: foreign }, {}, options), { steps: [], taken: ['s'] })
  })

  it('is not fooled by an id that is a word of the language', () => {
    const service = desired('constructor')
    assert.equal(plan(wanted([service]), {}, {}, options).steps.length, 1)
    assert.deepEqual(plan(wanted([service]), { constructor: actual(service) }, {}, options).steps, [])
  })
})
