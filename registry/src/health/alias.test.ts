import assert from 'node:assert/strict'
import { aliasResult } from './alias.ts'

const check = (id: string, status: string, serviceId = '') => ({
  id,
  name: `name of ${id}`,
  status,
  output: `${id} is ${status}`,
  serviceId,
})

const web = { node: 'n1', service: 'web', exists: true }

describe('an alias check', () => {
  it('is passing while all checks of the service and of the node are, or there are none', () => {
    assert.deepEqual(aliasResult([], web, undefined), { status: 'passing', output: 'No checks found.' })
    const all = { status: 'passing', output: 'All checks passing.' }
    assert.deepEqual(aliasResult([check('n', 'passing'), check('w', 'passing', 'web')], web, undefined), all)
    assert.deepEqual(aliasResult([check('n', 'passing'), check('o', 'critical', 'other')], web, undefined), all)
  })

  it('is as the worst of them, and names the first such', () => {
    const checks = [
      check('a', 'warning', 'web'),
      check('b', 'passing', 'web'),
      check('c', 'critical'),
      check('d', 'critical'),
    ]
    const output = 'Aliased check "name of c" failing: c is critical'
    assert.deepEqual(aliasResult(checks, web, undefined), { status: 'critical', output })
    const warned = 'Aliased check "name of a" failing: a is warning'
    assert.deepEqual(aliasResult(checks.slice(0, 2), web, undefined), { status: 'warning', output: warned })
  })

  it('of the node alone looks at no service, and never at itself', () => {
    const checks = [check('self', 'critical'), check('n', 'passing'), check('w', 'critical', 'web')]
    assert.deepEqual(aliasResult(checks, { node: 'n1', service: '', exists: false }, 'self'), {
      status: 'passing',
      output: 'All checks passing.',
    })
  })

  it('of a service that is not there is critical, as with Consul 1.8.7', () => {
    const output = 'Service web could not be found on node n1'
    assert.deepEqual(aliasResult([check('n', 'passing')], { ...web, exists: false }, undefined), {
      status: 'critical',
      output,
    })
  })
})
